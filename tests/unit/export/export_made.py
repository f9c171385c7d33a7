"""A small recording with every kind of signal and frame."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bms.recorder import Frame, Recording, Signal, Writer
from bms.recorder.logs import BRS, ERROR, EXTENDED, FD, LENGTHS, REMOTE

TICKS = 2350
STEP_US = 10_000


def all_kinds_of_frames(seed: int, count: int = 300) -> list[Frame]:
    """Standard, extended, remote, FD with and without bit-rate switch, error; whole microseconds.

    Every data length of every kind occurs.
    """
    rng = np.random.default_rng(seed)
    kinds = [
        (flags, size)
        for extended in (0, EXTENDED)
        for flags, sizes in (
            (extended, range(9)), (extended | REMOTE, range(9)), (extended | FD, LENGTHS),
            (extended | FD | BRS, LENGTHS), (ERROR, (0,)),
        )
        for size in sizes
    ]  # fmt: skip
    times = np.sort(rng.integers(1, TICKS * STEP_US, count)) * 1000
    frames = []
    for k, t_ns in enumerate(times.tolist()):
        flags, size = kinds[k % len(kinds)]
        number = int(rng.integers(0, 1 << (29 if flags & EXTENDED else 11)))
        data = bytes(size) if flags & REMOTE else rng.bytes(size)
        if flags & ERROR:
            number, data = 0, b""
        frames.append(Frame(t_ns, k % 2, (k // 2) % 2, number, flags, data))
    return frames


def record(path: Path, frames: list[Frame], meta: dict[str, Any] | None = None) -> Recording:
    """`TICKS` ticks of eight signals, an event in the middle, and the frames."""
    soc, state, cells = np.zeros(1), np.zeros(1, np.uint32), np.zeros(5)
    volts, amperes, cell_a = np.zeros(1), np.zeros(1), np.zeros(10)
    degrees, surface = np.zeros(1, np.float32), np.zeros(10)
    signals = [
        Signal("true_soc_frac", "1", "truth", "pack", "charge", soc),
        Signal("cmd_state", "1", "command", "pack", "state", state),
        Signal("true_pack_voltage_v", "V", "truth", "pack", "volts", volts),
        Signal("true_pack_current_a", "A", "truth", "pack", "amperes", amperes),
        Signal("true_cell_voltage_v", "V", "truth", "cells", "blocks", cells),
        Signal("true_cell_current_a", "A", "truth", "cells", "cells", cell_a),
        Signal("true_cell_temperature_surface_degc", "degC", "truth", "cells", "skin", surface),
        Signal("true_ambient_degc", "degC", "truth", "slow", "air", degrees),
    ]
    waiting = list(frames)
    with Writer(path, signals, {"seed": 3, **(meta or {})}, frames=True) as writer:
        for n in range(1, TICKS + 1):
            soc[0], state[0], volts[0], amperes[0] = 1 - n / 4096, n % 5, 3.5 + n / 1024, n % 7
            cells[:], cell_a[:] = n + np.arange(5) / 8, n % 7 + np.arange(10) / 16
            degrees[0], surface[:] = n / 128, 20 + np.arange(10) + n / 2048
            while waiting and waiting[0].t_ns // 1000 <= n * STEP_US:
                f = waiting.pop(0)
                writer.low_level.frame(f.t_ns // 1000, f.bus, f.direction, f.id, f.flags, f.data)
            if n == TICKS // 2:
                writer.event(n * STEP_US * 1000, "trip", "overvoltage", 4, 4.5, "trip raised")
            if writer.low_level.tick(n * STEP_US):
                writer.drain()
        writer.close({"trips": 1})
    assert not waiting
    return Recording.open(path)
