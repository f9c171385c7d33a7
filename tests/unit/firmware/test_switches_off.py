"""When a bleeding switch must be open: set-up, heat, a block that fell; and who may close."""

from __future__ import annotations

import numpy as np
from firmware_rig import DRIVE, STANDBY, STATE, Rig


def bled(rig: Rig) -> int:
    return int(np.sum(rig.chips.fields["bleed_mask"][: rig.modules] != 0))


def balancing(high_v: float = 0.05) -> Rig:
    rig = Rig(soc=0.8)
    rig.volts[3] += high_v
    rig.balance = 1
    rig.run(800)
    rig.until(lambda: bled(rig) > 0, 30_000)
    return rig


def test_a_chip_that_is_set_up_again_bleeds_nothing_the_firmware_did_not_ask_for_since() -> None:
    rig = balancing()
    rig.balance = 0  # from now on nothing is to be bled
    rig.chips.fields["registers"][9] ^= 1  # over-voltage threshold of the first chip
    rig.until(lambda: "afe_config" in rig.active() or bled(rig) == 0, 3000)
    rig.until(lambda: bled(rig) == 0, 500)
    for _ in range(20):  # flipped again and again, it is set up again and again
        rig.run(200)
        rig.chips.fields["registers"][9] ^= 1
    rig.until(lambda: bled(rig) == 0, 500)


def test_switches_left_on_by_a_host_that_died_are_opened_when_it_starts_again() -> None:
    rig = balancing()
    rig.balance = 0
    rig.reset()
    rig.until(lambda: bled(rig) == 0, 500)


def test_a_block_that_falls_while_it_is_bled_is_let_go_within_the_time_of_the_rule() -> None:
    rig = balancing()
    rig.volts[3] = 2.6  # below what may be balanced, above every trip
    rig.until(lambda: int(rig.chips.fields["bleed_mask"][0]) & 8 == 0, 600)


def test_no_switch_is_tried_in_a_pack_that_burns_though_its_thermistor_is_lost() -> None:
    rig = Rig(soc=0.8).run(3000)
    rig.degc[:] = 90.0
    rig.until(lambda: "temperature_high_discharge" in rig.active(), 2000)
    rig.run(200).chips.fields["thermistor_broken"][:] = 1
    rig.run(1000)
    assert all(bled(rig.step()) == 0 for _ in range(20_000))


def test_a_lost_thermistor_that_was_warming_goes_on_warming_in_the_limits() -> None:
    rig = Rig(soc=0.6).run(1500)
    rig.mode = DRIVE
    rig.until(lambda: rig.state == STATE["normal_drive"], 4000)
    for _ in range(20):
        rig.degc[0] += 1.3
        rig.run(1000)
    assert "temperature_high_discharge" not in rig.active()
    rig.chips.fields["thermistor_broken"][0] = 1
    rig.run(2000)
    at_loss = rig.probe("discharge_limit_ma")
    rig.run(15_000)
    assert 0 <= rig.probe("discharge_limit_ma") < 0.7 * at_loss


def test_main_plus_is_not_closed_for_somebody_whose_authority_has_ended() -> None:
    rig = Rig(soc=0.6).run(1500)
    rig.mode = DRIVE
    rig.until(lambda: rig.state == STATE["precharge"], 4000)
    rig.authority = lambda data: bytes(8)  # requests go on, whoever sends them has no key
    rig.until(lambda: rig.state == STATE["opening"] or rig.coils & 1, 1000)
    assert not rig.coils & 1
    rig.mode = STANDBY
    rig.until(lambda: rig.coils == 0, 1000)
