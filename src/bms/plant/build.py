"""Fills the compiled plant from a cell and a pack: parameters, initial state, inputs at rest.

    fill(fields, cell, pack, seed=1, soc_frac=0.8, temperature_degc=25.0, ambient_degc=25.0)

`fields` maps the names of ext/plant/plant.h to arrays over the struct; plant_init then derives the
rest. Differences from cell to cell come from the named streams cell.capacity, cell.resistance,
cell.soc, cell.self_discharge and cell.temperature of the seed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Literal

import numpy as np

from ..errors import ConfigError
from ..model import Cell, CriticalCurrent, Pack
from ..rng import Stream, stream_key
from ..units import BOLTZMANN_EV_PER_K, SECONDS_PER_MONTH
from . import tables

BLOCKS_MAX, CELLS_MAX, MODULES_MAX = 400, 1200, 32  # of plant.h
STEP_US = 1000
SCALE_MIN = 0.05  # no draw makes a cell smaller, or a leak negative

# Assumption: plates and pipes hold a quarter of the loop's heat capacity, the fluid the rest.
PLATE_SHARE = 0.25

Fields = Mapping[str, np.ndarray]
Critical = Literal["claimed", "literature"]

INPUTS = (
    "coil_command", "fuse_trigger", "load_mode", "load_current_a", "load_power_w",
    "charger_current_a", "charger_voltage_v", "heater_frac", "pump_frac", "bleed_on",
    "contactor_weld", "contactor_stuck", "pump_failed", "heater_stuck",
    "link_short_siemens", "cell_short_siemens", "cell_bias_v", "cell_heat_w",
)  # fmt: skip


def fill(
    fields: Fields,
    cell: Cell,
    pack: Pack,
    *,
    seed: int,
    soc_frac: float,
    temperature_degc: float,
    ambient_degc: float,
    critical: Critical = "claimed",
) -> None:
    """Writes every parameter, the initial state and the inputs of plant_t.

    soc_frac and temperature_degc are the means of the pack; the pack's spread is added cell by
    cell, and SoC kept in 0 .. 1. critical chooses which set of critical currents is the truth.
    Raises ConfigError for a pack beyond the plant's limits, an SoC outside 0 .. 1 or a temperature
    outside the tables.
    """
    _check(pack, soc_frac, temperature_degc, ambient_degc, critical)
    chosen = cell.critical_current_claimed
    if critical == "literature":
        chosen = cell.critical_current_literature
    _set(fields, _topology(pack, seed))
    _set(fields, _tables(cell, pack, chosen))
    _set(fields, _electric(cell, chosen))
    _set(fields, _degradation(cell))
    _set(fields, _heat(cell, pack))
    _set(fields, _mechanics(cell, pack))
    _set(fields, _path(pack))
    _set(fields, dict.fromkeys(INPUTS, 0))
    _set(fields, dict.fromkeys(("plate_degc", "coolant_degc"), temperature_degc))
    _set(fields, {"ambient_degc": ambient_degc})
    poles = ("insulation_plus_kohm", "insulation_minus_kohm")
    _set(fields, dict.fromkeys(poles, pack.insulation_kohm))
    _cells(fields, cell, pack, seed, soc_frac, temperature_degc)


def _check(
    pack: Pack, soc_frac: float, temperature_degc: float, ambient_degc: float, critical: str
) -> None:
    topology = pack.topology
    modules = -(-topology.blocks // topology.blocks_per_module)
    for key, value, limit in (
        ("topology.blocks", topology.blocks, BLOCKS_MAX),
        ("topology.parallel", topology.parallel, CELLS_MAX // max(1, topology.blocks)),
        ("topology.blocks_per_module", modules, MODULES_MAX),
    ):
        if not 1 <= value <= limit:
            what = "modules" if key.endswith("module") else key.rpartition(".")[2]
            raise ConfigError(pack.file, key, value, f"1 to {limit} {what}")
    if topology.blocks % topology.blocks_per_module:
        key, value = "topology.blocks_per_module", topology.blocks_per_module
        raise ConfigError(pack.file, key, value, f"a divisor of {topology.blocks} blocks")
    if not 0.0 <= soc_frac <= 1.0:
        raise ConfigError(pack.file, "soc_frac", soc_frac, "0 to 1")
    for key, degc in (("temperature_degc", temperature_degc), ("ambient_degc", ambient_degc)):
        if not -60.0 <= degc <= 200.0:
            raise ConfigError(pack.file, key, degc, "-60 to 200 degC")
    if critical not in ("claimed", "literature"):
        raise ConfigError(pack.file, "critical", critical, "claimed or literature")


def _set(fields: Fields, values: Mapping[str, float | int | np.ndarray]) -> None:
    for name, value in values.items():
        fields[name][:] = value


def _best_isa() -> int:
    """1 where AVX2 may be used; BMS_ISA=baseline asks for 0. The results are the same."""
    if os.environ.get("BMS_ISA") == "baseline":
        return 0
    from .. import _plant

    return int(_plant.best_isa())


def _topology(pack: Pack, seed: int) -> dict[str, float | int]:
    topology = pack.topology
    return {
        "blocks": topology.blocks,
        "parallel": topology.parallel,
        "blocks_per_module": topology.blocks_per_module,
        "modules": -(-topology.blocks // topology.blocks_per_module),
        "isa": _best_isa(),
        "step_us": STEP_US,
        "short_key": stream_key(seed, "cell.short"),
        "account_ohmic": 1.0,
        "ageing_acceleration": 1.0,
    }


def _tables(cell: Cell, pack: Pack, critical: CriticalCurrent) -> dict[str, np.ndarray]:
    electric, resistance, pressure = cell.electric, cell.resistance, cell.pressure
    maximum_kpa = pack.fixture.maximum_kpa
    return {
        "ocv_v": tables.over_soc(electric.ocv_soc_frac, electric.ocv_v),
        "entropic_v_per_k": tables.over_soc(electric.ocv_soc_frac, electric.entropic_v_per_k),
        "electrolyte_law": tables.conductivity_over_temperature(resistance.electrolyte_temperature),
        "contact_law": tables.resistance_over_temperature(resistance.contact_activation_ev),
        "transfer_law": tables.resistance_over_temperature(
            resistance.charge_transfer_activation_ev
        ),
        "diffusion_law": tables.resistance_over_temperature(resistance.diffusion_activation_ev),
        "critical_law": tables.rate_over_temperature(critical.activation_ev),
        "leak_law": tables.rate_over_temperature(cell.self_discharge.activation_ev),
        "interphase_law": tables.rate_over_temperature(cell.ageing.interphase_activation_ev),
        "pressure_contact": tables.over_pressure(
            pressure.reference_kpa, pressure.exponent, maximum_kpa
        ),
        "pressure_critical": tables.over_pressure(
            pressure.reference_kpa, critical.pressure_exponent, maximum_kpa
        ),
    }


def _electric(cell: Cell, critical: CriticalCurrent) -> dict[str, float]:
    resistance = cell.resistance
    return {
        "electrolyte_ohm": resistance.electrolyte_ohm,
        "contact_ohm": resistance.contact_ohm,
        "transfer_ohm": resistance.charge_transfer_ohm,
        "transfer_farad": resistance.charge_transfer_tau_s / resistance.charge_transfer_ohm,
        "diffusion_ohm": resistance.diffusion_ohm,
        "diffusion_farad": resistance.diffusion_tau_s / resistance.diffusion_ohm,
        "hysteresis_v": cell.electric.hysteresis_v,
        "hysteresis_soc_frac": cell.electric.hysteresis_soc_frac,
        "electrode_cm2": cell.geometry.electrode_area_cm2,
        "plating_ma_per_cm2": critical.plating_ma_per_cm2,
        "stripping_ma_per_cm2": critical.stripping_ma_per_cm2,
        "leak_frac_per_s": cell.self_discharge.per_month_frac / SECONDS_PER_MONTH,
    }


def _degradation(cell: Cell) -> dict[str, float]:
    voids, short, ageing = cell.voids, cell.soft_short, cell.ageing
    return {
        "void_growth": voids.growth_frac_per_c_cm2,
        "void_healing_s": voids.healing_tau_s,
        "void_lost_frac": voids.unrecoverable_frac,
        "void_max_frac": voids.maximum_frac,
        "short_hazard_per_s": short.hazard_per_s,
        "short_shape": short.weibull_shape,
        "short_initial_s": 1.0 / short.initial_ohm,
        "short_growth_per_s": short.growth_per_s,
        "short_max_s": 1.0 / short.minimum_ohm,
        "interphase_ohm": ageing.interphase_ohm_per_sqrt_s,
        "calendar_frac": ageing.calendar_loss_frac_per_sqrt_s,
        "cycle_loss_frac": ageing.capacity_loss_frac_per_cycle,
        "contact_loss_frac": ageing.contact_loss_frac_per_cycle,
    }


def _heat(cell: Cell, pack: Pack) -> dict[str, float]:
    thermal, cooling, runaway = cell.thermal, pack.cooling, cell.runaway
    cell_j_per_k = cell.geometry.mass_kg * thermal.heat_capacity_j_per_kg_k
    return {
        "core_j_per_k": cell_j_per_k * thermal.core_frac,
        "surface_j_per_k": cell_j_per_k * (1.0 - thermal.core_frac),
        "core_surface_w_per_k": thermal.core_surface_w_per_k,
        "neighbour_w_per_k": cooling.neighbour_w_per_k,
        "plate_w_per_k": cooling.plate_w_per_k,
        "air_w_per_k": cooling.ambient_w_per_k,
        "plate_j_per_k": cooling.coolant_heat_capacity_j_per_k * PLATE_SHARE,
        "coolant_j_per_k": cooling.coolant_heat_capacity_j_per_k * (1.0 - PLATE_SHARE),
        "coolant_w_per_k": cooling.coolant_flow_w_per_k,
        "heater_w": cooling.heater_w,
        "runaway_1_per_s": runaway.first.rate_per_s,
        "runaway_1_k": runaway.first.activation_ev / BOLTZMANN_EV_PER_K,
        "runaway_1_j": runaway.first.heat_j,
        "runaway_2_per_s": runaway.second.rate_per_s,
        "runaway_2_k": runaway.second.activation_ev / BOLTZMANN_EV_PER_K,
        "runaway_2_j": runaway.second.heat_j,
        "runaway_onset_degc": min(runaway.first.onset_degc, runaway.second.onset_degc),
        "runaway_short_degc": runaway.short_degc,
        "runaway_short_s": 1.0 / runaway.short_ohm,
        "runaway_vent_kpa": runaway.vent_kpa,
    }


def _mechanics(cell: Cell, pack: Pack) -> dict[str, float]:
    breathing, fixture = cell.breathing, pack.fixture
    return {
        "anode_um_per_ah": breathing.anode_um_per_ah,
        "cathode_um_per_ah": breathing.cathode_um_per_ah,
        "thermal_um_per_k": breathing.thermal_um_per_k,
        "preload_kpa": fixture.preload_kpa,
        "stiffness_kpa_per_um": fixture.stiffness_kpa_per_um,
        "creep_s": fixture.creep_tau_s,
        "creep_frac": fixture.creep_frac,
        "pressure_max_kpa": fixture.maximum_kpa,
    }


def _path(pack: Pack) -> dict[str, float]:
    contactors = pack.contactors
    return {
        "contactor_close_us": contactors.close_ms * 1e3,
        "contactor_open_us": contactors.open_ms * 1e3,
        "contactor_bounce_us": contactors.bounce_ms * 1e3,
        "contactor_ohm": contactors.resistance_ohm,
        "cable_ohm": contactors.cable_ohm,
        "break_current_a": contactors.break_current_a,
        "precharge_ohm": contactors.precharge_ohm,
        "precharge_max_j": contactors.precharge_energy_j,
        "link_farad": contactors.link_capacity_f,
        "link_bleed_s": 1.0 / contactors.link_bleed_ohm,
        "fuse_rating_a": pack.fuse.rating_a,
        "fuse_melt_a2s": pack.fuse.melt_a2s,
        "bleed_s": 1.0 / pack.balancing.bleed_ohm,
    }


def _cells(
    fields: Fields, cell: Cell, pack: Pack, seed: int, soc_frac: float, temperature_degc: float
) -> None:
    """What differs from cell to cell: the first blocks * parallel of each array, zero behind."""
    spread, count = pack.spread, pack.topology.blocks * pack.topology.parallel

    def draws(name: str, deviation: float) -> np.ndarray:
        if deviation == 0.0:
            return np.zeros(count)
        return deviation * Stream(seed, f"cell.{name}").normals(count)

    def scale(name: str, deviation: float) -> np.ndarray:
        return np.maximum(SCALE_MIN, 1.0 + draws(name, deviation))

    start_degc = temperature_degc + draws("temperature", spread.temperature_k)
    values = {
        "cell_capacity_as": cell.electric.capacity_ah
        * 3600.0
        * scale("capacity", spread.capacity_frac),
        "cell_resistance_scale": scale("resistance", spread.resistance_frac),
        "cell_leak_scale": scale("self_discharge", spread.self_discharge_frac),
        "cell_soc_frac": np.clip(soc_frac + draws("soc", spread.soc_frac), 0.0, 1.0),
        "cell_core_degc": start_degc,
        "cell_surface_degc": start_degc,
    }
    for name, drawn in values.items():
        fields[name][:] = 0.0
        fields[name][:count] = drawn
