"""One fault at a time: bring a pack to a state once, restore, inject, and hold what the BMS reports
against what the catalogue asks."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

from bms import spec
from bms.faults import Fault, count
from bms.recorder import Event
from bms.sim import Simulation, Snapshot

HERE = Path(__file__).parent
PACK = "car_96s1p"  # six modules on one ring, one cell a block: what every fault needs, and fast
MAINS = 3  # bits of plant.contactor_closed
LONGEST_S = 40.0  # a ramp and a budget beyond it are driven faster: see `Case.ramp_s`
RAMP_S = 30.0
REPORT_S = 0.02  # a decision waits for its turn on the bus before it can be heard
PAUSE_S = 0.1  # from the inject call to the fault
FED = {"contactor_weld"}
"""Raised when somebody feeds the link of an open pack."""
MUTE = ("COM-03", "COM-11", "SEC-05")
"""Faults that leave the BMS without a bus to tell anything."""
PLACES = ("cell", "block", "module", "sensor", "wire", "contactor", "main")
"""Targets of which a pack has several."""
VEHICLE = {"open": 0, "close": 1}


@cache
def simulation(state: str) -> tuple[Simulation, Snapshot]:
    """A simulation in this state, and a snapshot of it."""
    kind = {"drive": "drive", "charge": "charge", "full": "charge"}
    chosen = HERE / f"faults_{kind.get(state, 'rest')}.toml"
    settings = {"start.soc_frac": "0.985"} if state == "full" else {}
    if state == "heating":
        settings = {"start.temperature_degc": "-28.0", "start.ambient_degc": "-28.0"}
    if state == "cooling":
        settings = {"start.temperature_degc": "38.0", "start.ambient_degc": "38.0"}
    made = Simulation(chosen, pack=PACK, seed=7, settings=settings)
    if state == "balancing":
        made.world.parts["plant"]["cell_soc_frac"][40] += 0.03
    if state != "boot":
        made.run(_settled_s(made, state), record=False)
    return made, made.snapshot()


def _settled_s(made: Simulation, state: str) -> float:
    """Run until the state shows; what is left to run after that."""
    vehicle, plant = made.world.parts["vehicle"], made.world.parts["plant"]
    flags = {"balancing": 16}
    for _ in range(600):
        made.run(0.5, record=False)
        if state == "balancing" and not int(vehicle["obs_flags"][0]) & flags["balancing"]:
            continue
        if state == "cooling" and plant["pump_frac"][0] <= 0:
            continue
        if state == "heating" and plant["heater_frac"][0] <= 0:
            continue
        if state in ("drive", "charge", "full") and int(plant["contactor_closed"][0]) & 3 != 3:
            continue
        return 12.0 if state in ("drive", "charge", "rest") else 2.0
    raise AssertionError(f"the state {state} was not reached")


@dataclass
class Outcome:
    """What the BMS reported, and what is wrong with it: nothing, when all is well."""

    reaction_ms: float | None = None
    raised: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    trace_hash: int = 0


def state_of(fault: Fault) -> str:
    """The state in which the test injects a fault of any state: rest."""
    return "rest" if fault.state == "any" else fault.state


def spans(fault: Fault) -> tuple[float, float, float]:
    """(ramp as injected, seconds to the deadline from the fault, and from the end of the ramp)."""
    ramp_s = min(fault.ramp_s, RAMP_S)
    after_s = fault.budget_ms * 1e-3
    return ramp_s, ramp_s + after_s, after_s


def carry_out(
    fault: Fault, index: int = 0, value: float | None = None,
    *, state: str = "", shorter_s: float | None = None,
) -> Outcome:  # fmt: skip
    """Inject in the fault's state, or another, and judge. shorter_s: not longer than that."""
    made, snapshot = simulation(state or state_of(fault))
    made.restore(snapshot)
    before = len(made.events)
    closed_before = int(made.world.parts["plant"]["contactor_closed"][0]) & MAINS == MAINS
    ramp_s, deadline_s, _ = spans(fault)
    pause_s = 0.0 if fault.state == "boot" else PAUSE_S  # identities are read at once
    handle = made.inject(fault.id, index=index, value=value, after_s=pause_s, ramp_s=ramp_s)
    made.run(pause_s + (0.05 if fault.then else 0.0), record=False)
    start_s = made.time_s
    if fault.then:
        made.world.parts["vehicle"]["request"][0] = VEHICLE[fault.then]
        if fault.then == "open":
            made.world.parts["vehicle"]["kind"][0] = 0
    whole_s = deadline_s if shorter_s is None else min(deadline_s, shorter_s)
    outcome = Outcome()
    _run_until_seen(made, fault, start_s, whole_s, before)
    if fault.id in MUTE:
        _ask_later(made, fault, outcome, handle, made.events[before:], start_s, deadline_s)
    else:
        _judge(made, fault, outcome, made.events[before:], start_s, deadline_s, closed_before)
    outcome.trace_hash = int(made.world.parts["loop"]["trace_hash"][0])
    return outcome


def _run_until_seen(
    made: Simulation, fault: Fault, start_s: float, whole_s: float, before: int
) -> None:
    """To the deadline, or for long ones until what is asked for was seen."""
    piece_s = whole_s if whole_s <= 10.0 else 2.0
    while made.time_s < start_s + whole_s - 1e-6:
        made.run(min(piece_s, start_s + whole_s - made.time_s), record=False)
        if whole_s > 10.0 and any(_is_wanted(fault, e) for e in made.events[before:]):
            break
    if fault.reaction in ("reset", "refuse", "trip"):
        made.run(1.0, record=False)  # and it stays so


def _ask_later(
    made: Simulation, fault: Fault, out: Outcome, handle: int, events: list[Event],
    start_s: float, deadline_s: float,
) -> None:  # fmt: skip
    """The fault takes the bus away from the BMS: what it decided is heard once that is over."""
    opened_s = _opening(events)
    made.withdraw(handle)
    made.run(2.0, record=False)
    told = spec.diagnosis_name(int(made.world.parts["vehicle"]["obs_trip_diagnosis"][0]))
    if opened_s > start_s + deadline_s + REPORT_S:
        out.wrong.append(f"opened at {opened_s - start_s:.3f} s, asked for {deadline_s:.3f} s")
    elif told not in fault.diagnoses:
        out.wrong.append(f"opened, and tells {told}")
    else:
        out.reaction_ms = (opened_s - start_s) * 1e3


def _is_raised(event: Event) -> bool:
    return event.kind == "diagnosis" and event.text.endswith("raised")


def _is_wanted(fault: Fault, event: Event) -> bool:
    """A diagnosis that the fault asks for, at the tier its reaction needs."""
    needs = "trip" if fault.reaction == "trip" else ""
    return _is_raised(event) and event.name in fault.diagnoses and event.text.startswith(needs)


def _is_open(made: Simulation) -> bool:
    return int(made.world.parts["plant"]["contactor_closed"][0]) & MAINS != MAINS


def _judge(
    made: Simulation, fault: Fault, out: Outcome, events: list[Event], start_s: float,
    deadline_s: float, closed_before: bool,
) -> None:  # fmt: skip
    raised = [e for e in events if _is_raised(e) and e.time_s >= start_s - 0.06]
    out.raised = sorted({e.name for e in raised})
    wanted = [e for e in raised if _is_wanted(fault, e)]
    strange = set(out.raised) - set(fault.diagnoses) - set(fault.allowed)
    if closed_before:
        strange -= FED  # load or charger go on at the link after the pack has opened
    if strange and fault.reaction != "none":
        out.wrong.append(f"raised beside: {', '.join(sorted(strange))}")
    end_s = start_s + deadline_s + REPORT_S
    if fault.diagnoses and not any(e.time_s <= end_s for e in wanted):
        late = f" (at {wanted[0].time_s - start_s:.3f} s)" if wanted else ""
        out.wrong.append(f"none of {', '.join(fault.diagnoses)} in {deadline_s:.3f} s{late}")
    elif wanted:
        out.reaction_ms = (wanted[0].time_s - start_s) * 1e3
    check = {
        "trip": _tripped, "open": _opened, "reset": _reset, "refuse": _stayed_open,
        "inhibit": _inhibited, "ride_through": _rode_through,
    }.get(fault.reaction)  # fmt: skip
    said = check(made, fault, events, end_s, closed_before) if check else ""
    if said:
        out.wrong.append(said)


def _opening(events: list[Event]) -> float:
    times = [
        e.time_s
        for e in events
        if e.kind == "contactor" and "main" in e.name and "opened" in e.name
    ]
    return times[0] if times else float("inf")


def _tripped(
    made: Simulation, fault: Fault, events: list[Event], end_s: float, closed: bool
) -> str:
    if not _is_open(made):
        return "the contactors are closed"
    if closed and _opening(events) > end_s + 0.05 + _fuse_s(made):
        return f"opened {_opening(events) - end_s:.3f} s too late"
    flags = int(made.world.parts["vehicle"]["obs_flags"][0])
    state = spec.state_name(int(made.world.parts["vehicle"]["obs_state"][0]))
    return "" if flags & 64 or state in ("error", "latched") else f"no trip is told: {state}"


def _fuse_s(made: Simulation) -> float:
    """Above the break current the fuse is waited for."""
    return 3.0 if int(made.world.parts["plant"]["fuse_blown"][0]) else 0.0


def _opened(made: Simulation, fault: Fault, events: list[Event], end_s: float, closed: bool) -> str:
    return "" if _opening(events) <= end_s else "the contactors did not open"


def _reset(made: Simulation, fault: Fault, events: list[Event], end_s: float, closed: bool) -> str:
    if not any(e.kind == "reset" for e in events):
        return "no reset"
    if _opening(events) > end_s + 0.03:
        return f"opened {_opening(events) - end_s:.3f} s too late"
    return "" if _is_open(made) else "closed again by itself"


def _stayed_open(
    made: Simulation, fault: Fault, events: list[Event], end_s: float, closed: bool
) -> str:
    return "" if _is_open(made) else "the contactors closed"


def _inhibited(
    made: Simulation, fault: Fault, events: list[Event], end_s: float, closed: bool
) -> str:
    limit_a = float(made.world.parts["vehicle"]["obs_charge_limit_a"][0])
    return "" if _is_open(made) or limit_a <= 0 else "closed, and charging is allowed"


def _rode_through(
    made: Simulation, fault: Fault, events: list[Event], end_s: float, closed: bool
) -> str:
    flags = int(made.world.parts["vehicle"]["obs_flags"][0])
    tripped = spec.diagnosis_name(int(made.world.parts["vehicle"]["obs_trip_diagnosis"][0]))
    if flags & 64:
        return f"a trip: {tripped}"
    should = closed or fault.then == "close"
    return "the contactors are open" if should and _is_open(made) else ""


def index_for(fault: Fault, made: Simulation) -> int:
    """A place in the middle of the pack, where nothing is special; 0 where there is but one."""
    places = count(fault, made.pack)
    chosen = {
        "block": 33,
        "cell": 33,
        "sensor": 14,
        "module": 2,
        "wire": 38,
        "page": 5,
        "byte": 4000,
    }
    return min(chosen.get(fault.target, 0), places - 1)


def differs(a: bytes, b: bytes) -> int:
    """Bytes that differ."""
    return int(np.count_nonzero(np.frombuffer(a, "u1") != np.frombuffer(b, "u1")))
