"""Stories come from their seed alone, play the same everywhere, and shrink to what matters."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from bms import faults
from bms.campaign import coverage, drill, judge, run
from bms.campaign.minimise import kept, minimise
from bms.campaign.play import PAGE_BYTES, begin, do, play, used_memory
from bms.campaign.story import DRILLS, LIVENESS_S, made_of, write
from bms.cli import main
from bms.invariants import IDS, INVARIANTS, NEVER_MASKED, WATCHED, Watch


def test_the_two_lists_of_rules_are_one() -> None:
    assert tuple(row.id for row in INVARIANTS if row.where == "watch") == WATCHED
    assert len(set(IDS)) == len(IDS)
    assert all(row.text and row.limit and row.source and row.place for row in INVARIANTS)


def test_a_rule_looked_at_by_a_test_names_a_test_that_is_there(project_dir: object) -> None:
    root = Path(str(project_dir))
    missing = [row.id for row in INVARIANTS if not (root / row.place).exists()]
    assert not missing


def test_a_story_is_a_function_of_its_seed(seed: int) -> None:
    assert write(seed, 200.0) == write(seed, 200.0) != write(seed + 1, 200.0)


def test_a_drill_is_a_story_with_a_seed_of_its_own() -> None:
    ids = {deed.id for k in range(drill.count()) for deed in write(DRILLS + k).deeds if deed.id}
    assert ids == {fault.id for fault in faults.drawn()}


def test_half_of_the_clocks_start_near_a_wrap() -> None:
    starts = [write(seed, 60.0).start_us for seed in range(60)]
    assert 15 < sum(start > 1_000_000 for start in starts) < 45


def test_the_oracle_changes_no_bit(seed: int) -> None:
    hashes = []
    for watched in (True, False):
        stage = begin(write(seed, 20.0))
        if not watched:
            stage.simulation.watch(None)
        for deed in stage.story.deeds:
            stage.run_to(deed.at_s)
            do(stage, deed)
        stage.run_to(20.0)
        hashes.append(int(stage.simulation.world.parts["loop"]["trace_hash"][0]))
    assert hashes[0] == hashes[1]


def test_a_seed_gives_the_same_trace_again_and_with_another_clock(seed: int) -> None:
    story = write(seed + 3, 30.0)
    assert judge.same_again(story, play(story)) == ()


def test_nobody_masks_the_rules_that_always_hold() -> None:
    story = write(3)
    watch = Watch(*made_of(story))
    watch.mask(IDS)
    bits = int(watch.fields["masked"][0])
    assert bits and not any(bits >> WATCHED.index(id) & 1 for id in NEVER_MASKED)


def test_masked_time_is_told_while_a_fault_acts() -> None:
    seed = next(s for s in range(200) if _masks(write(s, 40.0)))
    outcome = play(write(seed, 40.0))
    assert outcome.masked_s and max(outcome.masked_s.values()) <= outcome.simulated_s


def _masks(story: object) -> bool:
    deeds = [d for d in getattr(story, "deeds", ()) if d.id and 2.0 < d.at_s < 20.0 and d.for_s > 1]
    return any(faults.fault(deed.id).masks for deed in deeds)


@pytest.mark.slow("builds a firmware and plays the story some thirty times")
def test_a_failing_story_shrinks_to_what_it_needs() -> None:
    """A load that ignores limits, in the world of a firmware that never looks at currents."""
    from tempfile import TemporaryDirectory

    from bms.campaign import mutant
    from bms.campaign.story import Deed, in_order

    story = write(11, 40.0, pack="bench_16s1p")
    wanted = (
        Deed(at_s=6.0, word="request", value=1.0), Deed(at_s=9.0, word="load", value=0.3),
        Deed(at_s=12.0, word="obey", value=0.0), Deed(at_s=12.0, word="load", value=5.6),
    )  # fmt: skip
    noise = tuple(Deed(at_s=1.0 + 0.1 * k, word="ambient", value=25.0) for k in range(12))
    full = msgspec.structs.replace(
        story, deeds=in_order((*noise, *wanted)), soc_frac=0.5, temperature_degc=25.0
    )
    silent = "id == DIAG_CURRENT_DISCHARGE_HIGH || id == DIAG_DISCHARGE_LIMIT_IGNORED"
    patch = (
        "--- a/ext/firmware/diag.c\n+++ b/ext/firmware/diag.c\n@@ -1,2 +1,3 @@\n"
        " void diag_judge(bms_t *self, uint32_t id, uint32_t tier, int32_t value, int32_t place)\n"
        f" {{\n+    if ({silent} || id == DIAG_CURRENT_COMPARATOR) return;\n"
    )
    with TemporaryDirectory() as folder:
        file = Path(folder) / "blind.diff"
        file.write_text(patch)
        library = mutant.build(file, Path(folder))
        first = play(full, firmware=library).violations[0]
        keep, until_s, _ = minimise(full, first.id, first.time_s, firmware=library)
        words = [full.deeds[k].word for k in keep]
        assert first.id == "S3" and "ambient" not in words and len(keep) <= 3
        assert play(kept(full, keep, until_s), firmware=library).broken[0] == "S3"


def test_outcomes_add_up_in_whatever_order_they_come() -> None:
    rows = [run.carry_out(task) for task in run.tasks(0.01, 3, 40)]
    there, back = run.gather(rows), run.gather(reversed(rows))
    assert msgspec.structs.replace(there, cpu_hours=0.0) == msgspec.structs.replace(
        back, cpu_hours=0.0
    )
    table = coverage.table(coverage.plain(there))
    assert all(f"| {fault.id} |" in table for fault in faults.drawn()) and " - " in table


def test_the_command_prints_what_it_promises(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["fuzz", "--seeds", "2", "--seconds", "15", "--seed", "5", "--json"])
    told = json.loads(capsys.readouterr().out)
    keys = {"simulated_hours", "cpu_hours", "hours_per_cpu_hour", "seeds", "violations",
            "false_trips", "masked_hours", "failing_seeds"}  # fmt: skip
    assert keys <= told.keys() and told["seeds"] == 2
    assert code == (1 if told["violations"] else 0)
    assert 2 * 15 <= 3600 * told["simulated_hours"] <= 2 * (15 + LIVENESS_S)


def test_a_replay_tells_the_same_hash_with_and_without_its_story(
    capsys: pytest.CaptureFixture[str],
) -> None:
    main(["fuzz", "--replay", "0x9", "--seconds", "20"])
    short = capsys.readouterr().out.splitlines()[-1]
    main(["fuzz", "--replay", "0x9", "--seconds", "20", "--explain"])
    told = capsys.readouterr().out.splitlines()
    assert told[-1] == short and short.startswith("trace ")
    assert any(" operator " in line for line in told) and any(" state " in line for line in told)


@pytest.mark.parametrize(
    "words",
    [["--faults", "CEL-99"], ["--pack", "none_such"], ["--replay", "1", "--keep", "a,b"],
     ["--mutant", "none.diff"], ["--seeds", "1", "--scheduler", "tcp://127.0.0.1:1"]],
)  # fmt: skip
def test_bad_input_is_one_sentence_and_code_2(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fuzz", *words]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_stop_loses_no_bug_that_was_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second hunt is ended by SIGTERM: the first is on stderr at once and in the object."""
    import os
    import signal

    from bms.campaign import hunt

    def hunted(patch: object, **_: object) -> hunt.Find:
        name = getattr(patch, "stem", "")
        if name != "canary":
            os.kill(os.getpid(), signal.SIGTERM)
        return hunt.Find(name=name, found=True, seeds=1, cpu_s=0.5, rule="S7", seed=3, seconds=9.0)

    monkeypatch.setattr(hunt, "hunt", hunted)
    before = signal.getsignal(signal.SIGTERM)
    assert main(["fuzz", "--planted", "--json"]) == 1
    told = capsys.readouterr()
    assert [row["name"] for row in json.loads(told.out)["planted"]] == ["canary"]
    assert told.err.startswith("canary ") and "were not hunted" in told.err
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize(("masked_h", "code"), [(9.9, 0), (10.1, 1)])
def test_a_campaign_that_masks_a_tenth_of_its_faults_fails(
    masked_h: float, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = run.gather([])
    whole = msgspec.structs.replace(
        empty, seeds=100, fault_hours=100.0, masked_hours={"E1": masked_h}
    )
    monkeypatch.setattr(run, "outcomes", lambda *_, **__: [])
    monkeypatch.setattr(run, "gather", lambda found: whole if list(found) == [] else empty)
    assert main(["fuzz", "--seeds", "100", "--seconds", "1", "--json"]) == code
    assert len(json.loads(capsys.readouterr().out)["complaints"]) == code


def test_coverage_adds_up_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "reached.json"
    command = ["fuzz", "--seeds", "1", "--seconds", "20", "--seed", "11", "--coverage", str(file)]
    for _ in range(2):
        main([*command, "--json"])
    twice = json.loads(file.read_text())
    file.unlink()
    main([*command, "--json"])
    once = json.loads(file.read_text())
    assert twice["seeds"] == 2 and once["seeds"] == 1
    assert twice["coverage"] == {key: 2 * count for key, count in once["coverage"].items()}
    file.write_text("[]")
    assert main([*command, "--json"]) == 2


def test_drills_come_once_each_and_the_first_have_something_of_everything() -> None:
    places = drill.in_turn()
    assert sorted(places) == list(range(drill.count()))
    words = {deed.word for k in places[:300] for deed in write(DRILLS + k).deeds}
    assert {"tester", "silent", "key", "service", "fault", "obey"} <= words


def test_most_stories_have_neither_naps_nor_testers() -> None:
    """So seeds that once found something keep their stories."""
    words = [
        {deed.word for deed in write(seed, 400.0).deeds} & {"silent", "tester"}
        for seed in range(80)
    ]
    assert not any(words[seed] for seed in range(80) if seed % 4 != 1)
    assert set().union(*words) == {"silent", "tester"}


def test_a_reset_drill_begins_on_a_log_that_is_about_to_turn_over() -> None:
    rows, own = faults.drawn(), len(drill.ALONE) * len(drill.PACKS)
    at = drill.MORE.index("reset") * len(rows) + [row.id for row in rows].index("CON-14")
    story = write(DRILLS + drill._first() + own + at)
    assert story.memory_is_used
    before, seen = used_memory(), []
    outcome = play(story, look=lambda s: seen.append(s.simulation.world.parts["loop"]["nvm"]))
    after = bytes(seen[-1])
    assert not outcome.violations
    assert after[:PAGE_BYTES] != before[:PAGE_BYTES], "the ring did not begin anew"
    count, was = (int.from_bytes(x[:4], "little") for x in (after, before))
    assert count < 100 < was, "nor did the count of pages"
