"""What happens in a run, as data: pack, start, what the operator does, which faults act.

`write(seed)` draws a story from named random streams, so that one more draw in one of them moves no
other. Faults are drawn by swarm selection: each seed turns most of the catalogue off and gives what
is left wildly different weights, because a fault that never meets another hides bugs, and so does
one that always does.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Literal

import msgspec

from bms import cells, faults, packs
from bms.errors import ConfigError
from bms.faults import Fault
from bms.firmware import config as firmware_config
from bms.model import Cell, Frozen, Pack, Topology
from bms.rng import Stream, exact_log

PACKS = ("car_96s1p", "car_96s3p", "bench_16s1p", "home_16s", "bench_12s1p_anode_free")
"""What topologies are drawn from; the cells come with them."""
BLOCKS_MAX = 112
LIVENESS_S = 70.0
"""Longest end of a run, in which faults are over and the operator clears."""
DRILLS = 2**62
"""Seeds from here on are those of drills (drill.py)."""
OFTEN = 4  # every fourth story may have naps and visits
NAPS_FRAC, NAP_S = 0.6, 75.0  # of these have a nap; the control unit sleeps after a minute
VISITS_FRAC = 0.6
SECOND_US = 1_000_000
WRAPS_US = (2**31, 2**32, 2**31 * 1000, 2**32 * 1000, 2**53, 2**61)
"""Where counters of microseconds and milliseconds turn over, or doubles lose them."""

Word = Literal[
    "request", "load", "drive", "charge", "rest", "obey", "clear", "service", "ignition",
    "ambient", "fault", "key", "silent", "tester",
]  # fmt: skip


class Deed(Frozen, frozen=True):
    """One thing done at a time.

    request: value 0 standby, 1 drive, 2 charge. load: constant current of value times the rated
    capacity an hour, + discharges. drive: a random walk of currents up to value, from the stream
    `index`. charge: a charger of value times capacity. rest: no load. obey: whether load and
    charger keep to the advertised limits. clear, service: the operator's buttons. ignition.
    ambient: degC. silent: 1 the vehicle's bus sleeps. tester: tries the contactors over the bus, 1
    with the key of the workshop, 0 without. key: 1 somebody without the key asks, 0 the vehicle.
    fault: `id` of the catalogue at `index` with `value` (None: the catalogue's), for `for_s`
    seconds, reached over `ramp_s`.
    """

    at_s: float
    word: Word
    value: float | None = None
    id: str = ""
    index: int = 0
    for_s: float = 0.0
    ramp_s: float = 0.0


class Story(Frozen, frozen=True):
    """Everything a run depends on, beside the code."""

    seed: int
    pack: str
    blocks: int
    blocks_per_module: int
    soc_frac: float
    temperature_degc: float
    ambient_degc: float
    start_us: int  # of the ECU's clock
    boot_ms: int  # of a reset
    phase_ms: int  # the ECU starts so much after sensors and chips
    duration_s: float  # of the safety phase
    deeds: tuple[Deed, ...]
    spread_frac: float = 0.0  # of SoC between the blocks at the start
    memory_is_used: bool = False  # its log is about to begin again at the first page


def write(
    seed: int, duration_s: float = 600.0, *, pack: str = "", only: Sequence[str] = ()
) -> Story:
    """The story of a seed. pack: a name, drawn when empty. only: faults to choose from, all of the
    catalogue that act when empty. Of a seed from DRILLS on the drill, whatever else is asked."""
    if seed >= DRILLS:
        from bms.campaign import drill

        return drill.story(seed)
    shape, clock = Stream(seed, "fuzz.shape"), Stream(seed, "fuzz.clock")
    name = pack or PACKS[shape.below(len(PACKS))]
    made = _pack(name).topology
    blocks, per_module = (
        (made.blocks, made.blocks_per_module)
        if pack or shape.unit() < 0.4
        else _topology(shape, made)
    )
    low, high = _temperatures(_cell(name))
    warm = shape.unit() < 0.6
    degc = 25.0 if warm else low + (high - low) * shape.unit()
    operator = _operator(seed, duration_s)
    shaped = Story(
        seed=seed, pack=name, blocks=blocks, blocks_per_module=per_module,
        soc_frac=_soc(shape), temperature_degc=degc,
        ambient_degc=25.0 if warm else min(45.0, max(-30.0, degc + 10.0 * shape.unit() - 5.0)),
        start_us=_start_us(clock, duration_s),
        boot_ms=1 + clock.below(80), phase_ms=clock.below(40),
        duration_s=duration_s, deeds=(),
    )  # fmt: skip
    if not _is_taken(name, blocks, per_module):
        shaped = msgspec.structs.replace(
            shaped, blocks=made.blocks, blocks_per_module=made.blocks_per_module
        )
    wrong = _faults(seed, duration_s, made_of(shaped)[1], _cell(name), only)
    operator = [*_napping(seed, duration_s, operator), *_visited(seed, duration_s)]
    return msgspec.structs.replace(shaped, deeds=in_order((*operator, *wrong)))


@cache
def _is_taken(name: str, blocks: int, per_module: int) -> bool:
    """Whether the firmware takes a pack of that shape: not every reaction is in time on every."""
    probe = drawn(
        0, pack=name, soc_frac=0.5, degc=25.0, duration_s=1.0, deeds=(), boot_ms=1, phase_ms=0
    )
    shaped = msgspec.structs.replace(probe, blocks=blocks, blocks_per_module=per_module)
    try:
        firmware_config.build(*made_of(shaped))
    except ConfigError:
        return False
    return True


def drawn(
    seed: int, *, pack: str, soc_frac: float, degc: float, duration_s: float, deeds: Sequence[Deed],
    boot_ms: int, phase_ms: int, spread_frac: float = 0.0,
) -> Story:  # fmt: skip
    """A story with what a drill does not choose: the pack as it is, the clock near a wrap in half
    of the seeds."""
    made = _pack(pack).topology
    return Story(
        seed=seed, pack=pack, blocks=made.blocks, blocks_per_module=made.blocks_per_module,
        soc_frac=soc_frac, temperature_degc=degc, ambient_degc=degc,
        start_us=_start_us(Stream(seed, "fuzz.clock"), duration_s),
        boot_ms=boot_ms, phase_ms=phase_ms, duration_s=duration_s, deeds=tuple(deeds),
        spread_frac=spread_frac,
    )  # fmt: skip


def in_order(deeds: Sequence[Deed]) -> tuple[Deed, ...]:
    """By time; those of one instant stay as they are."""
    return tuple(sorted(deeds, key=lambda deed: deed.at_s))


def made_of(story: Story) -> tuple[Cell, Pack]:
    """Cell and pack of a story. ConfigError for one that cannot be built."""
    base = _pack(story.pack)
    made = base.topology
    if (story.blocks, story.blocks_per_module) == (made.blocks, made.blocks_per_module):
        return _cell(story.pack), base
    topology = Topology(
        blocks=story.blocks, parallel=made.parallel, blocks_per_module=story.blocks_per_module
    )
    places = base.sensors.temperature_blocks
    last = story.blocks_per_module - 1
    inside = sorted({round(p * last / max(max(places), 1)) for p in places})
    sensors = msgspec.structs.replace(base.sensors, temperature_blocks=tuple(inside[:6]))
    pack = msgspec.structs.replace(
        base, topology=topology, sensors=sensors, name=f"{base.name} as {story.blocks}s"
    )
    packs.check(pack, _cell(story.pack))
    return _cell(story.pack), pack


@cache
def _pack(name: str) -> Pack:
    return packs.load(name)


@cache
def _cell(name: str) -> Cell:
    return cells.load(_pack(name).cell)


# ---- start ----


def _topology(stream: Stream, made: Topology) -> tuple[int, int]:
    per_module = 6 + stream.below(11)
    most = max(1, min(32, BLOCKS_MAX // per_module, 2 * made.blocks // per_module))
    return per_module * (1 + stream.below(most)), per_module


def _soc(stream: Stream) -> float:
    """Near an end in half of the seeds: there the limits are."""
    x = stream.unit()
    kind = stream.below(4)
    return (0.02 + 0.1 * x, 0.88 + 0.115 * x, 0.1 + 0.8 * x, 0.3 + 0.4 * x)[kind]


def _temperatures(cell: Cell) -> tuple[float, float]:
    limits = cell.limits
    low = min(limits.temperature_min_charge_degc[2], limits.temperature_min_discharge_degc[2])
    high = max(limits.temperature_max_charge_degc[2], limits.temperature_max_discharge_degc[2])
    return low - 3.0, high + 2.0


def _start_us(stream: Stream, duration_s: float) -> int:
    """Near the wrap of a counter in half of the seeds."""
    if stream.unit() < 0.5:
        return SECOND_US
    wrap = WRAPS_US[stream.below(len(WRAPS_US))]
    before = int(stream.unit() * min(duration_s, 120.0) * SECOND_US)
    return max(SECOND_US, wrap - before) // 1000 * 1000


# ---- operator ----


def _exponential(stream: Stream, mean: float) -> float:
    return -mean * exact_log(stream.unit())


def _operator(seed: int, duration_s: float) -> list[Deed]:
    """A driver who drives, charges, parks, changes his mind, and sometimes clears."""
    s = Stream(seed, "fuzz.operator")
    haste = (4.0, 12.0, 40.0)[s.below(3)]
    manner = [s.unit() ** 2 for _ in range(6)]  # how much of each he does
    deeds: list[Deed] = [Deed(at_s=0.0, word="obey", value=1.0)]
    at_s = 2.0 + 6.0 * s.unit()
    turn = 0
    while at_s < duration_s - 2.0:
        turn += 1
        deeds += _turn(s, at_s, _weighted(s, manner), turn)
        at_s += max(0.15, _exponential(s, haste))
    return deeds


def _napping(seed: int, duration_s: float, operator: list[Deed]) -> list[Deed]:
    """In some stories the vehicle is left alone until the control unit sleeps, once or twice."""
    s = Stream(seed, "fuzz.nap")
    if seed % OFTEN != 1 or s.unit() > NAPS_FRAC or duration_s < 2.0 * NAP_S:
        return operator
    for _ in range(1 + s.below(2)):
        from_s = round((duration_s - 2.0 * NAP_S) * s.unit(), 3)
        until_s = round(from_s + NAP_S * (0.95 + 0.7 * s.unit()), 3)
        ignition = float(s.below(2))  # or by the bus alone
        operator = [deed for deed in operator if not from_s <= deed.at_s <= until_s]
        operator += parked(from_s, until_s, ignition)
    return operator


def parked(from_s: float, until_s: float, ignition: float = 1.0) -> tuple[Deed, ...]:
    """Left alone for so long, then called by the ignition or by the bus alone, and driven."""
    words: tuple[tuple[Word, float], ...] = (("silent", 1.0), ("ignition", 0.0))
    back: tuple[tuple[Word, float], ...] = (("silent", 0.0), ("ignition", ignition))
    return (
        Deed(at_s=from_s, word="rest"), Deed(at_s=from_s, word="request", value=0.0),
        *(Deed(at_s=round(from_s + 1.5, 3), word=word, value=value) for word, value in words),
        *(Deed(at_s=until_s, word=word, value=value) for word, value in back),
        Deed(at_s=round(until_s + 4.0, 3), word="ignition", value=1.0),
        Deed(at_s=round(until_s + 4.0, 3), word="request", value=1.0),
    )  # fmt: skip


def _visited(seed: int, duration_s: float) -> list[Deed]:
    """In some stories a workshop's tester tries the contactors, or somebody who has no key."""
    s = Stream(seed, "fuzz.tester")
    if seed % OFTEN != 1 or s.unit() > VISITS_FRAC or duration_s < 20.0:
        return []
    deeds: list[Deed] = []
    for _ in range(1 + s.below(4)):
        at_s, genuine = round(4.0 + (duration_s - 12.0) * s.unit(), 3), s.unit() < 0.8
        if s.unit() < 0.8:  # in standby, where it is allowed
            deeds += [Deed(at_s=at_s, word="rest"), Deed(at_s=at_s, word="request", value=0.0)]
        deeds.append(Deed(at_s=round(at_s + 2.0, 3), word="tester", value=float(genuine)))
    return deeds


def _turn(s: Stream, at_s: float, kind: int, turn: int) -> list[Deed]:
    rate = 0.2 + 2.8 * s.unit()

    def deed(word: Word, value: float | None = None, after_s: float = 0.0, index: int = 0) -> Deed:
        return Deed(at_s=round(at_s + after_s, 3), word=word, value=value, index=index)

    pause = [deed("rest"), deed("request", 0.0)]
    match kind:
        case 0:
            return [deed("request", 1.0), deed("drive", rate, 0.0, turn)]
        case 1:
            return [deed("request", 2.0), deed("charge", rate)]
        case 2:
            return pause
        case 3:  # opens and closes again as fast as he can
            soon_s = 0.05 + 2.0 * s.unit()
            after = [deed("request", 1.0 + s.below(2), soon_s), deed("load", 0.3 * rate, soon_s)]
            return pause + after
        case 4:  # clears, waits a little, goes on
            button: Word = "service" if s.unit() < 0.5 else "clear"
            wait_s = 0.3 + 2.0 * s.unit()
            return [
                *pause, deed(button, 1.0, 0.1), deed(button, 0.0, 0.1 + wait_s),
                deed("request", 1.0 + s.below(2), 0.2 + wait_s), deed("load", 0.5, 0.2 + wait_s),
            ]  # fmt: skip
        case _:
            off_s = 0.3 + 5.0 * s.unit()
            back = [deed("ignition", 1.0, off_s), deed("request", 1.0, off_s)]
            return [*pause, deed("ignition", 0.0), *back]


def _weighted(stream: Stream, weights: Sequence[float]) -> int:
    left = stream.unit() * sum(weights)
    for k, weight in enumerate(weights):
        left -= weight
        if left < 0.0:
            return k
    return len(weights) - 1


# ---- faults ----


def _faults(
    seed: int, duration_s: float, pack: Pack, cell: Cell, only: Sequence[str]
) -> list[Deed]:
    s = Stream(seed, "fuzz.faults")
    able = _able(tuple(only))
    mood = s.unit()
    if mood < 0.08 and not only:
        return _disobedience(s, duration_s) if s.unit() < 0.3 else []
    share = 0.02 if mood < 0.5 else 0.3  # one kind again and again, or a crowd
    chosen = [fault for fault in able if s.unit() < share] or [able[s.below(len(able))]]
    weights = [_dose(fault) * s.unit() ** 3 for fault in chosen]
    mean_s = (15.0, 40.0, 120.0)[s.below(3)]
    deeds: list[Deed] = []
    at_s = 1.0 + _exponential(s, mean_s)
    while at_s < duration_s - 1.0:
        burst = 1 + (s.below(3) if s.unit() < 0.15 else 0)
        for _ in range(burst):
            deed = _fault(s, chosen[_weighted(s, weights)], round(at_s, 3), pack, cell)
            deeds += [deed] if deed else []
        at_s += max(0.5, _exponential(s, mean_s))
    if s.unit() < 0.25:
        deeds += _disobedience(s, duration_s)
    return deeds


def _dose(fault: Fault) -> float:
    """What hides a rule while it acts comes less often, so that every rule is looked at; what is
    told is looked at all the time."""
    hides = any(mask.invariant not in ("E5", "E6", "E7") for mask in fault.masks)
    return fault.weight * (0.25 if hides else 1.0)


def _disobedience(s: Stream, duration_s: float) -> list[Deed]:
    """A load or charger that keeps to no limit for a while."""
    at_s = round(duration_s * s.unit(), 3)
    until_s = round(at_s + _exponential(s, 20.0), 3)
    word: Word = "load" if s.unit() < 0.5 else "charge"
    return [
        Deed(at_s=at_s, word="obey", value=0.0),
        Deed(at_s=at_s, word=word, value=1.0 + 5.0 * s.unit()),
        Deed(at_s=until_s, word="obey", value=1.0), Deed(at_s=until_s, word="rest"),
    ]  # fmt: skip


@cache
def _able(only: tuple[str, ...]) -> tuple[Fault, ...]:
    rows = faults.drawn()
    return tuple(row for row in rows if not only or row.id in only)


def _fault(s: Stream, fault: Fault, at_s: float, pack: Pack, cell: Cell) -> Deed | None:
    """At a random place with a random value, for a time that is often short."""
    places = faults.count(fault, pack)
    index = (0, places - 1, s.below(places))[s.below(3)]
    x, own = s.unit(), s.unit() < 0.4
    value = None if own else fault.lowest + (fault.highest - fault.lowest) * x
    if value is not None and float(fault.value).is_integer() and float(fault.lowest).is_integer():
        value = float(round(value))
    for_s = (0.003, 0.08, 0.6, 4.0, 20.0, 60.0)[s.below(6)] * (0.5 + s.unit())
    if fault.duration_s > 0.0:  # one sample is one sample
        for_s = fault.duration_s
    ramp_s = 0.0 if s.unit() < 0.6 else for_s * s.unit()
    deed = Deed(
        at_s=at_s, word="fault", id=fault.id, index=index, value=value,
        for_s=round(for_s, 3), ramp_s=round(ramp_s, 3),
    )  # fmt: skip
    try:
        faults.moves(fault, pack, cell, index=index, value=value)
    except ConfigError:
        return None
    return deed
