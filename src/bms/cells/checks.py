"""What must hold within a cell file beyond types: order, range, numbers that follow from others."""

from __future__ import annotations

import msgspec

from ..config import between, ordered, positive, require, rising
from ..model import Cell, CriticalCurrent, Electric, Frozen, Limits
from ..units import (
    LITHIUM_MELTS_DEGC,
    LITHIUM_UM_PER_MAH_CM2,
    REFERENCE_K,
    arrhenius,
    kelvin,
)

LOWER_LIMITS = ("voltage_min_v", "temperature_min_charge_degc", "temperature_min_discharge_degc")


def check(cell: Cell) -> None:
    """Raise ConfigError for the first thing in a cell that contradicts itself or physics."""
    file = cell.file
    _check_signs(file, "", cell)
    _check_classification(cell)
    _check_electric(file, cell.electric)
    _check_limits(file, cell.limits)
    _check_voltages(cell)
    _check_mechanics(cell)
    _check_critical(cell)
    _check_heat(cell)


SIGNED = {  # may be negative; every other number may not
    "entropic_v_per_k", "exponent", "pressure_exponent", "cathode_um_per_ah",
    "anode_um_per_ah", "thermal_um_per_k", "temperature_min_charge_degc",
    "temperature_min_discharge_degc", "temperature_max_charge_degc",
    "temperature_max_discharge_degc",
}  # fmt: skip
POSITIVE = {  # zero would divide, or make no cell
    "length_m", "width_m", "thickness_m", "mass_kg", "electrode_area_cm2", "layers",
    "capacity_ah", "electrolyte_ohm", "charge_transfer_ohm", "charge_transfer_tau_s",
    "diffusion_ohm", "diffusion_tau_s", "hysteresis_soc_frac", "reference_kpa",
    "plating_ma_per_cm2", "stripping_ma_per_cm2", "healing_tau_s", "initial_ohm",
    "minimum_ohm", "heat_capacity_j_per_kg_k", "core_frac", "core_surface_w_per_k",
    "maximum_frac", "short_ohm", "weibull_shape",
}  # fmt: skip


def _check_signs(file: str, key: str, part: Frozen) -> None:
    """Non-negative, positive and 0-to-1 by name."""
    for field in msgspec.structs.fields(part):
        value, name = getattr(part, field.name), field.name
        here = f"{key}.{name}" if key else name
        if isinstance(value, Frozen):
            _check_signs(file, here, value)
            continue
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, str | dict | bool):
                continue
            if name in POSITIVE:
                positive(file, here, number)
            elif name not in SIGNED:
                require(number >= 0, file, here, number, "a value of 0 or more")
            if name.endswith("_frac"):
                between(file, here, number, 0.0, 1.0)


def _check_classification(cell: Cell) -> None:
    made = cell.classification
    key = "classification"
    if made.electrolyte == "liquid":
        require(
            made.liquid_frac == 1.0,
            cell.file,
            f"{key}.liquid_frac",
            made.liquid_frac,
            "1 for a liquid electrolyte",
        )
    else:
        require(
            made.liquid_frac < 1.0,
            cell.file,
            f"{key}.liquid_frac",
            made.liquid_frac,
            f"less than 1 for a {made.electrolyte} electrolyte",
        )
    dry = made.weight_loss_frac <= 0.005
    require(
        not (dry and made.electrolyte == "liquid"),
        cell.file,
        f"{key}.weight_loss_frac",
        made.weight_loss_frac,
        "more than 0.005: a liquid electrolyte evaporates",
    )
    require(
        dry or made.liquid_frac > 0.0,
        cell.file,
        f"{key}.liquid_frac",
        made.liquid_frac,
        f"more than 0: a weight loss of {made.weight_loss_frac:g} needs some liquid",
    )


def _check_electric(file: str, electric: Electric) -> None:
    grid, key = electric.ocv_soc_frac, "electric.ocv_soc_frac"
    require(len(grid) >= 5, file, key, grid, "at least 5 points")
    rising(file, key, grid)
    require(
        grid[0] == 0.0 and grid[-1] == 1.0, file, key, [grid[0], grid[-1]], "a grid from 0 to 1"
    )
    for name in ("ocv_v", "entropic_v_per_k"):
        values = getattr(electric, name)
        require(
            len(values) == len(grid),
            file,
            f"electric.{name}",
            f"{len(values)} values",
            f"{len(grid)} values, one for each of ocv_soc_frac",
        )
    rising(file, "electric.ocv_v", electric.ocv_v)
    for i, slope in enumerate(electric.entropic_v_per_k):
        between(file, f"electric.entropic_v_per_k[{i}]", slope, -0.002, 0.002)


def _check_limits(file: str, limits: Limits) -> None:
    for name in limits.__struct_fields__:
        ordered(file, f"limits.{name}", getattr(limits, name), up=name not in LOWER_LIMITS)
    for side in ("charge", "discharge"):
        low = getattr(limits, f"temperature_min_{side}_degc")
        high = getattr(limits, f"temperature_max_{side}_degc")
        require(
            low[0] < high[0],
            file,
            f"limits.temperature_min_{side}_degc",
            low[0],
            f"less than temperature_max_{side}_degc, {high[0]:g}",
        )
        positive(file, f"limits.current_{side}_a", getattr(limits, f"current_{side}_a")[0])


def _check_voltages(cell: Cell) -> None:
    limits, ocv = cell.limits, cell.electric.ocv_v
    require(
        ocv[-1] <= limits.voltage_max_v[0],
        cell.file,
        "electric.ocv_v",
        ocv[-1],
        f"at most limits.voltage_max_v operate, {limits.voltage_max_v[0]:g}",
    )
    require(
        ocv[0] >= limits.voltage_min_v[0],
        cell.file,
        "electric.ocv_v",
        ocv[0],
        f"at least limits.voltage_min_v operate, {limits.voltage_min_v[0]:g}",
    )
    span = ocv[-1] - ocv[0]
    between(cell.file, "electric.hysteresis_v", cell.electric.hysteresis_v, 0.0, 0.1 * span)


def _check_mechanics(cell: Cell) -> None:
    """Lithium thickness follows from charge per area; nothing but lithium metal grows by itself."""
    law, grown, file = cell.pressure, cell.breathing, cell.file
    between(file, "pressure.exponent", law.exponent, -2.0, 0.0)
    ordered(file, "pressure.operate_min_kpa", law.operate_min_kpa, up=False)
    ordered(file, "pressure.operate_max_kpa", law.operate_max_kpa, up=True)
    if law.exponent != 0.0:
        between(
            file,
            "pressure.reference_kpa",
            law.reference_kpa,
            law.operate_min_kpa[0],
            law.operate_max_kpa[0],
        )
    if cell.classification.electrolyte == "liquid":
        return
    geometry = cell.geometry
    lithium = LITHIUM_UM_PER_MAH_CM2 * 1000.0 * geometry.layers / geometry.electrode_area_cm2
    between(
        file, "breathing.anode_um_per_ah", grown.anode_um_per_ah, 0.95 * lithium, 1.05 * lithium
    )
    swing = (grown.anode_um_per_ah + grown.cathode_um_per_ah) * cell.electric.capacity_ah
    require(
        0 < swing < 0.5e6 * geometry.thickness_m,
        file,
        "breathing",
        round(swing, 1),
        "a growth of more than 0 and less than half the cell's thickness, in um",
    )
    if geometry.format != "cylindrical":
        sheet = geometry.electrode_area_cm2 / geometry.layers
        face = geometry.length_m * geometry.width_m * 1e4
        require(
            0.5 * face <= sheet <= face,
            file,
            "geometry.electrode_area_cm2",
            geometry.electrode_area_cm2,
            f"layers x a sheet that fills 50 to 100 % of the face of {face:.4g} cm2",
        )


def _check_critical(cell: Cell) -> None:
    """`claimed` carries the operate limits of current; `literature` is not above it.

    At reference pressure and 25 degC, or at the coldest operate temperature if that is warmer.
    """
    area, file, limits = cell.geometry.electrode_area_cm2, cell.file, cell.limits
    claimed, measured = cell.critical_current_claimed, cell.critical_current_literature
    for name, side in (("plating_ma_per_cm2", "charge"), ("stripping_ma_per_cm2", "discharge")):
        value, literature = getattr(claimed, name), getattr(measured, name)
        warm_k = max(REFERENCE_K, kelvin(getattr(limits, f"temperature_min_{side}_degc")[0]))
        rise = arrhenius(claimed.activation_ev, warm_k)
        needed = getattr(limits, f"current_{side}_a")[0] * 1e3 / area / rise
        require(
            value >= needed,
            file,
            f"critical_current_claimed.{name}",
            value,
            f"at least {needed:.3g}, which the operate limit of current asks for",
        )
        require(
            literature <= value,
            file,
            f"critical_current_literature.{name}",
            literature,
            f"at most the claimed value, {value:g}",
        )
    for name, law in (("claimed", claimed), ("literature", measured)):
        _check_law(file, f"critical_current_{name}", law)


def _check_law(file: str, key: str, law: CriticalCurrent) -> None:
    between(file, f"{key}.activation_ev", law.activation_ev, 0.0, 1.5)
    between(file, f"{key}.pressure_exponent", law.pressure_exponent, 0.0, 3.0)


def _check_heat(cell: Cell) -> None:
    """No limit lies above melting lithium; the temperature law is complete."""
    file, limits, law = cell.file, cell.limits, cell.resistance.electrolyte_temperature
    between(
        file,
        "thermal.heat_capacity_j_per_kg_k",
        cell.thermal.heat_capacity_j_per_kg_k,
        400.0,
        2000.0,
    )
    between(file, "thermal.core_frac", cell.thermal.core_frac, 0.05, 0.95)
    between(file, "thermal.melting_degc", cell.thermal.melting_degc, 60.0, LITHIUM_MELTS_DEGC)
    for name in ("temperature_max_charge_degc", "temperature_max_discharge_degc"):
        trip = getattr(limits, name)[2]
        require(
            trip <= cell.thermal.melting_degc - 20.0,
            file,
            f"limits.{name}[2]",
            trip,
            f"at least 20 K below thermal.melting_degc, {cell.thermal.melting_degc:g}",
        )
        for stage in ("first", "second"):
            onset = getattr(cell.runaway, stage).onset_degc
            require(
                onset > trip,
                file,
                f"runaway.{stage}.onset_degc",
                onset,
                f"more than limits.{name} trip, {trip:g}",
            )
    between(file, "resistance.electrolyte_temperature.activation_ev", law.activation_ev, 0.0, 1.5)
    if law.law == "vtf":
        key = "resistance.electrolyte_temperature"
        positive(file, f"{key}.vtf_b_k", law.vtf_b_k)
        between(file, f"{key}.vtf_t0_k", law.vtf_t0_k, 100.0, law.melting_degc + 273.15 - 50.0)
        between(file, f"{key}.melting_degc", law.melting_degc, 20.0, 120.0)
