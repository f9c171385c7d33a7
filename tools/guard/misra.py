"""MISRA C:2012 by cppcheck's addon: what the firmware deviates from, counted, and nothing else.

    python tools/guard/misra.py [--write] [FILE.c ...]

Exit code 1 names every finding of a rule that tools/guard/misra.toml does not give a reason for.
--write puts the counts into docs/guard.md.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from page import ROOT, table, write_section

FOUND = re.compile(r"^(\S+?):(\d+):\d+: .*\[misra-c2012-([\d.]+)\]$", re.MULTILINE)


def find(files: list[Path]) -> list[tuple[str, int, str]]:
    """(file, line, rule) of every finding, each once. Generated packing code is left out."""
    includes = [
        f"-I{ROOT / 'ext' / place}" for place in ("common", "firmware", "firmware/generated")
    ]
    words = ["cppcheck", "-q", "--addon=misra", "--std=c99", "-DBMS_NO_CLONES", *includes]
    words.append("--suppress=*:*/generated/bms_dbc.*")
    said = subprocess.run(
        [*words, *map(str, files)], capture_output=True, text=True, check=False
    ).stderr
    return sorted({(Path(f).name, int(line), rule) for f, line, rule in FOUND.findall(said)})


def reasons() -> dict[str, str]:
    """Why, by rule."""
    deviations: dict[str, str] = tomllib.loads(Path(__file__).with_name("misra.toml").read_text())[
        "deviations"
    ]
    return deviations


def _order(rule: str) -> tuple[int, ...]:
    return tuple(int(part) for part in rule.split("."))


def section(found: list[tuple[str, int, str]]) -> str:
    """Counts by rule."""
    counts = Counter(rule for _, _, rule in found)
    given = reasons()
    rows = [(r, counts[r], given.get(r, "**not reviewed**")) for r in sorted(counts, key=_order)]
    version = subprocess.run(["cppcheck", "--version"], capture_output=True, text=True, check=True)
    head = f"{version.stdout.strip()}: {len(found)} findings of {len(counts)} rules."
    return "\n\n".join([head, table(("rule", "findings", "reason"), rows)])


def main() -> int:
    """Runs, tells, writes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", action="store_true")
    parser.add_argument("files", nargs="*", type=Path)
    args = parser.parse_args()
    whole = [p for p in sorted((ROOT / "ext/firmware").glob("*.c")) if p.stem != "config_fields"]
    found = find(args.files or whole)
    if args.write:
        write_section("misra", section(found))
    given = reasons()
    wrong = [row for row in found if row[2] not in given]
    for name, line, rule in wrong:
        print(f"{name}:{line}: rule {rule} is deviated from without a reason")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
