"""Conversions: modes, steps, channels, errors, and what balancing and broken wires do to them."""

import math

import numpy as np
import pytest

from bms import rng
from bms.plant import chips as plant_chips
from bms.protocols import bq79616 as bq
from bms.protocols.bq79616 import SINGLE


def signed_pairs(data):
    return [bq.signed(*data[k : k + 2]) for k in range(0, len(data), 2)]


def test_cells_read_within_half_a_step(bench):
    stack = bench(2).start()
    stack.volts[:] = np.linspace(-0.5, 5.5, 400)
    for chip in (0, 1):
        seen = np.array(stack.cells(chip))
        assert (
            abs(seen - stack.volts[chip * 16 : chip * 16 + 16]).max() <= bq.CELL_STEP_V / 2 + 1e-12
        )


def test_readings_clip_instead_of_wrapping(bench):
    stack = bench(1).start()
    stack.volts[:3] = 9.0, -9.0, math.nan
    raw = signed_pairs(stack.one(0x568, 32))[::-1]
    assert raw[:3] == [32767, -32767, 32767]


def test_without_the_adc_there_is_no_result(bench):
    stack = bench(1).start(adc=False)
    assert stack.cells() == [None] * 16
    assert stack.one(0x527) == b"\x00" and stack.one(0x52C) == b"\x60"
    stack.write(0x30D, 0x02)  # no MAIN_GO: nothing starts
    assert stack.cells() == [None] * 16
    assert stack.fields["conversions"][0] == 0


def test_continuous_mode_follows_the_cells_and_stops_at_its_last_result(bench):
    stack = bench(1).start()
    assert stack.one(0x52C) == b"\x61" and stack.one(0x527) == b"\x01"
    stack.volts[:] = 3.5
    assert stack.cells() == pytest.approx([3.5] * 16, abs=1e-4)
    stack.volts[:] = 3.6
    stack.write(0x30D, 0x04)
    stack.volts[:] = 3.9
    assert stack.cells() == pytest.approx([3.6] * 16, abs=1e-4)
    assert stack.one(0x52C) == b"\x60"


def test_single_mode_converts_once_after_eight_round_robins(bench):
    stack = bench(1).start(adc=False)
    stack.volts[:] = 3.5
    stack.step(bq.encode(bq.Write(SINGLE, 0x30D, b"\x05")))
    assert stack.one(0x527) == b"\x00", "1.54 ms are not over"
    stack.wait(3)
    stack.volts[:] = 3.9
    assert stack.cells() == pytest.approx([3.5] * 16, abs=1e-4)
    assert stack.one(0x527) == b"\x01" and stack.one(0x52C) == b"\x60"


def test_a_read_before_the_first_round_robin_ends_finds_no_result(bench):
    stack = bench(1).start(adc=False)
    go, read = bq.Write(SINGLE, 0x30D, b"\x06"), bq.Read(SINGLE, 0x568, 2)
    answer = stack.raw(bq.encode(go) + bq.encode(read))  # the read ends 70 us after the start
    assert answer[4:6] == b"\x80\x00"


def test_unused_channels_have_no_result(bench):
    stack = bench(1).start()
    stack.write(0x003, 0x06)
    assert stack.cells()[:12] == pytest.approx([3.7] * 12, abs=1e-4)
    assert stack.cells()[12:] == [None] * 4


def test_reading_the_high_byte_latches_the_low_one(bench):
    stack = bench(1).start()
    stack.volts[0] = 3.7
    high = stack.one(0x586)
    stack.volts[0] = 4.1
    low = stack.one(0x587)
    assert bq.signed(high[0], low[0]) * bq.CELL_STEP_V == pytest.approx(3.7, abs=1e-4)
    stack.one(0x584)  # another channel's high byte leaves it alone
    assert stack.one(0x587) == low
    assert stack.one(0x586, 2) != high + low


def test_a_frozen_chip_goes_on_answering_old_values(bench):
    stack = bench(2).start()
    before = stack.cells(1)
    stack.fields["frozen"][1] = 1
    stack.volts[:] = 3.2
    assert stack.cells(1) == before
    assert stack.cells(0) == pytest.approx([3.2] * 16, abs=1e-4)


def test_conversions_are_counted_as_delivered(bench):
    stack = bench(3).start()
    stack.read(0x568, 32)
    stack.one(0x584, 4)
    assert stack.fields["conversions"][0] == 3 * 16 + 2


def noisy(bench, readings=400):
    stack = bench(1, ideal=False, cell_voltage_noise_v=0.002).start()
    return stack, np.array([stack.cells() for _ in range(readings)])


def test_noise_has_the_asked_spread_and_is_independent_between_channels(bench):
    _, seen = noisy(bench)
    sigma = seen.std(axis=0)
    assert sigma.mean() == pytest.approx(0.002, rel=0.04)
    assert abs(sigma / 0.002 - 1).max() < 0.2
    correlation = np.corrcoef(seen.T) - np.eye(16)
    assert abs(correlation).max() < 0.25
    step = np.array([np.corrcoef(seen[1:, k], seen[:-1, k])[0, 1] for k in range(16)])
    assert abs(step).max() < 0.25


def test_mean_error_is_the_drawn_gain_and_offset(bench):
    stack, seen = noisy(bench)
    gain, offset = stack.fields["cell_gain_frac"][:16], stack.fields["cell_offset_v"][:16]
    assert offset.std() > 1e-4
    assert seen.mean(axis=0) == pytest.approx(3.7 * (1 + gain) + offset, abs=5 * 0.002 / 20)


def test_noise_is_the_philox_block_of_its_round_and_chip(bench):
    """The slow, obvious twin of the conversion, bit for bit."""
    stack = bench(2, ideal=False).start()
    f = stack.fields
    stack.volts[:] = np.linspace(3.0, 4.2, 400)
    end_us = stack.now_us + 60 + 10  # a single read: 7 bytes
    data = stack.one(0x568, 32, device=1)
    for c in range(16):
        words = rng.philox(int(f["noise_key"][0]), end_us // 192, 1 * 8 + c % 4)
        word = words[c // 4]
        total = sum(word >> shift & 255 for shift in (0, 8, 16, 24)) - 510
        noise = total * (1.0 / 147.80166891254423)
        v, at = float(stack.volts[16 + c]), 16 + c
        read_v = (
            v
            + v * f["cell_gain_frac"][at]
            + f["cell_offset_v"][at]
            + 1.0 * f["cell_noise_v"][at] * noise
        )
        expected = int(read_v * (1.0 / 190.73e-6) + 32768.5) - 32768
        assert bq.signed(*data[2 * (15 - c) : 2 * (15 - c) + 2]) == expected


def test_the_low_pass_filter_quiets_the_noise(bench):
    stack = bench(1, ideal=False, cell_voltage_noise_v=0.01).start()
    loud = np.array([stack.cells() for _ in range(60)]).std()
    stack.write(0x007, 0x03)  # 53 Hz
    stack.write(0x30D, 0x0E)
    stack.wait(1)
    quiet = np.array([stack.cells() for _ in range(60)]).std(axis=0).mean()
    assert quiet < 0.3 * loud


def ratios(stack, device=0):
    data = signed_pairs(stack.one(0x58C, 18, device))
    tsref_v = data[0] * bq.TSREF_STEP_V
    return tsref_v, [c * bq.GPIO_STEP_V / tsref_v if tsref_v else c for c in data[1:]]


def thermistor_degc(ratio):
    ohm = 10e3 * ratio / (1 - ratio)
    return 1 / (1 / 298.15 + math.log(ohm / 10e3) / 3435) - 273.15


@pytest.mark.parametrize("degc", [-40.0, -20.0, 0.0, 25.0, 37.3, 60.0, 85.0, 120.0])
def test_thermistors_read_their_own_block(bench, degc):
    stack = bench(2).start()
    stack.degc[:] = 25.0
    block = int(stack.fields["thermistor_block"][6 + 2])
    assert block == 16 + 6
    stack.degc[block] = degc
    tsref_v, seen = ratios(stack, 1)
    assert tsref_v == pytest.approx(5.0, abs=1e-4)
    degrees = [thermistor_degc(r) for r in seen[:6]]
    assert degrees[2] == pytest.approx(degc, abs=0.1)
    assert degrees[:2] + degrees[3:] == pytest.approx([25.0] * 5, abs=0.02)


def test_the_reference_cancels(bench):
    stack = bench(1).start()
    stack.fields["tsref_v"][0] = 4.8
    tsref_v, seen = ratios(stack)
    assert tsref_v == pytest.approx(4.8, abs=1e-4)
    assert thermistor_degc(seen[0]) == pytest.approx(25.0, abs=0.02)


def test_pins_need_their_function_and_the_reference(bench):
    stack = bench(1).start()
    stack.write(0x00E, 0x10)  # GPIO1 off, GPIO2 ADC
    data = signed_pairs(stack.one(0x58C, 18))
    assert data[1] == bq.NO_RESULT and data[2] > 0
    stack.write(0x30A, 0x00)
    assert signed_pairs(stack.one(0x58C, 18))[:3] == [0, bq.NO_RESULT, 0]


def test_thermistors_that_are_not_there_read_the_reference(bench):
    stack = bench(2, last=5).start()
    _, seen = ratios(stack, 1)
    assert seen[:2] == pytest.approx([0.5, 0.5], abs=1e-4), "blocks 0 and 3 of the short module"
    assert seen[2:6] == pytest.approx([1.0] * 4, abs=1e-4)


def test_pressure_is_ratiometric_between_a_tenth_and_nine(bench):
    stack = bench(2).start()
    full = stack.fields["pressure_full_scale_kpa"][0]
    for kpa, ratio in ((0.0, 0.1), (full / 2, 0.5), (full, 0.9), (9 * full, 1.0), (-full, 0.0)):
        stack.kpa[1] = kpa
        assert ratios(stack, 1)[1][6] == pytest.approx(ratio, abs=1e-4)
    assert ratios(stack, 1)[1][7] == 0.0
    stack.fields["pressure_is_fitted"][0] = 0
    assert ratios(stack, 1)[1][6] == 0.0


def test_die_temperature_and_module_voltage(bench):
    stack = bench(1).start()
    assert bq.signed(*stack.one(0x5AE, 2)) * bq.DIE_STEP_K == pytest.approx(33.0, abs=0.05)
    assert bq.signed(*stack.one(0x5B6, 2)) * 3.05e-3 == pytest.approx(16 * 3.7, abs=0.01)
    assert stack.one(0x588, 2) == b"\x00\x00"


def test_bleeding_lowers_its_reading_and_raises_its_neighbours(bench):
    stack = bench(1).start()
    drop_v = stack.fields["sense_wire_ohm"][0] * 3.7 / stack.fields["bleed_ohm"][0]
    stack.write(0x318 + 16 - 5, 1)
    stack.write(0x32F, 0x02)
    expected = [3.7] * 16
    expected[3] = expected[5] = 3.7 + drop_v
    expected[4] = 3.7 - 2 * drop_v
    assert stack.cells() == pytest.approx(expected, abs=1e-4)
    stack.write(0x32F, 0x40)  # paused: undisturbed
    assert stack.cells() == pytest.approx([3.7] * 16, abs=1e-4)


def test_an_open_wire_floats_half_way_and_a_balancing_fet_shows_it(bench):
    stack = bench(1).start()
    stack.volts[4], stack.volts[5] = 3.6, 3.8
    stack.fields["open_wire"][0] = 1 << 5
    seen = stack.cells()
    assert seen[4:6] == pytest.approx([3.7, 3.7], abs=1e-4), "their sum is right, each is not"
    stack.write(0x318 + 16 - 5, 1)
    stack.write(0x32F, 0x02)
    seen = stack.cells()
    assert seen[4] == pytest.approx(0.0, abs=1e-4)
    assert seen[5] == pytest.approx(32767 * bq.CELL_STEP_V, abs=1e-3), "7.4 V clips"
    assert stack.bleeding() == [], "no current without a wire"
    assert seen[3] == pytest.approx(3.7, abs=1e-4) and seen[6] == pytest.approx(3.7, abs=1e-4)


@pytest.mark.parametrize(("wire", "channel"), [(0, 0), (16, 15)])
def test_an_open_end_wire_halves_the_outer_channel(bench, wire, channel):
    stack = bench(1).start()
    stack.fields["open_wire"][0] = 1 << wire
    expected = [3.7] * 16
    expected[channel] = 1.85
    assert stack.cells() == pytest.approx(expected, abs=1e-4)


def test_the_thermistor_table_is_the_formula_everywhere(parts):
    table = parts(1)[0].fields["ntc_ratio"]
    assert table[25 + 60] == 0.5 and len(table) == 311
    assert (np.diff(table) < 0).all()
    for degc in range(-60, 251, 7):
        ohm = 10e3 * math.exp(3435 * (1 / (degc + 273.15) - 1 / 298.15))
        assert plant_chips.ntc_ratio(degc) == pytest.approx(ohm / (ohm + 10e3), rel=1e-12)
