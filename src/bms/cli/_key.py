"""The key of VcuAuthority as an option of `bms ecu` and `bms emulate`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def argument(parser: argparse.ArgumentParser) -> None:
    """Adds --request-key."""
    parser.add_argument(
        "--request-key", metavar="FILE|HEX",
        help="AES-128 key of whoever may ask to close, the same on both sides: a file with 32"
        " hexadecimal digits, or the digits (default: the test key, which everybody knows)",
    )  # fmt: skip


def of(text: str | None) -> bytes:
    """16 bytes: the test key without an option. ConfigError, which never shows them, for less."""
    from bms.errors import ConfigError
    from bms.protocols.request import TEST_KEY, read_key

    if text is None:
        return TEST_KEY
    try:
        is_file = Path(text).is_file()
        digits = Path(text).read_text("ascii") if is_file else text
    except (OSError, ValueError):
        raise ConfigError("--request-key", "", "(not shown)", "a readable file") from None
    return read_key(digits, text if is_file else "--request-key")


def warn(text: str | None) -> None:
    """One line on stderr where the test key is in use."""
    if text is None:
        told = "bms ecu: whoever knows the shipped test key may close; see --request-key"
        print(told, file=sys.stderr, flush=True)
