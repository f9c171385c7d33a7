"""The pack library: one TOML file a pack, every value with its source or its assumption.

    pack = bms.packs.load("car_96s3p")             # read, and checked against the cell it names
    cell = bms.cells.load(pack.cell)
    bms.packs.check(pack, other_cell)              # does another cell fit? ConfigError if not

A pack is one string of blocks, a block one or more cells in parallel. `names()` lists the library.
"""

from __future__ import annotations

from pathlib import Path

from .. import cells, config
from ..model import Cell, Pack
from .checks import check

FOLDER = Path(__file__).parent
DEFAULT = "car_96s3p"

__all__ = ["DEFAULT", "FOLDER", "build", "check", "load", "names"]


def names() -> tuple[str, ...]:
    """Names of the packs in the library, sorted."""
    return config.names(FOLDER)


def load(name_or_path: str | Path = DEFAULT, cell: Cell | None = None) -> Pack:
    """Read a pack and check it against `cell`, or against the cell it names.

    A name of the library or a path; a cell given as a path in the file is looked up beside the
    file, and `Pack.cell` then holds the full path. ConfigError names file, key, value and
    expectation.
    """
    path = config.resolve(name_or_path, FOLDER, "pack")
    values, provenance = config.strip(config.load_toml(path), path, (*config.WORDS, "cell"))
    return build(values, provenance, path, cell)


def build(
    values: config.Tree, provenance: dict[str, str], file: object, cell: Cell | None = None
) -> Pack:
    """A checked pack from plain values: the second half of `load`, for values changed between."""
    pack = config.convert(values, Pack, file, {"provenance": provenance, "file": str(file)})
    if cell is None:
        named = config.resolve(pack.cell, cells.FOLDER, "cell", Path(str(file)).parent)
        cell = cells.load(named)
        if named.parent != cells.FOLDER:
            return build({**values, "cell": str(named)}, provenance, file, cell)
    check(pack, cell)
    return pack
