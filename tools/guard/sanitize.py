"""The firmware under AddressSanitizer and UndefinedBehaviorSanitizer.

    python tools/guard/sanitize.py [--inputs 300000] [--folder out/sanitize]

Builds and runs, stopping at the first finding: the claims in C (parts.py), the journal against
cuts, and hostile input to a firmware that runs, in standby and in normal operation (tests/c). The
figures go into docs/guard.md. Exit code 1 with what was found.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import parts
from page import ROOT, table, write_section

OPTIONS = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
ENVIRONMENT = {"ASAN_OPTIONS": "detect_leaks=0"}
JOURNAL = {"single": 250, "double": 2000, "silent": 5000, "rot": 300, "wear": 3000}


def program(folder: Path, name: str, core: list[Path]) -> Path:
    """A program of tests/c with files of the firmware."""
    made = folder / name
    sources = [str(path) for path in (ROOT / f"tests/c/{name}.c", *core)]
    words = ["gcc", *parts.FLAGS, *OPTIONS, *parts.INCLUDES, *sources, "-o", str(made)]
    subprocess.run(words, check=True)
    return made


def ran(words: list[object]) -> tuple[str, str]:
    """What it printed, and what was found ("": nothing)."""
    done = subprocess.run(
        list(map(str, words)), capture_output=True, text=True, check=False,
        env={**os.environ, **ENVIRONMENT},
    )  # fmt: skip
    return done.stdout, (done.stdout + done.stderr)[-3000:] if done.returncode else ""


def main() -> int:
    """Builds, runs, writes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--inputs", type=int, default=300_000)
    parser.add_argument("--folder", type=Path, default=ROOT / "out/sanitize")
    args = parser.parse_args()
    folder = args.folder.resolve()
    shutil.rmtree(folder, ignore_errors=True)
    states = parts.snapshots(folder / "states")
    verdicts, said = parts.run(parts.build(folder, "gcc", OPTIONS), states, **ENVIRONMENT)
    found = [said] if said or not all(verdicts.values()) else []
    rows: list[tuple[str, object]] = [("claims in C", f"{len(verdicts)} claims")]
    core = parts.CORE
    journal = program(folder, "journal_cut", [core / "journal.c", core / "crc.c"])
    for mode, many in JOURNAL.items():
        out, wrong = ran([journal, mode, many, 1])
        found += [wrong] if wrong else []
        rows.append((f"`journal_cut {mode} {many}`", out.strip()))
    whole = [*core.glob("*.c"), *(core / "generated").glob("*.c")]
    hostile = program(folder, "firmware_bytes", whole)
    for state in ("standby", "drive"):
        out, wrong = ran([hostile, states / state, args.inputs, 1])
        found += [wrong] if wrong else []
        steps = re.search(r"steps (\d+)", out)
        heard = f"{args.inputs} inputs, {steps[1]} steps" if steps else "failed"
        rows.append((f"hostile input in {state}", heard))
    print("\n".join(found))
    version = subprocess.run(
        ["gcc", "-dumpfullversion"], capture_output=True, text=True, check=True
    )
    head = f"gcc {version.stdout.strip()}: **{len(found)} findings**."
    write_section("sanitizers", f"{head}\n\n{table(('what ran', 'how much'), rows)}")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
