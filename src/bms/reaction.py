"""Reaction times: what the configuration says each diagnosis takes, and what simulation shows.

    predict(config)["cell_overvoltage"].predicted_ms
    measure("cell_overvoltage", "car_96s1p").most_ms

`predict` is arithmetic over spec/diagnoses.toml and the configuration (bms.firmware.timing).
`measure` injects the fault at several phases of the schedule and counts simulated milliseconds
until the diagnosis is active. A fault that follows a command counts from the coil.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from bms import cells, faults, packs, spec
from bms.firmware import config as firmware_config
from bms.firmware.timing import Prediction, predict
from bms.model import Frozen
from bms.sim import Simulation, Snapshot

__all__ = ["PACK", "Measured", "Prediction", "Recipe", "Row", "measure", "predict", "table"]

PACK = "car_96s1p"
PHASES_MS = (3, 20, 37, 54, 71)  # after the same instant: other places in the 20 and 100 ms rounds
COILS = 7


class Recipe(Frozen, frozen=True):
    """How a diagnosis is provoked: a fault of the catalogue, a field of the world, or why not."""

    fault: str = ""
    state: str = "rest"
    index: int = 0
    value: float | None = None
    write: str = ""  # "part.field" set to value at index; vehicle.extra_a: until the pack carries
    # value times its trip current; "firmware." and a probe: its memory
    hold: bool = False  # written again every millisecond
    then: str = ""  # what the vehicle asks for, if the fault does not say: "close"
    why_not: str = ""


class Measured(Frozen, frozen=True):
    """Milliseconds of all phases; `missed` of them saw nothing. Why not, where there is no way."""

    least_ms: float = 0.0
    median_ms: float = 0.0
    most_ms: float = 0.0
    missed: int = 0
    why_not: str = ""


def _at_start(text: str) -> Recipe:
    return Recipe(why_not=f"before any contactor closes: {text}")


CHANNELS_OFF = "chips.registers"
ACTIVE = 2 * 512 + 3  # ACTIVE_CELL of the third chip: channels above the sixth are left out

RECIPES: dict[str, Recipe] = {
    "cell_overvoltage": Recipe("CEL-02", "drive", 40),
    "cell_undervoltage": Recipe("CEL-04", "drive", 40),
    "cell_deep_discharge": Recipe("CEL-05", "drive", 40),
    "cell_voltage_unknown": Recipe(write=CHANNELS_OFF, state="drive", index=ACTIVE, hold=True),
    "cell_imbalance": Recipe("CEL-02", "drive", 40),
    "pack_overvoltage": Recipe("CEL-03", "drive"),
    "pack_voltage_mismatch": Recipe(write="ivt.voltage_gain_frac", state="drive", value=0.06),
    "current_charge_high": Recipe(write="vehicle.extra_a", state="charge", value=-1.05),
    "current_discharge_high": Recipe("CEL-06", "drive", value=1.05),
    "current_comparator": Recipe("CEL-08", "drive"),
    "current_unknown": Recipe("SEN-13", "drive"),
    "current_while_open": Recipe("CEL-15", "rest"),
    "current_sign": Recipe(
        why_not="counts changes of load, not time: fault SEN-11 holds its budget"
    ),
    "temperature_high_charge": Recipe("THM-02", "rest"),
    "temperature_high_discharge": Recipe("THM-01", "drive"),
    "temperature_low_charge": Recipe("THM-03", "rest"),
    "temperature_low_discharge": Recipe("THM-03", "rest"),
    "temperature_spread": Recipe("SEN-08", "drive", 3),
    "temperature_unknown": Recipe("SEN-06", "drive", 3, 1.0),
    "thermal_runaway": Recipe(
        write="chips.temperature_offset_k", state="drive", index=3, value=140.0
    ),
    "pressure_low": Recipe("PRS-01", "drive", 2),
    "pressure_high": Recipe("PRS-02", "drive", 2, 0.58),
    "pressure_rise": Recipe("PRS-03", "drive", 2),
    "pressure_unknown": Recipe("PRS-05", "drive", 2),
    "insulation_low": Recipe("ISO-01", "drive"),
    "insulation_unknown": Recipe("ISO-03", "drive"),
    "interlock_open": Recipe("CON-14", "drive"),
    "crash": Recipe("CON-16", "drive"),
    "contactor_main_plus": Recipe("CON-06", "drive", 0),
    "contactor_main_minus": Recipe("CON-06", "drive", 1),
    "contactor_precharge": Recipe("CON-04", "rest", 2),
    "precharge_timeout": Recipe("CON-08", "rest"),
    "precharge_current": Recipe("CON-09", "rest"),
    "link_voltage_implausible": Recipe("SEN-15", "rest", then="close"),
    "afe_count": _at_start("fault SEN-17 holds its budget"),
    "afe_link": Recipe("AFE-02", "drive", 2),
    "afe_frozen": Recipe("SEN-03", "drive", 2),
    "afe_config": Recipe(write=CHANNELS_OFF, state="drive", index=ACTIVE, hold=True),
    "chip_fault": Recipe("AFE-12", "drive"),
    "soft_short": Recipe(why_not="a statistic over hours: see bms bench leak"),
    "vcu_timeout": Recipe("COM-01", "drive"),
    "vcu_e2e": Recipe("COM-05", "drive"),
    "charger_fault": Recipe("CHG-05", "charge"),
    "charge_limit_ignored": Recipe(write="vehicle.extra_a", state="charge", value=-0.9),
    "discharge_limit_ignored": Recipe("CHG-09", "drive"),
    "can_bus_off": Recipe("COM-03", "drive"),
    "supply_low": Recipe("CON-17", "drive"),
    "nvm_failed": Recipe(why_not="counts writes, not time: fault SYS-07 holds its budget"),
    "config_invalid": _at_start("the control unit refuses to start"),
    "assertion": Recipe(why_not="no fault of the world makes an assertion fail"),
    "soc_low": Recipe(why_not="a state of charge falls over minutes"),
    "cell_frozen": Recipe(write="chips.cell_noise_v", index=40, value=0.0),
    "current_frozen": Recipe(write="ivt.current_noise_a", value=0.0),
    "current_offset": Recipe("SEN-09", "rest"),
    "current_gain": Recipe(why_not="needs a rest, a swing of charge and another rest"),
    "sensor_conflict": Recipe("SEC-03", "drive"),
    "module_voltage_mismatch": Recipe("SEN-02", "rest", 2),
    "open_wire": Recipe("SEN-01", "rest", 5),
    "bleed_switch": Recipe("AFE-09", "rest", 40),
    "resistance_high": Recipe(why_not="counts changes of load: fault CEL-12 holds its budget"),
    "pressure_spread": Recipe("PRS-07", "rest", 2),
    "pressure_frozen": Recipe("PRS-06", "drive", 2),
    "pressure_implausible": Recipe(why_not="a statistic over a cycle of charge"),
    "charge_voltage_ignored": Recipe(why_not="needs a full pack: fault CHG-02 holds its budget"),
    "contactor_weld": Recipe("CON-07", "drive"),
    "precharge_energy": Recipe(why_not="a sum over attempts to close"),
    "afe_order": _at_start("fault AFE-11 holds its budget"),
    "afe_ring_open": Recipe("AFE-03", "drive", 2),
    "heater_fault": Recipe("THM-06", "rest"),
    "coolant_fault": Recipe("THM-05", "rest", value=1.0),
    "gas": Recipe("THM-11", "drive"),
    "h2s": Recipe("THM-12", "drive"),
    "deadline_missed": Recipe(write="seam.hang_ms", state="drive", value=6.0),
    "memory_corrupt": Recipe("SYS-04", "drive", 300),
    "reset_unexpected": _at_start("told with the first message after the start"),
    "estimator_invalid": Recipe(
        write="firmware.soc_frac", state="drive", value=float("nan"), hold=True
    ),
    "vcu_timing": Recipe("COM-02", "drive"),
    "insulation_falling": Recipe(write="plant.insulation_plus_kohm", state="drive", value=400.0),
}
"""One a diagnosis that belongs here; those of requests, sleep and memory say in their own tests."""


@lru_cache(maxsize=3)
def _prepared(state: str, pack: str, cell: str | None) -> tuple[Simulation, Snapshot]:
    """A simulation that drives, charges or rests, and a snapshot of it."""
    scenario = "fast_charge_15_90" if state == "charge" else "drive"
    made = Simulation(scenario, pack=pack, cell=cell, seed=3)
    made.run(40.0, record=False)
    if state == "rest":
        made.world.parts["vehicle"]["request"][0] = made.world.parts["vehicle"]["kind"][0] = 0
        made.world.run(3000)
    return made, made.snapshot()


def _value(made: Simulation, recipe: Recipe) -> float:
    value = recipe.value or 0.0
    if recipe.write != "vehicle.extra_a":
        return value
    trip_a = made.cell.limits.current_charge_a[2] * made.pack.topology.parallel
    return value * trip_a - float(made.world.parts["plant"]["pack_current_a"][0])


def _probe(made: Simulation, name: str) -> np.ndarray:
    _name, _unit, offset, count, dtype = next(one for one in made.probes if one[0] == name)
    return np.frombuffer(made.world.firmware_bytes, np.dtype(dtype), count, offset)


def _target(made: Simulation, name: str) -> np.ndarray:
    part, field = name.split(".")
    return _probe(made, field) if part == "firmware" else made.world.parts[part][field]


def _once(
    name: str, recipe: Recipe, pack: str, cell: str | None, phase_ms: int, limit_ms: int
) -> float | None:
    """Milliseconds from the fault (or from the last coil that moved after it) to the diagnosis."""
    made, snapshot = _prepared(recipe.state, pack, cell)
    made.restore(snapshot)
    made.world.run(phase_ms)
    parts, then = made.world.parts, recipe.then
    if recipe.write:
        target, value = _target(made, recipe.write), _value(made, recipe)
        target[recipe.index] = value
    else:
        then = then or faults.fault(recipe.fault).then
        made.inject(recipe.fault, index=recipe.index, value=recipe.value, ramp_s=0.0)
    if then:
        parts["vehicle"]["request"][0] = 1 if then == "close" else 0
    active = _probe(made, "active_diagnoses")
    page, bit = divmod(spec.diagnosis(name).id, spec.DIAGNOSES_A_PAGE)
    since, coils = 0, int(parts["loop"]["commanded_pins"][0]) & COILS
    for ms in range(1, limit_ms + 1):
        if recipe.hold:
            target[recipe.index] = value
        made.world.run(1)
        if int(active[page]) >> bit & 1:
            return float(ms - since)
        now = int(parts["loop"]["commanded_pins"][0]) & COILS
        if then and now != coils:
            since, coils = ms, now
    return None


def measure(name: str, pack: str = PACK, cell: str | None = None) -> Measured:
    """Inject and count, at every phase. Raises ConfigError for an unknown diagnosis or pack."""
    row = spec.diagnosis(name)
    recipe = RECIPES.get(name, Recipe(why_not="belongs to another part of the firmware"))
    if recipe.why_not:
        return Measured(why_not=recipe.why_not)
    follows = bool(recipe.then or (recipe.fault and faults.fault(recipe.fault).then))
    limit_ms = (3000 if follows else 0) + min(2 * row.deadline_ms, row.deadline_ms + 5000)
    found = [_once(name, recipe, pack, cell, phase, limit_ms) for phase in PHASES_MS]
    seen = [ms for ms in found if ms is not None]
    if not seen:
        return Measured(missed=len(found))
    return Measured(min(seen), float(np.median(seen)), max(seen), missed=len(found) - len(seen))


class Row(Frozen, frozen=True):
    """One diagnosis: `wrong` says what does not hold, empty when all does."""

    name: str
    prediction: Prediction
    measured: Measured | None
    wrong: str


def table(pack: str = PACK, cell: str | None = None, *, measured: bool = True) -> tuple[Row, ...]:
    """Every diagnosis by rising id, for a pack and perhaps another cell in it, by name or path.

    Raises ConfigError for what does not exist, or cannot be safe."""
    made = packs.load(pack)
    found = predict(firmware_config.build(cells.load(cell or made.cell), made))
    return tuple(
        _row(name, prediction, measure(name, pack, cell) if measured else None)
        for name, prediction in found.items()
    )


def _row(name: str, prediction: Prediction, found: Measured | None) -> Row:
    wrong = ""
    if prediction.predicted_ms > prediction.budget_ms:
        wrong = "predicted beyond its budget"
    elif found and found.missed:
        wrong = f"not seen in {found.missed} of {len(PHASES_MS)}"
    elif found and found.most_ms > prediction.predicted_ms:
        wrong = "measured beyond what was predicted"
    return Row(name, prediction, found, wrong)
