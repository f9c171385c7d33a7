/* The slow watchers, a module at a time: temperatures inside, health, power. */
#include "bms.h"
#include "util.h"

#define MODEL_ERROR_V 0.005f  /* beside the sensor's */
#define POWER_ROUNDS 5u       /* a module's power is looked at every fifth round */
#define REST_LOOK_MS 20000u

void watch_init(bms_t *self)
{
    watch_t *const w = &self->watch;
    const bms_settings_t *const set = &self->config.set;
    obs_init(&w->obs, &self->config.obs, set->blocks, set->blocks_per_module);
    health_init(&w->health, set->blocks);
    w->power_limits.voltage_max_v = (float)set->voltage_max_uv[LIMIT_OPERATE] * 1e-6f;
    w->power_limits.voltage_min_v = (float)set->voltage_min_uv[LIMIT_OPERATE] * 1e-6f;
    w->power_limits.charge_a = (float)max_i32(set->charge_ma[LIMIT_OPERATE], 1) * 1e-3f;
    w->power_limits.discharge_a = (float)max_i32(set->discharge_ma[LIMIT_OPERATE], 1) * 1e-3f;
    w->power_limits.margin_v = MODEL_ERROR_V;
    w->power_limits.reading_v = (float)set->reading_error_uv * 1e-6f;
    w->power_limits.core_k_per_j = 1.0f / self->config.obs.core_j_per_k;
    w->power_limits.path_ohm = set->path_ohm;
    w->weakest_capacity_frac = 1.0f;
}

/* The estimator's temperatures: cores, as soon as they are known. */
void watch_temperatures(bms_t *self, uint32_t chip)
{
    const watch_t *const w = &self->watch;
    if (!obs_started(&w->obs, chip)) return;
    const uint32_t first = chip * self->config.set.blocks_per_module, left = self->config.set.blocks - first;
    const uint32_t count = left < self->config.set.blocks_per_module ? left : self->config.set.blocks_per_module;
    for (uint32_t b = first; b < first + count; ++b)
        self->measure.block_cdegc[b] = to_i32(w->obs.core_degc[b] * 100.0f, -10000, 40000, self->measure.block_cdegc[b]);
}

static void observe(bms_t *self, uint32_t chip, uint32_t first, uint32_t count)
{
    watch_t *const w = &self->watch;
    const uint32_t thermistors = self->config.set.thermistors;
    float heat_w[BMS_CHANNELS_MAX], reading_degc[BMS_THERMISTORS_MAX];
    for (uint32_t c = 0; c < count; ++c) {
        heat_w[c] = w->heat_j[first + c];
        w->heat_j[first + c] = 0.0f;
    }
    for (uint32_t s = 0; s < thermistors; ++s) reading_degc[s] = (float)self->measure.sensor_cdegc[chip * thermistors + s] * 0.01f;
    obs_step(&w->obs, &self->config.obs, chip, 1.0f, heat_w, reading_degc, self->measure.sensor_valid + chip * thermistors, OBS_NO_SINK);
}

/* The heat of the last 100 ms in J. */
static void add_heat(bms_t *self, uint32_t first, uint32_t count)
{
    watch_t *const w = &self->watch;
    float heat_w[BMS_CHANNELS_MAX];
    obs_heat_w(&self->est, &self->config.est, first, count, self->est.current_a, self->measure.cell_uv, self->measure.cell_rested,
               w->health.more_frac, w->obs.core_degc, heat_w);
    for (uint32_t c = 0; c < count; ++c) w->heat_j[first + c] += 0.1f * heat_w[c];
}

/* ---- leaks -------------------------------------------------------------------------------------------------------------------- */

static void gather_leaks(bms_t *self, uint32_t chip, uint32_t first, uint32_t count)
{
    const uint32_t *const valid = sensor_fresh(self, &self->sensor.current_ma, 100u) ? self->measure.cell_rested : NULL;
    leak_pressure(&self->leak, chip, self->measure.pressure_valid[chip] ? (float)self->measure.pressure_kpa[chip] : -1.0f);
    leak_module(&self->leak, &self->est, &self->config.est, self->config.set.leak_spread_a, chip, first, count, 1.0f + self->sleep.gap_s,
                self->measure.cell_uv, valid);
}

static void find_leaks(bms_t *self)
{
    const leak_t *const l = &self->leak;
    const float taken_as = (float)(self->charge.used_uc - self->watch.second_uc) * 1e-6f;
    self->watch.second_uc = self->charge.used_uc;
    if (!leak_second(&self->leak, &self->config.est, sleep_leak_second_s(self), taken_as)) return;
    const int32_t *const threshold_ma = diagnosis_table[DIAG_SOFT_SHORT].threshold;
    const int32_t sure_ma = to_i32(l->worst_a * 1000.0f, -1000000, 1000000, 0);
    const uint32_t tier = sure_ma > threshold_ma[TIER_WARN] ? TIER_WARN : (sure_ma > threshold_ma[TIER_OPERATE] ? TIER_OPERATE : TIER_NONE);
    diag_sample(self, DIAG_SOFT_SHORT, tier, sure_ma, (int32_t)l->worst);
}

/* One module, every 100 ms, after its results: round counts 0 to 9 in a second. */
void watch_module(bms_t *self, uint32_t chip, uint32_t first, uint32_t count, uint32_t round)
{
    watch_t *const w = &self->watch;
    const float used = (float)self->charge.used_uc * self->config.est.per_uc;
    health_resistance(&w->health, &self->est, &self->config.est, chip, first, count, 0.1f, self->est.current_a, used,
                      self->measure.cell_uv, self->measure.cell_rested);
    health_join(&w->health, &self->est, first, count);
    add_heat(self, first, count);
    if (round == chip % 10u) {
        observe(self, chip, first, count);
        gather_leaks(self, chip, first, count);
    }
    const float jump_a = self->est.current_a - w->before_a[chip];
    w->before_a[chip] = self->est.current_a;
    if (round % POWER_ROUNDS != chip % POWER_ROUNDS) return;
    const power_known_t known = {w->health.more_frac, w->health.more_sigma, self->measure.cell_uv, self->measure.cell_rested, jump_a};
    power_module(&w->power, &self->est, &self->config.est, &w->power_limits, chip, first, count, &known);
    w->power_ready |= 1u << chip;
}

/* ---- rest -------------------------------------------------------------------------------------------------------------------- */

/* All blocks relaxed: learn their capacity. */
static void rest_over(bms_t *self)
{
    watch_t *const w = &self->watch;
    const uint32_t blocks = self->config.set.blocks;
    health_rest_over(&w->health, &self->config.est, 0u, blocks);
}

static void rest(bms_t *self)
{
    watch_t *const w = &self->watch;
    const bms_settings_t *const set = &self->config.set;
    const bool calm = abs_i32(self->sensor.current_ma.value) <= set->rest_ma && sensor_fresh(self, &self->sensor.current_ma, 100u);
    const float used = (float)self->charge.used_uc * self->config.est.per_uc;
    if (!calm) {
        if (w->rest_us != 0u) rest_over(self);
        w->rest_us = 0u;
        w->weakest_capacity_frac = w->health.capacity_frac[health_weakest(&w->health)];
        return;
    }
    if (w->rest_us == 0u) {
        w->rest_us = self->now_us;
        w->rest_look = 0u;
    }
    const uint32_t ms = elapsed_ms(self->now_us, w->rest_us);
    const bool bleeds = self->balance.active != 0u && self->afe.pause_set == 0u; /* a second has a pause in it */
    if (ms < w->rest_look + REST_LOOK_MS || (bleeds && ms < w->rest_look + REST_LOOK_MS + 1000u)) return;
    w->rest_look = ms;
    (void)health_rest(&w->health, &self->est, &self->config.est, 0u, set->blocks, (float)ms * 1e-3f, used, self->measure.cell_uv,
                      self->measure.cell_rested);
}

/* ---- every 100 ms ------------------------------------------------------------------------------------------------------------ */

void watch_slow(bms_t *self, uint32_t round)
{
    watch_t *const w = &self->watch;
    rest(self);
    const uint32_t modules = self->config.set.modules;
    for (uint32_t s = 0; s < POWER_SPANS; ++s) w->bound[s] = power_bound(&w->power, modules, s);
    if (round != 9u) return;
    w->hottest = obs_hottest(&w->obs);
    find_leaks(self);
}
