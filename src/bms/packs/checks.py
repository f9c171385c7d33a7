"""What must hold between a pack's parts, its monitor chips and its cell."""

from __future__ import annotations

from typing import Any

import msgspec

from ..config import between, positive, require
from ..model import Cell, Frozen, Pack

CHIP_CHANNELS_MIN, CHIP_CHANNELS = 6, 16  # BQ79616: ACTIVE_CELL holds the count minus 6
THERMISTORS_MAX = 6  # GPIO 1 to 6 of a chip; 7 is the pressure channel
BLOCKS_MAX, CELLS_MAX, MODULES_MAX = 400, 1200, 32  # sizes of the compiled plant
COMPARATOR_MARGIN_V = 0.1  # how far behind the software trip the chip's own comparator may lie

# OV_THRESH and UV_THRESH of the BQ79616, in mV: 25 mV steps in three windows with holes between
# them, and 50 mV steps.
OVERVOLTAGE_STEPS_MV = frozenset(
    (*range(2700, 3001, 25), *range(3500, 3801, 25), *range(4175, 4476, 25))
)
UNDERVOLTAGE_STEPS_MV = frozenset(range(1200, 3101, 50))
_OVERVOLTAGE = "a BQ79616 step: 2.700-3.000, 3.500-3.800 or 4.175-4.475 V by 0.025 V"
_UNDERVOLTAGE = "a BQ79616 step: 1.20-3.10 V by 0.05 V"

ZERO_ALLOWED = {
    "cell_voltage_offset_v", "cell_voltage_gain_frac", "cell_voltage_noise_v",
    "temperature_offset_k", "temperature_noise_k", "pressure_offset_kpa",
    "pressure_noise_kpa", "current_offset_a", "current_gain_frac", "current_noise_a",
    "insulation_error_frac", "stiffness_kpa_per_um", "preload_kpa", "creep_frac",
    "neighbour_w_per_k", "ambient_w_per_k", "plate_w_per_k", "coolant_flow_w_per_k", "pump_w",
    "heater_w", "bounce_ms", "capacity_frac", "resistance_frac", "soc_frac",
    "self_discharge_frac", "temperature_k", "mass_overhead_frac", "cable_ohm",
    "temperature_blocks",
}  # fmt: skip


def check(pack: Pack, cell: Cell) -> None:
    """Raise ConfigError for the first thing that cannot be built, or a cell that does not fit."""
    _check_signs(pack.file, "", pack)
    _check_topology(pack)
    _check_parts(pack)
    _check_chip(pack, cell)
    _check_currents(pack, cell)
    _check_environment(pack, cell)


def _check_signs(file: str, key: str, part: Frozen) -> None:
    for field in msgspec.structs.fields(part):
        value: Any = getattr(part, field.name)
        here = f"{key}.{field.name}" if key else field.name
        if isinstance(value, Frozen):
            _check_signs(file, here, value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            if field.name in ZERO_ALLOWED:
                require(value >= 0, file, here, value, "a value of 0 or more")
            elif field.name != "coolant_target_degc":
                positive(file, here, value)
            if field.name.endswith("_frac"):
                between(file, here, value, 0.0, 1.0)


def _check_topology(pack: Pack) -> None:
    form, file = pack.topology, pack.file
    key = "topology.blocks_per_module"
    between(file, key, form.blocks_per_module, CHIP_CHANNELS_MIN, CHIP_CHANNELS)
    require(
        form.blocks % form.blocks_per_module == 0,
        file,
        "topology.blocks",
        form.blocks,
        f"a multiple of blocks_per_module, {form.blocks_per_module}",
    )
    between(file, "topology.blocks", form.blocks, CHIP_CHANNELS_MIN, BLOCKS_MAX)
    between(file, "topology.blocks", form.blocks, 1, MODULES_MAX * form.blocks_per_module)
    cells = form.blocks * form.parallel
    require(
        cells <= CELLS_MAX,
        file,
        "topology.parallel",
        form.parallel,
        f"at most {CELLS_MAX} cells in all; {form.blocks} blocks make {cells}",
    )
    require(
        form.strings == 1,
        file,
        "topology.strings",
        form.strings,
        "1: packs of one string are what runs today",
    )
    where = pack.sensors.temperature_blocks
    key = "sensors.temperature_blocks"
    require(
        1 <= len(where) <= THERMISTORS_MAX,
        file,
        key,
        list(where),
        f"1 to {THERMISTORS_MAX} blocks of a module",
    )
    require(len(set(where)) == len(where), file, key, list(where), "each block once")
    for i, block in enumerate(where):
        require(
            0 <= block < form.blocks_per_module,
            file,
            f"{key}[{i}]",
            block,
            f"a block of the module, 0 to {form.blocks_per_module - 1}",
        )


def _check_parts(pack: Pack) -> None:
    file = pack.file
    require(
        pack.insulation_trip_ohm_per_v <= pack.insulation_warn_ohm_per_v,
        file,
        "insulation_trip_ohm_per_v",
        pack.insulation_trip_ohm_per_v,
        f"at most the warn level, {pack.insulation_warn_ohm_per_v:g}",
    )
    require(
        pack.balancing.stop_v < pack.balancing.start_v,
        file,
        "balancing.stop_v",
        pack.balancing.stop_v,
        f"less than start_v, {pack.balancing.start_v:g}",
    )
    require(
        pack.fixture.preload_kpa <= pack.fixture.maximum_kpa,
        file,
        "fixture.preload_kpa",
        pack.fixture.preload_kpa,
        f"at most maximum_kpa, {pack.fixture.maximum_kpa:g}",
    )


def _check_chip(pack: Pack, cell: Cell) -> None:
    """The chips' own comparators back up the software: existing steps, from warn to beyond trip."""
    file, limits = pack.file, cell.limits
    over, under = pack.chip_overvoltage_v, pack.chip_undervoltage_v
    require(_in_steps(over, OVERVOLTAGE_STEPS_MV), file, "chip_overvoltage_v", over, _OVERVOLTAGE)
    require(
        _in_steps(under, UNDERVOLTAGE_STEPS_MV), file, "chip_undervoltage_v", under, _UNDERVOLTAGE
    )
    _, warn, trip = limits.voltage_max_v
    require(
        warn <= over <= trip + COMPARATOR_MARGIN_V,
        file,
        "chip_overvoltage_v",
        over,
        f"{warn:g} to {trip + COMPARATOR_MARGIN_V:g} V for cell {cell.name}, warn to above trip",
    )
    _, warn, trip = limits.voltage_min_v
    low = trip - 3 * COMPARATOR_MARGIN_V
    require(
        low <= under <= warn,
        file,
        "chip_undervoltage_v",
        under,
        f"{low:g} to {warn:g} V for cell {cell.name}, below trip to warn",
    )


def _in_steps(value_v: float, steps_mv: frozenset[int]) -> bool:
    nearest = round(value_v * 1000.0)
    return nearest in steps_mv and abs(value_v * 1000.0 - nearest) < 1e-6


def _check_currents(pack: Pack, cell: Cell) -> None:
    """What cells deliver, the sensor sees, the fuse carries and the contactors break."""
    file, parallel, limits = pack.file, pack.topology.parallel, cell.limits
    trip = parallel * max(limits.current_discharge_a[2], limits.current_charge_a[2])
    carried = parallel * limits.current_charge_a[0]
    made = f"{parallel} x cell {cell.name}"
    sensors = pack.sensors
    require(
        sensors.comparator_a >= trip,
        file,
        "sensors.comparator_a",
        sensors.comparator_a,
        f"at least {trip:g} A, the software trip of {made}",
    )
    require(
        sensors.current_range_a >= trip,
        file,
        "sensors.current_range_a",
        sensors.current_range_a,
        f"at least {trip:g} A, the software trip of {made}",
    )
    require(
        pack.contactors.break_current_a >= sensors.comparator_a,
        file,
        "contactors.break_current_a",
        pack.contactors.break_current_a,
        f"at least sensors.comparator_a, {sensors.comparator_a:g}",
    )
    require(
        pack.fuse.rating_a >= carried,
        file,
        "fuse.rating_a",
        pack.fuse.rating_a,
        f"at least {carried:g} A, the lasting charge current of {made}",
    )
    full_v = pack.topology.blocks * limits.voltage_max_v[2]
    once_j = 0.5 * pack.contactors.link_capacity_f * full_v**2
    require(
        pack.contactors.precharge_energy_j >= 2.0 * once_j,
        file,
        "contactors.precharge_energy_j",
        pack.contactors.precharge_energy_j,
        f"at least {2.0 * once_j:.3g} J, two precharges",
    )


def _check_environment(pack: Pack, cell: Cell) -> None:
    """Stack pressure and coolant lie where the cell works; its sensor reads past the trip."""
    file, fixture, law = pack.file, pack.fixture, cell.pressure
    target, hottest = (
        pack.cooling.coolant_target_degc,
        cell.limits.temperature_max_discharge_degc[0],
    )
    coldest = cell.limits.temperature_min_discharge_degc[0]
    between(file, "cooling.coolant_target_degc", target, coldest, hottest)
    if law.exponent == 0.0:
        return
    between(
        file,
        "fixture.preload_kpa",
        fixture.preload_kpa,
        law.operate_min_kpa[0],
        law.operate_max_kpa[0],
    )
    require(
        fixture.maximum_kpa >= law.operate_max_kpa[2],
        file,
        "fixture.maximum_kpa",
        fixture.maximum_kpa,
        f"at least the trip pressure of cell {cell.name}, {law.operate_max_kpa[2]:g}",
    )
    if pack.sensors.pressure_per_module:
        require(
            pack.sensors.pressure_full_scale_kpa > law.operate_max_kpa[2],
            file,
            "sensors.pressure_full_scale_kpa",
            pack.sensors.pressure_full_scale_kpa,
            f"more than the trip pressure of cell {cell.name}, {law.operate_max_kpa[2]:g}",
        )
    grown = cell.breathing.anode_um_per_ah + cell.breathing.cathode_um_per_ah
    swing = 0.5 * fixture.stiffness_kpa_per_um * grown * cell.electric.capacity_ah
    low, high = fixture.preload_kpa - swing, fixture.preload_kpa + swing
    require(
        low >= law.operate_min_kpa[0] and high <= law.operate_max_kpa[0],
        file,
        "fixture.stiffness_kpa_per_um",
        fixture.stiffness_kpa_per_um,
        f"a full charge within {law.operate_min_kpa[0]:g} to {law.operate_max_kpa[0]:g} kPa; "
        f"this one moves from {low:.4g} to {high:.4g}",
    )
