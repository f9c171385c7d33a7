"""Power modes, addressing, reading and writing a stack of chips, through the line, byte by byte."""

import random

import numpy as np
import pytest

from bms.protocols import bq79616 as bq
from bms.protocols.bq79616 import BROADCAST, SINGLE, STACK, Read, Write


def hexed(text):
    return bytes.fromhex(text)


def test_nothing_answers_before_wake(bench):
    stack = bench(1)
    assert stack.raw(hexed("80 00 05 00 00 35 DF")) == b""


def test_a_lone_chip_ignores_reads_until_it_has_an_address(bench):
    stack = bench(1)
    stack.step(low_us=2250)
    stack.wait(13)
    assert stack.raw(hexed("80 00 05 00 00 35 DF")) == b""
    stack.raw(bq.encode(Write(BROADCAST, 0x343, bytes(8))))
    stack.raw(hexed("D0 03 09 01 0F 74"))
    stack.raw(hexed("D0 03 06 00 CB 44"))
    assert stack.raw(hexed("80 00 05 00 00 35 DF")) == hexed("00 00 05 00 21 F4 19")


def test_two_chips_answer_the_published_bytes(bench):
    stack = bench(2)
    stack.wake()
    for text in (
        "D0 03 4C 00 FC 24", "D0 03 09 01 0F 74", "D0 03 06 00 CB 44", "D0 03 06 01 0A 84",
        "D0 03 06 02 4A 85", "D0 03 08 02 4E E5", "90 00 03 08 00 13 DD",
    ):  # fmt: skip
        assert stack.raw(hexed(text)) == b""
    stack.write(0x308, 0x03, scope=SINGLE, device=1)
    assert stack.raw(hexed("80 00 05 00 00 35 DF")) == hexed("00 00 05 00 21 F4 19")
    summary = stack.raw(hexed("A0 05 2D 00 2F 75"))
    assert summary == hexed("00 01 05 2D 02 A9 6C")  # DRST since the wake
    assert stack.raw(hexed("C0 03 4C 00 F8 E4")) == b"".join(
        bq.encode(bq.Response(k, 0x34C, b"\x00")) for k in (1, 0)
    )


def test_stack_read_of_three_gives_the_published_summary_bytes(bench):
    stack = bench(3).start()
    stack.write(0x309, 0x02, scope=SINGLE, device=1)  # soft reset brings DRST back, address gone
    assert list(stack.read(0x52D)) == [2, 0]
    stack.wake()
    stack.address()
    stack.write(0x331, 0xFF, 0x7F, scope=SINGLE, device=2)
    assert stack.raw(hexed("A0 05 2D 00 2F 75")) == hexed(
        "00 02 05 2D 00 28 E9  00 01 05 2D 02 A9 6C"
    )


def test_vcell1_of_19399_counts_gives_the_published_bytes(bench):
    stack = bench(2).start()
    stack.volts[:] = 19399 * bq.CELL_STEP_V
    command = bq.encode(Read(SINGLE, 0x586, 2, 1))
    assert stack.raw(command) == hexed("01 01 05 86 4B C7 AA 4D")


@pytest.mark.parametrize("n", [1, 2, 6, 25, 32])
def test_start_up_reaches_every_chip_in_order(bench, n):
    stack = bench(n, per_module=12).start()
    everybody = stack.read(0x500)
    assert list(everybody) == list(range(n - 1, -1, -1)), "top first, base last"
    assert set(everybody.values()) == {b"\x21"}
    assert list(stack.read(0x500, scope=STACK)) == list(range(n - 1, 0, -1))
    assert stack.fields["is_addressed"][:n].all()


def test_each_chip_shows_its_own_blocks_and_die(bench):
    stack = bench(4, per_module=12).start()
    stack.volts[:48] = 3.0 + 0.01 * np.arange(48)
    for chip in range(4):
        seen = stack.cells(chip)
        assert seen[:12] == pytest.approx(stack.volts[chip * 12 : chip * 12 + 12], abs=1e-4)
        assert seen[12:] == [0.0] * 4, "pins without a cell are shorted together"
        serial = int(stack.fields["serial"][chip])
        assert stack.one(0x501, 4, chip) == serial.to_bytes(4, "big")


def test_without_a_top_of_stack_a_stack_read_never_completes(bench):
    stack = bench(3).start()
    stack.write(0x308, 0x02, scope=SINGLE, device=2)
    assert stack.read(0x500) == {}
    assert stack.read(0x500, scope=SINGLE, device=2) == {2: b"\x21"}


def test_a_cut_chain_silences_stack_reads_but_not_single_ones_below(bench):
    stack = bench(4).start()
    stack.fields["chain_cut_at"][0] = 2
    assert stack.read(0x500) == {}
    assert stack.read(0x500, scope=SINGLE, device=1) == {1: b"\x21"}
    assert stack.read(0x500, scope=SINGLE, device=2) == {}
    stack.fields["cut_answers"][0] = 1
    assert list(stack.read(0x500)) == [1, 0]
    stack.fields["chain_cut_at"][0] = 0
    assert len(stack.read(0x500)) == 4


def test_the_ring_reaches_the_far_side_of_a_cut(bench):
    stack = bench(4).start()
    stack.fields["chain_cut_at"][0] = 2
    stack.write(0x309, 0x80, scope=SINGLE)
    stack.write(0x309, 0x80, scope=bq.BROADCAST_REVERSE)
    stack.write(0x308, 0x00, scope=bq.BROADCAST_REVERSE)
    stack.write(0x309, 0x81)
    for k in range(3):
        stack.write(0x307, k)
    stack.write(0x308, 0x02)
    stack.write(0x308, 0x00, scope=SINGLE)
    stack.write(0x308, 0x03, scope=SINGLE, device=2)
    stack.volts[32:48], stack.volts[48:64] = 3.2, 3.3
    stack.write(0x30D, 0x06)
    seen = {k: volts_of(data) for k, data in stack.read(0x568, 32).items()}
    assert list(seen) == [2, 1, 0]
    assert seen[1] == pytest.approx([3.3] * 16, abs=1e-4), "the top is now next to the base"
    assert seen[2] == pytest.approx([3.2] * 16, abs=1e-4)


def volts_of(data):
    return [bq.signed(*data[k : k + 2]) * bq.CELL_STEP_V for k in range(30, -2, -2)]


def test_a_wake_tone_that_stops_leaves_the_rest_asleep(bench):
    stack = bench(4)
    stack.fields["wake_stops_at"][0] = 2
    stack.start()
    assert stack.fields["mode"][:4].tolist() == [2, 2, 0, 0]
    assert stack.read(0x500) == {}


def test_stack_chips_wake_one_after_another(bench):
    stack = bench(3)
    stack.step(low_us=2250)
    stack.wait(13)
    asked_us = stack.now_us
    stack.write(0x309, 0x20, scope=SINGLE)
    ready_us = stack.fields["ready_us"][1:3] - asked_us
    assert ready_us.tolist() == pytest.approx([11_670, 23_270], abs=1)


def test_two_chips_with_one_address_spoil_each_others_answer(bench):
    stack = bench(2).start()
    stack.fields["registers"].reshape(32, 512)[1, 0x80 + 6] = 0
    answer = stack.raw(bq.encode(Read(SINGLE, 0x500, 1, 0)))
    assert answer and not isinstance(bq.decode(answer), bq.Response)


def test_writes_only_reach_the_chips_that_are_meant(bench):
    stack = bench(3).start()
    stack.write(0x003, 0x06, scope=STACK)
    assert {k: v[0] for k, v in stack.read(0x003).items()} == {2: 6, 1: 6, 0: 10}
    stack.write(0x003, 0x08, scope=SINGLE, device=1)
    assert {k: v[0] for k, v in stack.read(0x003).items()} == {2: 6, 1: 8, 0: 10}
    stack.write(0x500, 0x55)
    assert stack.one(0x500) == b"\x21", "results are read only"


def test_reset_values_are_those_of_a_factory_part(bench):
    stack = bench(1)
    stack.wake()
    stack.address()
    assert stack.one(0x002, 2) == b"\x54\x0a"
    assert stack.one(0x018) == b"\x10"
    assert stack.one(0x036, 2) == stack.one(0x50C, 2) == b"\x31\xf3"
    assert stack.one(0x52C) == b"\x60"
    assert stack.one(0x536) == b"\x10" and stack.one(0x52D) == b"\x02"
    assert stack.one(0xE00) == b"\x00"
    assert stack.one(0x568, 32) == b"\x80\x00" * 16


def test_sleep_keeps_the_address_and_shutdown_does_not(bench):
    stack = bench(2).start()
    stack.write(0x309, 0x04)
    assert stack.fields["mode"][:2].tolist() == [1, 1]
    assert stack.read(0x500) == {}
    stack.step(low_us=275)
    stack.wait(2)
    stack.write(0x309, 0x10, scope=SINGLE)
    stack.wait(4)
    assert len(stack.read(0x500)) == 2
    stack.write(0x309, 0x08)
    assert stack.fields["mode"][:2].tolist() == [0, 0]
    stack.step(low_us=275)
    stack.wait(3)
    assert stack.fields["mode"][0] == 0, "only a wake ping ends a shutdown"
    stack.start()
    assert len(stack.read(0x500)) == 2


@pytest.mark.parametrize(("low_us", "mode"), [(8000, 0), (36_000, 0), (2250, 2), (1000, 2)])
def test_pings_are_told_by_their_length(bench, low_us, mode):
    stack = bench(1).start()
    stack.step(low_us=low_us)
    stack.wait(60)
    assert stack.fields["mode"][0] == mode
    assert bool(stack.fields["is_addressed"][0]) == (low_us == 1000)


def test_zero_at_4000_baud_wakes(bench):
    stack = bench(1)
    stack.step(b"\x00", baud=4000)
    stack.wait(13)
    assert stack.fields["mode"][0] == 2
    stack.address()
    assert stack.one(0x500) == b"\x21"


@pytest.mark.parametrize(("action", "mode"), [(0, 1), (8, 0)])
def test_silence_ends_in_sleep_or_shutdown(bench, action, mode):
    stack = bench(2).start()
    stack.write(0x019, 0x10 | action | 2)  # short 100 ms, long 2 s
    stack.wait(90)
    assert stack.one(0x536) == b"\x00"
    stack.wait(150)
    assert stack.one(0x536, device=1) == b"\x04"
    stack.wait(1900)
    assert stack.fields["mode"][:2].tolist() == [2, 2]
    stack.wait(200)
    assert stack.fields["mode"][:2].tolist() == [mode, mode]


def test_a_brown_out_loses_the_address_and_sets_drst(bench):
    stack = bench(3).start()
    stack.fields["brown_out"][1] = 1
    stack.wait(30)
    assert stack.fields["fault_line"][0] == 1
    assert 1 not in stack.read(0x500)
    stack.address()
    assert stack.one(0x536, device=1) == b"\x10"


def test_a_dead_chip_cuts_the_stack(bench):
    stack = bench(3).start()
    stack.fields["chip_dead"][1] = 1
    stack.wait(11)
    assert stack.read(0x500) == {}
    assert stack.read(0x500, scope=SINGLE, device=0) == {0: b"\x21"}
    assert stack.read(0x500, scope=SINGLE, device=2) == {}


def test_broken_answers_are_what_was_asked_for(bench):
    stack = bench(3).start()
    command = bq.encode(Read(BROADCAST, 0x500, 1))
    stack.fields["crc_corrupt"][1] = 1
    first, second = stack.raw(command), stack.raw(command)
    assert bq.decode(first[:7]) == bq.Response(2, 0x500, b"\x21")
    assert bq.decode(first[7:14]).reason == "crc"
    assert second[7:14] == bq.encode(bq.Response(1, 0x500, b"\x21"))
    stack.fields["mute"][1] = 1
    assert list(stack.read(0x500)) == [2, 0]
    stack.fields["mute"][1] = 0
    stack.fields["blank"][2] = 1
    assert stack.read(0x568, 4)[2] == b"\xff" * 4
    stack.fields["blank"][2] = 0
    stack.fields["drop_bytes"][0] = 3
    assert stack.raw(command) == second[3:]
    stack.fields["late_ms"][0] = 5
    assert stack.raw(command, 4) == b""
    assert stack.wait(2) == second


def test_a_command_with_a_wrong_crc_is_ignored_and_noted(bench):
    stack = bench(1).start()
    stack.raw(hexed("90 00 00 03 00 FF FF"))
    assert stack.one(0x003) == b"\x0a"
    assert stack.fields["crc_errors"][0] == 1
    assert stack.one(0x530) == b"\x04" and stack.one(0x781) == b"\x01"
    assert stack.one(0x52D) == b"\x10"
    stack.write(0x017, 0x01)
    assert stack.one(0x52D) == b"\x00" and stack.one(0x530) == b"\x04", "masked, but still there"
    stack.write(0x332, 0x01)
    assert stack.one(0x530) == b"\x00" and stack.one(0x781) == b"\x00"


@pytest.mark.parametrize("bad", ["00", "F0", "88", "81", "FF"])
def test_a_byte_that_begins_no_command_deafens_until_a_clear(bench, bad):
    stack = bench(1).start()
    stack.raw(hexed(bad))
    command = hexed("80 00 05 00 00 35 DF")
    assert stack.raw(command) == b""
    answer = stack.step(command, low_us=17) + stack.wait(2)
    assert answer == hexed("00 00 05 00 21 F4 19")
    assert stack.one(0x530)[0] & 0x07 == 0x07
    assert stack.one(0x781)[0] & 0x20


def test_another_speed_is_not_understood(bench):
    stack = bench(1).start()
    command = hexed("80 00 05 00 00 35 DF")
    assert stack.step(command, baud=250_000) + stack.wait(3) == b""
    assert stack.raw(command) == b"", "deaf"
    assert stack.step(command, low_us=17) + stack.wait(2) != b""
    assert stack.step(command, baud=1_010_000) + stack.wait(2) != b"", "1 % off is fine"


def test_half_a_command_waits_for_its_rest(bench):
    stack = bench(1).start()
    command = hexed("80 00 05 00 00 35 DF")
    assert stack.raw(command[:3]) == b""
    assert stack.raw(command[3:]) == hexed("00 00 05 00 21 F4 19")


def test_bytes_are_paced_and_none_is_lost(bench):
    stack = bench(6).start()
    counted = [len(stack.step(bq.encode(Read(BROADCAST, 0x568, 32))))]
    while counted[-1] or len(counted) < 3:
        counted.append(len(stack.step()))
    # 6 bytes in, 5 us, 5 hops of 4 us: the first answer byte starts at 85 us
    assert counted == [91, 100, 37, 0]
    assert stack.fields["bytes_out"][0] == sum(counted) + 0


def test_commands_back_to_back_in_one_millisecond_all_count(bench):
    stack = bench(5)
    stack.wake()
    stack.write(0x309, 0x01)
    stack.step(b"".join(bq.encode(Write(BROADCAST, 0x306, bytes([k]))) for k in range(5)))
    assert stack.fields["is_addressed"][:5].all()


def test_a_new_command_ends_a_running_answer(bench):
    stack = bench(6).start()
    stack.step(bq.encode(Read(BROADCAST, 0x568, 32)))
    answer = stack.raw(bq.encode(Read(SINGLE, 0x500, 1, 0)))
    assert answer == hexed("00 00 05 00 21 F4 19")
    assert stack.fields["answers_cut"][0] == 1
    assert stack.one(0x530)[0] & 0x10


def test_a_write_right_behind_a_read_ends_its_answer_too(bench):
    stack = bench(2).start()
    read, write = Read(BROADCAST, 0x500, 1), Write(BROADCAST, 0x003, b"\x06")
    assert stack.raw(bq.encode(read) + bq.encode(write)) == b""
    assert stack.fields["answers_cut"][0] == 1
    assert stack.one(0x003) == b"\x06"


def test_a_long_run_delivers_every_byte_it_should(bench):
    stack = bench(6).start()
    command = bq.encode(Read(BROADCAST, 0x568, 32))
    world = (stack.volts, stack.degc, stack.kpa)
    assert stack.chips.many(stack.now_us, *world, 10_000, 20, command) == 500 * 6 * 38
    assert stack.chips.many(stack.now_us + 10_000_000, *world, 1000, 0, command) == 0


def test_garbage_neither_hangs_nor_breaks_the_stack(bench):
    seed = 79616
    print("seed", seed)
    draw = random.Random(seed)
    stack = bench(3).start()
    for _ in range(3000):
        data = bytearray(draw.randbytes(60))
        if draw.random() < 0.5:  # half of the time something that looks like a command
            body = bytes([draw.choice((0x80, 0x90, 0xA0, 0xB3, 0xC0, 0xD7, 0xE0))])
            data = bytearray(bq.sealed(body + draw.randbytes(bq.frame_length(body[0]) - 3)))
        low_us = draw.choice((0, 0, 0, 17, 275, 2250, draw.randrange(50_000)))
        out = stack.step(bytes(data), low_us, draw.choice((1_000_000, 1_000_000, 4000, 115_200)))
        assert len(out) <= 100
        assert stack.fields["host_count"][0] <= 128 and stack.fields["command_count"][0] < 16
        stack.wait(draw.randrange(3))
    assert set(stack.fields["mode"][:3].tolist()) <= {0, 1, 2}
    assert stack.fields["bytes_in"][0] > 90_000
    stack.wait(3000)
    stack.step(low_us=8000)
    stack.wait(20)
    stack.start()
    assert len(stack.read(0x500)) == 3


def test_a_copy_of_the_state_goes_on_with_the_same_bytes(bench):
    stack = bench(3, ideal=False).start()
    command = bq.encode(Read(BROADCAST, 0x568, 54))
    stack.raw(command)
    stack.step(command)
    saved, at_us = stack.chips.state(), stack.now_us
    first = stack.wait(7) + stack.raw(command)
    stack.chips.restore(saved)
    stack.now_us = at_us
    assert stack.wait(7) + stack.raw(command) == first
    with pytest.raises(ValueError, match="bytes is needed"):
        stack.chips.restore(saved[1:])


def test_two_stacks_do_not_share_anything(bench):
    one, two = bench(2).start(), bench(2)
    assert two.read(0x500) == {}
    assert len(one.read(0x500)) == 2


@pytest.mark.parametrize(
    ("low_us", "wakes"), [(249, False), (250, True), (300, True), (301, False), (150, False)]
)
def test_only_250_to_300_us_end_a_sleep(bench, low_us, wakes):
    stack = bench(1).start()
    stack.write(0x309, 0x04)
    stack.step(low_us=low_us)
    stack.wait(5)
    assert stack.fields["mode"][0] == (2 if wakes else 1)


@pytest.mark.parametrize(
    ("low_us", "wakes"), [(1999, False), (2000, True), (2500, True), (2501, False), (5000, False)]
)
def test_only_2_to_2500_us_wake(bench, low_us, wakes):
    stack = bench(1)
    stack.step(low_us=low_us)
    stack.wait(20)
    assert stack.fields["mode"][0] == (2 if wakes else 0)


@pytest.mark.parametrize(("low_us", "hears"), [(14, False), (15, True), (20, True), (21, False)])
def test_only_15_to_20_us_clear_the_receiver(bench, low_us, hears):
    stack = bench(1).start()
    stack.raw(b"\xf0")
    stack.step(low_us=low_us)
    assert (stack.raw(hexed("80 00 05 00 00 35 DF")) != b"") == hears
