"""Where a quantity crossed its limit: in the world, and as it was told on the bus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bms import spec
from bms.why.quantities import Quantity
from bms.why.story import NAN, Data, Link, Opening

LATE_S = 0.5  # a message of what was measured comes at most so long after
COARSE_S = 0.05
"""Samples further apart than this do not give a time to count a reaction from."""
SPOKEN = {"degC": "°C", "kohm": "kΩ"}


@dataclass(frozen=True)
class Case:
    """What the links are made from."""

    opening: Opening
    events: Sequence[Any]
    data: Data | None
    limits: Mapping[str, tuple[float, ...]]
    faults: Mapping[str, Any]
    quantity: Quantity | None
    from_s: float
    of: str
    """Diagnosis the quantity belongs to: that of the opening, or one that came with it."""
    index: int

    def limit(self) -> float:
        """The trip limit, NaN if it is not known."""
        triplet = self.limits.get(self.quantity.limit, ()) if self.quantity else ()
        return triplet[2] * self.quantity.share if self.quantity and len(triplet) == 3 else NAN


def amount(value: float, unit: str) -> str:
    """A number with its unit."""
    return f"{value:.4g} {SPOKEN.get(unit, unit)}"


@dataclass(frozen=True)
class Crossing:
    """The last stretch beyond the trip limit that began before the decision or just after it.

    time_s: its first sample. gap_s: to the sample before. value: there. extreme: value nearest to
    the limit or farthest beyond, up to the decision. spacing_s: of the samples about the decision.
    """

    time_s: float = NAN
    gap_s: float = NAN
    value: float = NAN
    extreme: float = NAN
    spacing_s: float = NAN


def crossing(case: Case, name: str, index: int = -1, reach_s: float = 0.15) -> Crossing:
    """Where a signal crossed the trip limit; see Crossing. index: -1 for the worst of all."""
    quantity, limit = case.quantity, case.limit()
    if case.data is None or quantity is None:
        return Crossing()
    end_s = case.opening.decided_s
    time_s, values = case.data.window(name, case.from_s, end_s + reach_s, 1_000_000)
    if len(time_s) == 0 or not values.size:
        return Crossing()
    rows = values[index : index + 1] if 0 <= index < len(values) else values
    way = 1.0 if quantity.is_above else -1.0
    known = np.where(np.isfinite(rows), way * quantity.sign * rows, -np.inf).max(axis=0)
    seen = np.isfinite(known)
    time_s, known = time_s[seen], known[seen]
    if len(time_s) == 0:
        return Crossing()
    beyond = known > way * limit
    extreme = way * float(known[time_s <= end_s + 1e-9].max(initial=-np.inf))
    after = int(np.searchsorted(time_s, end_s, "right"))
    known_until_s = float(time_s[after]) if after < len(time_s) else np.inf
    spacing_s = known_until_s - float(time_s[after - 1]) if after else np.inf
    inside = np.flatnonzero(~beyond[:after])
    first = int(inside[-1]) + 1 if inside.size else 0
    if not np.isfinite(limit) or first >= len(beyond) or not beyond[first]:
        return Crossing(extreme=extreme, spacing_s=spacing_s)
    gap_s = float(time_s[first] - (time_s[first - 1] if first else case.from_s))
    value = way * float(known[first])
    return Crossing(float(time_s[first]), gap_s, value, extreme, spacing_s)


def world(case: Case) -> Link:
    """The true quantity against its limit."""
    quantity = case.quantity
    if quantity is None:
        return Link("world", "not one quantity with one limit: see its trigger", is_known=False)
    is_told = case.data is not None and len(case.data.window(quantity.truth, 0.0, np.inf, 4)[0])
    if not is_told:
        return Link("world", "not known: the truth exists only in a simulation", is_known=False)
    if not np.isfinite(case.limit()):
        return Link("world", "its limit is not known", is_known=False)
    # the truth of a cell or module has the index of the diagnosis; a sensor's is another
    index = case.index if spec.diagnosis(case.of).index != "sensor" else -1
    seen = crossing(case, quantity.truth, index, reach_s=1.5)
    if not seen.spacing_s <= COARSE_S and quantity.extreme:
        finer = crossing(case, quantity.extreme)
        seen = finer if finer.spacing_s <= COARSE_S else seen
    limit = amount(case.limit(), quantity.unit)
    if np.isfinite(seen.time_s):
        return Link(
            "world",
            f"the truth crossed {limit}, {amount(seen.value, quantity.unit)}",
            seen.time_s,
            within_s=seen.gap_s if seen.gap_s > COARSE_S else 0.0,
        )
    if not np.isfinite(seen.spacing_s):
        return Link("world", "the truth was not looked at about the decision", is_known=False)
    way = "highest" if quantity.is_above else "lowest"
    text = f"the truth stayed inside {limit}, {way} {amount(seen.extreme, quantity.unit)}"
    if seen.spacing_s > COARSE_S:
        doubt = f"at every look, {seen.spacing_s:.2g} s apart: what lies between is not known"
        return Link("world", f"{text} {doubt}", is_known=False)
    return Link("world", text)


def measurement(case: Case) -> Link:
    """What was told of it on the bus."""
    quantity = case.quantity
    if quantity is None:
        return Link("measurement", "not told on the bus as one signal", is_known=False)
    told = crossing(case, quantity.measured)
    limit = case.limit()
    if not np.isfinite(limit):
        return Link("measurement", "its limit is not known", is_known=False)
    if np.isnan(told.time_s):
        return _told_later(case)
    text = f"{amount(told.value, quantity.unit)} told, limit {amount(limit, quantity.unit)}"
    within_s = told.gap_s if told.gap_s > COARSE_S else 0.0
    return Link("measurement", text, told.time_s, within_s=within_s)


def _told_later(case: Case) -> Link:
    """The bus is slower than the firmware: a value beyond the limit may come after the decision."""
    limit, end_s = case.limit(), case.opening.decided_s
    quantity = case.quantity
    assert quantity is not None
    none = f"no value beyond {amount(limit, quantity.unit)} was told"
    if case.data is None:
        return Link("measurement", none, is_known=False)
    time_s, values = case.data.window(quantity.measured, end_s, end_s + LATE_S, 1_000_000)
    way = 1.0 if quantity.is_above else -1.0
    if len(time_s) and values.size:
        beyond = np.flatnonzero((way * quantity.sign * values[0] > way * limit) & (time_s > end_s))
        if beyond.size:
            at, k = float(time_s[beyond[0]]), int(beyond[0])
            value = amount(quantity.sign * float(values[0][k]), quantity.unit)
            late_ms = 1e3 * (at - end_s)
            text = f"{value} told, limit {amount(limit, quantity.unit)}: on the bus only "
            return Link("measurement", f"{text}{late_ms:.0f} ms after the decision", at)
    return Link("measurement", none, is_known=False)
