"""`bms demo`: a solid-state pack drives a real cycle under its own firmware.

Ends with a report, pictures and what the run found.
"""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "the most telling run in under 90 s, with a report to open"
SCENARIO = "drive"
FINDINGS = 5


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, default=Path("out/demo"), metavar="DIR")
    parser.add_argument("--seed", type=int, default=1)


def run(args: argparse.Namespace) -> int:
    from bms.cli import run as command
    from bms.report import words

    parser = argparse.ArgumentParser()
    command.arguments(parser)
    line = [SCENARIO, "--out", str(args.out), "--seed", str(args.seed)]
    summary, written = command.execute(parser.parse_args(line))
    print(words.verdict(summary), end="\n\n")
    told = [*summary["findings"], *words.sentences(summary, estimate=False)]
    for sentence in told[:FINDINGS]:
        print(f"  - {sentence}")
    pictures = [path for path in written if path.suffix == ".png"]
    report = next(path for path in written if path.suffix == ".html")
    print(f"\nOpen {report.resolve().as_uri()}")
    print(f"{len(pictures)} pictures and the recording lie beside it.")
    print(f"Next: bms info {args.out / 'run.arrow'}, bms run, bms explain est_soc_frac")
    return 0
