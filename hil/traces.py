"""What a rig recorded, and sentences about it.

    recording.signal("meas_cell_voltage_max_v").stays_below(4.3)
    recording.diagnosis("cell_overvoltage").reacts_within(ms=500, since=fault)
    recording.contactors.open_within(ms=550, since=fault)
    recording.signal("est_soc_frac").settles_to(0.5, tolerance=0.02, within_s=60)
    recording.diagnosis("cell_overvoltage").never()

Each sentence is a verdict: it returns one, or raises VerdictError with measured value and limit. A
sentence finer than the rig can measure raises NotMeasurable instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from bms_hil.verdicts import Log, NotMeasurable, Picture, Verdict

from bms.recorder import Event

NAN = float("nan")
Moment = Any
"""A time in seconds of the recording, or something with `at_s`: a fault, an Occurrence."""


def at_s(moment: Moment) -> float:
    """Seconds of a moment."""
    return float(getattr(moment, "at_s", moment))


@dataclass(frozen=True)
class Trace:
    """A signal over time. time_s: (n,) ascending. values: (n,) or (n, elements); NaN is "not
    known". Positive current discharges."""

    name: str
    unit: str
    time_s: np.ndarray
    values: np.ndarray
    log: Log
    marks: tuple[tuple[float, str], ...] = ()

    # ---- a part of it ----

    def after(self, moment: Moment, delay_s: float = 0.0) -> Trace:
        """From `delay_s` after the moment on."""
        return self._cut(self.time_s >= at_s(moment) + delay_s - 1e-9)

    def before(self, moment: Moment) -> Trace:
        """Up to the moment."""
        return self._cut(self.time_s < at_s(moment))

    def between(self, start: Moment, end: Moment) -> Trace:
        """From start up to end, both included."""
        inside = (self.time_s >= at_s(start) - 1e-9) & (self.time_s <= at_s(end) + 1e-9)
        return self._cut(inside)

    def element(self, index: int) -> Trace:
        """One cell, sensor or module of a vector."""
        return replace(self, name=f"{self.name}[{index}]", values=self.values[:, index])

    def _cut(self, keep: np.ndarray) -> Trace:
        return replace(self, time_s=self.time_s[keep], values=self.values[keep])

    @property
    def last(self) -> float:
        """The latest known value of a scalar; NaN without one."""
        known = self.values[~np.isnan(self.values)]
        return float(known[-1]) if known.size else NAN

    # ---- verdicts ----

    def stays_below(self, limit: float) -> Verdict:
        """No sample above the limit, and at least one known."""
        low, k = self._extreme(np.nanargmax)
        return self._told("stays below", low, limit, limit - low, k)

    def stays_above(self, limit: float) -> Verdict:
        """No sample below the limit, and at least one known."""
        high, k = self._extreme(np.nanargmin)
        return self._told("stays above", high, limit, high - limit, k)

    def stays_within(self, low: float, high: float) -> Verdict:
        """Every sample inside both limits."""
        self.stays_above(low)
        return self.stays_below(high)

    def stays_near(self, other: Trace, tolerance: float) -> Verdict:
        """Never farther from another signal than the tolerance, at the times of this one; `other`
        holds its value between its samples."""
        place = np.clip(np.searchsorted(other.time_s, self.time_s, "right") - 1, 0, None)
        away = np.abs(self._flat() - other._flat()[place])
        error = replace(self, name=f"{self.name} against {other.name}", values=away)
        return error.stays_below(tolerance)

    def reaches(self, limit: float, *, within_s: float, since: Moment = None) -> Verdict:
        """Gets to the limit, from whichever side it starts, within the time."""
        start_s = self._start_s(since)
        part = self.after(start_s)
        values = part._flat()
        known = np.flatnonzero(~np.isnan(values))
        rising = known.size > 0 and values[known[0]] < limit
        hit = np.flatnonzero(values >= limit if rising else values <= limit)
        took_s = float(part.time_s[hit[0]] - start_s) if hit.size else NAN
        return self._timed(f"reaches {limit:g} {self.unit}", took_s, within_s, "s", start_s)

    def settles_to(
        self, value: float, *, tolerance: float, within_s: float, since: Moment = None
    ) -> Verdict:
        """Inside the tolerance round the value for good, from `within_s` on at the latest."""
        start_s = self._start_s(since)
        part = self.after(start_s)
        away = np.flatnonzero(~(np.abs(part._flat() - value) <= tolerance))
        if away.size == 0:
            took_s = 0.0
        elif away[-1] + 1 < part.time_s.size:
            took_s = float(part.time_s[away[-1] + 1] - start_s)
        else:
            took_s = NAN
        text = f"settles to {value:g} +/- {tolerance:g} {self.unit}"
        return self._timed(text, took_s, within_s, "s", start_s)

    def ever(self, holds: Callable[[np.ndarray], np.ndarray], text: str) -> Verdict:
        """Some sample for which `holds` is true."""
        found = np.flatnonzero(holds(self._flat()))
        when = float(self.time_s[found[0]]) if found.size else NAN
        verdict = Verdict(
            f"{self.name} {text} at least once", bool(found.size), NAN, NAN, "", 0.0, when
        )
        return self.log.add(verdict)

    def never(self, holds: Callable[[np.ndarray], np.ndarray], text: str) -> Verdict:
        """No sample for which `holds` is true, and at least one known."""
        values = self._flat()
        found = np.flatnonzero(holds(values))
        when = float(self.time_s[found[0]]) if found.size else NAN
        passed = found.size == 0 and not bool(np.isnan(values).all())
        return self.log.add(Verdict(f"{self.name} never {text}", passed, NAN, NAN, "", 0.0, when))

    def _flat(self) -> np.ndarray:
        if self.values.ndim > 1:
            raise ValueError(f"{self.name} is a vector: say which element(k)")
        return self.values.astype(float)

    def _start_s(self, since: Moment) -> float:
        if since is not None:
            return at_s(since)
        return float(self.time_s[0]) if self.time_s.size else NAN

    def _extreme(self, which: Callable[..., Any]) -> tuple[float, int]:
        values = self.values.astype(float)
        if values.size == 0 or bool(np.isnan(values).all()):
            return NAN, -1
        k = int(which(values))
        return float(values.flat[k]), k // (values.shape[1] if values.ndim > 1 else 1)

    def _told(self, verb: str, measured: float, limit: float, margin: float, k: int) -> Verdict:
        when = float(self.time_s[k]) if k >= 0 else NAN
        text = f"{self.name} {verb} {limit:g} {self.unit}"
        self._draw(text, (limit,))
        passed = measured == measured and margin >= 0.0
        return self.log.add(Verdict(text, passed, measured, limit, self.unit, margin, when))

    def _timed(
        self, text: str, took_s: float, within_s: float, unit: str, start_s: float
    ) -> Verdict:
        self._draw(f"{self.name} {text}", ())
        passed = took_s <= within_s + 1e-9
        when = start_s + took_s
        return self.log.add(
            Verdict(f"{self.name} {text}", passed, took_s, within_s, unit, within_s - took_s, when)
        )

    def _draw(self, title: str, limits: tuple[float, ...]) -> None:
        if self.values.ndim == 1 and self.time_s.size > 1:
            curve = (self.name, self.time_s, self.values)
            self.log.pictures.append(Picture(title, self.unit, (curve,), limits, self.marks))


@dataclass(frozen=True)
class Occurrence:
    """Something that happened: when, to which element, with which value."""

    at_s: float
    index: int
    value: float


@dataclass(frozen=True)
class Happening:
    """All times at which one thing happened, and how fine the rig knows them."""

    name: str
    times: tuple[Occurrence, ...]
    resolution_s: float
    log: Log

    def reacts_within(self, *, ms: float, since: Moment) -> Verdict:
        """First happens after `since`, and not later than so many milliseconds."""
        start_s, limit_s = at_s(since), ms * 1e-3
        if limit_s < self.resolution_s:
            raise NotMeasurable(
                f"{self.name} within {ms:g} ms: this rig tells times to "
                f"{self.resolution_s * 1e3:.3g} ms"
            )
        later = [t for t in self.times if t.at_s >= start_s - 1e-9]
        took_ms = (later[0].at_s - start_s) * 1e3 if later else NAN
        passed = took_ms <= ms + 1e-6
        verdict = Verdict(
            f"{self.name} within {ms:g} ms", passed, took_ms, ms, "ms", ms - took_ms,
            later[0].at_s if later else NAN,
        )  # fmt: skip
        return self.log.add(verdict)

    def ever(self) -> Occurrence:
        """Happened at least once; the first time."""
        self.log.add(Verdict(f"{self.name} happens", bool(self.times), NAN, NAN, "", 0.0))
        return self.times[0]

    def never(self) -> Verdict:
        """Did not happen."""
        when = self.times[0].at_s if self.times else NAN
        text = f"{self.name} never happens"
        return self.log.add(Verdict(text, not self.times, NAN, NAN, "", 0.0, when))

    def times_at_most(self, count: int) -> Verdict:
        """Happened no more often than this."""
        found = float(len(self.times))
        text = f"{self.name} at most {count} times"
        return self.log.add(Verdict(text, found <= count, found, count, "", count - found))

    def after(self, moment: Moment) -> Happening:
        """Only what happened from then on."""
        start_s = at_s(moment)
        return replace(self, times=tuple(t for t in self.times if t.at_s >= start_s - 1e-9))


@dataclass(frozen=True)
class Reading:
    """One number that a test read itself, by diagnostics or an instrument."""

    name: str
    value: float
    unit: str
    log: Log

    def at_most(self, limit: float) -> Verdict:
        """Not above the limit."""
        return self._told("at most", limit, limit - self.value)

    def at_least(self, limit: float) -> Verdict:
        """Not below the limit."""
        return self._told("at least", limit, self.value - limit)

    def equals(self, expected: float) -> Verdict:
        """The same number."""
        return self._told("equals", expected, -abs(self.value - expected))

    def _told(self, verb: str, limit: float, margin: float) -> Verdict:
        text = f"{self.name} {verb} {limit:g} {self.unit}".rstrip()
        passed = margin >= 0.0
        return self.log.add(Verdict(text, passed, self.value, limit, self.unit, margin))


class Recording:
    """Signals and events of one test, in seconds since the rig was brought to its state.

    read: name -> (unit, time_s, values) or None. resolution_s: how fine events are known."""

    def __init__(
        self,
        read: Callable[[str], tuple[str, np.ndarray, np.ndarray] | None],
        events: Sequence[Event],
        names: Sequence[str],
        resolution_s: float,
        log: Log,
    ) -> None:
        self._read, self.events, self.names = read, tuple(events), tuple(names)
        self.resolution_s, self.log = resolution_s, log

    def signal(self, name: str) -> Trace:
        """A recorded signal by its name, see docs/signals.md. A failed verdict when the device does
        not tell it, KeyError with the nearest names when there is no such signal."""
        found = self._read(name)
        if found is None and name in self.names:
            self.log.add(Verdict(f"the device tells {name}", False, NAN, NAN, "", 0.0))
        if found is None:
            from difflib import get_close_matches

            near = ", ".join(get_close_matches(name, self.names, 3, 0.4)) or "none like it"
            raise KeyError(f"{name}: not recorded by this rig; there are {near}")
        unit, time_s, values = found
        marks = tuple((e.time_s, e.name) for e in self.events if e.kind in ("fault", "diagnosis"))
        return Trace(name, unit, time_s, values, self.log, marks)

    def value(self, name: str, value: float, unit: str = "") -> Reading:
        """A number that the test read itself, to be judged and reported like a signal."""
        return Reading(name, float(value), unit, self.log)

    def diagnosis(self, name: str, tier: str = "trip") -> Happening:
        """When the BMS raised a diagnosis at this tier or, with tier "any", at all."""
        tiers = ("operate", "warn", "trip") if tier == "any" else (tier,)
        chosen = [
            e for e in self.events
            if e.kind == "diagnosis" and e.name == name
            and any(e.text == f"{t} raised" for t in tiers)
        ]  # fmt: skip
        return self._happening(f"diagnosis {name} ({tier})", chosen)

    def any_of(self, names: Sequence[str], tier: str = "any") -> Happening:
        """When the BMS raised one of several diagnoses."""
        each = [t for name in names for t in self.diagnosis(name, tier).times]
        told = names[0] if len(names) == 1 else f"one of {', '.join(names)}"
        times = tuple(sorted(each, key=lambda t: t.at_s))
        return Happening(f"diagnosis {told} ({tier})", times, self.resolution_s, self.log)

    def state(self, name: str) -> Happening:
        """When the BMS said that it entered a state."""
        chosen = [e for e in self.events if e.kind == "state" and e.name == name]
        return self._happening(f"state {name}", chosen)

    @property
    def opens(self) -> Happening:
        """When a main contactor really opened; by its feedback where the rig has no truth."""
        chosen = [e for e in self.events if e.kind == "contactor" and "opened" in e.name
                  and "main" in e.name]  # fmt: skip
        return self._happening("a main contactor opens", chosen)

    @property
    def closes(self) -> Happening:
        """When a main contactor really closed."""
        chosen = [e for e in self.events if e.kind == "contactor" and "closed" in e.name
                  and "main" in e.name]  # fmt: skip
        return self._happening("a main contactor closes", chosen)

    @property
    def trips(self) -> Happening:
        """Any diagnosis that tripped."""
        chosen = [e for e in self.events if e.kind == "diagnosis" and e.text == "trip raised"]
        return self._happening("a trip", chosen)

    @property
    def fuses(self) -> Happening:
        """When the fuse blew."""
        return self._happening("the fuse blows", [e for e in self.events if e.kind == "fuse"])

    @property
    def resets(self) -> Happening:
        """Restarts of the control unit."""
        return self._happening("a reset", [e for e in self.events if e.kind == "reset"])

    def _happening(self, name: str, events: Sequence[Event]) -> Happening:
        times = tuple(Occurrence(e.time_s, e.index, e.value) for e in events)
        return Happening(name, times, self.resolution_s, self.log)
