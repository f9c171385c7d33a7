"""bms run and bms demo: what they print, what they leave, how they end."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bms import cli
from bms.cli.run import parse_settings
from bms.errors import ConfigError
from bms.recorder import Recording

REQUIRED = (
    "simulated_s", "wall_s", "steps", "uart_bytes", "can_frames", "afe_conversions", "ekf_updates",
    "energy_residual_frac", "trips", "soc_rmse_frac", "trace_hash", "truth_hash",
)  # fmt: skip
SHORT = ("run", "drive", "--pack", "bench_16s1p", "--duration", "12")


def test_run_leaves_recording_summary_report_and_pictures(tmp_path, capsys):
    assert cli.main([*SHORT, "--out", str(tmp_path), "--seed", "5"]) == 0
    told = capsys.readouterr().out
    assert "12.0 s simulated" in told and str(tmp_path / "report.html") in told
    summary = json.loads((tmp_path / "summary.json").read_text())
    rec = Recording.open(tmp_path / "run.arrow")
    assert rec.is_complete and rec.summary["trace_hash"] == summary["trace_hash"]
    assert rec.duration_s == pytest.approx(12, abs=0.02) and rec.meta["seed"] == 5
    assert (tmp_path / "soc.png").exists() and (tmp_path / "states.png").exists()


def test_json_is_one_object_on_stdout_and_nothing_else(tmp_path, capsys):
    assert cli.main([*SHORT, "--out", str(tmp_path), "--json", "--no-report"]) == 0
    told = capsys.readouterr()
    summary = json.loads(told.out)
    assert told.err == "" and not set(REQUIRED) - set(summary)
    assert summary["simulated_s"] == 12 and summary["steps"] > 11_900
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run.arrow", "summary.json"]


def test_recording_changes_nothing(tmp_path, capsys):
    hashes = []
    for extra in (["--no-record"], ["--no-report"], ["--no-report", "--frames"]):
        assert cli.main([*SHORT, "--out", str(tmp_path), "--json", *extra]) == 0
        summary = json.loads(capsys.readouterr().out)
        hashes.append((summary["trace_hash"], summary["truth_hash"]))
    assert hashes[0] == hashes[1] == hashes[2]
    rec = Recording.open(tmp_path / "run.arrow")
    assert len(rec.frames) > 1000 and len(rec.uart) > 1000


def test_cells_are_recorded_as_often_as_asked(tmp_path, capsys):
    line = [*SHORT, "--out", str(tmp_path), "--no-report", "--record-cells-hz", "100"]
    assert cli.main(line) == 0
    rec = Recording.open(tmp_path / "run.arrow")
    assert rec["true_cell_voltage_v"].shape == (rec.t_ns.size, 16)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (["run", "no_such_scenario"], "no_such_scenario"),
        (["run", "drive", "--pack", "no_such_pack"], "no_such_pack"),
        (["run", "drive", "--cell", "no_such_cell"], "no_such_cell"),
        (["run", "drive", "--cycle", "/nowhere.csv"], "/nowhere.csv"),
        (["run", "drive", "--set", "novalue"], "KEY=VALUE"),
        (["run", "drive", "--set", "no.such.key=1"], "no.such.key"),
        (["run", "drive", "--firmware", "/nowhere.so"], "/nowhere.so"),
    ],
)
def test_bad_input_is_one_message_and_exit_code_2(line, told, tmp_path, capsys):
    assert cli.main([*line, "--out", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert told in err and "Traceback" not in err
    assert not (tmp_path / "run.arrow").exists()


@pytest.mark.parametrize("option", ["--duration=-1", "--duration=nan", "--record-cells-hz=0"])
def test_an_impossible_number_is_bad_input(option):
    with pytest.raises(SystemExit) as end:
        cli.main(["run", "drive", option])
    assert end.value.code == 2


def test_settings_keep_equals_signs_in_their_values():
    assert parse_settings(["a = b=c", "d="]) == {"a": "b=c", "d": ""}
    with pytest.raises(ConfigError, match="KEY=VALUE"):
        parse_settings(["=1"])


def test_run_without_a_scenario_lists_them(capsys):
    assert cli.main(["run"]) == 0
    told = capsys.readouterr().out
    assert "drive" in told and "runaway" in told


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-c", "sigterm"]
)
def test_an_interrupted_run_leaves_a_whole_recording(tmp_path, number, code):
    path = tmp_path / "run.arrow"
    child = subprocess.Popen(
        [sys.executable, "-m", "bms.cli", "run", "eqs_1205km", "--out", str(tmp_path)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not _has_grown(path) and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    child.send_signal(number)
    out, err = child.communicate(timeout=60)
    assert child.returncode == code and out == "" and "Traceback" not in err
    rec = Recording.open(path)
    assert rec.is_complete and rec.t_ns.size >= 1000
    assert rec.summary["simulated_s"] == pytest.approx(rec.duration_s, abs=0.03)


def _has_grown(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 200_000


def test_demo_tells_five_things_and_where_the_report_is(tmp_path, capsys):
    assert cli.main(["demo", "--out", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert sum(line.startswith("  - ") for line in told.splitlines()) == 5
    assert (tmp_path / "report.html").as_uri() in told
    assert len(list(tmp_path.glob("*.png"))) >= 8
