"""What a scenario's types cannot say: ranges, order, neighbours. Each refusal is a ConfigError."""

from __future__ import annotations

from pathlib import Path

import msgspec

from bms import config
from bms.model import Pack
from bms.plant import loads

from . import model
from .model import PhaseSpec, Scenario, Until

STEPS_MAX = 16  # VEHICLE_STEPS_MAX of ext/loop/vehicle.h


def checked(scenario: Scenario, file: str | Path) -> Scenario:
    """The scenario itself, or ConfigError for what its types cannot say: ranges and order."""
    start = scenario.start
    config.between(file, "start.soc_frac", start.soc_frac, 0.0, 1.0)
    config.between(file, "start.temperature_degc", start.temperature_degc, -60.0, 120.0)
    config.between(file, "start.ambient_degc", start.ambient_degc, -60.0, 120.0)
    config.require(
        scenario.ageing_acceleration >= 1.0,
        file,
        "ageing_acceleration",
        scenario.ageing_acceleration,
        "at least 1",
    )
    config.require(bool(scenario.phase), file, "phase", {}, "at least one phase")
    for name, spec in scenario.phase.items():
        _check_phase(spec, file, f"phase.{name}")
    rounds, order = scenario.rounds, list(scenario.phase)
    config.require(rounds.times >= 1, file, "rounds.times", rounds.times, "at least 1")
    if rounds.phases:
        first = order.index(rounds.phases[0]) if rounds.phases[0] in order else 0
        together = tuple(order[first : first + len(rounds.phases)]) == rounds.phases
        config.require(
            together,
            file,
            "rounds.phases",
            list(rounds.phases),
            f"neighbours among {', '.join(order)}",
        )
    if scenario.house is not None:
        _check_house(scenario.house, file)
    if scenario.vehicle is not None:
        _check_vehicle(scenario.vehicle, file)
    return scenario


_POSITIVE = ("duration_s", "step_s", "repeat", "distance_km", "acceleration_mps2", "cell_voltage_v")


def _check_phase(spec: PhaseSpec, file: str | Path, key: str) -> None:
    for name in _POSITIVE:
        value = getattr(spec, name, None)
        if value is not None:
            config.positive(file, f"{key}.{name}", value)
    _check_until(spec.until, file, f"{key}.until")
    if isinstance(spec, model.ChargeSpec):
        socs = [step.until_soc_frac for step in spec.steps]
        config.require(
            0 < len(socs) <= STEPS_MAX, file, f"{key}.steps", len(socs), f"1 to {STEPS_MAX} steps"
        )
        config.rising(file, f"{key}.steps.until_soc_frac", socs)
        for i, step in enumerate(spec.steps):
            config.positive(file, f"{key}.steps[{i}].c_rate", step.c_rate)
    if isinstance(spec, model.JourneySpec):
        moving = any(leg.speed_kmh > 0.0 and leg.hold_s > 0.0 for leg in spec.legs)
        config.require(moving, file, f"{key}.legs", len(spec.legs), "a leg that moves")
        for i, leg in enumerate(spec.legs):
            config.between(file, f"{key}.legs[{i}].speed_kmh", leg.speed_kmh, 0.0, 250.0)
            config.require(
                leg.hold_s >= 0.0, file, f"{key}.legs[{i}].hold_s", leg.hold_s, "at least 0"
            )


def _check_until(until: Until, file: str | Path, key: str) -> None:
    for name in ("soc_above_frac", "soc_below_frac"):
        value = getattr(until, name)
        if value is not None:
            config.between(file, f"{key}.{name}", value, 0.0, 1.0)
    if until.current_below_a is not None:
        config.positive(file, f"{key}.current_below_a", until.current_below_a)


def _check_house(house: loads.House, file: str | Path) -> None:
    config.require(
        len(house.load_w) == 24, file, "house.load_w", len(house.load_w), "24 hourly values"
    )
    for i, value in enumerate(house.load_w):
        config.require(value >= 0.0, file, f"house.load_w[{i}]", value, "at least 0")
    config.between(file, "house.cloud_frac", house.cloud_frac, 0.0, 1.0)
    config.between(file, "house.start_hour", house.start_hour, 0.0, 24.0)
    config.require(
        house.sunset_hour > house.sunrise_hour,
        file,
        "house.sunset_hour",
        house.sunset_hour,
        "after sunrise_hour",
    )
    for name in ("cloud_s", "inverter_efficiency_frac", "inverter_power_max_w"):
        config.positive(file, f"house.{name}", getattr(house, name))


def _check_vehicle(spec: model.VehicleSpec, file: str | Path) -> None:
    for name, value in msgspec.structs.asdict(spec).items():
        if isinstance(value, float):
            config.require(value >= 0.0, file, f"vehicle.{name}", value, "at least 0")
    for name in ("mass_kg", "drive_efficiency_frac", "regen_full_kmh"):
        value = getattr(spec, name)
        if value is not None:
            config.positive(file, f"vehicle.{name}", value)


def check_acts(scenario: Scenario, pack: Pack, duration_s: float) -> None:
    """Acts against the plan they belong to: inside its time, a cell that the pack has."""
    cells = pack.topology.blocks * pack.topology.parallel
    for i, act in enumerate(scenario.act):
        key = f"act[{i}]"
        config.require(
            "." in act.field,
            scenario.file,
            f"{key}.field",
            act.field,
            "PART.FIELD, as in plant.cell_short_siemens",
        )
        config.between(scenario.file, f"{key}.at_s", act.at_s, 0.0, duration_s)
        config.between(scenario.file, f"{key}.index", act.index, 0, cells - 1)
