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


@cache
def places(fault: Any, pack: str) -> int:
    """How many places a fault has in a pack of the library; many where the pack is not known."""
    from bms import BmsError, packs

    try:
        return int(faults.count(fault, packs.load(pack)))
    except (BmsError, AttributeError):
        return 4096


def names_of(fault: Any) -> tuple[str, ...]:
    """Names of its places where they have some."""
    if fault.target == "contactor":
        return ("main plus", "main minus", "precharge")
    return tuple(faults.place.MESSAGES) if fault.target == "message" else ()
