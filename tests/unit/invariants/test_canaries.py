"""Every rule that the oracle or the campaign looks at fires on its mutant, and no other does."""

from __future__ import annotations

from pathlib import Path

import pytest
from canaries import CANARIES, Canary

from bms.campaign import judge, mutant
from bms.campaign.play import Outcome, play
from bms.invariants import INVARIANTS

LOOKED_AT = [row.id for row in INVARIANTS if row.where in ("watch", "campaign") and row.id != "F1"]


def broken(canary: Canary, folder: Path, rule: str) -> tuple[str, ...]:
    library = None
    if canary.patch:
        patch = folder / "canary.diff"
        patch.write_text(canary.patch)
        library = mutant.build(patch, folder)
    outcome: Outcome = play(canary.story, firmware=library, world=canary.world)
    more = ()
    if rule in ("T1", "T2"):
        more = judge.same_again(canary.story, outcome, str(library))
    return (*outcome.broken, *(row.id for row in more))


def test_every_rule_has_a_canary() -> None:
    assert sorted(CANARIES) == sorted(LOOKED_AT)


@pytest.mark.parametrize("rule", LOOKED_AT)
def test_the_canary_fires_exactly_its_rule(rule: str, tmp_path: Path) -> None:
    assert broken(CANARIES[rule], tmp_path, rule) == (rule,)


@pytest.mark.parametrize("rule", LOOKED_AT)
def test_without_its_mutant_the_story_breaks_nothing(rule: str) -> None:
    assert play(CANARIES[rule].story).broken == ()
