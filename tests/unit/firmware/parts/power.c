#include "part.h"

#include <power.c>

CLAIM(modules_and_spans_beyond_the_table_are_not_read)
{
    bms_t *const self = part_pack("standby");
    power_t *const p = &self->watch.power;
    memset(p, 0, sizeof *p);
    for (uint32_t m = 0; m < POWER_MODULES_MAX; ++m) {
        p->emf_v[m] = 50.0f;
        for (uint32_t s = 0; s < POWER_SPANS; ++s) p->charge_a[s][m] = p->discharge_a[s][m] = 100.0f - (float)(m + s);
    }
    const power_bound_t all = power_bound(p, POWER_MODULES_MAX, POWER_SPANS - 1u), more = power_bound(p, 1000u, 1000u);
    HOLDS(all.charge_a == 100.0f - (float)(POWER_MODULES_MAX + POWER_SPANS - 2u) && memcmp(&all, &more, sizeof all) == 0);
    HOLDS(power_charge_w(p, 1000u, 0u, 2.0f) == power_charge_w(p, POWER_MODULES_MAX, 0u, 2.0f));
    const power_limits_t *const limits = &self->watch.power_limits;
    HOLDS(power_discharge_w(p, limits, 1000u, 0u, 2.0f) == power_discharge_w(p, limits, POWER_MODULES_MAX, 0u, 2.0f));
    HOLDS(power_charge_w(p, 2u, 0u, 2.0f) == 200.0f);
}

/* The first module's power as the firmware asks for it. */
static void ask(bms_t *self, uint32_t module, const est_params_t *params)
{
    static float more[EST_BLOCKS_MAX], sigma[EST_BLOCKS_MAX];
    const power_known_t known = {more, sigma, self->measure.cell_uv, self->measure.cell_rested, 0.0f};
    power_module(&self->watch.power, &self->est, params, &self->watch.power_limits, module, 0u, self->config.set.blocks, &known);
}

CLAIM(a_module_beyond_the_last_writes_nothing)
{
    bms_t *const self = part_pack("standby");
    const bms_t was = *self;
    ask(self, POWER_MODULES_MAX, &self->config.est);
    HOLDS(memcmp(&was, self, sizeof was) == 0);
}

CLAIM(a_block_that_was_never_read_has_the_power_of_the_model_alone)
{
    bms_t *const self = part_pack("standby");
    power_t *const p = &self->watch.power;
    memset(p, 0, sizeof *p);
    memset(self->measure.cell_rested, 0, sizeof self->measure.cell_rested);
    ask(self, 0u, &self->config.est);
    const float blind_a = p->discharge_a[1][0];
    HOLDS(p->read[0] == 0u && blind_a > 0.0f);
    for (uint32_t b = 0; b < self->config.set.blocks; ++b) self->measure.cell_rested[b] = UINT32_MAX;
    ask(self, 0u, &self->config.est);
    HOLDS(p->read[0] == 1u && p->discharge_a[1][0] >= blind_a);
}

CLAIM(a_hysteresis_that_turns_at_once_costs_no_less_than_one_that_turns_slowly)
{
    bms_t *const self = part_pack("standby");
    est_params_t at_once = self->config.est, slow = self->config.est;
    at_once.hysteresis_soc_frac = 0.0f;
    slow.hysteresis_soc_frac = 1.0f;
    self->est.hysteresis_v = 0.0f;
    ask(self, 0u, &slow);
    const float slow_a = self->watch.power.discharge_a[0][0];
    ask(self, 0u, &at_once);
    HOLDS(self->watch.power.discharge_a[0][0] > 0.0f && self->watch.power.discharge_a[0][0] <= slow_a);
}

CLAIM(the_ends_of_a_block_hold_entropy_hysteresis_what_is_open_of_it_and_a_margin)
{
    bms_t *const self = part_pack("standby");
    est_bank_t *const est = &self->est;
    const est_params_t *const p = &self->config.est;
    const float h = p->hysteresis_v, margin = self->watch.power_limits.margin_v;
    ends_t e;
    est->soc_frac[0] = 0.5f;
    est->sigma_frac[0] = 0.01f;
    est->hysteresis_v = 0.25f * h;
    est->hysteresis_open = 0.5f;
    est->above_25_k[0] = 10.0f;
    look_ahead(est, p, &self->watch.power_limits, 0u, &e);
    const float warm = 10.0f * p->entropic_v_per_k[EST_SOC_STEPS / 2];
    HOLDS(abs_f32(e.low_z - 0.48f) < 1e-6f && abs_f32(e.high_z - 0.52f) < 1e-6f);
    HOLDS(abs_f32(e.low_v - (ocv_at(p, 0.48f) + warm - 0.25f * h - margin)) < 1e-5f);
    HOLDS(abs_f32(e.high_v - (ocv_at(p, 0.52f) + warm + 0.75f * h + margin)) < 1e-5f);
    HOLDS(abs_f32(e.down_v - 1.75f * h) < 1e-6f && abs_f32(e.up_v - 1.25f * h) < 1e-6f);
}
