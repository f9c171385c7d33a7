"""Stories that are not left to chance: each fault of the catalogue alone, in each situation.

A drill has a seed like any story, from DRILLS on, so that one number replays it."""

from __future__ import annotations

from functools import cache

from bms import faults
from bms.campaign.story import DRILLS, Deed, Story, drawn, in_order, made_of
from bms.faults import Fault

SITUATIONS = ("drive", "charge", "before", "full", "empty", "parked", "start")
LIMITS = ("discharge", "charge", "cold", "hot", "quick", "uneven", "bare", "stranger")
AT_S = 12.0
SECONDS = 30.0
PACKS = ("bench_16s1p", "car_96s3p", "home_16s", "car_96s1p")
SPREAD_FRAC = 0.06
SOC = {"full": 0.965, "empty": 0.05}


@cache
def count() -> int:
    """How many drills there are."""
    return len(LIMITS) * len(PACKS) + len(faults.acting()) * len(SITUATIONS)


def story(seed: int) -> Story:
    """The drill of a seed; beyond the last they begin again with other places and packs."""
    k, turn = (seed - DRILLS) % count(), (seed - DRILLS) // count()
    own = len(LIMITS) * len(PACKS)
    if k < own:
        return _limit(seed, LIMITS[k % len(LIMITS)], PACKS[(k // len(LIMITS) + turn) % len(PACKS)])
    rows = faults.acting()
    fault = rows[(k - own) % len(rows)]
    place = (k - own) // len(rows)
    situation = SITUATIONS[(place + rows.index(fault)) % len(SITUATIONS)]
    pack = PACKS[(k + turn) % len(PACKS)]
    return _fault(seed, fault, situation, pack, turn)


def _base(
    seed: int, pack: str, soc_frac: float, degc: float, deeds: tuple[Deed, ...],
    spread_frac: float = 0.0,
) -> Story:  # fmt: skip
    return drawn(
        seed, pack=pack, soc_frac=soc_frac, degc=degc, duration_s=SECONDS, deeds=in_order(deeds),
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
    wrong = Deed(at_s=at_s, word="fault", id=fault.id, index=index, for_s=for_s, ramp_s=ramp_s)
    later = _then(fault, at_s)
    if situation == "before":
        later = (*later, *_driving(0.4))
    return _base(seed, pack, shaped.soc_frac, 25.0, (*busy, wrong, *later))


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
        case "cold":
            degc = limits.temperature_min_charge_degc[2] - 8.0
            deeds += [free, Deed(at_s=AT_S, word="load", value=-0.3)]
        case "hot":
            hot = limits.temperature_max_charge_degc[2] + 8.0
            return _base(seed, pack, 0.5, hot, (*_charging(0.2), free))
        case "quick":
            for k in range(6):
                at_s = AT_S + 2.5 * k
                deeds += [
                    Deed(at_s=at_s, word="request", value=0.0),
                    Deed(at_s=at_s + 0.7, word="request", value=1.0),
                ]
        case "uneven":  # balances at rest
            return _base(seed, pack, 0.6, degc, (), SPREAD_FRAC)
        case "stranger":  # has everything but the key
            deeds = [Deed(at_s=0.0, word="key", value=1.0), *_impatient()]
        case _:  # no block may be bled
            return _base(seed, pack, 0.0, degc, (), 0.5 * SPREAD_FRAC)
    del made
    return _base(seed, pack, soc, degc, tuple(deeds))
