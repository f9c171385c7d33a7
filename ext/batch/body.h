/* Compiled by string.c and single.c, which define EST_BLOCKS_MAX and BATCH_KIND. See batch.h. */

#include "../firmware/estimator.c"
#include "../firmware/health.c"
#include "../firmware/observer.c"
#include "../firmware/witness.c"
#include "batch.h"

#define N EST_BLOCKS_MAX
#define TEMPERATURE_AGE_S 60.0f  /* a temperature older than this is none (assumption) */
#define UNKNOWN_CURRENT_C 1.0f   /* while no current is read it may be as large as this, in capacities an hour (assumption) */
#define GAP_S 10.0f              /* over longer steps the mean current is not known from its ends */
#define UNSEEN_S 120.0f           /* and longer ones may hide a load: */
#define UNSEEN_C 0.1f             /* of so many capacities an hour (assumption) */
#define SCALE_FRAC 0.003f         /* where full and empty lie in one cell of a make: no charge is known better (assumption) */
#define NEVER_S 1e9f
#define SLOW_S 0.1999f           /* resistances, heat and health every 0.2 s */
#define OBSERVE_S 0.999f         /* temperatures every second */
#define REST_C 0.01f             /* less current, in capacities an hour, is a rest */
#define REST_LOOK_S 20.0f
#define UNSEEN_K 30.0f           /* standard deviation of a core of which nothing is known */
#define UNREAD (-2147483648.0)
#define PLAUSIBLE_LOW 0.5         /* of the OCV when empty: an open wire, not a cell (assumption) */
#define PLAUSIBLE_HIGH 1.5        /* of the OCV when full */
#define STUCK_V 0.02f            /* a channel that stays at one value while I R0 moves so much is stuck (assumption) */

typedef struct {
    est_bank_t est;
    obs_bank_t obs;
    health_t health;
    witness_t witness;
    double used_uc;    /* charge taken out since the first step */
    float current_a;   /* last reading */
    float slow_s;      /* since resistances were followed */
    float observed_s;  /* since temperatures were */
    float rest_s, look_s;  /* at rest since, looked at the voltage last */
    float pressure_kpa; /* negative: unknown */
    float mean_degc;    /* of all cells */
    uint32_t stepped, waiting; /* waiting: cells that have not started */
    int32_t voltage_uv[N], cdegc[N];
    int32_t read_uv[N];
    float read_degc[N];
    uint32_t valid[N], warm[N], started[N];
    float surface_degc[N], age_s[N];
    float stuck_v[N], stuck_a[N]; /* largest |I R0| step since the voltage moved, and the current then */
    float heat_w[N], heat_j[N]; /* of this moment or mean; sum since temperatures were followed */
    float slow_result[BATCH_RESULTS - BATCH_CORE_DEGC][N];
} batch_t;

static void init(void *memory, const batch_set_t *set, uint32_t count)
{
    batch_t *const self = memory;
    const est_params_t *const est = set->est;
    memset(self, 0, sizeof *self);
    est_init(&self->est, count);
    obs_init(&self->obs, set->obs, count, 1u);
    health_init(&self->health, count);
    witness_init(&self->witness, est);
    self->pressure_kpa = -1.0f;
    self->waiting = self->est.count;
    for (uint32_t k = 0; k < self->est.count; ++k) {
        self->cdegc[k] = 2500;
        self->surface_degc[k] = self->obs.core_degc[k] = 25.0f;
        self->age_s[k] = NEVER_S;
        self->est.p33[k] = est->sigma_resistance_frac * est->sigma_resistance_frac;
    }
    est_conditions(&self->est, est, 0, self->est.count, self->cdegc, -1.0f);
}

/* Voltages as the firmware has them. A NaN fails every comparison, so it is not valid. A channel that stays at one value while the
 * current through R0 should have moved it is stuck. */
BMS_CLONES
static void read_voltages(batch_t *restrict self, const est_params_t *restrict est, const double *restrict voltage_v, float current_a,
                          uint32_t known)
{
    const double low = PLAUSIBLE_LOW * (double)est->ocv_v[0], high = PLAUSIBLE_HIGH * (double)est->ocv_v[EST_SOC_STEPS];
    const uint32_t n = self->est.count;
    uint32_t read[N];
    for (uint32_t k = 0; k < n; ++k) {
        const bool in_range = voltage_v[k] > low && voltage_v[k] < high;
        self->read_uv[k] = (int32_t)(in_range ? voltage_v[k] * 1e6 + 0.5 : UNREAD);
    }
    for (uint32_t k = 0; k < n; ++k) {
        const int32_t uv = self->read_uv[k];
        read[k] = uv != (int32_t)UNREAD ? known : 0u;
        const float moved = abs_f32(current_a - self->stuck_a[k]) * self->est.r0_ohm[k];
        const float most = moved > self->stuck_v[k] ? moved : self->stuck_v[k];
        const bool same = uv == self->voltage_uv[k];
        self->stuck_v[k] = same ? most : 0.0f;
        self->stuck_a[k] = same ? self->stuck_a[k] : current_a;
        self->voltage_uv[k] = uv;
        read[k] = self->stuck_v[k] <= STUCK_V ? read[k] : 0u;
        self->valid[k] = self->age_s[k] <= TEMPERATURE_AGE_S ? read[k] : 0u;
    }
}

BMS_CLONES
static void read_temperatures(batch_t *restrict self, const double *restrict temperature_degc, size_t stride, float dt_s)
{
    const uint32_t n = self->est.count;
    for (uint32_t k = 0; k < n; ++k) self->read_degc[k] = (float)temperature_degc[stride != 0u ? k : 0u];
    for (uint32_t k = 0; k < n; ++k) {
        const float t = self->read_degc[k];
        const bool cold = t > -100.0f, hot = t < 300.0f, warm = cold & hot;
        self->surface_degc[k] = warm ? t : self->surface_degc[k];
        self->age_s[k] = warm ? 0.0f : self->age_s[k] + dt_s;
        self->warm[k] = warm ? 1u : 0u;
    }
}

/* Core temperatures, every second: the heat since, surfaces as measured. */
static void observe(batch_t *self, const batch_set_t *set, double sink_degc)
{
    const bool known = sink_degc > -100.0 && sink_degc < 300.0;
    const float per_s = self->observed_s > 0.0f ? 1.0f / self->observed_s : 0.0f;
    for (uint32_t k = 0; k < self->est.count; ++k) {
        self->heat_w[k] = self->heat_j[k] * per_s;
        self->heat_j[k] = 0.0f;
    }
    obs_step_each(&self->obs, set->obs, self->observed_s, self->heat_w, self->surface_degc, self->warm, known ? (float)sink_degc : OBS_NO_SINK);
    self->observed_s = 0.0f;
}

/* Temperature at which the resistances are, between surface and core. */
BMS_CLONES
static void follow_temperatures(batch_t *restrict self, float share)
{
    const uint32_t n = self->est.count;
    for (uint32_t k = 0; k < n; ++k) {
        const float surface = self->surface_degc[k], inner = self->started[k] != 0u ? share * (self->obs.core_degc[k] - surface) : 0.0f;
        float mean = surface + inner;
        mean = mean > -60.0f ? mean : -60.0f;
        mean = mean < 200.0f ? mean : 200.0f;
        self->cdegc[k] = (int32_t)(mean * 100.0f + 20000.5f) - 20000;
    }
    int32_t sum = 0;
    for (uint32_t k = 0; k < n; ++k) sum += self->cdegc[k];
    self->mean_degc = 0.01f * (float)sum / (float)n;
}

/* Results that change slowly. */
BMS_CLONES
static void slow_results(batch_t *restrict self, float capacity_ah)
{
    const uint32_t n = self->est.count;
    float(*const result)[N] = self->slow_result;
    for (uint32_t k = 0; k < n; ++k) {
        const float r0 = self->est.r0_ohm[k], seen = self->obs.age_s[k];
        result[0][k] = seen > 0.0f ? self->obs.core_degc[k] : self->surface_degc[k];
        result[1][k] = seen > 0.0f ? self->obs.sigma_k[k] : UNSEEN_K;
        result[2][k] = r0 * (1.0f + self->health.more_frac[k]);
        result[3][k] = r0 * self->health.more_sigma[k];
        result[4][k] = capacity_ah * self->health.capacity_frac[k];
        result[5][k] = capacity_ah * self->health.capacity_sigma[k];
    }
}

/* Rests: what the voltage says at their end becomes a point of the capacity. */
static void rest(batch_t *self, const est_params_t *est, float dt_s, bool known)
{
    const float used = used_frac(est, (int64_t)self->used_uc), least = REST_C / (est->per_uc * 3.6e9f);
    if (!known || abs_f32(self->current_a) > least) {
        if (self->look_s > 0.0f) health_rest_over(&self->health, est, 0, self->est.count);
        self->rest_s = self->look_s = 0.0f;
        return;
    }
    self->rest_s += dt_s;
    if (self->rest_s < self->look_s + REST_LOOK_S || self->waiting != 0u) return;
    self->look_s = self->rest_s;
    (void)health_rest(&self->health, &self->est, est, 0, self->est.count, self->rest_s, used, self->voltage_uv, self->valid);
}

/* Start a cell from its first reading. The drop of a current that already flows is taken off; how long it has flowed is not known, so
 * half of the diffusion drop is, give or take the half. A given state of charge is a second witness, which takes its share of the
 * gap (the errors that came with the voltage keep the other share). */
static void start_cell(batch_t *self, const est_params_t *est, const batch_params_t *params, uint32_t k, double soc0_frac)
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
    self->waiting -= 1u;
}

static void start_cells(batch_t *self, const est_params_t *est, const batch_params_t *params, const batch_io_t *io)
{
    for (uint32_t k = 0; k < self->est.count; ++k) {
        if (self->started[k] != 0u) continue;
        if (self->valid[k] != 0u) {
            start_cell(self, est, params, k, io->soc0_frac[k]);
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

/* After a gap: a load that was not seen moved charge and left its slow diffusion. */
static void come_back(batch_t *self, const est_params_t *est, float dt_s)
{
    est_bank_t *const bank = &self->est;
    const float unseen_a = UNSEEN_C / (est->per_uc * 3.6e9f), lasting_a = abs_f32(bank->lasting_a);
    bank->widen_frac += (dt_s - UNSEEN_S) * (UNSEEN_C / 3600.0f);
    bank->lasting_a = lasting_a > unseen_a ? lasting_a : unseen_a;
}

BMS_CLONES
static void told_sigmas(const est_bank_t *restrict bank, float *restrict sigma_frac)
{
    const uint32_t n = bank->count;
    for (uint32_t k = 0; k < n; ++k) sigma_frac[k] = bank->sigma_frac[k] > SCALE_FRAC ? bank->sigma_frac[k] : SCALE_FRAC;
}

/* All that follows slowly, slow_s after the last time. */
static void follow(batch_t *self, const batch_set_t *set, const batch_io_t *io)
{
    const est_params_t *const est = set->est;
    est_bank_t *const bank = &self->est;
    obs_heat_w(bank, est, 0, bank->count, self->current_a, self->voltage_uv, self->valid, self->health.more_frac, self->obs.core_degc,
               self->heat_w);
    for (uint32_t k = 0; k < bank->count; ++k) self->heat_j[k] += self->started[k] != 0u ? self->slow_s * self->heat_w[k] : 0.0f;
    if (self->observed_s >= OBSERVE_S || self->stepped == 0u) observe(self, set, io->sink_degc);
    follow_temperatures(self, set->own->core_share);
    est_conditions(bank, est, 0, bank->count, self->cdegc, self->pressure_kpa);
    health_resistance(&self->health, bank, est, 0, 0, bank->count, self->slow_s, self->current_a,
                      used_frac(est, (int64_t)self->used_uc), self->voltage_uv, self->valid);
    health_join(&self->health, bank, 0, bank->count);
    slow_results(self, set->own->capacity_ah);
    self->slow_s = 0.0f;
}

/* All cells of a string stand in one stack. */
static void join_pressure(batch_t *self, const est_params_t *est, float dt_s)
{
    witness_join(&self->witness, &self->est, est, 0, 0, self->est.count, dt_s, (int64_t)self->used_uc, self->mean_degc, self->pressure_kpa);
}

static void step(void *memory, const batch_set_t *set, const batch_io_t *io)
{
    batch_t *const self = memory;
    const est_params_t *const est = set->est;
    est_bank_t *const bank = &self->est;
    const bool known = io->current_a > -1e6 && io->current_a < 1e6;
    const float before = self->current_a, current = known ? (float)io->current_a : before, dt_s = (float)io->dt_s;
    read_temperatures(self, io->temperature_degc, io->temperature_stride, dt_s);
    read_voltages(self, est, io->voltage_v, current, known ? 0xFFFFFFFFu : 0u);
    if (io->pressure_kpa >= 0.0 && io->pressure_kpa < 1e6) self->pressure_kpa = (float)io->pressure_kpa;
    else self->pressure_kpa = -1.0f;
    const float mean = self->stepped != 0u ? 0.5f * (before + current) : current;
    self->used_uc += (double)mean * io->dt_s * 1e6;
    self->current_a = current;
    self->observed_s += dt_s;
    self->slow_s += dt_s;
    const bool slow = self->slow_s >= SLOW_S || self->waiting != 0u;
    if (slow) follow(self, set, io);
    if (self->waiting != 0u) start_cells(self, est, set->own, io);
    for (uint32_t k = 0; dt_s > UNSEEN_S && k < bank->count; ++k) self->valid[k] = 0u; /* the next voltage, with what the load left */
    est_step(bank, est, dt_s, current, (int64_t)self->used_uc, self->voltage_uv, self->valid);
    if (!known) bank->widen_frac += dt_s * (UNKNOWN_CURRENT_C / 3600.0f);
    if (dt_s > GAP_S) bank->widen_frac += 0.29f * abs_f32(current - before) * dt_s * est->per_uc * 1e6f;
    if (dt_s > UNSEEN_S) come_back(self, est, dt_s);
    self->stepped = 1u;
    const float widen = est_take_growth(bank);
    est_results(bank, est, 0, bank->count, widen, (int64_t)self->used_uc);
    if (est->stack_kpa > 0.0f && self->waiting == 0u) join_pressure(self, est, dt_s);
    rest(self, est, dt_s, known);
    const size_t bytes = bank->count * sizeof(float);
    memcpy(io->result[BATCH_SOC_FRAC], bank->soc_frac, bytes);
    told_sigmas(bank, io->result[BATCH_SOC_STD_FRAC]);
    if (io->into_same && !slow) return;
    for (uint32_t k = BATCH_CORE_DEGC; k < BATCH_RESULTS; ++k) memcpy(io->result[k], self->slow_result[k - BATCH_CORE_DEGC], bytes);
}

static void covariance(const void *memory, uint32_t cell, float out[6])
{
    const batch_t *const self = memory;
    out[0] = self->est.p11[cell];
    out[1] = self->est.p12[cell];
    out[2] = self->est.p13[cell];
    out[3] = self->est.p22[cell];
    out[4] = self->est.p23[cell];
    out[5] = self->est.p33[cell];
}

const batch_kind_t BATCH_KIND = {sizeof(batch_t), N, init, step, covariance};
