"""Numbers as people read them: units with prefixes, signs in words, enumerations."""

from __future__ import annotations

import html
from functools import cache
from typing import Any

import numpy as np

from bms import spec

PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"))
TAKES_PREFIX = frozenset({"V", "A", "W", "Wh", "Ah", "Pa", "ohm", "Ω", "s", "J", "Hz", "F", "S"})
SPOKEN = {"degC": "°C", "ohm": "Ω", "kohm": "kΩ", "1": "", "us": "µs"}
UNKNOWN = "—"

_CHOICES = {
    "cmd_state": ("BmsState", "State"),
    "cmd_request": ("VcuRequest", "Mode"),
}


def inert(text: str, longest: int = 80) -> str:
    """A name from outside, for people: no control characters, no change of writing direction, and
    not longer than so many characters."""
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"


def plain(text: str, longest: int = 2000) -> str:
    """The same where markup would be taken for markup: tips and legends."""
    lines = (html.escape(inert(line, longest)) for line in text.split("\n"))
    return f"<span>{'<br>'.join(lines)}</span>"


@cache
def choices_of(name: str) -> dict[int, str]:
    """The words of a recorded signal's numbers; empty if it is a plain number."""
    if name == "cmd_trip_diagnosis":
        return {0: "none", **{d.id: d.name for d in spec.diagnoses()}}
    place = _CHOICES.get(name)
    return dict(spec.choices(*place)) if place else {}


def quantity(value: float, unit: str, digits: int = 4) -> str:
    """A number with its unit: 3.652 V, 12.4 kW, 25.3 °C, 63.4 %. Unknown is a dash."""
    if not np.isfinite(value):
        return UNKNOWN
    if unit == "1":
        return f"{_digits(value * 100.0, digits - 1)} %"
    if unit in TAKES_PREFIX and value != 0.0:
        for scale, prefix in PREFIXES:
            if abs(value) >= scale * 0.9999 or scale == 1e-9:
                return f"{_digits(value / scale, digits)} {prefix}{SPOKEN.get(unit, unit)}"
    return f"{_digits(value, digits)} {SPOKEN.get(unit, unit)}".rstrip()


def shown(value: float, signal: Any, digits: int = 4) -> str:
    """A value of a signal: an enumeration as its word, a share in percent, a count as it is."""
    if not np.isfinite(value):
        return UNKNOWN
    if signal.choices:
        return str(signal.choices.get(int(value), f"{value:.0f}")).replace("_", " ")
    if signal.unit == "1" and not signal.name.endswith("_frac"):
        return f"{value:.0f}" if value == int(value) else f"{value:.4g}"
    return quantity(value, signal.unit, digits)


def fixed(value: float, decimals: int, unit: str = "") -> str:
    """A number with so many decimals: digits do not dance while it changes."""
    if not np.isfinite(value):
        return UNKNOWN
    return f"{value:.{decimals}f} {SPOKEN.get(unit, unit)}".rstrip()


def current(value: float) -> str:
    """A current with its direction in words: its sign alone is a source of mistakes."""
    if not np.isfinite(value):
        return UNKNOWN
    if abs(value) < 0.05:
        return f"{abs(value):.1f} A"
    return f"{abs(value):.1f} A {'discharge' if value > 0.0 else 'charge'}"


def clock(time_s: float) -> str:
    """h:mm:ss.s since the start."""
    if not np.isfinite(time_s):
        return UNKNOWN
    minutes, seconds = divmod(abs(time_s), 60.0)
    hours, minutes = divmod(int(minutes), 60)
    return f"{'-' if time_s < 0 else ''}{hours}:{minutes:02d}:{seconds:04.1f}"


def _digits(value: float, digits: int) -> str:
    whole = len(str(int(abs(value))))
    return f"{value:.{max(0, digits - whole)}f}"
