"""Parameters of the thermal observer (ext/firmware/observer.h) for a cell in a pack."""

from __future__ import annotations

from bms.model import Cell, Pack

HEAT_SIGMA_FRAC = 0.15  # assumption: resistances as built, temperature and contact included
COOLING_SIGMA_FRAC = 0.3  # assumption: pads and flow as designed
SENSORS_MAX = 6


def values(cell: Cell, pack: Pack) -> dict[str, float | int | list[int]]:
    """Every field of obs_params_t by name: of a block, so `parallel` cells together.

    All heat is taken to be made in the core: cells of the library are described that way.
    """
    thermal, cooling, parallel = cell.thermal, pack.cooling, pack.topology.parallel
    whole = cell.geometry.mass_kg * thermal.heat_capacity_j_per_kg_k * parallel
    channels = list(pack.sensors.temperature_blocks)
    return {
        "core_j_per_k": whole * thermal.core_frac,
        "surface_j_per_k": whole * (1.0 - thermal.core_frac),
        "core_surface_w_per_k": thermal.core_surface_w_per_k * parallel,
        "neighbour_w_per_k": cooling.neighbour_w_per_k * parallel,
        "cooling_w_per_k": (cooling.plate_w_per_k + cooling.ambient_w_per_k) * parallel,
        "cooling_sigma_frac": COOLING_SIGMA_FRAC,
        "heat_core_frac": 1.0,
        "heat_sigma_frac": HEAT_SIGMA_FRAC,
        "sensor_sigma_k": max(pack.sensors.temperature_offset_k, 0.05),
        "spread_sigma_k": max(pack.spread.temperature_k, 0.1),
        "start_sigma_k": 0.0,  # what nobody knows at the start is left to the limits of readings
        "sensors": len(channels),
        "sensor_channel": channels + [0] * (SENSORS_MAX - len(channels)),
    }
