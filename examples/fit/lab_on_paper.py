"""A laboratory on paper: measures a cell whose parameters are known, writes records and manifest.

    python examples/fit/lab_on_paper.py FOLDER

The cell has the curve of `panasonic_18650pf`, 3.1 Ah, 30 mohm ohmic, and two RC elements of 10
mohm, 8 s and 20 mohm, 200 s. The tester reads with 0.3 mV of noise. Three records: a slow cycle,
pulses at nine levels, and a drive that is not for fitting.
"""

from __future__ import annotations

import csv
import math
import sys
from pathlib import Path

import numpy as np

from bms import cells
from bms.cells.laws import ocv_v
from bms.rng import Stream

CAPACITY_AH, OHM, TAU_S = 3.1, (0.030, 0.010, 0.020), (8.0, 200.0)
NOISE_V, AMBIENT_DEGC = 0.0003, 25.0

SLOW = [(0.0, 600), (0.155, 71950), (0.0, 3600), (-0.155, 71950), (0.0, 3600)]
LEVEL = [(6.0, 10), (0.0, 40), (-3.0, 10), (0.0, 300), (1.55, 720), (0.0, 1200)]
PULSES = [(0.0, 600), *(step for _ in range(9) for step in LEVEL)]
"""(current in A, seconds); positive discharges."""

MANIFEST = """\
name = "my_cell"
title = "3.1 Ah cell, measured"
description = "From a slow cycle and pulses at 25 degC."
base = "panasonic_18650pf"
fit = ["electric", "hysteresis"]

[[files]]
path = "slow.csv"
role = "slow"
ambient_degc = 25

[[files]]
path = "hppc.csv"
role = "hppc"
ambient_degc = 25

[[files]]
path = "drive.csv"
role = "drive"
ambient_degc = 25
"""


def drive(seed: int) -> list[tuple[float, float]]:
    """Forty minutes of random load, less and less charge at each of them."""
    normals = Stream(seed, "lab.drive").normals(1200)
    return [(0.0, 60), *((float(min(6.0, max(-3.0, 1.5 + 2.0 * x))), 2) for x in normals)]


def measure(steps: list[tuple[float, float]], step_s: float, seed: int) -> dict[str, np.ndarray]:
    """Columns of a record that starts full and at rest."""
    cell = cells.load("panasonic_18650pf")
    amperes = np.concatenate([np.full(round(s / step_s), a) for a, s in steps])
    noise_v = NOISE_V * Stream(seed, "lab.noise").normals(amperes.size)
    keep = [math.exp(-step_s / tau_s) for tau_s in TAU_S]
    charge, volts, slow_v = np.empty(amperes.size), np.empty(amperes.size), [0.0, 0.0]
    soc = 1.0
    for k, current_a in enumerate(amperes):
        soc -= current_a * step_s / 3600 / CAPACITY_AH
        slow_v = [keep[i] * slow_v[i] + (1 - keep[i]) * OHM[i + 1] * current_a for i in range(2)]
        drop_v = OHM[0] * current_a + sum(slow_v)
        charge[k], volts[k] = soc, ocv_v(cell, soc, AMBIENT_DEGC) - drop_v + noise_v[k]
    return {
        "time_s": step_s * np.arange(amperes.size), "current_a": amperes, "voltage_v": volts,
        "temperature_degc": np.full(amperes.size, AMBIENT_DEGC), "true_soc_frac": charge,
    }  # fmt: skip


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    plans = {"slow": (SLOW, 10.0), "hppc": (PULSES, 1.0), "drive": (drive(1), 1.0)}
    for seed, (name, (steps, step_s)) in enumerate(plans.items(), 1):
        columns = measure(steps, step_s, seed)
        with (folder / f"{name}.csv").open("w", newline="") as file:
            out = csv.writer(file)
            out.writerow(columns)
            out.writerows(zip(*(np.round(c, 6) for c in columns.values()), strict=True))
    (folder / "manifest.toml").write_text(MANIFEST, "utf-8")
    print(f"{folder}: {', '.join(f'{name}.csv' for name in plans)}, manifest.toml")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
