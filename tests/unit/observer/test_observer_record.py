"""The thermal observer against a measured core: a 26650 cell on a drive cycle, then at rest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bms import _observer, cells
from bms.model import Cell

DRIVEN_S = 3000  # then comes the rest that cooling is learnt from
LAW = 0.607  # T_core = T_surface + LAW (T_surface - T_coolant), identified on this very record


@pytest.fixture(scope="module")
def record(data_dir: Path) -> np.ndarray:
    """Measured core, surface and coolant of a cell, a row a second; current positive on charge."""
    place = data_dir / "a123_core_temperature" / "drive_1_1s.csv"
    return np.genfromtxt(place, delimiter=",", names=True)


def parameters(cell: Cell, cooling_w_per_k: float, sigma_frac: float) -> dict[str, float]:
    """One measured cell: heat is made all over, and the sink is measured."""
    whole = cell.geometry.mass_kg * cell.thermal.heat_capacity_j_per_kg_k
    core = cell.thermal.core_frac
    return {
        "core_j_per_k": whole * core,
        "surface_j_per_k": whole * (1.0 - core),
        "core_surface_w_per_k": cell.thermal.core_surface_w_per_k * core,
        "neighbour_w_per_k": 0.0,
        "cooling_w_per_k": cooling_w_per_k,
        "cooling_sigma_frac": sigma_frac,
        "heat_core_frac": core,
        "heat_sigma_frac": 0.2,
        "sensor_sigma_k": 0.1,
        "spread_sigma_k": 0.1,
        "start_sigma_k": 2.0,
    }


def observe(
    record: np.ndarray, cooling_w_per_k: float, sigma_frac: float
) -> tuple[np.ndarray, float]:
    cell = cells.load("a123_26650")
    made = cell.resistance
    ohm = made.electrolyte_ohm + made.contact_ohm + made.charge_transfer_ohm + made.diffusion_ohm
    columns = [
        record["time_s"],
        record["current_A"] ** 2 * ohm,
        record["T_surf_C"],
        record["T_inf_C"],
    ]
    time_s, heat_w, surface, sink = (np.ascontiguousarray(c, dtype=np.float32) for c in columns)
    core, cooling = np.zeros_like(time_s), np.zeros_like(time_s)
    observer = _observer.Observer(parameters(cell, cooling_w_per_k, sigma_frac), [0])
    observer.run(time_s, heat_w, surface, sink, core, cooling)
    return core, float(cooling[-1])


def rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))


@pytest.mark.parametrize("guess_w_per_k", [0.15, 0.2, 0.3])
def test_core_is_known_to_0_2_k_with_the_cooling_learnt_on_the_other_half(
    record: np.ndarray, guess_w_per_k: float
) -> None:
    _, learnt = observe(record[DRIVEN_S:], guess_w_per_k, 0.5)
    driven = record[:DRIVEN_S]
    core, _ = observe(driven, learnt, 0.03)
    law = driven["T_surf_C"] + LAW * (driven["T_surf_C"] - driven["T_inf_C"])
    assert 0.19 < learnt < 0.22
    assert rms(core - driven["T_core_C"]) <= 0.15
    assert rms(core - driven["T_core_C"]) <= rms(law - driven["T_core_C"])


def test_cooling_is_not_learnt_while_the_cell_is_driven(record: np.ndarray) -> None:
    _, learnt = observe(record[:DRIVEN_S], 0.3, 0.5)
    assert learnt == pytest.approx(0.3)


def test_what_is_learnt_is_bounded_to_a_third_and_three_times(record: np.ndarray) -> None:
    _, learnt = observe(record[DRIVEN_S:], 0.05, 5.0)
    assert learnt <= 0.15 + 1e-6
