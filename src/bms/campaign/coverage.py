"""What a campaign reached: fault by state by outcome. A cell with nothing in it is a gap."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bms import faults
from bms.campaign.play import OUTCOMES

if TYPE_CHECKING:
    from bms.campaign.run import Result

STATES = (
    "init", "selftest", "standby", "precharge", "normal_drive", "normal_charge", "opening",
    "error", "latched",
)  # fmt: skip
GAP = "-"


def table(result: Result) -> str:
    """Markdown: one row a fault, one column a state; in a cell how often each outcome came, in the
    order of OUTCOMES."""
    lines = [
        "| fault | " + " | ".join(STATES) + " |",
        "|---" * (len(STATES) + 1) + "|",
    ]
    hit = 0
    rows = faults.acting()
    for fault in rows:
        cells = [_cell(result, fault.id, state) for state in STATES]
        hit += sum(cell != GAP for cell in cells)
        lines.append(f"| {fault.id} | " + " | ".join(cells) + " |")
    total = len(rows) * len(STATES)
    head = (
        f"{result.simulated_hours:.1f} simulated hours, {result.seeds} seeds. {hit} of {total}"
        f" cells reached, {total - hit} gaps (`{GAP}`). A cell counts " + ", ".join(OUTCOMES) + "."
    )
    return head + "\n\n" + "\n".join(lines) + "\n"


def _cell(result: Result, fault: str, state: str) -> str:
    counts = [result.coverage.get(f"{fault} {state} {outcome}", 0) for outcome in OUTCOMES]
    return " ".join(map(str, counts)) if any(counts) else GAP
