"""Measured records from CSV (also .gz) and Parquet: our names, our units, our sign, nothing silent.

    record = read_record("drive.csv.gz", {"voltage_v": "U_cell"}, "charge")
    record.time_s, record.current_a, record.voltage_v, record.temperature_degc

Columns are found by our names (`time_s, current_a, voltage_v, temperature_degc`, optional
`pressure_kpa, temperature_coolant_degc, temperature_core_degc, charge_ah`), by the labels and
machine names of the Battery Data Format (`Test Time / s`, `test_time_second`, ...), or as the
mapping says. A unit written in a heading (`/ mV`, `(mA)`, `_K`) is converted.

What is repaired is listed in `Record.repairs` with count and first row: rows without a time or
with a time that does not rise are left out, short holes and impossible spikes are bridged, gaps are
told. What cannot be repaired without guessing is a ConfigError that names file, column, row and
value. A row is counted from 1, the first below the heading.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ._table import COLUMNS, REQUIRED, Table, find_columns, open_table, scale_of
from .errors import ConfigError

__all__ = ["COLUMNS", "Record", "Repair", "read_record"]

Floats = NDArray[np.float64]
Sign = Literal["discharge", "charge"]

RANGES = {  # beyond these a reading is impossible, and taken as missing
    "current_a": 1e5,
    "voltage_v": 1e4,
    "temperature_degc": 1e3,
    "temperature_core_degc": 1e3,
    "temperature_coolant_degc": 1e3,
    "pressure_kpa": 1e6,
    "charge_ah": 1e6,
}
IMPOSSIBLE_FRAC = 0.01  # more than this is no spike
HOLE_S = 10.0  # a hole up to this long is bridged by a straight line
DROPPED_FRAC = 0.02  # more rows than this out of order: not a stray stamp but a spliced record
CELL_MAX_V = 6.0  # one cell
RESISTANCE_MIN_OHM = 2e-5  # a voltage step over a current step below this: current in mA
CURRENT_MAX_C = 100.0  # multiples of the capacity per hour
STEPS_MIN = 5  # current steps needed to judge the sign


@dataclass(frozen=True)
class Repair:
    """One kind of change or remark: how often, and the first row."""

    kind: str
    column: str
    count: int
    first_row: int
    text: str

    def __str__(self) -> str:
        return f"{self.column}: {self.text} ({self.count} rows, first {self.first_row})"


@dataclass(frozen=True)
class Record:
    """One cell's record. Arrays are float64 of one length n; current positive on discharge.

    time_s rises strictly. `row[i]` is the row of the file, counted from 0, that sample i comes
    from; `rows` is the number of rows in the file. `charge_ah` is the tester's own counter,
    positive for charge taken out. With `missing="keep"` all but time may hold NaN.
    """

    file: str
    time_s: Floats
    current_a: Floats
    voltage_v: Floats
    temperature_degc: Floats
    pressure_kpa: Floats | None
    temperature_coolant_degc: Floats | None
    temperature_core_degc: Floats | None
    charge_ah: Floats | None
    extra: dict[str, Floats]
    rows: int
    row: NDArray[np.int64]
    repairs: tuple[Repair, ...]
    step_ohm: float  # by which the sign was judged: voltage step over current step, or NaN
    columns: dict[str, str] = field(default_factory=dict)  # ours -> theirs, as found

    def expand(self, values: Floats) -> Floats:
        """Values of the samples (n, ...) as one for each row of the file (rows, ...).

        A row that was left out repeats the sample before it (at the start: the first sample).
        """
        last = np.searchsorted(self.row, np.arange(self.rows), side="right") - 1
        return np.asarray(np.take(values, np.maximum(last, 0), axis=0))

    def charge_out_ah(self) -> Floats:
        """Charge taken out since the start, (n,): the tester's counter if there is one.

        Else the integral of current; a sample holds for the step that it ends, as testers record.
        """
        if self.charge_ah is not None:
            return np.asarray(self.charge_ah - self.charge_ah[0])
        step_s = np.diff(self.time_s, prepend=self.time_s[0])
        return np.asarray(np.cumsum(self.current_a * step_s) / 3600.0)


def read_record(
    path: str | Path,
    columns: Mapping[str, str | int] | None = None,
    current_sign: Sign | None = None,
    *,
    temperature_degc: float | None = None,
    capacity_ah: float | None = None,
    missing: Literal["repair", "keep"] = "repair",
    extra: Sequence[str] = (),
    header_row: int | None = None,
    delimiter: str | None = None,
) -> Record:
    """Read, check and repair a record of one cell.

    columns: ours -> theirs (a heading, or a position counted from 1). current_sign: what a
    positive current in the file does; None: charge for Battery Data Format names (its charging
    capacity is the integral of positive current), else discharge. temperature_degc stands in where
    the file has no temperature. capacity_ah sharpens the check of units. missing="keep" leaves
    holes as NaN for a caller that can deal with them; short ones of current are bridged all the
    same. extra: further columns by their heading, as they are. header_row:
    line of the heading counted from 1, where it is not the first.

    ConfigError: unreadable or empty file, missing column, text in place of a number, time that
    starts again, holes longer than 10 s, values that look like mV or mA, a sign that contradicts
    the voltage.
    """
    table = open_table(path, header_row, delimiter)
    found, is_bdf = find_columns(table, columns or {}, temperature_degc is not None)
    notes: list[Repair] = []
    read = {name: _read(table, name, place, notes) for name, place in found.items()}
    others = {name: table.numbers(table.place(name, "extra"), name) for name in extra}
    kept = _clock(table, read["time_s"], notes)
    read = {name: values[kept] for name, values in read.items()}
    time_s, row = read.pop("time_s"), np.flatnonzero(kept)
    for name in read:
        _impossible(table, name, read[name], row, notes)
        if missing == "repair" or name in ("current_a", "charge_ah"):
            _bridge(table, name, time_s, read[name], row, notes, keep=missing == "keep")
        if missing == "keep":
            _holes(table, name, read[name], row, notes)
    positive: Sign = current_sign or ("charge" if is_bdf else "discharge")
    if positive == "charge":
        for name in ("current_a", "charge_ah"):
            if name in read:
                read[name] = -read[name]
    if "temperature_degc" not in read:
        assert temperature_degc is not None
        read["temperature_degc"] = np.full(len(time_s), temperature_degc)
    _units(table, read, row, time_s, capacity_ah)
    step_ohm = _sign(table, read, row, time_s, positive, capacity_ah)
    _gaps(time_s, row, notes)
    optional = [name for name in COLUMNS if name not in REQUIRED]
    return Record(
        file=str(path),
        time_s=time_s,
        current_a=read["current_a"],
        voltage_v=read["voltage_v"],
        temperature_degc=read["temperature_degc"],
        **{name: read.get(name) for name in optional},
        extra={name: values[kept] for name, values in others.items()},
        rows=table.rows,
        row=row,
        repairs=tuple(notes),
        step_ohm=step_ohm,
        columns={name: table.names[place] for name, place in found.items()},
    )


def _fail(table: Table, name: str, row: int, value: object, expected: str) -> ConfigError:
    return ConfigError(table.file, f"{name}, row {row + 1}", value, expected)


def _read(table: Table, name: str, place: int, notes: list[Repair]) -> Floats:
    """One column in our unit."""
    values = table.numbers(place, name)
    scale, offset, unit = scale_of(table.names[place], name)
    if (scale, offset) != (1.0, 0.0):
        values = values * scale + offset
        text = f"converted from {unit}, as the heading {table.names[place]!r} says"
        notes.append(Repair("unit", name, len(values), 1, text))
    return values


def _clock(table: Table, time_s: Floats, notes: list[Repair]) -> NDArray[np.bool_]:
    """Rows to keep: those with a time later than every row before."""
    known = np.isfinite(time_s)
    before = np.fmax.accumulate(np.concatenate([[-np.inf], np.where(known, time_s, -np.inf)]))[:-1]
    repeated, backward = known & (time_s == before), known & (time_s < before)
    for bad, kind, text in (
        (~known, "time missing", "no time; row left out"),
        (repeated, "time repeated", "time repeats; row left out"),
        (backward, "time backward", "time runs backward; row left out"),
    ):
        if count := int(bad.sum()):
            first = int(np.argmax(bad))
            notes.append(Repair(kind, "time_s", count, first + 1, text))
            allowed = 0.5 if kind == "time repeated" else DROPPED_FRAC
            if count > max(3.0, allowed * len(time_s)):
                value = "nothing" if kind == "time missing" else float(time_s[first])
                expected = f"rising times; {count} of {len(time_s)} rows are not"
                raise _fail(table, "time_s", first, value, expected)
    kept: NDArray[np.bool_] = known & ~repeated & ~backward
    if kept.sum() < 2:
        raise ConfigError(table.file, "time_s", int(kept.sum()), "at least 2 rows of data")
    return kept


def _impossible(
    table: Table, name: str, values: Floats, row: NDArray[np.int64], notes: list[Repair]
) -> None:
    """Spikes no sensor can mean become NaN, in place."""
    bad = np.abs(values) > RANGES[name]
    if count := int(bad.sum()):
        first = int(np.argmax(bad))
        if count > max(1.0, IMPOSSIBLE_FRAC * len(values)):
            limit = f"at most {RANGES[name]:g} in magnitude; {count} rows are beyond"
            raise _fail(table, name, row[first], float(values[first]), limit)
        text = f"impossible value {values[first]:.3g} taken as missing"
        notes.append(Repair("impossible", name, count, int(row[first]) + 1, text))
        values[bad] = np.nan


def _holes(
    table: Table, name: str, values: Floats, row: NDArray[np.int64], notes: list[Repair]
) -> None:
    """Holes that are kept are told; a column we need that is nothing else is refused."""
    bad = ~np.isfinite(values)
    if count := int(bad.sum()):
        first = int(np.argmax(bad))
        if bad.all() and name in REQUIRED:
            raise _fail(table, name, row[first], "nothing", "numbers in this column")
        text = "no value; kept as no reading"
        notes.append(Repair("missing", name, count, int(row[first]) + 1, text))


def _bridge(
    table: Table,
    name: str,
    time_s: Floats,
    values: Floats,
    row: NDArray[np.int64],
    notes: list[Repair],
    *,
    keep: bool,
) -> None:
    """Straight lines over holes up to HOLE_S long, in place; the ends are held.

    Longer ones are refused, or with `keep` left as they are.
    """
    bad = ~np.isfinite(values)
    first, good = int(np.argmax(bad)), np.flatnonzero(~bad)
    if not bad.any():
        return
    if not len(good):
        raise _fail(table, name, row[first], "nothing", "numbers in this column")
    edges = np.flatnonzero(np.diff(np.concatenate([[False], bad, [False]]).astype(int)))
    step_s = float(np.median(np.diff(time_s)))
    for start, end in zip(edges[::2], edges[1::2], strict=True):  # rows start .. end - 1
        left, right = max(start - 1, 0), min(end, len(values) - 1)
        span_s = time_s[right] - time_s[left]
        if span_s <= max(HOLE_S, 3.0 * step_s):
            continue
        if not keep:
            expected = f"a hole of at most 10 s, not {span_s:.4g} s"
            raise _fail(table, name, row[start], "nothing", expected)
        bad[start:end] = False
    if not bad.any():
        return
    values[bad] = np.interp(time_s[bad], time_s[good], values[good])
    text = "no value; bridged by a straight line"
    notes.append(Repair("missing", name, int(bad.sum()), int(row[np.argmax(bad)]) + 1, text))


def _units(
    table: Table,
    read: dict[str, Floats],
    row: NDArray[np.int64],
    time_s: Floats,
    capacity_ah: float | None,
) -> None:
    """Refuses what looks like mV, mA or kelvin."""
    voltage_v, current_a = read["voltage_v"], read["current_a"]
    middle_v = float(np.nanmedian(voltage_v)) if np.isfinite(voltage_v).any() else 0.0
    if middle_v > 100.0 * CELL_MAX_V / 6.0:
        first = int(np.nanargmax(np.abs(voltage_v) > CELL_MAX_V))
        expected = f"volts of one cell, up to {CELL_MAX_V:g}; this looks like mV"
        raise _fail(table, "voltage_v", row[first], float(voltage_v[first]), expected)
    bad = np.abs(voltage_v) > CELL_MAX_V
    if bad.sum() > IMPOSSIBLE_FRAC * len(bad) or (bad.any() and len(bad) < 100):
        first = int(np.argmax(bad))
        expected = f"volts of one cell, up to {CELL_MAX_V:g}; this looks like several in series"
        raise _fail(table, "voltage_v", row[first], float(voltage_v[first]), expected)
    if capacity_ah and float(np.nanquantile(np.abs(current_a), 0.9)) > CURRENT_MAX_C * capacity_ah:
        first = int(np.argmax(np.abs(current_a) > CURRENT_MAX_C * capacity_ah))
        expected = f"amperes that suit {capacity_ah:g} Ah; this looks like mA"
        raise _fail(table, "current_a", row[first], float(current_a[first]), expected)
    for name in ("temperature_degc", "temperature_core_degc", "temperature_coolant_degc"):
        values = read.get(name)
        if values is not None and np.isfinite(values).any() and np.nanmedian(values) > 200.0:
            first = int(np.argmax(values > 200.0))
            expected = "degrees Celsius; this looks like kelvin"
            raise _fail(table, name, row[first], float(values[first]), expected)


def _sign(
    table: Table,
    read: dict[str, Floats],
    row: NDArray[np.int64],
    time_s: Floats,
    positive: Sign,
    capacity_ah: float | None,
) -> float:
    """Ohms by which voltage falls when current rises; ConfigError when it rises instead."""
    step_a, step_v = np.diff(read["current_a"]), np.diff(read["voltage_v"])
    step_a = np.nan_to_num(step_a)
    size = np.abs(step_a)
    quick = np.diff(time_s) <= 2.5 * np.median(np.diff(time_s))
    usable = quick & np.isfinite(step_v) & (size > 0.2 * size.max(initial=0.0)) & (size > 0)
    if not usable.any():
        return float("nan")
    ohm = float(-(step_a[usable] @ step_v[usable]) / (step_a[usable] @ step_a[usable]))
    agree = float(np.mean(step_a[usable] * step_v[usable] < 0))
    first = int(np.argmax(np.where(usable, size, 0.0)))
    many = usable.sum() >= STEPS_MIN
    slow = not many and ohm < 0 and _follows_charge(read["current_a"], read["voltage_v"], time_s)
    if (many and ohm < 0 and agree < 0.3) or slow:
        other = "charge" if positive == "discharge" else "discharge"
        expected = (
            f"positive current that means {positive}: voltage falls when discharge rises, here it "
            f"steps by {step_v[first]:+.3g} V for {step_a[first]:+.4g} A more discharge; in this "
            f"file positive current means {other}"
        )
        raise _fail(table, "current_a", row[first + 1], f"{1 - agree:.0%} of steps", expected)
    large = capacity_ah is None or size.max() > CURRENT_MAX_C * capacity_ah
    if many and large and 0 < ohm < RESISTANCE_MIN_OHM and agree > 0.7:
        expected = f"amperes; steps of {ohm * 1e6:.2g} microohm say that this looks like mA"
        value = float(read["current_a"][first + 1])
        raise _fail(table, "current_a", row[first + 1], value, expected)
    return ohm


def _follows_charge(current_a: Floats, voltage_v: Floats, time_s: Floats) -> bool:
    """Whether voltage rises clearly with charge taken out, where steps are too few to tell."""
    known = np.isfinite(voltage_v)
    moved = np.cumsum(np.nan_to_num(current_a) * np.gradient(time_s))[known]
    spread = float(np.std(moved)) * float(np.std(voltage_v[known]))
    if spread <= 0 or np.ptp(voltage_v[known]) < 0.05:
        return False
    together = np.mean((moved - moved.mean()) * (voltage_v[known] - voltage_v[known].mean()))
    return bool(together > 0.5 * spread)


def _gaps(time_s: Floats, row: NDArray[np.int64], notes: list[Repair]) -> None:
    """Tells pauses far longer than the usual step."""
    step_s = np.diff(time_s)
    gaps = step_s > max(60.0, 10.0 * float(np.median(step_s)))
    if count := int(gaps.sum()):
        first = int(row[int(np.argmax(gaps)) + 1]) + 1
        text = f"gap, the longest {step_s.max():.4g} s; nothing is known inside"
        notes.append(Repair("gap", "time_s", count, first, text))
