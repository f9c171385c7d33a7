"""The spec files agree with themselves, with each other and with what they promise."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bms import spec
from bms.errors import ConfigError

MESSAGES = spec.database().messages


def changed(tmp_path: Path, source: Path, old: str, new: str) -> Path:
    """A copy of a spec file with its first `old` replaced."""
    text = source.read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / source.name
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return path


# ---- messages ----


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: m.name)
def test_every_message_says_what_it_is_and_how_often_it_comes(message) -> None:
    assert message.comment and len(message.senders) == 1
    assert message.senders[0] in {node.name for node in spec.database().nodes}
    assert not message.is_extended_frame and message.length == 8
    attributes = message.dbc.attributes
    assert {"GenMsgCycleTime", "GenMsgSendType", "VFrameFormat"} <= set(attributes)
    assert (attributes["GenMsgSendType"].value == 1) == (message.cycle_time in (None, 0))


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: m.name)
def test_every_signal_has_comment_receivers_a_short_name_and_a_reachable_range(message) -> None:
    for s in message.signals:
        assert s.comment and s.receivers, s.name
        assert len(s.name) <= 32 and len(message.name) <= 32
        assert s.byte_order == "little_endian" and not s.is_float
        low = -(1 << (s.length - 1)) if s.is_signed else 0
        high = low + (1 << s.length) - 1
        ends = [
            low * s.conversion.scale + s.conversion.offset,
            high * s.conversion.scale + s.conversion.offset,
        ]
        assert ends[0] - 1e-9 <= s.minimum < s.maximum <= ends[1] + 1e-9, s.name


def test_a_not_available_code_lies_outside_the_range_of_its_signal() -> None:
    seen = 0
    for message in MESSAGES:
        for s in message.signals:
            for number, word in (s.choices or {}).items():
                if str(word) == "not_available":
                    value = number * s.conversion.scale + s.conversion.offset
                    assert not s.minimum <= value <= s.maximum, f"{message.name}.{s.name}"
                    seen += 1
    assert seen > 30


def test_every_signal_without_a_unit_is_a_word_a_count_or_bits() -> None:
    """Anything that is scaled is a quantity, and a quantity has a unit."""
    for message in MESSAGES:
        for s in message.signals:
            if not s.unit:
                assert s.conversion.scale == 1 and s.conversion.offset == 0, (
                    f"{message.name}.{s.name}"
                )


def test_protected_messages_start_with_crc_and_counter_and_no_two_share_a_data_id() -> None:
    ids = []
    for message in MESSAGES:
        attributes = message.dbc.attributes
        names = {s.name: (s.start, s.length) for s in message.signals}
        if "E2EProfile" in attributes and attributes["E2EProfile"].value:
            assert (names["Crc"], names["Counter"]) == ((0, 8), (8, 4)), message.name
            assert attributes["E2EDataId"].value == message.frame_id
            ids.append(attributes["E2EDataId"].value)
        else:
            assert "Crc" not in names
    assert len(ids) == len(set(ids)) == 7


def test_what_commands_or_permits_is_protected() -> None:
    for name in (
        "VcuRequest",
        "IoInputs",
        "IoOutputs",
        "BmsState",
        "BmsPack",
        "BmsLimits",
        "BmsSoc",
    ):
        assert "E2EProfile" in spec.database().get_message_by_name(name).dbc.attributes, name


def test_the_io_module_carries_every_pin_at_its_place() -> None:
    for direction, name in (("input", "IoInputs"), ("output", "IoOutputs")):
        message = spec.database().get_message_by_name(name)
        carried = {
            s.start - 16: re.sub(r"(?<!^)(?=[A-Z])", "_", s.name).lower()
            for s in message.signals
            if 16 <= s.start < 32
        }
        assert carried == {p.bit: p.name for p in spec.pins() if p.direction == direction}


def test_the_vehicle_bus_can_carry_all_of_it_with_room_to_spare() -> None:
    """111 bits and at most 24 stuffed ones a frame of 8 bytes, at 500 kbit/s, below half load."""
    frames_per_s = sum(1000 / m.cycle_time for m in MESSAGES if m.cycle_time)
    assert frames_per_s > 1000 and frames_per_s * 135 < 0.5 * 500_000


def test_writing_and_reading_the_database_again_changes_nothing() -> None:
    import cantools

    again = cantools.database.load_string(spec.database().as_dbc_string(), "dbc")
    for message in MESSAGES:
        twin = again.get_message_by_name(message.name)
        assert [(s.name, s.start, s.length, s.unit, s.comment) for s in twin.signals] == [
            (s.name, s.start, s.length, s.unit, s.comment) for s in message.signals
        ]


# ---- diagnoses ----


def test_the_first_trip_and_every_page_can_carry_every_diagnosis() -> None:
    highest = spec.diagnoses()[-1].id
    first_trip = (
        spec.database().get_message_by_name("BmsState").get_signal_by_name("FirstTripDiagnosis")
    )
    assert highest <= first_trip.maximum
    active = spec.database().get_message_by_name("BmsDiagnosis").get_signal_by_name("Active")
    assert active.length == spec.DIAGNOSES_A_PAGE


def test_trip_flags_are_the_groups_in_order() -> None:
    message = spec.database().get_message_by_name("BmsState")
    flags = sorted((s.start, s.name) for s in message.signals if s.name.startswith("Trip"))
    assert [name.removeprefix("Trip").lower() for _, name in flags] == list(spec.GROUPS)
    assert [start for start, _ in flags] == list(range(flags[0][0], flags[0][0] + len(flags)))


def test_event_tiers_are_the_tiers() -> None:
    assert spec.choices("BmsEvent", "Tier") == {int(t): t.name for t in spec.Tier}


BUDGET_MS = {
    "cell_overvoltage": 500,
    "cell_undervoltage": 500,
    "current_charge_high": 150,
    "current_discharge_high": 150,
    "current_comparator": 5,
    "temperature_high_discharge": 2000,
    "afe_link": 200,
    "current_unknown": 500,
    "vcu_timeout": 1000,
    "interlock_open": 150,
    "contactor_main_plus": 300,
    "contactor_main_minus": 300,
    "pressure_low": 1000,
    "pressure_high": 1000,
    "insulation_low": 30000,
    "thermal_runaway": 10000,
}


@pytest.mark.parametrize("name", BUDGET_MS)
def test_handling_budgets_are_those_of_the_safety_concept(name: str) -> None:
    assert spec.diagnosis(name).deadline_ms <= BUDGET_MS[name]


SAMPLE_MS = {
    "voltages": 20,
    "current": 10,
    "gpio": 100,
    "insulation": 1000,
    "tick": 10,
    "step": 1,
    "event": 1,
    "request": 10,
}


@pytest.mark.parametrize("row", spec.diagnoses(), ids=lambda r: r.name)
def test_fresh_samples_at_their_period_fit_into_the_deadline(row: spec.Diagnosis) -> None:
    assert row.debounce_samples * SAMPLE_MS[row.sample] <= row.deadline_ms


def test_voltages_of_400_blocks_read_every_100_ms_still_meet_their_deadline() -> None:
    """The worst phase costs one more period than the debounce takes."""
    for name in ("cell_overvoltage", "cell_undervoltage"):
        row = spec.diagnosis(name)
        assert row.debounce_samples * 100 + 10 <= row.deadline_ms


def test_a_burst_below_100_ms_raises_no_overcurrent() -> None:
    for name in ("current_charge_high", "current_discharge_high", "interlock_open"):
        assert spec.diagnosis(name).debounce_samples * 10 >= 100


def test_every_trip_latches_and_every_row_says_where_it_is_from() -> None:
    for row in spec.diagnoses():
        assert row.latch or row.reaction != "trip"
        assert re.search(r"[A-Z]{3}-\d\d|assumption", row.source), row.name
        assert row.trigger.endswith(".") and row.clear


def test_what_scenarios_expect_exists(project_dir: Path) -> None:
    import tomllib

    names = {row.name for row in spec.diagnoses()}
    states = set(spec.choices("BmsState", "State").values())
    for path in (project_dir / "src/bms/scenarios").glob("*.toml"):
        text = path.read_text(encoding="utf-8")
        expected = tomllib.loads(text).get("expect", {}).get("diagnoses", [])
        assert set(expected) <= names, path.name
        assert set(re.findall(r'until\.state = "(\w+)"', text)) <= states, path.name


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("latch = true", "latch = true\ncolour = 3", "diagnosis[0].colour"),
        ("id = 2", "id = 1", "diagnosis[1].id"),
        ('name = "cell_undervoltage"', 'name = "cell_overvoltage"', "diagnosis[1].name"),
        ("latch = true", "latch = false", "diagnosis[0].latch"),
        ("debounce_ms = 450", "debounce_ms = 501", "diagnosis[0].debounce_ms"),
        ('tiers = ["operate", "warn", "trip"]', 'tiers = ["trip", "warn"]', "diagnosis[0].tiers"),
        ('reaction = "trip"', 'reaction = "derate"', "diagnosis[0].reaction"),
        ('reaction = "trip"', 'reaction = "explode"', "diagnosis[0].reaction"),
        ("thresholds = [0, 200, 1000]", "thresholds = [5, 200, 1000]", "diagnosis[3].thresholds"),
    ],
)
def test_a_wrong_diagnosis_is_refused_by_key(tmp_path: Path, old: str, new: str, key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        spec.read_diagnoses(changed(tmp_path, spec.DIAGNOSES, old, new))
    assert caught.value.key == key


# ---- pins and signals ----


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("safe = 0", "safe = 2", "input[0].safe"),
        ("bit = 1", "bit = 0", "input[1].bit"),
        ("safe = 0", "safe = 0\npull = 1", "input[0].pull"),
    ],
)
def test_a_wrong_pin_is_refused_by_key(tmp_path: Path, old: str, new: str, key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        spec.read_pins(changed(tmp_path, spec.PINS, old, new))
    assert caught.value.key == key


def test_every_output_pin_is_safe_at_zero() -> None:
    assert not [p.name for p in spec.pins() if p.direction == "output" and p.safe]


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('name = "true_soc_frac"', 'name = "soc_frac"', "signal[0].name"),
        ('name = "true_pack_voltage_v"', 'name = "true_soc_frac"', "signal[1].name"),
        ('from = "plant.pack_soc_frac"', 'from = "pack_soc_frac"', "signal[0].from"),
        ('from = "plant.pack_soc_frac"', 'source = "plant.pack_soc_frac"', "signal[0].source"),
    ],
)
def test_a_wrong_signal_is_refused_by_key(tmp_path: Path, old: str, new: str, key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        spec.read_signals(changed(tmp_path, spec.SIGNALS, old, new))
    assert caught.value.key == key


def test_truth_comes_from_the_world_and_readings_only_from_what_crossed_the_wire() -> None:
    for s in spec.signals():
        part = s.source.partition(".")[0]
        if s.kind in ("measured", "estimated"):
            assert part == "vehicle" and s.message, s.name
        if s.kind == "truth":
            assert part in ("plant", "chips"), s.name


def test_signals_come_from_fields_that_exist_and_vectors_from_arrays(project_dir: Path) -> None:
    headers = {
        "plant": "plant/plant.h",
        "chips": "chips/chips.h",
        "loop": "loop/loop.h",
        "vehicle": "loop/vehicle.h",
    }
    fields = {
        part: {
            name: kind
            for kind, name in re.findall(
                r"\b([SA])\(\w+, (\w+),", (project_dir / "ext" / file).read_text(encoding="utf-8")
            )
        }
        for part, file in headers.items()
    }
    for s in spec.signals():
        part, _, field = s.source.partition(".")
        assert fields[part].get(field) == ("A" if s.count else "S"), s.name


def test_signals_name_messages_that_exist() -> None:
    for s in spec.signals():
        if s.message:
            message, _, name = s.message.partition(".")
            spec.database().get_message_by_name(message).get_signal_by_name(name)


def test_signal_names_end_in_their_unit() -> None:
    ends = {"V": "_v", "A": "_a", "degC": "_degc", "kPa": "_kpa", "kohm": "_kohm"}
    for s in spec.signals():
        if s.unit in ends:
            assert s.name.endswith(ends[s.unit]), s.name


def test_unknown_names_and_numbers() -> None:
    assert spec.state_name(15) == "state 15" and spec.diagnosis_name(200) == "diagnosis 200"
    assert spec.diagnosis_name(0) == "none" and spec.diagnosis_name(28) == "crash"
    for ask in (
        lambda: spec.state_number("flying"),
        lambda: spec.diagnosis("x"),
        lambda: spec.pin("x"),
    ):
        with pytest.raises(ConfigError):
            ask()


def test_the_words_of_a_signal_are_those_that_cantools_reads() -> None:
    for message in spec.database().messages:
        for signal in message.signals:
            words = {int(k): str(word) for k, word in (signal.choices or {}).items()}
            found = spec.choices(message.name, signal.name)
            assert list(found.items()) == list(words.items()), (message.name, signal.name)
    with pytest.raises(KeyError):
        spec.choices("NoMessage", "State")
