"""Recordings: one Arrow IPC file a run, written so that a cut loses at most what was in the making.

>>> rec = Recording.open("out/drive-seed1/run.arrow")  # doctest: +SKIP
>>> rec["est_soc_frac"], rec.time_s("est_soc_frac"), rec.summary["trips"]  # doctest: +SKIP

The file (format 1; `container.py` has the details)
    One row each 10 ms tick, one column each signal, so that every Arrow reader (polars, DuckDB,
    pandas, R, Julia) opens a closed file as a table. Scalars are float32, or the integer they are
    in memory. A slow signal is null where it has no sample. A vector (one value a cell, block,
    module or sensor) is a nullable list. `events`, `frames` and `uart` are lists of what happened
    since the row before; `note` is null but in the last row, which holds the summary as JSON. The
    schema's metadata has the key "bms": JSON with format, signals (name, unit, kind, rate, text,
    count), configuration, commit, seed, versions, hashes. Every message carries its own CRC-32.
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
