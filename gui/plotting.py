"""One plot: which signals, how they look, how far the axes reach, what was done to the pack.

Truth is a thick full line, what was measured a thinner one, what was estimated a dashed one with
its interval behind it: told apart without colour too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyqtgraph as pg
from bms_gui.curves import Curve, Curves
from bms_gui.snapshot import Data, Injected, Signal, Snapshot
from bms_gui.theme import KIND_MARKS, Theme, argb
from bms_gui.words import SPOKEN, inert, plain
from pyqtgraph.Qt import QtCore, QtGui

STYLES = {"truth": (2.4, 0), "measured": (1.3, 0), "estimated": (1.8, 6), "command": (1.5, 0)}
"""Thickness, and columns of a dash; 0 is a full line."""
AXIS_WIDTH = 78
CURVES_MAX = 400
LONG_S = 1e5
LEGEND_PX = 22.0
LABEL_PX = 13.0
ROOM = 0.08
UNSETTLED_S = 1.2
"""The slowest signals come each second: until then their last line is not drawn to its end."""
Edges = tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]


def one(data: Data, name: str, index: int) -> Any:
    """A curve's window over one element of a signal."""

    def window(t0: float, t1: float, columns: int) -> tuple[np.ndarray, np.ndarray]:
        time_s, values = data.window(name, t0, t1, columns)
        if index >= len(values):
            return np.zeros(0), np.zeros(0, np.float32)
        return time_s, values[index]

    return window


def both(data: Data, low: str, high: str) -> Any:
    """A band's window over two signals."""

    def window(t0: float, t1: float, columns: int) -> Edges:
        time_s, below = data.window(low, t0, t1, columns)
        other_s, above = data.window(high, t0, t1, columns)
        if not len(below) or not len(above) or len(time_s) != len(other_s):
            return np.zeros(0), (np.zeros(0, np.float32), np.zeros(0, np.float32))
        return time_s, (below[0], above[0])

    return window


def interval_of(name: str, signals: Mapping[str, Signal]) -> tuple[str, str] | None:
    """The signals that say how sure an estimate is: est_soc_frac has est_soc_low_frac and
    est_soc_high_frac."""
    stem, _, unit = name.rpartition("_")
    low, high = f"{stem}_low_{unit}", f"{stem}_high_{unit}"
    return (low, high) if low in signals and high in signals else None


def value_at(data: Data, name: str, time_s: float) -> float:
    """The last sample at or before a time; NaN if there is none."""
    times, values = data.window(name, time_s, time_s, 2)
    k = int(np.searchsorted(times, time_s + 1e-9, "right")) - 1
    return float(values[0, k]) if len(values) and 0 <= k < values.shape[1] else float("nan")


def _apart(values: np.ndarray, least: float) -> list[int]:
    """Those that are so far from the ones before that their words do not overlap."""
    kept: list[int] = []
    for value in values:
        if not kept or abs(value - kept[-1]) >= least:
            kept.append(int(value))
    return kept


class Plot:
    """A pyqtgraph plot with our curves in it. names: signals drawn, in their order."""

    def __init__(self, item: pg.PlotItem, theme: Theme, names: Iterable[str]) -> None:
        self.item, self.theme, self.names = item, theme, list(names)
        self.curves = Curves()
        self.cursors: list[pg.InfiniteLine] = []
        self.by_hand = False
        self._reach: tuple[float, float] | None = None
        self._head = 0.0  # of the reach, for the legend
        self._ticks: object = None
        self._faults: tuple[Injected, ...] = ()
        self._marks: list[Any] = []
        item.setMenuEnabled(False)
        item.hideButtons()
        item.showGrid(x=True, y=True, alpha=0.15)
        small = QtGui.QFont()
        small.setPointSize(8)
        for side in ("left", "bottom"):
            axis = item.getAxis(side)
            axis.enableAutoSIPrefix(False)
            axis.setStyle(tickFont=small, tickTextOffset=4, autoExpandTextSpace=False)
            axis.setPen(pg.mkPen(theme.line))
            axis.setTextPen(pg.mkPen(theme.faint))
        item.getAxis("left").setWidth(AXIS_WIDTH)
        item.addItem(self.curves)
        box = item.getViewBox()
        box.setMouseEnabled(x=True, y=False)
        box.disableAutoRange()
        self.legend = pg.LabelItem(justify="left", size="8pt")
        self.legend.setParentItem(box)
        self.legend.anchor(itemPos=(0, 0), parentPos=(0, 0), offset=(6, 0))
        axis = item.getAxis("left")
        axis.wheelEvent = self._wheel_on_axis  # the values are zoomed where they stand

    def _wheel_on_axis(self, event: Any) -> None:
        low, high = self.item.getViewBox().viewRange()[1]
        factor = 0.8 if event.delta() > 0 else 1.25
        middle, half = 0.5 * (low + high), 0.5 * (high - low) * factor
        self.by_hand = True
        self.item.setYRange(middle - half, middle + half, padding=0.0)
        event.accept()

    # ---- drawing ----

    def draw(self, snapshot: Snapshot) -> None:
        """What the present window shows."""
        data = snapshot.data
        if data is None:
            self.curves.draw(())
            return
        curves, told = [], []
        signals = [snapshot.signals[n] for n in self.names if n in snapshot.signals]
        for k, signal in enumerate(signals):
            colour = self.theme.curves[k % len(self.theme.curves)]
            curves += self._curves_of(data, signal, colour, snapshot.signals)
            unit = SPOKEN.get(signal.unit, signal.unit)
            words = f"{KIND_MARKS[signal.kind]} {signal.name}{f' / {unit}' if unit else ''}"
            told.append(f'<span style="color:{colour}">{plain(words, 60)}</span>')
        missing = [n for n in self.names if n not in snapshot.signals]
        told += [f"{plain(n, 60)} is not told here" for n in missing]
        text = "&nbsp;&nbsp; ".join(told) or "tick a signal on the left, or drag one here"
        if self.legend.text != text:
            self.legend.setText(text, color=self.theme.faint)
        self._scale(data, signals)
        self._label(data, signals)
        self._mark(snapshot.injected, snapshot.span_s[1])
        ends_s = self.item.getViewBox().viewRange()[0][1]
        grows = snapshot.source == "recording" or snapshot.span_s[1] < ends_s - 1e-6
        self.curves.draw(curves, None if grows else (id(data), tuple(self.names)), UNSETTLED_S)

    def _curves_of(
        self, data: Data, signal: Signal, colour: str, signals: Mapping[str, Signal]
    ) -> list[Curve]:
        thickness, dash = STYLES[signal.kind]
        alpha = 255 if signal.count == 1 else max(70, 255 - signal.count)
        band = interval_of(signal.name, signals)
        return [
            Curve(
                one(data, signal.name, index), argb(colour, alpha),
                thickness if signal.count < 20 else 1.0, dash, bool(signal.choices),
                both(data, *band) if band else None,
            )
            for index in range(min(signal.count, CURVES_MAX))
        ]  # fmt: skip

    def _scale(self, data: Data, signals: list[Signal]) -> None:
        """The values in sight fit, with room; the axis stands still while they nearly do."""
        if self.by_hand:
            return
        (t0, t1), _ = self.item.getViewBox().viewRange()
        low, high = np.inf, -np.inf
        for signal in signals:
            values = data.window(signal.name, t0, t1, 400)[1]
            if values.size:
                least, most = np.fmin.reduce(values, None), np.fmax.reduce(values, None)
                if np.isfinite(least) and np.isfinite(most):
                    low, high = min(low, float(least)), max(high, float(most))
        if not low <= high:
            return
        if any(s.choices for s in signals):
            low, high = low - 0.6, high + 1.0
        room = ROOM * (high - low) or max(1e-3, abs(high) * 1e-3)
        if self._reach is not None:
            a, b = self._reach
            if a <= low and high <= b - self._head and (high - low) > 0.5 * (b - self._head - a):
                return
        share = min(0.6, LEGEND_PX / max(1.0, self.item.getViewBox().height()))
        self._head = (high - low + 2.0 * room) * share / (1.0 - share)
        self._reach = (low - room, high + room + self._head)
        self.item.setYRange(*self._reach, padding=0.0)

    def _label(self, data: Data, signals: list[Signal]) -> None:
        """Words on the axis of an enumeration: of the values in sight."""
        ticks = None
        if signals and signals[0].choices:
            (t0, t1), _ = self.item.getViewBox().viewRange()
            values = data.window(signals[0].name, t0, t1, 400)[1]
            seen = np.unique(values[np.isfinite(values)]).astype(int)
            low, high = self.item.getViewBox().viewRange()[1]
            apart = LABEL_PX * (high - low) / max(1.0, self.item.getViewBox().height())
            seen = _apart(seen[::-1], apart)
            words = signals[0].choices
            ticks = [[(int(n), words.get(int(n), str(n)).replace("_", " ")[:13]) for n in seen]]
        if ticks != self._ticks:
            self._ticks = ticks
            self.item.getAxis("left").setTicks(ticks)

    def _mark(self, faults: tuple[Injected, ...], last_s: float) -> None:
        """Faults that were put into the world, drawn where they act."""
        if faults == self._faults:
            return
        self._faults = faults
        for mark in self._marks:
            self.item.removeItem(mark)
        self._marks = []
        for fault in faults[-20:]:
            colour = QtGui.QColor(self.theme.warn)
            colour.setAlpha(28)
            ends_s = fault.off_s if np.isfinite(fault.off_s) else last_s + LONG_S
            zone = pg.LinearRegionItem(
                (fault.on_s, ends_s), movable=False, brush=colour, pen=pg.mkPen(self.theme.warn)
            )
            zone.setZValue(-10)
            pg.InfLineLabel(
                zone.lines[0], f"▼ {inert(fault.id, 20)}", position=0.12,
                color=self.theme.warn, anchors=[(0.0, 0.5), (0.0, 0.5)],
            )  # fmt: skip
            self.item.addItem(zone, ignoreBounds=True)
            self._marks.append(zone)

    # ---- cursors ----

    def show_cursors(self, times: tuple[float, float] | None, moved: Any) -> None:
        """Two lines at these times, or none. moved(number, time_s): one is being dragged."""
        for line in self.cursors:
            self.item.removeItem(line)
        self.cursors = []
        for k, time_s in enumerate(times or ()):
            pen = pg.mkPen(self.theme.text, width=1.2, style=QtCore.Qt.PenStyle.DashLine)
            held = pg.mkPen(self.theme.accent, width=2)
            line = pg.InfiniteLine(
                time_s, angle=90, movable=True, pen=pen, hoverPen=held,
                label="AB"[k], labelOpts={"position": 0.8, "color": self.theme.text},
            )  # fmt: skip
            line.setZValue(20)
            line.sigPositionChanged.connect(lambda moving, k=k: moved(k, float(moving.value())))
            self.item.addItem(line, ignoreBounds=True)
            self.cursors.append(line)
