"""The cell grid: every cell a tile, in one painted widget, so that four hundred are as easy as ten.

Lowest and highest are told by a triangle, bleeding by a drop, what is beyond a limit by a frame:
colour only shades the value. A click chooses a cell and opens its drawer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from bms_gui.clip import tsv
from bms_gui.snapshot import Snapshot
from bms_gui.theme import Theme, mixed, numbers_font
from bms_gui.view import View
from bms_gui.words import SPOKEN, UNKNOWN, fixed
from pyqtgraph.Qt import QtCore, QtGui, QtWidgets

TITLE, AREA, ORDER = "Cells", "left", 10


@dataclass(frozen=True)
class Quantity:
    """What a tile can show. names: signals of what is known and of the truth; spread: half the
    range of the colours, at least, so that noise is not painted as contrast."""

    title: str
    known: str
    truth: str
    unit: str
    decimals: int
    scale: float
    spread: float
    per: str = "block"
    about_mean: bool = False


QUANTITIES = (
    Quantity("Voltage", "meas_cell_voltage_v", "true_cell_voltage_v", "V", 3, 1.0, 0.02),
    Quantity(
        "Deviation",
        "meas_cell_voltage_v",
        "true_cell_voltage_v",
        "mV",
        0,
        1e3,
        10.0,
        about_mean=True,
    ),
    Quantity("SoC", "est_cell_soc_frac", "true_cell_soc_frac", "%", 1, 100.0, 2.0),
    Quantity(
        "Temperature",
        "meas_temperature_degc",
        "true_cell_temperature_core_degc",
        "degC",
        1,
        1.0,
        3.0,
        per="sensor",
    ),
    Quantity(
        "Pressure",
        "meas_module_pressure_kpa",
        "true_module_pressure_kpa",
        "kPa",
        0,
        1.0,
        50.0,
        per="module",
    ),
    Quantity("Resistance", "", "", "mΩ", 2, 1e3, 0.2),
)
RESISTANCE_OVER_S = 60.0
STEP_LEAST_A = 2.0


def spread_over_blocks(values: np.ndarray, blocks: int, parallel: int) -> np.ndarray:
    """(blocks,) of a vector over cells, blocks, modules or sensors: cells are averaged over their
    block, the others stand for the blocks next to them."""
    if blocks == 0 or values.size == 0:
        return np.full(blocks, np.nan)
    if values.size == blocks * parallel:
        return np.asarray(values.reshape(parallel, blocks).mean(axis=0))
    return np.asarray(values[np.arange(blocks) * values.size // blocks])


def resistance(snapshot: Snapshot, over_s: float = RESISTANCE_OVER_S) -> np.ndarray:
    """(blocks,) ohm, from how voltages followed steps of the current lately; NaN where the current
    did not change enough. A slope of differences, so that a voltage that drifts does no harm."""
    data, t1 = snapshot.data, snapshot.time_s
    unknown = np.full(snapshot.shape.blocks, np.nan)
    if data is None:
        return unknown
    time_s, volts = data.window("meas_cell_voltage_v", t1 - over_s, t1, 1000)
    at_s, amps = data.window("meas_pack_current_a", t1 - over_s, t1, 100_000)
    if volts.shape[1] < 3 or amps.shape[1] < 3 or len(volts) != snapshot.shape.blocks:
        return unknown
    current = amps[0][np.maximum(0, np.searchsorted(at_s, time_s, "right") - 1)]
    steps = np.diff(current)
    told = np.isfinite(steps) & (np.abs(steps) >= STEP_LEAST_A)
    told &= np.isfinite(np.diff(volts, axis=1)).all(axis=0)
    if told.sum() < 2:
        return unknown
    steps = steps[told]
    return np.asarray(-np.diff(volts, axis=1)[:, told] @ steps / (steps @ steps), float)


class Grid(QtWidgets.QWidget):
    """The painted tiles."""

    chosen = QtCore.Signal(int)

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.theme = theme
        self.values = np.zeros(0)
        self.text_decimals, self.unit, self.least_spread = 3, "V", 0.02
        self.per_module = 0
        self.bleeding = np.zeros(0)
        self.limits: tuple[float, float] = (-np.inf, np.inf)
        self.selected = -1
        self.stale = True
        self._layout: tuple[tuple[int, ...], int] = ((), 1)
        self.setMouseTracking(True)
        self.setMinimumSize(220, 160)

    def columns(self) -> int:
        """Tiles in a row: whole modules where that fits the shape of the widget."""
        key = (self.values.size, self.width(), self.height(), self.per_module)
        if key != self._layout[0]:
            self._layout = (key, self._best_columns())
        return self._layout[1]

    def _best_columns(self) -> int:
        n = max(1, self.values.size)
        best, best_score = 1, np.inf
        for columns in range(1, n + 1):
            rows = -(-n // columns)
            aspect = (self.width() / columns) / max(1e-6, self.height() / rows)
            score = abs(np.log(aspect / 1.6)) + 0.3 * ((rows * columns - n) / n)
            if self.per_module and columns % self.per_module and self.per_module % columns:
                score += 0.9
            if score < best_score:
                best, best_score = columns, score
        return best

    def tile(self, k: int) -> QtCore.QRectF:
        """Where a tile is."""
        columns = self.columns()
        rows = -(-max(1, self.values.size) // columns)
        w, h = self.width() / columns, self.height() / rows
        return QtCore.QRectF((k % columns) * w, (k // columns) * h, w, h).adjusted(1, 1, -1, -1)

    def at(self, point: QtCore.QPointF) -> int:
        """Which tile is there; -1 none."""
        n, columns = self.values.size, self.columns()
        if n == 0 or not self.rect().contains(point.toPoint()):
            return -1
        rows = -(-n // columns)
        column = min(columns - 1, int(point.x() * columns / self.width()))
        k = int(point.y() * rows / self.height()) * columns + column
        return k if k < n else -1

    def paintEvent(self, _: QtGui.QPaintEvent) -> None:
        """All tiles."""
        p = QtGui.QPainter(self)
        theme = self.theme
        n = self.values.size
        if n == 0:
            p.setPen(QtGui.QColor(theme.faint))
            p.drawText(self.rect(), QtCore.Qt.AlignmentFlag.AlignCenter, "no cells are known yet")
            return
        finite = self.values[np.isfinite(self.values)]
        middle = float(np.median(finite)) if finite.size else 0.0
        reach = max(self.least_spread, float(np.abs(finite - middle).max()) if finite.size else 0.0)
        low = int(np.nanargmin(self.values)) if finite.size else -1
        high = int(np.nanargmax(self.values)) if finite.size else -1
        first = self.tile(0)
        size = int(max(5, min(11, first.width() / 6.2, first.height() / 2.0)))
        p.setFont(numbers_font(size))
        show_text = first.width() > 24 and first.height() > 12
        for k in range(n):
            self._tile(p, k, (self.values[k] - middle) / reach, show_text)
        p.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
        for k, up in ((low, False), (high, True)):
            if k >= 0 and low != high:
                self._triangle(p, self.tile(k), up)
        self._outlines(p)

    def _tile(self, p: QtGui.QPainter, k: int, share: float, show_text: bool) -> None:
        theme, box, value = self.theme, self.tile(k), float(self.values[k])
        if not np.isfinite(value):
            p.fillRect(
                box, QtGui.QBrush(QtGui.QColor(theme.line), QtCore.Qt.BrushStyle.BDiagPattern)
            )
        else:
            towards = theme.curves[0] if share < 0.0 else theme.curves[1]
            strength = 0.1 + 0.45 * min(1.0, abs(share))
            p.fillRect(box, QtGui.QColor(mixed(theme.panel, towards, strength)))
        if show_text:
            p.setPen(QtGui.QColor(theme.faint if self.stale else theme.text))
            text = f"{value:.{self.text_decimals}f}" if np.isfinite(value) else UNKNOWN
            p.drawText(box, QtCore.Qt.AlignmentFlag.AlignCenter, text)
        if k < self.bleeding.size and self.bleeding[k] > 0.0:
            self._drop(p, box)
        if np.isfinite(value) and not self.limits[0] <= value <= self.limits[1]:
            p.setPen(QtGui.QPen(QtGui.QColor(theme.bad), 2.0))
            p.drawRect(box.adjusted(1, 1, -1, -1))
        if k == self.selected:
            p.setPen(QtGui.QPen(QtGui.QColor(theme.text), 2.0, QtCore.Qt.PenStyle.DotLine))
            p.drawRect(box.adjusted(1, 1, -1, -1))

    def _triangle(self, p: QtGui.QPainter, box: QtCore.QRectF, up: bool) -> None:
        size = max(4.0, min(8.0, box.height() / 4.0))
        x, y = box.right() - size - 2.0, box.top() + 3.0 if up else box.bottom() - 3.0
        way = 1.0 if up else -1.0
        points = [
            QtCore.QPointF(x, y + way * size),
            QtCore.QPointF(x + size, y + way * size),
            QtCore.QPointF(x + size / 2, y),
        ]
        p.setPen(QtCore.Qt.PenStyle.NoPen)
        p.setBrush(QtGui.QColor(self.theme.text))
        p.drawPolygon(points)

    def _drop(self, p: QtGui.QPainter, box: QtCore.QRectF) -> None:
        size = max(3.0, min(6.0, box.height() / 5.0))
        p.setPen(QtCore.Qt.PenStyle.NoPen)
        p.setBrush(QtGui.QColor(self.theme.accent))
        p.drawEllipse(
            QtCore.QPointF(box.left() + size + 1, box.bottom() - size - 1), size / 2, size / 2
        )
        p.drawRect(QtCore.QRectF(box.left() + size + 0.4, box.bottom() - 2 * size, 1.2, size))

    def _outlines(self, p: QtGui.QPainter) -> None:
        """A frame round each module, as far as its tiles are one rectangle."""
        columns = self.columns()
        if not self.per_module or self.per_module >= self.values.size:
            return
        p.setBrush(QtCore.Qt.BrushStyle.NoBrush)
        p.setPen(QtGui.QPen(QtGui.QColor(self.theme.faint), 1.2))
        for start in range(0, self.values.size, self.per_module):
            end = min(start + self.per_module, self.values.size) - 1
            if start // columns == end // columns or (
                start % columns == 0 and (end + 1) % columns == 0
            ):
                p.drawRect(self.tile(start).united(self.tile(end)).adjusted(-1, -1, 0, 0))

    def mouseMoveEvent(self, event: QtGui.QMouseEvent) -> None:
        """Tells the cell under the mouse."""
        k = self.at(event.position())
        if k < 0:
            self.setToolTip("")
            return
        module = f", module {k // self.per_module + 1}" if self.per_module else ""
        value = fixed(float(self.values[k]), self.text_decimals, self.unit)
        bled = ", bleeding" if k < self.bleeding.size and self.bleeding[k] > 0 else ""
        self.setToolTip(f"cell {k + 1}{module}: {value}{bled}")

    def mousePressEvent(self, event: QtGui.QMouseEvent) -> None:
        """Chooses a cell."""
        k = self.at(event.position())
        if k >= 0:
            self.chosen.emit(k)


class Panel(QtWidgets.QWidget):
    """The grid, what it shows, and whether that is known or true."""

    def __init__(self, view: View, theme: Theme) -> None:
        super().__init__()
        self.view, self.theme = view, theme
        box = QtWidgets.QVBoxLayout(self)
        box.setContentsMargins(6, 4, 6, 6)
        row = QtWidgets.QHBoxLayout()
        self.choice = QtWidgets.QComboBox()
        self.choice.addItems([q.title for q in QUANTITIES])
        self.choice.currentIndexChanged.connect(lambda _: self.tell(view.snapshot))
        self.truth = QtWidgets.QPushButton("truth")
        self.truth.setCheckable(True)
        self.truth.setToolTip("show what is, instead of what the BMS knows (simulation only)")
        self.truth.toggled.connect(lambda _: self.tell(view.snapshot))
        self.legend = QtWidgets.QLabel("")
        self.legend.setStyleSheet(f"color: {theme.faint};")
        self.legend.setSizePolicy(
            QtWidgets.QSizePolicy.Policy.Ignored, QtWidgets.QSizePolicy.Policy.Preferred
        )
        self.legend.setAlignment(
            QtCore.Qt.AlignmentFlag.AlignRight | QtCore.Qt.AlignmentFlag.AlignVCenter
        )
        row.addWidget(self.choice)
        row.addWidget(self.truth)
        row.addWidget(self.legend, 1)
        box.addLayout(row)
        self.grid = Grid(theme)
        self.grid.chosen.connect(view.cell_chosen.emit)
        view.cell_chosen.connect(self._choose)
        box.addWidget(self.grid, 1)

    def _choose(self, k: int) -> None:
        self.grid.selected = k
        self.grid.update()

    def tell(self, snapshot: Snapshot) -> None:
        """Draws one moment."""
        quantity, shape, grid = QUANTITIES[self.choice.currentIndex()], snapshot.shape, self.grid
        self.truth.setEnabled(quantity.truth in snapshot.signals)
        name = (
            quantity.truth if self.truth.isChecked() and self.truth.isEnabled() else quantity.known
        )
        if quantity.known:
            values = spread_over_blocks(snapshot.vector(name), shape.blocks, shape.parallel)
        else:
            values = resistance(snapshot)
        if quantity.about_mean and np.isfinite(values).any():
            values = values - np.nanmean(values)
        grid.values = values * quantity.scale
        grid.text_decimals, grid.unit = quantity.decimals, quantity.unit
        grid.least_spread = quantity.spread
        grid.per_module = shape.blocks_per_module
        grid.bleeding = snapshot.vector("cmd_balancing")[: shape.blocks]
        grid.stale = snapshot.is_stale(name or "meas_cell_voltage_v", 3.0)
        grid.limits = (-np.inf, np.inf)
        low, high = shape.limits.get("voltage_min_v"), shape.limits.get("voltage_max_v")
        if quantity.title == "Voltage" and low and high:
            grid.limits = (low[1], high[1])
        finite = grid.values[np.isfinite(grid.values)]
        told = "truth" if name == quantity.truth else "as the BMS knows it"
        told = told if name else "from steps of the current in the last minute"
        if finite.size:
            mean, spread = finite.mean(), finite.max() - finite.min()
            told += f" · mean {mean:.{quantity.decimals}f}, spread {spread:.{quantity.decimals}f}"
        room = self.legend.width()
        metrics = self.legend.fontMetrics()
        while metrics.horizontalAdvance(told) > room and " · " in told:
            told = told.partition(" · ")[2]  # what is left out is on the button
        self.legend.setText(told)
        grid.update()

    def copied(self) -> str:
        """What is shown, a line a cell."""
        grid = self.grid
        decimals = grid.text_decimals
        head = ["cell", f"{self.choice.currentText()} / {SPOKEN.get(grid.unit, grid.unit)}"]
        return tsv([head, *([k + 1, f"{v:.{decimals}f}"] for k, v in enumerate(grid.values))])
