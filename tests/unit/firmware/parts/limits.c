#include "part.h"

#include <limits.c>

CLAIM(limits_without_room_between_operate_and_warn_switch_and_unknown_is_nothing)
{
    static const int32_t STEP[LIMITS] = {100, 100, 200}, SLOPE[LIMITS] = {100, 200, 300}, DOWN[LIMITS] = {200, 100, 0};
    HOLDS(share_below(99, STEP) == 1.0f && share_below(100, STEP) == 0.0f && share_below(BMS_UNKNOWN, STEP) == 0.0f);
    HOLDS(share_above(101, STEP) == 1.0f && share_above(100, STEP) == 0.0f && share_above(BMS_UNKNOWN, STEP) == 0.0f);
    HOLDS(share_below(100, SLOPE) == 1.0f && share_below(150, SLOPE) == 0.5f && share_below(200, SLOPE) == 0.0f);
    HOLDS(share_above(200, DOWN) == 1.0f && share_above(150, DOWN) == 0.5f && share_above(100, DOWN) == 0.0f);
}

CLAIM(pressure_bounds_currents_only_where_it_is_fitted_and_has_a_limit)
{
    bms_t *const self = part_pack("standby");
    self->measure.pressure_max_kpa = self->config.set.pressure_max_kpa[LIMIT_WARN];
    for (uint32_t k = 0; k < 3u; ++k) {
        bound_t in = {1e3f, CAUSE_NONE}, out = {1e3f, CAUSE_NONE};
        const bms_config_t was = self->config;
        if (k == 1u) self->config.set.pressure_is_fitted = 0u;
        if (k == 2u) self->config.set.pressure_max_kpa[LIMIT_TRIP] = 0;
        bound_by_pressure(self, &in, &out);
        HOLDS(in.amps == (k == 0u ? 0.0f : 1e3f) && out.amps == in.amps);
        self->config = was;
    }
}

CLAIM(each_way_of_being_blind_alone_takes_all_current)
{
    for (uint32_t k = 0; k < 5u; ++k) {
        bms_t *const self = part_pack("drive");
        bound_t in = {1e4f, CAUSE_NONE}, out = {1e4f, CAUSE_NONE};
        self->now_us += 60000000u;
        self->measure.scan_us = self->now_us;
        self->protect.trip = self->protect.inhibit = self->protect.inhibit_charge = 0u;
        if (k == 1u) self->measure.scan_us -= 1000u * (uint64_t)(SCAN_AGE_MS + 1u);
        if (k == 2u) self->soc_valid = 0u;
        if (k == 3u) self->protect.diag[DIAG_CELL_VOLTAGE_UNKNOWN].tier = TIER_WARN;
        if (k == 4u) self->protect.inhibit_charge = 1u;
        bound_by_state(self, &in, &out);
        HOLDS((in.amps > 0.0f) == (k == 0u) && (out.amps > 0.0f) == (k == 0u || k == 4u));
    }
}

CLAIM(no_current_is_no_power)
{
    bms_t *const self = part_pack("drive");
    const bound_t none = {0.0f, CAUSE_DIAGNOSIS}, much = {1e4f, CAUSE_NONE};
    spans(self, &much, &much, 1000000000);
    for (uint32_t s = 0; s < POWER_SPANS; ++s) HOLDS(self->limits.charge_w[s] > 1 && self->limits.discharge_w[s] > 1);
    spans(self, &none, &none, 1000000000);
    for (uint32_t s = 0; s < POWER_SPANS; ++s) HOLDS(self->limits.charge_w[s] == 0 && self->limits.discharge_w[s] == 0);
}
