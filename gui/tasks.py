"""Dock layouts for what one does: which panels are in sight, and where.

A layout is only where one begins. How it is left is kept for each task and comes back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pyqtgraph.Qt import QtCore, QtWidgets

LEFT = QtCore.Qt.DockWidgetArea.LeftDockWidgetArea
RIGHT = QtCore.Qt.DockWidgetArea.RightDockWidgetArea
BOTTOM = QtCore.Qt.DockWidgetArea.BottomDockWidgetArea


@dataclass(frozen=True)
class Task:
    """Titles of panels by place; several at one place are tabs. left_share, bottom_share: of the
    window's width and height."""

    name: str
    left: tuple[str, ...] = ()
    main: tuple[str, ...] = ()
    bottom: tuple[str, ...] = ()
    left_share: float = 0.3
    bottom_share: float = 0.3

    @property
    def titles(self) -> tuple[str, ...]:
        """All that are in sight or a tab away."""
        return (*self.left, *self.main, *self.bottom)


WHY = "Why did it open?"
TASKS = (
    Task("Overview", ("Cells", "Cell"), ("Plots",), ("Events", WHY, "CAN trace"), 0.34, 0.27),
    Task("Plots", (), ("Plots",), ("Events",), 0.0, 0.14),
    Task("Bus", (), ("CAN trace",), ("Transmit", "Events"), 0.0, 0.32),
    Task("Faults", ("Faults", "Cells"), ("Plots",), (WHY, "Events"), 0.36, 0.42),
    Task("Chips", ("Cells", "Cell"), ("Registers",), ("CAN trace", "Events"), 0.3, 0.25),
    Task("HIL", (), ("HIL",), ("Events", "CAN trace"), 0.0, 0.25),
)


def arrange(
    window: QtWidgets.QMainWindow, docks: Mapping[str, QtWidgets.QDockWidget], task: Task
) -> None:
    """Puts the docks where the task wants them; all others are closed, a key away."""
    for dock in docks.values():
        window.removeDockWidget(dock)
        dock.setFloating(False)
    for area, titles in ((LEFT, task.left), (RIGHT, task.main), (BOTTOM, task.bottom)):
        here = [docks[title] for title in titles if title in docks]
        for k, dock in enumerate(here):
            window.addDockWidget(area, dock)
            if k:
                window.tabifyDockWidget(here[k - 1], dock)
            dock.show()
        if here:
            here[0].raise_()
    for title, dock in docks.items():
        if title not in task.titles:
            window.addDockWidget(BOTTOM, dock)
            dock.hide()
    heads(window, docks)
    size(window, docks, task)


def heads(window: QtWidgets.QMainWindow, docks: Mapping[str, QtWidgets.QDockWidget]) -> None:
    """A tab is head enough: the bar with the title goes where docks are tabs."""
    for dock in docks.values():
        is_tab = bool(window.tabifiedDockWidgets(dock)) and not dock.isFloating()
        if is_tab and dock.titleBarWidget() is None:
            dock.setTitleBarWidget(QtWidgets.QWidget())
        elif not is_tab and dock.titleBarWidget() is not None:
            dock.setTitleBarWidget(None)  # type: ignore[arg-type]


def sweep(window: QtWidgets.QMainWindow, docks: Mapping[str, QtWidgets.QDockWidget]) -> None:
    """Qt leaves a bar of tabs behind where docks were tabs before; it belongs to none now."""
    seen = [d.geometry() for d in docks.values() if not d.visibleRegion().isEmpty()]
    for bar in window.findChildren(
        QtWidgets.QTabBar, options=QtCore.Qt.FindChildOption.FindDirectChildrenOnly
    ):
        here = bar.geometry()
        if here.right() > 0 and not any(g.left() == here.left() for g in seen):
            bar.move(-2 * bar.width(), -2 * bar.height())


def size(
    window: QtWidgets.QMainWindow, docks: Mapping[str, QtWidgets.QDockWidget], task: Task
) -> None:
    """Shares of the window, as far as the panels can be so small."""
    across, down = QtCore.Qt.Orientation.Horizontal, QtCore.Qt.Orientation.Vertical
    left = next((docks[t] for t in task.left if t in docks), None)
    main = next((docks[t] for t in task.main if t in docks), None)
    bottom = next((docks[t] for t in task.bottom if t in docks), None)
    width, height = window.width(), window.height()
    if left and main:
        share = round(task.left_share * width)
        window.resizeDocks([left, main], [share, width - share], across)
    if main and bottom:
        share = round(task.bottom_share * height)
        window.resizeDocks([main, bottom], [height - share, share], down)
