#include "part.h"

#include <estimator.c>

CLAIM(a_bank_holds_no_more_blocks_than_it_has_room_for)
{
    bms_t *const self = part_pack("standby");
    est_init(&self->est, EST_BLOCKS_MAX + 1u);
    HOLDS(self->est.count == EST_BLOCKS_MAX);
    const est_bank_t was = self->est;
    est_bleed(&self->est, &self->config.est, EST_BLOCKS_MAX, 1e9f);
    HOLDS(memcmp(&was, &self->est, sizeof was) == 0);
    est_bleed(&self->est, &self->config.est, 0u, 1e9f);
    HOLDS(self->est.base[0] < was.base[0]);
}

CLAIM(without_a_grid_of_pressure_contacts_are_as_at_reference)
{
    bms_t *const self = part_pack("standby");
    est_params_t p = self->config.est;
    est_conditions(&self->est, &p, 0u, 1u, self->measure.block_cdegc, -1.0f);
    const float reference = self->est.r0_ohm[0];
    est_conditions(&self->est, &p, 0u, 1u, self->measure.block_cdegc, 0.0f);
    HOLDS(self->est.r0_ohm[0] > reference); /* no pressure: less contact */
    p.pressure_max_kpa = 0.0f;
    est_conditions(&self->est, &p, 0u, 1u, self->measure.block_cdegc, 0.0f);
    HOLDS(self->est.r0_ohm[0] == reference);
}

CLAIM(a_piece_of_the_curve_that_does_not_rise_gives_its_middle)
{
    bms_t *const self = part_pack("standby");
    est_params_t p = self->config.est;
    memset(p.entropic_v_per_k, 0, sizeof p.entropic_v_per_k);
    for (uint32_t k = 0; k <= EST_SOC_STEPS; ++k) p.ocv_v[k] = 3.7f;
    const float z = soc_at(&p, 3.7f, 0.0f);
    HOLDS(z == ((float)(EST_SOC_STEPS - 1) + 0.5f) / (float)EST_SOC_STEPS);
}

CLAIM(a_pack_that_may_not_have_rested_is_never_less_sure_than_knowing_nothing)
{
    bms_t *const self = part_pack("standby");
    const est_params_t *const p = &self->config.est;
    const float most = p->sigma_start_frac * p->sigma_start_frac;
    self->est.p11[0] = 0.0f;
    est_unrest(&self->est, p, 0u, self->measure.cell_uv[0], 1.0f);
    HOLDS(self->est.p11[0] > 0.0f && self->est.p11[0] < most);
    est_unrest(&self->est, p, 0u, self->measure.cell_uv[0], 1e5f);
    HOLDS(self->est.p11[0] == most);
}

CLAIM(a_cell_without_a_length_of_hysteresis_keeps_what_is_known_of_it)
{
    bms_t *const self = part_pack("standby");
    est_params_t p = self->config.est;
    pass_t pass;
    self->est.hysteresis_v = 0.001f;
    self->est.hysteresis_open = 0.5f;
    p.hysteresis_soc_frac = 0.0f;
    advance_common(&self->est, &p, 1.0f, 100.0f, &pass);
    HOLDS(self->est.hysteresis_v == 0.001f && self->est.hysteresis_open == 0.5f && pass.hysteresis_v == 0.001f);
    p.hysteresis_soc_frac = 1e-6f;
    advance_common(&self->est, &p, 1.0f, 100.0f, &pass);
    HOLDS(abs_f32(self->est.hysteresis_v + p.hysteresis_v) < 1e-4f && self->est.hysteresis_open < 0.1f);
}

CLAIM(a_block_whose_estimate_is_nonsense_begins_in_the_middle_knowing_nothing)
{
    static const float WRONG[4][4] = {{-3.0f, 1e-4f, 0.0f, 0.0f}, {4.0f, 1e-4f, 0.0f, 0.0f}, {0.5f, -1.0f, 0.0f, 0.0f}, {0.5f, 1e-4f, 2.0f, 0.0f}};
    bms_t *const self = part_pack("standby");
    est_bank_t *const est = &self->est;
    for (uint32_t k = 0; k < 5u; ++k) {
        est->base[k] = k < 4u ? WRONG[k][0] : 0.0f / 0.0f;
        est->delta[k] = 0.0f;
        est->p11[k] = k < 4u ? WRONG[k][1] : 1e-4f;
        est->c1[k] = k < 4u ? WRONG[k][2] : 0.0f;
    }
    const float other = est->soc_frac[7];
    est_results(est, &self->config.est, 0u, 16u, 0.0f, 0);
    for (uint32_t k = 0; k < 5u; ++k) HOLDS(est->soc_frac[k] == 0.5f && est->sigma_frac[k] == self->config.est.sigma_start_frac && est->c1[k] == 0.0f);
    HOLDS(abs_f32(est->soc_frac[7] - other) < 0.05f);
}

CLAIM(a_pack_of_no_block_or_of_a_full_and_an_empty_one_is_in_the_middle)
{
    bms_t *const self = part_pack("standby");
    est_bank_t *const est = &self->est;
    est->count = 0u;
    HOLDS(est_pack(est).soc_frac == 0.0f && est_pack(est).low_frac == 0.0f && est_pack(est).high_frac == 1.0f);
    HOLDS(pack_soc(0.0f, 1.0f) == 0.5f && pack_soc(0.0f, 0.5f) == 0.0f && pack_soc(0.5f, 1.0f) == 1.0f);
}
