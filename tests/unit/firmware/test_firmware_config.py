"""What the firmware is told: complete, the same bytes everywhere, and refused when it cannot be."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import msgspec
import numpy as np
import pytest

import bms.cells
import bms.packs
from bms import _firmware
from bms.errors import ConfigError
from bms.firmware import config, tables
from bms.model import Cell, Pack
from bms.plant import chips


def pair(name: str = "car_96s3p") -> tuple[Cell, Pack]:
    pack = bms.packs.load(name)
    return bms.cells.load(pack.cell), pack


def field(blob: bytes, name: str) -> np.ndarray:
    row = next(row for row in _firmware.config_fields() if row[0] == name)
    return np.frombuffer(blob, dtype=row[5], count=row[4], offset=row[3])


def changed(thing: Any, path: str, value: object) -> Any:
    head, _, rest = path.partition(".")
    inner = changed(getattr(thing, head), rest, value) if rest else value
    return msgspec.structs.replace(thing, **{head: inner})


@pytest.mark.parametrize("name", bms.packs.names())
def test_every_pack_of_the_library_is_accepted(name: str) -> None:
    cell, pack = pair(name)
    assert _firmware.Firmware(config.build(cell, pack)).code == 0


@pytest.mark.parametrize("name", bms.cells.names())
def test_every_cell_of_the_library_has_finite_rising_tables(name: str) -> None:
    cell = bms.cells.load(name)
    volts, entropic = tables.ocv(cell.electric)
    slope, curve = tables.straightened(volts)
    assert (np.diff(volts) > 0).all() and np.isfinite(entropic).all()
    assert (slope > 0).all() and (curve >= 0).all() and len(slope) == len(curve) == 603


def test_values_arrive_in_their_units() -> None:
    cell, pack = pair()
    blob = config.build(cell, pack)
    assert field(blob, "blocks")[0] == 96 and field(blob, "modules")[0] == 6
    assert field(blob, "voltage_max_uv").tolist() == [4_200_000, 4_250_000, 4_300_000]
    assert field(blob, "discharge_ma").tolist() == [924_000, 1_020_000, 1_155_000]
    assert field(blob, "capacity_uc")[0] == round(3 * 77.0 * 3.6e9)
    assert field(blob, "chip_overvoltage_code")[0] == chips.overvoltage_code(
        pack.chip_overvoltage_v
    )
    assert abs(field(blob, "est.per_uc")[0] * 3 * 77.0 * 3.6e9 - 1.0) < 1e-6


def test_the_thermistor_table_inverts_the_plants_divider() -> None:
    table = tables.ntc_cdegc(128)
    for degc in range(-40, 121, 5):
        at = chips.ntc_ratio(float(degc)) * 128
        k = min(int(at), 127)
        read = (table[k] + (at - k) * (table[k + 1] - table[k])) / 100.0
        assert abs(read - degc) < 0.35, degc


def test_tables_are_correct_at_the_points_the_cell_names() -> None:
    cell, _ = pair()
    grid = tables.temperatures_degc()
    assert abs(tables.arrhenius(0.36)[grid.index(25.0)] - 1.0) < 1e-12
    assert abs(tables.arrhenius(0.36)[grid.index(0.0)] - 3.6) < 0.05
    volts, _ = tables.ocv(cell.electric)
    for soc, value in zip(cell.electric.ocv_soc_frac, cell.electric.ocv_v, strict=True):
        assert abs(volts[round(soc * 200)] - value) < 1e-9


def test_the_last_bytes_are_the_checksum_of_the_rest() -> None:
    blob = config.build(*pair())
    end = config.CONSTANTS["crc_offset"]
    assert struct.unpack_from("<I", blob, end)[0] == zlib.crc32(blob[:end])


def test_the_two_sets_of_critical_currents_differ() -> None:
    claimed, literature = (
        field(config.build(*pair(), critical=c), "plating_a") for c in ("claimed", "literature")
    )
    assert (literature < claimed).all()


@pytest.mark.parametrize(
    ("path", "value", "key"),
    [
        ("topology.blocks", 401, "topology.blocks"),
        ("topology.blocks", 95, "topology.blocks"),
        ("topology.blocks_per_module", 5, "topology.blocks_per_module"),
        ("topology.strings", 2, "topology.strings"),
        ("chip_overvoltage_v", 4.0, "chip_overvoltage_v"),
        ("chip_overvoltage_v", 4.31, "chip_overvoltage_v"),
        ("chip_undervoltage_v", 2.42, "chip_undervoltage_v"),
        ("sensors.temperature_blocks", (0, 16), "sensors.temperature_blocks"),
        ("sensors.temperature_blocks", (), "sensors.temperature_blocks"),
        ("sensors.current_range_a", 1000.0, "sensors.current_range_a"),
        ("contactors.link_capacity_f", 0.02, "contactors.link_capacity_f"),
        ("insulation_warn_ohm_per_v", 50.0, "insulation_warn_ohm_per_v"),
        ("balancing.stop_v", 0.02, "balancing.stop_v"),
        ("balancing.bleed_ohm", 0.0, "balancing.bleed_ohm"),
    ],
)
def test_a_pack_that_cannot_be_is_refused_by_key(path: str, value: object, key: str) -> None:
    cell, pack = pair()
    with pytest.raises(ConfigError) as caught:
        config.build(cell, changed(pack, path, value))
    assert caught.value.key == key and caught.value.file == pack.file


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("limits.voltage_max_v", (4.2, 4.3, 4.25)),
        ("limits.voltage_min_v", (2.5, 2.7, 2.8)),
        ("limits.temperature_max_charge_degc", (55.0, 50.0, 65.0)),
        ("limits.current_discharge_a", (308.0, 300.0, 385.0)),
        ("pressure.operate_min_kpa", (500.0, 800.0, 1000.0)),
    ],
)
def test_limits_out_of_order_are_refused_by_key(path: str, value: object) -> None:
    cell, pack = pair()
    with pytest.raises(ConfigError) as caught:
        config.build(changed(cell, path, value), pack)
    assert caught.value.key == path


def test_the_firmware_refuses_what_is_wrong_by_itself() -> None:
    blob = bytearray(config.build(*pair()))

    def patched(name: str, value: object) -> bytes:
        row = next(row for row in _firmware.config_fields() if row[0] == name)
        copy = bytearray(blob)
        copy[row[3] : row[3] + np.dtype(row[5]).itemsize] = np.array(
            [value], dtype=row[5]
        ).tobytes()
        end = config.CONSTANTS["crc_offset"]
        struct.pack_into("<I", copy, end, zlib.crc32(copy[:end]))
        return bytes(copy)

    def code(data: bytes) -> int:
        return int(_firmware.Firmware(data).code)

    assert code(patched("blocks", 96)) == 0
    assert code(patched("magic", 1)) == 2 and code(patched("version", 99)) == 2
    assert code(patched("blocks", 500)) == 4 and code(patched("thermistors", 0)) == 4
    assert code(patched("voltage_max_uv", 5_000_000)) == 5
    assert code(patched("est.per_uc", float("nan"))) == 6 and code(patched("est.ocv_v", 4.0)) == 6
