"""`bms faults` and `bms run --inject`."""

from __future__ import annotations

import json

import pytest

from bms.cli import main
from bms.cli._inject import parse
from bms.errors import ConfigError


def test_list_counts_what_acts_and_what_is_left(capsys) -> None:
    assert main(["faults"]) == 0
    assert "149 faults" in capsys.readouterr().out


def test_json_holds_every_fault(capsys) -> None:
    assert main(["faults", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == 149 and {"id", "title", "budget_ms", "left_to"} <= set(rows[0])


def test_one_fault_tells_what_it_acts_on(capsys) -> None:
    assert main(["faults", "con-14"]) == 0
    out = capsys.readouterr().out
    assert "loop.interlock" in out and "trip within 150 ms" in out


def test_unknown_fault_ends_with_code_2(capsys) -> None:
    assert main(["faults", "CEL-99"]) == 2
    assert "CEL-99" in capsys.readouterr().err


def test_option_is_parsed() -> None:
    how = {"index": 12, "value": 0.5, "after_s": 10.0, "ramp_s": 1.0, "for_s": 5.0}
    assert parse("SEN-03:index=12,value=0.5,after=10,ramp=1,for=5") == ("SEN-03", how)


@pytest.mark.parametrize(
    "text",
    ["", ":index=1", "CEL-02:index", "CEL-02:index=1.5", "CEL-02:place=3", "CEL-02:value=nan",
     "CEL-02:value=x", "CEL-02:index=1,index=2"],
)  # fmt: skip
def test_option_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse(text)


def test_run_with_a_fault_tells_it_in_its_recording(tmp_path, capsys) -> None:
    code = main(
        ["run", "drive", "--pack", "bench_16s1p", "--duration", "12", "--no-report", "--json",
         "--inject", "CON-14:after=9,for=1", "--out", str(tmp_path)]
    )  # fmt: skip
    summary = json.loads(capsys.readouterr().out)
    assert code == 0 and summary["diagnoses"] == {"interlock_open (trip)": 1}
    from bms import Recording

    told = [
        (e.name, e.text) for e in Recording.open(tmp_path / "run.arrow").events if e.kind == "fault"
    ]
    assert told == [("CON-14", "on"), ("CON-14", "off")]


@pytest.mark.parametrize("text", ["CEL-02:index=16", "CEL-02:value=9", "SEN-14", "NO-01"])
def test_run_refuses_a_fault_that_cannot_be(text: str, capsys) -> None:
    code = main(["run", "drive", "--pack", "bench_16s1p", "--no-record", "--inject", text])
    assert code == 2 and "Traceback" not in capsys.readouterr().err
