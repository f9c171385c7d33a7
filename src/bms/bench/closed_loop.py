"""Estimators in the closed loop: the pack drives under its firmware, and what the firmware measured
is what they are given.

The firmware's own estimate is the one that acts: on limits, contactors and so on the pack. Every
other estimator listens: it is fed the `meas_` signals of the same run, as the firmware told them on
CAN, once a second, and scored against the truth. That is open-loop scoring of closed-loop
measurements; the pack would not have been driven otherwise under it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bms.bench import Row
from bms.bench.filters import Counting, PlainEkf
from bms.bench.foreign import replay
from bms.bench.records import Case
from bms.estimator.scoring import score
from bms.sim import Simulation

NAME = "closed_loop/drive"


def listened(seconds: float) -> tuple[Case, Any]:
    """What the firmware measured on a drive, and its own estimates (n, cells) in per cent."""
    made = Simulation("drive", pack="car_96s1p", seed=7, settings={"phase.drive.repeat": "3"})
    run = made.run(seconds, cells_every_s=1.0)
    at = run.recording.time_s("true_cell_soc_frac")

    def held(name: str) -> np.ndarray:
        """The signal as it was last told at each time."""
        times, values = run.recording.time_s(name), run[name]
        place = np.clip(np.searchsorted(times, at, side="right") - 1, 0, len(times) - 1)
        return np.asarray(values[place], np.float64)

    volts, told = held("meas_cell_voltage_v"), 100.0 * held("est_cell_soc_frac")
    known = np.isfinite(volts).all(axis=1) & np.isfinite(told).all(axis=1)
    first = int(np.argmax(known))  # the firmware is awake and has told everything once
    places = made.pack.sensors.temperature_blocks
    per_module, modules = made.pack.topology.blocks_per_module, volts.shape[1]
    module, block = np.divmod(np.arange(modules), per_module)
    nearest = np.abs(np.subtract.outer(block, np.array(places))).argmin(axis=1)
    warm = held("meas_temperature_degc")[:, module * len(places) + nearest]
    case = Case(
        set="closed_loop",
        name="drive",
        cell=made.cell,
        time_s=at[first:],
        current_a=held("meas_pack_current_a")[first:],
        voltage_v=volts[first:],
        temperature_degc=warm[first:],
        pressure_kpa=held("meas_module_pressure_kpa")[first:, 0],
        soc_frac=run["true_cell_soc_frac"][first:],
        core_degc=None,
    )
    return case, told[first:]


def rows(seconds: float, made: Any | None, name: str) -> list[Row]:
    """The firmware's own estimate beside listeners: plain EKF, coulomb counting, `made`."""
    case, told = listened(seconds)
    assert case.soc_frac is not None
    truth = 100.0 * case.soc_frac
    mine = score(case.time_s, told, truth)
    others: list[tuple[str, str, Any]] = [
        ("", "plain EKF, 2 RC", PlainEkf()),
        ("/coulomb_counting", "coulomb counting", Counting()),
    ]
    if made is not None:
        others.append(("/estimator", name, made))
    out = []
    for suffix, title, other in others:
        theirs = score(case.time_s, 100.0 * replay(other, case, title), truth)
        for kind, ours, peer in (
            ("soc_rmse_pct", mine.settled_rmse, theirs.settled_rmse),
            ("soc_max_error_pct", mine.settled_max_error, theirs.settled_max_error),
        ):
            row = Row(
                name=f"{kind}/{NAME}{suffix}", ours=ours, unit="%", better="lower", peer=peer,
                peer_name=title,
            )  # fmt: skip
            out.append(row)
    return out
