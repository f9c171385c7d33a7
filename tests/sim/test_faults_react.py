"""Every fault that acts is injected in its state, and what the BMS reports is held against what the
catalogue asks for: the reaction, one of the diagnoses, within the budget, and nothing beside."""

from __future__ import annotations

from pathlib import Path

import faultcase
import pytest

from bms import faults, replay
from bms.faults import Fault
from bms.recorder import Recording
from bms.sim import Simulation

NOT_YET: dict[str, str] = {}
"""Faults whose reaction the firmware does not show yet, and why. An entry that starts to pass fails
the test, so that this list can only shrink."""

NOT_EVERYWHERE: dict[str, str] = {}
"""The same for faults that are seen at one place of the pack and missed at another."""

ACTING = faults.acting()
PLACED = [one for one in ACTING if one.id not in NOT_YET and one.target in faultcase.PLACES]
ANY = [one for one in ACTING if one.id not in NOT_YET and one.state == "any"]


def _index(fault: Fault) -> int:
    made, _ = faultcase.simulation(faultcase.state_of(fault))
    return faultcase.index_for(fault, made)


@pytest.mark.parametrize("fault", ACTING, ids=lambda one: one.id)
def test_bms_reacts_to_the_fault_within_its_budget(
    fault: Fault, request: pytest.FixtureRequest
) -> None:
    if fault.id in NOT_YET:
        request.applymarker(pytest.mark.xfail(reason=NOT_YET[fault.id], strict=True))
    outcome = faultcase.carry_out(fault, _index(fault))
    assert not outcome.wrong, f"{fault.id}: {'; '.join(outcome.wrong)}; raised {outcome.raised}"


@pytest.mark.slow("some faults take an hour of the pack, at two places")
@pytest.mark.parametrize("fault", PLACED, ids=lambda one: one.id)
def test_bms_reacts_wherever_in_the_pack_it_happens(
    fault: Fault, request: pytest.FixtureRequest
) -> None:
    if fault.id in NOT_EVERYWHERE:
        request.applymarker(pytest.mark.xfail(reason=NOT_EVERYWHERE[fault.id], strict=True))
    made, _ = faultcase.simulation(faultcase.state_of(fault))
    places = faults.count(fault, made.pack)
    is_long = fault.budget_ms >= 30_000 or fault.ramp_s > 5.0
    few = 2 if fault.budget_ms > 600_000 else 8  # an hour to be simulated at each
    step = places // few or 1 if is_long else 1 if fault.budget_ms < 2500 else 7
    missed = {
        k: o.wrong for k in range(0, places, step) if (o := faultcase.carry_out(fault, k)).wrong
    }
    assert not missed


@pytest.mark.parametrize("state", ["drive", "charge"])
@pytest.mark.parametrize("fault", ANY, ids=lambda one: one.id)
def test_bms_reacts_in_whatever_state_it_happens(fault: Fault, state: str) -> None:
    outcome = faultcase.carry_out(fault, _index(fault), state=state)
    assert not outcome.wrong, f"{fault.id}: {'; '.join(outcome.wrong)}; raised {outcome.raised}"


def test_what_is_not_shown_yet_names_faults_that_act() -> None:
    assert set(NOT_YET) <= {fault.id for fault in ACTING}


@pytest.mark.parametrize("name", ["CEL-08", "SEN-04", "AFE-02", "COM-04", "CON-15", "SYS-03"])
def test_same_fault_from_the_same_snapshot_gives_the_same_bits(name: str) -> None:
    fault = faults.fault(name)
    first = faultcase.carry_out(fault, _index(fault), shorter_s=3.0)
    again = faultcase.carry_out(fault, _index(fault), shorter_s=3.0)
    assert first.trace_hash == again.trace_hash != 0


def test_fault_changes_the_trace() -> None:
    made, snapshot = faultcase.simulation("drive")
    made.restore(snapshot)
    made.run(2.0, record=False)
    untouched = int(made.world.parts["loop"]["trace_hash"][0])
    made.restore(snapshot)
    made.inject("COM-05", after_s=0.5)
    made.run(2.0, record=False)
    assert int(made.world.parts["loop"]["trace_hash"][0]) != untouched


def test_snapshot_in_the_middle_of_a_fault_goes_on_as_if_nothing_had_happened() -> None:
    made, snapshot = faultcase.simulation("drive")
    made.restore(snapshot)
    handle = made.inject("COM-02", after_s=0.2, for_s=1.0)
    made.inject("SEN-05", index=3, after_s=0.3)
    made.run(0.7, record=False)
    middle = made.snapshot()
    made.run(2.0, record=False)
    straight = int(made.world.parts["loop"]["trace_hash"][0])
    made.restore(middle)
    assert [one.state for one in made.faults() if one.handle == handle] == ["active"]
    made.run(2.0, record=False)
    assert int(made.world.parts["loop"]["trace_hash"][0]) == straight


def test_run_with_faults_replays_bit_for_bit(tmp_path: Path) -> None:
    """What the firmware was given under faults, resets among them, gives the same answers again."""
    made = Simulation(faultcase.HERE / "faults_drive.toml", pack="bench_16s1p", seed=5)
    made.inject("SEN-05", index=3, after_s=12.0)
    made.inject("COM-02", after_s=13.0, for_s=1.0)
    made.inject("SYS-02", after_s=15.0)
    made.inject("AFE-02", after_s=17.0, for_s=0.4)
    path = tmp_path / "run.arrow"
    run = made.run(19.0, record=path, inputs=True)
    assert run.summary["ecu_resets"] == 1
    with Recording.open(path) as recording:
        found = replay.check(recording)
        told = [e.name for e in recording.events if e.kind == "fault"]
    assert found.first is None and found.starts == 2
    assert told == ["SEN-05", "SEN-05", "COM-02", "COM-02", "SYS-02", "AFE-02", "AFE-02"]


def test_world_is_as_it_was_after_a_fault_that_comes_back() -> None:
    """Every field written by a fault that does not stay has its former bits again."""
    made, snapshot = faultcase.simulation("rest")
    kept = [
        one for one in ACTING
        if not any(w.stays or w.op == "push" or w.hold for w in one.writes) and one.id != "SYS-09"
    ]  # fmt: skip
    assert len(kept) > 60
    for fault in kept:
        made.restore(snapshot)
        fields = {w.field for w in fault.writes if not w.field.startswith("firmware.")}
        own = {"seam.hang_ms", "seam.nvm_torn"}  # count down by themselves
        before = {name: _field(made, name).copy() for name in fields - own}
        made.inject(fault.id, index=_index(fault), ramp_s=0.0, for_s=0.005)
        made.run(0.004, record=False)
        touched = any((_field(made, name) != was).any() for name, was in before.items())
        made.run(0.056, record=False)
        for name, was in before.items():
            assert (_field(made, name) == was).all(), f"{fault.id}: {name}"
        assert touched or not before or fault.id in UNTOUCHED, f"{fault.id} touches nothing"


UNTOUCHED = {"CON-12", "CHG-07"}
"""At rest, their value is the one that is there already."""


def _field(made, name):
    part, _, field = name.partition(".")
    return made.world.parts[part][field]


def test_no_flipped_bit_of_its_memory_takes_the_world_down_with_it() -> None:
    """Sizes at the head of the configuration, bits all over the rest: stopped or without effect."""
    made, snapshot = faultcase.simulation("drive")
    places = [*range(8, 40), *range(0, len(made.world.firmware_bytes), 997)]
    for place in places:
        made.restore(snapshot)
        made.inject("SYS-04", index=place, value=64.0)
        made.run(0.15, record=False)
        assert int(made.world.parts["loop"]["step_errors"][0]) == 0
