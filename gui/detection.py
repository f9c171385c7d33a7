"""Whether an injected fault was noticed, how fast, and whether that was soon enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bms_gui.snapshot import Injected

NAN = float("nan")


@dataclass(frozen=True)
class Detection:
    """diagnosis: the first that was expected, or else the first at all; "" none yet. detected_ms,
    reacted_ms: after the fault began, NaN while they have not come. is_in_time: None while that
    cannot be said."""

    diagnosis: str = ""
    is_expected: bool = False
    detected_ms: float = NAN
    reacted_ms: float = NAN
    budget_ms: float = NAN
    is_in_time: bool | None = None


def detection(fault: Any, one: Injected, events: Sequence[Any], now_s: float) -> Detection:
    """From the events of a run. fault: of the catalogue, None for one it does not have. The
    reaction is what the catalogue asks for: contacts that part, or what is told. Of a fault that
    creeps up nobody can say from its beginning when it was due."""
    budget_ms = float(fault.budget_ms) if fault is not None and fault.budget_ms > 0 else NAN
    if one.state == "armed" or now_s < one.on_s:
        return Detection(budget_ms=budget_ms)
    after = [e for e in events if one.on_s - 1e-6 <= e.t_ns * 1e-9 <= now_s]
    raised = [e for e in after if e.kind == "diagnosis" and e.text.endswith("raised")]
    expected = fault.diagnoses if fault is not None else ()
    wanted = [e for e in raised if e.name in expected]
    first = (wanted or raised or [None])[0]
    reacted = first
    if fault is not None and fault.reaction == "trip":
        reacted = next(
            (e for e in after if e.kind == "contactor" and "main" in e.name and "opened" in e.name),
            None,
        )
    elif fault is not None and fault.reaction == "reset":
        reacted = next((e for e in after if e.kind == "reset"), None)
    reacted_ms = _ms(reacted, one)
    is_in_time = None
    if budget_ms == budget_ms and one.ramp_s <= 0.0:
        waited_ms = 1e3 * (now_s - one.on_s)
        if reacted is not None:
            is_in_time = reacted_ms <= budget_ms
        elif expected and waited_ms > budget_ms:
            is_in_time = False
    return Detection(
        first.name if first is not None else "",
        bool(wanted),
        _ms(first, one),
        reacted_ms,
        budget_ms,
        is_in_time,
    )


def _ms(event: Any, one: Injected) -> float:
    return NAN if event is None else event.t_ns * 1e-6 - one.on_s * 1e3
