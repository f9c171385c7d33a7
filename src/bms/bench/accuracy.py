"""Accuracy of charge and core temperature on records with truth, beside the usual methods.

Each record gives soc_rmse_pct/SET/RECORD (after the first 10 minutes) and soc_max_error_pct with
a plain extended Kalman filter as peer, the same rows ending in /coulomb_counting with that as peer,
and the share of truth inside our interval with its mean width. Where the core was measured:
core_rmse_k/SET/RECORD beside the surface taken for the core, and beside the quasi-steady law with
the factor of the same fit (/quasi_steady) and with that of this very record (/quasi_steady_best).
R0 and capacity of aged cells after five cycles: bms.bench.aged.

Rows of closed_loop/ are of a drive in which the firmware's own estimates act on the pack; all
others listen to what it measured (bms.bench.closed_loop).

An estimator of your own, `--estimator package.module:Class` or `--estimator ./libmine.so`, is
scored on the same readings in rows that end in /estimator: docs/own_estimator.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bms.bench import Row, aged, closed_loop, foreign, records
from bms.bench.filters import Counting, PlainEkf
from bms.bench.foreign import replay
from bms.bench.records import Case
from bms.estimator import Estimates, Estimator
from bms.estimator.scoring import Score, score

Floats = NDArray[np.float64]


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--estimator", metavar="MODULE:CLASS|LIBRARY", help="one of your own")
    parser.add_argument(
        "--seconds", type=float, default=2400.0, help="length of a simulated drive (default 2400)"
    )
    parser.add_argument(
        "--only", metavar="TEXT", default="", help="records with TEXT in SET/RECORD"
    )


def ours(case: Case) -> Estimates:
    """bms.Estimator over a whole record."""
    n_cells = 1 if case.voltage_v.ndim == 1 else case.voltage_v.shape[1]
    return Estimator(case.cell, n_cells).run(
        case.time_s, case.current_a, case.voltage_v, case.temperature_degc, case.pressure_kpa,
        soc0=case.soc0_frac, coolant_degc=case.coolant_degc,
    )  # fmt: skip


def charge_rows(case: Case, found: Estimates, made: Any | None, name: str) -> Iterator[Row]:
    """Ours beside plain EKF, coulomb counting and, if given, one more."""
    assert case.soc_frac is not None
    truth, place = 100.0 * case.soc_frac, f"{case.set}/{case.name}"
    mine = score(case.time_s, 100.0 * found.soc_frac, truth, 100.0 * found.soc_std_frac)
    others: list[tuple[str, str, Any]] = [
        ("", "plain EKF, 2 RC", PlainEkf()),
        ("/coulomb_counting", "coulomb counting", Counting()),
    ]
    if made is not None:
        others.append(("/estimator", name, made))
    for suffix, title, other in others:
        theirs = score(case.time_s, 100.0 * replay(other, case, title).reshape(truth.shape), truth)
        yield _row(
            f"soc_rmse_pct/{place}{suffix}", mine.settled_rmse, "%", theirs.settled_rmse, title
        )
        yield _row(
            f"soc_max_error_pct/{place}{suffix}",
            mine.settled_max_error, "%", theirs.settled_max_error, title,
        )  # fmt: skip
    yield from interval_rows(place, mine)


def interval_rows(place: str, mine: Score) -> Iterator[Row]:
    """How often the truth lies inside the interval, and how wide that is."""
    inside = Row(
        name=f"soc_inside_3_sigma_pct/{place}", ours=100.0 * mine.inside_frac, unit="%",
        better="higher", limit=99.73, limit_source="normal errors of the width that is told",
    )  # fmt: skip
    yield inside
    yield _row(f"soc_interval_width_pct/{place}", mine.width, "%", None, None)


def core_rows(case: Case, found: Estimates) -> Iterator[Row]:
    """Core temperature beside two one-liners, and how honest its interval is."""
    assert case.core_degc is not None
    truth, surface, place = case.core_degc, case.temperature_degc, f"{case.set}/{case.name}"
    error, sigma = found.temperature_core_degc - truth, found.temperature_core_std_k
    mine = _rms(error)
    yield _row(f"core_rmse_k/{place}", mine, "K", _rms(surface - truth), "surface taken for core")
    yield Row(
        name=f"core_inside_3_sigma_pct/{place}",
        ours=100.0 * float(np.nanmean(np.abs(error) <= 3.0 * sigma)), unit="%", better="higher",
        limit=99.73, limit_source="normal errors of the width that is told",
    )  # fmt: skip
    if case.coolant_degc is None:
        return
    over, thermal = surface - case.coolant_degc, case.cell.thermal
    known = np.isfinite(over) & np.isfinite(truth)
    best = float(over[known] @ (truth - surface)[known] / (over[known] @ over[known]))
    law = _rms(surface + best * over - truth)
    title = "quasi-steady law, factor from this very record"
    yield _row(f"core_rmse_k/{place}/quasi_steady_best", mine, "K", law, title)
    if thermal.cooling_w_per_k > 0.0:
        factor = thermal.cooling_w_per_k / thermal.core_surface_w_per_k
        law = _rms(surface + factor * over - truth)
        title = "quasi-steady law, factor from the fit"
        yield _row(f"core_rmse_k/{place}/quasi_steady", mine, "K", law, title)


def _rms(error: NDArray[np.floating]) -> float:
    return float(np.sqrt(np.nanmean(np.square(np.float64(error)))))


def _row(name: str, value: float, unit: str, peer: float | None, title: str | None) -> Row:
    return Row(name=name, ours=value, unit=unit, better="lower", peer=peer, peer_name=title)


def rows(options: argparse.Namespace) -> list[Row]:
    kind = foreign.load(options.estimator) if options.estimator else None
    out: list[Row] = []
    if options.only in aged.NAME:
        out += aged.health_rows()
    if options.only in closed_loop.NAME:
        made = kind() if kind else None
        out += closed_loop.rows(options.seconds, made, options.estimator or "")
    for case in records.every(
        options.seconds, options.only, lambda text: print(text, file=sys.stderr)
    ):
        found = ours(case)
        if case.soc_frac is not None:
            out += charge_rows(case, found, kind() if kind else None, options.estimator or "")
        if case.core_degc is not None:
            out += core_rows(case, found)
    return out
