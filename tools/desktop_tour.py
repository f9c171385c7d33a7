"""Drives the real window through its tour and takes the pictures of docs/desktop.md.

    python tools/desktop_tour.py [--out docs/pictures] [--theme dark|light] [--size 1280x720]

Without a screen it starts Xvfb for itself. Every step is a click or a key as a person gives them:
demo, an overvoltage injected, the contactors open, why they did, the recording of it played. It
fails, and says at which step, when the window does not do what the tour says.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

FAULT, CELL = "CEL-02", 37
WAIT_S = 120.0


class Tour:
    """One window and a folder for pictures. names: which to keep; none keeps all."""

    def __init__(self, out: Path, theme: str, size: tuple[int, int], names: list[str]) -> None:
        import pyqtgraph as pg
        from bms_gui import theme as themes
        from bms_gui.view import View
        from bms_gui.window import Window

        self.out, self.theme, self.size, self.names = out, theme, size, names
        self.app = pg.mkQApp("tour")
        self.app.setQuitOnLastWindowClosed(False)
        themes.apply(self.app, themes.THEMES[theme])
        self.window = Window(View(None), themes.THEMES[theme])
        self.window.move(0, 0)
        self.window.resize(*size)
        self.window.show()
        self.until(self.window.isVisible, "the window is not shown")
        self.window.windowHandle().requestActivate()  # there may be no window manager to do it
        self.until(self.window.isActiveWindow, "the window does not get the keyboard", 10.0)
        if (self.window.width(), self.window.height()) != size:
            raise SystemExit(f"the window cannot be {size}: it is {self.window.size()}")

    # ---- hands and eyes ----

    def until(self, holds: Callable[[], Any], what: str, limit_s: float = WAIT_S) -> None:
        """Waits, with the window alive."""
        end = time.monotonic() + limit_s
        while not holds():
            if time.monotonic() > end:
                self.window.grab().save(str(self.out / "tour-failed.png"))
                raise SystemExit(f"tour: {what} (see {self.out / 'tour-failed.png'})")
            self.pause(0.02)

    def pause(self, seconds: float) -> None:
        """Looks for a while."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.app.processEvents()
            time.sleep(0.005)

    def click(self, widget: Any, point: Any = None) -> None:
        """The left button, in the middle or at a point."""
        from pyqtgraph.Qt import QtCore, QtTest

        left = QtCore.Qt.MouseButton.LeftButton
        where = point if point is not None else widget.rect().center()
        QtTest.QTest.mouseClick(widget, left, pos=where)
        self.pause(0.1)

    def key(self, text: str) -> None:
        """A key or a combination of keys, such as Alt+4."""
        from pyqtgraph.Qt import QtGui, QtTest, QtWidgets

        keys = QtGui.QKeySequence(text)[0]
        where = QtWidgets.QApplication.focusWidget() or self.window
        QtTest.QTest.keyClick(where, keys.key(), keys.keyboardModifiers())
        self.pause(0.1)

    def picture(self, name: str) -> None:
        """The window as it is on the screen, in few colours."""
        self.pause(0.7)
        if (self.window.width(), self.window.height()) != self.size:
            wide = {t: p.minimumSizeHint().width() for t, p in self.window.panels.items()}
            raise SystemExit(f"tour: at {name} the window grew to {self.window.size()}: {wide}")
        if self.names and name not in self.names:
            return
        path = self.out / f"desktop-{name}-{self.theme}-{self.size[0]}.png"
        self.window.grab().save(str(path))
        smaller(path)
        print(path)

    def task(self, name: str) -> None:
        """The button of a task."""
        self.click(self.window.task_buttons[name])
        self.pause(0.4)

    @property
    def snapshot(self) -> Any:
        return self.window.view.snapshot

    # ---- the tour ----

    def run(self) -> None:
        """All of it."""
        self.picture("start")
        self.click(self.window.start.demo)
        self.until(
            lambda: self.snapshot.word("cmd_state") == "normal_drive", "the pack does not drive"
        )
        begun_s = self.snapshot.time_s
        self.until(lambda: self.snapshot.time_s > begun_s + 12.0, "the simulation stands still")
        self.click(self.window.panels["Cells"].grid, self.tile(CELL))
        self.picture("overview")
        with tempfile.TemporaryDirectory(prefix="bms-tour-") as folder:
            path = f"{folder}/overvoltage.arrow"
            self.window.view.ask("record", path)
            self.until(lambda: self.snapshot.status.recording, "it does not record")
            self.inject()
            self.why()
            self.others()
            self.replay(path)
        self.window.close()

    def tile(self, cell: int) -> Any:
        """Where a cell is in the grid."""
        return self.window.panels["Cells"].grid.tile(cell - 1).center().toPoint()

    def inject(self) -> None:
        """An overvoltage of one block, with the mouse and the keyboard."""
        from pyqtgraph.Qt import QtTest

        self.task("Faults")
        panel = self.window.panels["Faults"]
        self.click(panel.search)
        QtTest.QTest.keyClicks(panel.search, FAULT)
        self.pause(0.3)
        item = found(panel.tree, FAULT)
        panel.tree.scrollToItem(item)
        self.pause(0.1)
        self.click(panel.tree.viewport(), panel.tree.visualItemRect(item).center())
        panel.index.setValue(CELL)
        self.click(panel.inject)
        panel.list.setFocus()
        self.until(lambda: self.snapshot.injected, "the fault was not taken")

    def why(self) -> None:
        """The contactors open; the window says why."""
        opened = lambda: self.snapshot.number("meas_contactors") == 0.0  # noqa: E731
        self.until(opened, "the contactors stayed closed")
        self.until(lambda: self.window.panels["Why did it open?"].chain is not None, "no chain")
        self.pause(3.0)
        self.key("Space")
        self.until(lambda: self.snapshot.status.state == "paused", "space does not pause", 10.0)
        self.window.panels["Plots"].jump(self.snapshot.injected[0].on_s)
        for _ in range(4):
            self.window.panels["Plots"].zoom(0.5)
        self.picture("why")

    def others(self) -> None:
        """The other tasks."""
        self.task("Bus")
        self.picture("bus")
        self.task("Plots")
        self.window.panels["Plots"].fit()
        self.click(self.window.panels["Plots"].cursor_button)
        self.picture("plots")
        self.click(self.window.panels["Plots"].cursor_button)
        self.task("Chips")
        self.picture("chips")
        self.key("F1")
        self.until(lambda: self.window.sheet is not None, "F1 shows nothing", 5.0)
        self.picture("keys")
        self.key("Escape")

    def replay(self, path: str) -> None:
        """What was recorded, opened and played."""
        self.window.view.ask("record", "")
        self.until(lambda: not self.snapshot.status.recording, "it goes on recording")
        self.task("Overview")
        self.window.start.go(f"open:{path}")
        self.until(lambda: self.snapshot.source == "recording", "the recording does not open")
        self.until(lambda: len(self.snapshot.events) > 3, "the recording has no events")
        self.key("PgDown")
        strip = self.window.time_bar.strip
        from pyqtgraph.Qt import QtCore

        middle = QtCore.QPoint(round(strip.width() * 0.8), strip.height() - 10)
        self.click(strip, middle)
        self.until(lambda: self.snapshot.latest, "the moment is not read")
        self.key("Space")
        self.pause(0.5)
        self.picture("replay")


def found(tree: Any, text: str) -> Any:
    """The item of a fault."""
    for g in range(tree.topLevelItemCount()):
        group = tree.topLevelItem(g)
        for k in range(group.childCount()):
            if text in group.child(k).text(0):
                group.setExpanded(True)
                return group.child(k)
    raise SystemExit(f"tour: there is no fault {text}")


def smaller(path: Path) -> None:
    """A palette is enough for a window."""
    from PIL import Image

    Image.open(path).convert("RGB").quantize(
        256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE
    ).save(path, optimize=True)


def on_a_screen() -> subprocess.Popen[bytes] | None:
    """Xvfb, if there is no screen; None if there is one."""
    if os.environ.get("DISPLAY") or os.environ.get("QT_QPA_PLATFORM") == "offscreen":
        return None
    server = shutil.which("Xvfb")
    if server is None:
        raise SystemExit("there is no screen and no Xvfb: `make test-tools` installs it")
    reads, writes = os.pipe()
    process = subprocess.Popen(
        [server, "-displayfd", str(writes), "-screen", "0", "1920x1080x24", "-nolisten", "tcp"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, pass_fds=(writes,),
    )  # fmt: skip
    os.close(writes)
    with os.fdopen(reads) as told:  # it chooses a number that is free, and tells it when it is up
        number = told.readline().strip()
    if not number:
        raise SystemExit("Xvfb does not start")
    os.environ["DISPLAY"], os.environ["QT_QPA_PLATFORM"] = f":{number}", "xcb"
    return process


def main() -> int:
    """One tour."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"))
    parser.add_argument("--theme", choices=("dark", "light"), default="dark")
    parser.add_argument("--size", default="1280x720")
    parser.add_argument("--only", action="append", default=[], help="keep only this picture")
    args = parser.parse_args()
    width, height = (int(part) for part in args.size.split("x"))
    args.out.mkdir(parents=True, exist_ok=True)
    server = on_a_screen()
    try:
        Tour(args.out, args.theme, (width, height), args.only).run()
    finally:
        if server is not None:
            server.terminate()
            server.wait(5.0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
