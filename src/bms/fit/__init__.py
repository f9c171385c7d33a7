"""Cells fitted to measurements.

    result = bms.fit.fit("examples/fit/panasonic18650pf.toml")
    cell = bms.fit.write(result, "cell.toml")

manifest.py: what to fit from which files. records.py: files to traces at known state of charge.
capacity.py, ocv.py, electric.py, thermal.py: the parts. run.py: one after the other. cellfile.py:
the cell file. report.py: the page. Needs scipy (`pip install solid-bms[fit]`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..model import Cell
    from .run import Result

__all__ = ["fit", "write"]


def fit(manifest: str | Path) -> Result:
    """Fit the cell of a manifest; ConfigError says what is wrong or what measurement is missing."""
    from . import run

    return run.fit(manifest)


def write(result: Result, path: str | Path) -> Cell:
    """Write the fitted cell's file and return the cell as `bms.cells.load` reads it."""
    from . import cellfile

    return cellfile.write(result, path)
