"""`bms fuzz`: deterministic simulation under random faults, judged by the truth.

Exit codes: 0 nothing was broken, 1 something was (or a planted bug was not found), 2 bad input."""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bms.campaign.hunt import Find
    from bms.campaign.play import Outcome
    from bms.campaign.run import Result
    from bms.campaign.story import Story

HELP = "random faults against the firmware, judged by the truth; every failure is one seed"
SECONDS = 600.0


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--hours", type=_positive, metavar="H", help="simulated hours altogether")
    parser.add_argument("--seeds", type=_count, metavar="N", help="runs (default 20, or by hours)")
    parser.add_argument(
        "--seed", type=_seed, default=0, metavar="BASE", help="the first (default 0)"
    )
    parser.add_argument(
        "--seconds", type=_positive, metavar="S",
        help=f"of one run, its end not counted (default hours / seeds, else {SECONDS:g})",
    )  # fmt: skip
    parser.add_argument("--jobs", type=_count, default=1, metavar="J", help="processes (default 1)")
    parser.add_argument(
        "--scheduler", default="", metavar="tcp://...", help="a Dask cluster instead"
    )
    parser.add_argument("--pack", default="", help="always this pack, not a drawn topology")
    parser.add_argument(
        "--faults", default="", metavar="ID,...", help="only these of the catalogue"
    )
    parser.add_argument("--json", action="store_true", help="print one object")
    parser.add_argument("--replay", type=_seed, metavar="SEED", help="play one seed again")
    parser.add_argument("--explain", action="store_true", help="with --replay: as a timeline")
    parser.add_argument(
        "--keep", default="", metavar="K,...", help="with --replay: only these deeds"
    )
    parser.add_argument(
        "--until", type=_positive, default=0.0, metavar="S", help="with --replay: end it there"
    )
    parser.add_argument(
        "--no-minimise", action="store_true", help="leave what fails as it is; saves time"
    )
    parser.add_argument("--planted", action="store_true", help="hunt the bugs shipped as patches")
    parser.add_argument("--mutant", type=Path, metavar="FILE.diff", help="hunt this patch")
    parser.add_argument(
        "--budget", type=_positive, default=300.0, metavar="S",
        help="CPU seconds for one hunt at most (default 300)",
    )  # fmt: skip
    parser.add_argument(
        "--coverage", type=Path, metavar="FILE.md",
        help="write the coverage table; its counts, when the file is named .json, on top of those"
        " that it has",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    if args.planted:
        return _planted(args)
    if args.replay is not None:
        return _replay(args)
    if args.mutant is not None:
        return _mutant(args)
    return _campaign(args)


def _positive(text: str) -> float:
    value = float(text)
    if not 0.0 < value < 1e9:
        raise argparse.ArgumentTypeError("must be above 0 and below 1e9")
    return value


def _count(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 10_000_000:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def _seed(text: str) -> int:
    value = int(text, 0)
    if not 0 <= value < 2**63:
        raise argparse.ArgumentTypeError("must be 0 or more, below 2^63")
    return value


# ---- campaign ----


def _campaign(args: argparse.Namespace) -> int:
    from bms.campaign import run as runner

    seconds = args.seconds or SECONDS
    seeds = args.seeds or (max(1, round(3600.0 * args.hours / seconds)) if args.hours else 20)
    if args.hours and args.seeds and not args.seconds:
        seconds = max(1.0, 3600.0 * args.hours / seeds)
    only = _fault_ids(args.faults)
    _check_pack(args.pack)
    work = runner.tasks(seconds * seeds / 3600.0, seeds, args.seed, pack=args.pack, only=only)
    found = runner.outcomes(work, jobs=args.jobs, scheduler=args.scheduler)
    result = runner.gather(_watched(found, len(work), args, work[0].seconds))
    if args.coverage:
        from bms.campaign import coverage

        is_plain = args.coverage.suffix == ".json"
        before = args.coverage if is_plain and args.coverage.is_file() else None
        reached = coverage.plain(result, before)
        text = json.dumps(reached, indent=1) + "\n" if is_plain else coverage.table(reached)
        args.coverage.write_text(text)
    if args.json:
        print(json.dumps(result.as_json(), allow_nan=False))
    else:
        _print(result)
    return 1 if result.violations else 0


def _fault_ids(text: str) -> tuple[str, ...]:
    from bms import faults

    return tuple(faults.fault(name.strip()).id for name in text.split(",") if name.strip())


def _check_pack(name: str) -> None:
    from bms import packs

    if name:
        packs.load(name)


def _watched(
    found: Iterable[Outcome], total: int, args: argparse.Namespace, seconds: float
) -> Iterator[Outcome]:
    """Each failure told as soon as it is known, on stderr, with the line that replays it."""
    for done, outcome in enumerate(found, 1):
        if outcome.violations:
            rules = ", ".join(outcome.broken)
            print(f"seed {outcome.seed} breaks {rules}", file=sys.stderr)
            print("  " + _line(args, outcome.seed, seconds), file=sys.stderr, flush=True)
            if not args.no_minimise:
                print("  " + _smaller(args, outcome, seconds), file=sys.stderr, flush=True)
        if sys.stderr.isatty() and not args.json:
            print(f"\r{done} of {total} seeds", end="", file=sys.stderr, flush=True)
        yield outcome


def _line(args: argparse.Namespace, seed: int, seconds: float) -> str:
    pack = f" --pack {args.pack}" if args.pack else ""
    only = f" --faults {args.faults}" if args.faults else ""
    mutant = f" --mutant {args.mutant}" if args.mutant else ""
    return f"bms fuzz --replay {seed:#x} --seconds {seconds:g}{pack}{only}{mutant}"


def _smaller(args: argparse.Namespace, outcome: Outcome, seconds: float, firmware: str = "") -> str:
    from bms.campaign.minimise import minimise
    from bms.campaign.story import write

    story = write(outcome.seed, seconds, pack=args.pack, only=_fault_ids(args.faults))
    row = outcome.violations[0]
    keep, until_s, plays = minimise(story, row.id, row.time_s, firmware=firmware or None)
    deeds = ",".join(map(str, keep)) or "none"
    line = _line(args, outcome.seed, seconds)
    words = f"{len(keep)} of {len(story.deeds)} deeds, {plays} plays"
    return f"{line} --keep {deeds} --until {until_s:g}    # {row.id} needs {words}"


def _print(result: Result) -> None:
    told = result.as_json()
    print(
        f"{told['simulated_hours']:.2f} h in {told['seeds']} seeds,"
        f" {told['hours_per_cpu_hour']:.0f} h per CPU-hour"
    )
    masked = {id: hours for id, hours in told["masked_hours"].items() if hours >= 0.01}
    words = ", ".join(f"{id} {hours:.2f} h" for id, hours in masked.items()) or "nothing"
    print(f"faults acted for {told['fault_hours']:.2f} h; masked: {words}")
    print(f"SoC in its interval: {100.0 * result.soc_inside_frac:.2f} %")
    print(f"violations {result.violations}, false trips {result.false_trips}")
    for text in result.complaints:
        print(f"  {text}")
    for seed, rules in result.failures[:50]:
        print(f"  seed {seed:#x}: {', '.join(rules)}")


# ---- one seed ----


def _replay(args: argparse.Namespace) -> int:
    from contextlib import nullcontext

    from bms.campaign import mutant

    patched: Any = mutant.built(args.mutant) if args.mutant else nullcontext(None)
    with patched as library:
        return _one(args, _story(args), library)


def _story(args: argparse.Namespace) -> Story:
    from bms.campaign.minimise import kept
    from bms.campaign.story import write
    from bms.errors import ConfigError

    _check_pack(args.pack)
    story = write(
        args.replay, args.seconds or SECONDS, pack=args.pack, only=_fault_ids(args.faults)
    )
    places = range(len(story.deeds))
    if args.keep == "none":
        places = range(0)
    elif args.keep:
        try:
            chosen = [int(text) for text in args.keep.split(",")]
        except ValueError:
            raise ConfigError("--keep", "", args.keep, "numbers with commas between") from None
        return kept(story, chosen, args.until)
    return kept(story, places, args.until)


def _one(args: argparse.Namespace, story: Story, library: Path | None) -> int:
    from bms.campaign import explain
    from bms.campaign.play import play

    if args.explain:
        outcome, lines = explain.told(story, firmware=library)
        for at_s, kind, text in lines:
            print(f"{at_s:10.3f} s  {kind:10} {text}")
    else:
        outcome = play(story, firmware=library)
    if args.json:
        print(json.dumps(_outcome_json(outcome), allow_nan=False))
        return 1 if outcome.violations else 0
    verdict = ", ".join(outcome.broken) or "nothing broken"
    print(f"seed {outcome.seed:#x}: {verdict}; {outcome.simulated_s:.1f} s")
    print(f"trace {outcome.trace_hash} truth {outcome.truth_hash}")
    return 1 if outcome.violations else 0


def _outcome_json(outcome: Outcome) -> dict[str, Any]:
    import msgspec

    plain: dict[str, Any] = msgspec.to_builtins(outcome)
    plain.pop("events")
    return plain | {"rules": list(outcome.broken)}


# ---- bugs ----


def _planted(args: argparse.Namespace) -> int:
    """Each row told as it is found; a stop (SIGINT, SIGTERM) tells what there is so far."""
    from bms.campaign import hunt

    finds: list[Find] = []
    patches = hunt.planted()
    rows = sys.stderr if args.json else sys.stdout
    with _stoppable():
        for patch in patches:
            seeds = args.seeds or hunt.SEEDS
            finds.append(hunt.hunt(patch, base=args.seed, seeds=seeds, cpu_s=args.budget))
            print(_find_line(finds[-1]), file=rows, flush=True)
    if args.json:
        print(json.dumps({"planted": [_find_json(find) for find in finds]}), flush=True)
    else:
        found = sorted(find.cpu_s for find in finds if find.found)
        middle = f", median {statistics.median(found):.2f} CPU-seconds" if found else ""
        print(f"{len(found)} of {len(patches)} found{middle}")
    if len(finds) < len(patches):
        print(f"stopped: {len(patches) - len(finds)} were not hunted", file=sys.stderr)
        return 1
    return 0 if all(find.found for find in finds) else 1


@contextmanager
def _stoppable() -> Iterator[None]:
    """SIGINT and SIGTERM end the block, and nothing more."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)


def _mutant(args: argparse.Namespace) -> int:
    from bms.campaign import hunt

    seeds = args.seeds or hunt.SEEDS
    find = hunt.hunt(args.mutant, base=args.seed, seeds=seeds, cpu_s=args.budget)
    if args.json:
        print(json.dumps(_find_json(find)))
    else:
        print(_find_line(find))
        if find.found:
            args.replay = find.seed
            print("  " + _line(args, find.seed, find.seconds) + " --explain")
    return 1 if find.found else 0


def _find_json(find: Find) -> dict[str, Any]:
    seed = find.seed if find.found else None
    return {
        "name": find.name, "found": find.found, "seeds": find.seeds, "cpu_s": find.cpu_s,
        "rule": find.rule, "seed": seed, "seconds": find.seconds,
    }  # fmt: skip


def _find_line(find: Find) -> str:
    if not find.found:
        return f"{find.name:34} not found in {find.seeds} seeds, {find.cpu_s:.1f} s"
    return f"{find.name:34} {find.rule:4} after {find.seeds:4} seeds, {find.cpu_s:7.2f} s"
