"""Write docs/cells.md from the cell and pack files: `python tools/cell_tables.py`.

With --check nothing is written; exit code 1 says that the file does not match the library.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

from bms import cells, packs
from bms.cells import laws
from bms.cli import cells as cells_command
from bms.cli import packs as packs_command
from bms.model import Cell, Pack

TARGET = Path(__file__).resolve().parent.parent / "docs" / "cells.md"

INTRO = """# Cells and packs

Written by `tools/cell_tables.py` from `src/bms/cells/*.toml` and `src/bms/packs/*.toml`. Every
value there carries a `source` or says that it is an `assumption`; `bms cells show NAME` prints
all of them, `--plot FILE` draws the curves.

No maker publishes OCV, resistance or pressure curves of a full-size solid-state cell. What is
assumed is chosen so that the numbers of one cell agree with each other, with laboratory physics
and with what the maker did publish. The class follows the Chinese draft standard of December
2025: a weight loss of at most 0.5 % after vacuum drying at 120 degC makes a solid-state cell.

Adding a cell is adding a file; it appears here, in `bms cells` and in the tests by itself.
"""

CRITICAL = """
## Critical currents

Beyond these densities plating grows dendrites and stripping leaves voids, at 25 degC and
reference pressure. *Claimed* is calibrated so that the maker's rates, or the cell's own limits,
just hold; it is the default. *Literature* is what laboratories measured, mostly far below. Limits
of current are shown as densities beside them; the polymer cell works at 60 degC and above, where
its critical currents are 7.7 times those of the table.
"""


def main(arguments: list[str]) -> int:
    """Write or check the page."""
    text = page()
    if "--check" in arguments:
        return 0 if TARGET.is_file() and TARGET.read_text(encoding="utf-8") == text else 1
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(text, encoding="utf-8")
    return 0


def page() -> str:
    """The whole page."""
    library = [cells.load(name) for name in cells.names()]
    stock = [packs.load(name) for name in packs.names()]
    parts = [INTRO, "\n## Cells\n", _table(CELL_COLUMNS, [_cell_row(c) for c in library])]
    parts += [CRITICAL, _table(CRITICAL_COLUMNS, [_critical_row(c) for c in library])]
    parts += ["\n## Packs\n", _table(PACK_COLUMNS, [_pack_row(p) for p in stock])]
    parts += ["\n## What each file says\n"]
    parts += [_words(item) for item in (*library, *stock)]
    return "".join(parts)


CELL_COLUMNS = (
    "cell", "class", "electrolyte", "Ah", "Wh", "Wh/kg", "Wh/L", "mohm, 25 degC", "mohm, 0 degC",
    "V", "degC", "kPa", "breathes mm",
)  # fmt: skip
CRITICAL_COLUMNS = (
    "cell", "mAh/cm2", "charge limit", "plating claimed", "plating literature", "discharge limit",
    "stripping claimed", "stripping literature",
)  # fmt: skip
PACK_COLUMNS = ("pack", "cell", "cells", "chips", "kWh", "kg", "V", "A in", "A out", "fuse A")


def _cell_row(cell: Cell) -> list[str]:
    row = cells_command.row(cell)
    cold_ohm = sum(laws.resistance_ohm(cell, 0.0).values())
    return [
        f"`{cell.name}`",
        row["class"].replace("_", " "),
        row["electrolyte"],
        f"{row['capacity_ah']:g}",
        f"{row['energy_wh']:.4g}",
        f"{row['specific_energy_wh_per_kg']:.0f}",
        f"{row['energy_density_wh_per_l']:.0f}",
        f"{row['resistance_25degc_ohm'] * 1e3:.3g}",
        f"{cold_ohm * 1e3:.3g}",
        f"{row['voltage_min_v']:g} to {row['voltage_max_v']:g}",
        f"{row['temperature_min_degc']:g} to {row['temperature_max_degc']:g}",
        f"{cell.pressure.reference_kpa:g}" if cell.pressure.exponent else "any",
        f"{row['breathing_um'] / 1e3:.2f}",
    ]


def _critical_row(cell: Cell) -> list[str]:
    area, limits = cell.geometry.electrode_area_cm2, cell.limits
    claimed, literature = cell.critical_current_claimed, cell.critical_current_literature
    numbers = (
        cell.electric.capacity_ah * 1e3 / area,
        limits.current_charge_a[0] * 1e3 / area,
        claimed.plating_ma_per_cm2,
        literature.plating_ma_per_cm2,
        limits.current_discharge_a[0] * 1e3 / area,
        claimed.stripping_ma_per_cm2,
        literature.stripping_ma_per_cm2,
    )
    return [f"`{cell.name}`", *(f"{number:.3g}" for number in numbers)]


def _pack_row(pack: Pack) -> list[str]:
    row = packs_command.row(pack, cells.load(pack.cell))
    return [
        f"`{pack.name}`",
        f"`{row['cell']}`",
        f"{row['blocks']}s{row['parallel']}p",
        f"{row['modules']}",
        f"{row['energy_kwh']:.3g}",
        f"{row['mass_kg']:.0f}",
        f"{row['voltage_min_v']:.0f} to {row['voltage_max_v']:.0f}",
        f"{row['current_charge_a']:g}",
        f"{row['current_discharge_a']:g}",
        f"{row['fuse_a']:g}",
    ]


def _table(columns: tuple[str, ...], rows: list[list[str]]) -> str:
    lines = [columns, ("---",) * len(columns), *rows]
    return "\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _words(item: Cell | Pack) -> str:
    """Title, description, what the head of the file says, and how much of it is sourced."""
    kinds = Counter(origin.partition(":")[0] for origin in item.provenance.values())
    head: list[str] = []
    for line in Path(item.file).read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        head.append(line.lstrip("#").strip())
    told = " ".join(line for line in head if line)
    counted = f"{kinds['source']} values with a source, {kinds['assumption']} assumptions"
    return f"\n### {item.name}\n\n{item.title}. {item.description}\n\n{told}\n\n{counted}.\n"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
