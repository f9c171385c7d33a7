"""The estimator alone, against a slow and obvious cell model in float64."""

from __future__ import annotations

import numpy as np
import pytest

import bms.cells
import bms.packs
from bms import _firmware
from bms.firmware import config

ALL = 0xFFFFFFFF


class Cells:
    """n cells of one kind with errors of their own: equations as in estimator.h, in plain NumPy."""

    def __init__(self, pack: str, n: int, soc: float, rng: np.random.Generator) -> None:
        self.pack = bms.packs.load(pack)
        self.cell = bms.cells.load(self.pack.cell)
        self.config = config.build(self.cell, self.pack)
        parallel = self.pack.topology.parallel
        r, e = self.cell.resistance, self.cell.electric
        self.n, self.soc = n, soc + rng.normal(0.0, 0.004, n)
        self.capacity_as = e.capacity_ah * 3600.0 * parallel * (1.0 + rng.normal(0.0, 0.007, n))
        spread = (1.0 + rng.normal(0.0, 0.04, n)) / parallel
        self.r0 = (r.electrolyte_ohm + r.contact_ohm) * spread
        self.r1, self.r2 = r.charge_transfer_ohm * spread, r.diffusion_ohm * spread
        self.tau1, self.tau2 = r.charge_transfer_tau_s, r.diffusion_tau_s
        self.v1, self.v2, self.h = np.zeros(n), np.zeros(n), np.zeros(n)
        self.offset = rng.normal(0.0, 0.001, n)
        self.current_error = (rng.normal(0.0, 0.2), rng.normal(0.0, 0.002))
        self.rng, self.used_uc = rng, 0.0

    def step(self, amps: float, dt: float) -> tuple[np.ndarray, float]:
        """Microvolts and ampere as measured."""
        e = self.cell.electric
        dz = amps * dt / self.capacity_as
        self.soc = self.soc - dz
        self.v1 += (amps * self.r1 - self.v1) * (1.0 - np.exp(-dt / self.tau1))
        self.v2 += (amps * self.r2 - self.v2) * (1.0 - np.exp(-dt / self.tau2))
        self.h += (-np.sign(amps) * e.hysteresis_v - self.h) * (
            1.0 - np.exp(-np.abs(dz) / e.hysteresis_soc_frac)
        )
        volts = (
            np.interp(self.soc, e.ocv_soc_frac, e.ocv_v)
            + self.h
            - amps * self.r0
            - self.v1
            - self.v2
        )
        read = amps * (1.0 + self.current_error[1]) + self.current_error[0]
        self.used_uc += read * dt * 1e6
        noise = self.rng.normal(0.0, 0.0003, self.n)
        return np.round((volts + self.offset + noise) * 1e6).astype(np.int32), read


def started(cells: Cells) -> _firmware.EstimatorBank:
    bank = _firmware.EstimatorBank(cells.config, cells.n)
    bank.conditions(np.full(cells.n, 2500, np.int32), cells.cell.pressure.reference_kpa)
    bank.start(cells.step(0.0, 0.02)[0])
    return bank


def drive(
    cells: Cells, bank: _firmware.EstimatorBank, seconds: float, dt: float = 0.02
) -> list[np.ndarray]:
    """A rough cycle; errors over sigma of every block, once a second."""
    ratios, valid = [], np.full(cells.n, ALL, np.uint32)
    peak = 0.5 * cells.cell.limits.current_discharge_a[0] * cells.pack.topology.parallel
    for k in range(round(seconds / dt)):
        if k % round(1.0 / dt) == 0:
            amps = peak * float(cells.rng.choice([0.0, 0.2, 0.5, 1.0, -0.3, 0.1]))
        volts, read = cells.step(amps, dt)
        bank.step(dt, read, round(cells.used_uc), volts, valid)
        if k % round(1.0 / dt) == 0:
            bank.results(round(cells.used_uc))
            ratios.append((bank.state["soc_frac"] - cells.soc) / bank.state["sigma_frac"])
    return ratios


@pytest.mark.parametrize("pack", ["car_96s1p", "car_96s3p", "bench_12s1p_anode_free", "home_16s"])
def test_the_interval_holds_the_reference(pack: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    cells = Cells(pack, 64, 0.7, rng)
    ratios = np.abs(np.array(drive(cells, started(cells), 600.0)))
    assert (ratios <= 3.0).mean() >= 0.99


def test_on_a_sloped_ocv_the_estimate_is_good_and_the_interval_narrow(seed: int) -> None:
    cells = Cells("car_96s3p", 64, 0.7, np.random.default_rng(seed))
    bank = started(cells)
    drive(cells, bank, 300.0)
    assert np.sqrt(np.mean((bank.state["soc_frac"] - cells.soc) ** 2)) < 0.01
    assert 3.0 * bank.state["sigma_frac"].mean() < 0.03


@pytest.mark.parametrize("wrong", [-0.25, 0.25])
def test_it_comes_back_from_a_wrong_start(wrong: float, seed: int) -> None:
    cells = Cells("car_96s3p", 32, 0.55, np.random.default_rng(seed))
    bank = started(cells)
    bank.state["base"][:] += wrong
    bank.state["p11"][:] = 0.3**2
    bank.state["p12"][:] = 0.0
    drive(cells, bank, 300.0)
    assert np.abs(bank.state["soc_frac"] - cells.soc).max() < 0.03


def test_a_wrong_start_that_is_sure_of_itself_opens_its_interval(seed: int) -> None:
    cells = Cells("car_96s3p", 32, 0.55, np.random.default_rng(seed))
    bank = started(cells)
    bank.state["base"][:] += 0.25
    drive(cells, bank, 600.0)
    assert (
        np.abs(bank.state["soc_frac"] - cells.soc) <= 3.0 * bank.state["sigma_frac"]
    ).mean() > 0.95


def test_a_flat_ocv_gives_no_false_confidence() -> None:
    cells = Cells("home_16s", 16, 0.5, np.random.default_rng(1))
    bank = started(cells)
    valid = np.full(16, ALL, np.uint32)
    for _ in range(5000):
        volts, read = cells.step(0.0, 0.02)
        bank.step(0.02, read, 0, volts, valid)
    bank.results(0)
    assert (3.0 * bank.state["sigma_frac"] > 0.15).all()


def test_covariances_stay_symmetric_and_positive(seed: int) -> None:
    for pack in ("car_96s3p", "home_16s"):
        cells = Cells(pack, 32, 0.9, np.random.default_rng(seed))
        bank = started(cells)
        for _ in range(20):
            drive(cells, bank, 10.0)
            s = bank.state
            assert (
                (s["p11"] > 0).all()
                and (s["p22"] > 0).all()
                and (s["p12"] ** 2 < s["p11"] * s["p22"]).all()
            )


def test_permuting_blocks_permutes_results_bit_for_bit(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cells = Cells("car_96s1p", 96, 0.6, rng)
    order = rng.permutation(96)
    degc = rng.integers(-2000, 5000, 96).astype(np.int32)
    one, two = (_firmware.EstimatorBank(cells.config, 96) for _ in range(2))
    volts, _ = cells.step(0.0, 0.02)
    one.conditions(degc, 1800.0)
    two.conditions(np.ascontiguousarray(degc[order]), 1800.0)
    one.start(volts)
    two.start(np.ascontiguousarray(volts[order]))
    valid = rng.choice(np.array([0, ALL], np.uint32), 96)
    for k in range(500):
        volts, read = cells.step(50.0 if k % 100 < 60 else -30.0, 0.02)
        one.step(0.02, read, round(cells.used_uc), volts, valid)
        two.step(
            0.02,
            read,
            round(cells.used_uc),
            np.ascontiguousarray(volts[order]),
            np.ascontiguousarray(valid[order]),
        )
    one.results(round(cells.used_uc))
    two.results(round(cells.used_uc))
    for name in ("soc_frac", "sigma_frac", "v2_v", "p11"):
        assert (one.state[name][order] == two.state[name]).all()


def test_a_block_without_voltage_only_widens(seed: int) -> None:
    cells = Cells("car_96s1p", 8, 0.6, np.random.default_rng(seed))
    bank = started(cells)
    valid = np.full(8, ALL, np.uint32)
    valid[3] = 0
    sigmas = []
    for k in range(3000):
        volts, read = cells.step(60.0, 0.02)
        volts[3] = 12_345_678  # garbage that must not matter
        bank.step(0.02, read, round(cells.used_uc), volts, valid)
        if k % 100 == 0:
            bank.results(round(cells.used_uc))
            sigmas.append(float(bank.state["sigma_frac"][3]))
    assert (np.diff(sigmas) >= 0).all() and sigmas[-1] > sigmas[0]
    assert abs(bank.state["soc_frac"][3] - cells.soc[3]) <= 3.0 * sigmas[-1]


def test_what_is_not_finite_is_contained_in_its_block() -> None:
    cells = Cells("car_96s1p", 4, 0.6, np.random.default_rng(1))
    bank = started(cells)
    bank.state["p11"][1] = np.nan
    bank.state["delta"][2] = np.inf
    volts, read = cells.step(10.0, 0.02)
    bank.step(0.02, read, 0, volts, np.full(4, ALL, np.uint32))
    bank.results(0)
    assert bank.state["sigma_frac"][0] < 0.05, "the neighbour knows nothing of it"
    assert (bank.state["sigma_frac"][1:3] >= 0.29).all(), "what was lost starts anew"
    bank.step(0.02, read, 0, volts, np.full(4, ALL, np.uint32))
    pack = bank.results(0)
    assert np.isfinite(bank.state["soc_frac"]).all() and np.isfinite(bank.state["sigma_frac"]).all()
    assert all(0.0 <= value <= 1.0 for value in pack)


def test_pack_charge_is_0_when_the_weakest_is_empty_and_1_when_the_fullest_is_full() -> None:
    cells = Cells("car_96s1p", 4, 0.5, np.random.default_rng(1))
    bank = started(cells)
    for socs, expected in (
        ((0.0, 0.5, 0.5, 0.5), 0.0),
        ((1.0, 0.5, 0.5, 0.5), 1.0),
        ((0.4, 0.6, 0.5, 0.5), 0.5),
    ):
        bank.state["base"][:], bank.state["delta"][:] = socs, 0.0
        bank.state["p11"][:] = 1e-8
        low, high = bank.results(0)[1:]
        assert abs(bank.results(0)[0] - expected) < 1e-6
        assert low <= expected + 1e-6 and high >= expected - 1e-6


@pytest.mark.parametrize("times", [3.0, 8.0, 22.0])
@pytest.mark.parametrize("soc", [0.04, 0.5])
def test_a_resistance_that_jumps_is_taken_for_one_and_not_for_charge(
    times: float, soc: float, seed: int
) -> None:
    cells = Cells("car_96s1p", 8, soc, np.random.default_rng(seed))
    bank, valid = started(cells), np.full(8, ALL, np.uint32)
    off = []
    for k in range(2000):
        if k == 1500:
            cells.r0[0], cells.r1[0], cells.r2[0] = (
                times * part[0] for part in (cells.r0, cells.r1, cells.r2)
            )
        volts, read = cells.step(5.0 if k < 1500 else (0.0, 15.0, 30.0, 45.0)[k // 5 % 4], 0.02)
        bank.step(0.02, read, round(cells.used_uc), volts, valid)
        if k % 5 == 4:
            bank.results(round(cells.used_uc))
            error = float(bank.state["soc_frac"][0] - cells.soc[0])
            off.append(abs(error) / (3.0 * float(bank.state["sigma_frac"][0]) + 0.01))
    assert max(off) < 1.0


def test_who_knows_little_says_neither_empty_nor_full() -> None:
    bank = started(Cells("car_96s1p", 4, 0.5, np.random.default_rng(1)))
    for soc in (0.0, 1.0):
        bank.state["base"][:], bank.state["delta"][:] = soc, 0.0
        bank.state["p11"][:] = 0.1**2
        said, low, high = bank.results(0)
        assert low + 0.01 < said < high - 0.01
