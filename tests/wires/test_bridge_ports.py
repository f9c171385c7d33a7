"""Ends of the bridge that are no CAN links: logs, cannelloni, serial lines, a broker; arming."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import socket
import threading
import time
import tty
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bms import links
from bms.bridge import Bridge, load
from bms.bridge.ports import cannelloni
from bms.errors import ConfigError
from bms.links import Frame
from bms.protocols import Malformed, bq79616, dbc, jbd
from bms.recorder import logs

pytestmark = pytest.mark.wires


def until(what: Callable[[], object], timeout_s: float = 15.0) -> bool:
    end = time.monotonic() + timeout_s
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


@pytest.fixture
def joined(tmp_path: Path) -> Iterator[Callable[..., tuple[Bridge, Any]]]:
    """A bridge from a bus of this process to a URL."""
    with contextlib.ExitStack() as stack:

        def join(url: str, options: str = "{}", more: str = "") -> tuple[Bridge, Any]:
            path = tmp_path / "b.toml"
            bus = f"ports-{tmp_path.name[-40:]}"
            path.write_text(
                f'[link.bus]\nurl = "inproc:{bus}"\nzone = "z"\n'
                f'[link.far]\nurl = "{url}"\nzone = "z"\nreal = false\noptions = {options}\n{more}'
            )
            bridge = stack.enter_context(Bridge(load(path)))
            return bridge, stack.enter_context(links.open(f"inproc:{bus}", fd=True))

        yield join


@pytest.mark.parametrize("name", ["a.log", "a.asc", "a.blf"])
def test_what_passes_is_in_the_log_and_the_log_can_be_played(
    joined: Any, tmp_path: Path, name: str
) -> None:
    bridge, bus = joined(f"log-out:{name}")
    assert until(lambda: bridge.link_state("far")[0] == "up")
    sent = [Frame(0x10, b"12"), Frame(0x18FF50E5, b"x" * 8, extended=True), Frame(0x11, b"f" * 12,
            fd=True)]  # fmt: skip
    for frame in sent:
        bus.send(frame)
    port = bridge.ports()["far"]
    assert until(lambda: port.counts["frames"] == 3)
    bridge.close()
    found = list(logs.open_log(tmp_path / name))
    assert [(f.id, bytes(f.data)) for f in found] == [(f.id, f.data) for f in sent]
    assert logs.open_log(tmp_path / name).malformed == 0
    (tmp_path / "again.toml").write_text(
        f'[link.log]\nurl = "log-in:{name}"\nzone = "z"\noptions = {{ speed = 0.0, loop = true }}\n'
        '[link.bus]\nurl = "inproc:ports-again"\nzone = "z"\nfd = true\n'
    )
    with (
        links.open("inproc:ports-again", fd=True) as end,
        Bridge(load(tmp_path / "again.toml")),
    ):
        got = [end.receive(10.0) for _ in range(3)]
    assert [f.id for f in got if f] == [f.id for f in sent]


def test_a_recording_runs_beside_everything_and_says_which_link(tmp_path: Path) -> None:
    from bms.recorder import Recording

    (tmp_path / "r.toml").write_text(
        '[link.a]\nurl = "inproc:rec-a"\n[link.b]\nurl = "inproc:rec-b"\n'
        '[[rule]]\nname = "nothing"\naction = "drop"\n[record]\nfile = "all.arrow"\n'
    )
    with (
        Bridge(load(tmp_path / "r.toml")) as bridge,
        links.open("inproc:rec-a") as a,
        links.open("inproc:rec-b") as b,
    ):
        assert until(lambda: bridge.link_state("record")[0] == "up")
        for k in range(30):
            (a, b)[k % 2].send(Frame(0x100 + k, bytes([k])))
        assert until(lambda: bridge.ports()["record"].counts["frames"] == 30)
        assert a.receive(0.0) is None and b.receive(0.0) is None
    with Recording.open(tmp_path / "all.arrow") as found:
        frames = found.frames
    assert len(frames.id) == 30
    assert dict(zip(frames.id.tolist(), frames.bus.tolist(), strict=True)) == {
        0x100 + k: k % 2 for k in range(30)
    }


def test_a_disk_that_is_full_is_a_state_and_others_go_on(
    joined: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    from bms.bridge.ports import logs as sinks

    is_full = threading.Event()
    plain = sinks.TextSink.write

    def write(self: Any, *given: Any) -> None:
        if is_full.is_set():
            raise OSError(28, "No space left on device")
        plain(self, *given)

    monkeypatch.setattr(sinks.TextSink, "write", write)
    bridge, bus = joined("log-out:full.log", more='[link.c]\nurl = "inproc:full-c"\nzone = "z"\n')
    port = bridge.ports()["far"]
    assert until(lambda: bridge.link_state("far")[0] == "up")
    with links.open("inproc:full-c") as third:
        is_full.set()
        for k in range(50):
            bus.send(Frame(k + 0x200))
            got = third.receive(10.0)
            assert got is not None and got.id == k + 0x200
        assert until(lambda: port.counts["failures"] > 0 and port.counts["frames_lost"] > 0)
        is_full.clear()
        assert until(lambda: bus.send(Frame(0x300)) and port.counts["frames"] > 0)
    said = [s for s in bridge.sayings() if s["event"] == "log not written"]
    assert said and said[0]["reason"] == "No space left on device"


def test_files_are_changed_by_size_and_only_ours_go(joined: Any, tmp_path: Path) -> None:
    (tmp_path / "x.log").write_text("somebody else's\n")
    bridge, bus = joined("log-out:x.log", "{ size_mb = 0.001, keep = 2 }")
    port = bridge.ports()["far"]
    assert until(lambda: bridge.link_state("far")[0] == "up")
    for files in (2, 3, 4):
        for _ in range(40):
            bus.send(Frame(0x77, bytes(8)))
        assert until(lambda n=files: port.counts["files"] >= n)
    bridge.close()
    assert (tmp_path / "x.log").read_text() == "somebody else's\n"
    assert len(list(tmp_path.glob("x-*.log"))) == 2


def test_cannelloni_over_tcp_meets_a_peer_and_cuts_off_nonsense(joined: Any) -> None:
    bridge, bus = joined("cannelloni-server:127.0.0.1:0")
    where = ("127.0.0.1", bridge.ports()["far"].port)
    with socket.create_connection(where) as noise:
        noise.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert until(lambda: bridge.ports()["far"].counts["malformed"] == 1)
    with socket.create_connection(where) as peer:
        peer.settimeout(10.0)
        peer.sendall(cannelloni.GREETING + bytes.fromhex("00000123 02 AABB 98FF50E5 01 11"))
        got = [bus.receive(10.0), bus.receive(10.0)]
        assert [str(f) for f in got] == ["123#AABB", "18FF50E5#11"]
        bus.send(Frame(0x222, b"12345678"))
        heard = b""
        while len(heard) < len(cannelloni.GREETING) + 13:
            heard += peer.recv(100)
        assert heard == cannelloni.GREETING + bytes.fromhex("00000222 08") + b"12345678"
        with socket.create_connection(where) as second:
            second.settimeout(10.0)
            assert second.recv(1) == b""


def test_hostile_cannelloni_bytes_never_raise(seed: int) -> None:
    rng = np.random.default_rng(seed)
    frames = wrong = 0
    for _ in range(20_000):
        raw = rng.integers(0, 256, int(rng.integers(0, 90)), np.uint8)
        raw[:1] &= 0x9F
        raw[4:5] &= 0x8F
        found = cannelloni.decode(raw.tobytes())
        if isinstance(found, Malformed):
            wrong += 1
        else:
            frames += len(found[0])
            assert found[1] <= len(raw)
    assert frames > 100 and wrong > 500


def terminal() -> tuple[int, str]:
    here, there = pty.openpty()
    tty.setraw(there)
    return here, os.ttyname(there)


def test_a_tap_on_the_chips_line_becomes_frames_and_is_never_written_to(joined: Any) -> None:
    here, device = terminal()
    rule = '{ values = [{ field = "cell_voltage_v", id = 0x600, scale = 0.001 }] }'
    bridge, bus = joined(f"serial:bq79616={device}@115200", rule)
    assert until(lambda: bridge.link_state("far")[0] == "up")
    raw = round(3.7 / bq79616.CELL_STEP_V).to_bytes(2, "big") * 16
    wire = bq79616.encode(bq79616.Response(1, 0x568, raw))
    os.write(here, b"\xff\x00" + wire)
    got = [bus.receive(10.0) for _ in range(4)]
    assert [f.id for f in got if f] == [0x604, 0x605, 0x606, 0x607]
    assert {f.data for f in got if f} == {(3700).to_bytes(2, "little") * 4}
    os.set_blocking(here, False)
    with pytest.raises(BlockingIOError):
        os.read(here, 100)
    os.close(here)


def test_a_serial_bms_is_asked_and_its_cells_become_frames(joined: Any) -> None:
    here, device = terminal()
    rule = '{ ask_s = 0.1, values = [{ field = "cell_voltage_v", id = 0x610, scale = 0.001 }] }'
    bridge, bus = joined(f"serial:jbd={device}", rule)
    heard, end = b"", time.monotonic() + 10.0
    question = jbd.encode(jbd.Request(jbd.CELLS))
    while question not in heard and time.monotonic() < end:
        heard += os.read(here, 100)
    os.write(here, jbd.encode(jbd.Cells((3500, 3501, 3502, 3503, 3600))))
    got = [bus.receive(10.0), bus.receive(10.0)]
    assert [f.data.hex() for f in got if f] == [
        "ac0dad0dae0daf0d", "100effffffffffff",
    ]  # fmt: skip
    assert bridge.ports()["far"].counts["heard"] == 1
    os.close(here)


def test_a_face_answers_a_serial_host_from_frames_of_the_bridge(joined: Any, tmp_path: Any) -> None:
    bridge, bus = joined(f"face:jbd=pty:{tmp_path / 'jbd'}")
    assert until(lambda: (tmp_path / "jbd").exists())
    port = os.open(tmp_path / "jbd", os.O_RDWR | os.O_NONBLOCK)
    os.write(port, jbd.encode(jbd.Request(jbd.BASIC)))
    counts = bridge.ports()["far"].counts
    assert until(lambda: counts["answered"] + counts["unanswered"] >= 1)
    os.close(port)
    del bus


class Broker:
    """As much of an MQTT 3.1.1 broker as a client that publishes needs."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.retained: dict[str, bytes] = {}
        self.told: dict[str, list[bytes]] = {}
        self.connects: list[bytes] = []
        self.peers: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self.listener.accept()
                self.peers.append(peer)
                threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer: socket.socket) -> None:
        with contextlib.suppress(OSError, IndexError), peer, peer.makefile("rb") as file:
            while head := file.read(1):
                size = shift = 0
                while True:
                    byte = file.read(1)[0]
                    size, shift = size | (byte & 127) << shift, shift + 7
                    if byte < 128:
                        break
                body = file.read(size)
                if head[0] >> 4 == 1:
                    self.connects.append(body)
                    peer.sendall(b"\x20\x02\x00\x00")
                elif head[0] >> 4 == 12:
                    peer.sendall(b"\xd0\x00")
                elif head[0] >> 4 == 3:
                    length = int.from_bytes(body[:2], "big")
                    topic, value = body[2 : 2 + length].decode(), body[2 + length :]
                    self.told.setdefault(topic, []).append(value)
                    if head[0] & 1:
                        self.retained[topic] = value

    def close(self) -> None:
        self.listener.close()
        for peer in self.peers:
            with contextlib.suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)


def test_values_go_to_a_broker_with_discovery_and_come_back_after_it_was_away(joined: Any) -> None:
    pytest.importorskip("paho.mqtt.client", reason="paho-mqtt: pip install solid-bms[mqtt]")
    broker = Broker()
    bridge, bus = joined(
        f"mqtt:127.0.0.1:{broker.port}", '{ topic = "plant/pack", every_s = 0.05 }'
    )
    assert until(lambda: bridge.link_state("far")[0] == "up")
    message = dbc.codec().messages["BmsPack"]
    data = dbc.encode("BmsPack", {"PackVoltage": 355.5, "PackCurrent": -12.0})
    bus.send(Frame(message.frame_id, data))
    assert until(lambda: "plant/pack/BmsPack" in broker.told)
    value = json.loads(broker.told["plant/pack/BmsPack"][-1])
    assert value["PackVoltage"] == pytest.approx(355.5, abs=0.1) and "Counter" not in value
    configs = {k: json.loads(v) for k, v in broker.retained.items() if k.endswith("/config")}
    one = next(v for v in configs.values() if v["unique_id"].endswith("PackVoltage"))
    assert (one["device_class"], one["unit_of_measurement"]) == ("voltage", "V")
    assert one["availability_topic"] == "plant/pack/status"
    assert b"offline" in broker.connects[0]
    for peer in broker.peers:
        peer.shutdown(socket.SHUT_RDWR)
    assert until(lambda: len(broker.connects) >= 2 and bridge.link_state("far")[0] == "up")
    bridge.close()
    assert until(lambda: broker.told["plant/pack/status"][-1] == b"offline")
    broker.close()


def test_arming_is_told_on_every_bus_and_ends_by_itself(tmp_path: Path) -> None:
    path = tmp_path / "arm.toml"
    path.write_text(
        '[link.a]\nurl = "inproc:arm-a"\n[link.b]\nurl = "inproc:arm-b"\n'
        "[guard]\nannounce = 0x6F0\n"
    )
    with (
        Bridge(load(path)) as bridge,
        links.open("inproc:arm-a") as a,
        links.open("inproc:arm-b") as b,
    ):
        assert a.receive(0.3) is None
        bridge.arm(0.5)
        for end in (a, b):
            told = []
            while not told or told[-1].data[0]:
                frame = end.receive(10.0)
                assert frame is not None and frame.id == 0x6F0
                told.append(frame)
            assert told[0].data == bytes([1, 0, 0, 1]) and told[-1].data == bytes(4)
        assert bridge.core.armed_s == 0.0
        status = bridge.status()["links"]["a"]
        assert status["announced"] == status["sent"] > 1


@pytest.mark.parametrize(
    ("link", "said"),
    [
        ('url = "cannelloni-server:0.0.0.0:1"', "open_to_network"),
        ('url = "udp:10.0.0.1:20000"', "open_to_network"),
        ('url = "log-in:nowhere.log"', "a file"),
        ('url = "log-out:nowhere/x.log"', "folder"),
        ('url = "serial:nonsense=/dev/ttyS0"\noptions = { values = [] }', "bq79616"),
        ('url = "tunnel:127.0.0.1:1"', "peers"),
        ('url = "inproc:opt-x"\noptions = { a = 1 }', "none for this kind"),
        ('url = "mqtt:127.0.0.1"\noptions = { topic = "a/#" }', "topic"),
    ],
)
def test_a_wrong_end_is_told_in_a_sentence(tmp_path: Path, link: str, said: str) -> None:
    path = tmp_path / "w.toml"
    path.write_text(f'[link.a]\nurl = "inproc:wrong"\n[link.b]\n{link}\n')
    with pytest.raises(ConfigError, match=said):
        load(path)
