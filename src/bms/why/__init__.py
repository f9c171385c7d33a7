"""Why did the contactors open? The chain from the world to the contactor, link by link.

    cause        what was done to the pack: a fault or an act of the scenario
    world        the true quantity crosses its limit
    measurement  the quantity as it was told on the bus crosses its limit
    debounce     fresh samples beyond it, as many as the diagnosis asks for
    decision     the diagnosis reaches the tier that trips
    command      the firmware lets the coils go
    contactor    the contacts part, and that is reported

>>> for opening in openings(run.events):  # doctest: +SKIP
...     print(explain(opening, run.events, of_recording(run.recording), limits(cell, pack)).text)

Works on events and samples alone, of a run, a recording or a live bus. A link that cannot be known
from them says so and is never guessed. Reaction is counted as the budget of diagnoses.toml is: from
the moment the world gave reason to the decision; the contactors' travel is told apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from bms.why.chain import TRIP_AFTER_S, TRIP_BEFORE_S, between, explain, tripped, trips
from bms.why.quantities import limits, limits_of_recording
from bms.why.story import LINKS, Chain, Data, Link, Opening

__all__ = [
    "LINKS",
    "Chain",
    "Data",
    "Link",
    "Opening",
    "explain",
    "limits",
    "limits_of_recording",
    "of_recording",
    "openings",
]
# ---- what opened, and what for ----


MAIN = ("main plus", "main minus")
BOUNCE_S = 0.05
"""A contact that is back after less has bounced, and has not opened."""


def _is_bounce(events: Sequence[Any], k: int) -> bool:
    """Whether every contact that opened at event k closes again at once."""
    opened = {name for name in MAIN if f"{name} opened" in events[k].name}
    for later in events[k + 1 :]:
        if (later.t_ns - events[k].t_ns) * 1e-9 > BOUNCE_S:
            break
        if later.kind == "contactor":
            opened -= {name for name in MAIN if f"{name} closed" in later.name}
    return not opened


def openings(events: Sequence[Any]) -> tuple[Opening, ...]:
    """Every time main contactors opened, oldest first. events: as in a recording, by time."""
    found: list[Opening] = []
    closed_s = -np.inf
    for k, event in enumerate(events):
        if event.kind != "contactor":
            continue
        if any(f"{name} closed" in event.name for name in MAIN):
            closed_s = event.t_ns * 1e-9
        if not any(f"{name} opened" in event.name for name in MAIN) or _is_bounce(events, k):
            continue
        time_s = event.t_ns * 1e-9
        if found and time_s - found[-1].time_s < 1.0 and found[-1].time_s > closed_s:
            found[-1] = replace(found[-1], text=f"{found[-1].text}, {event.name}")
            continue
        found.append(_opening(event, events, closed_s))
    return tuple(found)


def _opening(event: Any, events: Sequence[Any], closed_s: float) -> Opening:
    time_s = event.t_ns * 1e-9
    near = between(events, max(closed_s, time_s - TRIP_BEFORE_S), time_s + TRIP_AFTER_S)
    opening = Opening(time_s, event.name, float(event.value), "unknown")
    found = trips(near)
    if found:
        return tripped(opening, found[0])
    for kind in ("reset", "fuse"):
        if any(e.kind == kind and e.t_ns * 1e-9 <= time_s + 0.05 for e in near):
            return replace(opening, why=kind)
    if any(
        e.kind == "state" and e.name in ("standby", "balancing", "service", "sleep") for e in near
    ):
        return replace(opening, why="order")
    return opening


class _OfRecording:
    def __init__(self, recording: Any) -> None:
        self._recording = recording

    def window(
        self, name: str, t0_s: float, t1_s: float, _columns: int, /
    ) -> tuple[np.ndarray, np.ndarray]:
        if name not in self._recording.signals:
            return np.zeros(0), np.zeros((0, 0))
        time_s, values = self._recording.read([name], t0_s, t1_s)[name]
        values = np.asarray(values, float)
        return time_s, values[None, :] if values.ndim == 1 else values.T


def of_recording(recording: Any) -> Data:
    """A bms.recorder.Recording as samples."""
    return _OfRecording(recording)
