"""`bms monitor` on a socketcand bus that carries what a real simulation sent."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from bms import links
from bms.sim import Simulation

pytestmark = pytest.mark.wires


@pytest.fixture(scope="module")
def recorded() -> np.ndarray:
    """Two seconds of the vehicle bus of a pack that starts to drive."""
    simulation = Simulation("drive", pack="bench_16s1p")
    world = simulation.world
    world.tap_frames(0, 8192)
    simulation.run(2.0, record=False)
    frames, lost = world.take_frames(0)
    assert lost == 0
    assert len(frames) > 1500
    return frames


@pytest.fixture
def bus() -> Iterator[links.Link]:
    with links.open("socketcand-server:127.0.0.1:0/can0") as link:
        yield link


def url(bus: links.Link) -> str:
    return f"socketcand:{bus.place}/can0"


def monitor(*arguments: str, **settings) -> subprocess.Popen:
    command = [sys.executable, "-m", "bms.cli", "monitor", *arguments]
    settings = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | settings
    return subprocess.Popen(command, **settings)


def play(bus: links.Link, frames: np.ndarray, *, while_running: subprocess.Popen) -> None:
    """The frames over and over, a tenth of a second's worth at a time, once somebody listens."""
    until = time.monotonic() + 30
    place = 0
    while while_running.poll() is None and time.monotonic() < until:
        bus.service()
        if bus.client_count:
            bus.send_batch(np.ascontiguousarray(frames[place : place + 115]))
            place = (place + 115) % (len(frames) - 115)
        time.sleep(0.1)


def test_json_tells_what_the_simulation_sent(bus: links.Link, recorded: np.ndarray) -> None:
    process = monitor(url(bus), "--json", "--seconds", "2")
    play(bus, recorded, while_running=process)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "")
    (line,) = out.splitlines()
    told = json.loads(line)
    assert set(told) == {"time_s", "url", "link", "bus", "missing", "never_seen", "messages"}
    assert told["link"]["state"] == "up"
    assert told["bus"]["frames"] == told["link"]["rx_frames"] > 200
    assert told["bus"]["unknown_frames"] == told["bus"]["malformed"] == 0
    assert "ChargerStatus" in told["never_seen"]
    by_name = {m["name"]: m for m in told["messages"]}
    state = by_name["BmsState"]
    assert state["id"] == 0x100
    assert state["cycle_ms"] == 10
    assert state["values"]["State"] in ("selftest", "standby", "precharge", "normal_drive")
    assert by_name["BmsPack"]["units"]["PackVoltage"] == "V"
    assert 50 < by_name["BmsPack"]["values"]["PackVoltage"] < 80


def test_without_a_terminal_it_prints_lines_and_keeps_to_its_filter(
    bus: links.Link, recorded: np.ndarray
) -> None:
    process = monitor(url(bus), "--once", "--filter", "BmsSoc")
    play(bus, recorded, while_running=process)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "")
    lines = out.strip().splitlines()
    assert "up" in lines[0]
    assert "frames/s" in lines[0]
    assert lines[1].startswith("103")
    assert "SocValid yes" in lines[1]
    assert "\x1b" not in out


def test_it_survives_the_bus_and_says_so(recorded: np.ndarray) -> None:
    server: links.Link | None = links.open("socketcand-server:127.0.0.1:0/can0")
    place = server.place
    process = monitor(f"socketcand:{place}/can0", "--json", "--filter", "BmsPack")
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    reader = threading.Thread(target=lambda: [lines.put(line) for line in process.stdout])  # type: ignore[union-attr]
    reader.start()
    seen: list[str] = []
    until = time.monotonic() + 40
    while time.monotonic() < until and seen != ["up", "away", "back"]:
        time.sleep(0.02)
        if server:
            server.service()
            if server.client_count and not seen:
                server.send_batch(recorded[:20])
        if lines.empty():
            continue
        told = json.loads(lines.get())
        is_up = told["link"]["state"] == "up"
        if not seen and is_up and told["bus"]["frames"] and server:
            seen.append("up")
            server.close()
            server = None
        elif seen == ["up"] and not is_up:
            assert told["link"]["reason"]
            seen.append("away")
            server = links.open(f"socketcand-server:{place}/can0")
        elif seen == ["up", "away"] and is_up:
            seen.append("back")
    process.send_signal(signal.SIGINT)
    process.wait(timeout=20)
    reader.join()
    if server:
        server.close()
    assert seen == ["up", "away", "back"]
    assert process.returncode == 130
    assert "Traceback" not in process.stderr.read()  # type: ignore[union-attr]


def test_on_a_terminal_it_draws_a_table(bus: links.Link, recorded: np.ndarray) -> None:
    master, device = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "160", "LINES": "40"}
    process = monitor(url(bus), "--seconds", "2", stdout=device, env=environment)
    os.close(device)
    seen = bytearray()

    def read() -> None:
        with contextlib.suppress(OSError):  # how a pseudo-terminal ends
            while chunk := os.read(master, 65536):
                seen.extend(chunk)

    reader = threading.Thread(target=read)
    reader.start()
    play(bus, recorded, while_running=process)
    assert process.wait(timeout=30) == 0
    reader.join()
    os.close(master)
    assert b"BmsPack" in seen
    assert b"PackVoltage" in seen


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("nonsense",), "nonsense"),
        (("inproc:x", "--dbc", "/nowhere.dbc"), "--dbc"),
        (("inproc:x", "--dbc", __file__), "cantools"),
        (("inproc:x", "--seconds", "0"), "--seconds"),
        (("inproc:x", "--bitrate", "-5"), "--bitrate"),
    ],
)
def test_bad_input_is_one_sentence(arguments: tuple[str, ...], word: str) -> None:
    process = monitor(*arguments)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 2
    assert word in err
    assert "Traceback" not in err
