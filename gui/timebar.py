"""The time bar: where one is in time, what happened when, and how fast it goes on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from bms_gui.snapshot import Snapshot
from bms_gui.theme import Theme, mixed, numbers_font
from bms_gui.view import View
from bms_gui.words import clock, inert
from pyqtgraph.Qt import QtCore, QtGui, QtWidgets

SPEEDS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)
AS_FAST = float("inf")
STEP_S = 0.1
TICK_WIDTH = 3


def speed_text(speed: float) -> str:
    """Of a choice."""
    return "max" if speed == AS_FAST else f"{speed:g}×"


class Strip(QtWidgets.QWidget):
    """All of the time that is held, with a mark where one looks and ticks where things happened.

    A click or drag goes there. Ticks: contactors and trips as tall lines, faults as triangles,
    warnings and states as short ones; told apart by shape and place, not by colour alone.
    """

    sought = QtCore.Signal(float)

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.theme = theme
        self.snapshot = Snapshot()
        self._ticks: list[tuple[float, str, str]] = []
        self._told: tuple[object, int] = (None, 0)
        self.setMinimumSize(200, 34)
        self.setMouseTracking(True)
        self.setCursor(QtCore.Qt.CursorShape.PointingHandCursor)

    def tell(self, snapshot: Snapshot) -> None:
        """This moment of this span."""
        self.snapshot = snapshot
        told = (snapshot.title, len(snapshot.events))
        if told != self._told:
            self._told = told
            self._ticks = [tick for e in snapshot.events if (tick := _tick(e)) is not None]
        self.update()

    def x_of(self, time_s: float) -> float:
        """Where a time is."""
        first, last = self.snapshot.span_s
        share = (time_s - first) / (last - first) if last > first else 0.0
        return 6.0 + share * (self.width() - 12.0)

    def time_at(self, x: float) -> float:
        """The time at a place, within the span."""
        first, last = self.snapshot.span_s
        share = (x - 6.0) / max(1.0, self.width() - 12.0)
        return first + min(1.0, max(0.0, share)) * (last - first)

    def paintEvent(self, _: QtGui.QPaintEvent) -> None:
        """Rail, ticks, head."""
        p, theme = QtGui.QPainter(self), self.theme
        p.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
        middle = self.height() - 10.0
        p.setPen(QtGui.QPen(QtGui.QColor(theme.line), 4.0))
        left, right = self.x_of(self.snapshot.span_s[0]), self.width() - 6.0
        p.drawLine(QtCore.QPointF(left, middle), QtCore.QPointF(right, middle))
        head = self.x_of(self.snapshot.time_s)
        p.setPen(QtGui.QPen(QtGui.QColor(mixed(theme.panel, theme.accent, 0.7)), 4.0))
        p.drawLine(QtCore.QPointF(left, middle), QtCore.QPointF(head, middle))
        drawn: set[tuple[int, str]] = set()
        for time_s, kind, _ in self._ticks:
            x = self.x_of(time_s)
            key = (int(x / TICK_WIDTH), kind)
            if key not in drawn and len(drawn) < 3000:
                drawn.add(key)
                self._mark(p, x, middle, kind)
        p.setPen(QtGui.QPen(QtGui.QColor(theme.panel), 2.0))
        p.setBrush(QtGui.QColor(theme.accent))
        p.drawEllipse(QtCore.QPointF(head, middle), 6.5, 6.5)

    def _mark(self, p: QtGui.QPainter, x: float, middle: float, kind: str) -> None:
        theme = self.theme
        colours = {"trip": theme.bad, "fault": theme.warn, "contactor": theme.text}
        colour = QtGui.QColor(colours.get(kind, theme.faint))
        if kind == "fault":
            p.setPen(QtCore.Qt.PenStyle.NoPen)
            p.setBrush(colour)
            top = middle - 18.0
            p.drawPolygon(
                [
                    QtCore.QPointF(x - 4, top),
                    QtCore.QPointF(x + 4, top),
                    QtCore.QPointF(x, top + 7),
                ]
            )
            return
        height = {"trip": 18.0, "contactor": 12.0}.get(kind, 7.0)
        p.setPen(QtGui.QPen(colour, 2.0 if kind == "trip" else 1.2))
        p.drawLine(QtCore.QPointF(x, middle - 3.0), QtCore.QPointF(x, middle - 3.0 - height))

    def _near(self, x: float) -> str:
        found = [text for time_s, _, text in self._ticks if abs(self.x_of(time_s) - x) < 4.0]
        return "\n".join(found[:6])

    def mousePressEvent(self, event: QtGui.QMouseEvent) -> None:
        """Goes there."""
        self.sought.emit(self.time_at(event.position().x()))

    def mouseMoveEvent(self, event: QtGui.QMouseEvent) -> None:
        """Scrubs, or tells what happened there."""
        x = event.position().x()
        if event.buttons() & QtCore.Qt.MouseButton.LeftButton:
            self.sought.emit(self.time_at(x))
        self.setToolTip("\n".join(part for part in (clock(self.time_at(x)), self._near(x)) if part))


def _tick(event: Any) -> tuple[float, str, str] | None:
    """(time, kind of mark, words) of an event; None if it makes no mark."""
    time_s, kind = event.t_ns * 1e-9, str(event.kind)
    words = inert(f"{clock(time_s)}  {event.kind}: {event.name} {event.text}".strip())
    if kind == "diagnosis":
        kind = "trip" if str(event.text) == "trip raised" else "warn"
    if kind not in ("trip", "warn", "contactor", "fault", "act", "state", "reset", "fuse"):
        return None
    kind = {"reset": "trip", "fuse": "trip", "act": "fault"}.get(kind, kind)
    return time_s, kind, words


class TimeBar(QtWidgets.QWidget):
    """Buttons, the strip, the clock."""

    def __init__(self, view: View, theme: Theme, actions: dict[str, QtGui.QAction]) -> None:
        super().__init__()
        self.view, self.theme = view, theme
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(8, 4, 8, 4)
        row.setSpacing(4)
        self.buttons = {name: self._button(actions[name]) for name in
                        ("restart", "back", "pause", "step", "loop")}  # fmt: skip
        for button in self.buttons.values():
            row.addWidget(button)
        self.speed = QtWidgets.QComboBox()
        self.speed.setToolTip("speed, times real time")
        for speed in (*SPEEDS, AS_FAST):
            self.speed.addItem(speed_text(speed), speed)
        self.speed.setCurrentIndex(SPEEDS.index(1.0))
        self.speed.activated.connect(lambda _: view.ask("speed", self.wanted))
        self.speed.setFixedWidth(84)
        row.addWidget(self.speed)
        self.time = QtWidgets.QLabel("")
        self.time.setFont(numbers_font(10))
        self.time.setMinimumWidth(156)
        self.time.setAlignment(QtCore.Qt.AlignmentFlag.AlignCenter)
        row.addWidget(self.time)
        self.strip = Strip(theme)
        self.strip.sought.connect(view.look_at)
        row.addWidget(self.strip, 1)
        for name in ("newest", "record"):
            self.buttons[name] = self._button(actions[name])
            row.addWidget(self.buttons[name])

    def _button(self, action: QtGui.QAction) -> QtWidgets.QToolButton:
        button = QtWidgets.QToolButton()
        button.setDefaultAction(action)
        button.setAutoRaise(True)
        button.setFocusPolicy(QtCore.Qt.FocusPolicy.NoFocus)
        return button

    @property
    def wanted(self) -> float:
        """Speed that is chosen."""
        return float(self.speed.currentData())

    def change_speed(self, way: int) -> None:
        """Faster or slower by one choice."""
        at = min(max(0, self.speed.currentIndex() + way), self.speed.count() - 1)
        self.speed.setCurrentIndex(at)
        self.view.ask("speed", self.wanted)

    def tell(self, snapshot: Snapshot) -> None:
        """This moment."""
        self.strip.tell(snapshot)
        last = snapshot.span_s[1]
        back = f" −{clock(last - snapshot.time_s)}" if _is_behind(snapshot) else ""
        text = f"{clock(snapshot.time_s)}{back}"
        if snapshot.source == "recording":
            text = f"{clock(snapshot.time_s)} / {clock(last)}"
        if self.time.text() != text:
            self.time.setText(text)
        self.speed.setEnabled("speed" in snapshot.offers)


def _is_behind(snapshot: Snapshot) -> bool:
    return snapshot.is_past and snapshot.source != "recording"


def next_event_s(events: Sequence[Any], time_s: float, way: int) -> float:
    """The time of the next event that makes a mark, before or after; NaN if there is none."""
    times = np.array([tick[0] for e in events if (tick := _tick(e)) is not None])
    found = times[times > time_s + 1e-6] if way > 0 else times[times < time_s - 1e-6]
    if not found.size:
        return float("nan")
    return float(found.min() if way > 0 else found.max())
