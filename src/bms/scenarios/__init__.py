"""Scenarios: what happens to a pack, as data in TOML.

    scenario = configure(load("drive"), {"start.soc_frac": "0.5"})
    plan = compile(scenario, cell, pack, cycle="wltc.csv")

`model` holds the types, `build` the compilation, `findings` the sentences about a finished run.
docs/scenarios.md is the manual.
"""

from .build import FOLDER, compile, configure, keys, load, names
from .model import Act, Expect, Phase, Plan, Scenario, Until, plan_bytes

__all__ = [
    "FOLDER",
    "Act",
    "Expect",
    "Phase",
    "Plan",
    "Scenario",
    "Until",
    "compile",
    "configure",
    "keys",
    "load",
    "names",
    "plan_bytes",
]
