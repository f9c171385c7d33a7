"""The main window: panels as docks arranged by task, the strip above, the time bar below."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bms_gui import clip, memory, panels, tasks, theme
from bms_gui.memory import Memory
from bms_gui.notice import Notice
from bms_gui.sheet import Sheet
from bms_gui.snapshot import Snapshot
from bms_gui.start import Start
from bms_gui.theme import DARK, Theme
from bms_gui.timebar import STEP_S, TimeBar, next_event_s
from bms_gui.view import View
from bms_gui.words import inert
from pyqtgraph.Qt import QtCore, QtGui, QtWidgets

TIDY_MS = 400
SMALLEST = (300, 110)
"""A panel may be made so small, whatever it would like: the window keeps its size."""


class Window(QtWidgets.QMainWindow):
    """Panels are found by discovery. kept: where layouts and choices are remembered; None forgets
    them with the window."""

    def __init__(
        self, view: View, chosen: Theme = DARK, kept: QtCore.QSettings | None = None
    ) -> None:
        super().__init__()
        self.view, self.theme, self.memory = view, chosen, Memory(kept)
        self.setWindowTitle("solid-bms")
        self.resize(1280, 720)
        options = QtWidgets.QMainWindow.DockOption
        self.setDockOptions(
            options.AllowNestedDocks | options.AllowTabbedDocks | options.GroupedDragging
        )
        left = QtCore.Qt.DockWidgetArea.LeftDockWidgetArea
        self.setCorner(QtCore.Qt.Corner.BottomLeftCorner, left)
        self.setTabPosition(
            QtCore.Qt.DockWidgetArea.AllDockWidgetAreas, QtWidgets.QTabWidget.TabPosition.North
        )
        self.task = tasks.TASKS[0]
        self.sheet: Sheet | None = None
        self.panels: dict[str, Any] = {}
        self.docks: dict[str, QtWidgets.QDockWidget] = {}
        self.actions_by_name: dict[str, QtGui.QAction] = {}
        self._is_empty: bool | None = None
        self._drawing = QtCore.QTimer(self)
        self._drawing.setSingleShot(True)
        self._drawing.timeout.connect(lambda: self.show_snapshot(self.view.snapshot))
        self._tidying = QtCore.QTimer(self)
        self._tidying.timeout.connect(self._tidy)
        self._tidying.start(TIDY_MS)
        self._actions()
        self._build()
        self._remembered()
        view.changed.connect(self.show_snapshot)
        view.refused.connect(self._refused)
        self.show_snapshot(view.snapshot)

    # ---- actions: every key is one of these or a panel's own ----

    def _actions(self) -> None:
        ask = self.view.ask
        self._action("pause", "Pause", "Space", lambda: ask("pause"), "pause, or go on")
        self._action("step", "Step", ".", lambda: ask("step", STEP_S), "one step of 0.1 s")
        self._action("back", "Back", ",", self._step_back, "one step of 0.1 s back")
        self._action("faster", "Faster", "+", lambda: self.time_bar.change_speed(1), "faster")
        self._action("slower", "Slower", "-", lambda: self.time_bar.change_speed(-1), "slower")
        self._action("next", "Next event", "PgDown", lambda: self._to_event(1), "the next event")
        self._action("before", "Event before", "PgUp", lambda: self._to_event(-1), "the one before")
        self._action("begin", "Begin", "Home", lambda: self._to_edge(0), "the beginning")
        self._action("newest", "Newest", "End", lambda: self._to_edge(1), "the newest moment")
        self._action("loop", "Loop", "L", self._loop, "play in a loop", checkable=True)
        self._action("restart", "Restart", "Ctrl+R", lambda: ask("restart"), "begin again")
        self._action("record", "Record", "R", self._record, "record, or end it", checkable=True)
        self._action("undo", "Undo fault", "Ctrl+Z", self._undo, "take the last fault back")
        self._action("copy", "Copy", "Ctrl+C", self.copy, "copy the table as TSV")
        self._action("open", "Open…", "Ctrl+O", lambda: self.start.choose_file(), "open a file")
        self._action("close", "Start page", "Ctrl+W", lambda: self.view.use(None), "start page")
        self._action("theme", "Colours", "Ctrl+T", self._other_theme, "dark or light")
        self._action("reset", "Reset layout", "Ctrl+0", self.reset_layout, "layout as it was made")
        self._action("full", "Full screen", "F11", self._full, "the whole screen, or not")
        self._action("keys", "Keys", "F1", self.show_keys, "this sheet")

    def _action(
        self, name: str, text: str, key: str, does: Callable[[], object], what: str,
        checkable: bool = False,
    ) -> None:  # fmt: skip
        action = QtGui.QAction(text, self)
        action.setShortcut(QtGui.QKeySequence(key))
        action.setToolTip(f"{what}  ({key})")
        action.setProperty("what", what)
        action.setCheckable(checkable)
        action.triggered.connect(lambda _=False: does())
        self.addAction(action)
        self.actions_by_name[name] = action

    def _go_to_panels(self) -> None:
        for k, title in enumerate(self.docks):
            if k < 9:
                name = f"panel {k + 1}"
                if name in self.actions_by_name:
                    self.removeAction(self.actions_by_name[name])
                self._action(name, title, f"Ctrl+{k + 1}", self._raiser(title), f"panel {title}")
        for k, task in enumerate(tasks.TASKS):
            self._action(
                f"task {task.name}", task.name, f"Alt+{k + 1}",
                lambda task=task: self.use_task(task), f"task {task.name}",
            )  # fmt: skip

    def _raiser(self, title: str) -> Callable[[], None]:
        def bring() -> None:
            self.docks[title].show()
            self.docks[title].raise_()
            self.panels[title].setFocus()

        return bring

    # ---- building ----

    def _build(self) -> None:
        """Everything that has colours; made anew for others."""
        self.start = Start(self.theme, self.memory.recent)
        self.start.wanted.connect(self.open)
        self.setCentralWidget(self.start)
        self.notice = Notice(self.theme)
        self.notice.restart.clicked.connect(lambda: self.view.ask("restart"))
        for module in panels.modules():
            panel = module.Panel(self.view, self.theme)
            self.panels[module.TITLE] = panel
            if module.AREA == "top":
                self.strip = panel
            else:
                dock = QtWidgets.QDockWidget(module.TITLE, self)
                dock.setObjectName(module.TITLE)
                panel.setMinimumSize(*SMALLEST)
                dock.setWidget(panel)
                dock.visibilityChanged.connect(self._soon)
                self.docks[module.TITLE] = dock
        self._go_to_panels()
        self.time_bar = TimeBar(self.view, self.theme, self.actions_by_name)
        self.bars = [
            self._bar("tasks", self._task_row(), QtCore.Qt.ToolBarArea.TopToolBarArea),
            self._bar("overview", self.strip, QtCore.Qt.ToolBarArea.TopToolBarArea),
            self._bar("notice", self.notice, QtCore.Qt.ToolBarArea.BottomToolBarArea),
            self._bar("time", self.time_bar, QtCore.Qt.ToolBarArea.BottomToolBarArea),
        ]

    def _bar(
        self, name: str, widget: QtWidgets.QWidget, area: QtCore.Qt.ToolBarArea
    ) -> QtWidgets.QToolBar:
        bar = QtWidgets.QToolBar(name)
        bar.setObjectName(name)
        bar.setMovable(False)
        bar.setFloatable(False)
        bar.setContextMenuPolicy(QtCore.Qt.ContextMenuPolicy.PreventContextMenu)
        bar.layout().setContentsMargins(0, 0, 0, 0)
        bar.addWidget(widget)
        self.addToolBarBreak(area)
        self.addToolBar(area, bar)
        return bar

    def _task_row(self) -> QtWidgets.QWidget:
        row = QtWidgets.QWidget()
        box = QtWidgets.QHBoxLayout(row)
        box.setContentsMargins(8, 3, 8, 0)
        box.setSpacing(2)
        self.task_buttons: dict[str, QtWidgets.QToolButton] = {}
        for task in tasks.TASKS:
            button = QtWidgets.QToolButton()
            button.setDefaultAction(self.actions_by_name[f"task {task.name}"])
            button.defaultAction().setCheckable(True)
            button.setAutoRaise(True)
            button.setProperty("task", True)
            button.setFocusPolicy(QtCore.Qt.FocusPolicy.NoFocus)
            box.addWidget(button)
            self.task_buttons[task.name] = button
        box.addStretch(1)
        self.title = QtWidgets.QLabel("")
        self.title.setTextFormat(QtCore.Qt.TextFormat.PlainText)
        self.title.setStyleSheet(f"color: {self.theme.faint};")
        box.addWidget(self.title)
        box.addStretch(1)
        self.panel_menu = QtWidgets.QMenu(self)
        self.panel_menu.aboutToShow.connect(self._fill_panel_menu)
        more = QtWidgets.QToolButton()
        more.setText("Panels")
        more.setAutoRaise(True)
        more.setPopupMode(QtWidgets.QToolButton.ToolButtonPopupMode.InstantPopup)
        more.setMenu(self.panel_menu)
        box.addWidget(more)
        for name in ("undo", "theme", "keys", "close"):
            button = QtWidgets.QToolButton()
            button.setDefaultAction(self.actions_by_name[name])
            button.setAutoRaise(True)
            button.setFocusPolicy(QtCore.Qt.FocusPolicy.NoFocus)
            box.addWidget(button)
        self._mark_task()
        return row

    def _fill_panel_menu(self) -> None:
        self.panel_menu.clear()
        for dock in self.docks.values():
            self.panel_menu.addAction(dock.toggleViewAction())
        self.panel_menu.addSeparator()
        self.panel_menu.addAction(self.actions_by_name["reset"])

    # ---- tasks ----

    def use_task(self, task: tasks.Task) -> None:
        """Another arrangement; how this one was left is kept."""
        self.memory.leave(self, self.task)
        self.task, size = task, self.size()
        if not self.memory.back(self, task):
            tasks.arrange(self, self.docks, task)
        if self.size() != size and not self.isMaximized() and not self.isFullScreen():
            QtCore.QTimer.singleShot(0, lambda: self.resize(size))
        self._mark_task()
        self._drawing.start(60)
        self.show_snapshot(self.view.snapshot)

    def reset_layout(self) -> None:
        """The arrangement the task was made with."""
        self.memory.layouts.pop(self.task.name, None)
        tasks.arrange(self, self.docks, self.task)

    def _mark_task(self) -> None:
        for name, button in self.task_buttons.items():
            button.defaultAction().setChecked(name == self.task.name)

    # ---- remembering ----

    def remember_source(self, word: str) -> None:
        """For the start page, next time."""
        self.memory.opened(word)

    def _remembered(self) -> None:
        if geometry := self.memory.value("geometry"):
            self.restoreGeometry(geometry)
        memory.to_panels(self.panels, memory.parsed(self.memory.value("panels", "{}")))
        name = str(self.memory.value("task", ""))
        self.task = next((t for t in tasks.TASKS if t.name == name), self.task)
        self._mark_task()

    def _remember(self) -> None:
        if self._is_empty is False:
            self.memory.leave(self, self.task)
        self.memory.keep("geometry", self.saveGeometry())
        self.memory.keep("task", self.task.name)
        self.memory.keep("theme", self.theme.name)
        self.memory.keep("panels", json.dumps(memory.of_panels(self.panels)))
        self.memory.keep_layouts()

    # ---- what the actions do ----

    def _step_back(self) -> None:
        self.view.look_at(self.view.snapshot.time_s - STEP_S)

    def _to_event(self, way: int) -> None:
        snapshot = self.view.snapshot
        time_s = next_event_s(snapshot.events, snapshot.time_s, way)
        if time_s == time_s:
            self.view.look_at(time_s)

    def _to_edge(self, which: int) -> None:
        self.view.look_at(self.view.snapshot.span_s[which])

    def _loop(self) -> None:
        self.view.ask("loop", self.actions_by_name["loop"].isChecked())

    def _undo(self) -> None:
        standing = [f for f in self.view.snapshot.injected if f.state != "over"]
        if not standing:
            self.notice.say("There is no fault to take back.")
            return
        last = max(standing, key=lambda fault: fault.handle)
        if not self.view.ask("withdraw", last.handle):
            self.notice.say(f"{last.id} was taken back.")

    def _record(self) -> None:
        if self.view.snapshot.status.recording:
            path = self.view.snapshot.status.recording
            self.view.ask("record", "")
            self.notice.say(f"Recorded: {path}")
            return
        folder = Path(QtCore.QStandardPaths.writableLocation(
            QtCore.QStandardPaths.StandardLocation.DocumentsLocation) or ".")  # fmt: skip
        folder = folder if folder.is_dir() else Path()
        path = str(folder.absolute() / time.strftime("bms-%Y%m%d-%H%M%S.arrow"))
        if not self.view.ask("record", path):
            self.notice.say(f"Recording into {path}")

    def _other_theme(self) -> None:
        self.use_theme(theme.LIGHT if self.theme.name == "dark" else theme.DARK)

    def use_theme(self, other: Theme) -> None:
        """Everything in other colours, arranged as it is."""
        if self._is_empty is False:
            self.memory.leave(self, self.task)
        app = QtWidgets.QApplication.instance()
        assert isinstance(app, QtWidgets.QApplication)
        theme.apply(app, other)
        self.theme = other
        left = memory.of_panels(self.panels)
        for bar in self.bars:
            self.removeToolBar(bar)
            bar.deleteLater()
        for dock in self.docks.values():
            self.removeDockWidget(dock)
            dock.deleteLater()
        self.panels, self.docks, self._is_empty = {}, {}, None
        for name in [n for n in self.actions_by_name if n.startswith(("task", "panel"))]:
            self.removeAction(self.actions_by_name.pop(name))
        self._build()
        memory.to_panels(self.panels, left)
        self.memory.back(self, self.task)
        self.show_snapshot(self.view.snapshot)

    def _full(self) -> None:
        if self.isFullScreen():
            self.showNormal()
        else:
            self.showFullScreen()

    def copy(self) -> str:
        """What the focus is on, into the clipboard."""
        text = clip.copied_from(QtWidgets.QApplication.focusWidget())
        if text:
            QtWidgets.QApplication.clipboard().setText(text)
            self.notice.say(f"{len(text.splitlines())} lines copied.")
        else:
            self.notice.say("Click into a table or the cell grid first; then it can be copied.")
        return text

    def show_keys(self) -> None:
        """One sheet with all keys, until a key or a click."""
        self.sheet = Sheet(self, self.theme)
        self.sheet.show()
        self.sheet.setFocus()

    def open(self, feed: object, word: str = "") -> None:
        """Shows another source."""
        self.view.use(feed)  # type: ignore[arg-type]
        if word:
            self.remember_source(word)

    def _refused(self, text: str) -> None:
        self.notice.say(text)

    # ---- showing ----

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Draws one moment everywhere that can be seen."""
        is_empty = self.view.feed is None
        if is_empty != self._is_empty:
            self._turn(is_empty)
        if is_empty:
            return
        self._words(snapshot)
        self.time_bar.tell(snapshot)
        for title, panel in self.panels.items():
            if title not in self.docks or not panel.visibleRegion().isEmpty():
                panel.tell(snapshot)

    def _soon(self, is_visible: bool) -> None:
        """A panel that comes into sight is drawn, also while time stands still."""
        if is_visible and self._is_empty is False:
            self._drawing.start(30)

    def _tidy(self) -> None:
        """Somebody may have made tabs of docks, or docks of tabs."""
        tasks.heads(self, self.docks)
        tasks.sweep(self, self.docks)

    def _turn(self, is_empty: bool) -> None:
        """From the start page to the panels, or back."""
        if is_empty and self._is_empty is False:
            self.memory.leave(self, self.task)
        self._is_empty = is_empty
        self.start.setVisible(is_empty)
        for bar in self.bars:
            bar.setVisible(not is_empty and bar.objectName() != "notice")
        if is_empty:
            self.setWindowTitle("solid-bms")
            for dock in self.docks.values():
                dock.hide()
        elif not self.memory.back(self, self.task):
            tasks.arrange(self, self.docks, self.task)
        if not is_empty:
            self.start.hide()
            self._drawing.start(60)

    def _words(self, snapshot: Snapshot) -> None:
        title = inert(snapshot.title)
        if self.title.text() != title:
            self.title.setText(title)
            self.setWindowTitle(f"{title} — solid-bms")
        self.notice.tell(snapshot.status, "restart" in snapshot.offers)
        self.bars[2].setVisible(bool(self.notice.text()))
        names = self.actions_by_name
        goes = snapshot.status.state == "running"
        if names["pause"].text() != ("Pause" if goes else "Play"):
            names["pause"].setText("Pause" if goes else "Play")
        names["record"].setChecked(bool(snapshot.status.recording))
        names["record"].setEnabled("record" in snapshot.offers)
        names["restart"].setEnabled("restart" in snapshot.offers)
        names["loop"].setEnabled("loop" in snapshot.offers)
        names["newest"].setEnabled(snapshot.is_past)
        names["undo"].setEnabled(any(f.state != "over" for f in snapshot.injected))

    def resizeEvent(self, event: QtGui.QResizeEvent) -> None:
        """The start page and the docks take what there is."""
        super().resizeEvent(event)
        if self._is_empty is False and self.task.name not in self.memory.layouts:
            tasks.size(self, self.docks, self.task)

    def closeEvent(self, event: QtGui.QCloseEvent) -> None:
        """Remembers where it was, and ends the source."""
        self._remember()
        self.view.close()
        super().closeEvent(event)
