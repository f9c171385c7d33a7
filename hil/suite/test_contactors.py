"""Contactors and precharge."""

import numpy as np
import pytest


@pytest.mark.requirement("CON-R01")
@pytest.mark.requirement("CON-R02")
@pytest.mark.needs("truth")
def test_a_request_to_drive_precharges_and_closes(rig, recording):
    rig.bring_to("standby")
    asked_s = rig.now_s
    rig.request("drive")
    rig.wait(6.0)
    recording.state("normal_drive").reacts_within(ms=5000, since=asked_s)
    recording.closes.ever()
    last_s = recording.closes.times[-1].at_s
    pack = recording.signal("true_pack_voltage_v").between(last_s - 0.02, last_s)
    link = recording.signal("true_link_voltage_v").between(last_s - 0.02, last_s)
    link.stays_near(pack, 0.05 * pack.last)


@pytest.mark.requirement("CON-R01")
@pytest.mark.needs("contactor_feedback")
def test_a_request_to_drive_closes(rig, recording):
    rig.bring_to("standby")
    asked_s = rig.now_s
    rig.request("drive")
    rig.wait(6.0)
    recording.state("normal_drive").reacts_within(ms=5000, since=asked_s)
    recording.closes.ever()


@pytest.mark.requirement("CON-R03")
@pytest.mark.needs("contactor_feedback")
def test_standby_opens(rig, recording):
    rig.bring_to("normal")
    asked_s = rig.now_s
    rig.request("standby")
    rig.wait(2.0)
    recording.opens.reacts_within(ms=1000, since=asked_s)
    recording.closes.after(asked_s).never()
    if "truth" in rig.capabilities:
        recording.signal("true_contactors").after(asked_s, 1.2).never(
            lambda bits: np.bitwise_and(bits.astype(int), 3) != 0, "with a main contactor closed"
        )


@pytest.mark.requirement("CON-R04")
@pytest.mark.needs("world")
def test_a_supply_that_fails_opens_and_nothing_closes_by_itself(rig, recording):
    rig.bring_to("normal")
    start_s = rig.now_s
    rig.set("loop.supply_mv", 0)
    rig.wait(0.5)
    rig.set("loop.supply_mv", 13_500)
    rig.wait(8.0)
    recording.opens.reacts_within(ms=100, since=start_s)
    recording.closes.after(start_s).never()
