"""The smallest story that still breaks the same rule: delta debugging over what is done in it.

A. Zeller, R. Hildebrandt: Simplifying and isolating failure-inducing input, IEEE TSE 28 (2002).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from bms.campaign.play import play
from bms.campaign.story import Story

PLAYS_MAX = 150
AFTER_S = 1.0


def kept(story: Story, keep: Sequence[int], until_s: float = 0.0) -> Story:
    """The story with only these of its deeds (places in it), its safety phase ended at until_s."""
    deeds = tuple(story.deeds[k] for k in sorted(set(keep)) if 0 <= k < len(story.deeds))
    shorter = min(story.duration_s, until_s) if until_s > 0.0 else story.duration_s
    return msgspec.structs.replace(story, deeds=deeds, duration_s=shorter)


def minimise(
    story: Story, rule: str, at_s: float, *, firmware: str | Path | None = None
) -> tuple[tuple[int, ...], float, int]:
    """(deeds that are needed, end of the safety phase, plays it took) for a story that breaks
    `rule` first at `at_s`. Of a story that does not: all of it."""
    plays = 0
    until_s = story.duration_s
    if at_s + AFTER_S < story.duration_s:
        until_s = round(at_s + AFTER_S, 3)

    def breaks(keep: Sequence[int], end_s: float) -> bool:
        nonlocal plays
        plays += 1
        return rule in play(kept(story, keep, end_s), firmware=firmware).broken

    keep = [k for k, deed in enumerate(story.deeds) if deed.at_s <= until_s]
    if not breaks(keep, until_s):
        until_s, keep = story.duration_s, list(range(len(story.deeds)))
        if not breaks(keep, until_s):
            return tuple(keep), until_s, plays
    parts = 2
    while len(keep) > 1 and plays < PLAYS_MAX:
        size = -(-len(keep) // parts)
        for start in range(0, len(keep), size):
            less = keep[:start] + keep[start + size :]
            if less and breaks(less, until_s):
                keep, parts = less, max(parts - 1, 2)
                break
            if plays >= PLAYS_MAX:
                break
        else:
            if parts >= len(keep):
                break
            parts = min(2 * parts, len(keep))
    return tuple(keep), until_s, plays
