"""`--inject ID[:index=12,value=..,after=..,ramp=..,for=..]` as what Simulation.inject takes."""

from __future__ import annotations

import math
from typing import Any

from bms.errors import ConfigError

KEYS = {"index": "index", "value": "value", "after": "after_s", "ramp": "ramp_s", "for": "for_s"}
EXPECTED = "ID or ID:index=12,value=0.5,after=10,ramp=1,for=5"


def parse(text: str) -> tuple[str, dict[str, Any]]:
    """(id, how). ConfigError for what cannot be read.

    >>> parse("SEN-03:index=2,after=1.5")
    ('SEN-03', {'index': 2, 'after_s': 1.5})
    """
    name, _, rest = text.partition(":")
    how: dict[str, Any] = {}
    for pair in filter(None, rest.split(",")):
        key, equals, value = pair.partition("=")
        if not equals or key.strip() not in KEYS or KEYS[key.strip()] in how:
            raise ConfigError("option", "--inject", text, EXPECTED)
        how[KEYS[key.strip()]] = _number(text, value, is_whole=key.strip() == "index")
    if not name.strip():
        raise ConfigError("option", "--inject", text, EXPECTED)
    return name.strip().upper(), how


def _number(text: str, value: str, *, is_whole: bool) -> float | int:
    try:
        number = int(value) if is_whole else float(value)
    except ValueError:
        raise ConfigError("option", "--inject", text, EXPECTED) from None
    if not math.isfinite(number):
        raise ConfigError("option", "--inject", text, "finite numbers")
    return number
