"""What is folded for a page keeps every extreme, every gap and every change of a state."""

from __future__ import annotations

import numpy as np
import pytest
import synthetic

from bms.report import fold
from bms.report.fold import Wish
from bms.report.thinned import Thinned
from bms.report.view import View


def folded(t: np.ndarray, y: np.ndarray, changes: bool = False) -> fold.Line:
    """One line of samples that come in pieces."""
    made = fold._Fold(float(t[-1]), changes)
    for at in range(0, t.size, 777):
        made.add(t[at : at + 777], y[at : at + 777])
    line = made.line()
    assert line is not None
    return line


def test_every_extreme_is_kept(seed):
    rng = np.random.default_rng(seed)
    t, y = np.arange(100_000.0), rng.normal(size=100_000)
    y[rng.integers(0, y.size, 3)] = [50.0, -50.0, np.nan]
    line = folded(t, y)
    assert line.is_folded and line.t.size == 2 * fold.COLUMNS
    assert np.nanmax(line.y) == np.nanmax(y) and np.nanmin(line.y) == np.nanmin(y)
    column = (t / t[-1] * fold.COLUMNS).astype(int).clip(0, fold.COLUMNS - 1)
    for k in rng.integers(0, fold.COLUMNS, 50):
        inside = y[column == k]
        assert (line.low.y[k], line.high.y[k]) == (np.nanmin(inside), np.nanmax(inside))
    assert set(line.some_y[np.isfinite(line.some_y)]) <= set(y)


def test_a_gap_stays_a_gap():
    t, y = np.arange(100_000.0), np.ones(100_000)
    y[30_000:40_000] = np.nan
    line = folded(t, y)
    assert np.isnan(line.y[(line.t > 30_100) & (line.t < 39_900)]).all()
    assert (line.y[(line.t < 29_900) | (line.t > 40_100)] == 1).all()


def test_a_short_signal_is_not_touched():
    t, y = np.arange(4000.0), np.arange(4000.0) % 7
    line = folded(t, y)
    assert not line.is_folded and np.array_equal(line.y, y) and line.low is line


def test_a_state_keeps_every_change_and_nothing_else():
    t, y = np.arange(50_000.0), np.zeros(50_000, np.uint32)
    y[12_345:12_346], y[40_000:] = 3, 5
    line = folded(t, y, changes=True)
    assert line.holds and line.t.tolist() == [0, 12_345, 12_346, 40_000, 49_999]
    assert line.y.tolist() == [0, 3, 0, 5, 5]


def test_nothing_finite_is_no_line():
    made = fold._Fold(10.0, False)
    made.add(np.arange(9000.0), np.full(9000, np.nan))
    assert made.line() is None and fold._Fold(1.0, False).line() is None


def test_what_is_made_of_signals_is_made_of_their_samples(tmp_path):
    rec = synthetic.record(tmp_path / "a.arrow", seconds=90)
    view = View(rec, ("power_w", "true_cell_voltage_v:spread"))
    watts = rec["true_pack_current_a"].astype(float) * rec["true_pack_voltage_v"]
    assert view.line("power_w").high.y.max() == watts.max()
    cells = rec["true_cell_voltage_v"]
    assert np.isclose(
        view.line("true_cell_voltage_v:spread").high.y.max(), np.ptp(cells, axis=1).max()
    )
    apart = fold.fold(
        rec, {"x": Wish(("true_soc_frac", "true_coolant_degc"), lambda a, b: a + b)}, 90.0
    )["x"]
    assert apart.t.size == rec["true_coolant_degc"].size
    assert view.line("no_such_signal") is None


@pytest.mark.parametrize("most", [10**6, 500])
def test_findings_read_whole_signals_or_every_so_manieth_sample(tmp_path, monkeypatch, most):
    from bms.report import thinned

    monkeypatch.setattr(thinned, "TICKS_MAX", most)
    rec = synthetic.record(tmp_path / "a.arrow", seconds=30)
    some = Thinned(rec)
    every = 1 + rec.t_ns.size // most
    for name in ("true_soc_frac", "cmd_state"):
        assert np.array_equal(some[name], rec[name][::every])
        assert np.allclose(some.time_s(name), rec.time_s(name)[::every])
    cells = rec["true_cell_voltage_v"]
    step = 1 + cells.shape[0] // min(most, thinned.VALUES_MAX // cells.shape[1])
    assert np.array_equal(some["true_cell_voltage_v"], cells[::step])
    monkeypatch.setattr(thinned, "VALUES_MAX", 10 * cells.shape[1])
    some = Thinned(rec)
    together = [some.time_s(n) for n in ("true_cell_voltage_v", "true_module_pressure_kpa")]
    assert np.array_equal(*together) and 5 < len(together[0]) <= 10
    assert some.events == rec.events
