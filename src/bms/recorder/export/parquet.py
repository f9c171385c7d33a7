"""Apache Parquet: one row a tick, one column a signal, for polars, DuckDB, pandas, Spark."""

from __future__ import annotations

import json
from pathlib import Path

from bms.recorder.export import Options
from bms.recorder.export.source import Source

TITLE = "Apache Parquet"
SUFFIXES = (".parquet",)
HOLDS = ("signals", "events")
EXTRA = ""


def write(source: Source, path: Path, options: Options) -> str:
    """Columns t_ns, the signals (vectors as lists, slow ones null between samples), events.

    Units and texts are in the metadata of the columns, the recording's own under the key "bms".
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = [info.name for info in source.signals]
    about = {i.name: {"unit": i.unit, "kind": i.kind, "text": i.text} for i in source.signals}
    writer, rows = None, 0
    try:
        for batch in source.rows([*names, "events"]):
            if writer is None:
                fields = [f.with_metadata(about.get(f.name)) for f in batch.schema]
                schema = pa.schema(fields, {"bms": json.dumps(source.meta)})
                dictionary = [f.name for f in fields if pa.types.is_integer(f.type)]
                writer = pq.ParquetWriter(
                    path, schema, compression="zstd", use_dictionary=dictionary
                )
            writer.write_batch(batch.cast(schema))
            rows += batch.num_rows
        if writer is None:
            pq.write_table(pa.table({"t_ns": pa.array([], pa.int64())}), path)
    finally:
        if writer is not None:
            writer.close()
    return f"{rows} rows of {len(names)} signals"
