"""`bms estimate DATA --cell CELL --out OUT.csv`: state of charge, core temperature and resistance
from a measured record.

DATA is CSV (also .gz) or Parquet with time_s, current_a, voltage_v, temperature_degc and, where
there are any, pressure_kpa and temperature_coolant_degc, or with the names of the Battery Data
Format. OUT (.csv, .csv.gz, .parquet) has one row for each row of DATA, in its order. What was
repaired on the way is told on stderr.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from bms.data import Record, Repair
    from bms.estimator import Estimates
    from bms.estimator.scoring import Score
    from bms.model import Cell

PLAUSIBLE = 0.5, 1.5  # of the OCV when empty and full: beyond it is a wire, not a cell (batch.h)
HELP = "state of charge, core temperature and resistance from a measured record"

Columns = dict[str, "np.ndarray"]


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", metavar="DATA", help="CSV, CSV.gz or Parquet")
    parser.add_argument("--cell", required=True, help="name in the library or path of a TOML file")
    parser.add_argument("--out", required=True, type=Path, metavar="OUT.csv")
    parser.add_argument(
        "--soc0", type=_fraction, metavar="F", help="state of charge at the start, 0 to 1; "
        "without it, from the voltage",
    )  # fmt: skip
    parser.add_argument(
        "--soc0-std", type=_fraction, metavar="F", help="how far off --soc0 may be (default 0.12)"
    )
    parser.add_argument(
        "--current-sign", choices=("discharge", "charge"),
        help="what a positive current means in DATA; default discharge, for Battery Data Format "
        "names charge",
    )  # fmt: skip
    parser.add_argument(
        "--column", action="append", default=[], metavar="OURS=THEIRS",
        help="a column with another name, or its number; repeatable",
    )  # fmt: skip
    parser.add_argument(
        "--temperature", type=float, metavar="DEGC", help="where DATA has no temperature"
    )
    parser.add_argument("--score", metavar="COLUMN", help="column of DATA with the truth, 0 to 1")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="picture: .png, .svg, .pdf")
    parser.add_argument("--json", action="store_true", help="print the score as one JSON object")


def run(args: argparse.Namespace) -> int:
    from bms import cells
    from bms.data import read_record
    from bms.estimator import Estimator
    from bms.estimator.params import START_STD_FRAC

    cell = cells.load(args.cell)
    record = read_record(
        args.data,
        _mapping(args.column),
        args.current_sign,
        temperature_degc=args.temperature,
        capacity_ah=cell.electric.capacity_ah,
        missing="keep",
        extra=(args.score,) if args.score else (),
    )
    for repair in (*record.repairs, *_unlikely(record, cell)):
        print(f"{args.data}: {repair}", file=sys.stderr)
    wide = START_STD_FRAC if args.soc0_std is None else args.soc0_std
    found = Estimator(cell, soc0_std_frac=wide).run(
        record.time_s, record.current_a, record.voltage_v, record.temperature_degc,
        record.pressure_kpa, soc0=args.soc0, coolant_degc=record.temperature_coolant_degc,
    )  # fmt: skip
    _write(args.out, _columns(record, found))
    score = _score(args, record, found)
    if args.plot:
        _plot(args.plot, record, found, record.extra[args.score] if args.score else None)
    if args.json:
        print(json.dumps({"rows": record.rows} | ({} if score is None else asdict(score))))
    else:
        last, reach = found.soc_frac[-1], 3.0 * found.soc_std_frac[-1]
        print(f"{args.out}: {record.rows} rows, {last:.1%} +- {reach:.1%} of charge at the end")
        for line in [] if score is None else score.lines("%"):
            print(f"  {line}")
    return 0


def _unlikely(record: Record, cell: Cell) -> list[Repair]:
    """Voltages that this cell cannot have, which the estimator does not believe either."""
    import numpy as np

    from bms.data import Repair
    from bms.errors import ConfigError

    low, high = PLAUSIBLE[0] * cell.electric.ocv_v[0], PLAUSIBLE[1] * cell.electric.ocv_v[-1]
    bad = (record.voltage_v <= low) | (record.voltage_v >= high)  # not those that are not there
    if not bad.any():
        return []
    first = int(np.argmax(bad))
    row, value = int(record.row[first]) + 1, float(record.voltage_v[first])
    if bad.sum() == np.isfinite(record.voltage_v).sum():
        expected = f"voltages of {cell.name}, {low:.3g} to {high:.3g} V"
        raise ConfigError(record.file, f"voltage_v, row {row}", value, expected)
    text = f"{value:.3g} V is none of {cell.name}; not believed"
    return [Repair("impossible", "voltage_v", int(bad.sum()), row, text)]


def _fraction(text: str) -> float:
    value = float(text)
    if not 0.0 <= value <= 1.0:
        raise argparse.ArgumentTypeError(f"{text}: expected 0 to 1")
    return value


def _mapping(texts: list[str]) -> dict[str, str | int]:
    """OURS=THEIRS texts; THEIRS may be a number, the position of the column."""
    from bms.errors import ConfigError

    mapping: dict[str, str | int] = {}
    for text in texts:
        ours, equals, theirs = text.partition("=")
        if not (equals and ours and theirs):
            raise ConfigError("option", "--column", text, "OURS=THEIRS")
        mapping[ours.strip()] = int(theirs) if theirs.isdigit() else theirs
    return mapping


def _columns(record: Record, found: Estimates) -> Columns:
    """What is written, one value for each row of the file."""
    import numpy as np

    ours = {
        "time_s": record.time_s,
        "est_soc_frac": found.soc_frac,
        "est_soc_std_frac": found.soc_std_frac,
        "est_temperature_core_degc": found.temperature_core_degc,
        "est_r0_ohm": found.r0_ohm,
        "est_capacity_ah": found.capacity_ah,
        "est_temperature_core_std_k": found.temperature_core_std_k,
        "est_r0_std_ohm": found.r0_std_ohm,
        "est_capacity_std_ah": found.capacity_std_ah,
    }
    return {name: record.expand(np.asarray(values, np.float64)) for name, values in ours.items()}


def _write(path: Path, columns: Columns) -> None:
    from bms.errors import ConfigError

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".parquet":
            import pyarrow as pa
            import pyarrow.parquet as pq

            pq.write_table(pa.table(columns), path)
        else:
            import numpy as np

            np.savetxt(
                path, np.column_stack(list(columns.values())), fmt="%.7g", delimiter=",",
                header=",".join(columns), comments="",
            )  # fmt: skip
    except OSError as error:
        raise ConfigError(path, "--out", error.strerror, "a file that can be written") from None


def _score(args: argparse.Namespace, record: Record, found: Estimates) -> Score | None:
    if not args.score:
        return None
    from bms.errors import ConfigError
    from bms.estimator.scoring import score

    try:
        return score(
            record.time_s,
            100.0 * found.soc_frac,
            100.0 * record.extra[args.score],
            100.0 * found.soc_std_frac,
        )
    except ValueError as error:
        raise ConfigError(args.data, args.score, "nothing", str(error)) from None


def _plot(path: Path, record: Record, found: Estimates, truth: np.ndarray | None) -> None:
    """Charge with its interval, voltage and current, temperatures; over hours."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 8), layout="constrained")
    charge, volts, heat = figure.subplots(3, sharex=True)
    hours, z, reach = record.time_s / 3600.0, found.soc_frac, 3.0 * found.soc_std_frac
    charge.fill_between(hours, z - reach, z + reach, alpha=0.25, label="3 sigma")
    charge.plot(hours, z, label="estimate")
    if truth is not None:
        charge.plot(hours, truth, "k--", lw=1, label="truth")
    charge.set_ylabel("state of charge")
    charge.legend()
    volts.plot(hours, record.voltage_v, lw=0.8)
    volts.set_ylabel("voltage in V")
    amps = volts.twinx()
    amps.plot(hours, record.current_a, lw=0.5, color="gray")
    amps.set_ylabel("current in A, + discharge", color="gray")
    heat.plot(hours, record.temperature_degc, lw=0.8, label="surface, measured")
    heat.plot(hours, found.temperature_core_degc, lw=0.8, label="core, estimate")
    heat.set_ylabel("temperature in degC")
    heat.set_xlabel("time in h")
    heat.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
