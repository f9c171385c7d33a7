"""The view model: one source, one moment to look at, and the snapshot all panels show."""

from __future__ import annotations

import time
from typing import Any, Protocol

from bms_gui.playhead import HEARD, Playhead
from bms_gui.snapshot import Snapshot, refusal
from pyqtgraph.Qt import QtCore

FRAME_MS = 25


class Feed(Protocol):
    """See bms_gui.feeds."""

    def pump(self) -> bool:
        """Takes what has come; whether anything changed."""

    def snapshot(self) -> Snapshot:
        """As it is now."""

    def ask(self, word: str, *arguments: Any) -> None:
        """Something the snapshot offers."""

    def close(self) -> None:
        """Ends it."""


class View(QtCore.QObject):
    """Holds the feed and tells everybody when there is something new.

    changed: a new Snapshot. jumped: a time in s that somebody wants to see (an event was clicked).
    cell_chosen: a block that somebody wants to see. refused: a sentence for somebody who asked for
    what cannot be.
    """

    changed = QtCore.Signal(object)
    jumped = QtCore.Signal(float)
    cell_chosen = QtCore.Signal(int)
    refused = QtCore.Signal(str)

    def __init__(self, feed: Feed | None = None) -> None:
        super().__init__()
        self.feed: Feed | None = None
        self.head = Playhead()
        self._asked_s = time.monotonic()
        self.use(feed)
        self._timer = QtCore.QTimer(self)
        self._timer.setTimerType(QtCore.Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self.pump)
        self._timer.start(FRAME_MS)

    def use(self, feed: Feed | None) -> None:
        """Another source from now on; the one before is closed."""
        if self.feed is not None:
            self.feed.close()
        self.feed = feed
        self.head = Playhead()
        self.show_now()

    def pump(self) -> None:
        """One frame: takes what has come and tells it, if anything has."""
        now_s = time.monotonic()
        passed_s, self._asked_s = now_s - self._asked_s, now_s
        moved = self.head.pass_by(passed_s, self.snapshot.span_s)
        if self.feed is not None and (self.feed.pump() or moved):
            self.show_now()

    def show_now(self) -> None:
        """Tells the moment that is looked at, new or not."""
        newest = self.feed.snapshot() if self.feed else Snapshot()
        self.snapshot = self.head.looked_at(newest)
        self.changed.emit(self.snapshot)

    def ask(self, word: str, *arguments: Any) -> str:
        """Asks for what the snapshot offers; "" or why it cannot be. See snapshot.COMMANDS."""
        if word not in self.snapshot.offers:
            text = refusal(self.snapshot.source, word)
            self.refused.emit(text)
            return text
        if word not in HEARD or not self.head.ask(word, self.snapshot, *arguments):
            assert self.feed is not None
            self.feed.ask(word, *arguments)
        self.show_now()
        return ""

    def close(self) -> None:
        """Ends the source."""
        self._timer.stop()
        self.use(None)

    def look_at(self, time_s: float) -> None:
        """Shows a moment that is held, if there is something to look back at."""
        if "seek" in self.snapshot.offers:
            self.ask("seek", time_s)
