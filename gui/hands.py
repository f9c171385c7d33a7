"""What hands do to a simulated pack: faults, frames, registers, requests to clear."""

from __future__ import annotations

from typing import Any

from bms_gui.snapshot import refusal


def do(tap: Any, message: tuple[Any, ...]) -> str:
    """Does it; "" or a sentence why not."""
    return refusal("simulation", str(message[0]))


def tell(tap: Any) -> dict[str, Any]:
    """What hands have done so far: "injected" and "registers" of a snapshot."""
    return {"injected": (), "registers": None}
