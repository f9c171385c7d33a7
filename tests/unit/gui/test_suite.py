"""Runs of requirement tests as the HIL panel hears them: a stand-in that misbehaves, and ours."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bms_gui import theme
from bms_gui.panels import hil
from bms_gui.suite import Suite, Told
from bms_gui.view import View
from pyqtgraph.Qt import QtCore

pytestmark = pytest.mark.wires

START = {"event": "start", "tests": 3, "rig": "sil"}
PASS = {
    "event": "test", "id": "suite/test_a.py::test_holds", "requirements": ["PRO-001"],
    "verdict": "pass", "text": "holds", "measured": 99.5, "limit": 500.0, "unit": "ms",
    "seconds": 0.25, "recording": None,
}  # fmt: skip
FAIL = PASS | {
    "id": "suite/test_a.py::test_late[3]",
    "verdict": "fail",
    "text": "late",
    "measured": 700.0,
}
SKIP = PASS | {"verdict": "skip", "text": "needs <b>wires</b>", "measured": None, "limit": None}
END = {"event": "end", "passed": 1, "failed": 1, "skipped": 1, "not_run": 0, "report": "r.html"}


def stand_in(tmp_path: Path, body: str) -> tuple[str, ...]:
    """A process that speaks as `bms hil --events -` does, or does not."""
    path = tmp_path / "stand_in.py"
    path.write_text(f"import json, sys, time\n{body}\n")
    return sys.executable, str(path)


def say(*events: dict[str, Any]) -> str:
    return "\n".join(f"print({json.dumps(json.dumps(e))}, flush=True)" for e in events)


def panel(qtbot: Any, tmp_path: Path, body: str) -> hil.Panel:
    view = View(None)
    made = hil.Panel(view, theme.DARK)
    made.suite.folder, made.suite.program = tmp_path, stand_in(tmp_path, body)
    qtbot.addWidget(made)
    made.resize(1200, 300)
    made.show()
    return made


def click(qtbot: Any, button: Any) -> None:
    qtbot.mouseClick(button, QtCore.Qt.MouseButton.LeftButton)


def test_verdicts_are_watched_and_the_end_is_told(qtbot: Any, tmp_path: Path) -> None:
    made = panel(qtbot, tmp_path, say(START, PASS, FAIL, SKIP, END))
    assert made.pages.currentIndex() == 0 and not made.stop.isEnabled()  # says what to do
    click(qtbot, made.start)
    qtbot.waitUntil(lambda: made.suite.told.is_over and not made.suite.is_running, timeout=20_000)
    assert made.list.topLevelItemCount() == 3
    row = made.list.topLevelItem(1)
    assert row.text(0) == "✗ fail" and row.text(1) == "late[3]" and row.text(3) == "700 ms"
    assert made.list.topLevelItem(2).text(3) == ""
    assert made.state.text() == "1 passed, 1 failed, 1 skipped" and made.report.isEnabled()
    click(qtbot, made.failed)
    assert [made.list.topLevelItem(k).text(0) for k in range(made.list.topLevelItemCount())] == [
        "✗ fail"
    ]
    made.list.setCurrentItem(made.list.topLevelItem(0))
    assert made.detail.text() == "late"


def test_arguments_are_those_of_the_form(qtbot: Any, tmp_path: Path) -> None:
    made = panel(qtbot, tmp_path, "open('told', 'w').write(' '.join(sys.argv[1:]))")
    qtbot.keyClicks(made.words, "overvoltage or rest")
    made.repeat.setValue(3)
    qtbot.keyClick(made.words, QtCore.Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: not made.suite.is_running, timeout=20_000)
    told = (tmp_path / "told").read_text()
    assert told == "--rig sil -k overvoltage or rest --repeat 3 --events -"


def test_a_run_that_dies_is_told_with_its_last_words(qtbot: Any, tmp_path: Path) -> None:
    made = panel(qtbot, tmp_path, say(START, PASS) + "\nsys.exit('error: no such rig')")
    click(qtbot, made.start)
    qtbot.waitUntil(lambda: not made.suite.is_running, timeout=20_000)
    assert "without a result (exit code 1)" in made.detail.text()
    assert "no such rig" in made.detail.text() and made.start.isEnabled()
    assert made.list.topLevelItemCount() == 1  # what was heard stays


def test_stop_ends_a_run_that_hangs(qtbot: Any, tmp_path: Path) -> None:
    made = panel(qtbot, tmp_path, say(START) + "\ntime.sleep(600)")
    click(qtbot, made.start)
    qtbot.waitUntil(lambda: made.suite.told.total == 3, timeout=20_000)
    click(qtbot, made.stop)
    qtbot.waitUntil(lambda: not made.suite.is_running, timeout=20_000)
    assert made.suite.message == "Stopped."


def test_a_program_that_is_not_there_is_a_sentence(qtbot: Any, tmp_path: Path) -> None:
    made = panel(qtbot, tmp_path, "")
    made.suite.program = (str(tmp_path / "nothing"),)
    click(qtbot, made.start)
    qtbot.waitUntil(lambda: not made.suite.is_running, timeout=20_000)
    assert "could not be started" in made.detail.text()


def test_a_new_panel_goes_on_with_the_run(qtbot: Any, tmp_path: Path) -> None:
    view = View(None)
    first = hil.Panel(view, theme.DARK)
    first.suite.folder = tmp_path
    first.suite.program = stand_in(tmp_path, say(START, PASS, END))
    first.run()
    second = hil.Panel(view, theme.LIGHT)  # as when the colours change
    qtbot.addWidget(first)
    qtbot.addWidget(second)
    qtbot.waitUntil(lambda: second.suite.told.is_over and not second.suite.is_running)
    assert second.list.topLevelItemCount() == 1 and second.suite is first.suite


@pytest.mark.parametrize(
    "line",
    [
        b"", b"garbage", b"{", b"[]", b"3", b'{"event": "test"}', b'{"event": "sing"}',
        b'{"event": "start", "tests": "many", "rig": 1}', b"\xff\xfe",
        b'{"event": "test", "id": 1, "verdict": "maybe"}',
    ],
)  # fmt: skip
def test_lines_that_are_not_agreed_are_counted(line: bytes) -> None:
    told = Told()
    told.hear(line)
    assert told.malformed == 1 and not told.verdicts
    told.hear(json.dumps(PASS).encode())
    assert told.verdicts[0].measured == 99.5 and np.isfinite(told.verdicts[0].limit)


def test_a_line_without_end_does_not_fill_the_memory(qtbot: Any, tmp_path: Path) -> None:
    suite = Suite()
    suite.folder = tmp_path
    suite.program = stand_in(tmp_path, "sys.stdout.write('x' * 5_000_000)")
    suite.start([])
    qtbot.waitUntil(lambda: not suite.is_running, timeout=30_000)
    assert suite.told.malformed >= 1 and len(suite._rest) <= 1_000_000


@pytest.mark.slow("starts the real suite on a simulated rig")
def test_our_own_suite_runs_from_the_panel(qtbot: Any, tmp_path: Path) -> None:
    view = View(None)
    made = hil.Panel(view, theme.DARK)
    made.suite.folder = tmp_path
    qtbot.addWidget(made)
    assert "sil" in [made.rig.itemText(k) for k in range(made.rig.count())]
    qtbot.keyClicks(made.words, "cell_voltages_at_rest")
    click(qtbot, made.start)
    qtbot.waitUntil(lambda: made.suite.told.is_over and not made.suite.is_running, timeout=120_000)
    told = made.suite.told
    assert told.total == len(told.verdicts) > 0 and told.malformed == 0
    assert told.count("pass") == told.total, [v.text for v in told.verdicts]
    assert (tmp_path / told.report).is_file()
