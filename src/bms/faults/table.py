"""The table of ext/loop/inject.h, written and read as arrays over the arena."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bms.errors import BmsError, ConfigError
from bms.faults.model import Fault, from_number, number
from bms.faults.place import Move, moves
from bms.model import Cell, Pack

Fields = Mapping[str, np.ndarray]
Places = Mapping[tuple[str, str], tuple[int, int, str]]  # (part, field): offset, count, dtype
MOVES, ELEMENTS, NEVER_US = 64, 2048, 2**64 - 1
FREE, ARMED, ON, BETWEEN, OVER = range(5)
OPS = ("set", "add", "scale", "or", "clear", "flip", "push")
TYPES = ("u1", "<u2", "<u4", "<u8", "<i2", "<i4", "<i8", "<f4", "<f8")  # FIELD_ of field.h
LONGEST_S = 1e9


@dataclass(frozen=True)
class ActiveFault:
    """One injection. off_s: infinite until withdrawn. Times are simulated seconds."""

    handle: int
    id: str
    index: int
    value: float
    state: str  # "armed", "active", "over"
    on_s: float
    off_s: float


@dataclass(frozen=True)
class Timing:
    """When: in microseconds from the start of the run."""

    on_us: int
    off_us: int
    ramp_us: int


def timing(now_us: int, after_s: float, ramp_s: float, for_s: float | None) -> Timing:
    """Checked; ConfigError for spans that are negative, not finite or beyond 30 years."""
    for key, span in (("after_s", after_s), ("ramp_s", ramp_s), ("for_s", for_s)):
        if span is not None and not 0.0 <= span < LONGEST_S:
            raise ConfigError("fault", key, span, "seconds, 0 or more, below 1e9")
    on_us = now_us + round(after_s * 1e6)
    off_us = NEVER_US if for_s is None else on_us + round(for_s * 1e6)
    return Timing(on_us, off_us, round(ramp_s * 1e6))


def inject(
    table: Fields, places: Places, fault: Fault, pack: Pack, cell: Cell, now_us: int,
    *, index: int = 0, value: float | None = None,
    after_s: float = 0.0, ramp_s: float | None = None, for_s: float | None = None,
) -> int:  # fmt: skip
    """Write an injection into the table and return its handle.

    `places`: where every field of the world lies. ramp_s, for_s: None as the catalogue says.
    ConfigError for what the fault or the pack does not have; BmsError when the table is full: 64
    moves or 2048 elements at a time."""
    rows = moves(fault, pack, cell, index=index, value=value)
    lasts = for_s if for_s is not None else fault.duration_s or None
    when = timing(now_us, after_s, fault.ramp_s if ramp_s is None else ramp_s, lasts)
    told = fault.value if value is None else float(value)
    where = -1 if fault.target == "pack" else index
    return _put(table, places, rows, when, kind=number(fault.id), index=where, value=told)


def _put(
    table: Fields, places: Places, rows: Sequence[Move], when: Timing,
    *, kind: int, index: int, value: float,
) -> int:  # fmt: skip
    sites = [_site(places, row) for row in rows]
    slots = _slots(table, len(rows))
    firsts = _rooms(table, slots, [row.count for row in rows])
    handle = int(table["last_handle"][0]) + 1
    for k, (slot, row) in enumerate(zip(slots, rows, strict=True)):
        offset, stride, type_ = sites[k]
        write = row.write
        period_us, width_us = round(write.period_s * 1e6), round(write.width_s * 1e6)
        values = {
            "handle": handle, "fault": kind, "fault_index": index, "fault_value": value,
            "tells": k == 0, "phase": ARMED, "op": OPS.index(row.op), "hold": write.hold,
            "stays": write.stays, "withdrawn": 0, "type": type_, "offset": offset,
            "stride": stride, "count": row.count, "first": firsts[k], "value": row.value,
            "furthest": math.copysign(math.inf, row.value)
            if write.furthest is None else write.furthest,
            "on_us": when.on_us + round(write.after_s * 1e6),
            "off_us": when.off_us, "period_us": period_us,
            "ramp_us": 0 if write.instant else when.ramp_us, "width_us": width_us,
            "order": 0, "done": 0.0,
        }  # fmt: skip
        for name, one in values.items():
            table[name][slot] = one
    table["last_handle"][0] = handle
    table["asked"][0] += np.uint64(1)
    return handle


def withdraw(table: Fields, handle: int) -> None:
    """Ask an injection to end now. ConfigError for a handle that is not in the table."""
    rows = np.flatnonzero((table["handle"] == handle) & (table["phase"] != FREE))
    if not len(rows) or not 0 < handle < 2**32:
        raise ConfigError("fault", "handle", handle, "a handle that inject gave")
    table["withdrawn"][rows] = 1
    table["asked"][0] += np.uint64(1)


def active(table: Fields) -> tuple[ActiveFault, ...]:
    """Every injection the table still knows, oldest first; ended ones stay until their room is
    needed."""
    found = []
    for slot in np.flatnonzero((table["tells"] != 0) & (table["phase"] != FREE)):
        phase = int(table["phase"][slot])
        state = "armed" if phase == ARMED else "over" if phase == OVER else "active"
        off_us, kind = int(table["off_us"][slot]), int(table["fault"][slot])
        found.append(
            ActiveFault(
                int(table["handle"][slot]), from_number(kind),
                int(table["fault_index"][slot]), float(table["fault_value"][slot]), state,
                int(table["on_us"][slot]) * 1e-6,
                float("inf") if off_us == NEVER_US else off_us * 1e-6,
            )
        )  # fmt: skip
    return tuple(sorted(found, key=lambda one: one.handle))


def _site(places: Places, row: Move) -> tuple[int, int, int]:
    """Offset of the first element, bytes to the next, type."""
    part, _, field = row.field.partition(".")
    if (part, field) not in places:
        raise ConfigError("fault", "field", row.field, "a field of the world")
    start, count, dtype = places[part, field]
    last = row.first + (row.count - 1) * row.step
    if row.first < 0 or last >= count:
        raise ConfigError("fault", row.field, last, f"an element below {count}")
    size = np.dtype(dtype).itemsize
    return start + row.first * size, row.step * size, TYPES.index(dtype)


def _slots(table: Fields, wanted: int) -> list[int]:
    """Free rows, then those whose injection ended longest ago."""
    phase, handle = table["phase"].tolist(), table["handle"].tolist()
    order = sorted(range(MOVES), key=lambda k: (phase[k] != FREE, handle[k]))
    free = [k for k in order if phase[k] in (FREE, OVER)][:wanted]
    if len(free) < wanted:
        used = sum(p not in (FREE, OVER) for p in phase)
        raise BmsError(f"table of faults full: {used} of {MOVES} moves in use, {wanted} more asked")
    # an injection whose first row is reused is forgotten as a whole
    gone = {handle[k] for k in free if phase[k] == OVER}
    for k in range(MOVES) if gone else ():
        if phase[k] == OVER and handle[k] in gone:
            table["phase"][k] = FREE
    return free


def _rooms(table: Fields, slots: Sequence[int], counts: Sequence[int]) -> list[int]:
    """Where each of the new moves keeps the values of its elements."""
    taken = sorted(
        (int(table["first"][k]), int(table["first"][k]) + int(table["count"][k]))
        for k, phase in enumerate(table["phase"].tolist())
        if phase not in (FREE, OVER) and k not in slots
    )
    firsts = []
    for count in counts:
        at = 0
        for begin, end in taken:
            if begin - at >= count:
                break
            at = max(at, end)
        if at + count > ELEMENTS:
            raise BmsError(f"table of faults full: no room for {count} more elements")
        firsts.append(at)
        taken = sorted([*taken, (at, at + count)])
    return firsts
