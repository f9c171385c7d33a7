"""What another firmware, given the same inputs, would have told the vehicle."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from bms import _replay, spec
from bms._replay import Replayer
from bms.recorder import Recording
from bms.replay.steps import Firmware, feed, recorded_firmware, replayer

SAMPLE_US = 100_000
TIERS = ("", "operate", "warn", "trip")
NEAR_S = 0.0105  # an event that moved by no more than a tick is the same event


@dataclass(frozen=True)
class Heard:
    """An event as the vehicle heard it: state or diagnosis. The times are None where it was not
    heard: recorded_s by the recorded firmware, replayed_s by the other one."""

    what: str
    recorded_s: float | None
    replayed_s: float | None


@dataclass(frozen=True)
class SignalChange:
    """How a limit, estimate or measurement as heard by the vehicle differs. kind: limit, estimated
    or measured. most: largest difference (replayed - recorded by size) and when; of a vector, of
    its worst element. known_s: seconds in which both firmwares told it."""

    name: str
    unit: str
    kind: str
    most: float
    at_s: float
    mean_abs: float
    recorded_last: float
    replayed_last: float
    known_s: float


@dataclass(frozen=True)
class Comparison:
    """`events`: all that only one of them told, or that moved. `signals`: those that differ."""

    recorded: str
    replayed: str
    steps: int
    seconds: float
    steps_differing: int
    first_s: float | None
    events: list[Heard]
    events_equal: int
    signals: list[SignalChange]
    signals_equal: int


@dataclass
class _Track:
    """A signal of both sides, summed up as it comes."""

    name: str
    unit: str
    kind: str
    source: str
    most: float = 0.0
    at_s: float = 0.0
    total: float = 0.0
    samples: int = 0
    told_apart: int = 0  # samples that only one side knew
    last: list[float] = field(default_factory=lambda: [np.nan, np.nan])


@dataclass
class _Told:
    """Events of one side, (what, time)."""

    events: list[tuple[str, float]] = field(default_factory=list)
    state: int = 0


def against(rec: Recording, firmware: Firmware) -> Comparison:
    """Feed a recording's inputs to `firmware` and compare what both say."""
    stepped = replayer(rec, firmware, sample_us=SAMPLE_US)
    start_us = int(rec.meta["replay"]["start_us"])
    tracks, told = _tracks(stepped), (_Told(), _Told())
    for why in feed(rec, stepped):
        if why == _replay.SAMPLE:
            _sample(stepped, tracks, told, start_us)
    _sample(stepped, tracks, told, start_us)
    counts = stepped.counts
    changed, equal = _paired(told[0].events, told[1].events)
    differing = [track for track in tracks if track.most != 0.0 or track.told_apart]
    first_us = counts["first_difference_us"]
    return Comparison(
        recorded_firmware(rec).title, firmware.title, counts["steps"],
        (stepped.now_us - counts["first_us"]) * 1e-6, counts["differences"],
        (first_us - start_us) * 1e-6 if counts["differences"] else None,
        changed, equal, [_change(track) for track in differing], len(tracks) - len(differing),
    )  # fmt: skip


def _tracks(stepped: Replayer) -> list[_Track]:
    """Every recorded signal that a vehicle hears as a number."""
    found = []
    for row in spec.signals():
        part, _, name = row.source.partition(".")
        heard = stepped.vehicles[0].get(name) if part == "vehicle" else None
        if heard is None or not name.startswith("obs_") or heard.dtype.kind != "f":
            continue
        kind = "limit" if "_limit_" in row.name else row.kind
        found.append(_Track(row.name, row.unit, kind, name))
    return found


def _sample(
    stepped: Replayer, tracks: list[_Track], told: tuple[_Told, _Told], start_us: int
) -> None:
    now_s = (stepped.now_us - start_us) * 1e-6
    for side in (0, 1):
        for at_us, diagnosis, tier, raised, index, _value in stepped.take_events(side):
            place = f"[{index}]" if index >= 0 else ""
            verb = "raised" if raised else "cleared"
            what = f"{spec.diagnosis_name(diagnosis)}{place} {TIERS[min(tier, 3)]} {verb}"
            told[side].events.append((what, (at_us - start_us) * 1e-6))
        state = int(stepped.vehicles[side]["obs_state"][0])
        if state != told[side].state:
            told[side].events.append((f"state {spec.state_name(state)}", now_s))
            told[side].state = state
    recorded, replayed = stepped.vehicles
    for track in tracks:
        _follow(track, recorded[track.source], replayed[track.source], now_s)


def _follow(track: _Track, recorded: np.ndarray, replayed: np.ndarray, now_s: float) -> None:
    known = ~np.isnan(recorded)
    both = known & ~np.isnan(replayed)
    if (known != ~np.isnan(replayed)).any():
        track.told_apart += 1
    if not both.any():
        return
    away = replayed[both].astype(float) - recorded[both]
    worst = int(np.argmax(np.abs(away)))
    track.samples += 1
    track.total += float(np.abs(away).mean())
    track.last = [float(recorded[both][worst]), float(replayed[both][worst])]
    if abs(away[worst]) > abs(track.most):
        track.most, track.at_s = float(away[worst]), now_s


def _change(track: _Track) -> SignalChange:
    return SignalChange(
        track.name, track.unit, track.kind, track.most, track.at_s,
        track.total / max(1, track.samples), track.last[0], track.last[1],
        track.samples * SAMPLE_US * 1e-6,
    )  # fmt: skip


def _paired(
    recorded: list[tuple[str, float]], replayed: list[tuple[str, float]]
) -> tuple[list[Heard], int]:
    """(events of one side or at another time, how many are equal). Equal words are paired in
    order."""
    found, equal = [], 0
    for what in dict.fromkeys(w for w, _ in (*recorded, *replayed)):
        old, new = ([t for w, t in side if w == what] for side in (recorded, replayed))
        for k in range(max(len(old), len(new))):
            a, b = old[k] if k < len(old) else None, new[k] if k < len(new) else None
            if a is not None and b is not None and abs(a - b) < NEAR_S:
                equal += 1
            else:
                found.append(Heard(what, a, b))
    return sorted(
        found, key=lambda h: min(t for t in (h.recorded_s, h.replayed_s) if t is not None)
    ), equal
