"""The thermal observer on modules of a made-up pack that obeys its equations."""

from __future__ import annotations

import numpy as np
import pytest

from bms import _observer

CHANNELS = [0, 3, 6, 9, 12, 15]
BLOCKS = 16
PARAMETERS = {
    "core_j_per_k": 424.0,
    "surface_j_per_k": 283.0,
    "core_surface_w_per_k": 5.0,
    "neighbour_w_per_k": 0.6,
    "cooling_w_per_k": 2.0,
    "cooling_sigma_frac": 0.3,
    "heat_core_frac": 1.0,
    "heat_sigma_frac": 0.1,
    "sensor_sigma_k": 0.5,
    "spread_sigma_k": 0.3,
    "start_sigma_k": 0.0,
}


class Truth:
    """The same two nodes a block, stepped by tenths of a second in doubles."""

    def __init__(self, sink_degc: float) -> None:
        self.core = np.full(BLOCKS, sink_degc)
        self.surface = np.full(BLOCKS, sink_degc)
        self.sink = sink_degc

    def step(self, heat_w: np.ndarray) -> None:
        p = PARAMETERS
        for _ in range(10):
            flow = p["core_surface_w_per_k"] * (self.core - self.surface)
            beside = np.zeros(BLOCKS)
            beside[:-1] += self.surface[1:] - self.surface[:-1]
            beside[1:] += self.surface[:-1] - self.surface[1:]
            out = p["cooling_w_per_k"] * (self.surface - self.sink)
            self.core += 0.1 / p["core_j_per_k"] * (heat_w - flow)
            self.surface += (
                0.1 / p["surface_j_per_k"] * (flow + p["neighbour_w_per_k"] * beside - out)
            )


def follow(
    seconds: int,
    *,
    offsets_k: np.ndarray | None = None,
    heat_w: float = 20.0,
    sink_step_k: float = 0.0,
    lost: tuple[int, ...] = (),
) -> tuple[Truth, _observer.Observer]:
    truth = Truth(25.0)
    observer = _observer.Observer(PARAMETERS, CHANNELS, BLOCKS, BLOCKS)
    offsets = np.zeros(len(CHANNELS)) if offsets_k is None else offsets_k
    valid = np.ones(len(CHANNELS), np.uint8)
    valid[list(lost)] = 0
    heat = np.full(BLOCKS, heat_w)
    for second in range(seconds):
        if second == seconds // 2:
            truth.sink += sink_step_k
        truth.step(heat)
        reading = (truth.surface[CHANNELS] + offsets).astype(np.float32)
        observer.step(0, 1.0, heat.astype(np.float32), reading, valid)
    return truth, observer


def test_cores_between_thermistors_are_followed() -> None:
    truth, observer = follow(600)
    assert truth.core[4] - truth.surface[4] > 3.0
    assert np.abs(observer.core_degc - truth.core).max() < 0.25


def test_a_sink_that_nobody_measures_is_found() -> None:
    truth, observer = follow(1800, sink_step_k=8.0)
    assert np.abs(observer.core_degc - truth.core).max() < 0.3
    assert observer.sink_degc == pytest.approx(33.0, abs=1.0)


@pytest.mark.parametrize("seed", range(20))
def test_errors_of_thermistors_stay_within_the_interval(seed: int) -> None:
    offsets = np.random.default_rng(seed).normal(0.0, 0.5, len(CHANNELS))
    truth, observer = follow(600, offsets_k=offsets)
    error = observer.core_degc - truth.core
    assert np.abs(error / observer.sigma_k).max() < 3.0, f"seed {seed}"
    assert np.sqrt(np.mean(error**2)) < 0.75


def test_uncertainty_grows_away_from_thermistors_and_with_blindness() -> None:
    _, observer = follow(60, lost=(1, 2, 3, 4))
    assert observer.sigma_k[7] > observer.sigma_k[1] > observer.sigma_k[0]
    _, blind = follow(60)
    before = blind.sigma_k
    for _ in range(120):
        blind.step(
            0,
            1.0,
            np.full(BLOCKS, 20.0, np.float32),
            np.zeros(6, np.float32),
            np.zeros(6, np.uint8),
        )
    assert (blind.sigma_k > before + 0.3).all()


def test_a_thermistor_that_lies_is_named_and_moves_its_neighbours_only() -> None:
    offsets = np.zeros(6)
    offsets[2] = -8.0
    truth, observer = follow(300, offsets_k=offsets)
    assert observer.suspects == 1
    assert np.abs(observer.residual_k[0]).argmax() == 2
    far = [b for b in range(BLOCKS) if b not in (4, 5, 6, 7, 8)]
    assert np.abs(observer.core_degc[far] - truth.core[far]).max() < 1.0
    assert np.abs(observer.core_degc - truth.core).max() < 1.5


def test_the_bound_of_the_hottest_lies_above_its_core() -> None:
    truth, observer = follow(300)
    core, sigma, bound, block = observer.hottest
    assert bound >= core + 3.0 * sigma - 1e-3
    assert core == pytest.approx(observer.core_degc.max())
    assert observer.core_degc[block] == pytest.approx(core)
    assert bound > truth.core.max()


def test_nothing_is_said_before_the_first_reading() -> None:
    observer = _observer.Observer(PARAMETERS, CHANNELS, BLOCKS, BLOCKS)
    assert observer.hottest is None
    observer.step(
        0, 1.0, np.zeros(BLOCKS, np.float32), np.zeros(6, np.float32), np.zeros(6, np.uint8)
    )
    assert observer.hottest is None


def learnt(guess_w_per_k: float, sigma_frac: float) -> tuple[float, float]:
    """Cooling and its standard deviation after a load and a rest with a measured sink."""
    truth = Truth(25.0)
    wrong = PARAMETERS | {"cooling_w_per_k": guess_w_per_k, "cooling_sigma_frac": sigma_frac}
    observer = _observer.Observer(wrong | {"sensor_sigma_k": 0.1}, CHANNELS, BLOCKS, BLOCKS)
    valid = np.ones(len(CHANNELS), np.uint8)
    for second in range(9000):
        heat = np.full(BLOCKS, 20.0 if second < 6000 else 0.0)
        truth.step(heat)
        reading = truth.surface[CHANNELS].astype(np.float32)
        observer.step(0, 1.0, heat.astype(np.float32), reading, valid, 25.0)
    return observer.cooling_w_per_k


@pytest.mark.parametrize("guess_w_per_k", [1.3, 3.0])
def test_cooling_is_learnt_where_the_sink_is_measured(guess_w_per_k: float) -> None:
    cooling, sigma = learnt(guess_w_per_k, 0.5)
    assert cooling == pytest.approx(PARAMETERS["cooling_w_per_k"], rel=0.1)
    assert abs(cooling - PARAMETERS["cooling_w_per_k"]) < 3.0 * sigma


def test_what_is_learnt_is_bounded_to_a_third_and_three_times() -> None:
    assert learnt(0.4, 5.0)[0] <= 1.2 + 1e-6
    assert learnt(9.0, 5.0)[0] >= 3.0 - 1e-6
