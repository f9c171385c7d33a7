"""The desktop: redraws, frames a second, latency, opening a long recording, memory over an hour.

Measured in a process of its own (`bms_gui.measure`), offscreen, with plain pyqtgraph drawing the
same curves in the same run. `--long` takes the hour of live data in real time; without it the same
hour is given as fast as it goes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from typing import Any

from bms.bench import Row
from bms.errors import BmsError

INSTALL = "pip install solid-bms[gui]"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--long", action="store_true", help="the hour of live data in real time")


def rows(options: argparse.Namespace) -> list[Row]:
    command = [sys.executable, "-m", "bms_gui.measure"]
    command += ["--long"] if getattr(options, "long", False) else []
    environment = {"QT_QPA_PLATFORM": "offscreen"} | dict(os.environ)
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no reason was given"])[-1]
        raise BmsError(f"the desktop could not be measured ({last}); {INSTALL}")
    return told(json.loads(done.stdout.strip().splitlines()[-1]))


def told(m: dict[str, Any]) -> list[Row]:
    """The six published rows of what was measured."""
    peer = "pyqtgraph"
    return [
        Row(
            name="full_redraw_ms_96x10000", ours=m["redraw_ours_ms"], unit="ms", better="lower",
            peer=m["redraw_plain_ms"], peer_name=peer, peer_install=INSTALL,
            limit=12.0, limit_source="target: every frame of 60 a second can be drawn anew",
        ),
        Row(
            name="scroll_ms_96x10000", ours=m["scroll_ours_ms"], unit="ms", better="lower",
            peer=m["scroll_plain_ms"], peer_name=peer, peer_install=INSTALL,
            limit=5.0, limit_source="target: only new columns are drawn",
        ),
        Row(
            name="layout_fps", ours=m["fps"], unit="frames/s", better="higher",
            limit=30.0,
            limit_source=(
                f"target; {m['frames_per_s']:.0f} CAN frames/s came meanwhile, and without its "
                f"timer it would draw {m['could_fps']:.0f} pictures/s"
            ),
        ),
        Row(
            name="input_latency_p99_ms", ours=m["latency_p99_ms"], unit="ms", better="lower",
            limit=50.0, limit_source="target: from an event to its handler, under the same load",
        ),
        Row(
            name="open_recording_s", ours=m["open_s"], unit="s", better="lower",
            limit=1.0,
            limit_source=(
                f"target for {m['recorded_s']:.0f} s recorded; a zoom took {m['zoom_ms']:.0f} ms "
                "at most (target 100)"
            ),
        ),
        Row(
            name="memory_growth_mb", ours=m["growth_mb"], unit="MB", better="lower",
            limit=400.0,
            limit_source=(
                f"target over an hour of data; {m['last_quarter_mb']:+.1f} MB of it in the last "
                "quarter"
            ),
        ),
    ]  # fmt: skip
