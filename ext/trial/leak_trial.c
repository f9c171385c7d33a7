#define EST_BLOCKS_MAX 96

#include "../firmware/estimator.c"
#include "../firmware/leak.c"
#include "leak_trial.h"
#include "philox.h"

#define N TRIAL_BLOCKS_MAX
#define MODULE 16u
#define BALANCE_LOOK_S 2u
#define BALANCE_HALF_S 8u
#define CONDITIONS_S 10u
#define DRIVE_S 8u
#define PRESSURE_KPA 2000.0
#define PRESSURE_NOISE_KPA 3.0
#define DRAW_NOISE 1u
#define DRAW_CELLS 2u
#define DRAW_DRIVE 3u

typedef struct {
    est_bank_t est;
    leak_t leak;
    uint64_t second;
    double used_uc, current_a, offset_a, gain, taper_a;
    uint32_t phase, phases_over, phase_second, balance_second;
    int64_t bad_since;
    double z[N], capacity_as[N], temperature_k[N], self[N], h[N], short_siemens[N];
    float ocv_v[N], r_scale[N], r0[N], r1[N], r2[N], keep1[N], keep2[N], v1[N], v2[N], gain_v[N], offset_v[N], drift_v[N], leak_per_s[N];
    float true_v[N], warm_k[N], entropic[N], thermistor_k[N], bleed_siemens[N];
    uint32_t chosen[N], bled[N], valid[N];
    int32_t read_uv[N], cdegc[N];
} world_t;

const size_t trial_state_size = sizeof(world_t), trial_size = sizeof(trial_t), trial_est_size = sizeof(est_params_t);
const field_t trial_fields[] = {
#define FIELD_OWNER trial_t
    TRIAL_FIELDS(FIELD_DESCRIBE_S, FIELD_DESCRIBE_A)
#undef FIELD_OWNER
};
const field_t trial_est_fields[] = {
#define FIELD_OWNER est_params_t
    EST_PARAMS_FIELDS(FIELD_DESCRIBE_S, FIELD_DESCRIBE_A)
#undef FIELD_OWNER
};
const size_t trial_field_count = FIELD_COUNT(trial_fields), trial_est_field_count = FIELD_COUNT(trial_est_fields);

/* ---- a cell -------------------------------------------------------------------------------------------------------------------- */

static double up_or_down(uint32_t word)
{
    return (word & 1u) != 0u ? 1.0 : -1.0;
}

static void make_cells(world_t *w, const trial_t *t)
{
    for (uint32_t b = 0; b < t->blocks; ++b) {
        const philox_block_t one = philox(t->key, b, DRAW_CELLS), two = philox(t->key, b + 1000u, DRAW_CELLS);
        w->z[b] = t->soc_frac + t->soc_sigma * philox_gauss(one.v[0]);
        w->capacity_as[b] = t->capacity_as * (1.0 + t->capacity_sigma * philox_gauss(one.v[1]));
        w->r_scale[b] = (float)(1.0 + t->resistance_sigma * philox_gauss(one.v[2]));
        w->temperature_k[b] = t->temperature_sigma_k * philox_gauss(one.v[3]);
        w->self[b] = 1.0 + t->self_discharge_apart * up_or_down(two.v[0]);
        w->gain_v[b] = (float)(1.0 + t->voltage_gain * up_or_down(two.v[0] >> 8));
        w->offset_v[b] = (float)(t->voltage_offset_v * up_or_down(two.v[1]));
        w->drift_v[b] = (float)(t->voltage_drift_v_per_k * up_or_down(two.v[1] >> 8));
        w->thermistor_k[b] = (float)(t->temperature_offset_k * up_or_down(two.v[2]));
        w->bleed_siemens[b] = t->bleed_ohm > 0.0 ? (float)(1.0 / (t->bleed_ohm * (1.0 + t->bleed_tolerance * up_or_down(two.v[3])))) : 0.0f;
    }
    const philox_block_t pack = philox(t->key, 2000u, DRAW_CELLS);
    w->offset_a = t->current_offset_a * up_or_down(pack.v[0]);
    w->gain = 1.0 + t->current_gain * up_or_down(pack.v[1]);
}

static double over_temperature(const double *table, double degc)
{
    const double x = (degc + 60.0) / 2.5, at = x < 0.0 ? 0.0 : (x > 103.999 ? 103.999 : x);
    const int32_t i = (int32_t)at;
    return table[i] + (at - (double)i) * (table[i + 1] - table[i]);
}

/* exp(-x) */
static float kept(double x)
{
    double y = 1.0 - x / 64.0;
    for (uint32_t k = 0; k < 6u; ++k) y *= y;
    return x < 32.0 ? (float)y : 0.0f;
}

static void warm_cells(world_t *w, const trial_t *t)
{
    const double day = (double)(w->second % 86400u) / 86400.0, wave = day < 0.5 ? 4.0 * day - 1.0 : 3.0 - 4.0 * day;
    for (uint32_t b = 0; b < t->blocks; ++b) {
        const double degc = t->mean_degc + t->swing_k * wave + w->temperature_k[b];
        w->r0[b] = w->r_scale[b] * (float)over_temperature(t->r0_ohm, degc);
        w->r1[b] = w->r_scale[b] * (float)over_temperature(t->r1_ohm, degc);
        w->r2[b] = w->r_scale[b] * (float)over_temperature(t->r2_ohm, degc);
        w->keep1[b] = kept(1.0 / ((double)w->r1[b] * t->c1_farad));
        w->keep2[b] = kept(1.0 / ((double)w->r2[b] * t->c2_farad));
        w->leak_per_s[b] = (float)(w->self[b] * over_temperature(t->self_discharge_per_s, degc));
        w->warm_k[b] = (float)(degc - 25.0);
        w->cdegc[b] = (int32_t)((degc + (double)w->thermistor_k[b]) * 100.0 + 20000.5) - 20000;
    }
}

/* One second of all cells; true voltages at its end. */
BMS_CLONES
static void move_cells(world_t *restrict w, const trial_t *restrict t)
{
    const float current = (float)w->current_a, m = (float)t->hysteresis_v;
    const double sign = w->current_a > 0.0 ? -1.0 : 1.0, per_swing = 1.0 / t->hysteresis_soc_frac;
    for (uint32_t b = 0; b < t->blocks; ++b) {
        const double out = (double)w->bleed_siemens[b] * (double)(w->bled[b] & 1u) + w->short_siemens[b];
        const double dz = (w->current_a + out * (double)w->true_v[b]) / w->capacity_as[b] + (double)w->leak_per_s[b];
        const double moved = w->current_a / w->capacity_as[b], size = moved < 0.0 ? -moved : moved;
        w->z[b] -= dz;
        w->h[b] += (sign - w->h[b]) * size * per_swing;
        const double x = w->z[b] * (double)TRIAL_SOC_STEPS;
        int32_t i = (int32_t)x;
        i = i < 0 ? 0 : i;
        i = i > TRIAL_SOC_STEPS - 1 ? TRIAL_SOC_STEPS - 1 : i;
        w->ocv_v[b] = (float)(t->ocv_v[i] + (x - (double)i) * (t->ocv_v[i + 1] - t->ocv_v[i]));
        w->entropic[b] = (float)t->entropic_v_per_k[i];
    }
    for (uint32_t b = 0; b < t->blocks; ++b) {
        const float to1 = w->r1[b] * current, to2 = w->r2[b] * current;
        w->v1[b] = to1 + w->keep1[b] * (w->v1[b] - to1);
        w->v2[b] = to2 + w->keep2[b] * (w->v2[b] - to2);
        w->true_v[b] = w->ocv_v[b] + w->entropic[b] * w->warm_k[b] + m * (float)w->h[b] - w->v1[b] - w->v2[b] - w->r0[b] * current;
    }
}

static void read_cells(world_t *w, const trial_t *t)
{
    const float noise = (float)t->voltage_noise_v, per_step = (float)(1.0 / t->voltage_step_v), step_uv = (float)(t->voltage_step_v * 1e6);
    uint32_t words[N + 4u];
    for (uint32_t b = 0; b < t->blocks; b += 4u) {
        const philox_block_t draw = philox(t->key, w->second << 8 | b, DRAW_NOISE);
        memcpy(words + b, draw.v, sizeof draw.v);
    }
    for (uint32_t b = 0; b < t->blocks; ++b) {
        const float v = w->true_v[b] * w->gain_v[b] + w->offset_v[b] + w->drift_v[b] * w->warm_k[b] + noise * (float)philox_gauss(words[b]);
        w->read_uv[b] = (int32_t)((float)(int32_t)(v * per_step + 0.5f) * step_uv);
    }
}

/* ---- what is done with the pack ------------------------------------------------------------------------------------------------- */

static void ends(const world_t *w, const trial_t *t, float *lowest, float *highest, double *mean)
{
    *lowest = 1e9f;
    *highest = -1e9f;
    *mean = 0.0;
    for (uint32_t b = 0; b < t->blocks; ++b) {
        *lowest = w->true_v[b] < *lowest ? w->true_v[b] : *lowest;
        *highest = w->true_v[b] > *highest ? w->true_v[b] : *highest;
        *mean += w->z[b] / (double)t->blocks;
    }
}

static void next_phase(world_t *w, trial_t *t, bool is_full)
{
    t->fulls += is_full;
    w->phases_over += 1u;
    w->phase = w->phase + 1u < t->phases ? w->phase + 1u : 0u;
    w->phase_second = 0u;
    w->taper_a = 1.0;
}

/* The current of this second. */
static void drive(world_t *w, trial_t *t)
{
    const uint32_t p = w->phase;
    const double amps = t->phase_a[p];
    float lowest, highest;
    double mean;
    ends(w, t, &lowest, &highest, &mean);
    w->phase_second += 1u;
    w->current_a = amps;
    bool over = (double)w->phase_second > t->phase_s[p], is_full = false;
    if (t->until_soc_frac[p] >= 0.0) over = over || (amps > 0.0 ? mean < t->until_soc_frac[p] : mean > t->until_soc_frac[p]);
    if (t->kind[p] == TRIAL_DRIVE) {
        const philox_block_t draw = philox(t->key, w->second / DRIVE_S, DRAW_DRIVE);
        w->current_a = amps + 0.5 * t->capacity_as / 3600.0 * (philox_unit(draw.v[0], draw.v[1]) * 2.0 - 1.0);
    }
    if (t->until_v[p] > 0.0 && amps > 0.0) over = over || (double)lowest < t->until_v[p];
    if (t->until_v[p] > 0.0 && amps < 0.0) {
        w->taper_a = (double)highest > t->until_v[p] ? w->taper_a * 0.99 : w->taper_a;
        w->current_a = amps * w->taper_a;
        is_full = -w->current_a < 0.05 * t->capacity_as / 3600.0;
    }
    if (over || is_full) next_phase(w, t, is_full);
}

/* The rule of the firmware's balance.c: look, bleed the odd, bleed the even. */
static void balance(world_t *w, const trial_t *t)
{
    const bool calm = w->current_a < 1.0 && w->current_a > -1.0;
    int32_t lowest = INT32_MAX;
    bool any = false;
    w->balance_second += 1u;
    if (t->bleed_ohm <= 0.0) return;
    if (!calm) w->balance_second = 0u;
    if (calm && w->balance_second < BALANCE_LOOK_S) {
        for (uint32_t b = 0; b < t->blocks; ++b) w->bled[b] = 0u;
        return;
    }
    for (uint32_t b = 0; b < t->blocks; ++b) lowest = min_i32(lowest, w->read_uv[b]);
    for (uint32_t b = 0; b < t->blocks; ++b) {
        if (w->balance_second == BALANCE_LOOK_S) {
            const int32_t above = w->read_uv[b] - lowest, limit = w->chosen[b] != 0u ? t->balance_stop_uv : t->balance_start_uv;
            w->chosen[b] = above > limit && lowest > t->balance_min_uv ? 1u : 0u;
        }
        const uint32_t half = (w->balance_second - BALANCE_LOOK_S) / BALANCE_HALF_S;
        w->bled[b] = calm && half == (b & 1u) ? w->chosen[b] : 0u;
        any = any || w->chosen[b] != 0u;
    }
    if (!any || w->balance_second + 1u >= BALANCE_LOOK_S + 2u * BALANCE_HALF_S) w->balance_second = 0u;
}

/* ---- the firmware ---------------------------------------------------------------------------------------------------------------- */

static void account(world_t *w, const trial_t *t, const est_params_t *params)
{
    uint32_t any = 0;
    for (uint32_t b = 0; b < t->blocks; ++b) {
        any |= w->bled[b];
        if (w->bled[b] == 0u) continue;
        const float bled_uc = (float)w->read_uv[b] / (float)t->bleed_ohm;
        est_bleed(&w->est, params, b, bled_uc);
        leak_bled(&w->leak, params, b, bled_uc);
    }
    for (uint32_t b = 0; b < t->blocks; ++b) w->valid[b] = any != 0u ? 0u : 0xFFFFFFFFu;
}

/* Stack pressure of a module: its mean charge. */
static float pressure_kpa(const world_t *w, const trial_t *t, uint32_t first, uint32_t word)
{
    double sum = 0.0;
    if (t->swell_kpa <= 0.0) return -1.0f;
    for (uint32_t b = first; b < first + MODULE; ++b) sum += w->z[b] / (double)MODULE;
    return (float)(PRESSURE_KPA + t->swell_kpa * (first == 0u ? 1.0 - t->swell_less : 1.0) * sum + PRESSURE_NOISE_KPA * philox_gauss(word));
}

static void firmware(world_t *w, const trial_t *t, const est_params_t *params)
{
    const philox_block_t draw = philox(t->key, w->second, DRAW_NOISE + 100u);
    const float read_a = (float)(w->current_a * w->gain + w->offset_a + t->current_noise_a * philox_gauss(draw.v[0]));
    if (w->second == 0u || w->second % CONDITIONS_S == 0u) est_conditions(&w->est, params, 0, t->blocks, w->cdegc, -1.0f);
    if (w->second == 0u) {
        for (uint32_t b = 0; b < t->blocks; ++b) est_start(&w->est, params, b, w->read_uv[b]);
        est_results(&w->est, params, 0, t->blocks, 0.0f, 0);
        return;
    }
    w->used_uc += (double)read_a * 1e6;
    account(w, t, params);
    est_step(&w->est, params, 1.0f, read_a, (int64_t)w->used_uc, w->read_uv, w->valid);
    est_results(&w->est, params, 0, t->blocks, est_take_growth(&w->est), (int64_t)w->used_uc);
    for (uint32_t first = 0; first < t->blocks; first += MODULE) {
        leak_pressure(&w->leak, first / MODULE, pressure_kpa(w, t, first, draw.v[1] ^ first));
        leak_module(&w->leak, &w->est, params, t->spread_a, first / MODULE, first, MODULE, 1.0f, w->read_uv, w->valid);
    }
    (void)leak_second(&w->leak, params, 1.0f, read_a);
}

/* ---- the trial -------------------------------------------------------------------------------------------------------------------- */

static bool is_told(world_t *w, trial_t *t)
{
    const double sure_ma = (double)w->leak.worst_a * 1e3;
    if (sure_ma > t->most_sure_ma) t->most_sure_ma = sure_ma;
    if (sure_ma <= (double)t->least_ma) w->bad_since = (int64_t)w->second;
    return (double)((int64_t)w->second - w->bad_since) >= t->debounce_s;
}

static void look_back(const world_t *w, trial_t *t, const est_params_t *params)
{
    float sigma_a;
    double mean = 0.0, sum2 = 0.0;
    for (uint32_t pass = 0; pass < 2u; ++pass) {
        for (uint32_t b = 0; b < t->blocks; ++b) {
            const double lost = (double)w->leak_per_s[b] * w->capacity_as[b] + w->short_siemens[b] * (double)w->true_v[b];
            const double off = ((double)leak_block_a(&w->leak, params, b, &sigma_a) - lost);
            if (pass == 0u) mean += off / (double)t->blocks;
            else sum2 += (off - mean) * (off - mean) / ((double)sigma_a * (double)sigma_a);
        }
    }
    t->error_sigmas = (double)sqrt_f32((float)(sum2 / (double)t->blocks));
    t->short_leak_ma = (double)leak_block_a(&w->leak, params, t->short_block, &sigma_a) * 1e3;
    t->short_sigma_ma = (double)sigma_a * 1e3;
}

void trial_run(trial_t *t, const void *est_params, void *state)
{
    world_t *const w = state;
    memset(w, 0, sizeof *w);
    t->short_s = t->told_s = -1.0;
    t->fulls = t->told_fulls = t->told_block = t->seconds = 0u;
    t->most_sure_ma = -1e6;
    w->taper_a = 1.0;
    make_cells(w, t);
    est_init(&w->est, t->blocks);
    leak_init(&w->leak, t->blocks);
    const uint64_t seconds = (uint64_t)(t->hours * 3600.0);
    for (w->second = 0; w->second < seconds; ++w->second) {
        if (w->second % CONDITIONS_S == 0u) warm_cells(w, t);
        if (t->short_ohm > 0.0 && t->short_s < 0.0 && w->phases_over >= t->short_phase) {
            t->short_s = (double)w->second;
            w->short_siemens[t->short_block] = 1.0 / t->short_ohm;
            t->fulls = 0u;
        }
        drive(w, t);
        move_cells(w, t);
        read_cells(w, t);
        balance(w, t);
        firmware(w, t, est_params);
        t->seconds += 1u;
        if (!is_told(w, t)) continue;
        t->told_s = (double)w->second;
        t->told_block = w->leak.worst;
        t->told_fulls = t->fulls;
        break;
    }
    look_back(w, t, est_params);
}
