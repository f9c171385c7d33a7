"""A list of any length, painted: only what is seen costs anything. Rows open to show details.

Keys: arrows, Page, Home, End move; Right or Enter opens a row, Left closes it; Ctrl+C copies as
tab-separated text.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol

from bms_gui.theme import Theme, mixed, numbers_font
from pyqtgraph.Qt import QtCore, QtGui, QtWidgets

INDENT, DETAIL_WIDTH, NAME_WIDTH = 26, 320, 168
WHEEL_LINES = 3


@dataclass(frozen=True)
class Column:
    """title; width in pixels, 0 takes what is left; is_number: fixed digits, right-aligned."""

    title: str
    width: int
    is_number: bool = False


@dataclass(frozen=True)
class Row:
    """One row. tones: column -> "good", "warn", "bad" or "faint"."""

    cells: Sequence[str]
    tones: dict[int, str]


class Source(Protocol):
    """Where rows are from."""

    def count(self) -> int:
        """How many there are."""

    def row(self, k: int) -> Row:
        """One of them, from the top."""

    def key(self, k: int) -> Hashable:
        """What stays when rows move."""

    def place(self, key: Hashable) -> int:
        """Where a key is now; -1 if it is gone."""

    def details(self, k: int) -> Sequence[Sequence[str]]:
        """What an open row shows below it: name, value, unit."""


class Rows(QtWidgets.QAbstractScrollArea):
    """See above. picked: the key of the row that was clicked."""

    picked = QtCore.Signal(object)
    scrolled = QtCore.Signal()

    def __init__(self, columns: Sequence[Column], theme: Theme, nothing: str) -> None:
        super().__init__()
        self.columns, self.theme, self.nothing = tuple(columns), theme, nothing
        self.source: Source | None = None
        self.follows = False
        self.selected: Hashable | None = None
        self.open_keys: dict[Hashable, None] = {}
        self._open: list[tuple[int, int]] = []  # (row, lines below it), by row
        self._anchor: Hashable | None = None
        self._painted: list[tuple[int, int]] = []
        self.number_font = numbers_font(9)
        self.height_of_line = QtGui.QFontMetrics(self.number_font).height() + 5
        self.head = self.height_of_line + 4
        self.setFocusPolicy(QtCore.Qt.FocusPolicy.StrongFocus)
        self.setFrameShape(QtWidgets.QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(QtCore.Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.verticalScrollBar().actionTriggered.connect(self._by_hand)
        self.verticalScrollBar().valueChanged.connect(lambda _: self.viewport().update())
        self.setMinimumHeight(90)

    # ---- what is where ----

    def use(self, source: Source) -> None:
        """Rows of another kind."""
        self.source, self.selected, self._anchor = source, None, None
        self.open_keys.clear()
        self.refresh()

    def refresh(self) -> None:
        """The rows have changed."""
        source = self.source
        if source is None:
            return
        self._open = []
        for key in list(self.open_keys):
            k = source.place(key)
            if k < 0:
                del self.open_keys[key]
            else:
                self._open.append((k, -(-len(source.details(k)) // self._across())))
        self._open.sort()
        lines = source.count() + sum(n for _, n in self._open)
        fit = max(1, (self.viewport().height() - self.head) // self.height_of_line)
        bar = self.verticalScrollBar()
        bar.setPageStep(fit)
        bar.setSingleStep(1)
        bar.setRange(0, max(0, lines - fit))
        if self.follows:
            bar.setValue(bar.maximum())
        elif self._anchor is not None and (k := source.place(self._anchor)) >= 0:
            bar.setValue(self._line_of(k))
        self.viewport().update()

    def _across(self) -> int:
        """Details beside each other."""
        return max(1, (self.viewport().width() - INDENT) // DETAIL_WIDTH)

    def _line_of(self, row: int) -> int:
        return row + sum(n for k, n in self._open[: bisect_left(self._open, (row, -1))])

    def _at_line(self, line: int) -> tuple[int, int]:
        """(row, 0 or the number of its detail) of a line."""
        row, past = line, 0
        for k, lines in self._open:
            if line <= k + past:
                break
            if line <= k + past + lines:
                return k, line - k - past
            past += lines
            row = line - past
        return row, 0

    def _by_hand(self, _: int) -> None:
        bar = self.verticalScrollBar()
        self.follows = bar.sliderPosition() >= bar.maximum() and self.follows
        self._remember(bar.sliderPosition())
        self.scrolled.emit()

    def _remember(self, line: int) -> None:
        row, _ = self._at_line(line)
        if self.source is not None and 0 <= row < self.source.count():
            self._anchor = self.source.key(row)

    # ---- painting ----

    def _widths(self) -> list[int]:
        left = self.viewport().width() - sum(c.width for c in self.columns)
        takers = max(1, sum(1 for c in self.columns if c.width == 0))
        return [c.width or max(60, left // takers) for c in self.columns]

    def paintEvent(self, _: QtGui.QPaintEvent) -> None:
        """What is seen."""
        p = QtGui.QPainter(self.viewport())
        widths = self._widths()
        self._head(p, widths)
        source = self.source
        if source is None or source.count() == 0:
            p.setPen(QtGui.QColor(self.theme.faint))
            flags = QtCore.Qt.AlignmentFlag.AlignCenter | QtCore.Qt.TextFlag.TextWordWrap
            p.drawText(self.viewport().rect().adjusted(20, self.head, -20, 0), flags, self.nothing)
            return
        y, line = self.head, self.verticalScrollBar().value()
        self._painted = []
        while y < self.viewport().height():
            row, detail = self._at_line(line)
            if row >= source.count():
                break
            self._painted.append((row, detail))
            if detail:
                details, across = source.details(row), self._across()
                lines = -(-len(details) // across)
                self._detail(p, y, details[detail - 1 :: lines])
            else:
                self._row(p, y, row, widths)
            y, line = y + self.height_of_line, line + 1

    def _head(self, p: QtGui.QPainter, widths: list[int]) -> None:
        p.setPen(QtGui.QColor(self.theme.faint))
        x = 0
        for column, width in zip(self.columns, widths, strict=True):
            box = QtCore.QRect(x + 6, 0, width - 12, self.head)
            side = "AlignRight" if column.is_number else "AlignLeft"
            align = getattr(QtCore.Qt.AlignmentFlag, side) | QtCore.Qt.AlignmentFlag.AlignVCenter
            p.drawText(box, align, column.title)
            x += width
        p.setPen(QtGui.QColor(self.theme.line))
        p.drawLine(0, self.head - 1, self.viewport().width(), self.head - 1)

    def _row(self, p: QtGui.QPainter, y: int, k: int, widths: list[int]) -> None:
        theme, source, h = self.theme, self.source, self.height_of_line
        assert source is not None
        key, row = source.key(k), source.row(k)
        if key == self.selected:
            colour = mixed(theme.panel, theme.accent, 0.35 if self.hasFocus() else 0.2)
            p.fillRect(0, y, self.viewport().width(), h, QtGui.QColor(colour))
        elif k % 2:
            colour = mixed(theme.panel, theme.window, 0.5)
            p.fillRect(0, y, self.viewport().width(), h, QtGui.QColor(colour))
        tones = {"good": theme.good, "warn": theme.warn, "bad": theme.bad, "faint": theme.faint}
        plain = self.font()
        metrics = QtGui.QFontMetrics(plain)
        x = 0
        for c, (text, width) in enumerate(zip(row.cells, widths, strict=True)):
            column = self.columns[c]
            p.setPen(QtGui.QColor(tones.get(row.tones.get(c, ""), theme.text)))
            box = QtCore.QRect(x + 6, y, width - 12, h)
            if c == 0:
                mark = "▾" if key in self.open_keys else "▸"
                p.setFont(plain)
                p.drawText(x + 4, y + h - 7, mark)
                box.setLeft(x + 18)
            side = "AlignRight" if column.is_number else "AlignLeft"
            align = getattr(QtCore.Qt.AlignmentFlag, side) | QtCore.Qt.AlignmentFlag.AlignVCenter
            p.setFont(self.number_font if column.width else plain)
            if not column.width:
                text = metrics.elidedText(text, QtCore.Qt.TextElideMode.ElideRight, box.width())
            p.drawText(box, align, text)
            x += width

    def _detail(self, p: QtGui.QPainter, y: int, beside: Sequence[Sequence[str]]) -> None:
        """One line of details: name, value and unit, as many beside each other as fit."""
        theme, h = self.theme, self.height_of_line
        p.fillRect(0, y, 3, h, QtGui.QColor(theme.accent))
        align = QtCore.Qt.AlignmentFlag.AlignLeft | QtCore.Qt.AlignmentFlag.AlignVCenter
        metrics, elide = QtGui.QFontMetrics(self.font()), QtCore.Qt.TextElideMode.ElideRight
        x = INDENT
        for name, *told in beside:
            p.setFont(self.font())
            p.setPen(QtGui.QColor(theme.faint))
            text = " ".join(told).rstrip()
            if not name:
                p.drawText(QtCore.QRect(x, y, self.viewport().width() - x, h), align, text)
                continue
            shown = metrics.elidedText(name, elide, NAME_WIDTH - 8)
            p.drawText(QtCore.QRect(x, y, NAME_WIDTH, h), align, shown)
            p.setFont(self.number_font)
            p.setPen(QtGui.QColor(theme.text))
            p.drawText(
                QtCore.QRect(x + NAME_WIDTH, y, DETAIL_WIDTH - NAME_WIDTH - 6, h), align, text
            )
            x += DETAIL_WIDTH

    # ---- hands ----

    def resizeEvent(self, event: QtGui.QResizeEvent) -> None:
        """More or fewer lines fit."""
        super().resizeEvent(event)
        self.refresh()

    def row_at(self, y: float) -> int:
        """The row at a height of the viewport; -1 none."""
        line = int((y - self.head) // self.height_of_line)
        return self._painted[line][0] if 0 <= line < len(self._painted) else -1

    def mousePressEvent(self, event: QtGui.QMouseEvent) -> None:
        """Chooses a row; on its mark, opens or closes it."""
        k = self.row_at(event.position().y())
        if k < 0 or self.source is None:
            return
        self._select(k)
        if event.position().x() < 18:
            self.toggle(k)

    def mouseDoubleClickEvent(self, event: QtGui.QMouseEvent) -> None:
        """Opens or closes a row."""
        k = self.row_at(event.position().y())
        if k >= 0:
            self.toggle(k)

    def toggle(self, k: int) -> None:
        """Opens a row, or closes it."""
        if self.source is None:
            return
        key = self.source.key(k)
        if key in self.open_keys:
            del self.open_keys[key]
        else:
            self.open_keys[key] = None
            if len(self.open_keys) > 100:
                del self.open_keys[next(iter(self.open_keys))]
        self._remember(self.verticalScrollBar().value())
        self.refresh()

    def _select(self, k: int) -> None:
        if self.source is None or not 0 <= k < self.source.count():
            return
        self.selected = self.source.key(k)
        self.picked.emit(self.selected)
        self.viewport().update()

    def keyPressEvent(self, event: QtGui.QKeyEvent) -> None:
        """See the head of the file."""
        keys, source = QtCore.Qt.Key, self.source
        if source is None or source.count() == 0:
            super().keyPressEvent(event)
            return
        if event.matches(QtGui.QKeySequence.StandardKey.Copy):
            QtWidgets.QApplication.clipboard().setText(self.as_text())
            return
        k = source.place(self.selected) if self.selected is not None else -1
        page, last = self.verticalScrollBar().pageStep(), source.count() - 1
        moves = {
            keys.Key_Up: k - 1, keys.Key_Down: k + 1, keys.Key_PageUp: k - page,
            keys.Key_PageDown: k + page, keys.Key_Home: 0, keys.Key_End: last,
        }  # fmt: skip
        if event.key() in moves:
            to = min(max(0, moves[event.key()]), last)  # type: ignore[index]
            self.follows = event.key() == keys.Key_End
            self._select(to)
            self._show(to)
            self.scrolled.emit()
        elif event.key() in (keys.Key_Right, keys.Key_Return) and k >= 0:
            if source.key(k) not in self.open_keys:
                self.toggle(k)
        elif event.key() == keys.Key_Left and k >= 0:
            if source.key(k) in self.open_keys:
                self.toggle(k)
        else:
            super().keyPressEvent(event)

    def _show(self, k: int) -> None:
        bar, line = self.verticalScrollBar(), self._line_of(k)
        if line < bar.value():
            bar.setValue(line)
        elif line >= bar.value() + bar.pageStep():
            bar.setValue(line - bar.pageStep() + 1)
        self._remember(bar.value())

    def as_text(self, most: int = 100_000) -> str:
        """The selected row with its details, or all rows, as tab-separated text with a head."""
        source = self.source
        lines = ["\t".join(c.title for c in self.columns)]
        k = source.place(self.selected) if source and self.selected is not None else -1
        if source is not None and k >= 0:
            lines.append("\t".join(source.row(k).cells))
            lines += ["\t".join(("", *d)) for d in source.details(k)]
        elif source is not None:
            first = max(0, source.count() - most)
            lines += ["\t".join(source.row(i).cells) for i in range(first, source.count())]
        return "\n".join(lines) + "\n"
