"""What the firmware concluded, one entry a diagnosis: first, last, how often, how bad, still there.

Read from the events of a source; what a row means is from the table of diagnoses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from bms_gui.snapshot import Data, Signal
from bms_gui.words import quantity

from bms import spec

TIERS = ("operate", "warn", "trip")
FROZEN = (
    "cmd_state", "cmd_request", "meas_pack_voltage_v", "meas_link_voltage_v", "meas_pack_current_a",
    "meas_cell_voltage_min_v", "meas_cell_voltage_max_v", "meas_temperature_min_degc",
    "meas_temperature_max_degc", "est_soc_frac", "est_discharge_limit_a", "est_charge_limit_a",
    "meas_module_pressure_min_kpa", "meas_module_pressure_max_kpa", "meas_insulation_kohm",
)  # fmt: skip
"""What is shown of the moment it was raised."""


@dataclass
class Entry:
    """One diagnosis. worst: the highest tier it reached. active: the tier it is in now, "" none."""

    name: str
    first_s: float
    last_s: float
    worst_s: float
    count: int = 0
    worst: str = ""
    active: str = ""
    index: int = -1
    value: float = float("nan")

    @property
    def known(self) -> Any:
        """Its row in the table of diagnoses; None for another firmware's."""
        try:
            return spec.diagnosis(self.name)
        except Exception:  # names come from the wire
            return None

    @property
    def is_latched(self) -> bool:
        """Whether it stays until it is cleared."""
        return bool(self.active) and self.known is not None and self.known.latch


def entries(events: Sequence[Any], until_s: float = float("inf")) -> list[Entry]:
    """Every diagnosis that was raised until then; the one raised last comes first."""
    found: dict[str, Entry] = {}
    tiers: dict[str, set[str]] = {}
    for event in events:
        time_s = event.t_ns * 1e-9
        if event.kind != "diagnosis" or time_s > until_s:
            continue
        tier, _, verb = str(event.text).partition(" ")
        if tier not in TIERS:
            continue
        held = tiers.setdefault(event.name, set())
        if verb == "raised":
            entry = found.get(event.name)
            if entry is None:
                entry = found[event.name] = Entry(event.name, time_s, time_s, time_s)
            if not held:
                entry.count += 1
            held.add(tier)
            entry.last_s, entry.index = time_s, int(event.index)
            entry.value = float(event.value)
            if not entry.worst or TIERS.index(tier) > TIERS.index(entry.worst):
                entry.worst, entry.worst_s = tier, time_s
        else:
            held -= set(TIERS[TIERS.index(tier) :])
        if event.name in found:
            found[event.name].active = max(held, key=TIERS.index, default="")
    return sorted(found.values(), key=lambda e: e.last_s, reverse=True)


def place(entry: Entry) -> str:
    """cell 12, module 3, or nothing."""
    known = entry.known
    if entry.index < 0 or known is None or known.index == "none":
        return ""
    return f"{'cell' if known.index == 'block' else known.index} {entry.index + 1}"


_PER = {"mV": (1e-3, "V"), "mA": (1e-3, "A"), "cdegc": (1e-2, "degC"), "cpct": (1e-4, "1")}


def amount(entry: Entry) -> str:
    """The value that was told with it, in a unit people use."""
    known = entry.known
    if known is None or not np.isfinite(entry.value):
        return "" if not np.isfinite(entry.value) else f"{entry.value:g}"
    if known.unit == "1":
        return f"{entry.value:g}"
    scale, unit = _PER.get(known.unit, (1.0, known.unit))
    spoken = {"kpa": "kPa", "permille": "‰"}.get(unit, unit)
    return quantity(entry.value * scale, spoken)


def frozen(data: Data | None, signals: dict[str, Signal], time_s: float) -> list[tuple[str, str]]:
    """(signal, value in words) of a moment; empty if no samples of it are held."""
    if data is None:
        return []
    latest, heard_s = data.moment(time_s)
    rows = []
    for name in FROZEN:
        signal = signals.get(name)
        if signal is None or name not in latest or name not in heard_s:
            continue
        value = float(np.ravel(latest[name])[0])
        if signal.choices:
            text = signal.choices.get(int(value), f"{value:g}") if np.isfinite(value) else "—"
        else:
            text = quantity(value, signal.unit)
        rows.append((name, text))
    return rows


def spoken(name: str) -> str:
    """A signal without its kind and unit: meas_pack_voltage_v is pack voltage."""
    words = name.split("_")[1:]
    if words and words[-1] in ("v", "a", "degc", "frac", "kpa", "kohm"):
        words.pop()
    return " ".join(words)
