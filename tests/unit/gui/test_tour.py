"""The tour through the real window, on a screen of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.wires
@pytest.mark.slow("drives a real window on Xvfb from the demo to the replay")
@pytest.mark.skipif(shutil.which("Xvfb") is None, reason="needs Xvfb (make test-tools)")
def test_the_tour_goes_from_the_demo_to_why_it_opened_and_its_replay(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "QT_QPA_PLATFORM")}
    tour = [sys.executable, str(ROOT / "tools" / "desktop_tour.py"), "--out", str(tmp_path)]
    done = subprocess.run(
        tour, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    names = {path.stem.split("-")[1] for path in tmp_path.glob("desktop-*.png")}
    assert names == {"start", "overview", "why", "bus", "plots", "chips", "keys", "replay"}
