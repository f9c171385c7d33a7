"""The messages with which storage batteries talk to inverters: CAN 351, 355, 356 and their company.

Pylontech's low-voltage set and what Victron and SMA made of it; 11-bit identifiers, little-endian,
500 kbit/s (250 on some), each message once a second. A solid-state storage battery on the market
speaks it. Current on this wire: positive charges.

351 limits: u16 charge voltage 0.1 V, s16 charge and discharge current 0.1 A, u16 discharge voltage
355 u16 SoC, u16 SoH 1 %, u16 SoC 0.01 % (the oldest devices end before it)
356 s16 voltage 0.01 V, s16 current 0.1 A, s16 temperature 0.1 degC
359 two bytes alarms, two bytes warnings, number of modules, two letters of the maker
35A four bytes alarms, four bytes warnings, in pairs of bits
35C what the battery asks for      35E, 370, 371, 374 to 377 text of eight bytes
35F type, version, capacity in Ah, serial number            372 counts of modules
373 u16 lowest, highest cell mV, u16 lowest, highest temperature K
378 u32 energy in and out, 0.1 kWh    379 u16 rated Ah      305 eight bytes from the inverter

A dialect says which of them are sent. Pairs of 35A are told two ways: documents say 10 is active,
devices in the field say 01; so that is a setting, and the field is the default.
"""

from __future__ import annotations

import math
import struct
from typing import Final

import msgspec

from bms.protocols import CanFrame, Malformed, Vector
from bms.protocols.packview import PackView, clipped

MEDIUM: Final = "can"
CURRENT_SIGN: Final = -1
PERIOD_S: Final = 1.0
SHORT_FORMS: Final = frozenset({(0x355, 4), (0x35C, 1)})
"""Identifier and length of messages that are whole although longer ones exist."""


class Limits(msgspec.Struct, frozen=True, tag=True):
    """351, in tenths of V and A; magnitudes."""

    charge_voltage_dv: int
    charge_current_da: int
    discharge_current_da: int
    discharge_voltage_dv: int


class Charge(msgspec.Struct, frozen=True, tag=True):
    """355. fine_soc_cpct: hundredths of a percent, None from old devices."""

    soc_pct: int
    soh_pct: int
    fine_soc_cpct: int | None = None


class Measured(msgspec.Struct, frozen=True, tag=True):
    """356. current_da: tenths of an ampere, positive discharges."""

    voltage_cv: int
    current_da: int
    temperature_ddegc: int


class Protections(msgspec.Struct, frozen=True, tag=True):
    """359: bits as in `PROTECTION_BITS`."""

    alarms: int
    warnings: int
    modules: int
    maker: bytes = b"PN"


class Pairs(msgspec.Struct, frozen=True, tag=True):
    """35A as it is on the wire; `pairs_of` and `pairs_bytes` know the meaning."""

    alarms: bytes
    warnings: bytes


class Wishes(msgspec.Struct, frozen=True, tag=True):
    """35C: bits 7 charge enable, 6 discharge enable, 5 and 4 charge at once, 3 full charge."""

    flags: int
    second: int | None = 0


class Text(msgspec.Struct, frozen=True, tag=True):
    """Eight characters under one of `TEXT_IDS`."""

    can_id: int
    text: bytes


class Words(msgspec.Struct, frozen=True, tag=True):
    """Four 16-bit numbers: 35F identity, 372 counts of modules, 373 extremes of the cells."""

    can_id: int
    words: tuple[int, int, int, int]


class Energy(msgspec.Struct, frozen=True, tag=True):
    """378, in 0.1 kWh."""

    charged: int
    discharged: int


class Installed(msgspec.Struct, frozen=True, tag=True):
    """379: rated capacity in Ah."""

    capacity_ah: int


class KeepAlive(msgspec.Struct, frozen=True, tag=True):
    """305: the inverter is there."""

    data: bytes


Message = (
    Limits
    | Charge
    | Measured
    | Protections
    | Pairs
    | Wishes
    | Text
    | Words
    | Energy
    | Installed
    | KeepAlive
)
TEXT_IDS: Final = (0x35E, 0x370, 0x371, 0x374, 0x375, 0x376, 0x377, 0x380, 0x381, 0x382)
WORD_IDS: Final = (0x35F, 0x372, 0x373)
LENGTHS: Final[dict[int, tuple[int, ...]]] = dict.fromkeys(TEXT_IDS + WORD_IDS, (8,)) | {
    0x351: (8,),
    0x355: (4, 6),
    0x356: (6,),
    0x359: (7,),
    0x35A: (8,),
    0x35C: (1, 2),
    0x378: (8,),
    0x379: (2,),
    0x305: (8,),
}


def decode(wire: CanFrame) -> Message | Malformed:
    """One frame. Malformed: "identifier" or "length"."""
    if wire.extended or wire.can_id not in LENGTHS:
        return Malformed("identifier")
    can_id, data = wire.can_id, wire.data
    if len(data) not in LENGTHS[can_id]:
        return Malformed("length")
    if can_id in TEXT_IDS:
        return Text(can_id, data)
    if can_id in WORD_IDS:
        return Words(can_id, struct.unpack("<4H", data))
    match can_id:
        case 0x351:
            return Limits(*struct.unpack("<HhhH", data))
        case 0x355:
            return Charge(*struct.unpack("<2H" if len(data) == 4 else "<3H", data))
        case 0x356:
            volts, amperes, degrees = struct.unpack("<hhh", data)
            return Measured(volts, CURRENT_SIGN * amperes, degrees)
        case 0x359:
            return Protections(*struct.unpack("<HHB2s", data))
        case 0x35A:
            return Pairs(data[:4], data[4:])
        case 0x35C:
            return Wishes(data[0], data[1] if len(data) == 2 else None)
        case 0x378:
            return Energy(*struct.unpack("<2I", data))
        case 0x379:
            return Installed(*struct.unpack("<H", data))
        case _:
            return KeepAlive(data)


def encode(message: Message) -> CanFrame:
    """The frame of a message. Raises struct.error for values no frame can carry."""
    match message:
        case Limits(up_v, up_a, down_a, down_v):
            return CanFrame(0x351, struct.pack("<HhhH", up_v, up_a, down_a, down_v))
        case Charge(soc, soh, None):
            return CanFrame(0x355, struct.pack("<2H", soc, soh))
        case Charge(soc, soh, fine):
            return CanFrame(0x355, struct.pack("<3H", soc, soh, fine))
        case Measured(volts, amperes, degrees):
            return CanFrame(0x356, struct.pack("<hhh", volts, CURRENT_SIGN * amperes, degrees))
        case Protections(alarms, warnings, modules, maker):
            return CanFrame(0x359, struct.pack("<HHB2s", alarms, warnings, modules, maker))
        case Pairs(alarm_pairs, warning_pairs):
            return CanFrame(0x35A, alarm_pairs + warning_pairs)
        case Wishes(flags, second):
            return CanFrame(0x35C, bytes((flags,) if second is None else (flags, second)))
        case Text(can_id, text):
            return CanFrame(can_id, struct.pack("8s", text))
        case Words(can_id, words):
            return CanFrame(can_id, struct.pack("<4H", *words))
        case Energy(charged, discharged):
            return CanFrame(0x378, struct.pack("<2I", charged, discharged))
        case Installed(capacity_ah):
            return CanFrame(0x379, struct.pack("<H", capacity_ah))
        case KeepAlive(data):
            return CanFrame(0x305, struct.pack("8s", data))


PROTECTION_BITS: Final = {
    1: ("cell_overvoltage", "pack_overvoltage"),
    2: ("cell_undervoltage", "cell_deep_discharge"),
    3: ("temperature_high_charge", "temperature_high_discharge", "thermal_runaway"),
    4: ("temperature_low_charge", "temperature_low_discharge"),
    7: ("current_discharge_high",),
    8: ("current_charge_high",),
    11: ("cell_voltage_unknown", "current_unknown", "afe_link", "assertion", "current_comparator"),
}
"""Bit of the alarm word of 359 -> diagnoses that set it."""

PAIR_NAMES: Final = {
    1: ("cell_overvoltage", "pack_overvoltage"),
    2: ("cell_undervoltage", "cell_deep_discharge"),
    3: ("temperature_high_discharge", "thermal_runaway"),
    4: ("temperature_low_discharge",),
    5: ("temperature_high_charge",),
    6: ("temperature_low_charge",),
    7: ("current_discharge_high",),
    8: ("current_charge_high",),
    9: ("contactor_main_plus", "contactor_main_minus", "contactor_precharge"),
    10: ("current_comparator",),
    11: ("cell_voltage_unknown", "current_unknown", "afe_link", "assertion"),
    12: ("cell_imbalance",),
}
"""Pair of 35A -> diagnoses that set it; pair 0 is the general alarm, set by any."""


def pairs_bytes(active: set[int], supported: set[int], active_pair: int = 1) -> bytes:
    """Four bytes of 16 pairs. active_pair: 1 as devices do (2 then says ok), 2 as documents say."""
    word = sum((active_pair if k in active else 3 - active_pair) << 2 * k for k in supported)
    return word.to_bytes(4, "little")


def pairs_of(data: bytes, active_pair: int = 1) -> set[int]:
    """Pairs that are active in four bytes of 35A."""
    word = int.from_bytes(data, "little")
    return {k for k in range(16) if word >> 2 * k & 3 == active_pair}


class Dialect(msgspec.Struct, frozen=True):
    """What is sent, in order, and how."""

    messages: tuple[int, ...]
    maker: bytes
    has_fine_soc: bool = True
    active_pair: int = 1


DIALECTS: Final = {
    "pylontech": Dialect((0x359, 0x351, 0x355, 0x356, 0x35C, 0x35E), b"PYLON   ", False),
    "victron": Dialect(
        (0x351, 0x355, 0x356, 0x35A, 0x35E, 0x35F, *range(0x370, 0x37A)),
        b"SOLIDBMS",
    ),
    "sma": Dialect((0x351, 0x355, 0x356, 0x35A, 0x35C, 0x35E, 0x35F), b"SOLIDBMS"),
}


def fits(view: PackView) -> str | None:
    """Why this pack cannot be told in these messages; None if it can."""
    if view.voltage_v is not None and view.voltage_v > 327.67:
        return f"the voltage field ends at 327.67 V and the pack has {view.voltage_v:.0f} V"
    return None


def frames(view: PackView, now_s: float, dialect: Dialect) -> list[CanFrame]:
    """What the battery sends each second; nothing when the view is stale or incomplete."""
    if view.is_stale(now_s) or fits(view) is not None:
        return []
    made = (_message(can_id, view, dialect) for can_id in dialect.messages)
    return [encode(message) for message in made if message is not None]


def _message(can_id: int, view: PackView, dialect: Dialect) -> Message | None:
    if can_id in TEXT_IDS:
        return _text(can_id, view, dialect)
    match can_id:
        case 0x351:
            return _limits(view)
        case 0x355:
            return _charge(view, dialect)
        case 0x356:
            return _measured(view)
        case 0x359:
            alarms = sum(1 << b for b, names in PROTECTION_BITS.items() if view.alarmed(*names))
            warned = sum(1 << b for b, names in PROTECTION_BITS.items() if view.warned(*names))
            return Protections(alarms, warned & ~alarms, _modules(view))
        case 0x35A:
            return _pairs(view, dialect)
        case 0x35C:
            enables = (view.charge_limit_a > 0) << 7 | (view.discharge_limit_a > 0) << 6
            return Wishes(enables if view.is_closed else 0)
        case 0x35F:
            return Words(can_id, (0, 1, clipped(view.capacity_rated_ah or 0.0, 0, 65535), 0))
        case 0x372:
            blocked = 0 if view.is_closed else _modules(view)
            return Words(can_id, (_modules(view) - blocked, blocked, blocked, 0))
        case 0x373:
            return _extremes(view)
        case 0x378:
            return _energy(view)
        case _:
            capacity = view.capacity_rated_ah
            return None if capacity is None else Installed(clipped(capacity, 0, 65535))


def _modules(view: PackView) -> int:
    return int(view.number("BmsRatings", "ModuleCount") or 1)


def _limits(view: PackView) -> Limits | None:
    up, down = view.charge_voltage_limit_v, view.discharge_voltage_limit_v
    if not up or not down:  # inverters take a voltage limit of zero at its word
        return None
    # A limit is never passed by a rounding: upper ones are cut, the lower one is raised.
    return Limits(
        min(65535, int(up * 10 + 1e-6)),
        min(32767, int(view.charge_limit_a * 10 + 1e-6)),
        min(32767, int(view.discharge_limit_a * 10 + 1e-6)),
        min(65535, math.ceil(down * 10 - 1e-6)),
    )


def _charge(view: PackView, dialect: Dialect) -> Charge | None:
    soc, soh = view.soc_frac, view.soh_frac
    if soc is None:
        return None
    fine = clipped(soc * 1e4, 0, 10000) if dialect.has_fine_soc else None
    return Charge(int(soc * 100), 100 if soh is None else clipped(soh * 100, 0, 100), fine)


def _measured(view: PackView) -> Measured | None:
    volts, amperes, degrees = view.voltage_v, view.current_a, view.temperatures_degc()
    if volts is None or amperes is None or not degrees:
        return None
    return Measured(
        clipped(volts * 100, 0, 32767),
        clipped(amperes * 10, -32767, 32767),
        clipped(sum(degrees) / len(degrees) * 10, -2731, 32767),
    )


def _pairs(view: PackView, dialect: Dialect) -> Pairs:
    alarms = {k for k, names in PAIR_NAMES.items() if view.alarmed(*names)}
    warnings = {k for k, names in PAIR_NAMES.items() if view.warned(*names)} - alarms
    supported = set(PAIR_NAMES) | {0}
    return Pairs(
        pairs_bytes(alarms | ({0} if alarms else set()), supported, dialect.active_pair),
        pairs_bytes(warnings | ({0} if warnings else set()), supported, dialect.active_pair),
    )


def _extremes(view: PackView) -> Words | None:
    volts = [v for v in view.cell_voltages_v() if v is not None]
    degrees = view.temperatures_degc()
    if not volts or not degrees:
        return None
    low, high = (clipped(v * 1000, 0, 65535) for v in (min(volts), max(volts)))
    cold, warm = (clipped(t + 273.15, 0, 65535) for t in (min(degrees), max(degrees)))
    return Words(0x373, (low, high, cold, warm))


def _energy(view: PackView) -> Energy | None:
    out_ah, in_ah = view.number("BmsEnergy", "ChargeOut"), view.number("BmsEnergy", "ChargeIn")
    if out_ah is None or in_ah is None or view.voltage_v is None:
        return None
    tenth_kwh = view.voltage_v / 100.0  # the BMS counts charge; energy at the present voltage
    return Energy(round(in_ah * tenth_kwh), round(out_ah * tenth_kwh))


def _text(can_id: int, view: PackView, dialect: Dialect) -> Text | None:
    if can_id == 0x35E:
        return Text(can_id, dialect.maker)
    if can_id in _NAME:
        return Text(can_id, _NAME[can_id])
    place = view.number(*_PLACES[can_id])
    return None if place is None else Text(can_id, b"%-8d" % (int(place) + 1))


_NAME: Final = {0x370: b"SOLID-BM", 0x371: b"S PACK  "}
_PLACES: Final = {
    0x374: ("BmsCellVoltageExtremes", "CellVoltageMinIndex"),
    0x375: ("BmsCellVoltageExtremes", "CellVoltageMaxIndex"),
    0x376: ("BmsTemperatures", "TemperatureMinIndex"),
    0x377: ("BmsTemperatures", "TemperatureMaxIndex"),
}

_SEEN = "frame published by users of such batteries, worked through by hand"
VECTORS: Final = (
    Vector(CanFrame(0x351, bytes.fromhex("1402C012C012C201")), Limits(532, 4800, 4800, 450), _SEEN),
    Vector(CanFrame(0x355, bytes.fromhex("58005E00")), Charge(88, 94), _SEEN),
    Vector(CanFrame(0x355, bytes.fromhex("58005E006022")), Charge(88, 94, 8800), "the layout"),
    Vector(CanFrame(0x356, bytes.fromhex("7A13F2FE6B01")), Measured(4986, 270, 363), _SEEN),
    Vector(CanFrame(0x359, bytes.fromhex("0000000006504E")), Protections(0, 0, 6), _SEEN),
    Vector(CanFrame(0x35C, bytes.fromhex("C000")), Wishes(0xC0), _SEEN),
    Vector(
        CanFrame(0x373, bytes.fromhex("D00CF00C26012D01")),
        Words(0x373, (3280, 3312, 294, 301)),
        _SEEN,
    ),
    Vector(CanFrame(0x35E, b"PYLON   "), Text(0x35E, b"PYLON   "), _SEEN),
    Vector(
        CanFrame(0x35A, bytes.fromhex("0000000000000000")),
        Pairs(b"\0" * 4, b"\0" * 4),
        "the layout",
    ),
)
