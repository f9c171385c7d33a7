"""Heat capacity and conductances of a cell from records with temperatures.

Two nodes, as in the plant: C_core dT_core/dt = Q - G (T_core - T_surface), C_surface dT_surface/dt
= G (T_core - T_surface) - H (T_surface - T_outside). The heat Q is current times the measured drop
from the open-circuit voltage, which a smooth curve over charge stands in for, less the reversible
heat I T dU/dT. H belongs to the test bench and not to the cell; it is fitted and reported because
the rest depends on it.

Without a core temperature the split into core and surface cannot be told: core_frac and G stay
those of the base, and the heat capacity is fitted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import expm
from scipy.optimize import least_squares
from scipy.signal import lfilter

from ..model import Cell
from ..units import ZERO_DEGC_K
from .circuit import Floats
from .manifest import Manifest, missing
from .ocv import sandwich
from .records import Loaded

RISE_K = 1.0  # less excitation than this tells nothing
CLUSTER_S = 300.0
CORE_FRAC = (0.1, 0.9)


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


def fit(
    manifest: Manifest, loaded: list[Loaded], base: Cell, entropic_v_per_k: float
) -> tuple[Heat, tuple[HeatScore, ...]]:
    """Fit the records with role `thermal`; ConfigError names what is missing.

    entropic_v_per_k: mean over charge, for the reversible heat.
    """
    runs = [_run(r, entropic_v_per_k) for r in loaded if r.entry.role == "thermal"]
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
    heat = _fit(used, base, with_core)
    return heat, tuple(_score(r, heat) for r in runs)


def _run(loaded: Loaded, entropic_v_per_k: float) -> _Run:
    record = loaded.record
    step_s = max(1.0, float(np.median(np.diff(record.time_s))))
    time_s = np.arange(record.time_s[0], record.time_s[-1], step_s)

    def even(values: Floats) -> Floats:
        return np.asarray(np.interp(time_s, record.time_s, values))

    moved_ah = even(loaded.charge_ah)
    current_a = np.diff(moved_ah, prepend=moved_ah[0]) * 3600.0 / step_s
    voltage_v = even(record.voltage_v)
    drop_v = _drop_v(moved_ah, current_a, voltage_v, step_s)
    outside = record.temperature_coolant_degc
    core, surface = record.temperature_core_degc, even(record.temperature_degc)
    return _Run(
        name=loaded.entry.path,
        is_judged=loaded.entry.is_judged,
        step_s=step_s,
        heat_w=current_a * (drop_v - entropic_v_per_k * (surface + ZERO_DEGC_K)),
        outside_degc=np.full(len(time_s), loaded.entry.ambient_degc)
        if outside is None
        else even(outside),
        surface_degc=surface,
        core_degc=None if core is None else even(core),
    )


def _drop_v(moved_ah: Floats, current_a: Floats, voltage_v: Floats, step_s: float) -> Floats:
    """Open-circuit voltage less voltage, from one regression of the record on itself."""
    scale = max(float(np.ptp(moved_ah)), 1e-9)
    x = (moved_ah - moved_ah.min()) / scale
    slow = [
        lfilter([1 - np.exp(-step_s / tau)], [1, -np.exp(-step_s / tau)], current_a)
        for tau in (10.0, 100.0)
    ]
    rest = np.column_stack([x**k for k in range(5)])
    parts = np.column_stack([rest, current_a, *slow])
    best = np.linalg.lstsq(parts, voltage_v, rcond=None)[0]
    return np.asarray(rest @ best[:5] - voltage_v)


def _simulate(run: _Run, theta: Floats) -> tuple[Floats, Floats]:
    """Core and surface temperatures, each (n,), from the measured start.

    theta: logarithm of the whole heat capacity, share of the core, logarithms of G and H. Exact
    for inputs that hold for a step: the two modes are filtered apart.
    """
    whole_j, inner, outer = np.exp(theta[[0, 2, 3]])
    core_j, surface_j = whole_j * theta[1], whole_j * (1.0 - theta[1])
    a = np.array([[-inner / core_j, inner / core_j],
                  [inner / surface_j, -(inner + outer) / surface_j]])  # fmt: skip
    inputs = np.column_stack([run.heat_w / core_j, run.outside_degc * outer / surface_j])
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
                out.append(core - run.core_degc)
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
