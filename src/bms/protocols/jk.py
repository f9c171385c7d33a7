"""JK serial BMS, the older frames that begin with 4E 57: 115200 8N1.

4E 57, u16 length (of all that follows and itself), 4 bytes terminal, command (06 read all), source
(00 the BMS, 03 a host), type (00 request, 01 answer), content, 4 bytes record number, 68, two zero
bytes, u16 sum of all bytes before. Big-endian. Content is a row of items: a byte that names it,
then as many bytes as that name has. Current on this wire: bit 15 set charges.

Only "read all" is answered. Writes get no answer: only the BMS decides over its contactors.
"""

from __future__ import annotations

import struct
from typing import Final

import msgspec

from bms.protocols import Malformed, Vector
from bms.protocols.packview import PackView

MEDIUM: Final = "serial"
CURRENT_SIGN: Final = 1
BAUD: Final = 115200
READ_ALL, FROM_BMS, FROM_HOST = 0x06, 0x00, 0x03
REQUEST, ANSWER = 0, 1
CELLS: Final = 0x79
CURRENT: Final = 0x84

SIZES: Final[dict[int, int]] = (
    dict.fromkeys((0x80, 0x81, 0x82, 0x83, 0x84, 0x87, 0x8A, 0x8B, 0x8C, 0xAD, 0xB0), 2)
    | dict.fromkeys((0x85, 0x86, 0x9D, 0xA9, 0xAB, 0xAC, 0xAE, 0xAF, 0xB1, 0xB3, 0xB8, 0xC0), 1)
    | dict.fromkeys((*range(0x8E, 0x9D), *range(0x9E, 0xA9)), 2)
    | dict.fromkeys((0x89, 0xAA, 0xB5, 0xB6, 0xB9), 4)
    | {0xB2: 10, 0xB4: 8, 0xB7: 15, 0xBA: 24}
)
"""Bytes of each item but 79, which carries its own length."""


class Frame(msgspec.Struct, frozen=True, tag=True):
    """One frame. items: (name, bytes) in the order of the wire."""

    command: int
    source: int
    kind: int
    items: tuple[tuple[int, bytes], ...] = ()
    terminal: bytes = b"\0\0\0\0"
    record: bytes = b"\0\0\0\0"


Message = Frame


def frame_size(data: bytes | bytearray) -> int:
    """Bytes of the frame that starts here: 0 not known yet, -1 no frame starts here."""
    if not data:
        return 0
    if data[0] != 0x4E or (len(data) > 1 and data[1] != 0x57):
        return -1
    if len(data) < 4:
        return 0
    length = data[2] << 8 | data[3]
    return length + 2 if 18 <= length <= 1024 else -1


def decode(wire: bytes) -> Frame | Malformed:
    """One frame. Malformed: "frame", "length", "check" or "item"."""
    if len(wire) < 20 or wire[:2] != b"NW":
        return Malformed("frame")
    if int.from_bytes(wire[2:4], "big") + 2 != len(wire):
        return Malformed("length")
    if wire[-5:-2] != b"\x68\0\0" or sum(wire[:-4]) & 0xFFFF != int.from_bytes(wire[-2:], "big"):
        return Malformed("check")
    content = bytes(wire[11:-9])
    if wire[10] == REQUEST:  # one byte names what is wanted
        items: list[tuple[int, bytes]] | None = [(content[0], content[1:])] if content else []
    else:
        items = _items(content)
    if items is None:
        return Malformed("item")
    head = (wire[8], wire[9], wire[10])
    return Frame(*head, tuple(items), bytes(wire[4:8]), bytes(wire[-9:-5]))


def _items(content: bytes) -> list[tuple[int, bytes]] | None:
    found, at = [], 0
    while at < len(content):
        name = content[at]
        if name == CELLS:
            if at + 1 >= len(content):
                return None
            size = content[at + 1] + 1
        elif name in SIZES:
            size = SIZES[name]
        else:
            return None
        if at + 1 + size > len(content):
            return None
        found.append((name, content[at + 1 : at + 1 + size]))
        at += 1 + size
    return found


def encode(message: Frame) -> bytes:
    """The frame of a message. Raises struct.error or ValueError for what no frame can carry."""
    content = b"".join(bytes((name,)) + data for name, data in message.items)
    head = message.terminal + bytes((message.command, message.source, message.kind))
    body = head + content + message.record + b"\x68"
    start = b"NW" + struct.pack(">H", len(body) + 6) + body
    return start + b"\0\0" + struct.pack(">H", sum(start) & 0xFFFF)


def current_word(current_ca: int) -> int:
    """Item 84: hundredths of an ampere, positive discharges -> the word on the wire."""
    size = min(abs(current_ca), 0x7FFF)
    return size | 0x8000 if CURRENT_SIGN * current_ca < 0 else size


WARNING_BITS: Final = {
    0: ("soc_low",),
    2: ("pack_overvoltage",),
    3: ("cell_undervoltage", "cell_deep_discharge"),
    4: ("temperature_high_discharge", "thermal_runaway"),
    5: ("current_charge_high",),
    6: ("current_discharge_high",),
    7: ("cell_imbalance",),
    8: ("temperature_high_charge",),
    9: ("temperature_low_charge", "temperature_low_discharge"),
    10: ("cell_overvoltage",),
    11: ("cell_undervoltage", "cell_deep_discharge"),
}
"""Bit of item 8B -> diagnoses that set it."""


def fits(view: PackView) -> str | None:
    """Why this pack cannot be told in these frames; None if it can."""
    if view.block_count > 85:
        return f"the list of cells ends at 85 and the pack has {view.block_count} blocks"
    if view.voltage_v is not None and view.voltage_v > 655.35:
        return f"the voltage field ends at 655.35 V and the pack has {view.voltage_v:.0f} V"
    return None


def answer(view: PackView, now_s: float, request: Frame) -> bytes:
    """The answer to "read all"; empty when the view is stale or something else was asked."""
    if request.kind != REQUEST or request.command != READ_ALL:
        return b""
    if view.is_stale(now_s) or fits(view) is not None:
        return b""
    items = _tell(view)
    return encode(Frame(READ_ALL, FROM_BMS, ANSWER, items)) if items else b""


def _degrees(celsius: float) -> int:
    """Above 100 the wire counts down from 100: 101 is -1 degC."""
    whole = max(-40, min(100, round(celsius)))
    return whole if whole >= 0 else 100 - whole


def _tell(view: PackView) -> tuple[tuple[int, bytes], ...]:
    volts, amperes, soc, rated = (
        view.voltage_v,
        view.current_a,
        view.soc_frac,
        view.capacity_rated_ah,
    )
    warm = view.temperatures_degc()
    if volts is None or amperes is None or soc is None or rated is None or not warm:
        return ()
    cells = b"".join(
        struct.pack(">BH", k + 1, 0 if v is None else max(0, min(65535, round(v * 1e3))))
        for k, v in enumerate(view.cell_voltages_v())
    )
    half = len(warm) // 2
    probes = (max(warm), warm[0], warm[half])
    switches = (view.charge_limit_a > 0) | (view.discharge_limit_a > 0) << 1
    status = (switches if view.is_closed else 0) | view.is_yes("BmsState", "BalancingActive") << 2
    warnings = sum(1 << b for b, names in WARNING_BITS.items() if view.warned(*names))
    cycles = round((view.number("BmsEnergy", "ChargeOut") or 0.0) / rated)
    words = (
        *((0x80 + k, _degrees(t)) for k, t in enumerate(probes)),
        (0x83, max(0, min(65535, round(volts * 100)))),
        (CURRENT, current_word(round(amperes * 100))),
    )
    return (
        (CELLS, bytes((len(cells),)) + cells),
        *((name, struct.pack(">H", word)) for name, word in words),
        (0x85, bytes((int(soc * 100),))),
        (0x86, bytes((2,))),
        (0x87, struct.pack(">H", min(65535, cycles))),
        (0x89, struct.pack(">I", min(2**32 - 1, round(cycles * rated)))),
        (0x8A, struct.pack(">H", view.block_count)),
        (0x8B, struct.pack(">H", warnings)),
        (0x8C, struct.pack(">H", status)),
        (0xA9, bytes((view.block_count,))),
        (0xAA, struct.pack(">I", round(rated))),
        (0xB7, b"solid-bms".ljust(15, b"\0")),
        (0xC0, b"\x01"),
    )


_WORKED = "the layout above, worked by hand"
VECTORS: Final = (
    Vector(
        bytes.fromhex("4E5700130000000006030000000000006800000129"),
        Frame(READ_ALL, FROM_HOST, REQUEST, ((0, b""),)),
        "request published with the maker's protocol description",
    ),
    Vector(
        bytes.fromhex("4E57001D000000000600017906010CE4020CE58480640000000068000004FC"),
        Frame(
            READ_ALL,
            FROM_BMS,
            ANSWER,
            ((CELLS, b"\x06\x01\x0c\xe4\x02\x0c\xe5"), (CURRENT, b"\x80\x64")),
        ),
        _WORKED,
    ),
    Vector(
        bytes.fromhex("4E570014000000000600018555000000006800000202"),
        Frame(READ_ALL, FROM_BMS, ANSWER, ((0x85, b"\x55"),)),
        _WORKED,
    ),
)
