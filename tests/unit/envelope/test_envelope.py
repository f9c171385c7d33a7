"""Curves as pixels: nothing that a screen can show is left out, and nothing is drawn elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

from bms import envelope

RED = 0xFFFF0000


def picture(height: int = 100, width: int = 200) -> np.ndarray:
    return np.zeros((height, width), np.uint32)


def rows_of(pixels: np.ndarray, column: int) -> np.ndarray:
    return np.flatnonzero(pixels[:, column])


def test_a_spike_of_one_sample_is_seen_at_any_zoom() -> None:
    t = np.linspace(0.0, 1.0, 100_000)
    y = np.zeros(100_000, np.float32)
    y[54_321] = 9.0
    pixels = picture()
    envelope.curve(pixels, (0.0, 1.0, -10.0, 10.0), t, y, RED)
    column = int(0.54321 * 200)
    assert rows_of(pixels, column).min() <= 5
    assert rows_of(pixels, column - 2).min() >= 48


def test_each_column_covers_its_samples_and_not_much_more(seed: int) -> None:
    draw = np.random.default_rng(seed)
    t = np.sort(draw.uniform(0.0, 1.0, 5000))
    y = draw.normal(0.0, 1.0, 5000).astype(np.float32)
    pixels = picture(400, 50)
    envelope.curve(pixels, (0.0, 1.0, -5.0, 5.0), t, y, RED)
    for column in range(50):
        inside = (t >= column / 50) & (t < (column + 1) / 50)
        top, bottom = (5.0 - y[inside].max()) * 40, (5.0 - y[inside].min()) * 40
        drawn = rows_of(pixels, column)
        assert drawn.min() <= top + 1 and drawn.max() >= bottom - 1
        # lines to the neighbours may add to it, but never past their own samples
        near = (t >= (column - 1) / 50) & (t < (column + 2) / 50)
        assert drawn.min() >= (5.0 - y[near].max()) * 40 - 2
        assert drawn.max() <= (5.0 - y[near].min()) * 40 + 2


def test_few_samples_are_joined_by_lines() -> None:
    pixels = picture()
    t, y = np.array([0.0, 1.0]), np.array([0.0, 1.0], np.float32)
    envelope.curve(pixels, (0.0, 1.0, 0.0, 1.0), t, y, RED)
    middles = [rows_of(pixels, column).mean() for column in range(10, 190, 10)]
    assert np.allclose(middles, [100 - (c + 0.5) / 2 for c in range(10, 190, 10)], atol=1.0)


def test_steps_hold_until_the_next_sample() -> None:
    pixels = picture()
    t, y = np.array([0.0, 0.5, 1.0]), np.array([0.25, 0.75, 0.75], np.float32)
    envelope.curve(pixels, (0.0, 1.0, 0.0, 1.0), t, y, RED, steps=True)
    assert set(rows_of(pixels, 50)) <= {74, 75} and set(rows_of(pixels, 150)) <= {24, 25}
    assert len(rows_of(pixels, 100)) >= 50


def test_a_gap_stays_a_gap() -> None:
    pixels = picture()
    t = np.linspace(0.0, 1.0, 201)
    y = np.full(201, 0.5, np.float32)
    y[80:120] = np.nan
    envelope.curve(pixels, (0.0, 1.0, 0.0, 1.0), t, y, RED)
    assert not pixels[:, 82:118].any() and pixels[:, 70].any() and pixels[:, 130].any()


def test_what_lies_outside_is_not_drawn_and_lines_from_outside_are() -> None:
    pixels = picture()
    t, y = np.array([-1.0, 2.0]), np.array([-1.0, 2.0], np.float32)
    envelope.curve(pixels, (0.0, 1.0, 0.0, 1.0), t, y, RED)
    assert abs(rows_of(pixels, 100).mean() - 49.5) < 1.5
    pixels[:] = 0
    envelope.curve(pixels, (0.0, 1.0, 5.0, 6.0), t, y, RED)
    assert not pixels.any()


def test_part_of_a_picture_can_be_drawn_and_the_rest_stays() -> None:
    t, y = np.linspace(0.0, 1.0, 1000), np.linspace(0.0, 1.0, 1000).astype(np.float32)
    whole, parts = picture(), picture()
    envelope.curve(whole, (0.0, 1.0, 0.0, 1.0), t, y, RED)
    envelope.curve(parts[:, :120], (0.0, 0.6, 0.0, 1.0), t, y, RED)
    assert not parts[:, 120:].any()
    envelope.curve(parts[:, 120:], (0.6, 1.0, 0.0, 1.0), t, y, RED)
    assert np.array_equal(whole != 0, parts != 0)


def test_many_curves_at_once_are_the_same_as_one_by_one(seed: int) -> None:
    draw = np.random.default_rng(seed)
    t = np.linspace(0.0, 10.0, 3000)
    y = np.ascontiguousarray(draw.normal(0.0, 1.0, (3000, 7)), np.float32)
    colours = draw.integers(0xFF000000, 0xFFFFFFFF, 7, dtype=np.uint32)
    together, single = picture(), picture()
    envelope.curves(together, (0.0, 10.0, -3.0, 3.0), t, y, colours, 1.5)
    for k in range(7):
        envelope.curve(single, (0.0, 10.0, -3.0, 3.0), t, y[:, k], int(colours[k]), 1.5)
    assert np.array_equal(together, single)


def test_a_band_fills_between_its_edges() -> None:
    pixels = picture()
    t = np.linspace(0.0, 1.0, 50)
    low, high = np.full(50, 0.25, np.float32), np.full(50, 0.75, np.float32)
    envelope.band(pixels, (0.0, 1.0, 0.0, 1.0), t, low, high, 0x40FF0000)
    assert np.array_equal(rows_of(pixels, 100), np.arange(25, 75))
    alpha = pixels[50, 100] >> 24
    assert 0x38 <= alpha <= 0x48


def test_bounds_are_those_of_the_visible_samples(seed: int) -> None:
    draw = np.random.default_rng(seed)
    t = np.sort(draw.uniform(0.0, 1.0, 500))
    y = draw.normal(0.0, 1.0, 500).astype(np.float32)
    y[::7] = np.nan
    inside = (t >= 0.2) & (t < 0.7)
    low, high = envelope.bounds(t, y, 0.2, 0.7) or (0.0, 0.0)
    assert (low, high) == (np.nanmin(y[inside]), np.nanmax(y[inside]))
    assert envelope.bounds(t, y, 2.0, 3.0) is None
    assert envelope.bounds(t, np.full(500, np.nan, np.float32), 0.0, 1.0) is None
    assert envelope.find(t, 0.5) == np.searchsorted(t, 0.5)


@pytest.mark.parametrize(
    "window", [(0.0, 0.0, 0.0, 1.0), (0.0, 1.0, 2.0, 1.0), (1.0, 0.0, 0.0, 1.0)]
)
def test_an_impossible_window_draws_nothing(window: tuple[float, float, float, float]) -> None:
    pixels = picture()
    t = np.linspace(0.0, 1.0, 10)
    envelope.curve(pixels, window, t, t.astype(np.float32), RED)
    assert not pixels.any()


def test_wild_values_and_windows_stay_inside_the_picture(seed: int) -> None:
    draw = np.random.default_rng(seed)
    guard = np.zeros((60, 80), np.uint32)
    inner = guard[10:50, 10:70]
    for _ in range(300):
        t = np.sort(draw.normal(0.0, 10.0 ** draw.integers(-3, 12), 40))
        y = (draw.normal(0.0, 1.0, 40) * 10.0 ** draw.integers(-30, 38)).astype(np.float32)
        y[draw.integers(0, 40, 5)] = draw.choice([np.nan, np.inf, -np.inf, 0.0])
        a, b = np.sort(draw.normal(0.0, 10.0 ** draw.integers(-3, 12), 2))
        c, d = np.sort(draw.normal(0.0, 10.0 ** draw.integers(-30, 38), 2))
        envelope.curve(inner, (a, b, c, d), t, y, RED, 2.0, 3, bool(draw.integers(2)))
        envelope.band(inner, (a, b, c, d), t, y, y[::-1].copy(), 0x80FFFFFF)
    guard[10:50, 10:70] = 0
    assert not guard.any()


def test_arrays_that_do_not_fit_are_refused() -> None:
    t, y = np.zeros(3), np.zeros(4, np.float32)
    with pytest.raises(ValueError, match="3 times and 4 values"):
        envelope.curve(picture(), (0.0, 1.0, 0.0, 1.0), t, y, RED)
    with pytest.raises(ValueError, match="pixels"):
        envelope.curve(picture(10, 9000), (0.0, 1.0, 0.0, 1.0), t, t.astype(np.float32), RED)
