"""Comparators, fault registers, masks, and the NFAULT line."""

import pytest

from bms.errors import ConfigError
from bms.plant.chips import overvoltage_code, undervoltage_code
from bms.protocols.bq79616 import SINGLE

OVERVOLTAGE = [
    (0x02, 2.7),
    (0x0E, 3.0),
    (0x12, 3.5),
    (0x1E, 3.8),
    (0x22, 4.175),
    (0x25, 4.25),
    (0x2E, 4.475),
]


def watching(bench, over=0x25, under=0x1A, **options):
    stack = bench(2, **options).start()
    stack.write(0x009, over)
    stack.write(0x00A, under)
    stack.write(0x32C, 0x05)
    stack.wait(11)
    return stack


@pytest.mark.parametrize(("code", "threshold_v"), OVERVOLTAGE)
def test_overvoltage_trips_at_its_step(bench, code, threshold_v):
    assert overvoltage_code(threshold_v) == code
    stack = watching(bench, over=code, under=0x00)
    stack.volts[:] = threshold_v - 0.001
    stack.write(0x331, 0x18)
    stack.wait(11)
    assert stack.one(0x53C, 2, 1) == b"\x00\x00"
    stack.volts[16 + 9] = threshold_v + 0.001
    stack.wait(11)
    assert stack.one(0x53C, 2, 1) == b"\x02\x00", "cell 10"
    assert stack.one(0x52D, device=1) == b"\x04" and stack.one(0x52D) == b"\x00"
    assert stack.fields["fault_line"][0] == 1


@pytest.mark.parametrize(("code", "threshold_v"), [(0, 1.2), (0x1A, 2.5), (0x26, 3.1)])
def test_undervoltage_trips_at_its_step(bench, code, threshold_v):
    assert undervoltage_code(threshold_v) == code
    stack = watching(bench, under=code)
    assert stack.one(0x53E, 2) == b"\x00\x00"
    stack.volts[0] = threshold_v - 0.001
    stack.volts[1] = threshold_v + 0.001
    stack.wait(11)
    assert stack.one(0x53E, 2) == b"\x00\x01"
    assert stack.one(0x52D) == b"\x04"


def test_undervoltage_can_be_switched_off_for_a_cell(bench):
    stack = watching(bench)
    stack.write(0x00D, 0x01)
    stack.volts[0] = 1.0
    stack.wait(11)
    assert stack.one(0x53E, 2) == b"\x00\x00"


def test_comparators_do_nothing_until_they_are_started(bench):
    stack = bench(1).start()
    stack.write(0x009, 0x25)
    stack.volts[:] = 5.0
    stack.wait(30)
    assert stack.one(0x52D) == b"\x00" and stack.one(0x52C) == b"\x61"
    stack.write(0x32C, 0x05)
    stack.wait(11)
    assert stack.one(0x52D) == b"\x04" and stack.one(0x52C) == b"\x69"


def test_a_fault_stays_until_it_is_cleared_and_its_cause_gone(bench):
    stack = watching(bench)
    stack.volts[3] = 4.5
    stack.wait(11)
    stack.volts[3] = 3.7
    stack.wait(11)
    assert stack.one(0x53C, 2) == b"\x00\x08" and stack.fields["fault_line"][0] == 1
    stack.write(0x331, 0x08)
    assert stack.one(0x53C, 2) == b"\x00\x00" and stack.fields["fault_line"][0] == 0
    stack.volts[3] = 4.5
    stack.write(0x331, 0x08)
    stack.wait(11)
    assert stack.one(0x53C, 2) == b"\x00\x08"


def test_a_masked_fault_sets_its_register_but_not_summary_or_line(bench):
    stack = watching(bench)
    stack.write(0x016, 0x08)
    stack.volts[16] = 4.5
    stack.wait(11)
    assert stack.one(0x53C, 2, 1) == b"\x00\x01"
    assert stack.one(0x52D, device=1) == b"\x00" and stack.fields["fault_line"][0] == 0
    stack.write(0x016, 0x00)
    assert stack.one(0x52D, device=1) == b"\x04" and stack.fields["fault_line"][0] == 1


def test_the_line_needs_its_enable_bit_and_an_unbroken_chain(bench):
    stack = watching(bench)
    stack.volts[16] = 4.5
    stack.wait(11)
    assert stack.fields["fault_line"][0] == 1
    stack.fields["chain_cut_at"][0] = 1
    stack.wait(11)
    assert stack.fields["fault_line"][0] == 0
    stack.fields["chain_cut_at"][0] = 0
    stack.write(0x002, 0x50, scope=SINGLE)
    stack.wait(11)
    assert stack.fields["fault_line"][0] == 0


def test_temperature_comparators_trip_on_their_share_of_the_reference(bench):
    stack = bench(1).start()
    stack.write(0x00E, 0x09, 0x09, 0x09, 0x00)
    stack.write(0x00B, 0xE0 | 10)  # UT 80 %, OT 20 %
    stack.write(0x32D, 0x05)
    stack.wait(11)
    assert stack.one(0x52D) == b"\x00" and stack.one(0x52C) == b"\x71"
    stack.degc[3], stack.degc[15] = 75.0, -20.0  # pins 2 and 6
    stack.wait(11)
    assert stack.one(0x540, 2) == b"\x02\x20"
    assert stack.one(0x52D) == b"\x08"
    stack.degc[:] = 25.0
    stack.write(0x331, 0x60)
    stack.wait(11)
    assert stack.one(0x52D) == b"\x00"


@pytest.mark.parametrize(
    "volts", [2.6, 3.05, 3.25, 4.0, 4.16, 4.2501, 4.5, -1.0, float("nan"), float("inf")]
)
def test_an_overvoltage_the_chip_lacks_is_refused_by_name(volts):
    with pytest.raises(ConfigError, match=r"pack\.toml: chip_overvoltage_v: .*4\.175-4\.475"):
        overvoltage_code(volts, file="pack.toml")


@pytest.mark.parametrize("volts", [1.15, 1.22, 3.15, float("nan")])
def test_an_undervoltage_the_chip_lacks_is_refused_by_name(volts):
    with pytest.raises(ConfigError, match=r"chip_undervoltage_v: .*1\.2-3\.1"):
        undervoltage_code(volts)
