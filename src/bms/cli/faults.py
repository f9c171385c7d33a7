"""`bms faults`: what can go wrong in the world, what the BMS must then do and how fast.

Without a name the catalogue, with names all that is known of those faults. `bms run SCENARIO
--inject ID:index=12,after=5` puts one into a run.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bms.faults import Fault

HELP = "the catalogue of faults: what happens, what must follow, in what time"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "names", nargs="*", metavar="ID", help="SEN-03, or SEN for a whole group; default all"
    )
    parser.add_argument("--json", action="store_true", help="one array of objects")


def run(args: argparse.Namespace) -> int:
    from bms import faults
    from bms.cli import _library

    chosen = _chosen(args.names)
    if args.json:
        _library.print_json([faults.as_json(one) for one in chosen])
        return 0
    singles = [name for name in args.names if name.upper() not in faults.GROUPS]
    if singles:
        print("\n\n".join("\n".join(told(one)) for one in chosen))
        return 0
    for group, title in faults.GROUPS.items():
        rows = [_row(one) for one in chosen if one.group == group]
        if rows:
            columns = ["fault", "title", "in", "reaction", "in ms", "raises"]
            _library.print_table(f"{group}: {title}", columns, rows)
    acting, left = sum(bool(f.writes) for f in chosen), sum(f.is_open for f in chosen)
    print(f"{len(chosen)} faults, {acting} act in the world, {left} are left open.")
    print("bms faults ID tells more; bms run SCENARIO --inject ID puts one into a run.")
    return 0


def _chosen(names: list[str]) -> list[Fault]:
    from bms import faults

    if not names:
        return list(faults.load().values())
    found: list[Fault] = []
    for name in names:
        wanted = name.upper()
        if wanted in faults.GROUPS:
            found += [one for one in faults.load().values() if one.group == wanted]
        else:
            found.append(faults.fault(wanted))
    return found


def _row(one: Fault) -> list[str]:
    if one.left_to:
        state = "left open" if one.is_open else "closed elsewhere"
        return [one.id, one.title, "", state, "", one.closed_by or one.left_to]
    return [
        one.id, one.title, one.state, one.reaction.replace("_", " "), f"{one.budget_ms:g}",
        ", ".join(one.diagnoses),
    ]  # fmt: skip


def told(one: Fault) -> Iterator[str]:
    """All that is known of a fault, as lines."""
    yield f"{one.id}  {one.title}"
    yield f"  {one.text}"
    if one.left_to:
        yield f"  does not act: {one.left_to}"
        if one.closed_by:
            yield f"  closed by: {one.closed_by}"
        return
    yield f"  where      one {one.target}, in state {one.state}" + _then(one)
    yield f"  value      {one.value:g} {one.unit}, from {one.lowest:g} to {one.highest:g}"
    lasts = f"{one.duration_s:g} s" if one.duration_s else "until withdrawn"
    yield f"  lasts      {lasts}" + (f", over a ramp of {one.ramp_s:g} s" if one.ramp_s else "")
    for write in one.writes:
        amount = "the value" if write.value is None else f"{write.value:g}"
        yield f"  acts on    {write.field} ({write.place}): {write.op} {amount}"
    yield f"  asks for   {one.reaction.replace('_', ' ')} within {one.budget_ms:g} ms"
    if one.diagnoses:
        yield f"  one of     {', '.join(one.diagnoses)}"
    if one.allowed:
        yield f"  or beside  {', '.join(one.allowed)}"
    yield f"  source     {one.source}"
    for mask in one.masks:
        yield f"  masks {mask.invariant:4} {mask.bound}: {mask.why}"


def _then(one: Fault) -> str:
    return f", then asked to {one.then}" if one.then else ""
