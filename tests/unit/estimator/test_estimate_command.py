"""`bms estimate`: rows, names, signs, repairs and refusals."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from bms import cells
from bms.cli import main

CELL = "sulfide_nmc811_77ah"
HEADS = ["time_s", "est_soc_frac", "est_soc_std_frac", "est_temperature_core_degc", "est_r0_ohm"]


def table(n: int = 400) -> dict[str, np.ndarray]:
    """A drive made from the cell's own OCV and resistance, with its truth."""
    cell = cells.load(CELL)
    amps = np.where(np.arange(n) // 20 % 2 == 0, 60.0, -40.0)
    soc = 0.8 - np.cumsum(amps) / (77.0 * 3600.0)
    volts = np.interp(soc, cell.electric.ocv_soc_frac, cell.electric.ocv_v) - 0.0009 * amps
    return {
        "time_s": np.arange(n, dtype=float), "current_a": amps, "voltage_v": volts,
        "temperature_degc": np.full(n, 25.0), "truth": soc,
    }  # fmt: skip


def write(path: Path, columns: dict[str, np.ndarray]) -> Path:
    lines = [",".join(columns)]
    rows = zip(*columns.values(), strict=True)
    lines += [",".join("" if np.isnan(v) else f"{v:.6f}" for v in row) for row in rows]
    text = "\n".join(lines) + "\n"
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def estimate(data: Path, out: Path, *options: str) -> tuple[int, np.ndarray | None]:
    code = main(["estimate", str(data), "--cell", CELL, "--out", str(out), *options])
    return code, np.genfromtxt(out, delimiter=",", names=True) if code == 0 else None


def test_every_input_row_has_an_output_row_and_a_score(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write(tmp_path / "drive.csv.gz", table())
    code, out = estimate(data, tmp_path / "out.csv", "--score", "truth", "--json")
    assert code == 0 and out is not None and len(out) == 400
    assert list(out.dtype.names or ())[:5] == HEADS and "est_capacity_ah" in out.dtype.names
    score = json.loads(capsys.readouterr().out)
    assert score["settled_rmse"] < 1.0 and score["inside_frac"] > 0.99
    np.testing.assert_array_equal(out["time_s"], np.arange(400))


def test_rows_stay_in_place_when_some_are_repaired(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = table()
    made["time_s"][100] = made["time_s"][99]
    made["voltage_v"][200:204] = np.nan
    code, out = estimate(write(tmp_path / "d.csv", made), tmp_path / "o.csv")
    told = capsys.readouterr().err
    assert code == 0 and out is not None and len(out) == 400
    assert "time repeats" in told and "first 101" in told
    assert out["time_s"][100] == out["time_s"][99] and out["time_s"][101] == 101
    assert np.isfinite(out["est_soc_frac"]).all()


def test_format_names_and_its_sign_give_the_same_result(tmp_path: Path) -> None:
    made = table()
    _, ours = estimate(write(tmp_path / "a.csv", made), tmp_path / "a_out.csv")
    named = {
        "Test Time / s": made["time_s"], "Current / A": -made["current_a"],
        "Voltage / V": made["voltage_v"], "Surface Temperature / degC": made["temperature_degc"],
    }  # fmt: skip
    _, theirs = estimate(write(tmp_path / "b.csv", named), tmp_path / "b_out.csv")
    assert ours is not None and theirs is not None
    np.testing.assert_array_equal(ours["est_soc_frac"], theirs["est_soc_frac"])


def test_columns_can_be_named_and_the_sign_told(tmp_path: Path) -> None:
    made = table()
    _, ours = estimate(write(tmp_path / "a.csv", made), tmp_path / "a_out.csv")
    named = {"t": made["time_s"], "i": -made["current_a"], "u": made["voltage_v"]}
    options = ["--column", "time_s=t", "--column", "current_a=i", "--column", "voltage_v=u"]
    options += ["--current-sign", "charge", "--temperature", "25"]
    _, theirs = estimate(write(tmp_path / "b.csv", named), tmp_path / "b_out.csv", *options)
    assert ours is not None and theirs is not None
    np.testing.assert_array_equal(ours["est_soc_frac"], theirs["est_soc_frac"])


def test_parquet_in_and_out(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table(table()), tmp_path / "d.parquet")
    out = tmp_path / "o.parquet"
    code = main(["estimate", str(tmp_path / "d.parquet"), "--cell", CELL, "--out", str(out)])
    assert code == 0 and pq.read_table(out).num_rows == 400


def test_a_picture_is_written(tmp_path: Path) -> None:
    picture = tmp_path / "p.png"
    data = write(tmp_path / "d.csv", table())
    estimate(data, tmp_path / "o.csv", "--score", "truth", "--plot", str(picture))
    assert picture.stat().st_size > 10_000


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        ({"current_a": -1.0}, "charge"),
        ({"voltage_v": 1000.0}, "mV"),
        ({"voltage_v": None}, "voltage_v"),
    ],
)
def test_bad_input_ends_with_2_and_says_why(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    spoil: dict[str, float | None],
    expected: str,
) -> None:
    made = table()
    for name, factor in spoil.items():
        made[name] = made[name] * factor if factor is not None else made.pop(name)[:0]
    kept = {name: values for name, values in made.items() if len(values)}
    code, _ = estimate(write(tmp_path / "d.csv", kept), tmp_path / "o.csv")
    assert code == 2 and expected in capsys.readouterr().err
    assert not (tmp_path / "o.csv").exists()


def test_results_carry_their_deviations(tmp_path: Path) -> None:
    _, out = estimate(write(tmp_path / "d.csv", table()), tmp_path / "o.csv")
    assert out is not None
    for name in ("est_temperature_core_std_k", "est_r0_std_ohm", "est_capacity_std_ah"):
        assert (out[name] > 0.0).all(), name
    assert out["est_capacity_ah"] == pytest.approx(77.0)  # no two rests: nothing is learnt


def test_holes_and_impossible_voltages_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = table()
    made["voltage_v"][50:60] = np.nan
    made["voltage_v"][80] = 0.3
    code, _ = estimate(write(tmp_path / "d.csv", made), tmp_path / "o.csv")
    told = capsys.readouterr().err
    assert code == 0
    assert "voltage_v: no value; kept as no reading (10 rows, first 51)" in told
    assert "not believed (1 rows, first 81)" in told


@pytest.mark.parametrize(("column", "value"), [("voltage_v", np.nan), ("voltage_v", 0.0)])
def test_a_column_without_one_reading_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], column: str, value: float
) -> None:
    made = table()
    made[column][:] = value
    code, _ = estimate(write(tmp_path / "d.csv", made), tmp_path / "o.csv")
    assert code == 2 and f"{column}, row 1" in capsys.readouterr().err


def test_a_coolant_column_is_used(tmp_path: Path) -> None:
    made = table(3000)
    made["temperature_coolant_degc"] = np.full(3000, 15.0)
    _, warm = estimate(write(tmp_path / "d.csv", made), tmp_path / "o.csv")
    del made["temperature_coolant_degc"]
    _, blind = estimate(write(tmp_path / "e.csv", made), tmp_path / "p.csv")
    assert warm is not None and blind is not None
    # Surface 10 K above what cools it: the core must be warmer still than heat alone says.
    last = "est_temperature_core_degc"
    assert warm[last][-1] > blind[last][-1] + 0.05


def test_a_long_hole_in_the_current_widens_and_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = table()
    _, whole = estimate(write(tmp_path / "d.csv", made), tmp_path / "o.csv")
    made["current_a"][100:160] = np.nan
    code, holed = estimate(write(tmp_path / "e.csv", made), tmp_path / "p.csv")
    assert code == 0 and whole is not None and holed is not None and len(holed) == 400
    assert "current_a: no value; kept as no reading (60 rows, first 101)" in capsys.readouterr().err
    assert holed["est_soc_std_frac"][159] > whole["est_soc_std_frac"][159] + 0.001
