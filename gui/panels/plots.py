"""Plots over time: signals ticked in a tree, linked time axes, two cursors, spikes that stay."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pyqtgraph as pg
from bms_gui import exporting
from bms_gui.clip import tsv
from bms_gui.plotting import Plot, value_at
from bms_gui.snapshot import Snapshot
from bms_gui.theme import Theme, numbers_font
from bms_gui.tree import MIME, Tree
from bms_gui.view import View
from bms_gui.words import clock, inert, quantity, shown
from pyqtgraph.Qt import QtCore, QtGui, QtWidgets

TITLE, AREA, ORDER = "Plots", "centre", 20
SHOWN_S = 60.0
TREE_EVERY_S = 0.2
FIRST = (
    ("meas_pack_current_a", "est_discharge_limit_a"),
    ("true_soc_frac", "est_soc_frac"),
    ("meas_cell_voltage_min_v", "meas_cell_voltage_max_v"),
    ("cmd_state",),
)


class Panel(QtWidgets.QWidget):
    """The tree, the plots, and a table of what lies between the cursors."""

    def __init__(self, view: View, theme: Theme) -> None:
        super().__init__()
        self.view, self.theme = view, theme
        self.plots: list[Plot] = []
        self.active = 0
        self.following, self.shown_s = True, SHOWN_S
        self.snapshot = Snapshot()
        self.cursor_times: tuple[float, float] | None = None
        self._names: tuple[str, ...] = ()
        self._tree_told_s = -1e9
        self.tree = Tree(theme)
        self.tree.ticked.connect(self._ticked)
        self.canvas = pg.GraphicsLayoutWidget()
        self.canvas.setBackground(theme.panel)
        self.canvas.ci.layout.setSpacing(2)
        self.canvas.ci.layout.setContentsMargins(2, 4, 8, 2)
        self.canvas.setAcceptDrops(True)
        self.canvas.viewport().installEventFilter(self)
        self.canvas.scene().sigMouseClicked.connect(self._clicked)
        self._layout()
        self.setFocusPolicy(QtCore.Qt.FocusPolicy.ClickFocus)
        view.jumped.connect(self.jump)

    def _layout(self) -> None:
        bar = QtWidgets.QHBoxLayout()
        bar.setSpacing(4)
        self.follow_button = self._button("Follow", "F", "keep the moment in sight", True)
        self.follow_button.setChecked(True)
        self.follow_button.toggled.connect(self._follow)
        fit = self._button("Fit", "A", "all of the time there is, and all values")
        fit.clicked.connect(self.fit)
        self.cursor_button = self._button(
            "Cursors", "C", "two cursors, and what lies between", True
        )
        self.cursor_button.toggled.connect(self._show_cursors)
        more = self._button("+ plot", "Ctrl+Shift+N", "one more plot below")
        more.clicked.connect(lambda: self.add_plot([]))
        less = self._button("− plot", "Ctrl+Shift+W", "remove the plot with the bright frame")
        less.clicked.connect(self.remove_plot)
        export = self._button("Export", "Ctrl+E", "picture or table of what is in sight")
        export.clicked.connect(self._export)
        for widget in (self.follow_button, fit, self.cursor_button, more, less, export):
            bar.addWidget(widget)
        bar.addStretch(1)
        self.search = QtWidgets.QLineEdit()
        self.search.setPlaceholderText("search signals  (Ctrl+F)")
        self.search.setClearButtonEnabled(True)
        self.search.textChanged.connect(self.tree.search)
        self._key("Ctrl+F", "search signals", self.search.setFocus, here=True)
        self._key("Ctrl+Up", "zoom in", lambda: self.zoom(0.5))
        self._key("Ctrl+Down", "zoom out", lambda: self.zoom(2.0))
        self.readout = QtWidgets.QTableWidget(0, 4)
        self.readout.verticalHeader().hide()
        self.readout.setEditTriggers(QtWidgets.QTableWidget.EditTrigger.NoEditTriggers)
        self.readout.setShowGrid(False)
        self.readout.setFont(numbers_font(9))
        self.readout.setMaximumHeight(150)
        self.readout.horizontalHeader().setSectionResizeMode(
            0, QtWidgets.QHeaderView.ResizeMode.Stretch
        )
        self.readout.hide()
        left, right = QtWidgets.QWidget(), QtWidgets.QWidget()
        column = QtWidgets.QVBoxLayout(left)
        column.setContentsMargins(6, 4, 0, 6)
        column.addWidget(self.search)
        column.addWidget(self.tree, 1)
        column = QtWidgets.QVBoxLayout(right)
        column.setContentsMargins(0, 4, 6, 6)
        column.addLayout(bar)
        column.addWidget(self.canvas, 1)
        column.addWidget(self.readout)
        split = QtWidgets.QSplitter()
        split.addWidget(left)
        split.addWidget(right)
        split.setStretchFactor(1, 1)
        split.setSizes([236, 700])
        box = QtWidgets.QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.addWidget(split)

    def _button(
        self, text: str, key: str, tip: str, checkable: bool = False
    ) -> QtWidgets.QPushButton:
        button = QtWidgets.QPushButton(text)
        button.setToolTip(f"{tip}  ({key})")
        button.setCheckable(checkable)
        self._key(key, tip, button.click)
        return button

    def _key(self, key: str, what: str, does: Any, *, here: bool = False) -> None:
        """here: only while the focus is in this panel, since others use the key too."""
        contexts = QtCore.Qt.ShortcutContext
        action = QtGui.QAction(what, self)
        action.setShortcut(QtGui.QKeySequence(key))
        action.setShortcutContext(
            contexts.WidgetWithChildrenShortcut if here else contexts.WindowShortcut
        )
        action.triggered.connect(lambda _=False: does())
        self.addAction(action)

    # ---- which plots, with what ----

    def add_plot(self, names: list[str]) -> Plot:
        """One more plot below the others, with these signals."""
        item = self.canvas.addPlot(row=len(self.plots), col=0)
        plot = Plot(item, self.theme, names)
        item.getViewBox().sigRangeChangedManually.connect(self._by_hand)
        if self.plots:
            item.setXLink(self.plots[0].item)
        self.plots.append(plot)
        self.active = len(self.plots) - 1
        self._axes()
        self._retick()
        if len(self.plots) == 1:
            self._go_to(0.0, self.shown_s)
        plot.show_cursors(self.cursor_times, self._drag)
        self._refresh()
        return plot

    def remove_plot(self) -> None:
        """Takes the active plot away; the last one is only emptied."""
        if len(self.plots) <= 1:
            for plot in self.plots:
                plot.names.clear()
        else:
            names = [p.names for k, p in enumerate(self.plots) if k != self.active]
            self.use([list(n) for n in names])
        self._retick()
        self._refresh()

    def use(self, groups: list[list[str]]) -> None:
        """These plots and no others."""
        span = self.plots[0].item.getViewBox().viewRange()[0] if self.plots else None
        self.canvas.clear()
        self.plots = []
        for names in groups:
            self.add_plot(names)
        self.active = 0
        if span and self.plots:
            self._go_to(*span)
        self._retick()

    def _axes(self) -> None:
        """Only the lowest plot has times below it."""
        for plot in self.plots:
            is_last = plot is self.plots[-1]
            axis = plot.item.getAxis("bottom")
            axis.setStyle(showValues=is_last)
            axis.setHeight(22 if is_last else 2)

    def _clicked(self, event: Any) -> None:
        for k, plot in enumerate(self.plots):
            if plot.item.sceneBoundingRect().contains(event.scenePos()):
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
        self.plots[self.active].by_hand = False
        self._refresh()

    def _retick(self) -> None:
        if self.plots:
            self.tree.tick(set(self.plots[self.active].names))
        many = len(self.plots) > 1
        for k, plot in enumerate(self.plots):
            colour = self.theme.accent if many and k == self.active else self.theme.line
            plot.item.getViewBox().setBorder(pg.mkPen(colour, width=1))

    def eventFilter(self, watched: Any, event: QtCore.QEvent) -> bool:
        """A signal dragged from the tree falls into the plot below the mouse."""
        kinds = QtCore.QEvent.Type
        if event.type() in (kinds.DragEnter, kinds.DragMove, kinds.Drop):
            names = bytes(event.mimeData().data(MIME)).decode().split("\n")  # type: ignore[attr-defined]
            if names == [""]:
                return False
            event.acceptProposedAction()  # type: ignore[attr-defined]
            if event.type() == kinds.Drop:
                self.drop(names, event.position())  # type: ignore[attr-defined]
            return True
        return False

    def drop(self, names: list[str], place: QtCore.QPointF) -> None:
        """Draws signals in the plot at a place of the canvas."""
        where = self.canvas.mapToScene(place.toPoint())
        for k, plot in enumerate(self.plots):
            if plot.item.sceneBoundingRect().contains(where):
                self.active = k
        for name in names:
            self._ticked(name, True)
        self._retick()

    # ---- one moment ----

    def tell(self, snapshot: Snapshot) -> None:
        """Draws one moment."""
        self.snapshot = snapshot
        names = tuple(snapshot.signals)
        if names != self._names:
            self._names = names
            self.tree.fill(dict(snapshot.signals))
            if not self.plots and names:
                self.use([[n for n in group if n in snapshot.signals] for group in FIRST])
            self._retick()
        self._tell_tree(snapshot)
        if self.following and self.plots:
            end_s = max(snapshot.time_s, snapshot.span_s[0] + self.shown_s)
            self._go_to(end_s - self.shown_s, end_s)
        self._refresh()

    def _tell_tree(self, snapshot: Snapshot) -> None:
        now_s = time.monotonic()
        if now_s - self._tree_told_s < TREE_EVERY_S:
            return
        self._tree_told_s = now_s
        for name, item in self.tree.items.items():
            signal = snapshot.signals[name]
            if signal.count == 1:
                text = shown(snapshot.number(name), signal)
                if item.text(1) != text:
                    item.setText(1, text)

    def _refresh(self) -> None:
        for plot in self.plots:
            plot.draw(self.snapshot)
        self._read_cursors()

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

    def zoom(self, factor: float) -> None:
        """Less or more time, about the moment or the middle."""
        if not self.plots:
            return
        t0, t1 = self.plots[0].item.getViewBox().viewRange()[0]
        self.shown_s = min(max(1e-3, (t1 - t0) * factor), 1e7)
        if self.following:
            self.tell(self.snapshot)
            return
        middle = 0.5 * (t0 + t1)
        self._go_to(middle - 0.5 * self.shown_s, middle + 0.5 * self.shown_s)
        self._refresh()

    def fit(self) -> None:
        """All there is."""
        first, last = self.snapshot.span_s
        self.shown_s = max(1.0, last - first)
        for plot in self.plots:
            plot.by_hand = False
        if self.plots:
            self._go_to(first, first + self.shown_s)
        self._refresh()

    def jump(self, time_s: float) -> None:
        """Shows a moment in the middle, at the present zoom."""
        if not self.plots:
            return
        self.follow_button.setChecked(False)
        self._go_to(time_s - 0.5 * self.shown_s, time_s + 0.5 * self.shown_s)
        self._refresh()

    # ---- cursors ----

    def _show_cursors(self, on: bool) -> None:
        if on and self.plots:
            t0, t1 = self.plots[0].item.getViewBox().viewRange()[0]
            self.cursor_times = (t0 + (t1 - t0) / 3.0, t0 + 2.0 * (t1 - t0) / 3.0)
        else:
            self.cursor_times = None
        for plot in self.plots:
            plot.show_cursors(self.cursor_times, self._drag)
        self._read_cursors()

    def _drag(self, k: int, time_s: float) -> None:
        if self.cursor_times is None or self.cursor_times[k] == time_s:
            return
        a, b = self.cursor_times
        self.cursor_times = (time_s, b) if k == 0 else (a, time_s)
        for plot in self.plots:
            if len(plot.cursors) == 2 and plot.cursors[k].value() != time_s:
                plot.cursors[k].setValue(time_s)
        self._read_cursors()

    def between(self) -> list[tuple[str, float, float]]:
        """(name, value at the first cursor, at the second) of every scalar that is drawn."""
        data = self.snapshot.data
        if data is None or self.cursor_times is None:
            return []
        a, b = self.cursor_times
        names = dict.fromkeys(name for plot in self.plots for name in plot.names)
        signals = (self.snapshot.signals.get(name) for name in names)
        return [
            (s.name, value_at(data, s.name, a), value_at(data, s.name, b))
            for s in signals
            if s is not None and s.count == 1
        ]

    def _read_cursors(self) -> None:
        self.readout.setVisible(self.cursor_times is not None)
        if self.cursor_times is None:
            return
        a, b = self.cursor_times
        heads = [f"Δt {quantity(b - a, 's')}", f"A {clock(a)}", f"B {clock(b)}", "B − A"]
        self.readout.setHorizontalHeaderLabels(heads)
        rows = self.between()
        if self.readout.rowCount() != len(rows):
            self.readout.setRowCount(len(rows))
            for k in range(len(rows)):
                for c in range(4):
                    self.readout.setItem(k, c, QtWidgets.QTableWidgetItem(""))
                self.readout.setRowHeight(k, 20)
        for k, (name, first, second) in enumerate(rows):
            signal = self.snapshot.signals[name]
            words = quantity(second - first, signal.unit) if not signal.choices else ""
            texts = (inert(name), shown(first, signal), shown(second, signal), words)
            for c, text in enumerate(texts):
                self.readout.item(k, c).setText(text)

    # ---- out ----

    def copied(self) -> str:
        """What lies between the cursors; without them all samples in sight."""
        if self.cursor_times is not None:
            a, b = self.cursor_times
            rows = [[name, x, y, y - x] for name, x, y in self.between()]
            return tsv([["signal", f"A {a:.3f} s", f"B {b:.3f} s", "B - A"], *rows])
        heads, rows = self._table()
        return tsv([heads, *rows.tolist()])

    def _table(self) -> tuple[list[str], Any]:
        names = [n for plot in self.plots for n in plot.names if n in self.snapshot.signals]
        t0, t1 = self.plots[0].item.getViewBox().viewRange()[0] if self.plots else (0.0, 0.0)
        return exporting.table(self.snapshot, names, t0, t1)

    def _export(self) -> None:
        dialog = QtWidgets.QFileDialog(self, "Export what is in sight", "plots.png")
        dialog.setAcceptMode(QtWidgets.QFileDialog.AcceptMode.AcceptSave)
        dialog.setNameFilters(["PNG (*.png)", "SVG (*.svg)", "CSV (*.csv)"])
        dialog.setAttribute(QtCore.Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.fileSelected.connect(lambda path: self.export(Path(path)))
        dialog.open()

    def export(self, path: Path) -> None:
        """What is in sight, as a picture (.png, .svg) or a table (.csv)."""
        try:
            if path.suffix.lower() == ".csv":
                exporting.write_table(path, *self._table())
            else:
                exporting.write_picture(path, self.canvas)
        except OSError as error:
            self.view.refused.emit(f"{path} was not written: {error.strerror}")

    # ---- remembering ----

    def kept(self) -> dict[str, Any]:
        """What is drawn, for the next time."""
        return {"plots": [list(plot.names) for plot in self.plots], "shown_s": self.shown_s}

    def take(self, kept: dict[str, Any]) -> None:
        """As it was left."""
        groups = kept.get("plots")
        if isinstance(groups, list) and groups:
            self.shown_s = float(kept.get("shown_s", SHOWN_S))
            self.use([[str(name) for name in names] for names in groups])
