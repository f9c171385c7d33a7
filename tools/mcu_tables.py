"""The table of docs/mcu.md: what the firmware takes of a Cortex-M4F, measured by `bms bench mcu`.

python tools/mcu_tables.py          # needs what `make test-mcu` installs; takes half a minute
"""

from __future__ import annotations

from pathlib import Path

from bms.bench import mcu

PAGE = Path(__file__).resolve().parents[1] / "docs" / "mcu.md"
BEGIN, END = "<!-- measured -->", "<!-- end of measured -->"
WORDS = {
    "flash_bytes": "Flash: code and constants",
    "ram_bytes": "RAM: state of 96 cells, variables, one input and output",
    "stack_bytes": "Deepest stack of any step",
    "instructions_worst": "Instructions of the worst step",
    "instructions_p99": "of 99 in 100 steps",
    "instructions_p50": "of the median step",
}


def table() -> str:
    """Markdown rows; without the tools the reason instead."""
    found = {row.name: row for row in mcu.rows(None)}
    lines = ["| what | measured | limit |", "|---|---|---|"]
    for name, words in WORDS.items():
        row = found[name]
        if row.ours is None:
            raise SystemExit(row.limit_source)
        unit = " B" if row.unit == "B" else ""
        lines.append(f"| {words} | {row.ours:,.0f}{unit} | {row.limit:,.0f}{unit} |")
    return "\n".join(lines)


def main() -> None:
    """Writes the table into the page."""
    before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}", "utf-8")


if __name__ == "__main__":
    main()
