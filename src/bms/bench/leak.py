"""Soft shorts: how soon the firmware's detector tells them, and how often it cries wolf.

leak.c and estimator.c of the firmware run at steps of 1 s in a small world of 96 cells (LFP: 16)
with sensors at their limits: two standard deviations, up or down by channel, offsets drifting with
temperature, noise, converter steps, self-discharge that differs by two standard deviations,
balancing. Each row of detection times is over several seeds: median, and the worst one; `null` if
a short was not told. False alarms: healthy packs over 72 h, parked, driven and charged, cold to
hot. The whole 500 take some minutes: --long; without it 60 are run.
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from bms import _leak, cells, packs, spec
from bms.bench import Row
from bms.firmware import config, leak
from bms.model import Cell, Pack
from bms.plant import tables
from bms.rng import Stream, stream_key
from bms.units import SECONDS_PER_MONTH

LIMIT_SIGMAS = 2.0
DRIFT_V_PER_K = 20e-6  # of a channel (assumption)
STEP_V = 190.73e-6  # SLUSE81, resolution of a cell reading
BLEED_TOLERANCE = 0.02  # of the resistors (assumption)
REST, CURRENT, DRIVE = 0, 1, 2
RUNS, RUNS_LONG = 60, 500
TARGET_H = {"20ohm_rest": 2.0, "20ohm_charge": 2.4, "200ohm_rest": 48.0, "200ohm_daily": 48.0}
TARGET_FULLS = {"20ohm_lfp": 5, "200ohm_lfp": 5}
TARGET = "required: a rest of 2 h or one charge, 48 h, five full charges"


@dataclass(frozen=True)
class Phase:
    """Something done with the pack. Current in C, positive on discharge; see leak_trial.h."""

    kind: int
    hours: float
    c_rate: float = 0.0
    until_v: float = 0.0
    until_soc_frac: float = -1.0


@dataclass(frozen=True)
class Plan:
    """A pack, what is done with it over and over, and where it starts."""

    pack: str
    phases: tuple[Phase, ...]
    soc_frac: float
    hours: float = 72.0
    degc: float = 25.0
    swing_k: float = 3.0
    short_ohm: float = 0.0
    short_phase: int = 0


PARKED = (Phase(REST, 1000.0),)
CHARGE = Phase(CURRENT, 12.0, -1.0 / 3.0, until_soc_frac=0.9)
DAILY = (
    Phase(REST, 2.0), Phase(DRIVE, 0.75, 0.3, until_soc_frac=0.15), Phase(REST, 7.0),
    Phase(DRIVE, 0.75, 0.3, until_soc_frac=0.15), Phase(REST, 3.0), CHARGE,
)  # fmt: skip
TAXI = (
    Phase(DRIVE, 6.0, 0.25, until_soc_frac=0.12), Phase(REST, 0.2),
    Phase(CURRENT, 2.0, -0.8, until_soc_frac=0.8), Phase(REST, 0.1),
)  # fmt: skip
ONE_CHARGE = (
    Phase(REST, 2.0), Phase(DRIVE, 12.0, 0.25, until_soc_frac=0.12), Phase(REST, 0.5),
    Phase(CURRENT, 12.0, -1.0 / 3.0, until_soc_frac=0.9), Phase(REST, 0.5),
)  # fmt: skip
FULL_CYCLES = (
    Phase(CURRENT, 12.0, -1.0 / 3.0, until_v=3.6), Phase(REST, 1.0),
    Phase(CURRENT, 12.0, 0.33, until_soc_frac=0.1), Phase(REST, 0.5),
)  # fmt: skip
SOLAR = (
    Phase(REST, 8.0), Phase(CURRENT, 5.0, -0.25, until_v=3.6), Phase(REST, 3.0),
    Phase(CURRENT, 8.0, 0.1, until_soc_frac=0.1),
)  # fmt: skip

SHORTS = {
    "20ohm_rest": Plan("car_96s1p", PARKED, 0.6, 12.0, short_ohm=20.0),
    "20ohm_charge": Plan("car_96s1p", ONE_CHARGE, 0.9, 24.0, short_ohm=20.0, short_phase=3),
    "200ohm_rest": Plan("car_96s1p", PARKED, 0.6, 72.0, short_ohm=200.0),
    "200ohm_daily": Plan("car_96s1p", DAILY, 0.8, 120.0, short_ohm=200.0, short_phase=2),
    "20ohm_lfp": Plan("home_16s", FULL_CYCLES, 0.5, 120.0, short_ohm=20.0, short_phase=1),
    "200ohm_lfp": Plan("home_16s", FULL_CYCLES, 0.5, 120.0, short_ohm=200.0, short_phase=1),
}  # fmt: skip
HEALTHY = {
    "parked": Plan("car_96s1p", PARKED, 0.6),
    "parked_hot": Plan("car_96s1p", PARKED, 0.8, degc=40.0, swing_k=8.0),
    "daily": Plan("car_96s1p", DAILY, 0.8, degc=15.0, swing_k=8.0),
    "taxi": Plan("car_96s1p", TAXI, 0.7, degc=30.0),
    "lfp_cycles": Plan("home_16s", FULL_CYCLES, 0.5),
    "lfp_solar": Plan("home_16s", SOLAR, 0.3, swing_k=6.0),
}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--long", action="store_true", help="500 healthy runs (default 60)")
    parser.add_argument("--runs", type=int, help="healthy runs, another number")
    parser.add_argument("--seeds", type=int, default=10, help="of each short (default 10)")


@lru_cache(maxsize=4)
def _known(pack_name: str) -> tuple[Cell, Pack, dict[str, Any], dict[str, Any]]:
    """Cell, pack, the estimator's parameters, and the world's that all runs share."""
    pack = packs.load(pack_name)
    cell = cells.load(pack.cell)
    made, electric, read = cell.resistance, cell.electric, pack.sensors
    parallel, two = pack.topology.parallel, LIMIT_SIGMAS
    per_s = cell.self_discharge.per_month_frac / SECONDS_PER_MONTH
    contact = made.contact_ohm * tables.resistance_over_temperature(made.contact_activation_ev)
    electrolyte = made.electrolyte_ohm * tables.conductivity_over_temperature(
        made.electrolyte_temperature
    )
    transfer = tables.resistance_over_temperature(made.charge_transfer_activation_ev)
    diffusion = tables.resistance_over_temperature(made.diffusion_activation_ev)
    leaks = tables.rate_over_temperature(cell.self_discharge.activation_ev)
    low_v = np.interp(0.2, electric.ocv_soc_frac, electric.ocv_v)
    world = {
        "blocks": pack.topology.blocks,
        "capacity_as": electric.capacity_ah * 3600.0 * parallel,
        "ocv_v": tables.over_soc(electric.ocv_soc_frac, electric.ocv_v),
        "entropic_v_per_k": tables.over_soc(electric.ocv_soc_frac, electric.entropic_v_per_k),
        "r0_ohm": (electrolyte + contact) / parallel,
        "r1_ohm": made.charge_transfer_ohm * transfer / parallel,
        "r2_ohm": made.diffusion_ohm * diffusion / parallel,
        "c1_farad": made.charge_transfer_tau_s / made.charge_transfer_ohm * parallel,
        "c2_farad": made.diffusion_tau_s / made.diffusion_ohm * parallel,
        "hysteresis_v": electric.hysteresis_v,
        "hysteresis_soc_frac": electric.hysteresis_soc_frac,
        "self_discharge_per_s": per_s * leaks,
        "capacity_sigma": pack.spread.capacity_frac,
        "resistance_sigma": pack.spread.resistance_frac,
        "soc_sigma": pack.spread.soc_frac,
        "temperature_sigma_k": pack.spread.temperature_k,
        "self_discharge_apart": two * pack.spread.self_discharge_frac,
        "voltage_offset_v": two * read.cell_voltage_offset_v,
        "voltage_gain": two * read.cell_voltage_gain_frac,
        "voltage_drift_v_per_k": DRIFT_V_PER_K,
        "voltage_noise_v": read.cell_voltage_noise_v,
        "voltage_step_v": STEP_V,
        "temperature_offset_k": two * read.temperature_offset_k,
        "current_offset_a": two * read.current_offset_a,
        "current_gain": two * read.current_gain_frac,
        "current_noise_a": read.current_noise_a,
        "bleed_ohm": pack.balancing.bleed_ohm,
        "bleed_tolerance": BLEED_TOLERANCE,
        "balance_start_uv": round(pack.balancing.start_v * 1e6),
        "balance_stop_uv": round(pack.balancing.stop_v * 1e6),
        "balance_min_uv": round(float(low_v) * 1e6),
        "spread_a": leak.spread_a(cell, pack),
    }  # fmt: skip
    return cell, pack, dict(config.estimator(cell, pack)), world


def trial(plan: Plan, seed: int, **other: float) -> dict[str, float]:
    """Run one trial; results by the names of leak_trial.h. `other` replaces fields by name."""
    cell, pack, est, world = _known(plan.pack)
    rule = spec.diagnosis("soft_short")
    made = _leak.Trial()
    values = world | {
        "key": stream_key(seed, f"leak.{plan.pack}"),
        "hours": plan.hours,
        "soc_frac": plan.soc_frac,
        "mean_degc": plan.degc,
        "swing_k": plan.swing_k,
        "phases": len(plan.phases),
        "short_ohm": plan.short_ohm,
        "short_phase": plan.short_phase,
        "short_block": Stream(seed, "leak.block").below(int(world["blocks"])),
        "least_ma": rule.thresholds[0],
        "debounce_s": rule.debounce_ms / 1000.0,
        **other,
    }
    for into, named in ((made.est, est), (made.fields, values)):
        for name, value in named.items():
            into[name][:] = value
    amps = cell.electric.capacity_ah * pack.topology.parallel
    for k, phase in enumerate(plan.phases):
        made.fields["kind"][k] = phase.kind
        made.fields["phase_s"][k] = phase.hours * 3600.0
        made.fields["phase_a"][k] = phase.c_rate * amps
        made.fields["until_v"][k] = phase.until_v
        made.fields["until_soc_frac"][k] = phase.until_soc_frac
    made.run()
    return {name: array[0].item() for name, array in made.fields.items() if len(array) == 1}


def _all(plans: Sequence[tuple[Plan, int]]) -> list[dict[str, float]]:
    """Trials side by side; they need no interpreter."""
    for plan, _ in plans:
        _known(plan.pack)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return list(pool.map(lambda job: trial(*job), plans))


def short_rows(name: str, found: Sequence[dict[str, float]]) -> list[Row]:
    """How soon a short was told; None where one was not, or of another block."""
    right = [
        r for r in found if r["told_s"] >= r["short_s"] and r["told_block"] == r["short_block"]
    ]
    hours = [(r["told_s"] - r["short_s"]) / 3600.0 for r in right]
    fulls = [r["told_fulls"] for r in right]
    all_found = len(right) == len(found)
    out = []
    for kind, values, unit, target in (
        ("hours", hours, "h", TARGET_H.get(name)),
        ("full_charges", fulls, "1", TARGET_FULLS.get(name)),
    ):
        if kind == "full_charges" and target is None:
            continue
        middle = statistics.median(values) if values else None
        worst = max(values) if all_found else None
        for which, value in (("median", middle), ("worst", worst)):
            row = Row(
                name=f"leak_{kind}_{which}/{name}", ours=value, unit=unit, better="lower",
                limit=target, limit_source=TARGET if target else None,
            )  # fmt: skip
            out.append(row)
    return out


def healthy_plans(runs: int) -> list[tuple[Plan, int]]:
    """Every kind of healthy life in turn."""
    kinds = list(HEALTHY.values())
    return [(kinds[k % len(kinds)], 1000 + k) for k in range(runs)]


def rows(options: argparse.Namespace) -> list[Row]:
    out: list[Row] = []
    for name, plan in SHORTS.items():
        out += short_rows(name, _all([(plan, seed) for seed in range(options.seeds)]))
    runs = options.runs or (RUNS_LONG if options.long else RUNS)
    healthy = _all(healthy_plans(runs))
    alarms = sum(r["told_s"] >= 0.0 for r in healthy)
    surest = max(r["most_sure_ma"] for r in healthy)
    least = float(spec.diagnosis("soft_short").thresholds[0])
    return [
        *out,
        Row(
            name="leak_false_alarms", ours=float(alarms), unit=f"of {runs} runs of 72 h",
            better="lower", limit=0.0, limit_source="required: none in 500",
        ),
        Row(name="leak_healthy_runs", ours=float(runs), unit="1", better="higher"),
        Row(
            name="leak_healthy_most_sure_ma", ours=surest, unit="mA", better="lower",
            limit=least, limit_source="threshold of the diagnosis",
        ),
    ]  # fmt: skip
