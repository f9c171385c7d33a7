"""What a cell and a pack are: plain frozen data. The files are `cells/*.toml` and `packs/*.toml`;
`config.py` loads them.

In a file every number carries where it comes from: `key = { value = 77.0, source = "..." }` or
`assumption = "..."` instead of `source`. Here only the values are left; the provenance of
`Cell.electric.capacity_ah` is `cell.provenance["electric.capacity_ah"]`. Units are in the names.
Currents are positive on discharge. Limits are operate / warn / trip triplets, from mild to severe.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class Frozen(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of all configuration: immutable, unknown keys refused."""


Triplet = tuple[float, float, float]
"""operate, warn, trip."""


class Classification(Frozen, frozen=True):
    """After the Chinese draft standard 'Solid-state battery for electric vehicle - Part 1'
    (2025-12)."""

    weight_loss_frac: float  # after vacuum drying at 120 degC; <= 0.005 makes a solid-state battery
    liquid_frac: (
        float  # share of liquid in the electrolyte by weight: 1 is a liquid cell, between is hybrid
    )
    electrolyte: Literal["sulfide", "oxide", "polymer", "halide", "composite", "liquid"]
    ion: Literal["lithium", "sodium", "other"]
    application: Literal["high_energy", "high_power", "other"]

    @property
    def kind(self) -> Literal["liquid", "hybrid_solid_liquid", "solid_state"]:
        """The class, decided by the 0.5 % weight-loss rule."""
        if self.weight_loss_frac <= 0.005:
            return "solid_state"
        return "liquid" if self.liquid_frac >= 1.0 else "hybrid_solid_liquid"


class Geometry(Frozen, frozen=True):
    format: Literal["pouch", "prismatic", "cylindrical"]
    length_m: float  # cylindrical: height
    width_m: float  # cylindrical: diameter
    thickness_m: float  # cylindrical: diameter
    mass_kg: float
    electrode_area_cm2: float  # total area of one polarity, all layers
    layers: int


class Electric(Frozen, frozen=True):
    capacity_ah: float  # between full and empty at rest, 25 degC
    ocv_soc_frac: tuple[float, ...]  # rising from 0 to 1
    ocv_v: tuple[float, ...]  # strictly rising, at 25 degC
    entropic_v_per_k: tuple[float, ...]  # dU/dT on the same grid
    hysteresis_v: float  # half the gap between charge and discharge branches
    hysteresis_soc_frac: float  # SoC swing over which a branch is reached (1/e)


class Conductivity(Frozen, frozen=True):
    """Temperature law of a resistance: multiplier 1 at 25 degC.

    arrhenius: exp(Ea/k (1/T - 1/298.15)). vtf: above melting exp(B/(T-T0) - B/(Tm-T0)), below it
    Arrhenius with activation_ev, continuous at the join, the whole scaled to 1 at 25 degC."""

    law: Literal["arrhenius", "vtf"]
    activation_ev: float
    vtf_b_k: float = 0.0
    vtf_t0_k: float = 0.0
    melting_degc: float = 0.0


class Resistance(Frozen, frozen=True):
    electrolyte_ohm: float  # at 25 degC
    electrolyte_temperature: Conductivity
    contact_ohm: float  # at 25 degC, reference pressure, no voids
    contact_activation_ev: float
    charge_transfer_ohm: float  # first RC
    charge_transfer_tau_s: float
    charge_transfer_activation_ev: float
    diffusion_ohm: float  # second RC
    diffusion_tau_s: float
    diffusion_activation_ev: float


class Pressure(Frozen, frozen=True):
    reference_kpa: float  # contact_ohm holds here
    exponent: float  # contact goes as (P / reference) ** exponent; about -0.5; 0 for liquid
    operate_min_kpa: Triplet  # (0, 0, 0) where pressure does not matter
    operate_max_kpa: Triplet


class Breathing(Frozen, frozen=True):
    """Free thickness change of one cell; the fixture of the pack turns it into pressure."""

    anode_um_per_ah: float  # growth on charge; lithium metal: 4.85 um per mAh/cm2 and layer
    cathode_um_per_ah: float  # usually negative on charge
    thermal_um_per_k: float


class CriticalCurrent(Frozen, frozen=True):
    """Areal current densities beyond which plating (charge) grows dendrites and stripping
    (discharge) leaves voids."""

    plating_ma_per_cm2: float  # at 25 degC, reference pressure
    stripping_ma_per_cm2: float
    activation_ev: float  # rises with temperature
    pressure_exponent: float  # goes as (P / reference) ** exponent


class Voids(Frozen, frozen=True):
    growth_frac_per_c_cm2: (
        float  # contact area lost per coulomb/cm2 stripped beyond the critical current
    )
    healing_tau_s: float  # at reference pressure, 25 degC
    unrecoverable_frac: float  # share of a void that never heals
    maximum_frac: float  # area that can be lost at most


class SoftShort(Frozen, frozen=True):
    hazard_per_s: float  # at twice the critical current; goes as overload ** weibull_shape
    weibull_shape: float
    initial_ohm: float  # leak of a fresh filament
    growth_per_s: float  # relative growth of its conductance while plating continues
    minimum_ohm: float


class SelfDischarge(Frozen, frozen=True):
    per_month_frac: float  # at 25 degC
    activation_ev: float


class Thermal(Frozen, frozen=True):
    heat_capacity_j_per_kg_k: float
    core_frac: float  # share of the heat capacity in the core node
    core_surface_w_per_k: float
    melting_degc: float  # of lithium: 180.5; a hard ceiling for alarms
    cooling_w_per_k: float = 0.0  # surface to air on the bench it was fitted on; 0: not known


class RunawayStage(Frozen, frozen=True):
    rate_per_s: float  # pre-exponential
    activation_ev: float
    heat_j: float  # released over the whole reaction
    onset_degc: float  # below it the stage is not integrated


class Runaway(Frozen, frozen=True):
    first: RunawayStage
    second: RunawayStage
    short_degc: float  # separator fails: the cell shorts internally
    short_ohm: float
    vent_kpa: float  # pressure step in the module when the first stage is half spent


class Ageing(Frozen, frozen=True):
    interphase_ohm_per_sqrt_s: float  # contact resistance grows with sqrt(time) at 25 degC
    interphase_activation_ev: float
    capacity_loss_frac_per_cycle: float  # per equivalent full cycle at 25 degC
    contact_loss_frac_per_cycle: float  # area lost per equivalent full cycle
    calendar_loss_frac_per_sqrt_s: float


class Limits(Frozen, frozen=True):
    """operate, warn, trip. Currents are magnitudes of one cell."""

    voltage_max_v: Triplet
    voltage_min_v: Triplet
    temperature_max_charge_degc: Triplet
    temperature_max_discharge_degc: Triplet
    temperature_min_charge_degc: Triplet
    temperature_min_discharge_degc: Triplet
    current_charge_a: Triplet
    current_discharge_a: Triplet


class Cell(Frozen, frozen=True):
    name: str
    title: str
    description: str
    classification: Classification
    geometry: Geometry
    electric: Electric
    resistance: Resistance
    pressure: Pressure
    breathing: Breathing
    critical_current_claimed: CriticalCurrent
    critical_current_literature: CriticalCurrent
    voids: Voids
    soft_short: SoftShort
    self_discharge: SelfDischarge
    thermal: Thermal
    runaway: Runaway
    ageing: Ageing
    limits: Limits
    provenance: dict[
        str, str
    ] = {}  # dotted key -> "source: ..." or "assumption: ..."; filled by the loader
    file: str = ""


class Topology(Frozen, frozen=True):
    blocks: int  # in series
    parallel: int  # cells in a block
    blocks_per_module: int  # one monitor chip a module, at most 16
    strings: int = 1  # only 1 is built today


class Sensors(Frozen, frozen=True):
    temperature_blocks: tuple[
        int, ...
    ]  # blocks within a module whose first cell carries a thermistor (at most 6)
    pressure_per_module: bool
    cell_voltage_offset_v: float  # standard deviation of each channel's fixed error
    cell_voltage_gain_frac: float
    cell_voltage_noise_v: float  # of every conversion
    temperature_offset_k: float
    temperature_noise_k: float
    pressure_offset_kpa: float
    pressure_noise_kpa: float
    pressure_full_scale_kpa: float  # reading at 5 V; the channel is 0.5 to 4.5 V ratiometric
    current_offset_a: float
    current_gain_frac: float
    current_noise_a: float
    current_range_a: float
    comparator_a: float  # hardware over-current pin
    insulation_error_frac: float
    heater_feedback: bool = False  # current sensed in the heater's supply
    flow_switch: bool = False  # in the coolant loop
    gas_detector: bool = False  # aerosol and solvents
    h2s_detector: bool = False


class Fixture(Frozen, frozen=True):
    preload_kpa: float  # at half charge, 25 degC
    stiffness_kpa_per_um: float  # of a module, per um of mean free change; about 0 for pneumatic
    creep_tau_s: float  # set relaxation of the fixture
    creep_frac: float  # share of a pressure change that relaxes
    maximum_kpa: float


class Cooling(Frozen, frozen=True):
    plate_w_per_k: float  # one cell's surface to the cold plate
    neighbour_w_per_k: float  # between surfaces of adjacent blocks
    ambient_w_per_k: float  # one cell's surface to ambient
    coolant_heat_capacity_j_per_k: float  # of the loop
    coolant_flow_w_per_k: float  # at full pump, from plate loop to radiator
    pump_w: float
    heater_w: float  # at full duty, into the plate
    coolant_target_degc: float


class Contactors(Frozen, frozen=True):
    close_ms: float
    open_ms: float
    bounce_ms: float
    resistance_ohm: float
    break_current_a: float  # rated to open
    precharge_ohm: float
    precharge_energy_j: float  # the resistor survives so much at once
    link_capacity_f: float
    link_bleed_ohm: float
    cable_ohm: float


class Fuse(Frozen, frozen=True):
    rating_a: float
    melt_a2s: float  # I2t above the rating


class Spread(Frozen, frozen=True):
    """Standard deviations from cell to cell, drawn from named seeded streams."""

    capacity_frac: float
    resistance_frac: float
    soc_frac: float
    self_discharge_frac: float
    temperature_k: float


class Balancing(Frozen, frozen=True):
    bleed_ohm: float
    start_v: float  # spread that starts bleeding
    stop_v: float
    strategy: Literal["voltage", "charge"] = "voltage"  # by voltage at rest; by estimated charge


class Pack(Frozen, frozen=True):
    name: str
    title: str
    description: str
    cell: str  # name in the library, or a path
    topology: Topology
    sensors: Sensors
    fixture: Fixture
    cooling: Cooling
    contactors: Contactors
    fuse: Fuse
    insulation_kohm: float  # healthy, each pole to chassis
    insulation_warn_ohm_per_v: float
    insulation_trip_ohm_per_v: float
    chip_overvoltage_v: float  # hardware comparator; must be a step the BQ79616 has
    chip_undervoltage_v: float
    spread: Spread
    balancing: Balancing
    mass_overhead_frac: float  # pack mass over the mass of its cells, minus one
    chip_ring: bool = True  # a cable joins the top of the chips' chain to the base
    provenance: dict[str, str] = {}
    file: str = ""
