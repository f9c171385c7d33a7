"""`bms fit MANIFEST.toml --out CELL.toml`: a cell file from measurements."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

HELP = "fit a cell to measurements, every value with its interval"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "manifest", type=Path, metavar="MANIFEST.toml", help="files and their roles"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="CELL.toml")
    parser.add_argument("--report", type=Path, metavar="HTML", help="measured against model")


def run(args: argparse.Namespace) -> int:
    from bms.errors import ConfigError

    try:
        import scipy  # noqa: F401
    except ImportError:
        what = "scipy: pip install 'solid-bms[fit]'"
        raise ConfigError("bms fit", "scipy", "nothing", what) from None
    from bms import fit

    result = fit.fit(args.manifest)
    cell = fit.write(result, args.out)
    for name in result.absent:
        print(f"{name}: not there, so not judged", file=sys.stderr)
    for scored in result.scores:
        for repair in scored.repairs:
            print(f"{scored.trace.name}: {repair}", file=sys.stderr)
    for line in lines(result):
        print(line)
    for remark in result.remarks():
        print(f"remark    {remark}")
    print(f"{cell.name}: {args.out}")
    if args.report:
        from bms.fit import report

        report.write(result, cell, args.report)
        print(f"report: {args.report}")
    return 0


def lines(result: object) -> list[str]:
    """Errors of the model, one line a record: what was fitted, then what was held out."""
    from bms.fit.run import Result

    assert isinstance(result, Result)
    out = []
    for s in sorted(result.scores, key=lambda s: s.is_judged):
        kind = "held out" if s.is_judged else "fitted"
        out.append(f"{kind:9s} {s.trace.name}: voltage RMSE {s.rmse_mv:.1f} mV "
                   f"({s.rmse_used_mv:.1f} mV above SoC 0.1)")  # fmt: skip
    for h in result.heat_scores:
        kind = "held out" if h.is_judged else "fitted"
        surface, core = h.rmse_k
        more = (
            ""
            if core != core
            else (f", core {core:.2f} K; core by the quasi-steady law {h.law_rmse_k:.3f} K")
        )
        out.append(f"{kind:9s} {h.name}: surface RMSE {surface:.2f} K{more}")
    return out
