"""Every row of the diagnosis table does what its columns say: concluded in the advertised time and
not sooner than its debounce, acted upon, kept while it must be, and ended as it is written."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import pytest
from rowcase import READY_MS, Bench, Put, Saved, Stimulus
from stimuli import STIMULI

from bms import spec

ROWS = spec.diagnoses()
KNOWN = [row for row in ROWS if row.name in STIMULI]
OPENS_MS = 30  # a current that jumped is looked at before it is opened into: ext/firmware/fuse.c
TOLD_MS = 300  # a decision waits for its turn on the bus
LONGEST_MS = 60_000  # nothing may follow for as long as the deadline, or this
PERIOD_MS = {
    "voltages": 20, "gpio": 100, "current": 10, "insulation": 1000, "request": 10, "tick": 10,
    "step": 1, "event": 1,
}  # fmt: skip
SILENT = {
    "voltages": (Put("seam.uart_cut", 3),), "gpio": (Put("seam.uart_cut", 3),),
    "current": (Put("ivt.silent", 1),), "insulation": (Put("imd.silent", 1),),
    "request": (Put("vehicle.is_silent", 1),),
}  # fmt: skip
DERATED = 1  # bit of vehicle.obs_flags
SLACK_MS = 45  # the tick that ends a count, and the sample that was on its way
NOT_EACH = {
    "soft_short": "a sample is a minute's window",
    "resistance_high": "a sample is a step of the load",
    "current_offset": "a sample is a mean of 20 s",
    "precharge_energy": "a sample alone concludes",
}
"""Rows that do not judge each sample of their kind."""


def rows(wanted: list[spec.Diagnosis]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("row", wanted, ids=lambda row: row.name)


@dataclass(frozen=True)
class Raised:
    """When a row was concluded, and the bench at that moment."""

    after_ms: int
    reaction_ms: int
    saved: Saved
    coils: int
    limits_a: tuple[float, float]


def begun(stimulus: Stimulus) -> tuple[Bench, int, tuple[float, float]]:
    """The cause is there. Also coils and limits before it."""
    bench = Bench(stimulus.state)
    for puts in stimulus.ready:
        bench.put(puts)
        bench.run(READY_MS)
    coils, limits_a = bench.coils, bench.limits_a
    bench.put(stimulus.cause)
    if stimulus.then:
        bench.ask(stimulus.then)
    if stimulus.play:
        stimulus.play(bench)
    return bench, coils, limits_a


@cache
def raised(name: str) -> Raised:
    row, stimulus = spec.diagnosis(name), STIMULI[name]
    bench, coils, limits_a = begun(stimulus)
    lasts_ms = row.deadline_ms + (3000 if stimulus.then else 0)
    found = bench.until_raised(row, min(lasts_ms, 3_600_000))
    assert found, f"not in {lasts_ms} ms: {bench.state}, told {bench.made.events[bench.before :]}"
    lower = stimulus.others or row.reaction != "trip"
    while lower and not _is_told(row, bench) and bench.made.time_s < 3600.0:
        bench.run(10)  # a lower tier came first
    after_ms, from_coil_ms = found
    counted_ms = from_coil_ms if stimulus.then and not stimulus.play else after_ms
    return Raised(after_ms, counted_ms, bench.save(), coils, limits_a)


def _is_told(row: spec.Diagnosis, bench: Bench) -> bool:
    """The highest tier, on the bus."""
    return f"{row.tiers[-1]} raised" in bench.told(row)


def resumed(row: spec.Diagnosis) -> Bench:
    """Just concluded."""
    saved = raised(row.name).saved
    return Bench(saved.state, saved)


def test_every_row_has_a_stimulus_and_every_stimulus_a_row() -> None:
    assert set(STIMULI) == {row.name for row in ROWS}


@rows(KNOWN)
def test_the_cause_is_concluded_and_acted_upon_in_the_advertised_time(row: spec.Diagnosis) -> None:
    found, stimulus = raised(row.name), STIMULI[row.name]
    assert found.reaction_ms <= row.deadline_ms
    bench = resumed(row).run(OPENS_MS)
    coils = bench.coils
    bench.run(TOLD_MS)
    if not stimulus.mute and row.name not in ("assertion", "config_invalid"):
        assert _is_told(row, bench)
    if row.reaction == "trip":
        assert coils == 0 and bench.state in ("error", "latched", "asserted", "refused")
        assert stimulus.mute or bench.first_trip in (row.name, *stimulus.others)
    else:
        assert not bench.is_tripped
        moved = stimulus.then or stimulus.drops
        assert moved or coils == found.coils
        _judge_limits(row, bench, found)


def _judge_limits(row: spec.Diagnosis, bench: Bench, found: Raised) -> None:
    charge_a, discharge_a = bench.limits_a
    before_a = found.limits_a
    if row.reaction == "derate" and bench.coils == 3:
        assert int(bench.parts["vehicle"]["obs_flags"][0]) & DERATED
        assert bench.state in ("normal_drive", "normal_charge")
    if row.reaction == "inhibit_charge":
        assert charge_a == 0.0
    elif row.reaction == "inhibit":
        assert (charge_a, discharge_a) == (0.0, 0.0)
    elif bench.coils == found.coils != 0:
        less = charge_a < 0.95 * before_a[0] or discharge_a < 0.95 * before_a[1]
        assert less == (row.reaction == "derate")
    if row.reaction == "inhibit" and bench.coils == 0:
        assert bench.ask("close").run(2000).coils == 0


@rows([row for row in KNOWN if STIMULI[row.name].inside])
def test_just_inside_the_limit_nothing_is_concluded(row: spec.Diagnosis) -> None:
    stimulus = STIMULI[row.name]
    bench = Bench(stimulus.state)
    bench.put(stimulus.inside)
    if stimulus.then:
        bench.ask(stimulus.then)
    bench.run(min(row.deadline_ms + 1000, LONGEST_MS))
    assert not bench.told(row) and not bench.is_active(row)


BRIEF = [row for row in KNOWN if row.debounce_samples > 1 and not STIMULI[row.name].play]


@rows([row for row in BRIEF if row.name != "soft_short"])
def test_one_fresh_sample_too_few_concludes_nothing(row: spec.Diagnosis) -> None:
    stimulus = STIMULI[row.name]
    lead_ms = PERIOD_MS[row.sample] + stimulus.remembers_ms
    lasts_ms = raised(row.name).after_ms - lead_ms
    assert lasts_ms > 0
    bench, _, _ = begun(stimulus)
    bench.run(lasts_ms).lift()
    bench.run(min(row.deadline_ms, LONGEST_MS))
    assert not _is_told(row, bench)


SOUNDED = [
    row for row in KNOWN
    if row.sample in SILENT and row.debounce_samples > 1 and row.name not in NOT_EACH
]  # fmt: skip


@rows(SOUNDED)
def test_silence_after_a_bad_sample_ends_the_count_in_time(row: spec.Diagnosis) -> None:
    found = raised(row.name)
    stimulus = STIMULI[row.name]
    each_ms = stimulus.each_ms or PERIOD_MS[row.sample]
    first_ms = found.after_ms - (row.debounce_samples - 1) * each_ms + each_ms // 2
    bench, _, _ = begun(stimulus)
    bench.run(max(first_ms, 1))
    assert not bench.is_active(row) or row.reaction != "trip" or not bench.is_tripped
    bench.put(SILENT[row.sample])
    assert bench.until_raised(row, row.debounce_ms + SLACK_MS)


@rows([row for row in KNOWN if row.latch and STIMULI[row.name].ends == "clear"])
def test_a_latched_one_goes_when_its_cause_is_gone_and_somebody_asks(row: spec.Diagnosis) -> None:
    stimulus, bench = STIMULI[row.name], resumed(row)
    if not stimulus.mute:
        assert bench.clear(service=True).is_active(row), "its cause is there, or was just now"
    bench.lift().run(stimulus.clears_ms)
    assert bench.is_active(row), "nobody asked"
    assert bench.ask("close").run(1500).coils == 0 or row.reaction != "trip"
    if row.service:
        assert bench.clear().is_active(row), "a workshop must ask"
    assert not bench.clear(service=row.service).is_active(row)


@rows([row for row in KNOWN if row.latch and row.name != "config_invalid"])
def test_a_latched_one_outlives_a_reset(row: spec.Diagnosis) -> None:
    bench = resumed(row).run(1000).lift().reset()
    assert bench.is_active(row) or row.name == "assertion"
    assert bench.ask("close").run(1500).coils == 0 or row.reaction != "trip"
    assert not bench.clear(service=row.service).run(1000).clear(service=row.service).is_active(row)


STAYING = ("cell_overvoltage", "insulation_low", "interlock_open", "gas", "pressure_high")


@rows([row for row in KNOWN if row.name in STAYING])
def test_neither_a_reset_nor_a_request_closes_while_the_cause_is_there(
    row: spec.Diagnosis,
) -> None:
    bench = resumed(row).run(500)
    for _ in range(2):
        bench.reset().clear(service=True)
        assert bench.ask("close").run(3000).coils == 0
    bench.lift().run(STIMULI[row.name].clears_ms).ask("open").run(500)
    assert bench.ask("close").run(3000).coils == 0, "nobody cleared it"
    assert bench.clear(service=row.service).run(1500).ask("close").run(3000).coils == 3


@rows([row for row in KNOWN if not row.latch and STIMULI[row.name].ends == "clear"])
def test_one_that_is_not_latched_goes_by_itself(row: spec.Diagnosis) -> None:
    bench = resumed(row).run(100).lift()
    assert bench.run(700).is_active(row)
    assert not bench.run(STIMULI[row.name].clears_ms).is_active(row)


@rows([row for row in KNOWN if STIMULI[row.name].keeps])
def test_less_than_the_clear_condition_keeps_it(row: spec.Diagnosis) -> None:
    stimulus, bench = STIMULI[row.name], resumed(row)
    bench.run(100).put(stimulus.keeps)
    assert bench.run(3000).clear(service=True).is_active(row)


@rows([row for row in KNOWN if STIMULI[row.name].ends == "restart"])
def test_what_only_a_restart_ends_stays_until_then(row: spec.Diagnosis) -> None:
    bench = resumed(row).run(100).lift().run(3000).clear(service=True)
    assert bench.is_active(row)
    bench.reset().clear(service=True)
    assert not bench.is_active(row)
