"""How fast the desktop is, beside plain pyqtgraph: `python -m bms_gui.measure`.

One JSON object on stdout. Everything is drawn for real into a window, offscreen unless the
environment says otherwise. The load of the layout is a simulated pack of 96 cells whose frames are
repeated until 10 000 come each second.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

CURVES, POINTS = 96, 10_000
SIZE = (1280, 720)
ROUNDS = 15
FRAMES_PER_S = 10_000
LAYOUT_S = 8.0
PIECE_S = 0.02
LOOP_S = 10.0
RECORDED_S = 200_000.0
HOUR_S = 3600.0


def median_ms(work: Callable[[int], object], rounds: int = ROUNDS) -> float:
    """Of a call that is told its number; the first two are not counted."""
    took = []
    for k in range(rounds + 2):
        began = time.perf_counter()
        work(k)
        took.append(time.perf_counter() - began)
    return 1e3 * statistics.median(took[2:])


def waves() -> tuple[np.ndarray, np.ndarray]:
    """(time_s (n,), values (curves, n) float32): noisy and slow, as voltages of cells are."""
    time_s = np.arange(2 * POINTS) * 0.01
    rng = np.random.default_rng(1)
    slow = np.sin(time_s * 0.2) + 0.1 * np.arange(CURVES)[:, None]
    return time_s, (slow + 0.05 * rng.standard_normal((CURVES, time_s.size))).astype(np.float32)


def drawing() -> dict[str, float]:
    """96 curves of 10 000 points: redrawn whole, and scrolled by one new sample."""
    import pyqtgraph as pg
    from bms_gui.curves import Curve, Curves

    time_s, values = waves()
    found = {}
    for side in ("ours", "plain"):
        plot = pg.PlotWidget()
        plot.resize(*SIZE)
        plot.show()
        plot.setXRange(0.0, 100.0, padding=0.0)
        pg.QtWidgets.QApplication.processEvents()
        plot.setYRange(-2.0, 12.0, padding=0.0)
        lines = Curves()
        items = []
        if side == "ours":
            plot.addItem(lines)
        else:
            items = [plot.plot(pen=pg.intColor(k, CURVES)) for k in range(CURVES)]
        curves = [Curve(_window(time_s, values[k]), 0xFF56B4E9) for k in range(CURVES)]
        viewport = plot.viewport()

        def whole(
            k: int, lines: Any = lines, items: Any = items, curves: Any = curves,
            viewport: Any = viewport,
        ) -> None:  # fmt: skip
            if items:
                for n, item in enumerate(items):
                    item.setData(time_s[k : POINTS + k], values[n][k : POINTS + k])
            else:
                lines.draw(curves)
            viewport.repaint()

        def scrolled(
            k: int, lines: Any = lines, items: Any = items, curves: Any = curves,
            viewport: Any = viewport, plot: Any = plot,
        ) -> None:  # fmt: skip
            if items:
                for n, item in enumerate(items):
                    item.setData(time_s[k : POINTS + k], values[n][k : POINTS + k])
            else:
                lines.draw(curves, "the same")
            plot.setXRange(time_s[k], time_s[k] + 100.0, padding=0.0)
            viewport.repaint()

        found[f"redraw_{side}_ms"] = median_ms(whole)
        found[f"scroll_{side}_ms"] = median_ms(scrolled)
        plot.close()
    return found


def _window(time_s: np.ndarray, values: np.ndarray) -> Any:
    def window(t0: float, t1: float, _: int) -> tuple[np.ndarray, np.ndarray]:
        a = max(0, int(np.searchsorted(time_s, t0)) - 1)
        b = int(np.searchsorted(time_s, t1)) + 1
        return time_s[a:b], values[a:b]

    return window


class Load:
    """A feed: ten seconds of a real pack again and again, with as many frames as are asked for."""

    def __init__(self, frames_per_s: float = FRAMES_PER_S) -> None:
        from bms_gui import worker
        from bms_gui.feeds.simulated import HOUR_TICKS, OFFERS
        from bms_gui.samples import Samples
        from bms_gui.snapshot import Shape, Signal
        from bms_gui.words import choices_of

        from bms import Simulation
        from bms.tap import Tap

        tap = Tap(Simulation("drive", pack="car_96s1p", seed=1), cells_every_s=0.5)
        hello = worker._hello(tap)
        tap.run(10.0)
        self.pieces = [tap.run(PIECE_S) for _ in range(round(LOOP_S / PIECE_S))]
        self.began_s = float(self.pieces[0].time_s[0])
        self.many = max(
            1, round(frames_per_s * LOOP_S / sum(len(p.frames.id) for p in self.pieces))
        )
        self.offers, self.at, self.sent_frames = OFFERS, 0, 0
        self.signals = {
            name: Signal(name, unit, kind, text, count, choices_of(name))
            for name, unit, kind, text, count, _ in hello.signals
        }
        self.shape = Shape(
            hello.pack, hello.blocks, hello.parallel, hello.blocks_per_module, hello.limits
        )
        cells = {s[0]: s[4] for s in hello.signals if s[5] == "cells"}
        scalars = {s[0]: 1 for s in hello.signals if s[5] != "cells"}
        self.samples = Samples(scalars, cells, HOUR_TICKS)
        self.by_hand = False
        self._clock = time.perf_counter()

    def give(self, count: int) -> None:
        """So many pieces more."""
        for _ in range(count):
            turn, k = divmod(self.at, len(self.pieces))
            piece, shift = self.pieces[k], turn * LOOP_S - self.began_s
            frames = piece.frames
            wide = {
                name: np.repeat(getattr(frames, name), self.many, axis=0)
                for name in frames.__dataclass_fields__
            }
            wide["time_s"] = wide["time_s"] + shift
            self.sent_frames += len(wide["id"])
            self.samples.add(
                replace(
                    piece, time_s=piece.time_s + shift, cell_time_s=piece.cell_time_s + shift,
                    frames=type(frames)(**wide),
                )
            )  # fmt: skip
            self.at += 1

    def pump(self) -> bool:
        """What is due by the clock."""
        if self.by_hand:
            return False
        due = int((time.perf_counter() - self._clock) / PIECE_S) - self.at
        if due > 50:  # too slow: no debt is carried
            self._clock += (due - 50) * PIECE_S
            due = 50
        self.give(max(0, due))
        return due > 0

    def snapshot(self) -> Any:
        """As it is now."""
        from bms_gui.snapshot import Snapshot, Status

        s = self.samples
        return Snapshot(
            "load", "simulation", s.last_s, s.span_s, self.shape, self.signals, s.latest,
            s.heard_s, (), s.frames(), status=Status("running", "", 1.0), offers=self.offers,
            data=s,
        )  # fmt: skip

    def ask(self, *_: Any) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


def _window_on(feed: Any) -> Any:
    from bms_gui.view import View
    from bms_gui.window import Window

    window = Window(View(feed))
    window.resize(*SIZE)
    window.show()
    return window


def layout(app: Any) -> dict[str, float]:
    """Frames a second of the whole default layout, and how long an event waits meanwhile."""
    from bms_gui import tasks
    from pyqtgraph.Qt import QtCore

    feed = Load()
    window = _window_on(feed)
    window.use_task(tasks.TASKS[0])
    window.docks["CAN trace"].raise_()
    waits: list[float] = []

    class Waiting(QtCore.QObject):
        def event(self, event: Any) -> bool:
            if event.type() == QtCore.QEvent.Type.User:
                waits.append(time.perf_counter() - stamps.pop(0))
                return True
            return bool(super().event(event))

    target, stamps, ended = Waiting(), [], threading.Event()

    def post() -> None:
        rng = np.random.default_rng(2)
        while not ended.wait(float(rng.uniform(0.01, 0.05))):
            stamps.append(time.perf_counter())
            QtCore.QCoreApplication.postEvent(target, QtCore.QEvent(QtCore.QEvent.Type.User))

    shown = [0]
    window.view.changed.connect(lambda _: shown.__setitem__(0, shown[0] + 1))
    _spin(2.0)
    poster = threading.Thread(target=post, daemon=True)
    poster.start()
    began, before, frames = time.perf_counter(), shown[0], feed.sent_frames
    _spin(LAYOUT_S)
    took = time.perf_counter() - began
    ended.set()
    poster.join()
    work_ms = median_ms(lambda _: (feed.give(1), window.view.show_now(), app.processEvents()), 60)
    found = {
        "fps": (shown[0] - before) / took,
        "could_fps": 1e3 / work_ms,
        "latency_p99_ms": 1e3 * float(np.quantile(waits, 0.99)),
        "frames_per_s": (feed.sent_frames - frames) / took,
    }
    window.close()
    return found


def _spin(seconds: float) -> None:
    """The event loop of a window, for a while."""
    from pyqtgraph.Qt import QtCore

    loop = QtCore.QEventLoop()  # app.quit() would close the windows
    QtCore.QTimer.singleShot(round(1e3 * seconds), loop.quit)
    loop.exec()


def recording(app: Any, folder: Path, seconds: float) -> dict[str, float]:
    """From a file to the first picture of all of it, and from there to any zoom."""
    from bms_gui.feeds.recorded import RecordingFeed

    path = folder / "long.arrow"
    _write(path, seconds)
    began = time.perf_counter()
    window = _window_on(RecordingFeed(path))
    plots = window.panels["Plots"]
    plots.follow_button.setChecked(False)
    plots.fit()
    app.processEvents()
    opened_s = time.perf_counter() - began
    rng = np.random.default_rng(3)
    zooms = []
    for share in np.geomspace(0.5, 1e-5, 12):
        middle = float(rng.uniform(0.3, 0.7)) * seconds
        began = time.perf_counter()
        plots._go_to(middle - 0.5 * share * seconds, middle + 0.5 * share * seconds)
        plots._refresh()
        app.processEvents()
        zooms.append(time.perf_counter() - began)
    window.close()
    return {"open_s": opened_s, "zoom_ms": 1e3 * max(zooms), "recorded_s": seconds}


def _write(path: Path, seconds: float) -> None:
    """A recording with the signals of the default plots, each 10 ms."""
    from bms_gui.panels.plots import FIRST

    from bms import spec
    from bms.recorder import Signal, Writer

    rows = {row.name: row for row in spec.signals()}
    names = [name for group in FIRST for name in group if name in rows]
    live = np.zeros(len(names))
    signals = [
        Signal(n, rows[n].unit, rows[n].kind, "pack", rows[n].text, live[k : k + 1])
        for k, n in enumerate(names)
    ]
    rng = np.random.default_rng(4)
    block = np.round(rng.standard_normal((12_000, len(names))).cumsum(axis=0), 2)
    block[:, names.index("cmd_state")] = 4.0
    writer, now_us, left = Writer(path, signals, {}), 0, round(seconds * 100)
    while left > 0:
        done = 0
        while done < min(len(block), left):
            count, now_us = writer.low_level.ticks_from(block[done:], live, now_us)
            done += count
            writer.drain()
        left -= done
    writer.close({})


def memory(app: Any, is_long: bool) -> dict[str, float]:
    """Resident memory over an hour of live data, drawn now and then; in real time if it is long."""
    feed = Load(FRAMES_PER_S)
    window = _window_on(feed)
    feed.give(10)
    window.view.show_now()
    app.processEvents()
    before, marks = _resident_mb(), []
    if is_long:
        end = time.monotonic() + HOUR_S
        while time.monotonic() < end:
            _spin(60.0)
            marks.append(_resident_mb())
    else:
        feed.by_hand = True
        total = round(HOUR_S / PIECE_S)
        for _ in range(60):
            feed.give(total // 60)
            window.view.show_now()
            app.processEvents()
            marks.append(_resident_mb())
    window.close()
    return {
        "growth_mb": max(marks) - before,
        "last_quarter_mb": marks[-1] - marks[len(marks) * 3 // 4],
    }


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def main() -> None:
    """Measures all of it and prints it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--long", action="store_true")
    args = parser.parse_args()
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    import pyqtgraph as pg
    from bms_gui import theme

    app = pg.mkQApp("measure")
    app.setQuitOnLastWindowClosed(False)
    theme.apply(app, theme.DARK)
    with tempfile.TemporaryDirectory(prefix="bms-bench-") as folder:
        found = drawing() | layout(app)
        found |= recording(app, Path(folder), RECORDED_S)
        found |= memory(app, args.long)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
