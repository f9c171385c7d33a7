"""What provokes each row of the diagnosis table, by physics, wire, pin, supply or memory."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from rowcase import Bench, Put, Puts, Stimulus

from bms.sim import Simulation

BLOCK, MODULE, SENSOR, CHANNEL = 40, 2, 3, 5
ALL = slice(None)
SLOTS = slice(MODULE * 16, MODULE * 16 + 16)
THERMISTORS = slice(MODULE * 6, MODULE * 6 + 6)
FLIP, DROP, SECOND, CLUSTER = 1, 7, 13, 15  # kinds of seam.h
REQUEST, CHARGER, CURRENT = 0x80, 0xA0, 0x521
Number = Callable[[Simulation], float]


def _true(made: Simulation, field: str, at: int = 0) -> float:
    part, _, name = field.partition(".")
    return float(made.world.parts[part][name][at])


def volts(value_v: float) -> Puts:
    """One block at this voltage."""
    return (
        Put("plant.cell_bias_v", lambda made: value_v - _true(made, "plant.block_voltage_v", BLOCK),
            BLOCK, "add"),
    )  # fmt: skip


def pack_reads(per_block_v: float) -> Puts:
    """The current sensor reads a pack of blocks at this voltage each."""

    def gain(made: Simulation) -> float:
        blocks = made.pack.topology.blocks
        return (
            per_block_v
            * blocks
            / float(made.world.parts["plant"]["block_voltage_v"][:blocks].sum())
            - 1.0
        )

    return (Put("ivt.voltage_gain_frac", gain),)


def reads_degc(value_degc: float, sensors: int | slice = SENSOR) -> Puts:
    """Thermistors show this temperature, where the pack is at what it is."""
    return (
        Put("chips.temperature_offset_k",
            lambda made: value_degc - _true(made, "plant.cell_surface_degc"), sensors),
    )  # fmt: skip


def reads_kpa(value_kpa: float) -> Puts:
    """The pressure sensor of one module shows this."""
    return (
        Put("chips.pressure_offset_kpa",
            lambda made: value_kpa - _true(made, "plant.module_pressure_kpa", MODULE), MODULE),
    )  # fmt: skip


def leaks_kohm(of_limit: float, ohm_per_v: float) -> Puts:
    """One pole leaks to the chassis by a share of what ohm_per_v asks of the pack."""
    return (
        Put("plant.insulation_plus_kohm",
            lambda made: of_limit * ohm_per_v * float(made.world.parts["ivt"]["value"][1]) * 1e-6),
    )  # fmt: skip


def amps(value_a: float) -> Puts:
    """The load or charger moves this current."""
    return (Put("vehicle.extra_a", value_a),)


def beyond(limit: str, by_a: float, sign: int) -> Puts:
    """More current than the pack advertises."""
    field = f"vehicle.obs_{limit}_limit_a"
    return (Put("vehicle.extra_a", lambda made: sign * (_true(made, field) + by_a)),)


def pin(bit: int, level: int) -> Puts:
    """An input of the control unit is stuck."""
    return (Put("seam.pin_mask", bit, op="or"), Put("seam.pin_level", bit if level else 0, op="or"))


def one(
    field: str, value: float = 1, at: int | slice = 0, *, op: str = "set", hold: bool = False
) -> Puts:
    return (Put(field, value, at, op, hold),)


def tamper(kind: int, bus: int, identifier: int, value: int = 0, byte: int = 0) -> Puts:
    """Something happens to every such frame: see ext/loop/seam.h."""
    fields = {"kind": kind, "bus": bus, "id": identifier, "value": value, "byte": byte}
    return tuple(Put(f"seam.tamper_{name}", number) for name, number in fields.items())


def spread_degc(kelvin: float) -> Puts:
    """One thermistor reads so much more than the coolest."""

    def offset(made: Simulation) -> float:
        found = next(one for one in made.probes if one[0] == "sensor_cdegc")
        memory = made.world.firmware_bytes
        read = np.frombuffer(memory, np.dtype(found[4]), 36, found[2])
        return kelvin + float(read.min() - read[SENSOR]) * 0.01

    return (Put("chips.temperature_offset_k", offset, SENSOR, "add"),)


def swings(bench: Bench) -> None:
    """A third of the charge taken between rests, twice, and the last rest ended."""
    for seconds in (420, 420, 10):
        bench.run(600_000)
        bench.ask("close").run(3000)
        bench.put(amps(200.0))
        bench.run(seconds * 1000)
        bench.put(amps(0.0))
        bench.ask("open").run(1000)


def heats(bench: Bench) -> None:
    """A load on the link, until the resistor has taken what it is said to stand."""
    plant = bench.parts["plant"]
    while plant["precharge_heat_j"][0] < 0.8 * plant["precharge_max_j"][0]:
        bench.run(1)


STIMULI = {
    # voltages
    "cell_overvoltage": Stimulus("closed", volts(4.315), volts(4.18), keeps=volts(4.26)),
    "cell_undervoltage": Stimulus("closed", volts(2.48), volts(2.82), keeps=volts(2.69)),
    "cell_deep_discharge": Stimulus("closed", volts(1.9), volts(2.02), keeps=volts(2.4)),
    "cell_voltage_unknown": Stimulus(
        "closed", one("chips.registers", 0, MODULE * 512 + 3, hold=True), others=("afe_config",)
    ),
    "cell_imbalance": Stimulus("closed", volts(4.19), volts(3.98), keeps=volts(4.04)),
    "pack_overvoltage": Stimulus("closed", pack_reads(4.31), pack_reads(4.28)),
    "pack_voltage_mismatch": Stimulus(
        "closed",
        one("ivt.voltage_gain_frac", 0.033),
        one("ivt.voltage_gain_frac", 0.012),
        keeps=one("ivt.voltage_gain_frac", 0.02),
    ),
    "charge_voltage_ignored": Stimulus(
        "full",
        (Put("ivt.voltage_gain_frac", 0.012), *amps(-3.0)),
    ),
    # currents
    "current_charge_high": Stimulus("closed", amps(-315.0), amps(-228.0)),
    "current_discharge_high": Stimulus("closed", amps(392.0), amps(304.0)),
    "current_comparator": Stimulus("closed", pin(64, 1)),
    "current_unknown": Stimulus("closed", one("ivt.silent"), remembers_ms=20),
    "current_while_open": Stimulus(
        "rest", one("ivt.current_offset_a", 25.0), one("ivt.current_offset_a", 0.8)
    ),
    "current_sign": Stimulus("shaken", one("ivt.sign_flip"), remembers_ms=4000, clears_ms=60_000),
    "current_frozen": Stimulus("closed", one("ivt.frozen")),
    "current_offset": Stimulus(
        "rest",
        one("ivt.current_offset_a", 0.8),
        one("ivt.current_offset_a", 0.45),
        clears_ms=45_000,
    ),
    "current_gain": Stimulus(
        "full_small", one("ivt.current_gain_frac", 0.15), play=swings, ends="never"
    ),
    "sensor_conflict": Stimulus(
        "closed", tamper(SECOND, 1, CURRENT, 1, 4), remembers_ms=60, each_ms=5
    ),
    "charge_limit_ignored": Stimulus(
        "closed", beyond("charge", 7.0, -1), beyond("charge", 1.0, -1)
    ),
    "discharge_limit_ignored": Stimulus(
        "closed", beyond("discharge", 7.0, 1), beyond("discharge", 1.0, 1)
    ),
    "resistance_high": Stimulus(
        "shaken",
        one("plant.cell_resistance_scale", 8.0, BLOCK),
        one("plant.cell_resistance_scale", 1.5, BLOCK),
        clears_ms=20_000,
        remembers_ms=1000,
    ),
    # temperatures
    "temperature_high_charge": Stimulus(
        "warm", reads_degc(66.0), reads_degc(54.0), keeps=reads_degc(59.0)
    ),
    "temperature_high_discharge": Stimulus(
        "warm",
        (*reads_degc(71.0), *amps(5.0)),
        reads_degc(59.0),
        keeps=reads_degc(64.0),
    ),
    "temperature_low_charge": Stimulus(
        "closed", reads_degc(-31.0, ALL), reads_degc(-19.0, ALL), keeps=reads_degc(-29.0, ALL)
    ),
    "temperature_low_discharge": Stimulus(
        "closed", reads_degc(-41.0, ALL), reads_degc(-29.0, ALL), keeps=reads_degc(-39.0, ALL)
    ),
    "temperature_spread": Stimulus(
        "closed", spread_degc(16.0), spread_degc(9.5), keeps=spread_degc(8.5)
    ),
    "temperature_unknown": Stimulus("closed", one("chips.thermistor_broken", 1, THERMISTORS)),
    "thermal_runaway": Stimulus(
        "warm", reads_degc(155.0), reads_degc(64.0), others=("temperature_high_charge",)
    ),
    "heater_fault": Stimulus("closed", pin(256, 1), ends="restart"),
    "coolant_fault": Stimulus("cooling", one("loop.pump_fault")),
    # stack pressure
    "pressure_low": Stimulus(
        "closed",
        reads_kpa(480.0),
        reads_kpa(1030.0),
        keeps=reads_kpa(700.0),
        ready=(reads_kpa(1050.0),),
    ),
    "pressure_high": Stimulus(
        "closed",
        reads_kpa(4530.0),
        reads_kpa(3170.0),
        keeps=reads_kpa(3700.0),
        ready=tuple(reads_kpa(k) for k in (2700.0, 3180.0, 3700.0)),
    ),
    "pressure_rise": Stimulus(
        "closed",
        one("chips.pressure_offset_kpa", 1000.0, MODULE),
        one("chips.pressure_offset_kpa", 860.0, MODULE),
        clears_ms=12_000,
    ),
    "pressure_unknown": Stimulus("closed", one("chips.pressure_broken", 1, MODULE)),
    "pressure_spread": Stimulus(
        "closed",
        reads_kpa(3700.0),
        reads_kpa(2850.0),
        ready=(reads_kpa(2700.0), reads_kpa(3180.0)),
    ),
    "pressure_frozen": Stimulus("closed", one("chips.pressure_broken", 2, MODULE)),
    "pressure_implausible": Stimulus(
        "shaken", one("chips.pressure_offset_kpa", 300.0, MODULE), ends="restart", remembers_ms=1650
    ),
    # insulation, interlock, crash, gas
    "insulation_low": Stimulus(
        "closed", leaks_kohm(0.8, 100.0), leaks_kohm(1.25, 500.0), clears_ms=13_000
    ),
    "insulation_unknown": Stimulus("closed", one("imd.silent"), remembers_ms=1010),
    "insulation_falling": Stimulus("closed", leaks_kohm(2.5, 500.0), leaks_kohm(7.0, 500.0)),
    "interlock_open": Stimulus("closed", one("loop.interlock", 0)),
    "crash": Stimulus("closed", one("loop.crash")),
    "gas": Stimulus("closed", one("loop.gas_alarm")),
    "h2s": Stimulus("closed", one("loop.h2s_alarm")),
    # contactors and precharge
    "contactor_main_plus": Stimulus("closed", pin(8, 0)),
    "contactor_main_minus": Stimulus("closed", pin(16, 0)),
    "contactor_precharge": Stimulus("closed", pin(32, 1)),
    "contactor_weld": Stimulus(
        "closed",
        (Put("plant.contactor_weld", 3), Put("seam.feedback_echo", 7)),
        then="open",
        remembers_ms=200,
    ),
    "precharge_timeout": Stimulus(
        "rest", one("plant.precharge_burnt"), one("plant.precharge_ohm", 80.0), then="close"
    ),
    "precharge_current": Stimulus(
        "rest",
        one("plant.link_short_siemens"),
        one("plant.link_bleed_s", 0.0001),
        then="close",
        remembers_ms=30,
    ),
    "precharge_energy": Stimulus(
        "rest",
        one("plant.link_bleed_s", 0.05),
        one("plant.link_bleed_s", 0.0002),
        then="close",
        play=heats,
        clears_ms=60_000,
    ),
    "link_voltage_implausible": Stimulus(
        "rest", one("ivt.link_is_pack"), then="close", remembers_ms=30
    ),
    # monitor chips and their wires
    "afe_count": Stimulus("boot", one("chips.chip_dead", 1, MODULE)),
    "afe_order": Stimulus("boot", one("chips.modules_swapped", MODULE)),
    "afe_link": Stimulus("closed", one("chips.crc_corrupt", 2**32 - 1, MODULE), remembers_ms=100),
    "afe_frozen": Stimulus("closed", one("chips.frozen", 1, MODULE)),
    "afe_config": Stimulus("closed", one("chips.registers", 0, MODULE * 512 + 3, hold=True)),
    "afe_ring_open": Stimulus("closed", one("chips.chain_cut_at", MODULE), ends="restart"),
    "chip_fault": Stimulus("closed", volts(4.36), others=("cell_overvoltage",), remembers_ms=60),
    "cell_frozen": Stimulus(
        "closed",
        tuple(
            Put(f"chips.cell_{name}", value, BLOCK)
            for name, value in (("noise_v", 0.0), ("gain_frac", -1.0), ("offset_v", 3.8))
        ),
    ),
    "module_voltage_mismatch": Stimulus(
        "closed",
        one("chips.cell_offset_v", 0.012, SLOTS, op="add"),
        one("chips.cell_offset_v", 0.003, SLOTS, op="add"),
        remembers_ms=1000,
    ),
    "open_wire": Stimulus(
        "closed",
        one("chips.open_wire", 1 << CHANNEL, MODULE),
        clears_ms=40_000,
        remembers_ms=600,
        others=("cell_deep_discharge", "cell_undervoltage"),
    ),
    "bleed_switch": Stimulus(
        "closed",
        one("chips.fet_stuck_on", 1 << CHANNEL, MODULE),
        clears_ms=40_000,
        remembers_ms=600,
    ),
    "soft_short": Stimulus(
        "small",
        one("plant.cell_short_siemens", 0.25, CHANNEL),
        one("plant.cell_short_siemens", 0.0003, CHANNEL),
        clears_ms=7_200_000,
    ),
    # vehicle, charger, bus, supply
    "vcu_timeout": Stimulus("closed", one("vehicle.is_silent"), mute=True, remembers_ms=20),
    "vcu_e2e": Stimulus("closed", tamper(FLIP, 0, REQUEST, 90, 2), remembers_ms=10),
    "vcu_timing": Stimulus("closed", tamper(CLUSTER, 0, REQUEST, 60), remembers_ms=30),
    "charger_fault": Stimulus("charge", tamper(DROP, 0, CHARGER)),
    "can_bus_off": Stimulus(
        "closed",
        mute=True,
        cause=(
            Put("vehicle_bus.keep_off_mask", 1, op="or"),
            Put("vehicle_bus.force_off_mask", 1, op="or"),
        ),
    ),
    "supply_low": Stimulus(
        "closed",
        one("loop.supply_mv", 6500),
        one("loop.supply_mv", 9200),
        keeps=one("loop.supply_mv", 8500),
    ),
    # the control unit itself
    "nvm_failed": Stimulus("closed", one("seam.nvm_mode", 2), then="open"),
    "config_invalid": Stimulus("refused", (), ends="never"),
    "assertion": Stimulus("closed", one("firmware.state", 0), ends="restart"),
    "soc_low": Stimulus(
        "boot",
        one("plant.cell_soc_frac", 0.04, ALL),
        one("plant.cell_soc_frac", 0.15, ALL),
        remembers_ms=1000,
        ends="restart",
    ),
    "deadline_missed": Stimulus("closed", one("seam.hang_ms", 8)),
    "memory_corrupt": Stimulus(
        "closed", one("firmware.memory", 64, 300, op="flip"), ends="restart"
    ),
    "reset_unexpected": Stimulus(
        "closed", one("seam.reset_cause", 3), drops=True, clears_ms=62_000
    ),
    "estimator_invalid": Stimulus("closed", one("firmware.soc_frac", float("nan"), hold=True)),
}
"""One a row of src/bms/spec/diagnoses.toml."""
