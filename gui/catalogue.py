"""The catalogue of faults as panels use it; empty where this build has none."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from bms import faults


@cache
def catalogue() -> Mapping[str, Any]:
    """id -> bms.faults.Fault."""
    load = getattr(faults, "load", None)
    return load() if load is not None else {}
