"""Comma-separated values: one row a tick; a vector has one column a cell."""

from __future__ import annotations

from pathlib import Path

from bms.recorder.export import Options
from bms.recorder.export.source import Source, columns_of

TITLE = "comma-separated values"
SUFFIXES = (".csv",)
HOLDS = ("signals",)
EXTRA = ""


def write(source: Source, path: Path, options: Options) -> str:
    """Columns time_s and the signals, whose names end in their units; empty where no sample is.

    Vectors become name[0], name[1] and so on.
    """
    import pyarrow as pa
    import pyarrow.csv

    names = ["time_s", *(column for info in source.signals for column in columns_of(info))]
    rows = 0
    with path.open("wb") as file:
        file.write((",".join(names) + "\n").encode())
        for batch in source.rows([info.name for info in source.signals]):
            seconds = pa.array(batch.column("t_ns").to_numpy() / 1e9)
            columns: list[pa.Array] = [seconds]
            for info in source.signals:
                column = batch.column(info.name)
                columns += _elements(column, info.count) if info.vector else [column]
            table = pa.table(dict(zip(names, columns, strict=True)))
            pa.csv.write_csv(table, file, pa.csv.WriteOptions(include_header=False))
            rows += batch.num_rows
    return f"{rows} rows of {len(names) - 1} columns"


def _elements(column: object, count: int) -> list[object]:
    """Columns of the elements of a list column."""
    import pyarrow.compute as pc

    return [pc.list_element(column, k) for k in range(count)]
