"""One line above the time bar: what somebody who looks should know now. Absent when it is empty."""

from __future__ import annotations

import time

from bms_gui.snapshot import Status
from bms_gui.theme import Theme, mixed
from bms_gui.words import inert
from pyqtgraph.Qt import QtCore, QtWidgets

SAID_FOR_S = 6.0


class Notice(QtWidgets.QFrame):
    """Words of the source, or for some seconds an answer to something that was asked."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.theme = theme
        self.setObjectName("notice")
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(12, 3, 8, 3)
        self.mark = QtWidgets.QLabel("")
        self.label = QtWidgets.QLabel("")
        self.label.setTextFormat(QtCore.Qt.TextFormat.PlainText)
        self.label.setTextInteractionFlags(QtCore.Qt.TextInteractionFlag.TextSelectableByMouse)
        self.label.setWordWrap(True)
        self.label.setMinimumWidth(200)
        self.restart = QtWidgets.QPushButton("Begin again")
        row.addWidget(self.mark)
        row.addWidget(self.label, 1)
        row.addWidget(self.restart)
        self._answer, self._answered_s = "", -1e9
        self._status, self._can_restart = Status(), False
        self._shown: tuple[str, str, bool] | None = None

    def text(self) -> str:
        """What it says."""
        return self.label.text()

    def say(self, text: str) -> None:
        """An answer, for some seconds."""
        self._answer, self._answered_s = text, time.monotonic()
        self.tell(self._status, self._can_restart)

    def tell(self, status: Status, can_restart: bool) -> None:
        """How the source is doing."""
        self._status, self._can_restart = status, can_restart
        is_answer = time.monotonic() - self._answered_s < SAID_FOR_S
        tone = status.state if status.state in ("lost", "waiting") else ""
        text = self._answer if is_answer and tone != "lost" else status.message
        shown = (
            inert(text.strip(), 600),
            "" if is_answer and tone != "lost" else tone,
            can_restart,
        )
        if shown == self._shown:
            return
        self._shown = shown
        text, tone, _ = shown
        colour = {"lost": self.theme.bad, "waiting": self.theme.warn}.get(tone, self.theme.accent)
        self.mark.setText({"lost": "✕", "waiting": "…"}.get(tone, "›"))
        self.mark.setStyleSheet(f"color: {colour}; font-weight: 700;")
        self.label.setText(text)
        back = mixed(self.theme.panel, colour, 0.14)
        self.setStyleSheet(f"#notice {{ background: {back}; border-top: 1px solid {colour}; }}")
        self.restart.setVisible(tone == "lost" and can_restart)
