"""Parameters of the estimator, from a cell and the errors of the sensors it is read with."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from bms import packs
from bms.errors import ConfigError
from bms.firmware import config
from bms.firmware import observer as firmware_observer
from bms.model import Cell, Fixture, Pack, Sensors, Spread

CORE_SHARE = 0.7  # a slab heated evenly has its mean at two thirds; the hotter layers carry more
START_STD_FRAC = 0.12  # a given state of charge may well be 20 to 30 % off
AIR_W_PER_M2_K = 20.0  # of a cell in moving air, 10 to 40: where nothing is known (assumption)
COOLING_GUESS_FRAC = 0.6  # and how far that may be off, standard deviation
HEAT_SIGMA_FRAC = 0.2  # of the heat, of any cell at any temperature (assumption)
COOLING_ALIKE_FRAC = 0.03  # from one record to another on the bench the cell was fitted on
START_CORE_K = 2.0  # core over surface when a record begins, standard deviation (assumption)
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


def pack_round(
    cell: Cell,
    parallel: int,
    sensors: Sensors | None,
    spread: Spread | None,
    fixture: Fixture | None = None,
) -> Pack:
    """A pack whose blocks are `parallel` cells read with these sensors, for its parameters only.

    Without a fixture nothing is known of what pressure says about charge."""
    car, replace = packs.load("car_96s1p"), msgspec.structs.replace
    read = replace(sensors or sensors_of(cell), pressure_per_module=fixture is not None)
    return replace(
        car,
        cell=cell.name,
        topology=replace(car.topology, parallel=parallel),
        sensors=read,
        spread=spread or car.spread,
        fixture=fixture or car.fixture,
    )


def surface_m2(cell: Cell) -> float:
    """Outside of a cell: of a cylinder its side and ends, else of a box."""
    made = cell.geometry
    if made.format == "cylindrical":
        return math.pi * made.width_m * (made.length_m + 0.5 * made.width_m)
    return 2.0 * (made.length_m * made.width_m + (made.length_m + made.width_m) * made.thickness_m)


def observer(cell: Cell, pack: Pack) -> dict[str, Any]:
    """Every field of obs_params_t for cells that each have a thermistor of their own.

    The cooling is that of the bench the cell was fitted on, which others resemble, or else a guess.
    Heat is made all over, as in every real cell: the quasi-steady law then holds whatever the rate.
    """
    parallel, known = pack.topology.parallel, cell.thermal.cooling_w_per_k
    guess = AIR_W_PER_M2_K * surface_m2(cell)
    share = cell.thermal.core_frac
    made: dict[str, Any] = dict(firmware_observer.values(cell, pack))
    return made | {
        "neighbour_w_per_k": 0.0,
        "core_surface_w_per_k": cell.thermal.core_surface_w_per_k * share * parallel,
        "heat_core_frac": share,
        "heat_sigma_frac": HEAT_SIGMA_FRAC,
        "cooling_w_per_k": parallel * (known or guess),
        "cooling_sigma_frac": COOLING_ALIKE_FRAC if known else COOLING_GUESS_FRAC,
        "spread_sigma_k": 0.0,
        "start_sigma_k": START_CORE_K,
        "sensors": 1,
        "sensor_channel": 0,
    }


def fill(
    est: Mapping[str, np.ndarray],
    obs: Mapping[str, np.ndarray],
    params: Mapping[str, np.ndarray],
    cell: Cell,
    pack: Pack,
    start_std_frac: float,
) -> None:
    """Write every parameter by its name; one that is missing or unknown is a programming error."""
    values: dict[str, Any] = {
        "core_share": CORE_SHARE,
        "capacity_ah": cell.electric.capacity_ah * pack.topology.parallel,
        "start_std_frac": start_std_frac,
    }
    each = ((est, config.estimator(cell, pack)), (obs, observer(cell, pack)), (params, values))
    for into, named in each:
        wrong = into.keys() ^ named.keys()
        if wrong:
            raise KeyError(f"estimator parameters missing or unknown: {sorted(wrong)}")
        for name, value in named.items():
            into[name][:] = value
