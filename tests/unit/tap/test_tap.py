"""What a tap hands out while a simulation runs is what a recording of the same run holds."""

from __future__ import annotations

import numpy as np
import pytest

from bms import Simulation
from bms.tap import Tap


def test_pieces_joined_are_the_recording() -> None:
    run = Simulation("drive", pack="bench_16s1p", seed=3).run(8.0, frames=True, cells_every_s=0.1)
    tap = Tap(Simulation("drive", pack="bench_16s1p", seed=3), ticks=40)
    pieces = [tap.run(seconds) for seconds in (0.05, 3.0, 0.01, 4.94)]
    time_s = np.concatenate([p.time_s for p in pieces])
    assert len(time_s) == 800
    recording = run.recording
    for name in ("true_pack_voltage_v", "meas_pack_current_a", "est_soc_frac", "cmd_state"):
        told = np.concatenate([p.values[name] for p in pieces])
        assert np.allclose(told, recording[name], atol=1e-5, equal_nan=True), name
    cells = np.concatenate([p.cell_values["true_cell_voltage_v"] for p in pieces])
    assert cells.shape == (80, 16)
    frames = np.concatenate([p.frames.id for p in pieces])
    assert np.array_equal(frames, [f.id for f in recording.frames])
    first = recording.frames[0]
    assert bytes(pieces[0].frames.data[0][: pieces[0].frames.length[0]]) == first.data
    events = [e for p in pieces for e in p.events]
    assert [(e.t_ns, e.name) for e in events] == [(e.t_ns, e.name) for e in recording.events]


def test_looking_on_changes_nothing() -> None:
    alone, seen = (Simulation("drive", pack="bench_16s1p", seed=5) for _ in range(2))
    alone.run(5.0, record=False)
    tap = Tap(seen)
    for _ in range(10):
        tap.run(0.5)
    hashes = [int(s.world.parts["loop"]["trace_hash"][0]) for s in (alone, seen)]
    assert hashes[0] == hashes[1]


def test_the_end_of_the_plan_is_told() -> None:
    tap = Tap(Simulation("home_backup", seed=1, settings={}))
    tap.simulation.position.phase = len(tap.simulation.plan.phases) - 1
    tap.simulation.position.phase_start_s = -1e18
    piece = tap.run(1.0)
    assert piece.is_over and len(piece.time_s) == 0


@pytest.mark.parametrize("seconds", [0.0, -1.0])
def test_no_time_is_an_empty_piece(seconds: float) -> None:
    piece = Tap(Simulation("drive", pack="bench_16s1p")).run(seconds)
    assert len(piece.time_s) == 0 and not piece.is_over


def test_extremes_of_thin_vectors_are_kept_at_every_tick() -> None:
    fine = Tap(Simulation("drive", pack="bench_16s1p", seed=3), cells_every_s=0.01)
    thin = Tap(Simulation("drive", pack="bench_16s1p", seed=3), cells_every_s=1.0)
    every, few = fine.run(2.0), thin.run(2.0)
    cells = every.cell_values["true_cell_voltage_v"]
    assert len(few.cell_time_s) == 2 and len(cells) == len(few.time_s) == 200
    assert np.array_equal(few.values["true_cell_voltage_max_v"], cells.max(axis=1))
    assert np.array_equal(few.values["true_cell_voltage_min_v"], cells.min(axis=1))
    assert {e.name for e in thin.extremes} <= set(few.values)
