"""Plots in lanes: states and switches as a logic analyser shows them, and events on a time line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from bms.report.style import BLUE, GREEN, INK, ORANGE, PAPER, PURPLE, RED, SKY, SOFT
from bms.report.view import View

if TYPE_CHECKING:
    from bms.recorder import Event

WIDTH_IN, LANE_IN = 8.6, 0.3
CONTACTORS = ("main plus", "main minus", "precharge")
SOURCES = (("driven", BLUE), ("truth", INK), ("feedback", ORANGE))
FLAGS = (
    (0, "derated"),
    (2, "charge allowed"),
    (3, "discharge allowed"),
    (4, "balancing"),
    (6, "trip"),
)
STATE_COLOURS = {"drive": GREEN, "charge": BLUE, "precharge": SKY, "error": RED, "latched": RED}
EVENT_COLOURS = {
    "diagnosis": RED, "trip": RED, "fuse": RED, "reset": RED, "recorder": RED, "contactor": GREEN,
    "state": BLUE, "act": ORANGE, "fault": ORANGE,
}  # fmt: skip
LABEL_SPAN = 0.025  # of the time axis: what a number takes
SEEN_SPAN = 0.002  # of the time axis: about a pixel and a half

Spans = list[tuple[float, float]]


def runs(t: np.ndarray, values: np.ndarray, end: float) -> list[tuple[float, float, int]]:
    """(start, length, value) of every stretch of equal values."""
    starts = np.flatnonzero(np.concatenate(([True], values[1:] != values[:-1])))
    edges = np.append(t[starts], end)
    return [
        (float(edges[k]), float(edges[k + 1] - edges[k]), int(values[s]))
        for k, s in enumerate(starts)
    ]


def states(view: View) -> Figure | None:
    """What the firmware said, drove and read back, and what really happened."""
    contactors, flags, state = _contactors(view), _flags(view), view.line("cmd_state")
    count = 1.6 * (state is not None) + len(contactors) + 0.7 * len(flags)
    if count == 0:
        return None
    figure = Figure(figsize=(WIDTH_IN, LANE_IN * count + 1.0), layout="constrained")
    ax = figure.subplots()
    labels, top = [], 0.0
    if state is not None:
        for start, length, value in runs(state.t, state.y, view.t(view.duration_s)):
            _state_box(ax, view, start, length, value)
        labels.append((0.55, "state"))
        top = 1.6
    for contactor, spans in contactors:
        for k, (word, colour) in enumerate(SOURCES):
            ax.broken_barh(spans[k], (top + 0.1 + 0.28 * k, 0.23), color=colour, linewidth=0,
                           label=word if contactor == CONTACTORS[0] else None)  # fmt: skip
        labels.append((top + 0.5, contactor))
        top += 1.0
    for flag, flag_spans in flags:
        ax.broken_barh(
            flag_spans, (top + 0.1, 0.5), color=RED if flag == "trip" else PURPLE, linewidth=0
        )
        labels.append((top + 0.35, flag))
        top += 0.7
    if contactors:
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=3, borderaxespad=0.2)
    ax.set_yticks([y for y, _ in labels], [label for _, label in labels])
    ax.set_ylim(top + 0.1, -0.05)
    ax.grid(visible=False, axis="y")
    ax.set_xlim(*view.span())
    ax.set_xlabel(f"time ({view.unit})")
    return figure


def _state_box(ax: Any, view: View, start: float, length: float, value: int) -> None:
    name = _state_name(value)
    colour = next((c for word, c in STATE_COLOURS.items() if word in name), SOFT)
    ax.broken_barh([(start, length)], (0.1, 0.9), color=colour, linewidth=0.6, edgecolor=PAPER)
    if length > 0.012 * len(name) * view.t(view.duration_s):
        ax.text(start + length / 2, 0.55, name.replace("_", " "), color=PAPER, fontsize=8,
                ha="center", va="center")  # fmt: skip


def _state_name(value: int) -> str:
    from bms import spec

    return spec.state_name(value)


def _contactors(view: View) -> list[tuple[str, list[Spans]]]:
    """Each contactor as it was driven, as it really was, and as it was read back."""
    prefixes = ("cmd", "true", "meas")
    if not any(view.line(f"{prefix}_contactors") for prefix in prefixes):
        return []
    return [
        (contactor, [_spans(view, f"{prefix}_contactors", bit) for prefix in prefixes])
        for bit, contactor in enumerate(CONTACTORS)
    ]


def _flags(view: View) -> list[tuple[str, Spans]]:
    """Flags that were ever set."""
    found = [(flag, _spans(view, "cmd_flags", bit)) for bit, flag in FLAGS]
    return [(flag, spans) for flag, spans in found if spans]


def _spans(view: View, name: str, bit: int) -> Spans:
    """(start, length) of the stretches in which a bit is set, none too short to be seen."""
    found = view.line(name)
    if found is None:
        return []
    bits = (np.nan_to_num(found.y).astype(np.int64) >> bit) & 1
    end = view.t(view.duration_s)
    return [(s, max(length, SEEN_SPAN * end)) for s, length, on in runs(found.t, bits, end) if on]


def events(view: View) -> Figure | None:
    """One lane a kind; the numbers are those of the table."""
    found = view.recording.events
    if not found:
        return None
    kinds = list(dict.fromkeys(event.kind for event in found))
    figure = Figure(figsize=(WIDTH_IN, 0.42 * len(kinds) + 0.8), layout="constrained")
    ax = figure.subplots()
    for row, kind in enumerate(kinds):
        times = [view.t(event.time_s) for event in found if event.kind == kind]
        colour = EVENT_COLOURS.get(kind, SOFT)
        ax.plot(
            times, np.full(len(times), row), "|", color=colour, markersize=13, markeredgewidth=2
        )
    for number, event in numbered(view):
        ax.annotate(str(number), (view.t(event.time_s), kinds.index(event.kind)), (0, 8),
                    textcoords="offset points", ha="center", fontsize=8, color=SOFT)  # fmt: skip
    ax.set_yticks(range(len(kinds)), kinds)
    ax.set_ylim(len(kinds) - 0.4, -0.9)
    ax.set_xlim(*view.span())
    ax.grid(visible=False, axis="y")
    ax.set_xlabel(f"time ({view.unit})")
    return figure


def numbered(view: View) -> list[tuple[int, Event]]:
    """Events with their row in the table, where there is room in their lane to write it."""
    free: dict[str, float] = {}
    found = []
    for number, event in enumerate(view.recording.events, start=1):
        if event.time_s >= free.get(event.kind, 0.0):
            free[event.kind] = event.time_s + LABEL_SPAN * view.duration_s
            found.append((number, event))
    return found
