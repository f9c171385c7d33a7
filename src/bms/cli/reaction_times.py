"""`bms reaction-times`: what each diagnosis takes by its configuration, and what it takes."""

from __future__ import annotations

import argparse
import json
from typing import Any

HELP = "reaction time of every diagnosis: budget, predicted, measured in simulation"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pack", help="name in the library or path of a TOML file")
    parser.add_argument("--cell", help="another cell in the pack")
    parser.add_argument("--predicted", action="store_true", help="only what is computed")
    parser.add_argument("--json", action="store_true", help="print one object")


def run(args: argparse.Namespace) -> int:
    from bms import reaction

    rows = reaction.table(args.pack or reaction.PACK, args.cell, measured=not args.predicted)
    if args.json:
        print(json.dumps({"reaction_times": [_as_dict(row) for row in rows]}))
    else:
        print("\n".join(_lines(rows)))
    return 1 if any(row.wrong for row in rows) else 0


def _as_dict(row: Any) -> dict[str, Any]:
    found = row.measured
    seen = found is not None and not found.why_not and found.most_ms > 0.0
    return {
        "diagnosis": row.name,
        "budget_ms": row.prediction.budget_ms,
        "predicted_ms": row.prediction.predicted_ms,
        "parts": dict(row.prediction.parts),
        "min_ms": found.least_ms if seen else None,
        "median_ms": found.median_ms if seen else None,
        "max_ms": found.most_ms if seen else None,
        "not_measured": found.why_not if found else "not asked for",
        "wrong": row.wrong,
    }


def _lines(rows: Any) -> list[str]:
    head = (
        f"{'diagnosis':26} {'budget':>9} {'predicted':>9} {'min':>7} {'median':>7} {'max':>7}  ms"
    )
    lines = [head]
    for row in rows:
        found, p = row.measured, row.prediction
        start = f"{row.name:26} {p.budget_ms:9.0f} {p.predicted_ms:9.0f}"
        if found is None:
            lines.append(start)
        elif found.why_not:
            lines.append(f"{start} {'':23}  {found.why_not}")
        else:
            times = f"{found.least_ms:7.0f} {found.median_ms:7.0f} {found.most_ms:7.0f}"
            lines.append(f"{start} {times}  {row.wrong}")
    wrong = sum(bool(row.wrong) for row in rows)
    lines.append(f"{len(rows)} diagnoses, {wrong} beyond what was predicted or allowed")
    return lines
