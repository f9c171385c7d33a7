/* Compiled by string.c and single.c, which define EST_BLOCKS_MAX and BATCH_KIND. See batch.h. */

#include "../firmware/estimator.c"
#include "batch.h"

#define N EST_BLOCKS_MAX
#define TEMPERATURE_AGE_S 60.0f  /* a temperature older than this is none (assumption) */
#define UNKNOWN_CURRENT_C 1.0f   /* while no current is read it may be as large as this, in capacities an hour (assumption) */
#define GAP_S 10.0f              /* over longer steps the mean current is not known from its ends */
#define STUCK_V 0.02f            /* a channel that stays at one value while I R0 moves so much is stuck (assumption) */

typedef struct {
    est_bank_t est;
    double used_uc;    /* charge taken out since the first step */
    float current_a;   /* last reading */
    float pressure_kpa; /* negative: unknown */
    uint32_t stepped;
    int32_t voltage_uv[N], cdegc[N];
    uint32_t valid[N], started[N], warm[N]; /* warm: a temperature was read */
    float surface_degc[N], core_degc[N], age_s[N];
    float stuck_v[N], stuck_a[N]; /* largest |I R0| step since the voltage moved, and the current then */
} batch_t;

static void init(void *memory, uint32_t count)
{
    batch_t *const self = memory;
    memset(self, 0, sizeof *self);
    est_init(&self->est, count);
    self->pressure_kpa = -1.0f;
    for (uint32_t k = 0; k < self->est.count; ++k) {
        self->cdegc[k] = 2500;
        self->surface_degc[k] = self->core_degc[k] = 25.0f;
    }
}

/* Readings as the firmware has them. A NaN fails every comparison, so it is not valid. */
static void read_cells(batch_t *self, const batch_io_t *io, float current_a, bool current_known)
{
    const float dt_s = (float)io->dt_s;
    for (uint32_t k = 0; k < self->est.count; ++k) {
        const double t = io->temperature_degc[k * io->temperature_stride];
        const bool warm = t > -100.0 && t < 300.0;
        self->surface_degc[k] = warm ? (float)t : self->surface_degc[k];
        self->age_s[k] = warm ? 0.0f : self->age_s[k] + dt_s;
        self->warm[k] |= warm;

        const double v = io->voltage_v[k];
        const bool read = v > -10.0 && v < 100.0;
        const int32_t uv = (int32_t)((read ? v : 0.0) * 1e6 + 0.5);
        const bool same = uv == self->voltage_uv[k];
        const float moved = abs_f32(current_a - self->stuck_a[k]) * self->est.r0_ohm[k];
        self->stuck_v[k] = same ? (moved > self->stuck_v[k] ? moved : self->stuck_v[k]) : 0.0f;
        self->stuck_a[k] = same ? self->stuck_a[k] : current_a;
        self->voltage_uv[k] = uv;
        const bool good = read && current_known && self->warm[k] != 0u && self->age_s[k] <= TEMPERATURE_AGE_S;
        self->valid[k] = good && self->stuck_v[k] <= STUCK_V ? 0xFFFFFFFFu : 0u;
    }
}

/* Core temperature by its heat balance: the heat of the current (all of I R, and the entropic part) against what flows to the
 * surface, which is measured; exact for a step of constant heat. */
static void follow_core(batch_t *self, const est_params_t *est, const batch_params_t *params, float dt_s)
{
    const est_bank_t *const bank = &self->est;
    const float g = params->core_surface_w_per_k, current = bank->current_a;
    const float keep = g > 0.0f ? decay(dt_s * g / params->core_j_per_k) : 0.0f, per_g = g > 0.0f ? 1.0f / g : 0.0f;
    for (uint32_t k = 0; k < bank->count; ++k) {
        const float x = clamp_f32(bank->soc_frac[k], 0.0f, 1.0f) * SOC_STEPS;
        const float entropic = est->entropic_v_per_k[(int32_t)x];
        const float heat = current * ((1.0f + bank->resistance_frac[k]) * (bank->r0_ohm[k] * current + bank->v1_v[k]) + bank->v2_v[k] -
                                      entropic * (self->core_degc[k] + 273.15f));
        const float target = self->surface_degc[k] + per_g * heat;
        const float core = clamp_f32(target + keep * (self->core_degc[k] - target), -60.0f, 200.0f);
        self->core_degc[k] = self->stepped != 0u && self->started[k] != 0u ? core : self->surface_degc[k];
        const float mean = self->surface_degc[k] + params->core_share * (self->core_degc[k] - self->surface_degc[k]);
        self->cdegc[k] = (int32_t)(clamp_f32(mean, -60.0f, 200.0f) * 100.0f + 20000.5f) - 20000;
    }
}

/* Start a cell from its first reading. The drop of a current that already flows is taken off; how long it has flowed is not known, so
 * half of the diffusion drop is, give or take the half. A given state of charge is a second witness, which takes its share of the
 * gap (the errors that came with the voltage keep the other share). */
static void start(batch_t *self, const est_params_t *est, const batch_params_t *params, uint32_t k, double soc0_frac)
{
    est_bank_t *const bank = &self->est;
    const float current = self->current_a, warm_k = bank->above_25_k[k];
    const float ohmic = current * (bank->r0_ohm[k] + bank->r1_ohm[k]), half = 0.5f * current * bank->r2_ohm[k];
    const float u = (float)self->voltage_uv[k] * 1e-6f + ohmic + half, error = sqrt_f32(ohmic * ohmic * est->sigma_resistance_frac * est->sigma_resistance_frac + half * half);
    const float reach = error > 0.0f ? 0.5f * (soc_at(est, u + error, warm_k) - soc_at(est, u - error, warm_k)) / error : 0.0f;
    est_start(bank, est, k, (int32_t)(clamp_f32(u, -10.0f, 100.0f) * 1e6f));
    const float most = est->sigma_start_frac * est->sigma_start_frac, prior = params->start_std_frac * params->start_std_frac;
    float p = bank->p11[k] + reach * reach * error * error;
    p = p < most ? p : most;
    const bool given = soc0_frac >= 0.0 && soc0_frac <= 1.0;
    const float weight = given ? p / (p + prior) : 0.0f, rest = 1.0f - weight;
    bank->base[k] += (given ? weight * ((float)soc0_frac - bank->base[k]) : 0.0f) + used_frac(est, (int64_t)self->used_uc);
    bank->p11[k] = rest * p;
    bank->p12[k] = rest * (bank->p12[k] + reach * half * half);
    bank->p13[k] = rest * reach * ohmic * est->sigma_resistance_frac * est->sigma_resistance_frac;
    bank->p22[k] += half * half;
    bank->c1[k] *= rest;
    bank->v1_v[k] = current * bank->r1_ohm[k];
    bank->v2_v[k] = half;
    self->started[k] = 1u;
}

static void start_cells(batch_t *self, const est_params_t *est, const batch_params_t *params, const batch_io_t *io)
{
    for (uint32_t k = 0; k < self->est.count; ++k) {
        if (self->started[k] != 0u) continue;
        if (self->valid[k] != 0u) {
            start(self, est, params, k, io->soc0_frac[k]);
            continue;
        }
        const double given = io->soc0_frac[k];
        const bool is_given = given >= 0.0 && given <= 1.0;
        const float sigma = is_given ? params->start_std_frac : est->sigma_start_frac;
        self->est.base[k] = (is_given ? (float)given : 0.5f) + used_frac(est, (int64_t)self->used_uc);
        self->est.p11[k] = sigma * sigma;
        self->est.p33[k] = est->sigma_resistance_frac * est->sigma_resistance_frac;
    }
}

static void step(void *memory, const void *est_params, const batch_params_t *params, const batch_io_t *io)
{
    batch_t *const self = memory;
    const est_params_t *const est = est_params;
    est_bank_t *const bank = &self->est;
    const bool known = io->current_a > -1e6 && io->current_a < 1e6;
    const float before = self->current_a, current = known ? (float)io->current_a : before, dt_s = (float)io->dt_s;
    read_cells(self, io, current, known);
    if (io->pressure_kpa >= 0.0 && io->pressure_kpa < 1e6) self->pressure_kpa = (float)io->pressure_kpa;
    else self->pressure_kpa = -1.0f;
    follow_core(self, est, params, dt_s);
    est_conditions(bank, est, 0, bank->count, self->cdegc, self->pressure_kpa);
    const float mean = self->stepped != 0u ? 0.5f * (before + current) : current;
    self->used_uc += (double)mean * io->dt_s * 1e6;
    self->current_a = current;
    start_cells(self, est, params, io);
    est_step(bank, est, dt_s, current, (int64_t)self->used_uc, self->voltage_uv, self->valid);
    if (!known) bank->widen_frac += dt_s * (UNKNOWN_CURRENT_C / 3600.0f);
    if (dt_s > GAP_S) bank->widen_frac += 0.29f * abs_f32(current - before) * dt_s * est->per_uc * 1e6f;
    self->stepped = 1u;
    const float growth = est_take_growth(bank);
    est_results(bank, est, 0, bank->count, growth, (int64_t)self->used_uc);
    const size_t bytes = bank->count * sizeof(float);
    memcpy(io->soc_frac, bank->soc_frac, bytes);
    memcpy(io->soc_std_frac, bank->sigma_frac, bytes);
    memcpy(io->core_degc, self->core_degc, bytes);
    for (uint32_t k = 0; k < bank->count; ++k) io->r0_ohm[k] = bank->r0_ohm[k] * (1.0f + bank->resistance_frac[k]);
}

static void covariance(const void *memory, uint32_t cell, float out[3])
{
    const batch_t *const self = memory;
    out[0] = self->est.p11[cell];
    out[1] = self->est.p12[cell];
    out[2] = self->est.p22[cell];
}

const batch_kind_t BATCH_KIND = {sizeof(batch_t), N, init, step, covariance};
