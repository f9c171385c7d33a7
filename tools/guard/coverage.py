"""Line and branch coverage of ext/firmware by tests: builds the firmware with gcov, runs, counts.

    python tools/guard/coverage.py [--folder out/coverage] [pytest options and tests]

Writes the table into docs/guard.md. Only what runs in the Python module counts: programs of
tests/c are built apart.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from page import ROOT, ranges, table, write_section

TESTS = ("tests/unit/firmware", "tests/sim")
FLAGS = "--coverage -O0 -DBMS_NO_CLONES"


def build(folder: Path) -> Path:
    """A copy of src whose firmware counts; the folder of its objects."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "src", folder / "src")
    words = [sys.executable, "setup.py", "-q", "build_ext"]
    places = ["--build-lib", str(folder / "lib"), "--build-temp", str(folder / "obj")]
    variables = {**os.environ, "BMS_ONLY": "_firmware", "BMS_CFLAGS": FLAGS, "CC": "gcc"}
    subprocess.run([*words, *places], cwd=ROOT, env=variables, check=True)
    for made in (folder / "lib/bms").glob("_firmware*.so"):
        shutil.copy(made, folder / "src/bms")
    return folder / "obj"


def run(folder: Path, tests: list[str]) -> int:
    """What pytest says; tests see the copy."""
    path = os.pathsep.join([str(folder / "src"), *_outer()])
    variables = {**os.environ, "PYTHONPATH": path}
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
    return subprocess.run(words, cwd=ROOT, env=variables, check=False).returncode


def _outer() -> list[str]:
    """What PYTHONPATH held, without this project's own src."""
    words = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return [word for word in words if word and Path(word).resolve() != ROOT / "src"]


def count(objects: Path) -> dict[str, dict[str, Any]]:
    """Of each file of the firmware: lines, branches, those taken, and lines never run."""
    found: dict[str, dict[str, Any]] = {}
    for data in sorted(objects.rglob("*.gcda")):
        words = ["gcov", "--json-format", "--stdout", "--branch-probabilities", str(data)]
        said = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for file in (f for text in said.splitlines() for f in json.loads(text)["files"]):
            name = Path(file["file"])
            if name.parts[-2:-1] == ("firmware",) and name.suffix == ".c":
                found[name.name] = _count_file(file)
    return found


def _count_file(file: dict[str, Any]) -> dict[str, Any]:
    lines = {line["line_number"]: 0 for line in file["lines"]}
    branches = taken = 0
    for line in file["lines"]:
        lines[line["line_number"]] += line["count"]
        branches += len(line["branches"])
        taken += sum(branch["count"] > 0 for branch in line["branches"])
    missing = [number for number, times in sorted(lines.items()) if times == 0]
    return {"lines": len(lines), "missing": missing, "branches": branches, "taken": taken}


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "-"


def section(found: dict[str, dict[str, Any]], tests: list[str]) -> str:
    """The table, worst file first."""
    rows = [
        (
            f"`{name}`",
            _percent(f["lines"] - len(f["missing"]), f["lines"]),
            _percent(f["taken"], f["branches"]),
            ranges(f["missing"]) or "none",
        )
        for name, f in sorted(found.items(), key=lambda item: -len(item[1]["missing"]))
    ]
    lines, missing = (
        sum(f["lines"] for f in found.values()),
        sum(len(f["missing"]) for f in found.values()),
    )
    branches, taken = (sum(f[key] for f in found.values()) for key in ("branches", "taken"))
    return "\n\n".join(
        [
            f"Run by `{' '.join(tests)}`: **{_percent(lines - missing, lines)}** of {lines} lines, "
            f"**{_percent(taken, branches)}** of {branches} branches.",
            table(("file", "lines", "branches", "lines never run"), rows),
        ]
    )


def main() -> int:
    """Builds, runs, counts, writes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, default=ROOT / "out/coverage")
    args, rest = parser.parse_known_args()
    tests = rest or list(TESTS)
    objects = build(args.folder.resolve())
    code = run(args.folder.resolve(), tests)
    write_section("coverage", section(count(objects), tests))
    return code


if __name__ == "__main__":
    sys.exit(main())
