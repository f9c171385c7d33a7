#include "part.h"

#include <watch.c>

CLAIM(a_look_at_rest_waits_for_a_pause_of_the_switches_a_second_at_most)
{
    for (uint32_t k = 0; k < 6u; ++k) {
        bms_t *const self = part_pack("standby");
        watch_t *const w = &self->watch;
        const bool bleeds = (k & 1u) != 0u;
        const uint32_t more_ms = k / 2u == 0u ? 0u : (k / 2u == 1u ? 999u : 1000u);
        self->sensor.current_ma.value = 0;
        self->balance.active = bleeds;
        self->afe.pause_set = 0u;
        w->rest_us = 1u;
        w->rest_look = 0u;
        self->now_us = 1u + 1000u * (uint64_t)(REST_LOOK_MS + more_ms);
        self->sensor.current_ma.us = self->now_us;
        rest(self);
        HOLDS((w->rest_look != 0u) == (!bleeds || more_ms == 1000u));
        self->afe.pause_set = 1u;
        rest(self);
        HOLDS(w->rest_look == REST_LOOK_MS + more_ms);
        rest(self);
        HOLDS(w->rest_look == REST_LOOK_MS + more_ms); /* not again so soon */
    }
}

CLAIM(a_sure_leak_is_told_by_its_size)
{
    const int32_t *const threshold_ma = diagnosis_table[DIAG_SOFT_SHORT].threshold;
    const int32_t sizes[3] = {threshold_ma[TIER_OPERATE] - 1, threshold_ma[TIER_OPERATE] + 1, threshold_ma[TIER_WARN] + 1};
    const uint32_t tiers[3] = {TIER_NONE, TIER_OPERATE, TIER_WARN};
    for (uint32_t k = 0; k < 3u; ++k) {
        bms_t *const self = part_pack("standby");
        self->leak.phase = LEAK_UPDATES;
        self->leak.now_worst_a = (float)sizes[k] * 1e-3f;
        self->leak.now_spread_a = self->leak.spread_a = 0.0f;
        find_leaks(self);
        HOLDS(self->protect.diag[DIAG_SOFT_SHORT].sampled == tiers[k]);
    }
}
