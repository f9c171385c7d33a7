"""Plots over time: signals ticked in a tree, linked time axes, two cursors, spikes that stay.

Truth is a full line, what was measured a thinner one, what was estimated a dashed one with its
interval behind it: told apart without colour too.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyqtgraph as pg
from bms_gui.curves import Curve, Curves
from bms_gui.snapshot import Data, Snapshot
from bms_gui.theme import KIND_MARKS, Theme, argb, numbers_font
from bms_gui.tree import Tree
from bms_gui.view import View
from bms_gui.words import SPOKEN, clock, quantity
from pyqtgraph.Qt import QtCore, QtGui, QtWidgets

TITLE, AREA, ORDER = "Plots", "centre", 20
SHOWN_S = 60.0
STYLES = {"truth": (2.2, 0), "measured": (1.3, 0), "estimated": (1.8, 5), "command": (1.5, 0)}
BANDS = {"est_soc_frac": ("est_soc_low_frac", "est_soc_high_frac")}
FIRST = (
    ("meas_pack_current_a", "est_discharge_limit_a"),
    ("true_soc_frac", "est_soc_frac"),
    ("meas_cell_voltage_min_v", "meas_cell_voltage_max_v"),
    ("cmd_state",),
)


@dataclass
class Plot:
    """One plot and the names drawn in it."""

    item: pg.PlotItem
    curves: Curves
    names: list[str]
    cursors: list[pg.InfiniteLine] = field(default_factory=list)
    legend: pg.LabelItem | None = None


def one(data: Data, name: str, index: int) -> object:
    """A curve's window over one element of a signal."""

    def window(t0: float, t1: float, columns: int) -> tuple[np.ndarray, np.ndarray]:
        time_s, values = data.window(name, t0, t1, columns)
        return time_s, values[index] if index < len(values) else np.zeros(len(time_s), np.float32)

    return window


def both(data: Data, low: str, high: str) -> object:
    """A band's window over two signals."""

    def window(
        t0: float, t1: float, columns: int
    ) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
        time_s, below = data.window(low, t0, t1, columns)
        above = data.window(high, t0, t1, columns)[1]
        if not len(below) or not len(above):
            return np.zeros(0), (np.zeros(0, np.float32), np.zeros(0, np.float32))
        return time_s, (below[0], above[0])

    return window


class Panel(QtWidgets.QWidget):
    """The tree and the plots."""

    def __init__(self, view: View, theme: Theme) -> None:
        super().__init__()
        self.view, self.theme = view, theme
        self.plots: list[Plot] = []
        self.active = 0
        self.following, self.shown_s = True, SHOWN_S
        self.snapshot = Snapshot()
        self._names: tuple[str, ...] = ()
        self.tree = Tree(theme)
        self.tree.ticked.connect(self._ticked)
        self.canvas = pg.GraphicsLayoutWidget()
        self.canvas.ci.layout.setSpacing(2)
        self._layout()
        view.jumped.connect(self.jump)

    def _layout(self) -> None:
        bar = QtWidgets.QHBoxLayout()
        self.follow_button = self._button("follow", "keep the newest sample in sight  (F)", True)
        self.follow_button.setChecked(True)
        self.follow_button.toggled.connect(self._follow)
        self.cursor_button = self._button("cursors", "two cursors and what lies between  (C)", True)
        self.cursor_button.toggled.connect(self._show_cursors)
        fit = self._button("fit", "all of the time there is  (A)", False)
        fit.clicked.connect(self.fit)
        more = self._button("+ plot", "one more plot below", False)
        more.clicked.connect(lambda: self.add_plot([]))
        export = self._button("export", "picture or table of what is in sight", False)
        export.clicked.connect(self._export)
        self.readout = QtWidgets.QLabel("")
        self.readout.setFont(numbers_font(9))
        self.readout.setStyleSheet(f"color: {self.theme.faint};")
        for widget in (self.follow_button, fit, self.cursor_button, more, export, self.readout):
            bar.addWidget(widget)
        bar.addStretch(1)
        search = QtWidgets.QLineEdit()
        search.setPlaceholderText("search signals")
        search.setClearButtonEnabled(True)
        search.textChanged.connect(self.tree.search)
        left = QtWidgets.QWidget()
        column = QtWidgets.QVBoxLayout(left)
        column.setContentsMargins(6, 4, 0, 6)
        column.addWidget(search)
        column.addWidget(self.tree, 1)
        right = QtWidgets.QWidget()
        column = QtWidgets.QVBoxLayout(right)
        column.setContentsMargins(0, 4, 6, 6)
        column.addLayout(bar)
        column.addWidget(self.canvas, 1)
        split = QtWidgets.QSplitter()
        split.addWidget(left)
        split.addWidget(right)
        split.setStretchFactor(1, 1)
        split.setSizes([250, 700])
        box = QtWidgets.QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.addWidget(split)

    def _button(self, text: str, tip: str, checkable: bool) -> QtWidgets.QPushButton:
        button = QtWidgets.QPushButton(text)
        button.setToolTip(tip)
        button.setCheckable(checkable)
        return button

    # ---- plots ----

    def add_plot(self, names: list[str]) -> Plot:
        """One more plot below the others, with these signals."""
        item = self.canvas.addPlot(row=len(self.plots), col=0)
        item.setMenuEnabled(False)
        item.hideButtons()
        item.showGrid(x=True, y=True, alpha=0.15)
        axis = item.getAxis("left")
        axis.setWidth(64)
        axis.enableAutoSIPrefix(False)
        item.getAxis("bottom").enableAutoSIPrefix(False)
        curves = Curves()
        item.addItem(curves)
        item.getViewBox().sigRangeChangedManually.connect(self._by_hand)
        item.getViewBox().setMouseEnabled(x=True, y=False)
        plot = Plot(item, curves, list(names))
        plot.legend = pg.LabelItem(justify="left", size="8pt")
        plot.legend.setParentItem(item.getViewBox())
        plot.legend.anchor(itemPos=(0, 0), parentPos=(0, 0), offset=(4, 0))
        if self.plots:
            item.setXLink(self.plots[0].item)
            self.plots[-1].item.getAxis("bottom").setStyle(showValues=False)
        item.scene().sigMouseClicked.connect(self._clicked)
        self.plots.append(plot)
        self.active = len(self.plots) - 1
        self._retick()
        if len(self.plots) == 1:
            self._go_to(0.0, self.shown_s)
        if self.cursor_button.isChecked():
            self._show_cursors(True)
        self._refresh()
        return plot

    def _clicked(self, event: object) -> None:
        for k, plot in enumerate(self.plots):
            if plot.item.sceneBoundingRect().contains(event.scenePos()):  # type: ignore[attr-defined]
                self.active = k
                self._retick()

    def _ticked(self, name: str, on: bool) -> None:
        if not self.plots:
            self.add_plot([])
        names = self.plots[self.active].names
        if on and name not in names:
            names.append(name)
        elif not on and name in names:
            names.remove(name)
        self._refresh()

    def _retick(self) -> None:
        if self.plots:
            self.tree.tick(set(self.plots[self.active].names))
        for k, plot in enumerate(self.plots):
            colour = (
                self.theme.accent if k == self.active and len(self.plots) > 1 else self.theme.line
            )
            plot.item.getViewBox().setBorder(pg.mkPen(colour, width=1))

    def tell(self, snapshot: Snapshot) -> None:
        """Draws one moment."""
        self.snapshot = snapshot
        names = tuple(snapshot.signals)
        if names != self._names:
            self._names = names
            self.tree.fill(dict(snapshot.signals))
            if not self.plots:
                for group in FIRST:
                    self.add_plot([name for name in group if name in snapshot.signals])
                self.active = 0
            self._retick()
        for name, item in self.tree.items.items():
            if snapshot.signals[name].choices:
                item.setText(1, snapshot.word(name))
            elif snapshot.signals[name].count == 1:
                item.setText(1, quantity(snapshot.number(name), snapshot.signals[name].unit))
        if self.following and self.plots:
            end_s = max(snapshot.time_s, self.shown_s)
            self._go_to(end_s - self.shown_s, end_s)
        self._refresh()

    def _refresh(self) -> None:
        for plot in self.plots:
            self._draw(plot)
        self._read_cursors()

    def _draw(self, plot: Plot) -> None:
        data, theme = self.snapshot.data, self.theme
        if data is None:
            plot.curves.draw(())
            return
        curves, told, lows, highs = [], [], [], []
        (t0, t1), _ = plot.item.getViewBox().viewRange()
        at = 0
        for name in plot.names:
            signal = self.snapshot.signals.get(name)
            if signal is None:
                continue
            thickness, dash = STYLES[signal.kind]
            colour = theme.curves[at % len(theme.curves)]
            at += 1
            band = BANDS.get(name)
            for index in range(min(signal.count, 400)):
                alpha = 255 if signal.count == 1 else max(70, 255 - signal.count)
                curves.append(
                    Curve(
                        one(data, name, index),  # type: ignore[arg-type]
                        argb(colour, alpha),
                        thickness if signal.count < 20 else 1.0,
                        dash,
                        bool(signal.choices),
                        both(data, *band) if band else None,  # type: ignore[arg-type]
                    )
                )
            values = data.window(name, t0, t1, 400)[1]
            finite = values[np.isfinite(values)]
            if finite.size:
                lows.append(float(finite.min()))
                highs.append(float(finite.max()))
            unit = SPOKEN.get(signal.unit, signal.unit)
            mark = KIND_MARKS[signal.kind]
            told.append(
                f'<span style="color:{colour}">{mark} {name}</span>{f" / {unit}" if unit else ""}'
            )
        if lows:
            low, high = min(lows), max(highs)
            room = 0.06 * (high - low) or max(1e-3, abs(high) * 1e-3)
            plot.item.setYRange(low - room, high + room, padding=0.0)
        text = "&nbsp;&nbsp; ".join(told) or "tick a signal on the left"
        if plot.legend is not None and plot.legend.text != text:
            plot.legend.setText(text)
        words = (
            self.snapshot.signals[plot.names[0]].choices
            if plot.names and plot.names[0] in self.snapshot.signals
            else {}
        )
        ticks = [[(number, word) for number, word in words.items()]] if words else None
        plot.item.getAxis("left").setTicks(ticks)
        plot.curves.draw(curves)

    # ---- time ----

    def _go_to(self, t0_s: float, t1_s: float) -> None:
        """All plots show this."""
        self.plots[0].item.setXRange(t0_s, t1_s, padding=0.0)

    def _by_hand(self, *_: object) -> None:
        """Somebody moved or zoomed with the mouse."""
        t0, t1 = self.plots[0].item.getViewBox().viewRange()[0]
        self.shown_s = max(1e-3, t1 - t0)
        self.follow_button.setChecked(False)
        self._refresh()

    def _follow(self, on: bool) -> None:
        self.following = on
        self.tell(self.snapshot)

    def fit(self) -> None:
        """All there is."""
        first, last = self.snapshot.span_s
        self.shown_s = max(1.0, last - first)
        if self.plots:
            self._go_to(first, first + self.shown_s)
        self._refresh()

    def jump(self, time_s: float) -> None:
        """A time in the middle of the view; stops following."""
        self.follow_button.setChecked(False)
        half = self.shown_s / 2
        if self.plots:
            self._go_to(time_s - half, time_s + half)
            self._refresh()

    # ---- cursors ----

    def _show_cursors(self, on: bool) -> None:
        (t0, t1) = self.plots[0].item.getViewBox().viewRange()[0] if self.plots else (0.0, 1.0)
        for plot in self.plots:
            for line in plot.cursors:
                plot.item.removeItem(line)
            plot.cursors = []
            for k, share in enumerate((1 / 3, 2 / 3)):
                if not on:
                    continue
                pen = pg.mkPen(self.theme.text, width=1, style=QtCore.Qt.PenStyle.DashLine)
                line = pg.InfiniteLine(t0 + share * (t1 - t0), 90, pen=pen, movable=True)
                line.sigPositionChanged.connect(lambda moved, k=k: self._drag(k, moved.value()))
                plot.item.addItem(line)
                plot.cursors.append(line)
        self._read_cursors()

    def _drag(self, k: int, time_s: float) -> None:
        for plot in self.plots:
            if len(plot.cursors) == 2 and plot.cursors[k].value() != time_s:
                plot.cursors[k].setValue(time_s)
        self._read_cursors()

    def between(self) -> list[tuple[str, float, float]]:
        """(name, value at the first cursor, at the second) of every scalar that is drawn."""
        data = self.snapshot.data
        if data is None or not self.plots or len(self.plots[0].cursors) != 2:
            return []
        a, b = (line.value() for line in self.plots[0].cursors)
        found = []
        for name in dict.fromkeys(n for plot in self.plots for n in plot.names):
            signal = self.snapshot.signals.get(name)
            if signal is not None and signal.count == 1:
                found.append((name, _at(data, name, a), _at(data, name, b)))
        return found

    def _read_cursors(self) -> None:
        rows = self.between()
        if not rows:
            self.readout.setText("")
            return
        a, b = (line.value() for line in self.plots[0].cursors)
        parts = [f"{clock(a)} → {clock(b)}  Δt {b - a:.3f} s"]
        for name, first, second in rows:
            unit = self.snapshot.signals[name].unit
            parts.append(
                f"{name}  {quantity(first, unit)} → {quantity(second, unit)}"
                f"  Δ {quantity(second - first, unit)}"
            )
        self.readout.setText(parts[0])
        self.readout.setToolTip("\n".join(parts))

    # ---- out ----

    def _export(self) -> None:
        kinds = "PNG (*.png);;SVG (*.svg);;CSV (*.csv)"
        path, _ = QtWidgets.QFileDialog.getSaveFileName(
            self, "Export what is in sight", "plots.png", kinds
        )
        if path:
            self.export(Path(path))

    def export(self, path: Path) -> None:
        """What is in sight, as a picture (.png, .svg) or a table (.csv)."""
        if path.suffix == ".csv":
            self._export_table(path)
        elif path.suffix == ".svg":
            from pyqtgraph.exporters import SVGExporter

            SVGExporter(self.canvas.scene()).export(str(path))
        else:
            self.canvas.grab().save(str(path))

    def _export_table(self, path: Path) -> None:
        (t0, t1) = self.plots[0].item.getViewBox().viewRange()[0]
        data = self.snapshot.data
        names = list(dict.fromkeys(n for plot in self.plots for n in plot.names))
        scalars = [n for n in names if self.snapshot.signals[n].count == 1]
        if data is None or not scalars:
            return
        columns = [data.window(name, t0, t1, 1_000_000) for name in scalars]
        with path.open("w", newline="", encoding="utf-8") as file:
            out = csv.writer(file)
            out.writerow(["time_s", *scalars])
            for k, time_s in enumerate(columns[0][0]):
                row = [values[0][k] if k < values.shape[1] else "" for _, values in columns]
                out.writerow([f"{time_s:.6f}", *row])

    def keyPressEvent(self, event: QtGui.QKeyEvent) -> None:
        """F follow, A all, C cursors."""
        keys = QtCore.Qt.Key
        match event.key():
            case keys.Key_F:
                self.follow_button.toggle()
            case keys.Key_A:
                self.fit()
            case keys.Key_C:
                self.cursor_button.toggle()
            case _:
                super().keyPressEvent(event)


def _at(data: Data, name: str, time_s: float) -> float:
    times, values = data.window(name, time_s, time_s, 2)
    k = int(np.searchsorted(times, time_s, "right")) - 1
    return float(values[0, k]) if 0 <= k < values.shape[1] else float("nan")
