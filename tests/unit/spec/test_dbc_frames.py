"""Frames of the vehicle bus in Python: round trips, refusals, agreement with the generated C."""

from __future__ import annotations

import ctypes
import math
import random
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from bms import spec
from bms.errors import ConfigError
from bms.protocols import Malformed, dbc, e2e


def random_values(name: str, chance: random.Random) -> dict[str, dbc.Value]:
    values: dict[str, dbc.Value] = {}
    for s in spec.database().get_message_by_name(name).signals:
        words = [w for w in spec.choices(name, s.name).values() if w != "not_available"]
        if words:
            values[s.name] = chance.choice(words)
        elif "not_available" in spec.choices(name, s.name).values() and chance.random() < 0.2:
            values[s.name] = None
        else:
            low, high = (
                x - s.conversion.offset
                if s.conversion.scale == 1  # 56 bits do not fit a quotient
                else round((x - s.conversion.offset) / s.conversion.scale)
                for x in (s.minimum, s.maximum)
            )
            raw = chance.choice((low, high, chance.randint(low, high)))  # both ends, every time
            values[s.name] = raw * s.conversion.scale + s.conversion.offset
    values.pop("Crc", None)
    return values


@pytest.mark.parametrize("name", dbc.names())
def test_what_is_encoded_is_decoded(name: str, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(50):
        values = random_values(name, chance)
        data = dbc.encode(name, values)
        found = dbc.decode(dbc.frame_id(name), data)
        assert isinstance(found, dict)
        for key, value in values.items():
            expected = (
                value if value is None or isinstance(value, str) else pytest.approx(value, abs=1e-9)
            )
            assert found[key] == expected, key
        identifier = dbc.data_id(name)
        if identifier is not None:
            assert e2e.Receiver(identifier).check(data) is e2e.Status.INITIAL


def test_any_frame_is_decoded_or_malformed(seed: int) -> None:
    chance = random.Random(seed)
    known = [dbc.frame_id(name) for name in dbc.names()]
    for _ in range(3000):
        identifier = chance.choice([*known, chance.randrange(1 << 29), -1])
        data = chance.randbytes(chance.choice((8, 8, 8, 0, 7, 9, 64)))
        found = dbc.decode(identifier, data)
        assert isinstance(found, dict) == (identifier in known and len(data) == 8)
        if isinstance(found, dict):
            assert not any(isinstance(v, float) and not math.isfinite(v) for v in found.values())


def test_malformed_says_why() -> None:
    assert dbc.decode(0x7FF, bytes(8)) == Malformed("unknown identifier")
    assert dbc.decode(0x100, bytes(7)) == Malformed("wrong length")


def test_a_sentinel_is_no_number() -> None:
    found = dbc.decode(dbc.frame_id("BmsPack"), bytes.fromhex("00 00 FF FF 10 27 00 80"))
    assert isinstance(found, dict)
    assert found["PackVoltage"] is None and found["PackCurrent"] is None
    assert found["LinkVoltage"] == pytest.approx(1000.0)


def test_what_is_not_given_is_the_cautious_value() -> None:
    limits = dbc.decode(dbc.frame_id("BmsLimits"), dbc.encode("BmsLimits", {}))
    request = dbc.decode(dbc.frame_id("VcuRequest"), dbc.encode("VcuRequest", {}))
    soc = dbc.decode(dbc.frame_id("BmsSoc"), dbc.encode("BmsSoc", {"Soc": float("nan")}))
    assert isinstance(limits, dict) and isinstance(request, dict) and isinstance(soc, dict)
    assert limits["ChargeCurrentLimit"] == limits["DischargeCurrentLimit"] == 0.0
    assert request["Mode"] == "standby" and request["ClearRequest"] == "no"
    assert soc["Soc"] is None and soc["SocValid"] == "no"


def test_an_enumeration_without_a_word_stays_a_number() -> None:
    data = bytearray(dbc.encode("BmsState", {}))
    data[1] |= 0xF0
    found = dbc.decode(0x100, bytes(data))
    assert isinstance(found, dict) and found["State"] == 15


@pytest.mark.parametrize(
    ("name", "values", "key"),
    [
        ("Nonsense", {}, "message"),
        ("BmsSoc", {"Sock": 1.0}, "BmsSoc.Sock"),
        ("BmsSoc", {"Soc": 100.1}, "BmsSoc.Soc"),
        ("BmsSoc", {"Soc": -0.01}, "BmsSoc.Soc"),
        ("BmsSoc", {"Soc": float("inf")}, "BmsSoc.Soc"),
        ("BmsSoc", {"Soc": "much"}, "BmsSoc.Soc"),
        ("VcuRequest", {"Mode": "fly"}, "VcuRequest.Mode"),
        ("VcuRequest", {"Counter": 15}, "VcuRequest.Counter"),
        ("BmsLimits", {"ChargeCurrentLimit": "all"}, "BmsLimits.ChargeCurrentLimit"),
    ],
)
def test_wrong_values_are_refused_by_name(
    name: str, values: dict[str, dbc.Value], key: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        dbc.encode(name, values)
    assert caught.value.key == key


def test_discharge_is_positive_on_the_wire() -> None:
    data = dbc.encode("BmsPack", {"PackCurrent": 100.0})
    assert dbc.CURRENT_SIGN == 1 and int.from_bytes(data[6:8], "little", signed=True) == 2000


@pytest.fixture(scope="module")
def c_library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not compiler:
        pytest.skip("no C compiler here")
    folder = Path(__file__).resolve().parents[3] / "ext" / "firmware" / "generated"
    library = tmp_path_factory.mktemp("dbc") / "bms_dbc.so"
    subprocess.run(
        [compiler, "-std=c99", "-shared", "-fPIC", str(folder / "bms_dbc.c"), "-o", str(library)],
        check=True,
    )
    return ctypes.CDLL(str(library))


def c_type(s) -> type:
    """What the generated struct holds a signal in."""
    size = next(width for width in (8, 16, 32, 64) if s.length <= width)
    kind: type = getattr(ctypes, f"c_{'' if s.is_signed else 'u'}int{size}")
    return kind


@pytest.mark.parametrize("name", dbc.names())
def test_generated_c_unpacks_and_packs_the_same_bits(
    name: str, c_library: ctypes.CDLL, seed: int
) -> None:
    """Through C and back: every bit that belongs to a signal survives, and the raw values are
    Python's.
    """
    chance = random.Random(seed)
    message = spec.database().get_message_by_name(name)
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    kinds = [(f"s{i}", c_type(s)) for i, s in enumerate(message.signals)]
    struct = type("Struct", (ctypes.Structure,), {"_fields_": kinds})
    unpack = getattr(c_library, f"bms_dbc_{snake}_unpack")
    pack = getattr(c_library, f"bms_dbc_{snake}_pack")
    for function in (unpack, pack):
        function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
    for _ in range(50):
        data = (ctypes.c_uint8 * 8)(*chance.randbytes(8))
        values = struct()
        assert unpack(ctypes.byref(values), data, 8) == 0
        raw = message.decode(bytes(data), decode_choices=False, scaling=False)
        assert [getattr(values, f"s{i}") for i in range(len(kinds))] == [
            raw[s.name] for s in message.signals
        ]
        again = (ctypes.c_uint8 * 8)()
        assert pack(again, ctypes.byref(values), 8) == 8
        assert message.decode(bytes(again), decode_choices=False, scaling=False) == raw
        assert unpack(ctypes.byref(values), data, 7) < 0
