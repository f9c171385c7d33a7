"""Fills the tables of docs/fuzzing.md: the rules from bms.invariants, the planted bugs from their
patches and from figures of `bms fuzz --planted --json`, kept in docs/fuzzing.json.

    python tools/fuzz_tables.py [FIGURES.json]      writes; tests call tables() and compare

FIGURES.json may have some of the bugs only: what was measured before of others stays. Hashes of the
seeds to replay are those of stories played here and now.

docs/fuzzing-coverage.md is made of docs/fuzzing-coverage.json, which `bms fuzz --coverage` writes.
"""

from __future__ import annotations

import json
import re
import statistics
import sys
from pathlib import Path

from bms.campaign import coverage, hunt
from bms.campaign.play import play
from bms.campaign.story import DRILLS, write
from bms.invariants import INVARIANTS

ROOT = Path(__file__).resolve().parent.parent
PAGE, FIGURES = ROOT / "docs" / "fuzzing.md", ROOT / "docs" / "fuzzing.json"
REACHED = ROOT / "docs" / "fuzzing-coverage.md"
REPLAYED = ((0x9, 20.0), (0x22, 20.0), (DRILLS, 30.0))
"""Seeds of the page, and their seconds: two short stories and a drill."""


def rules() -> str:
    """One row a rule."""
    lines = ["| rule | what must hold | limit | looked at |", "|---|---|---|---|"]
    lines += [f"| {r.id} | {r.text} | {r.limit} | `{r.place}` |" for r in INVARIANTS]
    return "\n".join(lines)


def planted(figures: dict[str, dict[str, object]]) -> str:
    """One row a bug, with what a hunt needed when it was last measured."""
    lines = ["| bug | what it is | rule | stories | CPU s |", "|---|---|---|---|---|"]
    for path in hunt.planted():
        row = figures.get(path.stem, {})
        found = [str(row.get(key, "")) for key in ("rule", "seeds", "cpu_s")]
        cells = found if row.get("found") else ["not found", *found[1:]] if row else ["-"] * 3
        lines.append(f"| `{path.stem}` | {hunt.about(path)} | " + " | ".join(cells) + " |")
    times = [float(str(row["cpu_s"])) for row in figures.values() if row.get("found")]
    middle = f", median {statistics.median(times):.1f} CPU-seconds" if times else ""
    head = f"{len(times)} of {len(figures)} hunted were found{middle}."
    return (head if figures else "Not measured yet.") + "\n\n" + "\n".join(lines)


def seeds() -> str:
    """One row a seed, with the hashes that a replay ends with."""
    lines = ["| command | trace | truth |", "|---|---|---|"]
    for seed, seconds in REPLAYED:
        outcome = play(write(seed, seconds))
        command = f"bms fuzz --replay {seed:#x} --seconds {seconds:g}"
        lines.append(f"| `{command}` | `{outcome.trace_hash}` | `{outcome.truth_hash}` |")
    return "\n".join(lines)


def tables(page: str, figures: dict[str, dict[str, object]]) -> str:
    """The page with its tables as they should be."""
    for name, text in (("rules", rules()), ("seeds", seeds()), ("planted", planted(figures))):
        pattern = rf"(<!-- generated: {name} -->\n).*?(<!-- end -->)"
        page = re.sub(pattern, lambda m, t=text: f"{m[1]}{t}\n{m[2]}", page, flags=re.DOTALL)
    return page


def kept() -> dict[str, dict[str, object]]:
    """The figures, by name of the bug."""
    rows = json.loads(FIGURES.read_text())["planted"] if FIGURES.is_file() else []
    return {row["name"]: row for row in rows}


def reached() -> str:
    """The page of what a campaign reached."""
    found = json.loads(REACHED.with_suffix(".json").read_text())
    head = "# What random faults reached\n\nFault by state in which it began, by outcome. "
    may = "No cell is impossible by construction: drills begin every fault at the first moment, in "
    may += "service and asleep; what is left is chance. "
    line = "Its counts are those of `bms fuzz --coverage FILE.json`: [random faults](fuzzing.md)."
    return f"{head}{may}{line}\n\n{coverage.table(found)}"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        rows = kept() | {
            row["name"]: row for row in json.loads(Path(sys.argv[1]).read_text())["planted"]
        }
        told = [rows[path.stem] for path in hunt.planted() if path.stem in rows]
        FIGURES.write_text(json.dumps({"planted": told}, indent=1) + "\n")
    PAGE.write_text(tables(PAGE.read_text(), kept()))
    REACHED.write_text(reached())
