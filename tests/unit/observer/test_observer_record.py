"""Core temperature against a measured core: a 26650 cell on a drive cycle, then at rest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import pytest

from bms import cells, fit
from bms.estimator import Estimates, Estimator
from bms.model import Cell

MIDDLE = 3000  # driven before, then half driven and half at rest
MANIFEST = """
name = "half"
title = "half"
description = "half"
base = "a123_26650"
fit = ["heat_capacity", "core"]
[columns]
current_a = "current_a"
[[files]]
path = "half.csv"
role = "thermal"
ambient_degc = 8
start = "rest"
"""


@dataclass(frozen=True)
class Half:
    """A part of the record; current positive on discharge."""

    time_s: np.ndarray
    current_a: np.ndarray
    voltage_v: np.ndarray
    surface_degc: np.ndarray
    core_degc: np.ndarray
    coolant_degc: np.ndarray

    def estimate(self, cell: Cell, *, with_coolant: bool = True) -> Estimates:
        coolant = self.coolant_degc if with_coolant else None
        readings = (self.time_s, self.current_a, self.voltage_v, self.surface_degc)
        return Estimator(cell).run(*readings, coolant_degc=coolant)

    def fitted(self, folder: Path) -> Cell:
        names = "time_s,current_a,voltage_v,temperature_degc,temperature_core_degc"
        columns = (self.time_s, self.current_a, self.voltage_v, self.surface_degc, self.core_degc,
                   self.coolant_degc)  # fmt: skip
        heading = names + ",temperature_coolant_degc"
        np.savetxt(folder / "half.csv", np.column_stack(columns), delimiter=",", header=heading,
                   comments="")  # fmt: skip
        (folder / "half.toml").write_text(MANIFEST)
        return fit.write(fit.fit(folder / "half.toml"), folder / "cell.toml")


@pytest.fixture(scope="module")
def halves(data_dir: Path) -> dict[str, Half]:
    place = data_dir / "a123_core_temperature" / "drive_1_1s.csv"
    all_ = np.genfromtxt(place, delimiter=",", names=True)
    names = ("time_s", "current_A", "voltage_V", "T_surf_C", "T_core_C", "T_inf_C")
    parts = {"first": all_[:MIDDLE], "second": all_[MIDDLE:]}
    columns = {k: [np.ascontiguousarray(part[n]) for n in names] for k, part in parts.items()}
    return {k: Half(c[0], -c[1], *c[2:]) for k, c in columns.items()}


@pytest.fixture(scope="module")
def fitted(halves: dict[str, Half], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Cell]:
    return {k: half.fitted(tmp_path_factory.mktemp(k)) for k, half in halves.items()}


def rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))


@pytest.mark.parametrize(("on", "judged"), [("first", "second"), ("second", "first")])
def test_core_is_known_to_0_2_k_with_constants_from_the_other_half(
    halves: dict[str, Half], fitted: dict[str, Cell], on: str, judged: str
) -> None:
    half, cell = halves[judged], fitted[on]
    found = half.estimate(cell)
    error = found.temperature_core_degc - half.core_degc
    law = cell.thermal.cooling_w_per_k / cell.thermal.core_surface_w_per_k
    by_law = half.surface_degc + law * (half.surface_degc - half.coolant_degc) - half.core_degc
    assert rms(error) <= 0.18
    assert rms(error) <= 1.6 * rms(by_law)
    assert (np.abs(error) <= 3.0 * found.temperature_core_std_k).mean() > 0.997


def test_both_halves_tell_the_same_constants(fitted: dict[str, Cell]) -> None:
    first, second = fitted["first"].thermal, fitted["second"].thermal
    laws = [t.cooling_w_per_k / t.core_surface_w_per_k for t in (first, second)]
    assert laws[0] == pytest.approx(laws[1], rel=0.03)
    assert first.core_surface_w_per_k == pytest.approx(second.core_surface_w_per_k, rel=0.05)


def test_without_a_coolant_the_heat_alone_is_right_to_half_a_kelvin(
    halves: dict[str, Half], fitted: dict[str, Cell]
) -> None:
    half = halves["first"]
    found = half.estimate(fitted["second"], with_coolant=False)
    told = half.estimate(fitted["second"])
    assert rms(found.temperature_core_degc - half.core_degc) <= 0.5
    assert found.temperature_core_std_k[1000:].mean() > told.temperature_core_std_k[1000:].mean()


def with_cooling(cell: Cell, cooling_w_per_k: float) -> Cell:
    thermal = msgspec.structs.replace(cell.thermal, cooling_w_per_k=cooling_w_per_k)
    return msgspec.structs.replace(cell, thermal=thermal)


def test_a_cooling_that_is_not_known_is_learnt_while_driving(
    halves: dict[str, Half], fitted: dict[str, Cell]
) -> None:
    """Constants of the cell from one half, nothing of the bench: a guess from the cell's size."""
    half = halves["first"]
    found = half.estimate(with_cooling(fitted["second"], 0.0))
    error = found.temperature_core_degc - half.core_degc
    assert rms(error[1500:]) <= 0.45
    assert rms(error) < rms(half.surface_degc - half.core_degc) / 5
    assert (np.abs(error) <= 3.0 * found.temperature_core_std_k).mean() > 0.99


def test_library_values_alone_do_not_lie(halves: dict[str, Half]) -> None:
    half = halves["first"]
    found = half.estimate(cells.load("a123_26650"))
    error = found.temperature_core_degc - half.core_degc
    assert rms(error) < rms(half.surface_degc - half.core_degc) / 4
    assert (np.abs(error) <= 3.0 * found.temperature_core_std_k).mean() > 0.9
