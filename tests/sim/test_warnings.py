"""Warnings that must mean something."""

from __future__ import annotations

import pytest

from bms import spec
from bms.bench.power import probe
from bms.sim import Simulation


def active(run: Simulation) -> set[str]:
    bits = int(probe(run, "active_diagnoses")[0])
    return {row.name for row in spec.diagnoses() if bits >> row.id & 1}


def test_a_flat_ocv_at_half_charge_is_no_low_charge() -> None:
    run = Simulation("home_backup", seed=1, settings={"start.soc_frac": "0.6"})
    for _ in range(30):
        run.run(10.0, record=False)
        assert "soc_low" not in active(run)


@pytest.mark.parametrize("pack", ["car_96s3p", "home_16s"])
def test_a_battery_that_is_nearly_empty_warns(pack: str) -> None:
    run = Simulation("drive", pack=pack, seed=1, settings={"start.soc_frac": "0.04"})
    run.run(40.0, record=False)
    assert "soc_low" in active(run)


@pytest.mark.parametrize("kelvin", [-12.0, 12.0])
def test_a_thermistor_far_from_the_others_warns_and_does_not_trip(kelvin: float) -> None:
    run = Simulation("drive", seed=1)
    run.run(30.0, record=False)
    assert active(run) == set()
    run.world.parts["chips"]["temperature_offset_k"][8] += kelvin
    run.run(120.0, record=False)
    assert "temperature_unknown" in active(run)
    assert int(run.world.parts["plant"]["contactor_closed"][0]) == 3
