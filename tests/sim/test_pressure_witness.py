"""Stack pressure as a witness of charge: what it adds, and that a sensor that fails takes nothing.

The records are those of `bms bench pressure`: true voltages and pressures of a driven plant, read
with the errors of the pack file."""

from __future__ import annotations

import numpy as np
import pytest

from bms.bench import power, pressure
from bms.sim import Simulation

FAILURE_EPSILON_PCT = 2.0  # of charge: what a failing sensor may add before it is found


def home(branch: float) -> pressure.Case:
    capacity_ah = 100.0
    return pressure.simulate(
        "home", "home_16s", 0.4, 20.0, pressure.day(capacity_ah)[:420], seed=1, branch=branch
    )


@pytest.fixture(scope="module")
def case() -> pressure.Case:
    return home(0.0)


def judged(case: pressure.Case, sensor: str | None) -> pressure.Figures:
    if sensor is None:
        return pressure.figures(case, pressure.estimate(case, None))
    read = pressure.sensors(case)[sensor](case.pressure_kpa + case.noise_kpa)
    return pressure.figures(case, pressure.estimate(case, read))


@pytest.mark.parametrize("branch", [-1.0, 1.0])
def test_pressure_finds_the_charge_a_flat_ocv_on_its_branch_hides(branch: float) -> None:
    record = home(branch)
    without, joined = judged(record, None), judged(record, "good")
    assert joined.rmse < 0.6 * without.rmse
    assert joined.half_width < 0.75 * without.half_width
    assert without.inside > 99.7 and joined.inside > 99.7


@pytest.mark.parametrize(
    "sensor", ["lost", "frozen", "frozen_noisy", "stuck", "jump", "noisy", "drifting_fast"]
)
def test_a_sensor_that_fails_leaves_the_charge_as_without_it(
    case: pressure.Case, sensor: str
) -> None:
    without, joined = judged(case, None), judged(case, sensor)
    worse = np.abs(joined.mean_error) - np.abs(without.mean_error)
    assert worse.max() < FAILURE_EPSILON_PCT
    assert joined.rmse < without.rmse + 0.3
    assert joined.inside > 99.7


@pytest.mark.parametrize("sensor", ["offset_high", "offset_low", "drifting"])
def test_errors_within_the_sensors_specification_stay_inside_the_interval(
    case: pressure.Case, sensor: str
) -> None:
    assert judged(case, sensor).inside > 99.7


def test_a_frozen_sensor_ends_as_if_it_had_never_been(case: pressure.Case) -> None:
    """The filter never sees the pressure but through resistance: what was joined is taken away."""
    without = pressure.estimate(case, None)
    frozen = pressure.estimate(
        case, pressure.sensors(case)["frozen"](case.pressure_kpa + case.noise_kpa)
    )
    assert np.abs(frozen.soc_frac[-1] - without.soc_frac[-1]).mean() < 0.005
    assert np.abs(frozen.soc_std_frac[-1] / without.soc_std_frac[-1] - 1.0).mean() < 0.03


def test_where_the_ocv_is_steep_pressure_changes_next_to_nothing() -> None:
    record = pressure.simulate("car", "car_96s3p", 0.7, -10.0, pressure.drive(231.0)[:90], seed=1)
    without, joined = judged(record, None), judged(record, "good")
    assert abs(joined.rmse - without.rmse) < 0.2
    assert joined.half_width <= without.half_width + 0.01


def test_pressure_narrows_the_interval_in_the_closed_loop() -> None:
    settings = {"start.soc_frac": "0.45"}
    seen, lost = (Simulation("home_backup", seed=2, settings=settings) for _ in range(2))
    lost.world.parts["chips"]["pressure_offset_kpa"][:] = -1e6
    for run in (seen, lost):
        run.run(1.5 * 3600.0, record=False)
    n = seen.pack.topology.blocks
    true = seen.world.parts["plant"]["cell_soc_frac"][:n]
    sigma = power.probe(seen, "block_sigma_frac")[:n]
    assert sigma.mean() < 0.8 * power.probe(lost, "block_sigma_frac")[:n].mean()
    for run in (seen, lost):
        error = np.abs(power.probe(run, "block_soc_frac")[:n] - true)
        assert (error < 3.0 * power.probe(run, "block_sigma_frac")[:n]).all()
