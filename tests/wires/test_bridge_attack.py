"""The bridge under attack: a flood on one link, connections that are opened and left half way."""

from __future__ import annotations

import contextlib
import os
import socket
import time
import urllib.request
from collections import deque
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bms import links
from bms.bridge import Bridge, load, metrics
from bms.links import Frame

pytestmark = pytest.mark.wires
FLOOD = 60_000
HELD = 400
"""Half-open connections at a time."""
SERVER_PLACES = 16


def until(what: Callable[[], object], timeout_s: float = 15.0) -> bool:
    end = time.monotonic() + timeout_s
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.002)
    return True


def bridge_of(folder: Path, urls: dict[str, str], text: str) -> Bridge:
    path = folder / "bridge.toml"
    made = "".join(f'[link.{name}]\nurl = "{url}"\n' for name, url in urls.items())
    path.write_text(made + text)
    return Bridge(load(path))


APART = '[[rule]]\nname = "flood"\nfrom = ["a"]\nto = ["b"]\n'
SHARED = '[[rule]]\nname = "flood"\nfrom = ["a"]\nto = ["d"]\nrate_per_s = 200.0\nburst = 5\n'
CALM = '[[rule]]\nname = "calm"\nfrom = ["c"]\nto = ["d"]\n'


@pytest.mark.parametrize("rule", [APART, SHARED])
def test_a_flood_with_identifier_0_takes_nothing_from_the_traffic_of_others(
    tmp_path: Path, rule: str
) -> None:
    """SEC-04. A flood to the bus that others use too must be limited by a rule."""
    urls = {name: f"inproc:flood{tmp_path.name[-2:]}-{name}" for name in "abcd"}
    flood = np.zeros(500, links.FRAME_DTYPE)
    flood["length"] = 8
    got: list[Frame] = []
    with contextlib.ExitStack() as stack:
        bridge = stack.enter_context(bridge_of(tmp_path, urls, rule + CALM))
        attacker, source, sink = (
            stack.enter_context(links.open(urls[name], ring=65536)) for name in "acd"
        )
        for k in range(FLOOD // len(flood)):
            attacker.send_batch(flood)
            for identifier in (0x100, 0x200, 0x7FF):
                source.send(Frame(identifier, bytes([k])))
            frame = sink.receive(10.0)  # so that the flood is spread over all of it
            while frame is not None:
                got.append(frame)
                frame = sink.receive()
        count = 3 * (FLOOD // len(flood))
        calm = lambda: [f for f in got if f.id]  # noqa: E731
        while len(calm()) < count and (frame := sink.receive(10.0)) is not None:
            got.append(frame)
        assert until(lambda: _taken(bridge) == FLOOD)
        status = bridge.status()
    for identifier in (0x100, 0x200, 0x7FF):
        assert [f.data[0] for f in calm() if f.id == identifier] == list(range(count // 3))
    a, d = status["links"]["a"], status["links"]["d"]
    assert a["received"] > FLOOD / 10
    assert status["rules"]["calm"]["passed"] == count
    assert status["rules"]["flood"]["matched"] == a["received"]
    assert d["dropped_full"] == d["dropped_link"] == d["dropped_down"] == 0
    assert d["dropped_limit"] == (status["rules"]["flood"]["limited"] if rule is SHARED else 0)


def _taken(bridge: Bridge) -> int:
    status = bridge.status()["links"]
    return int(status["a"]["received"] + status["a"]["link"]["rx_dropped"] + status["d"]["waiting"])


def scrape(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10.0) as reply:
        return str(reply.read().decode())


def half_open(port: int, begun: bytes) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), timeout=10.0)
    with contextlib.suppress(OSError):  # it may be thrown out at once
        client.sendall(begun)
    return client


@pytest.mark.parametrize(
    "count", [500, pytest.param(10_000, marks=pytest.mark.long("ten thousand connections"))]
)
def test_half_open_connections_keep_nobody_out_and_are_bounded(tmp_path: Path, count: int) -> None:
    name = f"inproc:half-{tmp_path.name[-30:]}"
    urls = {"x": f"{name}-x", "y": f"{name}-y", "tcp": "socketcand-server:127.0.0.1:0/can0"}
    text = '[[rule]]\nname = "all"\n[service]\nmetrics = "127.0.0.1:0"\n'
    opened: deque[socket.socket] = deque()
    with contextlib.ExitStack() as stack:
        bridge = stack.enter_context(bridge_of(tmp_path, urls, text))
        stack.callback(lambda: [client.close() for client in opened])
        server = stack.enter_context(metrics.MetricsServer(bridge.plan, bridge.status))
        source, sink = (stack.enter_context(links.open(urls[name])) for name in "xy")
        place = int(bridge.status()["links"]["tcp"]["place"].split(":")[1])
        before = len(os.listdir("/proc/self/fd"))
        for k in range(count):
            begun = ((server.port, b"GET /metr"), (place, b"< open "))[k % 2]
            opened.append(half_open(*begun))
            if len(opened) > HELD:
                opened.popleft().close()
            if k % 50 == 0:
                source.send(Frame(0x10, k.to_bytes(2, "big")))
                frame = sink.receive(10.0)
                assert frame is not None and frame.data == k.to_bytes(2, "big")
                assert 'bms_bridge_link_state{link="x",state="up"} 1' in scrape(server.port)
        most = before + len(opened) + metrics.CLIENTS + SERVER_PLACES
        # One that is being turned away may be open for a moment.
        assert until(lambda: len(os.listdir("/proc/self/fd")) <= most)
        assert server.client_count <= metrics.CLIENTS
        assert bridge.status()["links"]["tcp"]["clients"] <= SERVER_PLACES
        with links.open(f"socketcand:127.0.0.1:{place}/can0") as client:
            assert until(lambda: client.service() or client.state == "up")  # tried again by itself
            source.send(Frame(0x11, b"heard"))
            frame = client.receive(10.0)
            assert frame is not None and frame.data == b"heard"
        assert bridge.is_alive


def test_a_client_that_reads_slowly_or_never_does_not_hold_up_another(tmp_path: Path) -> None:
    name = f"inproc:slow-{tmp_path.name[-30:]}"
    urls = {f"link{k}": f"{name}-{k}" for k in range(30)}
    text = '[service]\nmetrics = "127.0.0.1:0"\n'
    with (
        bridge_of(tmp_path, urls, text) as bridge,
        metrics.MetricsServer(bridge.plan, bridge.status) as server,
        contextlib.ExitStack() as stack,
    ):
        for _ in range(5):
            slow = socket.socket()
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            slow.connect(("127.0.0.1", server.port))
            slow.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            stack.callback(slow.close)
        dripping = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
        with pytest.raises(OSError):  # cut off, however often it says something
            for _ in range(100):
                dripping.sendall(b"G")
                assert scrape(server.port).endswith("\n")
                time.sleep(0.05)
        assert until(lambda: server.client_count == 0)
        for nonsense in (b"\r\n\r\n", b"\xff" * 10_000, b"POST /metrics HTTP/1.0\r\n\r\n"):
            half_open(server.port, nonsense).close()
        assert len(scrape(server.port)) > 10_000


def test_what_an_end_counts_is_in_the_metrics(tmp_path: Path) -> None:
    urls = {"bus": f"inproc:counted-{tmp_path.name[-30:]}", "log": "log-out:a.log"}
    with bridge_of(tmp_path, urls, '[[rule]]\nname = "all"\n') as bridge:
        assert until(lambda: bridge.link_state("log")[0] == "up")
        with links.open(urls["bus"]) as bus:
            bus.send(Frame(0x10, b"12"))
            assert until(lambda: bridge.ports()["log"].counts["frames"] == 1)
        assert 'bms_bridge_port{link="log",what="frames"} 1\n' in metrics.text(bridge.status())
