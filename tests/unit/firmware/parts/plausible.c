#include "part.h"

#include <plausible.c>

static bool trips(const bms_t *self, uint32_t id)
{
    return self->protect.diag[id].sampled == TIER_TRIP;
}

static bool warns(const bms_t *self, uint32_t id)
{
    return self->protect.diag[id].sampled == TIER_WARN;
}

CLAIM(a_changed_word_of_settings_or_of_tables_is_found_within_its_round)
{
    bms_t *const self = part_pack("standby");
    const bms_t whole = *self;
    for (uint32_t k = 0; k < TABLES_MS / MEMORY_SLICE_MS; ++k) plausible_memory(self);
    HOLDS(plausible_is_whole(self) && !trips(self, DIAG_MEMORY_CORRUPT));
    *self = whole;
    self->config.set.rest_ma ^= 1;
    HOLDS(!plausible_is_whole(self));
    for (uint32_t k = 0; k < 2u * (SETTINGS_MS / MEMORY_SLICE_MS) && !trips(self, DIAG_MEMORY_CORRUPT); ++k) plausible_memory(self);
    HOLDS(trips(self, DIAG_MEMORY_CORRUPT) && self->protect.diag[DIAG_MEMORY_CORRUPT].value == 1);
    *self = whole;
    self->config.est.per_uc *= 2.0f;
    HOLDS(!plausible_is_whole(self));
    for (uint32_t k = 0; k < 2u * (TABLES_MS / MEMORY_SLICE_MS) && !trips(self, DIAG_MEMORY_CORRUPT); ++k) plausible_memory(self);
    HOLDS(trips(self, DIAG_MEMORY_CORRUPT) && self->protect.diag[DIAG_MEMORY_CORRUPT].value == 2);
}

CLAIM(a_late_step_trips_unless_it_is_the_first_or_sleep_was_asked_for)
{
    bms_t *const self = part_pack("standby");
    const bms_t whole = *self;
    const uint64_t late_us = self->now_us + 1000000u;
    plausible_time(self, self->now_us + 1000u);
    HOLDS(!trips(self, DIAG_DEADLINE_MISSED));
    plausible_time(self, late_us);
    HOLDS(trips(self, DIAG_DEADLINE_MISSED));
    *self = whole;
    self->plausible.asked_sleep = 1u;
    plausible_time(self, late_us);
    HOLDS(!trips(self, DIAG_DEADLINE_MISSED));
    *self = whole;
    self->plausible.stepped = 0u;
    plausible_time(self, late_us);
    HOLDS(!trips(self, DIAG_DEADLINE_MISSED));
    plausible_time(self, late_us);
    HOLDS(trips(self, DIAG_DEADLINE_MISSED));
}

CLAIM(a_current_that_stands_still_is_frozen_only_where_currents_move)
{
    bms_t *const self = part_pack("drive");
    self->config.set.current_moves = 0u;
    for (uint32_t k = 0; k < 2u * CURRENT_SAME_FRAMES; ++k) watch_frozen_current(self);
    HOLDS(!trips(self, DIAG_CURRENT_FROZEN));
    self->config.set.current_moves = 1u;
    watch_frozen_current(self);
    HOLDS(trips(self, DIAG_CURRENT_FROZEN));
}

CLAIM(a_mean_current_through_open_contactors_is_an_offset_either_way)
{
    for (int32_t sign = -1; sign <= 1; ++sign) {
        bms_t *const self = part_pack("standby");
        self->sensor.current_ma.value = sign * (self->config.set.current_offset_ma + 1);
        for (uint32_t k = 0; k < 2u * OFFSET_FRAMES; ++k) watch_offset(self);
        HOLDS(warns(self, DIAG_CURRENT_OFFSET) == (sign != 0));
    }
}

CLAIM(a_link_that_the_pack_holds_up_is_a_weld_only_if_the_pack_is_known)
{
    bms_t *const self = part_pack("standby");
    self->sensor.link_mv.value = self->sensor.pack_mv.value;
    for (uint32_t k = 0; k < 3u; ++k) self->contactor.coil_us[k] = 0u;
    self->sensor.pack_mv.valid = 0u;
    plausible_link(self);
    HOLDS(!warns(self, DIAG_CONTACTOR_WELD));
    self->sensor.pack_mv.valid = 1u;
    plausible_link(self);
    HOLDS(warns(self, DIAG_CONTACTOR_WELD));
}

CLAIM(a_cell_that_stands_still_is_frozen_only_where_a_row_is_configured)
{
    bms_t *const self = part_pack("standby");
    self->config.set.frozen_scans = 0u;
    for (uint32_t k = 0; k < 5u; ++k) watch_frozen_cells(self);
    HOLDS(!trips(self, DIAG_CELL_FROZEN));
    self->config.set.frozen_scans = 3u;
    watch_frozen_cells(self);
    HOLDS(trips(self, DIAG_CELL_FROZEN) && self->measure.cell_rested[0] == 0u);
}

CLAIM(resistances_are_compared_among_three_blocks_or_more)
{
    bms_t *const self = part_pack("drive");
    for (uint32_t b = 0; b < self->config.set.blocks; ++b) self->plausible.step_sum[b] = b == 1u ? 50.0f : 1.0f;
    self->config.set.blocks = 2u;
    judge_steps(self);
    HOLDS(self->protect.diag[DIAG_RESISTANCE_HIGH].sampled == TIER_NONE);
    self->config.set.blocks = 3u;
    judge_steps(self);
    HOLDS(self->protect.diag[DIAG_RESISTANCE_HIGH].sampled != TIER_NONE);
    self->protect.diag[DIAG_RESISTANCE_HIGH].sampled = TIER_NONE;
    self->plausible.step_sum[2] = -1000.0f; /* a reversed sensor */
    judge_steps(self);
    HOLDS(self->protect.diag[DIAG_RESISTANCE_HIGH].sampled == TIER_NONE);
}

CLAIM(the_sum_of_the_last_module_ends_with_the_last_block)
{
    bms_t *const self = part_pack("standby");
    self->config.set.blocks = 10u;
    for (uint32_t b = 0; b < 16u; ++b) self->measure.cell_uv[b] = 1;
    HOLDS(module_sum_uv(self, 0u) == 10);
}

CLAIM(pressures_are_compared_only_against_a_limit_of_more_than_one_module)
{
    bms_t *const self = part_pack("standby");
    measure_t *const m = &self->measure;
    self->config.set.modules = 2u;
    m->pressures_unknown = 0u;
    m->pressure_kpa[0] = m->pressure_min_kpa = 0;
    m->pressure_kpa[1] = m->pressure_max_kpa = self->config.set.pressure_max_kpa[LIMIT_TRIP];
    const int32_t most = self->config.set.pressure_max_kpa[LIMIT_TRIP];
    self->config.set.pressure_max_kpa[LIMIT_TRIP] = 0;
    watch_spread(self);
    HOLDS(self->protect.diag[DIAG_PRESSURE_SPREAD].sampled == TIER_NONE);
    self->config.set.pressure_max_kpa[LIMIT_TRIP] = most;
    m->pressures_unknown = 1u;
    watch_spread(self);
    HOLDS(self->protect.diag[DIAG_PRESSURE_SPREAD].sampled == TIER_NONE);
    m->pressures_unknown = 0u;
    watch_spread(self);
    HOLDS(self->protect.diag[DIAG_PRESSURE_SPREAD].sampled != TIER_NONE);
}

CLAIM(a_pressure_that_stands_still_is_frozen_only_where_pressures_move)
{
    bms_t *const self = part_pack("standby");
    self->plausible.pressure_same[0] = PRESSURE_SAME_SCANS;
    self->plausible.pressure_kpa[0] = self->measure.pressure_kpa[0];
    self->config.set.pressure_moves = 0u;
    plausible_pressures(self);
    HOLDS(!warns(self, DIAG_PRESSURE_FROZEN));
    self->config.set.pressure_moves = 1u;
    plausible_pressures(self);
    HOLDS(warns(self, DIAG_PRESSURE_FROZEN));
}

CLAIM(a_heater_that_is_cut_is_no_longer_wanted_and_a_late_one_is_told)
{
    bms_t *const self = part_pack("standby");
    plausible_t *const p = &self->plausible;
    self->config.set.heater_feedback_is_fitted = 1u;
    self->pins &= ~(uint32_t)PIN_IN_HEATER_ON;
    self->thermal.heater_pptt = 5000u;
    p->heater_wanted = 0u;
    watch_heater(self); /* wanted now: it has CUT_MS to come on */
    HOLDS(p->heater_wanted != 0u && self->protect.diag[DIAG_HEATER_FAULT].sampled == TIER_NONE);
    p->heater_us -= 1000u * (uint64_t)(CUT_MS + 1u);
    watch_heater(self);
    HOLDS(warns(self, DIAG_HEATER_FAULT));
    p->heater_cut = 1u;
    p->cut_us = self->now_us;
    watch_heater(self);
    HOLDS(p->heater_wanted == 0u);
}

CLAIM(the_gain_of_the_current_sensor_is_judged_once_a_second_after_enough_points)
{
    bms_t *const self = part_pack("standby");
    health_t *const h = &self->watch.health;
    const uint32_t n = self->config.set.blocks;
    for (uint32_t b = 0; b < n; ++b) {
        h->capacity_frac[b] = 1.4f;
        h->capacity_sigma[b] = 0.001f;
    }
    self->steps = 1u;
    h->points = 2u * n - 1u;
    watch_gain(self);
    HOLDS(self->protect.diag[DIAG_CURRENT_GAIN].sampled == TIER_NONE);
    h->points = 2u * n;
    self->steps = 2u;
    watch_gain(self);
    HOLDS(self->protect.diag[DIAG_CURRENT_GAIN].sampled == TIER_NONE);
    self->steps = 1u;
    watch_gain(self);
    HOLDS(self->protect.diag[DIAG_CURRENT_GAIN].sampled != TIER_NONE && self->protect.diag[DIAG_CURRENT_GAIN].value == 1398);
}

CLAIM(a_charge_beyond_empty_or_full_or_no_number_is_told)
{
    static const float WRONG[] = {-0.001f, 1.001f, 0.0f / 0.0f};
    bms_t *const self = part_pack("standby");
    const bms_t whole = *self;
    plausible_tick(self);
    HOLDS(!warns(self, DIAG_ESTIMATOR_INVALID));
    for (uint32_t k = 0; k < 9u; ++k) {
        *self = whole;
        float *const value[3] = {&self->soc.soc_frac, &self->soc.low_frac, &self->soc.high_frac};
        *value[k % 3u] = WRONG[k / 3u];
        self->soc_valid = 0u;
        plausible_tick(self);
        HOLDS(!warns(self, DIAG_ESTIMATOR_INVALID));
        self->soc_valid = 1u;
        plausible_tick(self);
        HOLDS(warns(self, DIAG_ESTIMATOR_INVALID));
    }
}
