"""Elcon / TC chargers on CAN: told what to give once a second, they say what they give.

250 kbit/s, 29-bit identifiers, big-endian. Without a command for 5 s the charger stops.
Current on this wire is what the charger gives, so positive charges.

1806E5F4 BMS to charger: u16 voltage 0.1 V, u16 current 0.1 A, byte 4: 0 charge, 1 stop; rest 0
18FF50E5 charger to BMS: u16 voltage 0.1 V, u16 current 0.1 A, byte 4 flags: 0 hardware failure,
         1 too hot, 2 input voltage wrong, 3 no battery or reversed, 4 no commands; rest 0
"""

from __future__ import annotations

import struct
from typing import Final

import msgspec

from bms.protocols import CanFrame, Malformed, Vector
from bms.protocols.packview import PackView

MEDIUM: Final = "can"
CURRENT_SIGN: Final = -1
COMMAND_ID, STATUS_ID = 0x1806E5F4, 0x18FF50E5
PERIOD_S, SILENCE_S = 1.0, 5.0
HARDWARE, HOT, INPUT, NO_BATTERY, NO_COMMANDS = 1, 2, 4, 8, 16


class Command(msgspec.Struct, frozen=True, tag=True):
    """What the charger may give at most, in tenths of V and A; magnitudes."""

    voltage_dv: int
    current_da: int
    stop: bool = False


class Status(msgspec.Struct, frozen=True, tag=True):
    """What the charger gives, in tenths of V and A. current_da: positive discharges, so never above
    zero here.
    """

    voltage_dv: int
    current_da: int
    flags: int = 0


Message = Command | Status


def decode(wire: CanFrame) -> Message | Malformed:
    """One frame. Malformed: "identifier", "length" or "value"."""
    if not wire.extended or wire.can_id not in (COMMAND_ID, STATUS_ID):
        return Malformed("identifier")
    if len(wire.data) != 8:
        return Malformed("length")
    volts, amperes, word, rest = struct.unpack(">HHB3s", wire.data)
    if rest != b"\0\0\0" or word > (1 if wire.can_id == COMMAND_ID else 31):
        return Malformed("value")
    if wire.can_id == COMMAND_ID:
        return Command(volts, amperes, word == 1)
    return Status(volts, CURRENT_SIGN * amperes, word)


def encode(message: Message) -> CanFrame:
    """The frame of a message. Raises struct.error for values no frame can carry."""
    if isinstance(message, Command):
        body = (message.voltage_dv, message.current_da, int(message.stop), b"")
        return CanFrame(COMMAND_ID, struct.pack(">HHB3s", *body), True)
    body = (message.voltage_dv, CURRENT_SIGN * message.current_da, message.flags, b"")
    return CanFrame(STATUS_ID, struct.pack(">HHB3s", *body), True)


def frames(view: PackView, now_s: float) -> list[CanFrame]:
    """The command of this second: the limits the BMS advertises, or stop.

    Nothing when the view is stale: the charger then stops by itself.
    """
    if view.is_stale(now_s):
        return []
    volts, amperes = view.charge_voltage_limit_v or 0.0, view.charge_limit_a
    charging = view.values.get("BmsState", {}).get("State") == "normal_charge"
    stop = not (charging and view.is_closed and amperes > 0.0 and volts > 0.0)
    # Rounded down: a limit is never passed by a rounding.
    volts_dv = min(65535, int(volts * 10.0 + 1e-6))
    return [encode(Command(volts_dv, min(65535, int(amperes * 10.0 + 1e-6)), stop))]


class Charger:
    """The charger's side: follows the last command, stops after `SILENCE_S` without one.

    voltage_max_v, current_max_a: what it can give. Times are seconds of the caller's clock.
    """

    def __init__(self, voltage_max_v: float, current_max_a: float) -> None:
        self.voltage_max_v, self.current_max_a = voltage_max_v, current_max_a
        self.command: Command | None = None
        self.heard_s = -1e9

    def hear(self, now_s: float, wire: CanFrame) -> None:
        """Takes a frame of the bus; all but commands are passed over."""
        message = decode(wire)
        if isinstance(message, Command):
            self.command, self.heard_s = message, now_s

    def setting(self, now_s: float) -> tuple[float, float]:
        """Voltage in V and current in A (a magnitude) to give at most; zero when stopped."""
        if self.command is None or self.command.stop or now_s - self.heard_s > SILENCE_S:
            return 0.0, 0.0
        return (
            min(self.voltage_max_v, self.command.voltage_dv / 10.0),
            min(self.current_max_a, self.command.current_da / 10.0),
        )

    def status(self, now_s: float, voltage_v: float, current_a: float) -> CanFrame:
        """The frame of this second. current_a: positive discharges, as measured at the charger."""
        flags = NO_COMMANDS if now_s - self.heard_s > SILENCE_S else 0
        given_da = max(0, min(65535, round(CURRENT_SIGN * current_a * 10.0)))
        return encode(Status(max(0, min(65535, round(voltage_v * 10.0))), -given_da, flags))


_WORKED = "the layout above, worked by hand"
VECTORS: Final = (
    Vector(
        CanFrame(COMMAND_ID, bytes.fromhex("03D400A000000000"), True),
        Command(980, 160),
        "example of the maker's description: 98.0 V, 16.0 A",
    ),
    Vector(
        CanFrame(COMMAND_ID, bytes.fromhex("0000000001000000"), True), Command(0, 0, True), _WORKED
    ),
    Vector(
        CanFrame(STATUS_ID, bytes.fromhex("03CA009F00000000"), True), Status(970, -159), _WORKED
    ),
    Vector(
        CanFrame(STATUS_ID, bytes.fromhex("0000000010000000"), True),
        Status(0, 0, NO_COMMANDS),
        _WORKED,
    ),
)
