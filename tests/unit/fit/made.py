"""A cell that is known, measured on paper: records and manifests for the tests.

The simulation is a plain loop over samples, written without the package's own recursions.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bms import cells
from bms.cells.laws import ocv_v
from bms.rng import Stream

BOLTZMANN = 8.617333262e-5
BASE = "panasonic_18650pf"


@dataclass(frozen=True)
class Known:
    """Truth of the made cell."""

    capacity_ah: float = 3.1
    ohm: tuple[float, float, float] = (0.030, 0.010, 0.020)
    tau_s: tuple[float, float] = (8.0, 200.0)
    activation_ev: tuple[float, float, float] = (0.30, 0.35, 0.25)
    hysteresis_v: float = 0.010
    noise_v: float = 0.0003


def pulses(levels: int = 9) -> list[tuple[float, float]]:
    """(current in A, seconds): at each level two pulses and a step to the next, with rests."""
    steps = [(0.0, 600.0)]
    for _ in range(levels):
        steps += [
            (6.0, 10.0),
            (0.0, 40.0),
            (-3.0, 10.0),
            (0.0, 300.0),
            (1.55, 720.0),
            (0.0, 1200.0),
        ]
    return steps


def slow() -> list[tuple[float, float]]:
    """Full discharge and charge at C/20, with rests."""
    return [(0.0, 600.0), (0.155, 71950.0), (0.0, 3600.0), (-0.155, 71950.0), (0.0, 3600.0)]


def record(
    known: Known, steps: Sequence[tuple[float, float]], degc: float, step_s: float, seed: int
) -> dict[str, np.ndarray]:
    """Columns of a record that starts full and at rest; a sample holds for the step it ends."""
    cell = cells.load(BASE)
    made = cell.electric
    current_a = np.concatenate([np.full(round(s / step_s), a) for a, s in steps])
    noise_v = known.noise_v * Stream(seed, f"made.{degc}").normals(len(current_a))
    law = [
        math.exp(e / BOLTZMANN * (1 / (degc + 273.15) - 1 / 298.15)) for e in known.activation_ev
    ]
    soc, loop, v1, v2 = 1.0, -1.0, 0.0, 0.0
    voltage_v = np.empty(len(current_a))
    for k, amps in enumerate(current_a):
        moved = amps * step_s / 3600.0 / known.capacity_ah
        soc -= moved
        decay = math.exp(-abs(moved) / made.hysteresis_soc_frac)
        loop = decay * loop + (1 - decay) * np.sign(moved)
        fast = math.exp(-step_s / (known.tau_s[0] * law[1]))
        late = math.exp(-step_s / (known.tau_s[1] * law[2]))
        v1 = fast * v1 + (1 - fast) * known.ohm[1] * law[1] * amps
        v2 = late * v2 + (1 - late) * known.ohm[2] * law[2] * amps
        rest_v = ocv_v(cell, soc, degc)
        drops_v = known.ohm[0] * law[0] * amps + v1 + v2 + known.hysteresis_v * loop
        voltage_v[k] = rest_v - drops_v + noise_v[k]
    flat = np.full(len(current_a), degc)
    time_s = step_s * np.arange(len(current_a))
    return {"time_s": time_s, "current_a": current_a, "voltage_v": voltage_v,
            "temperature_degc": flat, "temperature_core_degc": flat}  # fmt: skip


def write_csv(path: Path, columns: dict[str, np.ndarray]) -> Path:
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(columns)
        out.writerows(zip(*(np.round(c, 6) for c in columns.values()), strict=True))
    return path


def manifest(folder: Path, files: Sequence[str], fit: Sequence[str], more: str = "") -> Path:
    """A manifest in the folder; files are inline tables' contents."""
    rows = "".join(f"\n[[files]]\n{f}\n" for f in files)
    words = ", ".join(f'"{f}"' for f in fit)
    path = folder / "manifest.toml"
    path.write_text(
        f'name = "made"\ntitle = "made"\ndescription = "made"\nbase = "{BASE}"\n'
        f"fit = [{words}]\n{more}\n{rows}"
    )
    return path


def file(path: str, role: str, degc: float, more: str = "") -> str:
    return f'path = "{path}"\nrole = "{role}"\nambient_degc = {degc}\n{more}'
