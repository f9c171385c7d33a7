"""What is heard on a bus into a recording, the same kind a simulation writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from bms_gui.hearing import Hearing, Piece

from bms import spec
from bms.errors import RecorderError
from bms.recorder import Signal, Writer


class Keeping:
    """Writes pieces to a file until it is closed. RecorderError when it cannot be made."""

    def __init__(self, path: str, hearing: Hearing, title: str) -> None:
        self.path = Path(path)
        self._began_s: float | None = None
        wide = {row.name: hearing.vectors[row.name].size for row in spec.signals() if row.count
                and row.name in hearing.vectors}  # fmt: skip
        self._live = {
            row.name: np.full(max(1, wide.get(row.name, 1)), np.nan, np.float32)
            for row, _, _ in hearing.rows
        }
        signals = [
            Signal(row.name, row.unit, row.kind, row.rate, row.text, self._live[row.name],
                   origin=row.message)
            for row, _, _ in hearing.rows
        ]  # fmt: skip
        about = {"title": title, "source": "live", "blocks": hearing.blocks,
                 "modules": hearing.modules, "parallel": hearing.parallel}  # fmt: skip
        self._writer = Writer(
            path, signals, about, cells_every_s=0.2, frames=True, batch_ticks=1000
        )

    def add(self, piece: Piece) -> None:
        """Rows, frames and events."""
        if not len(piece.time_s):
            return
        if self._began_s is None:
            self._began_s = float(piece.time_s[0]) - 0.01
        recorder, began_s = self._writer.low_level, self._began_s
        frames, f, c = piece.frames, 0, 0
        for event in piece.events:
            at_ns = max(0, event.t_ns - round(began_s * 1e9))
            self._writer.event(at_ns, event.kind, event.name, event.index, event.value, event.text)
        for k, time_s in enumerate(piece.time_s):
            while c < len(piece.cell_time_s) and piece.cell_time_s[c] <= time_s:
                for name, rows in piece.cell_values.items():
                    held = self._live[name]
                    held[: rows.shape[1]] = rows[c][: held.size]
                c += 1
            while f < len(frames.id) and frames.time_s[f] <= time_s:
                recorder.frame(
                    round((frames.time_s[f] - began_s) * 1e6), int(frames.bus[f]),
                    int(frames.direction[f] == 1), int(frames.id[f]), int(frames.flags[f]),
                    frames.data[f, : frames.length[f]].tobytes(),
                )  # fmt: skip
                f += 1
            for name, column in piece.values.items():
                self._live[name][0] = column[k]
            if recorder.tick(round((time_s - began_s) * 1e6)):
                self._writer.drain()
                recorder = self._writer.low_level
        self._writer.drain()

    def close(self) -> str:
        """Ends the file; "" or what is wrong with it."""
        try:
            self._writer.close({})
        except RecorderError as error:
            return str(error)
        return ""
