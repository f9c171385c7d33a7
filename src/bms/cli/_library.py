"""What `bms cells` and `bms packs` share: lists, JSON, and every value with its provenance."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from bms.model import Frozen
from bms.units import quantity, unit_of


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table as wide as the terminal; in a pipe as wide as it likes."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(
        title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False
    )
    for i, column in enumerate(columns):
        table.add_column(column, no_wrap=i == 0, overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 200, highlight=False).print(table)


def print_json(rows: Sequence[dict[str, Any]]) -> None:
    """One array of objects."""
    print(json.dumps(rows, indent=2, ensure_ascii=False))


def values(part: Frozen, key: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of a cell or pack with its dotted key, in the order of the model."""
    import msgspec

    for field in msgspec.structs.fields(part):
        value, here = getattr(part, field.name), f"{key}.{field.name}" if key else field.name
        if isinstance(value, Frozen):
            yield from values(value, here)
        elif here not in ("provenance", "file"):
            yield here, value


def provenance_lines(part: Any, skip: Sequence[str]) -> Iterator[str]:
    """Sections of keys, values and where they are from; a provenance that repeats is told once."""
    section, told = "", ""
    for key, value in values(part):
        origin = part.provenance.get(key)
        if key in skip or origin is None:  # absent from the file: a default that does not apply
            continue
        table, _, name = key.rpartition(".")
        if table != section:
            section, told = table, ""
            yield f"\n{table or 'in all'}"
        yield f"  {name:32} {shown(name, value)}"
        if origin != told:
            told = origin
            yield from textwrap.wrap(origin, 92, initial_indent=" " * 6, subsequent_indent=" " * 8)


def shown(name: str, value: Any) -> str:
    """A value with its unit; long arrays by their ends."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return value
    unit = unit_of(name)
    if isinstance(value, tuple):
        if len(value) > 8:
            return f"{len(value)} values, {value[0]:g} ... {value[-1]:g} {unit}".rstrip()
        return f"{' / '.join(f'{v:g}' for v in value)} {unit}".rstrip()
    return quantity(value, unit, 6)
