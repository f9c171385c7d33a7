"""Keeping step: nothing is skipped that can be caught up, and what cannot is counted."""

from __future__ import annotations

import numpy as np
import pytest

from bms import _realtime
from bms.realtime.status import lateness

BURST = 100  # PACE_BURST_STEPS: ten ticks


def run(pace: _realtime.Pace, now_us: int) -> int:
    """All steps that are due at this time."""
    due = pace.due(now_us)
    for _ in range(due):
        pace.step(now_us)
    return due


def test_on_time_there_is_one_step_a_millisecond_and_none_between() -> None:
    pace = _realtime.Pace(5_000)
    assert [run(pace, us) for us in range(5_000, 10_001, 500)] == [0, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1]
    assert int(pace.fields["caught_up"][0]) == int(pace.fields["overruns"][0]) == 0


def test_a_late_host_catches_up_step_by_step() -> None:
    pace = _realtime.Pace(0)
    assert run(pace, 1_000) == 1
    assert run(pace, 98_700) == 97
    assert run(pace, 98_900) == 0
    assert run(pace, 99_000) == 1
    assert int(pace.fields["steps"][0]) == 99
    assert int(pace.fields["caught_up"][0]) == 96
    assert int(pace.fields["overruns"][0]) == 0


@pytest.mark.parametrize("away_ms", [101, 150, 5_000])
def test_more_than_ten_ticks_are_an_overrun_and_the_rest_is_given_up(away_ms: int) -> None:
    pace = _realtime.Pace(0)
    assert run(pace, away_ms * 1000) == BURST
    assert int(pace.fields["overruns"][0]) == 1
    assert int(pace.fields["lost_steps"][0]) == away_ms - BURST
    assert run(pace, away_ms * 1000 + 999) == 0
    assert run(pace, away_ms * 1000 + 1000) == 1


def test_exactly_ten_ticks_are_no_overrun() -> None:
    pace = _realtime.Pace(0)
    assert run(pace, BURST * 1000) == BURST
    assert int(pace.fields["overruns"][0]) == 0


def test_every_lateness_falls_into_the_bin_that_holds_it(seed: int) -> None:
    edges = _realtime.bins_us()
    assert np.all(np.diff(edges.astype(np.int64)) > 0)
    chance = np.random.default_rng(seed)
    for late_us in [0, 1, 31, 32, 33, 63, 64, *chance.integers(0, 3_000_000, 200)]:
        pace = _realtime.Pace(0)
        pace.step(1_000 + int(late_us))
        bin_ = int(np.flatnonzero(pace.fields["late_bin"])[0])
        assert edges[bin_] <= late_us
        assert bin_ == len(edges) - 1 or late_us < edges[bin_ + 1]


def test_only_the_first_step_of_a_tick_is_a_lateness() -> None:
    pace = _realtime.Pace(0)
    for k in range(30):
        pace.step(1_000 + 1_000 * k + 7)
    assert int(pace.fields["ticks"][0]) == 3
    assert lateness(pace.fields)["late_max_us"] == 7


def test_quantiles_are_those_of_the_samples_within_a_bin(seed: int) -> None:
    late_us = np.random.default_rng(seed).gamma(2.0, 40.0, 4000).astype(int)
    pace = _realtime.Pace(0)
    for k, late in enumerate(late_us):
        for step in range(10):
            pace.step(1_000 + 1_000 * (10 * k + step) + int(late))
    told = lateness(pace.fields)
    for name, share in (("p50", 0.5), ("p99", 0.99), ("p999", 0.999)):
        exact = np.quantile(late_us, share, method="inverted_cdf")
        assert exact <= told[f"late_{name}_us"] <= exact * 17 / 16 + 1
    assert told["late_max_us"] == late_us.max()
    assert told["ticks"] == 4000
