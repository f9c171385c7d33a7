"""Types of ext/bms/_envelope.pyx."""

import numpy as np

WIDTH_MAX: int

Window = tuple[float, float, float, float]

def curve(
    pixels: np.ndarray,
    window: Window,
    t: np.ndarray,
    y: np.ndarray,
    colour: int,
    thickness: float = 1.0,
    dash: int = 0,
    steps: bool = False,
) -> None: ...
def curves(
    pixels: np.ndarray,
    window: Window,
    t: np.ndarray,
    y: np.ndarray,
    colours: np.ndarray,
    thickness: float = 1.0,
) -> None: ...
def band(
    pixels: np.ndarray,
    window: Window,
    t: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    colour: int,
) -> None: ...
def bounds(t: np.ndarray, y: np.ndarray, t0: float, t1: float) -> tuple[float, float] | None: ...
def find(t: np.ndarray, time: float) -> int: ...
