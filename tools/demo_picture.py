"""Makes docs/pictures/demo.png, the README's picture, from a run of the demo's scenario.

Usage: .venv/bin/python tools/demo_picture.py [OUT.png]
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from bms.result import Run
from bms.sim import Simulation

TRUTH, MEASURED, ESTIMATED, LIMIT = "#1b1b1b", "#d55e00", "#0072b2", "#8a8a8a"  # Okabe and Ito


def lane(axis: plt.Axes, run: Run, name: str, colour: str, label: str, scale: float = 1.0) -> None:
    """One signal over minutes, thinned to what the picture can show."""
    time, values = run.recording.time_s(name) / 60.0, run[name] * scale
    step = max(1, len(time) // 4000)
    axis.plot(time[::step], values[::step], color=colour, lw=1.1, label=label)


def draw(run: Run, out: Path) -> None:
    """Four lanes: state of charge, current with its limits, cell voltages, stack pressure."""
    figure, axes = plt.subplots(4, 1, figsize=(10, 8.2), sharex=True, constrained_layout=True)
    soc, current, cells, pressure = axes
    time = run.recording.time_s("est_soc_low_frac") / 60.0
    low, high = 100 * run["est_soc_low_frac"], 100 * run["est_soc_high_frac"]
    soc.fill_between(time[::50], low[::50], high[::50], color=ESTIMATED, alpha=0.18, lw=0)
    lane(soc, run, "est_soc_frac", ESTIMATED, "estimate and its interval", 100)
    lane(soc, run, "true_soc_frac", TRUTH, "truth", 100)
    soc.set_ylabel("state of charge, %")
    lane(current, run, "est_discharge_limit_a", LIMIT, "limits the BMS advertises")
    minutes = run.recording.time_s("est_charge_limit_a") / 60.0
    current.plot(minutes[::50], -run["est_charge_limit_a"][::50], color=LIMIT, lw=1.1)
    lane(current, run, "meas_pack_current_a", MEASURED, "measured")
    current.set_ylim(-160, 260)
    current.set_ylabel("current, A (+ = discharge)")
    spread = run["true_cell_voltage_v"]
    time = run.recording.time_s("true_cell_voltage_v") / 60.0
    bottom, top = np.nanmin(spread, axis=1), np.nanmax(spread, axis=1)
    cells.fill_between(time, bottom, top, color=TRUTH, alpha=0.25, lw=0, label="all cells, truth")
    lane(cells, run, "meas_cell_voltage_max_v", MEASURED, "measured, highest and lowest")
    lane(cells, run, "meas_cell_voltage_min_v", MEASURED, "_")
    cells.set_ylabel("cell voltage, V")
    time = run.recording.time_s("true_module_pressure_kpa") / 60.0
    kpa = run["true_module_pressure_kpa"]
    pressure.plot(time, kpa.min(axis=1), color=TRUTH, lw=1.1, label="truth, lowest and highest")
    pressure.plot(time, kpa.max(axis=1), color=TRUTH, lw=1.1)
    lane(pressure, run, "meas_module_pressure_max_kpa", MEASURED, "measured, highest")
    pressure.set_ylabel("stack pressure, kPa")
    pressure.set_xlabel("time, min")
    for axis in axes:
        axis.grid(alpha=0.25)
        axis.legend(loc="upper right", fontsize=8, ncols=3, frameon=False)
        axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"{run.plan.title}: {run.summary['pack']} under its own firmware", fontsize=12)
    figure.savefig(out, dpi=110)


if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/pictures/demo.png")
    target.parent.mkdir(parents=True, exist_ok=True)
    draw(Simulation("drive", seed=1).run(), target)
