"""Stories that are not left to chance: each fault of the catalogue alone, in each situation.

A drill has a seed like any story, from DRILLS on, so that one number replays it."""

from __future__ import annotations

from functools import cache
from math import gcd

import msgspec

from bms import faults
from bms.campaign.story import DRILLS, Deed, Story, drawn, in_order, made_of, parked
from bms.faults import Fault

SITUATIONS = ("drive", "charge", "before", "full", "empty", "parked", "start")
MORE = ("reset", "again", "clear", "slow", "service", "asleep")
"""Situations that came later; their drills stand behind the first ones."""
LIMITS = ("discharge", "charge", "cold", "hot", "quick", "uneven", "bare", "stranger")
AT_S = 12.0
SECONDS = 30.0
ALONE = (
    "on_bus",
    "nap",
    "bus_nap",
    "warm_out",
    "warm_in",
    "cool_out",
    "cool_in",
    "long",
    "long_in",
    "tester",
    "workshop",
    "warm_uneven",
    "lowest",
)
"""Drills without a fault that came later."""
LATEST = ("break_out", "break_in", "warm_rest", "slow_heat", "lower", "unfelt", "fell")
"""And still later, behind all others."""
PACKS = ("bench_16s1p", "car_96s3p", "home_16s", "car_96s1p")
SPREAD_FRAC = 0.06
CALM = 0.18  # of charge: too little for balancing
SOC = {"full": 0.965, "empty": 0.05}


@cache
def count() -> int:
    """How many drills there are."""
    return _latest() + len(LATEST) * len(PACKS)


@cache
def _latest() -> int:
    return _first() + len(ALONE) * len(PACKS) + len(faults.drawn()) * len(MORE)


@cache
def _first() -> int:
    return len(LIMITS) * len(PACKS) + len(faults.drawn()) * len(SITUATIONS)


@cache
def in_turn() -> tuple[int, ...]:
    """Places of all drills, so mixed that the first few hundred have something of everything: those
    without a fault, those of the memory with the reset that shows what it kept, each fault in the
    situation that its reaction is written for, then the others in steps of the golden section."""
    own = len(LIMITS) * len(PACKS)
    later = _first() + len(ALONE) * len(PACKS)
    resets = later + MORE.index("reset") * len(faults.drawn())
    kept = [resets + k for k, fault in enumerate(faults.drawn()) if _is_of_memory(fault)]
    plain = [k for k in range(own, _first()) if _is_plain(k - own)]
    alone = [*range(own), *range(_first(), later), *range(_latest(), count()), *kept, *plain]
    rest = sorted(set(range(count())) - set(alone))
    step = next(k for k in range(round(0.618 * len(rest)), len(rest)) if gcd(k, len(rest)) == 1)
    return (*alone, *(rest[k * step % len(rest)] for k in range(len(rest))))


def story(seed: int) -> Story:
    """The drill of a seed; beyond the last they begin again with other places and packs."""
    k, turn = (seed - DRILLS) % count(), (seed - DRILLS) // count()
    own = len(LIMITS) * len(PACKS)
    if k < own:
        return _limit(seed, LIMITS[k % len(LIMITS)], PACKS[(k // len(LIMITS) + turn) % len(PACKS)])
    if k >= _latest():
        k -= _latest()
        return _limit(seed, LATEST[k % len(LATEST)], PACKS[(k // len(LATEST) + turn) % len(PACKS)])
    rows = faults.drawn()
    pack = PACKS[(k + turn) % len(PACKS)]
    if k >= _first():
        k -= _first()
        own = len(ALONE) * len(PACKS)
        if k < own:
            return _alone(seed, ALONE[k % len(ALONE)], PACKS[(k // len(ALONE) + turn) % len(PACKS)])
        fault, situation = rows[(k - own) % len(rows)], MORE[(k - own) // len(rows)]
        return _more(seed, fault, situation, pack, turn)
    return _fault(seed, *_paired(k - own), pack, turn)


def _paired(k: int) -> tuple[Fault, str]:
    """Fault and situation of the k-th of those drills."""
    place, row = divmod(k, len(faults.drawn()))
    return faults.drawn()[row], SITUATIONS[(place + row) % len(SITUATIONS)]


def _base(
    seed: int, pack: str, soc_frac: float, degc: float, deeds: tuple[Deed, ...],
    spread_frac: float = 0.0, seconds: float = SECONDS,
) -> Story:  # fmt: skip
    return drawn(
        seed, pack=pack, soc_frac=soc_frac, degc=degc, duration_s=seconds, deeds=in_order(deeds),
        boot_ms=20 + seed % 3, phase_ms=seed % 17, spread_frac=spread_frac,
    )  # fmt: skip


def _fault(seed: int, fault: Fault, situation: str, pack: str, turn: int) -> Story:
    busy = {
        "drive": _driving(0.6), "charge": _charging(0.5), "before": (), "full": _charging(0.7),
        "empty": _driving(0.9), "parked": (), "start": _impatient(),
    }[situation]  # fmt: skip
    if fault.state == "charge":
        busy = _charging(0.5)
    shaped = _base(seed, pack, SOC.get(situation, 0.55), 25.0, ())
    places = faults.count(fault, made_of(shaped)[1])
    index = (places - 1, 0, places // 2)[turn % 3]
    at_s = {"before": 1.0, "start": 0.0}.get(situation, AT_S)
    ramp_s = min(fault.ramp_s, 8.0)
    for_s = min(14.0, fault.duration_s or 14.0)
    wrong = Deed(
        at_s=at_s, word="fault", id=fault.id, index=index, value=_kind(fault, situation),
        for_s=for_s, ramp_s=ramp_s,
    )  # fmt: skip
    later = _then(fault, at_s)
    if situation == "before":
        later = (*later, *_driving(0.4))
    spread_frac = SPREAD_FRAC if situation == "parked" else 0.0  # it balances
    return _base(seed, pack, shaped.soc_frac, 25.0, (*busy, wrong, *later), spread_frac)


def _kind(fault: Fault, situation: str) -> float | None:
    """A fault of two kinds ("1 open, 2 shorted") is of the second in every other situation."""
    is_second = (*SITUATIONS, *MORE).index(situation) % 2 == 1
    return fault.highest if is_second and fault.unit.startswith("1 ") else None


def _more(seed: int, fault: Fault, situation: str, pack: str, turn: int) -> Story:
    """A fault and what comes after it: a supply that drops out, a driver who asks again, a clear
    request while it lasts; or a fault that grows slowly, or acts in service, or asleep."""
    shaped = _base(seed, pack, 0.55, 25.0, ())
    places = faults.count(fault, made_of(shaped)[1])
    index = (0, places - 1, places // 2)[turn % 3]
    soc = CALM if situation in ("service", "asleep") else 0.55
    at_s, for_s, ramp_s, seconds = AT_S, fault.duration_s or 5.0, min(fault.ramp_s, 4.0), SECONDS
    busy = _charging(0.5) if fault.state == "charge" else _driving(0.6)
    match situation:
        case "reset":
            supply = Deed(at_s=at_s + 6.0, word="fault", id="SYS-01", for_s=0.6)
            later = (*_trip_to_keep(fault, at_s), supply, *_asking(at_s + 10.0))
        case "again":
            later = (*_asking(at_s + 7.0), *_asking(at_s + 10.0))
        case "clear":
            for_s = fault.duration_s or 16.0
            later = (*_clearing(at_s + 6.0), *_asking(at_s + 7.5), *_clearing(at_s + 11.0))
        case "slow":
            for_s = ramp_s = fault.duration_s or 17.0
            busy, later = _driving(0.4) if seed % 2 else _charging(0.3), ()
        case "service":
            at_s, busy = 4.4, (Deed(at_s=4.0, word="tester", value=1.0),)
            later = _asking(at_s + 6.0)
        case _:
            at_s, busy, seconds = 72.0, parked(4.0, 80.0, float(seed % 2)), 100.0
            for_s, later = fault.duration_s or 12.0, ()
    wrong = Deed(
        at_s=at_s, word="fault", id=fault.id, index=index, value=_kind(fault, situation),
        for_s=for_s, ramp_s=ramp_s,
    )  # fmt: skip
    made = _base(seed, pack, soc, 25.0, (*busy, wrong, *later), seconds=seconds)
    return msgspec.structs.replace(made, memory_is_used=situation == "reset")


def _is_plain(k: int) -> bool:
    """Whether the k-th drill of a fault in a situation is of the one that it is most at home in."""
    fault, situation = _paired(k)
    return situation == ("charge" if fault.state == "charge" else "drive")


def _is_of_memory(fault: Fault) -> bool:
    return any(one.field.startswith("seam.nvm_") for one in fault.writes)


def _trip_to_keep(fault: Fault, at_s: float) -> tuple[Deed, ...]:
    """What a memory that is at fault must keep over the reset."""
    if not _is_of_memory(fault):
        return ()
    return (Deed(at_s=at_s + 1.0, word="fault", id="CON-14", for_s=2.0),)


def _asking(at_s: float) -> tuple[Deed, ...]:
    """Standby, and to drive again."""
    return (
        Deed(at_s=at_s, word="rest"), Deed(at_s=at_s, word="request", value=0.0),
        Deed(at_s=at_s + 1.3, word="request", value=1.0),
    )  # fmt: skip


def _clearing(at_s: float) -> tuple[Deed, ...]:
    return (
        Deed(at_s=at_s, word="service", value=1.0), Deed(at_s=at_s + 0.8, word="service", value=0.0)
    )  # fmt: skip


def _alone(seed: int, kind: str, pack: str) -> Story:
    """No fault: sleep, the workshop, derating, hours of work, balancing."""
    limits = made_of(_base(seed, pack, 0.5, 25.0, ()))[0].limits
    heat = {
        "warm_out": limits.temperature_max_discharge_degc,
        "warm_in": limits.temperature_max_charge_degc,
        "cool_out": limits.temperature_min_discharge_degc,
        "cool_in": limits.temperature_min_charge_degc,
    }
    if kind in heat:
        operate, warn, _ = heat[kind]
        degc = 0.4 * operate + 0.6 * warn
        return _base(seed, pack, 0.5, degc, _charging(0.5) if "in" in kind else _driving(0.6))
    match kind:
        case "on_bus":  # ignition off, but somebody talks
            off = Deed(at_s=3.0, word="ignition", value=0.0)
            return _base(seed, pack, CALM, 25.0, (off,), seconds=80.0)
        case "nap" | "bus_nap":
            deeds = parked(4.0, 80.0, float(kind == "nap"))
            return _base(seed, pack, CALM, 25.0, deeds, seconds=95.0)
        case "long":
            return _base(seed, pack, 0.8, 25.0, _driving(0.9), seconds=400.0)
        case "long_in":
            return _base(seed, pack, 0.25, 25.0, _charging(0.9), seconds=400.0)
        case "tester" | "workshop":
            visit = Deed(at_s=4.0, word="tester", value=float(kind == "workshop"))
            return _base(seed, pack, CALM, 25.0, (visit, *_asking(8.0)))
        case "warm_uneven":
            hot = min(
                limits.temperature_max_charge_degc[:2], limits.temperature_max_discharge_degc[:2]
            )
            return _base(seed, pack, 0.6, hot[1] - 1.0, (), SPREAD_FRAC, seconds=50.0)
        case _:
            low = Deed(at_s=0.5, word="fault", id="CEL-11", index=3, for_s=1.0)
            return _base(seed, pack, 0.6, 25.0, (low,), 0.3 * SPREAD_FRAC, seconds=60.0)


def _driving(rate: float) -> tuple[Deed, ...]:
    return (
        Deed(at_s=6.0, word="request", value=1.0),
        Deed(at_s=8.0, word="drive", value=rate, index=1),
    )


def _impatient() -> tuple[Deed, ...]:
    """Asks from the first moment on, again and again."""
    asks = (0.3, 1.5, 2.3, 3.1, 3.9)
    quits = (1.2, 2.0, 2.8, 3.6)
    return (
        *(Deed(at_s=at_s, word="request", value=1.0) for at_s in asks),
        *(Deed(at_s=at_s, word="request", value=0.0) for at_s in quits),
    )


def _then(fault: Fault, at_s: float) -> tuple[Deed, ...]:
    """What the vehicle does once the fault acts, so that it is seen."""
    if not fault.then:
        return ()
    rest = (Deed(at_s=at_s + 0.5, word="rest"),) if fault.then == "open" else ()
    wish = 0.0 if fault.then == "open" else 1.0
    return (*rest, Deed(at_s=at_s + 0.6, word="request", value=wish))


def _charging(rate: float) -> tuple[Deed, ...]:
    return (
        Deed(at_s=6.0, word="request", value=2.0),
        Deed(at_s=8.0, word="charge", value=rate),
    )


def _limit(seed: int, kind: str, pack: str) -> Story:
    """Against one limit, by a load that keeps to none."""
    cell, made = made_of(_base(seed, pack, 0.5, 25.0, ()))
    limits = cell.limits
    rated = cell.electric.capacity_ah
    free = Deed(at_s=AT_S, word="obey", value=0.0)
    soc, degc, deeds = 0.5, 25.0, list(_driving(0.3))
    match kind:
        case "discharge":
            amps = 1.08 * limits.current_discharge_a[2]
            deeds += [free, Deed(at_s=AT_S, word="load", value=amps / rated)]
        case "charge":
            amps = 1.08 * limits.current_charge_a[2]
            deeds += [free, Deed(at_s=AT_S, word="load", value=-amps / rated)]
        case "break_out" | "break_in":  # what contactors cannot break, and the fuse bears a while
            amps = 1.5 * made.contactors.break_current_a
            sign = 1.0 if kind == "break_out" else -1.0
            deeds += [
                free,
                Deed(at_s=AT_S, word="load", value=sign * amps / (rated * made.topology.parallel)),
            ]
        case "cold":
            degc = limits.temperature_min_charge_degc[2] - 8.0
            deeds += [free, Deed(at_s=AT_S, word="load", value=-0.3)]
        case "hot":
            hot = limits.temperature_max_charge_degc[2] + 8.0
            return _base(seed, pack, 0.5, hot, (*_charging(0.2), free))
        case "warm_rest":  # too hot to charge, not to drive
            trips = limits.temperature_max_charge_degc[2], limits.temperature_max_discharge_degc[2]
            return _base(seed, pack, 0.5, sum(trips) / 2.0, tuple(deeds))
        case "slow_heat":  # half a kelvin a second, which is no runaway
            heat = Deed(at_s=AT_S, word="fault", id="THM-01", value=40.0, for_s=80.0, ramp_s=80.0)
            warm = limits.temperature_max_charge_degc[0] - 2.0
            out = Deed(at_s=10.0, word="load", value=0.04)  # never in: a charge has its own limit
            asks = Deed(at_s=6.0, word="request", value=1.0)
            return _base(seed, pack, 0.5, warm, (asks, free, out, heat), seconds=95.0)
        case "quick":
            for k in range(6):
                at_s = AT_S + 2.5 * k
                deeds += [
                    Deed(at_s=at_s, word="request", value=0.0),
                    Deed(at_s=at_s + 0.7, word="request", value=1.0),
                ]
        case "uneven":  # balances at rest
            return _base(seed, pack, 0.6, degc, (), SPREAD_FRAC)
        case "lower":  # and one block is far below all others, not so far that it is a fault
            low = Deed(at_s=0.5, word="fault", id="CEL-11", index=3, value=-0.1, for_s=1.0)
            return _base(seed, pack, 0.6, degc, (low,), 0.3 * SPREAD_FRAC, seconds=60.0)
        case "unfelt":  # balances where a thermistor is lost
            lost = Deed(at_s=4.0, word="fault", id="SEN-06", index=0, for_s=56.0)
            return _base(seed, pack, 0.6, degc, (lost,), SPREAD_FRAC, seconds=60.0)
        case "fell":  # under the operate minimum while they are bled, and not yet under the trip
            fallen = (
                Deed(at_s=5.0, word="fault", id="CEL-11", index=k, value=-0.6, for_s=1.0)
                for k in range(made.topology.blocks)
            )
            return _base(seed, pack, 0.58, degc, tuple(fallen), 0.3 * SPREAD_FRAC)
        case "stranger":  # has everything but the key
            deeds = [Deed(at_s=0.0, word="key", value=1.0), *_impatient()]
        case _:  # no block may be bled
            return _base(seed, pack, 0.0, degc, (), 0.5 * SPREAD_FRAC)
    return _base(seed, pack, soc, degc, tuple(deeds))
