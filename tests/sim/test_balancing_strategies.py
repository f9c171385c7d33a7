"""Balancing converges within its bound, and never touches what it must not."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from bms import packs
from bms.bench import balancing as bench
from bms.firmware import balancing
from bms.sim import Simulation

TEST_FRAC = 0.01  # the firmware tests each switch with a pull of some hundredths of a second


def uneven(strategy: str = "voltage") -> Simulation:
    made = packs.load(bench.PACK)
    changed = msgspec.structs.replace(made.balancing, strategy=strategy)
    return bench.uneven(msgspec.structs.replace(made, balancing=changed))


def watched(simulation: Simulation, seconds: float) -> np.ndarray:
    """Share of the time each block's switch conducted."""
    plant, steps = simulation.world.parts["plant"], round(seconds * 20)
    blocks = simulation.pack.topology.blocks
    on = np.zeros(blocks)
    for _ in range(steps):
        simulation.world.run(50)
        on += plant["bleed_on"][:blocks]
    return on / steps


@pytest.mark.slow("hours of balancing, twice")
@pytest.mark.parametrize("strategy", ["voltage", "charge"])
def test_an_uneven_pack_is_even_within_the_computed_bound_and_the_page_says_so(
    strategy: str, project_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = bench.balance(strategy)
    assert done.hours < done.bound_h
    assert done.left_frac < 0.5 * bench.APART_FRAC
    monkeypatch.syspath_prepend(project_dir / "tools")
    import estimator_tables

    page = (project_dir / "docs/explanation/states.md").read_text()
    assert estimator_tables.balancing_row(strategy, done) in page.splitlines()


@pytest.mark.parametrize("strategy", ["voltage", "charge"])
def test_the_highest_are_bled_for_the_share_that_the_bound_counts_on(strategy: str) -> None:
    simulation = uneven(strategy)
    simulation.world.run(20_000)
    on = watched(simulation, 36.0)
    soc = bench.true_soc(simulation)
    assert on[int(soc.argmax())] == pytest.approx(balancing.DUTY[strategy], abs=0.06)
    assert on[int(soc.argmin())] < TEST_FRAC and not (on[:-1] * on[1:] > on.max() ** 2).any()
    assert int(simulation.world.parts["vehicle"]["obs_state"][0]) == 11


def test_what_is_told_while_balancing_is_not_disturbed_by_it() -> None:
    simulation = uneven()
    simulation.world.run(20_000)
    vehicle, plant = simulation.world.parts["vehicle"], simulation.world.parts["plant"]
    for _ in range(40):
        simulation.world.run(500)
        low, high = plant["block_voltage_v"][:12].min(), plant["block_voltage_v"][:12].max()
        assert abs(float(vehicle["obs_cell_voltage_min_v"][0]) - low) < 0.008
        assert abs(float(vehicle["obs_cell_voltage_max_v"][0]) - high) < 0.008


def bleeds_after(simulation: Simulation, seconds: float = 15.0) -> bool:
    simulation.world.run(round(seconds * 1000))
    return bool(watched(simulation, 20.0).max() > TEST_FRAC)


def test_no_pack_with_an_unknown_block_is_bled() -> None:
    simulation = uneven()
    simulation.world.run(20_000)
    simulation.world.parts["chips"]["chip_dead"][0] = 1
    assert not bleeds_after(simulation)


def test_no_block_near_empty_is_bled() -> None:
    simulation = uneven()
    soc = simulation.world.parts["plant"]["cell_soc_frac"]
    soc[:12] -= bench.SOC_FRAC - 0.12
    assert not bleeds_after(simulation)


def test_no_block_of_a_hot_module_is_bled() -> None:
    simulation = uneven()
    plant = simulation.world.parts["plant"]
    hot = simulation.cell.limits.temperature_max_charge_degc[0] + 3.0
    for name in ("cell_core_degc", "cell_surface_degc"):
        plant[name][:12] = hot
    plant["ambient_degc"][0] = plant["coolant_degc"][0] = hot
    assert not bleeds_after(simulation, 5.0)


def test_a_wish_to_close_ends_balancing_first() -> None:
    simulation = uneven()
    parts = simulation.world.parts
    simulation.world.run(20_000)
    assert watched(simulation, 2.0).any()
    parts["vehicle"]["request"][0] = 1
    for _ in range(4000):
        simulation.world.run(1)
        if int(parts["plant"]["contactor_closed"][0]) & 4:
            assert not parts["plant"]["bleed_on"][:12].any()
    assert int(parts["vehicle"]["obs_state"][0]) == 4
