"""What was acknowledged is there afterwards, whatever happened to process, power or disk."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from bad_disk import FaultyDisk, VolatileDisk
from test_recording import World

from bms.errors import RecorderError
from bms.recorder import Recording, Writer, repair
from bms.recorder.tail import tail_of

BATCH = 100


def rows_written(writer: Writer, world: World, ticks: int, every: int = 0) -> None:
    """`ticks` ticks; a drain when full and every `every`."""
    for n in range(1, ticks + 1):
        if writer.low_level.tick(world.step()) or (every and n % every == 0):
            writer.drain()


def assert_prefix(path: Path, least_ns: int = -1) -> int:
    """The recording is the first n ticks, with everything up to `least_ns`; returns n."""
    with Recording.open(path) as rec:
        n = rec.t_ns.size
        assert np.array_equal(rec.t_ns, np.arange(1, n + 1) * 10_000_000)
        assert np.array_equal(rec["cmd_state"], np.arange(1, n + 1) % 7)
        assert n * 10_000_000 >= least_ns
        return n


def settled(writer: Writer, until_ns: int, clock: str = "acknowledged_ns") -> None:
    deadline = time.monotonic() + 20
    while getattr(writer, clock) < until_ns:
        assert time.monotonic() < deadline, "the recorder never got there"
        time.sleep(0.005)


def test_flush_means_that_a_copy_made_now_has_everything(tmp_path):
    world, path = World(), tmp_path / "run.arrow"
    with Writer(path, world.signals(), {}, batch_ticks=BATCH) as writer:
        for _ in range(5):
            rows_written(writer, world, 37)
            writer.flush()
            assert writer.synced_ns == world.tick * 10_000_000
            copy = tmp_path / "copy.arrow"
            copy.write_bytes(path.read_bytes())
            tail_of(copy).write_bytes(tail_of(path).read_bytes())
            assert assert_prefix(copy, writer.synced_ns) == world.tick
    assert assert_prefix(path) == 185 and not tail_of(path).exists()


def test_rows_that_wait_reach_the_tail_without_being_asked(tmp_path):
    world, path = World(), tmp_path / "run.arrow"
    with Writer(path, world.signals(), {}) as writer:
        rows_written(writer, world, 50, every=50)
        settled(writer, 500_000_000)
        assert assert_prefix(path) == 50  # read while it is written
        rows_written(writer, world, 50, every=50)
        settled(writer, 1_000_000_000, "synced_ns")
        assert assert_prefix(path) == 100


def test_repair_joins_the_tail(tmp_path):
    world, path = World(), tmp_path / "run.arrow"
    writer = Writer(path, world.signals(), {}, batch_ticks=BATCH)
    rows_written(writer, world, 250, every=50)
    writer.event(2_400_000_000, "trip", "in the tail")
    rows_written(writer, world, 25)
    writer.flush()
    whole, tail = path.read_bytes(), tail_of(path).read_bytes()
    writer.close()
    path.write_bytes(whole)
    tail_of(path).write_bytes(tail)
    before = Recording.open(path)
    assert before.t_ns.size == 275 and not before.is_complete
    assert [e.name for e in before.events] == ["in the tail"]
    repair(path)
    assert not tail_of(path).exists()
    after = Recording.open(path)
    assert after.is_complete and assert_prefix(path) == 275
    assert [e.name for e in after.events] == ["in the tail"]
    assert np.array_equal(after["true_soc_frac"], before["true_soc_frac"])


def test_a_tail_of_another_recording_is_not_read(tmp_path):
    world, path = World(), tmp_path / "run.arrow"
    writer = Writer(path, world.signals(), {"seed": 1}, batch_ticks=BATCH)
    rows_written(writer, world, 30)
    writer.flush()
    tail = tail_of(path).read_bytes()
    writer.close()
    other = Writer(path, world.signals(), {"seed": 2}, batch_ticks=BATCH)
    assert not tail_of(path).exists()
    tail_of(path).write_bytes(tail)
    assert Recording.open(path).t_ns.size == 0
    other.close()


# ---- kill -9 ----

CHILD = """
import sys, time
sys.path.insert(0, {here!r})
from test_recording import World
from bms.recorder import Writer
world = World()
writer = Writer({path!r}, world.signals(), {{"seed": 7}}, batch_ticks=100)
while True:
    for _ in range({every}):
        if writer.low_level.tick(world.step()):
            writer.drain()
    writer.drain()
    print(writer.acknowledged_ns, flush=True)
    time.sleep({pause})
"""


def killed(path: Path, every: int, pause: float, lines: int) -> int:
    """A writer process killed after it printed so often; the last time it said was safe."""
    here = str(Path(__file__).parent)
    code = CHILD.format(here=here, path=str(path), every=every, pause=pause)
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    told = [child.stdout.readline() for _ in range(lines)]
    child.send_signal(signal.SIGKILL)
    told += child.communicate()[0].splitlines(keepends=True)
    return int(next(line for line in reversed(told) if line.endswith("\n")))


@pytest.mark.parametrize(
    ("every", "pause", "lines"), [(250, 0.0, 40), (20, 0.06, 12), (60, 0.15, 6)]
)
def test_kill_9_costs_nothing_that_was_acknowledged(tmp_path, every, pause, lines):
    path = tmp_path / "run.arrow"
    safe_ns = killed(path, every, pause, lines)
    assert safe_ns > 0
    assert_prefix(path, safe_ns)
    repair(path)
    assert_prefix(path, safe_ns)
    assert Recording.open(path).is_complete


@pytest.mark.long("thousands of them")
def test_a_hundred_true_kills(tmp_path, seed):
    rng = np.random.default_rng(seed)
    for k in range(100):
        every, pause = int(rng.integers(5, 300)), float(rng.choice([0.0, 0.02, 0.12]))
        safe_ns = killed(tmp_path / f"{k}.arrow", every, pause, int(rng.integers(1, 15)))
        assert_prefix(tmp_path / f"{k}.arrow", safe_ns)


def history(folder: Path) -> tuple[list[bytes], list[int], list[int]]:
    """Everything a recording of 2000 ticks wrote to its file, in order: images to cut anywhere."""
    world, path = World(), folder / "whole.arrow"
    with Writer(path, world.signals(), {}, batch_ticks=BATCH) as writer:
        rows_written(writer, world, 2000)
    with Recording.open(path) as rec:
        ends = [p.start + p.size for p in rec.layout.places]
        first = len(rec.layout.schema_message) + 8
        rows = [len(batch) for batch in rec.batches(["t_ns"])]
    return [path.read_bytes()], [first, *ends], list(np.cumsum([0, *rows]))


def cut_at(data: bytes, offsets, ends: list[int], rows: list[int], path: Path) -> None:
    """A process killed in the middle of its write leaves a file that ends there."""
    for cut in offsets:
        path.write_bytes(data[:cut])
        whole = sum(e <= cut for e in ends)
        if whole == 0:
            with pytest.raises(RecorderError):
                Recording.open(path)
        elif cut < len(data):
            assert assert_prefix(path) == rows[whole - 1]


def test_a_file_killed_at_200_offsets_holds_every_whole_write(tmp_path, seed):
    (data,), ends, rows = history(tmp_path)
    offsets = np.random.default_rng(seed).integers(0, len(data), 200).tolist()
    cut_at(data, offsets, ends, rows, tmp_path / "cut.arrow")


@pytest.mark.long("thousands of them")
def test_a_file_killed_at_10_000_offsets_holds_every_whole_write(tmp_path, seed):
    (data,), ends, rows = history(tmp_path)
    offsets = np.random.default_rng(seed).integers(0, len(data), 10_000).tolist()
    cut_at(data, offsets, ends, rows, tmp_path / "cut.arrow")


# ---- power ----


def power_losses(tmp_path: Path, seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    world, path, disk = World(), tmp_path / "run.arrow", VolatileDisk()
    writer = Writer(path, world.signals(), {}, batch_ticks=BATCH, disk=disk)
    after = tmp_path / "after"
    for k in range(count):
        rows_written(writer, world, int(rng.integers(1, 150)))
        if k % 4 == 0:
            writer.flush()
        safe_ns = writer.synced_ns
        for old in after.glob("*"):
            old.unlink()
        after.mkdir(exist_ok=True)
        disk.after_power_loss(after, rng)
        if safe_ns >= 0:
            assert_prefix(after / "run.arrow", safe_ns)
    writer.close()


def test_power_loss_with_unsynced_pages_gone_leaves_a_prefix_with_all_that_was_synced(
    tmp_path, seed
):
    power_losses(tmp_path, seed, 60)


@pytest.mark.long("thousands of them")
def test_two_thousand_power_losses(tmp_path, seed):
    for k in range(40):
        folder = tmp_path / str(k)
        folder.mkdir()
        power_losses(folder, seed + k, 50)


# ---- bad disks ----

FAULTS = (errno.ENOSPC, errno.EIO, errno.EINTR, "short")


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("at", [2, 3, 5, 9])
def test_a_write_that_fails_once_costs_nothing(tmp_path, fault, at):
    world, path = World(), tmp_path / "run.arrow"
    disk = FaultyDisk(fault, at, forever=False)
    with Writer(path, world.signals(), {}, batch_ticks=BATCH, disk=disk) as writer:
        rows_written(writer, world, 1000)
    assert disk.count > at
    rec = Recording.open(path)
    assert rec.is_complete and assert_prefix(path) == 1000
    told = [e for e in rec.events if e.kind == "recorder"]
    assert len(told) == (fault in (errno.ENOSPC, errno.EIO) and at < 12)


@pytest.mark.parametrize("fault", (errno.ENOSPC, errno.EIO, errno.EINTR))
@pytest.mark.parametrize("at", [2, 3, 6])
def test_a_disk_that_stays_bad_stops_nothing_and_keeps_what_it_took(tmp_path, fault, at):
    world, path = World(), tmp_path / "run.arrow"
    disk = FaultyDisk(fault, at, forever=True)
    writer = Writer(path, world.signals(), {}, batch_ticks=BATCH, disk=disk)
    rows_written(writer, world, 3000)
    safe_ns = writer.acknowledged_ns
    deadline = time.monotonic() + 10
    while not writer.trouble and time.monotonic() < deadline:
        time.sleep(0.01)
    assert os.strerror(fault) in writer.trouble
    with pytest.raises(RecorderError, match=r"\d+ ticks were lost") as told:
        writer.close()
    assert str(path) in str(told.value) and "\n" not in str(told.value)
    n = assert_prefix(path, safe_ns)
    assert n == (at - 2) * BATCH
    assert f"{3000 - n} ticks" in str(told.value)


def test_a_disk_that_is_full_for_a_while_leaves_a_gap_that_is_told(tmp_path):
    world, path = World(), tmp_path / "run.arrow"
    disk = FaultyDisk(errno.ENOSPC, 4, forever=True)
    writer = Writer(path, world.signals(), {}, batch_ticks=BATCH, disk=disk)
    rows_written(writer, world, 2000)
    deadline = time.monotonic() + 10
    while "lost" not in writer.trouble and time.monotonic() < deadline:
        time.sleep(0.01)
    disk.forever = False  # somebody made room
    rows_written(writer, world, 1000)
    with pytest.raises(RecorderError, match="ticks were lost"):
        writer.close({"trips": 0})
    rec = Recording.open(path)
    assert rec.is_complete and rec.t_ns[-1] == 3000 * 10_000_000
    lost = sum(e.value for e in rec.events if e.name == "ticks_lost")
    assert lost == 3000 - rec.t_ns.size > 0
    assert rec.summary["recording_lost_ticks"] == lost
    assert np.array_equal(rec["cmd_state"], rec.t_ns // 10_000_000 % 7)


@pytest.mark.parametrize("at", [1, 2, 3])
@pytest.mark.parametrize("forever", [False, True])
def test_a_sync_that_fails_takes_the_promise_back_and_nothing_else(tmp_path, at, forever):
    world, path = World(), tmp_path / "run.arrow"
    disk = FaultyDisk(errno.EIO, at, forever=forever, calls=("sync",))
    writer = Writer(path, world.signals(), {}, batch_ticks=BATCH, disk=disk)
    failed = False
    for _ in range(4):
        rows_written(writer, world, 150)
        before = writer.synced_ns
        try:
            writer.flush()
        except RecorderError as error:
            failed = True
            assert "Input/output error" in str(error)
            assert writer.synced_ns >= before
    assert failed
    try:
        writer.close()
    except RecorderError as error:
        assert forever and "no end" in str(error)
    assert assert_prefix(path) == 600


@pytest.mark.parametrize("calls", [("write",), ("sync",), ("truncate",), ("replace",)])
def test_no_fault_in_any_call_costs_what_was_acknowledged(tmp_path, calls, seed):
    """One fault in call 1 to N of each kind, with tails being written."""
    rng = np.random.default_rng(seed)
    for at in range(1, 13):
        world, path = World(), tmp_path / f"{at}.arrow"
        disk = FaultyDisk(
            int(rng.choice([errno.ENOSPC, errno.EIO])), at, forever=False, calls=calls
        )
        try:
            writer = Writer(path, world.signals(), {}, batch_ticks=BATCH, disk=disk)
        except RecorderError as error:
            assert at <= 2 and "cannot make the recording" in str(error)
            continue
        for _ in range(4):
            rows_written(writer, world, int(rng.integers(20, 180)))
            try:
                writer.flush()
            except RecorderError as error:
                assert "\n" not in str(error)
            safe = writer.acknowledged_ns
            assert_prefix(path, safe)
        try:
            writer.close()
        except RecorderError as error:
            assert "no end" in str(error)
        assert assert_prefix(path) == world.tick


def test_a_clock_that_jumps_changes_nothing(tmp_path, monkeypatch):
    world, path = World(), tmp_path / "run.arrow"
    with Writer(path, world.signals(), {}, batch_ticks=BATCH) as writer:
        rows_written(writer, world, 300)
        monkeypatch.setattr(time, "time", lambda: -1e9)
        rows_written(writer, world, 300)
        writer.flush()
    assert assert_prefix(path) == 600


def test_a_loop_that_must_not_wait_loses_rows_rather_than_wait(tmp_path):
    """The disk hangs; `exchange` returns all the same, and what is lost is counted."""

    class Hanging(FaultyDisk):
        def write(self, descriptor, data, at):
            if at > 5000:
                time.sleep(0.3)
            return super().write(descriptor, data, at)

    world, path = World(), tmp_path / "run.arrow"
    disk = Hanging(0, 10**9, forever=False)
    writer = Writer(path, world.signals(), {}, batch_ticks=BATCH, disk=disk)
    used = []
    slowest = 0.0
    for _ in range(40):
        rows_now = writer.low_level
        for _ in range(BATCH):
            rows_now.tick(world.step())
        began = time.monotonic()
        writer.exchange(used.append)
        slowest = max(slowest, time.monotonic() - began)
    assert len(used) == 40 and slowest < 0.25  # a write alone takes 0.3
    with pytest.raises(RecorderError, match=r"\d+ ticks were lost: the disk is too slow"):
        writer.close()
    rec = Recording.open(path)
    assert 0 < rec.t_ns.size < 4000
    assert np.array_equal(rec["cmd_state"], rec.t_ns // 10_000_000 % 7)
