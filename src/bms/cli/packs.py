"""`bms packs`: the pack library, and everything one pack file says with where it is from."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bms.model import Cell, Pack

HELP = "list the packs, or show one with the source of every value"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="the list as JSON")
    actions = parser.add_subparsers(dest="action", metavar="show")
    show = actions.add_parser("show", help="show one pack")
    show.add_argument("name", metavar="NAME", help="name in the library or path of a TOML file")
    show.add_argument("--cell", help="check it with another cell")


def run(args: argparse.Namespace) -> int:
    if args.action == "show":
        return _show(args)
    from bms import cells, packs
    from bms.cli import _library

    loaded = [packs.load(name) for name in packs.names()]
    rows = [row(pack, cells.load(pack.cell)) for pack in loaded]
    if args.json:
        _library.print_json(rows)
        return 0
    columns = ["pack", "cell", "cells", "chips", "kWh", "V", "A in / out", "fuse A"]
    _library.print_table("Packs", columns, [_cells(r) for r in rows])
    print("bms packs show NAME tells more.")
    return 0


def row(pack: Pack, cell: Cell) -> dict[str, Any]:
    """The key numbers of a pack, for the list, its JSON and the documentation."""
    from bms.cells import laws

    form, limits = pack.topology, cell.limits
    count = form.blocks * form.parallel
    return {
        "name": pack.name,
        "title": pack.title,
        "cell": pack.cell,
        "blocks": form.blocks,
        "parallel": form.parallel,
        "modules": form.blocks // form.blocks_per_module,
        "energy_kwh": round(count * laws.energy_wh(cell) / 1e3, 3),
        "mass_kg": round(count * cell.geometry.mass_kg * (1.0 + pack.mass_overhead_frac), 2),
        "voltage_min_v": round(form.blocks * limits.voltage_min_v[0], 1),
        "voltage_max_v": round(form.blocks * limits.voltage_max_v[0], 1),
        "current_charge_a": form.parallel * limits.current_charge_a[0],
        "current_discharge_a": form.parallel * limits.current_discharge_a[0],
        "fuse_a": pack.fuse.rating_a,
    }


def _cells(row: dict[str, Any]) -> list[str]:
    return [
        row["name"],
        row["cell"],
        f"{row['blocks']}s{row['parallel']}p",
        f"{row['modules']}",
        f"{row['energy_kwh']:.3g}",
        f"{row['voltage_min_v']:.0f}-{row['voltage_max_v']:.0f}",
        f"{row['current_charge_a']:g} / {row['current_discharge_a']:g}",
        f"{row['fuse_a']:g}",
    ]


def _show(args: argparse.Namespace) -> int:
    from bms import cells, packs
    from bms.cli import _library

    other = cells.load(args.cell) if args.cell else None
    pack = packs.load(args.name, other)
    cell = other or cells.load(pack.cell)
    numbers = row(pack, cell)
    print(f"{pack.name}: {pack.title}\n{pack.description}\n")
    print(
        f"{numbers['blocks']}s{numbers['parallel']}p of {cell.name} ({cell.title}), "
        f"{numbers['modules']} monitor chips\n{numbers['energy_kwh']:.4g} kWh at rest voltage, "
        f"about {numbers['mass_kg']:g} kg, "
        f"{numbers['voltage_min_v']:g} to {numbers['voltage_max_v']:g} V"
    )
    print("\n".join(_library.provenance_lines(pack, ("name", "title", "description", "cell"))))
    return 0
