"""A recording as the findings read it: whole signals, but never more samples than fit in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bms.recorder.export.source import Source, samples
from bms.scenarios.findings import TICKS_MAX

if TYPE_CHECKING:
    from bms.recorder import Event, Recording

VALUES_MAX = 1 << 24  # of the widest vector: samples times cells, float32: 64 MB


class Thinned:
    """`[name]` and `time_s(name)` as a Recording has them, every second, third, ... sample of a
    signal that is longer than TICKS_MAX (vectors: VALUES_MAX values). Signals that were sampled
    together stay so: vectors share a stride. One signal is kept at a time."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._counts: dict[str, int] = {}
        self._kept: tuple[str, np.ndarray, np.ndarray] | None = None

    @property
    def events(self) -> list[Event]:
        """What happened."""
        return self._recording.events

    def __getitem__(self, name: str) -> np.ndarray:
        return self._read(name)[0]

    def time_s(self, name: str) -> np.ndarray:
        """Times of the samples `[name]` gives."""
        return self._read(name)[1]

    def _read(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        if self._kept is None or self._kept[0] != name:
            self._kept = (name, *self._pass(name))
        return self._kept[1], self._kept[2]

    def _pass(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        source = Source.of(self._recording, [name])
        (info,) = source.signals
        count = sum(batch.num_rows - batch.column(name).null_count for batch in source.rows([name]))
        widest = max(s.count for s in self._recording.signals.values())
        every = 1 + count // (min(TICKS_MAX, VALUES_MAX // widest) if info.vector else TICKS_MAX)
        values, times, seen = [], [], 0
        for batch in source.rows([name]):
            t_ns, found = samples(batch.column(name), batch.column("t_ns").to_numpy(), info)
            first = -seen % every
            values.append(found[first::every].copy())
            times.append(t_ns[first::every] * 1e-9)
            seen += t_ns.size
        if not values:
            return np.zeros((0, info.count) if info.vector else 0), np.zeros(0)
        return np.concatenate(values), np.concatenate(times)
