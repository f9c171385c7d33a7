"""One sheet with every key, made from the actions themselves: what it says is what they do."""

from __future__ import annotations

from collections.abc import Iterator

from bms_gui.theme import Theme, numbers_font
from bms_gui.words import plain
from pyqtgraph.Qt import QtCore, QtGui, QtWidgets

PLAIN = QtGui.QKeySequence.SequenceFormat.NativeText
COLUMNS = 3
MOUSE = (
    ("drag on a plot", "move in time"),
    ("wheel on a plot", "zoom in time"),
    ("wheel on its axis", "zoom its values; A brings all back"),
    ("drag a signal", "into the plot that shall show it"),
    ("drag on the time bar", "look at another moment"),
    ("click on an event", "go to its time and its cell"),
)


def keys(window: QtWidgets.QMainWindow) -> list[tuple[str, str, str]]:
    """(group, key, what it does) of every action that has a key, each once."""
    found: dict[tuple[str, str], tuple[str, str, str]] = {}
    for group, action in _actions(window):
        for sequence in action.shortcuts():
            text = action.text().replace("&", "")
            what = str(action.property("what") or text)
            found.setdefault(
                (group, sequence.toString(PLAIN)), (group, sequence.toString(PLAIN), what)
            )
    return list(found.values())  # fmt: skip


def _actions(window: QtWidgets.QMainWindow) -> Iterator[tuple[str, QtGui.QAction]]:
    for action in window.actions():
        goes = str(action.property("what")).startswith(("task ", "panel "))
        yield "Go to" if goes else "Window", action
    for title, panel in getattr(window, "panels", {}).items():
        for widget in (panel, *panel.findChildren(QtWidgets.QWidget)):
            for action in widget.actions():
                yield title, action


def _sides(groups: dict[str, list[tuple[str, str]]]) -> list[list[str]]:
    """Groups in columns of about one height."""
    sides: list[list[str]] = [[] for _ in range(COLUMNS)]
    filled = [0] * COLUMNS
    for group in sorted(groups, key=lambda g: -len(groups[g])):
        least = filled.index(min(filled))
        sides[least].append(group)
        filled[least] += len(groups[group]) + 2
    return sides


class Sheet(QtWidgets.QFrame):
    """Lies over the window until a key or a click."""

    def __init__(self, window: QtWidgets.QMainWindow, theme: Theme) -> None:
        super().__init__(window)
        self.setObjectName("sheet")
        self.setStyleSheet(
            f"#sheet {{ background: {theme.panel}; border: 1px solid {theme.accent};"
            " border-radius: 8px; }"
        )
        self.setFocusPolicy(QtCore.Qt.FocusPolicy.StrongFocus)
        groups: dict[str, list[tuple[str, str]]] = {}
        for group, key, what in keys(window):
            groups.setdefault(group, []).append((key, what))
        groups["Mouse"] = list(MOUSE)
        box = QtWidgets.QHBoxLayout(self)
        box.setContentsMargins(20, 14, 20, 14)
        box.setSpacing(26)
        for side in _sides(groups):
            box.addLayout(self._column(side, groups, theme))
        self.adjustSize()
        self.move(
            (window.width() - self.width()) // 2, max(8, (window.height() - self.height()) // 2)
        )

    def _column(
        self, side: list[str], groups: dict[str, list[tuple[str, str]]], theme: Theme
    ) -> QtWidgets.QGridLayout:
        grid, at = QtWidgets.QGridLayout(), 0
        grid.setHorizontalSpacing(14)
        grid.setVerticalSpacing(2)
        for group in side:
            head = QtWidgets.QLabel(group)
            head.setStyleSheet(f"color: {theme.accent}; font-weight: 600; padding-top: 6px;")
            grid.addWidget(head, at, 0, 1, 2)
            at += 1
            for key, what in groups[group]:
                left, right = QtWidgets.QLabel(key), QtWidgets.QLabel(plain(what))
                left.setFont(numbers_font(8))
                left.setStyleSheet(f"color: {theme.text};")
                right.setStyleSheet(f"color: {theme.faint};")
                grid.addWidget(left, at, 0)
                grid.addWidget(right, at, 1)
                at += 1
        grid.setRowStretch(at, 1)
        return grid

    def keyPressEvent(self, _: QtGui.QKeyEvent) -> None:
        """Any key closes it."""
        self.close()

    def mousePressEvent(self, _: QtGui.QMouseEvent) -> None:
        """So does a click."""
        self.close()
