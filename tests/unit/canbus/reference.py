"""The wire bit by bit, written from ISO 11898-1 and without any table: what the compiled bus is
compared with. Slow and obvious."""

from __future__ import annotations

EXTENDED, REMOTE, FD, BRS = 1, 2, 4, 8
FD_LENGTHS = (0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 20, 24, 32, 48, 64)


def bits_of(value: int, count: int) -> list[int]:
    return [value >> k & 1 for k in range(count - 1, -1, -1)]


def crc15(bits: list[int]) -> list[int]:
    """x15 + x14 + x10 + x8 + x7 + x4 + x3 + 1, one bit at a time."""
    register = [0] * 15
    for bit in bits:
        feedback = bit ^ register[0]
        register = [*register[1:], 0]
        if feedback:
            for power in (14, 10, 8, 7, 4, 3, 0):
                register[14 - power] ^= 1
    return register


def stuffed(bits: list[int]) -> list[int]:
    """With a bit of the other kind after five equal ones, stuff bits included in the count."""
    out: list[int] = []
    for bit in bits:
        out.append(bit)
        if len(out) >= 5 and len(set(out[-5:])) == 1 and not ends_in_run(out):
            out.append(1 - bit)
    return out


def ends_in_run(out: list[int]) -> bool:
    """True when more than five equal bits stand at the end: cannot be on a stuffed wire."""
    return len(out) >= 6 and len(set(out[-6:])) == 1


def header(identifier: int, flags: int, length: int) -> tuple[list[int], int]:
    """Start of frame to the length code, and the number of the bit at which the rate may change."""
    remote = int(bool(flags & REMOTE))
    if flags & EXTENDED:
        bits = [0, *bits_of(identifier >> 18, 11), 1, 1, *bits_of(identifier & 0x3FFFF, 18), remote]
    else:
        bits = [0, *bits_of(identifier, 11), remote, 0]
    if flags & FD:
        bits += [1, 0, int(bool(flags & BRS))]
        switch = len(bits)
        return [*bits, 0, *bits_of(FD_LENGTHS.index(length), 4)], switch
    bits += [0, 0] if flags & EXTENDED else [0]
    return bits + bits_of(length, 4), len(bits)


def classic_length(identifier: int, data: bytes, flags: int, length: int) -> int:
    """Start bit to the last bit of the end of frame."""
    bits, _ = header(identifier, flags, length)
    for byte in b"" if flags & REMOTE else data:
        bits += bits_of(byte, 8)
    wire = stuffed(bits + crc15(bits))
    return len(wire) + 1 + 1 + 1 + 7  # CRC delimiter, acknowledge slot and delimiter, end of frame


def fd_length(identifier: int, data: bytes, flags: int) -> tuple[int, int, int]:
    """Bits at the nominal rate, at the data rate, and at the nominal rate again."""
    bits, switch = header(identifier, flags, len(data))
    for byte in data:
        bits += bits_of(byte, 8)
    before = len(stuffed(bits[: switch - 1])) + 1  # the switching bit itself goes to the slow side
    wire = stuffed(bits)
    if len(stuffed(bits[:-1])) + 1 != len(wire):
        wire.pop()  # the fixed stuff bit stands where this one would
    crc = 21 if len(data) > 16 else 17
    fixed = 1 + (4 + crc) // 4
    fast = len(wire) - before + 4 + crc + fixed + 1  # stuff count, CRC, delimiter
    tail = 1 + 1 + 7
    return (before, fast, tail) if flags & BRS else (before + fast + tail, 0, 0)
