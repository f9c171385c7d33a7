"""Our SocketCAN link in a kernel that has CAN: user-mode Linux, see tools/socketcan."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


@pytest.mark.wires
@pytest.mark.slow("starts a kernel, and cansend processes in it")
def test_socketcan_with_can_utils_python_can_and_the_kernels_slcan(project_dir: Path) -> None:
    for tool in ("linux.uml", "candump", "ip"):
        if shutil.which(tool, path="/usr/sbin:/usr/bin:/sbin:/bin") is None:
            pytest.skip(f"no {tool}: make test-tools")
    found = subprocess.run(
        [project_dir / "tools/socketcan/run.sh"], capture_output=True, text=True, timeout=200
    )
    print(found.stdout, found.stderr)
    if found.returncode == 77:
        pytest.skip(found.stderr.strip())
    assert found.returncode == 0 and "11 checks\n" in found.stdout
    assert found.stdout.count("\nok ") == 11
