"""Faults of the catalogue as moves of a bench."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bms_hil.bench import LINES, Bench


@dataclass(frozen=True)
class Operation:
    """A fault of the catalogue as a move of the bench. needs: roles, or lines by name."""

    needs: tuple[str, ...]
    begin: Callable[[Bench, int, float], None]
    end: Callable[[Bench, int, float], None]


def _lift(bench: Bench, index: int, by_v: float) -> None:
    bench.set_cells({index: bench.cell(index) + by_v}, check=False)


def _lift_all(bench: Bench, index: int, by_v: float) -> None:
    count = len(bench._set_v)
    bench.set_cells({k: bench.cell(k) + by_v for k in range(count)}, check=False)


def _line(name: str) -> Operation:
    good = LINES[name]
    return Operation(
        (name,), lambda b, i, v: b.line(name, not good), lambda b, i, v: b.line(name, good)
    )


CELL = Operation(("cells",), _lift, lambda b, i, v: _lift(b, i, -v))
OPERATIONS = {
    "CEL-02": CELL, "CEL-04": CELL, "CEL-05": CELL,
    "CEL-03": Operation(("cells",), _lift_all, lambda b, i, v: _lift_all(b, i, -v)),
    "SEN-01": Operation(("cell_open",), lambda b, i, v: b.break_cell(i, "open"),
                        lambda b, i, v: b.break_cell(i, "none")),
    "CON-14": _line("interlock"), "CON-16": _line("crash"),
}  # fmt: skip
"""Faults a bench can bring about; the others are skipped by name."""
