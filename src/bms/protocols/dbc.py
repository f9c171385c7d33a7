"""Frames of the vehicle bus, as bms.dbc says: bytes <-> values by name.

    decode(0x103, data)   {"Counter": 4, "SocValid": "yes", "Soc": 63.21, ...} or Malformed
    encode("VcuRequest", {"Mode": "drive", "BalanceAllowed": "yes", "Counter": 4})

Numbers are in the unit of the signal, enumerations are words (a number without a word stays a
number), and what the sender marked as not available is None. `decode` looks only at the layout;
whether a protected frame is right and fresh is for `e2e.Receiver`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from bms import spec
from bms.errors import ConfigError
from bms.protocols import Malformed
from bms.protocols.codec import Codec
from bms.protocols.codec import Value as Value  # re-exported

NOT_AVAILABLE = "not_available"

CURRENT_SIGN = 1
"""PackCurrent: "Pack current, positive discharges." The same as everywhere inside."""


@lru_cache(maxsize=1)
def codec() -> Codec:
    """The compiled codec of bms.dbc, for those who decode many frames."""
    return Codec(spec.database(), file=spec.DBC.name, none_word=NOT_AVAILABLE)


@lru_cache(maxsize=1)
def _lengths() -> dict[int, int]:
    return {message.frame_id: message.length for message in spec.database().messages}


def names() -> tuple[str, ...]:
    """Names of all messages."""
    return tuple(codec().messages)


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
    if len(data) != _lengths().get(frame_id, len(data)):
        return Malformed("wrong length")
    values: dict[str, Value] | Malformed = codec().decode(frame_id, data)
    return values


def encode(name: str, values: Mapping[str, Value]) -> bytes:
    """Data of a frame. What is not given is not available where the signal knows that, else 0. The
    CRC of a protected message is put in last, over the given Counter.

    ConfigError for an unknown message, signal or word, and for a number outside the range of its
    signal.
    """
    return codec().encode(name, values)


def _message(name: str) -> Any:
    try:
        return codec().messages[name]
    except KeyError:
        raise ConfigError(spec.DBC.name, "message", name, "one of " + ", ".join(names())) from None
