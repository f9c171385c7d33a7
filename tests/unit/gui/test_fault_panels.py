"""Faults, events, "why did it open?" and the cell drawer, clicked on a pack that really runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from bms_gui import theme
from bms_gui.panels import cell, events, faults, why
from bms_gui.snapshot import Snapshot
from bms_gui.view import View
from pyqtgraph.Qt import QtCore, QtWidgets

pytestmark = pytest.mark.wires
LEFT = QtCore.Qt.MouseButton.LeftButton
FAULT = "CEL-02"  # one block overvoltage, a step


def shown(qtbot: Any, module: Any, near: Any, size: tuple[int, int] = (1240, 300)) -> Any:
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


def choose(panel: Any, name: str) -> None:
    for g in range(panel.tree.topLevelItemCount()):
        group = panel.tree.topLevelItem(g)
        for k in range(group.childCount()):
            if group.child(k).data(0, faults.ID) == name:
                panel.tree.setCurrentItem(group.child(k))


# ---- faults ----


def test_a_fault_is_searched_injected_noticed_and_undone(qtbot: Any, near: Any) -> None:
    panel = shown(qtbot, faults, near)
    go_on(panel, near, 7.0)
    qtbot.keyClicks(panel.search, "overvoltage step")
    seen = [
        group.child(k).data(0, faults.ID)
        for group in (panel.tree.topLevelItem(g) for g in range(panel.tree.topLevelItemCount()))
        for k in range(group.childCount())
        if not group.child(k).isHidden()
    ]
    assert FAULT in seen and len(seen) < 20
    choose(panel, FAULT)
    assert "Expected: trip within" in panel.text.text()
    panel.index.setValue(6)
    qtbot.mouseClick(panel.inject, LEFT)
    word, name, index, value, after_s, _, for_s = near.asked[-1]
    assert (word, name, index, after_s, for_s) == ("inject", FAULT, 5, 0.0, None)
    assert near.refusal == "" and value == panel.value.value()
    snapshot = go_on(panel, near, 2.0)
    row = panel.list.topLevelItem(0)
    assert row.text(0) == f"{FAULT} cell 6" and row.text(1) == "● active"
    assert row.text(3) in ("cell overvoltage", "chip fault") and row.text(4).endswith(" ms")
    assert snapshot.injected[0].index == 5
    qtbot.mouseClick(panel.undo, LEFT)
    assert near.asked[-1] == ("withdraw", snapshot.injected[0].handle)
    go_on(panel, near, 0.5)
    assert not panel.undo.isEnabled()


def test_delay_and_duration_are_those_of_the_form(qtbot: Any, near: Any) -> None:
    panel = shown(qtbot, faults, near)
    choose(panel, FAULT)
    panel.after.setValue(2.0)
    panel.lasts.setValue(1.5)
    qtbot.mouseClick(panel.inject, LEFT)
    go_on(panel, near, 1.0)
    assert panel.list.topLevelItem(0).text(1) == "◷ armed"
    go_on(panel, near, 2.0)
    assert panel.list.topLevelItem(0).text(1) == "● active"
    go_on(panel, near, 1.0)
    assert all(one.state == "over" for one in panel.view.snapshot.injected)
    told = [(e.name, e.text, round(e.time_s, 1)) for e in near.events if e.kind == "fault"]
    assert told == [(FAULT, "on", 2.0), (FAULT, "off", 3.5)]  # which the recording has too


def test_a_click_on_the_grid_aims_the_fault(qtbot: Any, near: Any) -> None:
    panel = shown(qtbot, faults, near)
    go_on(panel, near, 0.1)
    choose(panel, FAULT)
    panel.view.cell_chosen.emit(11)
    assert panel.index.value() == 12
    panel.view.cell_chosen.emit(4000)  # of a pack that is larger
    assert panel.index.value() == 12


def test_a_click_on_an_injected_fault_goes_to_its_beginning(qtbot: Any, near: Any) -> None:
    panel = shown(qtbot, faults, near)
    go_on(panel, near, 7.0)
    choose(panel, FAULT)
    panel.index.setValue(4)
    panel.put_in()
    go_on(panel, near, 1.0)
    jumped: list[float] = []
    chosen: list[int] = []
    panel.view.jumped.connect(jumped.append)
    panel.view.cell_chosen.connect(chosen.append)
    box = panel.list.visualItemRect(panel.list.topLevelItem(0))
    qtbot.mouseClick(panel.list.viewport(), LEFT, pos=box.center())
    assert jumped == [pytest.approx(7.0, abs=0.01)] and chosen == [3]


def test_a_source_without_faults_and_rows_that_do_not_act_say_so(qtbot: Any, near: Any) -> None:
    near.offers = frozenset()
    panel = shown(qtbot, faults, near)
    choose(panel, FAULT)
    assert not panel.inject.isEnabled() and "cannot have faults" in panel.why_not.text()
    near.offers = frozenset({"inject"})
    panel.view.show_now()
    from bms_gui.catalogue import catalogue

    idle = next((f.id for f in catalogue().values() if f.left_to), None)
    assert idle is not None
    choose(panel, idle)
    assert not panel.inject.isEnabled() and "Not injected" in panel.why_not.text()


@pytest.mark.parametrize("size", [(1240, 250), (420, 620)])
def test_every_fault_can_be_looked_at(qtbot: Any, near: Any, size: tuple[int, int]) -> None:
    from bms_gui.catalogue import catalogue

    panel = shown(qtbot, faults, near, size)
    go_on(panel, near, 0.1)
    for name, fault in catalogue().items():
        choose(panel, name)
        assert panel.text.text().startswith(name)
        assert panel.value.minimum() <= fault.value <= panel.value.maximum() or fault.left_to
        assert panel.index.maximum() >= 1 and panel.index.text()
    assert not panel.grab().isNull()


# ---- why ----


def tripped(near: Any) -> None:
    near.run(7.0)
    near.hands.do(("inject", FAULT, 5, None, 0.0, 0.0, None))
    near.run(3.0)


def test_why_it_opened_is_told_and_a_click_goes_there(qtbot: Any, near: Any) -> None:
    panel = shown(qtbot, why, near)
    near.run(0.1)
    panel.view.show_now()
    assert panel.pages.currentIndex() == 0  # says what to do to see something
    tripped(near)
    panel.view.show_now()
    assert panel.pages.currentIndex() == 1 and len(panel.openings) == 1
    links = {link.link: link for link in panel.chain.links}
    assert FAULT in links["cause"].text and links["cause"].time_s == pytest.approx(7.1, abs=0.01)
    assert panel.chain.is_in_time and "OVER" not in panel.budget.text()
    jumped: list[float] = []
    chosen: list[int] = []
    panel.view.jumped.connect(jumped.append)
    panel.view.cell_chosen.connect(chosen.append)
    panel.timeline.resize(900, panel.timeline.minimumHeight())
    k = [link.link for link in panel.chain.links].index("decision")
    y = int(panel.timeline._boxes[k].center().y())
    qtbot.mouseClick(panel.timeline, LEFT, pos=QtCore.QPoint(200, y))
    assert jumped == [links["decision"].time_s] and chosen == [5]
    qtbot.keyClick(panel.timeline, QtCore.Qt.Key.Key_Down)
    assert jumped[-1] == links["command"].time_s
    qtbot.mouseClick(panel.copy, LEFT)
    text = QtWidgets.QApplication.clipboard().text()
    assert "Decision\t" in text and panel.chain.text in text


def test_the_newest_opening_is_chosen_and_older_ones_stay(qtbot: Any, near: Any) -> None:
    panel = shown(qtbot, why, near)
    near.run(7.0)
    near.simulation.world.parts["vehicle"]["request"][0] = 0
    near.simulation.world.parts["vehicle"]["kind"][0] = 0
    near.run(6.0)
    panel.view.show_now()
    assert panel.chain.opening.why == "order" and not panel.budget.isVisible()
    assert panel.choice.count() == 1 and "in good order" in panel.choice.itemText(0)


# ---- events ----


def test_a_diagnosis_is_told_with_the_moment_and_a_click_goes_there(qtbot: Any, near: Any) -> None:
    panel = shown(qtbot, events, near)
    assert panel.diagnoses.currentIndex() == 0
    tripped(near)
    panel.view.show_now()
    names = [e.name for e in panel.entries]
    k = names.index("cell_overvoltage")
    jumped: list[float] = []
    chosen: list[int] = []
    panel.view.jumped.connect(jumped.append)
    panel.view.cell_chosen.connect(chosen.append)
    item = panel.list.topLevelItem(k)
    qtbot.mouseClick(panel.list.viewport(), LEFT, pos=panel.list.visualItemRect(item).center())
    assert chosen == [5] and jumped == [panel.entries[k].worst_s]
    assert "pack voltage" in panel.detail.text() and "trip within 500 ms" in panel.detail.text()
    assert "latched" in item.text(7)
    qtbot.mouseClick(panel.known, LEFT)
    assert "seen" in panel.list.topLevelItem(k).text(7)
    qtbot.mouseClick(panel.clear, LEFT)
    assert near.asked[-1] == ("clear", False) and near.refusal == ""


def test_all_events_are_filtered_and_clicked(qtbot: Any, near: Any) -> None:
    panel = shown(qtbot, events, near)
    tripped(near)
    panel.view.show_now()
    qtbot.mouseClick(panel.all, LEFT)
    assert panel.model.rowCount() == len(near.events)
    qtbot.keyClicks(panel.filter, "contactor")
    kept = panel.filtered.rowCount()
    assert 0 < kept < len(near.events)
    jumped: list[float] = []
    panel.view.jumped.connect(jumped.append)
    index = panel.filtered.index(0, 2)
    qtbot.mouseClick(panel.table.viewport(), LEFT, pos=panel.table.visualRect(index).center())
    last = [e for e in near.events if "contactor" in f"{e.kind} {e.name} {e.text}"][-1]
    assert jumped == [last.t_ns * 1e-9]


def test_a_source_that_cannot_be_cleared_says_so(qtbot: Any, near: Any) -> None:
    near.offers = frozenset()
    panel = shown(qtbot, events, near)
    assert not panel.clear.isEnabled() and "cannot be asked to clear" in panel.clear.toolTip()


# ---- the cell drawer ----


def test_a_cell_is_shown_when_it_is_chosen(qtbot: Any, near: Any) -> None:
    panel = shown(qtbot, cell, near, (380, 520))
    assert panel.pages.currentIndex() == 0
    go_on(panel, near, 8.0)
    panel.view.cell_chosen.emit(7)
    assert panel.title.text() == "Cell 8 · module 1" and panel.pages.currentIndex() == 1
    titles = [quantity.title for quantity, _ in panel.history.rows]
    assert titles[0] == "Voltage" and "Pressure" in titles
    panel.activateWindow()
    panel.setFocus()
    qtbot.waitUntil(panel.hasFocus)
    qtbot.keyClick(panel, QtCore.Qt.Key.Key_BracketRight)
    assert panel.cell == 8
    for _ in range(8):
        qtbot.keyClick(panel, QtCore.Qt.Key.Key_BracketRight)
    assert panel.cell == 0  # round
    lines = panel.copied().splitlines()
    assert lines[1].split("\t")[4] == "now" and lines[2].split("\t")[2] == "true_cell_voltage_v"
    assert np.isfinite(float(lines[2].split("\t")[4])) and not panel.grab().isNull()


def test_no_cells_and_unknown_values_are_drawn(qtbot: Any, near: Any) -> None:
    panel = shown(qtbot, cell, near, (380, 520))
    panel.view.cell_chosen.emit(3)
    panel.tell(Snapshot())
    assert not panel.grab().isNull()
    go_on(panel, near, 0.02)  # nothing has been measured yet
    panel.view.cell_chosen.emit(3)
    assert not panel.grab().isNull()
    times, values = cell.thinned(np.arange(1000.0), np.full(1000, np.nan), 100)
    assert len(times) == len(values) <= 110
    spiky = np.zeros(10_000)
    spiky[4321] = 9.0
    assert cell.thinned(np.arange(10_000.0), spiky, 200)[1].max() == 9.0
