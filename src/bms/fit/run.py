"""The whole fit: records, capacity, then curve and resistances in turn, then heat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
from scipy.optimize import minimize_scalar

from .. import cells, config
from ..errors import ConfigError
from ..model import Cell
from . import capacity, cellfile, circuit, electric, ocv, records, thermal
from . import manifest as manifests
from .circuit import Floats, Trace
from .manifest import Manifest, missing
from .records import Loaded

TURNS = 12  # curve and resistances each depend on the other, slow time constants most
SETTLED = 5e-4  # change of every resistance and time constant in a turn
SPAN_K = 10.0  # temperatures so far apart tell an activation energy
CONTACT_SPAN_K, CONTACT_COUNT = 40.0, 4  # and so, two of them
ELECTRIC = ("electric", "temperature", "hysteresis", "contact", "entropic")


@dataclass(frozen=True)
class Scored:
    """A record against the fitted model: fitted ones and held-out ones."""

    trace: Trace
    role: str
    is_judged: bool
    model_v: Floats
    rmse_mv: float  # all samples
    rmse_used_mv: float  # where SoC is above 0.1
    repairs: tuple[str, ...]


@dataclass(frozen=True)
class Result:
    """What came out. Parts that were not asked for are None."""

    manifest: Manifest
    base: Cell  # with the facts; provenance says which values are kept
    capacity: capacity.Capacity | None
    curve: ocv.Curve | None
    series: electric.Series | None
    heat: thermal.Heat | None
    scores: tuple[Scored, ...]
    heat_scores: tuple[thermal.HeatScore, ...]
    absent: tuple[str, ...]  # records to be held out that are not there: the fit does not need them

    def remarks(self) -> list[str]:
        """What the records could not tell well, one sentence each."""
        out = []
        curve, heat = self.curve, self.heat
        if curve is not None and curve.asked_v_per_k > ocv.ENTROPIC_V_PER_K:
            out.append(
                f"entropic_v_per_k: the rests ask for up to {1e3 * curve.asked_v_per_k:.2g} mV/K; "
                f"held within {1e3 * ocv.ENTROPIC_V_PER_K:g} mV/K, the most that electrodes have: "
                "rests in the cold were too short to relax"
            )
        halves = {} if self.series is None else self.series.half
        out += [
            f"{name}: at the bound of its range, so without an interval"
            for name, half in halves.items()
            if not np.isfinite(half)
        ]
        if heat is not None and heat.has_core and not np.isfinite(heat.half["core_frac"]):
            out.append("core_frac: at the bound of its range, so without an interval")
        return out


def fit(path: str | Path) -> Result:
    """Fit the cell of a manifest; ConfigError: what is wrong, or which measurement is missing."""
    manifest, facts, provenance = manifests.load(path)
    base = _base(manifest, facts, provenance)
    _require(manifest)
    absent = _absent(manifest)
    there = [i for i in range(len(manifest.files)) if manifest.files[i].path not in absent]
    loaded = [records.load(manifest, i, base.electric.capacity_ah) for i in there]
    size: capacity.Capacity | None = None
    curve: ocv.Curve | None = None
    series: electric.Series | None = None
    scores: tuple[Scored, ...] = ()
    if "electric" in manifest.fit:
        fact = facts.get("electric", {}).get("capacity_ah")
        fitted = [r for r in loaded if not r.entry.is_judged]
        size = capacity.measure(manifest, fitted, base, fact)
        curve, series, starts = _electric(manifest, loaded, base, size)
        scores = tuple(
            _score(r, starts[r.number], size, curve, series, base)
            for r in loaded
            if r.entry.role != "thermal"
        )
    result = Result(manifest, base, size, curve, series, None, scores, (), absent)
    if {"heat_capacity", "core"} & set(manifest.fit):
        heat, heat_scores = thermal.fit(manifest, loaded, cellfile.cell(result, manifest.path))
        result = replace(result, heat=heat, heat_scores=heat_scores)
    return result


def _absent(manifest: Manifest) -> tuple[str, ...]:
    """Records that are only judged and are not there. One that is to be fitted must be there."""
    out = []
    for number, file in enumerate(manifest.files):
        try:
            manifests.find(manifest, number)
        except ConfigError:
            if not file.is_judged:
                raise
            out.append(file.path)
    return tuple(out)


def _base(manifest: Manifest, facts: config.Tree, provenance: dict[str, str]) -> Cell:
    """The base cell with the facts of the manifest in place of its values."""
    path = config.resolve(manifest.base, cells.FOLDER, "cell", Path(manifest.path).parent)
    values, origins = config.strip(config.load_toml(path), path)
    kept = {k: _kept(manifest.base, text) for k, text in origins.items()}
    _merge(values, facts, manifest.path, "facts")
    for word in config.WORDS:
        values[word] = getattr(manifest, word)
    added = {"provenance": {**kept, **provenance}, "file": manifest.path}
    return config.convert(values, Cell, manifest.path, added)  # checked when it is fitted


def _kept(base: str, origin: str) -> str:
    kind, _, text = origin.partition(": ")
    return f"{kind}: Kept from {base}, not measured here. {text}"


def _merge(values: config.Tree, facts: config.Tree, file: str, key: str) -> None:
    for name, fact in facts.items():
        here = f"{key}.{name}"
        config.require(name in values, file, here, fact, "a value that a cell file has")
        if isinstance(fact, dict):
            _merge(values[name], fact, file, here)
        else:
            values[name] = fact


def _require(manifest: Manifest) -> None:
    """Refuse what the files cannot tell, by the name of the measurement that is missing."""
    asked = set(manifest.fit)
    if asked & set(ELECTRIC[1:]) and "electric" not in asked:
        expected = "`electric` with " + ", ".join(ELECTRIC[1:])
        raise ConfigError(manifest.path, "fit", list(manifest.fit), expected)
    pulses = [manifest.files[i] for i in manifest.numbers("hppc")]
    degc = sorted({f.ambient_degc for f in pulses})
    if "electric" in asked and not [x for x in degc if abs(x - 25.0) <= capacity.NEAR_K]:
        raise missing(manifest, "electric", "pulses (role `hppc`) at 25 degC")
    if "temperature" in asked and degc[-1] - degc[0] < SPAN_K:
        what = f"HPPC at a second temperature, {SPAN_K:g} K or more from {degc[0]:g} degC"
        raise missing(manifest, "temperature", what)
    if "contact" in asked and (degc[-1] - degc[0] < CONTACT_SPAN_K or len(degc) < CONTACT_COUNT):
        what = f"HPPC at {CONTACT_COUNT} temperatures over {CONTACT_SPAN_K:g} K"
        raise missing(manifest, "contact", what)
    if "entropic" in asked and degc[-1] - degc[0] < SPAN_K:
        what = f"rests at known charge (HPPC) at a second temperature, {SPAN_K:g} K or more away"
        raise missing(manifest, "entropic", what)
    if "hysteresis" in asked and not manifest.numbers("slow"):
        raise missing(manifest, "hysteresis", "a slow cycle with discharge and charge, role `slow`")


def _electric(
    manifest: Manifest, loaded: list[Loaded], base: Cell, size: capacity.Capacity
) -> tuple[ocv.Curve, electric.Series, dict[int, float]]:
    if "hysteresis" in manifest.fit and not size.closes:
        what = "a slow cycle whose charge puts back within 3 % what the discharge took"
        raise missing(manifest, "hysteresis", what)
    curve = ocv.from_base(base)
    series = electric.from_base(base)
    fitted = [r for r in loaded if not r.entry.is_judged and r.entry.role in ("slow", "hppc")]
    for _ in range(TURNS):
        before = np.concatenate([series.ohm, series.tau_s])
        starts = _starts(loaded, base, size, curve, series)
        traces = [_trace(r, starts, size, base, series) for r in fitted]
        curve = ocv.fit(
            traces,
            [electric.drop_v(t, base, series) for t in traces],
            base,
            [r.entry.role for r in fitted],
            with_hysteresis="hysteresis" in manifest.fit,
            with_entropic="entropic" in manifest.fit,
            ends_v=manifest.soc_window_v,
        )
        pulses = [t for t, r in zip(traces, fitted, strict=True) if r.entry.role == "hppc"]
        series = electric.fit(
            pulses,
            [rest_v(t, curve, base) for t in pulses],
            base,
            with_temperature="temperature" in manifest.fit,
            with_contact="contact" in manifest.fit,
        )
        if np.allclose(np.concatenate([series.ohm, series.tau_s]), before, rtol=SETTLED):
            break
    return curve, series, _starts(loaded, base, size, curve, series)


def rest_v(trace: Trace, curve: ocv.Curve, base: Cell) -> Floats:
    """Voltage without the drops along a trace, (n,): curve, entropic term, hysteresis."""
    grid, soc = ocv.GRID, trace.soc_frac
    slope = np.interp(soc, grid, curve.entropic_v_per_k)
    loop = circuit.hysteresis(trace, base.electric.hysteresis_soc_frac)
    warm_v = slope * (trace.temperature_degc - 25.0)
    return np.asarray(circuit.hats(grid, soc) @ curve.volts + warm_v - curve.hysteresis_v * loop)


def _trace(
    record: Loaded,
    starts: dict[int, float],
    size: capacity.Capacity,
    base: Cell,
    series: electric.Series,
    *,
    thinned: bool = True,
) -> Trace:
    """The record at its state of charge, with the temperature of the core."""
    trace = records.trace(record, starts[record.number], size.capacity_ah, thinned=thinned)
    if record.number == size.number and record.entry.role == "slow" and not size.closes and thinned:
        trace = _discharge_only(trace)
    if record.record.temperature_core_degc is not None:
        return trace
    surface_degc = trace.temperature_degc
    for _ in range(2):  # the heat depends on the temperature
        heat_w = np.maximum(electric.drop_v(trace, base, series) * trace.current_a, 0.0)
        warm = circuit.core_degc(trace, surface_degc, heat_w, base)
        trace = replace(trace, temperature_degc=warm)
    return trace


def _discharge_only(trace: Trace) -> Trace:
    """Up to the charge that follows the deepest discharge."""
    size = float(np.max(np.abs(trace.current_a)))
    later = np.arange(len(trace.time_s)) > np.argmin(trace.soc_frac)
    charging = np.flatnonzero(later & (trace.current_a < -0.3 * size))
    end = int(charging[0]) if len(charging) else len(trace.time_s)
    cut = {
        f.name: getattr(trace, f.name)[:end]
        for f in fields(trace)
        if isinstance(getattr(trace, f.name), np.ndarray)
    }
    return replace(trace, **cut)


def _starts(
    loaded: Sequence[Loaded],
    base: Cell,
    size: capacity.Capacity,
    curve: ocv.Curve,
    series: electric.Series,
) -> dict[int, float]:
    """State of charge at the first sample of each record."""
    known: dict[int, float] = {}
    alike: dict[str, float] = {}
    for record in sorted(loaded, key=lambda r: abs(r.entry.ambient_degc - 25.0)):
        entry = record.entry
        if record.number == size.number:
            soc = 1.0 + size.full_ah / size.capacity_ah
        else:
            look = (ocv.GRID, curve.volts)
            soc = records.first_soc_frac(record, size.capacity_ah, look, alike.get(entry.role))
            if entry.start == "rest" and entry.role == "hppc" and not entry.is_judged:
                soc = _by_rests(record, soc, size, base, curve, series)
        alike.setdefault(entry.role, soc)
        known[record.number] = soc
    return known


def _by_rests(
    record: Loaded,
    first: float,
    size: capacity.Capacity,
    base: Cell,
    curve: ocv.Curve,
    series: electric.Series,
) -> float:
    """The first state of charge with which all rests of a record lie best on the curve."""

    def miss(soc: float) -> float:
        trace = _trace(record, {record.number: soc}, size, base, series)
        rest = ocv.is_rest(trace)
        model_v = rest_v(trace, curve, base) - electric.drop_v(trace, base, series)
        error = np.abs(model_v - trace.voltage_v)[rest] / ocv.NOISE_V
        return float(np.sum(np.where(error < 3.0, error**2, 6.0 * error - 9.0)))

    found = minimize_scalar(miss, bounds=(first - 0.1, min(first + 0.1, 1.02)), method="bounded")
    return float(found.x)


def _score(
    record: Loaded,
    start_frac: float,
    size: capacity.Capacity,
    curve: ocv.Curve,
    series: electric.Series,
    base: Cell,
) -> Scored:
    trace = _trace(record, {record.number: start_frac}, size, base, series, thinned=False)
    model_v = rest_v(trace, curve, base) - electric.drop_v(trace, base, series)
    error_mv = 1e3 * (model_v - trace.voltage_v)
    used = trace.soc_frac > 0.1
    return Scored(
        trace=trace,
        role=record.entry.role,
        is_judged=record.entry.is_judged,
        model_v=model_v,
        rmse_mv=float(np.sqrt(np.mean(error_mv**2))),
        rmse_used_mv=float(np.sqrt(np.mean(error_mv[used] ** 2))) if used.any() else float("nan"),
        repairs=tuple(str(r) for r in record.record.repairs),
    )
