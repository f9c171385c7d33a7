"""`bms explain`: every name of the spec is explained, and a misspelt one finds its way."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from bms import spec
from bms.cli import explain
from bms.errors import ConfigError

NAMES = [
    *(s.name for s in spec.signals()),
    *(d.name for d in spec.diagnoses()),
    *(p.name for p in spec.pins()),
    *(f"{m.name}.{s.name}" for m in spec.database().messages for s in m.signals),
    *(m.name for m in spec.database().messages),
    *spec.choices("BmsState", "State").values(),
]


def test_every_name_of_the_spec_is_explained_with_its_file_and_line() -> None:
    known: dict[str, list[str]] = {}
    for names, (_, lines) in explain._catalogue():
        path, _, number = dict(lines)["file"].rpartition(":")
        line = Path(path).read_text(encoding="utf-8").splitlines()[int(number) - 1]
        for name in names:
            known.setdefault(name.lower(), []).append(line)
    for name in NAMES:
        assert any(name.rpartition(".")[2] in line for line in known[name.lower()]), name


def shown(name: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert explain.run(argparse.Namespace(name=name)) == 0
    return capsys.readouterr().out


def test_a_recorded_signal_shows_meaning_unit_source_and_file(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = shown("est_soc_frac", capsys)
    for part in (
        "Estimated state of charge",
        "vehicle.obs_soc_frac",
        "BmsSoc.Soc",
        "signals.toml:",
    ):
        assert part in text


def test_a_diagnosis_is_found_by_name_number_and_c_name(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown("cell_overvoltage", capsys)
    for part in ("diagnosis 1", "voltage_max_v", "500 ms", "CEL-01", "trip", "diagnoses.toml:"):
        assert part in text
    assert shown("1", capsys) == shown("DIAG_CELL_OVERVOLTAGE", capsys) == text


def test_a_fault_shows_the_diagnoses_that_answer_it(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown("con-01", capsys)
    assert "contactor_main_plus" in text and "300 ms" in text


def test_a_signal_name_in_several_messages_shows_them_all(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = shown("Group", capsys)
    assert text.count("signal of message") == 5
    assert shown("0x103", capsys).startswith("BmsSoc: message 0x103")


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("est_soc_fraq", "est_soc_frac"),
        ("cell_overvoltge", "cell_overvoltage"),
        ("bmssock", "BmsSoc"),
        ("weld", ""),
    ],
)
def test_a_misspelt_name_suggests_the_right_one_and_exits_2(wrong: str, right: str) -> None:
    with pytest.raises(ConfigError) as caught:
        explain.run(argparse.Namespace(name=wrong))
    assert caught.value.exit_code == 2 and right in str(caught.value)
