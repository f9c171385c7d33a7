"""`bms fmu PACK --out FILE.fmu`: the pack as an FMI 3.0 co-simulation unit, for other simulators.

The unit is the plant alone: cells, heat, pressure, contactors and link. Whoever imports it drives
the coils and the load and reads voltages, temperatures and pressures. It needs solid-bms in the
Python of the importing tool; `fmpy simulate FILE.fmu` tries it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "the pack as an FMI 3.0 co-simulation unit"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pack", metavar="PACK", help="name in the library or path of a TOML file")
    parser.add_argument("--out", type=Path, metavar="FILE", help="default PACK.fmu")
    parser.add_argument("--cell", help="name or path, in place of the pack's")
    parser.add_argument(
        "--critical", choices=("claimed", "literature"), default="claimed",
        help="which critical currents are the truth",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    from bms import fmu

    out = args.out or Path(f"{Path(args.pack).stem}.fmu")
    path = fmu.export(args.pack, out, cell=args.cell, critical=args.critical)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    return 0
