"""A mutant for every rule of the oracle, and the story in which it shows.

Most are the firmware with a line too many: a diagnosis that is never sampled, a word told wrong.
Two are the world with a number changed, for rules that no firmware can break alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from bms.campaign.play import Stage
from bms.campaign.story import Deed, Story, drawn

SAMPLE = "void diag_judge(bms_t *self, uint32_t id, uint32_t tier, int32_t value, int32_t place)"
TICK = "void diag_tick(bms_t *self)"
STATE = "    m.uptime = (uint8_t)(elapsed_ms(self->now_us, self->boot_us) / 1000u);"
SOC = "    m.soc_high = valid ? cpct_of(self->soc.high_frac) : (uint16_t)NONE_14;"
VOLTAGE = "    m.cell_voltage_max = known ? half_mv_of(x->told_max_uv) : (uint16_t)NONE_14;"
HEAT_TOLD = "    m.temperature_max = ddegc_of(x->temperature_max_cdegc);"
CURRENT = (
    "    m.pack_current = sensor_fresh(self, &self->sensor.current_ma, FRESH_MS) ?"
    " (int16_t)steps : INT16_MIN;"
)
SECONDS = "(elapsed_ms(self->now_us, self->boot_us) / 1000u)"


def inside(file: str, head: str, line: str) -> str:
    """A diff that puts a line first into a function."""
    return f"--- a/ext/{file}\n+++ b/ext/{file}\n@@ -1,2 +1,3 @@\n {head}\n {{\n+    {line}\n"


def after(file: str, line: str, *new: str) -> str:
    """A diff that puts lines after another."""
    more = "".join(f"+    {text}\n" for text in new)
    return f"--- a/ext/{file}\n+++ b/ext/{file}\n@@ -1,1 +1,2 @@\n {line}\n{more}"


def silent(*names: str) -> str:
    """Diagnoses that are never sampled."""
    ids = " || ".join(f"id == DIAG_{name.upper()}" for name in names)
    return inside("firmware/diag.c", SAMPLE, f"if ({ids}) return;")


def drive(
    *deeds: Deed,
    soc_frac: float = 0.5,
    degc: float = 25.0,
    seconds: float = 25.0,
    rate: float = 0.2,
) -> Story:
    """A quiet drive in which something happens."""
    quiet = (
        Deed(at_s=6.0, word="request", value=1.0),
        Deed(at_s=9.0, word="load", value=rate),
    )
    return made(*quiet, *deeds, soc_frac=soc_frac, degc=degc, seconds=seconds)


def made(*deeds: Deed, soc_frac: float = 0.5, degc: float = 25.0, seconds: float = 25.0) -> Story:
    """A bench module."""
    ordered = tuple(sorted(deeds, key=lambda deed: deed.at_s))
    return drawn(
        5, pack="bench_16s1p", soc_frac=soc_frac, degc=degc, duration_s=seconds, deeds=ordered,
        boot_ms=20, phase_ms=3,
    )  # fmt: skip


def fault(id: str, value: float | None = None, for_s: float = 8.0, at_s: float = 12.0) -> Deed:
    """At its first place."""
    return Deed(at_s=at_s, word="fault", id=id, value=value, for_s=for_s)


class Canary(NamedTuple):
    """patch: of the firmware. world: a change of the world instead."""

    story: Story
    patch: str = ""
    world: Callable[[Stage], None] | None = None


def _slow_contactors(stage: Stage) -> None:
    stage.simulation.world.parts["plant"]["contactor_open_us"][0] = 200_000.0


def _very_slow_contactors(stage: Stage) -> None:
    stage.simulation.world.parts["plant"]["contactor_open_us"][0] = 1_000_000.0


def _no_comparator(stage: Stage) -> None:
    stage.simulation.world.parts["loop"]["comparator_a"][0] = 1e6
    stage.watch.fields["comparator_a"][0] = 1e6


def _heat_from_nowhere(stage: Stage) -> None:
    stage.simulation.world.parts["plant"]["account_ohmic"][0] = 1.01


FREE = Deed(at_s=12.0, word="obey", value=0.0)
ALL_CURRENTS = silent(
    "current_discharge_high", "discharge_limit_ignored", "current_comparator", "current_gain",
    "current_sign",
)  # fmt: skip
VOLTAGES = silent(
    "cell_overvoltage", "pack_overvoltage", "chip_fault", "cell_imbalance", "soft_short",
    "pack_voltage_mismatch", "module_voltage_mismatch",
)  # fmt: skip
HEAT = silent(
    "temperature_high_charge", "temperature_high_discharge", "thermal_runaway", "pressure_high",
    "gas", "temperature_spread",
)  # fmt: skip
PRESSURES = silent("pressure_high", "pressure_rise", "pressure_implausible", "pressure_spread")
WELDS = silent(
    "contactor_main_plus", "contactor_main_minus", "contactor_precharge", "contactor_weld",
    "current_while_open",
    "link_voltage_implausible",
)  # fmt: skip
PRECHARGES = silent("precharge_timeout", "precharge_current", "precharge_energy")
AGAIN = (
    Deed(at_s=14.0, word="request", value=0.0),
    Deed(at_s=17.0, word="request", value=1.0),
)
CANARIES: dict[str, Canary] = {
    "S1": Canary(drive(fault("CEL-02")), VOLTAGES),
    "S2": Canary(drive(degc=74.0, rate=0.0, soc_frac=0.15), HEAT),
    "S3": Canary(drive(FREE, Deed(at_s=12.1, word="load", value=5.6)), ALL_CURRENTS),
    "S4": Canary(drive(fault("PRS-02")), PRESSURES),
    "S5": Canary(
        drive(FREE, Deed(at_s=12.1, word="load", value=14.0)),
        "--- a/ext/firmware/bms.c\n+++ b/ext/firmware/bms.c\n@@ -1,1 +1,0 @@\n"
        "-    if (self->contactor.fuse != 0u) out->pins.digital |= PIN_OUT_FUSE_TRIGGER;\n",
        _no_comparator,
    ),
    "S6": Canary(
        drive(),
        inside(
            "firmware/contactor.c",
            "static void close_link(bms_t *self)",
            "if (elapsed_ms(self->now_us, self->contactor.step_us) > 60u)"
            " self->sensor.link_mv.value = self->sensor.pack_mv.value;",
        ),
    ),
    "S7": Canary(
        drive(),
        after("firmware/canout.c", STATE, f"if ({SECONDS} == 3u) m.state = STATE_OPENING;"),
    ),
    "S8": Canary(
        drive(fault("CON-14", for_s=1.0), *AGAIN),
        inside(
            "firmware/diag.c",
            TICK,
            "if (self->protect.diag[DIAG_INTERLOCK_OPEN].gone != 0u) diag_clear(self, true);",
        ),
    ),
    "S9": Canary(drive(fault("SEN-13")), silent("current_unknown", "can_bus_off")),
    "S10": Canary(
        drive(),
        inside(
            "firmware/limits.c",
            "static int32_t ramped(bound_t *bound, int32_t old_ma, int32_t step_ma)",
            "step_ma = 1000000000 - old_ma;",
        ),
    ),
    "S13": Canary(drive(AGAIN[0]), WELDS, _very_slow_contactors),
    "S14": Canary(
        made(fault("CEL-11", at_s=1.0, for_s=30.0), degc=74.0, soc_frac=0.8),
        HEAT + "--- a/ext/firmware/balance.c\n+++ b/ext/firmware/balance.c\n@@ -1,1 +1,1 @@\n"
        "-        if (!known || self->measure.sensor_cdegc[s] > self->config.set.balance_max_cdegc)"
        " return false;\n+        if (!known) return false;\n",
    ),
    "S15": Canary(drive(fault("SYS-02", for_s=0.1)), world=_slow_contactors),
    "S16": Canary(
        drive(seconds=50.0),
        inside(
            "firmware/diag.c",
            TICK,
            f"for (uint32_t k = 0; k < 20u && {SECONDS} == 40u; ++k)"
            " diag_sample(self, DIAG_INTERLOCK_OPEN, TIER_TRIP, 0, -1);",
        ),
    ),
    "S17": Canary(drive(fault("COM-01")), silent("vcu_timeout")),
    "S18": Canary(
        drive(fault("SEN-08", for_s=15.0), seconds=35.0),
        "--- a/ext/firmware/limits.c\n+++ b/ext/firmware/limits.c\n@@ -1,1 +1,1 @@\n"
        "-    const float share = p->derate >= TIER_WARN"
        " || diag_active_tier(self, DIAG_TEMPERATURE_UNKNOWN) != TIER_NONE\n"
        "+    const float share = p->derate > TIER_TRIP\n",
    ),
    "L1": Canary(
        drive(fault("CON-14", for_s=1.0)),
        inside(
            "firmware/diag.c",
            "void diag_clear(bms_t *self, bool service)",
            "if (self->boot_us != 1u) return;",
        ),
    ),
    "L2": Canary(
        drive(),
        inside(
            "firmware/canout.c",
            "void canout_step(bms_t *self, ecu_out_t *out, uint32_t slot)",
            f"if ({SECONDS} == 20u) return;",
        ),
    ),
    "L5": Canary(
        made(Deed(at_s=3.0, word="ignition", value=0.0), soc_frac=0.15, seconds=70.0),
        "--- a/ext/firmware/sleep.c\n+++ b/ext/firmware/sleep.c\n@@ -1,1 +1,1 @@\n"
        "-    const bool asked = (self->pins & WAKE_PINS) != 0u || self->canin.known != 0u;\n"
        "+    const bool asked = (self->pins & WAKE_PINS) != 0u;\n",
    ),
    "L4": Canary(drive(fault("CON-08", at_s=2.0, for_s=20.0)), PRECHARGES),
    "E1": Canary(
        drive(seconds=80.0),
        after(
            "firmware/canout.c",
            SOC,
            "m.soc = (uint16_t)(m.soc + 2500u);",
            "m.soc_low = (uint16_t)(m.soc_low + 2500u);",
            "m.soc_high = (uint16_t)(m.soc_high + 2500u);",
        ),
    ),
    "E2": Canary(
        drive(),
        after("firmware/canout.c", SOC, "m.soc_low = (uint16_t)(m.soc + 1u);"),
    ),
    "E3": Canary(
        drive(),
        after(
            "firmware/canout.c",
            SOC,
            f"if ({SECONDS} == 20u) m.soc = m.soc_low = m.soc_high = 100u;",
        ),
    ),
    "E5": Canary(drive(), after("firmware/canout.c", VOLTAGE, "m.cell_voltage_max += 200u;")),
    "E6": Canary(drive(), after("firmware/canout.c", HEAT_TOLD, "m.temperature_max += 80;")),
    "E7": Canary(drive(), after("firmware/canout.c", CURRENT, "m.pack_current = 0;")),
    "C4": Canary(
        made(Deed(at_s=4.0, word="tester", value=0.0), soc_frac=0.15, seconds=15.0),
        "--- a/ext/firmware/uds_data.c\n+++ b/ext/firmware/uds_data.c\n@@ -1,1 +1,0 @@\n"
        "-    if (self->uds.unlocked == 0u) return SECURITY;\n",
    ),
    "C2": Canary(
        made(seconds=25.0),
        inside(
            "firmware/contactor.c",
            "uint32_t contactor_wanted(const bms_t *self)",
            f"if ({SECONDS} > 9u && {SECONDS} < 20u) return MODE_DRIVE;",
        )
        + inside(
            "firmware/contactor.c",
            "static uint8_t refusal(bms_t *self, uint32_t mode)",
            f"if ({SECONDS} < 20u) return REFUSAL_NOTHING;",
        ),
    ),
    "X1": Canary(
        drive(),
        inside("firmware/diag.c", TICK, f"if ({SECONDS} == 20u) bms_assert_failed(self, 1u);"),
    ),
    "E4": Canary(drive(rate=1.0), world=_heat_from_nowhere),
    "T1": Canary(
        drive(),
        after("firmware/canout.c", STATE, "static uint8_t count; m.uptime = count++;"),
    ),
    "T2": Canary(
        drive(),
        after("firmware/canout.c", STATE, "m.uptime = (uint8_t)(self->now_us / 1000000u);"),
    ),
}
