"""What must hold, whatever happens: the oracle over the truth.

`INVARIANTS` says for each rule its text, where it is from, which limit it has and where it is
looked at. Those of `where == "watch"` are C (ext/invariants), looked at after every millisecond:

    watch = Watch(cell, pack)
    simulation.watch(watch)
    simulation.run(60)
    watch.found()          # (Violation("S1", ...), ...): empty when all is well

What it holds the truth against is in bms.bounds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from bms import _invariants, bounds
from bms.model import Cell, Frozen, Pack

Where = Literal["watch", "campaign", "test"]


class Invariant(Frozen, frozen=True):
    """One rule. `limit` in words; `where` it is looked at and, for a test, its path."""

    id: str
    text: str
    limit: str
    source: str
    where: Where
    place: str


class Violation(Frozen, frozen=True):
    """A rule that was broken: when for the first time, what was seen then, where, how often."""

    id: str
    time_s: float
    value: float
    place: int
    count: int


def _watch(id: str, text: str, limit: str, source: str, place: str) -> Invariant:
    return Invariant(
        id=id, text=text, limit=limit, source=source, where="watch", place=f"ext/invariants/{place}"
    )


def _campaign(id: str, text: str, limit: str, source: str) -> Invariant:
    return Invariant(
        id=id,
        text=text,
        limit=limit,
        source=source,
        where="campaign",
        place="src/bms/campaign/judge.py",
    )


def _test(id: str, text: str, limit: str, source: str, place: str) -> Invariant:
    return Invariant(id=id, text=text, limit=limit, source=source, where="test", place=place)


# fmt: off
INVARIANTS: tuple[Invariant, ...] = (
    _watch(
     "S1", "No path between pack and link is closed while a block voltage is beyond trip.",
     "deadlines of cell_overvoltage and cell_undervoltage, contactor travel",
     "ISO 26262 handling time; catalogue CEL-01 to CEL-05", "truth.c"),
    _watch(
     "S2", "The same of the temperature of every cell that carries a thermistor; charging ends in "
     "the cold.",
     "deadlines of temperature_high_discharge, _high_charge, _low_charge with charge_limit_ignored",
     "catalogue THM-01 to THM-03", "truth.c"),
    _watch(
     "S3", "The same of the current, and of the comparator's threshold.",
     "deadlines of current_discharge_high, current_charge_high, current_comparator; 30 ms for the "
     "look at a short", "catalogue CEL-06, CEL-08, CHG-08", "truth.c"),
    _watch(
     "S4", "The same of stack pressure.",
     "deadlines of pressure_low and pressure_high", "catalogue PRS-01, PRS-02", "truth.c"),
    _watch(
     "S5", "Above what contactors can break, opening may wait for the fuse, never longer; the "
     "fuse is told at once, and nobody opens into a current that is known, nor into a short before "
     "a reading has shown its size.",
     "fuse wait of the configuration", "catalogue CON-13; foxBMS 2 waits as well", "truth.c"),
    _watch(
     "S6", "A main contactor first touches with the link within tolerance of the pack.",
     "precharge tolerance of the configuration, errors of both voltages",
     "catalogue CON-08 to CON-11, SEN-15", "truth.c"),
    _watch(
     "S7", "States follow each other as the manual says, coils go on only in order: main minus, "
     "precharge, main plus; where the state says open none is on, where it says closed both mains.",
     "table of states in bms.invariants", "ext/firmware/bms.h", "wire.c"),
    _watch(
     "S8", "After a trip nothing closes before its cause is gone and the operator cleared and "
     "asked again, and no trip is taken back while its cause is there; over resets too.",
     "a trip told for 0.5 s is remembered over a reset",
     "LibreSolar #19 the other way round; catalogue CON-17, SYS-01", "wire.c"),
    _watch(
     "S9", "Unknown is not OK: without current or with chips that say nothing true, limits go to "
     "0 and the path opens.",
     "deadlines of current_unknown, afe_link, afe_frozen, cell_voltage_unknown, insulation_unknown",
     "catalogue SEN-13, SEN-16, AFE-02, AFE-05, ISO-03", "truth.c"),
    _watch(
     "S10", "Advertised limits are at most what the pack, temperature and pressure allow, 0 while "
     "tripped or open, and rise slowly.",
     "operate limits and ramp of the configuration", "Battery-Emulator PR 2710; diyBMS #322",
     "wire.c"),
    _test(
     "S11", "A rule of plausibility makes the verdict only more cautious.",
     "trips no later than without the rule",
     "foxBMS 2 v1.11.0 masks a cell that is far from the mean",
     "tests/sim/test_fuzz_relations.py"),
    _test(
     "S12", "More sensors of the same kind never make the verdict milder.",
     "trips no later than with fewer thermistors", "same", "tests/sim/test_fuzz_relations.py"),
    _watch(
     "S13", "A contact that stays although its coil is off is told, and nothing is closed on it.",
     "deadline of the contactor diagnoses, feedback time", "catalogue CON-01 to CON-03, CON-10",
     "truth.c"),
    _watch(
     "S14", "Balancing pulls no block below its operate minimum, stops when too hot, bleeds no "
     "warm module, and never an unknown block or the lowest.",
     "operate limits; deadlines of temperature_high_discharge and cell_voltage_unknown; a round of "
     "20 s",
     "catalogue AFE-09", "truth.c"),
    _watch(
     "S15", "A reset at any instant leaves the path open.",
     "100 ms", "catalogue SYS-01, SYS-02", "invariants.c"),
    _watch(
     "S16", "No false trip: with every true quantity inside the warn limits and no fault, nothing "
     "trips.",
     "15 s after the last fault", "availability; without it S1 to S4 are trivial", "wire.c"),
    _watch(
     "S17", "A crash, an open interlock, and a vehicle that no longer asks open the path.",
     "deadlines of crash, interlock_open and vcu_timeout, opening in order, contactor travel",
     "catalogue CON-14, CON-16, COM-01", "calls.c"),
    _watch(
     "S18", "The BMS obeys itself: while it tells a diagnosis that forbids, its limits are 0 and "
     "nothing closes; one that derates lowers them.",
     "1.6 s; what forbids is judged where it has one tier; derated is at most 3/4",
     "src/bms/spec/diagnoses.toml", "wire.c"),
    _campaign(
     "L1", "Faults over and operator cleared: the pack is usable again, or the BMS names what "
     "forbids it and the truth agrees.",
     "10 s after the clear request, self-test and lock-outs added", "LibreSolar #19"),
    _watch(
     "L2", "The ECU never falls silent while it runs.",
     "state frames within 100 ms of the last", "catalogue COM-03", "invariants.c"),
    _test(
     "L3", "Balancing converges.",
     "computed from resistor, capacity and spread", "assumption",
     "tests/sim/test_fuzz_relations.py"),
    _watch(
     "L4", "Precharge always ends.",
     "deadline of precharge_timeout, travel of three contactors", "catalogue CON-08, CON-11",
     "wire.c"),
    _watch(
     "L5", "It sleeps only when nobody asks, and wakes when somebody does.",
     "asked for within 0.2 s; 100 ms to wake", "ext/firmware/sleep.h", "calls.c"),
    _watch(
     "E1", "The true SoC lies in the reported interval in 99 % of all reports, and is never out "
     "of it by more than its width for long.",
     "60 s; the share is judged over a campaign of at least 100 seeds",
     "consistency of an estimator", "wire.c"),
    _watch(
     "E2", "No report of SoC is not a number or out of order.",
     "low <= SoC <= high <= 1", "catalogue SYS-13", "wire.c"),
    _watch(
     "E3", "SoC does not jump by more than its interval, not over a reset either, and never reads "
     "0 or 1 by mistake.",
     "width of the interval and 1 %", "catalogue SYS-13", "wire.c"),
    _campaign(
     "E4", "Energy of the plant is conserved.",
     "1e-6 of the energy moved, 3e-4 of what a short burns", "first law"),
    _watch(
     "E5", "The highest and the lowest block are told as they are, and where they are.",
     "error of the reading; 3 s, 10 s after a start", "ext/chips: sensors as specified", "told.c"),
    _watch(
     "E6", "So are the extremes of temperature and of stack pressure.",
     "the same", "the same", "told.c"),
    _watch(
     "E7", "So are current and voltage of the pack.",
     "the same, 1 % of the voltage", "the same", "told.c"),
    _test(
     "C1", "What is decoded and encoded again is the same frame; decoding never raises.",
     "every message", "facts of the wire", "tests/unit/spec/test_dbc_frames.py"),
    _watch(
     "C2", "Nothing closes that the vehicle did not ask for.",
     "a request of the last 0.6 s", "catalogue COM-05 to COM-08, SEC-01", "wire.c"),
    _watch(
     "C4", "A tester without the key starts no test of the contactors and writes nothing.",
     "every answer", "catalogue SEC-07; ISO 14229-1 service 27", "calls.c"),
    _test(
     "C3", "The bridge lets through only what its rules allow, in order.",
     "every rule", "NMFTA gateway requirements", "tests/unit/bridge"),
    _test(
     "D1", "Non-volatile memory after a cut is what was committed, or was being committed.",
     "cut at every byte", "littlefs' tests of power loss", "tests/unit/firmware"),
    _test(
     "D2", "A recording survives the death of its writer.",
     "every acknowledged record", "SQLite's crash tests", "tests/crash"),
    _test(
     "D3", "Replay gives the same outputs, bit for bit.",
     "every output", "determinism", "tests/sim/test_replay.py"),
    _campaign(
     "T1", "The same seed gives the same trace.",
     "trace hash and truth hash", "determinism"),
    _campaign(
     "T2", "The trace does not depend on when the clock started.",
     "trace hash", "Battery-Emulator, limits at the wrap of 49.7 days"),
    _test(
     "T3", "Cells in another order give the same results in that order.",
     "every block", "indexing mistakes", "tests/sim/test_fuzz_relations.py"),
    _test(
     "T4", "Charge and discharge are judged alike: mirrored limits and currents give mirrored "
     "verdicts.",
     "time of the trip", "sign mistakes", "tests/sim/test_fuzz_relations.py"),
    _campaign(
     "F1", "Every fault of the catalogue meets the reaction that the catalogue asks for.",
     "budget of the catalogue; looked at in drills, against the firmware as it is",
     "src/bms/faults"),
    _watch(
     "X1", "No assertion of the firmware fails.",
     "never", "BMS_ASSERT", "wire.c"),
)
# fmt: on
IDS: tuple[str, ...] = tuple(row.id for row in INVARIANTS)
WATCHED: tuple[str, ...] = tuple(_invariants.names())
NEVER_MASKED = ("S8", "S10", "C2", "C4")
"""Re-close and advertised limits hold whatever acts."""


def find(id: str) -> Invariant:
    """The rule of that id; KeyError without one."""
    return next(row for row in INVARIANTS if row.id == id)


def _bits(ids: tuple[str, ...]) -> int:
    able = (set(ids) & set(WATCHED)) - set(NEVER_MASKED)
    return sum(1 << WATCHED.index(id) for id in able)


class Watch:
    """The compiled oracle for one cell in one pack, its limits filled in."""

    def __init__(self, cell: Cell, pack: Pack) -> None:
        self.rules = _invariants.Rules()
        self.fields: dict[str, np.ndarray] = self.rules.fields
        for name, value in bounds.of(cell, pack).items():
            self.fields[name][: np.size(value)] = value

    def handles(self) -> tuple[int, int]:
        """Addresses of the function and its state, for the loop."""
        function, state = self.rules.handles()
        return int(function), int(state)

    def mask(
        self,
        ids: tuple[str, ...],
        widened: Mapping[str, float] | None = None,
        recovering: tuple[str, ...] = (),
    ) -> None:
        """From now on these rules are not judged; those in `widened` are, with a bound so much
        wider, in its unit. Those of `recovering` are masked only by what is over already. All three
        replace what was said before. S8 and S10 cannot be masked."""
        self.fields["widen"][:] = 0.0
        for id, more in (widened or {}).items():
            if _bits((id,)):
                self.fields["widen"][WATCHED.index(id)] = max(0.0, more)
        self.fields["masked"][0] = _bits((*ids, *recovering))
        self.fields["recovering"][0] = _bits(recovering) & ~_bits(ids)

    def found(self) -> tuple[Violation, ...]:
        """What was broken so far, the earliest first."""
        rows = [
            Violation(
                id=id,
                time_s=int(self.fields["first_us"][k]) * 1e-6,
                value=float(self.fields["value"][k]),
                place=int(self.fields["place"][k]),
                count=int(self.fields["count"][k]),
            )
            for k, id in enumerate(WATCHED)
            if self.fields["count"][k]
        ]
        return tuple(sorted(rows, key=lambda row: row.time_s))

    def masked_s(self, *, recovering: bool = False) -> dict[str, float]:
        """Seconds for which each rule was masked while a fault acted; or, recovering, after."""
        name = "recovering_ms" if recovering else "masked_ms"
        return {id: float(self.fields[name][k]) * 1e-3 for k, id in enumerate(WATCHED)}
