"""`bms hil` ended from outside ends at once, and nothing that did not run is told as passed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = """
import time, pathlib, pytest

@pytest.mark.parametrize("k", [1, 2, 3])
def test_it(rig, k):
    if k == 2:
        pathlib.Path("in_two").touch()
        time.sleep(60)
"""


@pytest.mark.wires
@pytest.mark.slow("a process that starts, and is ended")
def test_sigterm_ends_the_run_and_the_rest_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "test_three.py").write_text(TESTS)
    command = [sys.executable, "-m", "bms.cli", "hil", "test_three.py", "--events", "events.jsonl"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    try:
        while not (tmp_path / "in_two").exists():
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 143 and "ended by SIGTERM" in said
    rows = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [row["verdict"] for row in rows if row["event"] == "test"] == ["pass", *["not_run"] * 2]
    assert (rows[-1]["event"], rows[-1]["passed"], rows[-1]["not_run"]) == ("end", 1, 2)
