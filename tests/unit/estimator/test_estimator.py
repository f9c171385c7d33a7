"""The estimator over arrays: what must hold whatever the readings are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

import bms
from bms import _firmware, cells, packs
from bms.estimator import Estimates, Estimator, params, sensors_of
from bms.firmware import config

CELL = "sulfide_nmc811_77ah"
NAMES = (
    "soc_frac", "soc_std_frac", "temperature_core_degc", "temperature_core_std_k", "r0_ohm",
    "r0_std_ohm", "capacity_ah", "capacity_std_ah",
)  # fmt: skip


def readings(n: int, n_cells: int, number: int = 1) -> dict[str, np.ndarray]:
    """A wandering current and voltages that roughly follow; everything differs between cells."""
    draw = np.random.default_rng(number)
    amps = np.repeat(draw.normal(20.0, 60.0, n // 10 + 1), 10)[:n]
    soc = 0.7 - np.cumsum(amps) / (77.0 * 3600.0)
    volts = 3.3 + 0.75 * soc[:, None] - 0.0012 * amps[:, None] + draw.normal(0, 0.002, (n, n_cells))
    warm = 20.0 + draw.normal(0, 3.0, n_cells) + np.cumsum(draw.normal(0, 0.01, n))[:, None]
    return {
        "time_s": np.arange(n, dtype=float),
        "current_a": amps,
        "voltage_v": volts,
        "temperature_degc": warm,
        "pressure_kpa": 2000.0 + np.cumsum(draw.normal(0, 1.0, n)),
    }


def model(amps: np.ndarray, soc0: float = 0.7) -> dict[str, np.ndarray]:
    """A record at 1 s and 25 degC made from the cell's own OCV and fast resistances."""
    cell = cells.load(CELL)
    soc = soc0 - np.cumsum(amps) / (77.0 * 3600.0)
    made = cell.resistance
    fast_ohm = made.electrolyte_ohm + made.contact_ohm + made.charge_transfer_ohm
    return {
        "time_s": np.arange(len(amps), dtype=float),
        "current_a": amps,
        "voltage_v": np.interp(soc, cell.electric.ocv_soc_frac, cell.electric.ocv_v)
        - fast_ohm * amps,
        "temperature_degc": np.full(len(amps), 25.0),
    }


def same(one: Estimates, other: Estimates, order: np.ndarray | slice = slice(None)) -> None:
    for name in NAMES:
        np.testing.assert_array_equal(
            getattr(one, name)[:, order], getattr(other, name), err_msg=name
        )


def test_a_record_at_once_equals_step_by_step_bit_for_bit() -> None:
    given_ = readings(300, 5)
    whole = Estimator(CELL, 5).run(**given_, soc0=0.6)
    single = Estimator(CELL, 5)
    single.restart(0.6)
    steps = np.diff(given_["time_s"], prepend=0.0)
    for k, dt_s in enumerate(steps):
        now = single.step(
            float(dt_s), given_["current_a"][k], given_["voltage_v"][k],
            given_["temperature_degc"][k], float(given_["pressure_kpa"][k]),
        )  # fmt: skip
        for name in NAMES:
            np.testing.assert_array_equal(getattr(now, name), getattr(whole, name)[k], err_msg=name)


@pytest.mark.parametrize("n_cells", [7, 200, 401])
def test_permuting_cells_permutes_results(n_cells: int) -> None:
    made = readings(60, n_cells)
    order = np.random.default_rng(3).permutation(n_cells)
    plain = Estimator(CELL, n_cells).run(**made)
    for name in ("voltage_v", "temperature_degc"):
        made[name] = made[name][:, order]
    same(plain, Estimator(CELL, n_cells).run(**made), order)


@pytest.mark.parametrize("shift_s", [1.0, -3600.25, 1.6e9])
def test_a_shift_of_time_changes_nothing(shift_s: float) -> None:
    made = readings(200, 3)
    plain = Estimator(CELL, 3).run(**made)
    made["time_s"] = made["time_s"] + shift_s
    same(plain, Estimator(CELL, 3).run(**made))


def test_threads_change_nothing() -> None:
    made = readings(300, 1000)
    one, two = (Estimator(CELL, 1000, threads=k).run(**made) for k in (1, 2))
    same(one, two)


def test_cells_with_equal_currents_of_their_own_are_like_a_string() -> None:
    made = readings(200, 4)
    string = Estimator(CELL, 4).run(**made)
    made["current_a"] = np.repeat(made["current_a"][:, None], 4, axis=1)
    same(string, Estimator(CELL, 4, own_currents=True).run(**made))


def test_the_same_readings_give_the_firmwares_own_estimates() -> None:
    """Parameters and passes of the firmware's bank, driven by hand, against Estimator."""
    cell, n, n_cells = cells.load(CELL), 120, 6
    pack = packs.load("car_96s1p")
    bank = _firmware.EstimatorBank(config.build(cell, pack), n_cells)
    amps = np.repeat(np.random.default_rng(4).normal(10.0, 40.0, n // 10), 10)
    amps[0] = rest = 0.0
    made = model(amps)
    for name in ("voltage_v", "temperature_degc"):
        made[name] = np.repeat(made[name][:, None], n_cells, axis=1)
    ours = Estimator(cell, n_cells, sensors=pack.sensors, spread=pack.spread)
    ours._strings.params["core_share"][:] = 0.0  # resistances at the surface's temperature
    found = ours.run(made["time_s"], made["current_a"], made["voltage_v"], made["temperature_degc"])
    used_uc, before, valid = 0.0, rest, np.full(n_cells, 0xFFFFFFFF, dtype=np.uint32)
    for k in range(n):
        amps, dt_s = float(made["current_a"][k]), 0.0 if k == 0 else 1.0
        surface = made["temperature_degc"][k].astype(np.float32)
        cdegc = (surface * np.float32(100) + np.float32(20000.5)).astype(np.int32) - 20000
        uv = (made["voltage_v"][k] * 1e6 + 0.5).astype(np.int32)
        bank.conditions(cdegc)
        used_uc += 0.5 * (before + amps) * dt_s * 1e6
        if k == 0:
            bank.start(uv)
        bank.step(dt_s, amps, int(used_uc), uv, valid)
        bank.results(int(used_uc))
        # The bank takes results once more at its start: one rounding of the variance.
        np.testing.assert_allclose(found.soc_frac[k], bank.state["soc_frac"], rtol=1e-4)
        np.testing.assert_allclose(found.soc_std_frac[k], bank.state["sigma_frac"], rtol=1e-4)
        before = amps


WILD = st.one_of(
    st.floats(width=64, allow_nan=True, allow_infinity=True),
    st.sampled_from([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e308, -1e308, 5e-324, 3.7, 65.535]),
)


@seed(20261122)
@settings(max_examples=60, deadline=None, print_blob=True)
@given(st.lists(st.tuples(WILD, WILD, WILD, WILD), min_size=1, max_size=25), st.floats(0, 1e6))
def test_nothing_that_is_read_makes_a_result_that_is_not_finite(
    rows: list[tuple[float, float, float, float]], dt_s: float
) -> None:
    made = Estimator(CELL, 2)
    good = (3.8, 25.0)
    for amps, volts, warm, pressure in rows:
        found = made.step(dt_s, amps, [volts, good[0]], [warm, good[1]], pressure)
        for name in NAMES:
            assert np.isfinite(getattr(found, name)).all(), name
        assert ((found.soc_std_frac > 0) & (found.soc_std_frac <= 0.3001)).all()
        assert ((found.soc_frac > -0.05) & (found.soc_frac < 1.05)).all()
        assert_positive(made)
    for k in range(200):  # a channel that never moves would count as stuck
        found = made.step(5.0, 0.0, good[0] + 1e-4 * (k % 2), good[1], 2000.0)
    assert abs(found.soc_frac[0] - found.soc_frac[1]) < 3 * found.soc_std_frac.sum()


def assert_positive(made: Estimator) -> None:
    """Every cell's covariance, stored as its upper triangle and so symmetric, is positive."""
    p11, p12, p13, p22, p23, p33 = np.float64(made.covariance()).T
    whole = np.array([[p11, p12, p13], [p12, p22, p23], [p13, p23, p33]]).transpose(2, 0, 1)
    scale = np.sqrt(np.stack([p11, p22, p33], axis=1))
    assert (scale > 0.0).all()
    correlation = whole / (scale[:, :, None] * scale[:, None, :])
    assert (np.linalg.eigvalsh(correlation) > 0.0).all()


def test_covariance_stays_positive_through_a_long_drive() -> None:
    made = Estimator(CELL, 3)
    drive = readings(5000, 3, 9)
    for k in range(5000):
        amps, volts = drive["current_a"][k], drive["voltage_v"][k]
        made.step(0.1, amps, volts, drive["temperature_degc"][k])
        assert_positive(made)


def test_missing_voltages_widen_the_interval_and_never_stop_the_count() -> None:
    made = readings(4000, 1)
    made["current_a"][:] = 20.0
    made["voltage_v"][100:] = np.nan
    found = Estimator(CELL).run(**made)
    assert (np.diff(found.soc_std_frac[101:]) >= 0).all()
    assert found.soc_std_frac[-1] > found.soc_std_frac[101] + 0.002
    moved = found.soc_frac[101] - found.soc_frac[-1]
    assert moved == pytest.approx(20.0 * (3999 - 101) / (77.0 * 3600.0), abs=2e-4)


@pytest.mark.parametrize("missing", ["current_a", "temperature_degc"])
def test_other_missing_readings_widen_the_interval(missing: str) -> None:
    made = model(np.full(2000, 5.0))
    whole = Estimator(CELL).run(**made)
    made[missing][500:] = np.nan
    holed = Estimator(CELL).run(**made)
    assert holed.soc_std_frac[-1] > 1.3 * whole.soc_std_frac[-1]


def test_a_stuck_channel_is_not_believed() -> None:
    drive = readings(1500, 2)
    drive["voltage_v"][:, 1] = drive["voltage_v"][:, 0]
    drive["voltage_v"][100:, 1] = drive["voltage_v"][100, 1]
    found = Estimator(CELL, 2).run(**drive)
    assert abs(found.soc_frac[-1, 1] - found.soc_frac[-1, 0]) < 0.03
    assert found.soc_std_frac[-1, 1] > found.soc_std_frac[-1, 0]


def test_a_flat_ocv_gives_no_false_confidence() -> None:
    cell = cells.load("composite_lfp_100ah")
    volts = float(np.interp(0.55, cell.electric.ocv_soc_frac, cell.electric.ocv_v))
    n = 4 * 3600
    found = Estimator(cell).run(np.arange(n), np.zeros(n), np.full(n, volts), np.full(n, 25.0))
    assert 3.0 * found.soc_std_frac[-1] > 0.10
    assert abs(found.soc_frac[-1] - 0.55) < 3.0 * found.soc_std_frac[-1]


@pytest.mark.parametrize("wrong", [-0.3, -0.2, 0.2, 0.3])
def test_a_wrong_start_is_corrected_within_ten_minutes(wrong: float) -> None:
    """50 A out and 45 A in, by turns."""
    amps = np.where(np.arange(900) // 20 % 2 == 0, 50.0, -45.0)
    soc = 0.6 - np.cumsum(amps) / (77.0 * 3600.0)
    found = Estimator(CELL).run(**model(amps, 0.6), soc0=0.6 + wrong)
    assert abs(found.soc_frac[600:] - soc[600:]).max() < 0.02
    assert (abs(found.soc_frac - soc) < 3.0 * found.soc_std_frac)[5:].mean() >= 0.99


def test_shapes_that_do_not_fit_are_named() -> None:
    made = Estimator(CELL, 3)
    with pytest.raises(ValueError, match=r"voltage_v: expected shape \(4, 3\), got \(4, 2\)"):
        made.run(np.arange(4), np.zeros(4), np.zeros((4, 2)), np.zeros(4))
    with pytest.raises(ValueError, match="time_s"):
        made.run([0, 1, 0.5, 2], np.zeros(4), np.zeros((4, 3)), np.zeros(4))
    with pytest.raises(ValueError, match="dt_s"):
        made.step(-1.0, 0.0, 3.7, 25.0)


def test_sensors_are_named_and_checked() -> None:
    cell = cells.load(CELL)
    assert sensors_of(cell, cell_voltage_noise_v=0.01).cell_voltage_noise_v == 0.01
    with pytest.raises(bms.BmsError, match="voltage_typo"):
        sensors_of(cell, voltage_typo=1.0)
    assert pytest.approx(0.1, abs=0.01) == params.CURRENT_OFFSET_PER_AH * 77.0


def test_a_gap_that_may_hide_a_load_opens_the_interval() -> None:
    made = model(np.zeros(400))
    made["time_s"] = made["time_s"] + np.where(np.arange(400) >= 200, 3600.0, 0.0)
    made["voltage_v"][200:] -= 0.05  # a load was there
    found = Estimator(CELL).run(**made)
    assert found.soc_std_frac[200] > found.soc_std_frac[199] + 0.05
    assert found.soc_frac[-1] < found.soc_frac[199] - 0.02


def test_capacity_is_learnt_between_two_rests() -> None:
    """A cell with 10 % less than it should have, from full to empty with a rest at both ends."""
    amps = np.concatenate([np.zeros(1500), np.full(2800, 77.0), np.zeros(1500), np.full(9, 20.0)])
    soc = 0.95 - np.cumsum(amps) / (0.9 * 77.0 * 3600.0)
    made = model(amps)
    electric = cells.load(CELL).electric
    rest_v = np.interp(soc, electric.ocv_soc_frac, electric.ocv_v)
    made["voltage_v"] = rest_v - 0.0009 * amps - 2e-4 * (np.arange(len(amps)) % 2)
    found = Estimator(CELL).run(**made)
    assert found.capacity_ah[0] == pytest.approx(77.0)
    assert found.capacity_ah[-1] == pytest.approx(0.9 * 77.0, rel=0.02)
    assert abs(found.capacity_ah[-1] - 0.9 * 77.0) < 3.0 * found.capacity_std_ah[-1]


def test_resistance_of_an_aged_cell_is_found_and_its_deviation_holds() -> None:
    amps = np.where(np.arange(3000) // 20 % 2 == 0, 50.0, -45.0)
    made = model(amps)
    made["voltage_v"] = made["voltage_v"] - 0.3e-3 * amps
    plain, aged = Estimator(CELL).run(**model(amps)), Estimator(CELL).run(**made)
    more = aged.r0_ohm[-1] - plain.r0_ohm[-1]
    assert 0.15e-3 < more < 0.4e-3
    assert aged.r0_std_ohm[-1] < 0.1 * aged.r0_ohm[-1]
