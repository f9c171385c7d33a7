"""Soft shorts found from rest to rest, in the closed loop: cycles with a rest at the top."""

from __future__ import annotations

import pytest
from test_watch_closed_loop import advance, probe

from bms.sim import Simulation

SETTINGS = {
    "ageing_acceleration": "1",
    "rounds.times": "3",
    "phase.charge.until.soc_above_frac": "0.997",
    "phase.rest_full.duration_s": "1200",
}
SOFT_SHORT = 40


def flagged(run: Simulation) -> bool:
    return bool(int(probe(run, "active_diagnoses")[0]) >> SOFT_SHORT & 1)


def test_a_20_ohm_short_behind_a_flat_ocv_is_flagged_within_three_full_charges() -> None:
    run = Simulation("life", pack="home_16s", seed=1, settings=SETTINGS)
    run.world.parts["plant"]["cell_short_siemens"][3] = 1.0 / 20.0
    while not flagged(run) and run.time_s < 8 * 3600:
        advance(run, 600)
    assert flagged(run)
    assert 0.05 < probe(run, "drain_a")[0] < 3.4 / 20.0


@pytest.mark.slow("eight hours of a home battery, a day of its life")
@pytest.mark.parametrize("seed", [1, 2])
def test_healthy_blocks_behind_a_flat_ocv_are_not(seed: int) -> None:
    run = Simulation("life", pack="home_16s", seed=seed, settings=SETTINGS)
    while run.time_s < 8 * 3600:
        advance(run, 3600)
        assert not flagged(run), f"seed {seed}"
    assert probe(run, "drain_looks")[0] >= 1
