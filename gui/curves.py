"""Curves of a pyqtgraph plot, painted as envelopes: as fast for a million samples as for a hundred.

pyqtgraph keeps axes, grid, mouse and zoom; this item paints all curves of a plot into one picture
with bms.envelope. When only time has moved on, what is still visible is shifted and just the new
columns are drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyqtgraph as pg
from pyqtgraph.Qt import QtCore, QtGui

from bms import envelope

Window = Callable[[float, float, int], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Curve:
    """One line. window(t0, t1, columns) -> (time_s (n,), values (n,) float32) to draw.

    colour: 0xAARRGGBB. dash: columns drawn and left out; 0 solid. steps: values hold.
    band: like window, but values (2, n), low and high of an interval drawn behind.
    """

    window: Window
    colour: int
    thickness: float = 1.5
    dash: int = 0
    steps: bool = False
    band: Window | None = None


class Curves(pg.GraphicsObject):
    """All curves of one plot."""

    def __init__(self) -> None:
        super().__init__()
        self.curves: Sequence[Curve] = ()
        self.version: object = None
        self.unsettled_s = 0.0
        self._picture: np.ndarray | None = None
        self._shown: tuple[float, float, float, float] | None = None
        self._drawn: tuple[object, ...] = ()
        self.setZValue(10)

    def draw(
        self, curves: Sequence[Curve], version: object = None, unsettled_s: float = 0.0
    ) -> None:
        """These curves from now on. version: equal while older samples are what they were, so that
        columns already drawn may be kept; None draws all anew. unsettled_s: how much of the newest
        time in sight may still get samples."""
        self.curves, self.version, self.unsettled_s = curves, version, unsettled_s
        self.update()

    def boundingRect(self) -> QtCore.QRectF:
        """All that the plot shows."""
        box = self.getViewBox()
        return QtCore.QRectF(box.viewRect()) if box is not None else QtCore.QRectF()

    def viewRangeChanged(self) -> None:
        """The plot was moved or zoomed."""
        self.prepareGeometryChange()
        self.update()

    def paint(self, painter: QtGui.QPainter, _option: object, _widget: object = None) -> None:
        """Paints the picture over the whole view, pixel by pixel."""
        box = self.getViewBox()
        if box is None or not self.curves:
            return
        (t0, t1), (y0, y1) = box.viewRange()
        place = painter.worldTransform().mapRect(QtCore.QRectF(box.viewRect()))
        ratio = painter.device().devicePixelRatioF()
        width = min(round(place.width() * ratio), envelope.WIDTH_MAX)
        height = round(place.height() * ratio)
        if width < 2 or height < 2 or not t1 > t0 or not y1 > y0:
            return
        pixels = self._draw(width, height, (t0, t1, y0, y1), ratio)
        image = QtGui.QImage(
            pixels.data,
            width,
            height,
            4 * width,
            QtGui.QImage.Format.Format_ARGB32_Premultiplied,
        )
        image.setDevicePixelRatio(ratio)
        painter.save()
        painter.resetTransform()
        painter.drawImage(place.topLeft(), image)
        painter.restore()

    def _draw(
        self, width: int, height: int, window: tuple[float, float, float, float], ratio: float
    ) -> np.ndarray:
        t0, t1, y0, y1 = window
        per_column = (t1 - t0) / width
        styles = tuple((c.colour, c.thickness, c.dash, c.steps) for c in self.curves)
        drawn = (self.version, width, height, y0, y1, round((t1 - t0) * 1e9), styles)
        picture, shown = self._picture, self._shown
        if picture is None or picture.shape != (height, width):
            picture = self._picture = np.zeros((height, width), np.uint32)
            shown = None
        if self.version is None or shown is None or drawn != self._drawn:
            columns = width
        else:
            columns = round((t1 - shown[1]) / per_column)
            if columns < 0 or columns >= width:
                columns = width
        if columns == width:
            picture[:] = 0
            self._paint(picture, window, ratio)
            self._shown = window
        elif columns > 0:
            end_s = shown[1] + columns * per_column  # type: ignore[index]
            late = round(self.unsettled_s / per_column)
            fresh = min(width, columns + late + max(2, round(2 * ratio)))  # lines end between
            picture[:, : width - columns] = picture[:, columns:].copy()
            picture[:, width - fresh :] = 0
            self._paint(
                picture[:, width - fresh :], (end_s - fresh * per_column, end_s, y0, y1), ratio
            )
            self._shown = (end_s - width * per_column, end_s, y0, y1)
        self._drawn = drawn
        return picture

    def _paint(
        self, pixels: np.ndarray, window: tuple[float, float, float, float], ratio: float
    ) -> None:
        t0, t1, _, _ = window
        columns = pixels.shape[1]
        for curve in self.curves:
            if curve.band is not None:
                time_s, edges = curve.band(t0, t1, columns)
                if len(time_s):
                    faint = curve.colour & 0x00FFFFFF | 0x28000000
                    low, high = (np.ascontiguousarray(edge) for edge in edges)
                    envelope.band(pixels, window, time_s, low, high, faint)
        for curve in self.curves:
            time_s, values = curve.window(t0, t1, columns)
            if len(time_s):
                thickness = curve.thickness * ratio
                envelope.curve(
                    pixels, window, time_s, values, curve.colour, thickness, curve.dash, curve.steps
                )
