"""What outlives a panel: panels are made anew when the colours change, the view stays."""

from __future__ import annotations

from typing import TypeVar

from pyqtgraph.Qt import QtCore

T = TypeVar("T", bound=QtCore.QObject)


def kept(view: QtCore.QObject, kind: type[T]) -> T:
    """The one object of a kind that belongs to the view, made at first use: kind(view)."""
    found = view.findChild(kind)
    return found if found is not None else kind(view)
