"""What the firmware is told: a cell and a pack as the bytes of `bms_config_t` (ext/firmware/bms.h).

    blob = build(bms.cells.load("sulfide_nmc811_77ah"), bms.packs.load("car_96s3p"))

Fields are found by name through the compiled module, so there is no second list of them. Tables
over temperature and pressure are computed with correctly rounded functions only: the bytes are the
same on every machine, and their CRC-32 (the last field) travels on CAN as the configuration's hash.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import numpy as np

from bms import _firmware
from bms.errors import ConfigError
from bms.firmware import leak, observer, refusals, tables
from bms.model import Cell, CriticalCurrent, Pack, Triplet
from bms.protocols.request import KEY_BYTES, TEST_KEY

Value = float | int | bool | Sequence[float] | Sequence[int] | np.ndarray
Values = dict[str, Value]

CONSTANTS: dict[str, int] = _firmware.config_constants()
LINE_DELAY_MS = 4  # turnaround, and a way through the rig of a millisecond or two each way
LINE_DELAY_MAX_MS = 100  # a scan of a large stack takes as long
PRECHARGE_MAX_MS = 1480  # a tick before the deadline of precharge_timeout in diagnoses.toml
BALANCING = ("voltage", "charge")  # balance_strategy
# Assumption: controller, transceivers and shunt sensor awake; basis chip and supervisors asleep.
_SUPPLY: Values = {
    "sleep_after_ms": 60_000,
    "wake_period_ms": 3_600_000,
    "supply_awake_ma": 150,
    "supply_asleep_ua": 150,
    "supply_budget_mah": 5000,
}
SETTLE_MS = 10  # after a contactor's travel and bounce
HEADROOM_K = 5.0
ASSEMBLY_FRAC = 0.01  # assumption: stacks are pressed to a force, not to a length
PAST_CHARGE_FRAC = 0.3  # where the charge has been while the fixture crept: anywhere
STACK_SIGMA_FRAC = 0.05  # assumption: stiffness of the fixture, breathing of the cells
_OVERVOLTAGE_MV = ((0x02, 2700, 3000), (0x12, 3500, 3800), (0x22, 4175, 4475))  # SLUSE81, OV_THRESH


def build(
    cell: Cell, pack: Pack, *, critical: str = "claimed", line_delay_ms: int = LINE_DELAY_MS,
    request_key: bytes = TEST_KEY, identities: Sequence[int] = (),
) -> bytes:  # fmt: skip
    """The configuration of our firmware for `cell` in `pack`; `critical` is claimed or literature,
    `line_delay_ms` what the way to the chips and back may take beside the bytes (1 to 100),
    `request_key` the 16 bytes that whoever asks to close must know (bms.protocols.request),
    `identities` of the chips from the bottom up (none: not compared).

    Raises ConfigError naming file, key, value and rule for what the firmware or its chips cannot
    do."""
    _check_topology(pack)
    law = cell.critical_current_claimed
    if critical == "literature":
        law = cell.critical_current_literature
    elif critical != "claimed":
        raise ConfigError("", "critical", critical, "claimed or literature")
    if not 1 <= line_delay_ms <= LINE_DELAY_MAX_MS:
        raise ConfigError("", "line_delay_ms", line_delay_ms, f"1 to {LINE_DELAY_MAX_MS} ms")
    if len(request_key) != KEY_BYTES:
        raise ConfigError("", "request_key", f"{len(request_key)} bytes", f"{KEY_BYTES} bytes")
    values: Values = {"line_delay_ms": line_delay_ms, "request_key": tuple(request_key)}
    values |= _topology(pack)
    values |= _chips(pack, identities)
    values |= _cell_limits(cell, pack)
    values |= _pack_limits(cell, pack)
    values |= _contactors(cell, pack)
    values |= _thermal(cell, pack)
    values |= _balancing(cell, pack)
    values |= _critical_currents(cell, pack, law)
    values |= {f"est.{name}": value for name, value in estimator(cell, pack).items()}
    values |= {f"obs.{name}": value for name, value in observer.values(cell, pack).items()}
    blob = _encode(values)
    refusals.check(blob, cell, pack)
    return blob


def fields() -> tuple[str, ...]:
    """Names of all fields, `est.` before those of the estimator, `obs.` of the thermal observer."""
    return tuple(row[0] for row in _firmware.config_fields())


def _encode(values: Values) -> bytes:
    """Every field by its name; one that is missing or unknown is a programming error."""
    values |= {key: CONSTANTS[key] for key in ("magic", "version", "size")}
    blob = bytearray(CONSTANTS["size"])
    rows = _firmware.config_fields()
    wrong = values.keys() ^ {row[0] for row in rows}
    if wrong:
        raise KeyError(f"configuration fields missing or unknown: {sorted(wrong)}")
    for name, _unit, _text, offset, count, dtype in rows:
        array = np.zeros(count, dtype=dtype)
        array[:] = np.asarray(values[name])
        blob[offset : offset + array.nbytes] = array.tobytes()
    end = CONSTANTS["crc_offset"]
    struct.pack_into("<I", blob, end, zlib.crc32(blob[:end]))
    return bytes(blob)


# ---- pack ----


def _check_topology(pack: Pack) -> None:
    made, file = pack.topology, pack.file
    if not 1 <= made.blocks <= CONSTANTS["blocks_max"]:
        expected = f"1 to {CONSTANTS['blocks_max']} blocks in series"
        raise ConfigError(file, "topology.blocks", made.blocks, expected)
    if not 6 <= made.blocks_per_module <= CONSTANTS["channels_max"]:
        expected = "6 to 16, the channels a BQ79616 can have"
        raise ConfigError(file, "topology.blocks_per_module", made.blocks_per_module, expected)
    if made.blocks % made.blocks_per_module:
        expected = f"a multiple of blocks_per_module ({made.blocks_per_module})"
        raise ConfigError(file, "topology.blocks", made.blocks, expected)
    if made.blocks // made.blocks_per_module > CONSTANTS["modules_max"]:
        expected = f"at most {CONSTANTS['modules_max']} modules"
        raise ConfigError(file, "topology.blocks", made.blocks, expected)
    if made.strings != 1:
        raise ConfigError(file, "topology.strings", made.strings, "1: one string for one firmware")


def _topology(pack: Pack) -> Values:
    made, places = pack.topology, pack.sensors.temperature_blocks
    most = CONSTANTS["thermistors_max"]
    inside = all(0 <= place < made.blocks_per_module for place in places)
    if not 1 <= len(places) <= most or not inside:
        expected = f"1 to {most} blocks, each within a module"
        raise ConfigError(pack.file, "sensors.temperature_blocks", places, expected)
    left, right, share = tables.neighbours(places, CONSTANTS["channels_max"])
    return {
        "blocks": made.blocks,
        "parallel": made.parallel,
        "blocks_per_module": made.blocks_per_module,
        "modules": made.blocks // made.blocks_per_module,
        "ring_is_wired": pack.chip_ring,
        "thermistors": len(places),
        "pressure_is_fitted": pack.sensors.pressure_per_module,
        "thermistor_left": left,
        "thermistor_right": right,
        "thermistor_share": share,
        "ntc_cdegc": tables.ntc_cdegc(CONSTANTS["ntc_steps"]),
        "pressure_full_scale_kpa": round(pack.sensors.pressure_full_scale_kpa),
    }


def _chips(pack: Pack, identities: Sequence[int]) -> Values:
    known = np.zeros(CONSTANTS["modules_max"], dtype=np.uint32)
    known[: len(identities)] = identities
    return {
        "chip_identity": known,
        "chip_overvoltage_code": overvoltage_code(pack.chip_overvoltage_v, pack.file),
        "chip_undervoltage_code": undervoltage_code(pack.chip_undervoltage_v, pack.file),
        "frozen_scans": tables.frozen_after(pack, 1),
        "frozen_frames": tables.frozen_after(pack, pack.topology.blocks_per_module),
    }


def overvoltage_code(volts: float, file: str = "") -> int:
    """OV_THRESH of the BQ79616: steps of 25 mV in three windows, with holes between."""
    mv = round(volts * 1000.0)
    for code, low, high in _OVERVOLTAGE_MV:
        if low <= mv <= high and (mv - low) % 25 == 0 and abs(volts * 1000.0 - mv) < 1e-6:
            return code + (mv - low) // 25
    expected = "a step of the BQ79616: 2.700-3.000, 3.500-3.800 or 4.175-4.475 V by 25 mV"
    raise ConfigError(file, "chip_overvoltage_v", volts, expected)


def undervoltage_code(volts: float, file: str = "") -> int:
    """UV_THRESH of the BQ79616: 1.2 to 3.1 V by 50 mV."""
    mv = round(volts * 1000.0)
    if 1200 <= mv <= 3100 and (mv - 1200) % 50 == 0 and abs(volts * 1000.0 - mv) < 1e-6:
        return (mv - 1200) // 50
    raise ConfigError(
        file, "chip_undervoltage_v", volts, "a step of the BQ79616: 1.2-3.1 V by 50 mV"
    )


# ---- limits ----


def _ordered(file: str, key: str, limit: Triplet, *, rising: bool) -> Triplet:
    operate, warn, trip = limit if rising else limit[::-1]
    if not operate <= warn <= trip:
        words = "rising" if rising else "falling"
        raise ConfigError(file, key, limit, f"operate, warn, trip {words}")
    return limit


def _scaled(limit: Triplet, factor: float) -> list[int]:
    return [round(value * factor) for value in limit]


def _cell_limits(cell: Cell, pack: Pack) -> Values:
    limits, parallel = cell.limits, pack.topology.parallel
    values: Values = {}
    for field, name, factor, rising in (
        ("voltage_max_uv", "voltage_max_v", 1e6, True),
        ("voltage_min_uv", "voltage_min_v", 1e6, False),
        ("charge_max_cdegc", "temperature_max_charge_degc", 100.0, True),
        ("charge_min_cdegc", "temperature_min_charge_degc", 100.0, False),
        ("discharge_max_cdegc", "temperature_max_discharge_degc", 100.0, True),
        ("discharge_min_cdegc", "temperature_min_discharge_degc", 100.0, False),
        ("charge_ma", "current_charge_a", 1e3 * parallel, True),
        ("discharge_ma", "current_discharge_a", 1e3 * parallel, True),
    ):
        limit = _ordered(cell.file, f"limits.{name}", getattr(limits, name), rising=rising)
        values[field] = _scaled(limit, factor)
    if not limits.voltage_min_v[0] < limits.voltage_max_v[0]:
        raise ConfigError(
            cell.file, "limits.voltage_min_v", limits.voltage_min_v, "operate below voltage_max_v"
        )
    low = _ordered(
        cell.file, "pressure.operate_min_kpa", cell.pressure.operate_min_kpa, rising=False
    )
    high = _ordered(
        cell.file, "pressure.operate_max_kpa", cell.pressure.operate_max_kpa, rising=True
    )
    values["pressure_min_kpa"], values["pressure_max_kpa"] = _scaled(low, 1.0), _scaled(high, 1.0)
    values["voltage_deep_uv"] = round(0.8e6 * limits.voltage_min_v[2])  # cell_deep_discharge
    values["capacity_uc"] = round(cell.electric.capacity_ah * parallel * 3.6e9)
    return values


def _pack_limits(cell: Cell, pack: Pack) -> Values:
    warn, trip, sensors = (
        pack.insulation_warn_ohm_per_v,
        pack.insulation_trip_ohm_per_v,
        pack.sensors,
    )
    if warn < trip:
        raise ConfigError(
            pack.file, "insulation_warn_ohm_per_v", warn, f"at least the trip: {trip}"
        )
    most = max(cell.limits.current_charge_a[2], cell.limits.current_discharge_a[2])
    if sensors.current_range_a <= most * pack.topology.parallel:
        expected = f"beyond the trip current of the pack: {most * pack.topology.parallel:g} A"
        raise ConfigError(pack.file, "sensors.current_range_a", sensors.current_range_a, expected)
    ramp_s = 2.0  # assumption: from nothing to the full discharge limit
    return {
        "insulation_ohm_per_v": [round(warn), round(warn), round(trip)],
        "rest_ma": _rest_ma(pack),
        "reading_error_uv": reading_error_uv(cell, pack),
        "thermistor_error_cdegc": round(200.0 * sensors.temperature_offset_k),
        "pressure_error_kpa": round(2.0 * sensors.pressure_offset_kpa),
        "current_range_ma": round(sensors.current_range_a * 1e3),
        "current_moves": sensors.current_noise_a >= 0.003,  # three steps of the sensor
        "pressure_moves": sensors.pressure_noise_kpa >= 1.0,  # a step of the firmware
        "current_offset_ma": max(100, round(5e3 * sensors.current_offset_a)),
        "heater_feedback_is_fitted": sensors.heater_feedback,
        "flow_switch_is_fitted": sensors.flow_switch,
        "gas_detector_is_fitted": sensors.gas_detector,
        "h2s_detector_is_fitted": sensors.h2s_detector,
        "ramp_ma_per_s": round(
            cell.limits.current_discharge_a[0] * pack.topology.parallel * 1e3 / ramp_s
        ),
    }


def _rest_ma(pack: Pack) -> int:
    """Current that may be read at rest: three standard deviations of the sensor, at least 1 A."""
    sensors = pack.sensors
    return max(1000, round(3e3 * (sensors.current_offset_a + sensors.current_noise_a)))


def reading_error_uv(cell: Cell, pack: Pack) -> int:
    """Most that a block voltage may be off at the upper limit: offset and gain, each at two
    standard deviations."""
    sensors = pack.sensors
    gain_v = sensors.cell_voltage_gain_frac * cell.limits.voltage_max_v[0]
    return max(1000, round(2e6 * (sensors.cell_voltage_offset_v + gain_v)))


def _contactors(cell: Cell, pack: Pack) -> Values:
    made = pack.contactors
    volts = pack.topology.blocks * cell.electric.ocv_v[-1]
    tau_ms = made.precharge_ohm * made.link_capacity_f * 1e3
    if 5.0 * tau_ms > 0.8 * PRECHARGE_MAX_MS:  # five time constants leave less than 1 %
        expected = f"5 R C within {0.8 * PRECHARGE_MAX_MS:g} ms, here {5.0 * tau_ms:.0f} ms"
        raise ConfigError(pack.file, "contactors.link_capacity_f", made.link_capacity_f, expected)
    charging_a = volts / made.precharge_ohm
    rest = _rest_ma(pack)
    discharge_ms = made.link_bleed_ohm * made.link_capacity_f * 1e3
    return _SUPPLY | {
        # The link loses 0.3 % in 0.3 % of its time constant; half of that is above both readings.
        "link_weld_ms": max(100, round(0.003 * discharge_ms)),
        "link_weld_mv": round(0.0015 * volts * 1e3),
        "precharge_ohm": made.precharge_ohm,
        "precharge_energy_j": made.precharge_energy_j,
        "path_ohm": made.cable_ohm + 2.0 * made.resistance_ohm,
        "break_current_ma": round(made.break_current_a * 1e3),
        "fuse_wait_ms": 500,  # assumption: a pyrotechnic fuse acts in milliseconds
        "feedback_ms": round(max(made.close_ms, made.open_ms) + made.bounce_ms) + SETTLE_MS,
        "precharge_min_ms": max(10, round(tau_ms)),
        "precharge_max_ms": PRECHARGE_MAX_MS,
        "precharge_tolerance_mv": round(0.01 * volts * 1e3),
        "precharge_done_ma": round(0.02 * charging_a * 1e3) + rest,
        "precharge_abort_ma": round(1.3 * charging_a * 1e3) + rest,
    }


# ---- heat, balancing, critical current ----


def _thermal(cell: Cell, pack: Pack) -> Values:
    """Heat to where charging is unrestricted, but not beyond the coolant's target; cool above
    it."""
    target, limits = pack.cooling.coolant_target_degc, cell.limits
    floor = max(limits.temperature_min_charge_degc[0], limits.temperature_min_discharge_degc[0])
    heat = min(target, floor + HEADROOM_K)
    return {
        "heater_is_fitted": pack.cooling.heater_w > 0.0,
        "heat_below_cdegc": round(heat * 100.0),
        "cool_above_cdegc": round((target + HEADROOM_K) * 100.0),
    }


def _balancing(cell: Cell, pack: Pack) -> Values:
    made, file = pack.balancing, pack.file
    if made.bleed_ohm <= 0.0:
        raise ConfigError(file, "balancing.bleed_ohm", made.bleed_ohm, "a positive resistance")
    if not 0.0 < made.stop_v < made.start_v:
        raise ConfigError(
            file, "balancing.stop_v", made.stop_v, f"between 0 and start_v ({made.start_v})"
        )
    soc, ocv = cell.electric.ocv_soc_frac, cell.electric.ocv_v
    at_20_pct, at_90_pct = np.interp(0.2, soc, ocv), np.interp(0.9, soc, ocv)
    slope_v = float(at_90_pct - at_20_pct) / 0.7
    limits = cell.limits
    hot = min(limits.temperature_max_charge_degc[0], limits.temperature_max_discharge_degc[0])
    return {
        "balance_strategy": BALANCING.index(made.strategy),
        # What the thresholds of voltage are on the mean slope, at least what the estimator tells.
        "balance_start_frac": max(0.005, min(0.05, made.start_v / slope_v)),
        "balance_stop_frac": max(0.002, min(0.02, made.stop_v / slope_v)),
        "balance_max_cdegc": round(hot * 100.0),
        "balance_start_uv": round(made.start_v * 1e6),
        "balance_stop_uv": round(made.stop_v * 1e6),
        "balance_min_uv": round(max(float(at_20_pct), limits.voltage_min_v[0] + 0.05) * 1e6),
        "bleed_ohm": made.bleed_ohm,
    }


def _critical_currents(cell: Cell, pack: Pack, law: CriticalCurrent) -> Values:
    amps = cell.geometry.electrode_area_cm2 * pack.topology.parallel * 1e-3
    factor = 1.0 / tables.arrhenius(law.activation_ev)
    maximum = pressure_max_kpa(cell)
    return {
        "plating_a": law.plating_ma_per_cm2 * amps * factor,
        "stripping_a": law.stripping_ma_per_cm2 * amps * factor,
        "critical_factor": tables.over_pressure(
            cell.pressure.reference_kpa, law.pressure_exponent, maximum
        ),
        "leak_spread_a": leak.spread_a(cell, pack),
    }


def pressure_max_kpa(cell: Cell) -> float:
    """End of the firmware's pressure grid."""
    return max(2.0 * cell.pressure.reference_kpa, cell.pressure.operate_max_kpa[2], 1.0)


# ---- estimator ----


def estimator(cell: Cell, pack: Pack) -> Values:
    """Parameters of estimator.h for one block of the pack, by field name."""
    made, electric, sensors = cell.resistance, cell.electric, pack.sensors
    parallel = pack.topology.parallel
    ocv, entropic = tables.ocv(electric)
    slope, curve = tables.straightened(ocv)
    maximum = pressure_max_kpa(cell)
    bias = (
        sensors.cell_voltage_offset_v**2 + (sensors.cell_voltage_gain_frac * ocv[-1]) ** 2
    ) ** 0.5
    spread = pack.spread.capacity_frac
    return {
        "ocv_v": ocv,
        "slope_v": slope,
        "curve_v": curve,
        "entropic_v_per_k": entropic,
        "electrolyte_ohm": made.electrolyte_ohm
        / parallel
        * tables.conductivity(made.electrolyte_temperature),
        "contact_ohm": made.contact_ohm / parallel * tables.arrhenius(made.contact_activation_ev),
        "transfer_ohm": made.charge_transfer_ohm
        / parallel
        * tables.arrhenius(made.charge_transfer_activation_ev),
        "diffusion_ohm": made.diffusion_ohm
        / parallel
        * tables.arrhenius(made.diffusion_activation_ev),
        "pressure_factor": tables.over_pressure(
            cell.pressure.reference_kpa, cell.pressure.exponent, maximum
        ),
        "pressure_max_kpa": maximum,
        "per_uc": 1.0 / (electric.capacity_ah * parallel * 3.6e9),
        "transfer_farad": made.charge_transfer_tau_s / made.charge_transfer_ohm * parallel,
        "diffusion_farad": made.diffusion_tau_s / made.diffusion_ohm * parallel,
        "hysteresis_v": electric.hysteresis_v,
        "hysteresis_soc_frac": electric.hysteresis_soc_frac,
        # The model itself is taken to be 2 mV off (assumption).
        "sigma_bias_v": (bias**2 + 0.002**2) ** 0.5,
        # Cell spread, contact lost, core warmer than the thermistor: 12 % (assumption).
        "sigma_resistance_frac": (pack.spread.resistance_frac**2 + 0.12**2) ** 0.5,
        "sigma_noise_v": max(sensors.cell_voltage_noise_v, 2e-4),
        "sigma_diffusion_v": 0.002,  # assumption
        "sigma_diffusion_frac": 0.3,  # assumption
        "sigma_current_a": max(sensors.current_offset_a, 0.02),
        # Capacity fades unseen: 1 % beside spread and gain (assumption).
        "sigma_charge_frac": (sensors.current_gain_frac**2 + spread**2 / parallel + 0.01**2) ** 0.5,
        "sigma_start_frac": 0.3,  # about uniform between empty and full
        **stack(cell, pack),
    }


def stack(cell: Cell, pack: Pack) -> Values:
    """What stack pressure says of charge (witness.h); `stack_kpa` 0 where it is not measured, or
    does not rise with charge."""
    breathing, fixture, sensors = cell.breathing, pack.fixture, pack.sensors
    um_per_ah = breathing.anode_um_per_ah + breathing.cathode_um_per_ah
    whole_kpa = fixture.stiffness_kpa_per_um * um_per_ah * cell.electric.capacity_ah
    measured = sensors.pressure_per_module and whole_kpa > 0.0
    parts_kpa = (
        sensors.pressure_offset_kpa,
        ASSEMBLY_FRAC * fixture.preload_kpa,
        PAST_CHARGE_FRAC * fixture.creep_frac * whole_kpa,
    )
    return {
        "stack_kpa": whole_kpa if measured else 0.0,
        "stack_half_kpa": fixture.preload_kpa,
        "stack_kpa_per_k": fixture.stiffness_kpa_per_um * breathing.thermal_um_per_k,
        "stack_creep_frac": fixture.creep_frac,
        "stack_creep_per_s": 1.0 / max(fixture.creep_tau_s, 1.0),
        "stack_noise_kpa": sensors.pressure_noise_kpa + 0.3,  # readings are whole kPa
        "sigma_stack_kpa": sum(part**2 for part in parts_kpa) ** 0.5,
        "sigma_stack_frac": STACK_SIGMA_FRAC,
    }
