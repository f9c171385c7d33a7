"""Why did it open? The chain from the world to the contactor as a timeline; a click goes there."""

from __future__ import annotations

from typing import Any

import numpy as np
from bms_gui.catalogue import catalogue
from bms_gui.snapshot import Snapshot
from bms_gui.theme import Theme
from bms_gui.timeline import Budget, Timeline, relative
from bms_gui.view import View
from bms_gui.words import clock
from pyqtgraph.Qt import QtCore, QtWidgets

from bms import why

TITLE, AREA, ORDER = "Why did it open?", "bottom", 31
SETTLED_S = 2.0
"""A chain is told anew until samples of so long after the opening are there."""
NOTHING = (
    "The main contactors have not opened yet.\n"
    "When they do, this tells why: what happened in the pack, what was measured, what the firmware "
    "made of it and when.\nTo see it, inject a fault, or open a recording of a trip."
)


class Panel(QtWidgets.QWidget):
    """The openings, and the story of the one that is chosen."""

    def __init__(self, view: View, theme: Theme) -> None:
        super().__init__()
        self.view, self.theme = view, theme
        self.openings: tuple[why.Opening, ...] = ()
        self.chain: why.Chain | None = None
        self._seen: tuple[Any, ...] = ()
        self.choice = QtWidgets.QComboBox()
        self.choice.setToolTip("every time the main contactors opened, newest first")
        self.choice.setMinimumWidth(300)
        self.choice.currentIndexChanged.connect(lambda _: self._tell_story(view.snapshot, True))
        copy = QtWidgets.QPushButton("copy")
        copy.setToolTip("the chain as tab-separated text")
        copy.clicked.connect(lambda: QtWidgets.QApplication.clipboard().setText(self.copied()))
        self.copy = copy
        self.story = QtWidgets.QLabel("")
        self.story.setTextFormat(QtCore.Qt.TextFormat.PlainText)
        self.story.setWordWrap(True)
        self.story.setStyleSheet(f"font-weight: 600; color: {theme.text}; padding: 2px 8px;")
        self.budget, self.timeline = Budget(theme), Timeline(theme)
        self.timeline.picked.connect(self._go)
        scroll = QtWidgets.QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QtWidgets.QFrame.Shape.NoFrame)
        scroll.setWidget(self.timeline)
        self.empty = QtWidgets.QLabel(NOTHING)
        self.empty.setWordWrap(True)
        self.empty.setAlignment(QtCore.Qt.AlignmentFlag.AlignCenter)
        self.empty.setStyleSheet(f"color: {theme.faint}; padding: 20px;")
        top = QtWidgets.QHBoxLayout()
        top.addWidget(self.choice)
        top.addWidget(self.story, 1)
        top.addWidget(copy)
        self.full = QtWidgets.QWidget()
        column = QtWidgets.QVBoxLayout(self.full)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addLayout(top)
        column.addWidget(self.budget)
        column.addWidget(scroll, 1)
        self.pages = QtWidgets.QStackedWidget()
        self.pages.addWidget(self.empty)
        self.pages.addWidget(self.full)
        box = QtWidgets.QVBoxLayout(self)
        box.setContentsMargins(6, 4, 6, 6)
        box.addWidget(self.pages)

    def tell(self, snapshot: Snapshot) -> None:
        """Draws one moment."""
        last = snapshot.events[-1] if len(snapshot.events) else None
        seen = (snapshot.title, len(snapshot.events), last)
        if seen != self._seen:
            self._seen = seen
            self._list(why.openings(list(snapshot.events)))
        self._tell_story(snapshot, False)

    def _list(self, openings: tuple[why.Opening, ...]) -> None:
        if openings == self.openings:
            return
        new = len(openings) > len(self.openings)
        self.openings = openings
        chosen = 0 if new else self.choice.currentIndex()
        self.choice.blockSignals(True)
        self.choice.clear()
        for opening in reversed(openings):
            self.choice.addItem(label(opening))
        self.choice.setCurrentIndex(min(chosen, len(openings) - 1))
        self.choice.blockSignals(False)
        self.chain = None
        self.pages.setCurrentIndex(1 if openings else 0)

    def _tell_story(self, snapshot: Snapshot, anew: bool) -> None:
        if not self.openings:
            return
        opening = self.openings[len(self.openings) - 1 - max(0, self.choice.currentIndex())]
        is_told = self.chain is not None and self.chain.opening.time_s == opening.time_s
        settled = snapshot.span_s[1] > opening.time_s + SETTLED_S
        if is_told and not anew and (settled and self._was_settled):
            return
        self._was_settled = settled
        self.chain = why.explain(
            opening, list(snapshot.events), snapshot.data, snapshot.shape.limits,
            faults=catalogue(),
            predicted_ms=lambda name: snapshot.shape.predicted_ms.get(name, np.nan),
        )  # fmt: skip
        self.choice.setItemText(max(0, self.choice.currentIndex()), label(self.chain.opening))
        self.story.setText(self.chain.text)
        self.budget.tell(self.chain)
        self.timeline.tell(self.chain)

    _was_settled = False

    def _go(self, link: why.Link) -> None:
        if np.isfinite(link.time_s):
            self.view.jumped.emit(link.time_s)
        opening = self.chain.opening if self.chain else None
        if opening is not None and opening.index >= 0 and _is_block(opening.diagnosis):
            self.view.cell_chosen.emit(opening.index)

    def copied(self) -> str:
        """The chain as tab-separated text."""
        if self.chain is None:
            return ""
        zero_s = self.chain.opening.decided_s
        lines = [self.chain.text, self.budget.text(), "link\ttime / s\tto the decision\twhat"]
        for link in self.chain.links:
            time_s = f"{link.time_s:.3f}" if np.isfinite(link.time_s) else ""
            lines.append("\t".join((link.title, time_s, relative(link, zero_s), link.text)))
        return "\n".join(lines) + "\n"


def label(opening: why.Opening) -> str:
    """When, and what for."""
    words = {"order": "in good order", "unknown": "cause not known"}
    what = opening.diagnosis.replace("_", " ") or words.get(opening.why, opening.why)
    return f"{clock(opening.time_s)}   {what}"


def _is_block(diagnosis: str) -> bool:
    from bms import spec

    return spec.diagnosis(diagnosis).index == "block"
