"""What is told about an opening: the opening, a link, a chain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

NAN = float("nan")
LINKS = ("cause", "world", "measurement", "debounce", "decision", "command", "contactor")


class Data(Protocol):
    """Samples, wherever they lie."""

    def window(
        self, name: str, t0_s: float, t1_s: float, columns: int, /
    ) -> tuple[np.ndarray, np.ndarray]:
        """(time_s (n,), values (count, n)) of [t0_s, t1_s]; both empty for a name that is not
        there."""


@dataclass(frozen=True)
class Opening:
    """Main contactors that opened. why: trip, order, reset, fuse or unknown."""

    time_s: float
    text: str
    current_a: float
    why: str
    diagnosis: str = ""
    decided_s: float = NAN
    index: int = -1
    value: float = NAN


@dataclass(frozen=True)
class Link:
    """One link of a chain. time_s: NaN where it is not known."""

    link: str
    text: str
    time_s: float = NAN
    is_known: bool = True
    within_s: float = 0.0
    """It happened up to so long before time_s."""

    @property
    def title(self) -> str:
        """The link in one word."""
        return self.link.capitalize()


@dataclass(frozen=True)
class Chain:
    """The whole story. reaction_ms, budget_ms, predicted_ms: NaN where unknown or without
    meaning. counted_from: the link the reaction is counted from. travel_ms: command to contact."""

    opening: Opening
    text: str
    links: tuple[Link, ...]
    reaction_ms: float = NAN
    counted_from: str = ""
    budget_ms: float = NAN
    predicted_ms: float = NAN
    travel_ms: float = NAN

    @property
    def is_in_time(self) -> bool | None:
        """Whether the budget was kept; None if that cannot be said."""
        if not np.isfinite(self.reaction_ms + self.budget_ms):
            return None
        return self.reaction_ms <= self.budget_ms
