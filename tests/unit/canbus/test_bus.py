"""The bus as a whole: who sends when, and what errors do to everybody."""

from __future__ import annotations

from itertools import pairwise

import pytest

from bms.canbus import ANY_ID, FIELDS, Bus, frame_bits

BIT_US = 2.0  # at 500 kbit/s
ERROR_BITS = 12 + 8 + 3  # flags, delimiter, intermission


def two(**settings: object) -> Bus:
    return Bus(("a", "b"), **settings)  # type: ignore[arg-type]


def order(events: list) -> list[tuple[str, int]]:
    return [(e.kind, e.id) for e in events]


# ---- traffic ----


def test_a_frame_takes_exactly_its_bits() -> None:
    bus = two()
    bus.put("a", 0x123, b"12345678")
    bits = frame_bits(0x123, b"12345678") - 3
    assert bus.run_us(bits * BIT_US - 1) == []
    (event,) = bus.run_us(bits * BIT_US)
    assert (event.time_us, event.heard_by, event.data) == (bits * BIT_US, ("b",), b"12345678")


def test_the_most_urgent_identifier_goes_first_among_nodes_that_start_together() -> None:
    bus = Bus(("a", "b", "c"))
    for node, identifier, flags in (("a", 0x300, 0), ("b", 0x100 << 18, 1), ("c", 0x100, 0)):
        bus.put(node, identifier, b"x", flags)
    events = bus.run_us(2000)
    assert [e.node for e in events] == ["c", "b", "a"]
    assert [int(bus.state["lost_arbitrations"][k]) for k in range(3)] == [2, 1, 0]


def test_a_frame_under_way_is_not_interrupted() -> None:
    bus = two()
    bus.put("a", 0x700, b"12345678")
    bus.run_us(50)
    bus.put("b", 0x001)
    assert order(bus.run_us(2000)) == [("frame", 0x700), ("frame", 0x001)]


def test_a_node_sends_its_most_urgent_frame_first_unless_it_is_a_fifo() -> None:
    for fifo, expected in (((), [0x100, 0x200, 0x300]), (("a",), [0x300, 0x100, 0x200])):
        bus = two(fifo=fifo)
        for identifier in (0x300, 0x100, 0x200):
            bus.put("a", identifier)
        assert [e.id for e in bus.run_us(2000)] == expected


def test_equal_identifiers_keep_their_order() -> None:
    bus = two()
    for k in range(5):
        bus.put("a", 0x100, bytes([k]))
    assert [e.data[0] for e in bus.run_us(5000)] == [0, 1, 2, 3, 4]


def test_a_full_queue_drops_and_counts() -> None:
    bus = two()
    accepted = [bus.put("a", k) for k in range(70)]
    assert accepted.count(True) == 64
    assert int(bus.state["dropped"][0]) == 6
    assert [e.id for e in bus.run_us(50_000)] == list(range(64))


def test_back_to_back_frames_load_the_bus_fully() -> None:
    bus = two(bitrate_bps=125_000)
    for step in range(300):
        while bus.put("a", 0x123, b"12345678"):
            pass
        bus.run_us(step * 1000.0)
    assert bus.load_frac > 0.99


def test_idle_and_half_load_are_told_as_such() -> None:
    bus = two()
    bits = frame_bits(0x123, b"12345678")
    for step in range(500):
        bus.put("a", 0x123, b"12345678")
        bus.run_us((step + 1) * 2 * bits * BIT_US)
    assert bus.load_frac == pytest.approx(0.5, abs=0.01)


def test_equal_frames_of_two_nodes_pass_as_one() -> None:
    bus = Bus(("a", "b", "c"))
    for node in ("a", "b"):
        bus.put(node, 0x100, b"same")
    (event,) = bus.run_us(2000)
    assert event.heard_by == ("c",)


def test_different_frames_under_one_identifier_destroy_each_other_until_both_are_off() -> None:
    bus = Bus(("a", "b", "c"))
    bus.put("a", 0x100, b"\x00")
    bus.put("b", 0x100, b"\x01")
    events = bus.run_us(9000)
    errors = [e for e in events if e.kind == "error"]
    assert len(errors) == 32
    assert {e.node for e in events if e.kind == "off"} == {"a", "b"}
    assert not any(e.kind == "frame" for e in events)


# ---- errors ----


def test_alone_a_sender_turns_passive_and_stays() -> None:
    bus = Bus(("a",))
    bus.put("a", 0x100, b"12345678")
    events = bus.run_us(100_000)
    assert {e.outcome for e in events} == {"no acknowledge"}
    assert len(events) > 200
    assert bus.node_state("a") == "passive"
    assert int(bus.state["tec"][0]) == 128


def test_a_listener_does_not_acknowledge() -> None:
    bus = two(silent=("b",))
    bus.put("a", 0x100)
    assert bus.run_us(1000)[0].outcome == "no acknowledge"
    assert not bus.put("b", 0x100)


def test_sixteen_errors_make_passive_and_thirty_two_bus_off() -> None:
    bus = two()
    bus.faults["corrupt_count"][0] = 32
    bus.put("a", 0x100, b"12345678")
    states, errors = [], 0
    for step in range(1, 2000):
        for event in bus.run_us(step * 10.0):
            errors += event.kind == "error"
            states.append((errors, bus.node_state("a"), int(bus.state["tec"][0])))
    assert (15, "active", 120) in states
    assert (16, "passive", 128) in states
    assert (31, "passive", 248) in states
    assert next(s for s in states if s[1] == "off")[0] == 32
    assert int(bus.state["offs"][0]) == 1


def test_an_error_costs_the_bits_up_to_it_and_an_error_frame() -> None:
    bus = two()
    bus.faults["corrupt_count"][0] = 1
    bus.faults["corrupt_bit"][0] = 40
    bus.put("a", 0x100, b"12345678")
    error, frame = bus.run_us(2000)
    assert error.time_us == (41 + ERROR_BITS - 3) * BIT_US
    assert frame.time_us == (41 + ERROR_BITS + frame_bits(0x100, b"12345678") - 3) * BIT_US
    assert (int(bus.state["tec"][0]), int(bus.state["rec"][1])) == (
        7,
        0,
    )  # 8 up, 1 down; 1 up, 1 down


def test_bus_off_ends_after_128_times_11_recessive_bits() -> None:
    bus = two()
    bus.faults["force_off_mask"][0] = bus.mask(["a"])
    off, back = bus.run_us(10_000)
    assert (off.kind, back.kind, back.node) == ("off", "back", "a")
    assert back.time_us - off.time_us == 128 * 11 * BIT_US
    assert bus.node_state("a") == "active"
    assert bus.put("a", 0x100)


def test_traffic_of_others_lengthens_recovery() -> None:
    bus = Bus(("a", "b", "c"))
    bus.faults["force_off_mask"][0] = bus.mask(["a"])
    times = []
    for step in range(200):
        bus.put("b", 0x200, b"12345678")
        times += [e.time_us for e in bus.run_us((step + 1) * 300.0) if e.kind == "back"]
    assert len(times) == 1
    assert 3 * 128 * 11 * BIT_US < times[0] < 60_000


def test_who_may_not_come_back_stays_off_until_reset() -> None:
    bus = two()
    bus.state["keep_off_mask"][0] = bus.mask(["a"])
    bus.faults["force_off_mask"][0] = bus.mask(["a"])
    assert [e.kind for e in bus.run_us(1e6)] == ["off"]
    assert not bus.put("a", 0x100)
    bus.core.reset_node(0)
    assert bus.put("a", 0x100)
    assert [e.kind for e in bus.run_us(1.1e6)] == ["frame"]


def test_a_passive_sender_waits_eight_bits_more_than_others() -> None:
    bus = two()
    bus.faults["corrupt_count"][0] = 16
    for identifier in (0x100, 0x101):
        bus.put("a", identifier)
    errors, now_us = 0, 0.0
    while errors < 16 and now_us < 10_000:
        now_us += BIT_US
        errors += len(bus.run_us(now_us))
    assert bus.node_state("a") == "passive"
    bus.put("b", 0x700)  # less urgent, and yet first: the other one is held back
    ids = [e.id for e in bus.run_us(10_000) if e.kind == "frame"]
    assert ids.index(0x700) == 0


def test_a_node_at_a_wrong_rate_disturbs_until_it_is_passive_itself() -> None:
    bus = Bus(("a", "b", "odd"))
    bus.faults["wrong_rate_mask"][0] = bus.mask(["odd"])
    bus.put("a", 0x100, b"12345678")
    events = bus.run_us(20_000)
    errors = [e for e in events if e.kind == "error"]
    assert {e.outcome for e in errors} == {"misread"}
    assert len(errors) == 15  # 9 a piece: above 127 with the fifteenth
    assert events[-1].kind == "frame"
    assert events[-1].heard_by == ("b",)
    assert (bus.node_state("odd"), bus.node_state("a")) == ("passive", "active")


def test_what_a_node_at_a_wrong_rate_sends_takes_it_off_the_bus() -> None:
    bus = Bus(("a", "b", "odd"))
    bus.state["keep_off_mask"][0] = 0xFF
    bus.faults["wrong_rate_mask"][0] = bus.mask(["odd"])
    bus.put("odd", 0x100)
    events = bus.run_us(50_000)
    assert [e.kind for e in events].count("error") == 32
    assert events[-1].kind == "off"


def test_a_cut_cable_isolates_one_node() -> None:
    bus = Bus(("a", "b", "c"))
    bus.faults["open_mask"][0] = bus.mask(["a"])
    bus.put("a", 0x100)
    bus.put("b", 0x200)
    (event,) = bus.run_us(20_000)
    assert (event.id, event.heard_by) == (0x200, ("c",))
    assert (bus.node_state("a"), int(bus.state["tec"][0])) == ("passive", 128)
    bus.faults["open_mask"][0] = 0
    assert [e.id for e in bus.run_us(40_000)] == [0x100]
    assert int(bus.state["tec"][0]) == 127


def test_wires_that_touch_take_every_sender_off() -> None:
    bus = Bus(("a", "b", "c"))
    bus.state["keep_off_mask"][0] = 0xFF
    bus.faults["short_kind"][0] = 1
    bus.put("a", 0x100)
    events = bus.run_us(20_000)
    assert [e.kind for e in events] == ["error"] * 32 + ["off"]
    assert bus.node_state("b") == "active"


def test_a_bus_stuck_dominant_carries_nothing_and_heals() -> None:
    bus = Bus(("a", "b", "c"))
    bus.put("a", 0x100, b"12345678")
    bus.run_us(50)
    bus.faults["short_kind"][0] = 2
    events = bus.run_us(10_000)
    assert [e.kind for e in events] == ["error", "off"]
    bus.put("b", 0x200)
    assert bus.run_us(20_000) == []
    assert bus.node_state("b") == "passive"
    bus.faults["short_kind"][0] = 0
    kinds = [(e.kind, e.node) for e in bus.run_us(40_000)]
    assert ("frame", "b") in kinds
    assert ("back", "a") in kinds


def test_a_babbling_node_with_an_urgent_identifier_starves_the_others() -> None:
    bus = two()
    bus.faults["babble_on"][0] = 1
    bus.put("a", 0x100)
    events = bus.run_us(20_000)
    assert {(e.node, e.id) for e in events} == {("stranger", 0)}
    bus.faults["babble_on"][0] = 0
    assert 0x100 in [e.id for e in bus.run_us(30_000)]


def test_a_babbling_node_keeps_its_spacing() -> None:
    bus = two()
    bus.faults["babble_on"][0], bus.faults["babble_id"][0] = 1, 0x7FF
    bus.faults["babble_period_us"][0] = 1000
    events = bus.run_us(100_000)
    assert len(events) == 100
    steps = {round(b.time_us - a.time_us) for a, b in pairwise(events)}
    assert steps == {1000}


def test_random_errors_come_at_their_rate_and_in_the_same_places() -> None:
    def errors(seed: int) -> list[float]:
        bus = two(seed=seed)
        bus.faults["bit_error_rate"][0] = 1e-4
        times = []
        for step in range(4000):
            bus.put("a", 0x100, b"12345678")
            times += [e.time_us for e in bus.run_us((step + 1) * 1000.0) if e.kind == "error"]
        return times

    found = errors(1)
    expected = 4000 * 118 * 1e-4
    assert found == errors(1)
    assert found != errors(2)
    assert 0.5 * expected < len(found) < 1.7 * expected


def test_only_the_marked_identifier_is_destroyed() -> None:
    bus = two()
    bus.faults["corrupt_id"][0], bus.faults["corrupt_count"][0] = 0x200, 1
    for identifier in (0x100, 0x200):
        bus.put("a", identifier)
    assert [e.kind for e in bus.run_us(5000)] == ["frame", "error", "frame"]
    assert ANY_ID == 0xFFFFFFFF


def test_a_node_without_power_neither_sends_nor_acknowledges() -> None:
    bus = two()
    bus.put("a", 0x100)
    bus.faults["absent_mask"][0] = bus.mask(["b"])
    assert bus.run_us(500)[0].outcome == "no acknowledge"
    assert not bus.put("b", 0x200) or bus.run_us(1000)[0].node != "b"


def test_every_fault_is_a_field_with_a_sentence() -> None:
    faults = {name for name, (_, text) in FIELDS.items() if text.startswith("fault:")}
    assert faults == set(two().faults)
    assert len(faults) >= 12


@pytest.mark.parametrize("bitrate_bps", [125_000, 250_000, 500_000, 1_000_000])
def test_every_usual_bit_rate_carries_its_frames_a_second(bitrate_bps: int) -> None:
    bus = two(bitrate_bps=bitrate_bps)
    carried = 0
    for step in range(1, 101):
        while bus.put("a", 0x123, b"\x5a" * 8):
            pass
        carried += len(bus.run_us(step * 1000.0))
    assert carried == pytest.approx(bitrate_bps / 10 / frame_bits(0x123, b"\x5a" * 8), abs=1)
