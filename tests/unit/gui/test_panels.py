"""Every panel, found by discovery, on recorded data and on the worst there can be."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pyqtgraph as pg
import pytest
from bms_gui import exporting, panels, tasks, theme
from bms_gui.clip import safe
from bms_gui.feeds.recorded import RecordingFeed
from bms_gui.playhead import Playhead
from bms_gui.samples import Samples
from bms_gui.sheet import keys
from bms_gui.snapshot import COMMANDS, Shape, Signal, Snapshot, Status
from bms_gui.view import View
from bms_gui.window import Window
from bms_gui.words import inert, plain
from pyqtgraph.Qt import QtCore, QtTest, QtWidgets

from bms import Simulation
from bms.recorder import Event

pytestmark = pytest.mark.wires
MODULES = panels.modules()
HOSTILE = '<b>x</b>\x1b[31m\u202e=cmd|"/c calc"!A1'


@pytest.fixture(scope="module")
def app() -> QtWidgets.QApplication:
    made = pg.mkQApp("tests")
    theme.apply(made, theme.DARK)
    return made


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("panels") / "trip.arrow"
    simulation = Simulation("drive", pack="bench_16s1p", seed=2)
    simulation.inject("CEL-02", index=4, after_s=12.0)
    simulation.run(20.0, record=path, cells_every_s=0.1, frames=True)
    return path


@pytest.fixture
def feed(recorded: Path) -> Iterator[RecordingFeed]:
    made = RecordingFeed(recorded)
    end = time.monotonic() + 30.0
    while not (made.data.events and Playhead(10.0).looked_at(made.snapshot()).latest):
        assert time.monotonic() < end, "the recording is not read"
        made.pump()
        time.sleep(0.01)
    yield made
    made.close()


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.__name__.rpartition(".")[2])
def test_every_panel_takes_two_hundred_frames_of_a_recording(
    app: QtWidgets.QApplication, module: ModuleType, feed: RecordingFeed
) -> None:
    panel = module.Panel(View(None), theme.DARK)
    panel.resize(700, 400)
    panel.show()
    for k in range(200):
        panel.tell(Playhead(0.1 * k).looked_at(feed.snapshot()))
    app.processEvents()
    picture = panel.grab().toImage()
    colours = {picture.pixel(x, y) for x in range(0, 700, 7) for y in range(0, 400, 5)}
    assert len(colours) > 2, "nothing is drawn"
    panel.tell(Snapshot())
    assert not panel.grab().isNull()
    panel.close()


def worst(count: int, fill: float, *, stale: bool = False) -> Snapshot:
    """A pack of `count` blocks whose values are all the same, or not numbers."""
    scalars = ("meas_pack_voltage_v", "est_soc_frac", "cmd_state", "meas_contactors")
    vectors = ("meas_cell_voltage_v", "true_cell_voltage_v", "cmd_balancing")
    signals = {n: Signal(n, "V", "measured", "", 1) for n in scalars}
    signals |= {n: Signal(n, "V", "measured", "", count) for n in vectors}
    samples = Samples(dict.fromkeys(scalars, 1), dict.fromkeys(vectors, count), 1000)
    t = np.arange(10) * 0.1
    none = np.zeros(0, np.uint8)
    frames = SimpleNamespace(
        time_s=np.zeros(0), id=none, bus=none, direction=none, flags=none, length=none,
        data=np.zeros((0, 8), np.uint8),
    )  # fmt: skip
    samples.add(
        SimpleNamespace(
            time_s=t, values={n: np.full(10, fill) for n in scalars}, cell_time_s=t,
            cell_values={n: np.full((10, count), fill, np.float32) for n in vectors},
            frames=frames,
        )
    )  # fmt: skip
    return Snapshot(
        HOSTILE, "simulation", 500.0 if stale else 0.9, (0.0, 0.9),
        Shape(HOSTILE, count, 1, max(1, count // 8)), signals, samples.latest, samples.heard_s,
        [Event(10**8, "diagnosis", HOSTILE, 3, fill, HOSTILE)], status=Status("running", HOSTILE),
        offers=frozenset(COMMANDS), data=samples,
    )  # fmt: skip


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.__name__.rpartition(".")[2])
def test_every_panel_stands_the_worst(app: QtWidgets.QApplication, module: ModuleType) -> None:
    panel = module.Panel(View(None), theme.LIGHT)
    panel.resize(500, 300)
    panel.show()
    for count in (0, 1, 400):
        for fill in (float("nan"), float("inf"), 3.7, -1e30):
            panel.tell(worst(count, fill))
            assert not panel.grab().isNull()
    panel.tell(worst(16, 3.7, stale=True))
    assert not panel.grab().isNull()
    panel.close()


def test_resistance_is_the_slope_of_voltages_over_current_steps() -> None:
    from bms_gui.panels.cells import resistance

    t = np.arange(120) * 0.5
    amps = np.where((t // 5).astype(int) % 2, 80.0, 0.0)
    true_ohm = np.array([1.0e-3, 1.5e-3, 2.0e-3])
    volts = 4.0 - 1e-4 * t[:, None] - amps[:, None] * true_ohm
    samples = Samples({"meas_pack_current_a": 1}, {"meas_cell_voltage_v": 3}, 6000)
    none = worst(1, 1.0).frames
    samples.add(
        SimpleNamespace(
            time_s=t, values={"meas_pack_current_a": amps}, cell_time_s=t,
            cell_values={"meas_cell_voltage_v": volts.astype(np.float32)}, frames=none,
        )
    )  # fmt: skip
    snapshot = Snapshot(time_s=60.0, shape=Shape("", 3), data=samples)
    assert np.allclose(resistance(snapshot), true_ohm, rtol=0.02)
    assert np.isnan(resistance(replace(snapshot, time_s=1.0))).all()


def test_a_stale_value_is_told_as_stale(app: QtWidgets.QApplication) -> None:
    strip = next(m for m in MODULES if m.AREA == "top").Panel(View(None), theme.DARK)
    strip.tell(worst(16, 3.7))
    assert not strip.tiles[0].stale
    strip.tell(worst(16, 3.7, stale=True))
    assert strip.tiles[0].stale and strip.contactors.reported is None


# ---- names from outside are inert ----


def test_foreign_names_are_inert_wherever_they_are_shown(
    app: QtWidgets.QApplication, tmp_path: Path
) -> None:
    assert "\x1b" not in inert(HOSTILE) and "\u202e" not in inert(HOSTILE)
    assert "<b>" not in plain(HOSTILE) and len(inert("x" * 1000)) == 80
    assert safe("=1+1") == "'=1+1" and safe("-3.5") == "-3.5" and "\t" not in safe("a\tb")
    window = Window(View(None), theme.DARK)
    window.view.feed = SimpleNamespace(pump=lambda: False, snapshot=lambda: worst(16, 3.7),
                                       ask=lambda *_: None, close=lambda: None)  # fmt: skip
    window.view.show_now()
    assert "\x1b" not in window.windowTitle() and "\x1b" not in window.notice.text()
    window.close()
    path = tmp_path / "out.csv"
    exporting.write_table(path, ["time_s", "=HYPERLINK()"], np.array([[0.0, 1.0]]))
    assert path.read_text("utf-8").splitlines() == ["time_s,'=HYPERLINK()", "0.000000,1"]


# ---- habits ----


@pytest.fixture
def window(app: QtWidgets.QApplication, feed: RecordingFeed, tmp_path: Path) -> Iterator[Window]:
    form = QtCore.QSettings.Format.IniFormat
    made = Window(View(feed), theme.DARK, QtCore.QSettings(str(tmp_path / "kept.ini"), form))
    made.show()
    made.activateWindow()
    assert QtTest.QTest.qWaitForWindowActive(made, 10_000), "keys would go nowhere"
    yield made
    made.close()


def test_the_window_fits_a_small_screen_in_every_task(
    app: QtWidgets.QApplication, window: Window
) -> None:
    window.resize(1280, 720)
    for task in tasks.TASKS:
        QtTest.QTest.mouseClick(window.task_buttons[task.name], QtCore.Qt.MouseButton.LeftButton)
        for _ in range(5):
            app.processEvents()
        assert window.task is task
        assert window.minimumSizeHint().width() <= 1280, task.name
        assert (window.width(), window.height()) == (1280, 720), task.name
        assert not window.docks[task.main[0]].visibleRegion().isEmpty()


def test_no_key_does_two_things(window: Window) -> None:
    everywhere = [key for group, key, _ in keys(window) if group in ("Window", "Go to", "Plots")]
    listed = [key for key in everywhere if key != "Ctrl+F"]  # only where the focus is
    assert len(listed) == len(set(listed))
    for group, key, what in keys(window):
        assert what, (group, key)
        assert group in ("Window", "Go to", "Plots") or key not in listed, (
            f"{group}: {key} is taken"
        )


def test_the_sheet_of_keys_lists_every_action(app: QtWidgets.QApplication, window: Window) -> None:
    QtTest.QTest.keyClick(window, QtCore.Qt.Key.Key_F1)
    assert window.sheet is not None and window.sheet.isVisible()
    told = " ".join(label.text() for label in window.sheet.findChildren(QtWidgets.QLabel))
    for _, key, _ in keys(window):
        assert key in told
    QtTest.QTest.keyClick(window.sheet, QtCore.Qt.Key.Key_Escape)
    assert not window.sheet.isVisible()


def test_time_is_scrubbed_stepped_and_looped(app: QtWidgets.QApplication, window: Window) -> None:
    view, bar = window.view, window.time_bar
    QtTest.QTest.keyClick(window, QtCore.Qt.Key.Key_Space)
    assert view.snapshot.status.state == "paused"
    left = QtCore.Qt.MouseButton.LeftButton
    place = QtCore.QPoint(round(bar.strip.x_of(10.0)), 20)
    QtTest.QTest.mouseClick(bar.strip, left, pos=place)
    assert view.snapshot.time_s == pytest.approx(10.0, abs=0.1)
    before_s = view.snapshot.time_s
    QtTest.QTest.keyClick(window, QtCore.Qt.Key.Key_Period)
    assert view.snapshot.time_s == pytest.approx(before_s + 0.1)
    QtTest.QTest.keyClick(window, QtCore.Qt.Key.Key_PageDown)
    assert view.snapshot.time_s == pytest.approx(12.0, abs=0.05), "not at the fault"
    QtTest.QTest.mouseClick(bar.buttons["loop"], left)
    assert view.head.loops
    view.ask("pause")
    view.look_at(view.snapshot.span_s[1] - 0.5)
    view.head.pass_by(1.0, view.snapshot.span_s)
    assert view.head.time_s == view.snapshot.span_s[0] and view.head.speed > 0.0


def test_what_a_recording_cannot_do_is_said_and_nothing_is_modal(window: Window) -> None:
    text = window.view.ask("inject", "CEL-02", 0, None, 0.0, 0.0, None)
    assert text == "A recording cannot have faults put into it: what is recorded has happened."
    assert window.notice.text() == text
    assert QtWidgets.QApplication.activeModalWidget() is None


def test_a_table_is_copied_as_lines_of_tabs(app: QtWidgets.QApplication, window: Window) -> None:
    window.panels["Cells"].grid.setFocus()
    window.panels["Plots"].setFocus()
    text = window.panels["Plots"].copied()
    assert text.splitlines()[0].startswith("time_s\tmeas_pack_current_a")
    lines = window.panels["Cells"].copied().splitlines()
    assert len(lines) == 17 and lines[1].startswith("1\t")


def test_cursors_tell_both_values_of_every_curve(window: Window) -> None:
    plots = window.panels["Plots"]
    plots.fit()
    QtTest.QTest.mouseClick(plots.cursor_button, QtCore.Qt.MouseButton.LeftButton)
    plots._drag(0, 11.0)
    plots._drag(1, 15.0)
    found = {name: (a, b) for name, a, b in plots.between()}
    low, high = found["meas_cell_voltage_max_v"]
    assert high - low > 0.5, "the overvoltage is not between the cursors"
    texts = [plots.readout.item(k, 0).text() for k in range(plots.readout.rowCount())]
    assert "meas_cell_voltage_max_v" in texts
    assert "4.000 s" in plots.readout.horizontalHeaderItem(0).text()


def test_plots_are_exported_as_pictures_and_table(window: Window, tmp_path: Path) -> None:
    plots = window.panels["Plots"]
    plots.fit()
    for name in ("a.png", "a.svg", "a.csv"):
        plots.export(tmp_path / name)
        assert (tmp_path / name).stat().st_size > 500
    rows = (tmp_path / "a.csv").read_text("utf-8").splitlines()
    assert len(rows) > 1000 and rows[0].split(",")[0] == "time_s"
    said: list[str] = []
    window.view.refused.connect(said.append)
    plots.export(tmp_path / "absent" / "a.csv")
    assert said and "was not written" in said[0]


def test_colours_change_and_what_is_drawn_stays(window: Window) -> None:
    window.panels["Plots"].use([["true_soc_frac"]])
    QtTest.QTest.keyClick(window, QtCore.Qt.Key.Key_T, QtCore.Qt.KeyboardModifier.ControlModifier)
    assert window.theme.name == "light"
    assert [p.names for p in window.panels["Plots"].plots] == [["true_soc_frac"]]
    window.use_theme(theme.DARK)


def test_it_remembers_where_it_was(
    app: QtWidgets.QApplication, window: Window, tmp_path: Path
) -> None:
    window.use_task(tasks.TASKS[2])
    window.panels["Plots"].use([["cmd_state"]])
    window.remember_source("open:/tmp/a.arrow")
    window._remember()
    form = QtCore.QSettings.Format.IniFormat
    kept = QtCore.QSettings(str(tmp_path / "kept.ini"), form)
    again = Window(View(None), theme.DARK, kept)
    assert again.task is tasks.TASKS[2]
    assert [p.names for p in again.panels["Plots"].plots] == [["cmd_state"]]
    assert again.memory.recent == ("open:/tmp/a.arrow",)
    kept.setValue("panels", "{damaged")
    again.close()
    Window(View(None), theme.DARK, kept).close()


def test_a_fault_is_taken_back_by_one_key(app: QtWidgets.QApplication, window: Window) -> None:
    asked: list[Any] = []
    view = window.view
    standing = replace(view.snapshot, injected=view.snapshot.injected)
    assert [f.id for f in standing.injected] == ["CEL-02"]
    view.ask = lambda *words: asked.append(words) or ""  # type: ignore[method-assign, func-returns-value]
    QtTest.QTest.keyClick(window, QtCore.Qt.Key.Key_Z, QtCore.Qt.KeyboardModifier.ControlModifier)
    assert asked == [("withdraw", standing.injected[0].handle)]
