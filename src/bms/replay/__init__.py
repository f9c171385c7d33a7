"""Recorded inputs given to a firmware again.

    replay = check(Recording.open("run.arrow"))          # every output equal, bit for bit?
    changed = against(recording, other_firmware(recording, "./mine.so"))  # what would it have said?

A recording made with inputs (`bms run --record-inputs`) holds what the firmware was given and what
it answered in each millisecond, its configuration, and the chance it was given at each start. The
firmware is a function of these, so its outputs must be the recorded ones. Another firmware, or ours
with another configuration, is fed the same; both answers are heard as a vehicle would hear them and
compared. The loop is open: what the other one would have changed in the world is not in its inputs.
"""

from __future__ import annotations

from bms.replay.compare import Comparison, Heard, SignalChange, against
from bms.replay.steps import (
    Check,
    Difference,
    Firmware,
    begin,
    check,
    origin,
    other_firmware,
    recorded_firmware,
)

__all__ = [
    "Check",
    "Comparison",
    "Difference",
    "Firmware",
    "Heard",
    "SignalChange",
    "against",
    "begin",
    "check",
    "origin",
    "other_firmware",
    "recorded_firmware",
]
