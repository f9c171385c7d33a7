"""Isabellenhuette IVT-S current sensor on CAN, after the vendor's DBC of 2020-08-12.

500 kbit/s, 11-bit identifiers.

Results 521 to 528, 6 bytes: channel, status, signed 32-bit big-endian value.
Command 411, 8 bytes, byte 0 = command; response 511, byte 0 = command | 80, BF after a restart, FF
for an unknown command.
"""

from __future__ import annotations

from typing import Final

import msgspec

from bms.protocols import CanFrame, Malformed, Vector

MEDIUM: Final = "can"
CURRENT_SIGN: Final = 1
"""The vendor leaves the sign to the mounting direction of the shunt; here it is mounted so that
discharge reads positive."""

RESULT_ID, COMMAND_ID, RESPONSE_ID = 0x521, 0x411, 0x511

QUANTITIES: Final = (
    ("current_a", 1e-3),
    ("u1_v", 1e-3),
    ("u2_v", 1e-3),
    ("u3_v", 1e-3),
    ("temperature_degc", 0.1),
    ("power_w", 1.0),
    ("charge_as", 1.0),
    ("energy_wh", 1.0),
)
"""(name, unit of one count) of channels 0 to 7."""


class Result(msgspec.Struct, frozen=True, tag=True):
    """One measurement; `raw` counts in the unit of `QUANTITIES[channel]`, positive on discharge."""

    channel: int
    raw: int
    counter: int
    over_current: bool = False
    result_error: bool = False
    any_error: bool = False
    system_error: bool = False

    @property
    def name(self) -> str:
        """What is measured."""
        return QUANTITIES[self.channel][0]

    @property
    def value(self) -> float:
        """In the unit of `name`."""
        return self.raw * QUANTITIES[self.channel][1]


class Command(msgspec.Struct, frozen=True, tag=True):
    """To the sensor: code and seven bytes of arguments."""

    code: int
    arguments: bytes = b"\x00" * 7


class Reply(msgspec.Struct, frozen=True, tag=True):
    """From the sensor: the code answered (bit 7 taken off), or `alive`, or `refused`."""

    code: int
    arguments: bytes
    alive: bool = False
    refused: bool = False


Message = Result | Command | Reply


def decode(wire: CanFrame) -> Message | Malformed:
    """One frame.

    Malformed: "identifier", "length", "channel" (byte 0 belongs to another identifier) or
    "code".
    """
    data = wire.data
    if wire.extended or not (
        RESULT_ID <= wire.can_id < RESULT_ID + 8 or wire.can_id in (COMMAND_ID, RESPONSE_ID)
    ):
        return Malformed("identifier")
    if len(data) != (8 if wire.can_id in (COMMAND_ID, RESPONSE_ID) else 6):
        return Malformed("length")
    if wire.can_id == COMMAND_ID:
        return Command(data[0], bytes(data[1:])) if data[0] < 0x80 else Malformed("code")
    if wire.can_id == RESPONSE_ID:
        if data[0] < 0x80:
            return Malformed("code")
        alive, refused = data[0] == 0xBF, data[0] == 0xFF
        return Reply(data[0] & 0x7F, bytes(data[1:]), alive, refused)
    if data[0] != wire.can_id - RESULT_ID:
        return Malformed("channel")
    raw = CURRENT_SIGN * int.from_bytes(data[2:6], "big", signed=True)
    flags = (bool(data[1] & bit) for bit in (0x10, 0x20, 0x40, 0x80))
    return Result(data[0], raw, data[1] & 15, *flags)


def encode(message: Message) -> CanFrame:
    """The frame of a message. Raises ValueError or OverflowError for values no frame can carry."""
    if isinstance(message, Command):
        return CanFrame(COMMAND_ID, _eight(message.code, message.arguments))
    if isinstance(message, Reply):
        return CanFrame(RESPONSE_ID, _eight(message.code | 0x80, message.arguments))
    if not 0 <= message.channel < 8 or not 0 <= message.counter < 16:
        raise ValueError(f"channel {message.channel} or counter {message.counter} out of range")
    status = message.counter
    status |= 0x10 * message.over_current | 0x20 * message.result_error
    status |= 0x40 * message.any_error | 0x80 * message.system_error
    raw = (CURRENT_SIGN * message.raw).to_bytes(4, "big", signed=True)
    return CanFrame(RESULT_ID + message.channel, bytes([message.channel, status]) + raw)


def _eight(code: int, arguments: bytes) -> bytes:
    if len(arguments) != 7:
        raise ValueError("a command has seven bytes of arguments")
    return bytes([code]) + arguments


_DBC = "vendor DBC of 2020-08-12, worked by hand"
VECTORS: Final = (
    Vector(CanFrame(0x521, bytes.fromhex("0003000186A0")), Result(0, 100_000, 3), f"{_DBC}: 100 A"),
    Vector(
        CanFrame(0x521, bytes.fromhex("007FFFFE7960")),
        Result(0, -100_000, 15, True, True, True),
        _DBC,
    ),
    Vector(CanFrame(0x522, bytes.fromhex("010000061A80")), Result(1, 400_000, 0), f"{_DBC}: 400 V"),
    Vector(
        CanFrame(0x525, bytes.fromhex("04810000010B")),
        Result(4, 267, 1, False, False, False, True),
        f"{_DBC}: 26.7 degC",
    ),
    Vector(
        CanFrame(0x411, bytes.fromhex("3401010000000000")),
        Command(0x34, bytes.fromhex("01010000000000")),
        f"{_DBC}: run",
    ),
    Vector(
        CanFrame(0x511, bytes.fromhex("B401010000000000")),
        Reply(0x34, bytes.fromhex("01010000000000")),
        f"{_DBC}: runs",
    ),
)
