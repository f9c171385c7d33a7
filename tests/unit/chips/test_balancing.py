"""Balancing timers, pauses and what stops them."""

import pytest

from bms.protocols import bq79616 as bq
from bms.protocols.bq79616 import SINGLE


def go(stack, cells, code=1, control=0x02, device=0):
    for cell in range(1, 17):
        stack.write(0x318 + 16 - cell, code if cell in cells else 0, scope=SINGLE, device=device)
    stack.write(0x32F, control, scope=SINGLE, device=device)


def status(stack, device=0):
    return stack.one(0x52B, device=device)[0]


def test_nothing_bleeds_before_bal_go(bench):
    stack = bench(2).start()
    stack.write(0x318 + 16 - 3, 1)
    stack.wait(50)
    assert stack.bleeding() == []


def test_selected_cells_bleed_for_their_time_and_then_stop(bench):
    stack = bench(2).start()
    go(stack, {1, 4, 16}, device=1)
    begin_us = stack.now_us
    assert stack.bleeding() == [16, 19, 31]
    assert status(stack, 1) == 0x08
    while stack.bleeding():
        stack.wait(10)
    assert (stack.now_us - begin_us) / 1e6 == pytest.approx(10.0, abs=0.05)
    assert status(stack, 1) == 0x01
    assert stack.one(0x556, 2, 1) == bytes([0x80, 0x09]), "cells 16, 4 and 1 are complete"
    assert status(stack, 0) == 0x00


@pytest.mark.parametrize(
    ("code", "seconds"),
    [
        (1, 10),
        (2, 30),
        (3, 60),
        (4, 300),
        (5, 600),
        (0x10, 7200),
        (0x11, 9000),
        (0x1E, 32_400),
        (0x1F, 36_000),
    ],
)
def test_timer_codes(bench, code, seconds):
    stack = bench(1).start()
    go(stack, {2}, code)
    assert stack.fields["balance_left_ms"][1] == pytest.approx(seconds * 1000, abs=20)
    stack.write(0x330, 1 << 1 | 1)
    shown = stack.one(0x558)[0]
    step_s = 300 if shown & 0x80 else 5
    assert abs((shown & 0x7F) * step_s - seconds) <= step_s


def test_a_pause_stops_current_and_clock(bench):
    stack = bench(1).start()
    go(stack, {3})
    stack.wait(4000)
    stack.write(0x32F, 0x40)
    assert stack.bleeding() == [] and status(stack) == 0x28
    left = int(stack.fields["balance_left_ms"][2])
    stack.wait(3000)
    assert stack.fields["balance_left_ms"][2] == pytest.approx(left, abs=20)
    stack.write(0x32F, 0x00)
    assert stack.bleeding() == [2]
    stack.wait(6100)
    assert stack.bleeding() == [] and status(stack) == 0x01


def test_neighbours_are_refused_unless_allowed(bench):
    stack = bench(1).start()
    go(stack, {3, 4})
    assert stack.bleeding() == [] and status(stack) == 0x80
    stack.write(0x002, 0x14)  # NO_ADJ_CB off: two in a row
    go(stack, {3, 4})
    assert stack.bleeding() == [2, 3] and status(stack) == 0x08
    go(stack, {3, 4, 5})
    assert stack.bleeding() == [] and status(stack) == 0x80


def test_automatic_mode_takes_turns(bench):
    stack = bench(1).start()
    stack.write(0x32E, 0x00)  # 5 s
    go(stack, set(range(1, 17)), code=2, control=0x03)
    assert stack.bleeding() == [0, 2, 4, 6, 8, 10, 12, 14]
    stack.wait(5100)
    assert stack.bleeding() == [1, 3, 5, 7, 9, 11, 13, 15]
    stack.wait(5100)
    assert stack.bleeding() == [0, 2, 4, 6, 8, 10, 12, 14]


def test_zero_timers_and_go_stop_it(bench):
    stack = bench(1).start()
    go(stack, {1, 3})
    go(stack, set())
    assert stack.bleeding() == []


def test_a_cell_that_reaches_the_threshold_is_done(bench):
    stack = bench(1).start()
    stack.write(0x32A, 0x3F)  # 4.0 V
    stack.write(0x32C, 0x05)
    stack.volts[:] = 4.1
    go(stack, {1, 3})
    stack.volts[0] = 3.99
    stack.wait(11)
    assert stack.bleeding() == [2]
    assert stack.one(0x556, 2) == b"\x00\x01"


def test_a_fault_stops_balancing_when_asked(bench):
    stack = bench(1).start()
    go(stack, {1}, control=0x22)
    stack.raw(bytes.fromhex("90 00 00 03 00 FF FF"))
    stack.wait(11)
    assert stack.bleeding() == [] and status(stack) == 0x04


def test_heat_pauses_balancing_when_asked(bench):
    stack = bench(1).start()
    stack.write(0x00E, 0x09, 0x09, 0x09, 0x12)  # thermistors only
    stack.write(0x32B, 0x05)  # 20 % of TSREF: about 67 degC
    go(stack, {1}, control=0x12)
    assert stack.bleeding() == [0]
    stack.degc[:] = 80.0
    stack.wait(11)
    assert stack.bleeding() == [] and status(stack) & 0x60 == 0x60
    stack.degc[:] = 30.0
    stack.wait(11)
    assert stack.bleeding() == [0]


@pytest.mark.parametrize(("action", "mode"), [(0x04, 1), (0x08, 0)])
def test_what_follows_the_end(bench, action, mode):
    stack = bench(1).start()
    go(stack, {1}, control=0x02 | action)
    stack.wait(10_050)
    assert stack.fields["mode"][0] == mode


def test_balancing_goes_on_in_sleep_and_ends_in_shutdown(bench):
    stack = bench(1).start()
    go(stack, {1})
    stack.write(0x309, 0x04)
    stack.wait(20)
    assert stack.fields["mode"][0] == 1 and stack.bleeding() == [0]
    stack.step(low_us=275)
    stack.wait(2)
    stack.write(0x309, 0x08)
    assert stack.bleeding() == []


def test_stuck_fets_ignore_the_registers(bench):
    stack = bench(2).start()
    stack.fields["fet_stuck_on"][1] = 1 << 7
    stack.fields["fet_stuck_off"][0] = 1 << 2
    go(stack, {3, 5})
    stack.wait(11)
    assert stack.bleeding() == [4, 23]


def test_channels_without_a_cell_bleed_nothing(bench):
    stack = bench(2, per_module=12).start()
    go(stack, {11, 14})
    assert stack.bleeding() == [10]
    stack.fields["fet_stuck_on"][1] = 0xFFFF
    stack.wait(11)
    assert max(stack.bleeding()) == 23
    assert bq.signed(*stack.one(0x5AE, 2)) * bq.DIE_STEP_K > 33.5
