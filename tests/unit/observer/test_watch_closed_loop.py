"""Temperatures inside and health in the closed loop, against the plant's truth."""

from __future__ import annotations

import numpy as np
import pytest

from bms.sim import Simulation


def probe(run: Simulation, name: str) -> np.ndarray:
    """A live view of what the firmware shows under `name`."""
    for found in run.probes:
        if found[0] == name:
            _, _, offset, count, dtype = found
            return np.frombuffer(run.world.firmware_bytes, np.dtype(dtype), count, offset)
    raise KeyError(name)


def advance(run: Simulation, seconds: float) -> None:
    run.run(seconds, record=False)


def blocks(run: Simulation, field: str) -> np.ndarray:
    """Mean of a cell's field over the parallel cells of each block."""
    made = run.pack.topology
    values = run.world.parts["plant"][field][: made.blocks * made.parallel]
    return np.asarray(values.reshape(made.parallel, made.blocks).mean(0))


@pytest.mark.parametrize("scenario", ["drive", "fast_charge_15_90", "winter_minus_20"])
def test_every_core_is_within_its_interval(scenario: str) -> None:
    run = Simulation(scenario, seed=1)
    estimate = probe(run, "block_core_degc")[: run.pack.topology.blocks]
    sigma = probe(run, "block_core_sigma_k")[: run.pack.topology.blocks]
    errors, inside = [], []
    for _ in range(30):
        advance(run, 30)
        error = estimate - blocks(run, "cell_core_degc")
        errors.append(error)
        inside.append(np.abs(error) <= 3.0 * sigma)
    assert np.sqrt(np.mean(np.square(errors))) < 0.4  # a thermistor alone is 0.5 K off
    assert np.mean(inside) > 0.99


@pytest.mark.parametrize("factor", [1.0, 1.25])
def test_resistance_is_known_to_5_percent_after_a_quarter_of_an_hour(factor: float) -> None:
    run = Simulation("drive", seed=1)
    run.world.parts["plant"]["cell_resistance_scale"][:] *= factor
    advance(run, 900)
    made = run.pack.topology
    scale = run.world.parts["plant"]["cell_resistance_scale"][: made.blocks * made.parallel]
    true = 1.0 / (1.0 / scale.reshape(made.parallel, made.blocks)).mean(0)
    estimate = probe(run, "block_r0_scale")[: made.blocks]
    assert np.sqrt(np.mean((estimate / true - 1.0) ** 2)) < 0.05


@pytest.mark.slow("five cycles of an aged cell")
def test_capacity_is_known_to_2_percent_within_five_cycles() -> None:
    run = Simulation("life", seed=1, settings={"ageing_acceleration": "1"})
    plant, n = run.world.parts["plant"], run.pack.topology.blocks
    for field in ("cell_capacity_as", "cell_capacity_now_as"):
        plant[field][:n] *= 0.93
    advance(run, 16_000)
    true = plant["cell_capacity_now_as"][:n] / (run.cell.electric.capacity_ah * 3600.0)
    estimate, sigma = probe(run, "block_capacity_frac")[:n], probe(run, "block_capacity_sigma")[:n]
    assert np.abs(estimate / true - 1.0).max() < 0.02
    assert (np.abs(estimate - true) < 3.0 * sigma).all()


def restarted(memory: np.ndarray) -> tuple[int, np.ndarray]:
    """A second after a start with `memory`: whether health was restored, and the scales of R0."""
    run = Simulation("life", seed=1)
    run.world.parts["loop"]["nvm"][:] = memory
    advance(run, 1.0)
    return int(probe(run, "health_restored")[0]), probe(run, "block_r0_scale")[:16].copy()


def test_health_survives_a_reset_and_torn_pages() -> None:
    run = Simulation("life", seed=1)
    while probe(run, "health_written")[0] < 2:
        assert run.time_s < 20_000
        advance(run, 600)
    advance(run, 5)  # until all of it is in memory
    learnt = probe(run, "block_r0_scale")[:16].copy()
    memory = run.world.parts["loop"]["nvm"].copy()
    assert np.abs(learnt - 1.0).max() > 0.02
    restored, scale = restarted(memory)
    assert restored == 1
    assert scale == pytest.approx(learnt, rel=0.08)  # it went on learning after the save
    kept_twice = 17  # records below, in the order of ext/firmware/store.h; health is last
    pages = memory.reshape(-1, 64)
    health = [p for p in pages if kept_twice + 16 <= p[8] < 255]
    assert len(health) >= 2
    for page in health:
        page[40] ^= 0x10
    for nothing in (memory, np.full_like(memory, 0xFF), np.zeros_like(memory)):
        restored, scale = restarted(nothing)
        assert restored == 0
        assert scale == pytest.approx(1.0, abs=0.01)
