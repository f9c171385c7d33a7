"""From power-on to closed contactors, with the real monitor chips at the other end of the line."""

from __future__ import annotations

import pytest
from firmware_rig import MAIN_MINUS, MAIN_PLUS, PRECHARGE, STATE, Rig

from bms import _firmware


def test_one_chip_is_ready_and_memory_read_within_700_ms() -> None:
    """256 pages at a millisecond or two each are what lasts; the chip is ready after a quarter."""
    rig = Rig()
    assert rig.until(lambda: rig.state == STATE["standby"], 700) > 50
    assert rig.coils == 0 and rig.active() == set()


@pytest.mark.parametrize("pack", ["bench_12s1p_anode_free", "car_96s1p", "bus_96s", "eqs_hybrid"])
def test_every_stack_is_addressed_and_every_block_read(pack: str) -> None:
    rig = Rig(pack)
    rig.volts += [1e-3 * (block % 7) for block in range(rig.blocks)]
    rig.kpa[:] = rig.pack.fixture.preload_kpa
    rig.until(lambda: rig.probe("cell_scan") >= 2, 600)
    seen = rig.firmware.probes["block_uv"][: rig.blocks] * 1e-6
    assert abs(seen - rig.volts).max() < 0.006  # channel errors, within their specification
    assert rig.probe("cells_unknown") == 0 and rig.probe("afe_restarts") == 0


def test_contactors_close_in_order_and_only_on_request() -> None:
    rig = Rig("car_96s1p").to_standby()
    rig.run(2000)
    assert rig.coils == 0
    rig.mode = 1
    seen: list[int] = []
    for _ in range(1500):
        rig.step()
        if not seen or seen[-1] != rig.coils:
            seen.append(rig.coils)
    order = [
        MAIN_MINUS,
        MAIN_MINUS | PRECHARGE,
        MAIN_MINUS | PRECHARGE | MAIN_PLUS,
        MAIN_MINUS | MAIN_PLUS,
    ]
    assert [coils for coils in seen if coils] == order
    assert rig.state == STATE["normal_drive"]
    assert rig.probe("discharge_limit_ma") > 0


def test_main_plus_waits_until_the_link_is_full() -> None:
    rig = Rig("car_96s1p").to_standby()
    rig.mode = 1
    rig.until(lambda: bool(rig.coils & MAIN_PLUS), 1500)
    assert rig.link_v > 0.985 * rig.volts.sum()


def test_charge_needs_no_ignition_but_drive_does() -> None:
    rig = Rig().to_standby()
    rig.pins &= ~1
    rig.mode = 1
    assert rig.run(1500).coils == 0
    rig.mode = 0
    rig.run(200)
    rig.mode = 2
    rig.until(lambda: rig.state == STATE["normal_charge"], 1500)


def test_unknown_insulation_keeps_contactors_open() -> None:
    rig = Rig()
    rig.sensor = lambda frames: [frame for frame in frames if frame[0] != 0x037]
    rig.to_standby()
    rig.mode = 1
    assert rig.run(9500).coils == 0
    assert "insulation_unknown" in rig.active()


def test_a_missing_chip_is_found_before_anything_closes() -> None:
    rig = Rig("car_96s1p")
    rig.chips.fields["mute"][3] = 1
    rig.mode = 1
    rig.run(3500)
    assert rig.coils == 0 and rig.state == STATE["error"]
    assert "afe_count" in rig.active()


def test_a_refused_configuration_leaves_every_output_at_zero_and_says_so() -> None:
    good = Rig().config
    for wrong in (b"", good[:-8], good[:100] + bytes([good[100] ^ 1]) + good[101:]):
        firmware = _firmware.Firmware(wrong, 1000)
        assert firmware.code > 0
        told = set()
        for ms in range(1, 100):
            firmware.step(1000 + 1000 * ms, 3)
            assert firmware.pins == 0 and firmware.heater_pptt == 0 and firmware.watchdog_kick
            told |= {data[1] >> 4 for _, identifier, data in firmware.frames if identifier == 0x100}
        assert told == {STATE["refused"]}


def test_time_may_start_anywhere() -> None:
    states = []
    for start_us in (0, 5_000_000, (1 << 32) * 1000 - 3_000_000, 1 << 61):
        rig = Rig(start_us=start_us).to_normal()
        states.append((rig.ms, rig.coils, rig.state, rig.probe("soc_frac")))
    assert len(set(states)) == 1
