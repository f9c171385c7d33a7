"""Which state may follow which, and what random requests and faults never make of it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from firmware_rig import (
    CHARGE,
    CRASH,
    DRIVE,
    IGNITION,
    INTERLOCK,
    MAIN_MINUS,
    MAIN_PLUS,
    OVERCURRENT,
    PRECHARGE,
    STANDBY,
    STATE,
    Rig,
)  # fmt: skip

from bms import _firmware

ALLOWED = {
    "init": "selftest error",
    "selftest": "standby error",
    "standby": "precharge balancing service sleep error",
    "precharge": "normal_drive normal_charge opening error",
    "normal_drive": "normal_charge opening error",
    "normal_charge": "normal_drive opening error",
    "opening": "standby error",
    "error": "latched standby selftest",
    "latched": "error standby selftest sleep",
    "asserted": "",
    "refused": "",
    "balancing": "standby error",
    "service": "standby error",
    "sleep": "selftest",
}
NAMES = {number: name for name, number in STATE.items()}
PATH = (MAIN_PLUS | MAIN_MINUS, MAIN_MINUS | PRECHARGE, MAIN_PLUS | MAIN_MINUS | PRECHARGE)


def test_the_firmware_has_this_table_and_no_other() -> None:
    table = _firmware.transitions()
    assert len(table) == len(ALLOWED) == len(STATE)
    for name, follows in ALLOWED.items():
        assert {NAMES[k] for k in table[STATE[name]]} == set(follows.split()), name


def test_every_allowed_transition_is_made_and_every_other_one_ends_in_an_assertion() -> None:
    firmware = Rig().firmware
    fresh = firmware.snapshot()
    for before in ALLOWED:
        for after in ALLOWED:
            firmware.restore(fresh)
            done = firmware.enter(STATE[before], STATE[after])
            assert done == (1 if after in ALLOWED[before].split() else 2), (before, after)
            state = int(firmware.probes["state"][0])
            assert NAMES[state] == (after if done == 1 else "asserted")


def test_the_page_about_the_states_names_every_transition(project_dir: Path) -> None:
    page = (project_dir / "docs/explanation/states.md").read_text(encoding="utf-8")
    rows = [line.split("|") for line in page.splitlines() if line.startswith("| `")]
    told = {row[1].strip().strip("`"): set(row[3].replace("`", "").split()) for row in rows}
    assert told == {name: set(follows.split()) or {"none"} for name, follows in ALLOWED.items()}


def test_a_flipped_bit_of_the_state_is_an_assertion_with_all_outputs_off() -> None:
    rig = Rig().to_normal()
    place = next(probe.offset for probe in _firmware.probes() if probe.name == "state")
    state = bytearray(rig.firmware.snapshot())
    assert state[place] == STATE["normal_drive"]
    state[place] ^= 1
    rig.firmware.restore(bytes(state))
    rig.run(2)
    assert rig.state == STATE["asserted"] and rig.firmware.pins == 0


def test_service_moves_each_contactor_alone_and_says_which_does_not_follow() -> None:
    rig = Rig().to_standby()
    assert rig.firmware.begin_contactor_test()
    seen = set()
    for _ in range(1500):
        rig.step()
        seen.add(rig.coils)
        if rig.state == STATE["standby"] and len(seen) > 3:
            break
    assert seen == {0, MAIN_PLUS, MAIN_MINUS, PRECHARGE} and rig.probe("test_failed") == 0
    rig.run(1200)
    rig.feedback = 0  # auxiliary contacts without a wire
    assert rig.firmware.begin_contactor_test()
    rig.until(lambda: rig.state == STATE["standby"] or rig.state == STATE["error"], 1500)
    assert rig.probe("test_failed") != 0 or rig.active()


def test_service_is_refused_while_closed_or_asked_for() -> None:
    rig = Rig().to_normal()
    assert not rig.firmware.begin_contactor_test()
    assert rig.state == STATE["normal_drive"]


class Story:
    """A rig under random requests and faults; looks on at every millisecond."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.rig = Rig(seed=seed).to_standby()
        self.before = (self.rig.state, self.rig.coils, int(self.rig.probe("state_changes")))
        self.tripped = False  # since the last authorised clear
        self.closes = 0

    def act(self) -> None:
        rig, chance = self.rig, self.chance
        match chance.randrange(12):
            case 0 | 1 | 2:
                rig.mode = chance.choice((DRIVE, DRIVE, CHARGE))
            case 3 | 4:
                rig.mode = STANDBY
            case 5:
                rig.pins ^= INTERLOCK
            case 6:
                rig.pins |= chance.choice((OVERCURRENT, CRASH))
            case 7:
                rig.pins = IGNITION | INTERLOCK
            case 8:
                rig.welded = chance.choice((0, 0, 0, MAIN_PLUS, MAIN_MINUS, PRECHARGE))
            case 9:
                rig.clear = rig.service = chance.randrange(2)
            case 10:
                rig.supply_mv = chance.choice((13_500, 13_500, 8_000, 4_000))
            case _:
                rig.mute_vcu = chance.random() < 0.3

    def look(self) -> None:
        rig = self.rig
        state, coils, changes = self.before
        now = (rig.state, rig.coils, int(rig.probe("state_changes")))
        assert now[2] - changes <= 1, "two transitions in a step (S7)"
        if now[0] != state:
            assert NAMES[now[0]] in ALLOWED[NAMES[state]].split() or now[0] == STATE["asserted"]
        if coils & 3 != 3 and now[1] & 3 == 3:  # the path closes
            assert state == STATE["precharge"], "closed from elsewhere (S7)"
            assert abs(rig.link_v - float(rig.volts.sum())) < 0.02 * float(rig.volts.sum()), "S6"
            assert not rig.welded & ~now[1], "closed onto a weld (S13)"
        if now[0] == STATE["error"] and state != STATE["error"]:
            self.tripped = True
        if rig.clear:
            self.tripped = False
        if coils == 0 and now[1] != 0:
            assert not self.tripped, "closed after a trip without a clear (S8)"
        if now[0] in (STATE["error"], STATE["latched"], STATE["standby"], STATE["asserted"]):
            assert now[1] == 0 or rig.current_a > 100.0
        self.closes += coils & 3 != 3 and now[1] & 3 == 3
        self.before = now


@pytest.mark.parametrize("part", range(4))
def test_random_requests_and_faults_keep_s6_s7_s8_and_s13(seed: int, part: int) -> None:
    story = Story(1000 * seed + part)
    for _ in range(60):
        story.act()
        for _ in range(story.chance.choice((7, 60, 400))):
            story.rig.step()
            story.look()


def test_a_reset_at_any_instant_opens_at_once_and_waits_for_a_new_request(seed: int) -> None:
    chance = random.Random(seed)
    rig = Rig().to_standby()
    rig.mode = DRIVE
    rig.run(chance.randrange(600))  # somewhere while closing, or closed
    for cause in (1, 2, 3):  # watchdog, brown-out, software
        rig.reset(cause)
        assert rig.firmware.pins == 0
        rig.run(2500)
        assert rig.coils == 0 and rig.state == STATE["standby"], "never closes by itself (S15)"
    rig.mode = STANDBY
    rig.run(200)
    rig.mode = DRIVE
    rig.until(lambda: rig.state == STATE["normal_drive"], 2000)


def test_a_supply_that_went_while_closed_is_remembered_as_well() -> None:
    rig = Rig().to_normal()
    rig.run(1500)  # the journal has it
    rig.reset(0)
    rig.run(3000)
    assert rig.coils == 0 and rig.probe("refusal") == 4  # standby first


def test_a_brown_out_opens_within_50_ms() -> None:
    rig = Rig().to_normal()
    rig.supply_mv = 3000
    assert rig.until(lambda: rig.coils == 0, 50) <= 50
