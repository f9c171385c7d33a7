"""The rig in real time: the same requirements, two processes, a real clock."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.wires, pytest.mark.slow("starts processes for each test")]
DEATH = """
import os, signal
import pytest

@pytest.mark.requirement("OWN-1", text="t.", source="s")
def test_that_kills_its_pack(rig):
    rig.bring_to("standby")
    os.kill(rig._emulate._popen.pid, signal.SIGKILL)
    rig.wait(0.3)

@pytest.mark.requirement("OWN-1")
def test_after_it(rig):
    rig.bring_to("standby")
"""


def hil(folder: Path, *arguments: str) -> tuple[int, list[dict[str, object]]]:
    command = [sys.executable, "-m", "bms.cli", "hil", "--rig", "realtime", "--events", "-"]
    done = subprocess.run(
        [*command, *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def test_requirements_hold_against_a_real_clock_and_too_fine_ones_are_refused(tmp_path) -> None:
    code, told = hil(tmp_path, "-k", "open_interlock or decided_by_the_comparator or chattering")
    by_name = {str(t["id"]).rpartition("::")[2]: t for t in told if "id" in t}
    assert code == 0, told
    assert by_name["test_an_open_interlock_trips"]["verdict"] == "pass"
    assert by_name["test_a_short_is_decided_by_the_comparator"]["verdict"] == "skip"
    assert "no virtual_time" in str(
        by_name["test_a_chattering_interlock_is_ridden_through"]["text"]
    )


def test_a_rig_that_dies_leaves_the_rest_not_run(tmp_path) -> None:
    (tmp_path / "test_own.py").write_text(DEATH)
    code, told = hil(tmp_path, "test_own.py")
    assert code == 1
    assert [t["verdict"] for t in told if t["event"] == "test"] == ["fail", "not_run"]
    assert told[-1]["not_run"] == 1
