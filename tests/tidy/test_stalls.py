"""What failed on a computer that stood still is tried again; on one that kept time it is not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import stalls

LATE = """
import stalls

class Beats:
    worst_s = 0.0
    left = LATENESS
    def begin(self):
        self.worst_s = self.left.pop(0) if self.left else 0.0

stalls.Beats = Beats

def pytest_configure(config):
    config.addinivalue_line("markers", "wires: x")
"""
TESTS = """
import pytest
tries = []

@pytest.fixture
def anew():
    return []

@pytest.mark.wires
def test_it(anew):
    tries.append(1)
    anew.append(1)
    assert len(anew) == 1
    assert len(tries) > FAILURES, "too few"
"""


@pytest.mark.parametrize(
    ("lateness", "failures", "ends"),
    [
        ([0.2], 1, "1 passed"),
        ([0.2, 0.2], 2, "1 passed"),
        ([0.2], 2, "1 failed"),  # the second try kept time
        ([0.2, 0.2, 0.2], 3, "1 failed"),  # and the last counts whatever it met
        ([], 1, "1 failed"),
        ([0.01], 1, "1 failed"),
    ],
)
def test_what_failed_is_tried_again(
    tmp_path: Path, lateness: list[float], failures: int, ends: str
) -> None:
    (tmp_path / "conftest.py").write_text(LATE.replace("LATENESS", repr(lateness)))
    (tmp_path / "test_late.py").write_text(TESTS.replace("FAILURES", str(failures)))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "stalls", "-p", "no:cacheprovider"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(Path(stalls.__file__).parent)},
    )  # fmt: skip
    assert ends in done.stdout.splitlines()[-1], done.stdout
    assert ("run again" in done.stdout) == (lateness[:1] == [0.2])


def test_threads_see_when_nobody_runs() -> None:
    beats = stalls.Beats()
    beats.begin()
    assert beats.worst_s < 10.0
    end = os.times().elapsed + 5.0
    beats.begin()
    held = 0
    while beats.worst_s == 0.0 and os.times().elapsed < end:
        held += 1
    assert beats.worst_s > 0.0
