"""The picture of `bms cells show NAME --plot FILE`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from bms.cells import laws
from bms.errors import ConfigError
from bms.model import Cell

_PARTS = {
    "electrolyte": "#4c78a8",
    "contact": "#f58518",
    "charge_transfer": "#54a24b",
    "diffusion": "#b279a2",
}


def draw(cell: Cell, path: str) -> None:
    """Draw a cell's curves into a file; its ending says the format, ConfigError if that is none."""
    known = sorted(Figure().canvas.get_supported_filetypes())
    if Path(path).suffix.lstrip(".").lower() not in known:
        raise ConfigError("option", "--plot", path, f"a file ending in one of {', '.join(known)}")
    with matplotlib.rc_context({"font.size": 9, "axes.grid": True, "grid.alpha": 0.3}):
        figure = Figure(figsize=(11, 8), layout="constrained")
        (voltage, resistance), (pressure, critical) = figure.subplots(2, 2)
        _voltage(voltage, cell)
        _resistance(resistance, cell)
        _pressure(pressure, cell)
        _critical(critical, cell)
        figure.suptitle(f"{cell.title}  ({cell.name})", fontsize=12)
    try:
        figure.savefig(path, dpi=130)
    except OSError as error:
        raise ConfigError("option", "--plot", path, f"a writable file: {error.strerror}") from None


def _voltage(axes: Any, cell: Cell) -> None:
    soc = [i / 400 for i in range(401)]
    middle, half = [laws.ocv_v(cell, s) for s in soc], cell.electric.hysteresis_v
    charge = [v + half for v in middle]
    discharge = [v - half for v in middle]
    axes.fill_between(soc, discharge, charge, color="#4c78a8", alpha=0.35, label="hysteresis")
    axes.plot(soc, middle, color="#4c78a8", label="open circuit, 25 °C")
    styles = zip(("operate", "warn", "trip"), ("-", "--", ":"), strict=True)
    for i, (tier, style) in enumerate(styles):
        for limit in (cell.limits.voltage_max_v, cell.limits.voltage_min_v):
            label = tier if limit is cell.limits.voltage_max_v else None
            axes.axhline(limit[i], color="#c44", linestyle=style, linewidth=1, label=label)
    slope = axes.twinx()
    slope.grid(False)
    entropic = [v * 1e3 for v in cell.electric.entropic_v_per_k]
    slope.plot(cell.electric.ocv_soc_frac, entropic, color="#888", linewidth=1)
    slope.set_ylabel("entropic term, mV/K (grey)", color="#666")
    axes.set(title="Voltage and its limits", xlabel="state of charge", ylabel="V")
    axes.legend(loc="center right", fontsize=8)


def _temperatures(cell: Cell) -> list[float]:
    limits = cell.limits
    low = min(limits.temperature_min_discharge_degc[2], 0.0)
    high = limits.temperature_max_discharge_degc[2]
    return [low + (high - low) * i / 200 for i in range(201)]


def _resistance(axes: Any, cell: Cell) -> None:
    grid = _temperatures(cell)
    rows = [laws.resistance_ohm(cell, t) for t in grid]
    for name, colour in _PARTS.items():
        axes.semilogy(
            grid, [r[name] * 1e3 for r in rows], color=colour, label=name.replace("_", " ")
        )
    axes.semilogy(grid, [sum(r.values()) * 1e3 for r in rows], color="k", linewidth=2, label="all")
    _window(axes, cell)
    axes.set(title="Resistance at reference pressure", xlabel="°C", ylabel="mΩ")
    axes.legend(fontsize=8)


def _pressure(axes: Any, cell: Cell) -> None:
    law = cell.pressure
    axes.set(title="Contact resistance under stack pressure", xlabel="kPa", ylabel="mΩ at 25 °C")
    if law.exponent == 0.0:
        text = "pressure does not matter in this cell"
        axes.text(0.5, 0.5, text, ha="center", transform=axes.transAxes)
        return
    low, high = 0.6 * law.operate_min_kpa[2], 1.1 * law.operate_max_kpa[2]
    grid = [low + (high - low) * i / 200 for i in range(201)]
    contact = [laws.resistance_ohm(cell, 25.0, p)["contact"] * 1e3 for p in grid]
    axes.plot(grid, contact, color=_PARTS["contact"], linewidth=2)
    axes.axvspan(law.operate_min_kpa[0], law.operate_max_kpa[0], color="#54a24b", alpha=0.12)
    for limit in (law.operate_min_kpa, law.operate_max_kpa):
        axes.axvline(limit[1], color="#c44", linestyle="--", linewidth=1)
        axes.axvline(limit[2], color="#c44", linestyle=":", linewidth=1)
    axes.plot([law.reference_kpa], [cell.resistance.contact_ohm * 1e3], "ko", label="reference")
    axes.legend(fontsize=8)


def _critical(axes: Any, cell: Cell) -> None:
    grid, area = _temperatures(cell), cell.geometry.electrode_area_cm2
    for law, style, word in (
        (cell.critical_current_claimed, "-", "claimed"),
        (cell.critical_current_literature, "--", "literature"),
    ):
        pairs = [laws.critical_a(cell, law, t) for t in grid]
        for i, (side, colour) in enumerate((("plating", "#c44"), ("stripping", "#4c78a8"))):
            density = [pair[i] * 1e3 / area for pair in pairs]
            axes.semilogy(grid, density, color=colour, linestyle=style, label=f"{side}, {word}")
    for limit, colour, side in (
        (cell.limits.current_charge_a, "#c44", "charge"),
        (cell.limits.current_discharge_a, "#4c78a8", "discharge"),
    ):
        held = limit[0] * 1e3 / area
        axes.axhline(held, color=colour, linestyle=":", linewidth=1, label=f"{side} limit")
    _window(axes, cell)
    axes.set(title="Critical currents at reference pressure", xlabel="°C", ylabel="mA/cm²")
    axes.legend(fontsize=8)


def _window(axes: Any, cell: Cell) -> None:
    limits = cell.limits
    low = limits.temperature_min_discharge_degc[0]
    axes.axvspan(low, limits.temperature_max_discharge_degc[0], color="#54a24b", alpha=0.12)
