"""Every cell and every pack of the library, found by discovery, keeps what the library promises."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bms import cells, cli, packs
from bms.cells import laws
from bms.cli._library import values
from bms.model import Cell, Pack
from bms.units import LITHIUM_UM_PER_MAH_CM2

CELLS = {name: cells.load(name) for name in cells.names()}
PACKS = {name: packs.load(name) for name in packs.names()}
every_cell = pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS.keys())
every_pack = pytest.mark.parametrize("pack", PACKS.values(), ids=PACKS.keys())
every_item = pytest.mark.parametrize(
    "item", [*CELLS.values(), *PACKS.values()], ids=[*CELLS.keys(), *PACKS.keys()]
)
LITHIUM_METAL = [cell for cell in CELLS.values() if cell.classification.electrolyte != "liquid"]
lithium_metal = pytest.mark.parametrize("cell", LITHIUM_METAL, ids=lambda cell: cell.name)

# Published by the makers: Wh/kg at a slow discharge.
SPECIFIC_ENERGY_WH_PER_KG = {
    "sulfide_nmc811_77ah": 375.0,
    "hybrid_nmc_106ah": 391.0,
    "anode_free_5ah": 301.0,
}


def _working_degc(cell: Cell) -> float:
    """25 degC, or the middle of a window that lies above it."""
    limits = cell.limits
    low, high = limits.temperature_min_charge_degc[0], limits.temperature_max_charge_degc[0]
    return 25.0 if low <= 25.0 <= high else (low + high) / 2.0


def _voltage(cell: Cell, soc_frac: float, current_a: float, temperature_degc: float) -> float:
    """Quasi-steady terminal voltage: rest voltage, hysteresis and the whole resistance."""
    ohm = sum(laws.resistance_ohm(cell, temperature_degc).values())
    side = cell.electric.hysteresis_v * (1 if current_a < 0 else -1)
    return laws.ocv_v(cell, soc_frac, temperature_degc) + side - current_a * ohm


def test_the_library_holds_what_it_must() -> None:
    electrolytes = {cell.classification.electrolyte for cell in CELLS.values()}
    assert electrolytes == {"sulfide", "oxide", "polymer", "halide", "composite", "liquid"}
    kinds = {cell.classification.kind for cell in CELLS.values()}
    assert kinds == {"liquid", "hybrid_solid_liquid", "solid_state"}
    assert {cells.DEFAULT, "hybrid_nmc_106ah", "anode_free_5ah", "polymer_lfp_hot"} <= set(CELLS)
    assert {"panasonic_18650pf", "a123_26650"} <= set(CELLS)
    assert {"car_96s3p", "car_96s1p", "bench_16s1p", "bus_96s", "home_16s", "eqs_hybrid"} <= set(
        PACKS
    )


@every_item
def test_every_value_says_where_it_is_from(item: Cell | Pack) -> None:
    untold = {"name", "title", "description", "cell"}
    for key, value in values(item):
        if key not in untold:
            optional = ("resistance.electrolyte_temperature.", "thermal.cooling_w_per_k")
            unused = value == 0.0 and key.startswith(optional)
            is_choice = key in ("topology.strings", "balancing.strategy", "chip_ring")
            assert key in item.provenance or unused or is_choice, key
    for key, origin in item.provenance.items():
        assert re.match(r"(source|assumption): .{4,}", origin), key


@every_item
def test_a_file_is_named_after_its_content_and_speaks_before_it_counts(item: Cell | Pack) -> None:
    path = Path(item.file)
    assert path.stem == item.name
    assert path.read_text(encoding="utf-8").startswith("# ")
    assert item.title and item.description.endswith(".")


@every_item
def test_a_source_never_admits_to_being_an_assumption(item: Cell | Pack) -> None:
    doubt = re.compile(r"\b(remembered|chosen|assumed|typical|usual)\b", re.IGNORECASE)
    for key, origin in item.provenance.items():
        if origin.startswith("source") and "assum" not in origin:
            assert not doubt.search(origin), (key, origin)


@every_cell
def test_specific_energy_is_the_published_one(cell: Cell) -> None:
    found = laws.energy_wh(cell) / cell.geometry.mass_kg
    if cell.name in SPECIFIC_ENERGY_WH_PER_KG:
        assert found == pytest.approx(SPECIFIC_ENERGY_WH_PER_KG[cell.name], rel=0.01)
    assert 80.0 < found < 450.0


@every_cell
def test_mass_and_volume_make_a_density_of_a_battery(cell: Cell) -> None:
    assert 1.8 < cell.geometry.mass_kg / laws.volume_l(cell) < 3.0


def test_the_anode_free_cell_has_the_published_energy_density() -> None:
    cell = CELLS["anode_free_5ah"]
    assert laws.energy_wh(cell) == pytest.approx(21.6, rel=0.005)
    assert laws.energy_wh(cell) / laws.volume_l(cell) == pytest.approx(844.0, rel=0.01)


@lithium_metal
def test_loading_is_one_that_exists_and_the_stack_fits_its_thickness(cell: Cell) -> None:
    made = cell.geometry
    loading = cell.electric.capacity_ah * 1e3 / made.electrode_area_cm2
    assert 1.0 <= loading <= 6.0
    layer_um = made.thickness_m * 1e6 / made.layers
    assert layer_um > 1.5 * LITHIUM_UM_PER_MAH_CM2 * loading + 40.0


@every_cell
def test_one_c_discharge_stays_within_limits_where_the_cell_works(cell: Cell) -> None:
    warm, one_c = _working_degc(cell), cell.electric.capacity_ah
    for percent in range(10, 101, 5):
        volts = _voltage(cell, percent / 100.0, one_c, warm)
        assert cell.limits.voltage_min_v[0] < volts < cell.limits.voltage_max_v[0], percent


@every_cell
def test_operate_currents_hold_at_half_charge_without_a_trip(cell: Cell) -> None:
    warm, limits = _working_degc(cell), cell.limits
    assert _voltage(cell, 0.5, limits.current_discharge_a[0], warm) > limits.voltage_min_v[0]
    assert _voltage(cell, 0.5, -limits.current_charge_a[0], warm) < limits.voltage_max_v[1]


@every_cell
def test_cold_raises_resistance_and_lowers_critical_currents(cell: Cell) -> None:
    warm = [sum(laws.resistance_ohm(cell, t).values()) for t in (-20.0, 0.0, 25.0, 45.0, 80.0)]
    assert warm == sorted(warm, reverse=True)
    for law in (cell.critical_current_claimed, cell.critical_current_literature):
        assert laws.critical_a(cell, law, 0.0) < laws.critical_a(cell, law, 25.0)


@every_cell
def test_rest_voltage_at_any_working_temperature_stays_short_of_a_trip(cell: Cell) -> None:
    limits = cell.limits
    for temperature_degc in (
        limits.temperature_min_discharge_degc[0],
        limits.temperature_max_discharge_degc[0],
    ):
        assert laws.ocv_v(cell, 1.0, temperature_degc) < limits.voltage_max_v[1]
        assert laws.ocv_v(cell, 0.0, temperature_degc) > limits.voltage_min_v[1]


def test_the_default_cell_charges_from_15_to_90_percent_in_18_minutes_as_published() -> None:
    """On the car's plate, below the claimed critical current at the pressure of each instant."""
    cell, pack = CELLS[cells.DEFAULT], PACKS["car_96s3p"]
    heat_j_per_k = cell.geometry.mass_kg * cell.thermal.heat_capacity_j_per_kg_k
    limits, fixture = cell.limits, pack.fixture
    swing = fixture.stiffness_kpa_per_um * laws.breathing_um(cell)
    soc, warm, seconds = 0.15, 25.0, 0
    while soc < 0.9 and seconds < 3600:
        pressure = fixture.preload_kpa + swing * (soc - 0.5)
        ohm = sum(laws.resistance_ohm(cell, warm, pressure).values())
        room_v = limits.voltage_max_v[0] - laws.ocv_v(cell, soc, warm) - cell.electric.hysteresis_v
        amps = min(limits.current_charge_a[0], room_v / ohm)
        critical, _ = laws.critical_a(cell, cell.critical_current_claimed, warm, pressure)
        assert amps < critical, (seconds, soc, warm)
        flow = amps**2 * ohm - pack.cooling.plate_w_per_k * (warm - 25.0)
        warm, soc, seconds = warm + flow / heat_j_per_k, soc + amps / 3600.0 / 77.0, seconds + 1
    assert seconds <= 18 * 60
    assert warm < limits.temperature_max_charge_degc[0]
    too_low, _ = laws.critical_a(cell, cell.critical_current_literature, 45.0)
    assert too_low < 0.3 * limits.current_charge_a[0]


@every_pack
def test_a_pack_lies_where_its_kind_lies(pack: Pack) -> None:
    cell, form = CELLS[pack.cell], pack.topology
    full_v = form.blocks * cell.limits.voltage_max_v[2]
    tau_s = pack.contactors.precharge_ohm * pack.contactors.link_capacity_f
    assert full_v < 900.0
    assert 0.01 <= tau_s <= 0.5
    assert pack.cooling.heater_w >= 0.0
    assert pack.insulation_kohm * 1e3 > 2.0 * pack.insulation_warn_ohm_per_v * full_v
    assert pack.balancing.bleed_ohm > cell.limits.voltage_max_v[0] / 0.240  # BQ79616 FET limit


def test_the_eqs_pack_holds_the_published_usable_energy() -> None:
    pack = PACKS["eqs_hybrid"]
    count = pack.topology.blocks * pack.topology.parallel
    gross_kwh = count * laws.energy_wh(CELLS[pack.cell]) / 1e3
    assert 0.95 * gross_kwh == pytest.approx(1.25 * 118.0, rel=0.01)


def test_the_bus_pack_holds_seven_packs_of_63_kwh() -> None:
    pack, cell = PACKS["bus_96s"], CELLS["polymer_lfp_hot"]
    count = pack.topology.blocks * pack.topology.parallel
    energy = count * laws.energy_wh(cell)
    mass = count * cell.geometry.mass_kg * (1.0 + pack.mass_overhead_frac)
    assert energy == pytest.approx(441e3, rel=0.01)
    assert energy / mass == pytest.approx(140.0, rel=0.02)


@pytest.mark.parametrize("command", ["cells", "packs"])
def test_lists_name_every_file(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    known = CELLS if command == "cells" else PACKS
    assert cli.main([command, "--json"]) == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == list(known)
    assert cli.main([command]) == 0
    table = capsys.readouterr().out
    assert all(name in table for name in known)


@every_item
def test_show_prints_every_key(item: Cell | Pack, capsys: pytest.CaptureFixture[str]) -> None:
    command = "cells" if isinstance(item, Cell) else "packs"
    assert cli.main([command, "show", item.name]) == 0
    shown = capsys.readouterr().out
    for key in item.provenance:
        assert f"  {key.rpartition('.')[2]} " in shown, key
    assert "assumption: " in shown and "source: " in shown


@every_cell
def test_plot_draws(cell: Cell, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "cell.png"
    assert cli.main(["cells", "show", cell.name, "--plot", str(picture)]) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 20_000
    assert str(picture) in capsys.readouterr().out


@pytest.mark.parametrize("where", ["cell.xyz", "cell", "nowhere/cell.png"])
def test_a_plot_that_cannot_be_is_refused(
    where: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["cells", "show", cells.DEFAULT, "--plot", str(tmp_path / where)]) == 2
    assert "--plot" in capsys.readouterr().err


def test_an_unknown_name_ends_with_two_and_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["cells", "show", "sulfide"]) == 2
    assert "sulfide_nmc811_77ah" in capsys.readouterr().err


def test_the_page_matches_the_library(project_dir: Path) -> None:
    """Regenerate with: python tools/cell_tables.py"""
    script = [sys.executable, str(project_dir / "tools" / "cell_tables.py"), "--check"]
    assert subprocess.run(script, check=False).returncode == 0
