"""What the firmware is told of self-discharge, so that it is not taken for a leak (leak.h)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bms.firmware import tables
from bms.model import Cell, Pack
from bms.units import SECONDS_PER_MONTH

SPREAD_SIGMAS = 3.0
UNEVEN_K = 3.0  # assumption: a cell may be so much warmer than the others
PER_K = 0.07  # of self-discharge, at 0.5 to 0.55 eV near room temperature


def spread_a(cell: Cell, pack: Pack) -> NDArray[np.float64]:
    """A by which healthy blocks may differ from their mean, over tables.temperatures_degc(), (65,).

    Three standard deviations of the pack's spread, and 3 K between warm and cool places.
    """
    mean_a = (
        cell.self_discharge.per_month_frac * cell.electric.capacity_ah * 3600.0 / SECONDS_PER_MONTH
    )
    mean_a *= pack.topology.parallel
    share = SPREAD_SIGMAS * pack.spread.self_discharge_frac + UNEVEN_K * PER_K
    return np.asarray(share * mean_a * tables.arrhenius(-cell.self_discharge.activation_ev))
