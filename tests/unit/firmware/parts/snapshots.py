"""States of a firmware in operation, for the claims in C: snapshots.py FOLDER."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from firmware_rig import DRIVE, STATE, Rig


def make(folder: Path) -> None:
    """standby: rested and measured; drive: closed, after a second and a half."""
    rig = Rig()
    rig.until(lambda: rig.state == STATE["standby"], 3000)
    (folder / "standby").write_bytes(rig.run(500).firmware.snapshot())
    rig.mode = DRIVE
    rig.until(lambda: rig.state == STATE["normal_drive"], 5000)
    (folder / "drive").write_bytes(rig.run(1500).firmware.snapshot())


if __name__ == "__main__":
    make(Path(sys.argv[1]))
