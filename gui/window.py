"""The main window: panels round the plots, a start page when there is no source."""

from __future__ import annotations

from bms_gui import panels
from bms_gui.snapshot import Snapshot
from bms_gui.start import Start
from bms_gui.theme import DARK, Theme
from bms_gui.view import View
from pyqtgraph.Qt import QtCore, QtGui, QtWidgets

AREAS = {
    "left": QtCore.Qt.DockWidgetArea.LeftDockWidgetArea,
    "right": QtCore.Qt.DockWidgetArea.RightDockWidgetArea,
    "bottom": QtCore.Qt.DockWidgetArea.BottomDockWidgetArea,
}
SPEEDS = (0.1, 0.5, 1.0, 2.0, 10.0, 100.0, 1000.0)
KEYS = (
    ("Space", "pause or go on"),
    ("+ / −", "faster, slower"),
    (".", "one step of 0.1 s while paused"),
    ("F", "plots follow the newest sample"),
    ("A", "plots show all there is"),
    ("C", "two cursors"),
    ("Ctrl+F", "search signals"),
    ("Ctrl+O", "open a recording"),
    ("Ctrl+T", "dark or light"),
    ("Ctrl+1 … 9", "go to a panel"),
    ("F1", "this sheet"),
)


class Window(QtWidgets.QMainWindow):
    """Panels are found by discovery and placed where they say; each but the strip can be moved."""

    def __init__(self, view: View, theme: Theme = DARK) -> None:
        super().__init__()
        self.view, self.theme = view, theme
        self.setWindowTitle("solid-bms")
        self.resize(1280, 720)
        self.setDockOptions(
            QtWidgets.QMainWindow.DockOption.AllowNestedDocks
            | QtWidgets.QMainWindow.DockOption.AllowTabbedDocks
            | QtWidgets.QMainWindow.DockOption.AnimatedDocks
        )
        self.panels: dict[str, QtWidgets.QWidget] = {}
        self.docks: dict[str, QtWidgets.QDockWidget] = {}
        self.start = Start(theme)
        self.start.wanted.connect(self.open)
        self.pages = QtWidgets.QStackedWidget()
        self.pages.addWidget(self.start)
        self.setCentralWidget(self.pages)
        self.notice = QtWidgets.QLabel("")
        self.notice.setWordWrap(True)
        self.notice.setMargin(6)
        self._build()
        self._transport()
        self._keys()
        view.changed.connect(self.show_snapshot)
        self.show_snapshot(view.snapshot)

    def _build(self) -> None:
        centre = QtWidgets.QWidget()
        column = QtWidgets.QVBoxLayout(centre)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        for module in panels.modules():
            panel = module.Panel(self.view, self.theme)
            self.panels[module.TITLE] = panel
            if module.AREA == "top":
                self.strip = panel
            elif module.AREA == "centre":
                column.addWidget(panel, 1)
            else:
                self._dock(module.TITLE, module.AREA, panel)
        self.pages.addWidget(centre)
        bar = QtWidgets.QToolBar("overview")
        bar.setObjectName("overview")
        bar.setMovable(False)
        bar.addWidget(self.strip)
        self.addToolBar(bar)
        self.strip_bar = bar
        self.addToolBarBreak()

    def _dock(self, title: str, area: str, panel: QtWidgets.QWidget) -> None:
        dock = QtWidgets.QDockWidget(title, self)
        dock.setObjectName(title)
        dock.setWidget(panel)
        before = [d for d in self.docks.values() if self.dockWidgetArea(d) == AREAS[area]]
        self.addDockWidget(AREAS[area], dock)
        if before and area == "bottom":
            self.tabifyDockWidget(before[-1], dock)
            before[0].raise_()
        self.docks[title] = dock

    def _transport(self) -> None:
        bar = QtWidgets.QToolBar("transport")
        bar.setObjectName("transport")
        self.play = bar.addAction("pause")
        self.play.triggered.connect(lambda: self.view.ask("pause", self._speed()))
        step = bar.addAction("step")
        step.triggered.connect(lambda: self.view.ask("step", 0.1))
        bar.addSeparator()
        self.speed = QtWidgets.QComboBox()
        self.speed.addItems([f"{s:g}×" for s in SPEEDS])
        self.speed.setCurrentIndex(SPEEDS.index(1.0))
        self.speed.currentIndexChanged.connect(lambda _: self.view.ask("speed", self._speed()))
        bar.addWidget(self.speed)
        bar.addSeparator()
        bar.addAction("restart").triggered.connect(lambda: self.view.ask("restart"))
        bar.addAction("close").triggered.connect(lambda: self.view.use(None))
        bar.addWidget(self.notice)
        self.transport = bar
        self.addToolBar(QtCore.Qt.ToolBarArea.BottomToolBarArea, bar)

    def _speed(self) -> float:
        return SPEEDS[self.speed.currentIndex()]

    def _keys(self) -> None:
        wanted = {
            "Space": self.play.trigger,
            "+": lambda: self.speed.setCurrentIndex(
                min(len(SPEEDS) - 1, self.speed.currentIndex() + 1)
            ),
            "-": lambda: self.speed.setCurrentIndex(max(0, self.speed.currentIndex() - 1)),
            ".": lambda: self.view.ask("step", 0.1),
            "F1": self.show_keys,
        }
        for keys, action in wanted.items():
            QtGui.QShortcut(QtGui.QKeySequence(keys), self, action)
        for k, title in enumerate(self.docks):
            QtGui.QShortcut(QtGui.QKeySequence(f"Ctrl+{k + 1}"), self, self._raiser(title))

    def _raiser(self, title: str) -> object:
        def bring() -> None:
            self.docks[title].show()
            self.docks[title].raise_()
            self.panels[title].setFocus()

        return bring

    def show_keys(self) -> None:
        """One sheet with all keys; not modal."""
        rows = "".join(f"<tr><td><b>{k}</b></td><td>&nbsp;&nbsp;{t}</td></tr>" for k, t in KEYS)
        sheet = QtWidgets.QLabel(f"<table cellpadding=4>{rows}</table>", self)
        sheet.setWindowFlags(QtCore.Qt.WindowType.Tool)
        sheet.setWindowTitle("Keys")
        sheet.setMargin(14)
        sheet.setAttribute(QtCore.Qt.WidgetAttribute.WA_DeleteOnClose)
        sheet.show()

    def open(self, feed: object) -> None:
        """Shows another source."""
        self.view.use(feed)  # type: ignore[arg-type]

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Draws one moment everywhere that can be seen."""
        is_empty = self.view.feed is None
        self.pages.setCurrentIndex(0 if is_empty else 1)
        self.strip_bar.setVisible(not is_empty)
        self.transport.setVisible(not is_empty)
        for dock in self.docks.values():
            if is_empty:
                dock.hide()
            elif dock.isHidden() and not dock.property("closed"):
                dock.show()
        if is_empty:
            return
        self.setWindowTitle(f"{snapshot.title} — solid-bms")
        self.play.setText("go on" if snapshot.status.state == "paused" else "pause")
        self.notice.setText(snapshot.status.message)
        for panel in self.panels.values():
            panel.tell(snapshot)

    def closeEvent(self, event: QtGui.QCloseEvent) -> None:
        """Ends the source with the window."""
        self.view.close()
        super().closeEvent(event)
