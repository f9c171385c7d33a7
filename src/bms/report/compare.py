"""Recordings over each other."""

from __future__ import annotations

from typing import Any, NamedTuple

from matplotlib.figure import Figure

from bms.report.plots import canvas, draw, finish
from bms.report.style import BLUE, GREEN, INK, ORANGE, PURPLE, RED
from bms.report.view import View

STYLES: tuple[dict[str, Any], ...] = (
    {"color": BLUE, "linewidth": 1.6},
    {"color": ORANGE, "linewidth": 1.4, "linestyle": (0, (4, 1.6))},
    {"color": GREEN, "linewidth": 1.4, "linestyle": (0, (1, 1.2))},
    {"color": PURPLE, "linewidth": 1.4, "linestyle": (0, (6, 1.6, 1, 1.6))},
    {"color": INK, "linewidth": 1.1},
    {"color": RED, "linewidth": 1.1, "linestyle": (0, (4, 1.6))},
)
MOST = len(STYLES)


class Overlay(NamedTuple):
    """One line of every recording; `name` as in `view.wish`."""

    name: str
    title: str
    line: str
    label: str
    scale: float = 1.0


OVERLAYS = (
    Overlay("soc", "State of charge, truth", "true_soc_frac", "state of charge (%)", 100),
    Overlay("soc_error", "Error of the state of charge", "soc_error", "truth − estimate (points)",
            100),
    Overlay("current", "Current, truth", "true_pack_current_a", "current (A), + discharges"),
    Overlay("pack_voltage", "Pack voltage, truth", "true_pack_voltage_v", "voltage (V)"),
    Overlay("cell_min", "Lowest cell, truth", "true_cell_voltage_v:min", "voltage (V)"),
    Overlay("cell_max", "Highest cell, truth", "true_cell_voltage_v:max", "voltage (V)"),
    Overlay("core_max", "Hottest core, truth", "true_cell_temperature_core_degc:max",
            "temperature (°C)"),
    Overlay("pressure", "Highest stack pressure, truth", "true_module_pressure_kpa:max",
            "pressure (kPa)"),
    Overlay("discharge_limit", "Discharge limit, as advertised", "est_discharge_limit_a",
            "current (A)"),
    Overlay("charge_limit", "Charge limit, as advertised", "est_charge_limit_a", "current (A)"),
    Overlay("state", "State, as the BMS says", "cmd_state", "number of the state"),
)  # fmt: skip
WANTED = tuple(overlay.line for overlay in OVERLAYS)


def overlay(views: list[View], labels: list[str], what: Overlay) -> Figure | None:
    """All lines, or None unless at least one recording has one."""
    lines = [view.line(what.line) for view in views]
    if not any(lines):
        return None
    longest = max(views, key=lambda view: view.duration_s)
    figure, (ax,) = canvas(longest, marks=False)
    for line, name, style in zip(lines, labels, STYLES, strict=False):
        draw(ax, line, name, what.scale, **style)
    finish(ax, what.label)
    return figure
