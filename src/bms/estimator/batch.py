"""The estimator over arrays: step by step, or a whole record at once, with the same bits."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bms import _estimator, cells
from bms.model import Cell, Fixture, Sensors, Spread

from . import params

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

CELLS_A_THREAD = 20_000  # cell updates that are worth waking a thread for


@dataclass(frozen=True)
class Estimates:
    """What is known after each step, float32 as the filter has it.

    Shape (n, cells) from `run`, (cells,) from `step`; the axis of cells is left out when the
    estimator was made for one cell. Standard deviations are of the same shape. State of charge is
    0 to 1 and not clamped: beyond the ends by noise.
    """

    soc_frac: Singles
    soc_std_frac: Singles
    temperature_core_degc: Singles
    temperature_core_std_k: Singles
    r0_ohm: Singles  # ohmic resistance at the present temperature and pressure
    r0_std_ohm: Singles
    capacity_ah: Singles  # at 25 degC; nominal, with a wide deviation, until two rests have told it
    capacity_std_ah: Singles


class Estimator:
    """State of charge of cells of one kind.

    cell: name in the library, path of a TOML file, or a Cell. n_cells: cells (or blocks of
    `parallel` cells) in series under one current; with own_currents each has its own. sensors,
    spread: errors of the readings and differences between cells, which set the width of the
    intervals (default `sensors_of(cell)` and those of the library's car pack). fixture: what
    presses the cells, all of one stack; with it pressure tells of charge as well (witness.h),
    without it resistance alone follows pressure. soc0_std_frac: how
    far a state of charge given at the start may be off (standard deviation). threads: for banks of
    many cells; 0 is one a core.

    Current is positive on discharge, time in s, voltage in V, temperature of the surface in degC,
    pressure of the stack in kPa. A reading that is NaN or impossible is no reading: the cell
    follows the charge count and its interval widens. The same holds for a channel that stays at
    one value while it should move by more than 20 mV, and for a temperature older than 60 s. Where
    the temperature of what cools the cell (coolant, air) is measured too, the core is known better.
    """

    def __init__(
        self,
        cell: str | Path | Cell,
        n_cells: int = 1,
        *,
        parallel: int = 1,
        sensors: Sensors | None = None,
        spread: Spread | None = None,
        fixture: Fixture | None = None,
        soc0_std_frac: float = params.START_STD_FRAC,
        own_currents: bool = False,
        threads: int = 0,
    ) -> None:
        self.cell = cell if isinstance(cell, Cell) else cells.load(cell)
        self.n_cells, self.own_currents = n_cells, own_currents
        self.capacity_ah = self.cell.electric.capacity_ah * parallel
        self._strings = _estimator.Strings(n_cells, own_currents)
        pack = params.pack_round(self.cell, parallel, sensors, spread, fixture)
        made = self._strings
        params.fill(made.est, made.obs, made.params, self.cell, pack, soc0_std_frac)
        self._threads = threads or len(os.sched_getaffinity(0))
        self._pool: ThreadPoolExecutor | None = None
        self.soc0_frac: Floats = np.full(n_cells, np.nan)
        self.restart()

    def restart(self, soc0_frac: ArrayLike | None = None) -> None:
        """Forget everything. soc0_frac, () or (cells,): where known; NaN: from the voltage."""
        self._strings.reset()
        self.soc0_frac[:] = np.nan if soc0_frac is None else soc0_frac
        self._bound = False

    # ---- one step ----

    def bind(self) -> None:
        """Buffers of one step, bound once: fill `inputs`, call `advance`, read `outputs`."""
        n, own = self.n_cells, self.n_cells if self.own_currents else 1
        self.inputs: dict[str, Floats] = {
            "dt_s": np.zeros(1),
            "current_a": np.zeros((1, own)),
            "voltage_v": np.full((1, n), np.nan),
            "temperature_degc": np.full((1, n), np.nan),
            "pressure_kpa": np.full(1, np.nan),
            "sink_degc": np.full(1, np.nan),
        }
        self.outputs: Singles = np.zeros((_estimator.RESULTS, 1, n), dtype=np.float32)
        self._strings.bind(**self.inputs, soc0_frac=self.soc0_frac, results=self.outputs)
        self._bound = True

    def advance(self) -> None:
        """One step of what `inputs` holds into `outputs`: the fastest way in."""
        if self.n_cells < CELLS_A_THREAD:
            self._strings.go(0, self._strings.tiles)
        else:
            self._go(1)

    def step(
        self,
        dt_s: float,
        current_a: ArrayLike,
        voltage_v: ArrayLike,
        temperature_degc: ArrayLike,
        pressure_kpa: float | None = None,
        coolant_degc: float | None = None,
    ) -> Estimates:
        """Readings `dt_s` after those before; shapes () or (cells,). Results are copies.

        dt_s of the first step is not looked at. ValueError for dt_s that is not a time forward.
        """
        if not 0.0 <= dt_s < 1e9:
            raise ValueError(f"dt_s: expected seconds of 0 or more, got {dt_s}")
        if not self._bound:
            self.bind()
        into = self.inputs
        into["dt_s"][0] = round(dt_s * 1e6) * 1e-6
        into["current_a"][0] = current_a
        into["voltage_v"][0] = voltage_v
        into["temperature_degc"][0] = temperature_degc
        into["pressure_kpa"][0] = np.nan if pressure_kpa is None else pressure_kpa
        into["sink_degc"][0] = np.nan if coolant_degc is None else coolant_degc
        self.advance()
        return self._estimates(self.outputs[:, 0].copy())

    # ---- a record ----

    def run(
        self,
        time_s: ArrayLike,
        current_a: ArrayLike,
        voltage_v: ArrayLike,
        temperature_degc: ArrayLike,
        pressure_kpa: ArrayLike | None = None,
        soc0: ArrayLike | None = None,
        coolant_degc: ArrayLike | None = None,
    ) -> Estimates:
        """A whole record from a fresh start.

        time_s (n,), not falling; current_a (n,), or (n, cells) with own_currents; voltage_v
        (n, cells), or (n,) for one cell; temperature_degc (n, cells) or (n,) for all;
        pressure_kpa (n,) of the stack; soc0 () or (cells,); coolant_degc (n,) of what cools the
        surfaces, NaN where it is not measured. Only differences of time count, to the
        microsecond. ValueError names what does not fit.
        """
        time = np.asarray(time_s, dtype=np.float64)
        if time.ndim != 1 or not np.isfinite(time).all() or (np.diff(time) < 0.0).any():
            raise ValueError("time_s: expected one row of finite times that do not fall")
        n, own = len(time), self.n_cells if self.own_currents else 1
        pressure = np.full(n, np.nan) if pressure_kpa is None else pressure_kpa
        self.restart(soc0)
        sink = np.full(n, np.nan) if coolant_degc is None else coolant_degc
        results = np.zeros((_estimator.RESULTS, n, self.n_cells), dtype=np.float32)
        self._strings.bind(
            _steps(time),
            self._shaped("current_a", current_a, n, own),
            self._shaped("voltage_v", voltage_v, n, self.n_cells),
            self._shaped("temperature_degc", temperature_degc, n, self.n_cells, shared=True),
            self._shaped("pressure_kpa", pressure, n, 1)[:, 0],
            self._shaped("coolant_degc", sink, n, 1)[:, 0],
            self.soc0_frac,
            results,
        )  # fmt: skip
        self._go(n)
        return self._estimates(results)

    def covariance(self) -> Singles:
        """Upper triangle of (charge, diffusion voltage, resistance error), shape (cells, 6)."""
        return self._strings.covariance()

    # ---- inside ----

    def _go(self, steps: int) -> None:
        """All tiles, shared out to threads where that pays."""
        tiles = self._strings.tiles
        wanted = max(1, self.n_cells * steps // CELLS_A_THREAD)
        count = min(self._threads, tiles, wanted)
        if count == 1:
            self._strings.go(0, tiles)
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads)
        edges = [round(tiles * k / count) for k in range(count + 1)]
        parts = [self._pool.submit(self._strings.go, a, b) for a, b in pairwise(edges)]
        for part in parts:
            part.result()

    def _shaped(
        self, name: str, values: ArrayLike, n: int, columns: int, *, shared: bool = False
    ) -> Floats:
        array = np.ascontiguousarray(values, dtype=np.float64)
        if array.ndim == 1 and (columns == 1 or shared):
            array = array[:, None]
        if array.shape == (n, columns) or (shared and array.shape == (n, 1)):
            return array
        raise ValueError(f"{name}: expected shape ({n}, {columns}), got {array.shape}")

    def _estimates(self, results: Singles) -> Estimates:
        """results: (RESULTS, ..., cells), in the order of ext/batch/batch.h."""
        return Estimates(*(results[..., 0] if self.n_cells == 1 else results))


def _steps(time_s: Floats) -> Floats:
    """Seconds since the row before, whole microseconds, so that a shift of time changes nothing."""
    return np.diff(np.round((time_s - time_s[:1]) * 1e6), prepend=0.0) * 1e-6
