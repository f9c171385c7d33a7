"""What only a rig with a chip can show: its watchdog, faults of its processor, its memory."""

import pytest
from bms_hil.verdicts import Verdict

BUDGET_MS, TRAVEL_MS = 150, 50
FLIPS = 12
LIMITS = {"flash_bytes": 256 << 10, "ram_bytes": 120 << 10, "stack_bytes": 8 << 10}


def comes_back_open(rig, recording, since, bites):
    recording.resets.reacts_within(ms=BUDGET_MS, since=since)
    recording.opens.reacts_within(ms=BUDGET_MS + TRAVEL_MS, since=since)
    recording.diagnosis("reset_unexpected", "any").ever()
    recording.closes.after(since).never()
    more = rig.watchdog_bites - bites
    rig.log.add(Verdict("the chip's watchdog bites once", more == 1, more, 1, "1", 0.0))


@pytest.mark.requirement("TGT-001")
@pytest.mark.needs("target")
def test_a_program_that_stands_still_is_reset(rig, recording):
    rig.bring_to("normal")
    rig.load(current_a=40.0)
    bites = rig.watchdog_bites
    fault = rig.inject("SYS-03", after_s=0.1)
    rig.wait(8.0)
    comes_back_open(rig, recording, fault, bites)


@pytest.mark.requirement("TGT-002")
@pytest.mark.needs("target")
def test_a_fault_of_the_processor_ends_in_a_reset(rig, recording):
    rig.bring_to("normal")
    rig.load(current_a=40.0)
    rig.wait(0.5)
    bites, since_s = rig.watchdog_bites, rig.now_s
    rig.corrupt_code()
    rig.wait(8.0)
    comes_back_open(rig, recording, since_s, bites)


@pytest.mark.requirement("TGT-003")
@pytest.mark.needs("target")
@pytest.mark.parametrize("part", range(FLIPS))
def test_a_flipped_bit_closes_nothing(rig, recording, part):
    rig.bring_to("standby")
    index = part * rig.memory_bytes // FLIPS + 37 * part
    flip = rig.inject("SYS-04", index=index, value=float(1 << part % 8))
    rig.wait(3.0)
    recording.closes.after(flip).never()


@pytest.mark.requirement("TGT-004")
@pytest.mark.needs("target")
def test_the_image_fits(rig):
    rig.bring_to("normal")
    rig.wait(5.0)
    told = rig.grade()
    for name, limit in LIMITS.items():
        fits = 0 < told[name] <= limit
        rig.log.add(Verdict(name, fits, told[name], limit, "B", limit - told[name]))
