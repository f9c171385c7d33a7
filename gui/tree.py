"""The tree of signals: searched by words, ticked to be drawn, dragged to a plot."""

from __future__ import annotations

from bms_gui.snapshot import Signal
from bms_gui.theme import KIND_MARKS, Theme, numbers_font
from bms_gui.words import SPOKEN, inert, plain
from pyqtgraph.Qt import QtCore, QtWidgets

MIME = "application/x-bms-signal"
SEARCHED = QtCore.Qt.ItemDataRole.UserRole + 1


class Tree(QtWidgets.QTreeWidget):
    """All signals by kind; ticking one draws it in the plot that was clicked last."""

    ticked = QtCore.Signal(str, bool)

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.theme = theme
        self.setHeaderLabels(["signal", "now"])
        self.header().setSectionResizeMode(0, QtWidgets.QHeaderView.ResizeMode.Stretch)
        self.header().setSectionResizeMode(1, QtWidgets.QHeaderView.ResizeMode.Fixed)
        self.header().resizeSection(1, 74)
        small = self.font()
        small.setPointSize(9)
        self.setFont(small)
        self.setRootIsDecorated(False)
        self.header().setStretchLastSection(False)
        self.setIndentation(4)
        self.setTextElideMode(QtCore.Qt.TextElideMode.ElideMiddle)
        self.setHorizontalScrollBarPolicy(QtCore.Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setUniformRowHeights(True)
        self.setDragEnabled(True)
        self.items: dict[str, QtWidgets.QTreeWidgetItem] = {}
        self.itemChanged.connect(self._changed)

    def _changed(self, item: QtWidgets.QTreeWidgetItem, column: int) -> None:
        name = item.data(0, QtCore.Qt.ItemDataRole.UserRole)
        if name and column == 0:
            self.ticked.emit(name, item.checkState(0) == QtCore.Qt.CheckState.Checked)

    def fill(self, signals: dict[str, Signal]) -> None:
        """These signals and no others."""
        self.blockSignals(True)
        self.clear()
        self.items = {}
        for kind in ("truth", "measured", "estimated", "command"):
            members = [s for s in signals.values() if s.kind == kind]
            if not members:
                continue
            group = QtWidgets.QTreeWidgetItem(self, [f"{KIND_MARKS[kind]} {kind}"])
            group.setExpanded(True)
            for signal in members:
                text = _short(signal)
                item = QtWidgets.QTreeWidgetItem(group, [inert(text)])
                item.setData(0, QtCore.Qt.ItemDataRole.UserRole, signal.name)
                unit = SPOKEN.get(signal.unit, signal.unit) or "1"
                item.setToolTip(0, plain(f"{signal.name} in {unit}\n{signal.text}"))
                item.setData(0, SEARCHED, f"{signal.name} {unit} {signal.text} {kind}".lower())
                item.setCheckState(0, QtCore.Qt.CheckState.Unchecked)
                item.setFont(1, numbers_font(8))
                self.items[signal.name] = item
        self.blockSignals(False)

    def mimeData(self, items: list[QtWidgets.QTreeWidgetItem]) -> QtCore.QMimeData:
        """Names of what is dragged."""
        names = (item.data(0, QtCore.Qt.ItemDataRole.UserRole) for item in items)
        data = QtCore.QMimeData()
        data.setData(MIME, "\n".join(name for name in names if name).encode())
        return data

    def tick(self, names: set[str]) -> None:
        """These are drawn."""
        self.blockSignals(True)
        states = QtCore.Qt.CheckState
        for name, item in self.items.items():
            item.setCheckState(0, states.Checked if name in names else states.Unchecked)
        self.blockSignals(False)

    def search(self, text: str) -> None:
        """Only signals whose name or explanation holds all words."""
        words = text.lower().split()
        for item in self.items.values():
            told = item.data(0, SEARCHED)
            item.setHidden(not all(word in told for word in words))


def _short(signal: Signal) -> str:
    """The name without its kind, which is the group's, and its unit, which is with the value."""
    name = signal.name.split("_", 1)[1] if "_" in signal.name else signal.name
    stem, _, unit = name.rpartition("_")
    return stem if stem and unit in ("v", "a", "degc", "kpa", "kohm", "frac", "w", "ah") else name
