"""Parameters of the estimator, from a cell and the errors of the sensors it is read with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from bms import packs
from bms.errors import ConfigError
from bms.firmware import config
from bms.model import Cell, Pack, Sensors, Spread

CORE_SHARE = 0.7  # a slab heated evenly has its mean at two thirds; the hotter layers carry more
START_STD_FRAC = 0.12  # a given state of charge may well be 20 to 30 % off
CURRENT_OFFSET_PER_AH = 0.0013  # A of offset an Ah: a sensor that suits the cell (assumption)


def sensors_of(cell: Cell, **errors: float) -> Sensors:
    """Sensors of a laboratory or a pack that suit `cell`; `errors` replaces single figures.

    The library's car pack (1 mV and 0.3 mV noise, 0.2 % of current), with the offset of its current
    sensor in proportion to the capacity. ConfigError for a figure that sensors do not have.
    """
    car = packs.load("car_96s1p").sensors
    for name in sorted(errors.keys() - set(Sensors.__struct_fields__)):
        known = "one of " + ", ".join(Sensors.__struct_fields__)
        raise ConfigError("sensors", name, errors[name], known)
    ours = {"current_offset_a": CURRENT_OFFSET_PER_AH * cell.electric.capacity_ah, **errors}
    return msgspec.structs.replace(car, **ours)


def pack_round(cell: Cell, parallel: int, sensors: Sensors | None, spread: Spread | None) -> Pack:
    """A pack whose blocks are `parallel` cells read with these sensors, for its parameters only."""
    car, replace = packs.load("car_96s1p"), msgspec.structs.replace
    return replace(
        car,
        cell=cell.name,
        topology=replace(car.topology, parallel=parallel),
        sensors=sensors or sensors_of(cell),
        spread=spread or car.spread,
    )


def fill(
    est: Mapping[str, np.ndarray],
    params: Mapping[str, np.ndarray],
    cell: Cell,
    pack: Pack,
    start_std_frac: float,
) -> None:
    """Write every parameter by its name; one that is missing or unknown is a programming error."""
    parallel, thermal = pack.topology.parallel, cell.thermal
    heat_j_per_k = thermal.heat_capacity_j_per_kg_k * cell.geometry.mass_kg
    values: dict[str, Any] = {
        "core_surface_w_per_k": thermal.core_surface_w_per_k * parallel,
        "core_j_per_k": thermal.core_frac * heat_j_per_k * parallel,
        "core_share": CORE_SHARE,
        "capacity_ah": cell.electric.capacity_ah * parallel,
        "start_std_frac": start_std_frac,
    }
    for into, named in ((est, config.estimator(cell, pack)), (params, values)):
        wrong = into.keys() ^ named.keys()
        if wrong:
            raise KeyError(f"estimator parameters missing or unknown: {sorted(wrong)}")
        for name, value in named.items():
            into[name][:] = value
