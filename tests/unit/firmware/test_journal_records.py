"""What the firmware finds again after a reset: counters, charge, nothing that is not its own."""

from __future__ import annotations

import struct

import pytest
from firmware_rig import DRIVE, STANDBY, STATE, Rig
from uds_bench import Tester, client, restart

from bms import _firmware
from bms.firmware import config


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.until(lambda: rig.state == STATE["standby"], 3000)
    return rig.run(300)


def counts(rig: Rig) -> list[int]:
    """Starts, improper ones, resets by the watchdog, closes, trips."""
    wanted = list(range(0x0200, 0x0205))
    values = client(Tester(rig)).read_data_by_identifier(wanted).service_data.values
    return [values[k] for k in wanted]


def drive(rig: Rig) -> None:
    rig.mode = DRIVE
    rig.until(lambda: rig.state == STATE["normal_drive"], 5000)
    rig.run(200)


def test_counters_go_on_over_resets_and_know_who_left_the_contactors_closed(rig: Rig) -> None:
    assert counts(rig) == [1, 0, 0, 0, 0]
    drive(rig)
    restart(rig, 1)  # by the watchdog, contactors closed
    rig.mode = STANDBY
    rig.run(1500)
    assert counts(rig) == [2, 1, 1, 1, 0]
    restart(rig, 0)
    rig.run(1500)
    assert counts(rig) == [3, 1, 1, 1, 0]


def at_start(rig: Rig) -> tuple[float, float]:
    """State of charge of the first block and its standard deviation when it is first known."""
    probes = {probe.name: probe.offset for probe in _firmware.probes()}

    def value(name: str) -> float:
        return float(struct.unpack_from("<f", rig.firmware.snapshot(), probes[name])[0])

    rig.until(lambda: value("block_sigma_frac") != 0.0, 1000)
    return value("block_soc_frac"), value("block_sigma_frac")


def parked(rig: Rig) -> None:
    drive(rig)
    rig.mode = STANDBY
    rig.until(lambda: rig.state == STATE["standby"], 3000)
    rig.run(300)


def test_charge_is_found_again_where_the_voltage_may_not_have_rested(rig: Rig) -> None:
    parked(rig)
    restart(rig, 0)
    soc, sigma = at_start(rig)
    rig.firmware = _firmware.Firmware(rig.config, rig.now_us, 0)  # an empty memory: taken as rested
    by_voltage, alone = at_start(rig)
    assert soc == pytest.approx(by_voltage, abs=5e-3)
    assert sigma < 0.0201 and sigma != alone


@pytest.mark.parametrize("how", ["left closed", "another configuration"])
def test_charge_of_another_time_is_believed_less_and_of_another_pack_not(
    rig: Rig, how: str
) -> None:
    if how == "left closed":
        drive(rig)
        rig.mode = STANDBY
    else:
        parked(rig)
        rig.config = config.build(rig.cell, rig.pack, line_delay_ms=7)
    restart(rig, 0)
    _, sigma = at_start(rig)
    rig.firmware = _firmware.Firmware(rig.config, rig.now_us, 0)
    _, rested = at_start(rig)
    assert (
        sigma > 2.0 * rested
    )  # the voltage may still relax, and a minute's charge may have flowed
    assert (sigma < 0.05) == (how == "left closed")


@pytest.mark.parametrize("fill", [0x00, 0xFF, 0xA5])
def test_a_memory_full_of_nonsense_is_as_good_as_none(rig: Rig, fill: int) -> None:
    rig.firmware.nvm[:] = bytes([fill]) * len(rig.firmware.nvm)
    restart(rig, 0)
    rig.until(lambda: rig.state == STATE["standby"], 3000)
    assert counts(rig) == [1, 0, 0, 0, 0]
