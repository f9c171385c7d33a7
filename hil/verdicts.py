"""What a test found out: one Verdict for each comparison, with the measured value and the limit.

A failed one raises VerdictError, whose message says both. Passed ones are kept as well: the report
shows measured value, limit and margin of every comparison that was made.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


class VerdictError(AssertionError):
    """A comparison that did not hold; the message carries measured value and limit."""


class NotMeasurable(Exception):
    """The rig cannot measure what a verdict asks for; the message says what it can."""


@dataclass(frozen=True)
class Verdict:
    """One comparison. measured, limit: in `unit`; NaN where a comparison has no number. margin:
    what is left to the limit, negative when it does not hold. at_s: when it was seen."""

    text: str
    passed: bool
    measured: float
    limit: float
    unit: str
    margin: float
    at_s: float = float("nan")

    def __str__(self) -> str:
        verb = "holds" if self.passed else "does not hold"
        if self.limit != self.limit:
            return f"{self.text}: {verb}"
        when = f" at {self.at_s:.3f} s" if self.at_s == self.at_s else ""
        number = "nothing" if self.measured != self.measured else f"{self.measured:.6g} {self.unit}"
        return f"{self.text}: {verb}: measured {number}{when}, limit {self.limit:.6g} {self.unit}"


@dataclass
class Log:
    """Verdicts of one test, in order, and what a picture of them needs."""

    verdicts: list[Verdict] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)

    def add(self, verdict: Verdict) -> Verdict:
        """Keeps it; raises VerdictError when it failed."""
        self.verdicts.append(verdict)
        if not verdict.passed:
            raise VerdictError(str(verdict))
        return verdict

    @property
    def tightest(self) -> Verdict | None:
        """The failed one, else the one with the smallest margin against its limit."""
        numbers = [v for v in self.verdicts if v.limit == v.limit]
        failed = [v for v in self.verdicts if not v.passed]
        if failed:
            return failed[-1]
        return min(numbers, key=lambda v: v.margin / max(abs(v.limit), 1e-9), default=None)


@dataclass(frozen=True)
class Picture:
    """A curve that a verdict looked at. curves: (name, time_s (n,), values (n,)); marks: (time_s,
    text) of what happened; limits: horizontal lines in `unit`."""

    title: str
    unit: str
    curves: tuple[tuple[str, Any, Any], ...]
    limits: tuple[float, ...]
    marks: tuple[tuple[float, str], ...]
