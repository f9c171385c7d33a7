"""Thousands of seeds, on the processes of this machine or on a Dask cluster.

A task is a seed and a few numbers; what comes back is counts and never traces. So nothing is lost
when a worker dies: its seeds are played again, elsewhere, with the same result.
"""

from __future__ import annotations

import importlib
import multiprocessing
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any

import msgspec

from bms.campaign import judge
from bms.campaign.play import Outcome, play
from bms.campaign.story import write
from bms.errors import BmsError, ConfigError
from bms.model import Frozen

MASKED_MAX_FRAC = 0.10
INSIDE_MIN_FRAC = 0.99
SHARES_FROM = 100  # seeds: of fewer, one story would decide
AGAIN_EVERY = 25  # seeds: T1 and T2 look at one in so many
RETRIES = 5


class Task(Frozen, frozen=True):
    """What a worker is given."""

    seed: int
    seconds: float
    pack: str = ""
    only: tuple[str, ...] = ()
    firmware: str = ""
    again: bool = False


class Result(Frozen, frozen=True):
    """What a campaign found. `failures`: (seed, rules), by seed."""

    simulated_hours: float
    cpu_hours: float
    seeds: int
    failures: tuple[tuple[int, tuple[str, ...]], ...]
    false_trips: int
    fault_hours: float
    masked_hours: dict[str, float]
    recovering_hours: dict[str, float]
    soc_inside_frac: float
    coverage: dict[str, int]

    @property
    def violations(self) -> int:
        """Rules broken, over all seeds, and what only a campaign as a whole can break."""
        return sum(len(rules) for _, rules in self.failures) + len(self.complaints)

    @property
    def complaints(self) -> tuple[str, ...]:
        """What is wrong with the campaign as a whole, in words."""
        found = []
        if self.seeds < SHARES_FROM:
            return ()
        for id, hours in self.masked_hours.items():
            if hours > MASKED_MAX_FRAC * self.fault_hours:
                share = 100.0 * hours / self.fault_hours
                found.append(f"{id} was masked for {share:.0f} % of all hours with faults")
        if self.soc_inside_frac < INSIDE_MIN_FRAC:
            found.append(f"E1: SoC was in its interval in {100 * self.soc_inside_frac:.2f} % only")
        return tuple(found)

    def as_json(self) -> dict[str, Any]:
        """Plain values, keys as documented for `bms fuzz --json`."""
        per = self.simulated_hours / self.cpu_hours if self.cpu_hours else 0.0
        return {
            "simulated_hours": round(self.simulated_hours, 4),
            "cpu_hours": round(self.cpu_hours, 6),
            "hours_per_cpu_hour": round(per, 1),
            "seeds": self.seeds,
            "violations": self.violations,
            "false_trips": self.false_trips,
            "fault_hours": round(self.fault_hours, 4),
            "masked_hours": _rounded(self.masked_hours),
            "recovering_hours": _rounded(self.recovering_hours),
            "soc_inside_frac": round(self.soc_inside_frac, 5),
            "complaints": list(self.complaints),
            "failing_seeds": [
                {"seed": seed, "rules": list(rules)} for seed, rules in self.failures
            ],
        }


def _rounded(hours: dict[str, float]) -> dict[str, float]:
    return {id: round(value, 4) for id, value in sorted(hours.items())}


def tasks(
    hours: float,
    seeds: int,
    base: int,
    *,
    pack: str = "",
    only: Sequence[str] = (),
    firmware: str = "",
) -> list[Task]:
    """One task a seed; the hours are shared out evenly."""
    seconds = round(3600.0 * hours / seeds, 3)
    return [
        Task(
            seed=base + k, seconds=seconds, pack=pack, only=tuple(only), firmware=firmware,
            again=k % AGAIN_EVERY == 0 and not firmware,
        )
        for k in range(seeds)
    ]  # fmt: skip


def carry_out(task: Task) -> Outcome:
    """What a worker does."""
    story = write(task.seed, task.seconds, pack=task.pack, only=task.only)
    outcome = play(story, firmware=task.firmware or None)
    if not task.again:
        return outcome
    more = judge.same_again(story, outcome, task.firmware or None)
    return msgspec.structs.replace(outcome, violations=(*outcome.violations, *more))


def outcomes(work: Sequence[Task], *, jobs: int = 1, scheduler: str = "") -> Iterator[Outcome]:
    """Each as it comes; no order is promised. ConfigError for a cluster that cannot be had."""
    if scheduler:
        yield from _cluster(work, scheduler)
    elif jobs <= 1 or len(work) <= 1:
        yield from map(carry_out, work)
    else:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(jobs, len(work)), mp_context=context) as pool:
            waiting = [pool.submit(carry_out, task) for task in work]
            for future in as_completed(waiting):
                yield future.result()


def _cluster(work: Sequence[Task], scheduler: str) -> Iterator[Outcome]:
    try:
        distributed: Any = importlib.import_module("distributed")
    except ImportError as error:
        expected = "the Dask client: pip install solid-bms[cluster]"
        raise ConfigError("", "scheduler", scheduler, expected) from error
    try:
        client = distributed.Client(scheduler, timeout="10s")
    except (OSError, ValueError) as error:
        raise ConfigError("", "scheduler", scheduler, f"a Dask scheduler ({error})") from error
    with client:
        futures = client.map(carry_out, work, retries=RETRIES, pure=False)
        for future, outcome in distributed.as_completed(
            futures, with_results=True, raise_errors=False
        ):
            if future.status != "finished":
                raise BmsError(f"a seed could not be played: {outcome}")
            yield outcome


def gather(found: Iterable[Outcome]) -> Result:
    """One result of many outcomes, the same in whatever order they come."""
    rows = sorted(found, key=lambda row: row.seed)
    masked: Counter[str] = Counter()
    recovering: Counter[str] = Counter()
    coverage: Counter[str] = Counter()
    for row in rows:
        masked.update(row.masked_s)
        recovering.update(row.recovering_s)
        coverage.update(row.coverage)
    checked = sum(row.soc_checked for row in rows)
    return Result(
        simulated_hours=sum(row.simulated_s for row in rows) / 3600.0,
        cpu_hours=sum(row.cpu_s for row in rows) / 3600.0,
        seeds=len(rows),
        failures=tuple((row.seed, row.broken) for row in rows if row.violations),
        false_trips=sum("S16" in row.broken for row in rows),
        fault_hours=sum(row.fault_s for row in rows) / 3600.0,
        masked_hours={id: seconds / 3600.0 for id, seconds in masked.items()},
        recovering_hours={id: seconds / 3600.0 for id, seconds in recovering.items()},
        soc_inside_frac=sum(row.soc_inside for row in rows) / checked if checked else 1.0,
        coverage=dict(coverage),
    )
