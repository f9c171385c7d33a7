"""A parked pack sleeps, looks for leaks, and leaves the 12 V battery alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bms import _firmware, spec
from bms.sim import Simulation

PACK = "car_96s1p"
HOUR_S = 3600.0
SHORTED = 37


class Parked:
    """A pack that was just left: ignition off, nobody on the vehicle bus."""

    def __init__(self, wake_period_ms: int | None = None, pack: str = PACK) -> None:
        self.pack = pack
        self.simulation = Simulation("drive", pack=pack, seed=1)
        if wake_period_ms is not None:
            self._configure(wake_period_ms)
        self.parts = self.simulation.world.parts
        self.parts["vehicle"]["is_silent"][0] = 1
        self.parts["loop"]["ignition"][0] = self.parts["vehicle"]["request"][0] = 0

    def _configure(self, wake_period_ms: int) -> None:
        """The same world with another period in the firmware's configuration."""
        from bms.firmware import config

        kept = config._SUPPLY["wake_period_ms"]
        config._SUPPLY["wake_period_ms"] = wake_period_ms
        try:
            self.simulation = Simulation("drive", pack=self.pack, seed=1)
        finally:
            config._SUPPLY["wake_period_ms"] = kept

    def run(self, seconds: float) -> Parked:
        left = round(seconds * 1000)
        while left > 0:
            done, _why = self.simulation.world.run(min(left, 10_000))
            left -= done
            self.simulation._collect(None)
        return self

    def probe(self, name: str) -> Any:
        row = next(p for p in _firmware.probes() if p.name == name)
        memory = bytes(self.simulation.world.firmware_bytes)
        return np.frombuffer(memory, dtype=row.dtype, count=row.length, offset=row.offset)[0]

    @property
    def state(self) -> str:
        return spec.state_name(int(self.probe("state")))

    def raised(self) -> list[tuple[float, str, int]]:
        return [
            (e.time_s, e.name, e.index) for e in self.simulation.events if e.kind == "diagnosis"
        ]

    def awake_frac(self, since: tuple[int, int]) -> float:
        loop = self.parts["loop"]
        return (int(loop["ecu_steps"][0]) - since[0]) / (int(loop["steps"][0]) - since[1])

    def mark(self) -> tuple[int, int]:
        return int(self.parts["loop"]["ecu_steps"][0]), int(self.parts["loop"]["steps"][0])


def test_left_alone_for_a_minute_it_sleeps_with_its_chips_and_all_outputs_off() -> None:
    parked = Parked().run(55)
    assert parked.state == "standby"
    parked.run(15)
    assert parked.state == "sleep" and int(parked.parts["vehicle"]["obs_state"][0]) == 13
    modules = int(parked.parts["plant"]["modules"][0])
    assert (parked.parts["chips"]["mode"][:modules] == 1).all()
    frames = int(parked.parts["loop"]["can_frames"][0])
    parked.run(600)
    assert int(parked.parts["loop"]["can_frames"][0]) == frames, "a sleeping pack is silent"
    assert int(parked.parts["plant"]["contactor_closed"][0]) == 0


@pytest.mark.slow("hours of a sleeping pack")
def test_a_look_takes_seconds_says_nothing_and_finds_nothing_in_a_healthy_pack() -> None:
    parked = Parked().run(70)
    since, frames = parked.mark(), int(parked.parts["vehicle"]["frames_seen"][0])
    used = int(parked.probe("standby_uc"))
    parked.run(6 * HOUR_S)
    assert parked.probe("wakes") in (5, 6) and parked.probe("unknown_gaps") == 0
    assert parked.awake_frac(since) < 0.004
    mean_ma = (int(parked.probe("standby_uc")) - used) / 1e3 / (6 * HOUR_S)
    assert 0.15 < mean_ma < 0.7
    assert int(parked.parts["vehicle"]["frames_seen"][0]) == frames and not parked.raised()
    rested_h = int(parked.probe("rested_ms")) / 3.6e6
    assert 4.9 < rested_h < 6.0


@pytest.mark.parametrize("by", ["ignition", "frame"])
def test_ignition_or_a_frame_wakes_it_and_it_closes_on_request(by: str) -> None:
    parked = Parked().run(300)
    assert parked.state == "sleep"
    loop, vehicle = parked.parts["loop"], parked.parts["vehicle"]
    vehicle["is_silent"][0] = 0
    if by == "ignition":
        loop["ignition"][0] = 1
    vehicle["request"][0] = 1 if by == "ignition" else 2
    parked.run(12)
    assert parked.state == ("normal_drive" if by == "ignition" else "normal_charge")


def test_it_wakes_for_the_crash_line_and_trips() -> None:
    parked = Parked().run(300)
    parked.parts["loop"]["crash"][0] = 1
    parked.run(3)
    assert parked.state == "error" and any(name == "crash" for _, name, _ in parked.raised())


@pytest.mark.parametrize("jump_s", [-1500.0, 86_400.0], ids=["back", "forward"])
def test_an_unknown_clock_is_not_taken_for_a_rest(jump_s: float) -> None:
    """The rig's clock jumps during a sleep: no rest is counted, no leak found in the jump."""
    parked = Parked(wake_period_ms=600_000).run(2000)
    assert parked.state == "sleep"
    rested, loop = int(parked.probe("rested_ms")), parked.parts["loop"]
    loop["start_us"][0] = (int(loop["start_us"][0]) + round(jump_s * 1e6)) % 2**64
    parked.run(600)
    assert parked.probe("unknown_gaps") == 1 and parked.probe("assert_place") == 0
    assert int(parked.probe("rested_ms")) == rested
    parked.run(1800)
    assert parked.probe("unknown_gaps") == 1 and not parked.raised()
    assert int(parked.probe("rested_ms")) > rested + 1_000_000, "and then rests count again"


def soc_is_told_rightly(parked: Parked) -> bool:
    """The true charge of the pack is inside the interval, and the interval says something."""
    true = float(parked.parts["plant"]["pack_soc_frac"][0])
    low, high = float(parked.probe("soc_low_frac")), float(parked.probe("soc_high_frac"))
    return low <= true <= high and high - low < 0.15


@pytest.mark.slow("hours of a sleeping pack")
def test_a_supply_lost_while_asleep_leaves_no_false_rest_and_no_false_charge() -> None:
    """Nobody knows how long it was gone: what was counted stays, the search begins anew."""
    parked = Parked(wake_period_ms=600_000).run(70 + 2 * HOUR_S)
    counted = [int(parked.probe(name)) for name in ("wakes", "rested_ms", "standby_uc")]
    parked.parts["loop"]["supply_mv"][0] = 0
    parked.run(600)
    parked.parts["loop"]["supply_mv"][0] = 13_500
    parked.run(10)
    after = [int(parked.probe(name)) for name in ("wakes", "rested_ms", "standby_uc")]
    assert after[:2] == counted[:2] and 0 <= after[2] - counted[2] < 10 * 150_000 * 1.1
    assert parked.probe("soc_valid") and soc_is_told_rightly(parked)
    parked.run(2 * HOUR_S)
    assert parked.state == "sleep" and int(parked.probe("wakes")) >= 2 * counted[0]
    assert soc_is_told_rightly(parked)
    assert {name for _, name, _ in parked.raised()} == {"reset_unexpected"}


@pytest.mark.slow("half a day of a sleeping pack")
def test_pressure_that_fell_with_the_charge_while_asleep_is_no_fault_of_its_sensor() -> None:
    """Self-discharge of a month in half a day: no count sees it, and the stack relaxes with it."""
    parked = Parked(wake_period_ms=7_200_000, pack="bench_16s1p").run(70)
    before = float(parked.parts["plant"]["pack_soc_frac"][0])
    parked.parts["plant"]["leak_frac_per_s"][0] *= 60.0
    parked.run(12 * HOUR_S)
    assert before - float(parked.parts["plant"]["pack_soc_frac"][0]) > 0.02
    parked.parts["vehicle"]["is_silent"][0] = 0
    parked.parts["loop"]["ignition"][0] = 1
    parked.run(20)
    assert "pressure_implausible" not in {name for _, name, _ in parked.raised()}
    assert soc_is_told_rightly(parked)


@pytest.mark.long("three weeks of a sleeping pack")
def test_after_three_weeks_parked_the_charge_is_told_rightly_and_the_supply_is_left() -> None:
    """A look a day; self-discharge took more than a hundredth meanwhile."""
    parked = Parked(wake_period_ms=86_400_000, pack="bench_16s1p").run(70)
    before, since = float(parked.parts["plant"]["pack_soc_frac"][0]), parked.mark()
    for _ in range(21):
        parked.run(24 * HOUR_S)
        assert soc_is_told_rightly(parked), parked.simulation.time_s / HOUR_S
    assert before - float(parked.parts["plant"]["pack_soc_frac"][0]) > 0.01
    assert int(parked.probe("standby_uc")) / 3.6e6 < 0.2 * 21 * 24, "mAh of the 12 V supply"
    assert parked.awake_frac(since) < 0.001 and not parked.raised()
    parked.parts["vehicle"]["is_silent"][0] = 0
    parked.parts["loop"]["ignition"][0] = 1
    parked.run(20)
    assert parked.state in ("standby", "balancing") and soc_is_told_rightly(parked)
    assert not parked.raised(), "nothing was found in secret"


def test_rests_and_counts_are_in_memory_over_a_reset() -> None:
    parked = Parked(wake_period_ms=600_000).run(2000)
    before = int(parked.probe("rested_ms")), int(parked.probe("wakes"))
    firmware = _firmware.Firmware(
        parked.simulation.config, 0, 1, bytearray(parked.parts["loop"]["nvm"].tobytes())
    )
    for ms in range(1500):
        firmware.step(ms * 1000)
    assert abs(int(firmware.probes["rested_ms"][0]) - before[0]) <= 600_000
    assert abs(int(firmware.probes["wakes"][0]) - before[1]) <= 1


@pytest.mark.slow("hours of a sleeping pack")
def test_a_20_ohm_short_in_a_sleeping_pack_is_found_and_told_within_hours() -> None:
    parked = Parked(wake_period_ms=600_000).run(70)
    parked.parts["plant"]["cell_short_siemens"][SHORTED] = 1.0 / 20.0
    parked.run(5 * HOUR_S)
    found = [row for row in parked.raised() if row[1] == "soft_short"]
    assert found and found[0][2] == SHORTED, "told over the bus, with its block"


@pytest.mark.slow("a day and a half of a sleeping pack")
def test_a_200_ohm_short_in_a_sleeping_pack_is_found_within_a_day_and_a_half() -> None:
    """19 mA of 77 Ah, an hour between looks: asleep for more than 99 % of the time."""
    parked = Parked().run(70)
    since = parked.mark()
    parked.parts["plant"]["cell_short_siemens"][SHORTED] = 1.0 / 200.0
    while parked.simulation.time_s < 36 * HOUR_S and not parked.raised():
        parked.run(HOUR_S)
    found = [row for row in parked.raised() if row[1] == "soft_short"]
    assert found and found[0][2] == SHORTED
    assert parked.awake_frac(since) < 0.01
    used_mah = int(parked.probe("standby_uc")) / 3.6e6
    assert used_mah / (parked.simulation.time_s / HOUR_S) < 1.0, "mA of the 12 V supply"
