"""The header strip: what one wants to know of a pack at any moment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from bms_gui.snapshot import Snapshot
from bms_gui.theme import Theme, numbers_font
from bms_gui.view import View
from bms_gui.words import UNKNOWN, clock, current, fixed, quantity
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
    between = f"{100 * low:.1f} to {100 * high:.1f} %" if np.isfinite(low + high) else ""
    health = f"health {100 * soh:.1f} %" if np.isfinite(soh) else ""
    detail = " · ".join(part for part in (between, health) if part)
    return Told(fixed(100 * s.number("est_soc_frac"), 1, "%"), detail)


def voltage(s: Snapshot) -> Told:
    """Pack voltage and link voltage."""
    link = s.number("meas_link_voltage_v")
    return Told(fixed(s.number("meas_pack_voltage_v"), 1, "V"), f"link {fixed(link, 1, 'V')}")


def amperes(s: Snapshot) -> Told:
    """Current with its direction in words, and the limits."""
    out, into = s.number("est_discharge_limit_a"), s.number("est_charge_limit_a")
    return Told(
        current(s.number("meas_pack_current_a")),
        f"limits {fixed(out, 0)} out, {fixed(into, 0, 'A')} in",
    )


def power(s: Snapshot) -> Told:
    """Power, and what is allowed at the present voltage."""
    volts = s.number("meas_pack_voltage_v")
    watts = volts * s.number("meas_pack_current_a")
    out, into = (volts * s.number(f"est_{way}_limit_a") for way in ("discharge", "charge"))
    return Told(
        quantity(watts, "W", 3), f"{quantity(out, 'W', 3)} out, {quantity(into, 'W', 3)} in"
    )


def cells(s: Snapshot) -> Told:
    """Lowest and highest cell and their distance."""
    low, high = s.number("meas_cell_voltage_min_v"), s.number("meas_cell_voltage_max_v")
    spread = 1e3 * (high - low)
    return Told(f"{fixed(low, 3)} – {fixed(high, 3, 'V')}", f"spread {fixed(spread, 0, 'mV')}")


def temperature(s: Snapshot) -> Told:
    """Coldest and warmest thermistor and the hottest core as estimated."""
    low, high = s.number("meas_temperature_min_degc"), s.number("meas_temperature_max_degc")
    core = s.number("est_core_max_degc")
    return Told(f"{fixed(low, 1)} – {fixed(high, 1, 'degC')}", f"core ≤ {fixed(core, 1, 'degC')}")


def pressure(s: Snapshot) -> Told:
    """Stack pressure over the modules."""
    low, high = s.number("meas_module_pressure_min_kpa"), s.number("meas_module_pressure_max_kpa")
    return Told(f"{fixed(low, 0)} – {fixed(high, 0, 'kPa')}", "stack pressure")


def insulation(s: Snapshot) -> Told:
    """Insulation to chassis, and per volt."""
    kohm, volts = s.number("meas_insulation_kohm"), s.number("meas_pack_voltage_v")
    per_volt = 1e3 * kohm / volts if volts > 1.0 else float("nan")
    tone = "bad" if per_volt < 100.0 else "warn" if per_volt < 500.0 else ""
    return Told(fixed(kohm, 0, "kohm"), f"{fixed(per_volt, 0)} Ω/V", tone)


def link(s: Snapshot) -> Told:
    """How the source is doing."""
    status = s.status
    words = {"running": "running", "paused": "paused", "ended": "at its end", "lost": "lost"}
    speed = "" if status.state != "running" else f"{status.speed:.3g}× real time"
    tone = "bad" if status.state == "lost" else ""
    return Told(words.get(status.state, "no source"), f"{clock(s.time_s)}  {speed}".strip(), tone)


TILES: tuple[tuple[str, Callable[[Snapshot], Told], tuple[str, ...]], ...] = (
    ("State", state, ("cmd_state",)),
    ("Charge", charge, ("est_soc_frac",)),
    ("Voltage", voltage, ("meas_pack_voltage_v",)),
    ("Current", amperes, ("meas_pack_current_a",)),
    ("Power", power, ("meas_pack_voltage_v", "meas_pack_current_a")),
    ("Cells", cells, ("meas_cell_voltage_min_v", "meas_cell_voltage_max_v")),
    ("Temperature", temperature, ("meas_temperature_max_degc",)),
    ("Pressure", pressure, ("meas_module_pressure_max_kpa",)),
    ("Insulation", insulation, ("meas_insulation_kohm",)),
)


class Tile(QtWidgets.QFrame):
    """Caption, value, detail. Grey when the value is stale."""

    def __init__(self, caption: str, theme: Theme) -> None:
        super().__init__()
        self.theme = theme
        box = QtWidgets.QVBoxLayout(self)
        box.setContentsMargins(10, 5, 10, 5)
        box.setSpacing(0)
        self.caption = QtWidgets.QLabel(caption)
        self.value, self.detail = QtWidgets.QLabel(UNKNOWN), QtWidgets.QLabel("")
        font = numbers_font(12)
        font.setBold(True)
        self.value.setFont(font)
        self.detail.setFont(numbers_font(8))
        for label in (self.caption, self.value, self.detail):
            label.setTextFormat(QtCore.Qt.TextFormat.PlainText)
            box.addWidget(label)
        self.setStyleSheet(f"Tile {{ background: {theme.panel}; border-radius: 5px; }}")
        self.caption.setStyleSheet(f"color: {theme.faint}; font-size: 8pt;")
        self.detail.setStyleSheet(f"color: {theme.faint};")
        self._colour = ""

    def tell(self, told: Told, stale: bool) -> None:
        """Shows it."""
        theme = self.theme
        tones = {"good": theme.good, "warn": theme.warn, "bad": theme.bad}
        colour = theme.faint if stale else tones.get(told.tone, theme.text)
        if colour != self._colour:
            self.value.setStyleSheet(f"color: {colour};")
            self._colour = colour
        for label, text in ((self.value, told.value), (self.detail, told.detail)):
            if label.text() != text:
                label.setText(text)
        self.setToolTip("not told for more than a second" if stale else "")


class Contactors(QtWidgets.QWidget):
    """The switches between pack and link, as they are reported."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.theme = theme
        self.reported: int | None = None
        self.wanted = 0
        self.setMinimumWidth(150)
        self.setSizePolicy(
            QtWidgets.QSizePolicy.Policy.Fixed, QtWidgets.QSizePolicy.Policy.Preferred
        )

    def tell(self, reported: float, wanted: float, stale: bool) -> None:
        """Bits 0 main plus, 1 main minus, 2 precharge."""
        told = None if stale or not np.isfinite(reported) else int(reported)
        if (told, wanted) != (self.reported, self.wanted):
            self.reported, self.wanted = told, int(wanted) if np.isfinite(wanted) else 0
            self.update()
        words = ("main +", MAIN_PLUS), ("main −", MAIN_MINUS), ("precharge", PRECHARGE)
        if told is None:
            self.setToolTip("contactors: unknown")
        else:
            self.setToolTip("\n".join(f"{w}: {'closed' if told & b else 'open'}" for w, b in words))

    def paintEvent(self, _: QtGui.QPaintEvent) -> None:
        """Two rails with a switch each, the precharge path above the upper one."""
        p = QtGui.QPainter(self)
        p.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
        w, h = self.width(), self.height()
        rows = ((0.18, PRECHARGE, "R"), (0.45, MAIN_PLUS, "+"), (0.8, MAIN_MINUS, "−"))
        p.setFont(numbers_font(8))
        for share, bit, mark in rows:
            self._switch(p, QtCore.QRectF(14, h * share, w - 28, 0), bit, mark)

    def _switch(self, p: QtGui.QPainter, at: QtCore.QRectF, bit: int, mark: str) -> None:
        theme, y = self.theme, at.top()
        known = self.reported is not None
        closed = bool((self.reported or 0) & bit)
        odd = known and bool(self.wanted & bit) != closed
        colour = (
            theme.faint
            if not known
            else theme.warn
            if odd
            else theme.good
            if closed
            else theme.text
        )
        p.setPen(QtGui.QPen(QtGui.QColor(colour), 2.0))
        left, right = at.left() + at.width() * 0.4, at.left() + at.width() * 0.6
        p.drawLine(QtCore.QPointF(at.left() + 10, y), QtCore.QPointF(left, y))
        p.drawLine(QtCore.QPointF(right, y), QtCore.QPointF(at.right(), y))
        tip = QtCore.QPointF(right, y) if closed else QtCore.QPointF(right - 3, y - 10)
        if known:
            p.drawLine(QtCore.QPointF(left, y), tip)
        else:
            p.drawText(QtCore.QPointF(left + 4, y + 4), "?")
        for x in (left, right):
            p.drawEllipse(QtCore.QPointF(x, y), 2.0, 2.0)
        if mark == "R":
            p.drawRect(QtCore.QRectF(at.left() + at.width() * 0.14, y - 3, at.width() * 0.16, 6))
        p.drawText(QtCore.QPointF(at.left() - 6, y + 4), mark)


class Panel(QtWidgets.QWidget):
    """The strip."""

    def __init__(self, view: View, theme: Theme) -> None:
        super().__init__()
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(6, 6, 6, 2)
        row.setSpacing(6)
        self.tiles = [Tile(caption, theme) for caption, _, _ in TILES]
        for tile in self.tiles:
            row.addWidget(tile, 1)
        self.contactors = Contactors(theme)
        row.addWidget(self.contactors)
        self.link = Tile("Source", theme)
        row.addWidget(self.link, 1)
        self.setFixedHeight(self.sizeHint().height())

    def tell(self, snapshot: Snapshot) -> None:
        """Draws one moment."""
        for tile, (_, tell, names) in zip(self.tiles, TILES, strict=True):
            tile.tell(tell(snapshot), any(snapshot.is_stale(name, 2.5) for name in names))
        self.contactors.tell(
            snapshot.number("meas_contactors"),
            snapshot.number("cmd_contactors"),
            snapshot.is_stale("meas_contactors"),
        )
        self.link.tell(link(snapshot), False)
