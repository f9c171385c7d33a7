"""The tree of signals: searched by words, ticked to be drawn, dragged to a plot."""

from __future__ import annotations

from bms_gui.snapshot import Signal
from bms_gui.theme import KIND_MARKS, Theme, numbers_font
from bms_gui.words import SPOKEN
from pyqtgraph.Qt import QtCore, QtWidgets


class Tree(QtWidgets.QTreeWidget):
    """All signals by kind; ticking one draws it in the plot that was clicked last."""

    ticked = QtCore.Signal(str, bool)

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.theme = theme
        self.setHeaderLabels(["signal", "now"])
        self.setColumnWidth(0, 190)
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
                text = signal.name.split("_", 1)[1] if "_" in signal.name else signal.name
                item = QtWidgets.QTreeWidgetItem(group, [text])
                item.setData(0, QtCore.Qt.ItemDataRole.UserRole, signal.name)
                item.setToolTip(
                    0,
                    f"{signal.name} in {SPOKEN.get(signal.unit, signal.unit) or 1}\n{signal.text}",
                )
                item.setCheckState(0, QtCore.Qt.CheckState.Unchecked)
                item.setFont(1, numbers_font(9))
                self.items[signal.name] = item
        self.blockSignals(False)

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
            told = f"{item.data(0, QtCore.Qt.ItemDataRole.UserRole)} {item.toolTip(0)}".lower()
            item.setHidden(not all(word in told for word in words))
