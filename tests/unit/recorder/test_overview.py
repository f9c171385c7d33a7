"""Pictures of long recordings: envelopes that hold every sample, ranges that read little."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import polars
import pytest

from bms.recorder import Recording, Signal, Writer, repair
from bms.recorder.container import Raster
from bms.recorder.file import RecordingFile
from bms.recorder.tail import tail_of

TICKS = 130_000


@pytest.fixture(scope="module")
def long(tmp_path_factory) -> Path:
    """Noise with spikes; a vector; a sparse signal; one that is unknown for a while."""
    path = tmp_path_factory.mktemp("long") / "run.arrow"
    rng = np.random.default_rng(7)
    live = np.zeros(6)
    signals = [
        Signal("noise", "V", "measured", "pack", "", live[0:1], raster=Raster(0.001, 2.0)),
        Signal("count", "1", "command", "pack", "", np.zeros(1, np.uint64)),
        Signal("cells", "V", "measured", "cells", "", live[1:4], raster=Raster(0.0005)),
        Signal("slow", "1", "truth", "slow", "", live[4:5]),
        Signal("gone", "A", "measured", "pack", "", live[5:6], raster=Raster(0.1, 0.0, "i4")),
    ]
    values = rng.normal(0, 0.05, (TICKS, 6)).cumsum(axis=0)
    values[rng.integers(0, TICKS, 40), 0] += 20
    values[50_000:60_000, 5] = np.nan
    with Writer(path, signals, {}) as writer:
        for n in range(TICKS):
            live[:] = values[n]
            signals[1].source[0] = 2**40 + n
            if writer.low_level.tick(10_000 * (n + 1)):
                writer.drain()
    return path


NAMES = ("noise", "count", "cells", "slow", "gone")


def assert_holds(rec: Recording, name: str, t0_s: float, t1_s: float, n: int) -> None:
    """Each bin is the least and most of its samples, or a little more."""
    found = rec.overview(name, t0_s, t1_s, n)
    assert 0 < len(found.time_s) <= n
    time_s, values = rec.read([name], t0_s, t1_s)[name]
    low = values.reshape(len(values), -1).min(axis=1) if len(values) else values
    high = values.reshape(len(values), -1).max(axis=1) if len(values) else values
    width = (t1_s - t0_s + 1e-9) / len(found.time_s)
    place = np.clip(np.searchsorted(found.time_s, time_s + 1e-10, "right") - 1, 0, None)
    known = ~np.isnan(low.astype(float))
    assert (found.low[place[known]].astype(float) <= low[known]).all()
    assert (found.high[place[known]].astype(float) >= high[known]).all()
    if known.any():
        assert np.nanmin(found.low) >= np.float32(rec[name][~np.isnan(rec[name])].min()) - 1e5 * (
            name == "count"
        )
        assert np.allclose(np.diff(found.time_s), width, rtol=1e-3)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("t0_s", "t1_s", "n"),
    [
        (0, 1300, 1000),
        (0, 1300, 10),
        (0, 1300, 1),
        (100, 900, 300),
        (17.3, 18.9, 50),
        (3, 150, 2000),
    ],
)
def test_an_overview_holds_every_sample(long, name, t0_s, t1_s, n):
    with Recording.open(long) as rec:
        assert_holds(rec, name, t0_s, t1_s, n)


def test_an_overview_keeps_single_spikes(long):
    with Recording.open(long) as rec:
        found, values = rec.overview("noise", 0, 1300, 100), rec["noise"]
        assert np.nanmax(found.high) == values.max() and np.nanmin(found.low) == values.min()


def test_the_overview_after_a_repair_is_the_one_of_the_writer(long, tmp_path):
    data, cut = long.read_bytes(), tmp_path / "cut.arrow"
    with Recording.open(long) as whole:
        end = whole.layout.end
        cut.write_bytes(data[: end + 7])
        with Recording.open(cut) as before:
            assert not before.is_complete
            for name in NAMES:
                one, other = whole.overview(name, 0, 1300, 500), before.overview(name, 0, 1300, 500)
                assert np.array_equal(one.low, other.low, equal_nan=True)
        repair(cut)
        with Recording.open(cut) as after:
            assert after.layout.directory is not None
            assert after.layout.directory.levels == whole.layout.directory.levels
            for name in NAMES:
                one, other = whole.overview(name, 0, 1300, 500), after.overview(name, 0, 1300, 500)
                assert np.array_equal(one.high, other.high, equal_nan=True)
    assert cut.read_bytes() == data


def test_a_damaged_page_costs_only_its_bins(long, tmp_path):
    data, path = bytearray(long.read_bytes()), tmp_path / "bad.arrow"
    with Recording.open(long) as rec:
        start, bins = rec.layout.directory.levels[0]["pages"][0]
    data[start + 16 * bins + 5] ^= 1
    path.write_bytes(data)
    with Recording.open(path) as rec:
        found = rec.overview("noise", 0, 1300, 200)
        assert np.isnan(found.low[: len(found.low) // 2]).all() and not np.isnan(found.low).all()
        assert not np.isnan(rec.overview("count", 0, 1300, 200).low).any()


def test_a_range_gives_what_the_whole_has_there(long):
    with Recording.open(long) as rec:
        for t0_s, t1_s in [(0, 2000), (10, 10), (10.004, 10.006), (700.5, 1100), (5000, 6000)]:
            for name, (time_s, values) in rec.read(NAMES, t0_s, t1_s).items():
                inside = (rec.time_s(name) >= t0_s - 1e-9) & (rec.time_s(name) <= t1_s + 1e-9)
                assert np.array_equal(time_s, rec.time_s(name)[inside])
                assert np.array_equal(values, rec[name][inside], equal_nan=True)
        assert rec.span_s == (0.01, TICKS * 0.01)


def test_a_range_reads_only_its_batches(long):
    with Recording.open(long) as rec:
        read = []
        message = rec._message
        rec._message = lambda k: (read.append(k), message(k))[1]
        rec.read(["noise"], 700, 701)
        assert len(read) <= 2 < rec.batch_count


def test_numbers_on_a_raster_are_plain_integers_to_other_readers(long):
    table = polars.read_ipc(long, columns=["noise", "gone"])
    assert table.dtypes == [polars.Int16, polars.Int32]
    with Recording.open(long) as rec:
        about = rec.schema.field("noise").metadata
        made = table["noise"].to_numpy() * float(about[b"scale"]) + float(about[b"offset"])
        assert np.array_equal(made.astype("f4"), rec["noise"])
        assert about[b"unit"] == b"V" and about[b"kind"] == b"measured"
        gone = table["gone"].to_numpy()
        missing = int(rec.schema.field("gone").metadata[b"missing"])
        assert np.array_equal(np.isnan(rec["gone"]), gone == missing)
        assert np.isnan(rec["gone"][50_000:60_000]).all()


def test_values_beyond_their_raster_are_held_at_its_end(tmp_path):
    live = np.zeros(1)
    signal = Signal("x", "V", "measured", "pack", "", live, raster=Raster(0.5, 1.0))
    given = [-1e9, -16382.5, 0.0, 0.74, 0.76, 16384.5, 1e9, np.inf, np.nan]
    with Writer(tmp_path / "a.arrow", [signal], {}) as writer:
        for k, value in enumerate(given):
            live[0] = value
            writer.low_level.tick(10_000 * (k + 1))
    held = [-16382.5, -16382.5, 0.0, 0.5, 1.0, 16384.5, 16384.5, 16384.5, np.nan]
    assert np.array_equal(Recording.open(tmp_path / "a.arrow")["x"], held, equal_nan=True)


@pytest.mark.slow("writes a recording of 200 000 s")
def test_a_recording_of_two_days_opens_at_once(tmp_path):
    """20 million ticks. The figure is in `bms bench recorder`; here it is only far from reading
    everything."""
    path, live = tmp_path / "days.arrow", np.zeros(1)
    signal = Signal("x", "V", "measured", "pack", "", live, raster=Raster(0.001))
    with Writer(path, [signal], {}, batch_ticks=20_000) as writer:
        t_us = 0
        while t_us < 200_000_000_000:
            live[0] = t_us % 30_000_000_000 * 1e-9
            t_us = writer.low_level.ticks_until_full(t_us + 10_000)
            writer.drain()
    with Recording.open(path) as rec:
        read = []
        message = rec._message
        rec._message = lambda k: (read.append(k), message(k))[1]
        found = rec.overview("x", 0, 200_000, 2000)
        assert len(found.time_s) == 2000 and not np.isnan(found.low).any() and not read
        began = time.process_time()
        rec.overview("x", 50_000, 150_000, 2000)
        assert time.process_time() - began < 5.0
        assert len(rec.overview("x", 1000, 1100, 500).time_s) == 500 and len(read) <= 3


def test_repair_that_cannot_write_leaves_the_batches(long, tmp_path, monkeypatch):
    cut = tmp_path / "cut.arrow"
    with Recording.open(long) as whole:
        cut.write_bytes(long.read_bytes()[: whole.layout.end])

    def full(self, overview):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(RecordingFile, "_finish", full)
    with pytest.raises(Exception, match=r"cannot repair: .*No space left"):
        repair(cut)
    monkeypatch.undo()
    assert not tail_of(cut).exists()
    assert Recording.open(cut).t_ns.size == TICKS
