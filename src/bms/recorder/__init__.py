"""Recordings: one Arrow IPC file a run, written so that a cut loses at most what was in the making.

>>> rec = Recording.open("out/drive-seed1/run.arrow")  # doctest: +SKIP
>>> rec["est_soc_frac"], rec.time_s("est_soc_frac"), rec.summary["trips"]  # doctest: +SKIP

The file (docs/recording.md; `container.py`, `file.py`, `directory.py`, `tail.py`)
    One row each 10 ms tick, one column each signal, so that every Arrow reader opens a closed file
    as a table. Values that crossed the bus are numbers of its steps, others float32 or the integer
    they are in memory. A slow signal is null where it has no sample; a vector is a nullable list.
    `events`, `frames`, `uart` and `ecu` are what happened since the row before; `note` is null but
    in the last row, which holds the summary. The schema's metadata has the key "bms". Every message
    carries its own CRC-32. Behind the batches come an overview and a directory.

Writing
    `Writer` (buffers, the loop's side), `scribe.py` (the thread), `disk.py` (every call to the
    file system), `pyramid.py` (the overview).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_HOME = {
    "Event": "bms.recorder.container",
    "Frame": "bms.recorder.reader",
    "Frames": "bms.recorder.reader",
    "Recording": "bms.recorder.reader",
    "Signal": "bms.recorder.container",
    "Writer": "bms.recorder.writer",
    "repair": "bms.recorder.mend",
}

__all__ = ["Event", "Frame", "Frames", "Recording", "Signal", "Writer", "repair"]

if TYPE_CHECKING:
    from bms.recorder.container import Event, Signal
    from bms.recorder.mend import repair
    from bms.recorder.reader import Frame, Frames, Recording
    from bms.recorder.writer import Writer


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'bms.recorder' has no attribute {name!r}")
