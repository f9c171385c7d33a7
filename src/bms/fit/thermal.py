"""Heat capacity and conductances of a cell from records with temperatures.

Heat made all over a cell and two nodes with shares c and 1 - c of the heat capacity C:

    C dT_core/dt = Q - G (T_core - T_surface)
    (1 - c) C dT_surface/dt = (1 - c) Q + c G (T_core - T_surface) - H (T_surface - T_outside)

so G is heat over core less surface when both are steady, whatever c. The heat Q is what the
estimator makes of the record: current times what the voltage is below its open-circuit voltage,
less the reversible heat. What it makes of another record is scaled alike, so constants that are a
little off with the heat serve it all the same. H belongs to the test bench; it stands in the cell
file because records of one bench resemble each other.

Where the core was measured, three things are fitted together: both temperatures driven from the
outside; the core driven by heat and the measured surface; and the quasi-steady law, in which no
heat appears, T_core - T_surface = (H / G) (T_surface - T_outside). The last is right to a tenth
of a kelvin where the others are to a few, so it weighs more.

Without a core temperature the split into core and surface cannot be told: core_frac and G stay
those of the base, and the heat capacity is fitted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import expm
from scipy.optimize import least_squares
from scipy.signal import lfilter

from ..estimator import Estimator
from ..model import Cell
from ..units import ZERO_DEGC_K
from .circuit import Floats
from .manifest import Manifest, missing
from .ocv import sandwich
from .records import Loaded

RISE_K = 1.0  # less excitation than this tells nothing
CLUSTER_S = 300.0
CORE_FRAC = (0.1, 0.8)  # can and outer turns are a fifth at least
LAW_WEIGHT = 3.0
SINK_S = 30.0  # smoothing of the outside temperature, as the observer has it


@dataclass(frozen=True)
class Heat:
    """Constants with their 95 % half-widths by name; has_core: core and surface were told apart."""

    whole_j_per_k: float
    core_frac: float
    core_surface_w_per_k: float
    outside_w_per_k: float
    half: dict[str, float]
    has_core: bool
    names: tuple[str, ...]  # files


@dataclass(frozen=True)
class HeatScore:
    """A record against the fitted constants, driven by the outside temperature alone."""

    name: str
    is_judged: bool
    time_s: Floats
    surface_degc: Floats
    core_degc: Floats | None
    outside_degc: Floats
    model_surface_degc: Floats
    model_core_degc: Floats
    law_rmse_k: float  # of T_core = T_surface + (H / G) (T_surface - T_outside); NaN without core

    @property
    def rmse_k(self) -> tuple[float, float]:
        """Of surface and core; NaN without core."""
        core = self.core_degc
        each = (self.model_surface_degc - self.surface_degc,
                np.full(1, np.nan) if core is None else self.model_core_degc - core)  # fmt: skip
        return float(np.sqrt(np.mean(each[0] ** 2))), float(np.sqrt(np.mean(each[1] ** 2)))


@dataclass(frozen=True)
class _Run:
    """A record on an even grid."""

    name: str
    is_judged: bool
    step_s: float
    heat_w: Floats
    outside_degc: Floats
    surface_degc: Floats
    core_degc: Floats | None


def fit(manifest: Manifest, loaded: list[Loaded], cell: Cell) -> tuple[Heat, tuple[HeatScore, ...]]:
    """Fit the records with role `thermal`; ConfigError names what is missing.

    cell: as far as it is fitted. Its curve and resistances give the heat.
    """
    runs = [_run(r, cell) for r in loaded if r.entry.role == "thermal"]
    used = [r for r in runs if not r.is_judged]
    with_core = "core" in manifest.fit
    if not used:
        raise missing(manifest, "heat_capacity", "a drive with temperatures, role `thermal`")
    if with_core and not all(r.core_degc is not None for r in used):
        what = "a core temperature (`temperature_core_degc`) beside that of the surface"
        raise missing(manifest, "core", what)
    if max(float(np.ptp(r.surface_degc - r.outside_degc)) for r in used) < RISE_K:
        what = f"a load that warms the surface by {RISE_K:g} K or more"
        raise missing(manifest, "heat_capacity", what)
    heat = _fit(used, cell, with_core)
    return heat, tuple(_score(r, heat) for r in runs)


def heat_w(loaded: Loaded, cell: Cell) -> Floats:
    """What the estimator takes for the heat at each sample of a record, (n,)."""
    record, made = loaded.record, cell.electric
    found = Estimator(cell).run(
        record.time_s, loaded.current_a, record.voltage_v, record.temperature_degc,
        record.pressure_kpa,
    )  # fmt: skip
    soc, warm_k = found.soc_frac, record.temperature_degc - 25.0
    slope = np.interp(soc, made.ocv_soc_frac, made.entropic_v_per_k)
    rest_v = np.interp(soc, made.ocv_soc_frac, made.ocv_v) + slope * warm_k
    reversible_v = slope * (record.temperature_degc + ZERO_DEGC_K)
    return np.asarray(loaded.current_a * (rest_v - record.voltage_v - reversible_v))


def _run(loaded: Loaded, cell: Cell) -> _Run:
    record = loaded.record
    step_s = max(1.0, float(np.median(np.diff(record.time_s))))
    time_s = np.arange(record.time_s[0], record.time_s[-1], step_s)

    def even(values: Floats) -> Floats:
        return np.asarray(np.interp(time_s, record.time_s, values))

    made_j = even(np.cumsum(heat_w(loaded, cell) * np.diff(record.time_s, prepend=0.0)))
    outside, core = record.temperature_coolant_degc, record.temperature_core_degc
    return _Run(
        name=loaded.entry.path,
        is_judged=loaded.entry.is_judged,
        step_s=step_s,
        heat_w=np.diff(made_j, prepend=made_j[0]) / step_s,
        outside_degc=np.full(len(time_s), loaded.entry.ambient_degc)
        if outside is None
        else even(outside),
        surface_degc=even(record.temperature_degc),
        core_degc=None if core is None else even(core),
    )


def _simulate(run: _Run, theta: Floats) -> tuple[Floats, Floats]:
    """Core and surface temperatures, each (n,), from the measured start.

    theta: logarithm of the whole heat capacity, share of the core, logarithms of G and H. Exact
    for inputs that hold for a step: the two modes are filtered apart.
    """
    whole_j, inner, outer = np.exp(theta[[0, 2, 3]])
    surface_j, inward = whole_j * (1.0 - theta[1]), inner * theta[1]
    a = np.array([[-inner / whole_j, inner / whole_j],
                  [inward / surface_j, -(inward + outer) / surface_j]])  # fmt: skip
    outside_w = run.outside_degc * outer
    inputs = np.column_stack([run.heat_w / whole_j, run.heat_w / whole_j + outside_w / surface_j])
    rates, modes = np.linalg.eig(a)
    back = np.linalg.inv(modes)
    start_core = run.surface_degc[0] if run.core_degc is None else run.core_degc[0]
    state = back @ np.array([start_core, run.surface_degc[0]])
    step = np.linalg.solve(a, expm(a * run.step_s) - np.eye(2))
    forced = inputs @ (back @ step).T
    out = np.empty((len(inputs), 2))
    for k in range(2):
        keep = np.exp(rates[k] * run.step_s)
        drive = np.concatenate([[state[k]], forced[1:, k]])
        out[:, k] = lfilter([1.0], [1.0, -keep], drive)
    both = out @ modes.T
    return both[:, 0], both[:, 1]


def _by_heat_and_law(run: _Run, core_degc: Floats, theta: Floats) -> tuple[Floats, Floats]:
    """The core from heat and measured surface, and by the quasi-steady law, each (n,)."""
    whole_j, inner, outer = np.exp(theta[[0, 2, 3]])
    keep = np.exp(-run.step_s * inner / whole_j)
    drive = (1.0 - keep) * (run.heat_w / inner + run.surface_degc)
    drive[0] = core_degc[0]
    by_heat = np.asarray(lfilter([1.0], [1.0, -keep], drive))
    share = run.step_s / (run.step_s + SINK_S)
    begin = [(1.0 - share) * run.outside_degc[0]]
    sink = lfilter([share], [1.0, share - 1.0], run.outside_degc, zi=begin)[0]
    return by_heat, run.surface_degc + outer / inner * (run.surface_degc - sink)


def _fit(runs: list[_Run], base: Cell, with_core: bool) -> Heat:
    made = base.thermal
    whole_j = base.geometry.mass_kg * made.heat_capacity_j_per_kg_k
    inner = np.log(made.core_surface_w_per_k)

    def full(theta: Floats) -> Floats:
        if with_core:
            return theta
        return np.array([theta[0], made.core_frac, inner, theta[1]])

    def residual(theta: Floats) -> Floats:
        out = []
        for run in runs:
            core, surface = _simulate(run, full(theta))
            out.append(surface - run.surface_degc)
            if with_core and run.core_degc is not None:
                by_heat, by_law = _by_heat_and_law(run, run.core_degc, full(theta))
                out += [core - run.core_degc, by_heat - run.core_degc]
                out.append(LAW_WEIGHT * (by_law - run.core_degc))
        return np.concatenate(out)

    first = np.array([np.log(whole_j), inner - 0.5])
    low, high = np.full(2, -np.inf), np.full(2, np.inf)
    if with_core:
        first = np.array([np.log(whole_j), min(max(made.core_frac, 0.2), 0.8), inner, inner - 0.5])
        low = np.array([-np.inf, CORE_FRAC[0], -np.inf, -np.inf])
        high = np.array([np.inf, CORE_FRAC[1], np.inf, np.inf])
    found = least_squares(residual, first, bounds=(low, high), diff_step=1e-4, max_nfev=100)
    best = full(found.x)
    count = max(int(CLUSTER_S / runs[0].step_s), 1)
    cluster = np.arange(len(found.fun)) // count
    free = (found.x > low + 1e-3) & (found.x < high - 1e-3)
    used = found.jac[:, free]
    inverse = np.linalg.pinv(used.T @ used, hermitian=True)
    deviation = np.full(len(free), np.nan)
    deviation[free] = 2 * np.sqrt(np.diag(sandwich(used, found.fun, cluster, inverse)))
    whole, inner_w, outer_w = (float(x) for x in np.exp(best[[0, 2, 3]]))
    half = {"whole": deviation[0] * whole, "outside": deviation[-1] * outer_w}
    if with_core:
        half |= {"core_frac": deviation[1], "core_surface": deviation[2] * inner_w}
    values = {k: float(v) for k, v in half.items()}
    names = tuple(r.name for r in runs)
    return Heat(whole, float(best[1]), inner_w, outer_w, values, with_core, names)


def _score(run: _Run, heat: Heat) -> HeatScore:
    logs = np.log([heat.whole_j_per_k, heat.core_surface_w_per_k, heat.outside_w_per_k])
    core, surface = _simulate(run, np.array([logs[0], heat.core_frac, logs[1], logs[2]]))
    law = float("nan")
    if run.core_degc is not None:
        biot = heat.outside_w_per_k / heat.core_surface_w_per_k
        quasi = run.surface_degc + biot * (run.surface_degc - run.outside_degc)
        law = float(np.sqrt(np.mean((quasi - run.core_degc) ** 2)))
    return HeatScore(
        name=run.name,
        is_judged=run.is_judged,
        time_s=np.asarray(run.step_s * np.arange(len(core)), dtype=np.float64),
        surface_degc=run.surface_degc,
        core_degc=run.core_degc,
        outside_degc=run.outside_degc,
        model_surface_degc=surface,
        model_core_degc=core,
        law_rmse_k=law,
    )
