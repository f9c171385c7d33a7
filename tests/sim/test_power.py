"""Power the firmware offers, held against what the true pack can do: `bms bench power`, smaller."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from bms.bench import power
from bms.sim import Simulation


@pytest.mark.parametrize(
    ("soc_frac", "degc", "direction"),
    [
        (0.95, 25.0, "charge"),
        (0.9, 25.0, "charge"),
        (0.7, 25.0, "charge"),
        (0.05, 25.0, "discharge"),
        (0.9, 0.0, "charge"),
        (0.5, 0.0, "discharge"),
        (0.5, -15.0, "charge"),
    ],
)
def test_sensors_at_their_limits_cross_nothing_and_leave_little(
    soc_frac: float, degc: float, direction: str
) -> None:
    run = power.driven(soc_frac, degc, adverse=power.DIRECTIONS[direction], seconds=120.0)
    for held in power.judge(run, (direction,), (2, 30)):
        assert held.crossed == "", held
        least = power.least_share(held.why, degc)
        assert held.share >= least - 0.05, held  # 120 s: resistance is not learnt to the end


@pytest.mark.parametrize("factor", [0.8, 1.3])
def test_cells_of_another_resistance_cross_nothing_once_it_is_learnt(factor: float) -> None:
    settings = {"start.soc_frac": "0.85"}
    run = Simulation("drive", seed=1, settings=settings)
    run.world.parts["plant"]["cell_resistance_scale"][:] *= factor
    run.run(150.0, record=False)
    for held in power.judge(run, ("charge",), (10,)):
        assert held.crossed == "", held
        assert held.share > 0.75, held


def test_a_longer_span_never_offers_more() -> None:
    run = Simulation("drive", seed=2)
    bounds = power.probe(run, "power_bound_a").reshape(3, 2)
    watts = power.probe(run, "power_w").reshape(2, 3)
    for _ in range(20):
        run.run(5.0, record=False)
        assert (np.diff(bounds, axis=0) <= 0.0).all()
        assert (np.diff(watts, axis=1) <= 0.02 * watts[:, :1]).all()
    assert (watts > 0).all()


def offered(degc: float = 25.0, soc_frac: float = 0.5, change: object = None) -> np.ndarray:
    """Charge and discharge limit in A for the three spans, after a short drive."""
    settings = {
        "start.soc_frac": str(soc_frac),
        "start.temperature_degc": str(degc),
        "start.ambient_degc": str(degc),
    }
    run = Simulation("drive", seed=3, settings=settings)
    if callable(change):
        change(run)
    run.run(40.0, record=False)
    return power.probe(run, "power_w").copy().reshape(2, 3)


def falls(limits: list[np.ndarray]) -> bool:
    """Whether no limit rises along the list (1 % for noise)."""
    return all((b <= 1.01 * a).all() for a, b in pairwise(limits))


def test_limits_fall_with_the_cold_and_with_the_heat() -> None:
    cold = [offered(t) for t in (25.0, 10.0, 0.0, -10.0, -18.0, -24.0)]
    assert falls(cold)
    assert (cold[-1] < 0.2 * cold[0]).all()
    hot = [offered(t) for t in (50.0, 56.5, 58.0, 62.0)]
    assert falls(hot)
    assert hot[-1][0, 0] == 0  # beyond warn of charging


def test_limits_fall_towards_full_and_empty() -> None:
    full = [offered(soc_frac=z)[0] for z in (0.6, 0.8, 0.9, 0.95, 0.98)]
    assert falls(full)
    empty = [offered(soc_frac=z)[1] for z in (0.5, 0.1, 0.05, 0.03)]
    assert falls(empty)


def test_limits_fall_with_resistance() -> None:
    def grown(factor: float) -> object:
        def change(run: Simulation) -> None:
            run.world.parts["plant"]["cell_resistance_scale"][:] *= factor

        return change

    assert falls([offered(soc_frac=0.85, change=grown(k)) for k in (1.0, 1.2, 1.5, 2.0)])


def test_limits_fall_with_the_stack_pressure_and_without_its_sensor() -> None:
    def preload(kpa: float) -> object:
        def change(run: Simulation) -> None:
            run.world.parts["plant"]["preload_kpa"][0] = kpa

        return change

    assert falls([offered(change=preload(kpa)) for kpa in (2000.0, 1300.0, 960.0, 900.0, 850.0)])

    def lost(run: Simulation) -> None:
        run.world.parts["chips"]["pressure_offset_kpa"][0] = -1e6

    known, blind = offered(), offered(change=lost)
    assert (blind < 0.5 * known).all()


def test_a_suspect_thermistor_never_raises_a_limit() -> None:
    def off(kelvin: float) -> object:
        def change(run: Simulation) -> None:
            run.world.parts["chips"]["temperature_offset_k"][2] = kelvin

        return change

    healthy = offered(degc=0.0)
    for kelvin in (-8.0, 8.0):
        assert (offered(degc=0.0, change=off(kelvin)) <= 1.01 * healthy).all()
