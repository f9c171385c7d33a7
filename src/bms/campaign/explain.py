"""A run as a timeline: what was done to the world, what was true, what the BMS said and did."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bms import faults
from bms.campaign.play import Outcome, Stage, play
from bms.campaign.story import Deed, Story
from bms.invariants import Violation, find

CROSSINGS = (
    ("beyond", 1, "a block voltage is beyond trip"),
    ("beyond", 2, "a temperature is beyond trip"),
    ("beyond", 4, "the current is beyond trip"),
    ("beyond", 8, "a stack pressure is beyond trip"),
)
REQUESTS = ("standby", "drive", "charge")
Line = tuple[float, str, str]


def told(story: Story, *, firmware: str | Path | None = None) -> tuple[Outcome, list[Line]]:
    """The story played, and its lines (time_s, kind, text) in order."""
    crossed: list[Line] = []
    was = 0

    def look(stage: Stage) -> None:
        nonlocal was
        now = int(stage.watch.fields["beyond"][0])
        for _, bit, text in CROSSINGS:
            if (now ^ was) & bit:
                crossed.append((stage.time_s, "truth", text if now & bit else f"no longer: {text}"))
        was = now

    outcome = play(story, firmware=firmware, events=True, look=look)
    lines = [*_done(story), *crossed, *_said(outcome), *map(_broken, outcome.violations)]
    return outcome, sorted(lines, key=lambda line: line[0])


def _done(story: Story) -> Iterator[Line]:
    yield (
        0.0,
        "start",
        (
            f"{story.pack} as {story.blocks} blocks of {story.blocks_per_module}, SoC"
            f" {story.soc_frac:.3f}, {story.temperature_degc:.1f} degC, clock {story.start_us} us"
        ),
    )
    for deed in story.deeds:
        yield deed.at_s, "fault" if deed.word == "fault" else "operator", _words(deed)
    yield story.duration_s, "operator", "faults over, clear, drive"


def _words(deed: Deed) -> str:
    if deed.word == "fault":
        fault = faults.fault(deed.id)
        value = fault.value if deed.value is None else deed.value
        ramp = f" over {deed.ramp_s:g} s" if deed.ramp_s else ""
        return (
            f"{deed.id} {fault.title}: {fault.target} {deed.index}, {value:g} {fault.unit}{ramp},"
            f" for {deed.for_s:g} s"
        )
    if deed.word == "request":
        return f"asks for {REQUESTS[int(deed.value or 0)]}"
    if deed.word in ("load", "drive", "charge"):
        return f"{deed.word} at {deed.value or 0.0:.2f} C"
    return f"{deed.word} {deed.value:g}" if deed.value is not None else deed.word


def _said(outcome: Outcome) -> Iterator[Line]:
    for event in outcome.events:
        if event.kind in ("phase", "act", "fault"):
            continue
        place = f" [{event.index}]" if event.index >= 0 else ""
        yield event.t_ns * 1e-9, event.kind, f"{event.name}{place} {event.text}".strip()


def _broken(row: Violation) -> Line:
    try:
        text = find(row.id).text
    except StopIteration:
        text = ""
    return row.time_s, "BROKEN", f"{row.id}: {text} (saw {row.value:g}, at {row.place})"
