"""A story carried out under the oracle.

    outcome = play(write(seed=7))
    outcome.violations      what was broken, the earliest first

The safety phase is the story's; then every fault is over, the operator clears, and within a bound
the pack must be usable again (judge.py).
"""

from __future__ import annotations

import struct
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np

from bms import _loop, faults, spec
from bms.campaign import judge, tester
from bms.campaign.story import Deed, Story, made_of
from bms.errors import BmsError
from bms.invariants import NEVER_MASKED, WATCHED, Violation, Watch
from bms.model import Frozen
from bms.recorder import Event
from bms.rng import Stream
from bms.sim import KINDS, Simulation

AT_ONCE_MS, LOOK_MS = 20_000, 10
SETTLE_S, FOR_EVER_S = 1.0, 1e6
ESTIMATE_S = 1e6  # an estimate that was misled is not judged again in the run
WALK_STEP_S = 0.25
WALK_STEPS = 400
PAGE_BYTES, RINGS, OTHER_RECORD = 64, (128, 256), 0xFE
OUTCOMES = ("nothing", "told", "derated", "tripped", "reset")


class Outcome(Frozen, frozen=True):
    """What became of a story. Hours are simulated; `coverage` counts fault, state, outcome;
    `reactions`: "0 SEN-03" -> milliseconds to the first of its diagnoses, -1 none; `strange`: what
    tripped meanwhile although no fault that acts may raise it."""

    seed: int
    violations: tuple[Violation, ...]
    simulated_s: float
    cpu_s: float
    fault_s: float
    masked_s: dict[str, float]
    recovering_s: dict[str, float]
    soc_checked: int
    soc_inside: int
    trace_hash: str
    truth_hash: str
    coverage: dict[str, int]
    trips: int
    reactions: dict[str, float]
    strange: tuple[str, ...] = ()
    bled_j: float = 0.0  # by balancing
    closed_s: float = 0.0  # ready to drive or charge in the safety phase
    events: tuple[Event, ...] = ()

    @property
    def broken(self) -> tuple[str, ...]:
        """Ids of the rules, the earliest first."""
        return tuple(row.id for row in self.violations)


@dataclass
class Acting:
    """A fault under way: until when it acts and until when it masks."""

    deed: Deed
    handle: int
    state: int
    until_s: float
    masks: tuple[tuple[str, float, float], ...]  # rule, until, factor


@dataclass
class Stage:
    """A simulation, its oracle, and what acts in it."""

    simulation: Simulation
    watch: Watch
    story: Story
    key: bytes  # of who may ask
    acting: list[Acting] = field(default_factory=list)
    ended: list[Acting] = field(default_factory=list)
    obeys: bool = True
    disobeyed_s: float = -1e9
    look: Callable[[Stage], None] | None = None  # called every 10 ms, changes nothing

    @property
    def time_s(self) -> float:
        """Simulated."""
        return self.simulation.time_s

    @property
    def vehicle(self) -> Mapping[str, np.ndarray]:
        """Fields of the vehicle."""
        return self.simulation.world.parts["vehicle"]

    def run_to(self, at_s: float) -> None:
        """Let time pass, masks coming and going on the way."""
        while (left_s := at_s - self.time_s) > 5e-4:
            until_s = min([at_s, *self._changes()])
            most = AT_ONCE_MS if self.look is None else LOOK_MS
            step = min(most, max(1, round(min(left_s, until_s - self.time_s) * 1e3)))
            _, why = self.simulation.world.run(step)
            self.simulation._collect(None)
            if self.look:
                self.look(self)
            if why == _loop.DONE:
                self.mask()

    def _changes(self) -> list[float]:
        now = self.time_s + 5e-4
        times = [row.until_s for row in self.acting]
        times += [until for row in (*self.acting, *self.ended) for _, until, _ in row.masks]
        return [t for t in times if t > now]

    def mask(self) -> None:
        """Tell the oracle what acts now."""
        now = self.time_s
        for row in [row for row in self.acting if row.until_s <= now + 5e-4]:
            self.acting.remove(row)
            self.ended.append(row)
        wider: dict[str, float] = {}
        whole: dict[bool, set[str]] = {True: set(), False: set()}  # acting, over
        for acts, rows in ((True, self.acting), (False, self.ended)):
            for id, until_s, factor in (mask for row in rows for mask in row.masks):
                if until_s <= now + 5e-4:
                    continue
                if factor > 0.0:
                    wider[id] = wider.get(id, 0.0) + factor  # errors of one reading add up
                else:
                    whole[acts].add(id)
        self.watch.mask(tuple(whole[True]), wider, tuple(whole[False]))
        loose = not self.obeys or now - self.disobeyed_s < SETTLE_S
        self.watch.fields["faults_active"][0] = len(self.acting) + loose


def play(
    story: Story,
    *,
    firmware: str | Path | None = None,
    events: bool = False,
    look: Callable[[Stage], None] | None = None,
    world: Callable[[Stage], None] | None = None,
) -> Outcome:
    """Carry a story out. firmware: a shared library in place of ours. events: keep them. look: is
    called every 10 ms with the stage; world: once, before anything happens.

    The same story and firmware give the same outcome on every machine, its cpu_s excepted."""
    started = time.process_time()
    stage = begin(story, firmware)
    stage.look = look
    if world:
        world(stage)
    for deed in story.deeds:
        stage.run_to(min(deed.at_s, story.duration_s))
        do(stage, deed)
    stage.run_to(story.duration_s)
    closed_s = _closed_s(stage)
    later = judge.liveness(stage)
    outcome = _outcome(stage, later, time.process_time() - started, events)
    return msgspec.structs.replace(outcome, closed_s=closed_s)


def _closed_s(stage: Stage) -> float:
    states = stage.watch.fields["state_ms"]
    return 1e-3 * float(sum(int(states[spec.state_number(name)]) for name in judge.NORMAL))


def begin(story: Story, firmware: str | Path | None = None) -> Stage:
    """The world of a story, started, its oracle looking on."""
    cell, pack = made_of(story)
    simulation = Simulation("drive", pack=pack, cell=cell, seed=story.seed, firmware=firmware,
                            settings={"start.soc_frac": repr(story.soc_frac),
                                      "start.temperature_degc": repr(story.temperature_degc),
                                      "start.ambient_degc": repr(story.ambient_degc)})  # fmt: skip
    parts = simulation.world.parts
    parts["loop"]["start_us"][0] = story.start_us
    parts["loop"]["boot_ms"][0] = story.boot_ms
    _spread(parts["plant"], story)
    if story.memory_is_used:
        parts["loop"]["nvm"][:] = np.frombuffer(used_memory(), np.uint8)
    simulation.world.start()
    parts["loop"]["booting_ms"][0] = story.phase_ms
    parts["vehicle"]["obeys_limits"][0] = 1
    watch = Watch(cell, pack)
    simulation.watch(watch)
    key = parts["vehicle"]["request_key"].tobytes()
    return Stage(simulation, watch, story, key)


def used_memory() -> bytes:
    """Non-volatile memory full of pages that another firmware wrote (ext/firmware/journal.h), the
    last four of the ring still to come, the count of pages about to pass its wrap. Small packs use
    the first 128 pages, others all."""
    coming = [*range(RINGS[0] - 4, RINGS[0]), *range(RINGS[1] - 4, RINGS[1])]
    order = [*coming, *(k for k in range(RINGS[1]) if k not in coming)]
    first = 2**32 - len(coming) - RINGS[0]
    pages = {}
    for k, place in enumerate(order):
        sequence = struct.pack("<I", (first + k) % 2**32)
        body = bytes((OTHER_RECORD, 0, 1, 0)).ljust(PAGE_BYTES - 8, b"\0")
        pages[place] = sequence + struct.pack("<I", zlib.crc32(body + sequence)) + body
    return b"".join(pages[k] for k in range(RINGS[1]))


def _spread(plant: Mapping[str, np.ndarray], story: Story) -> None:
    """Blocks that stand at different charge, up to the spread above what they would have."""
    if story.spread_frac == 0.0:
        return
    s = Stream(story.seed, "fuzz.spread")
    topology = made_of(story)[1].topology
    for block in range(topology.blocks):
        first = block * topology.parallel
        plant["cell_soc_frac"][first : first + topology.parallel] += story.spread_frac * s.unit()


def do(stage: Stage, deed: Deed) -> None:
    """One deed, now."""
    vehicle, parts = stage.vehicle, stage.simulation.world.parts
    value = 0.0 if deed.value is None else deed.value
    match deed.word:
        case "request":
            vehicle["request"][0] = int(value)
        case "load" | "drive":
            vehicle["kind"][0] = KINDS["current"]
            walks = deed.word == "drive"
            _profile(stage, _walk(stage, deed) if walks else [value * _rated_a(stage)])
        case "charge":
            vehicle["kind"][0] = KINDS["charge"]
            vehicle["charge_current_a"][0] = value * _rated_a(stage)
            limit = stage.simulation.cell.limits.voltage_max_v
            cell_v = limit[0] if stage.obeys else limit[2] + 0.2
            vehicle["charge_voltage_v"][0] = cell_v * stage.simulation.pack.topology.blocks
        case "rest":
            vehicle["kind"][0] = KINDS["rest"]
        case "obey":
            stage.obeys = value != 0.0
            stage.disobeyed_s = stage.time_s
            vehicle["obeys_limits"][0] = int(value)
            stage.mask()
        case "clear" | "service":
            vehicle["clear_request"][0] = int(value)
            vehicle["service"][0] = int(value) if deed.word == "service" else 0
        case "ignition":
            parts["loop"]["ignition"][0] = int(value)
        case "silent":
            vehicle["is_silent"][0] = int(value)
        case "tester":
            tester.visit(stage, genuine=value != 0.0)
        case "key":
            give_key(stage, genuine=value == 0.0)
        case "ambient":
            parts["plant"]["ambient_degc"][0] = value
        case "fault":
            _inject(stage, deed)


def give_key(stage: Stage, *, genuine: bool) -> None:
    """To who asks from now on; the oracle knows whether it is the vehicle."""
    key = np.frombuffer(stage.key, dtype=np.uint8)
    stage.vehicle["request_key"][:] = key if genuine else key ^ np.uint8(1)
    stage.watch.fields["stranger"][0] = not genuine


def _inject(stage: Stage, deed: Deed) -> None:
    fault = faults.fault(deed.id)
    clock = judge.moves_the_clock(deed.id)
    try:
        handle = stage.simulation.inject(
            deed.id, index=deed.index, value=deed.value, ramp_s=0.0 if clock else deed.ramp_s,
            for_s=FOR_EVER_S if clock else deed.for_s,
        )  # fmt: skip
    except BmsError:
        return  # the table is full: one fault less
    until_s = stage.time_s + deed.for_s
    masks = tuple(
        (id, _masked_until(stage.time_s, until_s, id, mask), mask.factor)
        for mask in fault.masks
        for id in family(mask.invariant)
    )
    state = int(stage.watch.fields["state"][0])
    stage.acting.append(Acting(deed, handle, state, until_s, masks))
    stage.mask()


def _masked_until(begun_s: float, until_s: float, id: str, mask: faults.Mask) -> float:
    if mask.within_s:
        return begun_s + mask.within_s
    return until_s + (ESTIMATE_S if id in ("E1", "E3") else mask.after_s)


def family(name: str) -> tuple[str, ...]:
    """Rules that a mask names: one, or all of a letter. Whoever cannot know the state of charge
    (E1) corrects it in a jump when he can (E3)."""
    if name == "E1":
        return ("E1", "E3")
    found = tuple(id for id in WATCHED if id == name or (len(name) == 1 and id.startswith(name)))
    return tuple(id for id in found if id not in NEVER_MASKED)


def _rated_a(stage: Stage) -> float:
    return stage.simulation.cell.electric.capacity_ah * stage.simulation.pack.topology.parallel


def _walk(stage: Stage, deed: Deed) -> list[float]:
    """Currents of a drive: held for a quarter of a second each, mostly out, sometimes in."""
    s = Stream(stage.story.seed, f"fuzz.drive.{deed.index}")
    most = _rated_a(stage) * (deed.value or 0.0)
    amps = 0.0
    out: list[float] = []
    while len(out) < WALK_STEPS:
        amps = most * (1.4 * s.unit() - 0.4)
        out += [amps] * (1 + s.below(12))
    return out[:WALK_STEPS]


def _profile(stage: Stage, amps: list[float]) -> None:
    loop = stage.simulation.world.parts["loop"]
    loop["profile_index"][0] = 0
    loop["profile_from_us"][0] = loop["elapsed_us"][0]
    loop["profile_step_us"][0] = round(WALK_STEP_S * 1e6)
    stage.simulation.world.set_profile(np.array(amps))


# ---- what is left ----


def _outcome(stage: Stage, later: tuple[Violation, ...], cpu_s: float, keep: bool) -> Outcome:
    simulation, fields = stage.simulation, stage.watch.fields
    found = sorted((*stage.watch.found(), *later), key=lambda row: row.time_s)
    return Outcome(
        seed=stage.story.seed,
        violations=tuple(found),
        simulated_s=simulation.time_s,
        cpu_s=cpu_s,
        fault_s=int(fields["fault_ms"][0]) * 1e-3,
        masked_s={id: s for id, s in stage.watch.masked_s().items() if s},
        recovering_s={id: s for id, s in stage.watch.masked_s(recovering=True).items() if s},
        soc_checked=int(fields["soc_checked"][0]),
        soc_inside=int(fields["soc_inside"][0]),
        trace_hash=f"{int(simulation.world.parts['loop']['trace_hash'][0]):016x}",
        truth_hash=f"{simulation.world.truth_hash_now():016x}",
        coverage=_coverage(stage),
        trips=int(simulation.world.parts["loop"]["trips"][0]),
        reactions=_reactions(stage),
        strange=_strange(stage),
        bled_j=float(simulation.world.parts["plant"]["energy_bled_j"][0]),
        events=tuple(simulation.events) if keep else (),
    )


def _reactions(stage: Stage) -> dict[str, float]:
    found: dict[str, float] = {}
    rows = sorted((*stage.ended, *stage.acting), key=lambda row: row.deed.at_s)
    for k, row in enumerate(rows):
        names = faults.fault(row.deed.id).diagnoses
        from_ns, to_ns = round(row.deed.at_s * 1e9), round((row.until_s + 5.0) * 1e9)
        times = [
            event.t_ns - from_ns
            for event in stage.simulation.events
            if event.kind == "diagnosis" and event.name in names
            and event.text.endswith("raised") and from_ns <= event.t_ns <= to_ns
        ]  # fmt: skip
        found[f"{k} {row.deed.id}"] = min(times) * 1e-6 if times else -1.0
    return found


def _strange(stage: Stage) -> tuple[str, ...]:
    rows = [(row, faults.fault(row.deed.id)) for row in (*stage.ended, *stage.acting)]
    if not rows:
        return ()
    known = {name for _, one in rows for name in (*one.diagnoses, *one.allowed)}
    from_ns = min(row.deed.at_s for row, _ in rows) * 1e9
    to_ns = max(row.until_s + 5.0 for row, _ in rows) * 1e9
    found = {
        event.name
        for event in stage.simulation.events
        if event.kind == "diagnosis" and event.text == "trip raised"
        and from_ns <= event.t_ns <= to_ns
    }  # fmt: skip
    return tuple(sorted(found - known))


def _coverage(stage: Stage) -> dict[str, int]:
    """ "SEN-03 normal_drive tripped" -> times."""
    counts: dict[str, int] = {}
    events = stage.simulation.events
    for row in (*stage.ended, *stage.acting):
        from_ns, to_ns = row.deed.at_s * 1e9, (row.until_s + 2.0) * 1e9
        worst = 0
        for event in events:
            if from_ns <= event.t_ns <= to_ns:
                worst = max(worst, _weight(event))
        state = spec.state_name(row.state) if row.state != 255 else "init"
        key = f"{row.deed.id} {state} {OUTCOMES[worst]}"
        counts[key] = counts.get(key, 0) + 1
    return counts


def _weight(event: Event) -> int:
    if event.kind == "reset":
        return 4
    if event.kind == "state":
        return 3 if event.name in ("error", "latched") else 0
    if event.kind == "diagnosis" and event.text.endswith("raised"):
        return {"operate": 2, "warn": 1, "trip": 3}.get(event.text.split()[0], 1)
    return 0
