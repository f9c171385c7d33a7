"""CAN trace, transmit list and registers, clicked on a pack that really runs."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from bms_gui import theme
from bms_gui.panels import registers, trace, transmit
from bms_gui.snapshot import Frames, Snapshot
from bms_gui.view import View
from pyqtgraph.Qt import QtCore, QtWidgets

pytestmark = pytest.mark.wires
LEFT = QtCore.Qt.MouseButton.LeftButton


def shown(qtbot: Any, module: Any, near: Any, size: tuple[int, int] = (1240, 360)) -> Any:
    view = View(near)
    panel = module.Panel(view, theme.DARK)
    qtbot.addWidget(panel)
    panel.resize(*size)
    panel.show()
    view.changed.connect(panel.tell)
    view.show_now()
    return panel


def go_on(panel: Any, near: Any, seconds: float) -> Snapshot:
    near.run(seconds)
    panel.view.show_now()
    return panel.view.snapshot


# ---- trace ----


def test_frames_are_listed_and_a_click_opens_one(qtbot: Any, near: Any) -> None:
    panel = shown(qtbot, trace, near)
    assert panel.rows.source.count() == 0 and not panel.grab().isNull()  # says what to do
    go_on(panel, near, 2.0)
    assert panel.rows.source.count() == near.samples.frames().total > 1000
    panel.rows.viewport().grab()
    bar = panel.rows.verticalScrollBar()
    assert bar.value() == bar.maximum()  # the newest is in sight
    k = panel.rows.row_at(panel.rows.head + 5)
    point = QtCore.QPoint(8, panel.rows.head + 5)
    qtbot.mouseClick(panel.rows.viewport(), LEFT, pos=point)
    assert panel.rows.selected == panel.timed.key(k) and panel.rows.open_keys
    qtbot.keyClick(panel.rows, QtCore.Qt.Key.Key_Left)
    assert not panel.rows.open_keys
    qtbot.keyClick(panel.rows, QtCore.Qt.Key.Key_Home)
    assert panel.rows.selected == 0 and bar.value() == 0 and not panel.follow.isChecked()
    before = bar.value()
    go_on(panel, near, 0.5)
    assert bar.value() == before  # what is read stays where it is


def test_filter_order_hold_and_copy(qtbot: Any, near: Any) -> None:
    panel = shown(qtbot, trace, near)
    go_on(panel, near, 2.0)
    qtbot.keyClicks(panel.text, "bmsstate")
    assert panel.rows.source.count() == int((near.samples.frames().id == 0x100).sum())
    panel.text.clear()
    panel.bus.setCurrentIndex(2)
    assert 0 < panel.rows.source.count() < panel.traffic.total
    panel.bus.setCurrentIndex(0)
    qtbot.mouseClick(panel.placing, LEFT)
    ids = [panel.placed.row(k).cells[0] for k in range(panel.placed.count())]
    assert "100" in ids and len(ids) == len(panel.traffic.talkers)
    k = ids.index("100")
    panel.rows._select(k)
    qtbot.keyClick(panel.rows, QtCore.Qt.Key.Key_Return)
    details = dict(row[:2] for row in panel.placed.details(k))
    assert details["State"] == "standby"
    qtbot.keyClick(panel.rows, QtCore.Qt.Key.Key_C, QtCore.Qt.KeyboardModifier.ControlModifier)
    text = QtWidgets.QApplication.clipboard().text()
    assert text.splitlines()[0].split("\t")[0] == "id" and "\tState\tstandby\t" in text
    qtbot.mouseClick(panel.hold, LEFT)
    total = panel.traffic.total
    go_on(panel, near, 0.5)
    assert panel.traffic.total == total and "held" in panel.note.text()
    qtbot.mouseClick(panel.hold, LEFT)
    assert panel.traffic.total > total


def test_a_late_frame_and_a_wrong_checksum_are_told_in_words(qtbot: Any, near: Any) -> None:
    panel = shown(qtbot, trace, near)
    go_on(panel, near, 1.0)
    frames = near.samples.frames()
    row = int(np.flatnonzero(frames.id == 0x100)[-1])
    data = frames.data[row : row + 1].copy()
    data[0, 0] ^= 0xFF
    part = slice(row, row + 1)
    one = Frames(
        frames.time_s[-1:] + 0.05, frames.id[part], frames.bus[part], frames.direction[part],
        frames.flags[part], frames.length[part], data, frames.total + 1,
    )  # fmt: skip
    panel.tell(replace(panel.view.snapshot, frames=one))
    cells = panel.timed.row(panel.timed.count() - 1).cells
    assert cells[1].startswith("late ") and cells[-1] == "wrong CRC"
    qtbot.mouseClick(panel.odd, LEFT)
    assert panel.timed.row(panel.timed.count() - 1).cells[-1] == "wrong CRC"


def test_names_from_outside_are_painted_as_they_are(qtbot: Any, near: Any) -> None:
    panel = shown(qtbot, trace, near)
    n = 40
    rng = np.random.default_rng(1)
    frames = Frames(
        np.linspace(0.0, 1.0, n), rng.integers(0, 1 << 29, n).astype(np.uint32),
        rng.integers(0, 4, n).astype(np.uint8), rng.integers(0, 3, n).astype(np.uint8),
        rng.integers(0, 32, n).astype(np.uint8), rng.integers(0, 9, n).astype(np.uint8),
        rng.integers(0, 256, (n, 8)).astype(np.uint8), n,
    )  # fmt: skip
    panel.tell(replace(panel.view.snapshot, frames=frames))
    for k in range(n):
        panel.rows.toggle(k)
    assert not panel.grab().isNull()
    assert all(len(panel.timed.row(k).cells) == len(trace.TIMED) for k in range(n))


def test_ten_thousand_frames_a_second_cost_a_part_of_the_second(qtbot: Any, near: Any) -> None:
    panel = shown(qtbot, trace, near)
    go_on(panel, near, 3.0)
    real, n, total = near.samples.frames(), 333, 0
    began = time.perf_counter()
    for k in range(30):
        at = (total + np.arange(n)) % len(real.id)
        total += n
        frames = Frames(
            np.linspace(k / 30, (k + 1) / 30, n), real.id[at], real.bus[at], real.direction[at],
            real.flags[at], real.length[at], real.data[at], total,
        )  # fmt: skip
        panel.tell(replace(panel.view.snapshot, title="fast", frames=frames))
        panel.rows.viewport().repaint()
    assert panel.traffic.total == 30 * n and panel.traffic.missed == 0
    assert time.perf_counter() - began < 10.0  # far beyond what it takes; only a freeze fails


# ---- transmit ----


def test_a_message_is_added_switched_on_and_seen_in_the_trace(qtbot: Any, near: Any) -> None:
    panel = shown(qtbot, transmit, near)
    go_on(panel, near, 1.0)
    panel.message.setCurrentText("IoInputs")
    qtbot.mouseClick(panel.add, LEFT)
    line = panel.lines[0]
    assert line.period_s == 0.01 and not line.on
    item = panel.list.topLevelItem(0)
    box = panel.list.visualItemRect(item)
    qtbot.mouseClick(panel.list.viewport(), LEFT, pos=QtCore.QPoint(10, box.center().y()))
    assert line.on and near.asked[-1][0] == "transmit" and near.refusal == ""
    go_on(panel, near, 1.0)
    assert line.sent == 100 and item.text(6) == "100"
    frames = near.samples.frames()
    assert ((frames.direction == 2) & (frames.id == 0x0F0)).sum() == 100
    item.setCheckState(0, QtCore.Qt.CheckState.Unchecked)
    go_on(panel, near, 1.0)
    assert line.sent == 100


def test_values_become_bytes_and_what_does_not_fit_is_a_sentence(qtbot: Any, near: Any) -> None:
    panel = shown(qtbot, transmit, near)
    panel.message.setCurrentText("VcuRequest")
    qtbot.mouseClick(panel.add, LEFT)
    before = panel.lines[0].data
    QtWidgets.QApplication.processEvents()  # the form is shown
    mode = next(
        box for box in panel.form.findChildren(QtWidgets.QComboBox)
        if box.isVisible() and box.findText("charge") >= 0
    )  # fmt: skip
    mode.setCurrentText("charge")
    assert panel.lines[0].data != before and panel.lines[0].values["Mode"] == "charge"
    panel.add_line(transmit.RAW)
    raw = panel.lines[1]
    panel._bytes(raw, "02 10 0")
    assert "hexadecimal" in panel.note.text() and raw.data == bytes(8)
    panel._bytes(raw, "00" * 9)
    assert "eight bytes" in panel.note.text() and raw.data == bytes(8)
    panel._bytes(raw, "02 10 03")
    assert panel.note.text() == "" and raw.data == b"\x02\x10\x03"
    qtbot.mouseClick(panel.remove, LEFT)
    assert len(panel.lines) == 1


def test_one_frame_is_sent_once(qtbot: Any, near: Any) -> None:
    panel = shown(qtbot, transmit, near)
    panel.add_line(transmit.RAW)
    panel.tell(panel.view.snapshot)
    qtbot.mouseClick(panel.once, LEFT)
    go_on(panel, near, 1.0)
    assert panel.lines[0].sent == 1


def test_a_source_that_cannot_send_says_so(qtbot: Any, near: Any) -> None:
    near.offers = frozenset()
    panel = shown(qtbot, transmit, near)
    panel.add_line(transmit.RAW)
    panel.tell(panel.view.snapshot)
    assert "cannot be sent frames" in panel.note.text() and not panel.once.isEnabled()
    assert not panel.list.isEnabled() and not near.asked


# ---- registers ----


def test_a_register_is_chosen_changed_and_written(qtbot: Any, near: Any) -> None:
    panel = shown(qtbot, registers, near)
    go_on(panel, near, 6.0)
    assert near.asked[0] == ("registers", True) and panel.chip.count() > 100
    qtbot.keyClicks(panel.text, "adc_ctrl1")
    assert panel.chip.count() == 1
    panel.list.viewport().grab()
    qtbot.mouseClick(panel.list.viewport(), LEFT, pos=QtCore.QPoint(200, panel.list.head + 5))
    assert panel.name.text() == "ADC_CTRL1" and not panel.button.isEnabled()
    go = panel.bits[7 - 2]
    qtbot.mouseClick(go, LEFT)
    assert panel.staged == panel._value() ^ 4 and "not written yet" in panel.meaning.text()
    assert near.asked[-1][0] == "registers"  # nothing is written by a click on a bit
    panel.hex.selectAll()
    qtbot.keyClicks(panel.hex, "04")
    qtbot.mouseClick(panel.button, LEFT)
    assert near.asked[-1] == ("write_register", 0, 0x30D, 4) and panel.staged is None
    go_on(panel, near, 1.0)
    assert any(e.kind == "diagnosis" for e in near.events)  # the firmware noticed


def test_results_are_read_only_and_nothing_is_asked_while_hidden(qtbot: Any, near: Any) -> None:
    panel = shown(qtbot, registers, near)
    go_on(panel, near, 2.0)
    panel._pick(0x52D)
    assert panel.meaning.text() == "read only" and not panel.bits[0].isEnabled()
    panel.hide()
    assert near.asked[-1] == ("registers", False)


def test_without_registers_the_panel_says_why(qtbot: Any, near: Any) -> None:
    near.offers = frozenset()
    panel = shown(qtbot, registers, near)
    assert panel.chip.count() == 0 and not panel.editor.isVisible()
    assert not near.asked and not panel.grab().isNull()
