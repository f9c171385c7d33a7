"""What the faces of a pack say is what its BMS says, in the words and signs of each protocol."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bms import Simulation
from bms.protocols import CanFrame, Malformed, daly, dbc, elcon, inverter, jbd, jk, pylontech
from bms.protocols.packview import STALE_S, PackView

NOW_S = 25.0


@pytest.fixture(scope="module")
def frames() -> list[tuple[float, int, bytes]]:
    """Frames of the vehicle bus while a home storage pack comes up and begins to charge."""
    run = Simulation("home_backup", seed=1).run(NOW_S, frames=True)
    return [(f.t_ns * 1e-9, f.id, f.data) for f in run.recording.frames if f.bus == 0]


@pytest.fixture
def view(frames: list[tuple[float, int, bytes]]) -> PackView:
    seen = PackView()
    for time_s, can_id, data in frames:
        seen.hear(time_s, can_id, data)
    return seen


def say(view: PackView, message: str, **values: dbc.Value) -> None:
    """The BMS says something else from now on; counters go on where they were."""
    said = {**view.values[message], **values}
    said["Counter"] = (int(said.get("Counter") or 0) + 1) % 15
    view.hear(NOW_S, dbc.frame_id(message), dbc.encode(message, said))


def diagnose(view: PackView, code: int) -> None:
    view.hear(
        NOW_S,
        dbc.frame_id("BmsDiagnosis"),
        dbc.encode("BmsDiagnosis", {"Page": code // 56, "Active": 1 << code % 56}),
    )


def test_a_view_gathers_what_the_bus_says(view: PackView) -> None:
    assert (view.malformed, view.refused) == (0, 0)
    assert view.is_closed and view.block_count == 16
    assert 50.0 < (view.voltage_v or 0.0) < 58.4
    assert all(v is not None and 3.3 < v < 3.6 for v in view.cell_voltages_v())
    assert len(view.temperatures_degc()) == 6
    assert sum(v or 0.0 for v in view.cell_voltages_v()) == pytest.approx(view.voltage_v, abs=0.15)


def test_bad_frames_are_counted_and_change_nothing(view: PackView) -> None:
    before = dict(view.values["BmsPack"])
    can_id = dbc.frame_id("BmsPack")
    view.hear(NOW_S, can_id, b"\x00" * 8)
    view.hear(NOW_S, can_id, b"\x00" * 3)
    view.hear(NOW_S, 0x7FF, b"\x00" * 8)
    assert (view.refused, view.malformed) == (1, 1)
    assert view.values["BmsPack"] == before


ALL: list[tuple[str, Callable[[PackView, float], object]]] = [
    *(
        (name, lambda v, t, d=dialect: inverter.frames(v, t, d))
        for name, dialect in inverter.DIALECTS.items()
    ),
    ("elcon", elcon.frames),
    ("jbd", lambda v, t: jbd.answer(v, t, jbd.Request(jbd.BASIC))),
    ("daly", lambda v, t: daly.answer(v, t, daly.Frame(0x40, 0x90))),
    ("jk", lambda v, t: jk.answer(v, t, jk.VECTORS[0].message)),
    (
        "pylontech",
        lambda v, t: pylontech.answer(v, t, pylontech.Frame(2, pylontech.VALUES, b"\x02")),
    ),
]


@pytest.mark.parametrize(("name", "face"), ALL, ids=[name for name, _ in ALL])
def test_a_face_falls_silent_when_the_bms_does(
    view: PackView, name: str, face: Callable[[PackView, float], object]
) -> None:
    assert face(view, NOW_S)
    assert not face(view, NOW_S + STALE_S + 0.1)
    assert not face(PackView(), NOW_S)


def test_current_has_the_sign_of_each_protocol(view: PackView) -> None:
    say(view, "BmsPack", PackCurrent=-20.0)  # charging
    wire = {f.can_id: f for f in inverter.frames(view, NOW_S, inverter.DIALECTS["victron"])}
    assert int.from_bytes(wire[0x356].data[2:4], "little", signed=True) == 200
    basic = jbd.answer(view, NOW_S, jbd.Request(jbd.BASIC))
    assert int.from_bytes(basic[6:8], "big", signed=True) == 2000
    summary = daly.answer(view, NOW_S, daly.Frame(0x40, 0x90))
    assert int.from_bytes(summary[8:10], "big") == 30000 - 200
    items = dict(jk.decode(jk.answer(view, NOW_S, jk.VECTORS[0].message)).items)
    assert items[jk.CURRENT] == (0x8000 | 2000).to_bytes(2, "big")
    request = pylontech.Frame(2, pylontech.VALUES, b"\x02")
    values = pylontech.decode(pylontech.answer(view, NOW_S, request)).information
    at = 3 + 2 * 16 + 1 + 2 * 6
    assert int.from_bytes(values[at : at + 2], "big", signed=True) == 200


def test_limits_are_never_rounded_towards_danger(view: PackView) -> None:
    say(view, "BmsLimits", ChargeCurrentLimit=46.3, ChargeVoltageLimit=58.4)
    say(view, "BmsState", ChargeAllowed="yes", DischargeAllowed="no", State="normal_charge")
    sent = {f.can_id: f for f in inverter.frames(view, NOW_S, inverter.DIALECTS["pylontech"])}
    assert inverter.decode(sent[0x351]) == inverter.Limits(584, 463, 0, 400)
    assert inverter.decode(sent[0x35C]) == inverter.Wishes(0x80)
    (command,) = elcon.frames(view, NOW_S)
    assert elcon.decode(command) == elcon.Command(584, 463, False)


def test_nothing_is_promised_while_contactors_are_open(view: PackView) -> None:
    say(view, "BmsState", ContactorMainPlus="no", State="standby")
    sent = {f.can_id: f for f in inverter.frames(view, NOW_S, inverter.DIALECTS["pylontech"])}
    assert inverter.decode(sent[0x35C]) == inverter.Wishes(0)
    (command,) = elcon.frames(view, NOW_S)
    assert elcon.decode(command).stop
    assert jbd.decode(jbd.answer(view, NOW_S, jbd.Request(jbd.BASIC))).switches == 0


def test_an_unknown_voltage_limit_is_not_sent_as_zero(view: PackView) -> None:
    say(view, "BmsLimits", ChargeVoltageLimit=0.0)
    sent = {f.can_id for f in inverter.frames(view, NOW_S, inverter.DIALECTS["victron"])}
    assert 0x351 not in sent and 0x356 in sent


def test_a_diagnosis_is_a_warning_until_its_group_trips(view: PackView) -> None:
    diagnose(view, 1)  # cell_overvoltage
    sent = {f.can_id: f for f in inverter.frames(view, NOW_S, inverter.DIALECTS["pylontech"])}
    assert inverter.decode(sent[0x359]) == inverter.Protections(0, 2, 1)
    assert jbd.decode(jbd.answer(view, NOW_S, jbd.Request(jbd.BASIC))).protection == 0
    say(view, "BmsState", TripVoltage="yes", State="error")
    sent = {f.can_id: f for f in inverter.frames(view, NOW_S, inverter.DIALECTS["pylontech"])}
    assert inverter.decode(sent[0x359]) == inverter.Protections(2, 0, 1)
    assert jbd.decode(jbd.answer(view, NOW_S, jbd.Request(jbd.BASIC))).protection == 1
    (victron,) = (
        f for f in inverter.frames(view, NOW_S, inverter.DIALECTS["victron"]) if f.can_id == 0x35A
    )
    assert inverter.pairs_of(victron.data[:4]) == {0, 1}


@pytest.mark.parametrize("active_pair", [1, 2])
def test_pairs_of_bits_can_be_told_both_ways(active_pair: int) -> None:
    data = inverter.pairs_bytes({0, 3, 15}, set(range(16)), active_pair)
    assert inverter.pairs_of(data, active_pair) == {0, 3, 15}
    assert inverter.pairs_of(data, 3 - active_pair) == set(range(16)) - {0, 3, 15}


def test_switching_commands_are_never_obeyed(view: PackView) -> None:
    refused = jbd.answer(view, NOW_S, jbd.Request(0xE1, b"\x00\x03", is_write=True))
    assert jbd.decode(refused) == jbd.Answer(0xE1, jbd.REFUSED)
    for command in (0x00, 0x21, 0xD9, 0xDA):
        assert daly.answer(view, NOW_S, daly.Frame(0x40, command, b"\x01" + b"\0" * 7)) == b""
    write = jk.Frame(0x02, jk.FROM_HOST, jk.REQUEST, ((0xAB, b"\x00"),))
    assert jk.answer(view, NOW_S, write) == b""


def test_a_pack_that_does_not_fit_is_not_told_wrongly(view: PackView) -> None:
    say(view, "BmsPack", PackVoltage=400.0)
    view.values["BmsIdentity"]["BlockCount"] = 400
    for module in (inverter, jbd, daly, jk, pylontech):
        assert module.fits(view)
    assert inverter.frames(view, NOW_S, inverter.DIALECTS["sma"]) == []
    assert jbd.answer(view, NOW_S, jbd.Request(jbd.BASIC)) == b""


def test_frame_sizes_find_every_frame_in_a_stream_with_noise() -> None:
    for module in (jbd, daly, jk, pylontech):
        wires = [vector.wire for vector in module.VECTORS]
        stream = bytearray(b"\x00\xff" + b"\x01".join(wires))
        found = []
        while stream:
            size = module.frame_size(stream)
            if size == 0:
                break
            take = max(size, 1)
            if size > 0:
                found.append(bytes(stream[:take]))
            del stream[:take]
        assert found == wires, module.__name__


def test_a_frame_size_of_a_part_is_not_known_yet_or_right() -> None:
    for module in (jbd, daly, jk, pylontech):
        for vector in module.VECTORS:
            sizes = {module.frame_size(vector.wire[:n]) for n in range(1, len(vector.wire))}
            assert sizes <= {0, len(vector.wire)}, module.__name__


def test_a_charger_follows_the_last_command_and_stops_without_one() -> None:
    charger = elcon.Charger(voltage_max_v=60.0, current_max_a=30.0)
    assert charger.setting(0.0) == (0.0, 0.0)
    charger.hear(10.0, elcon.encode(elcon.Command(584, 100)))
    assert charger.setting(10.0) == (58.4, 10.0)
    charger.hear(11.0, elcon.encode(elcon.Command(700, 400)))
    assert charger.setting(12.0) == (60.0, 30.0)
    charger.hear(12.5, CanFrame(0x123, b"\xff" * 8))
    assert charger.setting(16.1) == (0.0, 0.0)
    status = elcon.decode(charger.status(16.1, 54.0, 0.0))
    assert status == elcon.Status(540, 0, elcon.NO_COMMANDS)
    charger.hear(17.0, elcon.encode(elcon.Command(584, 100, stop=True)))
    assert charger.setting(17.0) == (0.0, 0.0)


def test_known_numbers_reach_every_face(view: PackView) -> None:
    say(view, "BmsPack", PackVoltage=53.2, PackCurrent=12.3)
    say(view, "BmsSoc", Soc=63.7, SocValid="yes")
    basic = jbd.decode(jbd.answer(view, NOW_S, jbd.Request(jbd.BASIC)))
    assert (basic.voltage_cv, basic.current_ca, basic.soc_pct) == (5320, 1230, 63)
    assert basic.remaining_cah == pytest.approx(6370, abs=1)
    summary = daly.decode(daly.answer(view, NOW_S, daly.Frame(0x40, 0x90)))
    assert summary == daly.Summary(532, 0, 123, 637)
    cells = daly.answer(view, NOW_S, daly.Frame(0x40, 0x95))
    parts = [daly.decode(cells[k : k + 13]) for k in range(0, len(cells), 13)]
    told = [mv for part in parts for mv in part.voltages_mv][:16]
    assert told == [round((v or 0.0) * 1e3) for v in view.cell_voltages_v()]
    assert not any(isinstance(part, Malformed) for part in parts)
