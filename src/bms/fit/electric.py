"""Resistances, time constants and temperature laws from pulses.

The ohmic resistance is split into electrolyte and contact only where many temperatures tell their
two laws apart; else the base's proportion stands, with one law for both.

Each record is cut into windows that begin at rest. Within a window the model may be off by a
constant, so that errors of the open-circuit voltage do not pass for resistance. Time constants and
activation energies are searched (scipy.optimize.least_squares); for each guess the resistances
follow from a linear problem (variable projection, Golub and Pereyra 1973). A sample's weight allows
for 2 mV and a tenth of the drop: no linear circuit holds a pulse of 6C better. Outliers are tamed
by Huber's weights.

Intervals: the covariance is the sandwich J+ (sum over clusters of J'rr'J) J+ with a window as a
cluster, so that they show how parameters vary over charge and temperature, not only the noise of
the voltmeter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from ..model import Cell
from . import circuit
from .circuit import Floats, Trace
from .ocv import is_rest, sandwich

NOISE_V = 0.002
MODEL_FRAC = 0.1  # of the drop now, and of what it was of late
LATE_S = 100.0
OFFSET_V = 0.001  # of a window: what the open-circuit voltage may be off by at 25 degC
OFFSET_V_PER_K = 0.0005  # and away from it: reversible heat, and rests too short for the cold
FAST_S = 0.5  # what settles sooner belongs to the ohmic resistance at the rates of a BMS
HUBER = 3.0
ROUNDS = 2
# Bounds of the two time constants. Loads of a battery last minutes: a second element that settles
# within a minute would leave their polarisation to the open-circuit voltage, and so to the SoC.
TAU_S = ((2.0, 60.0), (100.0, 3000.0))
ENERGY_MAX_EV = 1.2
CONTACT_MAX_EV = 0.2  # of the contact at most, of the electrolyte at least, where both are sought
LEAST_OHM = 1e-3  # of the immediate resistance: what stands for nothing found
SERIES = ("electrolyte", "contact", "transfer", "diffusion")


@dataclass(frozen=True)
class Series:
    """The four resistances at 25 degC and reference pressure, in the order of SERIES.

    `half` holds 95 % half-widths under the names of the fields and SERIES; energies that were not
    fitted have none.
    """

    ohm: Floats
    tau_s: tuple[float, float]
    activation_ev: Floats
    half: dict[str, float]
    evaluations: int


def from_base(base: Cell) -> Series:
    """What the base says, to begin with."""
    made = base.resistance
    ohm = [made.electrolyte_ohm, made.contact_ohm, made.charge_transfer_ohm, made.diffusion_ohm]
    law = made.electrolyte_temperature.activation_ev
    energies = [law, made.contact_activation_ev, made.charge_transfer_activation_ev,
                made.diffusion_activation_ev]  # fmt: skip
    tau_s = made.charge_transfer_tau_s, made.diffusion_tau_s
    return Series(np.array(ohm), tau_s, np.array(energies), {}, 0)


def columns(trace: Trace, base: Cell, tau_s: Sequence[float], activation_ev: Floats) -> Floats:
    """(n, 4): amperes that, times the resistances at 25 degC, are the four voltage drops."""
    degc, current_a = trace.temperature_degc, trace.current_a
    press = circuit.squeeze(trace, base.pressure.reference_kpa, base.pressure.exponent)
    return np.column_stack(
        [
            circuit.factor(float(activation_ev[0]), degc) * current_a,
            circuit.factor(float(activation_ev[1]), degc) * press * current_a,
            circuit.polarisation(trace, tau_s[0], float(activation_ev[2])),
            circuit.polarisation(trace, tau_s[1], float(activation_ev[3])),
        ]
    )


def drop_v(trace: Trace, base: Cell, series: Series) -> Floats:
    """Sum of the drops along a trace, (n,)."""
    parts = columns(trace, base, series.tau_s, series.activation_ev)
    return np.asarray(parts @ series.ohm)


def fit(
    traces: Sequence[Trace],
    rest_v: Sequence[Floats],
    base: Cell,
    *,
    with_temperature: bool,
    with_contact: bool = False,
) -> Series:
    """Fit all traces together; rest_v is the voltage without the drops, along each trace."""
    problem = _Problem(traces, rest_v, base, with_temperature, with_contact)
    theta, evaluations = problem.first(), 0
    for _ in range(ROUNDS):
        found = least_squares(
            problem.residual, theta, bounds=problem.bounds(), x_scale=problem.scale(),
            diff_step=1e-3, xtol=1e-4, ftol=1e-5, gtol=1e-8, max_nfev=60,
        )  # fmt: skip
        theta, evaluations = found.x, evaluations + int(found.nfev)
        problem.tame(theta)
    return problem.result(theta, evaluations)


def local(trace: Trace, rest: Floats, base: Cell, series: Series) -> Floats:
    """Resistances window by window, (k, 5): SoC, degC, then ohmic, transfer, diffusion in ohm.

    With the fitted time constants, at the temperature of the window: the points of a plot.
    """
    parts = columns(trace, base, series.tau_s, series.activation_ev)
    parts = np.column_stack([trace.current_a, parts[:, 2:]])
    sigma_v, group, out = _sigma_v(trace), windows(trace), []
    for number in np.unique(group):
        inside = group == number
        current_a = trace.current_a[inside]
        if inside.sum() < 8 or np.ptp(current_a) < 0.05 * np.ptp(trace.current_a):
            continue
        weight = 1.0 / sigma_v[inside][:, None]
        rows = np.column_stack([parts[inside], np.ones(inside.sum())]) * weight
        goal = (rest - trace.voltage_v)[inside] * weight[:, 0]
        best = np.linalg.lstsq(rows, goal, rcond=None)[0]
        flows = np.abs(current_a) > 0.5 * np.max(np.abs(current_a))
        degc = float(np.mean(trace.temperature_degc[inside][flows]))
        soc = float(np.mean(trace.soc_frac[inside][flows]))
        law = [float(circuit.factor(series.activation_ev[k], np.array(degc))) for k in (2, 3)]
        out.append([soc, degc, best[0], best[1] * law[0], best[2] * law[1]])
    return np.array(out).reshape(-1, 5)


def windows(trace: Trace) -> NDArray[np.int64]:
    """Number of the window of each sample, (n,): a new one at each end of a rest and each gap."""
    return np.asarray(np.cumsum(is_rest(trace) | trace.relaxed))


class _Problem:
    """Columns, weights and the search vector (log tau1, log tau2, activation energies)."""

    def __init__(
        self,
        traces: Sequence[Trace],
        rest_v: Sequence[Floats],
        base: Cell,
        warm: bool,
        contact: bool,
    ) -> None:
        self.traces, self.base, self.warm, self.contact = traces, base, warm, contact
        made = from_base(base)
        ohmic = made.ohm[:2].sum()
        # From fitted resistances to the four of SERIES, and from fitted energies to four.
        self.mix = np.eye(4) if contact else np.zeros((4, 3))
        self.share = np.eye(4) if contact else np.zeros((4, 3))
        if not contact:
            self.mix[:2, 0] = made.ohm[:2] / ohmic
            self.share[:2, 0] = 1.0
            self.mix[2, 1] = self.mix[3, 2] = self.share[2, 1] = self.share[3, 2] = 1.0
        self.base_ev = made.activation_ev
        self.goal_v = np.concatenate([v - t.voltage_v for t, v in zip(traces, rest_v, strict=True)])
        # Each record counts alike, however many samples it has.
        even = np.concatenate([np.full(len(t.time_s), len(t.time_s) ** 0.5) for t in traces])
        self.sigma_v = np.concatenate([_sigma_v(t) for t in traces])
        self.even = even / np.median(even)
        self.cluster = np.concatenate([windows(t) + 100_000 * k for k, t in enumerate(traces)])
        _, self.group = np.unique(self.cluster, return_inverse=True)
        apart_k = np.concatenate([np.abs(t.temperature_degc - 25.0) for t in traces])
        mean_k = np.bincount(self.group, apart_k) / np.bincount(self.group)
        self.offset_v = OFFSET_V + OFFSET_V_PER_K * mean_k
        self.floor_s = max(1.0, 2.0 * min(_fine_s(t) for t in traces))
        self.taming = np.ones_like(self.sigma_v)

    def first(self) -> Floats:
        low, high = self.bounds()
        tau = [np.clip(np.log(x), low[k] + 0.1, high[k] - 0.1) for k, x in enumerate((5.0, 150.0))]
        energies = np.clip(self.base_ev, 0.05, 1.0) if self.warm else np.empty(0)
        if self.warm and not self.contact:
            energies = energies[[0, 2, 3]]
        elif self.warm:
            energies[:2] = 0.35, 0.05
        return np.concatenate([tau, energies])

    def bounds(self) -> tuple[list[float], list[float]]:
        (fast_s, fast_max_s), (slow_s, slow_max_s) = TAU_S
        fast_s = max(fast_s, self.floor_s)
        low = [np.log(fast_s), np.log(max(slow_s, 2.0 * fast_s))]
        high = [np.log(max(fast_max_s, 1.9 * fast_s)), np.log(slow_max_s)]
        if self.warm:
            count = self.share.shape[1]
            low, high = low + [0.0] * count, high + [ENERGY_MAX_EV] * count
            if self.contact:  # which of the two is which
                low[2], high[3] = CONTACT_MAX_EV, CONTACT_MAX_EV
        return low, high

    def scale(self) -> list[float]:
        return [1.0, 1.0] + ([0.2] * self.share.shape[1] if self.warm else [])

    def split(self, theta: Floats) -> tuple[tuple[float, float], Floats]:
        energies = self.share @ theta[2:] if self.warm else self.base_ev
        return (float(np.exp(theta[0])), float(np.exp(theta[1]))), np.asarray(energies)

    def centred(self, values: Floats, weight: Floats) -> Floats:
        """Values (n, ...) less most of the weighted mean of their window, times the weight.

        The share of the mean that is taken makes the sum of squares that of a window's constant
        drawn from a normal law of OFFSET_V and more away from 25 degC.
        """
        square = weight**2
        total = np.bincount(self.group, square)
        share = 1.0 - 1.0 / np.sqrt(1.0 + total * self.offset_v**2)
        flat = values.reshape(len(values), -1)
        means = [np.bincount(self.group, square * c) / total * share for c in flat.T]
        moved = flat - np.column_stack(means)[self.group]
        return np.asarray((moved * weight[:, None]).reshape(values.shape))

    def drops(self, theta: Floats) -> Floats:
        tau_s, energies = self.split(theta)
        each = [columns(t, self.base, tau_s, energies) for t in self.traces]
        return np.asarray(np.vstack(each) @ self.mix)

    def solve(self, theta: Floats) -> tuple[Floats, Floats, Floats]:
        """Best resistances, weighted columns (n, 3 or 4) and weighted residual (n,)."""
        weight = self.taming / self.sigma_v / self.even
        parts = self.centred(self.drops(theta), weight)
        goal = self.centred(self.goal_v, weight)
        free = np.ones(parts.shape[1], dtype=bool)
        best = np.zeros(parts.shape[1])
        while free.any():
            best[:] = 0.0
            best[free] = np.linalg.lstsq(parts[:, free], goal, rcond=None)[0]
            if not (best < 0).any():
                break
            free &= best > 0
        return best, parts, goal - parts @ best

    def residual(self, theta: Floats) -> Floats:
        return self.solve(theta)[2]

    def tame(self, theta: Floats) -> None:
        """Huber's weights from the present residuals."""
        error = np.abs(self.solve(theta)[2]) / self.taming * self.even
        self.taming = np.sqrt(np.minimum(1.0, HUBER / np.maximum(error, 1e-9)))

    def result(self, theta: Floats, evaluations: int) -> Series:
        best, parts, error = self.solve(theta)
        weight = self.taming / self.sigma_v / self.even
        moved = []
        for k in range(len(theta)):
            step = np.zeros(len(theta))
            step[k] = 1e-3
            change = (self.drops(theta + step) - self.drops(theta - step)) @ best / 2e-3
            moved.append(self.centred(change, weight))
        jacobian = np.column_stack([parts, *moved])
        low, high = map(np.array, self.bounds())
        inside = (theta > low + 1e-3) & (theta < high - 1e-3)  # what lies at a bound is no optimum
        known = np.concatenate([best > 0, inside])
        used = jacobian[:, known]
        inverse = np.linalg.pinv(used.T @ used, rcond=1e-12, hermitian=True)
        half = np.full(len(known), np.nan)
        spread = sandwich(used, error, self.cluster, inverse)
        half[known] = 2 * np.sqrt(np.maximum(np.diag(spread), 0.0))
        tau_s, energies = self.split(theta)
        count = len(best)
        half[count : count + 2] *= tau_s  # of the logarithms
        halves = {
            "charge_transfer_tau_s": float(half[count]),
            "diffusion_tau_s": float(half[count + 1]),
        }
        spread_ohm = _through(self.mix, half[:count])
        for name, value in zip(SERIES, spread_ohm, strict=True):
            halves[f"{name}_ohm"] = float(value)
        if self.warm:
            for name, value in zip(SERIES, _through(self.share, half[count + 2 :]), strict=True):
                halves[f"{name}_activation_ev"] = float(value)
        ohm = self.mix @ best
        ohm = np.maximum(ohm, max(LEAST_OHM * float(ohm.sum()), 1e-9))
        return Series(ohm, tau_s, energies, halves, evaluations)


def _through(mix: Floats, half: Floats) -> Floats:
    """Half-widths of the four from those of the fitted, NaN staying with its own."""
    unknown = (mix != 0) @ np.isnan(half).astype(float) > 0
    return np.asarray(np.where(unknown, np.nan, mix @ np.nan_to_num(half)))


def _fine_s(trace: Trace) -> float:
    """The finest usual sampling."""
    return float(np.quantile(np.diff(trace.time_s), 0.1))


def _sigma_v(trace: Trace) -> Floats:
    """What the circuit may miss at each sample, (n,); very much right after a step."""
    ohm = trace.step_ohm if np.isfinite(trace.step_ohm) and trace.step_ohm > 0 else 0.0
    late_a = circuit.polarisation(trace, LATE_S, 0.0)
    drop = ohm * (np.abs(trace.current_a) + np.abs(late_a))
    size = float(np.max(np.abs(trace.current_a)))
    step = np.abs(np.diff(trace.current_a, prepend=trace.current_a[0])) > 0.02 * size
    at = np.maximum.accumulate(np.where(step, np.arange(len(step)), 0))
    since_s = trace.time_s - trace.time_s[np.maximum(at - 1, 0)]
    fast = (at > 0) & (since_s < FAST_S) & (_fine_s(trace) < FAST_S / 2)
    return np.asarray(np.hypot(NOISE_V, MODEL_FRAC * drop) * np.where(fast, 1e3, 1.0))
