"""Faults of the catalogue through the rig: every one with its reaction, inside its budget."""

import pytest
from bms_hil import requirements

from bms import faults

REAL_TIME_MS = 1000  # faults with a longer budget, or none to measure, are left to virtual time
RAMP_S = 30.0  # slower ones are driven faster: a limit is crossed all the same
REPORT_MS = 20  # a decision waits for its turn on the bus before it can be heard
TRAVEL_MS = 50  # contacts, which a budget does not count
FUSE_MS = 3000  # beyond the break current the fuse is waited for
STATES = {"any": "standby", "rest": "standby", "drive": "normal", "charge": "charge"}
MUTE = ("COM-03", "COM-11", "SEC-05")  # take the bus away: what was decided is not heard
LONGEST_S = 60.0


def cases():
    for one in requirements.load().values():
        fault = faults.load().get(one.fault)
        if fault is None:
            continue
        marks = [pytest.mark.requirement(one.id), pytest.mark.needs(f"fault:{fault.id}")]
        is_short = fault.budget_ms <= REAL_TIME_MS and fault.ramp_s == 0 and not fault.then
        if not is_short or fault.reaction not in ("trip", "warn") or fault.id in MUTE:
            marks.append(pytest.mark.needs("virtual_time"))
        yield pytest.param(fault, id=fault.id, marks=marks)


def place(fault, pack):
    """Somewhere in the middle, where nothing is special."""
    places = faults.count(fault, pack)
    chosen = {"byte": 4000, "page": 5}.get(fault.target, places // 2)
    return min(chosen, places - 1)


@pytest.mark.parametrize("fault", list(cases()))
def test_fault(rig, recording, fault):
    rig.bring_to(STATES[fault.state])
    if fault.state == "drive":
        rig.load(current_a=40.0)
        rig.wait(2.0)
    was_closed = fault.state in ("drive", "charge")
    ramp_s = min(fault.ramp_s, RAMP_S)
    injected = rig.inject(
        fault.id, index=place(fault, rig.pack), after_s=0.1, ramp_s=ramp_s if ramp_s else None
    )
    if fault.then:
        rig.wait(0.15)
        rig.request({"open": "standby", "close": "drive"}[fault.then])
        if fault.then == "open":
            rig.load(current_a=0.0)
    budget_s = fault.budget_ms * 1e-3
    seconds = min(ramp_s + budget_s, LONGEST_S) + (1.0 if fault.reaction == "trip" else 0.3)
    if fault.state == "drive" and not fault.then:
        drive(rig, seconds)
    else:
        rig.wait(seconds)
    if ramp_s + budget_s > LONGEST_S:  # until it is seen, and no longer than the budget
        end_s = injected.at_s + ramp_s + budget_s
        while rig.now_s < end_s and not seen(recording, fault):
            rig.wait(LONGEST_S)
    judge(rig, recording, fault, injected.at_s + ramp_s, was_closed)


def drive(rig, seconds):
    """A load that changes: some faults show in steps only."""
    for k in range(int(seconds)):
        rig.load(current_a=(40.0, 120.0)[k % 2])
        rig.wait(1.0)
    rig.wait(seconds % 1.0)


def seen(recording, fault):
    return bool(recording.any_of(fault.diagnoses).times)


def judge(rig, recording, fault, since_s, was_closed):
    since_s -= min(fault.ramp_s, RAMP_S)
    limit_ms = fault.budget_ms + REPORT_MS + 1e3 * min(fault.ramp_s, RAMP_S)
    if fault.diagnoses and fault.id not in MUTE:
        tier = "trip" if fault.reaction == "trip" else "any"
        recording.any_of(fault.diagnoses, tier).reacts_within(ms=limit_ms, since=since_s)
    if fault.reaction in ("trip", "open", "reset") and was_closed:
        wait_ms = FUSE_MS if recording.fuses.times else 0
        recording.opens.reacts_within(ms=limit_ms + TRAVEL_MS + wait_ms, since=since_s)
    if fault.reaction in ("reset", "refuse"):
        recording.closes.after(since_s + 0.05).never()
    if fault.reaction == "ride_through":
        recording.trips.never()
        if was_closed and fault.then != "open":
            recording.opens.never()
