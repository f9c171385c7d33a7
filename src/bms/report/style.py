"""How plots look: colours that most colour-blind people can tell apart, and dark mode.

Truth is solid and dark, a measurement is dots, an estimate is dashed. The colours are Okabe and
Ito's (2008). In the page every colour is replaced by a CSS variable, so that a plot follows the
reader's light or dark screen.
"""

from __future__ import annotations

import io
import re
from typing import Any

import numpy as np

INK, SOFT, GRID, PAPER = "#1a1d21", "#6a7178", "#e3e6ea", "#fefefe"
BLUE, ORANGE, GREEN, RED, PURPLE, SKY = (
    "#0072b2", "#d55e00", "#009e73", "#c1272d", "#a3588c", "#56b4e9",
)  # fmt: skip
VARIABLES = {
    INK: "ink", SOFT: "soft", GRID: "grid", PAPER: "paper", BLUE: "blue", ORANGE: "orange",
    GREEN: "green", RED: "red", PURPLE: "purple", SKY: "sky",
}  # fmt: skip

TRUTH: dict[str, Any] = {"color": INK, "linewidth": 1.5}
MEASURED: dict[str, Any] = {
    "color": ORANGE, "linestyle": "none", "marker": "o", "markersize": 2.6, "markeredgewidth": 0,
}  # fmt: skip
ESTIMATE: dict[str, Any] = {"color": BLUE, "linewidth": 1.5, "linestyle": (0, (4, 1.6))}
LIMIT: dict[str, Any] = {"color": RED, "linewidth": 1.1, "linestyle": (0, (1, 1.2))}

SETTINGS = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "axes.edgecolor": GRID,
    "axes.labelcolor": SOFT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "axes.formatter.useoffset": False,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "text.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "legend.labelcolor": INK,
    "figure.facecolor": PAPER,
    "svg.fonttype": "none",
    "svg.hashsalt": "bms",
    "path.simplify_threshold": 0.2,
}


def dots(t: np.ndarray, y: np.ndarray, most: int = 240) -> tuple[np.ndarray, np.ndarray]:
    """Every so many-th sample, for dots that can be told apart."""
    every = max(1, y.size // most)
    return t[::every], y[::every]


def svg(figure: Any) -> str:
    """The figure as an <svg> element whose colours are CSS variables."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", facecolor="none", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    for colour, name in VARIABLES.items():
        text = text.replace(colour, f"var(--{name})")
    text = re.sub(r"font: ([0-9.]+px) [^;\"]*", r"font-size: \1", text)
    # The size comes from the page; matplotlib's stays as the view box.
    return re.sub(
        r'(<svg[^>]*?) width="[^"]*"',
        r"\1",
        re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1),
        count=1,
    )
