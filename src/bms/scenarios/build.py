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

from . import checks, model
from .model import Phase, PhaseSpec, Plan, Scenario

FOLDER = Path(__file__).parent
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
    return _read(config.load_toml(path), path, added)


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
    return _read(tree, "--set", added)


def _read(tree: config.Tree, file: str | Path, added: Mapping[str, str]) -> Scenario:
    """Phases are converted one by one first, so that a refusal can name the phase."""
    phases = tree.get("phase")
    for name, table in phases.items() if isinstance(phases, dict) else ():
        kind = table.get("kind", config.NOTHING) if isinstance(table, dict) else table
        if not isinstance(kind, str) or kind not in _KINDS:
            raise ConfigError(file, f"phase.{name}.kind", kind, f"one of {', '.join(_KINDS)}")
        try:
            config.convert(table, _KINDS[kind], file)
        except ConfigError as error:
            key = f"phase.{name}.{error.key}"
            raise ConfigError(file, key, error.value, error.expected) from None
    return checks.checked(config.convert(tree, Scenario, file, added), file)


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
    checks.check_acts(scenario, pack, sum(phase.duration_s for phase in phases))
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
            "until": _until(spec.until),
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


def _until(until: model.Until) -> dict[str, float | str]:
    asked = {k: v for k, v in msgspec.structs.asdict(until).items() if v is not None}
    return {name.removesuffix("_frac"): value for name, value in asked.items()}


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
_KINDS = {str(type_.__struct_config__.tag): type_ for type_ in _BUILD}
