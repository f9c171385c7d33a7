"""What monitor chips answer is looked at byte by byte, and what is told of it is rounded right."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from firmware_rig import Rig
from uds_bench import Tester

from bms import _firmware
from bms.protocols import dbc

CONFIG, CELLS = 0x003, 0x568  # registers of the configuration, and of the cells from the top down
CELL_COUNT, OVERVOLTAGE, UNDERVOLTAGE, GPIO, MASKS, TIMEOUT = 0, 6, 7, 11, 19, 22


def frames(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(place, register, payload) of whole answers of the first chip."""
    at = 0
    while at + 7 <= len(data):
        length = data[at] + 7
        whole = data[at : at + length]
        if data[at + 1] == 0 and len(whole) == length and not _firmware.crc16(whole):
            yield at, int.from_bytes(whole[2:4], "big"), whole[4:-2]
            at += length
        else:
            at += 1


def sealed(head: bytes, payload: bytes) -> bytes:
    body = head + payload
    return body + _firmware.crc16(body).to_bytes(2, "little")


def answered(register: int, change: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """The line, with every answer of one register changed and sealed again."""

    def line(data: bytes) -> bytes:
        out = bytearray(data)
        for at, found, payload in frames(data):
            if found == register:
                out[at : at + len(payload) + 6] = change(sealed(data[at : at + 4], payload))
        return bytes(out)

    return line


def flipped(k: int) -> Callable[[bytes], bytes]:
    def change(frame: bytes) -> bytes:
        payload = bytearray(frame[4:-2])
        payload[k] ^= 1
        return sealed(frame[:4], bytes(payload))

    return change


@pytest.mark.parametrize("k", [CELL_COUNT, OVERVOLTAGE, UNDERVOLTAGE, GPIO, MASKS, TIMEOUT])
def test_each_part_of_a_chips_configuration_is_read_back(k: int) -> None:
    rig = Rig().to_standby()
    assert "afe_config" not in rig.active()
    rig.uart = answered(CONFIG, flipped(k))
    rig.until(lambda: "afe_config" in rig.active(), 5000)


def test_a_second_answer_of_one_chip_is_not_mixed_in() -> None:
    rig = Rig().to_standby()
    before = int(rig.probe("cell_max_uv"))

    def twice(frame: bytes) -> bytes:
        lower = bytes(frame[4:-2][:2]) + bytes(len(frame) - 8)
        return frame + sealed(frame[:4], lower)

    rig.uart = answered(CELLS, twice)
    scans = rig.probe("cell_scan")
    rig.run(500)
    assert rig.probe("cell_scan") > scans
    assert int(rig.probe("cell_min_uv")) > before - 20_000


@pytest.mark.parametrize("load_a", [10.24, 10.26, -10.24, -10.26, 0.04])
def test_the_current_is_told_to_the_nearest_step(load_a: float) -> None:
    rig = Rig().to_normal()
    rig.load_a = load_a
    rig.run(300)
    told = []
    for _ in range(200):
        for _bus, who, data in rig.step().sent:
            if who == dbc.frame_id("BmsPack"):
                message = dbc.decode(who, data)
                told.append(abs(float(message["PackCurrent"]) * 1e3 - rig.probe("current_ma")))
    assert told and max(told) <= 26.0, "half a step of 50 mA"


@pytest.mark.parametrize("k", [0, 8, 15])
def test_every_byte_of_the_entropy_counts_for_the_first_seed(k: int) -> None:
    seeds = set()
    for value in (0, 1):
        rig = Rig()
        entropy = bytearray(16)
        entropy[k] = value
        rig.firmware = _firmware.Firmware(rig.config, rig.start_us, 0, None, bytes(entropy))
        rig.run(700)
        tester = Tester(rig)
        assert tester.ask(b"\x10\x03") is not None
        seeds.add(tester.ask(b"\x27\x01"))
    assert len(seeds) == 2 and None not in seeds
