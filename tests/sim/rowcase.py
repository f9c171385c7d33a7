"""One row of the diagnosis table at a time: bring a pack to a state once, restore, provoke, look.

A stimulus is data: what is put where in the world (physics, wires, pins, supply, memory), so that
it can be taken away again. A `Bench` carries it out on a restored snapshot, counts milliseconds,
and tells what the pack did.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import faultcase
import numpy as np

from bms import spec
from bms.sim import Simulation, Snapshot

COILS = 7
REQUESTS = {"open": 0, "close": 1}
FINE_MS = 60_000  # longer waits are counted in tenths of a second
CLOSED_S = 12.0  # limits have risen, sensors are known
READY_MS = 1500
KIND_CURRENT = 2
SHAKES_A = np.tile([20.0, 90.0], 20_000)


@dataclass(frozen=True)
class Put:
    """`value` into `field` ("part.field", or "firmware." and the name of a probe) at `at`, an
    element or a slice. op: set, add, or, flip. hold: written again every millisecond."""

    field: str
    value: float | Callable[[Simulation], float]
    at: int | slice = 0
    op: str = "set"
    hold: bool = False


Puts = tuple[Put, ...]
OPS: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "set": lambda was, amount: np.full_like(was, amount),
    "add": lambda was, amount: (was + amount).astype(was.dtype),
    "or": lambda was, amount: was | was.dtype.type(int(amount)),
    "flip": lambda was, amount: was ^ was.dtype.type(int(amount)),
}
LAST_WORDS = ("assertion", "config_invalid")
"""Told by a firmware that does nothing else any more."""


@dataclass(frozen=True)
class Stimulus:
    """How a row is provoked up to its highest tier, and how far it may go without.

    cause: what does it. inside: nearly as much, and nothing may follow for as long as the deadline.
    keeps: instead of the cause, back inside the limit by less than the row asks for: what was
    concluded stays. ready: the way there, step by step, READY_MS each. then: what the vehicle asks
    for at that moment; time counts from its last coil. play: what has to happen after the cause
    until the trigger can see it. others: rows that the same cause may raise sooner, and trip.
    remembers_ms: for how long the trigger looks back, beside its last sample. each_ms: between
    samples, where they do not come as usual. clears_ms: from the cause's end, at most. ends: by a
    "clear" request or by itself, by a "restart", or by what takes longer than a test ("never").
    mute: the cause takes the bus as well, so nothing can be asked meanwhile. drops: it opens the
    contactors by itself."""

    state: str
    cause: Puts
    inside: Puts = ()
    keeps: Puts = ()
    ready: tuple[Puts, ...] = ()
    then: str = ""
    play: Callable[[Bench], None] | None = None
    others: tuple[str, ...] = ()
    remembers_ms: int = 0
    each_ms: int = 0
    clears_ms: int = 2500
    ends: str = "clear"
    mute: bool = False
    drops: bool = False


@cache
def prepared(state: str) -> tuple[Simulation, Snapshot]:
    """A simulation in this state: one of `faultcase`, or one of our own.

    closed, warm: closed contactors without a load. shaken: with one that changes every half second.
    small, full_small: a pack of one module at rest, for what takes hours. refused: a control unit
    with a configuration in which a bit has flipped."""
    if state not in ("closed", "warm", "shaken", "small", "full_small", "refused"):
        return faultcase.simulation(state)
    starts = {"warm": ("50.0", "0.6"), "full_small": ("45.0", "0.95")}
    degc, soc_frac = starts.get(state, ("25.0", "0.6"))
    settings = {"temperature_degc": degc, "ambient_degc": degc, "soc_frac": soc_frac}
    made = Simulation(
        faultcase.HERE / "faults_rest.toml", seed=7,
        pack="bench_16s1p" if "small" in state else faultcase.PACK,
        settings={f"start.{key}": value for key, value in settings.items()},
    )  # fmt: skip
    if state == "refused":
        made.config = made.config[:300] + bytes([made.config[300] ^ 1]) + made.config[301:]
        made.world = made._new_world()
        made._fill()
        assert made.world.start() != 0
        return made, made.snapshot()
    made.run(8.0, record=False)
    if "small" in state:
        return made, made.snapshot()
    vehicle = made.world.parts["vehicle"]
    vehicle["request"][0] = REQUESTS["close"]
    made.run(CLOSED_S, record=False)
    if state == "shaken":
        vehicle["kind"][0] = KIND_CURRENT
        made.world.parts["loop"]["profile_step_us"][0] = 500_000
    assert int(made.world.parts["plant"]["contactor_closed"][0]) & COILS == 3
    return made, made.snapshot()


@dataclass(frozen=True)
class Saved:
    """A bench as it stood, to go on from more than once."""

    state: str
    snapshot: Snapshot
    former: tuple[tuple[str, int | slice, np.ndarray], ...]
    held: tuple[tuple[str, int | slice, np.ndarray], ...]


class Bench:
    """A simulation in a state, what was put into it, and what it showed."""

    def __init__(self, state: str, saved: Saved | None = None) -> None:
        self.made, snapshot = prepared(state)
        self.name, self.before = state, len(snapshot.events)
        self.made.restore(saved.snapshot if saved else snapshot)
        if state == "shaken":
            self.made.world.set_profile(SHAKES_A)
        self.parts = self.made.world.parts
        self.former = list(saved.former) if saved else []
        self.held = list(saved.held) if saved else []

    def save(self) -> Saved:
        return Saved(self.name, self.made.snapshot(), tuple(self.former), tuple(self.held))

    # ---- the world ----

    def put(self, puts: Puts) -> None:
        """Do it to the world; `lift` undoes it."""
        for one in puts:
            values = self.field(one.field)
            was = np.array(values[one.at])
            amount = one.value(self.made) if callable(one.value) else one.value
            values[one.at] = OPS[one.op](was, amount)
            self.former.append((one.field, one.at, was))
            if one.hold:
                self.held.append((one.field, one.at, np.array(values[one.at])))

    def lift(self) -> Bench:
        """All that was put is gone."""
        for name, at, was in reversed(self.former):
            self.field(name)[at] = was
        self.former, self.held = [], []
        return self

    def field(self, name: str) -> np.ndarray:
        part, _, field = name.partition(".")
        if part != "firmware":
            return np.asarray(self.parts[part][field])
        return (
            np.asarray(self.made.world.firmware_bytes) if field == "memory" else self.probe(field)
        )

    def run(self, ms: int) -> Bench:
        while ms > 0:
            step = 1 if self.held else min(ms, 5000)
            for name, at, now in self.held:
                self.field(name)[at] = now
            self.made.run(step * 1e-3, record=False)
            ms -= step
        return self

    # ---- who asks ----

    def ask(self, what: str) -> Bench:
        """open or close; whoever asks to open takes the current away as well."""
        self.parts["vehicle"]["request"][0] = REQUESTS[what]
        if what == "open":
            self.parts["vehicle"]["kind"][0] = 0
        return self

    def clear(self, *, service: bool = False) -> Bench:
        """A clear request, asking for standby; from a workshop or not."""
        vehicle = self.parts["vehicle"]
        self.ask("open")
        for wish in (0, 1, 0):
            vehicle["clear_request"][0], vehicle["service"][0] = wish, wish and service
            self.run(250)
        return self

    def reset(self) -> Bench:
        """The control unit starts anew with its memory, in time for a self-test."""
        self.parts["seam"]["reset_cause"][0] = 1
        return self.run(9000)

    # ---- what it shows ----

    def probe(self, name: str) -> np.ndarray:
        """What the firmware shows of itself, live."""
        found = next(one for one in self.made.probes if one[0] == name)
        memory = self.made.world.firmware_bytes
        return np.frombuffer(memory, np.dtype(found[4]), found[3], found[2])

    def until_raised(self, row: spec.Diagnosis, within_ms: int) -> tuple[int, int] | None:
        """Milliseconds until it is concluded and acted upon: all, and from the last coil that
        moved meanwhile."""
        coils, since, step = self.coils, 0, 1 if within_ms <= FINE_MS else 100
        for ms in range(step, within_ms + 1, step):
            self.run(step)
            if self.is_active(row) and (row.reaction != "trip" or self.is_tripped):
                return ms, ms - since
            if self.coils != coils:
                coils, since = self.coils, ms
        return None

    def is_active(self, row: spec.Diagnosis) -> bool:
        """Concluded or latched."""
        if row.name in LAST_WORDS:
            return int(self.parts["vehicle"]["obs_trip_diagnosis"][0]) == row.id
        page, bit = divmod(row.id, spec.DIAGNOSES_A_PAGE)
        return bool(int(self.probe("active_diagnoses")[page]) >> bit & 1)

    @property
    def is_tripped(self) -> bool:
        return int(self.probe("first_trip")[0]) != 0 or self.state in ("asserted", "refused")

    @property
    def first_trip(self) -> str:
        """The diagnosis that tripped, as the vehicle is told."""
        return str(spec.diagnosis_name(int(self.parts["vehicle"]["obs_trip_diagnosis"][0])))

    @property
    def state(self) -> str:
        return str(spec.state_name(int(self.probe("state")[0])))

    @property
    def coils(self) -> int:
        return int(self.parts["loop"]["commanded_pins"][0]) & COILS

    @property
    def limits_a(self) -> tuple[float, float]:
        """Advertised on the bus: charge, discharge."""
        vehicle = self.parts["vehicle"]
        return float(vehicle["obs_charge_limit_a"][0]), float(vehicle["obs_discharge_limit_a"][0])

    def told(self, row: spec.Diagnosis) -> set[str]:
        """What the bus said of the row: "warn raised" and so on."""
        return {e.text for e in self.made.events[self.before :] if e.name == row.name}
