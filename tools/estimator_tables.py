"""Measures the estimator and writes the tables of docs/estimator.md.

    python tools/estimator_tables.py            measure (a minute) and write
    python tools/estimator_tables.py --check    fail if a table is missing

Between `<!-- NAME -->` and `<!-- end -->` everything is replaced.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/estimator.md"
sys.path.insert(0, str(ROOT / "src"))


def figure(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def accuracy_tables() -> tuple[str, str]:
    """Charge, and core temperature."""
    from bms.bench import accuracy

    options = argparse.Namespace(repetitions=1, seconds=2400.0, estimator=None, only="")
    found = {row.name: row for row in accuracy.rows(options)}
    places = [n.partition("/")[2] for n in found if n.startswith("soc_inside")]
    charge = [
        "| record | RMSE % | largest % | inside 3 sigma % | half-width % "
        "| plain EKF RMSE (largest) % | coulomb counting RMSE % |",
        "|---|---|---|---|---|---|---|",
    ]
    for place in places:
        rmse, most = found[f"soc_rmse_pct/{place}"], found[f"soc_max_error_pct/{place}"]
        cells = [
            place, figure(rmse.ours), figure(most.ours),
            figure(found[f"soc_inside_3_sigma_pct/{place}"].ours),
            figure(found[f"soc_interval_width_pct/{place}"].ours),
            f"{figure(rmse.peer)} ({figure(most.peer)})",
            figure(found[f"soc_rmse_pct/{place}/coulomb_counting"].peer),
        ]  # fmt: skip
        charge.append("| " + " | ".join(cells) + " |")
    core = [
        "| record | core RMSE K | surface for core K | quasi-steady law K |",
        "|---|---|---|---|",
    ]
    for name, row in found.items():
        if name.startswith("core_rmse_k/") and not name.endswith("/quasi_steady"):
            law = found.get(f"{name}/quasi_steady")
            place = name.partition("/")[2]
            beside = figure(law.peer) if law else "-"
            core.append(f"| {place} | {figure(row.ours)} | {figure(row.peer)} | {beside} |")
    return "\n".join(charge), "\n".join(core)


def speed_table() -> str:
    from bms.bench import estimator, machine

    rows = estimator.rows(argparse.Namespace(repetitions=7, updates=400_000))
    computer = machine()
    lines = ["| figure | ours | NumPy, the same model | bare limit |", "|---|---|---|---|"]
    for row in rows:
        peer = (
            figure(row.peer)
            if row.peer_name != "filterpy EKF"
            else f"{figure(row.peer)} (filterpy)"
        )
        lines.append(
            f"| `{row.name}` | {figure(row.ours)} {row.unit} | {peer} | {figure(row.limit)} |"
        )
    lines.append(
        f"\nMeasured on {computer['cpu']}, {computer['compiler']}, one thread but where said."
    )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    text = PAGE.read_text("utf-8")
    if parser.parse_args().check:
        return 0 if text.count("|---|") >= 3 else 1
    charge, core = accuracy_tables()
    for name, table in (("charge", charge), ("core", core), ("speed", speed_table())):
        pattern = rf"(<!-- {name} -->\n).*?(<!-- end -->)"
        text = re.sub(pattern, lambda m, t=table: f"{m[1]}{t}\n{m[2]}", text, flags=re.DOTALL)
    PAGE.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
