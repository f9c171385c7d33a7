"""What contactors cannot break: the coils stay until it is known, then until the fuse has acted."""

from __future__ import annotations

import pytest
from firmware_rig import FUSE, OVERCURRENT, STATE, Rig

READING_MS = 10
LOOK_MS = 30  # bound of the look, fuse.c
FUSE_WAIT_MS = 500  # bms.firmware.config


class Shorted:
    """A rig whose comparator follows the current, and what happened millisecond by millisecond."""

    def __init__(self, phase_ms: int = 0, *, fuse_acts: bool = True) -> None:
        self.rig = Rig().to_normal().run(phase_ms)
        self.rig.ivt.fields["current_range_a"][0] = 20_000.0
        self.break_a = self.rig.pack.contactors.break_current_a
        self.fuse_acts, self.amps = fuse_acts, 0.0
        self.fired_ms: int | None = None
        self.opened_ms: int | None = None
        self.ms = 0

    def step(self) -> None:
        rig = self.rig
        if not self.fuse_acts:
            rig.fuse_blown = False
        rig.load_a = self.amps
        pin = OVERCURRENT if abs(rig.current_a) > rig.pack.sensors.comparator_a else 0
        rig.pins = rig.pins & ~OVERCURRENT | pin
        rig.step()
        self.ms += 1
        if self.fired_ms is None and rig.firmware.pins & FUSE:
            self.fired_ms = self.ms
        if self.opened_ms is None and rig.coils == 0:
            self.opened_ms = self.ms

    def run(self, ms: int, factor: float) -> Shorted:
        self.amps = factor * self.break_a
        for _ in range(ms):
            self.step()
        return self


@pytest.mark.parametrize("phase_ms", range(READING_MS))
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_short_of_any_phase_is_never_opened_into_before_a_reading_shows_it(
    phase_ms: int, sign: float
) -> None:
    short = Shorted(phase_ms, fuse_acts=False).run(100, sign * 1.6)
    assert short.opened_ms is None and short.rig.state == STATE["error"]
    assert "current_comparator" in short.rig.active()
    assert short.fired_ms is not None and short.fired_ms <= 2 * READING_MS + 2


@pytest.mark.parametrize("phase_ms", range(READING_MS))
def test_what_contactors_can_break_is_opened_by_them_as_soon_as_two_readings_say_so(
    phase_ms: int,
) -> None:
    short = Shorted(phase_ms).run(LOOK_MS, 0.48)
    assert short.fired_ms is None
    assert short.opened_ms is not None and READING_MS < short.opened_ms <= 2 * READING_MS + 2
    assert "current_comparator" in short.rig.active()


def test_the_wait_for_the_fuse_ends_when_its_time_is_over() -> None:
    short = Shorted(fuse_acts=False).run(FUSE_WAIT_MS - 1, 3.0)
    assert short.opened_ms is None
    short.run(READING_MS, 3.0)
    assert short.opened_ms is not None and short.opened_ms <= FUSE_WAIT_MS + 5
    assert short.rig.run(2000).coils == 0


@pytest.mark.parametrize("factor", [0.0, 0.2, 0.48])
def test_the_wait_for_the_fuse_ends_early_when_the_current_has_fallen(factor: float) -> None:
    short = Shorted(fuse_acts=False).run(100, 3.0)
    assert short.fired_ms is not None and short.opened_ms is None
    short.run(2 * READING_MS + 2, factor)
    assert short.opened_ms is not None and short.opened_ms > 100


def test_a_fuse_that_acts_is_followed_by_the_contactors_within_three_readings() -> None:
    short = Shorted().run(100, 3.0)
    assert short.fired_ms is not None and short.opened_ms is not None
    assert short.opened_ms - short.fired_ms <= 3 * READING_MS


def test_a_silent_sensor_does_not_keep_the_path_closed() -> None:
    short = Shorted()
    short.rig.sensor = lambda frames: []
    short.run(LOOK_MS + 5, 0.48)
    assert short.opened_ms is not None and 20 < short.opened_ms <= LOOK_MS + 3
    assert short.fired_ms is None


def test_a_spike_that_is_over_is_not_waited_for() -> None:
    """The pin falls before a reading has come: no more than the threshold flows."""
    short = Shorted().run(3, 0.48)
    assert short.opened_ms is None and short.rig.state == STATE["error"]
    short.run(1, 0.1)
    assert short.opened_ms == 4


def test_another_trip_in_the_first_milliseconds_of_a_short_waits_as_well() -> None:
    short = Shorted(fuse_acts=False)
    short.rig.pins |= 4  # crash
    short.run(60, 3.0)
    assert short.opened_ms is None and short.fired_ms is not None
    assert "crash" in short.rig.active()
