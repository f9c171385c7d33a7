"""The chain of one opening, drawn: its links below each other, and the reaction on its budget."""

from __future__ import annotations

import numpy as np
from bms_gui.theme import Theme, mixed, numbers_font
from bms_gui.words import clock
from pyqtgraph.Qt import QtCore, QtGui, QtWidgets

from bms.why import Chain, Link

LEFT, TITLE_WIDTH, TIME_WIDTH, APART = 16, 104, 96, 84


def relative(link: Link, zero_s: float) -> str:
    """Time against the decision, in a unit that fits."""
    if not np.isfinite(link.time_s):
        return ""
    if not np.isfinite(zero_s):
        return ""
    ms = 1e3 * (link.time_s - zero_s)
    sign = "±" if link.within_s else ""
    if abs(ms) < 0.5:
        return "0"
    return f"{sign}{ms:+.0f} ms" if abs(ms) < 10_000 else f"{sign}{ms / 1e3:+.1f} s"


class Timeline(QtWidgets.QWidget):
    """The links. picked: one with a time was clicked or entered."""

    picked = QtCore.Signal(object)

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.theme = theme
        self.chain: Chain | None = None
        self.selected = -1
        self._boxes: list[QtCore.QRectF] = []
        self.setFocusPolicy(QtCore.Qt.FocusPolicy.StrongFocus)
        self.setMouseTracking(True)

    def tell(self, chain: Chain | None) -> None:
        """This chain from now on."""
        if chain == self.chain:
            return
        if chain is None or self.chain is None or chain.opening != self.chain.opening:
            self.selected = -1
        self.chain = chain
        self._arrange()
        self.update()

    def resizeEvent(self, event: QtGui.QResizeEvent) -> None:
        """Text is folded anew."""
        super().resizeEvent(event)
        self._arrange()

    def _text_left(self) -> float:
        return LEFT + 14 + TITLE_WIDTH + TIME_WIDTH + APART

    def _arrange(self) -> None:
        self._boxes = []
        y, width = 2.0, max(120.0, self.width() - self._text_left() - 8)
        metrics = QtGui.QFontMetrics(self.font())
        wrap = int(QtCore.Qt.TextFlag.TextWordWrap.value)
        for link in self.chain.links if self.chain else ():
            box = metrics.boundingRect(QtCore.QRect(0, 0, int(width), 1000), wrap, link.text)
            height = max(24.0, box.height() + 9.0)
            self._boxes.append(QtCore.QRectF(0, y, self.width(), height))
            y += height
        self.setMinimumHeight(int(y) + 4)

    def paintEvent(self, _: QtGui.QPaintEvent) -> None:
        """A line with a mark for each link: filled where it is known, hollow where it is not."""
        if self.chain is None:
            return
        p = QtGui.QPainter(self)
        p.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
        middles = [box.top() + 12.0 for box in self._boxes]
        p.setPen(QtGui.QPen(QtGui.QColor(self.theme.line), 2.0))
        if len(middles) > 1:
            p.drawLine(QtCore.QPointF(LEFT, middles[0]), QtCore.QPointF(LEFT, middles[-1]))
        for k, (link, box) in enumerate(zip(self.chain.links, self._boxes, strict=True)):
            self._link(p, k, link, box)

    def _link(self, p: QtGui.QPainter, k: int, link: Link, box: QtCore.QRectF) -> None:
        theme = self.theme
        if k == self.selected:
            p.fillRect(box, QtGui.QColor(mixed(theme.panel, theme.accent, 0.25)))
        tone = self._tone(link)
        p.setPen(QtGui.QPen(QtGui.QColor(tone), 2.0))
        known = link.is_known
        p.setBrush(QtGui.QColor(tone if known else theme.panel))
        p.drawEllipse(QtCore.QPointF(LEFT, box.top() + 12.0), 4.5, 4.5)
        p.setBrush(QtCore.Qt.BrushStyle.NoBrush)
        p.setPen(QtGui.QColor(theme.text if known else theme.faint))
        top = QtCore.Qt.AlignmentFlag.AlignTop
        left, right = (getattr(QtCore.Qt.AlignmentFlag, s) for s in ("AlignLeft", "AlignRight"))
        x, y, h = LEFT + 14.0, box.top() + 4.0, box.height() - 4.0
        bold = QtGui.QFont(self.font())
        bold.setWeight(QtGui.QFont.Weight.DemiBold)
        p.setFont(bold)
        p.drawText(QtCore.QRectF(x, y, TITLE_WIDTH, h), left | top, link.title)
        p.setFont(numbers_font(9))
        p.setPen(QtGui.QColor(theme.faint))
        x += TITLE_WIDTH
        zero_s = self.chain.opening.decided_s if self.chain else float("nan")
        if np.isfinite(link.time_s):
            whole = clock(link.time_s)[:-2] + f"{link.time_s % 1.0:.3f}"[1:]
            p.drawText(QtCore.QRectF(x, y, TIME_WIDTH, h), left | top, whole)
        x += TIME_WIDTH
        p.drawText(QtCore.QRectF(x, y, APART - 16, h), right | top, relative(link, zero_s))
        p.setFont(self.font())
        p.setPen(QtGui.QColor(theme.text if known else theme.faint))
        wrap = QtCore.Qt.TextFlag.TextWordWrap
        p.drawText(
            QtCore.QRectF(self._text_left(), y, box.width() - self._text_left() - 8, h),
            int((left | top).value) | int(wrap.value),
            link.text,
        )

    def _tone(self, link: Link) -> str:
        theme = self.theme
        if not link.is_known:
            return theme.faint
        return {"cause": theme.warn, "decision": theme.bad, "contactor": theme.bad}.get(
            link.link, theme.accent
        )

    def at(self, y: float) -> int:
        """Number of the link at a height; -1 none."""
        return next((k for k, box in enumerate(self._boxes) if box.top() <= y < box.bottom()), -1)

    def mousePressEvent(self, event: QtGui.QMouseEvent) -> None:
        """Goes to a link's time."""
        self._pick(self.at(event.position().y()))

    def keyPressEvent(self, event: QtGui.QKeyEvent) -> None:
        """Up and down choose a link and go to its time."""
        move = {QtCore.Qt.Key.Key_Up: -1, QtCore.Qt.Key.Key_Down: 1}.get(event.key(), 0)
        if move and self._boxes:
            self._pick(min(max(0, self.selected + move), len(self._boxes) - 1))
        else:
            super().keyPressEvent(event)

    def _pick(self, k: int) -> None:
        if self.chain is None or not 0 <= k < len(self.chain.links):
            return
        self.selected = k
        self.update()
        self.picked.emit(self.chain.links[k])


class Budget(QtWidgets.QWidget):
    """The reaction as a bar on its budget, with the time that was predicted."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.theme = theme
        self.chain: Chain | None = None
        self.setFixedHeight(40)

    def tell(self, chain: Chain | None) -> None:
        """This chain from now on."""
        self.chain = chain
        self.setVisible(chain is not None and chain.opening.why == "trip")
        self.update()

    def text(self) -> str:
        """What the bar says, in words."""
        chain = self.chain
        if chain is None:
            return ""
        if not np.isfinite(chain.reaction_ms):
            return f"reaction not known; budget {chain.budget_ms:.0f} ms"
        kept = "" if chain.is_in_time else "  OVER BUDGET"
        travel = (
            f"; contacts {chain.travel_ms:.0f} ms after the command"
            if np.isfinite(chain.travel_ms)
            else ""
        )
        predicted = (
            f", predicted {chain.predicted_ms:.0f} ms" if np.isfinite(chain.predicted_ms) else ""
        )
        return (
            f"reaction {chain.reaction_ms:.0f} ms from {chain.counted_from} to decision, "
            f"budget {chain.budget_ms:.0f} ms{predicted}{kept}{travel}"
        )

    def paintEvent(self, _: QtGui.QPaintEvent) -> None:
        """Bar and words."""
        chain, theme = self.chain, self.theme
        if chain is None or not np.isfinite(chain.budget_ms):
            return
        p = QtGui.QPainter(self)
        p.setPen(QtGui.QColor(theme.text if chain.is_in_time is not False else theme.bad))
        p.drawText(8, 15, self.text())
        left, right, y = 8, self.width() - 8, 24
        known_ms = [x for x in (chain.reaction_ms, chain.budget_ms) if np.isfinite(x)]
        scale = (right - left) / (1.08 * max(known_ms))
        p.fillRect(left, y, right - left, 8, QtGui.QColor(theme.line))
        if np.isfinite(chain.reaction_ms):
            tone = theme.good if chain.is_in_time else theme.bad
            p.fillRect(left, y, max(2, int(chain.reaction_ms * scale)), 8, QtGui.QColor(tone))
        for ms, colour in ((chain.budget_ms, theme.text), (chain.predicted_ms, theme.accent)):
            if np.isfinite(ms):
                p.fillRect(left + int(ms * scale), y - 3, 2, 14, QtGui.QColor(colour))
