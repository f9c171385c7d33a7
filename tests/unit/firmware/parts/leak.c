#include "part.h"

#include <leak.c>

CLAIM(a_detector_holds_no_more_blocks_than_it_has_room_for)
{
    bms_t *const self = part_pack("standby");
    leak_t *const leak = &self->leak;
    leak_init(leak, EST_BLOCKS_MAX + 1u);
    HOLDS(leak->count == EST_BLOCKS_MAX);
    leak_init(leak, 16u);
    const leak_t was = *leak;
    leak_bled(leak, &self->config.est, 16u, 1e9f);
    leak_restore(leak, &self->config.est, 16u, 1e-3f, 1e-4f);
    leak_pressure(leak, LEAK_MODULES_MAX, 2000.0f);
    HOLDS(memcmp(&was, leak, sizeof was) == 0);
    leak_bled(leak, &self->config.est, 15u, 1e9f);
    HOLDS(leak->bled_frac[15] > 0.0f);
}

CLAIM(a_kept_leak_that_is_nonsense_or_unsure_is_not_believed)
{
    bms_t *const self = part_pack("standby");
    leak_t *const leak = &self->leak;
    const float one_a = amps(&self->config.est, 1.0f), none = 0.0f / 0.0f;
    const struct { float leak_a, sigma_a; } wrong[] = {
        {one_a, 0.0f}, {one_a, -one_a}, {one_a, none}, {one_a, 2.0f * L_SIGMA * one_a}, {1e3f * one_a, one_a}, {none, one_a}};
    leak_init(leak, 16u);
    const leak_t was = *leak;
    for (uint32_t k = 0; k < sizeof wrong / sizeof wrong[0]; ++k) leak_restore(leak, &self->config.est, 3u, wrong[k].leak_a, wrong[k].sigma_a);
    HOLDS(memcmp(&was, leak, sizeof was) == 0);
    leak_restore(leak, &self->config.est, 3u, 2.0f * one_a, one_a);
    HOLDS(abs_f32(leak->x[LEAK_L][3] - 2.0f) < 1e-4f && abs_f32(leak->p[AT[LEAK_L][LEAK_L]][3] - 1.0f) < 1e-4f);
}

CLAIM(no_state_is_ever_less_known_than_at_the_start_and_covariances_shrink_with_it)
{
    bms_t *const self = part_pack("standby");
    leak_t *const leak = &self->leak;
    leak_init(leak, 16u);
    leak->span_s = 60.0f;
    leak->p[AT[LEAK_R][LEAK_R]][2] = 16.0f * 4.0f * R_SIGMA * R_SIGMA;
    leak->p[AT[LEAK_R][LEAK_O]][2] = 1.0f;
    predict(leak, 2u);
    HOLDS(abs_f32(leak->p[AT[LEAK_R][LEAK_R]][2] / (4.0f * R_SIGMA * R_SIGMA) - 1.0f) < 1e-3f);
    HOLDS(abs_f32(leak->p[AT[LEAK_R][LEAK_O]][2] - 0.25f) < 1e-3f);
}

CLAIM(errors_of_a_window_fall_with_its_length_and_with_the_bends_of_the_curve)
{
    bms_t *const self = part_pack("standby");
    leak_t *const leak = &self->leak;
    leak_init(leak, 16u);
    leak->scans[0] = 10.0f;
    leak->slope_v[0] = 1.0f;
    leak->drop_v[0] = 0.1f;
    leak->bent[0] = 0.5f;
    float last = 1e9f;
    for (float span = 0.1f; span < 1e6f; span *= 10.0f) {
        leak->span_s = span;
        const float now = window_variance(leak, &self->est, &self->config.est, 0u);
        HOLDS(now > 0.0f && now <= last);
        last = now;
    }
    leak->bent[0] = 0.0f;
    HOLDS(window_variance(leak, &self->est, &self->config.est, 0u) < last);
}

CLAIM(a_flat_curve_is_taken_as_no_flatter_than_the_table_can_tell)
{
    bms_t *const self = part_pack("standby");
    leak_t *const leak = &self->leak;
    leak_init(leak, 16u);
    for (uint32_t k = 0; k <= EST_SOC_STEPS; ++k) self->config.est.ocv_v[k] = 3.7f + 1e-6f * (float)k;
    leak->age_s = 2.0f * SETTLE_S;
    leak->scans[0] = 10.0f;
    leak->sum_v[0] = 37.001f;
    leak->sum_drop_v[0] = self->config.est.hysteresis_v = 0.0f;
    leak->span_s = 60.0f;
    measure(leak, &self->est, &self->config.est, 0u);
    HOLDS(leak->slope_v[0] == SLOPE_LEAST_V && leak->variance[0] > 0.0f);
}

CLAIM(a_surprise_counts_less_and_many_on_one_side_open_the_leak)
{
    bms_t *const self = part_pack("standby");
    leak_t *const leak = &self->leak;
    leak_init(leak, 16u);
    leak->slope_v[0] = leak->slope_v[1] = 1.0f;
    leak->variance[0] = leak->variance[1] = 30.0f;
    leak->off[0] = 27.0f; /* just below five standard deviations */
    leak->off[1] = 28.0f; /* beyond */
    correct(leak, 0.0f, 0u);
    correct(leak, 0.0f, 1u);
    HOLDS(leak->x[LEAK_A][1] > 0.0f && leak->x[LEAK_A][1] < 0.3f * leak->x[LEAK_A][0]);
    const float before = leak->p[AT[LEAK_L][LEAK_L]][2];
    leak->slope_v[2] = 1.0f;
    leak->variance[2] = 1e6f; /* says nothing of the states themselves */
    leak->off[2] = 5000.0f;
    leak->side[2] = 100.0f;
    correct(leak, 0.0f, 2u);
    HOLDS(leak->p[AT[LEAK_L][LEAK_L]][2] > before + 0.9f * OPEN_L && leak->side[2] == 0.0f);
}

CLAIM(a_variance_never_falls_to_nothing)
{
    bms_t *const self = part_pack("standby");
    leak_t *const leak = &self->leak;
    leak_init(leak, 16u);
    leak->slope_v[0] = 1.0f;
    leak->variance[0] = 1e-3f; /* less than the states' own: as rounding might leave it */
    correct(leak, 0.0f, 0u);
    for (uint32_t i = 0; i < LEAK_STATES; ++i) HOLDS(leak->p[AT[i][i]][0] >= 1e-9f);
    HOLDS(leak->p[AT[LEAK_A][LEAK_A]][0] == 1e-9f);
}

CLAIM(a_block_whose_estimate_is_no_number_begins_anew_and_the_others_go_on)
{
    bms_t *const self = part_pack("standby");
    leak_t *const leak = &self->leak;
    const float none = 0.0f / 0.0f;
    leak_init(leak, 16u);
    leak->phase = LEAK_UPDATES;
    leak->x[LEAK_L][4] = none;
    leak->x[LEAK_C][5] = 1e6f;
    leak->diffusion_v[6] = none;
    leak->x[LEAK_L][7] = 3.0f;
    leak_module(leak, &self->est, &self->config.est, self->config.set.leak_spread_a, 0u, 0u, 16u, 1.0f, self->measure.cell_uv, NULL);
    for (uint32_t b = 4; b < 7u; ++b) HOLDS(is_sane(leak, b) && leak->x[LEAK_L][b] == 0.0f && leak->p[AT[LEAK_L][LEAK_L]][b] == L_SIGMA * L_SIGMA);
    HOLDS(leak->x[LEAK_L][7] == 3.0f);
}

CLAIM(blocks_and_modules_beyond_the_pack_are_left_alone)
{
    bms_t *const self = part_pack("standby");
    leak_t *const leak = &self->leak;
    leak_init(leak, 10u);
    leak->phase = LEAK_UPDATES;
    leak->swells_less = 0u;
    leak_module(leak, &self->est, &self->config.est, self->config.set.leak_spread_a, LEAK_MODULES_MAX, 0u, 16u, 1.0f, self->measure.cell_uv, NULL);
    HOLDS(leak->diffusion_v[9] == leak->diffusion_v[9] && leak->sum_v[12] == 0.0f && leak->diffusion_v[12] == 0.0f);
}

CLAIM(a_module_that_swells_less_needs_company_to_be_told_from)
{
    bms_t *const self = part_pack("standby");
    leak_t *const leak = &self->leak;
    for (uint32_t n = 1; n <= 3u; ++n) {
        leak_init(leak, 16u);
        for (uint32_t m = 0; m < n; ++m) leak_pressure(leak, m, 1000.0f);
        for (uint32_t m = 1; m < n; ++m) leak->pressure_kpa[m] = 2000.0f;
        leak->pressure_kpa[0] = n == 1u ? 0.0f : 1000.0f;
        compare_pressures(leak);
        HOLDS(leak->swells_less == (n == 1u ? 0u : 1u));
    }
    leak_pressure(leak, 0u, -1.0f);
    HOLDS(leak->swells_less == 0u && (leak->pressures & 1u) == 0u);
}

CLAIM(an_age_of_days_stops_growing_before_its_steps_are_lost)
{
    bms_t *const self = part_pack("standby");
    self->leak.age_s = 1e6f;
    (void)leak_second(&self->leak, &self->config.est, 1.0f, 0.0f);
    HOLDS(self->leak.age_s == 1e6f);
    self->leak.age_s = 999999.0f;
    (void)leak_second(&self->leak, &self->config.est, 1.0f, 0.0f);
    HOLDS(self->leak.age_s == 1e6f);
}

CLAIM(each_pair_of_states_has_one_place_whichever_comes_first)
{
    uint32_t seen = 0;
    for (uint32_t i = 0; i < LEAK_STATES; ++i) {
        for (uint32_t j = 0; j < LEAK_STATES; ++j) HOLDS(AT[i][j] == AT[j][i] && AT[i][j] < LEAK_VARIANCES);
        for (uint32_t j = i; j < LEAK_STATES; ++j) {
            HOLDS((seen >> AT[i][j] & 1u) == 0u);
            seen |= 1u << AT[i][j];
        }
    }
    HOLDS(seen == (1u << LEAK_VARIANCES) - 1u);
}
