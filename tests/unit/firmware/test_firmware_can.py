"""The vehicle bus, both ways."""

from __future__ import annotations

from collections import Counter

import pytest
from firmware_rig import STATE, Rig

from bms import _firmware, spec


def test_requests_with_a_wrong_checksum_are_dropped() -> None:
    rig = Rig().to_standby()
    good = rig.probe("vcu_good")
    rig.request = lambda data: bytes([data[0] ^ 0x40]) + data[1:]
    rig.mode = 1
    assert rig.run(2000).coils == 0
    assert rig.probe("vcu_good") == good and rig.probe("vcu_crc_errors") > 150
    assert "vcu_e2e" in rig.active()


def test_a_replayed_request_is_dropped() -> None:
    rig = Rig().to_standby()
    rig.mode = 1
    replay = rig.vcu_frame()
    rig.mode = 0
    rig.request = lambda data: replay
    assert rig.run(3000).coils == 0
    assert rig.probe("vcu_counter_errors") > 100


def test_a_request_under_another_identity_is_dropped() -> None:
    rig = Rig().to_standby()
    rig.mute_vcu = True
    rig.mode = 1
    for _ in range(200):
        data = bytearray(rig.vcu_frame())
        data[0] = _firmware.e2e(0x81, data)
        rig.extra = [(0, 0x80, bytes(data))]
        rig.run(10)
    assert rig.coils == 0


@pytest.mark.parametrize("flags", [1, 2, 4, 16])
def test_frames_of_another_kind_are_dropped(flags: int) -> None:
    rig = Rig().to_standby()
    rig.mute_vcu = True
    rig.mode = 1
    for _ in range(150):
        rig.extra = [(0, 0x80, rig.vcu_frame(), flags)]
        rig.run(10)
    assert rig.coils == 0


@pytest.mark.parametrize("length", [0, 1, 7, 64])
def test_frames_of_another_length_are_dropped(length: int) -> None:
    rig = Rig().to_standby()
    rig.request = lambda data: (data * 8)[:length]
    rig.mode = 1
    assert rig.run(1500).coils == 0 and rig.probe("vcu_malformed") > 100


def test_a_silent_vehicle_opens_the_contactors_within_its_budget() -> None:
    rig = Rig().to_normal()
    rig.mute_vcu = True
    assert rig.until(lambda: rig.coils == 0, 1000) > 400
    assert "vcu_timeout" in rig.active()


def test_two_lost_requests_change_nothing() -> None:
    rig = Rig().to_normal()
    for _ in range(20):
        rig.mute_vcu = True
        rig.run(10)
        rig.mute_vcu = False
        rig.counter = (rig.counter + 1) % 15
        rig.run(40)
    assert rig.state == STATE["normal_drive"]


def test_every_cyclic_message_of_the_dbc_leaves_on_time_protected_and_decodable() -> None:
    rig = Rig("car_96s1p").to_normal()
    database = spec.database()
    seen: Counter[str] = Counter()
    counters: dict[int, int] = {}
    for _ in range(2000):
        rig.step()
        assert len(rig.sent) <= 4
        for _, identifier, data in rig.sent:
            message = database.get_message_by_frame_id(identifier)
            message.decode(data)
            seen[message.name] += 1
            if any(signal.name == "Crc" for signal in message.signals):
                assert data[0] == _firmware.e2e(identifier, data)
                if identifier in counters:
                    assert data[1] & 15 == (counters[identifier] + 1) % 15
                counters[identifier] = data[1] & 15
    for message in database.messages:
        if "BMS" in message.senders and message.cycle_time:
            assert seen[message.name] == 2000 // message.cycle_time, message.name
    assert 9.0 <= sum(seen.values()) / 200 <= 12.0


def test_what_is_told_is_what_was_measured() -> None:
    rig = Rig("car_96s1p").to_normal()
    rig.volts += [0.001 * (block % 11) for block in range(96)]
    rig.load_a = 33.0
    rig.run(1500)
    database = spec.database()
    volts: dict[int, float] = {}
    last: dict[str, dict] = {}
    for _ in range(300):
        rig.step()
        for _, identifier, data in rig.sent:
            message = database.get_message_by_frame_id(identifier)
            values = message.decode(data, decode_choices=False)
            last[message.name] = values
            if message.name == "BmsCellVoltages":
                for k in range(4):
                    volts[4 * values["Group"] + k] = values[f"Cell{k}"]
    assert len(volts) == 96
    assert max(abs(volts[b] - rig.volts[b]) for b in range(96)) < 0.006
    assert abs(last["BmsPack"]["PackCurrent"] - 33.0) < 1.0
    assert abs(last["BmsPack"]["PackVoltage"] - rig.volts.sum()) < 2.0
    assert last["BmsState"]["State"] == STATE["normal_drive"]
    assert abs(last["BmsSoc"]["Soc"] - 100.0 * rig.probe("soc_frac")) < 0.02
    assert last["BmsCellVoltageExtremes"]["CellVoltageMaxIndex"] % 11 in (9, 10)
    assert last["BmsIdentity"]["BlockCount"] == 96 if "BmsIdentity" in last else True


def test_an_event_is_told_once_for_each_change() -> None:
    rig = Rig().to_normal()
    rig.volts[4] = 4.4
    events = []
    for _ in range(1500):
        rig.step()
        events += [data for _, identifier, data in rig.sent if identifier == 0x10A]
    mine = [e for e in events if e[0] == spec.diagnosis("cell_overvoltage").id]
    tiers = [e[1] & 3 for e in mine]
    assert tiers == sorted(set(tiers)) and tiers[-1] == 3
    assert (mine[-1][1] >> 4 | mine[-1][2] << 4) == 4  # Index: the block
