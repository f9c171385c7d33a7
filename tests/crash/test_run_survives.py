"""A whole `bms run` as a process: its disk fills, or it is killed."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from bms import replay
from bms.recorder import Recording, repair


def command(folder: Path, *options: str) -> list[str]:
    run = [sys.executable, "-m", "bms.cli", "run", "drive", "--pack", "car_96s1p", "--no-report"]
    return [*run, "--record-inputs", "--out", str(folder), *options]


def limited() -> None:
    """A disk that takes 3.3 MB a file; signals as in a shell."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3_300_000, 3_300_000))


@pytest.mark.slow("a whole run in a process of its own")
def test_a_full_disk_ends_with_4_a_sentence_and_the_results_of_the_run(tmp_path):
    done = subprocess.run(
        command(tmp_path, "--duration", "240", "--json"),
        capture_output=True, text=True, check=False, preexec_fn=limited,
    )  # fmt: skip
    assert done.returncode == 4
    told = done.stderr.splitlines()
    assert len(told) == 1 and "ticks were lost" in told[0] and "File too large" in told[0]
    summary = json.loads(done.stdout)
    assert summary["simulated_s"] == 240.0 and "ticks were lost" in summary["recording_trouble"]
    with Recording.open(tmp_path / "run.arrow") as rec:
        assert 0 < rec.t_ns.size < 24_000
        assert np.array_equal(np.diff(rec.t_ns), np.full(rec.t_ns.size - 1, 10_000_000))
        assert replay.check(rec).first is None


@pytest.mark.slow("whole runs in processes of their own")
@pytest.mark.parametrize("after_s", [0.3, 0.9])
def test_a_killed_run_leaves_a_prefix_that_replays(tmp_path, after_s):
    child = subprocess.Popen(
        command(tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    path, deadline = tmp_path / "run.arrow", time.monotonic() + 60
    while not (path.exists() and path.stat().st_size > 300_000) and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(after_s)
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    repair(path)
    with Recording.open(path) as rec:
        assert rec.is_complete and rec.t_ns.size > 1000
        assert np.array_equal(np.diff(rec.t_ns), np.full(rec.t_ns.size - 1, 10_000_000))
        found = replay.check(rec)
        assert found.first is None and found.steps >= 10 * rec.t_ns.size - 10


def test_two_runs_into_one_folder_are_refused(tmp_path):
    from bms.recorder import Signal, Writer

    signal_ = Signal("x", "1", "truth", "pack", "", np.zeros(1))
    with Writer(tmp_path / "run.arrow", [signal_], {}):
        done = subprocess.run(
            command(tmp_path, "--duration", "1"), capture_output=True, text=True, check=False
        )
    assert done.returncode == 4 and "is being written by another recorder" in done.stderr
