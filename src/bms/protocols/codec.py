"""Any message database as a compiled codec.

    codec = Codec(cantools.database.load_file("vehicle.dbc"))
    codec.decode(0x123, data)                     {"Speed": 12.5, "Gear": "reverse"} or Malformed
    codec.encode("Motor", {"Torque": 30.5})       bytes, or ConfigError
    codec.columns("Motor", data)                  {"Torque": array of float64} of many frames

cantools reads the file; the bits are moved by bms._dbc, which knows little and big endian, signed
and IEEE numbers, scale and offset, words, and multiplexers within multiplexers. Numbers come out as
cantools gives them, bit for bit. Words are plain strings.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bms import _dbc
from bms.errors import ConfigError
from bms.protocols import Malformed

__all__ = ["EXTENDED", "Codec", "Value", "load"]

Value = float | int | str | None
EXTENDED = 1 << 31
"""Added to a 29-bit identifier wherever identifiers are keys."""

UNSIGNED, SIGNED, SINGLE, DOUBLE = range(4)
AS_IS, INTEGER, LINEAR = range(3)
NO_WORDS, ONE_WORD, WORD_LIST, WORD_DICT = range(4)
LONGEST_LIST = 256
WIDEST = 64  # bits of a signal that the compiled codec can hold


class Codec(_dbc.Table):
    """Messages of a cantools database. `none_word`: a word that is given and taken as None.

    decode(identifier, data, extended=False) and encode(name, values) are compiled; see there for
    what they do with what is wrong. Signals of more than 64 bits, half floats and containers are
    left to cantools itself. file: named in errors. ConfigError when a signal lies outside its
    message.
    """

    def __init__(
        self, database: Any, *, file: str = "database", none_word: str | None = None
    ) -> None:
        self.file, self.none_word = file, none_word
        self.messages: dict[str, Any] = {}
        self.by_identifier: dict[int, Any] = {}
        self.slow: dict[str, Any] = {}
        self.data_ids: dict[str, int] = {}
        """E2E data IDs of the protected messages."""
        self.compiled: dict[str, _dbc.Message] = {}
        table: dict[int, _dbc.Message] = {}
        for message in database.messages:
            key = message.frame_id | (EXTENDED if message.is_extended_frame else 0)
            self.messages[message.name] = self.by_identifier[key] = message
            if message.is_container or any(not _fits(s) for s in message.signals):
                self.slow[message.name] = message
                continue
            root = _group(message, file, none_word)
            data_id = _data_id(message)
            if data_id >= 0:
                self.data_ids[message.name] = data_id
            made = _dbc.Message(message.name, file, message.length, root, data_id)
            table[key] = self.compiled[message.name] = made
        super().__init__(table, Malformed)

    def decode_other(self, identifier: int, data: bytes, extended: bool) -> Any:
        """What the compiled table does not hold."""
        message = self.by_identifier.get(identifier | EXTENDED if extended else identifier)
        if message is None:
            return Malformed("unknown identifier")
        try:
            values = message.decode(bytes(data))
        except Exception as error:  # the bytes are from outside, and cantools raises many kinds
            return Malformed(f"cantools: {type(error).__name__}")
        if not isinstance(values, dict):
            return Malformed("a container, which is not taken apart")
        return {k: v if isinstance(v, int | float) else str(v) for k, v in values.items()}

    def encode_other(self, name: str, values: Mapping[str, Value]) -> bytes:
        """The same, the other way."""
        message = self.slow.get(name)
        if message is None:
            raise ConfigError(self.file, "message", name, "one of " + ", ".join(self.messages))
        try:
            return bytes(message.encode(dict(values)))
        except Exception as error:
            raise ConfigError(self.file, message.name, dict(values), str(error)) from error

    def columns(self, name: str, data: np.ndarray) -> dict[str, np.ndarray]:
        """Physical values of many frames of one message: signal -> float64 of shape (frames,), NaN
        where a signal is not sent or not available. Words are their numbers.

        data: uint8 of shape (frames, 64), such as frames["data"] of an array of links.FRAME_DTYPE;
        the frames must have the length of the message. ConfigError for a message that is not
        there."""
        message = self.compiled.get(name)
        if message is None:
            raise ConfigError(self.file, "message", name, "one of " + ", ".join(self.compiled))
        signals = message.signal_names
        out = np.full((len(signals), len(data)), np.nan)
        message.columns(np.ascontiguousarray(data, np.uint8), out)
        return dict(zip(signals, out, strict=True))


def load(path: Path) -> Codec:
    """The codec of a database in a file (DBC, KCD ...), as `--dbc` names one; ConfigError for a
    file that is none."""
    import cantools

    try:
        return Codec(cantools.database.load_file(str(path), strict=False), file=path.name)
    except OSError as error:
        raise ConfigError(
            "option", "--dbc", str(path), f"a file that can be read ({error.strerror})"
        ) from error
    except (ValueError, cantools.Error) as error:
        text = str(error).splitlines()[0][:100]
        raise ConfigError(
            "option", "--dbc", str(path), f"a database that cantools reads ({text})"
        ) from error


def _fits(signal: Any) -> bool:
    return bool(signal.length <= WIDEST and not (signal.is_float and signal.length == 16))


def _data_id(message: Any) -> int:
    """E2E data ID of a protected message, else -1."""
    attributes = message.dbc.attributes if message.dbc else {}
    if "E2EProfile" not in attributes or not attributes["E2EProfile"].value:
        return -1
    return int(attributes["E2EDataId"].value) if "E2EDataId" in attributes else -1


def _group(
    message: Any, file: str, none_word: str | None, mux: str | None = None, selected: int = 0
) -> _dbc.Group:
    """The signals under a value of a multiplexer, or those that are always there."""
    signals = [
        s for s in message.signals
        if s.multiplexer_signal == mux and (mux is None or selected in (s.multiplexer_ids or ()))
    ]  # fmt: skip
    group = _dbc.Group([_row(message, s, file, none_word) for s in signals])
    muxes = []
    for place, signal in enumerate(signals):
        if signal.is_multiplexer:
            under = [s for s in message.signals if s.multiplexer_signal == signal.name]
            values = sorted({v for s in under for v in s.multiplexer_ids or ()})
            chosen = {v: _group(message, file, none_word, signal.name, v) for v in values}
            muxes.append((place, chosen))
    group.muxes = tuple(muxes)
    return group


def _row(message: Any, signal: Any, file: str, none_word: str | None) -> dict[str, Any]:
    """Everything the compiled codec has to know of a signal."""
    scale, offset = signal.conversion.scale, signal.conversion.offset
    is_whole = float(scale).is_integer() and float(offset).is_integer() and not signal.is_float
    linear = INTEGER if is_whole else LINEAR
    conversion = AS_IS if (scale, offset) == (1, 0) else linear
    if signal.is_float:
        kind = SINGLE if signal.length == 32 else DOUBLE
    else:
        kind = SIGNED if signal.is_signed else UNSIGNED
    is_big = signal.byte_order == "big_endian"
    first = 8 * (signal.start // 8) + 7 - signal.start % 8 if is_big else signal.start
    if first + signal.length > 8 * message.length:
        key = f"{message.name}.{signal.name}"
        expected = f"a signal inside the {message.length} bytes of its message"
        raise ConfigError(file, key, f"bit {signal.start}, {signal.length} long", expected)
    lowest, highest = _range(signal, scale, offset)
    return {
        "name": signal.name, "unit": signal.unit or "", "byte": first // 8, "shift": first % 8,
        "bits": signal.length, "is_big": is_big, "kind": kind, "conversion": conversion,
        "scale": float(scale), "offset": float(offset), "lowest": lowest, "highest": highest,
        "int_scale": int(scale) if conversion == INTEGER else 1,
        "int_offset": int(offset) if conversion == INTEGER else 0,
        **_words(signal, none_word),
    }  # fmt: skip


def _range(signal: Any, scale: float, offset: float) -> tuple[float, float]:
    """What a signal may be: what its bits hold, and no more than the database says."""
    if signal.is_float:
        low, high = -float("inf"), float("inf")
    else:
        least = -(1 << signal.length - 1) if signal.is_signed else 0
        most = (1 << signal.length - bool(signal.is_signed)) - 1
        low, high = sorted((least * scale + offset, most * scale + offset))
    if signal.minimum is not None:
        low = max(low, float(signal.minimum))
    if signal.maximum is not None:
        high = min(high, float(signal.maximum))
    return float(low), float(high)


def _words(signal: Any, none_word: str | None) -> dict[str, Any]:
    choices = {int(raw): str(word) for raw, word in (signal.choices or {}).items()}
    numbers = {word: raw for raw, word in reversed(choices.items())}
    shown = {raw: None if word == none_word else word for raw, word in choices.items()}
    found: dict[str, Any] = {
        "numbers": numbers or None, "only_raw": 0, "words": None, "word_kind": NO_WORDS,
        "missing": (numbers.get(none_word, 0) if none_word else 0) & 0xFFFFFFFFFFFFFFFF,
    }  # fmt: skip
    if len(shown) == 1:
        ((found["only_raw"], found["words"]),) = shown.items()
        found["word_kind"] = ONE_WORD
    elif shown and not signal.is_signed and max(shown) < LONGEST_LIST and min(shown) >= 0:
        found["words"] = [shown.get(raw, ...) for raw in range(max(shown) + 1)]
        found["word_kind"] = WORD_LIST
    elif shown:
        found["words"], found["word_kind"] = shown, WORD_DICT
    return found
