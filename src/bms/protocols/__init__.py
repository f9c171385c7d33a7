"""Wire protocols: pure functions between bytes and typed messages, one file each.

A module speaks a wire if it defines `MEDIUM`; conformance tests find it by that and expect

    MEDIUM          "serial" (bytes) or "can" (CanFrame)
    VECTORS         tuple of Vector(wire, message, source), from a document or a real device
    decode(wire)    a typed message, or Malformed(reason); never raises, whatever the bytes
    encode(message) the wire form; decode(encode(m)) == m
    CURRENT_SIGN    where a message carries a current: +1 if positive discharges on the wire,
                    -1 if positive charges

Inside this package a positive current discharges; only a protocol file may turn the sign.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

__all__ = ["CanFrame", "Malformed", "Vector"]


class CanFrame(msgspec.Struct, frozen=True):
    """A classic CAN or CAN FD data frame."""

    can_id: int
    data: bytes
    extended: bool = False


class Malformed(msgspec.Struct, frozen=True):
    """What a decoder returns instead of raising. Readers count these by reason."""

    reason: str


class Vector(NamedTuple):
    """One known pair of wire form and message, and where it is known from."""

    wire: Any
    message: Any
    source: str
