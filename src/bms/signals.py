"""Binds the list of recorded signals (spec/signals.toml) to the live arena of a simulation."""

from __future__ import annotations

import re
from functools import lru_cache

import numpy as np

from bms import spec
from bms.errors import ConfigError
from bms.model import Pack
from bms.recorder import Signal
from bms.recorder.container import Raster

Parts = dict[str, dict[str, np.ndarray]]


def names() -> frozenset[str]:
    """Every recorded signal."""
    return frozenset(row.name for row in spec.signals())


def bind(parts: Parts, pack: Pack) -> list[Signal]:
    """One Signal for each row of signals.toml, looking at the arena field its `from` names
    ("plant.pack_soc_frac").

    Vectors are cut to the pack: `count` of a row is "blocks", "cells", "modules" or "sensors".
    """
    t = pack.topology
    modules = t.blocks // t.blocks_per_module
    counts = {
        "": 1,
        "blocks": t.blocks,
        "cells": t.blocks * t.parallel,
        "modules": modules,
        "sensors": modules * len(pack.sensors.temperature_blocks),
    }
    bound = []
    for row in spec.signals():
        part, _, field = row.source.partition(".")
        if field not in parts.get(part, {}):
            raise ConfigError(
                "signals.toml", f"{row.name}.from", row.source, "a field of the world"
            )
        view = parts[part][field][: counts[row.count]]
        bound.append(
            Signal(
                name=row.name,
                unit=row.unit,
                kind=row.kind,
                rate=row.rate,
                text=row.text,
                source=view,
                scale=row.scale,
                offset=row.offset,
                raster=_raster(row) if view.dtype.kind == "f" else None,
                origin=row.message or row.source,
            )
        )
    return bound


def _raster(row: spec.Signal) -> Raster | None:
    """The steps a value crosses the wire in, in the unit it is recorded in; None off the wire."""
    step, least, most, unit = _wire().get(row.message, (0.0, 0.0, 0.0, ""))
    factor = {(row.unit, row.unit): 1.0, ("%", "1"): 0.01}.get((unit, row.unit), 0.0)
    if step * factor == 0.0:
        return None
    return Raster.of(step * factor, least * factor, most * factor)


@lru_cache(maxsize=1)
def _wire() -> dict[str, tuple[float, float, float, str]]:
    """(step, least, most, unit) of each "Message.Signal" of the DBC."""
    found, message = {}, ""
    number = r"([-+.\deE]+)"
    line = re.compile(rf' SG_ (\w+).*\({number},{number}\) \[{number}\|{number}\] "(.*?)"')
    for text in spec.DBC.read_text("utf-8").splitlines():
        if text.startswith("BO_ "):
            message = text.split()[2].rstrip(":")
        elif signal := line.match(text):
            name, step, _, least, most, unit = signal.groups()
            found[f"{message}.{name}"] = (float(step), float(least), float(most), unit)
    return found
