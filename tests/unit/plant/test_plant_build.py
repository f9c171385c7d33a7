"""From cell and pack to the plant's parameters and tables."""

import math
import time

import msgspec
import numpy as np
import pytest

import bms.cells
from bms.errors import ConfigError
from bms.plant import build, tables
from bms.rng import stream_key

STRUCT_GROUPS = ("PLANT_INPUTS", "PLANT_PARAMETERS")
CELLS = bms.cells.names()


def names_of(project_dir, group):
    """Field names of one list of plant.h."""
    text = (project_dir / "ext/plant/plant.h").read_text()
    body = text.split(f"#define {group}(S, A)")[1].split("\n\n")[0]
    lines = (line.strip().rstrip("\\").strip() for line in body.splitlines())
    return [line.split(",")[1].strip() for line in lines if line[:2] in ("S(", "A(")]


def unfilled(rig):
    """Fields of a plant with a mark in each of them."""
    fields = rig().plant.fields
    for values in fields.values():
        values[:] = np.nan if values.dtype.kind == "f" else 213
    return fields


def fill(fields, cell, pack, **changed):
    given = {"seed": 1, "soc_frac": 0.5, "temperature_degc": 20.0, "ambient_degc": 15.0}
    build.fill(fields, cell, pack, **{**given, **changed})


@pytest.mark.parametrize("cell", CELLS)
def test_every_input_and_parameter_is_written(rig, sized, project_dir, cell):
    fields = unfilled(rig)
    fill(fields, bms.cells.load(cell), sized(24, 3))
    for group in STRUCT_GROUPS:
        names = names_of(project_dir, group)
        assert len(names) > 15
        for name in names:
            values = fields[name]
            marked = np.isnan(values) if values.dtype.kind == "f" else values == 213
            assert not marked.any(), f"{name} was left as it was"


@pytest.mark.parametrize("cell", CELLS)
def test_every_cell_starts_sane_and_rests(rig, cell):
    r = rig(16, 2, cell=cell, soc=0.5)
    low, high = r.cell.electric.ocv_v[0], r.cell.electric.ocv_v[-1]
    for _ in range(3):
        r.seconds(1)
        volts = r["block_voltage_v"]
        assert np.all((volts > low) & (volts < high))
        assert np.isfinite(r["module_pressure_kpa"]).all()
        assert np.all(r["cell_resistance_ohm"] > 0)
    assert np.abs(r["cell_core_degc"] - 25.0).max() < 5 * r.pack.spread.temperature_k


@pytest.mark.parametrize("cell", CELLS)
def test_the_open_circuit_voltage_stays_strictly_rising_and_near_its_points(cell):
    electric = bms.cells.load(cell).electric
    table = tables.over_soc(electric.ocv_soc_frac, electric.ocv_v)
    assert np.all(np.diff(table) > 0.0)
    assert table[0] == electric.ocv_v[0] and table[-1] == electric.ocv_v[-1]
    back = np.interp(electric.ocv_soc_frac, np.linspace(0, 1, 257), table)
    assert np.abs(back - electric.ocv_v).max() < 0.02


def test_a_table_over_charge_is_exact_on_a_straight_line():
    x = (0.0, 0.1, 0.35, 0.5, 1.0)
    table = tables.over_soc(x, tuple(3.0 + 1.25 * v for v in x))
    np.testing.assert_allclose(table, 3.0 + 1.25 * np.linspace(0, 1, 257), rtol=1e-14)


def test_a_table_over_charge_never_overshoots_a_turning_point():
    table = tables.over_soc((0.0, 0.2, 0.4, 0.6, 1.0), (0.0, -1.0, -1.0, 2.0, 1.0))
    assert table.min() == pytest.approx(-1.0, abs=1e-12) and table.max() <= 2.0


def test_resistance_follows_arrhenius():
    table = tables.resistance_over_temperature(0.36)
    degc = np.array(tables.TEMPERATURES_DEGC)
    want = np.exp(0.36 / 8.617333262e-5 * (1 / (degc + 273.15) - 1 / 298.15))
    np.testing.assert_allclose(table, want, rtol=1e-9)
    assert table[34] == 1.0
    assert table[24] == pytest.approx(3.6, abs=0.1)  # 0 degC, from measurements on argyrodites
    np.testing.assert_allclose(tables.rate_over_temperature(0.36), 1 / table, rtol=1e-12)


def test_polymer_resistance_joins_its_two_branches_at_the_melting_point():
    law = bms.cells.load("polymer_lfp_hot").resistance.electrolyte_temperature
    assert law.law == "vtf"
    just = [tables.vtf(law, law.melting_degc + d) for d in (-1e-6, 1e-6)]
    assert just[0] == pytest.approx(just[1], rel=1e-6) == pytest.approx(1.0, rel=1e-5)
    table = tables.conductivity_over_temperature(law)
    assert table[34] == 1.0
    assert np.all(np.diff(table) < 0.0)
    warm = tables.vtf(law, 80.0)
    melting, now = law.melting_degc + 273.15 - law.vtf_t0_k, 353.15 - law.vtf_t0_k
    assert warm == pytest.approx(math.exp(law.vtf_b_k / now - law.vtf_b_k / melting), rel=1e-12)


def test_contact_follows_the_power_of_pressure_and_stops_at_the_floor():
    table = tables.over_pressure(2000.0, -0.5, 5120.0)
    kpa = np.linspace(0, 5120.0, 257)
    np.testing.assert_allclose(table, (np.maximum(kpa, 5.0) / 2000.0) ** -0.5, rtol=1e-12)
    assert np.all(tables.over_pressure(2000.0, 0.0, 5120.0) == 1.0)


def test_tables_are_made_once_and_cannot_be_changed():
    assert tables.resistance_over_temperature(0.3) is tables.resistance_over_temperature(0.3)
    with pytest.raises(ValueError, match="read-only"):
        tables.resistance_over_temperature(0.3)[0] = 0.0


def test_a_filled_table_is_a_copy(rig):
    r = rig()
    r.set(ocv_v=0.0)
    assert rig()["ocv_v"][0] > 1.0


def test_literature_critical_currents_are_used_when_asked_for(rig):
    claimed, literature = rig(), rig(critical="literature")
    cell = claimed.cell
    for r, law in (
        (claimed, cell.critical_current_claimed),
        (literature, cell.critical_current_literature),
    ):
        assert r["plating_ma_per_cm2"] == law.plating_ma_per_cm2
        assert r["stripping_ma_per_cm2"] == law.stripping_ma_per_cm2
    assert not np.array_equal(claimed["pressure_critical"], literature["pressure_critical"])


def test_spread_has_its_deviation_and_each_stream_stands_alone(rig, sized):
    r = rig(400, 3, 16)
    spread = r.pack.spread
    for name, mean, deviation in (
        ("cell_capacity_as", 77.0 * 3600, 77.0 * 3600 * spread.capacity_frac),
        ("cell_resistance_scale", 1.0, spread.resistance_frac),
        ("cell_leak_scale", 1.0, spread.self_discharge_frac),
        ("cell_soc_frac", 0.6, spread.soc_frac),
        ("cell_core_degc", 25.0, spread.temperature_k),
    ):
        assert r[name].mean() == pytest.approx(mean, abs=4 * deviation / math.sqrt(1200)), name
        assert r[name].std() == pytest.approx(deviation, rel=0.1), name
    without = sized(400, 3, 16, spread=True)
    quiet = msgspec.structs.replace(without.spread, capacity_frac=0.0)
    other = rig(pack=msgspec.structs.replace(without, spread=quiet))
    np.testing.assert_array_equal(r["cell_resistance_scale"], other["cell_resistance_scale"])
    np.testing.assert_array_equal(r["cell_soc_frac"], other["cell_soc_frac"])


def test_soft_shorts_have_a_stream_of_their_own(rig):
    assert rig(seed=5)["short_key"] == stream_key(5, "cell.short")


def test_units_are_converted(rig):
    r = rig()
    cell, pack = r.cell, r.pack
    assert r["transfer_farad"] * r["transfer_ohm"] == pytest.approx(0.1)
    assert r["leak_frac_per_s"] * 30.44 * 86400 == pytest.approx(0.022, rel=1e-3)
    assert r["core_j_per_k"] + r["surface_j_per_k"] == pytest.approx(0.785 * 900)
    assert r["plate_j_per_k"] + r["coolant_j_per_k"] == pytest.approx(42000)
    assert r["runaway_1_k"] == pytest.approx(1.3 / 8.617333262e-5)
    assert r["contactor_close_us"] == pack.contactors.close_ms * 1000
    assert r["short_max_s"] == 1 / cell.soft_short.minimum_ohm
    assert r["bleed_s"] == 1 / pack.balancing.bleed_ohm


@pytest.mark.parametrize(
    ("key", "changed", "pack"),
    [
        ("soc_frac", {"soc_frac": 1.5}, (16, 1, 8)),
        ("soc_frac", {"soc_frac": float("nan")}, (16, 1, 8)),
        ("temperature_degc", {"temperature_degc": 300.0}, (16, 1, 8)),
        ("ambient_degc", {"ambient_degc": float("nan")}, (16, 1, 8)),
        ("critical", {"critical": "hopeful"}, (16, 1, 8)),
        ("topology.blocks", {}, (416, 1, 16)),
        ("topology.parallel", {}, (96, 13, 16)),
        ("topology.blocks_per_module", {}, (400, 1, 8)),
        ("topology.blocks_per_module", {}, (20, 1, 8)),
    ],
)
def test_what_the_plant_cannot_hold_is_refused_by_name(rig, sized, key, changed, pack):
    with pytest.raises(ConfigError) as error:
        fill(rig().f, bms.cells.load(), sized(*pack), **changed)
    assert error.value.key == key


def test_filling_is_quick(rig, sized):
    tables.resistance_over_temperature.cache_clear()
    tables.conductivity_over_temperature.cache_clear()
    tables.over_soc.cache_clear()
    tables.over_pressure.cache_clear()
    spent = []
    for _ in range(4):
        start = time.process_time()
        fill(rig().f, bms.cells.load(), sized(96, 3, 16))
        spent.append(time.process_time() - start)
    print("fill: " + " ".join(f"{s * 1e3:.1f} ms" for s in spent))
    assert spent[0] < 1.0 and min(spent[1:]) < 0.3


def test_baseline_instructions_can_be_asked_for(rig, monkeypatch):
    monkeypatch.setenv("BMS_ISA", "baseline")
    assert rig()["isa"] == 0
    monkeypatch.delenv("BMS_ISA")
    r = rig()
    assert r["isa"] == r.plant_best_isa()
