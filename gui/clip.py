"""Tables as text for the clipboard and for files, harmless in a spreadsheet."""

from __future__ import annotations

from collections.abc import Iterable

from bms_gui.words import inert
from pyqtgraph.Qt import QtCore, QtWidgets

FORMULA = ("=", "+", "-", "@")


def safe(value: object) -> str:
    """A field that no spreadsheet takes for a formula and that stays one field."""
    text = inert(str(value), 10_000)
    if not text.startswith(FORMULA):
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text


def tsv(rows: Iterable[Iterable[object]]) -> str:
    """Rows as tab-separated lines."""
    return "\n".join("\t".join(safe(field) for field in row) for row in rows)


def of_view(view: QtWidgets.QAbstractItemView) -> str:
    """The selected rows of a table or tree (all, if none is) with the names of its columns."""
    model = view.model()
    if model is None:
        return ""
    chosen = sorted(
        {(i.parent(), i.row()) for i in view.selectedIndexes()}, key=lambda pair: pair[1]
    )
    if not chosen:
        chosen = [(QtCore.QModelIndex(), row) for row in range(min(model.rowCount(), 100_000))]
    columns = [c for c in range(model.columnCount()) if not _is_hidden(view, c)]
    across = QtCore.Qt.Orientation.Horizontal
    head = [str(model.headerData(c, across) or "") for c in columns]
    body = [[model.index(row, c, parent).data() or "" for c in columns] for parent, row in chosen]
    return tsv([head, *body])


def _is_hidden(view: QtWidgets.QAbstractItemView, column: int) -> bool:
    if isinstance(view, QtWidgets.QTableView | QtWidgets.QTreeView):
        return bool(view.isColumnHidden(column))
    return False


def copied_from(widget: QtWidgets.QWidget | None) -> str:
    """What Ctrl+C means where the focus is: the table there, or what its panel says of itself."""
    while widget is not None:
        if hasattr(widget, "copied"):
            return str(widget.copied())
        if isinstance(widget, QtWidgets.QAbstractItemView):
            return of_view(widget)
        widget = widget.parentWidget()
    return ""
