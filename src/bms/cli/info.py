"""`bms info REC`: what a recording holds, on one screen."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bms.recorder import Recording

HELP = "what a recording holds, on one screen"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recording", type=Path, metavar="REC")
    parser.add_argument("--signals", action="store_true", help="every signal with its range")


def run(args: argparse.Namespace) -> int:
    from bms.recorder import Recording

    with Recording.open(args.recording) as rec:
        print("\n".join(_lines(rec)))
        if args.signals:
            print("\n".join(_signals(rec)))
    return 0


def _lines(rec: Recording) -> Iterator[str]:
    from bms.report import words

    size_mb = rec.path.stat().st_size / 1e6
    closed = "complete" if rec.is_complete else f"CUT: {rec.lost_bytes} bytes at its end are lost"
    in_tail = sum(place.in_tail for place in rec.layout.places)
    if in_tail:
        closed += f", {in_tail} batches are in its tail; `bms repair` joins them"
    yield f"{rec.path}  {size_mb:.1f} MB, {closed}"
    yield f"  {'run':13} {words.title(rec.meta)}"
    yield f"  {'again':13} {words.command(rec.meta)}"
    for key in ("commit", "configuration_hash"):
        if rec.meta.get(key):
            yield f"  {key.replace('_', ' '):13.13} {rec.meta[key]}"
    dropped = sum(e.value for e in rec.events if e.kind == "recorder" and "ticks" in e.name)
    told = f", {dropped:.0f} LOST" if dropped else ""
    yield f"  {'time':13} {words.clock(rec.duration_s)}, {rec.t_ns.size} ticks{told}"
    kinds = Counter(info.kind for info in rec.signals.values())
    yield f"  {'signals':13} " + ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    logs = [(log, len(getattr(rec, log))) for log in ("frames", "uart") if log in rec.schema.names]
    for log, count in logs:
        yield f"  {log:13} {count}"
    known = rec.meta.get("replay")
    if isinstance(known, dict):
        yield f"  {'inputs':13} of {known.get('firmware')}; `bms replay` gives them to it again"
    events = Counter(event.kind for event in rec.events)
    yield f"  {'events':13} " + (", ".join(f"{n} {kind}" for kind, n in events.items()) or "none")
    for event in rec.events[:8]:
        yield f"    {event.time_s:10.3f} s  {event.kind:10} {event.name}  {event.text}"
    if len(rec.events) > 8:
        yield f"    ... {len(rec.events) - 8} more"
    if rec.summary:
        yield f"  {'verdict':13} {words.verdict(rec.summary)}"
        for label, value in words.key_figures(rec.summary):
            yield f"    {label:26} {value}"


def _signals(rec: Recording) -> Iterator[str]:
    import numpy as np

    rec.load(*rec.signals)
    yield f"\n  {'signal':36} {'values':>6} {'samples':>8} {'least':>11} {'most':>11}  unit"
    for name, info in rec.signals.items():
        values = rec[name]
        finite = values[np.isfinite(values)]
        least, most = (finite.min(), finite.max()) if finite.size else (np.nan, np.nan)
        row = f"  {name:36} {info.count:6} {len(values):8} {least:11.5g} {most:11.5g}  {info.unit}"
        yield row
