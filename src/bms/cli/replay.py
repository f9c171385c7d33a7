"""`bms replay REC`: give a recording's inputs to the firmware again.

Without more, every output must be the recorded one, bit for bit; the first that is not is told and
the exit code is 1. With --against, what a changed firmware (a .so that fits ecu.h) or another
configuration (a pack or a cell) would have said instead: events, limits, estimates; the exit code
is then 0 whatever it said. Recordings need inputs: `bms run SCENARIO --record-inputs`.

A log of a real bus (candump, BLF, ASC, MDF4) is replayed with a mapping, --mapping FILE.toml, that
says which of its signals are what our firmware measures; docs/recording.md has an example.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bms.recorder import Recording
    from bms.replay import Comparison

HELP = "give a recording's inputs to the firmware again: equal bit for bit?"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recording", type=Path, metavar="REC", help="a recording, or a bus log")
    parser.add_argument(
        "--against", metavar="CONFIG_OR_LIBRARY",
        help="a .so that fits ecu.h, or a pack or cell (name or TOML file)",
    )  # fmt: skip
    parser.add_argument("--mapping", type=Path, metavar="TOML", help="what a bus log's signals are")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="where a replayed log is recorded (run.arrow)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    if args.mapping is not None:
        return _log(args)
    from bms.recorder import Recording
    from bms.replay import other_firmware

    with Recording.open(args.recording) as rec:
        if args.against is None:
            return _check(rec, args.json)
        from bms.replay import against

        found = against(rec, other_firmware(rec, args.against))
    if args.json:
        print(json.dumps(_plain(dataclasses.asdict(found)), allow_nan=False))
    else:
        print("\n".join(_compared(found)))
    return 0


def _plain(value: object) -> object:
    from bms.recorder.container import plain

    return plain(value)


def _check(rec: Recording, as_json: bool) -> int:
    from bms.replay import check, recorded_firmware

    firmware = recorded_firmware(rec)
    found = check(rec, firmware)
    first = found.first
    if as_json:
        words = {
            "recording": str(rec.path), "firmware": firmware.title, "identical": first is None,
            "steps": found.steps, "starts": found.starts, "seconds": found.seconds,
            "first_difference": dataclasses.asdict(first) if first else None,
        }  # fmt: skip
        print(json.dumps(_plain(words), allow_nan=False))
    elif first is None:
        print(
            f"{rec.path}: {found.steps} steps ({found.seconds:.1f} s) of {firmware.title}: every "
            f"output equal, bit for bit"
        )
    else:
        print(
            f"{rec.path}: the first output that differs is at {first.time_s:.3f} s, step "
            f"{first.step}:\n  {first.field}  recorded {first.recorded}  replayed {first.replayed}"
        )
    return 0 if first is None else 1


def _compared(found: Comparison) -> Iterator[str]:
    yield f"recorded  {found.recorded}"
    yield f"replayed  {found.replayed}"
    if found.first_s is None:
        yield f"all {found.steps} steps ({found.seconds:.1f} s) have equal outputs, bit for bit"
        return
    yield (
        f"{found.steps_differing} of {found.steps} steps ({found.seconds:.1f} s) differ, "
        f"first at {found.first_s:.3f} s"
    )
    yield f"\nevents: {found.events_equal} equal, {len(found.events)} not"
    if found.events:
        yield f"  {'recorded':>11} {'replayed':>11}  event"
    for event in found.events[:40]:
        times = ["-" if t is None else f"{t:.3f} s" for t in (event.recorded_s, event.replayed_s)]
        yield f"  {times[0]:>11} {times[1]:>11}  {event.what}"
    if len(found.events) > 40:
        yield f"  ... {len(found.events) - 40} more (--json has all)"
    yield f"\nsignals: {found.signals_equal} equal, {len(found.signals)} not"
    if found.signals:
        heads = ("most", "mean", "recorded", "replayed")
        yield f"  {'signal':32} {heads[0]:>11} {'at':>10}" + "".join(f" {h:>11}" for h in heads[1:])
    for kind in ("limit", "estimated", "measured", "command"):
        for s in found.signals:
            if s.kind == kind:
                yield (
                    f"  {s.name:32} {s.most:+11.5g} {s.at_s:9.1f}s {s.mean_abs:11.5g} "
                    f"{s.recorded_last:11.5g} {s.replayed_last:11.5g}  {s.unit}"
                )


def _log(args: argparse.Namespace) -> int:
    from bms.replay.buslog import replay_log

    found = replay_log(args.recording, args.mapping, args.out)
    print(json.dumps(_plain(found), allow_nan=False) if args.json else "\n".join(_told(found)))
    return 0


def _told(found: dict[str, object]) -> Iterator[str]:
    for name, value in found.items():
        yield f"  {name.replace('_', ' '):26} {value}"
