"""CAN trace: every frame in its time, or each identifier in its place; sent and received in one
list. A row opens into its signals. What is late, early or fails its check is marked by a word.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from bms_gui import decode
from bms_gui.acting import action
from bms_gui.rows import Column, Row, Rows
from bms_gui.snapshot import Snapshot
from bms_gui.theme import Theme
from bms_gui.traffic import (
    DIRECTIONS,
    NOT_PROTECTED,
    VERDICTS,
    Filter,
    Shown,
    Talker,
    Traffic,
    odd_times,
)
from bms_gui.view import View
from bms_gui.words import UNKNOWN
from pyqtgraph.Qt import QtCore, QtWidgets

from bms.protocols import e2e

TITLE, AREA, ORDER = "CAN trace", "bottom", 32
TIMED = (
    Column("time / s", 112, True),
    Column("Δ / ms", 92, True),
    Column("bus", 66),
    Column("way", 72),
    Column("id", 78),
    Column("message", 0),
    Column("data", 186),
    Column("check", 110),
)
PLACED = (
    Column("id", 96),
    Column("bus", 66),
    Column("way", 72),
    Column("message", 0),
    Column("count", 74, True),
    Column("cycle / ms", 128, True),
    Column("data", 186),
    Column("check", 110),
)
WAYS = ("to BMS", "by BMS", "by us")
NOTHING = (
    "No frames yet. They appear as soon as the source runs; a recording shows them if it was made "
    "with frames."
)


def _hex(data: np.ndarray, length: int) -> str:
    return bytes(data[: min(8, length)]).hex(" ").upper()


def _check(verdict: int) -> tuple[str, str]:
    """(word, tone) of a verdict."""
    if verdict == NOT_PROTECTED:
        return "", "faint"
    status = e2e.Status(verdict)
    return VERDICTS[status], "good" if status <= e2e.Status.INITIAL else "bad"


def _pace(delta_s: float, period_s: float) -> tuple[str, str]:
    """(Δ in ms with a mark, tone)."""
    if not np.isfinite(delta_s):
        return UNKNOWN, "faint"
    odd = int(odd_times(np.array([delta_s]), period_s)[0])
    mark = {1: "late ", -1: "early "}.get(odd, "")
    return f"{mark}{1e3 * delta_s:.2f}", "warn" if odd else ""


class Timed:
    """Frames in their time."""

    def __init__(self, shown: Shown) -> None:
        self.shown, self.traffic = shown, shown.traffic

    def count(self) -> int:
        """Frames that pass the filter and are still held."""
        return len(self.shown.numbers)

    def key(self, k: int) -> Hashable:
        """Number of the frame."""
        return int(self.shown.numbers[k])

    def place(self, key: Hashable) -> int:
        """Of a frame."""
        numbers = self.shown.numbers
        k = int(np.searchsorted(numbers, key))
        return k if k < len(numbers) and numbers[k] == key else -1

    def row(self, k: int) -> Row:
        """One frame."""
        t, at = self.traffic, int(self.shown.numbers[k]) % self.traffic.capacity
        talker = t.talkers[t.talker[at]]
        pace, pace_tone = _pace(float(t.delta_s[at]), talker.kind.period_s)
        check, check_tone = _check(int(t.verdict[at]))
        is_error = bool(talker.flags & decode.ERROR)
        cells = (
            f"{t.time_s[at]:.6f}", pace, decode.name_of(talker.bus), WAYS[talker.direction],
            "" if is_error else decode.id_text(talker.id, talker.flags),
            talker.kind.name or "not in the database", _hex(t.data[at], int(t.length[at])), check,
        )  # fmt: skip
        tones = {1: pace_tone, 7: check_tone}
        if is_error:
            tones[5] = "bad"
        elif not talker.kind.name:
            tones[5] = "faint"
        return Row(cells, tones)

    def details(self, k: int) -> Sequence[Sequence[str]]:
        """Signals of a frame."""
        t, at = self.traffic, int(self.shown.numbers[k]) % self.traffic.capacity
        talker = t.talkers[t.talker[at]]
        data = bytes(t.data[at][: min(8, int(t.length[at]))])
        return decode.signals(talker.bus, talker.id, talker.flags, data, t.book)


class Placed:
    """Identifiers, each in its place."""

    def __init__(self, shown: Shown) -> None:
        self.shown, self.traffic = shown, shown.traffic
        self.talkers: list[int] = []

    def refresh(self) -> None:
        """Those that pass the filter, by bus and identifier."""
        wanted, all_of = self.shown.filter, self.traffic.talkers
        chosen = [k for k, t in enumerate(all_of) if wanted.takes(t) and (t.odd or not wanted.odd)]
        self.talkers = sorted(
            chosen, key=lambda k: (all_of[k].bus, all_of[k].id, all_of[k].direction)
        )

    def count(self) -> int:
        """Identifiers that pass the filter."""
        return len(self.talkers)

    def key(self, k: int) -> Hashable:
        """Number of the talker."""
        return self.talkers[k]

    def place(self, key: Hashable) -> int:
        """Of a talker."""
        return self.talkers.index(key) if key in self.talkers else -1  # type: ignore[arg-type]

    def _newest(self, k: int) -> tuple[Talker, int, bool]:
        talker = self.traffic.talkers[self.talkers[k]]
        held = talker.newest >= self.traffic.first
        return talker, talker.newest % self.traffic.capacity, held

    def row(self, k: int) -> Row:
        """One identifier."""
        t = self.traffic
        talker, at, held = self._newest(k)
        pace, pace_tone = _pace(talker.delta_s, talker.kind.period_s)
        asked = talker.kind.period_s
        of = f" of {1e3 * asked:.0f}" if np.isfinite(asked) else ""
        check, check_tone = _check(int(t.verdict[at])) if held else ("", "faint")
        if talker.odd:
            check, check_tone = f"{check or 'odd'}, {talker.odd} odd", "warn"
        cells = (
            decode.id_text(talker.id, talker.flags), decode.name_of(talker.bus),
            WAYS[talker.direction], talker.kind.name or "not in the database",
            f"{talker.count}", f"{pace}{of}",
            _hex(t.data[at], int(t.length[at])) if held else UNKNOWN, check,
        )  # fmt: skip
        return Row(cells, {5: pace_tone, 7: check_tone, 3: "" if talker.kind.name else "faint"})

    def details(self, k: int) -> Sequence[Sequence[str]]:
        """Signals of its newest frame."""
        t = self.traffic
        talker, at, held = self._newest(k)
        if not held:
            return [("", "its newest frame is no longer held", "")]
        data = bytes(t.data[at][: min(8, int(t.length[at]))])
        return decode.signals(talker.bus, talker.id, talker.flags, data, t.book)


class Panel(QtWidgets.QWidget):
    """The list, how it is ordered, and what is left out."""

    def __init__(self, view: View, theme: Theme) -> None:
        super().__init__()
        self.view, self.theme = view, theme
        self.traffic = Traffic()
        self.shown = Shown(self.traffic)
        self._title = ""
        self.timed, self.placed = Timed(self.shown), Placed(self.shown)
        self.lists = {
            "timed": Rows(TIMED, theme, NOTHING),
            "placed": Rows(PLACED, theme, NOTHING),
        }
        self.lists["timed"].use(self.timed)
        self.lists["timed"].follows = True
        self.lists["placed"].use(self.placed)
        self.lists["timed"].scrolled.connect(self._scrolled)
        self.pages = QtWidgets.QStackedWidget()
        for rows in self.lists.values():
            self.pages.addWidget(rows)
        self.note = QtWidgets.QLabel("")
        self.note.setStyleSheet(f"color: {theme.faint};")
        self.note.setTextFormat(QtCore.Qt.TextFormat.PlainText)
        self.note.setMinimumWidth(30)
        box = QtWidgets.QVBoxLayout(self)
        box.setContentsMargins(6, 4, 6, 6)
        box.addLayout(self._bar())
        box.addWidget(self.pages, 1)
        for text, keys, does in (
            ("hold the trace", "H", self.hold.toggle),
            ("filter the trace", "Ctrl+F", self.text.setFocus),
            ("each identifier in its place", "I", self.placing.toggle),
        ):
            self.addAction(action(self, text, keys, does))

    def _bar(self) -> QtWidgets.QHBoxLayout:
        self.placing = self._button("by id", "each identifier in its place, or each frame in time")
        self.placing.toggled.connect(self._order)
        self.hold = self._button("hold", "keep what is in sight; the source goes on  (H)")
        self.hold.toggled.connect(lambda _: self.tell(self.view.snapshot))
        self.follow = self._button("newest", "keep the newest frame in sight  (End)")
        self.follow.setChecked(True)
        self.follow.toggled.connect(self._follow)
        self.odd = self._button("odd only", "only frames that are late, early or fail their check")
        self.odd.toggled.connect(lambda _: self._filter())
        clear = QtWidgets.QPushButton("clear")
        clear.setToolTip("begin anew")
        clear.clicked.connect(self._clear)
        copy = QtWidgets.QPushButton("copy")
        copy.setToolTip("the selected row, or all, as tab-separated text  (Ctrl+C)")
        copy.clicked.connect(self._copy)
        self.text = QtWidgets.QLineEdit()
        self.text.setPlaceholderText("filter: id, name, sender, signal")
        self.text.setClearButtonEnabled(True)
        self.text.setMinimumWidth(70)
        self.text.textChanged.connect(lambda _: self._filter())
        self.bus, self.direction = QtWidgets.QComboBox(), QtWidgets.QComboBox()
        self.bus.addItems(["all buses", *decode.BUSES])
        self.direction.addItems(["both ways", *DIRECTIONS])
        for choice in (self.bus, self.direction):
            choice.currentIndexChanged.connect(lambda _: self._filter())
        row = QtWidgets.QHBoxLayout()
        for widget in (self.placing, self.hold, self.follow, self.text, self.bus, self.direction,
                       self.odd, clear, copy):  # fmt: skip
            row.addWidget(widget, 1 if widget is self.text else 0)
        row.addWidget(self.note)
        return row

    def _button(self, text: str, tip: str) -> QtWidgets.QPushButton:
        button = QtWidgets.QPushButton(text)
        button.setToolTip(tip)
        button.setCheckable(True)
        return button

    @property
    def rows(self) -> Rows:
        """The list that is in sight."""
        return self.lists["placed" if self.placing.isChecked() else "timed"]

    def _order(self, by_id: bool) -> None:
        self.pages.setCurrentWidget(self.lists["placed" if by_id else "timed"])
        self.follow.setEnabled(not by_id)
        self._draw()

    def _follow(self, on: bool) -> None:
        self.lists["timed"].follows = on
        self._draw()

    def _scrolled(self) -> None:
        self.follow.blockSignals(True)
        self.follow.setChecked(self.lists["timed"].follows)
        self.follow.blockSignals(False)

    def _filter(self) -> None:
        self.shown.use(
            Filter(
                self.text.text(),
                self.bus.currentIndex() - 1,
                self.direction.currentIndex() - 1,
                self.odd.isChecked(),
            )
        )
        self._draw()

    def _clear(self) -> None:
        self.traffic.clear()
        self._filter()

    def copied(self) -> str:
        """The selected row, or all, as tab-separated text."""
        return self.rows.as_text()

    def _copy(self) -> None:
        QtWidgets.QApplication.clipboard().setText(self.copied())

    def _draw(self) -> None:
        if self.placing.isChecked():
            self.placed.refresh()
        self.rows.refresh()
        shown, held = self.rows.source.count() if self.rows.source else 0, self.traffic.total
        parts = [f"{shown:,} of {min(held, self.traffic.capacity):,}".replace(",", " ")]
        if self.placing.isChecked():
            parts = [f"{shown} of {len(self.traffic.talkers)} ids"]
        if self.traffic.missed:
            parts.append(f"{self.traffic.missed:,} not kept".replace(",", " "))
        if self.hold.isChecked():
            parts.append("held")
        self.note.setText(", ".join(parts))

    def tell(self, snapshot: Snapshot) -> None:
        """Takes what has come, and draws it if it can be seen."""
        if self.hold.isChecked():
            return self._draw()
        if snapshot.title != self._title:  # another source
            self._title, self.traffic.seen = snapshot.title, 0
            self.traffic.book = snapshot.book
            self.traffic.clear()
        self.traffic.take(snapshot.frames)
        self.shown.follow()
        if self.isVisible():
            self._draw()
        return None
