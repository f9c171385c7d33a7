"""bms info, repair and report on recordings."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from bms import cli

sys.path.insert(0, str(Path(__file__).parents[1] / "report"))
import synthetic


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("run") / "run.arrow"
    synthetic.record(path, seconds=45)
    return path


def test_info_fits_one_screen_and_says_how_to_run_again(path, capsys):
    assert cli.main(["info", str(path)]) == 0
    told = capsys.readouterr().out
    assert len(told.splitlines()) <= 40
    assert "complete" in told and "4500 ticks" in told and "no trip" not in told
    assert (
        "bms run drive --seed 3 --pack bench_16s1p --cell sulfide --set start.soc_frac=0.9" in told
    )
    assert "cell_overtemperature" in told


def test_info_signals_lists_ranges(path, capsys):
    assert cli.main(["info", "--signals", str(path)]) == 0
    row = next(x for x in capsys.readouterr().out.splitlines() if "est_soh_frac" in x)
    name, count, samples, least, most = row.split()
    assert (name, count, least, most) == ("est_soh_frac", "1", "0.98", "0.98")
    assert 46 < int(samples) < 4500  # once a second, and every tick round the events


def test_repair_of_a_cut_file_makes_it_complete(path, tmp_path, capsys):
    cut = tmp_path / "cut.arrow"
    cut.write_bytes(path.read_bytes()[:-20000])
    assert cli.main(["info", str(cut)]) == 0
    assert "CUT" in capsys.readouterr().out
    assert cli.main(["repair", str(cut)]) == 0
    assert re.search(r"kept [1-9]\d* batches, [1-9]\d* bytes were lost", capsys.readouterr().out)
    assert cli.main(["repair", str(cut)]) == 0
    assert "nothing to do" in capsys.readouterr().out


def test_a_file_that_is_no_recording_is_one_message_and_exit_code_4(tmp_path, capsys):
    (tmp_path / "x").write_text("hello")
    for command in ("info", "repair", "report"):
        assert cli.main([command, str(tmp_path / "x")]) == 4
        told = capsys.readouterr()
        assert told.err.count("\n") == 1 and "not a recording" in told.err and not told.out


def test_report_lies_beside_the_recording(path, capsys):
    assert cli.main(["report", str(path)]) == 0
    assert capsys.readouterr().out == f"{path.with_name('report.html')}\n"
    assert path.with_name("report.html").stat().st_size > 50_000


def test_report_compares_up_to_six(path, tmp_path, capsys):
    out = tmp_path / "both.html"
    assert cli.main(["report", str(path), str(path), "--out", str(out)]) == 0
    assert "2 runs compared" in out.read_text()
    assert cli.main(["report", *[str(path)] * 7]) == 2


def test_a_report_that_cannot_be_written_is_told(path, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert cli.main(["report", str(path), "--out", str(tmp_path / "file" / "r.html")]) == 4
    assert "cannot be written" in capsys.readouterr().err
