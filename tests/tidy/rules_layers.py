"""Who may import whom, and the walls that truth may not pass."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from house import ROOT, Finding, Rule, tree

DATA, LIBRARY, LINK, WORLD, FAULT, LOOP, TOP, OUTER = "0", "1", "2a", "2b", "3", "4", "5", "6"

LAYERS = {
    DATA: {"units", "model", "clock", "rng", "config", "errors"},
    LIBRARY: {"spec", "cells", "packs", "protocols", "data", "table", "envelope"},
    LINK: {"links", "canbus", "recorder"},
    WORLD: {"plant", "firmware", "estimator", "observer", "fit"},
    FAULT: {"bounds", "faults", "invariants", "scenarios", "signals"},
    LOOP: {
        "sim",
        "tap",
        "result",
        "reaction",
        "why",
        "realtime",
        "campaign",
        "replay",
        "report",
        "fmu",
    },
    TOP: {"bridge", "bench", "cli"},
    OUTER: {"bms_hil", "bms_gui"},
}
MAY_IMPORT = {
    DATA: {DATA},
    LIBRARY: {DATA, LIBRARY},
    LINK: {DATA, LIBRARY},
    WORLD: {DATA, LIBRARY},
    FAULT: {DATA, LIBRARY, LINK, WORLD, FAULT},
    LOOP: {DATA, LIBRARY, LINK, WORLD, FAULT, LOOP},
    TOP: {DATA, LIBRARY, LINK, WORLD, FAULT, LOOP, TOP},
    OUTER: {DATA, LIBRARY, LINK, WORLD, FAULT, LOOP, TOP, OUTER},
}
ONLY = {"bridge": {DATA, LIBRARY, LINK}}  # a gateway contains no simulator
ALSO = {("fit", "estimator"), ("estimator", "firmware")}  # one set of tables for both
# else the name without _
HOME_OF_COMPILED = {"chips": "plant", "dbc": "protocols", "loop": "sim", "leak": "bench"}

LAYER_OF = {name: layer for layer, names in LAYERS.items() for name in names}


def home(module: str) -> str:
    """The package a module belongs to: `_plant` to plant, `_loop` to sim."""
    bare = module.removeprefix("_")
    return HOME_OF_COMPILED.get(bare, bare) if module.startswith("_") else module


def imported(path: str, text: str) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of every import of ours, wherever it stands; relative ones resolved."""
    parts = path.removeprefix("src/").removesuffix(".py").split("/")
    if parts[-1] == "__init__":
        parts.pop()
        package = parts
    else:
        package = parts[:-1]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, *((node.module or "").split(".") if node.module else [])])
            yield from ((node.lineno, f"{stem}.{alias.name}") for alias in node.names)


def cimported(text: str) -> Iterator[tuple[int, str]]:
    """The same for Cython, which has no syntax tree here: by its import lines."""
    pattern = re.compile(r"^\s*(?:from\s+([\w.]+)\s+c?import\s+(.+)|c?import\s+([\w.]+))")
    for number, line in enumerate(text.splitlines(), 1):
        found = pattern.match(line)
        if found and found.group(1):
            for name in re.findall(r"\w+", found.group(2).split("#")[0]):
                yield number, f"{found.group(1)}.{name}"
        elif found:
            yield number, found.group(3)


def layers(path: str, text: str) -> Iterator[Finding]:
    name = path.split("/")[-1].rsplit(".", 1)[0]
    if path.startswith("src/bms/"):
        own = home(path.split("/")[2].removesuffix(".py"))
    elif path.startswith("ext/bms/"):
        own = home(name)
    else:
        own = "bms_" + path.split("/")[0]
    if own not in LAYER_OF:
        yield 1, f"{own} has no layer: give it one in tests/tidy/rules_layers.py"
        return
    allowed = ONLY.get(own, MAY_IMPORT[LAYER_OF[own]])
    for line, dotted in cimported(text) if path.endswith(("pyx", "pxd")) else imported(path, text):
        parts = dotted.split(".")
        if parts[0] not in ("bms", "bms_gui", "bms_hil") or parts[1:2] == ["__version__"]:
            continue
        target = home(parts[1]) if parts[0] == "bms" and len(parts) > 1 else parts[0]
        if target in (own, "bms") or (own, target) in ALSO:
            continue
        if LAYER_OF[own] == OUTER and any(part.startswith("_") for part in parts[1:]):
            yield line, f"{dotted} is private: outer packages use public names of bms only"
        elif target not in LAYER_OF:
            if len(parts) > 2 or parts[1][:1].islower():
                yield line, f"{dotted}: {target} has no layer"
        elif LAYER_OF[target] not in allowed:
            yield line, f"{own} (layer {LAYER_OF[own]}) imports {target} (layer {LAYER_OF[target]})"


def truth(path: str, text: str) -> Iterator[Finding]:
    for number, line in enumerate(text.splitlines(), 1):
        found = re.search(r"\btrue_\w+", line)
        if found:
            yield number, f"{found.group(0)}: truth does not pass here"


SYSTEM_HEADERS = {"stdbool.h", "stddef.h", "stdint.h", "string.h", "limits.h", "float.h"}
COMMON_HEADERS = {"field.h", "e2e.h"}


def firmware_includes(path: str, text: str) -> Iterator[Finding]:
    own = {name.split("/")[-1] for name in tree() if name.startswith("ext/firmware/")}
    own |= {path.name for path in (ROOT / "ext/firmware/generated").glob("*.h")}
    for number, line in enumerate(text.splitlines(), 1):
        found = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line)
        if not found:
            continue
        kind, name = found.groups()
        known = SYSTEM_HEADERS if kind == "<" else own | COMMON_HEADERS
        if name.split("/")[-1] not in known or ".." in name.split("/"):
            yield (
                number,
                f"{name}: not one of the firmware's own headers, nor a freestanding one",
            )


RULES = [
    Rule(
        "layers",
        "imports only go down",
        ("src/bms/*.py", "ext/bms/*.pyx", "ext/bms/*.pxd", "gui/*.py", "hil/*.py"),
        layers,
        bad=(
            ("src/bms/rng.py", "from bms import sim"),
            ("src/bms/plant/build.py", "def f():\n    from bms.firmware import config"),
            ("src/bms/protocols/bq.py", "import bms.links"),
            ("src/bms/links/pty.py", "from ..canbus import bus"),
            ("src/bms/bridge/daemon.py", "from bms.plant import build"),
            ("src/bms/novel.py", ""),
            ("src/bms/faults/chips.py", "from bms import Simulation, sim"),
            ("gui/app.py", "from bms import _loop"),
            ("src/bms/firmware/library.py", "from bms import _plant"),
            ("ext/bms/_plant.pyx", "from bms._firmware cimport step"),
        ),
        good=(
            ("src/bms/sim.py", "from bms import _loop, cells, __version__\nimport numpy"),
            ("src/bms/fit/run.py", "from bms.estimator import batch"),
            ("src/bms/plant/build.py", "from bms import _plant, _chips\nfrom . import loads"),
            ("src/bms/bridge/daemon.py", "from bms.links import pty"),
            ("gui/app.py", "from bms import Simulation\nfrom bms_hil import rigs"),
            ("ext/bms/_loop.pyx", "from bms._plant cimport plant_t  # truth\nimport numpy as np"),
        ),
        allowed={"src/bms/__init__.py": "names the public classes, imported on first use"},
    ),
    Rule(
        "truth_stays_outside",
        "the firmware and everything outside the simulator see readings, never truth",
        tuple(f"ext/{place}/*" for place in ("firmware", "target"))
        + tuple(
            f"src/bms/{place}/*"
            for place in ("firmware", "estimator", "protocols", "links", "canbus", "bridge")
        ),
        truth,
        bad=(
            ("ext/firmware/bms.c", "soc = true_soc_frac;"),
            ("src/bms/bridge/daemon.py", "x = row['true_current_a']"),
        ),
        good=(("ext/firmware/bms.c", "is_true_now = 1; /* true */"),),
    ),
    Rule(
        "firmware_includes",
        "the firmware compiles alone, for any target",
        ("ext/firmware/*.c", "ext/firmware/*.h"),
        firmware_includes,
        bad=(
            ("ext/firmware/bms.c", '#include "../plant/plant.h"'),
            ("ext/firmware/bms.c", '#include "plant.h"'),
            ("ext/firmware/bms.c", "#include <math.h>"),
            ("ext/firmware/bms.c", "# include <stdio.h>"),
        ),
        good=(("ext/firmware/bms.c", '#include "ecu.h"\n#include <stdint.h>\n#include "field.h"'),),
    ),
]
