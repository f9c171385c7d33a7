"""Daly serial BMS: 9600 8N1, frames of 13 bytes, A5 address command 08 data sum.

The host asks as 40 (80 over Bluetooth), the BMS answers as 01, eight bytes of data either way. The
sum is of all bytes before it. Numbers are big-endian. Current on this wire: 30000 is zero, and
larger discharges, as inside.

90 voltage 0.1 V, gathered voltage, current 0.1 A + 30000, SoC 0.1 %
91 highest mV, its cell, lowest mV, its cell        92 the same of temperatures, degC + 40
93 state (0 rest, 1 charge, 2 discharge), charge and discharge switch, life, u32 mAh left
94 cells, thermistors, charger, load, inputs, u16 cycles
95 number of the frame from 1, three cells in mV     96 number, seven temperatures + 40
97 a bit a cell: bled                                98 eight bytes of faults
50 u32 rated mAh, u32 nominal cell mV

Commands that switch or set something (D9, DA, 21, 00) get no answer: only the BMS decides over its
contactors.
"""

from __future__ import annotations

import struct
from typing import Final

import msgspec

from bms.protocols import Malformed, Vector
from bms.protocols.packview import PackView, clipped

MEDIUM: Final = "serial"
CURRENT_SIGN: Final = 1
BAUD: Final = 9600
START, SIZE = 0xA5, 13
HOSTS: Final = (0x40, 0x80)
BMS: Final = 0x01
ZERO_CURRENT, ZERO_DEGC = 30000, 40


class Frame(msgspec.Struct, frozen=True, tag=True):
    """Any frame: who sends it, what it is about, eight bytes."""

    address: int
    command: int
    data: bytes = b"\0" * 8

    @property
    def is_request(self) -> bool:
        """Whether a host sends it."""
        return self.address in HOSTS


class Summary(msgspec.Struct, frozen=True, tag=True):
    """90. current_da: tenths of an ampere, positive discharges."""

    voltage_dv: int
    gathered_dv: int
    current_da: int
    soc_permille: int


class Cells(msgspec.Struct, frozen=True, tag=True):
    """95: three cells. spare: the last byte."""

    number: int
    voltages_mv: tuple[int, int, int]
    spare: int = 0


Message = Frame | Summary | Cells
_SUMMARY: Final = struct.Struct(">HHHH")
_CELLS: Final = struct.Struct(">BHHHB")


def frame_size(data: bytes | bytearray) -> int:
    """Bytes of the frame that starts here: 0 not known yet, -1 no frame starts here."""
    if not data:
        return 0
    if data[0] != START:
        return -1
    if len(data) < 4:
        return 0
    return SIZE if data[3] == 8 else -1


def decode(wire: bytes) -> Message | Malformed:
    """One frame. Malformed: "frame", "address" or "check"."""
    if len(wire) != SIZE or wire[0] != START or wire[3] != 8:
        return Malformed("frame")
    if wire[12] != sum(wire[:12]) & 0xFF:
        return Malformed("check")
    if wire[1] in HOSTS:
        return Frame(wire[1], wire[2], bytes(wire[4:12]))
    if wire[1] != BMS:
        return Malformed("address")
    data = bytes(wire[4:12])
    if wire[2] == 0x90:
        volts, gathered, amperes, soc = _SUMMARY.unpack(data)
        return Summary(volts, gathered, CURRENT_SIGN * (amperes - ZERO_CURRENT), soc)
    if wire[2] == 0x95:
        number, a, b, c, spare = _CELLS.unpack(data)
        return Cells(number, (a, b, c), spare)
    return Frame(BMS, wire[2], data)


def encode(message: Message) -> bytes:
    """The frame of a message. Raises struct.error or ValueError for what no frame can carry."""
    if isinstance(message, Summary):
        m = message
        amperes = CURRENT_SIGN * m.current_da + ZERO_CURRENT
        data = _SUMMARY.pack(m.voltage_dv, m.gathered_dv, amperes, m.soc_permille)
        return _frame(BMS, 0x90, data)
    if isinstance(message, Cells):
        return _frame(BMS, 0x95, _CELLS.pack(message.number, *message.voltages_mv, message.spare))
    return _frame(message.address, message.command, message.data)


def _frame(address: int, command: int, data: bytes) -> bytes:
    body = bytes((START, address, command, 8)) + data.ljust(8, b"\0")
    return body + bytes((sum(body) & 0xFF,))


FAULT_BITS: Final = {
    (0, 0): ("cell_overvoltage", 0),
    (0, 2): ("cell_undervoltage", 0),
    (0, 4): ("pack_overvoltage", 0),
    (1, 0): ("temperature_high_charge", 0),
    (1, 2): ("temperature_low_charge", 0),
    (1, 4): ("temperature_high_discharge", 0),
    (1, 6): ("temperature_low_discharge", 0),
    (2, 0): ("current_charge_high", 0),
    (2, 2): ("current_discharge_high", 0),
    (2, 6): ("soc_low", 0),
    (3, 0): ("cell_imbalance", 0),
    (3, 2): ("temperature_spread", 0),
    (4, 4): ("contactor_main_plus", 1),
    (4, 5): ("contactor_main_minus", 1),
    (5, 0): ("afe_link", 1),
    (5, 1): ("cell_voltage_unknown", 1),
    (5, 2): ("temperature_unknown", 1),
    (5, 3): ("nvm_failed", 1),
    (5, 5): ("precharge_timeout", 1),
    (6, 0): ("current_unknown", 1),
    (6, 2): ("current_comparator", 1),
}
"""Byte and bit -> diagnosis, and whether it has one level (1) or two (0: the next bit trips)."""


def fits(view: PackView) -> str | None:
    """Why this pack cannot be told in these frames; None if it can."""
    if view.block_count > 255:
        return f"cells are counted in a byte and the pack has {view.block_count} blocks"
    return None


def answer(view: PackView, now_s: float, request: Message) -> bytes:
    """The frames that answer a request; empty when the view is stale or nothing answers it."""
    if not isinstance(request, Frame) or not request.is_request:
        return b""
    teller = _TELL.get(request.command)
    if teller is None or view.is_stale(now_s) or fits(view) is not None:
        return b""
    return b"".join(teller(view))


def _summary(view: PackView) -> list[bytes]:
    volts, amperes, soc = view.voltage_v, view.current_a, view.soc_frac
    if volts is None or amperes is None or soc is None:
        return []
    told = Summary(
        clipped(volts * 10, 0, 65535), 0, clipped(amperes * 10, -30000, 35535), int(soc * 1e3)
    )
    return [encode(told)]


def _voltage_extremes(view: PackView) -> list[bytes]:
    known = [(v, k) for k, v in enumerate(view.cell_voltages_v()) if v is not None]
    if not known:
        return []
    (low, at_low), (high, at_high) = min(known), max(known)
    data = struct.pack(">HBHB2x", round(high * 1e3), at_high + 1, round(low * 1e3), at_low + 1)
    return [_frame(BMS, 0x91, data)]


def _degrees(view: PackView) -> list[int]:
    return [clipped(t + ZERO_DEGC, 0, 255) for t in view.temperatures_degc()]


def _temperature_extremes(view: PackView) -> list[bytes]:
    known = [(t, k) for k, t in enumerate(_degrees(view))]
    if not known:
        return []
    (low, at_low), (high, at_high) = min(known), max(known)
    data = struct.pack(">BBBB4x", high, min(255, at_high + 1), low, min(255, at_low + 1))
    return [_frame(BMS, 0x92, data)]


def _switches(view: PackView) -> list[bytes]:
    amperes, soc, capacity = view.current_a, view.soc_frac, view.capacity_ah
    if amperes is None or soc is None or capacity is None:
        return []
    state = 0 if abs(amperes) < 0.1 else (2 if amperes > 0 else 1)
    charge = view.is_closed and view.charge_limit_a > 0
    discharge = view.is_closed and view.discharge_limit_a > 0
    mah = clipped(soc * capacity * 1e3, 0, 2**31 - 1)
    return [_frame(BMS, 0x93, struct.pack(">B??BI", state, charge, discharge, 0, mah))]


def _status(view: PackView) -> list[bytes]:
    out, rated = view.number("BmsEnergy", "ChargeOut") or 0.0, view.capacity_rated_ah
    cycles = clipped(out / rated, 0, 32767) if rated else 0
    sensors = min(127, len(view.temperatures_degc()))
    amperes = view.current_a or 0.0
    data = struct.pack(
        ">BB??BHx", view.block_count, sensors, amperes < -0.1, amperes > 0.1, 0, cycles
    )
    return [_frame(BMS, 0x94, data)]


def _cells(view: PackView) -> list[bytes]:
    volts = [0 if v is None else clipped(v * 1e3, 0, 65535) for v in view.cell_voltages_v()]
    volts += [0] * (-len(volts) % 3)
    threes = [(volts[k], volts[k + 1], volts[k + 2]) for k in range(0, len(volts), 3)]
    return [encode(Cells(k + 1, three)) for k, three in enumerate(threes)]


def _temperatures(view: PackView) -> list[bytes]:
    told = _degrees(view)[:127]
    sevens = [bytes(told[k : k + 7]) for k in range(0, len(told), 7)]
    return [_frame(BMS, 0x96, bytes((k + 1,)) + seven) for k, seven in enumerate(sevens)]


def _bled(view: PackView) -> list[bytes]:
    bits = sum(1 << k for k in range(48) if view.bled.get(k))
    return [_frame(BMS, 0x97, bits.to_bytes(6, "little"))]


def _faults(view: PackView) -> list[bytes]:
    data = bytearray(8)
    for (byte, bit), (name, single) in FAULT_BITS.items():
        if view.warned(name):
            data[byte] |= 1 << bit
        if not single and view.alarmed(name):
            data[byte] |= 2 << bit
    return [_frame(BMS, 0x98, bytes(data))]


def _rated(view: PackView) -> list[bytes]:
    rated, volts = view.capacity_rated_ah, view.voltage_v
    if rated is None or volts is None or not view.block_count:
        return []
    data = struct.pack(
        ">II", clipped(rated * 1e3, 0, 2**32 - 1), round(volts / view.block_count * 1e3)
    )
    return [_frame(BMS, 0x50, data)]


_TELL: Final = {
    0x50: _rated,
    0x90: _summary,
    0x91: _voltage_extremes,
    0x92: _temperature_extremes,
    0x93: _switches,
    0x94: _status,
    0x95: _cells,
    0x96: _temperatures,
    0x97: _bled,
    0x98: _faults,
}

_WORKED = "the layout above, worked by hand"
VECTORS: Final = (
    Vector(
        bytes.fromhex("A540900800000000000000007D"),
        Frame(0x40, 0x90),
        "request published with the maker's protocol description",
    ),
    Vector(
        bytes.fromhex("A501900802120000759401F450"),
        Summary(530, 0, 100, 500),
        _WORKED,
    ),
    Vector(bytes.fromhex("A5019508010CE40CE50CE60017"), Cells(1, (3300, 3301, 3302)), _WORKED),
    Vector(bytes.fromhex("A5019808000000000000000046"), Frame(BMS, 0x98), _WORKED),
)
