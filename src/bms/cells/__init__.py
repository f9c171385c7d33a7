"""The cell library: one TOML file a cell, every value with its source or its assumption.

    cell = bms.cells.load("sulfide_nmc811_77ah")        # or a path to a file
    cell.electric.capacity_ah, cell.provenance["electric.capacity_ah"]

`names()` lists the library. A new cell is a new file; nothing else has to know it.
"""

from __future__ import annotations

from pathlib import Path

from .. import config
from ..model import Cell
from .checks import check

FOLDER = Path(__file__).parent
DEFAULT = "sulfide_nmc811_77ah"

__all__ = ["DEFAULT", "FOLDER", "build", "check", "load", "names"]


def names() -> tuple[str, ...]:
    """Names of the cells in the library, sorted."""
    return config.names(FOLDER)


def load(name_or_path: str | Path = DEFAULT, beside: Path | None = None) -> Cell:
    """Read and check a cell.

    A name of the library, or a path (relative to the folder `beside` if given). ConfigError names
    file, key, value and expectation for anything that cannot be.
    """
    path = config.resolve(name_or_path, FOLDER, "cell", beside)
    values, provenance = config.strip(config.load_toml(path), path)
    return build(values, provenance, path)


def build(values: config.Tree, provenance: dict[str, str], file: object) -> Cell:
    """A checked cell from plain values: the second half of `load`, for values changed between."""
    cell = config.convert(values, Cell, file, {"provenance": provenance, "file": str(file)})
    check(cell)
    return cell
