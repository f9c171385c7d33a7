"""The scenario library, settings and compilation."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest

from bms import cells, packs, scenarios
from bms.errors import ConfigError
from bms.model import Cell, Pack
from bms.plant import loads
from bms.scenarios import Plan

MINIMAL = """
title = "t"
description = "d"
pack = "bench_16s1p"
start = { soc_frac = 0.5, temperature_degc = 25.0, ambient_degc = 25.0 }
"""
REST = '[phase.rest]\nkind = "rest"\nrequest = "standby"\nduration_s = 1.0\n'


def parts(name: str) -> tuple[scenarios.Scenario, Cell, Pack]:
    scenario = scenarios.load(name)
    pack = packs.load(scenario.pack)
    return scenario, cells.load(scenario.cell or pack.cell), pack


def plan_of(name: str, **settings: str) -> Plan:
    scenario, cell, pack = parts(name)
    return scenarios.compile(
        scenario, cell, pack, settings={k.replace("__", "."): v for k, v in settings.items()}
    )


def from_text(tmp_path: Path, text: str) -> scenarios.Scenario:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return scenarios.load(path)


def test_the_library_holds_the_scenarios_of_the_manual() -> None:
    manual = (Path(__file__).parents[3] / "docs" / "scenarios.md").read_text()
    assert len(scenarios.names()) >= 9
    for name in scenarios.names():
        assert f"`{name}`" in manual


@pytest.mark.parametrize("name", scenarios.names())
def test_every_scenario_compiles_for_its_pack(name: str) -> None:
    plan = plan_of(name)
    assert plan.phases and plan.assumptions
    assert 0.0 < plan.duration_s < 90_000.0
    for phase in plan.phases:
        assert phase.duration_s > 0.0
        assert np.all(np.isfinite(phase.values))
        if phase.kind in ("power", "current"):
            assert len(phase.values) == pytest.approx(phase.duration_s / phase.step_s, abs=1.0)
    assert [act.at_s for act in plan.acts] == sorted(act.at_s for act in plan.acts)


@pytest.mark.parametrize("name", scenarios.names())
def test_compilation_gives_the_same_bytes_twice(name: str) -> None:
    scenario, cell, pack = parts(name)
    first, second = (scenarios.compile(scenario, cell, pack, seed=7) for _ in range(2))
    assert scenarios.plan_bytes(first) == scenarios.plan_bytes(second)


def test_another_value_gives_other_bytes() -> None:
    assert scenarios.plan_bytes(plan_of("drive")) != scenarios.plan_bytes(
        plan_of("drive", vehicle__mass_kg="2101")
    )


def test_the_seed_moves_the_clouds_and_nothing_else() -> None:
    for name in scenarios.names():
        scenario, cell, pack = parts(name)
        one, two = (
            scenarios.plan_bytes(scenarios.compile(scenario, cell, pack, seed=seed))
            for seed in (1, 2)
        )
        assert (one != two) == (scenario.house is not None), name


def test_settings_reach_the_plan() -> None:
    plan = plan_of("drive", start__soc_frac="0.5", phase__drive__repeat="2", critical="literature")
    assert plan.start_soc_frac == 0.5
    assert plan.critical == "literature"
    assert plan.distance_m == pytest.approx(2 * loads.nedc().distance_m)
    assert plan.settings["phase.drive.repeat"] == "2"


def test_an_integer_and_a_text_are_read_as_in_toml() -> None:
    scenario = scenarios.configure(
        scenarios.load("drive"), {"vehicle.mass_kg": "1800", "phase.park.until.state": "standby"}
    )
    assert scenario.vehicle is not None
    assert scenario.vehicle.mass_kg == 1800.0
    assert scenario.phase["park"].until.state == "standby"


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("start.socfrac", "0.5", ["start.socfrac", "start.soc_frac"]),
        ("phase.drive.repeet", "2", ["phase.drive.repeat"]),
        ("start.soc_frac", "1.5", ["start.soc_frac", "1.5", "0 to 1"]),
        ("start.soc_frac", "full", ["start.soc_frac", "full", "float"]),
        ("start.soc_frac", "nan", ["start.soc_frac", "finite"]),
        ("phase.drive.repeat", "0", ["phase.drive.repeat", "above 0"]),
        ("phase.drive.repeat", "1.5", ["phase.drive.repeat", "int"]),
        ("phase.drive.kind", "cycel", ["phase.drive.kind", "cycel", "cycle"]),
        ("vehicle.model", "sedann", ["vehicle.model", "sedann", "sedan"]),
        ("vehicle.mass_kg", "-1", ["vehicle.mass_kg", "-1", "at least 0"]),
        ("critical", "hoped", ["critical", "hoped"]),
        ("ageing_acceleration", "0.5", ["ageing_acceleration", "at least 1"]),
        ("pack", "bench_16s1p", ["--pack"]),
    ],
)
def test_a_bad_setting_is_refused_with_key_value_and_expectation(
    key: str, value: str, words: list[str]
) -> None:
    scenario, cell, pack = parts("drive")
    with pytest.raises(ConfigError) as caught:
        scenarios.compile(scenario, cell, pack, settings={key: value})
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (MINIMAL, ["phase"]),
        (MINIMAL + "[phase]\n", ["phase", "at least one"]),
        (MINIMAL + REST + "durations_s = 1.0\n", ["phase.rest.durations_s"]),
        (MINIMAL + REST.replace("standby", "park"), ["phase.rest.request", "park"]),
        (MINIMAL + REST.replace("1.0", "-1.0"), ["phase.rest.duration_s", "above 0"]),
        (MINIMAL + REST.replace("1.0", "nan"), ["phase.rest.duration_s", "finite"]),
        (
            MINIMAL + REST + "until.soc_above_frac = 2.0\n",
            ["phase.rest.until.soc_above_frac", "2.0"],
        ),
        (
            MINIMAL + '[phase.c]\nkind = "charge"\nrequest = "charge"\nduration_s = 1.0\n'
            "steps = [{until_soc_frac = 0.9, c_rate = 1.0}, {until_soc_frac = 0.5, c_rate = 1.0}]",
            ["phase.c.steps.until_soc_frac", "rising"],
        ),
        (MINIMAL + REST + '[rounds]\nphases = ["absent"]\n', ["rounds.phases", "neighbours"]),
    ],
)
def test_a_bad_file_is_refused_with_its_key(tmp_path: Path, text: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        from_text(tmp_path, text)
    for word in (*words, "mine.toml"):
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[phase.d]\nkind = "cycle"\nrequest = "drive"\n', ["vehicle"]),
        ('[phase.d]\nkind = "house"\nrequest = "drive"\nduration_s = 9.0\n', ["house"]),
        (REST + '[[act]]\nat_s = 0.5\nfield = "short"\nvalue = 1.0\ntext = ""\n', ["act[0].field"]),
        (REST + '[[act]]\nat_s = 9.0\nfield = "p.f"\nvalue = 1.0\ntext = ""\n', ["act[0].at_s"]),
        (
            REST + '[[act]]\nat_s = 0.5\nfield = "p.f"\nindex = 16\nvalue = 1.0\ntext = ""\n',
            ["act[0].index", "16", "15"],
        ),
    ],
)
def test_what_only_the_pack_can_tell_is_refused_too(
    tmp_path: Path, text: str, words: list[str]
) -> None:
    scenario = from_text(tmp_path, MINIMAL + text)
    pack = packs.load(scenario.pack)
    with pytest.raises(ConfigError) as caught:
        scenarios.compile(scenario, cells.load(pack.cell), pack)
    for word in words:
        assert word in str(caught.value)


def test_a_cycle_is_refused_where_nothing_drives_one(tmp_path: Path) -> None:
    scenario, cell, pack = parts("runaway")
    with pytest.raises(ConfigError, match="--cycle"):
        scenarios.compile(scenario, cell, pack, cycle=tmp_path / "any.csv")


def test_an_unknown_name_is_refused_with_a_near_one() -> None:
    with pytest.raises(ConfigError, match="drive"):
        scenarios.load("drvie")


def test_a_given_cycle_replaces_the_scenarios(tmp_path: Path) -> None:
    path = tmp_path / "short.csv"
    path.write_text("time_s,speed_kmh\n0,0\n1,3\n2,6\n3,3\n4,0\n")
    scenario, cell, pack = parts("drive")
    plan = scenarios.compile(scenario, cell, pack, cycle=path)
    drive = next(phase for phase in plan.phases if phase.name == "drive")
    assert drive.duration_s == pytest.approx(4.0)
    assert len(drive.values) == 40


def test_a_cycle_named_in_a_file_is_found_beside_it(tmp_path: Path) -> None:
    (tmp_path / "short.csv").write_text("time_s,speed_kmh\n0,0\n1,3\n2,0\n")
    text = '[vehicle]\nmodel = "bus"\n[phase.d]\nkind = "cycle"\nrequest = "drive"\n'
    scenario = from_text(tmp_path, MINIMAL + text + 'cycle = "short.csv"\n')
    pack = packs.load(scenario.pack)
    plan = scenarios.compile(scenario, cells.load(pack.cell), pack)
    assert plan.duration_s == pytest.approx(2.0)


def test_charging_is_scaled_to_the_pack() -> None:
    scenario, cell, pack = parts("fast_charge_15_90")
    charge = next(p for p in scenarios.compile(scenario, cell, pack).phases if p.kind == "charge")
    assert charge.charge_voltage_v == cell.limits.voltage_max_v[0] * pack.topology.blocks
    capacity_ah = cell.electric.capacity_ah * pack.topology.parallel
    assert charge.charge_current_a == 3.0 * capacity_ah
    assert [soc for soc, _ in charge.charge_steps] == sorted(s for s, _ in charge.charge_steps)


def test_rounds_repeat_their_phases_in_order() -> None:
    names = [phase.name for phase in plan_of("life", rounds__times="2").phases]
    assert names.count("charge.1") == names.count("charge.2") == 1
    assert names.index("discharge.1") < names.index("charge.2")
    assert names[0] == "wake"


def test_the_long_run_needs_a_plausible_energy() -> None:
    plan = plan_of("eqs_1205km")
    drive = next(phase for phase in plan.phases if phase.name == "drive")
    assert drive.distance_m / 1e3 == pytest.approx(plan.published["distance_km"], rel=1e-6)
    needed_kwh = float(np.sum(drive.values)) * drive.step_s / 3.6e6
    published = plan.published
    per_km = published["usable_energy_kwh"] / (
        published["distance_km"] + published["range_left_km"]
    )
    assert needed_kwh / published["distance_km"] == pytest.approx(per_km, rel=0.10)
    assert needed_kwh < published["usable_energy_kwh"]
    mean_kmh = drive.distance_m / drive.duration_s * 3.6
    assert mean_kmh == pytest.approx(published["average_kmh"], abs=2.0)


def test_the_eqs_takes_its_published_energy_on_the_wltc(data_dir: Path) -> None:
    cycle = loads.read_cycle(data_dir / "drive_cycles" / "wltc_class3b.csv")
    speed, grade = loads.resample(cycle)
    power = loads.road_load_w(speed, grade, loads.VEHICLES["eqs"], 23.0)
    kwh_per_100km = float(np.sum(power)) * loads.STEP_S / 3.6e6 / cycle.distance_m * 1e5
    assert kwh_per_100km == pytest.approx(107.8 / 784.0 * 100.0, rel=0.02)


def test_keys_lists_what_configure_takes() -> None:
    scenario = scenarios.load("drive")
    keys = dict(scenarios.keys(scenario))
    assert keys["vehicle.mass_kg"] == loads.VEHICLES["sedan"].mass_kg
    for key, value in keys.items():
        if isinstance(value, float | int | str):
            scenarios.configure(scenario, {key: json.dumps(value)})


def test_the_command_lists_and_shows(capsys: pytest.CaptureFixture[str]) -> None:
    from bms.cli import scenarios as command

    parser = argparse.ArgumentParser()
    command.arguments(parser)
    assert command.run(parser.parse_args([])) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in scenarios.names())
    assert command.run(parser.parse_args(["show", "drive", "--set", "start.soc_frac=0.4"])) == 0
    shown = capsys.readouterr().out
    assert "starts at SoC 0.4" in shown
    assert "vehicle.mass_kg = 2100.0" in shown
    with pytest.raises(ConfigError, match="KEY=VALUE"):
        command.run(parser.parse_args(["show", "drive", "--set", "nonsense"]))
