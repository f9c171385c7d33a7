#include "part.h"

#include <measure.c>

CLAIM(the_last_module_has_the_channels_that_are_left)
{
    bms_t *const self = part_pack("standby");
    self->config.set.blocks = 10u;
    HOLDS(channels_of(self, 0u) == 10u);
    self->config.set.blocks = 26u;
    HOLDS(channels_of(self, 0u) == 16u && channels_of(self, 1u) == 10u);
}

/* A chip's answer of this count in every channel. */
static void answer(bms_t *self, uint16_t raw, uint16_t crc)
{
    uint8_t data[32];
    for (uint32_t k = 0; k < 16u; ++k) {
        data[2u * k] = (uint8_t)(raw >> 8);
        data[2u * k + 1u] = (uint8_t)raw;
    }
    measure_cells(self, 0u, data, crc);
}

CLAIM(a_channel_that_was_not_converted_is_unknown)
{
    bms_t *const self = part_pack("standby");
    answer(self, 0x4000u, 1u);
    HOLDS(self->measure.cell_valid[0] == UINT32_MAX && self->measure.cell_rested[0] == UINT32_MAX);
    answer(self, 0x8000u, 2u);
    for (uint32_t b = 0; b < 16u; ++b) HOLDS(self->measure.cell_valid[b] == 0u && self->measure.cell_rested[b] == 0u);
}

CLAIM(what_a_chip_repeats_is_not_for_the_estimator_where_a_row_is_configured)
{
    bms_t *const self = part_pack("standby");
    self->config.set.frozen_frames = 3u;
    answer(self, 0x4000u, 7u);
    for (uint32_t k = 1; k < 3u; ++k) {
        answer(self, 0x4000u, 7u);
        HOLDS(self->measure.cell_rested[0] != 0u);
    }
    answer(self, 0x4000u, 7u);
    HOLDS(self->measure.cell_rested[0] == 0u && self->measure.chip_same[0] == 3u);
    self->config.set.frozen_frames = 0u;
    answer(self, 0x4000u, 7u);
    HOLDS(self->measure.cell_rested[0] != 0u);
    self->measure.chip_same[0] = 60000u;
    answer(self, 0x4000u, 7u);
    HOLDS(self->measure.chip_same[0] == 60000u);
}

CLAIM(what_is_told_of_a_bled_chip_is_kept_for_so_long_and_no_longer)
{
    bms_t *const self = part_pack("standby");
    measure_t *const m = &self->measure;
    m->chip_pulled[0] = 1u;
    self->now_us += 60000000u;
    m->told_us[0] = self->now_us - 1000u * (uint64_t)(TOLD_AGE_MS - 1u);
    m->told_uv[0] = 1;
    tell(self);
    HOLDS(m->told_uv[0] == 1 && m->told_min_uv == 1);
    m->told_us[0] = self->now_us - 1000u * (uint64_t)TOLD_AGE_MS;
    tell(self);
    HOLDS(m->told_uv[0] == m->cell_uv[0] && m->told_min_uv == m->cell_min_uv && m->told_us[0] == self->now_us);
}

CLAIM(a_chip_is_rested_once_an_answer_proved_its_switches_open_and_filters_have_settled)
{
    bms_t *const self = part_pack("standby");
    afe_t *const afe = &self->afe;
    afe->bleed_part = afe->unheard[0] = afe->pause_set = 0u;
    afe->bleed_set[0] = 0u;
    afe->heard_us[0] = self->now_us - 1000u * (uint64_t)SETTLE_MS;
    afe->asked_us = self->now_us;
    const bms_t whole = *self;
    HOLDS(is_rested(self, 0u));
    afe->bleed_part = 1u;
    afe->bleed_next = 0u;
    HOLDS(!is_rested(self, 0u)); /* half written */
    afe->bleed_next = 1u;
    HOLDS(is_rested(self, 0u)); /* another chip's */
    *self = whole;
    afe->bleed_set[0] = 1u;
    HOLDS(!is_rested(self, 0u));
    afe->pause_set = 1u;
    HOLDS(is_rested(self, 0u));
    *self = whole;
    afe->heard_us[0] = self->now_us + 1u; /* asked before it was proved */
    HOLDS(!is_rested(self, 0u));
    *self = whole;
    afe->asked_us -= 1000u;
    HOLDS(!is_rested(self, 0u));
    *self = whole;
    afe->unheard[0] = 1u;
    HOLDS(!is_rested(self, 0u) && afe->unheard[0] == 0u && afe->heard_us[0] == self->now_us);
}

CLAIM(only_an_answer_that_is_missed_soon_after_a_command_leaves_it_in_doubt)
{
    bms_t *const self = part_pack("standby");
    afe_t *const afe = &self->afe;
    for (uint32_t k = 0; k < 4u; ++k) {
        const bool missing = (k & 1u) != 0u, soon = (k & 2u) != 0u;
        afe->unheard[0] = 0u;
        afe->answered = missing ? 0u : 1u;
        afe->bleed_us[0] = self->now_us - 1000u * (uint64_t)(soon ? LATE_MS - 1u : LATE_MS);
        doubt_missing(self);
        HOLDS((afe->unheard[0] != 0u) == (missing && soon));
    }
}

CLAIM(a_module_that_was_not_converted_or_has_no_wire_is_unknown)
{
    static const uint8_t NONE[2] = {0x80, 0x00}, ONES[2] = {0xFF, 0xFF}, GOOD[2] = {0x40, 0x00};
    bms_t *const self = part_pack("standby");
    measure_module(self, 0u, NONE);
    HOLDS(!self->measure.module_valid[0]);
    measure_module(self, 0u, ONES);
    HOLDS(!self->measure.module_valid[0]);
    measure_module(self, 0u, GOOD);
    HOLDS(self->measure.module_valid[0] && self->measure.module_uv[0] == 0x4000 * 3050);
}

CLAIM(a_voltage_that_no_known_block_reads_is_found_nowhere)
{
    bms_t *const self = part_pack("standby");
    const uint32_t blocks = self->config.set.blocks;
    self->measure.cell_uv[5] = 1234567;
    HOLDS(measure_find_cell(self, 1234567) == 5u);
    self->measure.cell_valid[5] = 0u;
    HOLDS(measure_find_cell(self, 1234567) == blocks && measure_find_told(self, 1) == blocks);
}

CLAIM(thermistors_and_pressure_that_were_not_converted_are_unknown_and_a_full_one_is_a_pressure)
{
    uint8_t data[16];
    bms_t *const self = part_pack("standby");
    for (uint32_t k = 0; k < 8u; ++k) {
        data[2u * k] = 0x40u;
        data[2u * k + 1u] = 0u;
    }
    data[0] = 0x73u; /* 5 V */
    measure_gpio(self, 0u, data);
    HOLDS(self->measure.sensor_valid[0] && self->measure.pressure_valid[0]);
    const int32_t half = self->measure.pressure_kpa[0];
    data[14] = 0x7Fu;
    measure_gpio(self, 0u, data);
    HOLDS(self->measure.pressure_valid[0] && self->measure.pressure_kpa[0] > half);
    const int32_t full = (int32_t)((0.95f - 0.1f) * 1.25f * (float)self->config.set.pressure_full_scale_kpa + 0.5f);
    HOLDS(self->measure.pressure_kpa[0] == full);
    data[2] = data[14] = 0x80u;
    measure_gpio(self, 0u, data);
    HOLDS(!self->measure.sensor_valid[0] && self->measure.sensor_valid[1] && !self->measure.pressure_valid[0]);
    HOLDS(self->measure.pressure_kpa[0] == full); /* the last one, unknown now */
}

CLAIM(a_thermistor_that_was_never_met_is_no_extreme_and_does_not_warm)
{
    bms_t *const self = part_pack("standby");
    measure_t *const m = &self->measure;
    m->sensor_met[0] = m->sensor_valid[0] = 0u;
    m->sensor_cdegc[0] = 9000;
    m->sensor_rise[0] = 100 * RISE_UNIT;
    m->sensor_old_cdegc[0] = BMS_UNKNOWN;
    temperature_extremes(self);
    HOLDS(m->temperature_high_cdegc < 9000 && m->temperatures_unknown == 1u);
    temperature_rate(self);
    HOLDS(m->sensor_cdegc[0] == 9000);
    m->sensor_met[0] = 1u; /* met, and lost while it warmed */
    temperature_extremes(self);
    temperature_rate(self);
    HOLDS(m->temperature_high_cdegc == 9000 && m->temperature_max_cdegc < 9000 && m->sensor_cdegc[0] == 9100);
}

CLAIM(a_rate_needs_time_and_two_readings)
{
    bms_t *const self = part_pack("standby");
    measure_t *const m = &self->measure;
    m->rate_us = self->now_us;
    temperature_rate(self);
    HOLDS(m->temperature_rate_cdegc == BMS_UNKNOWN);
    m->rate_us = self->now_us - 1000000u;
    temperature_rate(self);
    HOLDS(m->temperature_rate_cdegc == 0);
    memset(m->sensor_valid, 0, sizeof m->sensor_valid);
    temperature_rate(self);
    HOLDS(m->temperature_rate_cdegc == BMS_UNKNOWN);
}
