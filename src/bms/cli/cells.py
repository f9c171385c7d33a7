"""`bms cells`: the cell library, and everything one cell file says with where it is from."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bms.model import Cell

SHORT = {"liquid": "liquid", "hybrid_solid_liquid": "hybrid", "solid_state": "solid"}
HELP = "list the cells, or show one with the source of every value"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="the list as JSON")
    actions = parser.add_subparsers(dest="action", metavar="show | import-bpx")
    show = actions.add_parser("show", help="show one cell")
    show.add_argument("name", metavar="NAME", help="name in the library or path of a TOML file")
    show.add_argument("--plot", metavar="FILE", help="draw its curves into a PNG, SVG or PDF file")
    taken = actions.add_parser("import-bpx", help="a cell file from a BPX file")
    taken.add_argument("file", metavar="FILE.json", help="Battery Parameter eXchange")
    taken.add_argument("--out", required=True, metavar="CELL.toml")
    taken.add_argument("--name", default="", help="of the cell; default the file's")
    taken.add_argument(
        "--base", default="panasonic_18650pf", metavar="CELL",
        help="library cell or path: what BPX does not say is kept from it",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    if args.action == "show":
        return _show(args)
    if args.action == "import-bpx":
        from bms.cells import bpx

        print("\n".join(bpx.import_bpx(args.file, args.out, name=args.name, base=args.base)))
        return 0
    from bms import cells
    from bms.cli import _library

    rows = [row(cells.load(name)) for name in cells.names()]
    if args.json:
        _library.print_json(rows)
        return 0
    columns = [
        "cell",
        "class",
        "electrolyte",
        "Ah",
        "Wh/kg",
        "V",
        "°C",
        "plating",
        "stripping",
    ]
    _library.print_table(
        "Cells (critical currents in mA/cm² at 25 °C, claimed | literature)",
        columns,
        [_cells(r) for r in rows],
    )
    print("bms cells show NAME [--plot FILE] tells more.")
    return 0


def row(cell: Cell) -> dict[str, Any]:
    """The key numbers of a cell, for the list, its JSON and the documentation."""
    from bms.cells import laws

    energy, limits = laws.energy_wh(cell), cell.limits
    claimed, literature = cell.critical_current_claimed, cell.critical_current_literature
    return {
        "name": cell.name,
        "title": cell.title,
        "class": cell.classification.kind,
        "electrolyte": cell.classification.electrolyte,
        "capacity_ah": cell.electric.capacity_ah,
        "energy_wh": round(energy, 2),
        "specific_energy_wh_per_kg": round(energy / cell.geometry.mass_kg, 1),
        "energy_density_wh_per_l": round(energy / laws.volume_l(cell), 1),
        "resistance_25degc_ohm": sum(laws.resistance_ohm(cell).values()),
        "voltage_min_v": limits.voltage_min_v[0],
        "voltage_max_v": limits.voltage_max_v[0],
        "temperature_min_degc": limits.temperature_min_discharge_degc[0],
        "temperature_min_charge_degc": limits.temperature_min_charge_degc[0],
        "temperature_max_degc": limits.temperature_max_discharge_degc[0],
        "plating_claimed_ma_per_cm2": claimed.plating_ma_per_cm2,
        "stripping_claimed_ma_per_cm2": claimed.stripping_ma_per_cm2,
        "plating_literature_ma_per_cm2": literature.plating_ma_per_cm2,
        "stripping_literature_ma_per_cm2": literature.stripping_ma_per_cm2,
        "breathing_um": round(laws.breathing_um(cell), 1),
    }


def _cells(row: dict[str, Any]) -> list[str]:
    return [
        row["name"],
        SHORT[row["class"]],
        row["electrolyte"],
        f"{row['capacity_ah']:g}",
        f"{row['specific_energy_wh_per_kg']:.0f}",
        f"{row['voltage_min_v']:g}-{row['voltage_max_v']:g}",
        f"{row['temperature_min_degc']:g}..{row['temperature_max_degc']:g}",
        f"{row['plating_claimed_ma_per_cm2']:g} | {row['plating_literature_ma_per_cm2']:g}",
        f"{row['stripping_claimed_ma_per_cm2']:g} | {row['stripping_literature_ma_per_cm2']:g}",
    ]


def _show(args: argparse.Namespace) -> int:
    from bms import cells
    from bms.cells import laws
    from bms.cli import _library

    cell = cells.load(args.name)
    energy, kind = laws.energy_wh(cell), cell.classification.kind.replace("_", " ")
    print(f"{cell.name}: {cell.title}\n{cell.description}\n")
    print(
        f"class: {kind}, {cell.classification.electrolyte} electrolyte "
        f"(weight loss {cell.classification.weight_loss_frac:.1%}, up to 0.5 % is solid-state)"
    )
    print(
        f"energy: {energy:.4g} Wh, {energy / cell.geometry.mass_kg:.0f} Wh/kg, "
        f"{energy / laws.volume_l(cell):.0f} Wh/L at rest voltage; "
        f"breathes {laws.breathing_um(cell) / 1e3:.2f} mm"
    )
    print("\n".join(_library.provenance_lines(cell, ("name", "title", "description"))))
    if args.plot:
        from bms.cli import _cell_plot

        _cell_plot.draw(cell, args.plot)
        print(f"\nplot: {args.plot}")
    return 0
