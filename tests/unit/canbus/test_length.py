"""Length of frames on the wire against the bit-by-bit reference and published bounds."""

from __future__ import annotations

import importlib.util
import random
from pathlib import Path

import pytest

from bms import canbus
from bms._canbus import arbitration_key, frame_length

ROOT = Path(__file__).resolve().parents[3]
INTERMISSION = 3


def load(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


reference = load(Path(__file__).with_name("reference.py"))


def payload(rng: random.Random, length: int) -> bytes:
    """Bytes rich in long runs, so that stuffing has something to do."""
    return bytes(rng.choice((0, 255, 0x0F, 0xF0, 0x1F, rng.randrange(256))) for _ in range(length))


def test_classical_frames_are_as_long_as_the_reference_says(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(1500):
        flags, length = rng.choice((0, 0, 1, 2, 3)), rng.randint(0, 8)
        data = b"" if flags & 2 else payload(rng, length)
        identifier = rng.choice((0, 2**29 - 1, rng.getrandbits(29))) & (
            2**29 - 1 if flags & 1 else 0x7FF
        )
        expected = reference.classic_length(identifier, data, flags, length)
        assert frame_length(identifier, data, flags, length) == (expected, 0, 0)


def test_fd_frames_are_as_long_as_the_reference_says(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(600):
        flags = 4 | rng.choice((0, 1, 8, 9))
        data = payload(rng, rng.choice(reference.FD_LENGTHS))
        identifier = rng.getrandbits(29) & (2**29 - 1 if flags & 1 else 0x7FF)
        assert frame_length(identifier, data, flags) == reference.fd_length(identifier, data, flags)


def test_eight_bytes_take_between_111_and_135_bits() -> None:
    """Tindell and Burns, 1994: 47 + 8n bits, and one more for every four of 34 + 8n - 1."""
    rng = random.Random(5)
    lengths = {canbus.frame_bits(rng.randrange(2048), payload(rng, 8)) for _ in range(4000)}
    assert min(lengths) >= 111
    assert max(lengths) <= 135
    assert canbus.frame_bits(0x555, b"\xaa" * 8) < 116
    assert canbus.frame_bits(0, b"\0" * 8) > 125
    assert 1e6 / canbus.frame_us(0x555, b"\xaa" * 8, bitrate_bps=500_000) <= 4505


def test_the_stuffed_region_ends_with_the_crc_of_the_destuffed_bits() -> None:
    """CRC-15/CAN of "123456789" is 0x059E (catalogue of parametrised CRC algorithms)."""
    bits = [bit for byte in b"123456789" for bit in reference.bits_of(byte, 8)]
    assert reference.crc15(bits) == reference.bits_of(0x059E, 15)


def test_fd_data_travels_at_the_faster_rate() -> None:
    slow = canbus.frame_us(0x123, bytes(64), 4, bitrate_bps=500_000, data_bitrate_bps=2_000_000)
    fast = canbus.frame_us(0x123, bytes(64), 12, bitrate_bps=500_000, data_bitrate_bps=2_000_000)
    assert fast < slow / 3


def test_tables_are_what_the_tool_writes() -> None:
    tool = load(ROOT / "tools/canbus_tables.py")
    assert tool.FILE.read_text("utf-8") == tool.text()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((0x100, 0), (0x101, 0)),
        ((0x100, 0), (0x100, 2)),
        ((0x100, 2), (0x100 << 18, 1)),
        ((0x100 << 18, 1), (0x101, 0)),
        ((0x100 << 18, 1), (0x100 << 18, 3)),
        ((0x100 << 18, 1), ((0x100 << 18) + 1, 1)),
    ],
)
def test_arbitration_order(first: tuple[int, int], second: tuple[int, int]) -> None:
    """Lower identifier, data before remote, standard before extended of the same base."""
    assert arbitration_key(*first) < arbitration_key(*second)
