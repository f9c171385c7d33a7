"""A recording as plots want it: a time axis in fitting units, and lines that may be missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bms.report.fold import Line, Wish, fold, highest, lowest, spread

if TYPE_CHECKING:
    from bms.recorder import Recording

__all__ = ["Line", "View"]

UNITS = (
    ("s", 1.0, 180.0),
    ("min", 60.0, 3 * 3600.0),
    ("h", 3600.0, 4 * 86400.0),
    ("d", 86400.0, 1e18),
)
MARKS_MAX = 12
REDUCED = {"min": lowest, "max": highest, "spread": spread}
MADE = {
    "soc_error": Wish(("true_soc_frac", "est_soc_frac"), lambda true, est: true - est),
    "soc_error_low": Wish(("est_soc_low_frac", "est_soc_frac"), lambda low, est: low - est),
    "soc_error_high": Wish(("est_soc_high_frac", "est_soc_frac"), lambda high, est: high - est),
    "power_w": Wish(
        ("true_pack_current_a", "true_pack_voltage_v"), lambda a, v: a.astype(float) * v
    ),
    "meas_cell_spread_v": Wish(
        ("meas_cell_voltage_max_v", "meas_cell_voltage_min_v"), lambda high, low: high - low
    ),
}
STATES = ("cmd_state", "cmd_flags", "cmd_contactors", "true_contactors", "meas_contactors")


def wish(name: str) -> Wish:
    """What a name asks for: a signal, `signal:min`, `:max`, `:spread`, or one of MADE."""
    if name in MADE:
        return MADE[name]
    signal, _, how = name.partition(":")
    return Wish((signal,), REDUCED[how] if how else None, signal in STATES)


class View:
    """`line(name)` is a line with its time, None when the recording has no finite sample.

    What is `wanted` is read in one pass; a name that was not costs a pass of its own.
    """

    def __init__(self, recording: Recording, wanted: tuple[str, ...] = ()) -> None:
        self.recording = recording
        self.duration_s = recording.span_s[1]
        self.unit, self.second = next((u, s) for u, s, most in UNITS if self.duration_s <= most)
        self._lines: dict[str, Line | None] = {}
        self._read(wanted)

    def _read(self, names: tuple[str, ...]) -> None:
        wishes = {name: wish(name) for name in names}
        self._lines |= fold(self.recording, wishes, self.duration_s)

    def use_time_of(self, other: View) -> None:
        """Take over another view's unit, so that both can share an axis."""
        self.unit, self.second = other.unit, other.second

    def marks(self) -> list[float]:
        """When something tripped, blew or was done to the world: red lines in every plot."""
        events = self.recording.events
        hard = [
            e
            for e in events
            if e.kind in ("act", "fault", "fuse", "trip") or e.text == "trip raised"
        ]
        return [self.t(e.time_s) for e in hard[:MARKS_MAX]]

    def span(self) -> tuple[float, float]:
        """Limits of the time axis."""
        end = self.t(self.duration_s) or 1.0
        return -0.005 * end, 1.005 * end

    def t(self, seconds: float) -> float:
        return seconds / self.second

    def line(self, name: str) -> Line | None:
        """A signal, a reduced vector or something made of signals; see `wish`."""
        if name not in self._lines:
            self._read((name,))
        found = self._lines[name]
        return None if found is None else found.over(self.second)

    def reduced(self, name: str, how: str) -> Line | None:
        """A vector as one line: its min, max or spread at each time."""
        return self.line(f"{name}:{how}")
