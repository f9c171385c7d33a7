"""The firmware's soft-short detector in the small world of `bms bench leak`, at steps of 1 s."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bms import bench
from bms.bench import leak


def hours(found: dict[str, float]) -> float:
    """From the short to the alarm, which is of the right block."""
    assert found["told_s"] >= 0.0, "never told"
    assert found["told_block"] == found["short_block"]
    return (found["told_s"] - found["short_s"]) / 3600.0


@pytest.mark.parametrize("trial_seed", [1, 2, 3])
def test_20_ohm_are_told_within_two_hours_of_rest(trial_seed: int) -> None:
    assert hours(leak.trial(leak.SHORTS["20ohm_rest"], trial_seed)) <= 2.0


@pytest.mark.parametrize("trial_seed", [1, 2, 3])
def test_20_ohm_are_told_within_one_charge(trial_seed: int) -> None:
    plan = leak.SHORTS["20ohm_charge"]
    charge_h = 0.78 / (1.0 / 3.0)
    assert hours(leak.trial(plan, trial_seed)) <= charge_h + plan.phases[-1].hours


@pytest.mark.parametrize("name", ["200ohm_rest", "200ohm_daily"])
def test_200_ohm_are_told_within_two_days_parked_or_driven(name: str) -> None:
    assert hours(leak.trial(leak.SHORTS[name], 1)) <= 48.0


def test_200_ohm_behind_a_flat_ocv_are_told_within_five_full_charges_by_most_packs() -> None:
    """A block that starts low reaches the steep end late: its pack takes some charges more."""
    found = [leak.trial(leak.SHORTS["200ohm_lfp"], trial_seed) for trial_seed in range(8)]
    assert all(hours(one) < 120.0 for one in found)
    assert sum(one["told_fulls"] <= 5 for one in found) >= 5


@pytest.mark.slow("six healthy packs for three days each, at steps of a second")
@pytest.mark.parametrize("name", leak.HEALTHY)
def test_healthy_packs_raise_no_alarm(name: str, seed: int) -> None:
    found = leak.trial(leak.HEALTHY[name], seed)
    assert found["seconds"] == 72 * 3600
    assert found["told_s"] < 0.0, f"seed {seed}"


def test_self_discharge_beyond_what_the_firmware_was_told_is_a_leak() -> None:
    """So the absence of alarms in healthy packs says something."""
    plan = replace(leak.HEALTHY["parked"], degc=45.0, hours=48.0)
    assert leak.trial(plan, 1, self_discharge_apart=3.0)["told_s"] > 0.0


def test_estimated_leaks_are_as_far_off_as_they_say() -> None:
    """Root mean square over the blocks, in standard deviations; a healthy pack that is driven."""
    found = leak.trial(replace(leak.HEALTHY["daily"], hours=36.0), 4)
    assert 0.2 < found["error_sigmas"] < 3.0
    assert found["short_sigma_ma"] < 5.0


def test_a_module_that_swells_less_is_no_alarm_by_itself() -> None:
    plan = replace(leak.HEALTHY["daily"], hours=36.0)
    found = leak.trial(plan, 5, swell_kpa=750.0, swell_less=0.4)
    assert found["told_s"] < 0.0


def test_a_module_that_swells_less_corroborates_a_leak() -> None:
    plan = replace(leak.SHORTS["200ohm_daily"], short_phase=4)
    alone = hours(leak.trial(plan, 1, short_block=3, swell_kpa=750.0))
    both = hours(leak.trial(plan, 1, short_block=3, swell_kpa=750.0, swell_less=0.4))
    assert both < alone


def test_one_seed_gives_one_result() -> None:
    plan = leak.SHORTS["20ohm_rest"]
    assert leak.trial(plan, 7) == leak.trial(plan, 7)
    assert leak.trial(plan, 7) != leak.trial(plan, 8)


def test_the_bench_names_its_rows() -> None:
    named = [row.name for row in leak.short_rows("20ohm_rest", [{"told_s": -1.0, "short_s": 0.0}])]
    assert named == ["leak_hours_median/20ohm_rest", "leak_hours_worst/20ohm_rest"]
    assert "leak" in bench.names()


def test_a_short_that_was_missed_has_no_worst_time() -> None:
    right = {"told_s": 60.0, "short_s": 0.0, "told_block": 1, "short_block": 1, "told_fulls": 0}
    found = [right, {**right, "told_s": -1.0}]
    values = {row.name: row.ours for row in leak.short_rows("20ohm_rest", found)}
    assert values["leak_hours_worst/20ohm_rest"] is None
    assert values["leak_hours_median/20ohm_rest"] == pytest.approx(1.0 / 60.0)
