"""Registers of the monitor chips: address, name, value, bits, words. In a simulation they can be
written: past the chip's line, as a debug probe on the board would, with all that a write sets off.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from bms_gui.acting import action
from bms_gui.registers import GROUPS, Register, bits_of, slot, table, value_of, words
from bms_gui.rows import Column, Row, Rows
from bms_gui.snapshot import Snapshot, refusal
from bms_gui.theme import Theme
from bms_gui.view import View
from bms_gui.words import clock
from pyqtgraph.Qt import QtCore, QtGui, QtWidgets

TITLE, AREA, ORDER = "Registers", "bottom", 34
COLUMNS = (
    Column("address", 92),
    Column("register", 170),
    Column("value", 64),
    Column("bits", 96),
    Column("meaning", 0),
)
NOTHING = (
    "No registers are known. A simulated pack shows them as soon as it runs; a live bus and a "
    "recording do not carry them."
)


class Chip:
    """Rows of one chip."""

    def __init__(self) -> None:
        self.values: np.ndarray | None = None
        self.before: np.ndarray | None = None
        self.shown: tuple[Register, ...] = table()

    def count(self) -> int:
        """Registers that pass the filter."""
        return len(self.shown) if self.values is not None else 0

    def key(self, k: int) -> Hashable:
        """Address."""
        return self.shown[k].address

    def place(self, key: Hashable) -> int:
        """Of an address."""
        return next((k for k, r in enumerate(self.shown) if r.address == key), -1)

    def row(self, k: int) -> Row:
        """One register."""
        register = self.shown[k]
        assert self.values is not None
        value = value_of(self.values, register)
        moved = self.before is not None and value_of(self.before, register) != value
        digits = f"{value:04X}" if register.size == 2 else f"{value:02X}"
        bits = "" if register.size == 2 else f"{value >> 4:04b} {value & 15:04b}"
        tones = {0: "faint", 2: "good" if moved else "", 3: "faint"}
        return Row((f"0x{register.address:03X}", register.name, digits, bits,
                    words(register, value)), tones)  # fmt: skip

    def details(self, k: int) -> Sequence[Sequence[str]]:
        """Its bits by name, from the highest."""
        register = self.shown[k]
        assert self.values is not None
        value = value_of(self.values, register)
        if register.size == 2:
            return [("", f"{register.name}: two bytes, high byte first", "")]
        names = bits_of(register)
        return [(f"b{b} {names[b]}".rstrip(), str(value >> b & 1), "") for b in range(7, -1, -1)]


class Panel(QtWidgets.QWidget):
    """The list of one chip, and the bits of the register that is chosen."""

    def __init__(self, view: View, theme: Theme) -> None:
        super().__init__()
        self.view, self.theme = view, theme
        self.chip = Chip()
        self.chosen: Register | None = None
        self.staged: int | None = None
        self.snapshot = Snapshot()
        self.list = Rows(COLUMNS, theme, NOTHING)
        self.list.use(self.chip)
        self.list.picked.connect(self._pick)
        self.which = QtWidgets.QComboBox()
        self.which.setToolTip("which monitor chip")
        self.which.currentIndexChanged.connect(lambda _: self._another())
        self.text, self.group = QtWidgets.QLineEdit(), QtWidgets.QComboBox()
        self.text.setPlaceholderText("filter: address, name, bit")
        self.text.setClearButtonEnabled(True)
        self.text.textChanged.connect(lambda _: self._filter())
        self.group.addItems(["all", *GROUPS])
        self.group.currentIndexChanged.connect(lambda _: self._filter())
        self.note = QtWidgets.QLabel("")
        self.note.setStyleSheet(f"color: {theme.faint};")
        top = QtWidgets.QHBoxLayout()
        for widget in (self.which, self.group, self.text, self.note):
            top.addWidget(widget, 1 if widget is self.text else 0)
        box = QtWidgets.QVBoxLayout(self)
        box.setContentsMargins(6, 4, 6, 6)
        box.addLayout(top)
        box.addWidget(self.list, 1)
        box.addWidget(self._editor())
        self.addAction(action(self, "filter registers", "Ctrl+F", self.text.setFocus))
        view.cell_chosen.connect(self._take_cell)
        self._show_chosen()

    def _editor(self) -> QtWidgets.QWidget:
        self.editor = QtWidgets.QWidget()
        self.editor.setToolTip(
            "written past the chip's line, as a debug probe on the board would, with all that a "
            "write sets off; the firmware finds it when it reads the register back"
        )
        row = QtWidgets.QHBoxLayout(self.editor)
        row.setContentsMargins(0, 2, 0, 0)
        row.setSpacing(4)
        self.name = QtWidgets.QLabel("")
        self.name.setMinimumWidth(150)
        row.addWidget(self.name)
        self.bits = []
        for bit in range(7, -1, -1):
            button = QtWidgets.QPushButton(f"{bit}")
            button.setCheckable(True)
            button.setMinimumWidth(30)
            button.setStyleSheet("padding: 3px 5px;")
            button.clicked.connect(lambda _=False, bit=bit: self._flip(bit))
            row.addWidget(button)
            self.bits.append(button)
        self.hex = QtWidgets.QLineEdit()
        self.hex.setMaxLength(2)
        self.hex.setFixedWidth(44)
        self.hex.setToolTip("value, hexadecimal")
        self.hex.setValidator(
            QtGui.QRegularExpressionValidator(QtCore.QRegularExpression("[0-9a-fA-F]{1,2}"))
        )
        self.hex.textEdited.connect(self._typed)
        self.hex.returnPressed.connect(self.write)
        self.button = QtWidgets.QPushButton("write")
        self.button.clicked.connect(self.write)
        self.meaning = QtWidgets.QLabel("")
        self.meaning.setTextFormat(QtCore.Qt.TextFormat.PlainText)
        self.meaning.setStyleSheet(f"color: {self.theme.faint};")
        self.meaning.setSizePolicy(
            QtWidgets.QSizePolicy.Policy.Ignored, QtWidgets.QSizePolicy.Policy.Preferred
        )
        for widget in (self.hex, self.button):
            row.addWidget(widget)
        row.addWidget(self.meaning, 1)
        return self.editor

    # ---- what is shown ----

    def showEvent(self, event: QtGui.QShowEvent) -> None:
        """Registers are told only while somebody looks."""
        super().showEvent(event)
        self._want(True)

    def hideEvent(self, event: QtGui.QHideEvent) -> None:
        """Nobody looks any more."""
        super().hideEvent(event)
        self._want(False)

    def _want(self, wanted: bool) -> None:
        if "registers" in self.view.snapshot.offers:
            self.view.ask("registers", wanted)

    def tell(self, snapshot: Snapshot) -> None:
        """Draws one moment."""
        another = snapshot.title != self.snapshot.title or (snapshot.offers != self.snapshot.offers)
        self.snapshot = snapshot
        if not self.isVisible():
            return
        if another and snapshot.registers is None:
            self._want(True)
        told = snapshot.registers
        self.chip.before = self.chip.values
        known = told is not None and told.known and len(told.values) > 0
        count = len(told.values) if told is not None and known else 0
        if count != self.which.count():
            self.which.blockSignals(True)
            self.which.clear()
            self.which.addItems([f"chip {k + 1}" for k in range(count)])
            self.which.blockSignals(False)
        at = max(0, self.which.currentIndex())
        self.chip.values = told.values[at] if told is not None and known else None
        self.note.setText(f"as of {clock(told.time_s)}" if told is not None and known else "")
        self.note.setToolTip("result registers hold what the firmware read last")
        self.list.refresh()
        self._show_chosen()

    def _another(self) -> None:
        self.chip.values = self.staged = None
        self.tell(self.snapshot)

    def _take_cell(self, k: int) -> None:
        per = self.snapshot.shape.blocks_per_module
        if per and k // per < self.which.count():
            self.which.setCurrentIndex(k // per)

    def _filter(self) -> None:
        sought, group = self.text.text().lower().split(), self.group.currentText()
        self.chip.shown = tuple(
            r for r in table()
            if group in ("all", r.group)
            and all(w in f"0x{r.address:03x} {r.name} {' '.join(bits_of(r))}".lower()
                    for w in sought)
        )  # fmt: skip
        self.list.refresh()

    # ---- one register ----

    def _pick(self, key: Any) -> None:
        self.chosen = next((r for r in table() if r.address == key), None)
        self.staged = None
        self._show_chosen()

    def _value(self) -> int:
        if self.chosen is None or self.chip.values is None:
            return 0
        return int(self.chip.values[slot(self.chosen.address)])

    def _show_chosen(self, typing: bool = False) -> None:
        register = self.chosen
        self.editor.setVisible(self.chip.values is not None)
        can = "write_register" in self.snapshot.offers
        writable = can and register is not None and register.is_writable and register.size == 1
        for widget in (*self.bits, self.hex, self.button):
            widget.setEnabled(bool(writable))
        if register is None or self.chip.values is None:
            self.name.setText("choose a register")
            self.meaning.setText("" if can else refusal(self.snapshot.source, "write_register"))
            return
        value = self._value() if self.staged is None else self.staged
        self.name.setText(register.name)
        names = bits_of(register)
        for k, button in enumerate(self.bits):
            bit = 7 - k
            button.setChecked(bool(value >> bit & 1))
            button.setToolTip(f"bit {bit} {names[bit]}".rstrip())
        if not typing and (not self.hex.hasFocus() or self.staged is None):
            text = f"{value:02X}"
            if self.hex.text() != text:
                self.hex.setText(text)
        self.button.setEnabled(bool(writable) and self.staged is not None)
        if not register.is_writable:
            self.meaning.setText("read only")
        elif self.staged is not None:
            self.meaning.setText(f"not written yet: {words(register, value) or f'{value:02X}'}")
        else:
            self.meaning.setText(words(register, value) if register.size == 1 else "")

    def _flip(self, bit: int) -> None:
        self.staged = (self._value() if self.staged is None else self.staged) ^ 1 << bit
        self._show_chosen()

    def _typed(self, text: str) -> None:
        self.staged = int(text, 16) if text else None
        self._show_chosen(typing=True)

    def write(self) -> None:
        """What is staged into the chip."""
        if self.chosen is None or self.staged is None or not self.button.isEnabled():
            return
        chip = max(0, self.which.currentIndex())
        self.view.ask("write_register", chip, self.chosen.address, self.staged)
        self.staged = None
        self._show_chosen()

    def copied(self) -> str:
        """The selected register, or all, as tab-separated text."""
        return self.list.as_text()
