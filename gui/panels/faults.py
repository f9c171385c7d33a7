"""Fault injection: the catalogue as a tree, one fault with its target and times, and what became of
those that were injected: noticed or not, how fast, against their budget.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from bms_gui.acting import action
from bms_gui.catalogue import catalogue, names_of, places
from bms_gui.detection import Detection, detection
from bms_gui.snapshot import Injected, Snapshot, refusal
from bms_gui.theme import Theme, numbers_font
from bms_gui.view import View
from bms_gui.words import UNKNOWN, clock
from pyqtgraph.Qt import QtCore, QtGui, QtWidgets

TITLE, AREA, ORDER = "Faults", "bottom", 33
STATES = {"armed": "◷ armed", "active": "● active", "over": "○ over"}
COLUMNS = ("fault", "state", "began", "noticed", "after", "budget")
ID = QtCore.Qt.ItemDataRole.UserRole
CHOOSE = "Choose a fault on the left. The search looks into names, texts and diagnoses."


class Place(QtWidgets.QSpinBox):
    """Which one, counted from 1, or by its name."""

    def __init__(self) -> None:
        super().__init__()
        self.names: tuple[str, ...] = ()

    def textFromValue(self, value: int) -> str:
        """The name, or the number."""
        return self.names[value - 1] if 0 < value <= len(self.names) else str(value)

    def valueFromText(self, text: str) -> int:
        """The other way round."""
        if text in self.names:
            return self.names.index(text) + 1
        return int(text) if text.strip().isdigit() else self.minimum()

    def validate(self, text: str, at: int) -> object:
        """Names are chosen with the arrows."""
        if self.names:
            return QtGui.QValidator.State.Acceptable, text, at
        return super().validate(text, at)


class Panel(QtWidgets.QWidget):
    """Tree, form, and the list of what was injected."""

    def __init__(self, view: View, theme: Theme) -> None:
        super().__init__()
        self.view, self.theme = view, theme
        self.chosen = ""
        self.snapshot = Snapshot()
        self._told: tuple[Any, ...] = ()
        self.search = QtWidgets.QLineEdit()
        self.search.setPlaceholderText("search faults")
        self.search.setClearButtonEnabled(True)
        self.search.textChanged.connect(self._search)
        self.tree = self._tree()
        self.text = QtWidgets.QLabel(CHOOSE)
        self.text.setWordWrap(True)
        self.text.setTextFormat(QtCore.Qt.TextFormat.PlainText)
        self.text.setAlignment(QtCore.Qt.AlignmentFlag.AlignTop)
        self.text.setSizePolicy(
            QtWidgets.QSizePolicy.Policy.Ignored, QtWidgets.QSizePolicy.Policy.Preferred
        )
        self.why_not = QtWidgets.QLabel("")
        self.why_not.setWordWrap(True)
        self.why_not.setStyleSheet(f"color: {theme.warn};")
        self.list = self._list()
        self._layout()
        self.addAction(action(self, "search faults", "Ctrl+F", self.search.setFocus))
        view.cell_chosen.connect(self._take_cell)
        self._choose("")

    # ---- what there is ----

    def _tree(self) -> QtWidgets.QTreeWidget:
        tree = QtWidgets.QTreeWidget()
        tree.setHeaderHidden(True)
        tree.setUniformRowHeights(True)
        groups: dict[str, QtWidgets.QTreeWidgetItem] = {}
        for fault in catalogue().values():
            if fault.group not in groups:
                groups[fault.group] = QtWidgets.QTreeWidgetItem(tree, [group_title(fault.group)])
            item = QtWidgets.QTreeWidgetItem(groups[fault.group], [f"{fault.id}  {fault.title}"])
            item.setData(0, ID, fault.id)
            item.setToolTip(0, fault.text)
            if fault.left_to:
                item.setForeground(0, QtGui.QBrush(QtGui.QColor(self.theme.faint)))
                item.setToolTip(0, f"{fault.text}\nNot injected: {fault.left_to}")
        tree.currentItemChanged.connect(
            lambda item, _: self._choose(item.data(0, ID) or "" if item else "")
        )
        tree.itemActivated.connect(lambda item, _: self.put_in() if item.data(0, ID) else None)
        return tree

    def _search(self, text: str) -> None:
        words = text.lower().split()
        for g in range(self.tree.topLevelItemCount()):
            group = self.tree.topLevelItem(g)
            seen = 0
            for k in range(group.childCount()):
                item = group.child(k)
                fault = catalogue()[item.data(0, ID)]
                told = " ".join(
                    (fault.id, fault.title, fault.text, fault.reaction, *fault.diagnoses)
                ).lower()
                hidden = not all(word in told for word in words)
                item.setHidden(hidden)
                seen += not hidden
            group.setHidden(seen == 0)
            group.setExpanded(bool(words) and seen > 0)

    # ---- the form ----

    def _number(self, suffix: str, tip: str) -> QtWidgets.QDoubleSpinBox:
        box = QtWidgets.QDoubleSpinBox()
        box.setDecimals(3)
        box.setRange(0.0, 1e6)
        box.setSuffix(suffix)
        box.setToolTip(tip)
        box.setMinimumWidth(84)
        return box

    def _layout(self) -> None:
        self.index = Place()
        self.value = self._number("", "how strong")
        self.value.setDecimals(4)
        self.after = self._number(" s", "how long from now it begins")
        self.ramp = self._number(" s", "how long it takes to be there in full")
        self.lasts = self._number(" s", "how long it lasts; no end: until it is withdrawn")
        self.lasts.setSpecialValueText("no end")
        self.inject = QtWidgets.QPushButton("inject")
        self.inject.setToolTip("put the fault into the world  (Enter in the tree)")
        self.inject.clicked.connect(self.put_in)
        self.undo = QtWidgets.QPushButton("undo")
        self.undo.setToolTip("withdraw the newest fault  (Ctrl+Z)")
        self.undo.clicked.connect(self.undo_last)
        self.target = QtWidgets.QLabel("target")
        form = QtWidgets.QGridLayout()
        form.setContentsMargins(0, 4, 0, 0)
        form.setVerticalSpacing(4)
        fields = ((self.target, self.index), ("value", self.value), ("delay", self.after),
                  ("ramp", self.ramp), ("lasts", self.lasts))  # fmt: skip
        for k, (name, field) in enumerate(fields):
            label = name if isinstance(name, QtWidgets.QLabel) else QtWidgets.QLabel(name)
            label.setBuddy(field)
            form.addWidget(label, k // 2, 2 * (k % 2))
            form.addWidget(field, k // 2, 2 * (k % 2) + 1)
        form.setColumnStretch(1, 1)
        form.setColumnStretch(3, 1)
        self.form = QtWidgets.QWidget()
        self.form.setLayout(form)
        buttons = QtWidgets.QHBoxLayout()
        buttons.addWidget(self.inject, 2)
        buttons.addWidget(self.undo, 1)
        right = QtWidgets.QWidget()
        column = QtWidgets.QVBoxLayout(right)
        column.setContentsMargins(6, 0, 0, 0)
        scroll = QtWidgets.QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QtWidgets.QFrame.Shape.NoFrame)
        scroll.setWidget(self.text)
        scroll.setMinimumHeight(60)
        column.addWidget(scroll, 1)
        column.addWidget(self.form)
        column.addWidget(self.why_not)
        column.addLayout(buttons)
        left = QtWidgets.QWidget()
        column = QtWidgets.QVBoxLayout(left)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.search)
        column.addWidget(self.tree, 1)
        top = QtWidgets.QSplitter()
        top.addWidget(left)
        top.addWidget(right)
        top.setSizes([230, 250])
        self.split = split = QtWidgets.QSplitter(QtCore.Qt.Orientation.Vertical)
        split.addWidget(top)
        split.addWidget(self.list)
        split.setSizes([340, 150])
        box = QtWidgets.QVBoxLayout(self)
        box.setContentsMargins(6, 4, 6, 6)
        box.addWidget(split)

    def resizeEvent(self, event: QtGui.QResizeEvent) -> None:
        """Beside each other where it is wide, below each other where it is high."""
        super().resizeEvent(event)
        is_wide = self.width() > 1.5 * self.height()
        way = getattr(QtCore.Qt.Orientation, "Horizontal" if is_wide else "Vertical")
        if self.split.orientation() != way:
            self.split.setOrientation(way)
            self.split.setSizes([640, 560] if is_wide else [340, 150])

    def _choose(self, name: str) -> None:
        self.chosen = name
        fault = catalogue().get(name)
        self.form.setEnabled(fault is not None and not fault.left_to)
        if fault is None:
            self.text.setText(CHOOSE if catalogue() else "This build has no catalogue of faults.")
            self._enable()
            return
        self.text.setText(describe(fault))
        self.target.setText(target_word(fault))
        self.index.setRange(1, min(places(fault, self.snapshot.shape.name), 1 << 24))
        self.index.names = names_of(fault)
        self.index.setValue(self.index.value())
        self.index.setEnabled(self.index.maximum() > 1)
        unit = "" if fault.unit == "1" else f" {fault.unit}"
        self.value.setSuffix(unit)
        self.value.setRange(fault.lowest, fault.highest)
        self.value.setValue(fault.value)
        self.value.setEnabled(fault.lowest < fault.highest)
        self.value.setToolTip(f"{fault.lowest:g} to {fault.highest:g}{unit}")
        self.after.setValue(0.0)
        self.ramp.setValue(fault.ramp_s)
        self.lasts.setValue(fault.duration_s)
        self._enable()

    def _take_cell(self, k: int) -> None:
        fault = catalogue().get(self.chosen)
        if fault is not None and fault.target in ("cell", "block") and k < self.index.maximum():
            self.index.setValue(k + 1)

    def _enable(self) -> None:
        snapshot, fault = self.snapshot, catalogue().get(self.chosen)
        can = "inject" in snapshot.offers
        self.inject.setEnabled(can and fault is not None and not fault.left_to)
        self.undo.setEnabled(any(i.state != "over" for i in snapshot.injected))
        text = "" if can else refusal(snapshot.source, "inject")
        if can and fault is not None and fault.left_to:
            text = f"Not injected: {fault.left_to}"
        if self.why_not.text() != text:
            self.why_not.setText(text)
        self.why_not.setVisible(bool(text))

    # ---- what is done ----

    def put_in(self) -> None:
        """The chosen fault, as the form says."""
        if not self.inject.isEnabled():
            return
        lasts_s = self.lasts.value()
        self.view.ask(
            "inject", self.chosen, self.index.value() - 1, self.value.value(), self.after.value(),
            self.ramp.value(), lasts_s if lasts_s > 0.0 else None,
        )  # fmt: skip

    def undo_last(self) -> None:
        """Withdraws the newest fault that is not over."""
        left = [i.handle for i in self.snapshot.injected if i.state != "over"]
        if left:
            self.view.ask("withdraw", max(left))

    def _list(self) -> QtWidgets.QTreeWidget:
        made = QtWidgets.QTreeWidget()
        made.setHeaderLabels(list(COLUMNS))
        made.setRootIsDecorated(False)
        made.setUniformRowHeights(True)
        made.setAlternatingRowColors(True)
        for column, width in enumerate((100, 70, 72, 116, 66, 60)):
            made.setColumnWidth(column, width)
        made.itemClicked.connect(self._show)
        made.setContextMenuPolicy(QtCore.Qt.ContextMenuPolicy.ActionsContextMenu)
        withdraw = QtGui.QAction("withdraw", made)
        withdraw.setShortcut(QtGui.QKeySequence("Delete"))
        withdraw.setShortcutContext(QtCore.Qt.ShortcutContext.WidgetShortcut)
        withdraw.triggered.connect(self._withdraw_chosen)
        made.addAction(withdraw)
        made.setToolTip("a click goes to when it began; Delete withdraws it")
        return made

    def _withdraw_chosen(self) -> None:
        item = self.list.currentItem()
        if item is not None:
            self.view.ask("withdraw", int(item.data(0, ID)))

    def _show(self, item: QtWidgets.QTreeWidgetItem) -> None:
        one = next((i for i in self.snapshot.injected if i.handle == item.data(0, ID)), None)
        if one is None:
            return
        if np.isfinite(one.on_s):
            self.view.jumped.emit(one.on_s)
        fault = catalogue().get(one.id)
        if fault is not None and fault.target in ("cell", "block"):
            self.view.cell_chosen.emit(one.index)

    def tell(self, snapshot: Snapshot) -> None:
        """Draws one moment."""
        is_new = snapshot.shape.name != self.snapshot.shape.name
        self.snapshot = snapshot
        if is_new:
            self._choose(self.chosen)
        self._enable()
        told = (snapshot.injected, len(snapshot.events), int(snapshot.time_s * 4.0))
        if told == self._told or not self.isVisible():
            return
        self._told = told
        chosen = self.list.currentItem().data(0, ID) if self.list.currentItem() else None
        self.list.clear()
        for one in reversed(snapshot.injected):
            fault = catalogue().get(one.id)
            found = detection(fault, one, snapshot.events, snapshot.time_s)
            item = QtWidgets.QTreeWidgetItem(self.list, list(cells_of(one, fault, found)))
            item.setData(0, ID, one.handle)
            item.setToolTip(0, fault.title if fault is not None else one.id)
            item.setFont(4, numbers_font(9))
            tone = {True: self.theme.good, False: self.theme.bad}.get(found.is_in_time)
            if tone:
                item.setForeground(4, QtGui.QBrush(QtGui.QColor(tone)))
            if one.state == "over":
                item.setForeground(0, QtGui.QBrush(QtGui.QColor(self.theme.faint)))
            if one.handle == chosen:
                self.list.setCurrentItem(item)


def group_title(group: str) -> str:
    """CEL  Cell and pack physics."""
    from bms import faults

    return f"{group}  {faults.GROUPS.get(group, '')}"


def describe(fault: Any) -> str:
    """What happens, and what must follow."""
    raised = " or ".join(d.replace("_", " ") for d in fault.diagnoses) or "no diagnosis"
    budget = f" within {fault.budget_ms:g} ms" if fault.budget_ms else ""
    reaction = str(fault.reaction).replace("_", " ")
    when = "" if fault.state == "any" else f"\nApplies in: {fault.state}."
    return (
        f"{fault.id}  {fault.title}\n\n{fault.text}\n\n"
        f"Expected: {reaction}{budget}, by {raised}.{when}"
    )


def cells_of(one: Injected, fault: Any, found: Detection) -> tuple[str, ...]:
    """A row of the list, as COLUMNS."""
    where = ""
    if fault is not None and fault.target != "pack":
        where = f" {target_word(fault)} {one.index + 1}"
    noticed = found.diagnosis.replace("_", " ") if found.diagnosis else UNKNOWN
    reaction = UNKNOWN
    if np.isfinite(found.reacted_ms):
        reaction = f"{found.reacted_ms:.0f} ms"
    if found.is_in_time is False:
        reaction = f"{reaction} late" if np.isfinite(found.reacted_ms) else "none in time"
    budget = f"{found.budget_ms:.0f} ms" if np.isfinite(found.budget_ms) else ""
    began = clock(one.on_s) if np.isfinite(one.on_s) else UNKNOWN
    return (f"{one.id}{where}", STATES.get(one.state, one.state), began, noticed, reaction, budget)


def target_word(fault: Any) -> str:
    """What it is done to; a block of one cell or more is a cell to who looks at the grid."""
    return "cell" if fault.target == "block" else str(fault.target)
