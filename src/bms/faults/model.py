"""What a fault is: frozen data, as written in the TOML files beside this."""

from __future__ import annotations

from typing import Literal

import msgspec

from bms.model import Frozen

GROUPS: dict[str, str] = {
    "CEL": "Cell and pack physics",
    "SEN": "Sensors",
    "AFE": "Link to the monitor chips",
    "COM": "CAN and serial links",
    "CON": "Contactors, precharge, interlock",
    "ISO": "Insulation",
    "THM": "Heat and cooling",
    "PRS": "Stack pressure",
    "CHG": "Charger, inverter, load",
    "SYS": "Supply, reset, memory, clock",
    "SEC": "Hostile traffic",
}  # fmt: skip
"""First letters of an id, in the order of the catalogue, and what the group is about."""

INVARIANTS: tuple[str, ...] = (
    *(f"S{k}" for k in range(1, 18)), *(f"L{k}" for k in range(1, 6)),
    *(f"E{k}" for k in range(1, 8)), "C", "D", "T",
)  # fmt: skip
"""What a campaign checks all the time. S8 (no closing again after a trip), S10 (advertised limits)
and the families C, D and T are never masked."""

Target = Literal[
    "pack", "cell", "block", "module", "sensor", "wire", "contactor", "main", "message", "bit",
    "byte", "node", "page",
]  # fmt: skip
State = Literal[
    "any", "rest", "drive", "charge", "full", "balancing", "cooling", "heating", "precharge",
    "boot",
]  # fmt: skip
Reaction = Literal[
    "none", "ride_through", "warn", "derate", "inhibit", "trip", "open", "reset", "refuse"
]  # fmt: skip
"""none: nothing is asked but the invariants. ride_through: no trip. warn: a diagnosis. derate: and
a lower limit. inhibit: contactors stay open or the charge stops. trip: contactors open after a
diagnosis. open: they open. reset: they open with the control unit and stay so. refuse: they never
close."""
Op = Literal["set", "add", "scale", "or", "clear", "flip", "push"]
Place = Literal[
    "first", "index", "cells", "channel", "channel_bit", "index_bit", "thermistor", "slots", "all",
    "module_cells", "register", "index_value", "sensor_cell",
    "between",
]  # fmt: skip


Of = Literal[
    "one", "discharge_trip_a", "charge_trip_a", "pack_trip_v", "pressure_trip_kpa",
    "insulation_trip_kohm",
]  # fmt: skip


class Write(Frozen, frozen=True):
    """One timed move on a field of the world.

    place: where it lands, given the index of the fault: `first` element 0 (or `at`); `index` that
    element; `cells` every parallel cell of the block; `channel` its channel of its chip,
    `channel_bit` the bit of it in the word of the chip; `index_bit` bit `index` of element 0;
    `thermistor` the pin of the sensor, `sensor_cell` the cell
    that carries it; `slots` all 16 channels of the module; `module_cells` every
    cell of the module; `register` byte `at` of the registers of its chip; `all` every element in
    use. `index_value` writes the index itself, plus `at`, into element 0, `between` the number of a
    cable or a pair between two modules, 1 to modules - 1.
    """

    field: str  # part.field of the world, "firmware.memory" for its bytes
    op: Op = "set"
    place: Place = "first"
    at: int = 0  # added to the place
    value: float | None = None  # None: the value of the fault
    times: float = 1.0  # factor on it
    of: Of = "one"  # and a quantity of the pack: a trip limit, the break current of its contactors
    hold: bool = False  # written again in every step, whoever else writes it
    stays: bool = False  # does not come back
    furthest: float | None = None  # of a push of doubles: nothing is moved past it
    instant: bool = False  # without the ramp of the fault
    after_s: float = 0.0  # later than the fault's beginning
    period_s: float = 0.0  # comes and goes
    width_s: float = 0.0  # of that, there


class Mask(Frozen, frozen=True):
    """An invariant that cannot be seen, or cannot be kept, while the fault lasts.

    `bound` says what is asked of it meanwhile in words, `factor` by how much the bound widens, in
    its unit (0: not asked at all), `after_s` how long past the fault's end the mask still holds,
    `within_s`, if it is not 0, that it holds no longer than that past the fault's beginning.
    """

    invariant: str
    bound: str
    why: str
    factor: float = 0.0
    after_s: float = 1.0
    within_s: float = 0.0


class Fault(Frozen, frozen=True, kw_only=True):
    """One row of the catalogue."""

    id: str
    title: str
    text: str  # what happens in the world
    target: Target = "pack"
    value: float = 1.0  # as injected when nobody says otherwise
    unit: str = "1"
    lowest: float = 1.0  # of the value
    highest: float = 1.0
    duration_s: float = 0.0  # 0: until withdrawn
    ramp_s: float = 0.0
    state: State = "any"  # in which it applies; "full": at the end of a charge
    then: Literal["", "open", "close"] = ""  # what the vehicle asks for once it acts, so it is seen
    reaction: Reaction  # what the BMS must do, at least
    diagnoses: tuple[str, ...] = ()  # one of these must be raised; none: nothing may be raised
    allowed: tuple[str, ...] = ()  # these may be raised beside
    budget_ms: float = 0.0  # from the beginning of the fault to the reaction
    source: str  # of the budget
    weight: float = 1.0  # in random campaigns; 0: never drawn
    writes: tuple[Write, ...] = msgspec.field(name="write", default=())  # what it does
    masks: tuple[Mask, ...] = msgspec.field(name="mask", default=())
    left_to: str = ""  # who closes it, and why it does not act in the world
    closed_by: str = ""  # the test that does, file::name; without it the row is open

    @property
    def is_open(self) -> bool:
        """It neither acts nor is closed by a test elsewhere."""
        return bool(self.left_to) and not self.closed_by

    @property
    def group(self) -> str:
        """Letters of its group."""
        return self.id[:3]


def number(name: str) -> int:
    """The id as a number for compiled code: SEN-03 is 515."""
    group, _, place = name.partition("-")
    return (list(GROUPS).index(group) + 1) * 256 + int(place)


def from_number(value: int) -> str:
    """The other way round; of anything else its digits."""
    group, place = value // 256 - 1, value % 256
    letters = list(GROUPS)
    return f"{letters[group]}-{place:02d}" if 0 <= group < len(letters) else str(value)
