"""Measures estimator, fits, power, leaks and balancing and writes the tables of the manuals.

    python tools/estimator_tables.py            measure (ten minutes) and write
    python tools/estimator_tables.py speed fit  only these
    python tools/estimator_tables.py --check    fail if a table is missing or of another shape

Between `<!-- NAME -->` and `<!-- end -->` everything is replaced.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bms.bench.balancing import Outcome

ROOT = Path(__file__).resolve().parent.parent
PAGES = {
    "docs/estimator.md": ("charge", "health", "core", "pressure", "speed"),
    "docs/fit.md": ("fit",),
    "docs/thermal_observer.md": ("power",),
    "docs/soft-short.md": ("leak",),
    "docs/explanation/states.md": ("balancing",),
}
sys.path.insert(0, str(ROOT / "src"))


def figure(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def options(bench: ModuleType, *given: str) -> argparse.Namespace:
    """Those of a benchmark, as its command has them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repetitions", type=int, default=5)
    if hasattr(bench, "arguments"):
        bench.arguments(parser)
    return parser.parse_args(given)


def accuracy_tables() -> dict[str, str]:
    """Charge, health, and core temperature."""
    from bms.bench import accuracy

    found = {row.name: row for row in accuracy.rows(options(accuracy))}
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
        "| record | core RMSE K | inside 3 sigma % | surface for core K | quasi-steady law K |",
        "|---|---|---|---|---|",
    ]
    for name, row in found.items():
        if name.startswith("core_rmse_k/") and "/quasi_steady" not in name:
            law = found.get(f"{name}/quasi_steady")
            place = name.partition("/")[2]
            inside = figure(found[f"core_inside_3_sigma_pct/{place}"].ours)
            beside = figure(law.peer) if law else "-"
            cells = [place, figure(row.ours), inside, figure(row.peer), beside]
            core.append("| " + " | ".join(cells) + " |")
    health = ["| figure | ours | beside it |", "|---|---|---|"]
    for name, row in found.items():
        kind, _, place = name.partition("/")
        if kind.startswith(("r0_", "capacity_", "health_")):
            beside = "-" if row.peer is None else f"{figure(row.peer)} % ({row.peer_name})"
            health.append(f"| `{kind}` | {figure(row.ours)} % | {beside} |")
    tables = {"charge": charge, "core": core, "health": health}
    return {name: "\n".join(lines) for name, lines in tables.items()}


def fit_table() -> str:
    """Held-out records of the shipped manifests: the model on its own."""
    import time

    import numpy as np

    from bms import fit

    lines = [
        "| manifest | held out | RMSE mV, SoC above 0.1 | mean error mV | fit takes |",
        "|---|---|---|---|---|",
    ]
    for path in sorted((ROOT / "examples/fit").glob("*.toml")):
        began = time.perf_counter()
        result = fit.fit(path)
        took = f"{time.perf_counter() - began:.0f} s"
        for s in result.scores:
            if s.is_judged:
                mean_mv = 1e3 * float(np.mean(s.model_v - s.trace.voltage_v))
                name = Path(s.trace.name).name.split(".")[0]
                figures = f"{s.rmse_used_mv:.1f} | {mean_mv:+.1f} | {took}"
                lines.append(f"| `{path.stem}` | {name} | {figures} |")
        if not result.scores:
            core = ", ".join(f"core by the law {h.law_rmse_k:.2f} K" for h in result.heat_scores)
            lines.append(f"| `{path.stem}` | none: {core} | - | - | {took} |")
    return "\n".join(lines)


def speed_table() -> str:
    from bms.bench import estimator, machine

    rows = estimator.rows(options(estimator, "--repetitions", "7"))
    computer = machine()
    lines = ["| figure | ours | NumPy, the same model | bare limit |", "|---|---|---|---|"]
    for row in rows:
        peer = (
            figure(row.peer)
            if row.peer_name != "filterpy EKF"
            else f"{figure(row.peer)} (filterpy)"
        )
        lines.append(
            f"| `{row.name}` | {figure(row.ours)} {row.unit.strip('1')} | {peer} "
            f"| {figure(row.limit)} |"
        )
    lines.append(
        f"\nMeasured on {computer['cpu']}, {computer['compiler']}, one thread but where said."
    )
    return "\n".join(lines)


def pressure_table() -> str:
    """Charge with stack pressure beside charge without, sensor by sensor."""
    from bms.bench import pressure

    found = {row.name: row for row in pressure.rows(options(pressure))}
    lines = [
        "| record / sensor | RMSE % (without) | half-width % (without) | inside 3 sigma % "
        "| worse than without % |",
        "|---|---|---|---|---|",
    ]
    for place in (n.partition("/")[2] for n in found if n.startswith("soc_rmse_pct/")):
        rmse, width = found[f"soc_rmse_pct/{place}"], found[f"soc_half_width_pct/{place}"]
        cells = [
            place, f"{figure(rmse.ours)} ({figure(rmse.peer)})",
            f"{figure(width.ours)} ({figure(width.peer)})",
            figure(found[f"soc_inside_3_sigma_pct/{place}"].ours),
            figure(found[f"worse_than_without_pct/{place}"].ours),
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def power_table() -> str:
    """Offered over available, by what limits; over all temperatures, charges and spans."""
    from bms.bench import power

    measured = power.rows(options(power))
    groups: dict[tuple[str, str, str], list[tuple[float, str]]] = {}
    for row in measured:
        if not row.name.startswith("offered_pct/") or row.ours is None:
            continue
        _, doing, degrees, charge = row.name.split("/")
        why = str(row.limit_source).partition(" ")[0]
        place = (doing.partition("_")[0], why, degrees)
        groups.setdefault(place, []).append((row.ours, charge.replace("soc_", "at ")))
    lines = ["| way | limited by | at | offered %, least and most |", "|---|---|---|---|"]
    for (way, why, degrees), shares in groups.items():
        least, most = min(shares), max(shares)
        cells = [way, why, degrees, f"{least[0]:.0f} ({least[1]}) to {most[0]:.0f}"]
        lines.append("| " + " | ".join(cells) + " |")
    lines.append(
        f"\nOffers that crossed a limit: {figure(measured[-1].ours)} of {len(measured) - 1}."
    )
    return "\n".join(lines)


SHORTS = {
    "20ohm_rest": "20 ohm in 77 Ah, parked",
    "20ohm_charge": "20 ohm, from the start of a charge of 2.4 h after a drive",
    "200ohm_rest": "200 ohm in 77 Ah, parked",
    "200ohm_daily": "200 ohm, driven twice a day, charged in between",
    "20ohm_lfp": "20 ohm in 100 Ah of iron phosphate, full cycles",
    "200ohm_lfp": "200 ohm in 100 Ah of iron phosphate, full cycles",
}


def leak_table() -> str:
    """How soon shorts are told, and alarms of healthy packs."""
    from bms.bench import leak

    found = {row.name: row for row in leak.rows(options(leak, "--long"))}
    lines = ["| short | told after, median (worst) | full charges, worst |", "|---|---|---|"]
    for name, text in SHORTS.items():
        middle, worst = (found[f"leak_hours_{w}/{name}"].ours for w in ("median", "worst"))
        fulls = found.get(f"leak_full_charges_worst/{name}")
        many = "-" if fulls is None else figure(fulls.ours)
        lines.append(f"| {text} | {figure(middle)} h ({figure(worst)} h) | {many} |")
    alarms, surest = found["leak_false_alarms"], found["leak_healthy_most_sure_ma"]
    lines.append(
        f"\nFalse alarms: {figure(alarms.ours)} {alarms.unit}. The most that was ever sure of a "
        f"healthy block: {figure(surest.ours)} mA, and {figure(surest.limit)} mA make an alarm."
    )
    return "\n".join(lines)


STRATEGIES = {"voltage": "by voltage at rest", "charge": "by estimated charge"}


def balancing_row(name: str, done: Outcome) -> str:
    """One strategy: what `bms.bench.balancing.balance` gave."""
    cells = (
        STRATEGIES[name], f"{done.hours:.2f} h", f"{done.bound_h:.2f} h",
        f"{done.energy_wh:.2f} Wh", f"{100.0 * done.left_frac:.2f} %",
    )  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def balancing_table() -> str:
    """Both strategies on one uneven pack."""
    from bms.bench.balancing import balance

    head = ["| strategy | time to balance | bound | energy lost | left of 3 % |", "|---" * 5 + "|"]
    return "\n".join(head + [balancing_row(name, balance(name)) for name in STRATEGIES])


def missing(text: str, names: tuple[str, ...]) -> list[str]:
    """Tables that are not there, or have no row."""
    found = {name: re.search(rf"<!-- {name} -->\n\|.*\n\|---.*\n\|.*\n", text) for name in names}
    return [name for name, match in found.items() if match is None]


def write(tables: dict[str, str]) -> None:
    for page in PAGES:
        text = (ROOT / page).read_text("utf-8")
        for name, table in tables.items():
            pattern = rf"(<!-- {name} -->\n).*?(<!-- end -->)"
            text = re.sub(pattern, lambda m, t=table: f"{m[1]}{t}\n{m[2]}", text, flags=re.DOTALL)
        (ROOT / page).write_text(text, "utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("names", nargs="*", metavar="TABLE")
    args = parser.parse_args()
    if args.check:
        gone = {page: missing((ROOT / page).read_text("utf-8"), names)
                for page, names in PAGES.items()}  # fmt: skip
        print("\n".join(f"{page}: {', '.join(names)}" for page, names in gone.items() if names))
        return 1 if any(gone.values()) else 0
    wanted = args.names or [name for names in PAGES.values() for name in names]
    if {"charge", "health", "core"} & set(wanted):
        write(accuracy_tables())
    if "fit" in wanted:
        write({"fit": fit_table()})
    if "pressure" in wanted:
        write({"pressure": pressure_table()})
    if "power" in wanted:
        write({"power": power_table()})
    if "speed" in wanted:
        write({"speed": speed_table()})
    if "leak" in wanted:
        write({"leak": leak_table()})
    if "balancing" in wanted:
        write({"balancing": balancing_table()})
    return 0


if __name__ == "__main__":
    sys.exit(main())
