#include "part.h"

#include <selfcheck.c>

CLAIM(only_channels_of_the_last_module_that_are_there_are_pulled)
{
    bms_t *const self = part_pack("standby");
    self->config.set.blocks = 26u;
    HOLDS(channels_of(self, 0u) == 16u && channels_of(self, 1u) == 10u);
    self->selfcheck.chip = 1u;
    self->selfcheck.phase = CHECK_ODD;
    HOLDS(selfcheck_mask(self) == (ODD & 0x3FFu));
    self->selfcheck.phase = CHECK_EVEN;
    HOLDS(selfcheck_mask(self) == (EVEN & 0x3FFu));
    self->selfcheck.phase = CHECK_END;
    HOLDS(selfcheck_mask(self) == 0u);
}

CLAIM(each_reason_alone_keeps_a_switch_test_from_beginning)
{
    bms_t *const self = part_pack("standby");
    selfcheck_t *const s = &self->selfcheck;
    s->chip = 0u;
    s->phase = SELFCHECK_IDLE;
    self->afe.bleed_wanted[0] = self->afe.bleed_set[0] = 0u;
    self->measure.module_valid[0] = 1u;
    self->measure.module_uv[0] = (int32_t)self->measure.cell_sum_uv;
    const bms_t whole = *self;
    HOLDS(may_begin(self));
    self->measure.cells_unknown = 1u;
    HOLDS(!may_begin(self));
    *self = whole;
    self->afe.phase = AFE_WAKE;
    HOLDS(!may_begin(self));
    *self = whole;
    self->afe.bleed_wanted[0] = 1u;
    HOLDS(!may_begin(self));
    *self = whole;
    self->afe.bleed_set[0] = 1u;
    HOLDS(!may_begin(self));
    *self = whole;
    self->measure.chip_pulled[0] = 1u;
    HOLDS(!may_begin(self));
    *self = whole;
    self->measure.temperature_high_cdegc = BMS_UNKNOWN;
    HOLDS(!may_begin(self));
    *self = whole;
    self->measure.temperature_high_cdegc = self->config.set.discharge_max_cdegc[LIMIT_WARN];
    HOLDS(!may_begin(self));
    *self = whole;
    self->measure.module_valid[0] = 0u;
    HOLDS(!may_begin(self));
    *self = whole;
    self->measure.module_uv[0] = (int32_t)((int64_t)self->config.set.voltage_min_uv[LIMIT_OPERATE] * 16);
    HOLDS(!may_begin(self));
    static const uint32_t BURNS[] = {DIAG_THERMAL_RUNAWAY, DIAG_GAS, DIAG_TEMPERATURE_UNKNOWN};
    for (uint32_t k = 0; k < 3u; ++k) {
        *self = whole;
        self->protect.diag[BURNS[k]].tier = TIER_TRIP;
        HOLDS(!may_begin(self));
    }
}

CLAIM(a_look_without_a_pull_finds_nothing)
{
    bms_t *const self = part_pack("standby");
    selfcheck_t *const s = &self->selfcheck;
    s->phase = CHECK_EVEN;
    s->chip = 0u;
    s->open_at = s->stuck_at = -1;
    self->config.set.blocks = 1u; /* its even half has no channel */
    look(self);
    HOLDS(s->open_at == -1 && s->stuck_at == -1);
}

CLAIM(an_open_wire_is_told_even_if_the_test_did_not_end)
{
    bms_t *const self = part_pack("standby");
    selfcheck_t *const s = &self->selfcheck;
    s->chip = 0u;
    s->open_tests[0] = s->stuck_tests[0] = 0u;
    s->open_at = 3;
    s->stuck_at = -1;
    end(self, false);
    HOLDS(s->open_tests[0] == 1u && s->open_block[0] == 3 && s->chip == 0u && s->again_us > self->now_us);
    s->open_at = -1;
    end(self, false);
    HOLDS(s->open_tests[0] == 1u); /* it says nothing either way */
    s->open_at = 3;
    end(self, true);
    HOLDS(s->open_tests[0] == 2u && self->protect.diag[DIAG_OPEN_WIRE].sampled == TIER_TRIP && self->protect.diag[DIAG_OPEN_WIRE].place == 3);
}
