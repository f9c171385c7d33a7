"""Types of ext/bms/_recorder.pyx."""

from collections.abc import Sequence

import numpy as np

class Log:
    capacity: int
    byte_capacity: int
    t_ns: np.ndarray
    id: np.ndarray
    bus: np.ndarray
    direction: np.ndarray
    flags: np.ndarray
    offset: np.ndarray
    bytes: np.ndarray
    end: np.ndarray
    def __init__(self, ticks: int, capacity: int, byte_capacity: int) -> None: ...

class Batch:
    ticks: int
    t_ns: np.ndarray
    columns: list[np.ndarray]
    frames: Log | None
    uart: Log | None
    steps: np.ndarray | None
    steps_end: np.ndarray

Source = tuple[np.ndarray, float, float] | tuple[np.ndarray, float, float, str]

class Recorder:
    sources: Sequence[Source]
    frames: tuple[int, int]
    uart: tuple[int, int]
    batch: Batch
    ticks: int
    step_bytes: int
    def __init__(
        self,
        sources: Sequence[Source],
        ticks: int,
        frames: tuple[int, int] = ...,
        uart: tuple[int, int] = ...,
        step_bytes: int = ...,
    ) -> None: ...
    @property
    def address(self) -> int: ...
    def new_batch(self) -> Batch: ...
    def install(self, batch: Batch) -> None: ...
    def filled(self) -> tuple[int, int, int]: ...
    def dropped(self) -> tuple[int, int, int]: ...
    @property
    def step_count(self) -> int: ...
    @property
    def steps_dropped(self) -> int: ...
    def tick(self, now_us: int) -> bool: ...
    def ticks_until_full(self, now_us: int, period_us: int = ...) -> int: ...
    def ticks_from(
        self, rows: np.ndarray, live: np.ndarray, now_us: int, period_us: int = ...
    ) -> tuple[int, int]: ...
    def frames_until_full(self, now_us: int, each: int, most: int) -> tuple[int, int]: ...
    def frame(
        self, t_us: int, bus: int, direction: int, identifier: int, flags: int, data: bytes
    ) -> None: ...
    def boot(self, number: int, now_us: int, cause: int, entropy: bytes) -> None: ...
    def line(self, t_us: int, direction: int, data: bytes) -> None: ...

def stored_dtype(array: np.ndarray, scale: float, shift: float, raster: str = ...) -> np.dtype: ...
def fold(
    values: np.ndarray,
    rows: np.ndarray | None,
    width: int,
    first: int,
    group: int,
    bins: np.ndarray,
    scale: float = ...,
    offset: float = ...,
    missing: int | None = ...,
) -> None: ...
