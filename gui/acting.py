"""Keys of a panel, as actions, so that the sheet of keys finds them."""

from __future__ import annotations

from collections.abc import Callable

from pyqtgraph.Qt import QtCore, QtGui, QtWidgets


def action(
    panel: QtWidgets.QWidget, text: str, keys: str, does: Callable[[], object]
) -> QtGui.QAction:
    """What a panel does while it, or something in it, has the focus. text: for the sheet."""
    made = QtGui.QAction(text, panel)
    made.setShortcut(QtGui.QKeySequence(keys))
    made.setShortcutContext(QtCore.Qt.ShortcutContext.WidgetWithChildrenShortcut)
    made.triggered.connect(lambda _: does())
    return made
