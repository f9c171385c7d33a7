"""SLCAN, socketcand and cannelloni as bytes: quirks, and an obvious second implementation."""

import random
import re

import pytest

from bms import _links
from bms._links import Frame

LENGTHS = (*range(9), 12, 16, 20, 24, 32, 48, 64)
KINDS = {
    "t": {}, "T": {"extended": True}, "r": {"remote": True},
    "R": {"remote": True, "extended": True}, "d": {"fd": True},
    "D": {"fd": True, "extended": True}, "b": {"fd": True, "brs": True},
    "B": {"fd": True, "brs": True, "extended": True},
}  # fmt: skip


def any_frame(draw: random.Random, *, fd: bool = True) -> Frame:
    options = KINDS[draw.choice("tTrRdDbB" if fd else "tTrR")]
    number = draw.randrange(1 << (29 if "extended" in options else 11))
    length = draw.choice(LENGTHS if "fd" in options else LENGTHS[:9])
    if "remote" in options:
        return Frame(number, length=length, **options)
    return Frame(number, draw.randbytes(length), **options)


def slowly(line: str) -> tuple[Frame, int | None] | str:
    """What slcan_decode does, by a regular expression and without haste."""
    if line[:1] not in KINDS or not line:
        return "unknown"
    options = KINDS[line[0]]
    digits = 8 if "extended" in options else 3
    if len(line) < digits + 2:
        return "length"
    if not re.fullmatch(r"[0-9A-Fa-f]+", line[1 : digits + 2]):
        return "digit"
    number, code = int(line[1 : digits + 1], 16), int(line[digits + 1], 16)
    if number >= 1 << (29 if "extended" in options else 11):
        return "identifier"
    if "fd" not in options and code > 8:
        return "length"
    length, rest = LENGTHS[code], line[digits + 2 :]
    wanted = 2 * length
    if "remote" in options and len(rest) not in (wanted, wanted + 4):
        wanted = 0
    if len(rest) not in (wanted, wanted + 4):
        return "length"
    if rest and not re.fullmatch(r"[0-9A-Fa-f]+", rest):
        return "digit"
    stamp = int(rest[wanted:], 16) if rest[wanted:] else None
    if stamp is not None and stamp >= 60000:
        return "length"
    if "remote" in options:
        return Frame(number, length=length, **options), stamp
    return Frame(number, bytes.fromhex(rest[:wanted]), **options), stamp


@pytest.mark.parametrize(
    ("line", "result"),
    [
        (b"t1", "length"),
        (b"t8000", "identifier"),
        (b"T200000000", "identifier"),
        (b"t1239001122334455667788", "length"),
        (b"t12g0", "digit"),
        (b"t1231g0", "digit"),
        (b"t12321", "length"),
        (b"t123111223", "length"),
        (b"t1230EA60", "length"),
        (b"t1230EA5F", (Frame(0x123), 59999)),
        (b"t12321a2b", (Frame(0x123, b"\x1a\x2b"), None)),
        (b"T1fffffff0", (Frame(0x1FFFFFFF, extended=True), None)),
        (b"r1238", (Frame(0x123, remote=True, length=8), None)),
        (b"r12381122334455667788", (Frame(0x123, remote=True, length=8), None)),  # slcanpty
        (b"r1232000000FF", (Frame(0x123, remote=True, length=2), 255)),
        (b"r12320000", (Frame(0x123, remote=True, length=2), None)),
        (b"r123300FF", (Frame(0x123, remote=True, length=3), 255)),
        (b"r1238112233445566778", "length"),
        (b"z", "unknown"),
        (b"", "unknown"),
        (b"t123\x00", "digit"),
    ],
)
def test_slcan_lines_at_the_edges(line: bytes, result: object) -> None:
    assert _links.slcan_decode(line) == result


def test_slcan_agrees_with_the_slow_reading_of_random_lines(seed: int) -> None:
    draw = random.Random(seed)
    found = set()
    for _ in range(30_000):
        line = bytearray(_links.slcan_encode(any_frame(draw), draw.choice((None, 0, 59999)))[:-1])
        for _ in range(draw.choice((0, 0, 1, 2))):
            place = draw.randrange(len(line))
            change = draw.randrange(3)
            if change == 0:
                line[place] ^= 1 << draw.randrange(7)
            elif change == 1:
                del line[place:]
                line += b"0"
            else:
                line.insert(place, draw.choice(b"0fFgz"))
        result = _links.slcan_decode(bytes(line))
        assert result == slowly(line.decode("latin-1")), bytes(line)
        found.add(result if isinstance(result, str) else "frame")
    assert found == {"frame", "unknown", "digit", "length", "identifier"}


def test_every_codec_gives_back_what_it_was_given(seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(5_000):
        frame, classic = any_frame(draw), any_frame(draw, fd=False)
        assert _links.slcan_decode(_links.slcan_encode(frame)[:-1]) == (frame, None)
        for stamp_us in (None, draw.randrange(10**16)):
            text = _links.socketcand_encode(classic, stamp_us)
            assert re.fullmatch(rb"< [^<>]+ >", text)
            assert _links.socketcand_decode(text[1:-1]) == (classic, stamp_us or 0)
        frames = [any_frame(draw) for _ in range(draw.randrange(20))]
        sequence = draw.randrange(256)
        raw = _links.datagram_encode(frames, sequence)
        assert _links.datagram_decode(raw) == (frames, sequence)
        assert _links.datagram_decode(raw + b"\0") == "length"
        assert isinstance(_links.datagram_decode(raw[: draw.randrange(len(raw))]), str)


def test_there_is_no_line_for_what_a_protocol_does_not_carry() -> None:
    error = Frame(0x20, error=True)
    assert _links.slcan_encode(error) == b""
    assert _links.socketcand_encode(error) == b""
    assert _links.socketcand_encode(error, 1_500_000) == b"< error 020 1.500000 >"
    assert _links.socketcand_encode(Frame(1, fd=True), 0) == b""


@pytest.mark.parametrize(
    ("text", "result"),
    [
        (b" frame 123 23.424242 11223344 ", (Frame(0x123, b"\x11\x22\x33\x44"), 23_424_242)),
        (b" frame 123 23.424242 11 22 33 44 ", (Frame(0x123, b"\x11\x22\x33\x44"), 23_424_242)),
        (b" frame 123 23.4  ", (Frame(0x123), 23_400_000)),
        (b" frame 00000123 23 A ", (Frame(0x123, b"\x0a", extended=True), 23_000_000)),
        (b" rtr 123 23.424242 4 ", (Frame(0x123, remote=True, length=4), 23_424_242)),
        (b" error 004 1.000001 ", (Frame(4, bytes(8), error=True), 1_000_001)),
        (b" error could not open bus ", "other"),
        (b" send 123 2 a ff ", (Frame(0x123, b"\x0a\xff"), 0)),
        (b" send 1AAAAAAA 2 1 F1 ", (Frame(0x1AAAAAAA, b"\x01\xf1", extended=True), 0)),
        (b"send 12 0", (Frame(0x12), 0)),
        (b" sendrtr 123 2 ", (Frame(0x123, remote=True, length=2), 0)),
        (b" send 123 2 a ", "length"),
        (b" send 123 9 1 2 3 4 5 6 7 8 9 ", "length"),
        (b" send 123 1 2 3 4 5 6 7 8 9 a b c ", "length"),
        (b" send 800 0 ", "identifier"),
        (b" send 20000000 0 ", "identifier"),
        (b" send 12g 0 ", "digit"),
        (b" send 123 1 100 ", "length"),
        (b" frame 123 1.0 123 ", "length"),
        (b" frame 123 1.x 12 ", "digit"),
        (b" frame 123 ", "length"),
        (b" make tea ", "unknown"),
        (b"  ", "unknown"),
        (b" hi ", "other"),
    ],
)
def test_socketcand_messages(text: bytes, result: object) -> None:
    assert _links.socketcand_decode(text) == result


def test_a_frame_without_data_keeps_the_blank_that_python_can_needs() -> None:
    assert _links.socketcand_encode(Frame(0x123), 1_000_001) == b"< frame 123 1.000001  >"
    assert _links.socketcand_encode(Frame(0x123, b"\x0a"), 0) == b"< frame 123 0.000000 0A >"


@pytest.mark.parametrize(
    ("raw", "result"),
    [
        ("02 00 07 0001 00000123 02 AABB", ([Frame(0x123, b"\xaa\xbb")], 7)),
        ("02 00 07 0001 98FF50E5 00", ([Frame(0x18FF50E5, extended=True)], 7)),
        ("02 00 07 0001 40000123 04", ([Frame(0x123, remote=True, length=4)], 7)),
        ("02 00 07 0001 00000123 8C 01 " + 12 * "5A",
         ([Frame(0x123, 12 * b"\x5a", fd=True, brs=True)], 7)),
        ("02 00 FF 0000", ([], 255)),
        ("02 00 07 0001 00000800 00", "identifier"),
        ("02 00 07 0001 00000123 09 000000000000000000", "length"),
        ("02 00 07 0001 00000123 89 00 000000000000000000", "length"),
        ("02 00 07 0002 00000123 00", "length"),
        ("01 00 07 0000", "unknown"),
        ("02 01 07 0000", "unknown"),
        ("02 00", "unknown"),
    ],
)  # fmt: skip
def test_datagrams_of_cannelloni(raw: str, result: object) -> None:
    assert _links.datagram_decode(bytes.fromhex(raw)) == result


def test_no_bytes_make_a_codec_raise(seed: int) -> None:
    draw = random.Random(seed)
    words = (b"send", b"frame", b"123", b"8", b"1.5", b"<", b"AABB", b"error", b"rtr", b"open")
    for _ in range(30_000):
        raw = draw.randbytes(draw.randrange(40))
        _links.slcan_decode(draw.choice([b"t", b"B", b""]) + raw)
        _links.socketcand_decode(b" ".join(draw.choices(words, k=draw.randrange(16))) + raw[:3])
        _links.datagram_decode(b"\x02\x00" + raw)


@pytest.mark.parametrize(
    ("bitrate", "digit"),
    [(10000, 0), (83300, 9), (125000, 4), (500000, 6), (800000, 7), (750000, 7), (1000000, 8)],
)
def test_bit_rates_have_their_digits(bitrate: int, digit: int) -> None:
    assert _links.slcan_code(bitrate) == digit
    assert _links.slcan_code(bitrate + 1) is None


def test_data_bit_rates_have_their_digits() -> None:
    assert [_links.slcan_code(m * 1_000_000, True) for m in (2, 5, 3)] == [2, 5, None]
