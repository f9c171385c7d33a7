"""`bms convert FILE OUT`: a recording in another format, or a bus log as a recording.

FILE is a recording or a log (candump, ASC, BLF, MDF 4). The end of OUT says the format, unless --to
does:

  .mf4        ASAM MDF 4: signals, events, and frames as bus logging with the DBC attached
  .parquet    one row a tick           .csv    the same as text
  .bdf.csv    Battery Data Format: the pack, or the cell that --cell names
  .blf .asc .log .pcapng               frames for CANalyzer, SavvyCAN, can-utils, Wireshark
  .arrow      a recording, of a log: --dbc says how to decode its frames (`--dbc bms` is our own)
"""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "a recording in another format, or a bus log as a recording"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--to", default="", metavar="FORMAT", help="in place of the end of OUT")
    parser.add_argument(
        "--signals", default="", metavar="NAME,...", help="names or patterns such as 'est_*'"
    )
    parser.add_argument("--from-s", type=float, metavar="S", help="leave out what was before")
    parser.add_argument("--to-s", type=float, metavar="S", help="leave out what came after")
    parser.add_argument("--dbc", type=Path, metavar="F", help="describes the frames")
    parser.add_argument(
        "--cell", type=int, default=-1, metavar="N", help="of .bdf: this cell, not the pack"
    )


def run(args: argparse.Namespace) -> int:
    from bms import spec
    from bms.errors import ConfigError
    from bms.recorder import export

    dbc = args.dbc
    if dbc is not None and str(dbc) == "bms":
        dbc = spec.DBC
    elif dbc is not None and not dbc.is_file():
        raise ConfigError("option", "--dbc", str(dbc), "a file, or bms for our own")
    signals = [name.strip() for name in args.signals.split(",") if name.strip()]
    told = export.convert(
        args.file, args.out, to=args.to, signals=signals, from_s=args.from_s, to_s=args.to_s,
        options=export.Options(dbc, args.cell),
    )  # fmt: skip
    print(f"{args.out}: {told}")
    return 0
