"""Balancing: time and energy until an uneven pack is even, by voltage at rest and by estimated
charge.

The bench pack of twelve cells in series rests with its contactors open, its blocks up to 3 % of
charge apart. Its own firmware balances it over the wire; the chips' switches and resistors do the
work. A row's time ends with the last ten minutes in which it did; its limit is the bound that
bms.firmware.balancing computes from the resistor, the duty and the excess. What is left is the
truth: highest less lowest state of charge at the end."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from bms import packs
from bms.bench import Row
from bms.firmware import balancing
from bms.model import Pack
from bms.sim import Simulation

PACK = "bench_12s1p_anode_free"
APART_FRAC = 0.03
SOC_FRAC = 0.6
ORDER = (7, 2, 10, 0, 5, 11, 3, 8, 1, 9, 4, 6)  # who stands where: not in the order of the string
WINDOW_S, STEP_S = 600.0, 10.0
QUIET_FRAC = 0.02  # of the first window's energy: what short tests of the switches take as well
BOUND = "bound computed from resistor, duty and excess (bms.firmware.balancing)"


@dataclass(frozen=True)
class Outcome:
    """One pack balanced. Hours and watt-hours until it was over, what is left of the
    spread of true charge, the bound in hours, and the lowest true charge as it was and is."""

    hours: float
    energy_wh: float
    left_frac: float
    bound_h: float


def uneven(pack: Pack, seed: int = 1) -> Simulation:
    """A simulation of `pack` at rest whose blocks are APART_FRAC of charge apart."""
    simulation = Simulation(
        "drive", pack=pack, seed=seed, settings={"start.soc_frac": str(SOC_FRAC)}
    )
    parts, blocks = simulation.world.parts, pack.topology.blocks
    steps = np.array([ORDER[b % len(ORDER)] for b in range(blocks)]) / (len(ORDER) - 1) - 0.5
    soc = parts["plant"]["cell_soc_frac"]
    soc[:blocks] = SOC_FRAC + APART_FRAC * steps
    parts["vehicle"]["request"][0] = parts["vehicle"]["kind"][0] = 0
    return simulation


def true_soc(simulation: Simulation) -> Any:
    """True state of charge of every block, one cell each."""
    blocks = simulation.pack.topology.blocks
    return simulation.world.parts["plant"]["cell_soc_frac"][:blocks]


def balance(strategy: str, seed: int = 1) -> Outcome:
    """Let the firmware balance the uneven pack; ends when no switch conducts any more, at the
    latest at twice the bound."""
    made = packs.load(PACK)
    changed = msgspec.structs.replace(made.balancing, strategy=strategy)
    simulation = uneven(msgspec.structs.replace(made, balancing=changed), seed)
    plant, loop = simulation.world.parts["plant"], simulation.world.parts["loop"]
    low = float(true_soc(simulation).min())
    bound = balancing.bound_s(simulation.cell, simulation.pack, APART_FRAC, low - 0.01)
    joules = [0.0]
    while len(joules) * WINDOW_S < 2.0 * bound:
        for _ in range(round(WINDOW_S / STEP_S)):
            simulation.world.run(round(STEP_S * 1000))
            loop["event_count"][0] = 0
        joules.append(float(plant["energy_bled_j"][0]))
        if joules[-1] - joules[-2] < QUIET_FRAC * joules[1]:
            break
    hours, left = (len(joules) - 2) * WINDOW_S / 3600.0, true_soc(simulation)
    return Outcome(hours, joules[-2] / 3600.0, float(left.max() - left.min()), bound / 3600.0)


def rows(options: argparse.Namespace) -> list[Row]:
    """Time, energy and what is left, for both strategies."""
    found = []
    for name in ("voltage", "charge"):
        done = balance(name)
        found += [
            Row(
                name=f"{name}_time_h", ours=done.hours, unit="h", better="lower",
                limit=done.bound_h, limit_source=BOUND,
            ),
            Row(name=f"{name}_energy_wh", ours=done.energy_wh, unit="Wh", better="lower"),
            Row(name=f"{name}_left_pct", ours=100.0 * done.left_frac, unit="%", better="lower"),
        ]  # fmt: skip
    return found
