"""The page of a fit: parameters with intervals, curve, resistances, every record against the model.

One file, no links: plots are SVG within the page, samples folded into extremes by pixel.
"""

from __future__ import annotations

import html
import io
from pathlib import Path
from typing import Any

import numpy as np

from ..config import NOTHING
from ..errors import ConfigError
from ..model import Cell
from ..units import quantity, unit_of
from . import circuit, electric, ocv
from .circuit import Floats
from .run import Result, Scored, rest_v

INK, SOFT, GRID, BLUE, ORANGE, GREEN, RED = (
    "#1a1d21", "#6a7178", "#e3e6ea", "#0072b2", "#d55e00", "#009e73", "#c1272d",
)  # fmt: skip
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#a3588c", "#56b4e9", "#8a6d00", "#c1272d")
PIXELS = 1000
SETTINGS: Any = {
    "font.size": 10, "axes.edgecolor": GRID, "axes.labelcolor": SOFT, "axes.spines.top": False,
    "axes.spines.right": False, "axes.grid": True, "axes.axisbelow": True, "grid.color": GRID,
    "xtick.color": SOFT, "ytick.color": SOFT, "legend.frameon": False, "legend.fontsize": 9,
    "svg.hashsalt": "bms", "axes.formatter.useoffset": False,
}  # fmt: skip
STYLE = """
:root { --ink:#1a1d21; --soft:#6a7178; --line:#e3e6ea; --page:#f4f5f7; --paper:#fff }
body { margin:0; background:var(--page); color:var(--ink);
  font:16px/1.5 system-ui,"Segoe UI",Roboto,"DejaVu Sans",sans-serif }
main { max-width:1080px; margin:0 auto; padding:2rem 1.25rem 4rem }
h1 { font-size:1.7rem; margin:0 0 .3rem } h2 { font-size:1.15rem; margin:0 0 .3rem }
section { background:var(--paper); border:1px solid var(--line); border-radius:.6rem;
  padding:1rem 1.1rem; margin:0 0 1rem }
p { margin:0 0 .6rem; color:var(--soft); max-width:85ch }
svg { width:100%; height:auto; display:block }
table { border-collapse:collapse; width:100%; font-size:.87rem; font-variant-numeric:tabular-nums }
th { text-align:left; color:var(--soft) }
th, td { padding:.28rem .8rem .28rem 0; border-bottom:1px solid var(--line); vertical-align:top }
td.n, th.n { text-align:right; white-space:nowrap } .soft { color:var(--soft) }
footer { color:var(--soft); font-size:.82rem; text-align:center }
"""


def write(result: Result, cell: Cell, path: str | Path) -> None:
    """Write the page; ConfigError if it cannot be written."""
    import matplotlib

    matplotlib.use("Agg")
    with matplotlib.rc_context(SETTINGS):
        parts = [_head(result, cell), _errors(result), _remarks(result), _parameters(cell)]
        if result.curve is not None and result.series is not None:
            parts += [_curve(result, result.curve), _resistances(result, result.series)]
        parts += [_record(s) for s in sorted(result.scores, key=lambda s: not s.is_judged)]
        parts += [_heat(result, k) for k in range(len(result.heat_scores))]
    title = html.escape(f"{cell.name}: fit")
    page = (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n<main>\n"
        + "\n".join(parts)
        + "\n<footer>solid-bms. Measured dark, model blue, difference orange.</footer>"
        + "\n</main>\n</html>\n"
    )
    try:
        Path(path).write_text(page, encoding="utf-8")
    except OSError as error:
        raise ConfigError(path, "", error.strerror or NOTHING, "a writable file") from None


def _section(title: str, text: str, body: str) -> str:
    return f"<section><h2>{html.escape(title)}</h2><p>{html.escape(text)}</p>{body}</section>"


def _head(result: Result, cell: Cell) -> str:
    files = len(result.manifest.files)
    judged = sum(f.is_judged for f in result.manifest.files)
    text = (
        f"{cell.title}. {files} records, {judged} of them held out. Base: {result.manifest.base}."
    )
    return f"<h1>{html.escape(cell.name)}</h1><p>{html.escape(text)}</p>"


def _remarks(result: Result) -> str:
    """What the records could not tell well; nothing where there is nothing to say."""
    said = result.remarks()
    body = "".join(f"<li>{html.escape(remark)}" for remark in said)
    text = "Values that these records do not pin down."
    return _section("Remarks", text, f"<ul>{body}</ul>") if said else ""


def _errors(result: Result) -> str:
    rows = []
    for s in sorted(result.scores, key=lambda s: not s.is_judged):
        kind = '<b style="white-space:nowrap">held out</b>' if s.is_judged else "fitted"
        error_mv = 1e3 * (s.model_v - s.trace.voltage_v)
        rows.append(
            f"<tr><td>{html.escape(s.trace.name)}<td>{kind}<td>{s.role}"
            f'<td class="n">{s.trace.ambient_degc:g}<td class="n">{s.rmse_used_mv:.1f}'
            f'<td class="n">{s.rmse_mv:.1f}<td class="n">{float(np.mean(error_mv)):+.1f}'
            f'<td class="n">{s.trace.soc_frac[0]:.3f} to {s.trace.soc_frac[-1]:.3f}'
        )
    for h in result.heat_scores:
        kind = '<b style="white-space:nowrap">held out</b>' if h.is_judged else "fitted"
        surface_k, core_k = h.rmse_k
        core = "" if core_k != core_k else f", core {core_k:.2f} K, by the law {h.law_rmse_k:.2f} K"
        rows.append(
            f"<tr><td>{html.escape(h.name)}<td>{kind}<td>thermal<td>"
            f'<td class="n" colspan="4">surface {surface_k:.2f} K{core}'
        )
    head = (
        "<tr><th>record<th><th>role<th class='n'>degC<th class='n'>RMSE mV, SoC above 0.1"
        "<th class='n'>RMSE mV<th class='n'>mean mV<th class='n'>SoC"
    )
    text = "The model runs on its own along each record; only its first state of charge is given."
    told = [
        f"{html.escape(s.trace.name)}: {html.escape(r)}" for s in result.scores for r in s.repairs
    ]
    listed = "".join(f"<li>{line}" for line in told)
    repairs = (
        f"<p style='margin-top:.8rem'>Repairs</p><ul class='soft'>{listed}</ul>" if told else ""
    )
    table = f"<table>{head}{''.join(rows)}</table>{repairs}"
    return _section("Model against measurement", text, table)


def _parameters(cell: Cell) -> str:
    rows = []
    for key, origin in cell.provenance.items():
        if "95 %" not in origin and "no interval" not in origin:
            continue
        value: Any = cell
        for name in key.split("."):
            value = getattr(value, name)
        unit = unit_of(key)
        shown = f"{len(value)} points" if isinstance(value, tuple) else quantity(value, unit, 4)
        text = html.escape(origin.partition(": ")[2])
        rows.append(f'<tr><td>{key}<td class="n">{shown}<td class="soft">{text}')
    head = "<tr><th>value<th class='n'>fitted<th>from what, and 95 % interval"
    text = "All other values are the base's or the manifest's; the cell file says so beside each."
    return _section("Fitted values", text, f"<table>{head}{''.join(rows)}</table>")


def _svg(figure: Any) -> str:
    import matplotlib.pyplot as plt

    out = io.StringIO()
    figure.savefig(out, format="svg", bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)
    text = out.getvalue()
    return text[text.index("<svg") :]


def thin(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """A line's samples folded into the least and the most of each pixel column."""
    if len(y) <= 4 * PIXELS:
        return x, y
    edges = np.linspace(0, len(y), PIXELS + 1).astype(int)[:-1]
    both = np.column_stack([np.minimum.reduceat(y, edges), np.maximum.reduceat(y, edges)])
    return np.repeat(x[edges], 2), both.ravel()


def _curve(result: Result, curve: ocv.Curve) -> str:
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3.6), width_ratios=(2, 1))
    base = result.base.electric
    for s in (s for s in result.scores if s.role == "slow"):
        left.plot(
            *thin(s.trace.soc_frac, s.trace.voltage_v), color=SOFT, lw=0.8, label="slow cycle"
        )
    for k, s in enumerate(s for s in result.scores if s.role == "hppc"):
        rest = ocv.is_rest(s.trace)
        colour, label = COLOURS[k % len(COLOURS)], f"rests, {s.trace.ambient_degc:g} °C"
        dots = s.trace.soc_frac[rest], s.trace.voltage_v[rest]
        left.plot(*dots, ".", ms=5, color=colour, label=label)
    left.fill_between(ocv.GRID, curve.volts - curve.half_v, curve.volts + curve.half_v,
                      color=BLUE, alpha=0.25, lw=0)  # fmt: skip
    left.plot(ocv.GRID, curve.volts, color=BLUE, lw=1.4, label="fitted, 95 %")
    left.set(xlabel="SoC", ylabel="V")
    left.set_ylim(curve.volts[0] - 0.1, curve.volts[-1] + 0.1)
    left.legend(ncols=2)
    right.plot(base.ocv_soc_frac, 1e3 * np.array(base.entropic_v_per_k), color=SOFT, label="base")
    right.plot(ocv.GRID, 1e3 * curve.entropic_v_per_k, color=BLUE, label="used")
    right.set(xlabel="SoC", ylabel="mV/K")
    right.legend()
    text = "At 25 °C midway between the branches; right, its change with temperature."
    return _section("Open-circuit voltage", text, _svg(figure))


def _resistances(result: Result, series: electric.Series) -> str:
    import matplotlib.pyplot as plt

    points = _points(result, series)
    figure, axes = plt.subplots(2, 3, figsize=(11, 6))
    laws = (series.ohm[:2], series.ohm[2:3], series.ohm[3:4])
    energies = (series.activation_ev[:2], series.activation_ev[2:3], series.activation_ev[3:4])
    degc = np.linspace(-20.0, 60.0, 100)
    for k, name in enumerate(("ohmic", "charge transfer", "diffusion")):
        over_degc, over_soc = axes[0, k], axes[1, k]
        law = sum(
            o * circuit.factor(float(e), degc) for o, e in zip(laws[k], energies[k], strict=True)
        )
        over_degc.semilogy(degc, 1e3 * law, color=INK, lw=1.2)
        for j, (ambient, rows) in enumerate(points):
            colour = COLOURS[j % len(COLOURS)]
            seen = rows[:, 2 + k] > 0
            over_degc.plot(rows[seen, 1], 1e3 * rows[seen, 2 + k], ".", ms=4, color=colour)
            over_soc.semilogy(rows[seen, 0], 1e3 * rows[seen, 2 + k], ".", ms=5, color=colour,
                              label=f"{ambient:g} °C")  # fmt: skip
        over_degc.set(title=name, xlabel="°C", ylabel="mΩ" if k == 0 else "")
        over_soc.set(xlabel="SoC", ylabel="mΩ" if k == 0 else "")
    axes[1, 2].legend(ncols=1, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    figure.tight_layout()
    text = (
        f"Points: each pulse window on its own, with the time constants {series.tau_s[0]:.3g} and "
        f"{series.tau_s[1]:.3g} s of 25 °C. Line: the law of the cell file, one for all SoC."
    )
    return _section("Resistances over temperature and charge", text, _svg(figure))


def _points(result: Result, series: electric.Series) -> list[tuple[float, Floats]]:
    assert result.curve is not None
    out = []
    for s in result.scores:
        if s.role == "hppc" and not s.is_judged:
            base_v = rest_v(s.trace, result.curve, result.base)
            rows = electric.local(s.trace, base_v, result.base, series)
            out.append((s.trace.ambient_degc, rows))
    return out


def _record(s: Scored) -> str:
    import matplotlib.pyplot as plt

    hours, trace = s.trace.time_s / 3600.0, s.trace
    figure, axes = plt.subplots(3, 1, figsize=(11, 5), sharex=True, height_ratios=(3, 1.5, 1))
    axes[0].plot(*thin(hours, trace.voltage_v), color=INK, lw=0.8, label="measured")
    axes[0].plot(*thin(hours, s.model_v), color=BLUE, lw=0.8, label="model")
    axes[0].set_ylabel("V")
    axes[0].legend(ncols=2)
    error_mv = 1e3 * (s.model_v - trace.voltage_v)
    axes[1].plot(*thin(hours, error_mv), color=ORANGE, lw=0.7)
    worst = float(np.quantile(np.abs(error_mv), 0.995)) + 1.0
    axes[1].set_ylim(-1.2 * worst, 1.2 * worst)
    axes[1].set_ylabel("mV")
    axes[2].plot(*thin(hours, trace.current_a), color=SOFT, lw=0.7)
    axes[2].set(ylabel="A", xlabel="h")
    figure.align_ylabels(axes)
    kind = "held out" if s.is_judged else "fitted"
    text = f"{s.role} at {trace.ambient_degc:g} °C: {s.rmse_used_mv:.1f} mV above SoC 0.1, "
    text += f"{s.rmse_mv:.1f} mV in all."
    return _section(f"{trace.name} ({kind})", text, _svg(figure))


def _heat(result: Result, number: int) -> str:
    import matplotlib.pyplot as plt

    h, heat = result.heat_scores[number], result.heat
    assert heat is not None
    hours = h.time_s / 3600.0
    figure, (top, below) = plt.subplots(2, 1, figsize=(11, 4.4), sharex=True, height_ratios=(2, 1))
    top.plot(*thin(hours, h.surface_degc), color=INK, lw=1.0, label="surface")
    top.plot(*thin(hours, h.model_surface_degc), color=BLUE, lw=1.0, label="surface, model")
    below.plot(
        *thin(hours, h.model_surface_degc - h.surface_degc), color=BLUE, lw=0.8, label="surface"
    )
    if h.core_degc is not None:
        law = heat.outside_w_per_k / heat.core_surface_w_per_k
        quasi = h.surface_degc + law * (h.surface_degc - h.outside_degc)
        top.plot(*thin(hours, h.core_degc), color=RED, lw=1.0, label="core")
        top.plot(*thin(hours, h.model_core_degc), color=ORANGE, lw=1.0, label="core, model")
        below.plot(
            *thin(hours, h.model_core_degc - h.core_degc), color=ORANGE, lw=0.8, label="core"
        )
        below.plot(*thin(hours, quasi - h.core_degc), color=GREEN, lw=0.8,
                   label="core from surface, quasi-steady")  # fmt: skip
    top.plot(*thin(hours, h.outside_degc), color=SOFT, lw=0.8, label="outside")
    top.set_ylabel("°C")
    below.set(ylabel="K", xlabel="h")
    top.legend(ncols=3)
    below.legend(ncols=3)
    text = (
        f"To the outside {heat.outside_w_per_k:.3g} W/K, core to surface "
        f"{heat.core_surface_w_per_k:.3g} W/K; the model sees only current, voltage and outside."
    )
    return _section(f"{h.name} (heat)", text, _svg(figure))
