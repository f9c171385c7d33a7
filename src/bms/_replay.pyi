"""Types of ext/bms/_replay.pyx."""

from typing import Any

import numpy as np

DONE: int
DIFFERS: int
SAMPLE: int
GAP: int
MALFORMED: int
REFUSED: int

class Replayer:
    vehicles: list[dict[str, np.ndarray]]
    keep: object
    def __init__(
        self,
        api: int,
        config: bytes,
        *,
        state: bytes | None = ...,
        sample_us: int = ...,
        stop: bool = ...,
    ) -> None: ...
    def feed(self, data: bytes, start: int = ...) -> tuple[int, int]: ...
    def outputs(self) -> tuple[dict[str, Any], dict[str, Any]]: ...
    def take_events(self, side: int) -> list[tuple[int, int, int, int, int, float]]: ...
    @property
    def now_us(self) -> int: ...
    @property
    def counts(self) -> dict[str, int]: ...
