"""Reaction times: predicted from the configuration, met in simulation, printed and documented."""

from __future__ import annotations

import json
import sys
from functools import cache
from pathlib import Path

import pytest

from bms import cells, packs, reaction, spec
from bms.cli import main
from bms.firmware import config

ROOT = Path(__file__).resolve().parents[2]


@cache
def rows() -> dict[str, reaction.Row]:
    return {row.name: row for row in reaction.table()}


@pytest.mark.slow("the first of them measures every diagnosis at five phases")
@pytest.mark.parametrize("name", [row.name for row in spec.diagnoses()])
def test_a_diagnosis_comes_within_its_prediction_and_that_within_its_budget(name: str) -> None:
    row = rows()[name]
    assert not row.wrong, f"{row.prediction}, {row.measured}"
    assert row.measured is not None
    assert row.measured.why_not or 0 < row.measured.least_ms <= row.measured.most_ms


def test_a_prediction_is_not_padded() -> None:
    """Where time is counted in ticks or steps, the slowest phase comes close to what was said."""
    exact = [
        row for row in rows().values()
        if row.measured and not row.measured.why_not
        and spec.diagnosis(row.name).sample in ("tick", "step")
        and row.name not in ("heater_fault", "coolant_fault", "memory_corrupt", "afe_ring_open")
    ]  # fmt: skip
    assert len(exact) > 15
    for row in exact:
        assert row.measured and row.measured.most_ms > 0.6 * row.prediction.predicted_ms, row.name


@pytest.mark.parametrize("pack", packs.names())
def test_every_shipped_pack_meets_every_budget(pack: str) -> None:
    made = packs.load(pack)
    for name, found in reaction.predict(config.build(cells.load(made.cell), made)).items():
        assert found.predicted_ms <= found.budget_ms, name
        assert found.predicted_ms == pytest.approx(sum(ms for _, ms in found.parts))


def test_the_page_is_what_its_generator_writes() -> None:
    sys.path.insert(0, str(ROOT / "tools"))
    import reaction_tables

    lines = [reaction_tables._line(row) for row in rows().values()]
    assert (ROOT / "docs/reaction-times.md").read_text() == reaction_tables.HEAD + "".join(lines)


def test_the_command_prints_every_diagnosis(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reaction-times", "--predicted", "--json", "--pack", "home_16s"]) == 0
    told = json.loads(capsys.readouterr().out)["reaction_times"]
    assert [row["diagnosis"] for row in told] == [row.name for row in spec.diagnoses()]
    assert all(row["predicted_ms"] <= row["budget_ms"] and row["max_ms"] is None for row in told)
    assert main(["reaction-times", "--predicted", "--pack", "home_16s"]) == 0
    assert "cell_overvoltage" in capsys.readouterr().out


def test_a_pack_that_is_not_there_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reaction-times", "--pack", "no_such_pack"]) == 2
    assert "no_such_pack" in capsys.readouterr().err
