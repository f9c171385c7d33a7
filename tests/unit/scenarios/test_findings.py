"""Findings say what a recording holds: fabricated recordings with known answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bms import cells, packs, scenarios
from bms.model import Cell, Pack
from bms.recorder.container import Event
from bms.scenarios import Phase, Plan
from bms.scenarios.findings import critical_use, findings, unmet

STEP_S = 0.1


class Fabricated:
    """A recording made of arrays: every signal on one time axis."""

    def __init__(self, time_s: np.ndarray, signals: dict[str, Any], events: list[Event]) -> None:
        self.t, self.signals, self.events = time_s, signals, events

    def __getitem__(self, name: str) -> np.ndarray:
        return np.asarray(self.signals[name])

    def time_s(self, name: str) -> np.ndarray:
        return self.t


def summary(**changed: Any) -> dict[str, Any]:
    return {
        "simulated_s": 100.0, "trips": 0, "diagnoses": {}, "contactors_final": 0,
        "soc_start_frac": 0.9, "soc_final_frac": 0.5, "soc_scored_ticks": 0,
    } | changed  # fmt: skip


def setting(name: str) -> tuple[Plan, Cell, Pack]:
    scenario = scenarios.load(name)
    pack = packs.load(scenario.pack)
    cell = cells.load(pack.cell)
    return scenarios.compile(scenario, cell, pack), cell, pack


def record(
    plan: Plan, pack: Pack, durations: dict[str, float], current_a: dict[str, Any], **given: Any
) -> tuple[Fabricated, float]:
    """Phases of given length, a current for each (one value or one a tick), 350 V, quiet cells."""
    events, t0, currents = [], 0.0, []
    for phase in plan.phases:
        events.append(Event(round(t0 * 1e9), "phase", phase.name, text=phase.request))
        n = round(durations[phase.name] / STEP_S)
        currents.append(np.broadcast_to(current_a.get(phase.name, 0.0), (n,)))
        t0 += n * STEP_S
    current = np.concatenate(currents)
    n, t = len(current), pack.topology
    cells_n, modules = t.blocks * t.parallel, t.blocks // t.blocks_per_module
    signals = {
        "true_pack_current_a": current,
        "true_pack_voltage_v": np.full(n, 350.0),
        "true_soc_frac": np.full(n, 0.5),
        "cmd_heater_frac": np.zeros(n),
        "est_charge_limit_a": np.full(n, 100.0),
        "est_soh_frac": np.ones(n),
        "true_cell_current_a": np.repeat(current[:, None] / t.parallel, cells_n, axis=1),
        "true_cell_temperature_core_degc": np.full((n, cells_n), 25.0),
        "true_module_pressure_kpa": np.full((n, modules), 2000.0),
    } | given
    return Fabricated(np.arange(n) * STEP_S, signals, events), t0


def driven(factor: float, top_w: float = np.inf) -> list[str]:
    """The drive with every wanted power times factor, cut at top_w."""
    plan, cell, pack = setting("drive")
    durations = {phase.name: phase.duration_s for phase in plan.phases}
    wanted = next(phase for phase in plan.phases if phase.name == "drive").values
    current = np.clip(wanted * factor, -np.inf, top_w) / 350.0
    recording, end_s = record(plan, pack, durations, {"drive": current})
    return findings(plan, summary(simulated_s=end_s), recording, cell, pack)


def test_consumption_is_the_energy_over_the_distance() -> None:
    plan, _, _ = setting("drive")
    drive = next(phase for phase in plan.phases if phase.name == "drive")
    kwh = drive.values.sum() * STEP_S / 3.6e6
    told = driven(1.0)
    assert f"took {kwh:.2f} kWh" in told[0]
    assert f"{kwh / 11.0282 * 100.0:.1f} kWh/100 km" in told[0]
    assert not any("limits let through" in sentence for sentence in told)
    assert not any("Not as expected" in sentence for sentence in told)


def test_power_that_the_limits_refused_is_told() -> None:
    told = driven(1.0, top_w=20e3)
    assert any("limits let through" in sentence for sentence in told)


def test_half_of_everything_is_half() -> None:
    sentence = next(s for s in driven(0.5) if "limits let through" in s)
    assert "50.0% of the energy asked for driving and 50.0% of the braking energy" in sentence


@pytest.mark.parametrize(("minutes", "verdict"), [(17.0, "hold in"), (19.0, "do not hold in")])
def test_a_published_charge_holds_or_not(minutes: float, verdict: str) -> None:
    plan, cell, pack = setting("fast_charge_15_90")
    durations = {"wake": 2.0, "close": 5.0, "charge": minutes * 60.0, "unplug": 120.0}
    ramp = np.linspace(0.15, 0.90, round(minutes * 600))
    soc = np.concatenate([np.full(70, 0.15), ramp, np.full(1200, 0.90)])
    recording, end_s = record(plan, pack, durations, {"charge": -500.0}, true_soc_frac=soc)
    told = findings(plan, summary(simulated_s=end_s), recording, cell, pack)
    assert any(f"takes {minutes:.1f} min: 18 min as published {verdict}" in s for s in told)
    plating = next(s for s in told if s.startswith("Plating reached"))
    density = 500.0 / 3 * 1e3 / cell.geometry.electrode_area_cm2
    claimed = density / cell.critical_current_claimed.plating_ma_per_cm2
    literature = density / cell.critical_current_literature.plating_ma_per_cm2
    assert f"{density:.1f} mA/cm2" in plating
    assert f"{claimed:.0%} of the critical current as claimed" in plating
    assert f"{literature:.1f} times the literature's" in plating
    assert any("Under the literature's critical currents" in s for s in told)


def test_a_charge_that_ended_early_does_not_hold() -> None:
    plan, cell, pack = setting("fast_charge_15_90")
    durations = {"wake": 2.0, "close": 5.0, "charge": 600.0, "unplug": 60.0}
    soc = np.concatenate([np.full(70, 0.15), np.linspace(0.15, 0.6, 6000), np.full(600, 0.6)])
    recording, end_s = record(plan, pack, durations, {"charge": -500.0}, true_soc_frac=soc)
    told = findings(plan, summary(simulated_s=end_s), recording, cell, pack)
    assert any("do not hold; charging ended at 60.0%" in s for s in told)


def test_reaction_times_count_from_the_act() -> None:
    plan, cell, pack = setting("runaway")
    durations = {phase.name: phase.duration_s for phase in plan.phases}
    recording, end_s = record(plan, pack, durations, {"drive": 40.0})
    at_s = plan.acts[0].at_s
    recording.events += [
        Event(round((at_s + 31.5) * 1e9), "diagnosis", "thermal_runaway", 3, 1.0, "trip raised"),
        Event(round((at_s + 31.6) * 1e9), "contactor", "main_plus opened", -1, 40.0, "at 40.0 A"),
    ]
    told = findings(
        plan,
        summary(simulated_s=end_s, trips=1, diagnoses={"thermal_runaway (trip)": 1}),
        recording, cell, pack,
    )  # fmt: skip
    assert any("thermal_runaway trip raised 31.50 s after it" in s for s in told)
    assert any("Contactors opened 31.60 s after it" in s for s in told)
    assert not any("Not as expected" in s for s in told)


def test_unmet_expectations_are_named() -> None:
    plan, _, pack = setting("soft_short")
    durations = {phase.name: 60.0 for phase in plan.phases}
    recording, _ = record(plan, pack, durations, {})
    assert unmet(plan, summary(), recording) == [
        "no diagnosis soft_short",
        "charging allowed at the end",
    ]
    recording.signals["est_charge_limit_a"] = np.zeros(10)
    assert unmet(plan, summary(diagnoses={"soft_short (warn)": 1}), recording) == []
    drive, _, _ = setting("drive")
    assert unmet(drive, summary(trips=2, contactors_final=3), recording) == [
        "2 trips, where none was expected",
        "contactors closed at the end",
    ]


@pytest.mark.parametrize("name", scenarios.names())
def test_a_pack_whose_contactors_never_closed_is_told_without_failing(name: str) -> None:
    plan, cell, pack = setting(name)
    durations = {phase.name: 10.0 for phase in plan.phases}
    recording, end_s = record(plan, pack, durations, {})
    assert isinstance(
        findings(plan, summary(simulated_s=end_s, soc_final_frac=0.9), recording, cell, pack), list
    )


def test_critical_use_follows_temperature_and_pressure() -> None:
    _, cell, pack = setting("fast_charge_15_90")
    critical = cell.critical_current_claimed
    t = pack.topology
    n = t.blocks * t.parallel
    amps = critical.plating_ma_per_cm2 * cell.geometry.electrode_area_cm2 / 1e3
    reference = np.full((1, t.blocks // t.blocks_per_module), cell.pressure.reference_kpa)

    def use(degc: float, pressure: np.ndarray, current: float, plating: bool = True) -> np.ndarray:
        currents, temperatures = np.full((1, n), current), np.full((1, n), degc)
        return critical_use(
            currents, temperatures, pressure, cell, pack, critical, plating=plating
        )[0]

    assert use(25.0, reference, -amps) == pytest.approx(np.ones(n))
    assert use(0.0, reference, -amps).min() > 2.5  # 0.30 eV: 2.9 times at 0 degC
    assert use(25.0, reference, amps).max() == 0.0
    pressed = reference.copy()
    pressed[0, 1] *= 4.0
    used = use(25.0, pressed, -amps)
    second = np.arange(n) % t.blocks // t.blocks_per_module == 1
    assert used[second] == pytest.approx(4.0**-critical.pressure_exponent)
    assert used[~second] == pytest.approx(1.0)


def test_phases_are_plain_data() -> None:
    plan, _, _ = setting("drive")
    assert isinstance(plan.phases[0], Phase)
    with pytest.raises(AttributeError):
        plan.title = "another"  # type: ignore[misc]
