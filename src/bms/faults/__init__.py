"""The catalogue of faults: what can go wrong in the world, what the BMS must then do, how fast.

    faults.load()                 {"CEL-01": Fault, ...}, one TOML file a group beside this one
    faults.fault("SEN-03")        one of them, ConfigError for an unknown name
    faults.moves(fault, pack, index=12)   what it writes, as rows for the table of ext/loop/inject.h

A fault is plain data: timed writes on named fields of the world, at the physics, the wires, the
pins, the supply, the clock or the memory; never at the firmware's variables (one exception: a bit
of its memory flipped, as radiation does). The compiled loop carries it out, so it works in virtual
time, from a snapshot and in real time alike. `Simulation.inject` puts it in, `withdraw` ends it.
"""

from __future__ import annotations

import difflib
from functools import cache
from pathlib import Path

import msgspec

from bms import config, spec
from bms.errors import ConfigError
from bms.faults.model import GROUPS, INVARIANTS, Fault, Mask, Write, from_number, number
from bms.faults.place import Move, count, moves
from bms.faults.table import ActiveFault, active, inject, withdraw

__all__ = [
    "GROUPS", "INVARIANTS", "ActiveFault", "Fault", "Mask", "Move", "Write", "acting", "active",
    "as_json", "count", "drawn", "fault", "from_number", "inject", "load", "moves", "number",
    "withdraw",
]  # fmt: skip

FOLDER = Path(__file__).parent


@cache
def load() -> dict[str, Fault]:
    """Every fault by its id, in the order of the groups. ConfigError for a file that is wrong."""
    found = {}
    for group in GROUPS:
        path = FOLDER / f"{group.lower()}.toml"
        for row in config.load_toml(path).get("fault", []):
            one = config.convert(row, Fault, path)
            _check(one, path, group)
            if one.id in found:
                raise ConfigError(path, "id", one.id, "an id that stands once")
            found[one.id] = one
    return found


def fault(name: str) -> Fault:
    """The fault of this id. ConfigError for one that the catalogue does not have."""
    try:
        return load()[name]
    except (KeyError, TypeError):
        near = difflib.get_close_matches(str(name).upper(), load(), 1)
        hint = f", perhaps {near[0]}" if near else ""
        raise ConfigError("fault", "id", name, f"one of `bms faults`{hint}") from None


def acting() -> list[Fault]:
    """Those that do something to the world."""
    return [one for one in load().values() if one.writes]


def drawn() -> list[Fault]:
    """Those that random campaigns may choose. One of weight 0 is left out, so that a fault added to
    the catalogue changes no seed that is known."""
    return [one for one in acting() if one.weight > 0.0]


def _check(one: Fault, path: Path, group: str) -> None:
    """What a type cannot say."""
    known = {d.name for d in spec.diagnoses()}
    wrong: list[tuple[str, object, str]] = []
    if not one.id.startswith(f"{group}-"):
        wrong.append(("id", one.id, f"{group}-01 and so on"))
    if bool(one.writes) == bool(one.left_to):
        wrong.append(("left_to", one.left_to, f"{one.id}: either writes, or who closes it and why"))
    if one.closed_by and not one.left_to:
        wrong.append(("closed_by", one.closed_by, f"{one.id}: only where it does not act"))
    if one.writes and not one.lowest <= one.value <= one.highest:
        wrong.append(("value", one.value, f"{one.id}: within lowest and highest"))
    if one.writes and one.budget_ms <= 0:
        wrong.append(("budget_ms", one.budget_ms, f"{one.id}: a budget above 0"))
    wrong += [
        ("diagnoses", name, f"{one.id}: a diagnosis of diagnoses.toml")
        for name in (*one.diagnoses, *one.allowed)
        if name not in known
    ]
    wrong += [
        ("masks.invariant", mask.invariant, f"{one.id}: an invariant that may be masked")
        for mask in one.masks
        if mask.invariant not in INVARIANTS or mask.invariant in ("S8", "S10", "C", "D", "T")
    ]
    for key, value, expected in wrong:
        raise ConfigError(path, key, value, expected)


def as_json(one: Fault) -> dict[str, object]:
    """Plain JSON values of a fault."""
    plain: dict[str, object] = msgspec.to_builtins(one)
    plain["writes"], plain["masks"] = plain.pop("write"), plain.pop("mask")
    return plain | {"group": one.group, "acts": bool(one.writes)}
