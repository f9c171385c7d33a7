"""`bms report REC...`: the HTML report of a recording, or of several side by side.

Any recording will do, also one made of a bus log. The page of a long run shows the least and the
most of each pixel column, so no spike is lost.
"""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "the HTML report of a recording, or of several compared"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recording", type=Path, nargs="+", metavar="REC")
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: report.html beside it")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="also PNG files into DIR")


def run(args: argparse.Namespace) -> int:
    from bms import report
    from bms.errors import ConfigError
    from bms.recorder import Recording

    if len(args.recording) > report.MOST:
        expected = f"one recording, or up to {report.MOST} to compare"
        raise ConfigError("option", "REC", len(args.recording), expected)
    name = "report.html" if len(args.recording) == 1 else "comparison.html"
    out = args.out or args.recording[0].with_name(name)
    recordings = [Recording.open(path) for path in args.recording]
    for path in report.write(recordings, out, pictures=args.pictures):
        print(path)
    return 0
