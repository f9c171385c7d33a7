"""Cost of one update of one cell: the firmware's estimator from Python, beside the same in NumPy.

Each figure is a whole step: readings in, temperature tables, core temperature, filter, results out,
through the bound buffers of bms.Estimator. The peer is the same model vectorised with NumPy
(bench/filters.py), which does without core temperature and checks. A published package, one cell at
a time as it is made for, is measured where it is installed (--peer-python names another Python).
`run` rows hand over 200 steps at once. Rows of the microcontroller: bms.bench.mcu.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

from bms import cells
from bms.bench import Row, interleaved, mcu, package
from bms.bench.filters import NumpyFilter
from bms.estimator import Estimator

CELL = "sulfide_nmc811_77ah"
SIZES = (1, 96, 1000, 100_000)
LIMITS = {1: 27.4, 96: 2.33, 1000: 2.27, 100_000: 3.66}
LIMIT_SOURCE = (
    "bare C filter of three states, double, no temperature, nothing considered, AVX-512, "
    "this class of machine"
)
RUN_STEPS = 200
STEP_S = 0.02  # as the firmware reads voltages; temperatures count every 0.1 s, on both sides
TARGETS = {96: 60.0, 1000: 15.0}
TARGET = "required: 60 at 96 cells, 15 at 1000"
COPY_BYTES = 200_000_000
# A step reads and writes at least: 24 floats of the filter and 11 of the readings of a cell, and
# takes in two doubles and gives out two floats.
STEP_BYTES = 2 * 4 * (24 + 11) + 2 * 8 + 2 * 4


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--updates",
        type=int,
        default=400_000,
        help="cell updates of one repetition (default 400000)",
    )
    parser.add_argument(
        "--peer-python", metavar="PATH", help="a Python that has filterpy, in a venv of its own"
    )


def readings(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Voltages and temperatures of n slightly different cells, half charged."""
    spread = np.linspace(-1.0, 1.0, n) if n > 1 else np.zeros(1)
    return 3.80 + 0.05 * spread, 25.0 + 5.0 * spread


def current(k: int) -> float:
    """Ampere at step k, by turns out and in."""
    return 40.0 if k // 10 % 2 else -30.0


def per_update(step: Callable[[int], object], n: int, updates: int) -> float:
    """Nanoseconds of a step over n cells."""
    count = max(3, updates // n)
    began = time.perf_counter()
    for k in range(count):
        step(k)
    return (time.perf_counter() - began) * 1e9 / (count * n)


def ours(n: int, threads: int) -> Callable[[int], object]:
    """A step of bms.Estimator over n cells."""
    made = Estimator(CELL, n, threads=threads)
    made.bind()
    volts, warm = readings(n)
    into = made.inputs
    into["voltage_v"][0], into["temperature_degc"][0], into["dt_s"][0] = volts, warm, STEP_S
    amps, advance = into["current_a"], made.advance

    def step(k: int) -> None:
        amps[0, 0] = current(k)
        into["voltage_v"][0, 0] = 3.80 + 1e-6 * k
        advance()

    return step


def numpy_peer(n: int) -> Callable[[int], object]:
    """The same by NumPy."""
    made = NumpyFilter(cells.load(CELL), n)
    volts, warm = readings(n)
    return lambda k: made.step(STEP_S, current(k), volts, warm)


def at_once(n: int) -> Callable[[int], object]:
    """RUN_STEPS steps in one call; counts as one step of n * RUN_STEPS cells."""
    made = Estimator(CELL, n, threads=1)
    volts, warm = readings(n)
    times = np.arange(RUN_STEPS) * STEP_S
    amps = np.array([current(k) for k in range(RUN_STEPS)])
    all_volts, all_warm = np.tile(volts, (RUN_STEPS, 1)), np.tile(warm, (RUN_STEPS, 1))
    return lambda k: made.run(times, amps, all_volts, all_warm)


def copy_gb_per_s() -> float:
    """What one thread reads and writes when it copies much memory."""
    source = np.ones(COPY_BYTES // 8)
    target = np.empty_like(source)
    np.copyto(target, source)
    began = time.perf_counter()
    np.copyto(target, source)
    return 2.0 * COPY_BYTES / (time.perf_counter() - began) * 1e-9


def measured(updates: int, repetitions: int, peer: tuple[str, str] | None) -> dict[str, float]:
    """Nanoseconds of a cell update by kind, all taken in turns; `copy` in GB/s."""
    measure: dict[str, Callable[[], float]] = {"copy": copy_gb_per_s}
    for n in SIZES:
        mine, theirs = ours(n, 1), numpy_peer(n)
        few = max(20_000, updates // 20) if n < 1000 else updates  # NumPy is slow on few cells
        measure[f"ours {n}"] = lambda step=mine, n=n: per_update(step, n, updates)  # type: ignore[misc]
        measure[f"numpy {n}"] = lambda step=theirs, n=n, few=few: per_update(
            step, n, few if n > 1 else 500
        )  # type: ignore[misc]
    for n in (96, 1000):
        whole = at_once(n)
        measure[f"run {n}"] = lambda step=whole, n=n: per_update(step, n * RUN_STEPS, updates)  # type: ignore[misc]
    every = ours(100_000, 0)
    measure["threads"] = lambda: per_update(every, 100_000, updates)
    if peer is not None:
        measure["package"] = lambda: package.update_ns(*peer, CELL, 2000)
    return {name: spread.median for name, spread in interleaved(measure, repetitions).items()}


def package_row(took: dict[str, float], peer: tuple[str, str] | None) -> Row:
    """Beside a published package, or how to get it."""
    name = f"{peer[1]} EKF" if peer else f"filterpy EKF, not installed: {package.INSTALL}"
    return Row(
        name="package_cell_update_ns_1", ours=took["ours 1"], unit="ns", better="lower",
        peer=took.get("package"), peer_name=name, peer_install=package.INSTALL,
    )  # fmt: skip


def memory_rows(took: dict[str, float]) -> list[Row]:
    """Why threads gain little on very many cells: their states come from memory."""
    rate = STEP_BYTES / took["threads"]
    return [
        Row(name="threads_cell_update_ns_100000", ours=took["threads"], unit="ns", better="lower"),
        Row(
            name="threads_memory_gb_per_s_100000", ours=rate, unit="GB/s", better="higher",
            limit=took["copy"], limit_source="one thread that copies memory, in this run",
        ),
    ]  # fmt: skip


def rows(options: argparse.Namespace) -> list[Row]:
    peer = package.found(options.peer_python)
    took = measured(options.updates, options.repetitions, peer)
    found = [
        Row(
            name=f"cell_update_ns_{n}", ours=took[f"ours {n}"], unit="ns", better="lower",
            peer=took[f"numpy {n}"], peer_name="NumPy, the same model",
            limit=LIMITS[n], limit_source=LIMIT_SOURCE,
        )
        for n in SIZES
    ]  # fmt: skip
    found += [
        Row(
            name=f"speedup_over_numpy_{n}", ours=took[f"numpy {n}"] / took[f"ours {n}"], unit="x",
            better="higher", limit=TARGETS.get(n), limit_source=TARGET if n in TARGETS else None,
        )
        for n in SIZES
    ]  # fmt: skip
    found += [
        Row(
            name=f"run_cell_update_ns_{n}", ours=took[f"run {n}"], unit="ns", better="lower",
            limit=LIMITS[n], limit_source=LIMIT_SOURCE,
        )
        for n in (96, 1000)
    ]  # fmt: skip
    return [*found, *memory_rows(took), package_row(took, peer), *mcu.arm_rows(CELL)]
