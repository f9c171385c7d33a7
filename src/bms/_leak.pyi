"""Types of ext/bms/_leak.pyx."""

import numpy as np

BLOCKS_MAX: int
PHASES_MAX: int

class Trial:
    fields: dict[str, np.ndarray]
    est: dict[str, np.ndarray]
    def run(self) -> None: ...
