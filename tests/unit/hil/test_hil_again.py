"""Where the rig missed real time a test is judged by none of its tries but one that kept it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

RIG = """
import pytest

class Rig:
    name, capabilities, late = "late", frozenset(), MISSES
    made = 0
    def begin(self, log): Rig.made += 1  # of the class: after the last test the rig is closed
    def missed(self):
        return self.late.pop(0) if self.late else ""
    def identity(self): return {}
    def grade(self): return {}
    def keep(self, path): return False
    def close(self): pass

@pytest.fixture(scope="session")
def hil_rig():
    return Rig()

@pytest.fixture
def running(rig):
    rig.is_running = True
    yield rig
    rig.is_running = False
"""
TESTS = """
def test_it(running):
    assert running.is_running
    print("try", running.made)
    assert running.made != FAILS_AT
"""


def run(folder: Path, misses: list[str], fails_at: int) -> tuple[int, str, dict, str]:
    (folder / "conftest.py").write_text(RIG.replace("MISSES", repr(misses)))
    (folder / "test_late.py").write_text(TESTS.replace("FAILS_AT", str(fails_at)))
    command = [sys.executable, "-m", "bms.cli", "hil", "test_late.py", "--events", "e.jsonl",
               "--report", "r.html"]  # fmt: skip
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    rows = [json.loads(line) for line in (folder / "e.jsonl").read_text().splitlines()]
    (told,) = [row for row in rows if row["event"] == "test"]
    return done.returncode, done.stdout, told, (folder / "r.html").read_text()


@pytest.mark.parametrize(
    ("misses", "fails_at", "verdict", "code"),
    [
        ([], 0, "pass", 0),
        (["66 ms late"], 1, "pass", 0),  # what failed in a try that does not count failed not
        (["66 ms late"], 2, "fail", 1),
        (["66 ms late"] * 2, 0, "pass", 0),
        (["66 ms late"] * 3, 0, "not_run", 1),  # and what passed did not pass
    ],
)
def test_only_a_try_that_kept_real_time_is_a_verdict(
    tmp_path: Path, misses: list[str], fails_at: int, verdict: str, code: int
) -> None:
    found, said, told, report = run(tmp_path, misses, fails_at)
    assert (found, told["verdict"], told["again"]) == (code, verdict, misses)
    assert said.count("run again: test_late.py::test_it: 66 ms late") == len(misses)
    assert report.count("Run again: 66 ms late.") == len(misses)
    if verdict == "not_run":
        assert told["text"] == "not run: 66 ms late"
