"""What is exported as signals is what was recorded, in the eyes of the tools that will open it."""

from __future__ import annotations

import csv

import export_made as made
import numpy as np
import pytest

from bms.errors import ConfigError
from bms.recorder.export import Options, convert, format_of, formats


@pytest.fixture(scope="module")
def rec(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rec")
    return made.record(folder / "run.arrow", made.all_kinds_of_frames(1))


def test_every_format_keeps_its_contract():
    ends = []
    for name, kind in formats().items():
        assert kind.TITLE and kind.SUFFIXES and kind.HOLDS and callable(kind.write), name
        assert set(kind.HOLDS) <= {"signals", "events", "frames"}
        ends += kind.SUFFIXES
        assert all(suffix == suffix.lower() and suffix[0] == "." for suffix in kind.SUFFIXES)
    assert len(ends) == len(set(ends))


def test_the_longest_ending_says_the_format(tmp_path):
    assert format_of(tmp_path / "a.csv") == "csv"
    assert format_of(tmp_path / "a.bdf.csv") == "bdf"
    assert format_of(tmp_path / "A.MF4") == "mdf4"
    with pytest.raises(ConfigError, match=r"\.pcapng"):
        format_of(tmp_path / "a.xyz")


def test_polars_and_duckdb_read_the_parquet_file(rec, tmp_path):
    polars, duckdb = pytest.importorskip("polars"), pytest.importorskip("duckdb")
    out = tmp_path / "a.parquet"
    assert convert(rec.path, out) == "2350 rows of 8 signals"
    table = polars.read_parquet(out)
    assert np.array_equal(table["t_ns"], rec.t_ns)
    assert np.array_equal(table["true_soc_frac"], rec["true_soc_frac"])
    cells = table["true_cell_voltage_v"].drop_nulls().to_list()
    assert np.array_equal(cells, rec["true_cell_voltage_v"])
    (row,) = [row for row in table["events"] if row is not None and len(row)]
    assert row[0]["name"] == "overvoltage"
    query = f"select count(*), sum(cmd_state), min(true_soc_frac) from '{out}'"
    count, states, least = duckdb.sql(query).fetchall()[0]
    assert (count, states) == (2350, int(rec["cmd_state"].sum()))
    assert least == rec["true_soc_frac"].min()


def test_csv_has_a_column_a_cell_and_holes_between_samples(rec, tmp_path):
    out = tmp_path / "a.csv"
    convert(rec.path, out, signals=["true_soc_frac", "true_cell_v*", "true_ambient_degc"])
    with out.open() as file:
        head, *rows = csv.reader(file)
    assert head == [
        "time_s", "true_soc_frac", *(f"true_cell_voltage_v[{k}]" for k in range(5)),
        "true_ambient_degc",
    ]  # fmt: skip
    assert [float(r[0]) for r in rows] == (rec.t_ns / 1e9).tolist()
    assert np.array_equal([np.float32(r[1]) for r in rows], rec["true_soc_frac"])
    known = [r for r in rows if r[2]]
    values = [[np.float32(v) for v in r[2:7]] for r in known]
    assert np.array_equal(values, rec["true_cell_voltage_v"]) and len(known) < len(rows)


def test_asammdf_reads_every_signal_with_unit_words_and_events(rec, tmp_path):
    asammdf = pytest.importorskip("asammdf", reason="pip install 'solid-bms[export]'")
    out = tmp_path / "a.mf4"
    assert convert(rec.path, out) == "8 signals, 1 events, 300 frames"
    with asammdf.MDF(out) as file:
        soc = file.get("true_soc_frac")
        assert soc.unit == "1" and soc.comment == "charge"
        assert np.array_equal(soc.samples, rec["true_soc_frac"])
        assert np.allclose(soc.timestamps, rec.t_ns / 1e9, atol=1e-9, rtol=0)
        for k in range(5):
            one = file.get(f"true_cell_voltage_v[{k}]")
            assert np.array_equal(one.samples, rec["true_cell_voltage_v"][:, k])
            assert np.allclose(one.timestamps, rec.time_s("true_cell_voltage_v"), atol=1e-9)
        assert file.get("cmd_state").samples[:2].tolist() == [b"selftest", b"standby"]
        assert file.get("cmd_state", raw=True).samples.tolist() == rec["cmd_state"].tolist()
        assert file.get("event_name").samples.tolist() == [b"overvoltage"]
        assert file.get("event_value").samples.tolist() == [4.5]
        assert [str(a.file_name) for a in file.attachments][:1] == ["bms.dbc"]


@pytest.mark.parametrize("cell", [-1, 0, 7])
def test_the_battery_data_format_validates(rec, tmp_path, cell):
    pandas = pytest.importorskip("pandas")
    validate = pytest.importorskip("bdf.validate", reason="pip install batterydf").validate_df
    for out in (tmp_path / "a.bdf.csv", tmp_path / "a.bdf.parquet"):
        convert(rec.path, out, options=Options(cell=cell))
        table = pandas.read_csv(out) if out.suffix == ".csv" else pandas.read_parquet(out)
        report = validate(table)
        assert report["ok"] and not report["missing"] and not report["extras"]
        assert report["time_stats"]["monotonic"]
        name = "true_pack_current_a" if cell < 0 else "true_cell_current_a"
        discharge = rec[name] if cell < 0 else rec[name][:, cell]
        volts = rec["true_pack_voltage_v"] if cell < 0 else rec["true_cell_voltage_v"][:, cell % 5]
        assert np.allclose(table["Current / A"], -discharge)
        assert np.allclose(table["Voltage / V"], volts)
        assert table["Ambient Temperature / degC"].is_monotonic_increasing


def test_a_span_keeps_what_lies_inside(rec, tmp_path):
    polars = pytest.importorskip("polars")
    out = tmp_path / "a.parquet"
    convert(rec.path, out, from_s=5.0, to_s=7.25, signals=["cmd_state"])
    table = polars.read_parquet(out)
    assert table.columns == ["t_ns", "cmd_state", "events"]
    assert (table["t_ns"][0], table["t_ns"][-1]) == (5_000_000_000, 7_250_000_000)
    convert(rec.path, tmp_path / "a.log", from_s=5.0, to_s=7.25)
    inside = [f for f in rec.frames if 5_000_000_000 <= f.t_ns <= 7_250_000_000]
    assert len((tmp_path / "a.log").read_text().splitlines()) == len(inside) > 0


@pytest.mark.parametrize(
    ("out", "options", "said"),
    [
        ("a.xyz", {}, "ends in one of"),
        ("a.csv", {"to": "excel"}, "one of arrow, asc, bdf"),
        ("a.csv", {"signals": ["true_sok_frac"]}, "such as true_soc_frac"),
        ("a.csv", {"from_s": 3.0, "to_s": 2.0}, "a time after --from-s 3"),
        ("a.bdf.csv", {"options": Options(cell=10)}, "0 to 9"),
        ("a.bdf.csv", {"signals": ["cmd_state"]}, "true_pack_voltage_v"),
        ("a.arrow", {}, "a bus log"),
        ("run.arrow/b.csv", {}, "can be written"),
    ],
)
def test_what_cannot_be_is_said_in_one_sentence_and_leaves_nothing(
    rec, tmp_path, out, options, said
):
    target = rec.path / "b.csv" if "/" in out else tmp_path / out
    with pytest.raises(ConfigError, match=said) as caught:
        convert(rec.path, target, **options)
    assert caught.value.exit_code == 2 and "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_missing_package_names_the_extra(rec, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "asammdf", None)
    with pytest.raises(ConfigError, match=r"pip install 'solid-bms\[export\]'"):
        convert(rec.path, tmp_path / "a.mf4")
    assert not list(tmp_path.iterdir())


def test_an_interrupted_export_keeps_the_old_file(rec, tmp_path, monkeypatch):
    out = tmp_path / "a.csv"
    out.write_text("old")

    def fail(*_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(formats()["csv"], "write", fail)
    with pytest.raises(Exception, match="No space left"):
        convert(rec.path, out)
    assert out.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["a.csv"]
