"""Without compiler or emulator the rig is skipped, and says what to install."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HIL = [sys.executable, "-m", "bms.cli", "hil", "--rig", "mcu", "-k", "interlock"]


@pytest.mark.slow("a run of the suite in another process")
def test_the_rig_is_skipped_with_the_line_that_installs_it(tmp_path: Path) -> None:
    bare = os.environ | {"PATH": str(tmp_path)}
    done = subprocess.run(HIL, cwd=tmp_path, env=bare, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "apt-get install gcc-arm-none-eabi" in done.stdout
    assert "qemu-system-arm" in done.stdout
    assert "skipped" in done.stdout.splitlines()[-1]
    assert "passed" not in done.stdout.splitlines()[-1]
