"""How long balancing may take at most: the bound that its convergence is held against.

A block that stands `excess_frac` of its capacity above the lowest is bled through a resistor for a
share of the time (`DUTY`). It is done when it is within the threshold at which bleeding starts;
the bound takes the whole excess, at the least current that flows on the way, and `MARGIN` for what
the simple count leaves out: cells that relax, thresholds read through errors, tolerance of the
resistors.
"""

from __future__ import annotations

import numpy as np

from bms.model import Cell, Pack

BLEED_S, LOOK_S, CHOOSE_S = 8.0, 2.0, 0.1  # of balance.c: each half; between two rounds
PAUSES = 0.9  # share of a second without the pause for readings
DUTY = {
    "voltage": BLEED_S * PAUSES / (2.0 * BLEED_S + LOOK_S),
    "charge": BLEED_S * PAUSES / (2.0 * BLEED_S + CHOOSE_S),
}
"""Share of the time that a block's switch conducts, by strategy."""
MARGIN = 1.25
SETTLE_S = 60.0  # start, estimator, first look


def current_a(cell: Cell, pack: Pack, soc_frac: float) -> float:
    """Current through a balancing switch at this state of charge."""
    volts = np.interp(soc_frac, cell.electric.ocv_soc_frac, cell.electric.ocv_v)
    return float(volts) / pack.balancing.bleed_ohm


def bound_s(cell: Cell, pack: Pack, excess_frac: float, lowest_soc_frac: float) -> float:
    """Seconds after which every block is within the thresholds, when the highest stands
    `excess_frac` of capacity above the lowest, which is at `lowest_soc_frac`."""
    capacity_as = cell.electric.capacity_ah * pack.topology.parallel * 3600.0
    amps = current_a(cell, pack, lowest_soc_frac) * DUTY[pack.balancing.strategy]
    return SETTLE_S + MARGIN * excess_frac * capacity_as / amps
