"""What a campaign reached: fault by state by outcome. A cell with nothing in it is a gap."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bms import faults
from bms.campaign.play import OUTCOMES
from bms.errors import ConfigError

if TYPE_CHECKING:
    from bms.campaign.run import Result

STATES = (
    "init", "selftest", "standby", "precharge", "normal_drive", "normal_charge", "balancing",
    "opening", "error", "latched", "service", "sleep",
)  # fmt: skip
GAP = "-"


def plain(result: Result, before: Path | None = None) -> dict[str, Any]:
    """What the table is made of, as plain values for a file; on top of what a file has `before`.

    Raises ConfigError for a file that is none of these."""
    hours, seeds, counts = result.simulated_hours, result.seeds, Counter(result.coverage)
    if before is not None:
        try:
            was = json.loads(before.read_text())
            hours, seeds = hours + float(was["simulated_hours"]), seeds + int(was["seeds"])
            counts.update({str(key): int(count) for key, count in was["coverage"].items()})
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(before, "", type(error).__name__, "counts of a coverage") from error
    return {
        "simulated_hours": round(hours, 1), "seeds": seeds,
        "coverage": dict(sorted(counts.items())),
    }  # fmt: skip


def table(found: dict[str, Any]) -> str:
    """Markdown of what plain() gave: one row a fault, one column a state; in a cell how often each
    outcome came, in the order of OUTCOMES."""
    lines = [
        "| fault | " + " | ".join(STATES) + " |",
        "|---" * (len(STATES) + 1) + "|",
    ]
    hit = 0
    rows = faults.drawn()
    for fault in rows:
        cells = [_cell(found["coverage"], fault.id, state) for state in STATES]
        hit += sum(cell != GAP for cell in cells)
        lines.append(f"| {fault.id} | " + " | ".join(cells) + " |")
    total = len(rows) * len(STATES)
    head = (
        f"{found['simulated_hours']:.1f} simulated hours, {found['seeds']} seeds. {hit} of {total}"
        f" cells reached, {total - hit} gaps (`{GAP}`). A cell counts " + ", ".join(OUTCOMES) + "."
    )
    return head + "\n\n" + "\n".join(lines) + "\n"


def _cell(coverage: dict[str, int], fault: str, state: str) -> str:
    counts = [coverage.get(f"{fault} {state} {outcome}", 0) for outcome in OUTCOMES]
    return " ".join(map(str, counts)) if any(counts) else GAP
