"""Cost of one update of one cell: the firmware's estimator from Python, beside the same in NumPy.

Each figure is a whole step: readings in, temperature tables, core temperature, filter, results out,
through the bound buffers of bms.Estimator. The peer is the same model vectorised with NumPy
(bench/filters.py), which does without core temperature and checks. A published package, one cell at
a time as it is made for, is measured where it is installed. `run` rows hand over 200 steps at once.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from bms import cells
from bms.bench import Row, interleaved
from bms.bench.filters import NumpyFilter, Tables
from bms.bench.peers import PEERS, Peer
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
PACKAGES = ("bayesian_filters", "filterpy")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--updates",
        type=int,
        default=400_000,
        help="cell updates of one repetition (default 400000)",
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


def package() -> tuple[Peer | None, Callable[[int], object] | None]:
    """The textbook filter of the first published package that is installed, on one cell."""
    for name in PACKAGES:
        peer = PEERS.get(name)
        if peer is not None and peer.installed():
            from importlib import import_module

            return peer, _package_step(import_module(f"{name}.kalman"))
    return PEERS.get("filterpy"), None


def _package_step(module: Any) -> Callable[[int], object]:
    t = Tables(cells.load(CELL))
    made = module.ExtendedKalmanFilter(dim_x=3, dim_z=1, dim_u=1)
    made.x = np.array([[0.5], [0.0], [0.0]])
    made.P, made.Q = np.diag([1e-2, 1e-4, 1e-4]), np.diag([1e-10, 1e-8, 1e-8])
    made.R, made.F = np.array([[1e-4]]), np.diag([1.0, 0.4, 0.998])
    made.B = np.array([[-0.1 / t.capacity_as], [1.3e-4], [4e-7]])
    grid, ocv = t.grid, t.values["ocv_v"]

    def slope(x: np.ndarray) -> np.ndarray:
        z = float(x[0, 0])
        rise = np.interp(z + 0.005, grid, ocv) - np.interp(z - 0.005, grid, ocv)
        return np.array([[rise * 100.0, -1.0, -1.0]])

    def voltage(x: np.ndarray, amps: float) -> np.ndarray:
        level = np.interp(float(x[0, 0]), grid, ocv) - float(x[1, 0]) - float(x[2, 0])
        return np.array([[level - 7e-4 * amps]])

    def step(k: int) -> None:
        amps = current(k)
        made.predict(u=np.array([[amps]]))
        made.update(np.array([[3.80]]), slope, voltage, hx_args=(amps,))

    return step


def rows(options: argparse.Namespace) -> list[Row]:
    updates = options.updates
    measure: dict[str, Callable[[], float]] = {}
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
    peer, packaged = package()
    if packaged is not None:
        measure["package"] = lambda: per_update(packaged, 1, 2000)
    took = {
        name: spread.median for name, spread in interleaved(measure, options.repetitions).items()
    }
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
            better="higher",
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
    found.append(
        Row(name="threads_cell_update_ns_100000", ours=took["threads"], unit="ns", better="lower")
    )
    found.append(
        Row(
            name="package_cell_update_ns_1", ours=took["ours 1"], unit="ns", better="lower",
            peer=took.get("package"), peer_name=f"{peer.title} EKF" if peer else None,
            peer_install=peer.install if peer else "",
        )
    )  # fmt: skip
    return found
