"""What is left of a recording that was cut, killed, overwritten, or changed on disk."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_recording import World, record

from bms.errors import RecorderError
from bms.recorder import Event, Recording, Writer, repair
from bms.recorder.container import MAGIC, message_size

TICKS = 5500


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "run.arrow"
    record(path, TICKS, events=(Event(20_000_000_000, "trip", "x"),), frames=True)
    return path


def messages(data: bytes) -> list[tuple[int, int]]:
    places, at = [], len(MAGIC)
    while size := message_size(memoryview(data), at):
        places.append((at, size))
        at += size
    return places


def assert_is_prefix(rec: Recording) -> None:
    n = rec.t_ns.size
    assert n % 1000 == 0 or n == TICKS
    assert np.array_equal(rec.t_ns, np.arange(1, n + 1) * 10_000_000)
    assert np.array_equal(rec["cmd_state"], np.arange(1, n + 1) % 7)
    cells = rec["true_cell_voltage_v"]
    assert np.array_equal(cells[:, 0], np.rint(rec.time_s("true_cell_voltage_v") * 100))
    assert len(rec.events) == (n >= 2000)


def test_a_file_cut_anywhere_is_a_prefix(whole, tmp_path, seed):
    data, rng, path = whole.read_bytes(), np.random.default_rng(seed), tmp_path / "cut.arrow"
    schema, *batches = messages(data)
    ends = [at + size for at, size in batches]
    random_cuts = rng.integers(0, len(data), 200).tolist()
    edges = [e + d for e in (schema[0] + schema[1], *ends) for d in (-1, 0, 1)]
    for cut in [*random_cuts, *edges]:
        path.write_bytes(data[:cut])
        if cut < schema[0] + schema[1]:
            with pytest.raises(RecorderError):
                Recording.open(path)
            continue
        rec = Recording.open(path)
        assert_is_prefix(rec)
        assert rec.batch_count == sum(e <= cut for e in ends)
        assert not rec.is_complete
        assert rec.lost_bytes == cut - ([schema[0] + schema[1]] + [e for e in ends if e <= cut])[-1]


def test_repair_adds_the_footer_and_loses_nothing_whole(whole, tmp_path):
    polars = pytest.importorskip("polars")
    data, path = whole.read_bytes(), tmp_path / "cut.arrow"
    path.write_bytes(data[: int(len(data) * 0.7)])
    before = Recording.open(path)
    kept, lost = repair(path)
    assert kept == before.batch_count and lost == before.lost_bytes > 0
    after = Recording.open(path)
    assert after.is_complete and np.array_equal(after.t_ns, before.t_ns)
    assert after.meta == before.meta and after.summary == {}
    assert_is_prefix(after)
    assert polars.read_ipc(path).height == before.t_ns.size
    assert repair(path) == (kept, 0)
    assert list(tmp_path.iterdir()) == [path]


def test_repair_leaves_a_whole_file_alone(whole):
    data = whole.read_bytes()
    assert repair(whole) == (6, 0)
    assert whole.read_bytes() == data


def test_a_damaged_batch_is_refused_and_repair_drops_only_it(whole, tmp_path):
    data, path = bytearray(whole.read_bytes()), tmp_path / "bad.arrow"
    at, size = messages(data)[3]
    data[at + size - 100] ^= 1
    path.write_bytes(data)
    rec = Recording.open(path)
    assert rec.summary["trips"] == 0
    with pytest.raises(RecorderError, match=r"batch 2 is damaged; `bms repair`"):
        rec["cmd_state"]
    kept, lost = repair(path)
    assert (kept, lost) == (5, size)
    n = np.concatenate((np.arange(1, 2001), np.arange(3001, TICKS + 1)))
    assert np.array_equal(Recording.open(path)["cmd_state"], n % 7)


def test_a_hole_of_zeros_ends_what_is_read(whole, tmp_path):
    """A power cut can lose a page in the middle while later ones reached the disk."""
    data, path = bytearray(whole.read_bytes()), tmp_path / "hole.arrow"
    at, size = messages(data)[4]
    hole = (at + size // 2) // 4096 * 4096
    data[hole : hole + 4096] = bytes(4096)
    path.write_bytes(data[:-200])
    rec = Recording.open(path)
    assert_is_prefix(rec)
    assert rec.batch_count <= 3


def test_changed_files_raise_recorder_error_and_nothing_else(whole, tmp_path, seed):
    data, rng, path = whole.read_bytes(), np.random.default_rng(seed), tmp_path / "changed.arrow"
    refused = 0
    for _ in range(300):
        changed = bytearray(data)
        for _ in range(rng.integers(1, 8)):
            at = int(rng.integers(0, len(changed)))
            match rng.integers(0, 4):
                case 0:
                    changed[at] ^= 1 << int(rng.integers(0, 8))
                case 1:
                    changed[at : at + 8] = rng.bytes(8)
                case 2:
                    del changed[at : at + int(rng.integers(1, 5000))]
                case 3:
                    changed[at:at] = rng.bytes(int(rng.integers(1, 5000)))
        path.write_bytes(changed)
        try:
            with Recording.open(path) as rec:
                rec.load(*rec.signals)
                _ = rec.events, rec.summary, rec.frames
                assert np.isin(rec.t_ns, np.arange(1, TICKS + 1) * 10_000_000).all()
        except RecorderError:
            refused += 1
    assert refused > 50


@pytest.mark.parametrize("content", [b"", b"ARROW1\0\0", b"no recording", bytes(10_000)])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "other.arrow"
    path.write_bytes(content)
    with pytest.raises(RecorderError, match=r"other\.arrow"):
        Recording.open(path)
    with pytest.raises(RecorderError, match="cannot open"):
        Recording.open(tmp_path / "missing.arrow")


def test_an_arrow_file_of_somebody_else_is_refused(tmp_path):
    import pyarrow as pa

    path = tmp_path / "other.arrow"
    table = pa.table({"t_ns": [1, 2]})
    with pa.ipc.new_file(path, table.schema) as file:
        file.write_table(table)
    with pytest.raises(RecorderError, match="not a recording"):
        Recording.open(path)


def test_a_descriptor_is_not_left_open_by_a_refused_file(tmp_path):
    path = tmp_path / "other.arrow"
    path.write_bytes(b"ARROW1\0\0" + bytes(100))
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        with pytest.raises(RecorderError):
            Recording.open(path)
    assert len(os.listdir("/proc/self/fd")) == before


# ---- writers ----

CHILD = """
import sys
sys.path.insert(0, {here!r})
from test_recording import World
from bms.recorder import Writer
world = World()
writer = Writer({path!r}, world.signals(), {{"seed": 7}}, batch_ticks=1000)
for n in range(10**7):
    if writer.low_level.tick(world.step()):
        writer.drain()
        print(world.tick, flush=True)
"""


def test_kill_9_loses_at_most_two_batches(tmp_path):
    path = tmp_path / "run.arrow"
    code = CHILD.format(here=str(Path(__file__).parent), path=str(path))
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    told = [int(child.stdout.readline()) for _ in range(9)][-1]
    child.send_signal(signal.SIGKILL)
    told = int((child.communicate()[0].split() or [str(told)])[-1])
    rec = Recording.open(path)
    n = rec.t_ns.size
    assert not rec.is_complete and n >= told - 3000  # one waits, one is on its way into the file
    assert np.array_equal(rec["cmd_state"], np.arange(1, n + 1) % 7)
    repair(path)
    assert Recording.open(path).is_complete


def test_two_writers_on_one_path_are_refused(tmp_path):
    path = tmp_path / "run.arrow"
    first = Writer(path, World().signals(), {})
    with pytest.raises(RecorderError, match="being written"):
        Writer(path, World().signals(), {})
    first.close()
    Writer(path, World().signals(), {}).close()
    assert Recording.open(path).is_complete


def test_repair_refuses_a_file_that_is_being_written(tmp_path):
    world, path = World(), tmp_path / "run.arrow"
    with Writer(path, world.signals(), {}, batch_ticks=1000) as writer:
        for _ in range(5000):
            if writer.low_level.tick(world.step()):
                writer.drain()
        while not (path.exists() and path.stat().st_size > 20_000):
            pass
        with pytest.raises(RecorderError, match="being written"):
            repair(path)
    assert Recording.open(path).t_ns.size == 5000


def test_a_path_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(RecorderError, match="cannot make"):
        Writer(tmp_path / "file" / "run.arrow", World().signals(), {})
    with pytest.raises(RecorderError, match="cannot make"):
        Writer(tmp_path, World().signals(), {})


def test_a_full_disk_stops_nothing_and_is_told_at_once_and_at_the_end(tmp_path):
    world, path = World(), tmp_path / "run.arrow"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        writer = Writer(path, world.signals(), {}, batch_ticks=1000)
        for _ in range(50_000):
            if writer.low_level.tick(world.step()):
                writer.drain()
        assert "File too large" in writer.trouble
        with pytest.raises(RecorderError, match=r"\d+ ticks were lost: .*File too large"):
            writer.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    rec = Recording.open(path)
    n = rec.t_ns.size
    assert n > 1000 and np.array_equal(rec["cmd_state"], np.arange(1, n + 1) % 7)
