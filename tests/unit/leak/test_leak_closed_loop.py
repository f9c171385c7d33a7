"""Soft shorts in the closed loop: a home battery behind a flat OCV that is cycled to full."""

from __future__ import annotations

import numpy as np
import pytest

from bms.sim import Simulation
from bms.spec import diagnosis

SETTINGS = {
    "ageing_acceleration": "1",
    "rounds.times": "5",
    "phase.charge.until.soc_above_frac": "0.997",
    "phase.rest_full.duration_s": "1200",
}


def probe(run: Simulation, name: str) -> np.ndarray:
    """A live view of what the firmware shows under `name`."""
    for found in run.probes:
        if found[0] == name:
            _, _, offset, count, dtype = found
            return np.frombuffer(run.world.firmware_bytes, np.dtype(dtype), count, offset)
    raise KeyError(name)


def advance(run: Simulation, seconds: float) -> None:
    run.run(seconds, record=False)


def flagged(run: Simulation) -> bool:
    bits = int(probe(run, "active_diagnoses")[0])
    return bool(bits >> diagnosis("soft_short").id & 1)


@pytest.mark.slow("ten hours of a home battery")
def test_a_20_ohm_short_behind_a_flat_ocv_is_flagged_within_five_cycles() -> None:
    """Cycles of the scenario `life`: full once, then from nearly empty to four fifths."""
    run = Simulation("life", pack="home_16s", seed=1, settings=SETTINGS)
    run.world.parts["plant"]["cell_short_siemens"][3] = 1.0 / 20.0
    for _ in range(26):
        advance(run, 1800)
        if flagged(run):
            break
    assert flagged(run)
    assert 0.003 < probe(run, "leak_sure_a")[0] < 3.6 / 20.0


@pytest.mark.slow("eight hours of a home battery, a day of its life")
def test_healthy_blocks_behind_a_flat_ocv_are_not() -> None:
    run = Simulation("life", pack="home_16s", seed=2, settings=SETTINGS)
    for _ in range(8):
        advance(run, 3600)
        assert not flagged(run)
    assert probe(run, "leak_windows")[0] >= 100
