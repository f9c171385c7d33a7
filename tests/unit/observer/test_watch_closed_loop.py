"""Temperatures inside, health and power in the closed loop, against the plant's truth."""

from __future__ import annotations

import numpy as np
import pytest

from bms import _plant
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


def test_health_survives_a_reset_and_one_torn_slot() -> None:
    run = Simulation("life", seed=1)
    while probe(run, "health_written")[0] < 2:  # one in each slot
        assert run.time_s < 20_000
        advance(run, 600)
    learnt = probe(run, "block_r0_scale")[:16].copy()
    memory = run.world.parts["loop"]["nvm"].copy()
    assert np.abs(learnt - 1.0).max() > 0.02
    restored, scale = restarted(memory)
    assert restored == 1
    assert scale == pytest.approx(learnt, rel=0.08)  # it went on learning after the save
    page, second_slot = 64, 64 * 64
    for slot in (0, second_slot):
        torn = memory.copy()
        torn[slot + page + 7] ^= 0x10
        restored, scale = restarted(torn)
        assert restored == 1, "the other slot is whole"
        assert np.abs(scale - 1.0).max() > 0.01
    torn[page + 7] ^= 0x10
    for nothing in (torn, np.full_like(memory, 0xFF), np.zeros_like(memory)):
        restored, scale = restarted(nothing)
        assert restored == 0
        assert scale == pytest.approx(1.0, abs=0.01)


class Truth:
    """What the true pack can do: constant power held on a copied plant until a limit is crossed."""

    def __init__(self, run: Simulation) -> None:
        self.run, self.plant = run, _plant.Plant()
        for name, values in self.plant.fields.items():
            values[:] = run.world.parts["plant"][name]
        self.start = self.plant.snapshot()

    def crosses(self, power_w: float, span_s: int) -> str:
        made, limits, f = self.run.pack.topology, self.run.cell.limits, self.plant.fields
        self.plant.restore(self.start)
        f["load_mode"][0], f["load_power_w"][0] = 2, power_w
        for _ in range(span_s * 10):
            self.plant.step(100)
            volts, current = f["block_voltage_v"][: made.blocks], float(f["pack_current_a"][0])
            if power_w < 0 and volts.max() > limits.voltage_max_v[0]:
                return "voltage"
            if power_w > 0 and volts.min() < limits.voltage_min_v[0]:
                return "voltage"
            most = limits.current_discharge_a[0] if current > 0 else limits.current_charge_a[0]
            if abs(current) > most * made.parallel:
                return "current"
            if self.overload() > 1.0:
                return "critical"
        return ""

    def overload(self) -> float:
        """Highest current density over the critical one."""
        made, f = self.run.pack.topology, self.plant.fields
        n = made.blocks * made.parallel
        law = np.interp(f["cell_core_degc"][:n], -60.0 + 2.5 * np.arange(105), f["critical_law"])
        factor = law * np.tile(f["block_critical"][: made.blocks], made.parallel)
        density = f["cell_current_a"][:n] * 1e3 / f["electrode_cm2"][0]
        charge = (-density / (f["plating_ma_per_cm2"][0] * factor)).max()
        discharge = (density / (f["stripping_ma_per_cm2"][0] * factor)).max()
        return float(max(charge, discharge))

    def available_w(self, sign: float, span_s: int) -> tuple[float, str]:
        low, high, why = 0.0, 5e5, ""
        while high - low > 0.003 * high:
            middle = 0.5 * (low + high)
            crossed = self.crosses(sign * middle, span_s)
            low, high, why = (low, middle, crossed) if crossed else (middle, high, why)
        return low, why


@pytest.mark.parametrize(
    ("soc_frac", "degc", "least"),
    [
        (0.8, 25.0, 0.85),
        (0.5, 25.0, 0.85),
        (0.15, 25.0, 0.85),
        (0.5, 0.0, 0.8),
        (0.9, 0.0, 0.8),
        (0.5, -15.0, 0.65),
    ],
)
def test_power_offered_for_ten_seconds_is_there_and_most_of_what_is_there_is_offered(
    soc_frac: float, degc: float, least: float
) -> None:
    settings = {
        "start.soc_frac": str(soc_frac),
        "start.temperature_degc": str(degc),
        "start.ambient_degc": str(degc),
    }
    run = Simulation("drive", seed=1, settings=settings)
    advance(run, 200)
    truth, offered = Truth(run), probe(run, "power_10s_w")
    for sign, watts in ((-1.0, float(offered[0])), (1.0, float(offered[1]))):
        assert truth.crosses(sign * 0.995 * watts, 10) == ""
        available, why = truth.available_w(sign, 10)
        assert watts >= least * available, f"{watts:.0f} of {available:.0f} W, which {why} limits"


def test_a_longer_span_never_offers_more() -> None:
    run = Simulation("drive", seed=2)
    bounds = probe(run, "power_bound_a").reshape(3, 2)
    for _ in range(20):
        advance(run, 5)
        assert (np.diff(bounds, axis=0) <= 0.0).all()
