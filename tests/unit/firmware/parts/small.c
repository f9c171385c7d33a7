/* Of files with little left to say apart: thermal.c, watch.c, charge.c, util.h. */
#include "part.h"
#include "util.h"

CLAIM(a_dead_pack_and_one_without_a_heater_do_not_heat)
{
    bms_t *const self = part_pack("standby");
    self->config.set.heater_is_fitted = 1u;
    self->canin.heating_allowed = 1u;
    self->measure.temperature_min_cdegc = self->measure.temperature_max_cdegc = self->config.set.heat_below_cdegc - 1000;
    const bms_t cold = *self;
    thermal_slow(self);
    HOLDS(self->thermal.heater_pptt > 0u && self->thermal.pump_pptt > 0u);
    *self = cold;
    self->config.set.heater_is_fitted = 0u;
    thermal_slow(self);
    HOLDS(self->thermal.heater_pptt == 0u);
    *self = cold;
    self->contactor.state = STATE_ASSERTED;
    thermal_slow(self);
    HOLDS(self->thermal.heater_pptt == 0u && self->thermal.pump_pptt == 0u && self->thermal.heating == 0u);
}

CLAIM(temperatures_of_the_last_module_end_with_the_last_block)
{
    bms_t *const self = part_pack("standby");
    self->config.set.blocks = 10u;
    for (uint32_t b = 0; b < 16u; ++b) self->watch.obs.core_degc[b] = 31.0f;
    self->measure.block_cdegc[10] = 1234;
    watch_temperatures(self, 0u);
    HOLDS(self->measure.block_cdegc[9] == 3100 && self->measure.block_cdegc[10] == 1234);
}

CLAIM(a_gap_counts_as_an_hour_at_most)
{
    bms_t *const self = part_pack("standby");
    self->charge.carry = 0;
    self->charge.used_uc = 0;
    self->charge.last_us = 0u;
    self->now_us = 2u * (uint64_t)3600000000u;
    charge_take(self, 1000);
    HOLDS(self->charge.used_uc == 3600000000 && self->est.widen_frac > 0.0f);
}

CLAIM(numbers_are_clamped_at_both_ends_and_the_most_negative_one_has_a_size)
{
    HOLDS(clamp_i64(-5, -3, 3) == -3 && clamp_i64(5, -3, 3) == 3 && clamp_i64(2, -3, 3) == 2);
    HOLDS(abs_i32(INT32_MIN) == INT32_MAX && abs_i32(-7) == 7 && abs_i32(7) == 7);
}
