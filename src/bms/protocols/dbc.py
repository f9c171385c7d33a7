"""Frames of the vehicle bus, as bms.dbc says: bytes <-> values by name.

    decode(0x103, data)   {"Counter": 4, "SocValid": "yes", "Soc": 63.21, ...} or Malformed
    encode("VcuRequest", {"Mode": "drive", "BalanceAllowed": "yes", "Counter": 4})

Numbers are in the unit of the signal, enumerations are words (a number without a word stays a
number), and what the sender marked as not available is None. `decode` looks only at the layout;
whether a protected frame is right and fresh is for `e2e.Receiver`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any

from bms import spec
from bms.errors import ConfigError
from bms.protocols import Malformed, e2e

Value = float | int | str | None
NOT_AVAILABLE = "not_available"

CURRENT_SIGN = 1
"""PackCurrent: "Pack current, positive discharges." The same as everywhere inside."""


@lru_cache(maxsize=1)
def _by_id() -> dict[int, Any]:
    return {message.frame_id: message for message in spec.database().messages}


@lru_cache(maxsize=1)
def _by_name() -> dict[str, Any]:
    return {message.name: message for message in spec.database().messages}


@cache
def _words(message: str) -> dict[str, dict[int, str]]:
    return {s.name: spec.choices(message, s.name) for s in _by_name()[message].signals}


def names() -> tuple[str, ...]:
    """Names of all messages."""
    return tuple(_by_name())


def frame_id(name: str) -> int:
    """Identifier of a message; ConfigError if there is none of that name."""
    return int(_message(name).frame_id)


def data_id(name: str) -> int | None:
    """E2E data ID of a message; None if it is not protected."""
    message = _message(name)
    attributes = message.dbc.attributes
    is_protected = "E2EProfile" in attributes and attributes["E2EProfile"].value
    return int(attributes["E2EDataId"].value) if is_protected else None


def decode(frame_id: int, data: bytes) -> dict[str, Value] | Malformed:
    """Values of a data frame with an 11-bit identifier. Never raises, whatever the bytes."""
    message = _by_id().get(frame_id)
    if message is None:
        return Malformed("unknown identifier")
    if len(data) != message.length:
        return Malformed("wrong length")
    raw = message.decode(bytes(data), decode_choices=False, scaling=False)
    words = _words(message.name)
    return {s.name: _physical(s, raw[s.name], words[s.name]) for s in message.signals}


def _physical(signal: Any, raw: int, words: dict[int, str]) -> Value:
    word = words.get(raw)
    if word is not None:
        return None if word == NOT_AVAILABLE else word
    scale, offset = signal.conversion.scale, signal.conversion.offset
    return raw if (scale, offset) == (1, 0) else raw * scale + offset


def encode(name: str, values: Mapping[str, Value]) -> bytes:
    """Data of a frame. What is not given is not available where the signal knows that, else 0. The
    CRC of a protected message is
    put in last, over the given Counter.

    ConfigError for an unknown message, signal or word, and for a number outside the range of its
    signal.
    """
    message = _message(name)
    known = {s.name: s for s in message.signals}
    for key, value in values.items():
        if key not in known:
            raise ConfigError(spec.DBC.name, f"{name}.{key}", value, "one of " + ", ".join(known))
    raw = {key: _raw(name, s, values.get(key)) for key, s in known.items()}
    data: bytes = message.encode(raw, scaling=False, strict=False)
    identifier = data_id(name)
    return data if identifier is None else e2e.p01_protect(data, identifier, raw["Counter"])


def _raw(name: str, signal: Any, value: Value) -> int:
    key = f"{name}.{signal.name}"
    numbers = {word: number for number, word in _words(name)[signal.name].items()}
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return numbers.get(NOT_AVAILABLE, 0)
    if isinstance(value, str):
        if value not in numbers:
            expected = "one of " + ", ".join(numbers) if numbers else "a number"
            raise ConfigError(spec.DBC.name, key, value, expected)
        return numbers[value]
    scale, offset = signal.conversion.scale, signal.conversion.offset
    # 2047 * 0.1 is a rounding above 204.7 and the same raw number; whole numbers have no such slack
    slack = 0 if scale == 1 else abs(scale) * 1e-6
    if not signal.minimum - slack <= value <= signal.maximum + slack:
        expected = f"{signal.minimum:g} to {signal.maximum:g} {signal.unit or ''}".rstrip()
        raise ConfigError(spec.DBC.name, key, value, expected)
    return int(value - offset) if scale == 1 else round((value - offset) / scale)


def _message(name: str) -> Any:
    try:
        return _by_name()[name]
    except KeyError:
        raise ConfigError(spec.DBC.name, "message", name, "one of " + ", ".join(names())) from None
