"""Records from files: names, units, signs, repairs that are counted, refusals that name the row."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bms.data import read_record
from bms.errors import ConfigError

Columns = dict[str, np.ndarray]


def healthy(count: int = 200) -> Columns:
    """A cell of 40 mohm under square pulses; positive current discharges."""
    time_s = np.arange(count, dtype=float)
    current_a = np.where((np.arange(count) // 10) % 2 == 0, 0.0, 5.0)
    voltage_v = 3.8 - 0.04 * current_a - 1e-4 * time_s
    return {"time_s": time_s, "current_a": current_a, "voltage_v": voltage_v,
            "temperature_degc": np.full(count, 25.0)}  # fmt: skip


def write(path: Path, columns: Columns, names: dict[str, str] | None = None) -> Path:
    heads = [(names or {}).get(c, c) for c in columns]
    rows = zip(*columns.values(), strict=True)
    text = "\n".join([",".join(heads), *(",".join("" if v != v else repr(float(v)) for v in r)
                                         for r in rows)])  # fmt: skip
    path.write_text(text + "\n")
    return path


def refused(path: Path, **options: object) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        read_record(path, **options)  # type: ignore[arg-type]
    assert caught.value.exit_code == 2 and str(path) in str(caught.value)
    return caught.value


def test_csv_gzip_and_parquet_give_the_same_record(tmp_path: Path) -> None:
    plain = write(tmp_path / "a.csv", healthy())
    packed = tmp_path / "a.csv.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    table = tmp_path / "a.parquet"
    pq.write_table(pa.table(healthy()), table)
    first = read_record(plain)
    for other in (read_record(packed), read_record(table)):
        for name in ("time_s", "current_a", "voltage_v", "temperature_degc"):
            assert np.array_equal(getattr(first, name), getattr(other, name))
    assert first.repairs == () and first.rows == 200
    assert first.step_ohm == pytest.approx(0.04, rel=0.01)


@pytest.mark.parametrize(
    "names",
    [
        {"time_s": "Test Time / s", "current_a": "Current / A", "voltage_v": "Voltage / V",
         "temperature_degc": "Surface Temperature T1 / degC"},
        {"time_s": "test_time_second", "current_a": "current_ampere", "voltage_v": "voltage_volt",
         "temperature_degc": "temperature_t1_celsius"},
    ],
)  # fmt: skip
def test_battery_data_format_names_are_known_and_charge_is_positive_there(
    tmp_path: Path, names: dict[str, str]
) -> None:
    columns = healthy()
    path = write(tmp_path / "a.csv", {**columns, "current_a": -columns["current_a"]}, names)
    assert np.array_equal(read_record(path).current_a, columns["current_a"])


def test_units_in_headings_are_converted_and_told(tmp_path: Path) -> None:
    columns = healthy()
    scaled = {"time_s": columns["time_s"] / 60, "current_a": columns["current_a"] * 1e3,
              "voltage_v": columns["voltage_v"] * 1e3,
              "temperature_degc": columns["temperature_degc"] + 273.15}  # fmt: skip
    names = {"time_s": "t (min)", "current_a": "I [mA]", "voltage_v": "U / mV",
             "temperature_degc": "T_K"}  # fmt: skip
    record = read_record(write(tmp_path / "a.csv", scaled, names), names)
    for name, values in columns.items():
        np.testing.assert_allclose(getattr(record, name), values, atol=1e-9)
    assert [r.kind for r in record.repairs] == ["unit"] * 4
    assert "mV" in str(record.repairs[2])


def test_a_column_can_be_named_by_position_where_there_is_no_heading(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", healthy())
    path.write_text("\n".join(path.read_text().splitlines()[1:]))
    places = {"time_s": 1, "current_a": 2, "voltage_v": 3}
    record = read_record(path, places, temperature_degc=10.0)
    assert record.rows == 200 and np.all(record.temperature_degc == 10.0)


def test_repairs_are_counted_and_every_row_keeps_its_place(tmp_path: Path) -> None:
    columns = healthy()
    columns["time_s"][50] = columns["time_s"][49]  # repeated
    columns["time_s"][80] = 3.0  # backward
    columns["time_s"][120] = np.nan
    columns["voltage_v"][60:63] = np.nan
    columns["current_a"][5] = 3.4e38
    record = read_record(write(tmp_path / "a.csv", columns))
    told = {r.kind: (r.count, r.first_row) for r in record.repairs}
    assert told == {"time missing": (1, 121), "time repeated": (1, 51), "time backward": (1, 81),
                    "impossible": (1, 6), "missing": (3, 61)} | {
                        "missing": told["missing"]}  # fmt: skip
    assert {(r.column, r.count) for r in record.repairs if r.kind == "missing"} == {
        ("current_a", 1), ("voltage_v", 3)}  # fmt: skip
    assert len(record.time_s) == 197 and record.rows == 200
    assert np.all(np.diff(record.time_s) > 0)
    for name in ("time_s", "current_a", "voltage_v", "temperature_degc"):
        assert np.all(np.isfinite(getattr(record, name)))
    whole = record.expand(record.time_s)
    assert whole.shape == (200,)
    assert whole[50] == whole[49] == 49.0 and whole[51] == 51.0


def test_holes_stay_holes_for_a_caller_that_can_deal_with_them(tmp_path: Path) -> None:
    columns = healthy()
    columns["voltage_v"][60:100] = np.nan
    path = write(tmp_path / "a.csv", columns)
    kept = read_record(path, missing="keep")
    assert np.isnan(kept.voltage_v[60:100]).all() and np.isfinite(kept.current_a).all()
    error = refused(path)
    assert "voltage_v, row 61" in str(error) and "hole" in str(error)


def test_a_gap_is_told(tmp_path: Path) -> None:
    columns = healthy()
    columns["time_s"][100:] += 4000.0
    (told,) = read_record(write(tmp_path / "a.csv", columns)).repairs
    assert told.kind == "gap" and told.first_row == 101 and "4001" in told.text


@pytest.mark.parametrize("slow", [False, True])
def test_a_wrong_sign_is_found_from_the_voltage(tmp_path: Path, slow: bool) -> None:
    columns = healthy()
    if slow:  # one constant current: no steps to judge by
        columns["current_a"][:] = 1.0
        columns["voltage_v"] = np.linspace(4.1, 3.2, 200)
        columns["current_a"][:3] = 0.0
    path = write(tmp_path / "a.csv", columns)
    read_record(path, current_sign="discharge")
    error = refused(path, current_sign="charge")
    assert "in this file positive current means discharge" in str(error) and "row" in error.key


@pytest.mark.parametrize(
    ("column", "factor", "words", "options"),
    [
        ("voltage_v", 1e3, "mV", {}),
        ("current_a", 1e3, "mA", {"capacity_ah": 3.0}),
        ("current_a", 1e4, "mA", {}),
        ("voltage_v", 4.0, "several in series", {}),
        ("temperature_degc", 12.0, "kelvin", {}),
    ],
)
def test_values_in_other_units_are_refused_with_the_row(
    tmp_path: Path, column: str, factor: float, words: str, options: dict[str, float]
) -> None:
    columns = healthy()
    columns[column] = columns[column] * factor
    error = refused(write(tmp_path / "a.csv", columns), **options)
    assert words in str(error) and f"{column}, row " in str(error)


def test_text_in_place_of_a_number_names_the_row(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", healthy())
    lines = path.read_text().splitlines()
    lines[41] = lines[41].replace("25.0", "warm")
    path.write_text("\n".join(lines))
    assert "temperature_degc, row 41: got 'warm'" in str(refused(path))


@pytest.mark.parametrize("missing", ["time_s", "current_a", "voltage_v", "temperature_degc"])
def test_a_missing_column_is_named(tmp_path: Path, missing: str) -> None:
    columns = healthy()
    del columns[missing]
    assert missing in str(refused(write(tmp_path / "a.csv", columns)))


@pytest.mark.parametrize(
    "content", [b"", b"\n\n", b"time_s,current_a\n", b"PAR1 broken", b"\x1f\x8bbroken", b"\0\1\2"]
)
def test_files_that_are_no_record_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    refused(path)


def test_a_missing_file_and_an_unknown_mapping_are_refused(tmp_path: Path) -> None:
    refused(tmp_path / "nothing.csv")
    path = write(tmp_path / "a.csv", healthy())
    assert "U_cell" in str(refused(path, columns={"voltage_v": "U_cell"}))
    assert "volts" in str(refused(path, columns={"volts": "voltage_v"}))
    assert "99" in str(refused(path, columns={"voltage_v": 99}))


def test_a_clock_that_starts_again_is_refused(tmp_path: Path) -> None:
    columns = healthy()
    columns["time_s"][150:] -= 150.0
    error = refused(write(tmp_path / "a.csv", columns))
    assert "time_s, row 151" in str(error)


def test_rows_of_other_length_are_refused_by_number(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", healthy())
    lines = path.read_text().splitlines()
    lines[10] = "1,2"
    path.write_text("\n".join(lines))
    assert "row 10" in str(refused(path))


def test_any_bytes_end_in_a_record_or_a_refusal(tmp_path: Path, seed: int) -> None:
    gen = np.random.default_rng(seed)
    good = write(tmp_path / "good.csv", healthy(40)).read_bytes()
    for number in range(200):
        raw = bytearray(good)
        for place in gen.integers(0, len(raw), 3):
            raw[place] = int(gen.integers(1, 256))
        path = tmp_path / f"{number % 2}.csv"
        path.write_bytes(bytes(raw))
        try:
            record = read_record(path)
        except ConfigError:
            continue
        assert np.all(np.diff(record.time_s) > 0) and np.all(np.isfinite(record.current_a))
