"""Parameters of the monitor chips and sensors, and the errors each of them is born with.

Errors come from named streams of the seed, so a new draw in one place never moves another. What a
thermistor pin reads is a table over temperature: a 10 kohm NTC of B = 3435 K from pin to ground
under a 10 kohm pull-up to TSREF (assumption: a common automotive part), R(T) = 10 kohm exp(B (1/T -
1/298.15 K)), ratio = R / (R + 10 kohm).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bms.errors import ConfigError
from bms.model import Cell, Pack
from bms.rng import Stream, exact_exp, stream_key

CHIPS_MAX, CHANNELS, THERMISTORS = 32, 16, 6
NTC_MIN_DEGC, NTC_POINTS = -60, 311
NTC_OHM, NTC_B_K, PULL_UP_OHM = 10_000.0, 3435.0, 10_000.0
TSREF_V = 5.0

# (first code, lowest, highest in mV); TI SLUSE81, OV_THRESH
_OVERVOLTAGE_MV = ((0x02, 2700, 3000), (0x12, 3500, 3800), (0x22, 4175, 4475))

Fields = Mapping[str, np.ndarray]


def overvoltage_code(volts: float, *, file: str = "", key: str = "chip_overvoltage_v") -> int:
    """OV_THRESH for a comparator threshold. Raises ConfigError when the chip has no such step.

    >>> hex(overvoltage_code(4.25))
    '0x25'
    """
    mv = _millivolts(volts)
    for code, low, high in _OVERVOLTAGE_MV:
        if mv is not None and low <= mv <= high and (mv - low) % 25 == 0:
            return code + (mv - low) // 25
    expected = "a step of the BQ79616: 2.700-3.000, 3.500-3.800 or 4.175-4.475 V by 25 mV"
    raise ConfigError(file, key, volts, expected)


def undervoltage_code(volts: float, *, file: str = "", key: str = "chip_undervoltage_v") -> int:
    """UV_THRESH for a comparator threshold. Raises ConfigError when the chip has no such step.

    >>> undervoltage_code(2.5)
    26
    """
    mv = _millivolts(volts)
    if mv is not None and 1200 <= mv <= 3100 and (mv - 1200) % 50 == 0:
        return (mv - 1200) // 50
    raise ConfigError(file, key, volts, "a step of the BQ79616: 1.2-3.1 V by 50 mV")


def _millivolts(volts: float) -> int | None:
    """Whole millivolts, or None where it is no number or not on a millivolt."""
    if not 0.0 <= volts < 10.0 or abs(volts * 1000.0 - round(volts * 1000.0)) > 1e-6:
        return None
    return round(volts * 1000.0)


def ntc_ratio(degc: float) -> float:
    """Pin voltage over TSREF of a thermistor at `degc`."""
    ohm = NTC_OHM * exact_exp(NTC_B_K * (1.0 / (degc + 273.15) - 1.0 / 298.15))
    return ohm / (ohm + PULL_UP_OHM)


def fill(chips: Fields, ivt: Fields, imd: Fields, cell: Cell, pack: Pack, *, seed: int) -> None:
    """Writes every parameter of chips_t, ivt_t and imd_t.

    State is left to chips_init, ivt_init and imd_init.

    `chips`, `ivt` and `imd` map field names to arrays over the structs. Raises ConfigError for a
    pack the chips cannot read: more than 32 modules, more than 16 blocks in one, thermistors beyond
    a module, or comparator thresholds the chip lacks.
    """
    _check(pack)
    _fill_stack(chips, pack)
    _fill_cell_errors(chips, pack, seed)
    _fill_pins(chips, cell, pack, seed)
    _fill_ivt(ivt, pack, seed)
    _fill_imd(imd, pack, seed)


def identities(pack: Pack) -> list[int]:
    """Die identities of the pack's chips from the bottom up: the pack's own, whatever the seed."""
    serial = Stream(0, f"chip.serial.{pack.name}")
    return [1 + serial.below(2**32 - 1) for _ in range(chip_count(pack))]


def chip_count(pack: Pack) -> int:
    """Modules, one chip each."""
    return -(-pack.topology.blocks // pack.topology.blocks_per_module)


def _check(pack: Pack) -> None:
    topology = pack.topology
    if not 1 <= topology.blocks_per_module <= CHANNELS:
        key, value = "topology.blocks_per_module", topology.blocks_per_module
        raise ConfigError(pack.file, key, value, "1 to 16 blocks for each monitor chip")
    if chip_count(pack) > CHIPS_MAX:
        key = "topology.blocks"
        raise ConfigError(pack.file, key, topology.blocks, f"at most {CHIPS_MAX} modules")
    blocks = pack.sensors.temperature_blocks
    if len(blocks) > THERMISTORS or any(
        not 0 <= block < topology.blocks_per_module for block in blocks
    ):
        key = "sensors.temperature_blocks"
        raise ConfigError(pack.file, key, blocks, "at most 6 blocks, each within a module")
    overvoltage_code(pack.chip_overvoltage_v, file=pack.file)
    undervoltage_code(pack.chip_undervoltage_v, file=pack.file)


def _fill_stack(chips: Fields, pack: Pack) -> None:
    values: dict[str, float | bool] = {
        "chip_count": chip_count(pack),
        "block_count": pack.topology.blocks,
        "blocks_per_module": pack.topology.blocks_per_module,
        "ring_is_closed": pack.chip_ring,
        "wake_settle_us": 10_000,  # SLUSE81: up to 10 ms
        "wake_forward_us": 1_600,  # SLUSE81: 1.6 ms a device
        "turnaround_us": 5,  # assumption
        "hop_us": 4,  # SLUSE81: about 4 us a device
        "bleed_ohm": pack.balancing.bleed_ohm,
        "sense_wire_ohm": 0.1,  # assumption: 1 m of 0.35 mm2 copper, a connector and a fuse
        "pressure_is_fitted": pack.sensors.pressure_per_module,
        "pressure_noise_kpa": pack.sensors.pressure_noise_kpa,
        "pressure_full_scale_kpa": pack.sensors.pressure_full_scale_kpa,
        "temperature_noise_k": pack.sensors.temperature_noise_k,
    }
    for name, value in values.items():
        chips[name][0] = value


def _fill_cell_errors(chips: Fields, pack: Pack, seed: int) -> None:
    n, sensors = chip_count(pack) * CHANNELS, pack.sensors
    gains, offsets = Stream(seed, "chip.gain"), Stream(seed, "chip.offset")
    chips["cell_gain_frac"][:n] = sensors.cell_voltage_gain_frac * gains.normals(n)
    chips["cell_offset_v"][:n] = sensors.cell_voltage_offset_v * offsets.normals(n)
    chips["cell_noise_v"][:n] = sensors.cell_voltage_noise_v
    chips["noise_key"][0] = stream_key(seed, "chip.noise")


def _fill_pins(chips: Fields, cell: Cell, pack: Pack, seed: int) -> None:
    n, topology, sensors = chip_count(pack), pack.topology, pack.sensors
    blocks = chips["thermistor_block"].reshape(CHIPS_MAX, THERMISTORS)
    blocks[:] = -1
    for chip in range(n):
        for pin, block in enumerate(sensors.temperature_blocks):
            index = chip * topology.blocks_per_module + block
            if index < topology.blocks:
                blocks[chip, pin] = index
    temperature = Stream(seed, "chip.temperature").normals(n * THERMISTORS)
    chips["temperature_offset_k"][: n * THERMISTORS] = sensors.temperature_offset_k * temperature
    pressure = Stream(seed, "chip.pressure").normals(n)
    chips["pressure_offset_kpa"][:n] = sensors.pressure_offset_kpa * pressure
    # assumption: the reference of each chip is off by 0.1 %; the readings are ratios, so it cancels
    chips["tsref_v"][:] = TSREF_V
    chips["tsref_v"][:n] += 0.005 * Stream(seed, "chip.tsref").normals(n)
    chips["serial"][:n] = identities(pack)
    chips["ntc_ratio"][:] = [ntc_ratio(NTC_MIN_DEGC + k) for k in range(NTC_POINTS)]


def _fill_ivt(ivt: Fields, pack: Pack, seed: int) -> None:
    sensors = pack.sensors
    ivt["current_offset_a"][0] = sensors.current_offset_a * Stream(seed, "ivt.offset").normal()
    ivt["current_gain_frac"][0] = sensors.current_gain_frac * Stream(seed, "ivt.gain").normal()
    ivt["current_noise_a"][0] = sensors.current_noise_a
    ivt["current_range_a"][0] = sensors.current_range_a
    # assumption: 0.05 % gain and 20 mV noise at 1000 V range, of the order of such sensors
    ivt["voltage_gain_frac"][0] = 0.0005 * Stream(seed, "ivt.voltage").normal()
    ivt["voltage_noise_v"][0] = 0.02
    ivt["voltage_range_v"][0] = 2000.0 if pack.topology.blocks > 220 else 1000.0
    ivt["temperature_degc"][0] = 25.0
    ivt["noise_key"][0] = stream_key(seed, "ivt.noise")
    ivt["serial"][0] = Stream(seed, "ivt.serial").below(2**32)


def _fill_imd(imd: Fields, pack: Pack, seed: int) -> None:
    error = Stream(seed, "imd.error").normal()
    imd["error_frac"][0] = pack.sensors.insulation_error_frac * error
    imd["period_ms"][0], imd["start_ms"][0] = 1000, 5000
    imd["serial"][0] = Stream(seed, "imd.serial").below(2**32)
