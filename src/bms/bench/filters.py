"""Filters to compare with: the same model in NumPy, and coulomb counting and a plain EKF for
accuracy.

`NumpyFilter` is what a careful Python team would write: the equations of ext/firmware/estimator.c,
vectorised over cells, in double precision. `PlainEkf` is the textbook: charge and two
polarisations, white noise, nothing considered. `Counting` integrates the current. The last two
have the interface of an estimator of one's own (see bms.bench.accuracy).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bms.estimator.params import pack_round
from bms.firmware import config, tables
from bms.model import Cell

Floats = NDArray[np.float64]
SLOW_S = 0.1999  # temperatures and resistances every 0.2 s, as for records


class Tables:
    """Parameters of the model of one cell as arrays over charge and temperature."""

    def __init__(self, cell: Cell) -> None:
        values = config.estimator(cell, pack_round(cell, 1, None, None))
        self.values = {name: np.asarray(value, dtype=np.float64) for name, value in values.items()}
        self.temperatures = np.array(tables.temperatures_degc())
        self.steps = len(self.values["ocv_v"]) - 1
        self.grid = np.arange(self.steps + 1) / self.steps
        self.capacity_as = cell.electric.capacity_ah * 3600.0

    def over_temperature(self, name: str, temperature_degc: Floats) -> Floats:
        """A resistance at these temperatures."""
        return np.interp(temperature_degc, self.temperatures, self.values[name])

    def soc_at(self, voltage_v: Floats) -> Floats:
        """Charge whose OCV is this voltage."""
        return np.interp(voltage_v, self.values["ocv_v"], self.grid)


def decay(x: Floats | float) -> Floats:
    """exp(-x), as the firmware has it."""
    return np.asarray(1.0 / (1.0 + x * (1.0 + x * (0.5 + x * 0.16666667))))


class NumpyFilter:
    """ext/firmware/estimator.c for n cells with NumPy: same states, same tables, same equations."""

    def __init__(self, cell: Cell, n_cells: int) -> None:
        self.tables = Tables(cell)
        self.p = {k: v for k, v in self.tables.values.items() if v.ndim == 0}
        self.n, self.current, self.lasting, self.slow_s = n_cells, 0.0, 0.0, 0.0
        self.h, self.open = 0.0, 1.0  # hysteresis, and how much of it is still unknown
        self.started = False

    def start(self, voltage_v: Floats) -> None:
        """From the voltage at rest."""
        n, prior = self.n, float(self.p["sigma_resistance_frac"]) ** 2
        self.z = self.tables.soc_at(voltage_v)
        self.v1, self.v2, self.rho = np.zeros(n), np.zeros(n), np.zeros(n)
        self.p11, self.p22, self.p33 = np.full(n, 1e-3), np.full(n, 3.6e-5), np.full(n, prior)
        self.p12, self.p13, self.p23 = np.zeros(n), np.zeros(n), np.zeros(n)
        self.c1, self.c2, self.c3 = np.zeros(n), np.zeros(n), np.zeros(n)
        self.started = True

    def step(
        self, dt_s: float, current_a: float, voltage_v: Floats, temperature_degc: Floats
    ) -> tuple[Floats, Floats]:
        """Charge and its standard deviation, (n,) each."""
        if not self.started:
            self.start(voltage_v)
            self._conditions(temperature_degc)
        self.slow_s += dt_s
        if self.slow_s >= SLOW_S:
            self._conditions(temperature_degc)
            self.slow_s = 0.0
        common = self._common(dt_s, current_a)
        self._update(dt_s, current_a, voltage_v, *common)
        return self._results()

    def _conditions(self, temperature_degc: Floats) -> None:
        at = self.tables.over_temperature
        self.r0 = at("electrolyte_ohm", temperature_degc) + at("contact_ohm", temperature_degc)
        self.r1 = at("transfer_ohm", temperature_degc)
        self.r2 = at("diffusion_ohm", temperature_degc)
        self.rate1 = 1.0 / (self.r1 * self.p["transfer_farad"])
        self.rate2 = 1.0 / (self.r2 * self.p["diffusion_farad"])
        self.warm = temperature_degc - 25.0

    def _common(self, dt: float, current: float) -> tuple[float, float, float, float, float]:
        p, moved = self.p, abs(current) * dt / self.tables.capacity_as
        keep = float(decay(moved / float(p["hysteresis_soc_frac"])))
        branch = -float(p["hysteresis_v"]) if current > 0 else float(p["hysteresis_v"])
        self.h = branch + keep * (self.h - branch)
        self.open *= keep
        self.z = self.z - current * dt / self.tables.capacity_as
        self.growth = float(
            dt * p["sigma_current_a"] / self.tables.capacity_as + p["sigma_charge_frac"] * moved
        )
        jump, self.current = current - self.current, current
        apart = max(dt, 0.02)
        noise = float(p["sigma_noise_v"]) ** 2 * max(1.0, 0.4 / apart)
        mismatch = jump * jump + 0.01 * current * current * max(1.0, 10.0 / apart)
        self.lasting += (1.0 - float(decay(dt / 600.0))) * (current - self.lasting)
        bias = (
            float(p["sigma_bias_v"]) ** 2 + (0.58 * self.open * float(p["hysteresis_v"])) ** 2
        ) ** 0.5
        drift = 1.0 - float(decay(moved / 0.15 + dt / 40000.0))
        return noise, mismatch, bias, 0.8 * abs(self.lasting), drift

    def _update(
        self, dt: float, current: float, voltage_v: Floats,
        noise: float, mismatch: float, bias: float, lag_a: float, drift: float,
    ) -> None:  # fmt: skip
        t, p, steps = self.tables.values, self.p, self.tables.steps
        x = self.z * steps
        i = np.clip(x.astype(np.int64), 0, steps - 1)
        u = (
            t["ocv_v"][i]
            + (x - i) * (t["ocv_v"][i + 1] - t["ocv_v"][i])
            + t["entropic_v_per_k"][i] * self.warm
        )
        row = i + (steps + 1) * ((self.p11 > 1e-4).astype(np.int64) + (self.p11 > 2.5e-3))
        a, x1 = (
            t["slope_v"][row],
            bias + t["curve_v"][row] + lag_a * self.r2 * (1.0 + np.abs(self.rho)),
        )
        r1 = self.r1 * current
        v1 = r1 + decay(dt * self.rate1) * (self.v1 - r1)
        fade = decay(dt * self.rate2)
        pull = (1.0 - fade) * self.r2 * current
        v2 = fade * self.v2 + (1.0 + self.rho) * pull
        p33 = self.p33 + drift * np.maximum(float(p["sigma_resistance_frac"]) ** 2 - self.p33, 0.0)
        p11, p13, p12 = self.p11, self.p13, fade * self.p12 + pull * self.p13
        p23 = fade * self.p23 + pull * p33
        error2 = (float(p["sigma_diffusion_frac"]) * current) ** 2
        p22 = (
            fade * fade * self.p22
            + pull * (p23 + fade * self.p23)
            + (1.0 - fade * fade)
            * (float(p["sigma_diffusion_v"]) ** 2 + error2 * self.r2 * self.r2)
        )
        c1, c3, c2 = self.c1, self.c3, fade * self.c2 + pull * self.c3
        ohmic = self.r0 * current + v1
        y = voltage_v - (u + self.h - (1.0 + self.rho) * ohmic - v2)
        t1 = a * p11 - p12 - ohmic * p13 + x1 * c1
        t2 = a * p12 - p22 - ohmic * p23 + x1 * c2
        t3 = a * p13 - p23 - ohmic * p33 + x1 * c3
        u1 = a * c1 - c2 - ohmic * c3 + x1
        s = a * t1 - t2 - ohmic * t3 + x1 * u1 + noise + mismatch * self.r0 * self.r0
        k = np.where(np.isfinite(voltage_v), 1.0 / s, 0.0)
        k = np.where(y * y * k > 25.0, 0.2 * k, k)
        k1, k2, k3 = np.where(a * p11 + x1 * c1 > 0.0, k * t1, 0.0), k * t2, k * t3
        self.z, self.v1, self.v2, self.rho = self.z + k1 * y, v1, v2 + k2 * y, self.rho + k3 * y
        self.p11 = p11 - k1 * (2.0 * t1 - k1 * s)
        self.p12 = p12 - k1 * t2 - k2 * (t1 - k1 * s)
        self.p13 = p13 - k1 * t3 - k3 * (t1 - k1 * s)
        self.p22 = p22 - k2 * (2.0 * t2 - k2 * s)
        self.p23 = p23 - k2 * t3 - k3 * (t2 - k2 * s)
        self.p33 = p33 - k3 * (2.0 * t3 - k3 * s)
        self.c1, self.c2, self.c3 = c1 - k1 * u1, c2 - k2 * u1, c3 - k3 * u1

    def _results(self) -> tuple[Floats, Floats]:
        sigma = np.sqrt(np.maximum(self.p11, self.c1 * self.c1 + 1e-10)) + self.growth
        sigma = np.minimum(sigma, self.p["sigma_start_frac"])
        self.p11 = sigma * sigma
        self.z = np.clip(self.z, -0.02, 1.005)
        return self.z, sigma


class Counting:
    """Coulomb counting: the start is believed for ever."""

    def start(self, cell: Cell, n_cells: int) -> None:
        self.capacity_as, self.tables = cell.electric.capacity_ah * 3600.0, Tables(cell)
        self.soc: Floats | None = None
        self.soc0: Floats | None = None
        self.before = 0.0

    def step(
        self, dt_s: float, current_a: float, voltage_v: Floats, temperature_degc: Floats,
        pressure_kpa: float | None,
    ) -> Floats:  # fmt: skip
        """Charge after these readings, (n,)."""
        if self.soc is None:
            known = self.soc0 is not None
            self.soc = np.array(self.soc0 if known else self.tables.soc_at(voltage_v))
        else:
            self.soc = self.soc - 0.5 * (self.before + current_a) * dt_s / self.capacity_as
        self.before = current_a
        return self.soc


class PlainEkf:
    """Textbook extended Kalman filter: charge and two RC pairs, white noise, fixed tuning.

    The tuning is the usual one: 10 mV of voltage noise, a start off by 20 %, some process noise.
    """

    def start(self, cell: Cell, n_cells: int) -> None:
        self.tables, self.n = Tables(cell), n_cells
        self.x: Floats | None = None
        self.soc0: Floats | None = None

    def step(
        self, dt_s: float, current_a: float, voltage_v: Floats, temperature_degc: Floats,
        pressure_kpa: float | None,
    ) -> Floats:  # fmt: skip
        """Charge after these readings, (n,)."""
        t, at = self.tables, self.tables.over_temperature
        if self.x is None:
            first = t.soc_at(voltage_v) if self.soc0 is None else self.soc0
            self.x = np.stack([np.broadcast_to(first, self.n), np.zeros(self.n), np.zeros(self.n)])
            self.cov = np.tile(np.diag([0.04, 1e-5, 1e-5]), (self.n, 1, 1))
        r0 = at("electrolyte_ohm", temperature_degc) + at("contact_ohm", temperature_degc)
        r1, r2 = at("transfer_ohm", temperature_degc), at("diffusion_ohm", temperature_degc)
        a1 = np.exp(-dt_s / (r1 * t.values["transfer_farad"]))
        a2 = np.exp(-dt_s / (r2 * t.values["diffusion_farad"]))
        z = self.x[0] - current_a * dt_s / t.capacity_as
        v1, v2 = (
            a1 * self.x[1] + (1 - a1) * r1 * current_a,
            a2 * self.x[2] + (1 - a2) * r2 * current_a,
        )
        f = np.stack([np.ones(self.n), a1, a2], axis=1)
        cov = self.cov * f[:, :, None] * f[:, None, :] + np.diag([1e-11, 1e-8, 1e-8]) * dt_s
        slope = (
            np.interp(z + 0.005, t.grid, t.values["ocv_v"])
            - np.interp(z - 0.005, t.grid, t.values["ocv_v"])
        ) * 100
        h = np.stack([slope, -np.ones(self.n), -np.ones(self.n)], axis=1)
        expected = np.interp(z, t.grid, t.values["ocv_v"]) - v1 - v2 - r0 * current_a
        ph = np.einsum("nij,nj->ni", cov, h)
        gain = ph / (np.einsum("ni,ni->n", h, ph) + 1e-4)[:, None]
        known = np.isfinite(voltage_v)
        gain = np.where(known[:, None], gain, 0.0)
        self.x = np.stack([z, v1, v2]) + gain.T * np.where(known, voltage_v - expected, 0.0)
        self.cov = cov - gain[:, :, None] * ph[:, None, :]
        return np.asarray(self.x[0])
