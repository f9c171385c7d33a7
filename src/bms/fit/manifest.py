"""What is to be fitted, and from which files.

A manifest is TOML: a base cell, what to fit, facts of the cell, and the files with their roles.
Facts are values of a cell file with their `source`, as there; they replace those of the base.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import msgspec

from .. import config
from ..errors import ConfigError
from ..model import Frozen

Role = Literal["slow", "hppc", "drive", "thermal"]
Group = Literal[
    "electric", "temperature", "hysteresis", "contact", "entropic", "heat_capacity", "core"
]
Columns = dict[str, str | int]
Start = Literal["full", "after_charge", "counter", "rest", "alike"]


class File(Frozen, frozen=True):
    """One record. What is left out comes from the manifest."""

    path: str  # beside the manifest, or below $BMS_DATA_DIR
    role: Role  # slow: full to empty; hppc: pulses; drive: judged only; thermal: heat
    ambient_degc: float
    start: Start = "full"  # how its state of charge is known; see records.py
    judge: bool = False  # held out: simulated and scored, never fitted
    remove_offset: bool = False  # subtract the mean current of long rests: a sensor, not a tester
    columns: Columns = msgspec.field(default_factory=dict)
    current_sign: Literal["discharge", "charge"] | None = None
    header_row: int | None = None
    delimiter: str | None = None

    @property
    def is_judged(self) -> bool:
        """Not used by the fit."""
        return self.judge or self.role == "drive"


class Manifest(Frozen, frozen=True):
    name: str
    title: str
    description: str
    base: str  # library cell or path; its values stay where the data say nothing
    fit: tuple[Group, ...]
    files: tuple[File, ...]
    columns: Columns = msgspec.field(default_factory=dict)
    current_sign: Literal["discharge", "charge"] | None = None
    soc_window_v: tuple[float, float] | None = None  # rest voltages that are SoC 0 and 1
    path: str = ""

    def numbers(self, *roles: Role) -> list[int]:
        """Files of some roles that may be fitted, by number."""
        return [i for i, f in enumerate(self.files) if f.role in roles and not f.is_judged]


def load(path: str | Path) -> tuple[Manifest, config.Tree, dict[str, str]]:
    """Manifest, facts (plain values, as in a cell file) and the provenance of the facts."""
    tree = config.load_toml(path)
    facts = tree.pop("facts", {})
    if not isinstance(facts, dict):
        raise ConfigError(path, "facts", facts, "a table of values with their source")
    stripped, origins = config.strip({"facts": facts}, path)
    values = stripped["facts"]
    provenance = {key.removeprefix("facts."): text for key, text in origins.items()}
    manifest = config.convert(tree, Manifest, path, {"path": str(path)})
    config.require(len(manifest.files) > 0, path, "files", [], "at least one file")
    config.require(len(manifest.fit) > 0, path, "fit", [], "at least one group to fit")
    if manifest.soc_window_v is not None:
        config.rising(path, "soc_window_v", manifest.soc_window_v)
    for i, file in enumerate(manifest.files):
        config.between(path, f"files[{i}].ambient_degc", file.ambient_degc, -60.0, 120.0)
    return manifest, values, provenance


def find(manifest: Manifest, number: int) -> Path:
    """The file: beside the manifest, below $BMS_DATA_DIR, or in a `shared/data` beside the tree."""
    name = manifest.files[number].path
    folder = Path(manifest.path).resolve().parent
    places = [folder]
    if given := os.environ.get("BMS_DATA_DIR"):
        places.append(Path(given))
    else:
        places += [parent / "shared" / "data" for parent in folder.parents]
        places.append(Path.cwd().parent / "shared" / "data")
    for place in places:
        if (place / name).is_file():
            return place / name
    expected = "a file beside the manifest or below the folder $BMS_DATA_DIR"
    raise ConfigError(manifest.path, f"files[{number}].path", name, expected)


def missing(manifest: Manifest, group: str, measurement: str) -> ConfigError:
    """The refusal of data that cannot identify a group: names the measurement that is missing."""
    have = ", ".join(f"{f.role} at {f.ambient_degc:g} degC" for f in manifest.files) or "nothing"
    return ConfigError(manifest.path, "files", have, f"for `{group}`: {measurement}")
