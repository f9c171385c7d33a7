"""The compiled codec gives what cantools gives, and does with bad input what it promises."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import cantools
import numpy as np
import pytest

from bms import spec
from bms.errors import ConfigError
from bms.protocols import Malformed
from bms.protocols.codec import Codec

NASTY = Path(__file__).with_name("nasty.dbc")
DATABASES = {
    "ours": spec.database(),
    "nasty": cantools.database.load_file(str(NASTY)),
}


def cases() -> list[Any]:
    return [
        pytest.param(database, message, id=f"{where}-{message.name}")
        for where, database in DATABASES.items()
        for message in database.messages
    ]


def payloads(rng: random.Random, length: int, count: int) -> list[bytes]:
    edges = [bytes(length), b"\xff" * length, b"\x80" * length, b"\x55" * length]
    return edges + [rng.randbytes(length) for _ in range(count)]


def plain(values: dict[str, Any]) -> dict[str, Any]:
    """cantools' answer with words as strings."""
    return {k: v if isinstance(v, int | float) else str(v) for k, v in values.items()}


def same(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, float) and math.isnan(a):
        return math.isnan(b)
    return type(a) is type(b) and a == b


@pytest.mark.parametrize(("database", "message"), cases())
def test_every_payload_is_decoded_as_by_cantools(database: Any, message: Any, seed: int) -> None:
    codec, rng = Codec(database), random.Random(seed)
    for data in payloads(rng, message.length, 300):
        found = codec.decode(message.frame_id, data, message.is_extended_frame)
        try:
            expected = plain(message.decode(data))
        except cantools.database.DecodeError:
            assert found == Malformed("unknown multiplexer value")
            continue
        assert found.keys() == expected.keys()
        assert all(same(found[k], expected[k]) for k in expected), (data.hex(), found, expected)


@pytest.mark.parametrize(("database", "message"), cases())
def test_what_was_decoded_is_encoded_as_by_cantools(database: Any, message: Any, seed: int) -> None:
    """Over all bits that belong to a signal; the others are 0. Protected messages get their CRC."""
    codec, rng = Codec(database), random.Random(seed)
    is_protected = any(s.name == "Crc" for s in message.signals)
    for data in payloads(rng, message.length, 200):
        values = codec.decode(message.frame_id, data, message.is_extended_frame)
        if isinstance(values, Malformed):
            continue
        if any(isinstance(v, float) and not math.isfinite(v) for v in values.values()):
            continue
        try:
            expected = message.encode(values, strict=True)
        except cantools.database.EncodeError:  # a bit pattern beyond the range of its signal
            with pytest.raises(ConfigError):
                codec.encode(message.name, values)
            continue
        found = codec.encode(message.name, values)
        assert found[is_protected:] == expected[is_protected:], (data.hex(), values)


@pytest.mark.parametrize(("database", "message"), cases())
def test_random_numbers_are_rounded_as_by_cantools(database: Any, message: Any, seed: int) -> None:
    codec, rng = Codec(database), random.Random(seed)
    if message.is_multiplexed() or any(s.name == "Crc" for s in message.signals):
        pytest.skip("selectors and CRCs are not free")
    for _ in range(200):
        values = {}
        for s in message.signals:
            low, high = (s.minimum, s.maximum) if s.maximum else (-2.0, 2.0)
            low = max(low, 0.0) if s.minimum is None and not s.is_signed else low
            values[s.name] = rng.uniform(float(low), float(high))
        try:
            expected = message.encode(values, strict=True)
        except (cantools.database.EncodeError, OverflowError):
            continue
        assert codec.encode(message.name, values) == expected


def test_columns_are_the_values_one_by_one(seed: int) -> None:
    rng = random.Random(seed)
    for database in DATABASES.values():
        codec = Codec(database, none_word="not_available")
        for message in database.messages:
            data = np.zeros((40, 64), np.uint8)
            rows = payloads(rng, message.length, 36)
            for k, row in enumerate(rows):
                data[k, : len(row)] = np.frombuffer(row, np.uint8)
            columns = codec.columns(message.name, data)
            assert set(columns) == {s.name for s in message.signals}
            for k, row in enumerate(rows):
                values = codec.decode(message.frame_id, row, message.is_extended_frame)
                if isinstance(values, Malformed):
                    continue
                for name, column in columns.items():
                    value = values.get(name)
                    if value is None:
                        assert math.isnan(column[k])
                    elif not isinstance(value, str):
                        assert column[k] == value or (math.isnan(column[k]) and math.isnan(value))


def test_bad_bytes_are_malformed_and_nothing_else(seed: int) -> None:
    rng = random.Random(seed)
    for database in DATABASES.values():
        codec = Codec(database)
        keys = [(m.frame_id, m.is_extended_frame) for m in database.messages]
        for _ in range(3000):
            identifier, is_extended = rng.choice(keys)
            found = codec.decode(identifier, rng.randbytes(rng.randint(0, 70)), is_extended)
            assert isinstance(found, dict | Malformed)
    assert codec.decode(291, b"\0" * 7) == Malformed("too short")
    assert codec.decode(291, b"\0" * 8, extended=True) == Malformed("unknown identifier")
    assert codec.decode(5, b"") == Malformed("unknown identifier")


@pytest.mark.parametrize(
    ("name", "values", "key", "expected"),
    [
        ("Nothing", {}, "message", "one of"),
        ("NinthByte", {"Nope": 1}, "NinthByte.Nope", "one of"),
        ("NinthByte", {"Gear": "sideways"}, "NinthByte.Gear", "one of"),
        ("NinthByte", {"Gear": 8}, "NinthByte.Gear", "0 to 7"),
        ("NinthByte", {"Little": 2**63}, "NinthByte.Little", "0 to"),
        ("NinthByte", {"Little": 2**70}, "NinthByte.Little", "0 to"),
        ("NinthByte", {"Bit": [1]}, "NinthByte.Bit", "a number"),
        ("Motorola", {"Across": -1}, "Motorola.Across", "0 to 4095"),
        ("Motorola", {"Across": float("inf")}, "Motorola.Across", "0 to 4095"),
        ("WideSigned", {"All": -(2**63) - 1}, "WideSigned.All", "to"),
        ("Muxed", {"Outer": 4}, "Muxed.Outer", "one of"),
    ],
)
def test_what_cannot_be_sent_is_refused_with_its_place(
    name: str, values: dict[str, Any], key: str, expected: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        Codec(DATABASES["nasty"], file="nasty.dbc").encode(name, values)
    assert caught.value.key == key
    assert expected in str(caught.value)


def test_a_word_for_nothing_is_none_both_ways() -> None:
    codec = Codec(DATABASES["nasty"], none_word="not_available")
    data = codec.encode("NinthByte", {"Gear": None, "Words": "minus"})
    assert codec.decode(295, data) == {"Little": 0, "Bit": 0, "Words": "minus", "Gear": None}
    assert codec.encode("NinthByte", {"Words": -1, "Gear": float("nan")}) == data


def test_numpy_numbers_are_numbers() -> None:
    codec = Codec(DATABASES["nasty"])
    values = {"Across": np.int16(7), "WholeScaled": np.float32(60.0)}
    assert codec.encode("Motorola", values) == codec.encode(
        "Motorola", {"Across": 7, "WholeScaled": 60}
    )


def test_a_signal_outside_its_message_is_refused() -> None:
    text = NASTY.read_text("utf-8").replace("Gear : 80|3@1+", "Gear : 95|3@1+")
    database = cantools.database.load_string(text, "dbc", strict=False)
    with pytest.raises(ConfigError, match=r"NinthByte\.Gear.*inside the 12 bytes"):
        Codec(database)
