"""Writes ext/canbus/tables.h: CRC-15 and stuff bits by bytes.

Both follow from ISO 11898-1: the polynomial 0x4599, and one stuff bit of the other kind after five
equal bits, which then counts as the first of the next run. A test compares the file with this.
"""

from __future__ import annotations

import sys
from pathlib import Path

POLYNOMIAL, DEGREE = 0x4599, 15
BYTES = 13  # an extended header in five bytes, and 8 bytes of data
FILE = Path(__file__).resolve().parents[1] / "ext/canbus/tables.h"

HEAD = """\
/* Written by tools/canbus_tables.py. */
#ifndef BMS_CANBUS_TABLES_H
#define BMS_CANBUS_TABLES_H

#include <stdint.h>

"""
CRC_TEXT = """\
/* canbus_crc15[k][b]: what the byte b with k bytes behind it adds to the CRC. */
"""
STUFF_TEXT = """\
/* One entry a byte of the frame, and in it one byte for each state before: last bit * 4 + length of
 * its run - 1. In that byte the state after, times 8, and from bit 6 the stuff bits it cost. */
"""


def crc_shift(value: int, bits: int) -> int:
    """The remainder after `bits` more zeros."""
    for _ in range(bits):
        value <<= 1
        if value >> DEGREE:
            value ^= 1 << DEGREE | POLYNOMIAL
    return value


def crc_row(behind: int) -> list[int]:
    # A byte enters at the top of the register, above what comes behind it.
    return [crc_shift(byte, DEGREE + 8 * behind) for byte in range(256)]


def stuffed(state: int, byte: int) -> int:
    """State and stuff bits after a byte, packed as in the table."""
    last, run, count = state >> 2, (state & 3) + 1, 0
    for place in range(7, -1, -1):
        bit = byte >> place & 1
        run = run + 1 if bit == last else 1
        last = bit
        if run == 5:
            last, run, count = 1 - bit, 1, count + 1
    return (last << 2 | run - 1) << 3 | count << 6


def text() -> str:
    """The whole file."""
    lines = [HEAD, CRC_TEXT, f"static const uint16_t canbus_crc15[{BYTES}][256] = {{\n"]
    for behind in range(BYTES):
        row = crc_row(behind)
        lines.append("    {\n")
        for first in range(0, 256, 16):
            lines.append(
                "        " + " ".join(f"0x{v:04X}," for v in row[first : first + 16]) + "\n"
            )
        lines.append("    },\n")
    lines += ["};\n\n", STUFF_TEXT, "static const uint64_t canbus_stuff[256] = {\n"]
    for first in range(0, 256, 4):
        packed = (
            sum(stuffed(state, byte) << 8 * state for state in range(8))
            for byte in range(first, first + 4)
        )
        lines.append("    " + " ".join(f"0x{v:016X}u," for v in packed) + "\n")
    lines.append("};\n\n#endif\n")
    return "".join(lines)


if __name__ == "__main__":
    FILE.write_text(text(), "utf-8")
    sys.stdout.write(f"{FILE}\n")
