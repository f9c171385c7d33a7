"""Two recordings over each other."""

from __future__ import annotations

from typing import Any, NamedTuple

from matplotlib.figure import Figure

from bms.report.plots import canvas, draw, finish
from bms.report.style import BLUE, ORANGE
from bms.report.view import Line, View

STYLES: tuple[dict[str, Any], dict[str, Any]] = (
    {"color": BLUE, "linewidth": 1.6},
    {"color": ORANGE, "linewidth": 1.4, "linestyle": (0, (4, 1.6))},
)


class Overlay(NamedTuple):
    """One signal of both recordings; a vector is reduced to one line."""

    name: str
    title: str
    signal: str
    reduce: str
    label: str
    scale: float = 1.0


OVERLAYS = (
    Overlay("soc", "State of charge, truth", "true_soc_frac", "", "state of charge (%)", 100),
    Overlay("current", "Current, truth", "true_pack_current_a", "", "current (A), + discharges"),
    Overlay("pack_voltage", "Pack voltage, truth", "true_pack_voltage_v", "", "voltage (V)"),
    Overlay("cell_min", "Lowest cell, truth", "true_cell_voltage_v", "min", "voltage (V)"),
    Overlay("cell_max", "Highest cell, truth", "true_cell_voltage_v", "max", "voltage (V)"),
    Overlay(
        "core_max", "Hottest core, truth", "true_cell_temperature_core_degc", "max",
        "temperature (°C)",
    ),
    Overlay(
        "pressure", "Highest stack pressure, truth", "true_module_pressure_kpa", "max",
        "pressure (kPa)",
    ),
    Overlay(
        "discharge_limit", "Discharge limit, as advertised", "est_discharge_limit_a", "",
        "current (A)",
    ),
    Overlay("charge_limit", "Charge limit, as advertised", "est_charge_limit_a", "", "current (A)"),
    Overlay("state", "State, as the BMS says", "cmd_state", "", "number of the state"),
)  # fmt: skip
WANTED = (*(o.signal for o in OVERLAYS), "est_soc_frac")


def overlay(views: tuple[View, View], labels: tuple[str, str], what: Overlay) -> Figure | None:
    """Both lines, or None unless at least one recording has the signal."""
    lines = [
        v.reduced(what.signal, what.reduce) if what.reduce else v.line(what.signal) for v in views
    ]
    return _figure(views, labels, lines, what.label, what.scale)


def soc_error(views: tuple[View, View], labels: tuple[str, str]) -> Figure | None:
    """How far the estimates were off."""
    lines = []
    for view in views:
        truth, estimate = view.line("true_soc_frac"), view.line("est_soc_frac")
        known = truth is not None and estimate is not None and truth.y.size == estimate.y.size
        lines.append(Line(truth.t, estimate.y - truth.y) if truth and estimate and known else None)
    return _figure(views, labels, lines, "estimate − truth (points)", 100)


def _figure(
    views: tuple[View, View],
    labels: tuple[str, str],
    lines: list[Line | None],
    label: str,
    scale: float,
) -> Figure | None:
    if lines[0] is None and lines[1] is None:
        return None
    longest = max(views, key=lambda view: view.duration_s)
    figure, (ax,) = canvas(longest, marks=False)
    for line, name, style in zip(lines, labels, STYLES, strict=True):
        draw(ax, line, name, scale, **style)
    finish(ax, label)
    return figure
