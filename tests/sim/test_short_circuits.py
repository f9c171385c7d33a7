"""A short outside, at every phase of the current sensor: contactors never part above what they
can break, the fuse does its work, and the oracle sees a firmware that does not wait."""

from __future__ import annotations

from functools import cache

import pytest

from bms.campaign import hunt, mutant
from bms.campaign.play import play
from bms.campaign.story import Deed, Story, drawn
from bms.sim import Simulation, Snapshot

PHASES_MS = range(10)  # of the sensor's period
COILS, FUSE = 7, 8


@cache
def driving(pack: str) -> tuple[Simulation, Snapshot]:
    made = Simulation("drive", pack=pack, seed=1)
    made.run(8.0, record=False)
    return made, made.snapshot()


@pytest.mark.parametrize("phase_ms", PHASES_MS)
@pytest.mark.parametrize("pack", ["car_96s3p", "bench_16s1p"])
def test_contactors_never_part_above_what_they_can_break(pack: str, phase_ms: int) -> None:
    made, snapshot = driving(pack)
    made.restore(snapshot)
    made.world.run(phase_ms)
    made.inject("CEL-08", value=200.0, ramp_s=0.0)
    plant, loop = made.world.parts["plant"], made.world.parts["loop"]
    most, off_ms = 0.0, 0
    for ms in range(60):
        made.world.run(1)
        most = max(most, float(plant["pack_current_a"][0]))
        if not off_ms and not int(loop["commanded_pins"][0]) & COILS:
            off_ms = ms
    assert most > 2.0 * made.pack.contactors.break_current_a
    assert int(plant["fuse_blown"][0]) and int(plant["breaks_over_rating"][0]) == 0
    assert 0 < off_ms <= 30, "and the coils follow"


def short(phase_ms: int) -> Story:
    deeds = (
        Deed(at_s=6.0, word="request", value=1.0),
        Deed(at_s=9.0, word="load", value=0.2),
        Deed(at_s=12.0 + phase_ms * 1e-3, word="fault", id="CEL-08", value=200.0, for_s=0.8),
    )
    return drawn(
        5, pack="bench_16s1p", soc_frac=0.5, degc=25.0, duration_s=15.0, deeds=deeds, boot_ms=20,
        phase_ms=3,
    )  # fmt: skip


@pytest.mark.slow("compiles a firmware")
def test_the_oracle_sees_a_firmware_that_opens_into_a_short() -> None:
    assert all(play(short(phase)).broken == () for phase in (1, 5, 9))
    with mutant.built(hunt.PLANTED / "short_not_looked_at.diff") as library:
        assert [play(short(phase), firmware=library).broken for phase in (1, 5, 9)] == [("S5",)] * 3
