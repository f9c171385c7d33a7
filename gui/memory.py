"""Where it was: what the window keeps from one day to the next."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bms_gui import tasks
from pyqtgraph.Qt import QtCore, QtWidgets

LAYOUT = 3
"""Of saved docks: a layout of another number is not taken back."""
RECENT_MAX = 8


class Memory:
    """settings: None forgets everything with the window."""

    def __init__(self, settings: QtCore.QSettings | None) -> None:
        self.settings = settings
        self.layouts: dict[str, QtCore.QByteArray] = {}
        for task in tasks.TASKS:
            if settings is not None and (layout := settings.value(f"layout/{LAYOUT}/{task.name}")):
                self.layouts[task.name] = layout

    def value(self, name: str, otherwise: Any = None) -> Any:
        """What was kept under a name."""
        return self.settings.value(name, otherwise) if self.settings is not None else otherwise

    def keep(self, name: str, what: Any) -> None:
        """Keeps it."""
        if self.settings is not None:
            self.settings.setValue(name, what)

    @property
    def recent(self) -> tuple[str, ...]:
        """Words of sources opened lately, newest first."""
        found = self.value("recent", []) or []
        return tuple(str(word) for word in ([found] if isinstance(found, str) else found))

    def opened(self, word: str) -> None:
        """Another one was opened."""
        if word.startswith(("demo", "rig")):
            return
        kind, _, rest = word.partition(":")
        word = f"open:{Path(rest).absolute()}" if kind == "open" else word
        self.keep("recent", [word, *(w for w in self.recent if w != word)][:RECENT_MAX])

    def leave(self, window: QtWidgets.QMainWindow, task: tasks.Task) -> None:
        """How a task's docks stand now."""
        self.layouts[task.name] = window.saveState(LAYOUT)

    def back(self, window: QtWidgets.QMainWindow, task: tasks.Task) -> bool:
        """The docks as they were left; False if nothing was."""
        layout = self.layouts.get(task.name)
        return layout is not None and bool(window.restoreState(layout, LAYOUT))

    def keep_layouts(self) -> None:
        """For the next time."""
        for name, layout in self.layouts.items():
            self.keep(f"layout/{LAYOUT}/{name}", layout)


def of_panels(panels: dict[str, Any]) -> dict[str, Any]:
    """What panels want to keep."""
    return {title: panel.kept() for title, panel in panels.items() if hasattr(panel, "kept")}


def to_panels(panels: dict[str, Any], left: Any) -> None:
    """And take back. Anything else than what was kept is left alone."""
    if not isinstance(left, dict):
        return
    for title, panel in panels.items():
        if hasattr(panel, "take") and isinstance(left.get(title), dict):
            panel.take(left[title])


def parsed(text: object) -> Any:
    """JSON that was kept; None if it is damaged."""
    try:
        return json.loads(str(text))
    except ValueError:
        return None
