"""Battery Data Format 1 (LF Energy): time series of one test object, as cyclers give them.

A file describes one cell; `cell` chooses it, and without a choice the pack is the test object.
Columns are the format's preferred labels. Current is positive while charging, as the format's Net
Capacity (charging minus discharging) has it; ours is turned round here.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bms.errors import ConfigError
from bms.recorder.export import Options
from bms.recorder.export.source import Source

if TYPE_CHECKING:
    import pyarrow as pa

TITLE = "Battery Data Format"
SUFFIXES = (".bdf.csv", ".bdf", ".bdf.parquet")
HOLDS = ("signals",)
EXTRA = ""

CURRENT_SIGN = -1
PACK = {
    "Voltage / V": ("true_pack_voltage_v", "meas_pack_voltage_v"),
    "Current / A": ("true_pack_current_a", "meas_pack_current_a"),
}
PACK_EXTRAS = {"Ambient Temperature / degC": ("true_ambient_degc",)}
CELL = {
    "Voltage / V": ("true_cell_voltage_v",),
    "Current / A": ("true_cell_current_a",),
}
CELL_EXTRAS = {
    "Ambient Temperature / degC": ("true_ambient_degc",),
    "Surface Temperature T1 / degC": ("true_cell_temperature_surface_degc",),
}


def write(source: Source, path: Path, options: Options) -> str:
    """One row for each sample of the voltage; slower columns keep their last value."""
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet as pq

    labels = _labels(source, options.cell)
    is_parquet = path.suffix == ".parquet"
    rows, writer = 0, None
    with path.open("wb") as file:
        for table in _tables(source, labels, options.cell):
            if writer is None and is_parquet:
                writer = pq.ParquetWriter(file, table.schema)
            if writer is not None:
                writer.write_table(table)
            else:
                head = pa.csv.WriteOptions(include_header=rows == 0, quoting_style="none")
                pa.csv.write_csv(table, file, head)
            rows += table.num_rows
        if writer is not None:
            writer.close()
    what = "the pack" if options.cell < 0 else f"cell {options.cell}"
    return f"{rows} rows of {what}: {', '.join(labels)}"


def _labels(source: Source, cell: int) -> dict[str, str]:
    """Label -> signal, of the columns this recording can fill."""
    known = {info.name: info for info in source.signals}
    required, extras = (PACK, PACK_EXTRAS) if cell < 0 else (CELL, CELL_EXTRAS)
    found = {}
    for label, names in {**required, **extras}.items():
        name = next((n for n in names if n in known), None)
        if name is not None:
            found[label] = name
        elif label in required:
            raise ConfigError("option", "--to", "bdf", f"a recording with {' or '.join(names)}")
    cells = known[found["Current / A"]].count
    if cell >= 0 and cell >= cells:
        raise ConfigError("option", "--cell", cell, f"0 to {cells - 1}")
    return found


def _tables(source: Source, labels: dict[str, str], cell: int) -> Iterator[Any]:
    import pyarrow as pa

    last = dict.fromkeys(labels, np.nan)
    blocks = {i.name: i.count for i in source.signals}.get("true_cell_voltage_v", 1)
    for batch in source.rows(list(labels.values())):
        voltage = batch.column(labels["Voltage / V"])
        wanted = voltage.is_valid().to_numpy(zero_copy_only=False)
        columns: dict[str, Any] = {"Test Time / s": batch.column("t_ns").to_numpy()[wanted] / 1e9}
        for label, name in labels.items():
            element = cell % blocks if name == "true_cell_voltage_v" else cell
            values, last[label] = _held(batch.column(name), element, last[label])
            columns[label] = values[wanted]
        columns["Current / A"] = CURRENT_SIGN * columns["Current / A"] + 0.0  # no -0
        known = np.logical_and.reduce([np.isfinite(c) for c in columns.values()])
        if known.any():
            yield pa.table({label: pa.array(values[known]) for label, values in columns.items()})


def _held(column: pa.Array, cell: int, before: float) -> tuple[np.ndarray, float]:
    """Values of every row, holding the last one over nulls, and what the next batch begins with."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_list(column.type):
        column = pc.list_element(column, cell)
    values = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    known = np.where(np.isfinite(values), np.arange(values.size), -1)
    place = np.maximum.accumulate(known)
    held = np.where(place < 0, before, values[place])
    return held, float(held[-1]) if held.size else before
