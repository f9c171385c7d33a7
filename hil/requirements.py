"""Requirements as data: what is asked of a BMS, where that is from, and which tests verify it.

A folder of TOML files with tables `[[requirement]]`; a test may also bring its own:

    @pytest.mark.requirement("LAB-001", text="The pack rests below 30 mA.", source="our bench")
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from bms import config
from bms.errors import ConfigError

FOLDER = Path(__file__).parent / "requirements"


class Requirement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """id: letters, a dash, digits; stable for ever. source: fault of the catalogue, standard or our
    own; where a figure could not be read at its source, it says so. fault: of the catalogue, when
    carrying it out is the verification."""

    id: str
    text: str
    source: str
    rationale: str = ""
    verification: str = "test"
    fault: str = ""


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file. title: of the group in the report."""

    title: str
    requirement: tuple[Requirement, ...]


def load(folder: Path = FOLDER) -> dict[str, Requirement]:
    """All requirements of a folder by id. ConfigError for a second of the same id."""
    found: dict[str, Requirement] = {}
    for path in sorted(folder.glob("*.toml")):
        for one in config.convert(config.load_toml(path), File, path).requirement:
            if one.id in found:
                raise ConfigError(path, "requirement.id", one.id, "an id that is used once")
            found[one.id] = one
    if not found:
        raise ConfigError(folder, "", "no requirement", "TOML files with [[requirement]] tables")
    return found


def groups(folder: Path = FOLDER) -> dict[str, tuple[str, ...]]:
    """Title of each file and the ids in it."""
    files = [config.convert(config.load_toml(p), File, p) for p in sorted(folder.glob("*.toml"))]
    return {f.title: tuple(r.id for r in f.requirement) for f in files}


def gaps(known: Iterable[str], tests: dict[str, tuple[str, ...]]) -> list[str]:
    """Sentences about requirements without a test, tests without one, and ids that do not exist.

    tests: test id -> requirement ids of its markers."""
    known = set(known)
    used = {one for ids in tests.values() for one in ids}
    told = [f"{one}: no test verifies it" for one in sorted(known - used)]
    told += [f"{test}: verifies no requirement" for test, ids in sorted(tests.items()) if not ids]
    told += [f"{one}: a test names it, but it is not written" for one in sorted(used - known)]
    return told
