"""From a fault and an index to the elements of fields it writes."""

from __future__ import annotations

from dataclasses import dataclass

from bms.errors import ConfigError
from bms.faults.model import Fault, Write
from bms.model import Cell, Pack

CHANNELS, THERMISTORS, REGISTERS = 16, 6, 512  # of ext/chips/chips.h
NVM_PAGES, PAGE = 256, 64  # of ext/firmware/ecu.h
MESSAGES = ("VcuRequest", "IvtResultI", "ImdInfo", "BmsState", "IvtResultU1", "IvtResultU2")
"""What the index of a fault on a message means."""

MESSAGE_FIELDS = {
    "VcuRequest": (0, 0x080), "IvtResultI": (1, 0x521), "ImdInfo": (1, 0x037),
    "BmsState": (0, 0x100), "IvtResultU1": (1, 0x522), "IvtResultU2": (1, 0x523),
}  # fmt: skip
"""Bus and identifier of each."""


@dataclass(frozen=True)
class Move:
    """A row of the table, but for its time: `count` elements from `first` on, `step` apart."""

    field: str
    op: str
    first: int
    count: int
    step: int
    value: float
    write: Write


def modules(pack: Pack) -> int:
    """Modules of a pack, one chip each."""
    return -(-pack.topology.blocks // pack.topology.blocks_per_module)


def count(fault: Fault, pack: Pack) -> int:
    """How many places the fault has in this pack: its index is below."""
    topology = pack.topology
    places = {
        "pack": 1, "cell": topology.blocks * topology.parallel, "block": topology.blocks,
        "module": modules(pack), "contactor": 3, "main": 2, "message": len(MESSAGES), "bit": 8,
        "sensor": modules(pack) * len(pack.sensors.temperature_blocks), "node": 3,
        "wire": topology.blocks + modules(pack), "page": NVM_PAGES, "byte": 1 << 31,
    }  # fmt: skip
    return places[fault.target]


def moves(
    fault: Fault, pack: Pack, cell: Cell, *, index: int = 0, value: float | None = None
) -> list[Move]:
    """What the fault writes in this pack. ConfigError for a value out of its range, an index beyond
    the pack, or a fault that does not act."""
    wanted = fault.value if value is None else float(value)
    if not fault.writes:
        raise ConfigError("fault", fault.id, "no action in the world", fault.left_to)
    if not fault.lowest <= wanted <= fault.highest:
        expected = f"{fault.lowest:g} to {fault.highest:g} {fault.unit}"
        raise ConfigError("fault", f"{fault.id}.value", wanted, expected)
    if not 0 <= index < count(fault, pack):
        expected = f"0 to {count(fault, pack) - 1}: a {fault.target} of {pack.name}"
        raise ConfigError("fault", f"{fault.id}.index", index, expected)
    return [_move(one, fault, pack, cell, index, wanted) for one in fault.writes]


def _move(write: Write, fault: Fault, pack: Pack, cell: Cell, index: int, value: float) -> Move:
    topology = pack.topology
    amount = (value if write.value is None else write.value) * write.times
    amount *= _quantity(write.of, pack, cell)
    first, number, step = write.at, 1, 1
    per = topology.blocks_per_module
    match write.place:
        case "index":
            first += index
        case "cells":
            first, number, step = first + index, topology.parallel, topology.blocks
        case "channel":
            first += index // per * CHANNELS + index % per
        case "channel_bit":
            first += index // per
            amount = float(1 << index % per)
        case "index_bit":
            amount = float(1 << index) * write.times
        case "index_value":
            first, amount = 0, float(index + write.at)
        case "between":
            first, amount = 0, float(1 + index % max(1, modules(pack) - 1))
        case "register":
            first += index * REGISTERS
        case "thermistor":
            each = len(pack.sensors.temperature_blocks)
            first += index // each * THERMISTORS + index % each
        case "sensor_cell":
            blocks = pack.sensors.temperature_blocks
            first += index // len(blocks) * per + blocks[index % len(blocks)]
        case "slots":
            first, number = first + index * CHANNELS, CHANNELS
        case "module_cells":
            first, number = first + index * per, min(per, topology.blocks - index * per)
        case "all":
            number = _all(write.field, pack)
        case _:
            pass
    if fault.target == "wire" and write.place == "channel_bit":
        first, amount = write.at + index // (per + 1), float(1 << index % (per + 1))
    if fault.target == "message":
        amount = _of_message(write, index, amount)
    return Move(write.field, write.op, first, number, step, amount, write)


def _of_message(write: Write, index: int, amount: float) -> float:
    """Bus and identifier of the message the index names, for the fields that ask for them."""
    bus, identifier = MESSAGE_FIELDS[MESSAGES[index]]
    name = write.field.partition(".")[2]
    if name in ("tamper_bus", "corrupt_bus"):
        return float(bus)
    return float(identifier) if name in ("tamper_id", "corrupt_id") else amount


def _all(field: str, pack: Pack) -> int:
    name = field.partition(".")[2]
    topology = pack.topology
    if name.startswith("cell_") and field.startswith("chips."):
        return modules(pack) * CHANNELS
    if name.startswith("cell_"):
        return topology.blocks * topology.parallel
    if name.startswith(("temperature_offset", "thermistor")):
        return modules(pack) * THERMISTORS
    return topology.blocks if name.startswith("block_") else modules(pack)


def _quantity(of: str, pack: Pack, cell: Cell) -> float:
    """What a value is a multiple of."""
    limits, strings = cell.limits, pack.topology.parallel
    highest_v = pack.topology.blocks * limits.voltage_max_v[2]
    quantities = {
        "one": 1.0,
        "discharge_trip_a": limits.current_discharge_a[2] * strings,
        "charge_trip_a": limits.current_charge_a[2] * strings,
        "pack_trip_v": highest_v,
        "pressure_trip_kpa": cell.pressure.operate_max_kpa[2],
        "insulation_trip_kohm": pack.insulation_trip_ohm_per_v * highest_v * 1e-3,
    }
    return quantities[of]
