#include "part.h"

#include <witness.c>

CLAIM(a_module_without_blocks_a_stack_without_pressure_and_one_too_many_tell_nothing)
{
    bms_t *const self = part_pack("standby");
    est_params_t p = self->config.est;
    witness_t *const w = &self->witness;
    const bms_t was = *self;
    witness_join(w, &self->est, &p, WITNESS_MODULES_MAX, 0u, 16u, 0.1f, 0, 25.0f, 2000.0f);
    witness_join(w, &self->est, &p, 0u, 0u, 0u, 0.1f, 0, 25.0f, 2000.0f);
    p.stack_kpa = 0.0f;
    witness_join(w, &self->est, &p, 0u, 0u, 16u, 0.1f, 0, 25.0f, 2000.0f);
    HOLDS(memcmp(&was, self, sizeof was) == 0);
    witness_join(w, &self->est, &self->config.est, 0u, 0u, 16u, 0.1f, 0, 25.0f, 2000.0f);
    HOLDS(memcmp(&was, self, sizeof was) != 0);
}

CLAIM(an_offset_is_forgotten_within_a_day_and_no_further)
{
    bms_t *const self = part_pack("standby");
    const est_params_t *const p = &self->config.est;
    const float prior = p->sigma_stack_kpa * p->sigma_stack_kpa;
    self->witness.module[0].offset_kpa2 = 0.0f;
    witness_rest(&self->witness, p, 0.5f * FORGETS_S);
    HOLDS(abs_f32(self->witness.module[0].offset_kpa2 / prior - 0.5f) < 1e-3f);
    witness_rest(&self->witness, p, 10.0f * FORGETS_S);
    HOLDS(abs_f32(self->witness.module[0].offset_kpa2 / prior - 1.0f) < 1e-3f);
}

CLAIM(a_pause_longer_than_creep_sets_a_stack_whole_and_not_more)
{
    bms_t *const self = part_pack("standby");
    est_params_t p = self->config.est;
    witness_module_t m = {0};
    p.stack_creep_per_s = 1e-3f;
    p.stack_creep_frac = 0.1f;
    m.unseen_s = 1e6f; /* a thousand time constants */
    const means_t all = {0.9f, 0.0f, 1e-4f, 0.0f};
    take(&m, &p, &all, 0.1f, 0.0f, 0.0f, 2000.0f);
    HOLDS(abs_f32(m.set_kpa / (0.1f * p.stack_kpa * 0.4f) - 1.0f) < 1e-3f && m.unseen_s == 0.0f);
}

CLAIM(what_modules_share_is_never_more_than_what_one_of_them_errs_by)
{
    bms_t *const self = part_pack("standby");
    witness_t *const w = &self->witness;
    memset(w, 0, sizeof *w);
    HOLDS(pool_of(w).trust == 0.0f);
    w->module[1].trust = 1.0f;
    w->module[1].apart_frac = 0.1f;
    w->module[1].var_frac2 = 1e-4f;
    w->module[1].shared_frac2 = 4e-4f;
    HOLDS(pool_of(w).shared == 1e-4f && pool_of(w).trust == 1.0f && pool_of(w).apart == 0.1f);
    w->module[1].shared_frac2 = 5e-5f;
    HOLDS(pool_of(w).shared == 5e-5f);
}

CLAIM(only_a_proven_recent_and_near_witness_is_trusted)
{
    bms_t *const self = part_pack("standby");
    witness_module_t *const m = &self->witness.module[0];
    m->state = WITNESS_PROVEN;
    m->age_s = 0.0f;
    m->correction_frac = self->est.delta[0];
    m->offset_kpa = 0.0f;
    m->offset_kpa2 = 1.0f;
    for (uint32_t b = 0; b < 16u; ++b) self->est.delta[b] = self->est.delta[0];
    const bms_t whole = *self;
    witness_join(&self->witness, &self->est, &self->config.est, 0u, 0u, 16u, 0.1f, 0, 25.0f, -1.0f);
    HOLDS(m->trust > 0.0f);
    *self = whole;
    m->state = WITNESS_NEW;
    witness_join(&self->witness, &self->est, &self->config.est, 0u, 0u, 16u, 0.1f, 0, 25.0f, -1.0f);
    HOLDS(m->trust == 0.0f);
    *self = whole;
    m->age_s = 2.0f * OLD_S;
    witness_join(&self->witness, &self->est, &self->config.est, 0u, 0u, 16u, 0.1f, 0, 25.0f, -1.0f);
    HOLDS(m->trust == 0.0f);
    *self = whole;
    m->correction_frac += 10.0f;
    witness_join(&self->witness, &self->est, &self->config.est, 0u, 0u, 16u, 0.1f, 0, 25.0f, -1.0f);
    HOLDS(m->trust == 0.0f);
    *self = whole;
    m->age_s = 1e6f;
    witness_join(&self->witness, &self->est, &self->config.est, 0u, 0u, 16u, 0.1f, 0, 25.0f, -1.0f);
    HOLDS(m->age_s == 1e6f);
}
