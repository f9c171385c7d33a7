"""Pylontech serial protocol on RS485, in ASCII: 115200 or 9600 8N1.

~ version address 46 command length information sum CR, every byte two hexadecimal letters. The
length word is the number of letters of information, with a check in its top four bits (minus the
sum of the other three nibbles). The sum is minus the sum of the letters between ~ and itself.
In an answer the command is a return code, 00 when well. Current on this wire: positive charges.

42 values: flag, [number of modules if all were asked,] cells, each s16 mV, thermistors, each s16
   0.1 K, s16 current 0.1 A, u16 voltage mV, u16 remaining mAh, items that follow (2, or 4 above
   65 Ah), u16 total mAh, u16 cycles, [u24 remaining, u24 total mAh]
92 limits: address, u16 charge and discharge voltage mV, s16 charge and discharge current 0.1 A,
   status (bits 7 charge enable, 6 discharge enable, 5 and 4 charge at once, 3 full charge)
93 serial number: address, 16 letters       4F version: none       51 maker: name and version

One module is served, at the address it is given (2 by custom); 47 is not, for the pack's own limits
are not on the bus.
"""

from __future__ import annotations

import struct
from typing import Final

import msgspec

from bms.protocols import Malformed, Vector
from bms.protocols.packview import PackView, clipped

MEDIUM: Final = "serial"
CURRENT_SIGN: Final = -1
BAUD: Final = 115200
VERSION, BATTERY, ADDRESS = 0x20, 0x46, 2
VALUES, PROTOCOL, MAKER, LIMITS, SERIAL = 0x42, 0x4F, 0x51, 0x92, 0x93
OK, BAD_COMMAND = 0x00, 0x04
ALL_MODULES: Final = 0xFF
LETTERS_MAX: Final = 0x0FFF
KELVIN_D: Final = 2731


class Frame(msgspec.Struct, frozen=True, tag=True):
    """One frame; code is the command asked or the return code."""

    address: int
    code: int
    information: bytes = b""
    version: int = VERSION
    family: int = BATTERY


Message = Frame


def frame_size(data: bytes | bytearray) -> int:
    """Bytes of the frame that starts here: 0 not known yet, -1 no frame starts here."""
    if data[:1] != b"~":
        return -1 if data else 0
    end = data.find(b"\r", 0, LETTERS_MAX + 20)
    if end < 0:
        return -1 if len(data) > LETTERS_MAX + 20 else 0
    return end + 1


def decode(wire: bytes) -> Frame | Malformed:
    """One frame. Malformed: "frame", "letter", "length" or "check"."""
    if len(wire) < 18 or wire[:1] != b"~" or wire[-1:] != b"\r":
        return Malformed("frame")
    body = wire[1:-1]
    if len(body) % 2 or any(letter not in b"0123456789ABCDEF" for letter in body):
        return Malformed("letter")
    if int(body[-4:], 16) != _sum(body[:-4]):
        return Malformed("check")
    letters = len(body) - 16
    if int(body[8:12], 16) != _length(letters):
        return Malformed("length")
    version, address, family, code = bytes.fromhex(body[:8].decode())
    return Frame(address, code, bytes.fromhex(body[12:-4].decode()), version, family)


def encode(message: Frame) -> bytes:
    """The frame of a message. Raises ValueError for what no frame can carry."""
    m = message
    letters = m.information.hex().upper()
    if len(letters) > LETTERS_MAX:
        raise ValueError(f"{len(letters)} letters of information, at most {LETTERS_MAX}")
    head = bytes((m.version, m.address, m.family, m.code)).hex().upper()
    body = f"{head}{_length(len(letters)):04X}{letters}".encode()
    return b"~" + body + b"%04X\r" % _sum(body)


def _length(letters: int) -> int:
    if letters == 0:
        return 0
    return (-((letters & 15) + (letters >> 4 & 15) + (letters >> 8 & 15)) & 15) << 12 | letters


def _sum(body: bytes) -> int:
    return -sum(body) & 0xFFFF


def fits(view: PackView) -> str | None:
    """Why this pack cannot be told in these frames; None if it can."""
    if view.voltage_v is not None and view.voltage_v > 65.535:
        return f"the voltage field ends at 65.535 V and the pack has {view.voltage_v:.0f} V"
    return None


def answer(view: PackView, now_s: float, request: Frame, address: int = ADDRESS) -> bytes:
    """The answer to a request; empty for another address, a stale view or what is no request."""
    is_general = request.code in (PROTOCOL, MAKER)
    if request.family != BATTERY or not (is_general or request.address == address):
        return b""
    if view.is_stale(now_s) or fits(view) is not None:
        return b""
    told = _tell(view, request, address)
    if told is None:
        return encode(Frame(address, BAD_COMMAND))
    return encode(Frame(address, OK, told))


def _tell(view: PackView, request: Frame, address: int) -> bytes | None:
    wanted = request.information[:1]
    if request.code == VALUES:
        values = _values(view)
        count = b"\x01" if wanted == bytes((ALL_MODULES,)) else bytes((address,))
        return None if values is None else b"\0" + count + values
    if request.code == LIMITS:
        limits = _limits(view)
        return None if limits is None else bytes((address,)) + limits
    if request.code == SERIAL:
        return bytes((address,)) + b"SOLIDBMS00000001"
    if request.code == MAKER:
        return b"solid-bms\0" + b"\0\x01" + b"solid-bms           "
    return b"" if request.code == PROTOCOL else None


def _values(view: PackView) -> bytes | None:
    volts, amperes, soc, capacity = view.voltage_v, view.current_a, view.soc_frac, view.capacity_ah
    rated, warm = view.capacity_rated_ah, view.temperatures_degc()[:32]
    if volts is None or amperes is None or soc is None or capacity is None or not warm:
        return None
    cells = [0 if v is None else clipped(v * 1e3, 0, 32767) for v in view.cell_voltages_v()]
    degrees = [clipped(t * 10 + KELVIN_D, 0, 32767) for t in warm]
    total, left = capacity * 1e3, soc * capacity * 1e3
    is_large = total > 65000.0
    cycles = (view.number("BmsEnergy", "ChargeOut") or 0.0) / rated if rated else 0.0
    out = struct.pack(f">B{len(cells)}h", len(cells), *cells)
    out += struct.pack(f">B{len(degrees)}h", len(degrees), *degrees)
    out += struct.pack(
        ">hHHBHH",
        clipped(CURRENT_SIGN * amperes * 10, -32767, 32767),
        clipped(volts * 1e3, 0, 65535),
        0xFFFF if is_large else clipped(left, 0, 65535),
        4 if is_large else 2,
        0xFFFF if is_large else clipped(total, 0, 65535),
        clipped(cycles, 0, 65535),
    )
    if is_large:
        large = (clipped(mah, 0, 2**24 - 1).to_bytes(3, "big") for mah in (left, total))
        out += b"".join(large)
    return out


def _limits(view: PackView) -> bytes | None:
    up, down = view.charge_voltage_limit_v, view.discharge_voltage_limit_v
    if not up or not down:
        return None
    enables = (view.charge_limit_a > 0) << 7 | (view.discharge_limit_a > 0) << 6
    return struct.pack(
        ">HHhhB",
        clipped(up * 1e3, 0, 65535),
        clipped(down * 1e3, 0, 65535),
        clipped(view.charge_limit_a * 10, 0, 32767),
        clipped(-view.discharge_limit_a * 10, -32767, 0),
        enables if view.is_closed else 0,
    )


_SEEN = "request published with the maker's protocol description"
VECTORS: Final = (
    Vector(b"~20024642E00202FD33\r", Frame(2, VALUES, b"\x02"), _SEEN),
    Vector(b"~2002464F0000FD98\r", Frame(2, PROTOCOL), _SEEN),
    Vector(b"~20024692E00202FD2E\r", Frame(2, LIMITS, b"\x02"), _SEEN),
    Vector(b"~20024693E00202FD2D\r", Frame(2, SERIAL, b"\x02"), _SEEN),
)
