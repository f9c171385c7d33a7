"""HIL: pick a rig, run requirement tests, watch the verdicts, open the report."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np
from bms_gui.acting import action
from bms_gui.kept import kept
from bms_gui.snapshot import Snapshot
from bms_gui.suite import Suite, Verdict
from bms_gui.theme import Theme, mixed, numbers_font
from bms_gui.view import View
from bms_gui.words import SPOKEN
from pyqtgraph.Qt import QtCore, QtGui, QtWidgets

TITLE, AREA, ORDER = "HIL", "bottom", 36
COLUMNS = ("verdict", "test", "requirement", "measured", "limit", "took", "what")
MARKS = {"pass": "✓ pass", "fail": "✗ fail", "skip": "– skipped", "not_run": "○ not run"}
NOTHING = (
    "Requirement tests run in a process of their own, on a rig you choose.\n"
    "sil is a whole pack in virtual time on this machine: Run needs nothing else."
)


def rigs() -> list[str]:
    """Names of the rigs that are shipped; sil first."""
    try:
        found = [p.name[:-5] for p in (files("bms_hil") / "rigs").iterdir() if ".toml" in p.name]
    except (ModuleNotFoundError, FileNotFoundError):
        found = []
    return sorted(found, key=lambda name: (name != "sil", name)) or ["sil"]


class Bar(QtWidgets.QWidget):
    """How many of the tests came to which verdict."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.theme = theme
        self.counts: dict[str, int] = {}
        self.total = 0
        self.setFixedHeight(8)

    def tell(self, counts: dict[str, int], total: int) -> None:
        """Counts of the verdicts, out of total."""
        self.counts, self.total = counts, total
        self.update()

    def paintEvent(self, _: QtGui.QPaintEvent) -> None:
        """Passed, failed, the others, what is still to come."""
        p = QtGui.QPainter(self)
        theme, x = self.theme, 0.0
        p.fillRect(self.rect(), QtGui.QColor(theme.line))
        colours = {"pass": theme.good, "fail": theme.bad, "skip": theme.faint,
                   "not_run": mixed(theme.panel, theme.faint, 0.5)}  # fmt: skip
        for verdict, colour in colours.items():
            width = self.width() * self.counts.get(verdict, 0) / max(1, self.total)
            p.fillRect(QtCore.QRectF(x, 0, width, self.height()), QtGui.QColor(colour))
            x += width


class Panel(QtWidgets.QWidget):
    """Choice, buttons, verdicts."""

    def __init__(self, view: View, theme: Theme) -> None:
        super().__init__()
        self.view, self.theme = view, theme
        self.suite = kept(view, Suite)
        self.suite.changed.connect(self._draw)
        self._rows = 0
        self._run: object = None
        box = QtWidgets.QVBoxLayout(self)
        box.setContentsMargins(6, 4, 6, 6)
        box.setSpacing(4)
        box.addLayout(self._top())
        self.bar = Bar(theme)
        box.addWidget(self.bar)
        self.list = self._list()
        empty = QtWidgets.QLabel(NOTHING)
        empty.setAlignment(QtCore.Qt.AlignmentFlag.AlignCenter)
        empty.setStyleSheet(f"color: {theme.faint};")
        self.pages = QtWidgets.QStackedWidget()
        self.pages.addWidget(empty)
        self.pages.addWidget(self.list)
        box.addWidget(self.pages, 1)
        self.detail = QtWidgets.QLabel("")
        self.detail.setTextFormat(QtCore.Qt.TextFormat.PlainText)
        self.detail.setWordWrap(True)
        self.detail.setStyleSheet(f"color: {theme.faint};")
        self.detail.setTextInteractionFlags(QtCore.Qt.TextInteractionFlag.TextSelectableByMouse)
        box.addWidget(self.detail)
        self.addAction(action(self, "run the tests", "Ctrl+Return", self.run))
        self._draw()

    def _top(self) -> QtWidgets.QHBoxLayout:
        self.rig = QtWidgets.QComboBox()
        self.rig.addItems(rigs())
        self.rig.setToolTip("on what the tests run")
        other = QtWidgets.QPushButton("file")
        other.setToolTip("a rig file of yours")
        other.clicked.connect(self._other_rig)
        self.words = QtWidgets.QLineEdit()
        self.words.setPlaceholderText("only tests whose name fits, as in pytest -k")
        self.words.setClearButtonEnabled(True)
        self.words.returnPressed.connect(self.run)
        self.repeat = QtWidgets.QSpinBox()
        self.repeat.setRange(1, 1000)
        self.repeat.setPrefix("× ")
        self.repeat.setToolTip("each test so often")
        self.start = QtWidgets.QPushButton("Run")
        self.start.setToolTip("Ctrl+Enter")
        self.start.clicked.connect(self.run)
        self.stop = QtWidgets.QPushButton("Stop")
        self.stop.clicked.connect(self.suite.stop)
        self.report = QtWidgets.QPushButton("open report")
        self.report.clicked.connect(self.open_report)
        self.open = QtWidgets.QPushButton("open recording")
        self.open.setToolTip("of the chosen test, in this window")
        self.open.clicked.connect(self.open_recording)
        self.failed = QtWidgets.QPushButton("failed only")
        self.failed.setCheckable(True)
        self.failed.toggled.connect(lambda _: self._refill())
        self.state = QtWidgets.QLabel("")
        self.state.setTextFormat(QtCore.Qt.TextFormat.PlainText)
        row = QtWidgets.QHBoxLayout()
        for widget in (self.rig, other, self.words, self.repeat, self.start, self.stop,
                       self.failed, self.report, self.open, self.state):  # fmt: skip
            row.addWidget(widget, 1 if widget is self.words else 0)
        return row

    def _list(self) -> QtWidgets.QTreeWidget:
        made = QtWidgets.QTreeWidget()
        made.setHeaderLabels(list(COLUMNS))
        made.setRootIsDecorated(False)
        made.setUniformRowHeights(True)
        made.setAlternatingRowColors(True)
        for column, width in enumerate((86, 300, 96, 92, 92, 62)):
            made.setColumnWidth(column, width)
        made.currentItemChanged.connect(lambda *_: self._describe())
        made.itemActivated.connect(lambda *_: self.open_recording())
        return made

    def _other_rig(self) -> None:
        path, _ = QtWidgets.QFileDialog.getOpenFileName(self, "A rig", "", "rigs (*.toml)")
        if path:
            self.rig.addItem(path)
            self.rig.setCurrentIndex(self.rig.count() - 1)

    # ---- hands ----

    def run(self) -> None:
        """Starts the tests."""
        arguments = ["--rig", self.rig.currentText()]
        if self.words.text().strip():
            arguments += ["-k", self.words.text().strip()]
        if self.repeat.value() > 1:
            arguments += ["--repeat", str(self.repeat.value())]
        self.suite.start(arguments)

    def _path(self, told: str) -> Path:
        return self.suite.folder / told

    def open_report(self) -> None:
        """In the browser."""
        if self.suite.told.report:
            url = QtCore.QUrl.fromLocalFile(str(self._path(self.suite.told.report).resolve()))
            QtGui.QDesktopServices.openUrl(url)

    def open_recording(self) -> None:
        """Of the chosen test, in this window."""
        chosen = self._chosen()
        if chosen is None or not chosen.recording:
            return
        from bms_gui.feeds.recorded import RecordingFeed

        from bms import BmsError

        try:
            self.view.use(RecordingFeed(self._path(chosen.recording)))
        except BmsError as error:
            self.detail.setText(str(error))

    # ---- drawing ----

    def _shown(self) -> list[Verdict]:
        told = self.suite.told.verdicts
        return [v for v in told if not self.failed.isChecked() or v.verdict == "fail"]

    def _chosen(self) -> Verdict | None:
        k = self.list.indexOfTopLevelItem(self.list.currentItem())
        shown = self._shown()
        return shown[k] if 0 <= k < len(shown) else None

    def _refill(self) -> None:
        self.list.clear()
        self._rows = 0
        self._draw()

    def _draw(self) -> None:
        suite, told = self.suite, self.suite.told
        if told is not self._run:
            self._run = told
            self.list.clear()
            self._rows = 0
        shown = self._shown()
        for verdict in shown[self._rows :]:
            self._add(verdict)
        self._rows = len(shown)
        self.pages.setCurrentIndex(1 if told.verdicts or suite.is_running else 0)
        counts = {name: told.count(name) for name in MARKS}
        self.bar.tell(counts, max(told.total, len(told.verdicts)))
        self.start.setEnabled(not suite.is_running)
        self.stop.setEnabled(suite.is_running)
        self.report.setEnabled(bool(told.report))
        self.report.setToolTip(told.report or "there is one when a run has ended")
        words = [f"{counts['pass']} passed", f"{counts['fail']} failed"]
        words += [f"{counts['skip']} skipped"] if counts["skip"] else []
        words += [f"{counts['not_run']} not run"] if counts["not_run"] else []
        left = told.total - len(told.verdicts)
        if suite.is_running and left > 0:
            words.append(f"{left} to come")
        self.state.setText(", ".join(words) if told.total or told.verdicts else suite.message)
        tone = self.theme.bad if counts["fail"] else self.theme.text
        self.state.setStyleSheet(f"color: {tone};")
        self._describe()

    def _add(self, verdict: Verdict) -> None:
        unit = (
            f" {SPOKEN.get(verdict.unit, verdict.unit)}"
            if verdict.unit and verdict.unit != "1"
            else ""
        )
        numbers = [
            f"{x:.5g}{unit}" if np.isfinite(x) else "" for x in (verdict.measured, verdict.limit)
        ]
        name = verdict.id.rpartition("::")[2].removeprefix("test_").replace("_", " ")
        took = f"{verdict.seconds:.2f} s" if np.isfinite(verdict.seconds) else ""
        item = QtWidgets.QTreeWidgetItem(
            self.list,
            [MARKS[verdict.verdict], name, ", ".join(verdict.requirements), *numbers, took,
             verdict.text.replace("\n", "; ")],
        )  # fmt: skip
        for column in (3, 4, 5):
            item.setFont(column, numbers_font(9))
        tone = {"pass": self.theme.good, "fail": self.theme.bad}.get(
            verdict.verdict, self.theme.faint
        )
        item.setForeground(0, QtGui.QBrush(QtGui.QColor(tone)))
        item.setToolTip(1, verdict.id)

    def _describe(self) -> None:
        chosen = self._chosen()
        self.open.setEnabled(chosen is not None and bool(chosen.recording))
        parts = [chosen.text] if chosen is not None and chosen.text else []
        if self.suite.message:
            parts.append(self.suite.message)
        if self.suite.told.malformed:
            parts.append(f"{self.suite.told.malformed} lines of the run were not understood.")
        text = "\n".join(parts)
        self.detail.setText(text)
        self.detail.setVisible(bool(text))

    def tell(self, snapshot: Snapshot) -> None:
        """A run of tests has nothing to do with what is looked at."""
