"""The links of a chain, each from what is on record."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bms import spec
from bms.errors import ConfigError
from bms.why.quantities import QUANTITIES, Quantity
from bms.why.story import NAN, Chain, Data, Link, Opening

TRIP_BEFORE_S, TRIP_AFTER_S = 3.0, 0.3
"""A trip belongs to an opening that follows within the first, or precedes it by less than the
second: the message about it waits for its turn on the bus, the coil does not."""
LOOK_BACK_S = 600.0
TICK_S = 0.01  # of the samples: a contact that parts within one may do so before it is sampled
LATE_S = 0.5  # a message of what was measured comes at most so long after
COARSE_S = 0.05
"""Samples further apart than this do not give a time to count a reaction from."""
UNITS = {"mV": 1e3, "mA": 1e3, "cdegc": 1e2}  # numbers of a diagnosis in one of what is shown
SPOKEN = {"degC": "°C", "kohm": "kΩ"}


def between(events: Iterable[Any], t0_s: float, t1_s: float) -> list[Any]:
    """Events of a stretch of time."""
    return [e for e in events if t0_s <= e.t_ns * 1e-9 <= t1_s]


# ---- the chain ----


def trips(events: Iterable[Any]) -> list[Any]:
    """Those that tell of a diagnosis that trips."""
    found = []
    for event in events:
        if event.kind == "diagnosis" and event.text == "trip raised":
            try:
                if spec.diagnosis(event.name).reaction == "trip":
                    found.append(event)
            except ConfigError:  # an event of another firmware may have any name
                continue
    return found


def tripped(opening: Opening, event: Any) -> Opening:
    """The opening with the diagnosis that led to it."""
    return replace(
        opening,
        why="trip",
        diagnosis=event.name,
        decided_s=event.t_ns * 1e-9,
        index=int(event.index),
        value=float(event.value),
    )


def _first(opening: Opening, found: list[Any], data: Data | None) -> Opening:
    """The trip the firmware says came first, where that is told: messages about several wait for
    their turn on the bus, and not always in their order."""
    if data is None or len(found) < 2:
        return opening
    until_s = opening.time_s + TRIP_AFTER_S
    _, values = data.window("cmd_trip_diagnosis", opening.time_s, until_s, 1_000_000)
    told = values[0][np.isfinite(values[0]) & (values[0] > 0)] if values.size else values
    if not told.size:
        return opening
    name = spec.diagnosis_name(int(told.flat[0]))
    return next((tripped(opening, e) for e in found if e.name == name), opening)


@dataclass(frozen=True)
class _Case:
    """What the links are made from."""

    opening: Opening
    events: Sequence[Any]
    data: Data | None
    limits: Mapping[str, tuple[float, ...]]
    faults: Mapping[str, Any]
    quantity: Quantity | None
    from_s: float

    def limit(self) -> float:
        """The trip limit, NaN if it is not known."""
        triplet = self.limits.get(self.quantity.limit, ()) if self.quantity else ()
        return triplet[2] * self.quantity.share if self.quantity and len(triplet) == 3 else NAN


def explain(
    opening: Opening,
    events: Sequence[Any],
    data: Data | None = None,
    limits: Mapping[str, tuple[float, ...]] | None = None,
    *,
    faults: Mapping[str, Any] | None = None,
    predicted_ms: Callable[[str], float] | None = None,
) -> Chain:
    """The chain of one opening.

    limits: name -> (operate, warn, trip), see `limits`. faults: the catalogue (bms.faults.load()),
    to tell which of several causes can have led here. predicted_ms: diagnosis name -> reaction time
    that the configuration leads one to expect.
    """
    if opening.why != "trip":
        return _without_trip(opening, events, data)
    closed_s = max(
        (e.t_ns * 1e-9 for e in events if e.kind == "contactor" and "closed" in e.name
         and e.t_ns * 1e-9 < opening.decided_s),
        default=-np.inf,
    )  # fmt: skip
    from_s = max(0.0, closed_s, opening.decided_s - LOOK_BACK_S)
    first_s = max(from_s, opening.time_s - TRIP_BEFORE_S)
    all_of = trips(between(events, first_s, opening.time_s + TRIP_AFTER_S))
    opening = _first(opening, all_of, data)
    told, told_s = spec.diagnosis(opening.diagnosis), opening.decided_s
    let_go_s = _let_go_s(data, from_s, opening.time_s)
    if let_go_s < told_s:  # it was decided when the coils were let go, whenever that was told
        opening = replace(opening, decided_s=let_go_s)
    quantity = QUANTITIES.get(opening.diagnosis)
    case = _Case(opening, events, data, limits or {}, faults or {}, quantity, from_s)
    cause, cause_event = _cause(case)
    world, measurement = _world(case), _measurement(case)
    command, contactor = _command(case), _contactor(case)
    decision = _decision(opening, told, told_s, all_of)
    links = (
        cause, world, measurement, _debounce(told, measurement, opening), decision, command,
        contactor,
    )  # fmt: skip
    start_s, counted_from = _start(cause, cause_event, world, measurement, opening.decided_s)
    return Chain(
        opening,
        _sentence(case, told, world, measurement, cause_event),
        links,
        1e3 * (opening.decided_s - start_s),
        counted_from,
        float(told.deadline_ms),
        predicted_ms(opening.diagnosis) if predicted_ms else NAN,
        1e3 * (opening.time_s - command.time_s),
    )


def _place(index: int, what: str) -> str:
    if index < 0 or what == "none":
        return ""
    return f", {'cell' if what == 'block' else what} {index + 1}"


def _value(value: float, unit: str) -> str:
    if not np.isfinite(value) or unit == "1":
        return ""
    shown = {"mV": "V", "mA": "A", "cdegc": "°C", "kpa": "kPa", "kohm": "kΩ", "cpct": "%"}
    if unit == "cpct":
        value /= 100.0
    return f" at {value / UNITS.get(unit, 1.0):.4g} {shown.get(unit, unit)}"


def _amount(value: float, unit: str) -> str:
    return f"{value:.4g} {SPOKEN.get(unit, unit)}"


def _cause(case: _Case) -> tuple[Link, Any]:
    """The fault or act that led here: the latest the catalogue connects with the diagnosis, else
    the latest of all."""
    opening = case.opening
    done = [
        e for e in between(case.events, 0.0, opening.decided_s)
        if e.kind == "act" or (e.kind == "fault" and e.text != "off")
    ]  # fmt: skip
    over = {
        (e.name, e.index): e.t_ns for e in case.events
        if e.kind == "fault" and e.text == "off" and e.t_ns * 1e-9 < opening.decided_s - 10.0
    }  # fmt: skip
    done = [e for e in done if over.get((e.name, e.index), -1) < e.t_ns]
    if not done:
        is_simulated = any(e.kind == "phase" for e in case.events)
        text = (
            "no fault and no act is on record before it"
            if is_simulated
            else "not known: only a simulation can tell what happened inside the pack"
        )
        return Link("cause", text, is_known=is_simulated), None
    led = [
        e for e in done
        if opening.diagnosis in getattr(case.faults.get(e.name), "diagnoses", ())
    ]  # fmt: skip
    event = (led or done)[-1]
    fault = case.faults.get(event.name)
    doubt = "" if led or fault is None else " (the catalogue does not expect this diagnosis of it)"
    return Link("cause", f"{_done(event, fault)}{doubt}", event.t_ns * 1e-9), event


def _done(event: Any, fault: Any) -> str:
    """What was done, where, and how strong."""
    is_finite = bool(np.isfinite(event.value))
    if fault is None:
        where = f"[{event.index}]" if event.index >= 0 else ""
        value = f" = {event.value:.6g}" if is_finite else ""
        note = f", {event.text}" if event.kind == "act" and event.text else ""
        return f"{event.name}{where}{value}{note}"
    target = "cell" if fault.target == "block" else fault.target
    where = f", {target} {event.index + 1}" if event.index >= 0 and target != "pack" else ""
    unit = "" if fault.unit == "1" else f" {fault.unit}"
    value = f", {event.value:.6g}{unit}" if is_finite else ""
    return f"{event.name} {fault.title}{where}{value}"


@dataclass(frozen=True)
class _Crossing:
    """The last stretch beyond the trip limit that began before the decision or just after it.

    time_s: its first sample. gap_s: to the sample before. value: there. extreme: value nearest to
    the limit or farthest beyond, up to the decision. spacing_s: of the samples about the decision.
    """

    time_s: float = NAN
    gap_s: float = NAN
    value: float = NAN
    extreme: float = NAN
    spacing_s: float = NAN


def _crossing(case: _Case, name: str, index: int = -1, reach_s: float = 0.15) -> _Crossing:
    quantity, limit = case.quantity, case.limit()
    if case.data is None or quantity is None:
        return _Crossing()
    end_s = case.opening.decided_s
    time_s, values = case.data.window(name, case.from_s, end_s + reach_s, 1_000_000)
    if len(time_s) == 0 or not values.size:
        return _Crossing()
    rows = values[index : index + 1] if 0 <= index < len(values) else values
    way = 1.0 if quantity.is_above else -1.0
    known = np.where(np.isfinite(rows), way * quantity.sign * rows, -np.inf).max(axis=0)
    seen = np.isfinite(known)
    time_s, known = time_s[seen], known[seen]
    if len(time_s) == 0:
        return _Crossing()
    beyond = known > way * limit
    extreme = way * float(known[time_s <= end_s + 1e-9].max(initial=-np.inf))
    after = int(np.searchsorted(time_s, end_s, "right"))
    known_until_s = float(time_s[after]) if after < len(time_s) else np.inf
    spacing_s = known_until_s - float(time_s[after - 1]) if after else np.inf
    inside = np.flatnonzero(~beyond[:after])
    first = int(inside[-1]) + 1 if inside.size else 0
    if not np.isfinite(limit) or first >= len(beyond) or not beyond[first]:
        return _Crossing(extreme=extreme, spacing_s=spacing_s)
    gap_s = float(time_s[first] - (time_s[first - 1] if first else case.from_s))
    value = way * float(known[first])
    return _Crossing(float(time_s[first]), gap_s, value, extreme, spacing_s)


def _world(case: _Case) -> Link:
    quantity = case.quantity
    if quantity is None:
        return Link("world", "not one quantity with one limit: see its trigger", is_known=False)
    is_told = case.data is not None and len(case.data.window(quantity.truth, 0.0, np.inf, 4)[0])
    if not is_told:
        return Link("world", "not known: the truth exists only in a simulation", is_known=False)
    if not np.isfinite(case.limit()):
        return Link("world", "its limit is not known", is_known=False)
    # the truth of a cell or module has the index of the diagnosis; a sensor's is another
    index = case.opening.index if spec.diagnosis(case.opening.diagnosis).index != "sensor" else -1
    seen = _crossing(case, quantity.truth, index, reach_s=1.5)
    if not seen.spacing_s <= COARSE_S and quantity.extreme:
        finer = _crossing(case, quantity.extreme)
        seen = finer if finer.spacing_s <= COARSE_S else seen
    limit = _amount(case.limit(), quantity.unit)
    if np.isfinite(seen.time_s):
        return Link(
            "world",
            f"the truth crossed {limit}, {_amount(seen.value, quantity.unit)}",
            seen.time_s,
            within_s=seen.gap_s if seen.gap_s > COARSE_S else 0.0,
        )
    if not np.isfinite(seen.spacing_s):
        return Link("world", "the truth was not looked at about the decision", is_known=False)
    way = "highest" if quantity.is_above else "lowest"
    text = f"the truth stayed inside {limit}, {way} {_amount(seen.extreme, quantity.unit)}"
    if seen.spacing_s > COARSE_S:
        doubt = f"at every look, {seen.spacing_s:.2g} s apart: what lies between is not known"
        return Link("world", f"{text} {doubt}", is_known=False)
    return Link("world", text)


def _measurement(case: _Case) -> Link:
    quantity = case.quantity
    if quantity is None:
        return Link("measurement", "not told on the bus as one signal", is_known=False)
    told = _crossing(case, quantity.measured)
    limit = case.limit()
    if not np.isfinite(limit):
        return Link("measurement", "its limit is not known", is_known=False)
    if np.isnan(told.time_s):
        return _told_later(case)
    text = f"{_amount(told.value, quantity.unit)} told, limit {_amount(limit, quantity.unit)}"
    within_s = told.gap_s if told.gap_s > COARSE_S else 0.0
    return Link("measurement", text, told.time_s, within_s=within_s)


def _told_later(case: _Case) -> Link:
    """The bus is slower than the firmware: a value beyond the limit may come after the decision."""
    limit, end_s = case.limit(), case.opening.decided_s
    quantity = case.quantity
    assert quantity is not None
    none = f"no value beyond {_amount(limit, quantity.unit)} was told"
    if case.data is None:
        return Link("measurement", none, is_known=False)
    time_s, values = case.data.window(quantity.measured, end_s, end_s + LATE_S, 1_000_000)
    way = 1.0 if quantity.is_above else -1.0
    if len(time_s) and values.size:
        beyond = np.flatnonzero((way * quantity.sign * values[0] > way * limit) & (time_s > end_s))
        if beyond.size:
            at, k = float(time_s[beyond[0]]), int(beyond[0])
            value = _amount(quantity.sign * float(values[0][k]), quantity.unit)
            late_ms = 1e3 * (at - end_s)
            text = f"{value} told, limit {_amount(limit, quantity.unit)}: on the bus only "
            return Link("measurement", f"{text}{late_ms:.0f} ms after the decision", at)
    return Link("measurement", none, is_known=False)


def _debounce(told: Any, measurement: Link, opening: Opening) -> Link:
    asked = (
        f"{told.debounce_samples} fresh samples of {told.sample} in a row, "
        f"at most {told.debounce_ms} ms"
    )
    took_ms = 1e3 * (opening.decided_s - measurement.time_s)
    if np.isnan(took_ms):
        return Link("debounce", asked, is_known=False)
    if took_ms < 0.0:
        return Link("debounce", f"{asked}; over before the bus told the value")
    return Link(
        "debounce",
        f"{asked}; decided {took_ms:.0f} ms after the value was first told",
        measurement.time_s,
    )


def _decision(opening: Opening, told: Any, told_s: float, all_of: list[Any]) -> Link:
    where = _place(opening.index, told.index)
    late_ms = 1e3 * (told_s - opening.decided_s)
    late = f", on the bus {late_ms:.0f} ms later" if late_ms > 0.5 else ""
    others = [e.name.replace("_", " ") for e in all_of if e.name != opening.diagnosis]
    also = f"; also {', '.join(dict.fromkeys(others))}" if others else ""
    text = f"{told.title}{where}{_value(opening.value, told.unit)}: trip{late}{also}"
    return Link("decision", text, opening.decided_s)


def _let_go_s(data: Data | None, from_s: float, opened_s: float) -> float:
    """When the firmware let the coils go, NaN if it did not or that is not told."""
    if data is None:
        return NAN
    time_s, values = data.window("cmd_contactors", from_s, opened_s + 0.5, 1_000_000)
    if len(time_s) == 0:
        return NAN
    pins = np.nan_to_num(values[0]).astype(int) & 3
    dropped = np.flatnonzero((pins[:-1] & ~pins[1:]) != 0) + 1
    dropped = dropped[time_s[dropped] <= opened_s + TICK_S]
    return float(time_s[dropped[-1]]) if dropped.size else NAN


def _command(case: _Case) -> Link:
    opening = case.opening
    if case.data is None:
        return Link("command", "not known: no samples", is_known=False)
    if not len(case.data.window("cmd_contactors", case.from_s, opening.time_s + 0.5, 4)[0]):
        return Link("command", "the firmware's output pins are not told here", is_known=False)
    at_s = _let_go_s(case.data, case.from_s, opening.time_s)
    if np.isnan(at_s):
        return Link("command", "the coils were never let go by the firmware", is_known=False)
    after_ms = 1e3 * (at_s - opening.decided_s)
    after = "" if np.isnan(after_ms) else f", {_after(after_ms)} the decision"
    return Link("command", f"coils let go{after}", at_s)


def _after(ms: float) -> str:
    if abs(ms) < 0.5:
        return "in the same sample as"
    return f"{abs(ms):.0f} ms {'after' if ms > 0 else 'before'}"


def _contactor(case: _Case) -> Link:
    opening = case.opening
    text = f"{opening.text} at {opening.current_a:.1f} A"
    if case.data is not None:
        time_s, values = case.data.window(
            "meas_contactors", opening.time_s - 0.1, opening.time_s + 1.0, 1_000_000
        )
        if len(time_s):
            seen = np.flatnonzero((np.nan_to_num(values[0], nan=3.0).astype(int) & 3) == 0)
            text += (
                f", reported {1e3 * (float(time_s[seen[0]]) - opening.time_s):.0f} ms later"
                if seen.size
                else ", never reported as open"
            )
    return Link("contactor", text, opening.time_s)


def _start(
    cause: Link, event: Any, world: Link, measurement: Link, decided_s: float
) -> tuple[float, str]:
    """Where the reaction begins, and which link says so."""
    if np.isfinite(world.time_s):
        if world.within_s == 0.0:
            return world.time_s, "world"
        if event is not None and world.time_s - world.within_s <= cause.time_s <= world.time_s:
            return cause.time_s, "cause"
    elif world.is_known and event is not None and not event.name.startswith("plant."):
        return cause.time_s, "cause"  # the world was fine: the fault is in the measuring
    if measurement.time_s <= decided_s:
        return measurement.time_s, "measurement"
    if event is not None:
        return cause.time_s, "cause"
    return NAN, ""


def _sentence(case: _Case, told: Any, world: Link, measurement: Link, event: Any) -> str:
    where = _place(case.opening.index, told.index)
    what = f"{told.title}{where}"
    if case.quantity is None:
        return f"{what}."
    if np.isfinite(world.time_s):
        return f"{what}: the world was beyond the limit, and the firmware was right."
    if world.is_known and np.isfinite(case.limit()):
        return f"{what}: the world was inside the limit; what was measured was not what is."
    if np.isfinite(measurement.time_s):
        return f"{what}: measured beyond the limit. Whether it was true cannot be known here."
    return f"{what}."


def _without_trip(opening: Opening, events: Sequence[Any], data: Data | None) -> Chain:
    words = {
        "order": "Opened in good order: the vehicle asked for it.",
        "reset": "Opened because the control unit was reset: without it the coils are let go.",
        "fuse": "The fuse blew.",
        "unknown": "Opened without a trip: no diagnosis, no reset and no order is known.",
    }
    case = _Case(opening, events, data, {}, {}, None, max(0.0, opening.time_s - LOOK_BACK_S))
    near = between(events, opening.time_s - TRIP_BEFORE_S, opening.time_s + TRIP_AFTER_S)
    kinds = {"order": ("phase", "state"), "reset": ("reset",), "fuse": ("fuse",)}
    causes = [e for e in near if e.kind in kinds.get(opening.why, ())]
    links = [
        Link("cause", f"{e.name.replace('_', ' ')}: {e.text}", e.t_ns * 1e-9) for e in causes[:3]
    ] or [Link("cause", "not known", is_known=False)]
    command, contactor = _command(case), _contactor(case)
    travel_ms = 1e3 * (opening.time_s - command.time_s)
    return Chain(opening, words[opening.why], (*links, command, contactor), travel_ms=travel_ms)
