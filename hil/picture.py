"""Curves of a test as an SVG element, drawn here: hundreds of them need no plotting library."""

from __future__ import annotations

from html import escape
from typing import Any

WIDTH, HEIGHT = 640, 200
LEFT, RIGHT, TOP, BOTTOM = 64, 12, 12, 30
COLOURS = ("var(--blue)", "var(--orange)", "var(--green)", "var(--purple)")


def svg(picture: dict[str, Any]) -> str:
    """One picture of session.result_of; empty without a point."""
    times = [t for c in picture["curves"] for t in c["time_s"]]
    values = [v for c in picture["curves"] for v in c["values"]] + list(picture["limits"])
    if not times:
        return ""
    t0, t1 = min(times), max(times)
    v0, v1 = min(values), max(values)
    pad = 0.06 * (v1 - v0) or abs(v1) * 0.02 or 1.0
    v0, v1 = v0 - pad, v1 + pad

    def x(t: float) -> float:
        return LEFT + (t - t0) / (t1 - t0 or 1.0) * (WIDTH - LEFT - RIGHT)

    def y(v: float) -> float:
        return HEIGHT - BOTTOM - (v - v0) / (v1 - v0) * (HEIGHT - TOP - BOTTOM)

    parts = [_axis(t0, t1, v0, v1, x, y, picture["unit"])]
    for at_s, text in picture["marks"]:
        if t0 <= at_s <= t1:
            parts.append(
                f'<line class="mark" x1="{x(at_s):.1f}" x2="{x(at_s):.1f}" y1="{TOP}" '
                f'y2="{HEIGHT - BOTTOM}"><title>{escape(text)}</title></line>'
                f'<text class="mark" x="{x(at_s) + 3:.1f}" y="{TOP + 10}">{escape(text)}</text>'
            )
    for limit in picture["limits"]:
        parts.append(
            f'<line class="limit" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(limit):.1f}" '
            f'y2="{y(limit):.1f}"/>'
        )
    for k, curve in enumerate(picture["curves"]):
        points = " ".join(
            f"{x(t):.1f},{y(v):.1f}" for t, v in zip(curve["time_s"], curve["values"], strict=True)
        )
        parts.append(f'<polyline points="{points}" stroke="{COLOURS[k % len(COLOURS)]}"/>')
    return (
        f'<figure><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">{"".join(parts)}</svg>'
        f"<figcaption>{escape(picture['title'])}</figcaption></figure>"
    )


def _axis(t0: float, t1: float, v0: float, v1: float, x: Any, y: Any, unit: str) -> str:
    parts = []
    for v in _ticks(v0, v1, 4):
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(v):.1f}" y2="{y(v):.1f}"/>'
            f'<text x="{LEFT - 6}" y="{y(v) + 4:.1f}" text-anchor="end">{v:g}</text>'
        )
    for t in _ticks(t0, t1, 6):
        parts.append(
            f'<text x="{x(t):.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{t:g}</text>'
        )
    parts.append(
        f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 2}" text-anchor="end">s</text>'
        f'<text x="6" y="{TOP + 2}">{escape(unit)}</text>'
    )
    return "".join(parts)


def _ticks(low: float, high: float, about: int) -> list[float]:
    """Round numbers between low and high."""
    from math import ceil, floor, log10

    if not high > low:
        return [low]
    rough = (high - low) / about
    ten = 10.0 ** floor(log10(rough))
    step = next(ten * m for m in (1, 2, 5, 10) if ten * m >= rough)
    digits = max(0, -floor(log10(step)))
    first = ceil(low / step)
    return [round((first + k) * step, digits) for k in range(int((high - first * step) / step) + 1)]
