"""Units of names, conversions, and that the constants agree with each other."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bms import units
from bms.cells import load
from bms.cli._library import values


def test_examples_in_the_documentation_hold() -> None:
    failed, tried = doctest.testmod(units)
    assert tried >= 3 and failed == 0


def test_constants_agree() -> None:
    volt = units.GAS_J_PER_MOL_K / units.FARADAY_C_PER_MOL
    assert volt == pytest.approx(units.BOLTZMANN_EV_PER_K, rel=1e-9)
    lithium_cm3_per_c = 13.0 / units.FARADAY_C_PER_MOL
    assert 3.6 * lithium_cm3_per_c * 1e4 == pytest.approx(units.LITHIUM_UM_PER_MAH_CM2, rel=1e-3)


@given(st.floats(-200.0, 1000.0))
def test_kelvin_and_back(temperature_degc: float) -> None:
    back = units.celsius(units.kelvin(temperature_degc))
    assert back == pytest.approx(temperature_degc, abs=1e-9)


def test_every_number_of_a_cell_has_a_unit_or_is_a_ratio() -> None:
    bare = {"layers", "exponent", "weibull_shape", "pressure_exponent"}
    for key, value in values(load()):
        name = key.rpartition(".")[2]
        if (
            isinstance(value, float | int | tuple)
            and name not in bare
            and not name.endswith("_frac")
        ):
            assert units.unit_of(name), key
