"""The links of a chain, each from what is on record."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from bms import spec
from bms.errors import ConfigError
from bms.why.crossing import Case, measurement, world
from bms.why.quantities import QUANTITIES
from bms.why.story import NAN, Chain, Data, Link, Opening

TRIP_BEFORE_S, TRIP_AFTER_S = 3.0, 0.3
"""A trip belongs to an opening that follows within the first, or precedes it by less than the
second: the message about it waits for its turn on the bus, the coil does not."""
LOOK_BACK_S = 600.0
TICK_S = 0.01  # of the samples: a contact that parts within one may do so before it is sampled
UNITS = {"mV": 1e3, "mA": 1e3, "cdegc": 1e2}  # numbers of a diagnosis in one of what is shown


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
    of, index = _looked_at(opening, all_of)
    quantity = QUANTITIES.get(of)
    case = Case(opening, events, data, limits or {}, faults or {}, quantity, from_s, of, index)
    cause, cause_event = _cause(case)
    true, told_value = world(case), measurement(case)
    command, contactor = _command(case), _contactor(case)
    decision = _decision(opening, told, told_s, all_of)
    links = (
        cause, true, told_value, _debounce(told, told_value, opening), decision, command,
        contactor,
    )  # fmt: skip
    start_s, counted_from = _start(cause, cause_event, true, told_value, opening.decided_s)
    return Chain(
        opening,
        _sentence(case, told, true, told_value),
        links,
        1e3 * (opening.decided_s - start_s),
        counted_from,
        float(told.deadline_ms),
        predicted_ms(opening.diagnosis) if predicted_ms else NAN,
        1e3 * (opening.time_s - command.time_s),
    )


def _looked_at(opening: Opening, all_of: list[Any]) -> tuple[str, int]:
    """The diagnosis whose quantity is followed, and its index: that of the opening, or where it
    has none, as a chip's fault line has none, one that tripped beside it."""
    for name, index in ((opening.diagnosis, opening.index), *((e.name, e.index) for e in all_of)):
        if name in QUANTITIES:
            return name, int(index)
    return opening.diagnosis, opening.index


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


def _cause(case: Case) -> tuple[Link, Any]:
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


def _command(case: Case) -> Link:
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


def _contactor(case: Case) -> Link:
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


def _sentence(case: Case, told: Any, world: Link, measurement: Link) -> str:
    what = f"{told.title}{_place(case.opening.index, told.index)}"
    if case.quantity is None:
        return f"{what}."
    limit = "the limit"
    if case.of != case.opening.diagnosis:
        beside = spec.diagnosis(case.of)
        limit = f"the limit of {beside.name.replace('_', ' ')}{_place(case.index, beside.index)}"
    if np.isfinite(world.time_s):
        return f"{what}: the world was beyond {limit}, and the firmware was right."
    if world.is_known and np.isfinite(case.limit()):
        return f"{what}: the world was inside {limit}; what was measured was not what is."
    if np.isfinite(measurement.time_s):
        return f"{what}: measured beyond {limit}. Whether it was true cannot be known here."
    return f"{what}."


def _without_trip(opening: Opening, events: Sequence[Any], data: Data | None) -> Chain:
    words = {
        "order": "Opened in good order: the vehicle asked for it.",
        "reset": "Opened because the control unit was reset: without it the coils are let go.",
        "fuse": "The fuse blew.",
        "unknown": "Opened without a trip: no diagnosis, no reset and no order is known.",
    }
    from_s = max(0.0, opening.time_s - LOOK_BACK_S)
    case = Case(opening, events, data, {}, {}, None, from_s, "", -1)
    near = between(events, opening.time_s - TRIP_BEFORE_S, opening.time_s + TRIP_AFTER_S)
    kinds = {"order": ("phase", "state"), "reset": ("reset",), "fuse": ("fuse",)}
    causes = [e for e in near if e.kind in kinds.get(opening.why, ())]
    links = [
        Link("cause", f"{e.name.replace('_', ' ')}: {e.text}", e.t_ns * 1e-9) for e in causes[:3]
    ] or [Link("cause", "not known", is_known=False)]
    command, contactor = _command(case), _contactor(case)
    travel_ms = 1e3 * (opening.time_s - command.time_s)
    return Chain(opening, words[opening.why], (*links, command, contactor), travel_ms=travel_ms)
