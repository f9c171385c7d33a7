"""Transmit list: frames of ours, sent once or again and again, by the values of their signals.
Counter and CRC of protected messages are put in for every frame, or put in wrong on purpose.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from bms_gui import decode
from bms_gui.acting import action
from bms_gui.kept import kept
from bms_gui.snapshot import Snapshot, refusal
from bms_gui.theme import Theme, numbers_font
from bms_gui.transmit import Job
from bms_gui.view import View
from pyqtgraph.Qt import QtCore, QtGui, QtWidgets

from bms import BmsError
from bms.protocols import dbc

TITLE, AREA, ORDER = "Transmit", "bottom", 35
COLUMNS = ("send", "message", "bus", "id", "every", "data", "sent")
AUTOMATIC = ("Crc", "Counter")
SPOILS = (("right", ""), ("wrong CRC", "crc"), ("stuck counter", "counter"))
NOTHING = "Add a message: choose one and press Add. Sent frames appear in the CAN trace, by us."
RAW = "raw frame"


@dataclass
class Line:
    """One row of the list. name: a message of the database, or "" for a raw frame."""

    key: int
    name: str
    bus: int
    id: int
    data: bytes
    extended: bool = False
    values: dict[str, Any] = field(default_factory=dict)
    period_s: float = 0.1
    on: bool = False
    spoil: str = ""
    sent: int = 0

    def job(self) -> Job:
        """As it is sent."""
        data_id = dbc.data_id(self.name) if self.name else None
        return Job(
            self.key, self.bus, self.id, self.data, self.period_s,
            -1 if data_id is None else data_id, self.extended, self.spoil,
        )  # fmt: skip


class List(QtCore.QObject):
    """The rows, which outlive the panel."""

    def __init__(self, parent: QtCore.QObject | None = None) -> None:
        super().__init__(parent)
        self.lines: list[Line] = []
        self.next_key = 1
        self.seen = 0
        self.title = ""

    def key(self) -> int:
        """One that was never used."""
        self.next_key += 1
        return self.next_key - 1


def offered() -> list[str]:
    """Messages that others send to the BMS first, then its own."""
    by_sender = sorted(
        dbc.codec().messages.values(), key=lambda m: ("BMS" in m.senders, m.frame_id)
    )
    return [m.name for m in by_sender]


class Panel(QtWidgets.QWidget):
    """The list, and the values of the row that is chosen."""

    def __init__(self, view: View, theme: Theme) -> None:
        super().__init__()
        self.view, self.theme = view, theme
        self.rows = kept(view, List)
        self._filling = False
        self.message = QtWidgets.QComboBox()
        self.message.addItems([*offered(), RAW])
        self.add = QtWidgets.QPushButton("Add")
        self.add.clicked.connect(lambda: self.add_line(self.message.currentText()))
        self.once = QtWidgets.QPushButton("send once")
        self.once.setToolTip("the chosen row, one frame  (Enter)")
        self.once.clicked.connect(self.send_once)
        self.remove = QtWidgets.QPushButton("remove")
        self.remove.setToolTip("the chosen row  (Delete)")
        self.remove.clicked.connect(self.remove_chosen)
        self.note = QtWidgets.QLabel("")
        self.note.setTextFormat(QtCore.Qt.TextFormat.PlainText)
        self.note.setStyleSheet(f"color: {theme.warn};")
        self.note.setSizePolicy(
            QtWidgets.QSizePolicy.Policy.Ignored, QtWidgets.QSizePolicy.Policy.Preferred
        )
        top = QtWidgets.QHBoxLayout()
        for widget in (self.message, self.add, self.once, self.remove, self.note):
            top.addWidget(widget, 1 if widget is self.note else 0)
        self.list = self._list()
        self.form = QtWidgets.QWidget()
        self.fields = QtWidgets.QGridLayout(self.form)
        self.fields.setContentsMargins(6, 0, 0, 0)
        scroll = QtWidgets.QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QtWidgets.QFrame.Shape.NoFrame)
        scroll.setWidget(self.form)
        split = QtWidgets.QSplitter()
        split.addWidget(self.list)
        split.addWidget(scroll)
        split.setSizes([640, 420])
        self.empty = QtWidgets.QLabel(NOTHING)
        self.empty.setAlignment(QtCore.Qt.AlignmentFlag.AlignCenter)
        self.empty.setStyleSheet(f"color: {theme.faint};")
        self.pages = QtWidgets.QStackedWidget()
        self.pages.addWidget(self.empty)
        self.pages.addWidget(split)
        box = QtWidgets.QVBoxLayout(self)
        box.setContentsMargins(6, 4, 6, 6)
        box.addLayout(top)
        box.addWidget(self.pages, 1)
        self.addAction(action(self, "remove the frame", "Delete", self.remove_chosen))
        self.addAction(action(self, "send the frame once", "Return", self.send_once))
        self._fill()

    @property
    def lines(self) -> list[Line]:
        """The rows of the list."""
        return self.rows.lines

    def _list(self) -> QtWidgets.QTreeWidget:
        made = QtWidgets.QTreeWidget()
        made.setHeaderLabels(list(COLUMNS))
        made.setRootIsDecorated(False)
        made.setUniformRowHeights(True)
        made.setAlternatingRowColors(True)
        for column, width in enumerate((46, 170, 62, 84, 74, 184)):
            made.setColumnWidth(column, width)
        made.itemChanged.connect(self._toggled)
        made.currentItemChanged.connect(lambda *_: self._show_fields())
        return made

    # ---- rows ----

    def add_line(self, name: str) -> Line:
        """One more row, off."""
        key = self.rows.key()
        if name == RAW:
            line = Line(key, "", 0, 0x7E4, bytes(8))
        else:
            message = dbc.codec().messages[name]
            period_s = (message.cycle_time or 100) * 1e-3
            line = Line(key, name, 0, message.frame_id, dbc.encode(name, {}), period_s=period_s)
        self.rows.lines.append(line)
        self._fill(key)
        return line

    def _fill(self, chosen: int = -1) -> None:
        self._filling = True
        self.list.clear()
        for line in self.rows.lines:
            item = QtWidgets.QTreeWidgetItem(self.list)
            item.setData(0, QtCore.Qt.ItemDataRole.UserRole, line.key)
            for column in (3, 5, 6):
                item.setFont(column, numbers_font(9))
            self._write(item, line)
            if line.key == chosen:
                self.list.setCurrentItem(item)
        self._filling = False
        self.pages.setCurrentIndex(1 if self.rows.lines else 0)
        self._show_fields()
        self._enable()

    def _write(self, item: QtWidgets.QTreeWidgetItem, line: Line) -> None:
        states = QtCore.Qt.CheckState
        item.setCheckState(0, states.Checked if line.on else states.Unchecked)
        wrong = {"crc": ", wrong CRC", "counter": ", stuck counter"}.get(line.spoil, "")
        texts = (
            (line.name or RAW) + wrong, decode.name_of(line.bus),
            decode.id_text(line.id, int(line.extended)), f"{1e3 * line.period_s:g} ms",
            line.data.hex(" ").upper(), f"{line.sent}",
        )  # fmt: skip
        for column, text in enumerate(texts, 1):
            if item.text(column) != text:
                item.setText(column, text)

    def chosen(self) -> Line | None:
        """The row that is chosen."""
        item = self.list.currentItem()
        key = item.data(0, QtCore.Qt.ItemDataRole.UserRole) if item is not None else None
        return next((line for line in self.rows.lines if line.key == key), None)

    def _toggled(self, item: QtWidgets.QTreeWidgetItem, column: int) -> None:
        if self._filling or column != 0:
            return
        key = item.data(0, QtCore.Qt.ItemDataRole.UserRole)
        line = next((one for one in self.rows.lines if one.key == key), None)
        if line is not None:
            line.on = item.checkState(0) == QtCore.Qt.CheckState.Checked
            self._ask()

    def remove_chosen(self) -> None:
        """The chosen row goes."""
        line = self.chosen()
        if line is not None:
            self.rows.lines.remove(line)
            self._fill()
            self._ask()

    def send_once(self) -> None:
        """The chosen row, one frame."""
        line = self.chosen()
        if line is None or "transmit" not in self.view.snapshot.offers:
            return
        job = line.job()
        single = Job(
            self.rows.key(), job.bus, job.id, job.data, 0.0, job.data_id, job.extended, job.spoil
        )
        self.view.ask("transmit", (*self._jobs(), single))

    def _jobs(self) -> tuple[Job, ...]:
        return tuple(line.job() for line in self.rows.lines if line.on)

    def _ask(self) -> None:
        if "transmit" in self.view.snapshot.offers:
            self.view.ask("transmit", self._jobs())

    # ---- values of a row ----

    def _show_fields(self) -> None:
        if self._filling:
            return
        while self.fields.count():
            widget = self.fields.takeAt(0).widget()
            if widget is not None:
                widget.hide()
                widget.deleteLater()
        line = self.chosen()
        if line is None:
            return
        self._add_field(0, "every / ms", self._period(line))
        row = 1
        if line.name and dbc.data_id(line.name) is not None:
            self._add_field(row, "protection", self._spoil(line))
            row += 1
        if not line.name:
            for label, widget in self._raw(line):
                self._add_field(row, label, widget)
                row += 1
        else:
            for signal in dbc.codec().messages[line.name].signals:
                if signal.name not in AUTOMATIC:
                    unit = f" / {signal.unit}" if signal.unit else ""
                    self._add_field(row, f"{signal.name}{unit}", self._signal(line, signal))
                    row += 1
        self.fields.setRowStretch(row, 1)

    def _add_field(self, row: int, text: str, widget: QtWidgets.QWidget) -> None:
        label = QtWidgets.QLabel(text)
        label.setBuddy(widget)
        self.fields.addWidget(label, row, 0)
        self.fields.addWidget(widget, row, 1)

    def _period(self, line: Line) -> QtWidgets.QWidget:
        box = QtWidgets.QDoubleSpinBox()
        box.setRange(1.0, 60_000.0)
        box.setDecimals(1)
        box.setValue(1e3 * line.period_s)
        box.valueChanged.connect(lambda ms: self._change(line, period_s=ms * 1e-3))
        return box

    def _spoil(self, line: Line) -> QtWidgets.QWidget:
        box = QtWidgets.QComboBox()
        box.addItems([text for text, _ in SPOILS])
        box.setCurrentIndex([word for _, word in SPOILS].index(line.spoil))
        box.currentIndexChanged.connect(lambda k: self._change(line, spoil=SPOILS[k][1]))
        return box

    def _raw(self, line: Line) -> list[tuple[str, QtWidgets.QWidget]]:
        bus = QtWidgets.QComboBox()
        bus.addItems(list(decode.BUSES))
        bus.setCurrentIndex(line.bus)
        bus.currentIndexChanged.connect(lambda k: self._change(line, bus=k))
        name = QtWidgets.QLineEdit(decode.id_text(line.id, int(line.extended)))
        name.setToolTip("hexadecimal; more than three digits: 29 bits")
        pattern = QtCore.QRegularExpression("[0-7][0-9a-fA-F]{0,2}|[01]?[0-9a-fA-F]{4,7}")
        name.setValidator(QtGui.QRegularExpressionValidator(pattern))
        name.textEdited.connect(
            lambda t: self._change(line, id=int(t, 16), extended=len(t) > 3) if t else None
        )
        data = QtWidgets.QLineEdit(line.data.hex(" ").upper())
        data.setFont(numbers_font(9))
        data.setToolTip("up to eight bytes, hexadecimal")
        data.textEdited.connect(lambda t: self._bytes(line, t))
        return [("bus", bus), ("id", name), ("data", data)]

    def _bytes(self, line: Line, text: str) -> None:
        try:
            data = bytes.fromhex(text)
        except ValueError:
            self._say("Data are pairs of hexadecimal digits, such as 02 10 03.")
            return
        if len(data) > 8:
            self._say("A classic CAN frame carries at most eight bytes.")
            return
        self._say("")
        self._change(line, data=data)

    def _signal(self, line: Line, signal: Any) -> QtWidgets.QWidget:
        if signal.choices and len(signal.choices) >= 2:
            box = QtWidgets.QComboBox()
            words = {int(n): str(w) for n, w in signal.choices.items()}
            box.addItems([w.replace("_", " ") for w in words.values()])
            present = line.values.get(signal.name, next(iter(words.values())))
            box.setCurrentIndex(max(0, list(words.values()).index(present)))
            box.currentIndexChanged.connect(
                lambda k: self._set(line, signal.name, list(words.values())[k])
            )
            return box
        low = 0.0 if signal.minimum is None else float(signal.minimum)
        high = 1e9 if signal.maximum is None else float(signal.maximum)
        step = float(signal.scale)
        can_be_missing = bool(signal.choices)
        number = QtWidgets.QDoubleSpinBox()
        number.setDecimals(0 if step.is_integer() else 3)
        number.setRange(low - step if can_be_missing else low, high)
        number.setSpecialValueText("not available" if can_be_missing else "")
        number.setSingleStep(step)
        missing = low - step if can_be_missing else 0.0
        number.setValue(float(line.values.get(signal.name, missing)))
        number.valueChanged.connect(
            lambda v: self._set(line, signal.name, v if v >= low - step / 2 else None)
        )
        return number

    def _set(self, line: Line, name: str, value: Any) -> None:
        line.values[name] = value
        try:
            self._change(line, data=dbc.encode(line.name, line.values))
            self._say("")
        except BmsError as error:
            self._say(str(error))

    def _change(self, line: Line, **changes: Any) -> None:
        for name, value in changes.items():
            setattr(line, name, value)
        self._filling = True
        item = self.list.currentItem()
        if item is not None:
            self._write(item, line)
        self._filling = False
        if line.on:
            self._ask()

    # ---- drawing ----

    def _say(self, text: str) -> None:
        self.note.setText(text)
        self.note.setToolTip(text)

    def _enable(self) -> None:
        can = "transmit" in self.view.snapshot.offers
        self.once.setEnabled(can and self.chosen() is not None)
        self.remove.setEnabled(bool(self.rows.lines))
        self.list.setEnabled(can)
        if not can:
            self._say(refusal(self.view.snapshot.source, "transmit"))
        elif (
            self.note.text() == refusal(self.view.snapshot.source, "transmit")
            or not self.rows.lines
        ):
            self._say("")

    def tell(self, snapshot: Snapshot) -> None:
        """Counts what was sent."""
        frames = snapshot.frames
        rows = self.rows
        if snapshot.title != rows.title or frames.total < rows.seen:
            rows.title, rows.seen = snapshot.title, frames.total
            for line in self.rows.lines:  # another source: nothing is sent unasked
                line.on, line.sent = False, 0
            self._fill()
        new = min(frames.total - rows.seen, len(frames.id))
        rows.seen = frames.total
        self._enable()
        if not new or not self.rows.lines:
            return
        part = slice(len(frames.id) - new, None)
        ours = frames.direction[part] == 2
        ids, counts = np.unique(frames.id[part][ours], return_counts=True)
        told = dict(zip(ids.tolist(), counts.tolist(), strict=True))
        self._filling = True
        for k, line in enumerate(self.rows.lines):
            if line.id in told:
                line.sent += told[line.id]
                self._write(self.list.topLevelItem(k), line)
        self._filling = False
