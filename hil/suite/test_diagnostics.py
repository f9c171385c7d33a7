"""The workshop's view: UDS on the vehicle bus."""

import pytest
from bms_hil.diagnostic import FAILED_NOW, Refused

pytestmark = pytest.mark.needs("diagnostics")


@pytest.mark.requirement("DIA-001")
@pytest.mark.needs("truth")
def test_the_pack_voltage_is_read_as_it_is(rig, recording):
    rig.bring_to("standby")
    rig.wait(1.0)
    read_v = rig.diagnostic.read("pack_voltage") * 1e-3
    truth = recording.signal("true_pack_voltage_v")
    truth.stays_within(read_v - 0.01 * truth.last, read_v + 0.01 * truth.last)


@pytest.mark.requirement("DIA-002")
@pytest.mark.needs("fault:CON-14")
def test_what_tripped_is_stored(rig, recording):
    rig.bring_to("normal")
    fault = rig.inject("CON-14")
    rig.wait(1.0)
    recording.diagnosis("interlock_open").reacts_within(ms=500, since=fault)
    status = rig.diagnostic.dtcs().get("interlock_open", 0)
    recording.value("trouble code of interlock_open, failed now", status & FAILED_NOW).at_least(1)


@pytest.mark.requirement("DIA-003")
def test_nothing_is_cleared_while_driving(rig, recording):
    rig.bring_to("normal")
    with pytest.raises(Refused) as refused:
        rig.diagnostic.clear()
    recording.value("reason of the refusal", refused.value.code).equals(0x22)
    recording.opens.never()


@pytest.mark.requirement("DIA-004")
@pytest.mark.needs("fault:CON-14")
def test_a_cleared_code_stays_gone(rig, recording):
    rig.bring_to("normal")
    fault = rig.inject("CON-14")
    rig.wait(1.0)
    rig.withdraw(fault)
    rig.request("standby")
    rig.wait(3.0)
    rig.clear()
    rig.diagnostic.clear()
    rig.wait(2.0)
    stored = "interlock_open" in rig.diagnostic.dtcs()
    recording.value("codes of interlock_open after clearing", stored).equals(0)


@pytest.mark.requirement("DIA-005")
def test_every_block_is_read_at_once(rig, recording):
    rig.bring_to("standby")
    rig.wait(1.0)
    blocks = rig.diagnostic.read("block_voltages")
    recording.value("blocks in the answer", len(blocks)).equals(rig.pack.topology.blocks)
    limits = rig.cell.limits
    recording.value("lowest block", min(blocks) * 1e-3, "V").at_least(limits.voltage_min_v[0])
    recording.value("highest block", max(blocks) * 1e-3, "V").at_most(limits.voltage_max_v[0])


@pytest.mark.requirement("DIA-006")
@pytest.mark.parametrize(
    ("asked", "reason"), [("22ffff", 0x31), ("2ef19000", 0x7F), ("ba0000", 0x11)]
)
def test_what_cannot_be_is_refused_by_the_standard(rig, recording, asked, reason):
    rig.bring_to("standby")
    with pytest.raises(Refused) as refused:
        rig.diagnostic.request(bytes.fromhex(asked))
    recording.value(f"reason of the refusal of {asked}", refused.value.code).equals(reason)


@pytest.mark.requirement("DIA-007")
def test_a_conversation_trips_nothing(rig, recording):
    rig.bring_to("normal")
    for _ in range(20):
        rig.diagnostic.read("block_voltages")
        rig.diagnostic.dtcs(0xFF)
    recording.trips.never()
    recording.opens.never()
