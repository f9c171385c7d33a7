"""The view model: one source, one clock, and the snapshot all panels show."""

from __future__ import annotations

from typing import Any, Protocol

from bms_gui.snapshot import Snapshot
from pyqtgraph.Qt import QtCore

FRAME_MS = 33


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
    cell_chosen: a block that somebody wants to see.
    """

    changed = QtCore.Signal(object)
    jumped = QtCore.Signal(float)
    cell_chosen = QtCore.Signal(int)

    def __init__(self, feed: Feed | None = None) -> None:
        super().__init__()
        self.feed = feed
        self.snapshot = feed.snapshot() if feed else Snapshot()
        self._timer = QtCore.QTimer(self)
        self._timer.timeout.connect(self.pump)
        self._timer.start(FRAME_MS)

    def use(self, feed: Feed | None) -> None:
        """Another source from now on; the one before is closed."""
        if self.feed is not None:
            self.feed.close()
        self.feed = feed
        self.show_now()

    def pump(self) -> None:
        """One frame: takes what has come and tells it, if anything has."""
        if self.feed is not None and self.feed.pump():
            self.show_now()

    def show_now(self) -> None:
        """Tells the present snapshot, new or not."""
        self.snapshot = self.feed.snapshot() if self.feed else Snapshot()
        self.changed.emit(self.snapshot)

    def ask(self, word: str, *arguments: Any) -> None:
        """Asks the feed for what its snapshot offers."""
        if self.feed is not None:
            self.feed.ask(word, *arguments)
            self.show_now()

    def close(self) -> None:
        """Ends the source."""
        self._timer.stop()
        self.use(None)
