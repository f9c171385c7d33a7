"""The recorder: 300 signals a tick into a file that survives a crash, its size, CAN frames.

The signals lie on their raster (cell voltages 0.5 mV, currents 0.05 A, temperatures 0.1 K): the
slow movement of a drive plus the noise of a converter, a new value each tick. tick_us_300 is
everything until the file is closed: taking the values, pressing, checking, writing, and a sync each
second, the recorder's thread beside the loop; tick_cpu_us_300 is the work of both. asammdf appends
the same values tick by tick to an open file, which does not survive a crash.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bms.bench import Row, interleaved
from bms.bench.peers import PEERS
from bms.recorder import Recording, Signal, Writer
from bms.recorder.container import Raster

SIGNALS = 300
BLOCK = 40_000  # ticks of values, more than a batch: what repeats must not lie side by side
KINDS = (("v", 0.0005, 3.7, 0.05), ("a", 0.05, 60.0, 40.0), ("degc", 0.1, 25.0, 4.0))
FRAMES = 200_000
WRITE_S = 1.0 / 439e6  # of a sample: raw float32 rows by write() on this class of machine


def drive_values(ticks: int) -> np.ndarray:
    """Values of a drive on their rasters, float64 of shape (ticks, SIGNALS)."""
    rng = np.random.default_rng(1)
    time_s = np.arange(ticks) * 0.01
    values = np.empty((ticks, SIGNALS))
    for k in range(SIGNALS):
        _, step, middle, swing = _kind(k)
        slow = sum(np.sin(time_s * f + k + f) / n for n, f in enumerate((0.3, 0.11, 0.73), 1))
        noise = rng.normal(0.0, 1.2 * step, ticks)
        values[:, k] = np.rint((middle + swing * slow / 2 + noise) / step) * step
    return values


def signals_of(live: np.ndarray) -> list[Signal]:
    """Signals looking at one row of values."""
    found = []
    for k in range(SIGNALS):
        unit, step, _, _ = _kind(k)
        name, value = f"meas_{k}_{unit}", live[k : k + 1]
        found.append(Signal(name, unit, "measured", "pack", "", value, raster=Raster(step)))
    return found


def _kind(k: int) -> tuple[str, float, float, float]:
    """Seven voltages, two currents and a temperature in ten."""
    return KINDS[0 if k % 10 < 7 else 1 if k % 10 < 9 else 2]


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ticks", type=int, default=120_000, help="ticks of a repetition")


def rows(options: argparse.Namespace) -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="bms-bench-") as name:
        return _measured(options, Path(name))


def _measured(options: argparse.Namespace, folder: Path) -> list[Row]:
    values, path = drive_values(BLOCK), folder / "bench.arrow"
    measure: dict[str, Any] = {
        "tick": partial(tick_us, values, path, options.ticks),
        "cpu": partial(tick_us, values, path, options.ticks, time.process_time),
        "copy": partial(copy_us, values),
        "frames": partial(frames_per_s, folder / "frames.arrow"),
    }
    mdf, can = PEERS["asammdf"], PEERS["can"]
    if mdf.installed():
        measure["asammdf"] = partial(asammdf_tick_us, values, folder / "bench.mf4")
    if can.installed():
        measure["blf"] = partial(blf_frames_per_s, folder / "bench.blf")
    found = interleaved(measure, options.repetitions)
    samples = options.ticks * SIGNALS
    tick_us(values, path, options.ticks)
    size = path.stat().st_size / samples
    Recording.open(path).close()
    peer_us = found["asammdf"].median if "asammdf" in found else None
    peer_frames = found["blf"].median if "blf" in found else None
    return [
        Row(name="tick_us_300", ours=found["tick"].median, unit="us", better="lower", peer=peer_us,
            peer_name="asammdf extend, a tick a call", limit=WRITE_S * SIGNALS * 1e6,
            limit_source="raw float32 rows by write(), neither pressed nor checked",
            peer_install=mdf.install),
        Row(name="tick_cpu_us_300", ours=found["cpu"].median, unit="us", better="lower"),
        Row(name="tick_us_300_in_the_loop", ours=found["copy"].median, unit="us", better="lower"),
        Row(name="bytes_per_sample", ours=size, unit="B", better="lower",
            peer=asammdf_size(values, folder / "size.mf4") if mdf.installed() else None,
            peer_name="asammdf, same integers, transposed and deflated",
            limit=entropy_bytes(values), limit_source="entropy of the differences of each signal",
            peer_install=mdf.install),
        Row(name="frames_per_s", ours=found["frames"].median, unit="1/s", better="higher",
            peer=peer_frames, peer_name="python-can BLFWriter", peer_install=can.install),
    ]  # fmt: skip


def tick_us(
    values: np.ndarray, path: Path, ticks: int, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Microseconds a tick from the first to the closed file; the values come from a C loop."""
    live = np.zeros(SIGNALS)
    writer = Writer(path, signals_of(live), {})
    recorder, done, t_us = writer.low_level, 0, 0
    began = clock()
    while done < ticks:
        rows = values[done % BLOCK : done % BLOCK + ticks - done]
        count, t_us = recorder.ticks_from(rows, live, t_us)
        done += count
        writer.drain()
    writer.close()
    return (clock() - began) / ticks * 1e6


def copy_us(values: np.ndarray) -> float:
    """Microseconds that one tick costs the loop that is recorded."""
    live = np.zeros(SIGNALS)
    with (
        tempfile.TemporaryDirectory(prefix="bms-bench-") as folder,
        Writer(Path(folder) / "copy.arrow", signals_of(live), {}) as writer,
    ):
        began = time.perf_counter()
        count, _ = writer.low_level.ticks_from(values, live, 0)
        return (time.perf_counter() - began) / count * 1e6


def frames_per_s(path: Path) -> float:
    """CAN frames of 8 bytes a second, 20 a tick, into a closed file."""
    live = np.zeros(1)
    signal = Signal("meas_v", "V", "measured", "pack", "", live)
    writer = Writer(path, [signal], {}, frames=True)
    began, left, t_us = time.perf_counter(), FRAMES, 0
    while left > 0:
        count, t_us = writer.low_level.frames_until_full(t_us, 20, left)
        left -= count
        writer.drain()
    writer.close()
    return FRAMES / (time.perf_counter() - began)


def asammdf_tick_us(values: np.ndarray, path: Path) -> float:
    """The same values appended tick by tick by asammdf."""
    mdf = _mdf(values[:1])
    count = 400
    began = time.perf_counter()
    for k in range(1, count + 1):
        now = np.array([k * 0.01])
        mdf.extend(0, [(now, None), *((values[k : k + 1, c], None) for c in range(SIGNALS))])
    took = time.perf_counter() - began
    mdf.save(path, overwrite=True)
    mdf.close()
    return took / count * 1e6


def asammdf_size(values: np.ndarray, path: Path) -> float:
    """Bytes a sample of an MDF4 file of the same integers, pressed as well as it can."""
    steps = np.array([_kind(k)[1] for k in range(SIGNALS)])
    mdf = _mdf(np.rint(values / steps).astype(np.int16))
    mdf.save(path, overwrite=True, compression=2)
    mdf.close()
    return path.stat().st_size / values.size


def _mdf(values: np.ndarray) -> Any:
    asammdf = PEERS["asammdf"].load()
    stamps = np.arange(len(values)) * 0.01
    mdf = asammdf.MDF()
    found = [
        asammdf.Signal(np.ascontiguousarray(values[:, k]), stamps, name=f"meas_{k}")
        for k in range(SIGNALS)
    ]
    mdf.append(found)
    return mdf


def blf_frames_per_s(path: Path) -> float:
    """The same frames by python-can's writer."""
    can = PEERS["can"].load()
    count = FRAMES // 10
    message = can.Message(arbitration_id=0x123, data=bytes(range(8)), is_extended_id=False)
    writer = can.BLFWriter(path)
    began = time.perf_counter()
    for k in range(count):
        message.timestamp = k * 0.0005
        writer.on_message_received(message)
    writer.stop()
    return count / (time.perf_counter() - began)


def entropy_bytes(values: np.ndarray) -> float:
    """Mean over the signals of the entropy of their differences, bytes."""
    bits = []
    for k in range(SIGNALS):
        step = _kind(k)[1]
        _, counts = np.unique(np.diff(np.rint(values[:, k] / step)), return_counts=True)
        share = counts / counts.sum()
        bits.append(float(-(share * np.log2(share)).sum()))
    return float(np.mean(bits)) / 8
