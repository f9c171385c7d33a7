"""The header strip: what one wants to know of a pack at any moment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from bms_gui.clip import tsv
from bms_gui.snapshot import Snapshot
from bms_gui.theme import Theme
from bms_gui.view import View
from bms_gui.words import UNKNOWN, current, fixed, plain, quantity
from pyqtgraph.Qt import QtCore, QtGui, QtWidgets

TITLE, AREA, ORDER = "Overview", "top", 0
MAIN_PLUS, MAIN_MINUS, PRECHARGE = 1, 2, 4


@dataclass(frozen=True)
class Told:
    """What a tile says. tone: "", "good", "warn" or "bad"."""

    value: str
    detail: str = ""
    tone: str = ""


def state(s: Snapshot) -> Told:
    """State of the BMS and why it tripped."""
    word = s.word("cmd_state").replace("_", " ")
    tones = {"error": "bad", "latched": "bad", "asserted": "bad", "refused": "bad"}
    trip = s.word("cmd_trip_diagnosis").replace("_", " ")
    count = s.number("cmd_diagnosis_count")
    detail = "" if trip in ("none", "unknown") else trip
    if not detail and count > 0:
        detail = f"{count:.0f} diagnos{'is' if count == 1 else 'es'}"
    tone = tones.get(word, "good" if word.startswith("normal") else "")
    return Told(word, detail, tone)


def charge(s: Snapshot) -> Told:
    """State of charge with its interval, and health."""
    low, high = s.number("est_soc_low_frac"), s.number("est_soc_high_frac")
    soh = s.number("est_soh_frac")
    half = f" ± {50 * (high - low):.1f}" if np.isfinite(low + high) else ""
    health = f"health {100 * soh:.1f} %" if np.isfinite(soh) else ""
    value = s.number("est_soc_frac")
    text = f"{100 * value:.1f}{half} %" if np.isfinite(value) else UNKNOWN
    return Told(text, health)


def voltage(s: Snapshot) -> Told:
    """Pack voltage and link voltage."""
    link = s.number("meas_link_voltage_v")
    return Told(fixed(s.number("meas_pack_voltage_v"), 1, "V"), f"link {fixed(link, 1, 'V')}")


def amperes(s: Snapshot) -> Told:
    """Current with its direction in words, and the limits."""
    out, into = s.number("est_discharge_limit_a"), s.number("est_charge_limit_a")
    return Told(
        current(s.number("meas_pack_current_a")),
        f"{fixed(out, 0)} out, {fixed(into, 0, 'A')} in",
    )


def power(s: Snapshot) -> Told:
    """Power, and what is allowed at the present voltage."""
    volts = s.number("meas_pack_voltage_v")
    watts = volts * s.number("meas_pack_current_a")
    out, into = (volts * s.number(f"est_{way}_limit_a") for way in ("discharge", "charge"))
    limits = f"{1e-3 * out:.0f} out, {1e-3 * into:.0f} kW in" if np.isfinite(out + into) else ""
    return Told(quantity(watts, "W", 3), limits)


def cells(s: Snapshot) -> Told:
    """Lowest and highest cell and their distance."""
    low, high = s.number("meas_cell_voltage_min_v"), s.number("meas_cell_voltage_max_v")
    spread = 1e3 * (high - low)
    return Told(f"{fixed(low, 3)}–{fixed(high, 3, 'V')}", f"spread {fixed(spread, 0, 'mV')}")


def temperature(s: Snapshot) -> Told:
    """Coldest and warmest thermistor and the hottest core as estimated."""
    low, high = s.number("meas_temperature_min_degc"), s.number("meas_temperature_max_degc")
    core = s.number("est_core_max_degc")
    return Told(f"{fixed(low, 1)}–{fixed(high, 1, 'degC')}", f"core ≤ {fixed(core, 1, 'degC')}")


def pressure(s: Snapshot) -> Told:
    """Stack pressure over the modules."""
    low, high = s.number("meas_module_pressure_min_kpa"), s.number("meas_module_pressure_max_kpa")
    return Told(f"{fixed(low, 0)}–{fixed(high, 0, 'kPa')}", "stack pressure")


def insulation(s: Snapshot) -> Told:
    """Insulation to chassis, and per volt."""
    kohm, volts = s.number("meas_insulation_kohm"), s.number("meas_pack_voltage_v")
    per_volt = 1e3 * kohm / volts if volts > 1.0 else float("nan")
    tone = "bad" if per_volt < 100.0 else "warn" if per_volt < 500.0 else ""
    return Told(fixed(kohm, 0, "kohm"), f"{fixed(per_volt, 0)} Ω/V", tone)


def _times(speed: float) -> str:
    return f"{speed:.0f}" if speed >= 9.95 else f"{speed:.1f}" if speed >= 0.95 else f"{speed:.2g}"


def link(s: Snapshot) -> Told:
    """How the source is doing."""
    status = s.status
    words = {"ended": "at its end", "empty": "no source"}
    speed = "" if status.state != "running" else f"{_times(status.speed)}× real time"
    detail = "in the past" if s.is_past and s.source != "recording" else s.source
    speed = status.detail or speed
    detail = "" if speed and s.source in ("simulation", "live") and not s.is_past else detail
    tone = {"lost": "bad", "waiting": "warn"}.get(status.state, "")
    return Told(
        words.get(status.state, status.state), " · ".join(x for x in (detail, speed) if x), tone
    )


TILES: tuple[tuple[str, Callable[[Snapshot], Told], tuple[str, ...], int], ...] = (
    ("State", state, ("cmd_state",), 12),
    ("Charge", charge, ("est_soc_frac",), 13),
    ("Voltage", voltage, ("meas_pack_voltage_v",), 9),
    ("Current", amperes, ("meas_pack_current_a",), 14),
    ("Power", power, ("meas_pack_voltage_v", "meas_pack_current_a"), 14),
    ("Cells", cells, ("meas_cell_voltage_min_v", "meas_cell_voltage_max_v"), 13),
    ("Temperature", temperature, ("meas_temperature_max_degc",), 12),
    ("Pressure", pressure, ("meas_module_pressure_max_kpa",), 12),
    ("Insulation", insulation, ("meas_insulation_kohm",), 9),
)
"""Caption, what it says, the signals it stands on, and its share of the width."""

SIZES = (14, 13, 12, 11, 10, 9, 8)
SMALLEST = 10
HEIGHT = 58


class Tile(QtWidgets.QWidget):
    """Caption, value, detail, in whatever width there is: the value shrinks, the detail is cut.
    Grey when the value is stale."""

    def __init__(self, caption: str, theme: Theme) -> None:
        super().__init__()
        self.caption, self.theme = caption, theme
        self.told, self.stale, self.size = Told(UNKNOWN), True, SIZES[0]
        self.setFixedHeight(HEIGHT)
        self.setMinimumWidth(62)

    def tell(self, told: Told, stale: bool) -> None:
        """Shows it."""
        if (told, stale) == (self.told, self.stale):
            return
        self.told, self.stale = told, stale
        words = [f"{self.caption}: {told.value}", told.detail]
        words += ["not told for more than two seconds"] if stale else []
        self.setToolTip(plain("\n".join(word for word in words if word)))
        self.update()

    def paintEvent(self, _: QtGui.QPaintEvent) -> None:
        """Three lines."""
        p, theme = QtGui.QPainter(self), self.theme
        p.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
        p.setPen(QtCore.Qt.PenStyle.NoPen)
        p.setBrush(QtGui.QColor(theme.panel))
        p.drawRoundedRect(QtCore.QRectF(self.rect()), 5.0, 5.0)
        tones = {"good": theme.good, "warn": theme.warn, "bad": theme.bad}
        if self.told.tone in tones and not self.stale:
            p.setBrush(QtGui.QColor(tones[self.told.tone]))
            p.drawRoundedRect(QtCore.QRectF(0, 5, 3, self.height() - 10), 1.5, 1.5)
        room = self.width() - 16
        font = QtGui.QFont(self.font())
        font.setPointSize(8)
        p.setFont(font)
        p.setPen(QtGui.QColor(theme.faint))
        caption = f"{self.caption} · stale" if self.stale else self.caption
        fits = p.fontMetrics().horizontalAdvance(caption) <= room
        p.drawText(8, 15, caption if fits else self.caption)
        cut = QtGui.QFontMetrics(font).elidedText(
            self.told.detail, QtCore.Qt.TextElideMode.ElideRight, room
        )
        p.drawText(8, self.height() - 8, cut)
        p.setFont(self.fitting(self.size))
        p.setPen(QtGui.QColor(theme.faint if self.stale else tones.get(self.told.tone, theme.text)))
        cut = p.fontMetrics().elidedText(self.told.value, QtCore.Qt.TextElideMode.ElideRight, room)
        p.drawText(8, 36, cut)

    def fitting(self, largest: int) -> QtGui.QFont:
        """The largest font, not above a size, that the value fits in."""
        font = QtGui.QFont(self.font())
        font.setWeight(QtGui.QFont.Weight.DemiBold)
        for size in SIZES:
            if size > largest:
                continue
            font.setPointSize(size)
            if QtGui.QFontMetrics(font).horizontalAdvance(self.told.value) <= self.width() - 16:
                break
        return font


class Contactors(QtWidgets.QWidget):
    """Pack, switches and link as a circuit. A switch is drawn as its contact is reported; a coil
    that is driven has a bar over it, so that a contact that does not follow is seen at once."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.theme = theme
        self.reported: int | None = None
        self.wanted: int | None = None
        self.setFixedHeight(HEIGHT)
        self.setMinimumWidth(96)

    def tell(self, reported: float, wanted: float, stale: bool) -> None:
        """Bits 0 main plus, 1 main minus, 2 precharge. NaN where it is not known."""
        told = None if stale or not np.isfinite(reported) else int(reported)
        driven = int(wanted) if np.isfinite(wanted) else None
        if (told, driven) == (self.reported, self.wanted):
            return
        self.reported, self.wanted = told, driven
        words = ("main +", MAIN_PLUS), ("main −", MAIN_MINUS), ("precharge", PRECHARGE)
        lines = [f"{w}: {self._words(b)}" for w, b in words]
        self.setToolTip("\n".join(lines) if told is not None else "contactors: unknown")
        self.update()

    def _words(self, bit: int) -> str:
        contact = "closed" if (self.reported or 0) & bit else "open"
        if self.wanted is None:
            return contact
        return f"{contact}, coil {'on' if self.wanted & bit else 'off'}"

    def paintEvent(self, _: QtGui.QPaintEvent) -> None:
        """A cell on the left, the link on the right, rails with switches between."""
        p, theme = QtGui.QPainter(self), self.theme
        p.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
        p.setPen(QtCore.Qt.PenStyle.NoPen)
        p.setBrush(QtGui.QColor(theme.panel))
        p.drawRoundedRect(QtCore.QRectF(self.rect()), 5.0, 5.0)
        font = QtGui.QFont(self.font())
        font.setPointSize(7)
        p.setFont(font)
        left, right, w = 16.0, self.width() - 8.0, float(self.width())
        top, plus, minus = 11.0, 27.0, 47.0
        line = QtGui.QPen(QtGui.QColor(theme.faint), 1.4)
        p.setPen(line)
        p.setBrush(QtCore.Qt.BrushStyle.NoBrush)
        p.drawLine(QtCore.QPointF(left, plus), QtCore.QPointF(left, minus - 13))
        p.drawLine(QtCore.QPointF(left, minus - 7), QtCore.QPointF(left, minus))
        p.drawLine(QtCore.QPointF(left - 7, minus - 13), QtCore.QPointF(left + 7, minus - 13))
        p.drawLine(QtCore.QPointF(left - 3.5, minus - 7), QtCore.QPointF(left + 3.5, minus - 7))
        branch, join = left + 0.1 * w, right - 0.16 * w
        for x in (branch, join):
            p.drawLine(QtCore.QPointF(x, plus), QtCore.QPointF(x, top))
        p.drawRect(QtCore.QRectF(right - 4, plus, 8, minus - plus))
        self._rail(p, QtCore.QPointF(left, plus), QtCore.QPointF(right, plus), MAIN_PLUS, "+")
        self._rail(p, QtCore.QPointF(left, minus), QtCore.QPointF(right, minus), MAIN_MINUS, "−")
        self._rail(p, QtCore.QPointF(branch, top), QtCore.QPointF(join, top), PRECHARGE, "R")

    def _rail(
        self, p: QtGui.QPainter, a: QtCore.QPointF, b: QtCore.QPointF, bit: int, mark: str
    ) -> None:
        theme, y, known = self.theme, a.y(), self.reported is not None
        closed = bool((self.reported or 0) & bit)
        odd = known and self.wanted is not None and bool(self.wanted & bit) != closed
        colour = theme.faint if not known else theme.warn if odd else theme.text
        colour = theme.good if known and closed and not odd else colour
        middle = 0.5 * (a.x() + b.x()) - (4.0 if mark == "R" else 0.0)
        left, right = middle - 8.0, middle + 8.0
        p.setPen(QtGui.QPen(QtGui.QColor(colour), 2.0))
        p.setBrush(QtGui.QColor(colour))
        p.drawLine(a, QtCore.QPointF(left, y))
        p.drawLine(QtCore.QPointF(right, y), b)
        if not known:
            p.drawText(QtCore.QPointF(middle - 3, y + 4), "?")
        else:
            tip = QtCore.QPointF(right, y) if closed else QtCore.QPointF(right - 2, y - 7)
            p.drawLine(QtCore.QPointF(left, y), tip)
        for x in (left, right):
            p.drawEllipse(QtCore.QPointF(x, y), 1.8, 1.8)
        if self.wanted is not None and self.wanted & bit:
            p.drawLine(QtCore.QPointF(left + 2, y - 9), QtCore.QPointF(right - 2, y - 9))
        if mark == "R":
            p.setPen(QtGui.QPen(QtGui.QColor(colour), 1.2))
            p.setBrush(QtGui.QColor(theme.panel))
            p.drawRect(QtCore.QRectF(right + 4, y - 3, 12, 6))
        else:
            p.setPen(QtGui.QColor(theme.faint))
            p.drawText(QtCore.QPointF(a.x() - 11, y + 3), mark)


class Panel(QtWidgets.QWidget):
    """The strip."""

    def __init__(self, view: View, theme: Theme) -> None:
        super().__init__()
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(8, 4, 8, 4)
        row.setSpacing(5)
        self.tiles = [Tile(caption, theme) for caption, _, _, _ in TILES]
        for tile, (_, _, _, share) in zip(self.tiles, TILES, strict=True):
            row.addWidget(tile, share)
        self.contactors = Contactors(theme)
        row.addWidget(self.contactors, 12)
        self.link = Tile("Source", theme)
        row.addWidget(self.link, 12)

    def tell(self, snapshot: Snapshot) -> None:
        """Draws one moment."""
        for tile, (_, tell, names, _) in zip(self.tiles, TILES, strict=True):
            tile.tell(tell(snapshot), any(snapshot.is_stale(name, 2.5) for name in names))
        self.contactors.tell(
            snapshot.number("meas_contactors"),
            snapshot.number("cmd_contactors"),
            snapshot.is_stale("meas_contactors"),
        )
        self.link.tell(link(snapshot), snapshot.source == "")
        self._one_size()

    def _one_size(self) -> None:
        """Values side by side are as large as the widest allows, down to what reads well."""
        tiles = [*self.tiles, self.link]
        size = max(SMALLEST, min(tile.fitting(SIZES[0]).pointSize() for tile in tiles))
        for tile in tiles:
            if tile.size != size:
                tile.size = size
                tile.update()

    def copied(self) -> str:
        """The tiles as lines."""
        return tsv([tile.caption, tile.told.value, tile.told.detail] for tile in self.tiles)
