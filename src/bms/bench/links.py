"""CAN links and messages: SLCAN from a pseudo-terminal and frames in a process beside python-can.

SLCAN: a thread without the GIL floods the master side of a pseudo-terminal with lines of 22 bytes
(eight bytes of data); the reader is bms.links.open("slcan:...") or python-can's `slcan`. The limit
is os.read of the same flood, which understands nothing. One message of bms.dbc beside cantools.
Ticks in real time: ticks.py.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np

from bms import _links, links, spec
from bms.bench import Row, interleaved
from bms.bench.ticks import tick_rows
from bms.protocols.codec import Codec

LINE = b"t1238" + b"0123456789ABCDEF" + b"\r"
FRAMES = 200_000
PEER_FRAMES = 1_500
IN_PROCESS = 20_000
MESSAGES = 40_000
BATCH = 256
PEER = "python-can"


@contextlib.contextmanager
def flood() -> Iterator[str]:
    """A pseudo-terminal, by its device, out of which SLCAN lines come as fast as they are read."""
    master, device = _links.serial_pty()
    os.set_blocking(master, True)
    stop = threading.Event()
    lines = LINE * 170  # what a pseudo-terminal takes at once

    def write() -> None:
        with contextlib.suppress(OSError):
            while not stop.is_set():
                os.write(master, lines)

    writer = threading.Thread(target=write, daemon=True)
    opened = os.open(device, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    writer.start()
    try:
        yield device
    finally:
        stop.set()
        while writer.is_alive():  # it may stand in a write that nobody reads
            with contextlib.suppress(BlockingIOError):
                os.read(opened, 65536)
            writer.join(0.001)
        os.close(opened)
        os.close(master)


def settle(link: links.Link) -> None:
    """Wait until it is up, and take what came meanwhile: only what comes from now on counts."""
    link.wait_up(2.0)
    while link.pending:
        link.receive_batch(np.zeros(link.pending, links.FRAME_DTYPE))


def per_second(count: int, take: Callable[[], int]) -> float:
    """Rate of `take`, which returns how many it took, until `count` are reached."""
    taken = 0
    began = time.perf_counter()
    while taken < count:
        taken += take()
    return taken / (time.perf_counter() - began)


def _objects() -> float:
    with flood() as device, links.open(f"slcan:{device}") as link:
        settle(link)

        def take() -> int:
            receive = link.receive
            for _ in range(1000):
                receive(1.0)
            return 1000

        return per_second(FRAMES, take)


def _arrays() -> float:
    batch = np.zeros(4096, links.FRAME_DTYPE)
    with flood() as device, links.open(f"slcan:{device}") as link:
        settle(link)
        return per_second(FRAMES, lambda: link.receive_batch(batch, 1.0))


def _bytes() -> float:
    with flood() as device:
        port = _links.serial_open(device)
        os.set_blocking(port, True)
        try:
            rate = per_second(FRAMES * len(LINE), lambda: len(os.read(port, 65536)))
        finally:
            os.close(port)
        return rate / len(LINE)


def _peer_slcan() -> float:
    import can

    with flood() as device:
        bus = can.Bus(interface="slcan", channel=device, bitrate=500000, sleep_after_open=0)
        try:
            return per_second(PEER_FRAMES, lambda: bus.recv(1.0) is not None)
        finally:
            bus.shutdown()


def slcan(repetitions: int) -> list[Row]:
    """Frames received from a pseudo-terminal in a second, as objects and into arrays."""
    sides = {"objects": _objects, "arrays": _arrays, "bytes": _bytes, "peer": _peer_slcan}
    fps = {name: found.median for name, found in interleaved(sides, repetitions).items()}
    source = "os.read of the same flood, not decoded"
    return [
        Row(
            name=f"slcan_receive_{how}_fps", ours=fps[how], unit="1/s", better="higher",
            peer=fps["peer"], peer_name=f"{PEER} slcan", limit=fps["bytes"], limit_source=source,
        )
        for how in ("objects", "arrays")
    ]  # fmt: skip


def _one_by_one() -> float:
    frame = links.Frame(0x123, bytes(8))
    with links.open("inproc:bench") as here, links.open("inproc:bench") as there:
        send, receive = here.send, there.receive
        began = time.perf_counter()
        for _ in range(IN_PROCESS):
            send(frame)
            receive()
        return 1e6 * (time.perf_counter() - began) / IN_PROCESS


def _batched() -> float:
    batch = np.zeros(BATCH, links.FRAME_DTYPE)
    batch["id"], batch["length"] = 0x123, 8
    taken = np.zeros(BATCH, links.FRAME_DTYPE)
    with links.open("inproc:bench") as here, links.open("inproc:bench") as there:
        rounds, count = 20 * IN_PROCESS // BATCH, 0
        began = time.perf_counter()
        for _ in range(rounds):
            here.send_batch(batch)
            count += there.receive_batch(taken)
        spent_s = time.perf_counter() - began
    if count != rounds * BATCH:
        raise RuntimeError(f"{rounds * BATCH - count} frames were lost in the process")
    return 1e6 * spent_s / count


def _copied() -> float:
    one, two = (np.zeros(BATCH * links.FRAME_DTYPE.itemsize, np.uint8) for _ in range(2))
    rounds = 20 * IN_PROCESS // BATCH
    began = time.perf_counter()
    for _ in range(rounds):
        np.copyto(one, two)
        np.copyto(two, one)
    return 1e6 * (time.perf_counter() - began) / (rounds * BATCH)


def _peer_virtual() -> float:
    import can

    message = can.Message(arbitration_id=0x123, is_extended_id=False, data=bytes(8))
    with (
        can.Bus(interface="virtual", channel="bench") as here,
        can.Bus(interface="virtual", channel="bench") as there,
    ):
        began = time.perf_counter()
        for _ in range(IN_PROCESS // 20):
            here.send(message)
            there.recv(0)
        return 20e6 * (time.perf_counter() - began) / IN_PROCESS


def in_process(repetitions: int) -> list[Row]:
    """Microseconds to send a frame and to receive it in the same thread."""
    sides = {"frame": _one_by_one, "batched": _batched, "copied": _copied, "peer": _peer_virtual}
    took_us = {name: found.median for name, found in interleaved(sides, repetitions).items()}
    source = "its bytes copied twice by NumPy"
    return [
        Row(
            name=f"inprocess_{how}_us", ours=took_us[how], unit="us", better="lower",
            peer=took_us["peer"], peer_name=f"{PEER} virtual",
            limit=took_us["copied"] if how == "batched" else None,
            limit_source=source if how == "batched" else None,
        )
        for how in ("frame", "batched")
    ]  # fmt: skip


def dbc(repetitions: int) -> list[Row]:
    """Microseconds to encode and to decode a message of eight bytes and six signals in Python."""
    message = spec.database().get_message_by_name("BmsCellVoltageExtremes")
    codec = Codec(spec.database(), none_word="not_available")
    values = {s.name: 3.25 if s.unit == "V" else 7 for s in message.signals}
    name, identifier, data = message.name, message.frame_id, codec.encode(message.name, values)

    def each(work: Callable[[], object], count: int) -> float:
        began = time.perf_counter()
        for _ in range(count):
            work()
        return 1e6 * (time.perf_counter() - began) / count

    sides = {
        "encode": lambda: each(lambda: codec.encode(name, values), MESSAGES),
        "decode": lambda: each(lambda: codec.decode(identifier, data), MESSAGES),
        "peer encode": lambda: each(lambda: message.encode(values), MESSAGES // 20),
        "peer decode": lambda: each(lambda: message.decode(data), MESSAGES // 20),
        "nothing": lambda: each(lambda: None, MESSAGES),
    }
    took_us = {side: found.median for side, found in interleaved(sides, repetitions).items()}
    return [
        Row(
            name=f"dbc_{way}_us", ours=took_us[way], unit="us", better="lower",
            peer=took_us[f"peer {way}"], peer_name="cantools",
            limit=took_us["nothing"], limit_source="a call in Python that does nothing",
        )
        for way in ("encode", "decode")
    ]  # fmt: skip


PARTS = (slcan, in_process, dbc)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--long", action="store_true", help="ten minutes of real-time ticks instead of 20 s"
    )


def rows(options: argparse.Namespace) -> list[Row]:
    found = [row for part in PARTS for row in part(options.repetitions)]
    return found + tick_rows(options.long)
