"""A cell file that contradicts itself, or physics, is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bms import cells, config
from bms.cells import laws
from bms.errors import ConfigError
from bms.model import Conductivity

DEFAULT = cells.FOLDER / f"{cells.DEFAULT}.toml"
TREE = config.load_toml(DEFAULT)
GRID = [0.0, 0.25, 0.5, 0.75, 1.0]


def _changed(name: str, *changes: tuple[str, object]) -> ConfigError:
    """What is said about a library cell after values were changed."""
    path = cells.FOLDER / f"{name}.toml"
    values, provenance = config.strip(config.load_toml(path), path)
    for key, value in changes:
        *tables, last = key.split(".")
        here = values
        for table in tables:
            here = here[table]
        here[last] = value
    with pytest.raises(ConfigError) as caught:
        cells.build(values, provenance, path)
    assert caught.value.file == str(path)
    return caught.value


ONE_CHANGE = [
    ("electric.ocv_v", [3.0, 3.6, 3.6, 4.0, 4.2], "values, one for each of ocv_soc_frac"),
    ("electric.entropic_v_per_k", [0.0] * 39, "40 values"),
    ("electric.entropic_v_per_k", [0.1] * 40, "a value from -0.002 to 0.002"),
    ("electric.capacity_ah", 0.0, "a value above 0"),
    ("electric.capacity_ah", -77.0, "a value above 0"),
    ("electric.hysteresis_v", 0.5, "a value from 0 to 0.12"),
    ("electric.hysteresis_soc_frac", 1.5, "a value from 0 to 1"),
    ("limits.voltage_max_v", [4.25, 4.2, 4.3], "operate <= warn <= trip"),
    ("limits.voltage_min_v", [2.5, 2.7, 2.8], "operate >= warn >= trip"),
    ("limits.temperature_min_charge_degc", [-30.0, -25.0, -20.0], "operate >= warn >= trip"),
    ("limits.temperature_min_charge_degc", [58.0, 50.0, 40.0], "temperature_max_charge_degc, 55"),
    ("limits.temperature_max_charge_degc", [100.0, 150.0, 170.0], "20 K below thermal"),
    ("limits.current_charge_a", [0.0, 1.0, 2.0], "a value above 0"),
    ("limits.voltage_max_v", [4.1, 4.2, 4.3], "at most limits.voltage_max_v operate"),
    ("limits.voltage_min_v", [3.1, 2.7, 2.5], "at least limits.voltage_min_v operate"),
    ("classification.weight_loss_frac", 0.006, "needs some liquid"),
    ("classification.liquid_frac", 1.0, "less than 1 for a sulfide electrolyte"),
    ("classification.electrolyte", "liquid", "1 for a liquid electrolyte"),
    ("classification.electrolyte", "water", "one of"),
    ("geometry.electrode_area_cm2", 34222.0, "breathing"),
    ("geometry.layers", 60, "breathing"),
    ("geometry.length_m", 0.5, "fills 50 to 100 %"),
    ("geometry.length_m", 0.08, "fills 50 to 100 %"),
    ("geometry.layers", 120.5, "int"),
    ("breathing.anode_um_per_ah", 4.85, "a value from 32"),
    ("breathing.cathode_um_per_ah", -40.0, "a growth of more than 0"),
    ("pressure.exponent", 0.5, "a value from -2 to 0"),
    ("pressure.reference_kpa", 500.0, "a value from 1000 to 3200"),
    ("pressure.operate_min_kpa", [500.0, 800.0, 1000.0], "operate >= warn >= trip"),
    ("critical_current_claimed.plating_ma_per_cm2", 13.4, "at least 13.5"),
    ("critical_current_claimed.stripping_ma_per_cm2", 17.9, "at least 18"),
    ("critical_current_literature.plating_ma_per_cm2", 17.0, "at most the claimed value, 16"),
    ("resistance.electrolyte_ohm", 0.0, "a value above 0"),
    ("resistance.contact_ohm", -1e-4, "a value of 0 or more"),
    ("resistance.electrolyte_temperature.activation_ev", 36.0, "a value from 0 to 1.5"),
    ("resistance.electrolyte_temperature.law", "vtf", "a value above 0"),
    ("resistance.charge_transfer_tau_s", 0.0, "a value above 0"),
    ("thermal.heat_capacity_j_per_kg_k", 0.9, "a value from 400 to 2000"),
    ("thermal.core_frac", 1.0, "a value from 0.05 to 0.95"),
    ("thermal.melting_degc", 200.0, "a value from 60 to 180.5"),
    ("runaway.first.onset_degc", 60.0, "more than limits.temperature_max"),
    ("runaway.second.heat_j", -1.0, "a value of 0 or more"),
    ("voids.maximum_frac", 1.2, "a value from 0 to 1"),
    ("self_discharge.per_month_frac", -0.1, "a value of 0 or more"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value", "told"), ONE_CHANGE)
def test_contradiction_is_refused(key: str, value: object, told: str) -> None:
    error = _changed(cells.DEFAULT, (key, value))
    assert told in error.expected or told in error.key


def _grids(soc: list[float], volts: list[float]) -> tuple[tuple[str, object], ...]:
    return (
        ("electric.ocv_soc_frac", soc),
        ("electric.ocv_v", volts),
        ("electric.entropic_v_per_k", [0.0] * len(soc)),
    )


@pytest.mark.parametrize(
    ("soc", "volts", "key"),
    [
        (GRID, [3.0, 3.6, 3.6, 4.0, 4.2], "electric.ocv_v[2]"),
        (GRID, [3.0, 3.6, 3.5, 4.0, 4.2], "electric.ocv_v[2]"),
        ([0.0, 0.5, 0.25, 0.75, 1.0], [3.0, 3.5, 3.6, 4.0, 4.2], "electric.ocv_soc_frac[2]"),
        ([0.01, 0.25, 0.5, 0.75, 1.0], [3.0, 3.5, 3.6, 4.0, 4.2], "electric.ocv_soc_frac"),
        ([0.0, 0.25, 0.5, 0.75, 100.0], [3.0, 3.5, 3.6, 4.0, 4.2], "electric.ocv_soc_frac"),
        ([0.0, 1.0], [3.0, 4.2], "electric.ocv_soc_frac"),
    ],
)
def test_ocv_that_does_not_rise_is_refused(soc: list[float], volts: list[float], key: str) -> None:
    assert _changed(cells.DEFAULT, *_grids(soc, volts)).key == key


def test_liquid_needs_a_weight_loss() -> None:
    error = _changed("panasonic_18650pf", ("classification.weight_loss_frac", 0.001))
    assert "a liquid electrolyte evaporates" in error.expected


def test_vtf_needs_its_parameters() -> None:
    error = _changed("polymer_lfp_hot", ("resistance.electrolyte_temperature.vtf_t0_k", 300.0))
    assert error.key == "resistance.electrolyte_temperature.vtf_t0_k"


def test_a_file_elsewhere_loads_by_path(tmp_path: Path) -> None:
    copy = tmp_path / "mine.toml"
    copy.write_bytes(DEFAULT.read_bytes())
    mine = cells.load(copy)
    assert mine.file == str(copy)
    assert mine.electric == cells.load().electric
    assert cells.load("mine.toml", tmp_path) == mine


def test_an_unknown_cell_is_met_with_close_names() -> None:
    with pytest.raises(ConfigError, match="did you mean sulfide_nmc811_77ah"):
        cells.load("sulfide_nmc_77ah")


def test_a_value_without_origin_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bare.toml"
    text = DEFAULT.read_text(encoding="utf-8")
    line = next(row for row in text.splitlines() if row.startswith("capacity_ah"))
    path.write_text(text.replace(line, "capacity_ah = { value = 77.0 }"), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        cells.load(path)
    assert caught.value.key == "electric.capacity_ah"


def test_resistance_multipliers_are_those_of_the_arrhenius_table() -> None:
    law = Conductivity(law="arrhenius", activation_ev=0.36)
    for temperature_degc, factor in ((-30, 24.0), (0, 3.6), (25, 1.0), (45, 0.41), (60, 0.23)):
        assert laws.conductivity_factor(law, temperature_degc) == pytest.approx(factor, rel=0.03)


def test_vtf_law_is_continuous_and_one_at_25_degc() -> None:
    law = cells.load("polymer_lfp_hot").resistance.electrolyte_temperature
    below, above = (laws.conductivity_factor(law, law.melting_degc + d) for d in (-1e-6, 1e-6))
    assert below == pytest.approx(above, rel=1e-5)
    assert laws.conductivity_factor(law, 25.0) == 1.0
    steep = laws.conductivity_factor(law, 50.0) / laws.conductivity_factor(law, 60.0)
    gentle = laws.conductivity_factor(law, 60.0) / laws.conductivity_factor(law, 70.0)
    assert steep > 1.5 * gentle


@given(st.floats(-0.5, 1.5))
def test_interpolation_equals_the_table_at_its_points_and_lies_between(soc: float) -> None:
    electric = cells.load().electric
    value = laws.interpolate(soc, electric.ocv_soc_frac, electric.ocv_v)
    assert electric.ocv_v[0] <= value <= electric.ocv_v[-1]
    for point, volts in zip(electric.ocv_soc_frac, electric.ocv_v, strict=True):
        assert laws.interpolate(point, electric.ocv_soc_frac, electric.ocv_v) == volts
        assert (value - volts) * (soc - point) >= 0.0
