"""The plots of one recording. Each function draws what the recording has, or returns None.

Its docstring is what the reader of the page sees above the plot.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from bms.report import lanes
from bms.report.style import (
    BLUE,
    ESTIMATE,
    GREEN,
    LIMIT,
    MEASURED,
    ORANGE,
    PURPLE,
    RED,
    SKY,
    SOFT,
    TRUTH,
    dots,
)  # fmt: skip
from bms.report.view import Line, View

WIDTH_IN, HEIGHT_IN = 8.6, 2.9


class Plot(NamedTuple):
    """One picture of a report; the docstring of its function stands above it.

    `name` is also the name of its PNG file.
    """

    name: str
    title: str
    draw: Callable[[View], Figure | None]

    @property
    def caption(self) -> str:
        return " ".join((self.draw.__doc__ or "").split())


def canvas(
    view: View, rows: int = 1, heights: tuple[float, ...] = (), *, marks: bool = True
) -> tuple[Figure, list[Any]]:
    """A figure with `rows` plots that share the time axis."""
    figure = Figure(
        figsize=(WIDTH_IN, HEIGHT_IN * sum(heights or (1,) * rows)), layout="constrained"
    )
    axes = figure.subplots(rows, 1, sharex=True, squeeze=False, height_ratios=heights or None)[:, 0]
    for ax in axes:
        ax.yaxis.set_major_locator(MaxNLocator(5))
        ax.set_xlim(*view.span())
        for at in view.marks() if marks else ():
            ax.axvline(at, color=RED, linewidth=0.9, alpha=0.55, zorder=0.5)
    axes[-1].set_xlabel(f"time ({view.unit})")
    return figure, list(axes)


def draw(ax: Any, line: Line | None, label: str, scale: float = 1.0, **style: Any) -> bool:
    """Draw a line if there is one; measurements as dots."""
    if line is None:
        return False
    if style.get("linestyle") == "none":
        t, y = dots(line.some_t, line.some_y)
    else:
        t, y = line.t, line.y
    if line.holds:
        style = {**style, "drawstyle": "steps-post"}
    ax.plot(t, y * scale, label=label, **style)
    return True


def band(
    ax: Any, low: Line | None, high: Line | None, label: str, scale: float = 1.0, **style: Any
) -> None:
    """Fill between two lines of equal times."""
    if low is None or high is None:
        return
    below, above = low.low, high.high
    if below.t.size == above.t.size:
        ax.fill_between(
            below.t, below.y * scale, above.y * scale, label=label, linewidth=0, **style
        )


def finish(ax: Any, label: str) -> None:
    """Name the vertical axis, and the lines above the plot."""
    ax.set_ylabel(label)
    handles, _ = ax.get_legend_handles_labels()
    if handles:
        columns = min(len(handles), 4)
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=columns, borderaxespad=0.2,
                  handlelength=1.9, columnspacing=1.4)  # fmt: skip


def fit(ax: Any, truth: Line | None, measured: Line | None) -> None:
    """Scale the axis by the truth and the bulk of the readings: the first one may be 0."""
    if truth is None:
        return
    known = [np.nanmin(truth.y), np.nanmax(truth.y)]
    if measured is not None:
        known += list(np.nanpercentile(measured.some_y, (1, 99)))
    margin = 0.08 * (max(known) - min(known)) or 1.0
    ax.set_ylim(min(known) - margin, max(known) + margin)


def soc(view: View) -> Figure | None:
    """What the pack holds, and what the firmware believes it holds, with the interval it
    vouches for.
    """
    truth, estimate = view.line("true_soc_frac"), view.line("est_soc_frac")
    if truth is None and estimate is None:
        return None
    figure, (ax,) = canvas(view)
    low, high = view.line("est_soc_low_frac"), view.line("est_soc_high_frac")
    band(ax, low, high, "interval of the estimate", 100, color=SKY, alpha=0.35)
    draw(ax, truth, "truth", 100, **TRUTH)
    draw(ax, estimate, "estimate", 100, **ESTIMATE)
    finish(ax, "state of charge (%)")
    return figure


def soc_error(view: View) -> Figure | None:
    """The truth should stay inside the band."""
    error = view.line("soc_error")
    if error is None:
        return None
    figure, (ax,) = canvas(view)
    low, high = view.line("soc_error_low"), view.line("soc_error_high")
    band(ax, low, high, "interval of the estimate", 100, color=SKY, alpha=0.35)
    draw(ax, error, "truth − estimate", 100, **TRUTH)
    ax.axhline(0, **ESTIMATE)
    finish(ax, "percentage points")
    return figure


def pack_voltage(view: View) -> Figure | None:
    """The link follows the pack once the contactors are closed."""
    link = view.line("true_link_voltage_v"), view.line("meas_link_voltage_v")
    has_link = any(line is not None for line in link)
    figure, axes = canvas(view, 2, (1.0, 0.45)) if has_link else canvas(view)
    pack = view.line("true_pack_voltage_v"), view.line("meas_pack_voltage_v")
    drawn = draw(axes[0], pack[0], "truth", **TRUTH)
    drawn |= draw(axes[0], pack[1], "measured", **MEASURED)
    fit(axes[0], *pack)
    finish(axes[0], "pack (V)")
    if has_link:
        draw(axes[1], link[0], "truth", **TRUTH)
        draw(axes[1], link[1], "measured", **MEASURED)
        axes[1].set_ylabel("link (V)")
    return figure if drawn or has_link else None


def current(view: View) -> Figure | None:
    """The load obeys the limits the BMS advertises on CAN, unless the scenario says otherwise."""
    figure, (ax,) = canvas(view)
    truth = view.line("true_pack_current_a")
    drawn = draw(ax, truth, "truth", **TRUTH)
    drawn |= draw(ax, view.line("meas_pack_current_a"), "measured", **MEASURED)
    limits = view.line("est_charge_limit_a"), view.line("est_discharge_limit_a")
    draw(ax, limits[1], "limits the BMS advertises", **LIMIT)
    draw(ax, limits[0], "_charge", -1.0, **LIMIT)
    if truth is not None:
        _leave_far_limits_out(ax, float(np.nanmax(np.abs(truth.y))), limits)
    finish(ax, "current (A), + discharges")
    return figure if drawn else None


def _leave_far_limits_out(ax: Any, peak_a: float, limits: tuple[Line | None, Line | None]) -> None:
    """A limit many times the current would flatten the current: then say only where it lies."""
    edge_a = 2.5 * max(peak_a, 1.0)
    low, high = ax.get_ylim()
    ax.set_ylim(max(low, -edge_a), min(high, edge_a))
    for limit, sign, place in zip(limits, (-1, 1), (0.03, 0.97), strict=True):
        if limit is not None and np.nanmax(limit.y) > edge_a:
            ax.text(0.5, place, f"limit to {sign * np.nanmax(limit.y):.0f} A", color=RED,
                    transform=ax.transAxes, ha="center", va="center", fontsize=8)  # fmt: skip


def power(view: View) -> Figure | None:
    """At the terminals of the pack."""
    found = view.line("power_w")
    if found is None:
        return None
    figure, (ax,) = canvas(view)
    out, back = found.high, found.low
    ax.fill_between(out.t, np.maximum(out.y, 0.0) * 1e-3, 0, color=ORANGE, alpha=0.75, linewidth=0,
                    label="out of the pack")  # fmt: skip
    ax.fill_between(back.t, np.minimum(back.y, 0.0) * 1e-3, 0, color=GREEN, alpha=0.75, linewidth=0,
                    label="into the pack")  # fmt: skip
    finish(ax, "power (kW)")
    return figure


def cell_voltages(view: View) -> Figure | None:
    """Read from the monitor chips as bytes."""
    name = "true_cell_voltage_v"
    low, high = view.reduced(name, "min"), view.reduced(name, "max")
    measured = view.line("meas_cell_voltage_min_v"), view.line("meas_cell_voltage_max_v")
    if low is None and measured[0] is None:
        return None
    figure, (ax, below) = canvas(view, 2, (1.0, 0.6))
    band(ax, low, high, "all cells, truth", color=SOFT, alpha=0.3)
    draw(ax, low, "lowest and highest, truth", **TRUTH)
    draw(ax, high, "_high", **TRUTH)
    draw(ax, measured[0], "measured", **MEASURED)
    draw(ax, measured[1], "_measured", **MEASURED)
    finish(ax, "cell voltage (V)")
    draw(below, view.reduced(name, "spread"), "truth", 1e3, **TRUTH)
    draw(below, view.line("meas_cell_spread_v"), "measured", 1e3, **MEASURED)
    finish(below, "spread (mV)")
    return figure


def temperatures(view: View) -> Figure | None:
    """Sensors see surfaces; limits protect cores, so the firmware estimates them."""
    figure, (ax,) = canvas(view)
    core = "true_cell_temperature_core_degc"
    low, high = view.reduced(core, "min"), view.reduced(core, "max")
    band(ax, low, high, "cores, truth", color=SOFT, alpha=0.3)
    drawn = draw(ax, high, "hottest core, truth", **TRUTH)
    surface = view.reduced("true_cell_temperature_surface_degc", "max")
    drawn |= draw(ax, surface, "hottest surface, truth", color=PURPLE, linewidth=1.2)
    drawn |= draw(ax, view.line("meas_temperature_max_degc"), "measured", **MEASURED)
    drawn |= draw(ax, view.line("meas_temperature_min_degc"), "_measured", **MEASURED)
    drawn |= draw(ax, view.line("est_core_max_degc"), "hottest core, estimate", **ESTIMATE)
    drawn |= draw(ax, view.line("true_coolant_degc"), "coolant", color=GREEN, linewidth=1.0)
    finish(ax, "temperature (°C)")
    return figure if drawn else None


def pressure(view: View) -> Figure | None:
    """A lithium anode breathes: pressure moves with charge, temperature and creep."""
    low, high = (view.reduced("true_module_pressure_kpa", x) for x in ("min", "max"))
    measured = [view.line(f"meas_module_pressure_{x}_kpa") for x in ("min", "max")]
    if low is None and measured[0] is None:
        return None
    figure, (ax,) = canvas(view)
    band(ax, low, high, "all modules, truth", color=SOFT, alpha=0.3)
    draw(ax, low, "lowest and highest, truth", **TRUTH)
    draw(ax, high, "_high", **TRUTH)
    draw(ax, measured[0], "measured", **MEASURED)
    draw(ax, measured[1], "_measured", **MEASURED)
    finish(ax, "stack pressure (kPa)")
    return figure


def health(view: View) -> Figure | None:
    """Estimated capacity over rated capacity."""
    found = view.line("est_soh_frac")  # most runs are too short to move it
    if found is None or np.nanmax(found.y) - np.nanmin(found.y) < 1e-3:
        return None
    figure, (ax,) = canvas(view)
    draw(ax, found, "state of health, estimate", 100, **ESTIMATE)
    finish(ax, "% of rated capacity")
    return figure


def insulation(view: View) -> Figure | None:
    """Between the poles and the chassis."""
    truth = view.line("true_insulation_kohm")
    if truth is None or np.nanmax(truth.y) < 1.05 * np.nanmin(truth.y):
        return None
    figure, (ax,) = canvas(view)
    draw(ax, truth, "truth", **TRUTH)
    draw(ax, view.line("meas_insulation_kohm"), "measured", **MEASURED)
    ax.set_yscale("log")
    ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_formatter(NullFormatter())
    finish(ax, "insulation (kΩ)")
    return figure


def actuators(view: View) -> Figure | None:
    """Duty the firmware asks for."""
    lines = [
        (view.line(f"cmd_{x}_frac"), f"{x} duty", c)
        for x, c in (("heater", ORANGE), ("pump", BLUE))
    ]
    used = [
        (line, label, colour) for line, label, colour in lines if line and np.nanmax(line.y) > 0
    ]
    if not used:
        return None
    figure, (ax,) = canvas(view)
    for line, label, colour in used:
        draw(ax, line, label, 100, color=colour, linewidth=1.4)
    finish(ax, "duty (%)")
    return figure


def other(view: View, name: str) -> Figure | None:
    """A signal nobody here knows, as it is."""
    found = view.line(name)
    if found is None:
        return None
    figure, (ax,) = canvas(view)
    draw(ax, found, name, color=BLUE, linewidth=1.3)
    unit = view.recording.signals[name].unit
    finish(ax, "" if unit == "1" else unit)
    return figure


PLOTS = (
    Plot("soc", "State of charge", soc),
    Plot("soc_error", "Error of the estimate", soc_error),
    Plot("current", "Current", current),
    Plot("power", "Power", power),
    Plot("pack_voltage", "Pack voltage", pack_voltage),
    Plot("cell_voltages", "Cell voltages", cell_voltages),
    Plot("temperatures", "Temperatures", temperatures),
    Plot("pressure", "Stack pressure", pressure),
    Plot("states", "States and contactors", lanes.states),
    Plot("events", "Events", lanes.events),
    Plot("actuators", "Heater and pump", actuators),
    Plot("health", "Health", health),
    Plot("insulation", "Insulation", insulation),
)

WANTED = (
    "true_soc_frac", "est_soc_frac", "est_soc_low_frac", "est_soc_high_frac",
    "soc_error", "soc_error_low", "soc_error_high",
    "true_pack_voltage_v", "true_link_voltage_v", "meas_pack_voltage_v", "meas_link_voltage_v",
    "true_pack_current_a", "meas_pack_current_a", "est_charge_limit_a", "est_discharge_limit_a",
    "power_w", *(f"true_cell_voltage_v:{how}" for how in ("min", "max", "spread")),
    "meas_cell_voltage_min_v", "meas_cell_voltage_max_v", "meas_cell_spread_v",
    "true_cell_temperature_core_degc:min", "true_cell_temperature_core_degc:max",
    "true_cell_temperature_surface_degc:max",
    "meas_temperature_max_degc", "meas_temperature_min_degc", "est_core_max_degc",
    "true_coolant_degc", "true_module_pressure_kpa:min", "true_module_pressure_kpa:max",
    "meas_module_pressure_min_kpa", "meas_module_pressure_max_kpa",
    "cmd_state", "cmd_flags", "cmd_contactors", "true_contactors", "meas_contactors",
    "cmd_heater_frac", "cmd_pump_frac", "est_soh_frac", "true_insulation_kohm",
    "meas_insulation_kohm",
)  # fmt: skip
