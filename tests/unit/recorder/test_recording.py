"""Round trips: what the compiled recorder saw is what a reader gets, at the right times."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest

from bms.errors import RecorderError
from bms.recorder import Event, Recording, Signal, Writer


class World:
    """A little memory to record, changed between ticks by a rule that a test can repeat."""

    def __init__(self, cells: int = 5) -> None:
        self.soc, self.state = np.zeros(1), np.zeros(1, np.uint32)
        self.raw_mv, self.cell_v = np.zeros(1, np.int32), np.zeros(cells)
        self.bleed, self.slow = np.zeros(3, np.uint8), np.zeros(1, np.float32)
        self.tick = 0

    def signals(self) -> list[Signal]:
        return [
            Signal("true_soc_frac", "1", "truth", "pack", "charge", self.soc),
            Signal("cmd_state", "1", "command", "pack", "state", self.state),
            Signal("meas_v", "V", "measured", "pack", "scaled", self.raw_mv, 0.001, 0.5),
            Signal("true_cell_voltage_v", "V", "truth", "cells", "cells", self.cell_v),
            Signal("true_balancing", "1", "truth", "cells", "bits", self.bleed),
            Signal("est_slow", "1", "estimated", "slow", "once a second", self.slow),
        ]

    def step(self) -> int:
        """The next tick's values; its time in microseconds."""
        self.tick += 1
        n = self.tick
        self.soc[0], self.state[0], self.raw_mv[0] = 1.0 / n, n % 7, n * 3 - 1000
        self.cell_v[:] = n + np.arange(self.cell_v.size) / 8
        self.bleed[:] = (n % 2, n % 3, n % 5)
        self.slow[0] = -n
        return n * 10_000


def record(path, ticks: int, *, events: tuple[Event, ...] = (), **options) -> Recording:
    world = World()
    with Writer(path, world.signals(), {"seed": 7}, batch_ticks=1000, **options) as writer:
        for _ in range(ticks):
            t_us = world.step()
            full = writer.low_level.tick(t_us)
            for event in events:
                if event.t_ns // 1000 == t_us:
                    writer.event(event.t_ns, event.kind, event.name, event.index, event.value)
            if full:
                writer.drain()
        writer.close({"trips": 0, "not_finite": math.nan})
    return Recording.open(path)


def test_scalars_come_back_exactly_at_every_tick(tmp_path):
    rec = record(tmp_path / "a.arrow", 2345)
    n = np.arange(1, 2346)
    assert np.array_equal(rec["true_soc_frac"], (1.0 / n).astype(np.float32))
    assert rec["cmd_state"].dtype == np.uint32 and np.array_equal(rec["cmd_state"], n % 7)
    assert np.array_equal(rec["meas_v"], ((n * 3 - 1000) * 0.001 + 0.5).astype(np.float32))
    assert np.array_equal(rec.t_ns, n * 10_000_000)
    assert rec.is_complete and rec.lost_bytes == 0


def test_slow_and_cell_signals_are_sampled_once_a_period(tmp_path):
    rec = record(tmp_path / "a.arrow", 2345)
    expected = np.unique(np.concatenate(([1], np.arange(100, 2346, 100))))
    assert np.array_equal(np.rint(rec.time_s("est_slow") * 100), expected)
    assert np.array_equal(rec["est_slow"], -expected)
    assert rec["true_cell_voltage_v"].shape == (expected.size, 5)
    assert np.array_equal(rec["true_cell_voltage_v"][:, 0], expected)
    assert np.array_equal(rec["true_cell_voltage_v"][-1], 2300 + np.arange(5) / 8)
    assert rec["true_balancing"].dtype == np.uint8
    assert np.array_equal(rec["true_balancing"][:, 1], expected % 3)


@pytest.mark.parametrize("at_tick", [1, 250, 1000, 1001, 1150, 2345])
def test_cells_are_kept_at_full_rate_two_seconds_round_an_event(tmp_path, at_tick):
    rec = record(tmp_path / "a.arrow", 2345, events=(Event(at_tick * 10_000_000, "trip", "x"),))
    got = set(np.rint(rec.time_s("true_cell_voltage_v") * 100).astype(int))
    dense = set(range(max(1, at_tick - 200), min(2345, at_tick + 200) + 1))
    sparse = {1, *range(100, 2346, 100)}
    assert got == dense | sparse
    assert [e.t_ns for e in rec.events] == [at_tick * 10_000_000]


def test_an_event_told_one_drain_late_still_gets_its_cells_and_row(tmp_path):
    world = World()
    with Writer(tmp_path / "a.arrow", world.signals(), {}, batch_ticks=1000) as writer:
        for n in range(1, 3001):
            if writer.low_level.tick(world.step()):
                writer.drain()
                if n == 1000:
                    writer.event(9_995_000_000, "state", "late", 3, 2.5, "in words")
    rec = Recording.open(tmp_path / "a.arrow")
    ticks = set(np.rint(rec.time_s("true_cell_voltage_v") * 100).astype(int))
    assert set(range(800, 1201)) <= ticks and 799 not in ticks
    assert rec.events == [Event(9_995_000_000, "state", "late", 3, 2.5, "in words")]
    table = pa.ipc.open_file(tmp_path / "a.arrow").read_all()
    row = next(k for k, v in enumerate(table["events"]) if v.as_py())
    assert table["t_ns"][row].as_py() == 10_000_000_000


def test_every_tick_on_request(tmp_path):
    rec = record(tmp_path / "a.arrow", 1100, cells_every_s=0.01)
    assert rec["true_cell_voltage_v"].shape == (1100, 5)
    assert np.array_equal(rec["true_cell_voltage_v"][:, 0], np.arange(1, 1101))


def test_the_summary_and_the_metadata_come_back(tmp_path):
    rec = record(tmp_path / "a.arrow", 10)
    assert rec.summary == {"trips": 0, "not_finite": None}
    assert rec.meta["seed"] == 7 and rec.meta["format"] == 2
    info = rec.signals["true_cell_voltage_v"]
    assert (info.unit, info.kind, info.count, info.vector) == ("V", "truth", 5, True)
    assert rec.duration_s == pytest.approx(0.09)


def test_a_recording_without_a_tick_still_has_its_summary_and_events(tmp_path):
    with Writer(tmp_path / "a.arrow", World().signals(), {}) as writer:
        writer.event(5, "state", "never started")
        writer.close({"trips": 1})
    rec = Recording.open(tmp_path / "a.arrow")
    assert rec.summary == {"trips": 1} and rec.events[0].name == "never started"
    assert rec["true_soc_frac"].size == 0 and rec["true_cell_voltage_v"].shape == (0, 5)


def test_frames_and_bytes_come_back_in_order_with_their_rows(tmp_path):
    world = World()
    sent = []
    with Writer(tmp_path / "a.arrow", world.signals(), {}, frames=True, uart=True) as writer:
        for n in range(1, 2501):
            for k in range(n % 4):
                data = bytes((n + k + j) % 256 for j in range((n * 7 + k) % 65))
                sent.append((n * 10_000_000 - 5000, k % 2, n % 2, 0x100 + n, k, data))
                writer.low_level.frame(n * 10_000 - 5, k % 2, n % 2, 0x100 + n, k, data)
            writer.low_level.line(n * 10_000 - 3, 1 + 2 * (n % 2), bytes([n % 256, 1, 2]))
            if writer.low_level.tick(world.step()):
                writer.drain()
    rec = Recording.open(tmp_path / "a.arrow")
    assert [tuple(f.__getattribute__(x) for x in f._fields) for f in rec.frames] == sent
    assert rec.frames[len(sent) - 1].data == sent[-1][-1]
    assert len(rec.uart) == 2500 and rec.uart[255].data == bytes([0, 1, 2])
    assert np.array_equal(rec.uart.bus, np.arange(1, 2501) % 2) and (rec.uart.direction == 1).all()
    table = pa.ipc.open_file(tmp_path / "a.arrow").read_all()
    assert [len(row) for row in table["frames"].to_pylist()] == [n % 4 for n in range(1, 2501)]


def test_frames_beyond_the_buffer_are_dropped_and_counted(tmp_path):
    world = World()
    with Writer(tmp_path / "a.arrow", world.signals(), {}, frames=True) as writer:
        room = writer.low_level.frames[0]
        for _ in range(room + 123):
            writer.low_level.frame(1, 0, 0, 1, 0, b"")
        writer.low_level.tick(world.step())
    rec = Recording.open(tmp_path / "a.arrow")
    assert len(rec.frames) == room
    assert [(e.kind, e.name, e.value) for e in rec.events] == [("recorder", "frames_dropped", 123)]


def test_ticks_after_a_full_batch_are_dropped_and_counted(tmp_path):
    world = World()
    with Writer(tmp_path / "a.arrow", world.signals(), {}, batch_ticks=1000) as writer:
        for _ in range(1004):
            writer.low_level.tick(world.step())
    rec = Recording.open(tmp_path / "a.arrow")
    assert rec.t_ns.size == 1000
    assert [(e.name, e.value) for e in rec.events] == [("ticks_dropped", 4.0)]


def test_rows_and_events_survive_many_small_drains(tmp_path, seed):
    rng = np.random.default_rng(seed)
    world, times = World(), []
    with Writer(tmp_path / "a.arrow", world.signals(), {}, batch_ticks=1000) as writer:
        for n in range(1, 3001):
            full = writer.low_level.tick(world.step())
            if rng.random() < 0.01:
                times.append(n * 10_000_000)
                writer.event(times[-1], "state", str(n))
            if full or rng.random() < 0.02:
                writer.drain()
    rec = Recording.open(tmp_path / "a.arrow")
    assert np.array_equal(rec.t_ns, np.arange(1, 3001) * 10_000_000)
    assert [e.t_ns for e in rec.events] == times
    assert np.array_equal(rec["true_soc_frac"], (1 / np.arange(1, 3001)).astype(np.float32))


def test_polars_opens_a_closed_file(tmp_path):
    polars = pytest.importorskip("polars")
    record(
        tmp_path / "a.arrow", 1500, events=(Event(50_000_000, "trip", "x", 4, 1.5),), frames=True
    )
    table = polars.read_ipc(tmp_path / "a.arrow")
    assert table.height == 1500
    assert table["cmd_state"].to_list() == [n % 7 for n in range(1, 1501)]
    assert table["true_cell_voltage_v"].drop_nulls().to_list()[0] == [1 + k / 8 for k in range(5)]
    assert table["events"].explode().drop_nulls().struct.field("index").to_list() == [4]


def test_a_wrong_name_suggests_the_right_one(tmp_path):
    rec = record(tmp_path / "a.arrow", 10)
    with pytest.raises(RecorderError, match="did you mean true_soc_frac"):
        rec["true_soc_frc"]
    assert "true_soc_frac" in rec and "true_soc_frc" not in rec


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "events"}, "taken"), ({"name": "cmd_state"}, "taken"),
        ({"kind": "guess"}, "kind"), ({"rate": "often"}, "rate"),
    ],
)  # fmt: skip
def test_an_impossible_signal_is_refused(tmp_path, change, message):
    fields = {
        "name": "x", "unit": "1", "kind": "truth", "rate": "pack", "text": "",
        "source": np.zeros(1),
    }  # fmt: skip
    with pytest.raises(RecorderError, match=message):
        Writer(tmp_path / "a.arrow", [*World().signals(), Signal(**(fields | change))], {})


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "u8", "i2", "i4", "i8", "f4", "f8"])
@pytest.mark.parametrize("count", [1, 7])
def test_every_type_is_kept_or_scaled(tmp_path, dtype, count):
    """Integers come back as they were; scaled ones and floats as the float32 next to them."""
    live = np.zeros(count, dtype)
    rate = "pack" if count == 1 else "cells"
    signals = [
        Signal("plain", "1", "truth", rate, "", live),
        Signal("scaled", "1", "truth", rate, "", live, 0.25, -3.0),
    ]
    low, high = (np.iinfo(dtype).min, np.iinfo(dtype).max) if dtype[0] in "iu" else (-1e30, 1e30)
    with Writer(tmp_path / "a.arrow", signals, {}, cells_every_s=0.01) as writer:
        for k, value in enumerate((low, 0, 1, high)):
            live[:] = np.asarray(value, dtype)
            writer.low_level.tick(10_000 * (k + 1))
    rec = Recording.open(tmp_path / "a.arrow")
    values = np.array([low, 0, 1, high], dtype)
    kept = dtype if dtype[0] in "iu" else "f4"
    assert rec["plain"].dtype == kept
    assert np.array_equal(rec["plain"].reshape(4, count)[:, -1], values.astype(kept))
    expected = (values.astype(float) * 0.25 - 3.0).astype("f4")
    assert np.array_equal(rec["scaled"].reshape(4, count)[:, 0], expected)
