"""What happened: the list of events, newest first. A click goes to the time and the cell."""

from __future__ import annotations

from typing import Any

import numpy as np
from bms_gui.snapshot import Snapshot
from bms_gui.theme import Theme, numbers_font
from bms_gui.view import View
from bms_gui.words import clock
from pyqtgraph.Qt import QtCore, QtGui, QtWidgets

TITLE, AREA, ORDER = "Events", "bottom", 30
COLUMNS = ("time", "kind", "what", "place", "value", "text")


class Events(QtCore.QAbstractTableModel):
    """The events as a table; rows are made only when they are seen."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.theme = theme
        self.events: list[Any] = []

    def tell(self, events: Any) -> None:
        """These events now; a longer list of the same grows at the top."""
        if len(events) < len(self.events):
            self.beginResetModel()
            self.events = list(events)
            self.endResetModel()
            return
        new = list(events[len(self.events) :])
        if new:
            self.beginInsertRows(QtCore.QModelIndex(), 0, len(new) - 1)
            self.events += new
            self.endInsertRows()

    def rowCount(self, parent: QtCore.QModelIndex | None = None) -> int:
        """Events."""
        return 0 if parent is not None and parent.isValid() else len(self.events)

    def columnCount(self, parent: QtCore.QModelIndex | None = None) -> int:
        """Of COLUMNS."""
        return len(COLUMNS)

    def headerData(self, section: int, orientation: QtCore.Qt.Orientation, role: int = 0) -> Any:
        """Names of the columns."""
        if (
            role == QtCore.Qt.ItemDataRole.DisplayRole
            and orientation == QtCore.Qt.Orientation.Horizontal
        ):
            return COLUMNS[section]
        return None

    def event_at(self, row: int) -> Any:
        """The event of a row: the newest is row 0."""
        return self.events[len(self.events) - 1 - row]

    def data(self, index: QtCore.QModelIndex, role: int = 0) -> Any:
        """Text and colour of one field."""
        event = self.event_at(index.row())
        if role == QtCore.Qt.ItemDataRole.DisplayRole:
            return self._text(event, index.column())
        if role == QtCore.Qt.ItemDataRole.ForegroundRole:
            tones = {"trip": self.theme.bad, "warn": self.theme.warn, "reset": self.theme.bad}
            colour = tones.get(event.kind) or next(
                (tones[word] for word in tones if word in event.text.split()), None
            )
            return QtGui.QBrush(QtGui.QColor(colour)) if colour else None
        if role == QtCore.Qt.ItemDataRole.FontRole and index.column() in (0, 4):
            return numbers_font(9)
        return None

    def _text(self, event: Any, column: int) -> str:
        match column:
            case 0:
                return clock(event.t_ns * 1e-9)
            case 1:
                return str(event.kind)
            case 2:
                return str(event.name).replace("_", " ")
            case 3:
                return f"{event.index + 1}" if event.index >= 0 else ""
            case 4:
                return f"{event.value:.6g}" if np.isfinite(event.value) else ""
            case _:
                return str(event.text)


class Panel(QtWidgets.QWidget):
    """The table, and a filter."""

    def __init__(self, view: View, theme: Theme) -> None:
        super().__init__()
        self.view = view
        self.model = Events(theme)
        self.filtered = QtCore.QSortFilterProxyModel()
        self.filtered.setSourceModel(self.model)
        self.filtered.setFilterKeyColumn(-1)
        self.filtered.setFilterCaseSensitivity(QtCore.Qt.CaseSensitivity.CaseInsensitive)
        self.table = QtWidgets.QTableView()
        self.table.setModel(self.filtered)
        self.table.verticalHeader().hide()
        self.table.verticalHeader().setDefaultSectionSize(22)
        self.table.setShowGrid(False)
        self.table.setAlternatingRowColors(True)
        self.table.setSelectionBehavior(QtWidgets.QTableView.SelectionBehavior.SelectRows)
        self.table.setEditTriggers(QtWidgets.QTableView.EditTrigger.NoEditTriggers)
        header = self.table.horizontalHeader()
        header.setStretchLastSection(True)
        for column, width in enumerate((86, 80, 190, 52, 80)):
            self.table.setColumnWidth(column, width)
        self.table.clicked.connect(self._clicked)
        self.filter = QtWidgets.QLineEdit()
        self.filter.setPlaceholderText("filter events")
        self.filter.setClearButtonEnabled(True)
        self.filter.textChanged.connect(self.filtered.setFilterFixedString)
        box = QtWidgets.QVBoxLayout(self)
        box.setContentsMargins(6, 4, 6, 6)
        box.addWidget(self.filter)
        box.addWidget(self.table, 1)

    def _clicked(self, index: QtCore.QModelIndex) -> None:
        event = self.model.event_at(self.filtered.mapToSource(index).row())
        self.view.jumped.emit(event.t_ns * 1e-9)
        if event.kind == "diagnosis" and event.index >= 0:
            self.view.cell_chosen.emit(event.index)

    def tell(self, snapshot: Snapshot) -> None:
        """Draws one moment."""
        self.model.tell(snapshot.events)
