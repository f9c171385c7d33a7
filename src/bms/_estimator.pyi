"""Types of ext/bms/_estimator.pyx."""

import numpy as np
from numpy.typing import NDArray

TILE: int
RESULTS: int

class Strings:
    cells: int
    tile: int
    tiles: int
    steps: int
    own: bool
    est: dict[str, np.ndarray]
    obs: dict[str, np.ndarray]
    params: dict[str, np.ndarray]
    def __init__(self, n_cells: int, own: bool) -> None: ...
    def reset(self) -> None: ...
    def covariance(self) -> NDArray[np.float32]: ...
    def bind(
        self,
        dt_s: np.ndarray,
        current_a: np.ndarray,
        voltage_v: np.ndarray,
        temperature_degc: np.ndarray,
        pressure_kpa: np.ndarray,
        sink_degc: np.ndarray,
        soc0_frac: np.ndarray,
        results: np.ndarray,
    ) -> None: ...
    def go(self, first: int, last: int) -> None: ...
