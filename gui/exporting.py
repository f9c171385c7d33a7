"""What plots show, into files: pictures and tables."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
from bms_gui.clip import safe
from bms_gui.snapshot import Snapshot
from pyqtgraph.Qt import QtCore, QtGui

ROWS_MAX = 1_000_000


def table(
    snapshot: Snapshot, names: list[str], t0_s: float, t1_s: float
) -> tuple[list[str], np.ndarray]:
    """(heads, (n, heads)) of all samples in a window; NaN where a signal has none at a time. A
    vector has a column for each element."""
    data, heads, parts = snapshot.data, ["time_s"], []
    if data is None:
        return heads, np.zeros((0, 1))
    for name in dict.fromkeys(names):
        time_s, values = data.window(name, t0_s, t1_s, ROWS_MAX)
        inside = (time_s >= t0_s) & (time_s <= t1_s)
        parts.append((np.asarray(time_s)[inside], np.asarray(values)[:, inside]))
        count = len(values)
        heads += [name] if count == 1 else [f"{name}[{k}]" for k in range(count)]
    times = np.unique(np.concatenate([part[0] for part in parts])) if parts else np.zeros(0)
    times = times[:ROWS_MAX]
    rows = np.full((len(times), len(heads)), np.nan)
    rows[:, 0] = times
    column = 1
    for time_s, values in parts:
        held = time_s <= (times[-1] if len(times) else 0.0)
        at = np.searchsorted(times, time_s[held])
        rows[at, column : column + len(values)] = values[:, held].T
        column += len(values)
    return heads, rows


def write_table(path: Path, heads: list[str], rows: np.ndarray) -> None:
    """CSV; names from outside are no formulas."""
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow([safe(head) for head in heads])
        for row in rows:
            out.writerow([f"{row[0]:.6f}", *("" if np.isnan(v) else f"{v:.7g}" for v in row[1:])])


def write_picture(path: Path, canvas: Any) -> None:
    """PNG at twice the size of the screen, or SVG, by the file's ending."""
    if path.suffix.lower() == ".svg":
        from pyqtgraph.Qt import QtSvg

        drawing = QtSvg.QSvgGenerator()
        drawing.setFileName(str(path))
        drawing.setSize(canvas.size())
        drawing.setViewBox(QtCore.QRect(QtCore.QPoint(0, 0), canvas.size()))
        painter = QtGui.QPainter(drawing)
        canvas.render(painter)
        painter.end()
        return
    picture = QtGui.QPixmap(canvas.size() * 2)
    picture.setDevicePixelRatio(2.0)
    painter = QtGui.QPainter(picture)
    canvas.render(painter)
    painter.end()
    if not picture.save(str(path)):
        raise OSError(0, "no such folder, or no right to write there")
