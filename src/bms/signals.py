"""Binds the list of recorded signals (spec/signals.toml) to the live arena of a simulation."""

from __future__ import annotations

import numpy as np

from bms import spec
from bms.errors import ConfigError
from bms.model import Pack
from bms.recorder import Signal

Parts = dict[str, dict[str, np.ndarray]]


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
            )
        )
    return bound
