"""Tables of numbers from files, and which of their columns is what. For bms.data."""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import ConfigError

Floats = NDArray[np.float64]

COLUMNS = (
    "time_s", "current_a", "voltage_v", "temperature_degc",
    "pressure_kpa", "temperature_coolant_degc", "temperature_core_degc", "charge_ah",
)  # fmt: skip
REQUIRED = COLUMNS[:4]

# Battery Data Format: quantity as its labels have it before " / unit", and its machine names.
# battery-data-alliance, BDF ontology terms; test time, voltage and current are what it requires.
BDF: dict[str, tuple[str, ...]] = {
    "time_s": ("test time", "test_time"),
    "current_a": ("current",),
    "voltage_v": ("voltage",),
    "temperature_degc": (
        "surface temperature", "surface_temperature", "temperature t1", "temperature_t1",
        "surface temperature t1", "surface_temperature_t1", "temperature",
    ),
    "pressure_kpa": ("applied pressure", "applied_pressure", "surface pressure",
                     "surface_pressure"),
    "temperature_coolant_degc": ("ambient temperature", "ambient_temperature"),
    "temperature_core_degc": (),
    "charge_ah": (),
}  # fmt: skip
ALSO = {"temperature_coolant_degc": ("temperature_ambient_degc",)}  # further names of ours

# unit -> factor, offset to ours
UNITS: dict[str, dict[str, tuple[float, float]]] = {
    "s": {"s": (1.0, 0.0), "second": (1.0, 0.0), "seconds": (1.0, 0.0), "sec": (1.0, 0.0),
          "ms": (1e-3, 0.0), "millisecond": (1e-3, 0.0), "min": (60.0, 0.0),
          "minute": (60.0, 0.0), "h": (3600.0, 0.0), "hour": (3600.0, 0.0)},
    "a": {"A": (1.0, 0.0), "a": (1.0, 0.0), "ampere": (1.0, 0.0), "mA": (1e-3, 0.0),
          "ma": (1e-3, 0.0), "milliampere": (1e-3, 0.0)},
    "v": {"V": (1.0, 0.0), "v": (1.0, 0.0), "volt": (1.0, 0.0), "mV": (1e-3, 0.0),
          "mv": (1e-3, 0.0), "millivolt": (1e-3, 0.0)},
    "degc": {"degC": (1.0, 0.0), "degc": (1.0, 0.0), "C": (1.0, 0.0), "c": (1.0, 0.0),
             "°C": (1.0, 0.0), "celsius": (1.0, 0.0), "K": (1.0, -273.15),
             "k": (1.0, -273.15), "kelvin": (1.0, -273.15)},
    "kpa": {"kPa": (1.0, 0.0), "kpa": (1.0, 0.0), "Pa": (1e-3, 0.0), "pa": (1e-3, 0.0),
            "pascal": (1e-3, 0.0), "MPa": (1e3, 0.0), "bar": (100.0, 0.0)},
    "ah": {"Ah": (1.0, 0.0), "ah": (1.0, 0.0), "mAh": (1e-3, 0.0), "mah": (1e-3, 0.0),
           "As": (1 / 3600.0, 0.0)},
}  # fmt: skip


@dataclass(frozen=True)
class Table:
    """Headings and columns; a column is an array already, or texts."""

    file: str
    names: tuple[str, ...]
    columns: tuple[Any, ...]
    rows: int
    headed: bool

    def place(self, theirs: str | int, name: str) -> int:
        """Index of a column by heading (twice the same: the first) or position from 1."""
        if isinstance(theirs, int):
            if 1 <= theirs <= len(self.names):
                return theirs - 1
            expected = f"a position from 1 to {len(self.names)}"
            raise ConfigError(self.file, name, theirs, expected)
        if theirs in self.names:
            return self.names.index(theirs)
        raise ConfigError(self.file, name, theirs, "a column of " + ", ".join(self.names))

    def numbers(self, place: int, name: str) -> Floats:
        """One column as numbers, a copy; an empty field is NaN."""
        column = self.columns[place]
        if isinstance(column, np.ndarray):
            return np.array(column, dtype=np.float64)
        try:
            return np.array([text or "nan" for text in column], dtype=np.float64)
        except ValueError:
            return self._slowly(column, name)

    def _slowly(self, column: Sequence[str], name: str) -> Floats:
        out = np.empty(len(column))
        for i, text in enumerate(column):
            bare = text.strip()
            try:
                out[i] = float(bare) if bare.lower() not in ("", "na", "null", "none") else np.nan
            except ValueError:
                key = f"{name}, row {i + 1}"
                raise ConfigError(self.file, key, text, "a number, or nothing") from None
        return out


def open_table(path: str | Path, header_row: int | None, delimiter: str | None) -> Table:
    """Parquet by its suffix, all else as delimited text, unpacked if it is gzip."""
    file = Path(path)
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise ConfigError(path, "", error.strerror or "an error", "a readable file") from None
    if raw[:4] == b"PAR1" or file.suffix == ".parquet":
        return _parquet(path, raw)
    if raw[:2] == b"\x1f\x8b":
        try:
            raw = gzip.decompress(raw)
        except (OSError, EOFError, zlib.error) as error:
            raise ConfigError(path, "", str(error), "a whole gzip file") from None
    return _text(path, raw, header_row, delimiter)


def _parquet(path: str | Path, raw: bytes) -> Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(io.BytesIO(raw))
    except (pa.ArrowException, OSError) as error:
        text = str(error).splitlines()[0]
        raise ConfigError(path, "", text, "a Parquet file") from None
    if table.num_rows == 0:
        raise ConfigError(path, "", "no rows", "at least 2 rows of data")
    columns: list[Any] = []
    for column in table.columns:
        kind = column.type
        if pa.types.is_floating(kind) or pa.types.is_integer(kind):
            values = column.cast(pa.float64(), safe=False)
            columns.append(values.to_numpy(zero_copy_only=False))
        else:
            columns.append(["" if v is None else str(v) for v in column.to_pylist()])
    names = tuple(str(name) for name in table.column_names)
    return Table(str(path), names, tuple(columns), table.num_rows, headed=True)


def _text(path: str | Path, raw: bytes, header_row: int | None, delimiter: str | None) -> Table:
    if b"\0" in raw[:4096]:
        raise ConfigError(path, "", raw[:16], "text: comma-separated values")
    lines = raw.decode("utf-8-sig", errors="replace").splitlines()[(header_row or 1) - 1 :]
    lines = [line for line in lines if line.strip()]
    if not lines:
        raise ConfigError(path, "", "an empty file", "a heading and rows of data")
    split = delimiter or max(",;\t", key=lines[0].count)
    grid = list(csv.reader(lines, delimiter=split))
    head = [name.strip() for name in grid[0]]
    numeric = [_is_number(text) for text in head if text]
    headed = not (numeric and sum(numeric) > len(numeric) / 2 and header_row is None)
    names = head if headed else [str(i + 1) for i in range(len(head))]
    body = grid[1:] if headed else grid
    if not body:
        raise ConfigError(path, "", "only a heading", "at least 2 rows of data")
    width = len(names)
    for i, fields in enumerate(body):
        if len(fields) < width - 1 or len(fields) > width + 1:  # one comma at the end is usual
            expected = f"{width} columns, as in the heading"
            raise ConfigError(path, f"row {i + 1}", f"{len(fields)} columns", expected)
    filled = [row if len(row) == width else [*row, ""][:width] for row in body]
    return Table(str(path), tuple(names), tuple(zip(*filled, strict=True)), len(body), headed)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def find_columns(
    table: Table, mapping: Mapping[str, str | int], has_temperature: bool
) -> tuple[dict[str, int], bool]:
    """Places of our columns; and whether the current has the name of the Battery Data Format.

    ConfigError for a name of ours that is none, and for a required column that is not there.
    """
    for name in mapping:
        if name not in COLUMNS:
            expected = "one of our names: " + ", ".join(COLUMNS)
            raise ConfigError(table.file, "columns", name, expected)
    found: dict[str, int] = {}
    is_bdf = False
    for name in COLUMNS:
        if name in mapping:
            found[name] = table.place(mapping[name], name)
            continue
        for own in (name, *ALSO.get(name, ())):
            if own in table.names:
                found[name] = table.names.index(own)
                break
        else:
            place = _by_format(table, name)
            if place is not None:
                found[name] = place
                is_bdf = is_bdf or name == "current_a"
    for name in REQUIRED:
        if name not in found and not (name == "temperature_degc" and has_temperature):
            expected = f"a column {name} (or its mapping) among " + ", ".join(table.names)
            raise ConfigError(table.file, name, "nothing", expected)
    return found, is_bdf


def _by_format(table: Table, name: str) -> int | None:
    """The column with a label or machine name of the Battery Data Format, if any."""
    known = UNITS[name.rpartition("_")[2]]
    for stem in BDF[name]:
        for place, heading in enumerate(table.names):
            label = re.fullmatch(rf"{stem}\s*/\s*(\S+)", heading, re.IGNORECASE)
            machine = re.fullmatch(rf"{stem}_([a-z]+)", heading)
            unit = label or machine
            if unit and unit[1] in known:
                return place
    return None


def scale_of(heading: str, name: str) -> tuple[float, float, str]:
    """Factor and offset to our unit, from the unit that a heading ends in; 1 and 0 if it has none.

    >>> scale_of("Voltage / mV", "voltage_v"), scale_of("T_surf_C", "temperature_degc")
    ((0.001, 0.0, 'mV'), (1.0, 0.0, 'C'))
    """
    known = UNITS[name.rpartition("_")[2]]
    found = re.search(r"(?:[/_(\[,]|^)\s*([A-Za-z°]+)\s*[)\]]?\s*$", heading.strip())
    unit = found[1] if found else ""
    factor, offset = known.get(unit, (1.0, 0.0))
    return factor, offset, unit
