"""`bms bench NAME`: measure, beside peers and against what the machine allows."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from bms.bench import Row

HELP = "measure speed and accuracy, beside peers and limits"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", metavar="NAME", help="a benchmark; without it, the list")
    parser.add_argument(
        "rest", nargs=argparse.REMAINDER, metavar="...", help="its options: bms bench NAME --help"
    )


def run(args: argparse.Namespace) -> int:
    from bms import bench

    if args.name is None:
        return _list("--json" in args.rest)
    module = bench.load(args.name)
    parser = argparse.ArgumentParser(prog=f"bms bench {args.name}", description=module.__doc__)
    parser.add_argument("--json", action="store_true", help="print one object")
    parser.add_argument(
        "--repetitions", type=_repetitions, default=5, help="median of so many (default 5)"
    )
    if hasattr(module, "arguments"):
        module.arguments(parser)
    options = parser.parse_args(args.rest)
    rows = module.rows(options)
    if options.json:
        print(msgspec.json.encode(bench.result(args.name, rows)).decode())
    else:
        _table(args.name, rows)
    return 0


def _repetitions(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def _list(as_json: bool) -> int:
    from bms import bench

    titles = {
        name: (bench.load(name).__doc__ or "").strip().partition("\n")[0] for name in bench.names()
    }
    if as_json:
        print(msgspec.json.encode(titles).decode())
        return 0
    for name, title in titles.items():
        print(f"{name:14} {title}")
    return 0


def figure(value: float | None) -> str:
    """Four significant digits, or a dash for what is not known."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _table(name: str, rows: list[Row]) -> None:
    from rich.console import Console
    from rich.table import Table

    from bms import bench

    console = Console(width=None if sys.stdout.isatty() else 140)
    computer = bench.machine()
    table = Table(title=f"bms bench {name}", title_justify="left")
    for heading in ("figure", "ours", "unit", "better", "peer", "limit", "of limit"):
        table.add_column(
            heading, justify="right" if heading in ("ours", "peer", "limit", "of limit") else "left"
        )
    for row in rows:
        peer = f"{figure(row.peer)} ({row.peer_name})" if row.peer_name else figure(row.peer)
        table.add_row(
            row.name, figure(row.ours), row.unit, row.better, peer, figure(row.limit), share(row)
        )
    console.print(table)
    console.print(f"{computer['cpu']}, {computer['cores_usable']} cores, {computer['os']}")
    console.print(f"{computer['compiler']}, Python {computer['python']}")
    for text in dict.fromkeys(f"limit: {row.limit_source}" for row in rows if row.limit_source):
        console.print(text, highlight=False)
    for text in dict.fromkeys(
        f"{row.peer_name} was not measured; to compare: {row.peer_install}"
        for row in rows
        if row.peer is None and row.peer_install
    ):
        console.print(text, highlight=False)


def share(row: Row) -> str:
    """How near ours is to the limit: 100 % is the limit, whichever direction is better."""
    if not row.limit or not row.ours:
        return "-"
    part = row.ours / row.limit if row.better == "higher" else row.limit / row.ours
    return f"{part:.0%}"
