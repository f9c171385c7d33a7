"""Sentences about recordings: what they find, and what they say when it does not hold."""

from __future__ import annotations

import numpy as np
import pytest
from bms_hil.traces import Recording, Trace
from bms_hil.verdicts import Log, NotMeasurable, VerdictError

from bms.recorder import Event

TIME_S = np.arange(0.0, 10.0, 0.01)


def trace(values: np.ndarray, unit: str = "V") -> Trace:
    return Trace("meas_x_v", unit, TIME_S, np.asarray(values, float), Log())


def recording(*events: Event, resolution_s: float = 0.001) -> Recording:
    return Recording(lambda name: None, events, ("meas_known_v",), resolution_s, Log())


def happened(time_s: float, kind: str, name: str, text: str = "") -> Event:
    return Event(round(time_s * 1e9), kind, name, -1, float("nan"), text)


def test_a_limit_that_is_kept_tells_measured_value_and_margin() -> None:
    verdict = trace(np.sin(TIME_S)).stays_below(1.5)
    assert verdict.passed
    assert verdict.measured == pytest.approx(1.0, abs=1e-4)
    assert verdict.margin == pytest.approx(0.5, abs=1e-4)
    assert verdict.at_s == pytest.approx(np.pi / 2, abs=0.01)


def test_a_single_spike_breaks_a_limit_and_is_named_with_its_time() -> None:
    values = np.zeros(TIME_S.size)
    values[321] = 4.4
    with pytest.raises(VerdictError, match=r"measured 4\.4 V at 3\.210 s, limit 4\.3 V"):
        trace(values).stays_below(4.3)


def test_a_signal_that_is_never_known_keeps_no_limit() -> None:
    with pytest.raises(VerdictError, match="measured nothing"):
        trace(np.full(TIME_S.size, np.nan)).stays_above(0.0)


def test_nothing_recorded_keeps_no_limit() -> None:
    with pytest.raises(VerdictError):
        trace(np.zeros(TIME_S.size)).after(99.0).stays_below(1.0)


def test_settling_counts_from_the_last_time_outside() -> None:
    values = np.where(TIME_S < 4.0, 1.0, 0.0)
    values[600] = 1.0  # once more, at 6 s
    verdict = trace(values).settles_to(0.0, tolerance=0.1, within_s=7.0)
    assert verdict.measured == pytest.approx(6.01)
    with pytest.raises(VerdictError):
        trace(values).settles_to(0.0, tolerance=0.1, within_s=5.0)


def test_a_value_still_outside_at_the_end_never_settles() -> None:
    with pytest.raises(VerdictError, match="measured nothing"):
        trace(TIME_S).settles_to(0.0, tolerance=0.1, within_s=100.0)


@pytest.mark.parametrize(("sign", "limit"), [(1.0, 5.0), (-1.0, -5.0)])
def test_reaching_works_from_either_side(sign: float, limit: float) -> None:
    verdict = trace(sign * TIME_S).reaches(limit, within_s=6.0)
    assert verdict.measured == pytest.approx(5.0)
    with pytest.raises(VerdictError):
        trace(sign * TIME_S).reaches(limit, within_s=4.0)


def test_two_signals_are_compared_at_the_times_of_the_first() -> None:
    log = Log()
    slow = Trace("true_x_v", "V", TIME_S[::10], TIME_S[::10].copy(), log)
    fast = Trace("meas_x_v", "V", TIME_S, TIME_S.copy(), log)
    assert fast.stays_near(slow, 0.095).measured == pytest.approx(0.09)
    with pytest.raises(VerdictError):
        fast.stays_near(slow, 0.05)


def test_a_reaction_is_timed_from_the_cause_and_earlier_ones_do_not_count() -> None:
    rec = recording(
        happened(1.0, "diagnosis", "interlock_open", "trip raised"),
        happened(5.12, "diagnosis", "interlock_open", "trip raised"),
    )
    verdict = rec.diagnosis("interlock_open").reacts_within(ms=150, since=5.0)
    assert verdict.measured == pytest.approx(120.0)
    with pytest.raises(VerdictError, match="measured 120 ms"):
        rec.diagnosis("interlock_open").reacts_within(ms=100, since=5.0)
    with pytest.raises(VerdictError, match="measured nothing"):
        rec.diagnosis("interlock_open").reacts_within(ms=100, since=6.0)


def test_a_warning_is_no_trip() -> None:
    rec = recording(happened(1.0, "diagnosis", "supply_low", "warn raised"))
    rec.trips.never()
    rec.diagnosis("supply_low", "warn").ever()
    with pytest.raises(VerdictError):
        rec.diagnosis("supply_low").ever()


def test_only_main_contactors_count_as_opening() -> None:
    rec = recording(happened(1.0, "contactor", "precharge opened"))
    rec.opens.never()
    rec = recording(happened(1.0, "contactor", "main plus opened, main minus opened"))
    with pytest.raises(VerdictError):
        rec.opens.never()


def test_a_verdict_finer_than_the_rig_is_refused() -> None:
    rec = recording(happened(1.0, "reset", "ecu reset"), resolution_s=0.02)
    with pytest.raises(NotMeasurable, match="within 5 ms: this rig tells times to 20 ms"):
        rec.resets.reacts_within(ms=5, since=1.0)


def test_a_name_that_is_no_signal_suggests_others() -> None:
    with pytest.raises(KeyError, match="meas_known_v"):
        recording().signal("meas_knwon_v")


def test_a_signal_the_device_does_not_tell_is_a_failed_verdict() -> None:
    with pytest.raises(VerdictError, match="the device tells meas_known_v: does not hold"):
        recording().signal("meas_known_v")


def test_the_tightest_verdict_is_the_one_told() -> None:
    log = Log()
    one = Trace("a", "V", TIME_S, np.full(TIME_S.size, 0.4), log)
    one.stays_below(100.0)
    one.stays_below(0.5)
    one.stays_below(10.0)
    assert log.tightest is not None and log.tightest.limit == 0.5
