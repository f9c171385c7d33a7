"""The cell drawer: one cell with its history, truth beside measurement beside estimate."""

from __future__ import annotations

import numpy as np
from bms_gui.acting import action
from bms_gui.history import Line, Quantity, lines, rank
from bms_gui.snapshot import Snapshot
from bms_gui.theme import KIND_MARKS, Theme, numbers_font
from bms_gui.view import View
from bms_gui.words import UNKNOWN
from pyqtgraph.Qt import QtCore, QtGui, QtWidgets

TITLE, AREA, ORDER = "Cell", "right", 15
SPANS = (("1 min", 60.0), ("10 min", 600.0), ("1 h", 3600.0))
LINE_HEIGHT, LEAST_ROW = 17, 54
NOTHING = "Click a cell in the grid.\nIts history and its numbers are shown here."


def number(value: float, decimals: int) -> str:
    """Fixed digits, or a dash."""
    return f"{value:z.{decimals}f}" if np.isfinite(value) else UNKNOWN


class History(QtWidgets.QWidget):
    """The rows: numbers on the left, curves on the right."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.theme = theme
        self.rows: list[tuple[Quantity, list[Line]]] = []
        self.span: tuple[float, float] = (0.0, 1.0)
        self.setMinimumWidth(280)

    def tell(self, rows: list[tuple[Quantity, list[Line]]], span: tuple[float, float]) -> None:
        """These rows from now on, over this stretch of time."""
        self.rows, self.span = rows, span
        self.setMinimumHeight(sum(self._height(told) for _, told in rows) + 4)
        self.update()

    def _height(self, told: list[Line]) -> int:
        return max(LEAST_ROW, 20 + LINE_HEIGHT * len(told) + 6)

    def colour(self, kind: str) -> str:
        """Of a kind of signal."""
        curves = self.theme.curves
        return {"truth": curves[2], "measured": curves[0]}.get(kind, curves[1])

    def paintEvent(self, _: QtGui.QPaintEvent) -> None:
        """All rows."""
        p = QtGui.QPainter(self)
        y = 0
        for quantity, told in self.rows:
            height = self._height(told)
            self._row(p, QtCore.QRect(0, y, self.width(), height), quantity, told)
            y += height

    def _row(
        self, p: QtGui.QPainter, box: QtCore.QRect, quantity: Quantity, told: list[Line]
    ) -> None:
        theme = self.theme
        p.setPen(QtGui.QColor(theme.line))
        p.drawLine(box.bottomLeft(), box.bottomRight())
        bold = QtGui.QFont(self.font())
        bold.setWeight(QtGui.QFont.Weight.DemiBold)
        p.setFont(bold)
        p.setPen(QtGui.QColor(theme.text))
        p.drawText(box.left() + 8, box.top() + 15, f"{quantity.title} / {quantity.unit}")
        p.setFont(numbers_font(9))
        for k, one in enumerate(told):
            y = box.top() + 31 + LINE_HEIGHT * k
            p.setPen(QtGui.QColor(self.colour(one.kind)))
            p.drawText(box.left() + 8, y, KIND_MARKS[one.kind])
            p.setPen(QtGui.QColor(theme.faint if one.is_stale else theme.text))
            off = f"{one.off:+z.{quantity.decimals}f}" if np.isfinite(one.off) else ""
            text = f"{number(one.now, quantity.decimals):>9} {off:>9}"
            p.drawText(box.left() + 22, y, text)
        left = 178
        self._curves(p, box.adjusted(left, 4, -58, -5), told)
        lows = [one.least for one in told if np.isfinite(one.least)]
        highs = [one.most for one in told if np.isfinite(one.most)]
        p.setFont(numbers_font(8))
        p.setPen(QtGui.QColor(theme.faint))
        if lows:
            x = box.right() - 54
            p.drawText(x, box.top() + 14, number(max(highs), min(3, quantity.decimals)))
            p.drawText(x, box.bottom() - 6, number(min(lows), min(3, quantity.decimals)))

    def _curves(self, p: QtGui.QPainter, box: QtCore.QRect, told: list[Line]) -> None:
        lows = [one.least for one in told if np.isfinite(one.least)]
        highs = [one.most for one in told if np.isfinite(one.most)]
        if not lows or box.width() < 10:
            return
        low, high = min(lows), max(highs)
        reach = max(high - low, 1e-9 + 1e-4 * abs(high))
        p.save()
        p.setClipRect(box)
        p.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
        t0, t1 = self.span
        for one in told:
            time_s, values = thinned(one.time_s, one.values, 2 * box.width())
            x = box.left() + (time_s - t0) / max(1e-9, t1 - t0) * box.width()
            y = box.bottom() - 2 - (values - low) / reach * (box.height() - 4)
            pen = QtGui.QPen(QtGui.QColor(self.colour(one.kind)), 1.4)
            if one.kind == "estimated":
                pen.setStyle(QtCore.Qt.PenStyle.DashLine)
            elif one.kind == "measured":
                pen.setWidthF(1.0)
            p.setPen(pen)
            path, is_down = QtGui.QPainterPath(), False
            for a, b in zip(x.tolist(), y.tolist(), strict=True):
                if b != b:
                    is_down = False
                elif is_down:
                    path.lineTo(a, b)
                else:
                    path.moveTo(a, b)
                    is_down = True
            p.drawPath(path)
        p.restore()


def thinned(time_s: np.ndarray, values: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """At most about so many samples, with the least and most of what is left out."""
    if len(time_s) <= most:
        return time_s, values
    step = -(-2 * len(time_s) // most)
    n = len(time_s) // step * step
    pieces = values[:n].reshape(-1, step)
    kept = np.sort(np.stack((pieces.argmin(axis=1), pieces.argmax(axis=1)), axis=1), axis=1)
    at = (kept + np.arange(0, n, step)[:, None]).ravel()
    return time_s[at], values[at]


class Panel(QtWidgets.QWidget):
    """Which cell, how long, and its rows."""

    def __init__(self, view: View, theme: Theme) -> None:
        super().__init__()
        self.view, self.theme = view, theme
        self.cell = -1
        self._told: tuple[object, ...] = ()
        self.title = QtWidgets.QLabel("")
        self.title.setTextFormat(QtCore.Qt.TextFormat.PlainText)
        self.title.setStyleSheet(f"font-weight: 700; color: {theme.text};")
        self.under = QtWidgets.QLabel("")
        self.under.setTextFormat(QtCore.Qt.TextFormat.PlainText)
        self.under.setStyleSheet(f"color: {theme.faint};")
        self.under.setWordWrap(True)
        self.span = QtWidgets.QComboBox()
        self.span.addItems([text for text, _ in SPANS])
        self.span.setToolTip("how far back")
        self.span.currentIndexChanged.connect(lambda _: self._draw(view.snapshot))
        back, on = QtWidgets.QPushButton("‹"), QtWidgets.QPushButton("›")
        for button, step, tip in (
            (back, -1, "the cell before  ([)"),
            (on, 1, "the next cell  (])"),
        ):
            button.setToolTip(tip)
            button.setFixedWidth(28)
            button.clicked.connect(lambda _=False, step=step: self.step(step))
        copy = QtWidgets.QPushButton("copy")
        copy.setToolTip("the numbers as tab-separated text")
        copy.clicked.connect(lambda: QtWidgets.QApplication.clipboard().setText(self.copied()))
        self.history = History(theme)
        scroll = QtWidgets.QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QtWidgets.QFrame.Shape.NoFrame)
        scroll.setWidget(self.history)
        bar = QtWidgets.QHBoxLayout()
        for widget in (back, on, self.title, self.span, copy):
            bar.addWidget(widget, 1 if widget is self.title else 0)
        full = QtWidgets.QWidget()
        column = QtWidgets.QVBoxLayout(full)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(bar)
        column.addWidget(self.under)
        column.addWidget(scroll, 1)
        empty = QtWidgets.QLabel(NOTHING)
        empty.setAlignment(QtCore.Qt.AlignmentFlag.AlignCenter)
        empty.setStyleSheet(f"color: {theme.faint};")
        self.pages = QtWidgets.QStackedWidget()
        self.pages.addWidget(empty)
        self.pages.addWidget(full)
        box = QtWidgets.QVBoxLayout(self)
        box.setContentsMargins(6, 4, 6, 6)
        box.addWidget(self.pages)
        self.addAction(action(self, "the cell before", "[", lambda: self.step(-1)))
        self.addAction(action(self, "the next cell", "]", lambda: self.step(1)))
        view.cell_chosen.connect(self.choose)

    def choose(self, k: int) -> None:
        """Shows a cell."""
        self.cell = k
        self._draw(self.view.snapshot)

    def step(self, by: int) -> None:
        """The cell after, or before."""
        blocks = self.view.snapshot.shape.blocks
        if blocks:
            self.view.cell_chosen.emit((self.cell + by) % blocks)

    def tell(self, snapshot: Snapshot) -> None:
        """Draws one moment, at most ten times a second: nobody reads digits faster."""
        told = (round(10.0 * snapshot.time_s), self.cell, snapshot.title)
        if told != self._told and self.isVisible():
            self._told = told
            self._draw(snapshot)

    def _draw(self, snapshot: Snapshot) -> None:
        is_there = 0 <= self.cell < snapshot.shape.blocks
        self.pages.setCurrentIndex(int(is_there))
        if not is_there:
            return
        shape, span_s = snapshot.shape, SPANS[self.span.currentIndex()][1]
        module = ""
        if shape.blocks_per_module:
            module = f" · module {self.cell // shape.blocks_per_module + 1}"
        self.title.setText(f"Cell {self.cell + 1}{module}")
        known = snapshot.vector("meas_cell_voltage_v")[: shape.blocks]
        bleeding = snapshot.vector("cmd_balancing")
        notes = [rank(known, self.cell)]
        if self.cell < bleeding.size:
            notes.append("bleeding" if bleeding[self.cell] > 0.0 else "not bleeding")
        if shape.parallel > 1:
            notes.append(f"mean of {shape.parallel} in parallel")
        kinds = "  ".join(f"{mark} {kind}" for kind, mark in list(KIND_MARKS.items())[:3])
        self.under.setText(
            " · ".join(n for n in notes if n) + f"\n{kinds}: now, and off the mean of all"
        )
        first_s = max(snapshot.span_s[0], snapshot.time_s - span_s)
        self.history.tell(
            lines(snapshot, self.cell, span_s), (first_s, max(snapshot.time_s, first_s + 1e-3))
        )

    def copied(self) -> str:
        """The numbers as tab-separated text."""
        head = "quantity\tunit\tsignal\tkind\tnow\toff the mean\tleast\tmost"
        rows = [f"cell\t{self.cell + 1}", head]
        for quantity, told in self.history.rows:
            for one in told:
                values = (one.now, one.off, one.least, one.most)
                numbers = "\t".join(f"{v:.6g}" if np.isfinite(v) else "" for v in values)
                rows.append(f"{quantity.title}\t{quantity.unit}\t{one.name}\t{one.kind}\t{numbers}")
        return "\n".join(rows) + "\n"
