"""What the diagnoses look at, and the limits of a pack by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bms.model import Cell, Pack

DEEP = 0.8  # cell_deep_discharge: share of the trip value, see its trigger


@dataclass(frozen=True)
class Quantity:
    """What a diagnosis looks at. sign: -1 for a signal that counts the other way."""

    measured: str
    truth: str
    limit: str
    is_above: bool
    unit: str
    sign: float = 1.0
    share: float = 1.0

    @property
    def extreme(self) -> str:
        """Name of the extreme of the truth over all cells, where a source keeps it; "" if the truth
        is one number."""
        if not self.truth.startswith(("true_cell_", "true_module_")):
            return ""
        stem, _, unit = self.truth.rpartition("_")
        return f"{stem}_{'max' if self.is_above else 'min'}_{unit}"


_MAX_V, _MIN_V, _TRUE_V = (
    "meas_cell_voltage_max_v",
    "meas_cell_voltage_min_v",
    "true_cell_voltage_v",
)
_AMPS, _TRUE_A = "meas_pack_current_a", "true_pack_current_a"
_HOT, _COLD = "meas_temperature_max_degc", "meas_temperature_min_degc"
_SURFACE = "true_cell_temperature_surface_degc"
_KPA = "true_module_pressure_kpa"
QUANTITIES = {
    "cell_overvoltage": Quantity(_MAX_V, _TRUE_V, "voltage_max_v", True, "V"),
    "cell_undervoltage": Quantity(_MIN_V, _TRUE_V, "voltage_min_v", False, "V"),
    "cell_deep_discharge": Quantity(_MIN_V, _TRUE_V, "voltage_min_v", False, "V", share=DEEP),
    "pack_overvoltage": Quantity(
        "meas_pack_voltage_v", "true_pack_voltage_v", "pack_voltage_max_v", True, "V"
    ),
    "current_charge_high": Quantity(_AMPS, _TRUE_A, "current_charge_a", True, "A", sign=-1.0),
    "current_discharge_high": Quantity(_AMPS, _TRUE_A, "current_discharge_a", True, "A"),
    "temperature_high_charge": Quantity(
        _HOT, _SURFACE, "temperature_max_charge_degc", True, "degC"
    ),
    "temperature_high_discharge": Quantity(
        _HOT, _SURFACE, "temperature_max_discharge_degc", True, "degC"
    ),
    "temperature_low_charge": Quantity(
        _COLD, _SURFACE, "temperature_min_charge_degc", False, "degC"
    ),
    "temperature_low_discharge": Quantity(
        _COLD, _SURFACE, "temperature_min_discharge_degc", False, "degC"
    ),
    "pressure_low": Quantity("meas_module_pressure_min_kpa", _KPA, "operate_min_kpa", False, "kPa"),
    "pressure_high": Quantity("meas_module_pressure_max_kpa", _KPA, "operate_max_kpa", True, "kPa"),
}
"""Diagnoses whose quantity is one signal and whose limit is a triplet of cell or pack."""


def limits(cell: Cell, pack: Pack) -> dict[str, tuple[float, ...]]:
    """Every triplet of operate, warn and trip by name; currents are those of the pack."""
    found = {name: tuple(getattr(cell.limits, name)) for name in cell.limits.__struct_fields__}
    parallel, blocks = pack.topology.parallel, pack.topology.blocks
    for name in ("current_charge_a", "current_discharge_a"):
        found[name] = tuple(parallel * x for x in found[name])
    found["pack_voltage_max_v"] = tuple(blocks * x for x in found["voltage_max_v"])
    for name in ("operate_min_kpa", "operate_max_kpa"):
        found[name] = tuple(getattr(cell.pressure, name))
    return found


def limits_of_recording(meta: Mapping[str, Any]) -> dict[str, tuple[float, ...]]:
    """The same from the metadata of a recording; empty where it does not hold them."""
    try:
        cell, pack = (meta["configuration"][key] for key in ("cell", "pack"))
        found = {name: tuple(map(float, triplet)) for name, triplet in cell["limits"].items()}
        parallel, blocks = pack["topology"]["parallel"], pack["topology"]["blocks"]
        for name in ("current_charge_a", "current_discharge_a"):
            found[name] = tuple(parallel * x for x in found[name])
        found["pack_voltage_max_v"] = tuple(blocks * x for x in found["voltage_max_v"])
        for name in ("operate_min_kpa", "operate_max_kpa"):
            found[name] = tuple(map(float, cell["pressure"][name]))
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}
    return found
