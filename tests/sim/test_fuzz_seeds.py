"""Seeds that once found something stay clean: seeds_regression.txt, one line each."""

from __future__ import annotations

from pathlib import Path

import pytest

from bms.campaign.play import play
from bms.campaign.story import write

LINES = (Path(__file__).parent / "seeds_regression.txt").read_text().splitlines()
SEEDS = [line.split()[:2] for line in LINES if line.strip() and not line.startswith("#")]


@pytest.mark.parametrize(("seed", "seconds"), SEEDS)
def test_a_seed_that_found_a_bug_finds_none(seed: str, seconds: str) -> None:
    assert play(write(int(seed, 0), float(seconds))).broken == ()


@pytest.mark.slow("the campaign of every change: 25 seeds")
def test_a_short_campaign_breaks_no_rule_that_protects(seed: int) -> None:
    """The rules of safety; those of the estimate are judged by `bms fuzz` over many hours."""
    first = 199 + seed
    for k in range(25):
        broken = play(write(first + k, 60.0)).broken
        assert not [rule for rule in broken if rule[0] in "SXC"], f"seed {first + k}: {broken}"


@pytest.mark.long("500 simulated hours")
def test_five_hundred_hours_break_nothing(seed: int) -> None:
    from bms.campaign import run

    result = run.gather(run.outcomes(run.tasks(500.0, 2000, 1000 * seed), jobs=2))
    assert result.violations == 0 and result.false_trips == 0, result.failures
