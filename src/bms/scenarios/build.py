"""From a scenario to a plan: settings, arrays, checks."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from bms import config
from bms.errors import ConfigError
from bms.model import Cell, Pack
from bms.plant import loads

from . import model
from .model import Phase, PhaseSpec, Plan, Scenario, Until

FOLDER = Path(__file__).parent
STEPS_MAX = 16  # VEHICLE_STEPS_MAX of ext/loop/vehicle.h
_NO_VALUES: loads.Array = np.zeros(0)
_FILLED_BY_LOADER = ("name", "file")
_FIXED = (*_FILLED_BY_LOADER, "title", "description", "pack", "cell", "assumptions")


def names() -> tuple[str, ...]:
    """Names of the shipped scenarios, sorted."""
    return config.names(FOLDER)


def load(name_or_path: str | Path) -> Scenario:
    """A shipped scenario by name or any TOML file by path. ConfigError says what is wrong."""
    path = config.resolve(name_or_path, FOLDER, "scenario")
    added = {"name": path.stem, "file": str(path)}
    return _checked(config.convert(config.load_toml(path), Scenario, path, added), path)


def keys(scenario: Scenario) -> list[tuple[str, Any]]:
    """What `configure` can set: (dotted key, present value), in the order of the file."""
    found: list[tuple[str, Any]] = []

    def walk(tree: Any, key: str) -> None:
        if isinstance(tree, dict) and tree:
            for name, value in tree.items():
                walk(value, f"{key}.{name}" if key else name)
        elif key not in _FIXED:
            found.append((key, tree))

    tree = msgspec.to_builtins(scenario)
    if scenario.vehicle is not None and scenario.vehicle.model in loads.VEHICLES:
        model_values = msgspec.structs.asdict(loads.VEHICLES[scenario.vehicle.model])
        given = {k: v for k, v in tree["vehicle"].items() if v is not None}
        tree["vehicle"] = model_values | given
    walk(tree, "")
    return found


def configure(scenario: Scenario, settings: Mapping[str, str]) -> Scenario:
    """The scenario with `KEY=VALUE` settings applied: dotted keys of its file, values as in TOML.

    ConfigError for an unknown key (with the nearest), a wrong type, a value out of range.
    """
    tree = msgspec.to_builtins(scenario)
    for name in _FILLED_BY_LOADER:
        del tree[name]
    for key, value in settings.items():
        if key in ("pack", "cell"):
            raise ConfigError("--set", key, value, f"the option --{key} instead")
        config.override(tree, f"{key}={value}")
    added = {"name": scenario.name, "file": scenario.file}
    return _checked(config.convert(tree, Scenario, "--set", added), "--set")


def compile(
    scenario: Scenario,
    cell: Cell,
    pack: Pack,
    *,
    cycle: str | Path | None = None,
    settings: Mapping[str, str] | None = None,
    seed: int = 0,
) -> Plan:
    """The plan of a scenario on one cell and pack.

    cycle: a CSV file that replaces the cycle of every `cycle` phase. seed: of the clouds. Equal
    arguments give equal bytes (`model.plan_bytes`).
    """
    if settings:
        scenario = configure(scenario, settings)
    has_cycle = any(isinstance(spec, model.CycleSpec) for spec in scenario.phase.values())
    if cycle is not None and not has_cycle:
        raise ConfigError(
            "option",
            "--cycle",
            str(cycle),
            f"a scenario that drives a cycle; {scenario.name} does not",
        )
    context = _Context(scenario, cell, pack, cycle, seed)
    phases = []
    for name, round_number in _order(scenario):
        ambient = scenario.phase[name].ambient_degc
        context.ambient_degc = context.ambient_degc if ambient is None else ambient
        phases.append(context.phase(f"{name}.{round_number}" if round_number else name, name))
    _check_acts(scenario, pack, sum(phase.duration_s for phase in phases))
    return Plan(
        name=scenario.name,
        title=scenario.title,
        description=scenario.description,
        pack=pack.name,
        cell=cell.name,
        start_soc_frac=scenario.start.soc_frac,
        start_temperature_degc=scenario.start.temperature_degc,
        ambient_degc=scenario.start.ambient_degc,
        critical=scenario.critical,
        ageing_acceleration=scenario.ageing_acceleration,
        phases=tuple(phases),
        acts=tuple(sorted(scenario.act, key=lambda act: act.at_s)),
        expect=scenario.expect,
        published=dict(scenario.published),
        assumptions=scenario.assumptions,
        settings=dict(settings or {}),
    )


def _order(scenario: Scenario) -> list[tuple[str, int]]:
    """(phase, number of its round or 0), in the order they run."""
    rounds = scenario.rounds
    order: list[tuple[str, int]] = []
    for name in scenario.phase:
        if name not in rounds.phases:
            order.append((name, 0))
        elif name == rounds.phases[0]:
            order += [(n, k + 1) for k in range(rounds.times) for n in rounds.phases]
    return order


class _Context:
    """What the phases of one scenario share while they are compiled."""

    def __init__(
        self, scenario: Scenario, cell: Cell, pack: Pack, cycle: str | Path | None, seed: int
    ) -> None:
        self.scenario, self.cell, self.pack, self.cycle, self.seed = (
            scenario,
            cell,
            pack,
            cycle,
            seed,
        )
        self.ambient_degc = scenario.start.ambient_degc
        self.capacity_ah = cell.electric.capacity_ah * pack.topology.parallel

    def phase(self, name: str, key: str) -> Phase:
        spec = self.scenario.phase[key]
        parts: dict[str, Any] = {
            "name": name,
            "request": spec.request,
            "kind": "rest",
            "ambient_degc": spec.ambient_degc,
            "step_s": 1.0,
            "values": _NO_VALUES,
            "obeys_limits": getattr(spec, "obeys_limits", True),
            "charge_current_a": 0.0,
            "charge_voltage_v": 0.0,
            "charge_steps": (),
            "until": {k: v for k, v in msgspec.structs.asdict(spec.until).items() if v is not None},
        }
        parts |= _BUILD[type(spec)](self, spec)
        return Phase(**parts)

    def vehicle(self) -> loads.Vehicle:
        spec = self.scenario.vehicle
        if spec is None:
            raise ConfigError(
                self.scenario.file,
                "vehicle",
                config.NOTHING,
                "a [vehicle] for the phase that drives",
            )
        if spec.model not in loads.VEHICLES:
            close = difflib.get_close_matches(spec.model, loads.VEHICLES, n=1)
            hint = f"; nearest is {close[0]}" if close else ""
            expected = f"one of {', '.join(loads.VEHICLES)}{hint}"
            raise ConfigError(self.scenario.file, "vehicle.model", spec.model, expected)
        given = {
            k: v for k, v in msgspec.structs.asdict(spec).items() if v is not None and k != "model"
        }
        return msgspec.structs.replace(loads.VEHICLES[spec.model], **given)

    def trace(self, cycle: loads.Cycle, obeys_limits: bool, repeat: int = 1) -> dict[str, Any]:
        speed, grade = loads.resample(cycle)
        power = loads.road_load_w(speed, grade, self.vehicle(), self.ambient_degc)
        return {
            "kind": "power",
            "duration_s": len(power) * loads.STEP_S * repeat,
            "step_s": loads.STEP_S,
            "values": np.tile(power, repeat),
            "obeys_limits": obeys_limits,
            "distance_m": cycle.distance_m * repeat,
        }


def _rest(context: _Context, spec: model.RestSpec) -> dict[str, Any]:
    return {"duration_s": spec.duration_s}


def _power(context: _Context, spec: model.PowerSpec) -> dict[str, Any]:
    return {
        "kind": "power",
        "duration_s": spec.duration_s,
        "step_s": spec.duration_s,
        "values": np.array([spec.power_w]),
    }


def _current(context: _Context, spec: model.CurrentSpec) -> dict[str, Any]:
    return {
        "kind": "current",
        "duration_s": spec.duration_s,
        "step_s": spec.duration_s,
        "values": np.array([spec.c_rate * context.capacity_ah]),
    }


def _cycle(context: _Context, spec: model.CycleSpec) -> dict[str, Any]:
    source: str | Path = spec.cycle if context.cycle is None else context.cycle
    if context.cycle is None and spec.cycle != "nedc":
        source = Path(context.scenario.file).parent / spec.cycle
    cycle = loads.nedc() if str(source) == "nedc" else loads.read_cycle(source)
    return context.trace(cycle, spec.obeys_limits, spec.repeat)


def _journey(context: _Context, spec: model.JourneySpec) -> dict[str, Any]:
    legs = [(leg.speed_kmh / 3.6, leg.hold_s) for leg in spec.legs]
    cycle = loads.journey(spec.distance_km * 1000.0, legs, spec.acceleration_mps2)
    return context.trace(cycle, spec.obeys_limits)


def _house(context: _Context, spec: model.HouseSpec) -> dict[str, Any]:
    house = context.scenario.house
    if house is None:
        raise ConfigError(
            context.scenario.file,
            "house",
            config.NOTHING,
            "a [house] for the phase that backs it up",
        )
    return {
        "kind": "power",
        "duration_s": spec.duration_s,
        "step_s": spec.step_s,
        "values": loads.house_w(house, spec.duration_s, spec.step_s, context.seed),
    }


def _charge(context: _Context, spec: model.ChargeSpec) -> dict[str, Any]:
    cell_v = spec.cell_voltage_v
    if cell_v is None:
        cell_v = context.cell.limits.voltage_max_v[0]
    steps = tuple((s.until_soc_frac, s.c_rate * context.capacity_ah) for s in spec.steps)
    return {
        "kind": "charge",
        "duration_s": spec.duration_s,
        "charge_current_a": max(current for _, current in steps),
        "charge_voltage_v": cell_v * context.pack.topology.blocks,
        "charge_steps": steps,
    }


_BUILD: dict[type[PhaseSpec], Callable[[_Context, Any], dict[str, Any]]] = {
    model.RestSpec: _rest,
    model.PowerSpec: _power,
    model.CurrentSpec: _current,
    model.CycleSpec: _cycle,
    model.JourneySpec: _journey,
    model.HouseSpec: _house,
    model.ChargeSpec: _charge,
}


def _checked(scenario: Scenario, file: str | Path) -> Scenario:
    """Ranges that the types cannot say."""
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
    for name in ("soc_above", "soc_below"):
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


def _check_acts(scenario: Scenario, pack: Pack, duration_s: float) -> None:
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
