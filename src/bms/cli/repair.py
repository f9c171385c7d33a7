"""`bms repair REC`: give a cut or damaged recording its end back, for every Arrow reader."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "make a cut or damaged recording whole again"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recording", type=Path, nargs="+", metavar="REC")


def run(args: argparse.Namespace) -> int:
    from bms.recorder import repair

    for path in args.recording:
        kept, lost = repair(path)
        told = f"kept {kept} batches, {lost} bytes were lost" if lost else "nothing to do"
        print(f"{path}: {told}")
    return 0
