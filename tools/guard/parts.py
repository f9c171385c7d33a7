"""Builds and runs the claims in C about parts of the firmware: tests/unit/firmware/parts.

A file NAME.c there includes ext/firmware/NAME.c and is linked in its place. `changed` is a file of
the firmware to be taken instead of the one of its name: a mutant.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from page import ROOT

PLACE = ROOT / "tests/unit/firmware/parts"
CORE = ROOT / "ext/firmware"
FLAGS = ("-std=c99", "-D_DEFAULT_SOURCE", "-ffp-contract=off", "-funsigned-char", "-w",
         "-DBMS_NO_CLONES")  # fmt: skip
INCLUDES = [f"-I{ROOT / 'ext' / p}" for p in ("", "common", "firmware", "firmware/generated")]
CLAIM = re.compile(r"^CLAIM\((\w+)\)", re.MULTILINE)


def claims() -> dict[str, list[str]]:
    """Names of all claims by file. ValueError if two have the same."""
    found = {path.stem: CLAIM.findall(path.read_text()) for path in sorted(PLACE.glob("*.c"))}
    every = [name for names in found.values() for name in names]
    if len(set(every)) != len(every):
        raise ValueError(
            f"two claims of one name: {sorted({n for n in every if every.count(n) > 1})}"
        )
    return {name: names for name, names in found.items() if names}


def sources() -> list[Path]:
    """What the program is made of."""
    own = sorted(PLACE.glob("*.c"))
    instead = {path.name for path in own}
    core = [*CORE.glob("*.c"), *(CORE / "generated").glob("*.c")]
    return own + sorted(path for path in core if path.name not in instead)


def build(
    folder: Path, compiler: str, options: tuple[str, ...], changed: Path | None = None
) -> Path:
    """The program; what is compiled in the folder already and needs no change is taken again.
    CalledProcessError, with what the compiler said, if it does not compile."""
    folder.mkdir(parents=True, exist_ok=True)
    objects, program = list[str](), folder / "parts"
    for source in sources():
        other = changed if changed is not None and changed.name == source.name else None
        made = folder / (f"{source.stem}.changed.o" if other else f"{source.stem}.o")
        if other or not made.exists():
            first = [f"-I{other.parent}"] if other else []
            code = other if other and source.parent != PLACE else source
            words = [*compiler.split(), *FLAGS, *options, *first, *INCLUDES, "-c", str(code)]
            subprocess.run([*words, "-o", str(made)], check=True, capture_output=True, text=True)
        objects.append(str(made))
    subprocess.run([*compiler.split(), *options, *objects, "-o", str(program)], check=True)
    return program


def snapshots(folder: Path, **variables: str) -> Path:
    """The states that claims begin with, of the firmware that Python finds with these variables."""
    folder.mkdir(parents=True, exist_ok=True)
    words = [sys.executable, str(PLACE / "snapshots.py"), str(folder)]
    subprocess.run(words, check=True, env={**os.environ, **variables})
    return folder


def run(program: Path, states: Path, **variables: str) -> tuple[dict[str, bool], str]:
    """{claim: holds}, and what was said of those that do not."""
    done = subprocess.run(
        [program, states], capture_output=True, text=True, check=False, timeout=280,
        env={**os.environ, **variables},
    )  # fmt: skip
    rows = (line.split() for line in done.stdout.splitlines())
    return {name: word == "ok" for word, name in rows}, done.stderr
