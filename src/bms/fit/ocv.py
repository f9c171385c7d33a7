"""Open-circuit voltage, hysteresis and entropic coefficient: one linear problem.

Three kinds of rows: samples of the slow cycle with the small drops of the resistances added back;
rests of the pulse records; and, where there is no slow cycle, every sample of the records nearest
25 degC. The rests may differ from the slow cycle by a smooth curve (a slow cycle is never quite at
rest, and cells age between tests); the curve sought is that of the rests with the shape of the slow
cycle. Intervals as in electric.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..model import Cell
from . import circuit
from .circuit import Floats, Trace

GRID = np.unique(
    np.concatenate(
        [[0.0, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.125, 0.15, 0.175],
         np.round(np.arange(0.2, 0.951, 0.025), 3), [0.965, 0.98, 0.99, 1.0]]
    )
)  # fmt: skip
SHIFT_GRID = np.array([0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
NOISE_V = 0.002
MODEL_FRAC = 0.15  # of the drops that were added back
DROP_FRAC = 0.05  # of them that may be wrong on a whole slow cycle
LAG_SOC_FRAC = 0.003  # by which the surface may lead the inside while current flows
BEND_V = 0.004  # change of slope between neighbours of the grid, times their distance
STEEP_SOC_FRAC, STEEP_BEND_V = 0.1, 0.06  # the same where a cell runs empty
SHIFT_V, SHIFT_BEND_V = 0.02, 0.004
WARM_GRID = np.array([0.0, 0.1, 0.25, 0.5, 0.75, 1.0])  # of the entropic coefficient
WARM_BEND_V_PER_K = 3e-5
# No electrode pair has more (graphite and lithium against oxides or phosphate: Reynier 2004, Forgez
# 2010). Rests too short for the cold ask for more: what has not relaxed yet looks like entropy.
ENTROPIC_V_PER_K = 5e-4
REST_S = 300.0
SLOPE_V = 1e-3  # per unit of charge: the least slope, so that voltage always tells charge


@dataclass(frozen=True)
class Curve:
    """Volts on GRID at 25 degC, midway between the branches, with 95 % half-widths."""

    volts: Floats
    half_v: Floats
    hysteresis_v: float
    hysteresis_half_v: float  # NaN: taken from the base
    entropic_v_per_k: Floats  # on GRID
    entropic_half_v_per_k: float  # NaN: taken from the base
    shift_v: float  # root mean square between rests and slow cycle; NaN without either
    asked_v_per_k: float = 0.0  # largest entropic coefficient that the rests asked for


def from_base(base: Cell) -> Curve:
    """What the base says, to begin with."""
    made = base.electric
    volts = np.interp(GRID, made.ocv_soc_frac, made.ocv_v)
    nan = float("nan")
    return Curve(
        volts, np.full(len(GRID), nan), made.hysteresis_v, nan, _entropic(base, GRID), nan, nan
    )


def is_rest(trace: Trace) -> NDArray[np.bool_]:
    """Last samples of rests of at least REST_S, (n,)."""
    size = float(np.max(np.abs(trace.current_a)))
    quiet = np.abs(trace.current_a) < 0.01 * size + 1e-9
    quiet |= np.abs(trace.mean_a) + np.abs(trace.current_a) < 0.01 * size
    began = np.where(quiet, 0.0, trace.time_s)
    since_s = trace.time_s - np.maximum.accumulate(np.where(quiet, began, trace.time_s))
    after_gap = np.maximum.accumulate(np.where(trace.relaxed, np.arange(len(quiet)), 0))
    broken = np.cumsum(~quiet)[after_gap] == np.cumsum(~quiet)  # nothing flowed since the gap
    long = quiet & ((since_s >= REST_S) | broken)
    last = long & ~np.append(long[1:], False)
    return np.asarray(last)


def fit(
    traces: Sequence[Trace],
    drops_v: Sequence[Floats],
    base: Cell,
    roles: Sequence[str],
    *,
    with_hysteresis: bool,
    with_entropic: bool,
    ends_v: tuple[float, float] | None = None,
) -> Curve:
    """Fit; drops_v are the resistive drops of each trace, to be added back.

    ends_v: rest voltages that are SoC 0 and 1 by definition.
    """
    has_slow, nan = "slow" in roles, float("nan")
    counts = any(t.soc_is_counted for t, r in zip(traces, roles, strict=True) if r != "slow")
    rows = _gather(traces, drops_v, base, roles, with_entropic)
    m, k, w = len(GRID), len(SHIFT_GRID), len(WARM_GRID)
    shifts = has_slow and not rows.is_slow.all()
    columns = np.zeros((len(rows.goal_v), m + k + w + 1))
    columns[:, :m] = circuit.hats(GRID, rows.soc_frac)
    if shifts:
        columns[~rows.is_slow, m : m + k] = circuit.hats(SHIFT_GRID, rows.soc_frac[~rows.is_slow])
    goal_v, sigma_v, cluster = rows.goal_v, rows.sigma_v, rows.cluster
    if with_hysteresis:
        columns[:, m + k] = -rows.loop
    else:
        goal_v = goal_v + base.electric.hysteresis_v * rows.loop
    if with_entropic:
        warm = circuit.hats(WARM_GRID, np.clip(rows.soc_frac, 0, 1))
        columns[:, m + k + 1 :] = warm * rows.warmer_k[:, None]
    else:
        goal_v = goal_v - rows.warmer_k * _entropic(base, rows.soc_frac)
    if ends_v is not None:
        fixed = np.zeros((2, columns.shape[1]))
        fixed[0, 0] = fixed[1, m - 1] = 1.0
        columns, goal_v = np.vstack([columns, fixed]), np.append(goal_v, ends_v)
        sigma_v, cluster = np.append(sigma_v, [NOISE_V] * 2), np.append(cluster, [-1.0, -2.0])
    best, spread = _solve(columns, goal_v, sigma_v, cluster, _prior(m, k, w))
    volts, covariance = best[:m], spread[:m, :m]
    shift_v = nan
    if shifts and counts:  # the curve of the rests
        on_grid = circuit.hats(SHIFT_GRID, GRID)
        both = np.hstack([np.eye(m), on_grid])
        volts = both @ best[: m + k]
        covariance = both @ spread[: m + k, : m + k] @ both.T
        shift_v = float(np.sqrt(np.mean((on_grid @ best[m : m + k]) ** 2)))
    deviation = np.sqrt(np.maximum(np.diag(spread), 0.0))
    loop_v, loop_half_v = base.electric.hysteresis_v, nan
    if with_hysteresis:  # a drop added back too little on both branches looks like hysteresis
        drop_v = DROP_FRAC * float(np.median(rows.drop_v[rows.is_slow]))
        loop_v, loop_half_v = max(float(best[m + k]), 0.0), np.hypot(2 * deviation[m + k], drop_v)
    slope, slope_half, asked_v_per_k = _entropic(base, GRID), nan, 0.0
    if with_entropic:
        asked = circuit.hats(WARM_GRID, GRID) @ best[m + k + 1 :]
        slope = np.clip(asked, -ENTROPIC_V_PER_K, ENTROPIC_V_PER_K)
        slope_half = 2 * float(np.median(deviation[m + k + 1 :]))
        asked_v_per_k = float(np.max(np.abs(asked)))
    return Curve(
        volts=_rising(volts),
        half_v=2 * np.sqrt(np.maximum(np.diag(covariance), 0.0)),
        hysteresis_v=loop_v,
        hysteresis_half_v=float(loop_half_v),
        entropic_v_per_k=slope,
        entropic_half_v_per_k=slope_half,
        shift_v=shift_v,
        asked_v_per_k=asked_v_per_k,
    )


@dataclass(frozen=True)
class _Rows:
    soc_frac: Floats
    goal_v: Floats
    sigma_v: Floats
    loop: Floats
    warmer_k: Floats
    drop_v: Floats  # magnitude
    is_slow: NDArray[np.bool_]
    cluster: Floats


def _gather(
    traces: Sequence[Trace],
    drops_v: Sequence[Floats],
    base: Cell,
    roles: Sequence[str],
    with_entropic: bool,
) -> _Rows:
    """The rows of all traces together."""
    each = [
        _rows(t, d, base, role, "slow" in roles, with_entropic)
        for t, d, role in zip(traces, drops_v, roles, strict=True)
    ]
    joined = {f.name: np.concatenate([getattr(r, f.name) for r in each]) for f in fields(_Rows)}
    return _Rows(**joined)


def _rows(
    trace: Trace, drop_v: Floats, base: Cell, role: str, has_slow: bool, with_entropic: bool
) -> _Rows:
    rest = is_rest(trace)
    near = abs(trace.ambient_degc - 25.0) <= 5.0
    if role == "slow" or (near and not has_slow):
        chosen = np.ones(len(rest), dtype=bool)
    else:
        chosen = rest & (near or with_entropic)
    sigma_v = np.hypot(NOISE_V, MODEL_FRAC * np.abs(drop_v))
    made = base.electric
    slope = np.gradient(np.interp(GRID, made.ocv_soc_frac, made.ocv_v), GRID)
    lag_v = LAG_SOC_FRAC * np.interp(trace.soc_frac, GRID, slope)
    sigma_v = np.where(rest, sigma_v, np.hypot(sigma_v, lag_v))
    if role != "slow" and not has_slow:
        sigma_v = np.where(rest, sigma_v, np.hypot(sigma_v, 2 * NOISE_V))
    loop = circuit.hysteresis(trace, base.electric.hysteresis_soc_frac)
    place = np.floor(10 * np.clip(trace.soc_frac, 0.0, 0.999))
    return _Rows(
        soc_frac=trace.soc_frac[chosen],
        goal_v=(trace.voltage_v + drop_v)[chosen],
        sigma_v=sigma_v[chosen],
        loop=loop[chosen],
        warmer_k=trace.temperature_degc[chosen] - 25.0,
        drop_v=np.abs(drop_v[chosen]),
        is_slow=np.full(int(chosen.sum()), role == "slow"),
        cluster=(1000.0 * trace.number + place + 100.0 * (loop < 0))[chosen],
    )


def _entropic(base: Cell, soc_frac: Floats) -> Floats:
    made = base.electric
    return np.asarray(np.interp(soc_frac, made.ocv_soc_frac, made.entropic_v_per_k))


def _prior(m: int, k: int, w: int) -> Floats:
    """Rows that ask for smooth curves and a small shift."""
    out = np.zeros((m - 2 + k - 2 + k + w - 2, m + k + w + 1))
    allowed_v = np.where(GRID[1:-1] < STEEP_SOC_FRAC, STEEP_BEND_V, BEND_V)
    out[: m - 2, :m] = bending(GRID) / allowed_v[:, None]
    out[m - 2 : m + k - 4, m : m + k] = bending(SHIFT_GRID) / SHIFT_BEND_V
    out[m + k - 4 : m + 2 * k - 4, m : m + k] = np.eye(k) / SHIFT_V
    out[m + 2 * k - 4 :, m + k + 1 :] = bending(WARM_GRID) / WARM_BEND_V_PER_K
    return out


def bending(grid: Floats) -> Floats:
    """(m - 2, m): change of slope at each inner point times the distance of its neighbours."""
    out = np.zeros((len(grid) - 2, len(grid)))
    for j in range(1, len(grid) - 1):
        left, right = grid[j] - grid[j - 1], grid[j + 1] - grid[j]
        size = 0.5 * (left + right)
        out[j - 1, j - 1 : j + 2] = size / left, -size / left - size / right, size / right
    return out


def _solve(
    columns: Floats, goal_v: Floats, sigma_v: Floats, cluster: Floats, prior: Floats
) -> tuple[Floats, Floats]:
    """Huber-weighted least squares; parameters and their clustered covariance."""
    taming = np.ones_like(sigma_v)
    for _ in range(4):
        weight = taming / sigma_v
        weighted, goal = columns * weight[:, None], goal_v * weight
        normal = weighted.T @ weighted + prior.T @ prior
        unused = np.diag(normal) < 1e-9
        normal[unused, unused] = 1.0
        inverse = np.linalg.inv(normal)
        best = inverse @ (weighted.T @ goal)
        error = np.abs(goal_v - columns @ best) / sigma_v
        taming = np.sqrt(np.minimum(1.0, 3.0 / np.maximum(error, 1e-9)))
    return best, sandwich(weighted, goal - weighted @ best, cluster, inverse)


def sandwich(jacobian: Floats, error: Floats, cluster: NDArray[Any], inverse: Any) -> Floats:
    """Covariance of least squares whose errors hang together within clusters."""
    groups = np.unique(cluster)
    scores = np.array([jacobian[cluster == g].T @ error[cluster == g] for g in groups])
    share = len(groups) / max(len(groups) - 1, 1)
    return np.asarray(share * inverse @ (scores.T @ scores) @ inverse)


def _rising(volts: Floats) -> Floats:
    """The nearest rising curve by pooling neighbours, then the least slope everywhere."""
    level, weight = list(volts), [1.0] * len(volts)
    pools: list[list[float]] = []
    for value, w in zip(level, weight, strict=True):
        pools.append([value, w])
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (b, v), (a, u) = pools.pop(), pools.pop()
            pools.append([(a * u + b * v) / (u + v), u + v])
    flat = np.concatenate([np.full(round(w), v) for v, w in pools])
    return np.asarray(np.maximum.accumulate(flat) + SLOPE_V * (GRID - 0.5))
