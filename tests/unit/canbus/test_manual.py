"""The examples of docs/canbus.md do what they say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bms import scenarios
from bms.canbus import FIELDS
from bms.canbus.traffic import MessageView
from bms.sim import Simulation

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs/canbus.md").read_text("utf-8")


def block(kind: str, word: str) -> str:
    found = re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL)
    return next(text for text in found if word in text)


def test_the_bus_on_its_own_tells_three_errors_and_the_frame(
    capsys: pytest.CaptureFixture[str],
) -> None:
    exec(block("python", "corrupt_count"), {})
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == ["error"] * 3 + ["frame"]


def test_the_act_of_the_page_hurts_the_bus_of_a_run(tmp_path: Path) -> None:
    text = (ROOT / "src/bms/scenarios/drive.toml").read_text("utf-8")
    act = block("toml", "vehicle_bus").replace("at_s = 60.0", "at_s = 1.0")
    path = tmp_path / "hurt.toml"
    path.write_text(text + "\n" + act, "utf-8")
    assert scenarios.load(path)
    simulation = Simulation(path, pack="bench_16s1p")
    simulation.run(6.0, record=False)
    assert int(simulation.world.parts["vehicle_bus"]["error_frames"][0]) > 10
    assert int(simulation.world.parts["sensor_bus"]["error_frames"][0]) == 0


def test_every_field_and_key_that_the_page_names_exists() -> None:
    table = PAGE[PAGE.index("| field of") : PAGE.index("Masks have one bit")]
    named = re.findall(
        r"`([a-z_]+)`", "\n".join(row.split("|")[1] for row in table.splitlines()[2:] if row)
    )
    assert set(named) <= set(FIELDS)
    faults = {name for name, (_, text) in FIELDS.items() if text.startswith("fault:")}
    assert faults <= set(named)
    keys = PAGE[PAGE.index("and of each message") :]
    assert set(MessageView.__struct_fields__) <= set(re.findall(r"`([a-z0-9_]+)`", keys))
