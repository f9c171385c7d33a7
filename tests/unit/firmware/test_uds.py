"""Diagnostics over CAN, asked by udsoncan over can-isotp: services, conditions, refusals."""

from __future__ import annotations

import pytest
from firmware_rig import CRASH, DRIVE, INTERLOCK, STATE, Rig
from uds_bench import Tester, client, key_of, restart, unlocked
from udsoncan.exceptions import NegativeResponseException

from bms import spec
from bms.spec import uds

RANGE, CONDITIONS, SECURITY, WRONG_KEY, ATTEMPTS, DELAY = 0x31, 0x22, 0x33, 0x35, 0x36, 0x37


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.until(lambda: rig.state == STATE["standby"], 3000)
    return rig.run(300)


@pytest.fixture
def tester(rig: Rig) -> Tester:
    return Tester(rig)


def refusal(call: object, *words: object) -> int:
    with pytest.raises(NegativeResponseException) as caught:
        call(*words)  # type: ignore[operator]
    return int(caught.value.response.code)


def close(rig: Rig) -> None:
    rig.mode = DRIVE
    rig.until(lambda: rig.state == STATE["normal_drive"], 5000)


def crash(rig: Rig) -> None:
    """A crash that is over: latched, for the workshop."""
    rig.pins |= CRASH
    rig.run(100)
    rig.pins &= ~CRASH
    rig.until(lambda: rig.state == STATE["latched"], 3000)
    rig.run(20)


def test_sessions_tell_their_timing_and_end_in_silence(rig: Rig, tester: Tester) -> None:
    made = client(tester)
    answer = made.change_session(3)
    assert answer.service_data.p2_server_max == pytest.approx(0.05)
    assert answer.service_data.p2_star_server_max == pytest.approx(2.0)
    for _ in range(3):
        rig.run(4900)
        made.tester_present()
    assert made.read_data_by_identifier(0xF186).service_data.values[0xF186] == 3
    rig.run(5100)
    assert made.read_data_by_identifier(0xF186).service_data.values[0xF186] == 1


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("10 02", "7f 10 12"),  # nothing can be programmed here
        ("10", "7f 10 13"),
        ("10 03 00", "7f 10 13"),
        ("34 00 44", "7f 34 11"),
        ("22", "7f 22 13"),
        ("22 f1", "7f 22 13"),
        ("22 12 34", "7f 22 31"),
        ("2e f1 90 00", "7f 2e 7f"),
        ("27 01", "7f 27 7f"),
        ("11 01", "7f 11 7f"),
        ("31 01 02 01", "7f 31 7f"),
        ("3e 01", "7f 3e 12"),
        ("3e 00 00", "7f 3e 13"),
        ("19 03", "7f 19 12"),
        ("19 02", "7f 19 13"),
        ("19 04 1a 63 01 01", "7f 19 31"),
        ("14 ff ff", "7f 14 13"),
        ("14 12 34 56", "7f 14 31"),
    ],
)
def test_a_wrong_request_is_refused_as_the_standard_has_it(
    tester: Tester, asked: str, answered: str
) -> None:
    assert tester.ask(bytes.fromhex(asked)) == bytes.fromhex(answered)


def test_positive_answers_are_suppressed_and_refusals_are_not(tester: Tester) -> None:
    assert tester.ask(bytes.fromhex("3e 80"), 300) is None
    assert tester.ask(bytes.fromhex("10 83"), 300) is None
    assert tester.ask(bytes.fromhex("22 f1 86")) == bytes.fromhex("62 f1 86 03")
    assert tester.ask(bytes.fromhex("3e 81")) == bytes.fromhex("7f 3e 12")


def test_what_everybody_is_asked_is_refused_in_silence(rig: Rig) -> None:
    everybody = Tester(rig, uds.EVERYBODY_ID)
    assert everybody.ask(bytes.fromhex("3e 00")) == bytes.fromhex("7e 00")
    for asked in ("34 00", "22 12 34", "3e 01", "11 01"):
        assert everybody.ask(bytes.fromhex(asked), 200) is None, asked
    assert everybody.ask(bytes.fromhex("22 f1")) == bytes.fromhex("7f 22 13")


def test_what_is_read_is_what_the_rig_made(rig: Rig, tester: Tester) -> None:
    rig.volts[3] += 0.02
    rig.run(500)
    made = client(tester)

    def read(identifier: int) -> object:
        return made.read_data_by_identifier(identifier).service_data.values[identifier]

    assert read(0x0102) == pytest.approx(rig.volts.sum() * 1e3, rel=5e-3)
    assert read(0x0106) == pytest.approx(rig.volts[3] * 1e3, abs=5)
    blocks = read(0x0110)
    assert blocks == pytest.approx(list(rig.volts * 1e3), abs=5)
    assert read(0x010A) == pytest.approx(5000, abs=500)
    assert read(0x0100) == STATE["standby"]
    many = made.read_data_by_identifier([0x0101, 0x0102, 0xF195]).service_data.values
    assert set(many) == {0x0101, 0x0102, 0xF195}


def test_every_identifier_answers_with_its_length(rig: Rig, tester: Tester) -> None:
    for row in uds.identifiers().values():
        answer = tester.ask(b"\x22" + row.id.to_bytes(2, "big"))
        assert answer is not None
        if row.kind == "frame":
            assert answer == bytes([0x7F, 0x22, RANGE])
            continue
        many = rig.blocks if row.kind.startswith("blocks") else 1
        assert len(answer) == 3 + row.bytes * many, row.name


def test_a_write_is_answered_when_it_is_in_memory_and_outlives_a_reset(
    rig: Rig, tester: Tester
) -> None:
    made = unlocked(tester)
    made.write_data_by_identifier(0xF190, b"SSB0TEST000000001")
    restart(rig)
    rig.run(300)
    read = made.read_data_by_identifier(0xF190).service_data.values
    assert read[0xF190] == "SSB0TEST000000001"


def test_a_write_needs_session_security_length_and_open_contactors(
    rig: Rig, tester: Tester
) -> None:
    made = client(tester)
    made.change_session(3)
    assert refusal(made.write_data_by_identifier, 0xF190, b"X") == SECURITY
    made.unlock_security_access(1)
    assert tester.ask(bytes.fromhex("2e f1 90 00")) == bytes.fromhex("7f 2e 13")
    assert tester.ask(bytes.fromhex("2e 01 00 00")) == bytes.fromhex("7f 2e 31")
    close(rig)
    made.change_session(3)
    made.unlock_security_access(1)
    for asked in ("2e f1 90" + " 41" * 17, "11 01", "31 01 02 01", "14 ff ff ff"):
        answer = tester.ask(bytes.fromhex(asked))
        assert answer == bytes([0x7F, int(asked[:2], 16), CONDITIONS]), asked
    assert rig.state == STATE["normal_drive"]


def test_wrong_keys_lock_out_for_ten_seconds_and_a_reset_does_not_help(
    rig: Rig, tester: Tester
) -> None:
    made = client(tester)
    made.change_session(3)

    def attempt() -> bytes | None:
        seed = tester.ask(b"\x27\x01")
        assert seed is not None
        if seed[0] == 0x7F:
            return seed
        return tester.ask(b"\x27\x02" + bytes(16))

    assert tester.ask(b"\x27\x02" + bytes(16)) == bytes.fromhex("7f 27 24")
    assert attempt() == bytes([0x7F, 0x27, WRONG_KEY])
    assert attempt() == bytes([0x7F, 0x27, WRONG_KEY])
    restart(rig)
    rig.run(400)
    made.change_session(3)
    assert attempt() == bytes([0x7F, 0x27, ATTEMPTS])
    assert attempt() == bytes([0x7F, 0x27, DELAY])
    restart(rig)
    rig.run(400)
    made.change_session(3)
    assert attempt() == bytes([0x7F, 0x27, DELAY])
    for _ in range(4):
        rig.run(2400)
        made.tester_present()
    rig.run(400)
    made.change_session(3)
    made.unlock_security_access(1)


def test_no_seed_comes_twice_and_an_old_key_is_worth_nothing(rig: Rig, tester: Tester) -> None:
    made = client(tester)
    made.change_session(3)
    seeds = [tester.ask(b"\x27\x01") for _ in range(20)]
    restart(rig)
    rig.run(400)
    made.change_session(3)
    seeds += [tester.ask(b"\x27\x01") for _ in range(20)]
    assert len(set(seeds)) == 40
    assert seeds[0] is not None
    answer = tester.ask(b"\x27\x02" + key_of(seeds[0][2:]))
    assert answer == bytes([0x7F, 0x27, WRONG_KEY])


def test_a_trip_becomes_a_trouble_code_with_its_freeze_frame(rig: Rig, tester: Tester) -> None:
    close(rig)
    crash(rig)
    made = client(tester)
    number = spec.diagnosis("crash").id
    code = uds.dtc(number)
    assert made.get_number_of_dtc_by_status_mask(0x08).service_data.dtc_count >= 1
    found = {d.id: d for d in made.get_dtc_by_status_mask(0x08).service_data.dtcs}
    status = found[code].status
    assert status.confirmed and status.pending and status.warning_indicator_requested
    assert status.test_failed_this_operation_cycle and not status.test_failed
    assert uds.diagnosis_of(code) == number
    supported = made.get_supported_dtc().service_data.dtcs
    assert [d.id for d in supported] == [uds.dtc(row.id) for row in spec.diagnoses()]
    shot = made.get_dtc_snapshot_by_dtc_number(code, 1).service_data.dtcs[0].snapshots
    values = {part.did: part.data for part in shot}
    assert values[0x0102] == pytest.approx(rig.volts.sum() * 1e3, rel=5e-3)
    assert values[0x0100] == STATE["error"] or values[0x0100] == STATE["latched"]
    assert len(values) == 15


def test_codes_and_freeze_frames_outlive_a_reset_and_the_latch_holds(
    rig: Rig, tester: Tester
) -> None:
    crash(rig)
    code = uds.dtc(spec.diagnosis("crash").id)
    made = client(tester)
    before = made.get_dtc_snapshot_by_dtc_number(code, 1).service_data.dtcs[0].snapshots
    restart(rig, 0)
    rig.until(lambda: rig.state == STATE["latched"], 2500)
    after = made.get_dtc_snapshot_by_dtc_number(code, 1).service_data.dtcs[0].snapshots
    assert [(p.did, p.data) for p in before] == [(p.did, p.data) for p in after]
    rig.clear = 1
    rig.run(500)
    assert rig.state == STATE["latched"], "a crash is for the workshop"


def test_a_workshop_clears_codes_and_with_the_key_the_latch(rig: Rig, tester: Tester) -> None:
    crash(rig)
    made = client(tester)
    code = uds.dtc(spec.diagnosis("crash").id)
    made.clear_dtc()
    assert code in {d.id for d in made.get_dtc_by_status_mask(0x08).service_data.dtcs}
    assert rig.state == STATE["latched"]
    unlocked(tester).clear_dtc()
    rig.run(50)
    assert made.get_dtc_by_status_mask(0x08).service_data.dtc_count == 0
    assert made.get_dtc_snapshot_by_dtc_number(code, 1).service_data.dtcs[0].snapshots == []
    assert rig.state == STATE["standby"]


def test_a_slow_memory_makes_the_tester_wait(
    rig: Rig, tester: Tester, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = unlocked(tester)
    rig.run(5)
    tester.pending = 0
    for k in range(12):  # the log is never idle for long
        made.write_data_by_identifier(0xF18C, bytes([65 + k]) * 16)
    assert tester.pending >= 1


def test_the_self_test_passes_and_finds_chips_that_do_not_answer(rig: Rig, tester: Tester) -> None:
    made = client(tester)
    made.change_session(3)
    assert refusal(made.get_routine_result, 0x0201) == 0x24
    passed = made.start_routine(0x0201).service_data.routine_status_record
    assert passed == b"\x02\x00"
    rig.uart = lambda data: b""
    rig.run(300)
    failed = made.start_routine(0x0201).service_data.routine_status_record
    assert failed[0] == 3 and failed[1] & 4
    assert refusal(made.start_routine, 0x1234) == RANGE


def test_the_contactor_test_closes_each_alone_and_never_a_path(rig: Rig, tester: Tester) -> None:
    made = client(tester)
    made.change_session(3)
    assert refusal(made.get_routine_result, 0x0202) == 0x24
    assert refusal(made.start_routine, 0x0202) == SECURITY
    made = unlocked(tester)
    assert made.start_routine(0x0202).service_data.routine_status_record == b"\x01\x00"
    seen = set()
    for _ in range(3000):
        seen.add(rig.step().coils)
        if rig.state == STATE["standby"]:
            break
    assert seen == {0, 1, 2, 4}
    assert made.get_routine_result(0x0202).service_data.routine_status_record == b"\x02\x00"
    rig.run(1500)
    rig.feedback = 0  # none follows
    made = unlocked(tester)
    made.start_routine(0x0202)
    for _ in range(3000):
        if rig.step().state != STATE["service"]:
            break
    rig.feedback = None
    assert made.get_routine_result(0x0202).service_data.routine_status_record[0] == 3


def test_the_contactor_test_is_refused_to_a_vehicle_that_wants_to_drive(
    rig: Rig, tester: Tester
) -> None:
    close(rig)
    assert refusal(unlocked(tester).start_routine, 0x0202) == CONDITIONS
    assert rig.state == STATE["normal_drive"]


def test_a_reset_is_answered_before_it_happens(rig: Rig, tester: Tester) -> None:
    made = client(tester)
    made.change_session(3)
    made.ecu_reset(1)
    rig.until(lambda: rig.firmware.reset_wanted, 200)


def parked(rig: Rig) -> Rig:
    """Nobody on the bus, ignition off: it sleeps after a minute."""
    rig.pins, rig.mute_vcu = INTERLOCK, True
    return rig.run(500)


def test_a_tester_that_is_present_keeps_a_parked_pack_awake(rig: Rig, tester: Tester) -> None:
    parked(rig)
    for _ in range(18):
        assert tester.ask(b"\x3e\x00") == b"\x7e\x00"
        rig.run(4000)
    assert rig.state == STATE["standby"]
    rig.run(62_000)
    assert rig.state == STATE["sleep"], "a minute after the last word"
