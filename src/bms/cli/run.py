"""`bms run SCENARIO`: simulate, record, report.

Leaves run.arrow, summary.json, report.html and pictures in the output folder. Without a scenario it
lists the library.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bms.result import Run

HELP = "run a scenario: pack, chips, sensors and firmware in closed loop"

Progress = Callable[[float, str], None]


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "scenario", nargs="?", metavar="SCENARIO", help="name in the library or path of a TOML file"
    )
    parser.add_argument("--pack", help="name or path, in place of the scenario's")
    parser.add_argument("--cell", help="name or path, in place of the pack's")
    parser.add_argument("--cycle", metavar="CSV", help="speed over time to drive")
    parser.add_argument("--seed", type=int, default=1, help="of everything random (default 1)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="settings",
        help="change the scenario; repeatable. `bms scenarios show SCENARIO` lists the keys",
    )  # fmt: skip
    parser.add_argument(
        "--inject", action="append", default=[], metavar="ID[:index=12,value=..,after=..]",
        help="a fault of `bms faults`, also ramp=.. and for=.. in seconds; repeatable",
    )  # fmt: skip
    parser.add_argument("--firmware", metavar="LIB.so", help="a firmware that fits ecu.h")
    parser.add_argument("--duration", type=_positive, metavar="S", help="simulate so long at most")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default out/SCENARIO-seedN")
    parser.add_argument(
        "--record-cells-hz", type=_cell_rate, default=1.0, metavar="F",
        help="samples a second of every cell, 0.01 to 100 (default 1)",
    )  # fmt: skip
    parser.add_argument("--frames", action="store_true", help="record CAN frames and serial bytes")
    parser.add_argument(
        "--record-inputs", action="store_true",
        help="record what the firmware is given and answers, for `bms replay`",
    )  # fmt: skip
    parser.add_argument("--no-record", action="store_true", help="neither recording nor report")
    parser.add_argument("--no-report", action="store_true", help="no HTML, no pictures")
    parser.add_argument("--json", action="store_true", help="print the summary as one JSON object")


def run(args: argparse.Namespace) -> int:
    if args.scenario is None:
        from bms.cli import scenarios

        args.action = None
        return scenarios.run(args)
    from bms.errors import RecorderError

    summary, written = execute(args)
    if args.json:
        print(json.dumps(summary, allow_nan=False))
    else:
        print("\n".join(_table(summary)))
        for path in written:
            print(f"  {path}")
    if "recording_trouble" in summary:
        print(f"bms: the recording is not whole: {summary['recording_trouble']}", file=sys.stderr)
        return RecorderError.exit_code
    return 0


def execute(args: argparse.Namespace) -> tuple[dict[str, Any], list[Path]]:
    """Simulate and write everything; (summary, files written)."""
    from bms.cli import _inject
    from bms.recorder.container import plain
    from bms.sim import Simulation

    simulation = Simulation(
        args.scenario, pack=args.pack, cell=args.cell, cycle=args.cycle, seed=args.seed,
        settings=parse_settings(args.settings), firmware=args.firmware,
    )  # fmt: skip
    for text in args.inject:
        name, how = _inject.parse(text)
        simulation.inject(name, **how)
    folder = args.out or Path("out") / f"{Path(str(simulation.scenario)).stem}-seed{args.seed}"
    with progress_bar(f"{simulation.scenario}, seed {args.seed}") as progress:
        result = simulation.run(
            args.duration,
            progress=progress,
            record=False if args.no_record else folder / "run.arrow",
            cells_every_s=1.0 / args.record_cells_hz,
            frames=args.frames,
            inputs=args.record_inputs,
        )
    written = [] if args.no_record else [folder / "run.arrow"]
    summary: dict[str, Any] = plain(result.summary)
    if result.trouble:  # findings and report need the whole of it
        summary["recording_trouble"] = result.trouble
    elif not args.no_record:
        summary["findings"] = _findings(result, simulation)
    _write(folder / "summary.json", json.dumps(summary, indent=2, allow_nan=False) + "\n")
    written.append(folder / "summary.json")
    if not (args.no_record or args.no_report or result.trouble):
        from bms import report

        written += report.write([result.recording], folder / "report.html", pictures=folder)
    return summary, written


def _findings(result: Run, simulation: Any) -> list[str]:
    from bms.report.thinned import Thinned
    from bms.scenarios.findings import findings

    recording = Thinned(result.recording)
    return findings(simulation.plan, result.summary, recording, simulation.cell, simulation.pack)


def parse_settings(texts: list[str]) -> dict[str, str]:
    """KEY=VALUE texts as a dict."""
    from bms.errors import ConfigError

    settings = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise ConfigError("option", "--set", text, "KEY=VALUE")
        settings[key.strip()] = value.strip()
    return settings


@contextmanager
def progress_bar(title: str) -> Iterator[Progress | None]:
    """A bar on stderr while a person looks, else None."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn(),
        TextColumn("[dim]{task.fields[phase]}"),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=1.0, phase="")
        yield lambda fraction, phase: bar.update(task, completed=fraction, phase=phase)


def _write(path: Path, text: str) -> None:
    from bms.errors import RecorderError

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    except OSError as error:
        raise RecorderError(f"{path}: cannot be written: {error.strerror}") from error


def _table(summary: dict[str, Any]) -> Iterator[str]:
    """What a person wants to know at the end of a run."""
    from bms.report import words

    yield words.verdict(summary)
    yield ""
    for label, value in words.key_figures(summary):
        yield f"  {label:26} {value}"
    for sentence in summary.get("findings", []):
        yield f"  - {sentence}"
    yield ""


def _positive(text: str) -> float:
    value = float(text)
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"{text}: expected seconds above 0")
    return value


def _cell_rate(text: str) -> float:
    value = float(text)
    if not 0.01 <= value <= 100.0:
        raise argparse.ArgumentTypeError(f"{text}: expected 0.01 to 100")
    return value
