"""The window on real simulated data, offscreen."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest
from bms_gui import theme
from bms_gui.feeds.simulated import SimulatedFeed
from bms_gui.panels import cells
from bms_gui.view import View
from bms_gui.window import Window
from pyqtgraph.Qt import QtCore, QtTest, QtWidgets

pytestmark = pytest.mark.wires


@pytest.fixture(scope="module")
def app() -> QtWidgets.QApplication:
    import pyqtgraph as pg

    made = pg.mkQApp("tests")
    theme.apply(made, theme.DARK)
    return made


@pytest.fixture
def window(app: QtWidgets.QApplication) -> Iterator[Window]:
    feed = SimulatedFeed({"scenario": "drive", "pack": "bench_16s1p", "seed": 1}, speed=20.0)
    made = Window(View(feed), theme.DARK)
    made.show()
    yield made
    made.close()


def until(app: QtWidgets.QApplication, holds: object, what: str, limit_s: float = 60.0) -> None:
    end = time.monotonic() + limit_s
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < end, what
        app.processEvents()
        time.sleep(0.005)


def test_without_a_source_there_is_the_start_page(app: QtWidgets.QApplication) -> None:
    made = Window(View(None), theme.LIGHT)
    made.show()
    assert made.start.isVisible() and not any(bar.isVisible() for bar in made.bars)
    made.close()


@pytest.mark.slow("starts a worker process and lets it drive")
def test_a_simulated_pack_is_shown_paused_and_changed(
    app: QtWidgets.QApplication, window: Window
) -> None:
    view = window.view
    until(app, lambda: view.snapshot.time_s > 20.0, "the simulation never got to 20 s")
    snapshot = view.snapshot
    assert snapshot.word("cmd_state") == "normal_drive"
    assert np.isfinite(snapshot.vector("meas_cell_voltage_v")).all()
    assert window.panels["Events"].model.rowCount() == len(snapshot.events) > 5
    assert window.panels["Plots"].plots[0].names
    QtTest.QTest.keyClick(window, QtCore.Qt.Key.Key_Space)
    until(app, lambda: view.snapshot.status.state == "paused", "the space bar did not pause")
    for _ in range(20):
        app.processEvents()
        time.sleep(0.01)
    stopped_s = view.snapshot.time_s
    QtTest.QTest.keyClick(window, QtCore.Qt.Key.Key_Period)
    until(app, lambda: view.snapshot.time_s > stopped_s, "a step did nothing")
    assert view.snapshot.time_s == pytest.approx(stopped_s + 0.1, abs=0.02)
    view.ask("request", "standby")
    view.ask("step", 2.0)
    until(app, lambda: view.snapshot.word("cmd_request") == "standby", "it was not asked")
    view.ask("seek", 5.0)
    assert view.snapshot.is_past and view.snapshot.time_s == 5.0
    assert view.snapshot.word("cmd_request") == "drive", "looking back does not show the past"
    view.ask("seek", 1e9)
    assert not view.snapshot.is_past


@pytest.mark.slow("starts a worker process twice")
def test_a_worker_that_dies_is_shown_and_another_can_be_started(
    app: QtWidgets.QApplication, window: Window
) -> None:
    view = window.view
    until(app, lambda: view.snapshot.time_s > 0.0, "the simulation never began")
    window.view.feed._process.kill()
    until(app, lambda: view.snapshot.status.state == "lost", "the loss was not told")
    assert "unexpectedly" in window.notice.text()
    view.ask("restart")
    until(app, lambda: view.snapshot.status.state == "running" and view.snapshot.time_s > 0.0, "")


def test_a_click_chooses_the_cell_under_the_mouse(app: QtWidgets.QApplication) -> None:
    grid = cells.Grid(theme.DARK)
    grid.resize(400, 300)
    grid.values, grid.per_module = np.linspace(3.6, 3.7, 96), 12
    grid.show()
    chosen: list[int] = []
    grid.chosen.connect(chosen.append)
    for k in (0, 37, 95):
        point = grid.tile(k).center().toPoint()
        QtTest.QTest.mouseClick(grid, QtCore.Qt.MouseButton.LeftButton, pos=point)
    assert chosen == [0, 37, 95]
    grid.close()


@pytest.mark.parametrize("count", [0, 1, 16, 96, 400])
def test_grids_of_any_size_and_unknown_values_are_painted(
    app: QtWidgets.QApplication, count: int
) -> None:
    grid = cells.Grid(theme.LIGHT)
    grid.resize(300, 200)
    grid.values = np.full(count, np.nan)
    grid.values[::2] = 3.6
    assert not grid.grab().isNull()
