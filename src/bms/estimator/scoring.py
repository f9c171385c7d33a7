"""Estimates against truth, after the fact. The only place of this package that knows truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SETTLED_S = 600.0  # a wrong start may take so long to be forgotten


@dataclass(frozen=True)
class Score:
    """In per cent of charge (or the unit of the quantity); errors are estimate minus truth.

    The `settled` figures leave out the first 10 minutes (all of a shorter record).
    """

    rmse: float
    max_error: float
    settled_rmse: float
    settled_max_error: float
    last_error: float
    inside_frac: float  # share of samples with the truth inside +-3 sigma; NaN without sigma
    width: float  # mean half-width of that interval, settled

    def lines(self, unit: str) -> list[str]:
        """For a person to read."""
        first = f"RMSE {self.rmse:.3g} {unit}, largest error {self.max_error:.3g} {unit}"
        after = (
            f"after 10 min: RMSE {self.settled_rmse:.3g} {unit}, largest "
            f"{self.settled_max_error:.3g} {unit}, at the end {self.last_error:+.3g} {unit}"
        )
        if np.isnan(self.inside_frac):
            return [first, after]
        share = (
            f"{self.inside_frac:.1%} inside 3 sigma, which is {self.width:.3g} {unit} on average"
        )
        return [first, after, share]


def score(
    time_s: NDArray[np.float64],
    estimate: NDArray[np.floating],
    truth: NDArray[np.floating],
    std: NDArray[np.floating] | None = None,
) -> Score:
    """Compare arrays of one shape (n,) or (n, cells). Samples without truth are left out.

    ValueError when there is no truth at all.
    """
    time = time_s - time_s[0]
    error = np.asarray(estimate, np.float64) - truth
    known = np.isfinite(error)
    if not known.any():
        raise ValueError("no sample has a truth to compare with")
    late = time >= SETTLED_S
    settled = known & (late if error.ndim == 1 else late[:, None])
    if not settled.any():
        settled = known
    inside, width = float("nan"), float("nan")
    if std is not None:
        sigma = np.asarray(std, np.float64)
        inside = float(np.mean(np.abs(error[known]) <= 3.0 * sigma[known]))
        width = float(np.mean(3.0 * sigma[settled]))
    return Score(
        rmse=_rms(error[known]),
        max_error=float(np.abs(error[known]).max()),
        settled_rmse=_rms(error[settled]),
        settled_max_error=float(np.abs(error[settled]).max()),
        last_error=float(error[known][-1]),
        inside_frac=inside,
        width=width,
    )


def _rms(values: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(values * values)))
