"""What must hold, whatever happens: the oracle over the truth.

`INVARIANTS` says for each rule its text, where it is from, which limit it has and where it is
looked at. Those of `where == "watch"` are C (ext/invariants), looked at after every millisecond:

    watch = Watch(cell, pack)
    simulation.watch(watch)
    simulation.run(60)
    watch.found()          # (Violation("S1", ...), ...): empty when all is well

Limits come from the cell, the pack, the firmware's configuration and the deadlines of
spec/diagnoses.toml; there is no second copy of them. A bound of the truth is the limit plus the
largest error that the sensor's specification allows: what no reading can show cannot be asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from bms import _firmware, _invariants, spec
from bms.firmware import config as firmware_config
from bms.model import Cell, Frozen, Pack

Where = Literal["watch", "campaign", "test"]
SIGMAS = 4.0  # bms.rng draws no normal beyond
PERIOD_MS = 10  # control period: a decision takes effect within it
LOOK_MS = 30  # the size of a short is looked at before contactors break it, ext/firmware/fuse.c
CODE_V = 0.001  # step of the converter, and the drop over a sense wire
NTC_K = 0.5  # steps of the firmware's table


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
     "precharge, main plus.",
     "table of states in bms.invariants", "ext/firmware/bms.h", "wire.c"),
    _watch(
     "S8", "After a trip nothing closes before its cause is gone and the operator cleared and "
     "asked again; over resets too.",
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
     "S14", "Balancing pulls no block below its operate minimum, stops when too hot, and never "
     "bleeds an unknown block.",
     "operate limit; deadlines of temperature_high_discharge and cell_voltage_unknown",
     "catalogue AFE-09", "truth.c"),
    _watch(
     "S15", "A reset at any instant leaves the path open.",
     "100 ms", "catalogue SYS-01, SYS-02", "invariants.c"),
    _watch(
     "S16", "No false trip: with every true quantity inside the warn limits and no fault, nothing "
     "trips.",
     "15 s after the last fault", "availability; without it S1 to S4 are trivial", "wire.c"),
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
     "E1", "The true SoC lies in the reported interval in 99 % of all reports, and is never out "
     "of it by more than its width for long.",
     "60 s; the share is judged over a campaign", "consistency of an estimator", "wire.c"),
    _watch(
     "E2", "No report of SoC is not a number or out of order.",
     "low <= SoC <= high <= 1", "catalogue SYS-13", "wire.c"),
    _watch(
     "E3", "SoC does not jump by more than its interval, not over a reset either, and never reads "
     "0 or 1 by mistake.",
     "width of the interval and 1 %", "catalogue SYS-13", "wire.c"),
    _campaign(
     "E4", "Energy of the plant is conserved.",
     "1e-6 of the energy moved", "first law"),
    _test(
     "C1", "What is decoded and encoded again is the same frame; decoding never raises.",
     "every message", "facts of the wire", "tests/unit/spec/test_dbc_frames.py"),
    _watch(
     "C2", "Nothing closes that the vehicle did not ask for.",
     "a request of the last 0.6 s", "catalogue COM-05 to COM-08, SEC-01", "wire.c"),
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
NEVER_MASKED = ("S8", "S10")
"""Re-close and advertised limits hold whatever acts."""

_NEXT: Mapping[str, tuple[str, ...]] = {
    "init": ("selftest",),
    "selftest": ("standby",),
    "standby": ("precharge", "balancing", "service", "sleep"),
    "precharge": ("normal_drive", "normal_charge", "opening"),
    "normal_drive": ("normal_charge", "opening"),
    "normal_charge": ("normal_drive", "opening"),
    "opening": ("standby",),
    "error": ("latched", "standby", "selftest"),
    "latched": ("error", "standby", "selftest", "sleep"),
    "asserted": (),
    "refused": (),
    "balancing": ("standby",),
    "service": ("standby",),
    "sleep": ("selftest",),
}
_BOUNDS = {
    "S1": "voltage_max_v", "S2": "discharge_max_degc", "S3": "discharge_a",
    "S4": "pressure_max_kpa", "S5": "break_a", "S6": "precharge_v",
}  # fmt: skip
_ANYWHERE = ("error", "asserted")
_DEAD = ("asserted", "refused")


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
        for name, value in {
            **_limits(cell, pack),
            **_errors_and_bounds(cell, pack),
            **_budgets(cell, pack),
            **_states(),
        }.items():
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
        """From now on these rules are not judged; those in `widened` are, with a bound so many
        times as far away. Those of `recovering` are masked only by what is over already. All three
        replace what was said before. S8 and S10 cannot be masked."""
        self.fields["widen"][:] = 0.0
        for id, factor in (widened or {}).items():
            if id in _BOUNDS:
                bound = float(self.fields[_BOUNDS[id]][-1])
                self.fields["widen"][WATCHED.index(id)] = bound * max(0.0, factor - 1.0)
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


# ---- limits, from the files they are in ----


def _configured(cell: Cell, pack: Pack) -> dict[str, np.ndarray]:
    """Fields of the firmware's configuration: what it was told, as numbers."""
    blob = firmware_config.build(cell, pack)
    return {
        name: np.frombuffer(blob, dtype, count, offset)
        for name, _unit, _text, offset, count, dtype in _firmware.config_fields()
    }


def _limits(cell: Cell, pack: Pack) -> dict[str, Any]:
    limits, parallel, blocks = cell.limits, pack.topology.parallel, pack.topology.blocks
    pressed = pack.sensors.pressure_per_module and cell.pressure.operate_max_kpa[2] > 0.0
    told = _configured(cell, pack)
    per_module = pack.topology.blocks_per_module
    places = [
        module * per_module + place
        for module in range(-(-blocks // per_module))
        for place in pack.sensors.temperature_blocks
    ]
    return {
        "sensors": len(places),
        "sensor_cell": places,
        "voltage_calm_max_v": limits.voltage_max_v[1],
        "voltage_calm_min_v": limits.voltage_min_v[1],
        "charge_max_degc": limits.temperature_max_charge_degc,
        "charge_min_degc": limits.temperature_min_charge_degc,
        "discharge_max_degc": limits.temperature_max_discharge_degc,
        "discharge_min_degc": limits.temperature_min_discharge_degc,
        "discharge_calm_a": limits.current_discharge_a[1] * parallel,
        "charge_calm_a": limits.current_charge_a[1] * parallel,
        "discharge_static_a": limits.current_discharge_a[0] * parallel,
        "charge_static_a": limits.current_charge_a[0] * parallel,
        "ramp_a_per_s": told["ramp_ma_per_s"][0] * 1e-3,
        "charge_voltage_v": limits.voltage_max_v[0] * blocks,
        "pressure_is_fitted": pressed,
        "pressure_min_kpa": cell.pressure.operate_min_kpa,
        "pressure_max_kpa": cell.pressure.operate_max_kpa,
        "readings_move": bool(told["frozen_frames"][0]),
    }


def _errors_and_bounds(cell: Cell, pack: Pack) -> dict[str, float]:
    limits, sensors, parallel = cell.limits, pack.sensors, pack.topology.parallel
    high_v = limits.voltage_max_v[2]
    volts = CODE_V + SIGMAS * (
        sensors.cell_voltage_offset_v
        + sensors.cell_voltage_noise_v
        + sensors.cell_voltage_gain_frac * high_v
    )
    kelvin = NTC_K + SIGMAS * (sensors.temperature_offset_k + sensors.temperature_noise_k)
    told = _configured(cell, pack)
    pack_v = pack.topology.blocks * high_v

    def amps(limit: float) -> float:
        gain = 1.0 + SIGMAS * sensors.current_gain_frac
        return limit * gain + SIGMAS * (sensors.current_offset_a + sensors.current_noise_a)

    ignored = spec.diagnosis("charge_limit_ignored").thresholds[2] * 1e-3
    return {
        "voltage_max_v": high_v + volts,
        "voltage_min_v": limits.voltage_min_v[2] - volts,
        "voltage_bleed_v": limits.voltage_min_v[0] - volts,
        "temperature_error_k": kelvin,
        "hot_degc": limits.temperature_max_discharge_degc[2] + kelvin,
        "hot_charge_degc": limits.temperature_max_charge_degc[2] + kelvin,
        "cold_charge_degc": limits.temperature_min_charge_degc[2] - kelvin,
        "discharge_a": amps(limits.current_discharge_a[2] * parallel),
        "charge_a": amps(limits.current_charge_a[2] * parallel),
        "range_a": sensors.current_range_a,
        "comparator_a": sensors.comparator_a,
        "break_a": amps(pack.contactors.break_current_a),
        "ignored_a": amps(ignored),
        "pressure_error_kpa": 1.0
        + SIGMAS * (sensors.pressure_offset_kpa + sensors.pressure_noise_kpa),
        # Both voltages come from one instrument: 0.2 % of the pack voltage apart at most.
        "precharge_v": told["precharge_tolerance_mv"][0] * 1e-3 + 0.002 * pack_v + 0.5,
    }


def _budgets(cell: Cell, pack: Pack) -> dict[str, int]:
    """Milliseconds: deadlines of the diagnoses, and the travel of the contactors."""

    def deadline(*names: str) -> int:
        return max(spec.diagnosis(name).deadline_ms for name in names)

    made = pack.contactors
    told = _configured(cell, pack)
    feedback_ms = int(told["feedback_ms"][0])
    return {
        "travel_ms": round(made.open_ms + made.bounce_ms) + PERIOD_MS + 2,
        "fuse_ms": int(told["fuse_wait_ms"][0]),
        "interlock_ms": deadline("interlock_open"),
        "overvoltage_ms": deadline("cell_overvoltage"),
        "undervoltage_ms": deadline("cell_undervoltage"),
        "hot_ms": deadline("temperature_high_discharge"),
        "hot_charge_ms": deadline("temperature_high_charge"),
        # A charger that does not obey is found a window later.
        "cold_charge_ms": deadline("temperature_low_charge")
        + 2 * deadline("charge_limit_ignored")
        + 1000,
        "current_ms": deadline("current_discharge_high", "current_charge_high"),
        # Contactors break a short only after two readings have shown how large it is: fuse.c.
        "comparator_ms": max(deadline("current_comparator"), LOOK_MS),
        "pressure_ms": deadline("pressure_low", "pressure_high"),
        "sensor_ms": deadline("current_unknown"),
        "silent_ms": deadline("afe_link"),
        "frozen_ms": deadline("afe_frozen"),
        "blank_ms": deadline("cell_voltage_unknown"),
        "insulation_ms": deadline("insulation_unknown"),
        "weld_ms": deadline("contactor_main_plus", "contactor_main_minus", "contactor_precharge")
        + feedback_ms,
        "precharge_ms": deadline("precharge_timeout") + 6 * feedback_ms + 2 * PERIOD_MS,
    }


def _states() -> dict[str, Any]:
    """Bits over the numbers that states have on the bus; a state unknown here may follow and be
    followed by any, but never closes."""
    number = {name: k for k, name in spec.choices("BmsState", "State").items()}

    def bits(names: tuple[str, ...]) -> int:
        return sum(1 << number[name] for name in set(names) & number.keys())

    strange = tuple(name for name in number if name not in _NEXT)
    table = np.zeros(32, np.uint32)
    for name, k in number.items():
        after = _NEXT.get(name, ("standby", "opening"))
        dead = name in _DEAD
        table[k] = bits((*after, *strange, *_ANYWHERE, name)) if not dead else bits((name,))
    closed = bits(("precharge", "normal_drive", "normal_charge"))
    return {
        "next_states": table,
        "closed_states": closed,
        "close_states": bits(("standby", "precharge")),
        "test_states": bits(("service",)),
    }
