"""Which files are recordings: format 1, files that are still written, and none else."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import polars
import pyarrow as pa
import pytest
from test_recording import World, record

from bms.cli import main
from bms.errors import RecorderError
from bms.recorder import Recording, Writer, container, repair
from bms.recorder.file import CHECK
from bms.recorder.footer import footer


def format_1(path: Path, number: int = 1) -> None:
    """A closed recording as the first version wrote it."""
    about = {
        "format": number, "tick_ns": 10_000_000, "seed": 7, "cells_every_s": 1.0,
        "signals": [
            {"name": "meas_v", "unit": "V", "kind": "measured", "rate": "pack", "text": "",
             "count": 1, "vector": False},
            {"name": "cells", "unit": "V", "kind": "truth", "rate": "cells", "text": "",
             "count": 2, "vector": True},
        ],
    }  # fmt: skip
    schema = pa.schema(
        [
            pa.field("t_ns", pa.int64(), nullable=False), ("meas_v", pa.float32()),
            ("cells", pa.list_(pa.float32())), ("events", container.EVENTS), ("note", pa.string()),
        ],
        {"bms": json.dumps(about), container.CHECK_KEY: container.CHECK_EMPTY.decode()},
    )  # fmt: skip
    data = bytearray(container.MAGIC)
    stream = io.BytesIO()
    writer = pa.ipc.new_stream(stream, schema, options=pa.ipc.IpcWriteOptions(compression="lz4"))
    for k in range(3):
        rows = {
            "t_ns": [(100 * k + n + 1) * 10_000_000 for n in range(100)],
            "meas_v": [100 * k + n for n in range(100)],
            "cells": [[n, -n] if n % 10 == 0 else None for n in range(100)],
            "events": [None] * 100,
            "note": [None] * 99 + ['{"trips": 3}' if k == 2 else None],
        }
        writer.write_batch(pa.RecordBatch.from_pydict(rows, schema), custom_metadata=CHECK)
    data += stream.getvalue()
    at, blocks = len(container.MAGIC), []
    while size := container.message_size(memoryview(data), at):
        container.seal(data, at)
        head = 8 + int.from_bytes(data[at + 4 : at + 8], "little")
        blocks.append((at, head, size - head))
        at += size
    schema_message = bytes(data[blocks[0][0] : blocks[1][0]])
    path.write_bytes(data + container.END + footer(schema_message, blocks[1:]))


def test_a_recording_of_format_1_is_read_as_it_was(tmp_path):
    path = tmp_path / "old.arrow"
    format_1(path)
    assert polars.read_ipc(path).height == 300  # the file of this test is itself right
    with Recording.open(path) as rec:
        assert rec.is_complete and rec.meta["format"] == 1
        assert np.array_equal(rec["meas_v"], np.arange(300))
        assert rec["cells"].shape == (30, 2) and rec.summary == {"trips": 3}
        found = rec.overview("meas_v", 0, 3, 3)
        assert found.low.tolist() == [0, 99, 199] or found.high.max() == 299
        assert rec.read(["meas_v"], 1.0, 1.05)["meas_v"][1].tolist() == [
            99,
            100,
            101,
            102,
            103,
            104,
        ]


def test_a_cut_recording_of_format_1_is_repaired(tmp_path):
    path = tmp_path / "old.arrow"
    format_1(path)
    path.write_bytes(path.read_bytes()[:-300])
    kept, lost = repair(path)
    assert kept >= 2 and lost > 0
    with Recording.open(path) as rec:
        assert rec.is_complete and rec.t_ns.size == 100 * kept


def test_a_format_of_the_future_is_refused_in_one_sentence(tmp_path, capsys):
    path = tmp_path / "new.arrow"
    format_1(path, 9)
    with pytest.raises(RecorderError, match="recording format 9; this version reads 1 and 2"):
        Recording.open(path)
    assert main(["info", str(path)]) == 4
    assert capsys.readouterr().err.count("\n") == 1


def test_info_tells_of_a_recording_that_is_still_written(tmp_path, capsys):
    world, path = World(), tmp_path / "run.arrow"
    about = {"configuration": {"scenario": "x", "pack": {"name": "p"}, "cell": {"name": "c"}}}
    with Writer(path, world.signals(), {"seed": 7, **about}) as writer:
        for _ in range(70):
            writer.low_level.tick(world.step())
        writer.flush()
        assert main(["info", str(path)]) == 0
        out = capsys.readouterr().out
        assert "CUT" in out and "1 batches are in its tail" in out and "70 ticks" in out
    assert main(["info", str(path)]) == 0
    assert "complete" in capsys.readouterr().out


def test_arrow_reads_a_closed_file_as_a_stream_too(tmp_path):
    """Tools that read from the front stop at the end mark."""
    record(tmp_path / "a.arrow", 2500)
    data = (tmp_path / "a.arrow").read_bytes()[len(container.MAGIC) :]
    assert pa.ipc.open_stream(data).read_all().num_rows == 2500


def test_duckdb_opens_a_closed_file(tmp_path):
    duckdb = pytest.importorskip("duckdb")
    record(tmp_path / "a.arrow", 1500)
    table = pa.ipc.open_file(tmp_path / "a.arrow").read_all()
    connection = duckdb.connect()
    connection.register("run", table)
    assert connection.execute("select count(*), max(cmd_state) from run").fetchone() == (1500, 6)
