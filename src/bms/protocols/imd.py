"""An insulation monitor on CAN.

It is of the kind of Bender's iso165C, with a frame layout of our own, not a copy of theirs.
All numbers are big-endian, identifiers 11-bit.

037, each second, 8 bytes: 0-1 resistance of the weaker pole to chassis in kohm, FFFF not known,
     clipped at 50000; 2 state; 3 self-test; 4 bit 0 the value is valid; 5 low nibble message
     counter; 6-7 pack voltage in 0.1 V.
022, once when the self-test ends, 8 bytes: 0 kind (1), 1 self-test, 2-5 serial number, 6-7 zero.
"""

from __future__ import annotations

from typing import Final

import msgspec

from bms.protocols import CanFrame, Malformed, Vector

MEDIUM: Final = "can"
INFO_ID, RESPONSE_ID = 0x037, 0x022
UNKNOWN_KOHM, MAXIMUM_KOHM = 0xFFFF, 50_000
STATES: Final = ("starting", "measuring", "failed")
SELF_TESTS: Final = ("not_run", "running", "passed", "failed")


class Info(msgspec.Struct, frozen=True, tag=True):
    """What is measured. `insulation_kohm` is None while it is not known."""

    insulation_kohm: int | None
    state: str
    self_test: str
    is_valid: bool
    counter: int
    pack_voltage_dv: int  # 0.1 V


class Response(msgspec.Struct, frozen=True, tag=True):
    """The end of the self-test."""

    self_test: str
    serial: int


Message = Info | Response


def decode(wire: CanFrame) -> Message | Malformed:
    """One frame.

    Malformed: "identifier", "length", "value" (a resistance or pack voltage no device sends),
    "state" or "kind".
    """
    if wire.extended or wire.can_id not in (INFO_ID, RESPONSE_ID):
        return Malformed("identifier")
    data = wire.data
    if len(data) != 8:
        return Malformed("length")
    if wire.can_id == RESPONSE_ID:
        if data[0] != 1 or data[1] >= len(SELF_TESTS) or data[6] or data[7]:
            return Malformed("kind")
        return Response(SELF_TESTS[data[1]], int.from_bytes(data[2:6], "big"))
    kohm = int.from_bytes(data[0:2], "big")
    if MAXIMUM_KOHM < kohm < UNKNOWN_KOHM or (data[4] & 1 and kohm == UNKNOWN_KOHM):
        return Malformed("value")
    if data[2] >= len(STATES) or data[3] >= len(SELF_TESTS) or data[4] > 1 or data[5] > 15:
        return Malformed("state")
    return Info(
        None if kohm == UNKNOWN_KOHM else kohm,
        STATES[data[2]],
        SELF_TESTS[data[3]],
        data[4] == 1,
        data[5],
        int.from_bytes(data[6:8], "big"),
    )


def encode(message: Message) -> CanFrame:
    """The frame of a message. Raises ValueError or OverflowError for values no frame can carry."""
    if isinstance(message, Response):
        body = bytes([1, SELF_TESTS.index(message.self_test)]) + message.serial.to_bytes(4, "big")
        return CanFrame(RESPONSE_ID, body + b"\x00\x00")
    kohm = UNKNOWN_KOHM if message.insulation_kohm is None else message.insulation_kohm
    if not 0 <= message.counter < 16:
        raise ValueError(f"counter {message.counter} out of range")
    places = [STATES.index(message.state), SELF_TESTS.index(message.self_test)]
    flags = [int(message.is_valid), message.counter]
    voltage = message.pack_voltage_dv.to_bytes(2, "big")
    return CanFrame(INFO_ID, kohm.to_bytes(2, "big") + bytes(places + flags) + voltage)


_OWN = "the layout above, worked by hand"
VECTORS: Final = (
    Vector(
        CanFrame(0x037, bytes.fromhex("FFFF000100000E10")),
        Info(None, "starting", "running", False, 0, 3600),
        _OWN,
    ),
    Vector(
        CanFrame(0x037, bytes.fromhex("138801020105 0E10")),
        Info(5000, "measuring", "passed", True, 5, 3600),
        _OWN,
    ),
    Vector(CanFrame(0x022, bytes.fromhex("010200BC614E0000")), Response("passed", 12345678), _OWN),
)
