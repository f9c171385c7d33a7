"""JBD (Xiaoxiang, LLT) serial BMS: 9600 8N1, one request, one answer.

request  DD A5 register length data chk_hi chk_lo 77      (5A instead of A5 writes)
answer   DD register status length data chk_hi chk_lo 77  (status 0 ok, 80 refused)

The check is 10000 hex minus a sum: of register, length, data in a request; of status, length, data
in an answer. Numbers are big-endian. Registers served: 03 basic, 04 cells, 05 name. A write is
always refused: only the BMS decides over its contactors. Current on this wire: positive charges.

03: u16 voltage 10 mV, s16 current 10 mA, u16 remaining and nominal 10 mAh, u16 cycles, u16 date,
    u16 balance of cells 1 to 16 and 17 to 32, u16 protection, u8 version, u8 SoC %, u8 switches
    (1 charge, 2 discharge), u8 cells, u8 thermistors, each u16 0.1 K
04: u16 mV for each cell
"""

from __future__ import annotations

import struct
from typing import Final

import msgspec

from bms.protocols import Malformed, Vector
from bms.protocols.packview import PackView, clipped

MEDIUM: Final = "serial"
CURRENT_SIGN: Final = -1
BAUD: Final = 9600
START, END, READ, WRITE = 0xDD, 0x77, 0xA5, 0x5A
OK, REFUSED = 0x00, 0x80
BASIC, CELLS, NAME = 3, 4, 5
KELVIN_D: Final = 2731  # 0 degC in tenths of a kelvin as these devices round it


class Request(msgspec.Struct, frozen=True, tag=True):
    """From the host."""

    register: int
    data: bytes = b""
    is_write: bool = False


class Basic(msgspec.Struct, frozen=True, tag=True):
    """Register 03. current_ca: 10 mA, positive discharges; date as on the wire."""

    voltage_cv: int
    current_ca: int
    remaining_cah: int
    nominal_cah: int
    cycles: int
    date: int
    balance: int
    protection: int
    version: int
    soc_pct: int
    switches: int
    cells: int
    temperatures_dk: tuple[int, ...]


class Cells(msgspec.Struct, frozen=True, tag=True):
    """Register 04."""

    voltages_mv: tuple[int, ...]


class Answer(msgspec.Struct, frozen=True, tag=True):
    """Any other answer, the name (05) and refusals among them."""

    register: int
    status: int
    data: bytes = b""


Message = Request | Basic | Cells | Answer
_BASIC: Final = struct.Struct(">HhHHHHHHHBBBBB")


def frame_size(data: bytes | bytearray) -> int:
    """Bytes of the frame that starts here: 0 not known yet, -1 no frame starts here."""
    if data[:1] != b"\xdd":
        return -1 if data else 0
    return 0 if len(data) < 4 else data[3] + 7


def decode(wire: bytes) -> Message | Malformed:
    """One frame. Malformed: "frame", "length", "check" or "value"."""
    if len(wire) < 7 or wire[0] != START or wire[-1] != END:
        return Malformed("frame")
    data = wire[4:-3]
    if len(data) != wire[3]:
        return Malformed("length")
    is_request = wire[1] in (READ, WRITE)
    if wire[-3:-1] != _check(wire[2:-3]):
        return Malformed("check")
    if is_request:
        return Request(wire[2], bytes(data), wire[1] == WRITE)
    if wire[2] == OK and wire[1] == BASIC:
        return _basic(data)
    if wire[2] == OK and wire[1] == CELLS:
        if len(data) % 2:
            return Malformed("value")
        return Cells(struct.unpack(f">{len(data) // 2}H", data))
    return Answer(wire[1], wire[2], bytes(data))


def _basic(data: bytes) -> Basic | Malformed:
    if len(data) < _BASIC.size or len(data) != _BASIC.size + 2 * data[_BASIC.size - 1]:
        return Malformed("value")
    volts, amperes, left, nominal, cycles, date, low, high, *rest = _BASIC.unpack_from(data)
    protection, version, soc, switches, cells, sensors = rest
    degrees = struct.unpack_from(f">{sensors}H", data, _BASIC.size)
    tail = (protection, version, soc, switches, cells, degrees)
    head = (volts, CURRENT_SIGN * amperes, left, nominal, cycles, date, low | high << 16)
    return Basic(*head, *tail)


def encode(message: Message) -> bytes:
    """The frame of a message. Raises struct.error or ValueError for what no frame can carry."""
    if isinstance(message, Request):
        body = bytes((message.register, len(message.data))) + message.data
        kind = WRITE if message.is_write else READ
        return bytes((START, kind)) + body + _check(body) + bytes((END,))
    if isinstance(message, Answer):
        return _answer(message.register, message.status, message.data)
    if isinstance(message, Cells):
        mv = message.voltages_mv
        return _answer(CELLS, OK, struct.pack(f">{len(mv)}H", *mv))
    m = message
    head = (m.voltage_cv, CURRENT_SIGN * m.current_ca, m.remaining_cah, m.nominal_cah, m.cycles)
    flags = (m.date, m.balance & 0xFFFF, m.balance >> 16, m.protection, m.version, m.soc_pct)
    sensors = len(m.temperatures_dk)
    data = _BASIC.pack(*head, *flags, m.switches, m.cells, sensors)
    return _answer(BASIC, OK, data + struct.pack(f">{sensors}H", *m.temperatures_dk))


def _answer(register: int, status: int, data: bytes) -> bytes:
    body = bytes((status, len(data))) + data
    return bytes((START, register)) + body + _check(body) + bytes((END,))


def _check(body: bytes) -> bytes:
    return (-sum(body) & 0xFFFF).to_bytes(2, "big")


PROTECTION_BITS: Final = {
    0: ("cell_overvoltage",),
    1: ("cell_undervoltage", "cell_deep_discharge"),
    2: ("pack_overvoltage",),
    4: ("temperature_high_charge",),
    5: ("temperature_low_charge",),
    6: ("temperature_high_discharge", "thermal_runaway"),
    7: ("temperature_low_discharge",),
    8: ("current_charge_high",),
    9: ("current_discharge_high",),
    10: ("current_comparator",),
    11: ("cell_voltage_unknown", "afe_link", "afe_count", "afe_frozen", "afe_config"),
    12: ("assertion", "config_invalid"),
}
"""Bit -> diagnoses that set it when they have tripped."""


def fits(view: PackView) -> str | None:
    """Why this pack cannot be told in these frames; None if it can."""
    if view.block_count > 127:
        return f"an answer holds 127 cells and the pack has {view.block_count} blocks"
    if view.voltage_v is not None and view.voltage_v > 655.35:
        return f"the voltage field ends at 655.35 V and the pack has {view.voltage_v:.0f} V"
    return None


def answer(view: PackView, now_s: float, request: Message) -> bytes:
    """The answer to a request; empty when the view is stale or the message is no request."""
    if not isinstance(request, Request) or view.is_stale(now_s) or fits(view) is not None:
        return b""
    if request.is_write or request.data:
        return encode(Answer(request.register, REFUSED))
    if request.register == BASIC:
        basic = _tell(view)
        return encode(basic if basic is not None else Answer(BASIC, REFUSED))
    if request.register == CELLS:
        volts = view.cell_voltages_v()
        return encode(Cells(tuple(0 if v is None else clipped(v * 1e3, 0, 65535) for v in volts)))
    if request.register == NAME:
        return encode(Answer(NAME, OK, b"SOLID-BMS"))
    return encode(Answer(request.register, REFUSED))


def _tell(view: PackView) -> Basic | None:
    volts, amperes, soc, capacity = view.voltage_v, view.current_a, view.soc_frac, view.capacity_ah
    rated = view.capacity_rated_ah
    if volts is None or amperes is None or soc is None or capacity is None or rated is None:
        return None
    bits = (1 << b for b, names in PROTECTION_BITS.items() if view.alarmed(*names))
    switches = (view.charge_limit_a > 0.0) | (view.discharge_limit_a > 0.0) << 1
    return Basic(
        voltage_cv=clipped(volts * 100, 0, 65535),
        current_ca=clipped(amperes * 100, -32767, 32767),
        remaining_cah=clipped(soc * capacity * 100, 0, 65535),
        nominal_cah=clipped(rated * 100, 0, 65535),
        cycles=clipped((view.number("BmsEnergy", "ChargeOut") or 0.0) / rated, 0, 65535),
        date=0,
        balance=sum(1 << k for k in range(32) if view.bled.get(k)),
        protection=sum(bits),
        version=0x10,
        soc_pct=int(soc * 100),
        switches=switches if view.is_closed else 0,
        cells=view.block_count,
        temperatures_dk=tuple(
            clipped(t * 10 + KELVIN_D, 0, 65535) for t in view.temperatures_degc()[:32]
        ),
    )


_SEEN = "request published with the maker's protocol description"
_WORKED = "the layout above, worked by hand"
VECTORS: Final = (
    Vector(bytes.fromhex("DDA50300FFFD77"), Request(BASIC), _SEEN),
    Vector(bytes.fromhex("DDA50400FFFC77"), Request(CELLS), _SEEN),
    Vector(bytes.fromhex("DDA50500FFFB77"), Request(NAME), _SEEN),
    Vector(bytes.fromhex("DD5A00025678FF3077"), Request(0, b"\x56\x78", True), _SEEN),
    Vector(bytes.fromhex("DD5AE1020003FF1A77"), Request(0xE1, b"\x00\x03", True), _SEEN),
    Vector(bytes.fromhex("DD0400040CE40CF8FE0877"), Cells((3300, 3320)), _WORKED),
    Vector(bytes.fromhex("DDE18000FF8077"), Answer(0xE1, REFUSED), _WORKED),
    Vector(
        bytes.fromhex("DD03001914B40064138827100000000000000000000010320310010BA5FCE377"),
        Basic(5300, -100, 5000, 10000, 0, 0, 0, 0, 16, 50, 3, 16, (2981,)),
        _WORKED,
    ),
)
