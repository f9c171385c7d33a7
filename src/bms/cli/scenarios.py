"""`bms scenarios`: what the library holds, and what one scenario does."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

HELP = "list scenarios, or show one with its phases, assumptions and settings"


def arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="show")
    show = actions.add_parser("show", help="show one scenario")
    show.add_argument("name", metavar="NAME", help="name in the library or path of a TOML file")
    show.add_argument("--pack", help="on another pack")
    show.add_argument("--cell", help="with another cell")
    show.add_argument("--cycle", metavar="CSV", help="drive this speed trace")
    show.add_argument("--all", action="store_true", help="also the settings that are not set")
    show.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="settings")


def run(args: argparse.Namespace) -> int:
    if args.action == "show":
        return _show(args)
    from bms import scenarios

    for name in scenarios.names():
        scenario = scenarios.load(name)
        print(f"{name:18}  {scenario.title}  [{scenario.pack}]")
    print("\nbms scenarios show NAME tells more; bms run NAME runs it.")
    return 0


def _show(args: argparse.Namespace) -> int:
    from bms import cells, packs, scenarios
    from bms.errors import ConfigError

    settings = {}
    for text in args.settings:
        key, equals, value = text.partition("=")
        if not equals:
            raise ConfigError("option", "--set", text, "KEY=VALUE")
        settings[key.strip()] = value.strip()
    scenario = scenarios.configure(scenarios.load(args.name), settings)
    pack = packs.load(args.pack or scenario.pack)
    cell = cells.load(args.cell or scenario.cell or pack.cell)
    plan = scenarios.compile(scenario, cell, pack, cycle=args.cycle)
    print("\n".join(_lines(plan)))
    print("\nSettings (--set KEY=VALUE):")
    for key, value in scenarios.keys(scenario):
        if args.all or not (value is None or value == () or value == {}):
            print(f"  {key} = {'' if value is None else value}")
    return 0


def _lines(plan: Any) -> Iterator[str]:
    yield f"{plan.name}: {plan.title}"
    yield plan.description
    yield ""
    yield f"pack {plan.pack}, cell {plan.cell}, critical currents as {plan.critical}"
    yield (
        f"starts at SoC {plan.start_soc_frac:g}, {plan.start_temperature_degc:g} degC, "
        f"ambient {plan.ambient_degc:g} degC; at most {plan.duration_s / 60.0:.1f} min"
    )
    if plan.ageing_acceleration != 1.0:
        yield f"ages {plan.ageing_acceleration:g} times as fast"
    yield ""
    for phase in plan.phases:
        yield f"  {phase.name:14} {phase.request:8} {phase.duration_s:9.1f} s  {_load(phase)}"
    for act in plan.acts:
        yield f"  at {act.at_s:g} s: {act.text}  ({act.field}[{act.index}] = {act.value:g})"
    yield ""
    for name, value in plan.published.items():
        yield f"published: {name} = {value:g}"
    for text in plan.assumptions:
        yield f"- {text}"


def _load(phase: Any) -> str:
    text = "no load"
    if phase.kind == "power":
        low, high = phase.values.min() / 1e3, phase.values.max() / 1e3
        energy_kwh = _integral(phase) / 3.6e6
        text = f"{low:.1f} to {high:.1f} kW, {energy_kwh:.2f} kWh"
        if phase.distance_m:
            text += f" over {phase.distance_m / 1e3:.2f} km"
    elif phase.kind == "current":
        text = f"{phase.values.min():.1f} to {phase.values.max():.1f} A"
    elif phase.kind == "charge":
        steps = ", ".join(f"{amps:.0f} A to {soc:g}" for soc, amps in phase.charge_steps)
        text = f"{steps}; at most {phase.charge_voltage_v:.1f} V"
    if phase.until:
        text += "; until " + " or ".join(f"{k} {v}" for k, v in phase.until.items())
    return text


def _integral(phase: Any) -> float:
    held = [phase.step_s] * len(phase.values)
    held[-1] = phase.duration_s - phase.step_s * (len(held) - 1)
    return float(sum(value * seconds for value, seconds in zip(phase.values, held, strict=True)))
