"""Starts: wherever the charge is and whatever was before, the truth is in the interval."""

from __future__ import annotations

import numpy as np
import pytest

from bms import cells, packs
from bms.bench import pressure
from bms.estimator import Estimator


@pytest.mark.parametrize("name", ["home_16s", "bus_96s", "car_96s3p"])
@pytest.mark.parametrize("branch", [-1, 0, 1])
def test_a_rest_on_any_branch_of_the_hysteresis_starts_inside_the_interval(
    name: str, branch: int
) -> None:
    pack = packs.load(name)
    cell = cells.load(pack.cell)
    electric = cell.electric
    truth = np.linspace(0.02, 0.98, 33)
    volts = np.interp(truth, electric.ocv_soc_frac, electric.ocv_v) - branch * electric.hysteresis_v
    made = Estimator(cell, 33, sensors=pack.sensors, spread=pack.spread)
    found = made.run(np.arange(2.0), np.zeros(2), np.tile(volts, (2, 1)), np.full(2, 25.0))
    assert (np.abs(found.soc_frac[0] - truth) < 3.0 * found.soc_std_frac[0]).all()
    if name == "car_96s3p":  # steep everywhere: and not wider than it needs to be
        assert found.soc_std_frac[0].max() < 0.05


@pytest.mark.parametrize("wrong", [-0.3, 0.3])
@pytest.mark.parametrize("branch", [-1.0, 1.0])
def test_a_wrong_start_on_a_plateau_is_never_sure_of_itself(wrong: float, branch: float) -> None:
    case = pressure.simulate(
        "home", "home_16s", 0.45, 20.0, pressure.day(100.0)[:60], seed=4, branch=branch
    )
    made = Estimator(
        case.cell, case.voltage_v.shape[1], sensors=case.pack.sensors, spread=case.pack.spread
    )
    told = np.clip(case.soc_frac[0] + wrong, 0.0, 1.0)
    found = made.run(case.time_s, case.current_a, case.voltage_v, case.temperature_degc, soc0=told)
    inside = np.abs(found.soc_frac - case.soc_frac) <= 3.0 * found.soc_std_frac
    assert inside.mean() > 0.95  # what is told is 2.5 of its sigmas off, and the branch the worst
