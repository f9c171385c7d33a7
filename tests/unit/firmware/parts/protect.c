#include "part.h"

#include <protect.c>

static uint32_t sampled(const bms_t *self, uint32_t id)
{
    return self->protect.diag[id].sampled;
}

CLAIM(the_first_unknown_block_is_told_and_none_is_looked_for_beyond_the_last)
{
    bms_t *const self = part_pack("standby");
    self->measure.cells_unknown = 1u; /* and yet every one is marked known */
    self->protect.full_scan_us = 0u;
    check_unknown_cells(self);
    HOLDS(self->protect.diag[DIAG_CELL_VOLTAGE_UNKNOWN].place == (int32_t)self->config.set.blocks);
    self->measure.cell_valid[3] = 0u;
    check_unknown_cells(self);
    HOLDS(self->protect.diag[DIAG_CELL_VOLTAGE_UNKNOWN].place == 3);
}

CLAIM(a_pack_voltage_of_nothing_is_a_mismatch_of_everything)
{
    bms_t *const self = part_pack("standby");
    self->sensor.pack_mv.value = 0;
    check_sum(self);
    HOLDS(sampled(self, DIAG_PACK_VOLTAGE_MISMATCH) == TIER_TRIP && self->protect.diag[DIAG_PACK_VOLTAGE_MISMATCH].value == 1000);
}

CLAIM(a_chip_that_repeats_is_frozen_only_where_a_row_is_configured)
{
    bms_t *const self = part_pack("standby");
    self->measure.chip_scan[0] = self->measure.scan;
    self->measure.chip_same[0] = 60000u;
    self->config.set.frozen_frames = 0u;
    check_chips(self);
    HOLDS(sampled(self, DIAG_AFE_FROZEN) == TIER_NONE);
    self->config.set.frozen_frames = 100u;
    check_chips(self);
    HOLDS(sampled(self, DIAG_AFE_FROZEN) == TIER_TRIP);
}

CLAIM(insulation_is_judged_against_the_highest_voltage_where_none_is_known)
{
    bms_t *const self = part_pack("standby");
    const int32_t warn = self->config.set.insulation_ohm_per_v[LIMIT_WARN];
    const int32_t most_v = (int32_t)((int64_t)self->config.set.voltage_max_uv[LIMIT_TRIP] * self->config.set.blocks / 1000000);
    self->sensor.insulation_kohm.value = warn * (most_v - 1) / 1000; /* enough for what the pack has now, not for the most */
    check_insulation(self);
    HOLDS(sampled(self, DIAG_INSULATION_LOW) == TIER_NONE);
    self->sensor.pack_mv.valid = 0u;
    check_insulation(self);
    HOLDS(sampled(self, DIAG_INSULATION_LOW) >= TIER_WARN);
}

CLAIM(insulation_of_a_pack_without_voltage_is_neither_divided_by_nothing_nor_wrapped)
{
    bms_t *const self = part_pack("standby");
    self->sensor.pack_mv.value = 0;
    self->sensor.insulation_kohm.value = INT32_MAX;
    check_insulation(self);
    HOLDS(sampled(self, DIAG_INSULATION_LOW) == TIER_NONE);
    self->sensor.insulation_kohm.value = 0;
    check_insulation(self);
    HOLDS(sampled(self, DIAG_INSULATION_LOW) == TIER_TRIP);
}

CLAIM(a_current_that_is_not_known_is_no_discharge_for_the_limit_of_charging)
{
    bms_t *const self = part_pack("standby");
    self->measure.temperature_max_cdegc = self->config.set.charge_max_cdegc[LIMIT_TRIP] + 1;
    self->sensor.current_ma.value = self->config.set.rest_ma + 1;
    check_temperatures(self);
    HOLDS(sampled(self, DIAG_TEMPERATURE_HIGH_CHARGE) == TIER_NONE);
    self->sensor.current_ma.valid = 0u;
    check_temperatures(self);
    HOLDS(sampled(self, DIAG_TEMPERATURE_HIGH_CHARGE) == TIER_TRIP);
}

CLAIM(heat_with_gas_is_a_runaway_and_gas_needs_a_limit_of_pressure)
{
    bms_t *const self = part_pack("standby");
    measure_t *const m = &self->measure;
    bms_settings_t *const set = &self->config.set;
    m->temperature_max_cdegc = set->discharge_max_cdegc[LIMIT_WARN];
    m->temperature_rate_cdegc = 0;
    m->pressure_rise_kpa = set->pressure_max_kpa[LIMIT_TRIP];
    check_runaway(self);
    HOLDS(sampled(self, DIAG_THERMAL_RUNAWAY) == TIER_NONE); /* warm, not hot */
    m->temperature_max_cdegc += 1;
    check_runaway(self);
    HOLDS(sampled(self, DIAG_THERMAL_RUNAWAY) == TIER_TRIP);
    set->pressure_max_kpa[LIMIT_TRIP] = 0;
    check_runaway(self);
    HOLDS(sampled(self, DIAG_THERMAL_RUNAWAY) == TIER_NONE);
    m->temperature_max_cdegc = RUNAWAY_CDEGC + 1;
    check_runaway(self);
    HOLDS(sampled(self, DIAG_THERMAL_RUNAWAY) == TIER_TRIP);
}

CLAIM(pressures_without_a_limit_are_not_judged)
{
    bms_t *const self = part_pack("standby");
    const int32_t most = self->config.set.pressure_max_kpa[LIMIT_TRIP];
    self->measure.pressure_max_kpa = most + 1;
    self->config.set.pressure_max_kpa[LIMIT_TRIP] = 0;
    check_pressures(self);
    HOLDS(sampled(self, DIAG_PRESSURE_HIGH) == TIER_NONE);
    self->config.set.pressure_max_kpa[LIMIT_TRIP] = most;
    self->measure.pressure_min_kpa = BMS_UNKNOWN;
    check_pressures(self);
    HOLDS(sampled(self, DIAG_PRESSURE_HIGH) == TIER_NONE);
    self->measure.pressure_min_kpa = 0;
    check_pressures(self);
    HOLDS(sampled(self, DIAG_PRESSURE_HIGH) == TIER_TRIP);
}

CLAIM(a_supply_beyond_all_measure_is_not_low)
{
    bms_t *const self = part_pack("standby");
    self->supply_mv = UINT32_MAX;
    check_outside(self);
    HOLDS(sampled(self, DIAG_SUPPLY_LOW) == TIER_NONE);
    self->supply_mv = 0u;
    check_outside(self);
    HOLDS(sampled(self, DIAG_SUPPLY_LOW) == TIER_TRIP);
}
