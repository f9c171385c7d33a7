"""What is known of one cell: now, over a while, and against the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from bms_gui.snapshot import Shape, Snapshot


@dataclass(frozen=True)
class Quantity:
    """One row of the drawer. names: signals of it, of any kind. scale: to what is shown."""

    title: str
    unit: str
    decimals: int
    names: tuple[str, ...]
    scale: float = 1.0


QUANTITIES = (
    Quantity("Voltage", "V", 4, ("true_cell_voltage_v", "meas_cell_voltage_v")),
    Quantity("Core", "°C", 2, ("true_cell_temperature_core_degc", "est_cell_core_degc")),
    Quantity("Surface", "°C", 2, ("true_cell_temperature_surface_degc", "meas_temperature_degc")),
    Quantity("Charge", "%", 2, ("true_cell_soc_frac", "est_cell_soc_frac"), 100.0),
    Quantity("Current", "A", 2, ("true_cell_current_a",)),
    Quantity("Resistance", "mΩ", 3, ("true_cell_resistance_ohm", "est_cell_resistance_ohm"), 1e3),
    Quantity("Pressure", "kPa", 0, ("true_module_pressure_kpa", "meas_module_pressure_kpa")),
)


@dataclass(frozen=True)
class Line:
    """One signal of one cell. time_s, values: (n,) of the stretch that is looked at; now, least,
    most; off: from the mean of all now. NaN where unknown. is_stale: not heard for long."""

    name: str
    kind: str
    time_s: np.ndarray
    values: np.ndarray
    now: float
    least: float
    most: float
    off: float
    is_stale: bool


def elements(shape: Shape, count: int, k: int) -> np.ndarray:
    """Which elements of a vector of `count` belong to block k: its cells, itself, or the sensor or
    module next to it."""
    if count == 0 or shape.blocks == 0 or not 0 <= k < shape.blocks:
        return np.zeros(0, np.int64)
    if count == shape.blocks * shape.parallel:
        return k + shape.blocks * np.arange(shape.parallel)
    if shape.blocks_per_module and count == -(-shape.blocks // shape.blocks_per_module):
        return np.array([k // shape.blocks_per_module])
    return np.array([k * count // shape.blocks])


def _mean(values: np.ndarray) -> np.ndarray:
    """(n,) over the cells of the block that are known."""
    known = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(known, values, 0.0).sum(axis=0) / known.sum(axis=0))


def line(
    snapshot: Snapshot, name: str, k: int, span_s: float, scale: float, stale_s: float = 3.0
) -> Line | None:
    """A signal of block k over the last span_s; None if the source does not have it."""
    signal = snapshot.signals.get(name)
    if signal is None or snapshot.data is None:
        return None
    mine = elements(snapshot.shape, signal.count, k)
    if not mine.size:
        return None
    end_s = snapshot.time_s
    time_s, values = snapshot.data.window(name, end_s - span_s, end_s, 1_000_000)
    time_s = np.asarray(time_s)
    if values.shape[0] != signal.count:  # too many to be told one by one
        time_s, own = np.zeros(0), np.zeros(0)
    else:
        kept = time_s <= end_s + 1e-9
        own = scale * _mean(np.asarray(values[mine], float)[:, kept])
        time_s = time_s[kept]
    everybody = np.asarray(snapshot.vector(name), float) * scale
    now = float(_mean(everybody[mine][:, None])[0]) if everybody.size == signal.count else np.nan
    known = own[np.isfinite(own)]
    finite = everybody[np.isfinite(everybody)]
    return Line(
        name, signal.kind, time_s, own, now,
        float(known.min()) if known.size else np.nan,
        float(known.max()) if known.size else np.nan,
        now - float(finite.mean()) if finite.size else np.nan,
        snapshot.is_stale(name, stale_s),
    )  # fmt: skip


def lines(snapshot: Snapshot, k: int, span_s: float) -> list[tuple[Quantity, list[Line]]]:
    """Every quantity the source tells of block k."""
    found = []
    for quantity in QUANTITIES:
        told = [line(snapshot, name, k, span_s, quantity.scale) for name in quantity.names]
        kept = [one for one in told if one is not None]
        if kept:
            found.append((quantity, kept))
    return found


def rank(values: Sequence[float] | np.ndarray, k: int) -> str:
    """ "lowest", "highest", or "12th of 96 from the top"."""
    all_of = np.asarray(values, float)
    if not 0 <= k < all_of.size or not np.isfinite(all_of[k]):
        return ""
    above = int((all_of > all_of[k]).sum())
    count = int(np.isfinite(all_of).sum())
    if count > 1 and above == 0:
        return "highest of all"
    if count > 1 and above == count - 1:
        return "lowest of all"
    return f"{above + 1} of {count} from the top"
