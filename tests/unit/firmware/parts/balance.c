#include "part.h"

#include <balance.c>

/* At rest, measured, allowed; the third block stands 50 mV and 5 % of charge above the rest. */
static bms_t *uneven(uint32_t strategy)
{
    bms_t *const self = part_pack("standby");
    self->config.set.balance_strategy = (uint8_t)strategy;
    self->canin.balance_allowed = 1u;
    self->sensor.current_ma.value = 0;
    for (uint32_t b = 0; b < self->config.set.blocks; ++b) {
        self->measure.cell_uv[b] = self->measure.told_uv[b] = 3700000 + (b == 2u ? 50000 : 0);
        self->est.soc_frac[b] = 0.5f + (b == 2u ? 0.05f : 0.0f);
    }
    self->measure.cell_min_uv = self->measure.told_min_uv = 3700000;
    self->balance.phase = BALANCE_LOOK;
    self->balance.phase_us = 0u;
    return self;
}

CLAIM(balancing_by_charge_goes_on_at_any_current_and_by_voltage_only_at_rest)
{
    bms_t *const self = uneven(BALANCE_BY_CHARGE);
    self->sensor.current_ma.value = 100 * self->config.set.rest_ma;
    HOLDS(may_balance(self));
    self->config.set.balance_strategy = BALANCE_BY_VOLTAGE;
    HOLDS(!may_balance(self));
    self->sensor.current_ma.value = 3 * self->config.set.rest_ma;
    HOLDS(may_balance(self));
    self->sensor.current_ma.valid = 0u;
    HOLDS(!may_balance(self));
}

CLAIM(each_reason_alone_keeps_a_pack_from_balancing)
{
    bms_t *const self = uneven(BALANCE_BY_VOLTAGE);
    const bms_t whole = *self;
    HOLDS(may_balance(self));
    self->protect.trip = 1u;
    HOLDS(!may_balance(self));
    *self = whole;
    self->measure.cells_unknown = 1u;
    HOLDS(!may_balance(self));
    *self = whole;
    self->est_running = 1u;
    HOLDS(!may_balance(self));
    *self = whole;
    self->contactor.state = STATE_PRECHARGE;
    HOLDS(!may_balance(self));
    self->contactor.state = STATE_SLEEP;
    HOLDS(!may_balance(self));
    *self = whole;
    self->canin.balance_allowed = 0u;
    HOLDS(!may_balance(self));
}

CLAIM(a_module_that_is_hot_or_has_lost_a_thermistor_is_not_bled)
{
    bms_t *const self = uneven(BALANCE_BY_VOLTAGE);
    balance_slow(self);
    HOLDS(self->balance.running != 0u && self->afe.bleed_wanted[0] == 1u << 2);
    self->measure.sensor_valid[5] = 0u;
    switches(self, ODD);
    HOLDS(self->afe.bleed_wanted[0] == 0u && self->balance.active == 0u);
    self->measure.sensor_valid[5] = 1u;
    self->measure.sensor_cdegc[5] = self->config.set.balance_max_cdegc;
    switches(self, ODD);
    HOLDS(self->afe.bleed_wanted[0] == 1u << 2);
    self->measure.sensor_cdegc[5] += 1;
    switches(self, ODD);
    HOLDS(self->afe.bleed_wanted[0] == 0u);
}

CLAIM(by_charge_the_block_above_the_lowest_is_bled_until_it_is_within_stop)
{
    bms_t *const self = uneven(BALANCE_BY_CHARGE);
    const bms_settings_t *const set = &self->config.set;
    self->measure.told_uv[2] = 3700000; /* its voltage says nothing */
    balance_slow(self);
    HOLDS(self->balance.want[0] == 1u << 2 && lowest_soc(self) == 0.5f);
    self->est.soc_frac[2] = 0.5f + 0.5f * (set->balance_start_frac + set->balance_stop_frac);
    HOLDS(choose(self) && self->balance.want[0] == 1u << 2); /* chosen stays chosen */
    self->balance.want[0] = 0u;
    HOLDS(!choose(self) && self->balance.want[0] == 0u);
    self->balance.want[0] = 1u << 2;
    self->est.soc_frac[2] = 0.5f + 0.5f * set->balance_stop_frac;
    HOLDS(!choose(self) && self->balance.want[0] == 0u);
}

CLAIM(by_charge_a_look_lasts_a_round_and_by_voltage_until_cells_have_relaxed)
{
    bms_t *const self = uneven(BALANCE_BY_CHARGE);
    self->balance.phase_us = self->now_us - 1000u * (uint64_t)ROUND_MS;
    balance_slow(self);
    HOLDS(self->balance.phase == BALANCE_ODD);
    bms_t *const other = uneven(BALANCE_BY_VOLTAGE);
    other->balance.phase_us = other->now_us - 1000u * (uint64_t)(LOOK_MS - 1u);
    balance_slow(other);
    HOLDS(other->balance.phase == BALANCE_LOOK);
}

CLAIM(an_unknown_block_and_a_pack_with_an_empty_one_are_not_bled)
{
    bms_t *const self = uneven(BALANCE_BY_VOLTAGE);
    HOLDS(choose(self));
    self->measure.cell_valid[2] = 0u;
    HOLDS(!choose(self));
    self->measure.cell_valid[2] = UINT32_MAX;
    self->measure.cell_min_uv = self->config.set.balance_min_uv;
    HOLDS(!choose(self));
}

CLAIM(channels_beyond_the_last_block_are_neither_let_go_nor_counted)
{
    bms_t *const self = uneven(BALANCE_BY_VOLTAGE);
    self->config.set.blocks = 10u;
    self->balance.want[0] = self->afe.bleed_wanted[0] = self->afe.bleed_set[0] = 1u << 12 | 1u << 2;
    self->measure.cell_uv[12] = self->config.set.balance_min_uv;
    const float base = self->est.base[12], bled = self->est.base[2];
    account(self);
    let_go(self);
    HOLDS(self->balance.want[0] == (1u << 12 | 1u << 2));
    HOLDS(self->est.base[12] == base && self->est.base[2] < bled);
    self->measure.cell_uv[2] = self->config.set.balance_min_uv;
    let_go(self);
    HOLDS(self->balance.want[0] == 1u << 12 && self->afe.bleed_wanted[0] == 1u << 12);
}
