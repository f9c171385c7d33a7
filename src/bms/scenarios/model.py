"""What a scenario is: `Scenario` as written in TOML, `Plan` as the loop executes it.

A scenario names a pack, a start and phases in order. Compilation turns each phase into arrays in
time and each act into a written field, so that the inner loop needs no callback and every rig can
run the same plan.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np

from bms.model import Frozen
from bms.plant.loads import Array, House

Request = Literal["standby", "drive", "charge"]


class Until(Frozen, frozen=True):
    """A phase ends early as soon as any one of these holds. None: not asked.

    SoC, current and temperature are the pack's own, as a laboratory measures them; the state is
    what the BMS reports.
    """

    soc_above_frac: float | None = None
    soc_below_frac: float | None = None
    current_below_a: float | None = None  # magnitude, after it was above once
    state: str | None = None  # as bms.dbc names it: "standby", "normal_drive", ...
    temperature_above_degc: float | None = None  # core of the coldest cell


class PhaseSpec(Frozen, frozen=True, tag_field="kind"):
    """What every phase of a scenario file has."""

    request: Request  # what the vehicle asks of the BMS
    ambient_degc: float | None = None  # None: as before
    until: Until = Until()


class RestSpec(PhaseSpec, frozen=True, tag="rest", kw_only=True):
    """No load."""

    duration_s: float


class PowerSpec(PhaseSpec, frozen=True, tag="power", kw_only=True):
    """Constant power."""

    duration_s: float
    power_w: float  # + = discharge
    obeys_limits: bool = True


class CurrentSpec(PhaseSpec, frozen=True, tag="current", kw_only=True):
    """Constant current."""

    duration_s: float
    c_rate: float  # of the pack's rated capacity, + = discharge
    obeys_limits: bool = True


class CycleSpec(PhaseSpec, frozen=True, tag="cycle", kw_only=True):
    """The scenario's vehicle follows a speed trace."""

    cycle: str = "nedc"  # "nedc" or a CSV file, relative to the scenario's file
    repeat: int = 1
    obeys_limits: bool = True


class Leg(Frozen, frozen=True):
    """Speed reached at constant acceleration, then held."""

    speed_kmh: float
    hold_s: float


class JourneySpec(PhaseSpec, frozen=True, tag="journey", kw_only=True):
    """The scenario's vehicle repeats legs from standstill over a distance, then stops."""

    distance_km: float
    legs: tuple[Leg, ...]
    acceleration_mps2: float
    obeys_limits: bool = True


class HouseSpec(PhaseSpec, frozen=True, tag="house", kw_only=True):
    """The scenario's [house] behind its inverter."""

    duration_s: float
    step_s: float = 60.0
    obeys_limits: bool = True


class ChargeStep(Frozen, frozen=True):
    until_soc_frac: float
    c_rate: float


class ChargeSpec(PhaseSpec, frozen=True, tag="charge", kw_only=True):
    """Constant current in steps over SoC, then constant voltage."""

    duration_s: float
    steps: tuple[ChargeStep, ...]
    cell_voltage_v: float | None = None  # None: the cell's operate limit
    obeys_limits: bool = True


AnyPhaseSpec = RestSpec | PowerSpec | CurrentSpec | CycleSpec | JourneySpec | HouseSpec | ChargeSpec


class VehicleSpec(Frozen, frozen=True):
    """A vehicle of bms.plant.loads.VEHICLES; what is given here replaces its value."""

    model: str
    mass_kg: float | None = None
    drag_area_m2: float | None = None
    rolling_coefficient: float | None = None
    rotating_mass_factor: float | None = None
    drive_efficiency_frac: float | None = None
    regen_efficiency_frac: float | None = None
    regen_share_frac: float | None = None
    regen_power_max_w: float | None = None
    drive_power_max_w: float | None = None
    regen_full_kmh: float | None = None
    auxiliaries_w: float | None = None


class Start(Frozen, frozen=True):
    soc_frac: float
    temperature_degc: float
    ambient_degc: float


class Rounds(Frozen, frozen=True):
    """Consecutive phases that are done several times."""

    phases: tuple[str, ...] = ()
    times: int = 1


class Act(Frozen, frozen=True, kw_only=True):
    """What the world does at a time: one field of a part of the simulation is written.

    Data and not a callback, so that any rig can do it.
    """

    at_s: float
    field: str  # "plant.cell_short_siemens": part, dot, name in that part's field table
    index: int = 0
    value: float
    text: str  # for the event list


class Expect(Frozen, frozen=True):
    """How the run should end; checked by tests, told in the findings. None and empty: not asked."""

    no_trips: bool = False
    diagnoses: tuple[str, ...] = ()  # concluded at some time
    contactors_open: bool | None = None  # at the end
    charge_inhibited: bool | None = None  # at the end


class Scenario(Frozen, frozen=True, kw_only=True):
    title: str
    description: str
    pack: str
    cell: str | None = None  # None: the pack's
    critical: Literal["claimed", "literature"] = "claimed"
    ageing_acceleration: float = 1.0
    start: Start
    phase: dict[str, AnyPhaseSpec]  # in order
    rounds: Rounds = Rounds()
    vehicle: VehicleSpec | None = None
    house: House | None = None
    act: tuple[Act, ...] = ()
    expect: Expect = Expect()
    published: Mapping[str, float] = {}  # figures the findings compare with
    assumptions: tuple[str, ...] = ()
    name: str = ""  # filled by the loader
    file: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Phase:
    """One stretch of the plan. The loop leaves it at duration_s or when any of `until` holds.

    kind "rest": no load. "power", "current": `values` at the pack's terminals in W or A,
    + = discharge; values[i] is held over [i, i + 1) step_s, the last one to the end.
    "charge": a charger of at most charge_current_a and charge_voltage_v; charge_steps are
    (until_soc_frac, current_a), rising in SoC, and the first whose SoC is above the reported one
    gives the current (none: the last). obeys_limits: the load is clipped to the limits the BMS
    sends. `until` holds the conditions of `Until` that were asked, "soc_above" for soc_above_frac.
    """

    name: str
    request: Request
    kind: Literal["rest", "power", "current", "charge"]
    duration_s: float
    ambient_degc: float | None
    step_s: float
    values: Array
    obeys_limits: bool
    charge_current_a: float
    charge_voltage_v: float
    charge_steps: tuple[tuple[float, float], ...]
    until: dict[str, float | str]
    distance_m: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """A scenario compiled for one cell and pack: all a run needs but the seed of its sensors."""

    name: str
    title: str
    description: str
    pack: str
    cell: str
    start_soc_frac: float
    start_temperature_degc: float
    ambient_degc: float
    critical: Literal["claimed", "literature"]
    ageing_acceleration: float
    phases: tuple[Phase, ...]
    acts: tuple[Act, ...]  # by time
    expect: Expect
    published: Mapping[str, float]
    assumptions: tuple[str, ...]
    settings: dict[str, str]

    @property
    def duration_s(self) -> float:
        """The longest it can take."""
        return sum(phase.duration_s for phase in self.phases)

    @property
    def distance_m(self) -> float:
        """Driven over all phases if no limit cuts the power."""
        return sum(phase.distance_m for phase in self.phases)


def plan_bytes(plan: Plan) -> bytes:
    """The plan as canonical bytes, equal on every machine (arrays as little-endian doubles)."""

    def encode(value: object) -> object:
        if isinstance(value, np.ndarray):
            return np.ascontiguousarray(value, dtype="<f8").tobytes()
        raise TypeError(f"a plan holds no {type(value).__name__}")

    return msgspec.json.Encoder(enc_hook=encode, order="sorted").encode(plan)
