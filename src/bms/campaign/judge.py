"""What is looked at when the safety phase is over: L1, E4, and T1, T2 over whole runs.

Liveness. Faults are withdrawn, the load obeys, the operator (a workshop) clears and asks to drive.
Then the pack must be usable again, or the BMS must name what forbids it and the truth must agree:
a quantity outside its warn limits, or something broken for good."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from bms import faults, spec
from bms.invariants import Violation

if TYPE_CHECKING:
    from bms.campaign.play import Outcome, Stage
    from bms.campaign.story import Story

COOL_DOWN_S = 6.0  # in standby, with nothing wrong
TRIES = 5
TRY_S = 12.0  # from a clear request to normal: close lock-out of 10 s and precharge
SPENT = (
    ("chips", "crc_corrupt"), ("chips", "drop_bytes"),
    ("vehicle_bus", "corrupt_count"), ("sensor_bus", "corrupt_count"),
)  # fmt: skip
LASTING = ("E1", "E3", "E5", "E6", "E7")  # what misled these is not over with the fault
NORMAL = ("normal_drive", "normal_charge")
ENERGY_FRAC = 1e-6
SHORT_FRAC = 3e-4  # of what a short burns: it crosses knots of the OCV within a step of the heat
LINK_FRAC = 0.85  # of the pack: on an open link that stands higher nothing is closed
SHIFT_US = (2**32 * 1000 - 20_000_000, 2**31 - 7_000_000)


def liveness(stage: Stage) -> tuple[Violation, ...]:
    """Bring a stage to rest and look whether it comes back; violations of L1 and E4."""
    marks = [row for row in (*stage.ended, *stage.acting) if leaves_a_mark(row.deed.id)]
    _calm(stage)
    found: list[Violation] = []
    reason = ""
    for _ in range(TRIES):
        if _returns(stage):
            break
    else:
        asserted = any(row.id == "X1" for row in stage.watch.found())
        reason = "" if marks or asserted else _unreasonable(stage)
    if reason:
        told = int(stage.vehicle["obs_trip_diagnosis"][0])
        state = int(stage.watch.fields["state"][0])
        found.append(Violation(id="L1", time_s=stage.time_s, value=told, place=state, count=1))
    return (*found, *_energy(stage))


def leaves_a_mark(fault: str) -> bool:
    """Whether something stays after the fault is withdrawn."""
    return any(one.stays or one.op == "push" for one in faults.fault(fault).writes)


def moves_the_clock(fault: str) -> bool:
    """Whether it sets the ECU's clock: that must not be taken back while the ECU runs."""
    return any(one.field == "loop.start_us" for one in faults.fault(fault).writes)


def _calm(stage: Stage) -> None:
    simulation, vehicle = stage.simulation, stage.vehicle
    for injected in simulation.faults():
        if injected.state != "over" and not moves_the_clock(injected.id):
            simulation.withdraw(injected.handle)
    now = stage.time_s
    for row in stage.acting:
        row.until_s = min(row.until_s, now)
        row.masks = tuple(
            (id, until if id in LASTING else min(until, now + 2.0), factor)
            for id, until, factor in row.masks
        )
    from bms.campaign.play import give_key

    _spend(stage)
    give_key(stage, genuine=True)
    stage.obeys = True
    loop = simulation.world.parts["loop"]
    vehicle["obeys_limits"][0], vehicle["kind"][0], vehicle["request"][0] = 1, 0, 0
    vehicle["clear_request"][0] = vehicle["service"][0] = 0
    loop["ignition"][0] = 1
    vehicle["is_silent"][0] = 0
    stage.mask()
    stage.run_to(now + COOL_DOWN_S)


def _spend(stage: Stage) -> None:
    """Troubles counted in frames or bytes to come are over as well."""
    parts = stage.simulation.world.parts
    for part, name in SPENT:
        parts[part][name][:] = 0


def _returns(stage: Stage) -> bool:
    """The operator clears, waits, and asks to drive."""
    vehicle = stage.vehicle
    vehicle["request"][0] = 0
    vehicle["clear_request"][0] = vehicle["service"][0] = 1
    stage.run_to(stage.time_s + 0.5)
    vehicle["clear_request"][0] = vehicle["service"][0] = 0
    stage.run_to(stage.time_s + 1.5)
    vehicle["request"][0] = 1
    end_s = stage.time_s + TRY_S - 2.0
    while stage.time_s < end_s:
        stage.run_to(stage.time_s + 1.0)
        if _state(stage) in NORMAL:
            return True
    return False


def _state(stage: Stage) -> str:
    return spec.state_name(int(stage.watch.fields["state"][0]))


def _unreasonable(stage: Stage) -> str:
    """Why not being usable is wrong; empty when it is right."""
    if not int(stage.watch.fields["calm_now"][0]):
        return ""
    plant = stage.simulation.world.parts["plant"]
    if plant["contactor_weld"][0] or float(plant["cell_reacted_1"].max()) > 1e-9:
        return ""  # welded, or a cell has burnt
    refusal = spec.choices("BmsAuthority", "Refusal").get(int(stage.vehicle["obs_refusal"][0]))
    stands = float(plant["link_voltage_v"][0]) > LINK_FRAC * float(plant["pack_voltage_v"][0])
    if refusal == "link_voltage" and stands:
        return ""  # somebody else charged it, and it bleeds down slowly
    return f"stays in {_state(stage)} although nothing is wrong"


def _energy(stage: Stage) -> tuple[Violation, ...]:
    """Not of a pack in which a cell burns: its reactions are stiffer than the step of the heat."""
    rows = [faults.fault(row.deed.id) for row in (*stage.ended, *stage.acting)]
    if any("E4" in [mask.invariant for mask in one.masks] or leaves_a_mark(one.id) for one in rows):
        return ()
    world = stage.simulation.world
    world.energy()
    plant = world.parts["plant"]
    if float(plant["cell_reacted_1"].max()) > 1e-9:
        return ()
    moved = sum(
        abs(float(plant[f"energy_{name}_j"][0]))
        for name in (
            "throughput",
            "heater",
            "air",
            "bled",
            "forced",
            "reaction",
            "ohmic",
            "transfer",
            "diffusion",
            "hysteresis",
            "short",
            "leak",
            "aged",
        )
    )
    off = abs(float(plant["energy_residual_j"][0]))
    short = SHORT_FRAC * abs(float(plant["energy_short_j"][0]))
    if off <= ENERGY_FRAC * moved + short + 1e-3:
        return ()
    return (Violation(id="E4", time_s=stage.time_s, value=off, place=-1, count=1),)


def same_again(
    story: Story, outcome: Outcome, firmware: str | None = None
) -> tuple[Violation, ...]:
    """T1, T2: the story once more, and with another clock."""
    from bms.campaign.play import play

    found = []
    again = play(story, firmware=firmware)
    if (again.trace_hash, again.truth_hash) != (outcome.trace_hash, outcome.truth_hash):
        found.append("T1")
        return _rows(found, outcome)
    shift_us = SHIFT_US[story.seed % len(SHIFT_US)]
    shifted = play(msgspec.structs.replace(story, start_us=shift_us), firmware=firmware)
    seeds = any(deed.word == "tester" for deed in story.deeds)  # those that it gets have the clock
    same_trace = seeds or shifted.trace_hash == outcome.trace_hash
    if not same_trace or shifted.truth_hash != outcome.truth_hash:
        found.append("T2")
    return _rows(found, outcome)


def _rows(ids: list[str], outcome: Outcome) -> tuple[Violation, ...]:
    at_s = outcome.simulated_s
    return tuple(Violation(id=id, time_s=at_s, value=0.0, place=-1, count=1) for id in ids)
