"""Where the control unit is plugged in: each way a line, a frame, a pin, the supply or the memory
can go wrong does what it says, and the BMS ends in a safe state or rides it through."""

from __future__ import annotations

import faultcase
import numpy as np
import pytest

from bms.sim import Simulation

CUT_ANSWERS, CUT_COMMANDS = 1, 2
FLIP, FORGE, COUNTER, DATA_ID, FILL, REPLAY, DROP, TWICE, LATE, SWAP, LENGTH, KIND, SECOND = range(
    1, 14
)
VCU, STATE = 0x080, 0x100


def drive() -> Simulation:
    made, snapshot = faultcase.simulation("drive")
    made.restore(snapshot)
    return made


def tamper(made: Simulation, kind: int, value: int = 0, *, ident: int = VCU, byte: int = 2) -> None:
    """A place of the seam in use."""
    seam = made.world.parts["seam"]
    seam["tamper_bus"][0], seam["tamper_id"][0] = 0, ident
    seam["tamper_byte"][0], seam["tamper_value"][0] = byte, value
    seam["tamper_kind"][0] = kind


def ran(made: Simulation, seconds: float, **fields: int) -> list[str]:
    """Names of the diagnoses raised while fields of the seam are as given."""
    before = len(made.events)
    for name, value in fields.items():
        made.world.parts["seam"][name][0] = value
    made.run(seconds, record=False)
    return [e.name for e in made.events[before:] if e.kind == "diagnosis" and "raised" in e.text]


def closed(made: Simulation) -> bool:
    return int(made.world.parts["plant"]["contactor_closed"][0]) & 3 == 3


@pytest.mark.parametrize(
    "fields",
    [
        {"uart_cut": CUT_ANSWERS}, {"uart_cut": CUT_COMMANDS}, {"uart_drop_every": 7},
        {"uart_flip_every": 7}, {"uart_framing_every": 7}, {"uart_keep": 9},
    ],
    ids=lambda f: "".join(f"{k}={v}" for k, v in f.items()),
)  # fmt: skip
def test_line_that_no_answer_survives_trips_within_its_budget(fields: dict[str, int]) -> None:
    made = drive()
    assert "afe_link" in ran(made, 0.25, **fields)
    made.run(0.3, record=False)
    assert not closed(made)


@pytest.mark.parametrize(
    "fields",
    [
        {"uart_drop_every": 20_000}, {"uart_flip_every": 20_000}, {"uart_framing_every": 20_000},
        {"uart_insert": 3},
    ],
    ids=lambda f: "".join(f"{k}={v}" for k, v in f.items()),
)  # fmt: skip
def test_rare_damage_of_the_line_is_ridden_through(fields: dict[str, int]) -> None:
    made = drive()
    assert ran(made, 4.0, **fields) == [] and closed(made)
    assert made.world.parts["seam"]["uart_insert"][0] == 0


def test_half_duplex_echo_never_reads_as_an_answer() -> None:
    """Hearing itself, a control unit either sorts its own words out or says the link is lost."""
    made = drive()
    raised = ran(made, 1.0, uart_echo=1)
    assert closed(made) or "afe_link" in raised or "afe_count" in raised
    assert not {"cell_overvoltage", "cell_undervoltage"} & set(raised)


@pytest.mark.parametrize(("kind", "value"), [(TWICE, 0), (LATE, 5), (DROP, 2)])
def test_requests_that_come_twice_late_or_with_gaps_do_not_trip(kind: int, value: int) -> None:
    made = drive()
    tamper(made, kind, value)
    made.run(3.0, record=False)
    assert closed(made)


@pytest.mark.parametrize(
    ("kind", "value"),
    [(FLIP, 1), (COUNTER, 0), (DATA_ID, 5), (REPLAY, 0), (DROP, 0), (SWAP, 0), (LENGTH, 7),
     (KIND, 1), (KIND, 2), (KIND, 4)],
)  # fmt: skip
def test_requests_that_are_not_what_they_say_count_as_missing(kind: int, value: int) -> None:
    made = drive()
    tamper(made, kind, value)
    made.run(1.2, record=False)
    assert not closed(made)


def test_forged_content_under_a_right_check_code_is_believed_by_the_vehicle_alone() -> None:
    """The seam can forge what the BMS says as well: the vehicle then reads another state."""
    made = drive()
    was = int(made.world.parts["vehicle"]["obs_state"][0])
    tamper(made, FORGE, 0xF0, ident=STATE, byte=1)
    made.run(0.1, record=False)
    assert int(made.world.parts["vehicle"]["obs_state"][0]) != was and closed(made)
    assert int(made.world.parts["vehicle"]["e2e_errors"][0]) == 0


def test_frames_held_back_are_let_go_when_the_fault_is_over() -> None:
    made = drive()
    tamper(made, LATE, 200)
    made.run(0.5, record=False)
    seam = made.world.parts["seam"]
    assert np.count_nonzero(seam["held_us"]) > 5
    seam["tamper_kind"][0] = 0
    made.run(0.4, record=False)
    assert np.count_nonzero(seam["held_us"]) == 0 and closed(made)
    assert not seam["is_tampered"][0]


def test_supply_below_the_hold_of_the_coils_drops_them_without_asking() -> None:
    made = drive()
    made.world.parts["loop"]["supply_mv"][0] = 5_500
    made.run(0.03, record=False)
    assert not closed(made)


def test_brown_out_holds_the_control_unit_in_reset_and_it_starts_when_the_supply_is_back() -> None:
    made = drive()
    loop = made.world.parts["loop"]
    resets, steps = int(loop["resets"][0]), int(loop["ecu_steps"][0])
    loop["supply_mv"][0] = 3_000
    made.run(0.5, record=False)
    assert int(loop["resets"][0]) == resets + 1 and int(loop["ecu_steps"][0]) <= steps + 1
    loop["supply_mv"][0] = 13_500
    made.run(0.5, record=False)
    assert int(loop["ecu_steps"][0]) > steps + 400 and not closed(made)


def test_hang_keeps_its_outputs_until_the_watchdog_bites() -> None:
    made = drive()
    seam, loop = made.world.parts["seam"], made.world.parts["loop"]
    resets = int(loop["resets"][0])
    seam["hang_ms"][0] = 5_000
    made.run(0.09, record=False)
    assert closed(made) and int(loop["resets"][0]) == resets
    made.run(0.05, record=False)
    assert int(loop["resets"][0]) == resets + 1 and not closed(made)


def test_short_hang_is_ridden_out_or_tripped_but_does_not_reset() -> None:
    made = drive()
    loop = made.world.parts["loop"]
    resets = int(loop["resets"][0])
    made.world.parts["seam"]["hang_ms"][0] = 10
    made.run(0.5, record=False)
    assert int(loop["resets"][0]) == resets


@pytest.mark.parametrize("bit", [0, 1, 2])
def test_stuck_feedback_is_seen_by_the_control_unit_only(bit: int) -> None:
    made = drive()
    seam = made.world.parts["seam"]
    seam["pin_mask"][0] = 8 << bit
    seam["pin_level"][0] = 0 if bit < 2 else 32
    made.run(0.02, record=False)
    read = int(made.world.parts["loop"]["input_pins"][0]) >> 3 & 7
    assert read == int(made.world.parts["plant"]["contactor_closed"][0]) ^ 1 << bit
    made.run(0.5, record=False)
    assert not closed(made)


def test_broken_coil_opens_and_shorted_driver_holds_its_contact() -> None:
    made = drive()
    made.world.parts["seam"]["coil_cut"][0] = 1
    made.run(0.05, record=False)
    assert int(made.world.parts["plant"]["contactor_closed"][0]) & 1 == 0
    made = drive()
    made.world.parts["seam"]["coil_forced"][0] = 1
    made.world.parts["loop"]["crash"][0] = 1
    made.run(0.5, record=False)
    assert int(made.world.parts["plant"]["contactor_closed"][0]) & 3 == 1


@pytest.mark.parametrize("cut", [1, 2, 33, 65])
def test_write_torn_at_any_byte_ends_in_a_reset_and_a_start_that_works(cut: int) -> None:
    made = drive()
    loop, seam = made.world.parts["loop"], made.world.parts["seam"]
    resets = int(loop["resets"][0])
    seam["nvm_torn"][0] = cut
    made.world.parts["vehicle"]["request"][0] = 0  # what was learnt is put away
    made.world.parts["vehicle"]["kind"][0] = 0
    made.run(20.0, record=False)
    if seam["nvm_torn"][0]:
        pytest.skip("nothing was written in that time")
    assert int(loop["resets"][0]) == resets + 1
    made.run(2.0, record=False)
    assert int(loop["resets"][0]) == resets + 1 and int(loop["step_errors"][0]) == 0


def test_silent_memory_keeps_its_bits() -> None:
    made = drive()
    before = made.world.parts["loop"]["nvm"].copy()
    made.world.parts["seam"]["nvm_mode"][0] = 1
    made.run(5.0, record=False)
    assert (made.world.parts["loop"]["nvm"] == before).all()


def test_seam_at_rest_changes_no_bit() -> None:
    """Values that rest on zero but for what they never meet give the same trace."""
    made = drive()
    made.run(1.0, record=False)
    straight = int(made.world.parts["loop"]["trace_hash"][0])
    made = drive()
    tamper(made, FLIP, 1, ident=0x7AB)
    made.run(1.0, record=False)
    assert int(made.world.parts["loop"]["trace_hash"][0]) == straight
