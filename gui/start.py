"""The start page: four ways to something to look at, and what was looked at lately."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bms_gui import sources
from bms_gui.theme import Theme
from bms_gui.words import inert
from pyqtgraph.Qt import QtCore, QtWidgets

WIDTH = 560
FILES = "Recordings and logs (*.arrow *.log *.candump *.asc *.blf *.mf4 *.mdf);;All files (*)"


class Start(QtWidgets.QWidget):
    """wanted: a feed to show, with a word for the list of what was opened lately."""

    wanted = QtCore.Signal(object, str)

    def __init__(self, theme: Theme, recent: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.theme = theme
        self.setAcceptDrops(True)
        column = QtWidgets.QVBoxLayout()
        column.setSpacing(10)
        self._head(column)
        self.demo = self._button("Demo", "a pack of 96 cells begins to drive at once", True)
        self.demo.clicked.connect(lambda: self.go("demo"))
        column.addWidget(self.demo)
        self._connect_row(column)
        self.file = self._button("Open a recording", "or a log: candump, BLF, ASC, MDF 4")
        self.file.clicked.connect(self.choose_file)
        column.addWidget(self.file)
        self._scenario_row(column)
        self.rig = self._button("Rig", "pack and firmware as two processes, in real time")
        self.rig.clicked.connect(lambda: self.go("rig:realtime"))
        column.addWidget(self.rig)
        self._recent(column, recent)
        self.trouble = QtWidgets.QLabel("")
        self.trouble.setTextFormat(QtCore.Qt.TextFormat.PlainText)
        self.trouble.setWordWrap(True)
        self.trouble.setStyleSheet(f"color: {theme.bad};")
        self.trouble.setMinimumHeight(40)
        self.trouble.setAlignment(QtCore.Qt.AlignmentFlag.AlignTop)
        column.addWidget(self.trouble)
        inside = QtWidgets.QWidget()
        inside.setLayout(column)
        inside.setFixedWidth(WIDTH)
        box = QtWidgets.QGridLayout(self)
        box.addWidget(inside, 1, 1)
        for edge in (0, 2):
            box.setRowStretch(edge, 1)
            box.setColumnStretch(edge, 1)

    def _head(self, column: QtWidgets.QVBoxLayout) -> None:
        title = QtWidgets.QLabel("solid-bms")
        title.setStyleSheet(f"font-size: 26pt; font-weight: 700; color: {self.theme.text};")
        under = QtWidgets.QLabel("see inside a pack of solid-state cells")
        under.setStyleSheet(f"font-size: 12pt; color: {self.theme.faint};")
        for label in (title, under):
            label.setAlignment(QtCore.Qt.AlignmentFlag.AlignCenter)
            column.addWidget(label)
        column.addSpacing(14)

    def _button(self, title: str, text: str, first: bool = False) -> QtWidgets.QPushButton:
        button = QtWidgets.QPushButton(f"{title}  —  {text}")
        button.setMinimumHeight(42)
        strength = f"border-color: {self.theme.accent};" if first else ""
        button.setStyleSheet(f"text-align: left; padding-left: 16px; {strength}")
        return button

    def _row(
        self, column: QtWidgets.QVBoxLayout, widget: QtWidgets.QWidget, word: str,
        go: Callable[[], None],
    ) -> QtWidgets.QPushButton:  # fmt: skip
        row = QtWidgets.QHBoxLayout()
        widget.setMinimumHeight(42)
        button = QtWidgets.QPushButton(word)
        button.setMinimumHeight(42)
        button.setFixedWidth(130)
        button.clicked.connect(go)
        row.addWidget(widget, 1)
        row.addWidget(button)
        column.addLayout(row)
        return button

    def _connect_row(self, column: QtWidgets.QVBoxLayout) -> None:
        self.url = QtWidgets.QLineEdit()
        self.url.setPlaceholderText("CAN URL: socketcan:can0, slcan:/dev/ttyACM0@500000, …")
        self.url.returnPressed.connect(self._connect)
        self.connect_button = self._row(column, self.url, "Connect", self._connect)

    def _connect(self) -> None:
        text = self.url.text().strip()
        if not text:
            self.refuse("Type the URL of a CAN bus first, such as socketcand:127.0.0.1:29536/can0.")
            return
        self.go(f"connect:{text}")

    def _scenario_row(self, column: QtWidgets.QVBoxLayout) -> None:
        from bms import scenarios

        self.scenario = QtWidgets.QComboBox()
        self.scenario.addItems(list(scenarios.names()))
        self.scenario.setEditable(True)
        self.scenario.setToolTip("a name in the library, or the path of a TOML file")
        self.scenario.setCurrentText("drive")
        self.run = self._row(
            column, self.scenario, "Run scenario",
            lambda: self.go(f"scenario:{self.scenario.currentText().strip()}"),
        )  # fmt: skip

    def _recent(self, column: QtWidgets.QVBoxLayout, recent: tuple[str, ...]) -> None:
        if not recent:
            return
        label = QtWidgets.QLabel("Lately")
        label.setStyleSheet(f"color: {self.theme.faint}; padding-top: 8px;")
        column.addWidget(label)
        for word in recent[:5]:
            button = QtWidgets.QPushButton(inert(word.partition(":")[2] or word, 70))
            button.setFlat(True)
            button.setStyleSheet(
                f"text-align: left; border: none; color: {self.theme.accent}; padding: 1px 4px;"
            )
            button.setToolTip(inert(word))
            button.clicked.connect(lambda _=False, word=word: self.go(word))
            column.addWidget(button)

    # ---- going somewhere ----

    def go(self, word: str) -> None:
        """Opens what a word says (see sources.opened), or says why not."""
        try:
            feed = sources.opened(word)
        except Exception as error:  # whatever a file or address does, the page stays
            self.refuse(sources.sentence(error))
            return
        self.refuse("")
        self.wanted.emit(feed, word)

    def refuse(self, text: str) -> None:
        """A sentence under the ways, where one looks."""
        self.trouble.setText(inert(text, 400))

    def choose_file(self) -> None:
        """Asks for a file; the page stays usable meanwhile."""
        dialog = QtWidgets.QFileDialog(self, "Open a recording or a log", "", FILES)
        dialog.setAttribute(QtCore.Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.fileSelected.connect(lambda path: self.go(f"open:{Path(path)}"))
        dialog.open()

    def dragEnterEvent(self, event: object) -> None:
        """A file may be dropped."""
        if event.mimeData().hasUrls():  # type: ignore[attr-defined]
            event.acceptProposedAction()  # type: ignore[attr-defined]

    def dropEvent(self, event: object) -> None:
        """Opens the file that was dropped."""
        urls = event.mimeData().urls()  # type: ignore[attr-defined]
        if urls:
            self.go(f"open:{urls[0].toLocalFile()}")
