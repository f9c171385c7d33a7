"""Looking for a bug that somebody put into the firmware.

Drills first (every fault alone, in every situation), random stories between them. What is found
must be the patch's doing: the same story with the firmware as it is breaks no such rule. In a drill
that comparison also shows a reaction of the catalogue that no longer comes (F1).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import lru_cache
from itertools import count
from pathlib import Path

from bms import faults
from bms.campaign import drill, mutant
from bms.campaign.play import Outcome, play
from bms.campaign.story import DRILLS, write
from bms.model import Frozen

SECONDS = 90.0  # of a random story
SEEDS = 4000  # stories of one hunt, at most
LATE = 2.0  # times as long as before, and beyond the budget
BLED, BLED_J = 10.0, 5.0  # times as much as before, and so much more
PLANTED = Path(__file__).parent / "planted"


class Find(Frozen, frozen=True):
    """What became of a hunt. seeds: stories played; rule and seed of the first that broke."""

    name: str
    found: bool
    seeds: int
    cpu_s: float
    rule: str = ""
    seed: int = -1
    seconds: float = 0.0


def planted() -> list[Path]:
    """Patches shipped with the project, the canary first."""
    return sorted(PLANTED.glob("*.diff"), key=lambda path: (path.stem != "canary", path.stem))


def about(path: Path) -> str:
    """What a shipped patch says of itself."""
    lines = path.read_text().splitlines()
    return " ".join(line[1:].strip() for line in lines if line.startswith("#"))


def order(base: int) -> Iterator[tuple[int, float]]:
    """Seeds and their seconds: four drills, then a random story, and so on."""
    drills = drill.in_turn()
    for k in count():
        for each in range(4 * k, 4 * k + 4):
            turn, place = divmod(each, len(drills))
            yield DRILLS + turn * len(drills) + drills[place], drill.SECONDS
        yield base + k, SECONDS


def hunt(patch: Path, *, base: int = 0, seeds: int = SEEDS, cpu_s: float = 300.0) -> Find:
    """Play stories against the firmware with `patch` until one breaks a rule, at most so many seeds
    and so much time. ConfigError for a patch that does not fit or compile."""
    started = time.process_time()
    played = 0
    with mutant.built(patch) as library:
        for seed, seconds in order(base):
            if played >= seeds or time.process_time() - started > cpu_s:
                break
            played += 1
            rule = judged(seed, seconds, play(write(seed, seconds), firmware=library))
            if rule:
                spent = round(time.process_time() - started, 3)
                return Find(
                    name=patch.stem, found=True, seeds=played, cpu_s=spent, rule=rule, seed=seed,
                    seconds=seconds,
                )  # fmt: skip
    spent = round(time.process_time() - started, 3)
    return Find(name=patch.stem, found=False, seeds=played, cpu_s=spent)


def judged(seed: int, seconds: float, outcome: Outcome) -> str:
    """The rule that this outcome breaks and the firmware as it is does not; empty for none."""
    if not outcome.violations and seed < DRILLS:
        return ""
    before = _before(seed, seconds)
    for rule in outcome.broken:
        if rule not in before.broken:
            return rule
    return "F1" if seed >= DRILLS and _reacts_worse(before, outcome) else ""


@lru_cache(maxsize=4096)
def _before(seed: int, seconds: float) -> Outcome:
    """The same story with the firmware as it is."""
    return play(write(seed, seconds))


def _reacts_worse(before: Outcome, now: Outcome) -> bool:
    """A reaction of the catalogue came and no longer does, or comes late; or a fault that the pack
    rode through trips it; something trips that no fault of the drill may raise; far more is bled;
    or what kept the pack open no longer does."""
    if now.closed_s > 0.0 and before.closed_s == 0.0:
        return True
    if set(now.strange) - set(before.strange):
        return True
    if now.bled_j > BLED_J + BLED * before.bled_j:
        return True
    for key, was_ms in before.reactions.items():
        fault, is_ms = faults.fault(key.split()[1]), now.reactions.get(key, -1.0)
        if was_ms >= 0.0 and is_ms < 0.0:
            return True
        late = is_ms > LATE * max(was_ms, fault.budget_ms)
        if 0.0 <= was_ms <= fault.budget_ms and late:
            return True
        if not fault.diagnoses and now.trips > before.trips:
            return True
    return False
