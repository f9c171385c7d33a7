"""A pack that cannot be built, or a cell that does not fit it, is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bms import cells, config, packs
from bms.errors import ConfigError


def _refused(name: str, key: str, value: object) -> ConfigError:
    path = packs.FOLDER / f"{name}.toml"
    exempt = (*config.WORDS, "cell")
    values, provenance = config.strip(config.load_toml(path), path, exempt)
    *tables, last = key.split(".")
    here = values
    for table in tables:
        here = here[table]
    here[last] = value
    with pytest.raises(ConfigError) as caught:
        packs.build(values, provenance, path)
    return caught.value


ONE_CHANGE = [
    ("topology.blocks", 97, "a multiple of blocks_per_module, 16"),
    ("topology.blocks", 0, "a value above 0"),
    ("topology.blocks", 416, "a value from 6 to 400"),
    ("topology.parallel", 13, "at most 1200 cells in all; 96 blocks make 1248"),
    ("topology.blocks_per_module", 17, "a value from 6 to 16"),
    ("topology.blocks_per_module", 4, "a value from 6 to 16"),
    ("topology.strings", 2, "1: packs of one string"),
    ("sensors.temperature_blocks", [0, 16], "a block of the module, 0 to 15"),
    ("sensors.temperature_blocks", [-1], "a block of the module, 0 to 15"),
    ("sensors.temperature_blocks", [3, 3], "each block once"),
    ("sensors.temperature_blocks", [], "1 to 6 blocks"),
    ("sensors.temperature_blocks", [0, 1, 2, 3, 4, 5, 6], "1 to 6 blocks"),
    ("sensors.pressure_full_scale_kpa", 4000.0, "more than the trip pressure"),
    ("sensors.current_range_a", 1000.0, "at least 1155 A"),
    ("sensors.comparator_a", 1000.0, "at least 1155 A"),
    ("sensors.cell_voltage_noise_v", -0.001, "a value of 0 or more"),
    ("fixture.preload_kpa", 500.0, "a value from 1000 to 3200"),
    ("fixture.preload_kpa", 7000.0, "at most maximum_kpa"),
    ("fixture.stiffness_kpa_per_um", 2.0, "a full charge within 1000 to 3200 kPa"),
    ("fixture.maximum_kpa", 4000.0, "at least the trip pressure"),
    ("cooling.coolant_target_degc", 70.0, "a value from -30 to 60"),
    ("contactors.close_ms", 0.0, "a value above 0"),
    ("contactors.break_current_a", 1200.0, "at least sensors.comparator_a"),
    ("contactors.precharge_energy_j", 100.0, "two precharges"),
    ("fuse.rating_a", 500.0, "at least 693 A"),
    ("insulation_trip_ohm_per_v", 600.0, "at most the warn level"),
    ("balancing.stop_v", 0.02, "less than start_v"),
    ("spread.capacity_frac", 1.1, "a value from 0 to 1"),
    ("chip_overvoltage_v", 4.310, "a BQ79616 step"),
    ("chip_overvoltage_v", 3.9, "a BQ79616 step"),
    ("chip_overvoltage_v", 4.475, "warn to above trip"),
    ("chip_overvoltage_v", 4.2, "warn to above trip"),
    ("chip_overvoltage_v", 3.650, "warn to above trip"),
    ("chip_undervoltage_v", 2.42, "a BQ79616 step"),
    ("chip_undervoltage_v", 1.2, "below trip to warn"),
    ("chip_undervoltage_v", 3.0, "below trip to warn"),
    ("cell", "sulfide_nmc811_78ah", "did you mean sulfide_nmc811_77ah"),
    ("cell", "none.toml", "a cell file there"),
]


@pytest.mark.parametrize(("key", "value", "told"), ONE_CHANGE)
def test_what_cannot_be_built_is_refused(key: str, value: object, told: str) -> None:
    error = _refused("car_96s3p", key, value)
    assert told in error.expected
    assert error.key.startswith(key) or key in ("cell", "topology.blocks_per_module")


@pytest.mark.parametrize("cell", ["polymer_lfp_hot", "composite_lfp_100ah", "a123_26650"])
def test_iron_phosphate_does_not_fit_thresholds_of_nickel(cell: str) -> None:
    with pytest.raises(ConfigError) as caught:
        packs.check(packs.load("car_96s1p"), cells.load(cell))
    assert caught.value.key == "chip_overvoltage_v"
    assert cell in caught.value.expected


def test_a_cell_of_more_current_does_not_fit_a_small_fuse() -> None:
    with pytest.raises(ConfigError) as caught:
        packs.load("bench_12s1p_anode_free", cells.load(cells.DEFAULT))
    assert caught.value.key == "sensors.comparator_a"


def test_a_cell_that_fits_may_take_the_place_of_the_named_one() -> None:
    pack = packs.load("bench_16s1p", cells.load("panasonic_18650pf"))
    assert pack.cell == cells.DEFAULT


def test_a_cell_beside_the_pack_is_found_from_anywhere(tmp_path: Path) -> None:
    cell, pack = tmp_path / "mine.toml", tmp_path / "pack.toml"
    cell.write_bytes((cells.FOLDER / f"{cells.DEFAULT}.toml").read_bytes())
    text = (packs.FOLDER / "bench_16s1p.toml").read_text(encoding="utf-8")
    pack.write_text(
        text.replace(f'cell = "{cells.DEFAULT}"', 'cell = "mine.toml"'), encoding="utf-8"
    )
    loaded = packs.load(pack)
    assert cells.load(loaded.cell).file == str(cell)


@given(st.integers(2000, 5000))
def test_an_overvoltage_threshold_passes_exactly_if_it_is_a_step_from_warn_to_trip(mv: int) -> None:
    path = packs.FOLDER / "car_96s1p.toml"
    tree, provenance = config.strip(config.load_toml(path), path, (*config.WORDS, "cell"))
    tree["chip_overvoltage_v"] = mv / 1000.0
    if mv in (4250, 4275, 4300, 4325, 4350, 4375, 4400):
        assert packs.build(tree, provenance, path, cells.load()).chip_overvoltage_v == mv / 1000.0
        return
    with pytest.raises(ConfigError) as caught:
        packs.build(tree, provenance, path, cells.load())
    assert caught.value.key == "chip_overvoltage_v"
