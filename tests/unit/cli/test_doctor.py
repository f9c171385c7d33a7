"""`bms doctor` finds out without failing, and every fix is a line that can be typed."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import pytest

from bms.cli import doctor


def ask(*words: str) -> int:
    parser = argparse.ArgumentParser()
    doctor.arguments(parser)
    return doctor.run(parser.parse_args(list(words)))


def test_json_lists_every_check_and_the_exit_code_is_zero(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert ask("--json") == 0
    checks = json.loads(capsys.readouterr().out)["checks"]
    assert {"core", "optional parts", "links", "tools", "system"} == {
        check["group"] for check in checks
    }
    names = [check["name"] for check in checks]
    assert len(names) == len(set(names))
    assert {"CAN sockets", "serial ports", "clang", "qemu-system-arm", "cluster", "disk"} <= set(
        names
    )
    assert all(not check["fix"] for check in checks if check["works"])


def test_a_missing_tool_comes_with_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert ask() == 0
    said = capsys.readouterr().out
    assert " no  clang" in said
    assert "apt-get install -y --no-install-recommends clang" in said


def test_a_missing_data_folder_is_named_with_the_variable_that_sets_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BMS_DATA_DIR", str(tmp_path / "nowhere"))
    (check,) = [check for check in doctor.findings() if check.name == "measured data"]
    assert not check.works and "nowhere" in check.detail and "BMS_DATA_DIR" in check.fix


def test_the_priority_of_the_process_is_left_as_it_was() -> None:
    before = os.sched_getscheduler(0), os.sched_getparam(0).sched_priority
    doctor.findings()
    assert (os.sched_getscheduler(0), os.sched_getparam(0).sched_priority) == before
