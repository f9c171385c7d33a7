"""Pictures of the documentation site, drawn from the cell and pack library when it is built."""

from __future__ import annotations

import io
from collections.abc import Callable

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from bms import _plant, cells, packs
from bms.cells import laws
from bms.plant import build

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#a3588c", "#c1272d", "#6a7178")
ONE_OF_EACH = (
    "sulfide_nmc811_77ah", "oxide_llzo_10ah", "halide_nmc_20ah", "composite_lfp_100ah",
    "polymer_lfp_hot", "panasonic_18650pf",
)  # fmt: skip
SETTINGS = {
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "font.size": 9,
    "grid.color": "#e3e6ea", "legend.frameon": False, "svg.hashsalt": "bms",
    "axes.prop_cycle": matplotlib.cycler(linestyle=("-", "--")) * matplotlib.cycler(color=COLOURS),
}  # fmt: skip


def pictures() -> dict[str, bytes]:
    """Path in the site -> SVG."""
    drawn = {"ocv": ocv, "resistance": resistance, "pressure": pressure}
    with matplotlib.rc_context(SETTINGS):
        return {f"pictures/{name}.svg": _svg(draw) for name, draw in drawn.items()}


def _svg(draw: Callable[[Figure], None]) -> bytes:
    figure = Figure(figsize=(7.6, 3.6), layout="constrained")
    draw(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def ocv(figure: Figure) -> None:
    """Open-circuit voltage at 25 degC over state of charge."""
    ax = figure.subplots()
    for name in cells.names():
        electric = cells.load(name).electric
        ax.plot(100 * np.array(electric.ocv_soc_frac), electric.ocv_v, label=name, linewidth=1.3)
    ax.set_xlabel("state of charge (%)")
    ax.set_ylabel("open-circuit voltage (V)")
    figure.legend(loc="outside right center", fontsize=8)


def resistance(figure: Figure) -> None:
    """Resistance at rest pressure over that at 25 degC."""
    ax = figure.subplots()
    degrees = np.linspace(-30, 80, 111)
    for name in ONE_OF_EACH:
        cell = cells.load(name)
        ohm = np.array([sum(laws.resistance_ohm(cell, t).values()) for t in degrees])
        label = f"{cell.classification.electrolyte}: {name}"
        ax.semilogy(degrees, ohm / ohm[55], label=label, linewidth=1.3)
    ax.set_xlabel("temperature (°C)")
    ax.set_ylabel("resistance, 1 at 25 °C")
    figure.legend(loc="outside right center", fontsize=8)


def pressure(figure: Figure) -> None:
    """Mean stack pressure at rest, plant filled at each state of charge."""
    ax = figure.subplots()
    charges, told = np.linspace(0.02, 0.98, 25), set[str]()
    for name in packs.names():
        pack = packs.load(name)
        cell = cells.load(pack.cell)
        if pack.cell in told or not any(cell.pressure.operate_min_kpa):
            continue
        told.add(pack.cell)
        kpa = [_mean_kpa(name, z) for z in charges]
        ax.semilogy(100 * charges, kpa, label=f"{name}\n{pack.cell}", linewidth=1.3)
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_formatter("{x:g}")
    ax.set_xlabel("state of charge (%)")
    ax.set_ylabel("stack pressure (kPa)")
    figure.legend(loc="outside right center", fontsize=8)


def _mean_kpa(name: str, soc_frac: float) -> float:
    pack = packs.load(name)
    plant = _plant.Plant()
    build.fill(
        plant.fields, cells.load(pack.cell), pack, seed=1, soc_frac=float(soc_frac),
        temperature_degc=25.0, ambient_degc=25.0,
    )  # fmt: skip
    plant.init()
    modules = int(plant.fields["modules"][0])
    return float(plant.fields["module_pressure_kpa"][:modules].mean())
