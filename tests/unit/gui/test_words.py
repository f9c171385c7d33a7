"""Numbers as people read them."""

from __future__ import annotations

import pytest
from bms_gui.words import choices_of, clock, current, fixed, quantity


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (3.6521, "V", "3.652 V"),
        (0.0123, "V", "12.30 mV"),
        (12_400.0, "W", "12.40 kW"),
        (0.634, "1", "63.4 %"),
        (25.31, "degC", "25.31 °C"),
        (float("nan"), "V", "—"),
        (0.0, "A", "0.000 A"),
        (-48.2, "A", "-48.20 A"),
    ],
)
def test_quantities(value: float, unit: str, text: str) -> None:
    assert quantity(value, unit) == text


def test_the_direction_of_a_current_is_a_word() -> None:
    assert current(12.34) == "12.3 A discharge" and current(-12.34) == "12.3 A charge"
    assert current(0.0) == "0.0 A" and current(float("nan")) == "—"


def test_times_and_fixed_digits() -> None:
    assert clock(3723.42) == "1:02:03.4" and clock(-5.0) == "-0:00:05.0"
    assert fixed(1.0, 3, "V") == "1.000 V" and fixed(float("inf"), 1) == "—"


def test_states_are_words() -> None:
    assert choices_of("cmd_state")[2] == "standby" and choices_of("true_soc_frac") == {}
