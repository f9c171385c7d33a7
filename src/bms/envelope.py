"""Curves painted straight into pixels, fast enough to redraw everything at every frame."""

from __future__ import annotations

from bms._envelope import WIDTH_MAX, band, bounds, curve, curves, find

__all__ = ["WIDTH_MAX", "band", "bounds", "curve", "curves", "find"]
