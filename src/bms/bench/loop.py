"""The whole closed loop at its rates: plant, chips as bytes, frames, firmware with an EKF of every
cell.

Simulated seconds per second on one core, recorder off and on; the cost of a 10 ms tick; growth from
16 to 400 cells in series. The pack drives through an alternating current the whole time, contactors
closed. The peer does the same job, less chips and bytes, with NumPy, cantools and python-can
(composed.py), in the same run."""

from __future__ import annotations

import argparse
import math
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
import numpy as np

from bms import packs
from bms.bench import Row, composed, interleaved
from bms.sim import Simulation

LIMIT = 4320.0
LIMIT_SOURCE = (
    "bare C proxy of plant, bytes, parser, EKF and frames, multi-rate, this class of machine"
)
SIZES = (16, 96, 200, 400)
CLOSED = 3  # both main contactors, no precharge


def driving(blocks: int) -> tuple[Simulation, bytes]:
    """A simulation with contactors closed and current flowing, and a snapshot of it."""
    pack, replace = packs.load("car_96s1p"), msgspec.structs.replace
    per_module = 16 if blocks % 16 == 0 else 10
    kept = tuple(b for b in pack.sensors.temperature_blocks if b < per_module)
    # A higher voltage puts more energy into the precharge resistor.
    energy_j = max(1.0, (blocks / 96.0) ** 2) * pack.contactors.precharge_energy_j
    pack = replace(
        pack,
        topology=replace(pack.topology, blocks=blocks, blocks_per_module=per_module),
        sensors=replace(pack.sensors, temperature_blocks=kept),
        contactors=replace(pack.contactors, precharge_energy_j=energy_j),
    )
    simulation = Simulation("drive", pack=pack)
    simulation.run(12.0, record=False)
    parts = simulation.world.parts
    if int(parts["plant"]["contactor_closed"][0]) != CLOSED:
        raise RuntimeError(f"{blocks} blocks: the contactors did not close")
    steps = np.resize(np.array([40.0, 60.0, 20.0, -30.0, 0.0, -20.0]), 6000)
    parts["vehicle"]["kind"][0] = 2
    parts["loop"]["profile_index"][0] = 0
    parts["loop"]["profile_from_us"][0] = parts["loop"]["elapsed_us"][0]
    parts["loop"]["profile_step_us"][0] = 1_000_000
    parts["loop"]["until"][0] = 0
    simulation.world.set_profile(steps)
    simulation.world.run(2000)
    return simulation, simulation.world.snapshot()


def factor(simulation: Simulation, snapshot: bytes, seconds: float) -> float:
    """Simulated seconds per second of the compiled loop, recorder off."""
    simulation.world.restore(snapshot)
    milliseconds, began = round(seconds * 1000), time.perf_counter()
    while milliseconds > 0:
        done, _ = simulation.world.run(min(2000, milliseconds))
        simulation.world.parts["loop"]["event_count"][0] = 0
        milliseconds -= done
    return seconds / (time.perf_counter() - began)


def recorded_factor(simulation: Simulation, snapshot: bytes, seconds: float, folder: Path) -> float:
    """The same with a recording at its default rates, opened and closed inside the time."""
    simulation.world.restore(snapshot)
    simulation.position.recorded = 0
    simulation.events.clear()
    began = time.perf_counter()
    simulation.run(seconds, record=folder / "bench.arrow")
    return seconds / (time.perf_counter() - began)


def ticks_us(simulation: Simulation, snapshot: bytes, count: int) -> np.ndarray:
    """Wall time of single 10 ms ticks in microseconds, shape (count,)."""
    simulation.world.restore(snapshot)
    return simulation.world.time_ticks(count)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--seconds", type=float, default=300.0, help="simulated seconds of a repetition"
    )


def rows(options: argparse.Namespace) -> list[Row]:
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(allowed)})  # one core, always the same
    try:
        return _measured(options)
    finally:
        os.sched_setaffinity(0, allowed)


def _measured(options: argparse.Namespace) -> list[Row]:
    sizes = {n: driving(n) for n in SIZES}
    main, snapshot = sizes[96]
    seconds = options.seconds
    with tempfile.TemporaryDirectory(prefix="bms-bench-") as folder:
        measure: dict[str, Callable[[], float]] = {
            f"size {n}": partial(factor, *pair, seconds) for n, pair in sizes.items()
        }
        measure["recorded"] = partial(recorded_factor, main, snapshot, seconds, Path(folder))
        measure["peer"] = partial(composed.realtime_factor, 96, 400)
        found = interleaved(measure, options.repetitions)
    ticks = np.concatenate([ticks_us(main, snapshot, 5000) for _ in range(options.repetitions)])
    slope = np.polyfit(
        [math.log(n) for n in SIZES], [-math.log(found[f"size {n}"].median) for n in SIZES], 1
    )[0]
    peer, peer_name = (
        found["peer"].median,
        "NumPy plant and EKF + cantools + python-can, no chips, no bytes",
    )
    half, high = (float(np.percentile(ticks, q)) for q in (50, 99))
    return [
        Row(name="realtime_factor_96s", ours=found["size 96"].median, unit="x", better="higher",
            peer=peer, peer_name=peer_name, limit=LIMIT, limit_source=LIMIT_SOURCE),
        Row(name="realtime_factor_96s_recorded", ours=found["recorded"].median, unit="x",
            better="higher", peer=peer, peer_name=peer_name, limit=found["size 96"].median,
            limit_source="the same run, recorder off"),
        Row(name="tick_us_p50_96s", ours=half, unit="us", better="lower",
            peer=1e4 / peer, peer_name=peer_name, limit=1e4 / LIMIT, limit_source=LIMIT_SOURCE),
        Row(name="tick_us_p99_96s", ours=high, unit="us", better="lower"),
        Row(name="tick_us_max_96s", ours=float(ticks.max()), unit="us", better="lower"),
        Row(name="growth_exponent_16_to_400", ours=float(slope), unit="1", better="lower",
            limit=1.0, limit_source="linear in the number of cells"),
    ]  # fmt: skip
