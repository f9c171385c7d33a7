"""The moment that is looked at: the newest there is, or one in the past that can be played.

A recording is always looked at so, since it has no newest moment. A simulation or a live bus can
be: it goes on while one looks back, and playing back to its newest moment is being there again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from bms_gui.snapshot import Snapshot

HEARD = ("pause", "speed", "step", "seek", "loop")


@dataclass
class Playhead:
    """time_s: None at the newest moment. speed: times real time; 0 stands still."""

    time_s: float | None = None
    speed: float = 0.0
    wanted: float = 1.0
    loops: bool = False

    def pass_by(self, seconds: float, span_s: tuple[float, float]) -> bool:
        """So much of the clock has passed; whether that moved it."""
        if self.time_s is None or self.speed == 0.0:
            return False
        self.time_s += seconds * min(self.speed, 1e6)
        if self.time_s > span_s[1]:
            self.time_s = span_s[0] if self.loops else span_s[1]
            self.speed = self.speed if self.loops else 0.0
        return True

    def looked_at(self, newest: Snapshot) -> Snapshot:
        """What to show of a source."""
        data, is_whole = newest.data, newest.source == "recording"
        first_s, last_s = newest.span_s
        if data is None:
            return newest
        if is_whole and self.time_s is None:
            self.time_s, self.speed = first_s, self.wanted
        if self.time_s is None:
            return newest
        self.time_s = max(self.time_s, first_s)
        if self.time_s >= last_s and not is_whole:
            self.time_s = None  # there again
            return newest
        self.time_s = min(self.time_s, last_s)
        status = newest.status
        if status.state != "lost":
            words = "running" if self.speed else "ended" if self.time_s >= last_s else "paused"
            status = replace(status, state=words, speed=self.speed, speed_wanted=self.wanted)
        latest, heard_s = data.moment(self.time_s)
        return replace(
            newest,
            time_s=self.time_s,
            latest=latest,
            heard_s=heard_s,
            frames=data.frames(self.time_s),
            is_past=True,
            status=status,
        )

    def ask(self, word: str, shown: Snapshot, *arguments: Any) -> bool:
        """Meets it if it is the playhead's; else the source has to."""
        if word == "seek":
            self._seek(float(arguments[0]), shown)
        elif word == "loop":
            self.loops = bool(arguments[0])
        elif self.time_s is None:
            if shown.source != "live":
                return False
            self.time_s = shown.time_s  # a live bus goes on; only the picture stands
            self.speed = 0.0
        elif word == "pause":
            if shown.status.state == "ended":
                self.time_s = shown.span_s[0]
            self.speed = 0.0 if self.speed else self.wanted
        elif word == "speed":
            self.wanted = float(arguments[0]) or self.wanted
            self.speed = self.wanted if self.speed and arguments[0] else 0.0
        elif word == "step":
            self.speed = 0.0
            self.time_s += float(arguments[0])
        return True

    def _seek(self, time_s: float, shown: Snapshot) -> None:
        first_s, last_s = shown.span_s
        if self.time_s is None:
            self.speed = 0.0
        self.time_s = min(max(time_s, first_s), last_s)
