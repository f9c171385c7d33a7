"""solid-bms: a pack of solid-state cells and the firmware that manages it, meeting only through
bytes and pins.

>>> import bms
>>> run = bms.Simulation("drive", seed=1).run(600)  # doctest: +SKIP
>>> run["true_soc_frac"][-1], run["est_soc_frac"][-1]  # doctest: +SKIP

Public names: Cell, Estimator, Pack, Simulation, Recording, BmsError. They are imported on first
use, so `import bms` is fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "BmsError": "bms.errors",
    "Cell": "bms.model",
    "Estimator": "bms.estimator",
    "Pack": "bms.model",
    "Recording": "bms.recorder",
    "Simulation": "bms.sim",
}

__all__ = ["BmsError", "Cell", "Estimator", "Pack", "Recording", "Simulation", "__version__"]

if TYPE_CHECKING:
    from bms.errors import BmsError
    from bms.estimator import Estimator
    from bms.model import Cell, Pack
    from bms.recorder import Recording
    from bms.sim import Simulation


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'bms' has no attribute {name!r}")
