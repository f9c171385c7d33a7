"""Leave to move real hardware: given for a time, taken back by itself, never given by itself."""

from __future__ import annotations

import numpy as np

from bms import _realtime

COILS = 0b011
SECOND = 1_000_000


def state(gate: _realtime.Gate) -> str:
    return _realtime.GATE_STATES[int(gate.fields["state"][0])]


def test_nothing_is_driven_before_it_was_armed() -> None:
    gate = _realtime.Gate()
    assert gate.levels(SECOND, SECOND, COILS) == 0
    assert state(gate) == "never armed"


def test_arming_ends_at_its_time_and_stays_ended() -> None:
    gate = _realtime.Gate()
    gate.arm(SECOND, 2 * SECOND)
    for now_us in range(SECOND, 3 * SECOND, 50_000):
        assert gate.levels(now_us, now_us, COILS) == COILS
    assert gate.levels(3 * SECOND - 1, 3 * SECOND - 1, COILS) == COILS
    assert gate.levels(3 * SECOND, 3 * SECOND, COILS) == 0
    assert state(gate) == "expired"
    assert gate.levels(4 * SECOND, 4 * SECOND, COILS) == 0
    assert int(gate.fields["drops"][0]) == 1


def test_a_host_that_stood_still_for_100_ms_drops_the_lines_and_must_be_armed_again() -> None:
    gate = _realtime.Gate()
    beat_us = 5 * SECOND
    gate.arm(beat_us, 100 * SECOND)
    assert gate.levels(beat_us + 50_000, beat_us, COILS) == COILS
    assert gate.levels(beat_us + 100_000, beat_us, COILS) == COILS
    assert gate.levels(beat_us + 100_001, beat_us, COILS) == 0
    assert state(gate) == "stalled"
    assert gate.levels(beat_us + 200_000, beat_us + 200_000, COILS) == 0
    gate.arm(beat_us + 200_000, SECOND)
    assert gate.levels(beat_us + 200_001, beat_us + 200_000, COILS) == COILS


def test_a_gate_that_was_not_asked_for_100_ms_was_on_a_host_that_stood_still() -> None:
    """The runner may have been the first to move again."""
    gate = _realtime.Gate()
    gate.arm(0, 100 * SECOND)
    assert gate.levels(100_000, 100_000, COILS) == COILS
    assert gate.levels(200_001, 200_001, COILS) == 0
    assert state(gate) == "stalled"


def test_arming_for_no_time_disarms() -> None:
    gate = _realtime.Gate()
    gate.arm(0, SECOND)
    gate.arm(1, 0)
    assert gate.levels(2, 2, COILS) == 0
    assert state(gate) == "disarmed"


def test_whatever_happens_lines_are_on_only_while_armed_and_fresh(seed: int) -> None:
    chance = np.random.default_rng(seed)
    gate, now_us, beat_us, until_us, revoked = _realtime.Gate(), 0, 0, -1, True
    for _ in range(3000):
        now_us += int(chance.integers(0, 60_000))
        if chance.random() < 0.6:
            beat_us = now_us
        if chance.random() < 0.05:
            span = int(chance.integers(0, SECOND))
            gate.arm(now_us, span)
            until_us, revoked = now_us + span, span == 0
        revoked = revoked or now_us >= until_us or now_us - beat_us > 100_000
        wanted = int(chance.integers(0, 16))
        assert gate.levels(now_us, beat_us, wanted) == (0 if revoked else wanted)
