"""What the monitor concludes from frames: rates, late and missing messages, verdicts, load."""

from __future__ import annotations

import numpy as np
import pytest

from bms.canbus import frame_bits
from bms.canbus.traffic import STRANGERS_MOST, Traffic
from bms.links import FRAME_DTYPE
from bms.protocols import dbc, e2e

START_US = 1_000_000


def frames(*rows: tuple[int, int, bytes, int]) -> np.ndarray:
    """(time_us, identifier, data, flags) as an array."""
    out = np.zeros(len(rows), FRAME_DTYPE)
    for k, (time_us, identifier, data, flags) in enumerate(rows):
        out[k]["time_us"], out[k]["id"] = START_US + time_us, identifier
        out[k]["length"], out[k]["flags"] = len(data), flags
        out[k]["data"][: len(data)] = np.frombuffer(data, np.uint8)
    return out


def watched(*rows: tuple[int, int, bytes, int], **settings: object) -> Traffic:
    traffic = Traffic(dbc.codec(), started_us=START_US, **settings)  # type: ignore[arg-type]
    traffic.feed(frames(*rows))
    return traffic


def pack(counter: int, voltage_v: float = 350.0) -> bytes:
    return dbc.encode(
        "BmsPack", {"PackVoltage": voltage_v, "PackCurrent": -2.5, "Counter": counter}
    )


def every(step_us: int, count: int) -> list[tuple[int, int, bytes, int]]:
    return [(k * step_us, 0x101, pack(k % 15), 0) for k in range(count)]


def only(traffic: Traffic, at_us: int):
    (view,) = traffic.snapshot(START_US + at_us).messages
    return view


def test_a_punctual_message_is_told_with_its_values_and_verdict() -> None:
    view = only(watched(*every(10_000, 100)), 1_000_000)
    assert (view.name, view.id, view.count, view.rate_hz) == ("BmsPack", 0x101, 100, 100.0)
    assert (view.cycle_ms, view.late, view.missing, view.e2e, view.e2e_errors) == (
        10.0,
        0,
        False,
        "ok",
        0,
    )
    assert view.values["PackVoltage"] == pytest.approx(350.0)
    assert (view.values["PackCurrent"], view.units["PackCurrent"]) == (-2.5, "A")
    assert view.values["LinkVoltage"] is None


def test_rates_are_those_since_the_last_look() -> None:
    traffic = watched(*every(10_000, 100))
    only(traffic, 1_000_000)
    assert only(traffic, 2_000_000).rate_hz == 0.0


def test_a_gap_is_late_once_and_silence_is_missing() -> None:
    rows = [*every(10_000, 10), (190_000, 0x101, pack(10), 0)]
    traffic = watched(*rows)
    view = only(traffic, 195_000)
    assert (view.late, view.missing, view.longest_gap_ms) == (1, False, 100.0)
    assert only(traffic, 235_000).missing
    assert traffic.snapshot(START_US + 235_000).missing == ("BmsPack",)


def test_a_computer_that_looks_late_does_not_make_a_message_late() -> None:
    assert only(watched((0, 0x101, pack(0), 0), (19_000, 0x101, pack(1), 0)), 20_000).late == 0


def test_expected_messages_that_never_came_are_named() -> None:
    told = watched(*every(10_000, 20)).snapshot(START_US + 200_000)
    assert "BmsState" in told.never_seen
    assert "BmsPack" not in told.never_seen
    assert "BmsInsulation" not in told.never_seen  # once a second: still has time


def test_a_wrong_check_code_is_counted_and_named() -> None:
    bad = bytearray(pack(1))
    bad[3] ^= 1
    view = only(watched((0, 0x101, pack(0), 0), (10_000, 0x101, bytes(bad), 0)), 15_000)
    assert (view.e2e, view.e2e_errors) == (e2e.Status.CRC_ERROR.name.lower(), 1)


def test_short_frames_are_malformed_and_strangers_are_shown_as_bytes() -> None:
    traffic = watched((0, 0x101, b"\x01", 0), (1, 0x7AB, b"\xde\xad", 0), (2, 0x101, b"\1" * 8, 1))
    told = traffic.snapshot(START_US + 10)
    assert (told.malformed, told.unknown_frames, told.frames) == (1, 2, 3)
    stranger = next(v for v in told.messages if v.id == 0x7AB)
    assert (stranger.name, stranger.data, stranger.values) == ("", "dead", {})
    assert [v.extended for v in told.messages] == [False, False, True]


def test_error_frames_are_counted_and_no_message() -> None:
    told = watched((0, 0, b"", 16), (1, 0x101, pack(0), 0)).snapshot(START_US + 10)
    assert (told.error_frames, told.frames, len(told.messages)) == (1, 1, 1)


def test_load_is_the_bits_over_the_bit_rate() -> None:
    rows = every(10_000, 100)
    told = watched(*rows, bitrate_bps=500_000).snapshot(START_US + 1_000_000)
    bits = sum(frame_bits(0x101, data) for _, _, data, _ in rows)
    assert told.load_frac == pytest.approx(bits / 500_000)
    assert told.frames_per_s == 100.0


@pytest.mark.parametrize("pattern", ["BmsPack", "bms*k", "0x101", "257"])
def test_patterns_choose_by_name_and_number(pattern: str) -> None:
    rows = [*every(10_000, 3), (0, 0x100, bytes(8), 0)]
    told = watched(*rows, patterns=(pattern,)).snapshot(START_US + 40_000)
    assert [v.name for v in told.messages] == ["BmsPack"]
    assert told.frames == 4


def test_a_flood_of_identifiers_is_bounded() -> None:
    rows = [(k, k, b"", 1) for k in range(5000)]
    traffic = watched(*rows)
    assert len(traffic.entries) <= STRANGERS_MOST + len(dbc.names())
    assert traffic.snapshot(START_US + 10_000).unknown_frames == 5000


def test_any_bytes_are_taken(seed: int) -> None:
    rng = np.random.default_rng(seed)
    array = np.frombuffer(rng.bytes(400 * FRAME_DTYPE.itemsize), FRAME_DTYPE).copy()
    array["length"] %= 65
    array["id"] = rng.choice([0x80, 0x100, 0x101, 0x109, 0x7FF], len(array))
    traffic = Traffic(dbc.codec(), bitrate_bps=500_000)
    traffic.feed(array)
    traffic.snapshot(START_US)
