"""The fitted cell as a file: every value with its interval, or with where it was kept from."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from .. import cells, config
from ..errors import ConfigError
from ..model import Cell
from . import ocv
from .circuit import Floats
from .electric import SERIES

if TYPE_CHECKING:
    from .run import Result

COOLING_TOLD_FRAC = 0.1  # a cooling with a wider interval is none
LEAST_STEP_V = 2e-5  # between points of the curve, written to 0.01 mV

# Names in a cell file of what electric.py calls SERIES.
PREFIX = ("electrolyte", "contact", "charge_transfer", "diffusion")


def cell(result: Result, path: str | Path) -> Cell:
    """The fitted cell, checked; ConfigError if the fit and the rest contradict each other."""
    values, provenance = _values(result)
    return cells.build(values, provenance, path)


def write(result: Result, path: str | Path) -> Cell:
    """Write the cell file and read it back."""
    cell(result, path)
    values, provenance = _values(result)
    try:
        Path(path).write_text(_text(result, values, provenance), encoding="utf-8")
    except OSError as error:
        raise ConfigError(path, "", error.strerror or "an error", "a writable file") from None
    return cells.load(str(Path(path).resolve()))


def _values(result: Result) -> tuple[config.Tree, dict[str, str]]:
    base = result.base
    values = msgspec.to_builtins(base)
    provenance = dict(base.provenance)
    del values["provenance"], values["file"]
    set_ = _Setter(values, provenance)
    if result.curve is not None:
        _set_electric(result, set_)
    if result.series is not None:
        _set_resistance(result, set_)
    if result.heat is not None:
        heat = result.heat
        mass_kg = base.geometry.mass_kg
        from_files = "fitted to " + _names(heat.names)
        set_.fitted("thermal.heat_capacity_j_per_kg_k", heat.whole_j_per_k / mass_kg,
                    heat.half["whole"] / mass_kg, from_files)  # fmt: skip
        half, from_bench = heat.half["outside"], f"{from_files}, of the test bench"
        if half < COOLING_TOLD_FRAC * heat.outside_w_per_k:
            set_.fitted("thermal.cooling_w_per_k", heat.outside_w_per_k, half, from_bench)
        if heat.has_core:
            set_.fitted("thermal.core_frac", heat.core_frac, heat.half["core_frac"], from_files)
            set_.fitted("thermal.core_surface_w_per_k", heat.core_surface_w_per_k,
                        heat.half["core_surface"], from_files)  # fmt: skip
    return values, provenance


class _Setter:
    """Puts values with their provenance at dotted keys."""

    def __init__(self, values: config.Tree, provenance: dict[str, str]) -> None:
        self.values, self.provenance = values, provenance

    def set(self, key: str, value: Any, text: str) -> None:
        *tables, last = key.split(".")
        table = self.values
        for name in tables:
            table = table[name]
        table[last] = value
        self.provenance[key] = f"source: {text}"

    def fitted(self, key: str, value: float, half: float, text: str) -> None:
        if math.isfinite(half):
            interval = f"95 % interval {value - half:.4g} to {value + half:.4g}"
        else:
            value, interval = round(value, 6), "at the bound of its range, no interval"
        self.set(key, round_to(value), f"{text[0].upper()}{text[1:]}: {interval}.")


def round_to(value: float, digits: int = 5) -> float:
    """To some significant digits, so that a file does not pretend."""
    return float(f"{value:.{digits}g}")


def _set_electric(result: Result, set_: _Setter) -> None:
    curve, size, base = result.curve, result.capacity, result.base
    assert curve is not None and size is not None
    if "electric.capacity_ah" in base.provenance and "Kept" in _of(base, "electric.capacity_ah"):
        set_.fitted("electric.capacity_ah", size.capacity_ah, size.half_ah, size.text)
    else:
        text = f"{_of(base, 'electric.capacity_ah').rstrip('.')}; {size.text}."
        set_.set("electric.capacity_ah", size.capacity_ah, text)
    low, high = base.limits.voltage_min_v[0], base.limits.voltage_max_v[0]
    volts = inside(curve.volts, low, high)
    used = [s.trace.name for s in result.scores if not s.is_judged]
    middle = 1e3 * float(np.median(curve.half_v))
    worst = 1e3 * float(np.max(curve.half_v))
    text = f"Fitted to {_names(used)}: 95 % half-width {middle:.2g} mV (median)"
    text += f", {worst:.2g} mV (largest)."
    set_.set("electric.ocv_soc_frac", [float(x) for x in ocv.GRID], text)
    set_.set("electric.ocv_v", [round(float(v), 5) for v in volts], text)
    slope = [round_to(float(v), 4) for v in curve.entropic_v_per_k]
    if math.isfinite(curve.entropic_half_v_per_k):
        text = (
            "Fitted to rests at several temperatures, at equal charge taken out; holds what is "
            "slow to relax in the cold: 95 % half-width "
            f"{1e3 * curve.entropic_half_v_per_k:.2g} mV/K."
        )
        if curve.asked_v_per_k > ocv.ENTROPIC_V_PER_K:
            text += f" Held within {1e3 * ocv.ENTROPIC_V_PER_K:g} mV/K."
        set_.set("electric.entropic_v_per_k", slope, text)
    else:
        set_.values["electric"]["entropic_v_per_k"] = slope  # the base's, on the new grid
    if math.isfinite(curve.hysteresis_half_v):
        text = "fitted to both branches of the slow cycle"
        set_.fitted("electric.hysteresis_v", curve.hysteresis_v, curve.hysteresis_half_v, text)


def inside(volts: Floats, low_v: float, high_v: float) -> Floats:
    """The curve pressed between the operate limits, strictly rising by 0.01 mV a point or more."""
    count = np.arange(len(volts))
    out = np.maximum(volts, low_v + LEAST_STEP_V * count)
    out = np.maximum.accumulate(out - LEAST_STEP_V * count) + LEAST_STEP_V * count
    return np.asarray(np.minimum(out, high_v - LEAST_STEP_V * count[::-1]))


def _set_resistance(result: Result, set_: _Setter) -> None:
    series, base = result.series, result.base
    assert series is not None
    used = [s.trace.name for s in result.scores if s.role == "hppc" and not s.is_judged]
    text = f"fitted to {_names(used)}"
    share = "" if "contact" in result.manifest.fit else "; split of the ohmic part as in the base"
    for k, (name, prefix) in enumerate(zip(SERIES, PREFIX, strict=True)):
        ours = text + (share if k < 2 else "")
        half = series.half.get(f"{name}_ohm", math.nan)
        set_.fitted(f"resistance.{prefix}_ohm", float(series.ohm[k]), half, ours)
        if "temperature" in result.manifest.fit:
            key = "electrolyte_temperature.activation_ev" if k == 0 else f"{prefix}_activation_ev"
            half = series.half.get(f"{name}_activation_ev", math.nan)
            set_.fitted(f"resistance.{key}", float(series.activation_ev[k]), half, ours)
    for k, prefix in enumerate(PREFIX[2:]):
        half = series.half[f"{prefix}_tau_s"]
        set_.fitted(f"resistance.{prefix}_tau_s", series.tau_s[k], half, text)
    if (
        "temperature" in result.manifest.fit
        and base.resistance.electrolyte_temperature.law == "vtf"
    ):
        law = "Arrhenius, which is what is fitted."
        set_.set("resistance.electrolyte_temperature.law", "arrhenius", law)


def _of(base: Cell, key: str) -> str:
    return base.provenance.get(key, "").partition(": ")[2]


def _names(paths: Sequence[str]) -> str:
    """Files by their names, what they share at the end written once."""
    names = list(dict.fromkeys(Path(p).name for p in paths))
    tail = ".csv.gz" if all(n.endswith(".csv.gz") for n in names) else ""
    return ", ".join(n.removesuffix(tail) for n in names)


def _text(result: Result, values: config.Tree, provenance: dict[str, str]) -> str:
    name, base = Path(result.manifest.path).name, result.manifest.base
    lines = [
        f"# Written by `bms fit {name}`. Values that begin with Kept are those of {base}:",
        "# the records say nothing about them.",
        "",
    ]
    lines += [f"{word} = {_toml(values[word])}" for word in config.WORDS]
    for table in (k for k in values if k not in config.WORDS):
        lines += _table(table, values[table], provenance)
    return "\n".join(lines) + "\n"


def _table(key: str, table: config.Tree, provenance: dict[str, str]) -> list[str]:
    leaves = {k: v for k, v in table.items() if not isinstance(v, dict)}
    lines = ["", f"[{key}]"] if leaves else []
    for name, value in leaves.items():
        origin = provenance.get(f"{key}.{name}")
        if origin is None:  # a default, which the base leaves out
            continue
        kind, _, text = origin.partition(": ")
        lines.append(f"{name} = {{ value = {_toml(value)}, {kind} = {_toml(text)} }}")
    for name, inner in table.items():
        if isinstance(inner, dict):
            lines += _table(f"{key}.{name}", inner, provenance)
    return lines


def _toml(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(v) for v in value) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return repr(value)
