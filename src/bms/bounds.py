"""What the oracle (bms.invariants) holds the truth against, by name of its fields.

Limits come from the cell, the pack, the firmware's configuration and the deadlines of
spec/diagnoses.toml; there is no second copy of them. A bound of the truth is the limit plus the
largest error that the sensor's specification allows: what no reading can show cannot be asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bms import _firmware, spec
from bms.firmware import config as firmware_config
from bms.model import Cell, Pack

SIGMAS = 4.0  # bms.rng draws no normal beyond
PERIOD_MS = 10  # control period: a decision takes effect within it
LOOK_MS = 30  # the size of a short is looked at before contactors break it, ext/firmware/fuse.c
OPEN_MS = 500  # the vehicle's time to take its current away, ext/firmware/contactor.c
BY_CHARGE = 1  # of balance_strategy
STEP_A = 0.05  # of a current as it is told
CODE_V = 0.001  # step of the converter, and the drop over a sense wire
NTC_K = 0.5  # steps of the firmware's table

_NEXT: Mapping[str, tuple[str, ...]] = {
    "init": ("selftest",),
    "selftest": ("standby",),
    "standby": ("precharge", "balancing", "service", "sleep"),
    "precharge": ("normal_drive", "normal_charge", "opening"),
    "normal_drive": ("normal_charge", "opening"),
    "normal_charge": ("normal_drive", "opening"),
    "opening": ("standby",),
    "error": ("latched", "standby", "selftest"),
    "latched": ("error", "standby", "selftest", "sleep"),
    "asserted": (),
    "refused": (),
    "balancing": ("standby",),
    "service": ("standby",),
    "sleep": ("selftest",),
}
_ANYWHERE = ("error", "asserted")
_DEAD = ("asserted", "refused")


def of(cell: Cell, pack: Pack) -> dict[str, Any]:
    """Every limit of ext/invariants/invariants.h for this cell in this pack, in the field's unit.

    Raises ConfigError for a pack that the firmware does not take."""
    return {
        **_limits(cell, pack), **_errors_and_bounds(cell, pack), **_budgets(cell, pack),
        **_states(), **_forbidding(),
    }  # fmt: skip


def _configured(cell: Cell, pack: Pack) -> dict[str, np.ndarray]:
    """Fields of the firmware's configuration: what it was told, as numbers."""
    blob = firmware_config.build(cell, pack)
    return {
        name: np.frombuffer(blob, dtype, count, offset)
        for name, _unit, _text, offset, count, dtype in _firmware.config_fields()
    }


def _limits(cell: Cell, pack: Pack) -> dict[str, Any]:
    limits, parallel, blocks = cell.limits, pack.topology.parallel, pack.topology.blocks
    pressed = pack.sensors.pressure_per_module and cell.pressure.operate_max_kpa[2] > 0.0
    told = _configured(cell, pack)
    per_module = pack.topology.blocks_per_module
    places = [
        module * per_module + place
        for module in range(-(-blocks // per_module))
        for place in pack.sensors.temperature_blocks
    ]
    return {
        "sensors": len(places),
        "sensor_cell": places,
        "voltage_calm_max_v": limits.voltage_max_v[1],
        "voltage_calm_min_v": limits.voltage_min_v[1],
        "charge_max_degc": limits.temperature_max_charge_degc,
        "charge_min_degc": limits.temperature_min_charge_degc,
        "discharge_max_degc": limits.temperature_max_discharge_degc,
        "discharge_min_degc": limits.temperature_min_discharge_degc,
        "discharge_calm_a": limits.current_discharge_a[1] * parallel,
        "charge_calm_a": limits.current_charge_a[1] * parallel,
        "discharge_static_a": limits.current_discharge_a[0] * parallel,
        "charge_static_a": limits.current_charge_a[0] * parallel,
        "ramp_a_per_s": told["ramp_ma_per_s"][0] * 1e-3,
        "charge_voltage_v": limits.voltage_max_v[0] * blocks,
        "pressure_is_fitted": pressed,
        "pressure_min_kpa": cell.pressure.operate_min_kpa,
        "pressure_max_kpa": cell.pressure.operate_max_kpa,
        "bleeds_by_charge": int(told["balance_strategy"][0]) == BY_CHARGE,
        "readings_move": bool(told["frozen_frames"][0]),
    }


def _errors_and_bounds(cell: Cell, pack: Pack) -> dict[str, float]:
    limits, sensors, parallel = cell.limits, pack.sensors, pack.topology.parallel
    high_v = limits.voltage_max_v[2]
    volts = CODE_V + SIGMAS * (
        sensors.cell_voltage_offset_v
        + sensors.cell_voltage_noise_v
        + sensors.cell_voltage_gain_frac * high_v
    )
    kelvin = NTC_K + SIGMAS * (sensors.temperature_offset_k + sensors.temperature_noise_k)
    told = _configured(cell, pack)
    pack_v = pack.topology.blocks * high_v

    def amps(limit: float) -> float:
        gain = 1.0 + SIGMAS * sensors.current_gain_frac
        return limit * gain + SIGMAS * (sensors.current_offset_a + sensors.current_noise_a)

    ignored = spec.diagnosis("charge_limit_ignored").thresholds[2] * 1e-3
    return {
        "voltage_max_v": high_v + volts,
        "voltage_min_v": limits.voltage_min_v[2] - volts,
        "voltage_error_v": volts,
        "voltage_bleed_v": limits.voltage_min_v[0] - volts,
        "temperature_error_k": kelvin,
        "hot_degc": limits.temperature_max_discharge_degc[2] + kelvin,
        "hot_charge_degc": limits.temperature_max_charge_degc[2] + kelvin,
        "cold_charge_degc": limits.temperature_min_charge_degc[2] - kelvin,
        "discharge_a": amps(limits.current_discharge_a[2] * parallel),
        "charge_a": amps(limits.current_charge_a[2] * parallel),
        "current_error_a": SIGMAS * (sensors.current_offset_a + sensors.current_noise_a) + STEP_A,
        "current_gain_frac": SIGMAS * sensors.current_gain_frac,
        "bleed_max_degc": float(told["balance_max_cdegc"][0]) * 1e-2,
        "range_a": sensors.current_range_a,
        "comparator_a": sensors.comparator_a,
        "break_a": amps(pack.contactors.break_current_a),
        "ignored_a": amps(ignored),
        "pressure_error_kpa": 1.0
        + SIGMAS * (sensors.pressure_offset_kpa + sensors.pressure_noise_kpa),
        # Both voltages come from one instrument: 0.2 % of the pack voltage apart at most.
        "precharge_v": told["precharge_tolerance_mv"][0] * 1e-3 + 0.002 * pack_v + 0.5,
    }


def _budgets(cell: Cell, pack: Pack) -> dict[str, int]:
    """Milliseconds: deadlines of the diagnoses, and the travel of the contactors."""

    def deadline(*names: str) -> int:
        return max(spec.diagnosis(name).deadline_ms for name in names)

    made = pack.contactors
    told = _configured(cell, pack)
    feedback_ms = int(told["feedback_ms"][0])
    return {
        "travel_ms": round(made.open_ms + made.bounce_ms) + PERIOD_MS + 2,
        "fuse_ms": int(told["fuse_wait_ms"][0]),
        "interlock_ms": deadline("interlock_open"),
        "crash_ms": deadline("crash"),
        "unasked_ms": deadline("vcu_timeout") + OPEN_MS + 2 * feedback_ms,
        "overvoltage_ms": deadline("cell_overvoltage"),
        "undervoltage_ms": deadline("cell_undervoltage"),
        "hot_ms": deadline("temperature_high_discharge"),
        "hot_charge_ms": deadline("temperature_high_charge"),
        # A charger that does not obey is found a window later.
        "cold_charge_ms": deadline("temperature_low_charge")
        + 2 * deadline("charge_limit_ignored")
        + 1000,
        "current_ms": deadline("current_discharge_high", "current_charge_high"),
        # Contactors break a short only after two readings have shown how large it is: fuse.c.
        "comparator_ms": max(deadline("current_comparator"), LOOK_MS),
        "pressure_ms": deadline("pressure_low", "pressure_high"),
        "sensor_ms": deadline("current_unknown"),
        "silent_ms": deadline("afe_link"),
        "frozen_ms": deadline("afe_frozen"),
        "blank_ms": deadline("cell_voltage_unknown"),
        "insulation_ms": deadline("insulation_unknown"),
        "weld_ms": deadline("contactor_main_plus", "contactor_main_minus", "contactor_precharge")
        + feedback_ms,
        "precharge_ms": deadline("precharge_timeout") + 6 * feedback_ms + 2 * PERIOD_MS,
    }


def _states() -> dict[str, Any]:
    """Bits over the numbers that states have on the bus; a state unknown here may follow and be
    followed by any, but never closes."""
    number = {name: k for k, name in spec.choices("BmsState", "State").items()}

    def bits(names: tuple[str, ...]) -> int:
        return sum(1 << number[name] for name in set(names) & number.keys())

    strange = tuple(name for name in number if name not in _NEXT)
    table = np.zeros(32, np.uint32)
    for name, k in number.items():
        after = _NEXT.get(name, ("standby", "opening"))
        dead = name in _DEAD
        table[k] = bits((*after, *strange, *_ANYWHERE, name)) if not dead else bits((name,))
    closed = bits(("precharge", "normal_drive", "normal_charge"))
    dark = ("init", "selftest", "latched", "sleep", "asserted", "refused")
    return {
        "next_states": table,
        "closed_states": closed,
        "close_states": bits(("standby", "precharge")),
        "open_states": bits((*dark, "standby", "balancing")),
        "told_states": bits(("standby", "normal_drive", "normal_charge", "balancing")),
        "test_states": bits(("service",)),
    }


def _forbidding() -> dict[str, Any]:
    """Bits of BmsDiagnosis.Active, by page. A page does not tell the tier: what forbids at its
    highest tier only is left out. Little charge has a curve of its own."""
    bits = {name: np.zeros(2, np.uint64) for name in ("forbids", "forbids_charge", "lowers")}
    words = {"inhibit": "forbids", "inhibit_charge": "forbids_charge", "derate": "lowers"}
    for row in spec.diagnoses():
        is_clear = len(row.tiers) == 1 or row.reaction == "derate"
        if row.reaction in words and is_clear and row.name != "soc_low":
            page, bit = divmod(row.id, spec.DIAGNOSES_A_PAGE)
            bits[words[row.reaction]][page] |= np.uint64(1 << bit)
    return dict(bits)
