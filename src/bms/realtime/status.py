"""What a real-time process tells, and what it can be asked.

For people: lines of text. For scripts (`--status-json`): one JSON object a line on stdout, each
with "event": "ready" once everything is open, "state" and others as they happen, "status" once a
second, "end" as the last. With `--control`, JSON objects come in on stdin, one a line; each is
answered by a "reply" that repeats its "id".
"""

from __future__ import annotations

import json
import queue
import sys
import threading
from collections.abc import Mapping
from typing import Any, TextIO

import numpy as np

from bms import _realtime

LATE_S = 0.03
"""A tick later than this did not keep real time: the 50 ms of silence that the I/O module is
allowed, less its period and the way of its message, are used up by this computer."""


def lateness(pace: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Figures of a pace_t: lateness of the ticks of 10 ms in microseconds, and what was missed.

    A quantile is the upper edge of the bin it falls into (a sixteenth of an octave), never above
    the worst lateness itself. "late_ticks": how many were later than LATE_S.
    """
    counts = np.array(pace["late_bin"])
    upper = np.append(_realtime.bins_us()[1:], np.iinfo(np.uint64).max)
    worst, total = int(pace["late_max_us"][0]), int(counts.sum())
    reached = np.cumsum(counts)
    found: dict[str, Any] = {"ticks": int(pace["ticks"][0])}
    for name, share in (("p50", 0.5), ("p99", 0.99), ("p999", 0.999)):
        k = int(np.searchsorted(reached, share * total)) if total else 0
        found[f"late_{name}_us"] = min(int(upper[min(k, len(upper) - 1)]), worst)
    return found | {
        "late_max_us": worst,
        "late_ticks": int(counts[upper > LATE_S * 1e6].sum()),
        "caught_up": int(pace["caught_up"][0]),
        "overruns": int(pace["overruns"][0]),
        "lost_ms": int(pace["lost_steps"][0]),
    }


class Teller:
    """Says things in words or as JSON. `stream` is stdout unless a test wants otherwise."""

    def __init__(self, as_json: bool, stream: TextIO | None = None) -> None:
        self.as_json, self._stream = as_json, stream or sys.stdout

    def tell(self, event: str, words: str, **facts: Any) -> None:
        """One line; empty `words` are for scripts only. A reader that left is BrokenPipeError."""
        if self.as_json:
            line = json.dumps({"event": event, **plain(facts)}, allow_nan=False)
        elif words:
            line = words
        else:
            return
        print(line, file=self._stream, flush=True)


def plain(value: Any) -> Any:
    """JSON-ready: NumPy numbers become Python's, what is not finite becomes None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and value - value != 0.0:
        return None
    return value


class Control:
    """JSON objects from stdin, read by a thread of its own so that nobody waits for them."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdin
        self._lines: queue.Queue[str | None] = queue.Queue(maxsize=1000)
        self._came = threading.Event()
        threading.Thread(target=self._read, name="bms-control", daemon=True).start()

    def _read(self) -> None:
        for line in self._stream:
            self._lines.put(line)
            self._came.set()
        self._lines.put(None)
        self._came.set()

    def wait(self, within_s: float) -> bool:
        """Sleeps until something came, at most so long; whether it did."""
        return self._came.wait(within_s)

    def requests(self) -> list[dict[str, Any]]:
        """What came since the last call. The end of stdin asks to quit; nonsense comes back as a
        request that cannot be met."""
        self._came.clear()  # before the look: what comes during it wakes the next wait
        found: list[dict[str, Any]] = []
        while True:
            try:
                line = self._lines.get_nowait()
            except queue.Empty:
                return found
            if line is None:
                found.append({"quit": True})
            elif line.strip():
                found.append(_parsed(line))


def _parsed(line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError:
        return {"id": None, "error": "not JSON"}
    return value if isinstance(value, dict) else {"id": None, "error": "not an object"}


def ms_words(facts: Mapping[str, Any]) -> str:
    """Lateness in words."""
    late = f"late p99.9 {facts['late_p999_us']} us, worst {facts['late_max_us']} us"
    if facts["overruns"]:
        late += f", {facts['overruns']} OVERRUNS ({facts['lost_ms']} ms lost)"
    return late


def pins_words(pins: Mapping[str, Any]) -> str:
    """Real lines and their gate in words."""
    left = f" for {pins['left_s']:.0f} s" if pins["gate"] == "armed" else ""
    return f"{pins['lines']}: {pins['gate']}{left}"


def can_words(buses: list[dict[str, Any]]) -> str:
    """State of the CAN links in words."""
    return ", ".join(
        b["state"] if b["state"] == "up" else f"{b['state']} ({b['reason'] or b['url']})"
        for b in buses
    )
