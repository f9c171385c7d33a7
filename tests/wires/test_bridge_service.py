"""The bridge as it is run: real links, reload, control socket, metrics, links that come and go."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import can
import msgspec
import numpy as np
import pytest

from bms import _links, links
from bms.bridge import Bridge, load
from bms.bridge.control import ask, socket_path
from bms.bridge.serve import Service
from bms.errors import ConfigError, LinkError
from bms.links import Frame

pytestmark = pytest.mark.wires
RULE = '[[rule]]\nname = "all"\n'


def until(what: Callable[[], object], timeout_s: float = 15.0) -> bool:
    end = time.monotonic() + timeout_s
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.002)
    return True


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def two(a: str, b: str, more: str = "") -> str:
    return f'[link.a]\nurl = "{a}"\n{more}\n[link.b]\nurl = "{b}"\n{more}\n'


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "bridge.toml"
        control = f'[service]\ncontrol = "{tmp_path / "c.sock"}"\n'
        path.write_text(text if "[service]" in text else text + control)
        return path

    return write


def test_python_can_clients_of_two_kinds_talk_through_it(write: Any, tmp_path: Path) -> None:
    port = free_port()
    text = two(f"slcan-server:{tmp_path / 'can0'}", f"socketcand-server:127.0.0.1:{port}/can0")
    with Bridge(load(write(text + RULE))) as bridge:
        serial = can.Bus(interface="slcan", channel=str(tmp_path / "can0"), bitrate=500000,
                         sleep_after_open=0)  # fmt: skip
        tcp = can.Bus(interface="socketcand", host="127.0.0.1", port=port, channel="can0")
        try:
            assert until(lambda: bridge.status()["links"]["b"]["clients"] == 1)
            for k in range(20):
                serial.send(can.Message(arbitration_id=0x100 + k, data=[k], is_extended_id=False))
            got = [tcp.recv(10.0) for _ in range(20)]
            assert [(m.arbitration_id, bytes(m.data)) for m in got if m] == [
                (0x100 + k, bytes([k])) for k in range(20)
            ]
            tcp.send(can.Message(arbitration_id=0x18FF50E5, data=b"back", is_extended_id=True))
            back = serial.recv(10.0)
            assert back is not None and (back.arbitration_id, bytes(back.data)) == (
                0x18FF50E5, b"back",
            )  # fmt: skip
        finally:
            serial.shutdown()
            tcp.shutdown()


def test_between_serial_lines_nothing_is_lost_and_the_counts_agree(write: Any) -> None:
    ends = [_links.serial_pty() for _ in range(2)]
    text = two(*(f"slcan:{device}" for _, device in ends), 'full = "wait"')
    count = 30_000
    with Bridge(load(write(text + RULE))) as bridge:
        assert until(lambda: all(s["state"] == "up" for s in bridge.status()["links"].values()))
        lines = b"".join(b"t%03X2%04X\r" % (k % 7, k % 65536) for k in range(count))
        sender = threading.Thread(target=_write_all, args=(ends[0][0], lines))
        sender.start()
        got = _read_lines(ends[1][0], count)
        sender.join()
        status = bridge.status()
    for identifier in range(7):
        order = [line for line in got if line.startswith(b"t%03X" % identifier)]
        assert order == [b"t%03X2%04X" % (identifier, k % 65536)
                         for k in range(count) if k % 7 == identifier]  # fmt: skip
    assert status["links"]["a"]["received"] == status["links"]["b"]["sent"] == count
    assert status["links"]["b"]["dropped"] == 0
    for fd, _ in ends:
        os.close(fd)


def _write_all(fd: int, data: bytes) -> None:
    os.set_blocking(fd, True)
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view[:2048]) :]


def _read_lines(fd: int, count: int) -> list[bytes]:
    data, end = b"", time.monotonic() + 60.0
    os.set_blocking(fd, False)
    while data.count(b"\rt") < count - 1 or not data.endswith(b"\r"):
        assert time.monotonic() < end, len(data)
        try:
            data += os.read(fd, 1 << 16)
        except BlockingIOError:
            time.sleep(0.001)
    return [line for line in data.split(b"\r") if line.startswith(b"t")]


def test_what_is_dropped_is_what_an_independent_count_misses(write: Any) -> None:
    text = two("inproc:flood-a", "inproc:flood-b")
    slow = text.replace('"inproc:flood-b"\n', '"inproc:flood-b"\nbitrate_bps = 50000\n'
                        "paced = true\nqueue = 16\n")  # fmt: skip
    batch = np.zeros(1000, links.FRAME_DTYPE)
    batch["id"], batch["length"] = np.arange(1000) % 0x700, 8
    with (
        Bridge(load(write(slow + RULE))) as bridge,
        links.open("inproc:flood-a") as source,
        links.open("inproc:flood-b") as sink,
    ):
        for k in range(5):
            source.send_batch(batch)
            assert until(lambda wanted=1000 * (k + 1): _settled(bridge, wanted))
        arrived = sink.receive_batch(np.zeros(8192, links.FRAME_DTYPE))
        end = bridge.status()["links"]
    assert end["a"]["received"] == 5000 == arrived + end["b"]["dropped"]
    assert end["b"]["dropped_full"] == end["b"]["dropped"] > 0
    assert end["b"]["queue_most"] == 16


def _settled(bridge: Bridge, received: int) -> bool:
    status = bridge.status()["links"]
    return bool(status["b"]["waiting"] == 0 and status["a"]["received"] == received)


def test_a_link_that_is_cut_again_and_again_is_recovered_each_time(write: Any) -> None:
    port, cuts = free_port(), 4
    text = two(f"socketcand:127.0.0.1:{port}/can0", "inproc:steady")
    with Bridge(load(write(text + RULE))) as bridge, links.open("inproc:steady") as steady:
        for k in range(cuts):
            with links.open(f"socketcand-server:127.0.0.1:{port}/can0") as server:
                assert until(lambda: server.service() or server.client_count == 1)
                assert until(lambda: bridge.link_state("a")[0] == "up" or server.service())
                frame = Frame(0x10, bytes([k]))
                got = None
                for _ in range(200):
                    server.send(frame)
                    server.service()
                    got = steady.receive(0.05)
                    if got is not None:
                        break
                assert got is not None and got.data == frame.data
            while steady.receive(0.02) is not None:
                pass
            assert until(lambda: bridge.link_state("a")[0] != "up")
        counters = bridge.status()["links"]["a"]["link"]
        assert counters["connects"] == counters["disconnects"] == cuts
        assert bridge.link_state("b") == ("up", "") and bridge.is_alive


def test_a_reload_keeps_links_and_counters_and_a_wrong_file_changes_nothing(write: Any) -> None:
    text = two("inproc:re-a", "inproc:re-b")
    with (
        Bridge(load(write(text + RULE))) as bridge,
        links.open("inproc:re-a") as source,
        links.open("inproc:re-b") as sink,
        links.open("inproc:re-c") as third,
    ):
        source.send(Frame(1))
        assert sink.receive(10.0) is not None
        bridge.reload(load(write(text + RULE + 'id = [5]\n[link.c]\nurl = "inproc:re-c"\n')))
        for identifier in (1, 5):
            source.send(Frame(identifier))
        for end in (sink, third):
            got = end.receive(10.0)
            assert got is not None and got.id == 5
        with pytest.raises(ConfigError):
            load(write(text + RULE + 'id = ["x"]\nto = ["nowhere"]\n'))
        with pytest.raises((ConfigError, LinkError)):
            bridge.reload(
                load(write(text.replace("inproc:re-b", "slcan-server:/nowhere/x") + RULE))
            )
        source.send(Frame(5))
        assert sink.receive(10.0) is not None
        status = bridge.status()
        assert status["reloads"] == 1 and status["reloads_refused"] == 1
        assert status["links"]["a"]["received"] == 4
        assert status["links"]["a"]["link"]["connects"] == 1


@pytest.fixture
def service(write: Any) -> Iterator[tuple[Service, Path, io.StringIO]]:
    port = free_port()
    path = write(
        two("inproc:sv-a", "inproc:sv-b") + RULE
        + f'[service]\nmetrics = "127.0.0.1:{port}"\ncontrol = "{port}.sock"\n'
    )  # fmt: skip
    path.write_text(path.read_text().replace(f'"{port}.sock"', f'"{path.parent / "c.sock"}"'))
    out = io.StringIO()
    made = Service(load(path), out=out)
    thread = threading.Thread(target=made.serve)
    thread.start()
    assert until(lambda: '"started"' in out.getvalue())
    yield made, path, out
    made.stop()
    thread.join()


def test_control_socket_and_metrics_answer_and_nonsense_is_refused(service: Any) -> None:
    made, path, out = service
    where = socket_path(load(path))
    assert ask(where, do="status")["status"]["links"]["a"]["state"] == "up"
    assert ask(where, do="arm", seconds=5)["seconds"] == 5.0
    assert ask(where, do="status")["status"]["armed_s"] > 0.0
    assert not ask(where, do="arm", seconds=-1)["ok"] and not ask(where, do="fly")["ok"]
    for nonsense in (b"\n", b"[1]\n", b"\xff" * 5000, b"{" * 4096, b""):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(where))
            client.sendall(nonsense)
    assert where.stat().st_mode & 0o077 == 0
    url = f"http://{made.bridge.plan.spec.service.metrics}/metrics"
    with urllib.request.urlopen(url, timeout=10.0) as reply:
        text = reply.read().decode()
    assert 'bms_bridge_link_received_total{link="a"} 0' in text
    assert 'bms_bridge_link_state{link="b",state="up"} 1' in text
    path.write_text(path.read_text() + "nonsense = 1\n")
    refused = ask(where, do="reload")
    assert not refused["ok"] and "nonsense" in refused["error"]
    assert '"reload refused"' in out.getvalue() and '"armed"' in out.getvalue()


def test_the_command_runs_reloads_drains_and_ends(write: Any, tmp_path: Path) -> None:
    path = write(two(f"slcan-server:{tmp_path / 'x'}", "inproc:cmd-b") + RULE)
    notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notified.bind(str(tmp_path / "notify"))
    notified.settimeout(30.0)
    environment = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")}
    command = [sys.executable, "-m", "bms.cli", "bridge", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        assert b"READY=1" in notified.recv(4096)
        process.send_signal(signal.SIGHUP)
        said = b""
        while b"RELOADING=1" not in said:
            said += notified.recv(4096)
        while b"READY=1" not in notified.recv(4096):
            pass
        process.send_signal(signal.SIGTERM)
        log = process.communicate(timeout=30.0)[0]
    notified.close()
    assert process.returncode == 0
    events = [msgspec.json.decode(line)["event"] for line in log.splitlines()]
    assert events[0] == "started" and "reloaded" in events and events[-1] == "ended"
    assert not (tmp_path / "c.sock").exists()


def test_noise_on_one_link_is_counted_and_another_pair_goes_on(write: Any, seed: int) -> None:
    master, device = _links.serial_pty()
    port = free_port()
    text = two(f"slcan:{device}", f"socketcand-server:127.0.0.1:{port}/can0")
    text += '[link.c]\nurl = "inproc:calm-c"\n[link.d]\nurl = "inproc:calm-d"\n'
    noise = np.random.default_rng(seed).integers(0, 256, 100_000, np.uint8).tobytes()
    noise = noise.replace(b"\a", b"")  # on which an adapter is opened again, later each time
    pair = RULE + 'from = ["c"]\nto = ["d"]\n'
    with (
        Bridge(load(write(text + pair))) as bridge,
        links.open("inproc:calm-c") as source,
        links.open("inproc:calm-d") as sink,
        socket.create_connection(("127.0.0.1", port)) as client,
    ):
        writer = threading.Thread(target=_write_all, args=(master, noise))
        writer.start()
        for k in range(100):
            with contextlib.suppress(OSError):  # it may be thrown out for this
                client.sendall(noise[500 * k : 500 * k + 500])
            source.send(Frame(0x10, bytes([k])))
            got = sink.receive(10.0)
            assert got is not None and got.data == bytes([k])
        writer.join(30.0)
        status = bridge.status()["links"]
        assert bridge.is_alive and not writer.is_alive()
    malformed = sum(n for k, n in status["a"]["link"].items() if k.startswith("malformed_"))
    assert malformed > 0 and status["a"]["sent"] == status["b"]["sent"] == 0
    os.close(master)
