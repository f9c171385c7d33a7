"""From files to traces: current offset, state of charge, thinning.

The state of charge of a record is 1 minus charge out since full over the capacity. Where full is,
the manifest says with `start`:
  full          the first sample
  after_charge  the sample at which most charge has been put in
  counter       where the tester's own counter (`charge_ah`) is zero
  rest          the first sample is at rest; its voltage is looked up in the OCV curve
  alike         as the record of the same role nearest 25 degC: charged alike, then brought to
                temperature
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..data import Record, read_record
from .circuit import Floats, Trace
from .manifest import File, Manifest, find

QUIET_FRAC = 0.05  # below this share of its largest value a current may be a rest
OFFSET_SAMPLES = 30  # at least so many samples at rest tell the sensor's offset
CHARGE_FRAC = 0.004  # of all charge: kept at least so often
POINTS_PER_DECADE = 8.0  # kept after a step of current, in time since it


@dataclass(frozen=True)
class Loaded:
    """A record with its place in the manifest. charge_ah: taken out since the first sample."""

    number: int
    entry: File
    record: Record
    current_a: Floats  # without the offset found at rest
    charge_ah: Floats
    counter_ah: float  # reading of the tester's counter at the first sample, 0 without one
    offset_a: float
    gaps: NDArray[np.bool_]  # samples after a gap


def load(manifest: Manifest, number: int, capacity_ah: float) -> Loaded:
    """Read a file of the manifest and integrate its current."""
    entry = manifest.files[number]
    record = read_record(
        find(manifest, number),
        {**manifest.columns, **entry.columns},
        entry.current_sign or manifest.current_sign,
        temperature_degc=entry.ambient_degc,
        capacity_ah=capacity_ah,
        header_row=entry.header_row,
        delimiter=entry.delimiter,
    )
    offset_a = _offset_a(record) if entry.remove_offset else 0.0
    current_a = record.current_a - offset_a
    step_s = np.diff(record.time_s, prepend=record.time_s[0])
    moved = current_a * step_s / 3600.0  # a sample holds for the step that it ends
    gaps = step_s > max(100.0, 10.0 * float(np.median(step_s[1:])))
    if record.charge_ah is not None:
        counted = np.diff(record.charge_ah, prepend=record.charge_ah[0])
        moved = np.where(gaps, counted, moved)
    counter_ah = 0.0 if record.charge_ah is None else float(record.charge_ah[0])
    charge_ah = np.cumsum(moved)
    return Loaded(number, entry, record, current_a, charge_ah, counter_ah, offset_a, gaps)


def _offset_a(record: Record) -> float:
    """Mean current of long rests: what the sensor shows at zero. 0 where there are no rests."""
    size = float(np.max(np.abs(record.current_a)))
    quiet = np.abs(record.current_a) < QUIET_FRAC * size
    edges = np.flatnonzero(np.diff(np.concatenate([[False], quiet, [False]]).astype(int)))
    long = [np.arange(a + 1, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if b - a > 10]
    rest = np.concatenate(long) if long else np.empty(0, dtype=int)
    if len(rest) < OFFSET_SAMPLES:
        return 0.0
    level_a = float(np.median(record.current_a[rest]))
    near = rest[np.abs(record.current_a[rest] - level_a) < 0.02 * size]
    mean_a = float(np.mean(record.current_a[near]))
    if abs(mean_a) > 0.02 * size:  # a small current that flows, no offset
        return 0.0
    return mean_a


def thin(loaded: Loaded) -> NDArray[np.int64]:
    """Samples to keep: all near a change of current, the others ever rarer."""
    time_s, current_a = loaded.record.time_s, loaded.current_a
    size = float(np.max(np.abs(current_a)))
    step = np.abs(np.diff(current_a, prepend=current_a[0])) > 0.02 * size
    step |= loaded.gaps
    step[0] = True
    since_s = time_s - time_s[np.maximum.accumulate(np.where(step, np.arange(len(step)), 0))]
    stage = np.floor(POINTS_PER_DECADE * np.log10(since_s + 0.1))
    moved = np.floor(loaded.charge_ah / (CHARGE_FRAC * max(float(np.ptp(loaded.charge_ah)), 1e-9)))
    keep = step | (np.diff(stage, prepend=stage[0]) != 0) | (np.diff(moved, prepend=0.0) != 0)
    keep[:-1] |= step[1:]  # the last sample before a change
    keep[-1] = True
    return np.flatnonzero(keep)


def trace(loaded: Loaded, soc_frac: float, capacity_ah: float, *, thinned: bool = True) -> Trace:
    """Ready for the model; soc_frac is that of the first sample."""
    record = loaded.record
    chosen = thin(loaded) if thinned else np.arange(len(record.time_s))
    time_s, charge_ah = record.time_s[chosen], loaded.charge_ah[chosen]
    step_s = np.diff(time_s, prepend=time_s[0])
    moved_as = 3600.0 * np.diff(charge_ah, prepend=charge_ah[0])
    mean_a = np.divide(moved_as, step_s, out=np.zeros_like(moved_as), where=step_s > 0)
    relaxed = loaded.gaps[chosen].copy()
    relaxed[0] = True
    degc = record.temperature_core_degc
    began_full = loaded.entry.start in ("full", "counter") and soc_frac > 0.97
    return Trace(
        number=loaded.number,
        name=loaded.entry.path,
        ambient_degc=loaded.entry.ambient_degc,
        time_s=time_s,
        current_a=loaded.current_a[chosen],
        mean_a=mean_a,
        voltage_v=record.voltage_v[chosen],
        temperature_degc=(record.temperature_degc if degc is None else degc)[chosen],
        pressure_kpa=None if record.pressure_kpa is None else record.pressure_kpa[chosen],
        soc_frac=soc_frac - charge_ah / capacity_ah,
        relaxed=relaxed,
        hysteresis_start=-1.0 if began_full else 0.0,
        step_ohm=record.step_ohm,
        soc_is_counted=loaded.entry.start not in ("rest", "alike"),
    )


def first_soc_frac(
    loaded: Loaded, capacity_ah: float, ocv: tuple[Floats, Floats], alike_frac: float | None
) -> float:
    """State of charge of the first sample. ocv: grid and volts; alike_frac: for `alike`."""
    start = loaded.entry.start
    if start == "alike" and alike_frac is not None:
        return alike_frac
    if start == "full":
        return 1.0
    if start == "after_charge":
        return 1.0 + float(loaded.charge_ah.min()) / capacity_ah
    if start == "counter":
        return 1.0 - loaded.counter_ah / capacity_ah
    grid, volts = ocv
    rest = np.abs(loaded.current_a) < QUIET_FRAC * float(np.max(np.abs(loaded.current_a)))
    end = int(np.argmin(rest)) if not rest.all() else len(rest)
    level_v = float(np.mean(loaded.record.voltage_v[max(end - 5, 0) : max(end, 1)]))
    return float(np.interp(level_v, volts, grid))
