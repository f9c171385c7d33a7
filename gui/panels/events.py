"""Events: what the firmware concluded, one row a diagnosis with the moment it was raised; and all
that happened, in its time. A click goes to the time and the cell.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from bms_gui.acting import action
from bms_gui.diagnoses import Entry, amount, entries, frozen, place, spoken
from bms_gui.kept import kept
from bms_gui.snapshot import Snapshot, refusal
from bms_gui.theme import Theme, numbers_font
from bms_gui.view import View
from bms_gui.words import clock
from pyqtgraph.Qt import QtCore, QtGui, QtWidgets

TITLE, AREA, ORDER = "Events", "bottom", 30
COLUMNS = ("time", "kind", "what", "place", "value", "text")
ENTRY_COLUMNS = ("tier", "diagnosis", "place", "value", "first", "last", "count", "now")
MARKS = {"operate": "◇ operate", "warn": "△ warn", "trip": "■ trip"}
NO_DIAGNOSES = (
    "No diagnosis has been raised. They appear here with the moment they were raised, as soon as "
    "the firmware concludes something."
)
CHOOSE = (
    "Choose a diagnosis: its meaning and the values of the moment it was raised are shown here."
)


class Events(QtCore.QAbstractTableModel):
    """The events as a table, newest first; rows are made only when they are seen."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.theme = theme
        self.events: list[Any] = []

    def tell(self, events: Any) -> None:
        """These events now; a longer list of the same grows at the top."""
        k = len(self.events) - 1
        if len(events) <= k or (k >= 0 and _name(events[k]) != _name(self.events[k])):
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


def _name(event: Any) -> tuple[int, str, str]:
    return event.t_ns, event.kind, event.name


class Seen(QtCore.QObject):
    """Diagnoses somebody has acknowledged, and the moment up to which."""

    def __init__(self, parent: QtCore.QObject | None = None) -> None:
        super().__init__(parent)
        self.until_s: dict[str, float] = {}


class Panel(QtWidgets.QWidget):
    """Diagnoses with what was, or all events; a filter over both."""

    def __init__(self, view: View, theme: Theme) -> None:
        super().__init__()
        self.view, self.theme = view, theme
        self.entries: list[Entry] = []
        self.acknowledged = kept(view, Seen).until_s
        self.chosen = ""
        self._told: tuple[Any, ...] = ()
        self.model = Events(theme)
        self.filtered = QtCore.QSortFilterProxyModel()
        self.filtered.setSourceModel(self.model)
        self.filtered.setFilterKeyColumn(-1)
        self.filtered.setFilterCaseSensitivity(QtCore.Qt.CaseSensitivity.CaseInsensitive)
        self.table = self._table()
        self.list = self._list()
        self.detail = QtWidgets.QLabel(CHOOSE)
        self.detail.setTextFormat(QtCore.Qt.TextFormat.PlainText)
        self.detail.setWordWrap(True)
        self.detail.setAlignment(QtCore.Qt.AlignmentFlag.AlignTop)
        self.detail.setTextInteractionFlags(
            QtCore.Qt.TextInteractionFlag.TextSelectableByMouse
            | QtCore.Qt.TextInteractionFlag.TextSelectableByKeyboard
        )
        self._layout()
        for text, keys, does in (
            ("filter events", "Ctrl+F", self.filter.setFocus),
            ("acknowledge the diagnosis", "K", self.acknowledge),
            ("diagnoses or all events", "E", self.all.toggle),
        ):
            self.addAction(action(self, text, keys, does))

    def _table(self) -> QtWidgets.QTableView:
        table = QtWidgets.QTableView()
        table.setModel(self.filtered)
        table.verticalHeader().hide()
        table.verticalHeader().setDefaultSectionSize(22)
        table.setShowGrid(False)
        table.setAlternatingRowColors(True)
        table.setSelectionBehavior(QtWidgets.QTableView.SelectionBehavior.SelectRows)
        table.setEditTriggers(QtWidgets.QTableView.EditTrigger.NoEditTriggers)
        table.horizontalHeader().setStretchLastSection(True)
        table.horizontalHeader().setDefaultAlignment(QtCore.Qt.AlignmentFlag.AlignLeft)
        for column, width in enumerate((86, 80, 190, 52, 80)):
            table.setColumnWidth(column, width)
        table.clicked.connect(self._clicked)
        table.activated.connect(self._clicked)
        return table

    def _list(self) -> QtWidgets.QTreeWidget:
        made = QtWidgets.QTreeWidget()
        made.setHeaderLabels(list(ENTRY_COLUMNS))
        made.setRootIsDecorated(False)
        made.setUniformRowHeights(True)
        made.setAlternatingRowColors(True)
        for column, width in enumerate((80, 160, 64, 76, 74, 74, 44)):
            made.setColumnWidth(column, width)
        made.currentItemChanged.connect(
            lambda item, _: (
                self._choose(item.data(0, QtCore.Qt.ItemDataRole.UserRole) or "") if item else None
            )
        )
        made.itemClicked.connect(lambda *_: self._go())
        made.itemActivated.connect(lambda *_: self._go())
        return made

    def _layout(self) -> None:
        self.all = QtWidgets.QPushButton("all events")
        self.all.setCheckable(True)
        self.all.setToolTip("all that happened, in its time  (E)")
        self.all.toggled.connect(lambda on: self.pages.setCurrentIndex(int(on)))
        self.filter = QtWidgets.QLineEdit()
        self.filter.setPlaceholderText("filter events")
        self.filter.setClearButtonEnabled(True)
        self.filter.textChanged.connect(self.filtered.setFilterFixedString)
        self.filter.textChanged.connect(lambda _: self._fill())
        self.known = QtWidgets.QPushButton("acknowledge")
        self.known.setToolTip("seen: it is shown in grey until it is raised again  (K)")
        self.known.clicked.connect(self.acknowledge)
        self.clear = QtWidgets.QPushButton("clear")
        self.clear.clicked.connect(lambda: self.view.ask("clear", self.service.isChecked()))
        self.service = QtWidgets.QCheckBox("as service")
        self.service.setToolTip("some diagnoses are cleared only by a workshop")
        bar = QtWidgets.QHBoxLayout()
        for widget in (self.all, self.filter, self.known, self.clear, self.service):
            bar.addWidget(widget, 1 if widget is self.filter else 0)
        scroll = QtWidgets.QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QtWidgets.QFrame.Shape.NoFrame)
        scroll.setWidget(self.detail)
        self.empty = QtWidgets.QLabel(NO_DIAGNOSES)
        self.empty.setWordWrap(True)
        self.empty.setAlignment(QtCore.Qt.AlignmentFlag.AlignCenter)
        self.empty.setStyleSheet(f"color: {self.theme.faint}; padding: 16px;")
        self.split = QtWidgets.QSplitter()
        self.split.addWidget(self.list)
        self.split.addWidget(scroll)
        self.split.setSizes([640, 360])
        self.split.setStretchFactor(0, 2)
        self.split.setStretchFactor(1, 1)
        self.diagnoses = QtWidgets.QStackedWidget()
        self.diagnoses.addWidget(self.empty)
        self.diagnoses.addWidget(self.split)
        self.pages = QtWidgets.QStackedWidget()
        self.pages.addWidget(self.diagnoses)
        self.pages.addWidget(self.table)
        box = QtWidgets.QVBoxLayout(self)
        box.setContentsMargins(6, 4, 6, 6)
        box.addLayout(bar)
        box.addWidget(self.pages, 1)

    # ---- hands ----

    def _clicked(self, index: QtCore.QModelIndex) -> None:
        event = self.model.event_at(self.filtered.mapToSource(index).row())
        self.view.jumped.emit(event.t_ns * 1e-9)
        if event.kind == "diagnosis" and event.index >= 0:
            entry = Entry(event.name, 0.0, 0.0, 0.0, index=event.index)
            if place(entry).startswith("cell"):
                self.view.cell_chosen.emit(event.index)

    def _entry(self) -> Entry | None:
        return next((e for e in self.entries if e.name == self.chosen), None)

    def _go(self) -> None:
        entry = self._entry()
        if entry is None:
            return
        self.view.jumped.emit(entry.worst_s)
        if place(entry).startswith("cell"):
            self.view.cell_chosen.emit(entry.index)

    def _choose(self, name: str) -> None:
        self.chosen = name
        self._describe()

    def acknowledge(self) -> None:
        """The chosen diagnosis was seen; without one, all of them."""
        chosen = self._entry()
        for entry in [chosen] if chosen else self.entries:
            self.acknowledged[entry.name] = entry.last_s
        self._fill()

    # ---- drawing ----

    def tell(self, snapshot: Snapshot) -> None:
        """Draws one moment."""
        self.model.tell(snapshot.events)
        can = "clear" in snapshot.offers
        if self.clear.isEnabled() != can or not self.clear.toolTip():
            self.clear.setEnabled(can)
            self.service.setEnabled(can)
            self.clear.setToolTip(
                "ask the BMS to forget what is latched and over"
                if can
                else refusal(snapshot.source, "clear")
            )
        last = snapshot.events[-1] if len(snapshot.events) else None
        told = (snapshot.title, len(snapshot.events), last, snapshot.is_past and snapshot.time_s)
        if told == self._told:
            return
        self._told = told
        until_s = snapshot.time_s if snapshot.is_past else float("inf")
        self.entries = entries(snapshot.events, until_s)
        self._fill()

    def _fill(self) -> None:
        words = self.filter.text().lower().split()
        self.list.blockSignals(True)
        self.list.clear()
        for entry in self.entries:
            seen = self.acknowledged.get(entry.name, -1.0) >= entry.last_s
            cells = (
                MARKS.get(entry.worst, entry.worst), entry.name.replace("_", " "), place(entry),
                amount(entry), clock(entry.first_s), clock(entry.last_s), f"{entry.count}",
                (f"{entry.active}{', latched' if entry.is_latched else ''}" or "over")
                + (", seen" if seen else ""),
            )  # fmt: skip
            if not all(word in " ".join(cells).lower() for word in words):
                continue
            item = QtWidgets.QTreeWidgetItem(self.list, list(cells))
            item.setData(0, QtCore.Qt.ItemDataRole.UserRole, entry.name)
            tone = {"trip": self.theme.bad, "warn": self.theme.warn}.get(entry.worst)
            for column in range(len(cells)):
                if seen:
                    item.setForeground(column, QtGui.QBrush(QtGui.QColor(self.theme.faint)))
                elif tone and column == 0:
                    item.setForeground(column, QtGui.QBrush(QtGui.QColor(tone)))
            if entry.name == self.chosen:
                self.list.setCurrentItem(item)
        self.list.blockSignals(False)
        self.diagnoses.setCurrentIndex(1 if self.entries else 0)
        self.known.setEnabled(bool(self.entries))
        self._describe()

    def _describe(self) -> None:
        entry = self._entry()
        text = CHOOSE if entry is None else self._story(entry)
        if self.detail.text() != text:
            self.detail.setText(text)

    def _story(self, entry: Entry) -> str:
        known = entry.known
        lines = [entry.name.replace("_", " ")]
        if known is not None:
            service = ", by a workshop" if known.service else ""
            lines = [
                f"{known.title}.",
                known.trigger,
                f"Reaction: {known.reaction.replace('_', ' ')} within {known.deadline_ms} ms. "
                f"Cleared when: {known.clear}{service}.",
            ]
        snapshot = self.view.snapshot
        rows = frozen(snapshot.data, dict(snapshot.signals), entry.worst_s)
        lines.append("")
        if rows:
            lines.append(f"When it was raised, {clock(entry.worst_s)}:")
            lines += [f"  {spoken(name)}: {text}" for name, text in rows]
        else:
            lines.append("No samples of the moment it was raised are held.")
        return "\n".join(lines)
