"""Absence of run-time errors in decoders, by abstract interpretation (Frama-C Eva).

    python tools/guard/eva.py

Each tools/guard/eva/NAME.c says which states and frames are looked at: all at once, not samples.
Exit code 1 for an alarm (a read or write out of bounds, an overflow, a shift, an uninitialised
byte) or a property that is not proven. Needs `frama-c` (Debian: frama-c-base, 900 MB; therefore not
in `make test-tools`).
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent))
from page import ROOT, table, write_section

FOLDER = Path(__file__).with_name("eva")
SOURCES = {
    "isotp": ("isotp.c",),
    "canin": ("request.c", "diag.c", "aes.c", "cmac.c", "crc.c", "generated/bms_dbc.c"),
}
"""Files of ext/firmware analysed with each entry; canin.c includes its own."""
OPTIONS = ("-eva", "-eva-precision", "2", "-eva-slevel", "8000", "-eva-split-limit", "3000",
           "-machdep", "gcc_x86_64")  # fmt: skip


class Verdict(NamedTuple):
    """What Eva says: functions and statements looked at, alarms, properties proven and not."""

    functions: int
    statements: int
    alarms: int
    proven: int
    open: int


def read(said: str) -> Verdict:
    """Its summary. ValueError without one."""

    def number(pattern: str) -> int:
        found = re.search(pattern, said)
        if not found:
            raise ValueError(said[-2000:])
        return int(found[1])

    rows = re.findall(r"(?:Assertions|Preconditions) +(\d+) valid +(\d+) unknown +(\d+) inv", said)
    return Verdict(
        number(r"(\d+) functions? analyzed"),
        number(r"(\d+) statements reached"),
        number(r"(\d+) alarms? generated"),
        sum(int(row[0]) for row in rows),
        sum(int(row[1]) + int(row[2]) for row in rows),
    )


def analyse(name: str) -> Verdict:
    """One entry."""
    parts = (ROOT / "ext" / part for part in ("", "common", "firmware", "firmware/generated"))
    include = " ".join(f"-I{part}" for part in parts)
    files = [str(FOLDER / f"{name}.c"), *(str(ROOT / "ext/firmware" / f) for f in SOURCES[name])]
    words = ["frama-c", *OPTIONS, f"-cpp-extra-args={include} -DBMS_NO_CLONES", *files]
    return read(subprocess.run(words, capture_output=True, text=True, check=False).stdout)


def main() -> int:
    """Analyses, writes."""
    if shutil.which("frama-c") is None:
        raise SystemExit("no frama-c: apt-get install frama-c-base")
    found = {name: analyse(name) for name in SOURCES}
    head = ("entry", "functions", "statements", "alarms", "properties proven", "open")
    rows = [(f"`tools/guard/eva/{name}.c`", *verdict) for name, verdict in found.items()]
    version = subprocess.run(["frama-c", "-version"], capture_output=True, text=True, check=True)
    write_section("eva", f"Frama-C {version.stdout.strip()}.\n\n{table(head, rows)}")
    return int(any(verdict.alarms or verdict.open for verdict in found.values()))


if __name__ == "__main__":
    sys.exit(main())
