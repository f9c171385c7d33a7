"""Serial ports: any speed, BREAK and errors among the bytes, and the pulse that wakes a chip."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from bms import _links
from bms._links import Unmark

BREAK, ERROR = 0x100, 0x200


def test_marks_become_bytes_and_events_in_their_places() -> None:
    raw = bytes.fromhex("41 FF0000 42 FFFF 43 FF0055 FF0000 44")
    assert Unmark().feed(raw) == [0x41, BREAK, 0x42, 0xFF, 0x43, ERROR | 0x55, BREAK, 0x44]


def test_marks_may_be_cut_anywhere(seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(500):
        events = draw.choices([0, 1, 0x41, 0xFE, 0xFF, BREAK, ERROR | 0x41, ERROR | 0xFF], k=20)
        raw = b"".join(
            b"\xff\x00\x00" if event == BREAK
            else bytes([0xFF, 0, event & 0xFF]) if event & ERROR
            else b"\xff\xff" if event == 0xFF else bytes([event])
            for event in events
        )  # fmt: skip
        reader, found = Unmark(), []
        while raw:
            cut = draw.randrange(1, 6)
            found += reader.feed(raw[:cut])
            raw = raw[cut:]
        assert found == events


@pytest.fixture
def port() -> Iterator[tuple[int, int]]:
    """(server's side, client's side) of a pseudo-terminal."""
    server, device = _links.serial_pty()
    client = _links.serial_open(device)
    yield server, client
    os.close(client)
    os.close(server)


@pytest.mark.wires
@pytest.mark.parametrize("baud", [4000, 9600, 250000, 1000000, 1234567])
def test_any_speed_is_set_and_seen_from_the_other_side(port: tuple[int, int], baud: int) -> None:
    server, client = port
    _links.serial_set_baud(client, baud)
    assert _links.serial_baud(client) == _links.serial_baud(server) == baud


@pytest.mark.wires
def test_all_bytes_pass_unchanged_both_ways(port: tuple[int, int]) -> None:
    server, client = port
    every = bytes(range(256))
    for here, there in ((server, client), (client, server)):
        os.write(here, every)
        assert os.read(there, 1000) == every
        with pytest.raises(BlockingIOError):
            os.read(there, 1)


@pytest.mark.wires
def test_a_wake_pulse_is_a_zero_at_a_low_speed(port: tuple[int, int]) -> None:
    server, client = port
    _links.serial_set_baud(client, 1_000_000)
    _links.serial_low_begin(client, 2250)
    assert os.read(server, 10) == b"\0"
    assert _links.serial_low_pulse_us(_links.serial_baud(server), 0) == 2250
    assert _links.serial_low_end(client, 1_000_000)
    assert _links.serial_baud(server) == 1_000_000
    assert _links.serial_low_pulse_us(1_000_000, 0) is None
    assert _links.serial_low_pulse_us(4000, 0x55) is None
    for impossible_us in (10, 10**6):
        with pytest.raises(OSError, match="Invalid"):
            _links.serial_low_begin(client, impossible_us)


@pytest.mark.wires
def test_a_wake_pulse_of_pyserial_is_understood(port: tuple[int, int]) -> None:
    """What a bench tool for these chips does, in a process of its own."""
    server, client = port
    program = (
        "import serial, sys, time; p = serial.Serial(sys.argv[1], 1000000); p.baudrate = 4000;"
        "p.write(b'\\0'); p.flush(); time.sleep(0.3); p.baudrate = 1000000; p.write(b'\\x80')"
    )
    child = subprocess.Popen([sys.executable, "-c", program, os.ttyname(client)])
    found = []
    end = time.monotonic() + 20.0
    while len(found) < 2 and time.monotonic() < end:
        with contextlib.suppress(BlockingIOError):
            byte = os.read(server, 1)[0]
            found.append(_links.serial_low_pulse_us(_links.serial_baud(server), byte))
        time.sleep(0.001)
    child.wait()
    assert found == [2250, None]


@pytest.mark.wires
def test_a_port_opened_alone_is_refused_to_others(port: tuple[int, int]) -> None:
    device = os.ttyname(port[1])
    alone = _links.serial_open(device, 115200, exclusive=True, marks=True, low_latency=True)
    if os.geteuid() != 0:  # root is let in all the same
        with pytest.raises(OSError) as caught:
            _links.serial_open(device)
        assert caught.value.errno == errno.EBUSY
    os.close(alone)


def test_what_is_no_port_is_refused_with_its_reason() -> None:
    with pytest.raises(FileNotFoundError):
        _links.serial_open("/nonexistent/tty")
    with pytest.raises(OSError, match="Inappropriate"):
        _links.serial_open("/dev/null")
