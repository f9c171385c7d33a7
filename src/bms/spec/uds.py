"""Data identifiers and routines of the workshop's diagnostics (uds.toml, docs/diagnostics.md).

identifiers()          every row, by id
decode(0x0101, data)   its value: a number, a list of them, text, or None for unknown
dtc(1)                 trouble code of a diagnosis; diagnosis_of(code) the way back
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

from bms import config
from bms.errors import ConfigError
from bms.model import Frozen

FILE = Path(__file__).parent / "uds.toml"
REQUEST_ID, ANSWER_ID, EVERYBODY_ID = 0x7E4, 0x7EC, 0x7DF
SECURITY_LEVEL = 1
SECURITY_LABEL = b"solid-bms uds 01"
"""The key of security access is the CMAC of this under the pack's key (`request_key`)."""
CODE_BASE = 0x1A0000
"""Trouble code of diagnosis n: P1Axx, failure type 0; xx is n."""
ROUTINES = {0x0201: "self-test", 0x0202: "contactor test"}

Kind = Literal[
    "memory", "reading", "fraction", "blocks_uv", "blocks_frac", "user", "version", "session",
    "frame",
]  # fmt: skip


class Identifier(Frozen, frozen=True):
    """One identifier. The head of uds.toml explains every field."""

    id: int
    name: str
    title: str
    kind: Kind
    bytes: int
    unit: str
    source: str = ""
    offset: int = 0
    divide: int = 1
    age_ms: int = 0
    signed: bool = False
    frame: str = ""
    write: bool = False


class _File(Frozen, frozen=True):
    identifier: tuple[Identifier, ...]


@cache
def identifiers() -> dict[int, Identifier]:
    """Every row by id. Raises ConfigError for a file that contradicts itself."""
    rows = config.load(FILE, _File).identifier
    found = {row.id: row for row in rows}
    for row in rows:
        if found[row.id] is not row or not 0 < row.id < 0x10000:
            raise ConfigError(FILE, f"{row.name}.id", row.id, "16 bits, each once")
        if row.write != (row.kind == "user"):
            raise ConfigError(FILE, f"{row.name}.write", row.write, "true of user rows only")
    return found


def decode(identifier: int, data: bytes) -> int | list[int | None] | str | None:
    """The value of an identifier in its unit; None where the firmware does not know it.

    Raises ConfigError for an identifier that is not in uds.toml.
    """
    row = identifiers().get(identifier)
    if row is None:
        raise ConfigError(FILE, "identifier", f"{identifier:#06x}", "a row of uds.toml")
    if row.unit == "ASCII":
        return data.rstrip(b"\0").decode("ascii", "replace")
    values = [_number(row, data[k : k + row.bytes]) for k in range(0, len(data), row.bytes)]
    return values if row.kind.startswith("blocks") else values[0]


def _number(row: Identifier, data: bytes) -> int | None:
    value = int.from_bytes(data, "big", signed=row.signed)
    unknown = -(1 << 8 * row.bytes - 1) if row.signed else (1 << 8 * row.bytes) - 1
    return None if value == unknown and row.kind not in ("version", "session") else value


def dtc(diagnosis: int) -> int:
    """Trouble code of a diagnosis, three bytes as a number."""
    return CODE_BASE | diagnosis << 8


def diagnosis_of(code: int) -> int | None:
    """The diagnosis of a trouble code; None if it is none of ours."""
    return code >> 8 & 0xFF if code & 0xFF00FF == CODE_BASE and code >> 8 & 0xFF else None
