#include "health.h"

#include "util.h"

#define SCALE_LOW 0.3f
#define SCALE_HIGH 8.0f
#define SCALE_SIGMA 0.15f      /* of a cell just built in, temperature error included */
#define SCALE_DRIFT 1e-9f      /* variance a second: 1 % in a day */
#define MISMATCH 0.5f          /* of one sample: current and voltage are not of one moment, and many in the high-pass are one step */
#define DRIFT 0.05f            /* of R0 I: OCV, heat and diffusion move while a large current flows */
#define STEP_LEAST_A 1e-3f     /* of nominal capacity a second: 3.6 C; steps below a hundredth of it teach nothing */
#define WARM_PASSES 50u
#define AGES 0.5f              /* of the charge transfer that grows with R0 */
#define OVER_CHARGE 0.025f     /* by which resistance differs over charge and from pulse to steady load, standard deviation */
#define RHO_MODEL 0.06f        /* what OCV and diffusion may put into the filter's resistance error (assumption) */
#define CAPACITY_SIGMA 0.05f   /* before anything is learnt */
#define CAPACITY_FLOOR 0.003f  /* gain of the current sensor */
#define RATIO_K 4.0f           /* error of the OCV over error of the count */
#define PAIR_LEAST 0.15f       /* change of charge that makes a pair */
#define REST_LEAST_S 300.0f
#define REST_TAUS 3.0f
#define AVERAGED 0.2f         /* of looks within a rest */

void health_init(health_t *h, uint32_t count)
{
    memset(h, 0, sizeof *h);
    h->count = count > EST_BLOCKS_MAX ? EST_BLOCKS_MAX : count;
    for (uint32_t b = 0; b < h->count; ++b) {
        h->scale[b] = h->capacity_frac[b] = 1.0f;
        h->scale_var[b] = SCALE_SIGMA * SCALE_SIGMA;
        h->more_sigma[b] = SCALE_SIGMA;
        h->capacity_sigma[b] = CAPACITY_SIGMA;
        h->sxx[b] = h->sxy[b] = h->syy[b] = 1.0f / (CAPACITY_SIGMA * CAPACITY_SIGMA);
    }
}

BMS_CLONES
void health_resistance(health_t *restrict h, const est_bank_t *restrict est, const est_params_t *restrict params, uint32_t module,
                       uint32_t first, uint32_t count, float dt_s, float current_a, float used_frac, const int32_t *restrict voltage_uv,
                       const uint32_t *restrict valid)
{
    if (module >= HEALTH_MODULES_MAX) return;
    const bool begins = h->warm[module] == 0u;
    const float share = begins ? 1.0f : clamp_f32(dt_s / HEALTH_PASS_S, 0.0f, 1.0f);
    const float da = current_a - h->slow_a[module], dq = used_frac - h->slow_frac[module];
    h->slow_a[module] += share * da;
    h->slow_frac[module] += share * dq;
    h->warm[module] = h->warm[module] < WARM_PASSES ? h->warm[module] + 1u : WARM_PASSES;
    const float step_a = begins ? 0.0f : da * (1.0f - share), moved = begins ? 0.0f : dq * (1.0f - share);
    const float per_second = params->per_uc * 1e6f, least = 0.01f * STEP_LEAST_A / per_second;
    const bool teaches = h->warm[module] >= WARM_PASSES && abs_f32(step_a) > least;
    const float known_v = moved / (per_second * params->diffusion_farad); /* charge on the diffusion's capacitance */
    const float noise = params->sigma_noise_v * params->sigma_noise_v * 2.0f;
    const float slow_a = h->slow_a[module], rest = 1.0f - share;
    for (uint32_t b = first; b < first + count; ++b) {
        const float half = AGES * est->v1_v[b], dv = (float)voltage_uv[b] * 1e-6f + est->v1_v[b] - half - h->slow_v[b];
        const float dv1 = half - h->slow_v1[b], taken = valid[b] != 0u ? share : 0.0f;
        h->slow_v[b] += taken * dv;
        h->slow_v1[b] += taken * dv1;
        int32_t i = (int32_t)(est->soc_frac[b] * (float)EST_SOC_STEPS);
        i = i < 0 ? 0 : i;
        i = i > EST_SOC_STEPS ? EST_SOC_STEPS : i;
        const float scale = h->scale[b], x = est->r0_ohm[b] * step_a + dv1 * rest;
        const float y = -dv * rest - known_v - params->slope_v[i] * moved;
        const float p = h->scale_var[b] + SCALE_DRIFT * dt_s, drift = DRIFT * est->r0_ohm[b] * slow_a;
        const float r = noise + MISMATCH * MISMATCH * x * x + drift * drift;
        const float s = p * x * x + r, k = p * x / s, off = y - scale * x;
        const float gain = off * off > 16.0f * s ? 0.1f * k : k, next = scale + gain * off;
        const bool learns = teaches & (valid[b] != 0u);
        const float bounded = next > SCALE_LOW ? (next < SCALE_HIGH ? next : SCALE_HIGH) : SCALE_LOW;
        h->scale[b] = learns ? bounded : scale;
        h->scale_var[b] = learns ? p * (1.0f - gain * x) : h->scale_var[b];
    }
}

BMS_CLONES
void health_join(health_t *restrict h, const est_bank_t *restrict est, uint32_t first, uint32_t count)
{
    for (uint32_t b = first; b < first + count; ++b) {
        const float pulses = h->scale[b] - 1.0f, pulses_var = h->scale_var[b] + OVER_CHARGE * OVER_CHARGE;
        const float load = est->resistance_frac[b], load_var = est->p33[b] + RHO_MODEL * RHO_MODEL;
        const float weight = load_var / (load_var + pulses_var);
        h->more_frac[b] = weight * pulses + (1.0f - weight) * load;
        h->more_sigma[b] = sqrt_f32(weight * pulses_var);
    }
}

/* State of charge whose OCV, table at 25 degC, is v. */
static float soc_of(const est_params_t *params, float v)
{
    int32_t low = 0, high = EST_SOC_STEPS;
    while (high - low > 1) {
        const int32_t middle = (low + high) / 2;
        if (v >= params->ocv_v[middle]) low = middle;
        else high = middle;
    }
    const float f = (v - params->ocv_v[low]) / (params->ocv_v[low + 1] - params->ocv_v[low]);
    return ((float)low + clamp_f32(f, -4.0f, 5.0f)) / (float)EST_SOC_STEPS;
}

bool health_rest(health_t *h, const est_bank_t *est, const est_params_t *params, uint32_t first, uint32_t count, float rest_s,
                 float used_frac, const int32_t *voltage_uv, const uint32_t *valid)
{
    const float open = 0.58f * est->hysteresis_open * params->hysteresis_v;
    const float swung = 0.25f * params->hysteresis_v; /* the branch is a model too */
    const float fixed = params->sigma_bias_v * params->sigma_bias_v + open * open + swung * swung;
    bool relaxed = true;
    for (uint32_t b = first; b < first + count; ++b) {
        if (rest_s < REST_LEAST_S || rest_s * est->rate2_per_s[b] < REST_TAUS) {
            relaxed = false;
            continue;
        }
        if (valid[b] == 0u) continue;
        const float at = clamp_f32(est->soc_frac[b], 0.0f, 1.0f) * (float)EST_SOC_STEPS;
        const int32_t i = min_i32((int32_t)at, EST_SOC_STEPS);
        const float left = 0.3f * (est->v1_v[b] + est->v2_v[b]);
        const float v = (float)voltage_uv[b] * 1e-6f - est->hysteresis_v + est->v1_v[b] + est->v2_v[b] -
                        params->entropic_v_per_k[i] * est->above_25_k[b];
        const float z = soc_of(params, v);
        const float zi = clamp_f32(z, 0.0f, 1.0f) * (float)EST_SOC_STEPS;
        const float slope = params->slope_v[min_i32((int32_t)zi, EST_SOC_STEPS)];
        h->next_z[b] += (h->next_var[b] > 0.0f ? AVERAGED : 1.0f) * (z - h->next_z[b]);
        h->next_count[b] = est->base[b] - used_frac;
        h->next_var[b] = (fixed + left * left) / (slope * slope) + 1e-8f;
    }
    return relaxed;
}

/* Capacity from the three sums: the c that minimises sum w (y - c x)^2 / (k^2 + c^2 ...), closed form. */
static void solve(health_t *h, uint32_t b)
{
    const float k2 = RATIO_K * RATIO_K, a = h->syy[b] * k2 - h->sxx[b];
    const float root = sqrt_f32(a * a + 4.0f * k2 * h->sxy[b] * h->sxy[b]);
    const float c = (a + root) / (2.0f * k2 * h->sxy[b]);
    h->capacity_frac[b] = h->sxy[b] > 0.0f ? clamp_f32(c, 0.4f, 1.2f) : h->capacity_frac[b];
    h->capacity_sigma[b] = sqrt_f32(1.0f / h->sxx[b] + CAPACITY_FLOOR * CAPACITY_FLOOR);
}

static void pair(health_t *h, const est_params_t *params, uint32_t b)
{
    const float x = h->next_z[b] - h->last_z[b], y = h->next_count[b] - h->last_count[b];
    const float gain = 0.3f * params->sigma_charge_frac * y;
    const float weight = 1.0f / (h->last_var[b] + h->next_var[b] + gain * gain);
    h->sxx[b] = HEALTH_FADE * h->sxx[b] + weight * x * x;
    h->sxy[b] = HEALTH_FADE * h->sxy[b] + weight * x * y;
    h->syy[b] = HEALTH_FADE * h->syy[b] + weight * y * y;
    h->points += 1u;
    solve(h, b);
}

void health_rest_over(health_t *h, const est_params_t *params, uint32_t first, uint32_t count)
{
    for (uint32_t b = first; b < first + count; ++b) {
        if (h->next_var[b] <= 0.0f) continue;
        const bool far = abs_f32(h->next_count[b] - h->last_count[b]) >= PAIR_LEAST;
        if (h->last_var[b] > 0.0f && far) pair(h, params, b);
        const bool better = h->next_var[b] < h->last_var[b];
        if (h->last_var[b] <= 0.0f || far || better) {
            h->last_z[b] = h->next_z[b];
            h->last_count[b] = h->next_count[b];
            h->last_var[b] = h->next_var[b];
        }
        h->next_var[b] = 0.0f;
    }
}

uint32_t health_weakest(const health_t *h)
{
    uint32_t at = 0;
    for (uint32_t b = 1; b < h->count; ++b) {
        if (h->capacity_frac[b] < h->capacity_frac[at]) at = b;
    }
    return at;
}

void health_write(const health_t *h, uint32_t record, uint8_t *bytes)
{
    for (uint32_t k = 0; k < HEALTH_RECORD_BLOCKS; ++k) {
        const uint32_t b = record * HEALTH_RECORD_BLOCKS + k;
        uint8_t *const at = bytes + 6u * k;
        memset(at, 0, 6u);
        if (b >= h->count) continue;
        put_u16_le(at, (uint16_t)to_i32(h->scale[b] * 8000.0f, 0, 65535, 8000));
        put_u16_le(at + 2, (uint16_t)to_i32(h->capacity_frac[b] * 50000.0f, 0, 65535, 50000));
        at[4] = (uint8_t)to_i32(sqrt_f32(h->scale_var[b]) * 1000.0f, 1, 255, 255);
        at[5] = (uint8_t)to_i32(h->capacity_sigma[b] * 2000.0f, 1, 255, 255);
    }
}

void health_read(health_t *h, uint32_t record, const uint8_t *bytes)
{
    for (uint32_t k = 0; k < HEALTH_RECORD_BLOCKS; ++k) {
        const uint32_t b = record * HEALTH_RECORD_BLOCKS + k;
        const uint8_t *const at = bytes + 6u * k;
        if (b >= h->count) continue;
        const float scale_sigma = clamp_f32((float)at[4] * 1e-3f, 0.002f, SCALE_SIGMA);
        const float sigma = clamp_f32((float)at[5] * 5e-4f, CAPACITY_FLOOR, CAPACITY_SIGMA);
        const float c = clamp_f32((float)((uint32_t)at[2] | (uint32_t)at[3] << 8) * 2e-5f, 0.4f, 1.2f), sums = 1.0f / (sigma * sigma);
        h->scale[b] = clamp_f32((float)((uint32_t)at[0] | (uint32_t)at[1] << 8) * 1.25e-4f, SCALE_LOW, SCALE_HIGH);
        h->scale_var[b] = scale_sigma * scale_sigma;
        h->sxx[b] = sums;
        h->sxy[b] = sums * c;
        h->syy[b] = sums * c * c;
        h->capacity_frac[b] = c;
        h->capacity_sigma[b] = sigma;
    }
}
