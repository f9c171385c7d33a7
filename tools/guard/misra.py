"""MISRA C:2012 by cppcheck's addon: what the firmware deviates from, counted, and nothing else.

    python tools/guard/misra.py [--write] [FILE.c ...]

Exit code 1 names every finding of a rule that tools/guard/misra.toml does not give a reason for,
and every warning of cppcheck itself.
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
    said = _cppcheck("--addon=misra", files)
    return sorted({(Path(f).name, int(line), rule) for f, line, rule in FOUND.findall(said)})


def errors(files: list[Path]) -> list[str]:
    """What cppcheck itself finds: one sentence each."""
    return _cppcheck("--enable=warning,performance,portability", files).splitlines()


def _cppcheck(option: str, files: list[Path]) -> str:
    parts = ("common", "firmware", "firmware/generated")
    words = ["cppcheck", "-q", option, "--std=c99", "-DBMS_NO_CLONES", "--template=gcc"]
    words += [f"-I{ROOT / 'ext' / part}" for part in parts]
    words += ["--suppress=*:*/generated/bms_dbc.*", *map(str, files)]
    return subprocess.run(words, capture_output=True, text=True, check=False).stderr


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
    head = f"{version.stdout.strip()}: {len(found)} findings of {len(counts)} rules, each reviewed."
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
    plain = errors(args.files or whole)
    print("\n".join(plain))
    return 1 if wrong or plain else 0


if __name__ == "__main__":
    sys.exit(main())
