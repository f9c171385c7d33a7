#include "estimator.h"

#include "util.h"

/* Variances of charge from which the OCV is fitted over a wider span: 1 %, 5 %. */
#define SPREAD_1 1e-4f
#define SPREAD_2 2.5e-3f
/* What a reading more than three sigmas off (spike) or ten (stray) adds to the variances: a lasting difference opens the interval of
 * charge before it moves the charge, and while current flows it may as well be a resistance that jumped. */
#define SPIKE_SHARE 0.1f      /* of the part of either variance that the reading speaks of */
#define SPIKE_DOUBT 4e-6f     /* charge, on a plateau: where the OCV is steep, the same voltage is less of it */
#define STRAY_DOUBT 4e-5f
#define SPIKE_RESISTANCE 0.02f /* resistance error rho */
#define STRAY_RESISTANCE 4.0f

#define FLAT_REACH 0.25f /* of charge within three sigmas of a voltage: a plateau */

/* How long an error lasts: readings that follow faster say less. */
#define NOISE_LASTS_S 0.4f /* of a reading: the chips' filters */
#define MODEL_LASTS_S 10.0f
#define MODEL_ERROR 0.1f /* of I R0: what the model leaves open while current flows (assumption) */

/* Slow diffusion, which two time constants do not show: in pulse tests of a liquid cell about as large as R2 itself. Where
 * the resistance is another than the tables say, so is this. */
#define LAG_SHARE 0.8f
#define LAG_S 600.0f

/* Charge moved and time after which the resistance error may be another one (assumption). */
#define RESISTANCE_HOLDS_FRAC 0.15f
#define RESISTANCE_HOLDS_S 40000.0f
#define RESISTANCE_MOST 30.0f /* a busbar that came loose */
#define RESISTANCE_LEAST (-0.8f)

#define SURE_FRAC 0.1f /* an interval of the pack as narrow as this leaves the state of charge where it was found */

/* No cell is operated beyond these. */
#define SOC_MOST 1.005f
#define SOC_LEAST (-0.02f)

static const float SOC_STEPS = (float)EST_SOC_STEPS;

/* What decays at rest would end in denormal numbers, which many processors handle a hundred times slower. */
static inline float settled(float x)
{
    return x * (x * x < 1e-30f ? 0.0f : 1.0f);
}

/* exp(x) for 0 <= x: exact to 1e-5 for x < 0.3, never below 1. Held at 1e5, so that products of two stay finite. */
static inline float growth(float x)
{
    const float y = 1.0f + x * (1.0f + x * (0.5f + x * 0.16666667f));
    return y < 1e5f ? y : 1e5f;
}

/* exp(-x) likewise. */
static inline float decay(float x)
{
    return 1.0f / growth(x);
}

static float used_frac(const est_params_t *params, int64_t used_uc)
{
    return (float)used_uc * params->per_uc;
}

void est_init(est_bank_t *bank, uint32_t count)
{
    memset(bank, 0, sizeof *bank);
    bank->count = count > EST_BLOCKS_MAX ? EST_BLOCKS_MAX : count;
    bank->hysteresis_open = 1.0f;
}

BMS_CLONES
void est_conditions(est_bank_t *restrict bank, const est_params_t *restrict params, uint32_t first, uint32_t count,
                    const int32_t *restrict temperature_cdegc, float pressure_kpa)
{
    float contact = 1.0f;
    if (pressure_kpa >= 0.0f && params->pressure_max_kpa > 0.0f) {
        const float x = clamp_f32(pressure_kpa / params->pressure_max_kpa, 0.0f, 1.0f) * (float)EST_PRESSURE_STEPS;
        const int32_t i = min_i32((int32_t)x, EST_PRESSURE_STEPS - 1);
        const float f = x - (float)i;
        contact = params->pressure_factor[i] + f * (params->pressure_factor[i + 1] - params->pressure_factor[i]);
    }
    for (uint32_t b = first; b < first + count; ++b) {
        const int32_t t = clamp_i32(temperature_cdegc[b] - EST_TEMPERATURE_MIN_CDEGC, 0,
                                    EST_TEMPERATURE_STEPS * EST_TEMPERATURE_STEP_CDEGC - 1);
        const int32_t i = t / EST_TEMPERATURE_STEP_CDEGC;
        const float f = (float)(t - i * EST_TEMPERATURE_STEP_CDEGC) * (1.0f / (float)EST_TEMPERATURE_STEP_CDEGC);
        const float electrolyte =
            params->electrolyte_ohm[i] + f * (params->electrolyte_ohm[i + 1] - params->electrolyte_ohm[i]);
        const float film = params->contact_ohm[i] + f * (params->contact_ohm[i + 1] - params->contact_ohm[i]);
        bank->r0_ohm[b] = electrolyte + contact * film;
        bank->r1_ohm[b] = params->transfer_ohm[i] + f * (params->transfer_ohm[i + 1] - params->transfer_ohm[i]);
        bank->r2_ohm[b] = params->diffusion_ohm[i] + f * (params->diffusion_ohm[i + 1] - params->diffusion_ohm[i]);
        bank->rate1_per_s[b] = 1.0f / (bank->r1_ohm[b] * params->transfer_farad);
        bank->rate2_per_s[b] = 1.0f / (bank->r2_ohm[b] * params->diffusion_farad);
        const float warm_k = (float)(temperature_cdegc[b] - 2500) * 0.01f;
        bank->above_25_k[b] = warm_k;
        int32_t z = (int32_t)(bank->filter_frac[b] * SOC_STEPS);
        z = z < 0 ? 0 : z;
        z = z > EST_SOC_STEPS ? EST_SOC_STEPS : z;
        bank->entropic_v[b] = params->entropic_v_per_k[z] * warm_k;
    }
}

/* Standard deviation of the constant voltage error: the sensor's, and what is not known of the hysteresis (uniform in +-h). */
static float bias_sigma(const est_bank_t *bank, const est_params_t *params)
{
    const float open = bank->hysteresis_open * params->hysteresis_v * 0.58f;
    return sqrt_f32(params->sigma_bias_v * params->sigma_bias_v + open * open);
}

/* State of charge whose OCV is v; the first and last piece go on beyond the ends. */
static float soc_at(const est_params_t *params, float v, float warm_k)
{
    int32_t low = 0, high = EST_SOC_STEPS;
    while (high - low > 1) {
        const int32_t middle = (low + high) / 2;
        const bool above = v >= params->ocv_v[middle] + warm_k * params->entropic_v_per_k[middle];
        low = above ? middle : low;
        high = above ? high : middle;
    }
    const float u0 = params->ocv_v[low] + warm_k * params->entropic_v_per_k[low];
    const float u1 = params->ocv_v[low + 1] + warm_k * params->entropic_v_per_k[low + 1];
    const float share = u1 > u0 ? (v - u0) / (u1 - u0) : 0.5f;
    return ((float)low + clamp_f32(share, -20.0f, 20.0f)) / SOC_STEPS;
}

/* The spread comes from the OCV itself, three sigmas of voltage up and down, because its slope at one point says little on a plateau
 * or beside a knee; where they reach far, the further of the two counts. Where even that is flat, nothing is known but that charge
 * lies between empty and full. */
void est_start(est_bank_t *bank, const est_params_t *params, uint32_t block, int32_t voltage_uv)
{
    const float v = (float)voltage_uv * 1e-6f, warm_k = bank->above_25_k[block];
    const float bias = bias_sigma(bank, params), p22 = 9.0f * params->sigma_diffusion_v * params->sigma_diffusion_v;
    const float sigma_v = sqrt_f32(bias * bias + p22 + params->sigma_noise_v * params->sigma_noise_v);
    const float above = soc_at(params, v + 3.0f * sigma_v, warm_k), below = soc_at(params, v - 3.0f * sigma_v, warm_k);
    const float z = soc_at(params, v, warm_k), further = above - z > z - below ? above - z : z - below, mean = 0.5f * (above - below);
    const float sigma = clamp_f32((mean > FLAT_REACH ? further : mean) / 3.0f, 1e-4f, params->sigma_start_frac);
    const int32_t i = clamp_i32((int32_t)(z * SOC_STEPS), 0, EST_SOC_STEPS - 1);
    const int32_t spread = sigma * sigma > SPREAD_2 ? 2 : (sigma * sigma > SPREAD_1 ? 1 : 0);
    const float slope = params->slope_v[i + spread * (EST_SOC_STEPS + 1)];
    const float linear = clamp_f32(slope * sigma / sigma_v, 0.0f, 1.0f); /* how much of the spread the slope explains */
    bank->base[block] = z;
    bank->entropic_v[block] = params->entropic_v_per_k[i] * warm_k;
    bank->delta[block] = bank->v1_v[block] = bank->v2_v[block] = 0.0f;
    bank->p11[block] = sigma * sigma;
    bank->p12[block] = linear * sigma * p22 / sigma_v; /* delta errs by (error of voltage) / slope */
    bank->p22[block] = p22;
    bank->c1[block] = -linear * sigma * bias / sigma_v;
    bank->c2[block] = bank->c3[block] = bank->p13[block] = bank->p23[block] = bank->resistance_frac[block] = 0.0f;
    bank->p33[block] = params->sigma_resistance_frac * params->sigma_resistance_frac;
}

void est_unrest(est_bank_t *bank, const est_params_t *params, uint32_t block, int32_t voltage_uv, float current_a)
{
    const float v = (float)voltage_uv * 1e-6f, warm_k = bank->above_25_k[block];
    const float error = 0.5f * current_a * (bank->r1_ohm[block] + (1.0f + LAG_SHARE) * bank->r2_ohm[block]);
    const float reach = 0.5f * (soc_at(params, v + error, warm_k) - soc_at(params, v - error, warm_k));
    const float p11 = bank->p11[block] + reach * reach, most = params->sigma_start_frac * params->sigma_start_frac;
    bank->p12[block] += reach * error;
    bank->p11[block] = p11 < most ? p11 : most;
    bank->p22[block] += error * error;
    bank->lasting_a = current_a; /* so what relaxes in the next minutes is no surprise, and says little of charge */
}

void est_hint(est_bank_t *bank, uint32_t block, float soc_frac, float sigma_frac)
{
    const float off = soc_frac - bank->base[block], all = bank->p11[block] + sigma_frac * sigma_frac;
    if (!(off * off < 16.0f * all)) return;
    const float gain = bank->p11[block] / all, gain_2 = bank->p12[block] / all;
    bank->base[block] += gain * off;
    bank->v2_v[block] += gain_2 * off;
    bank->p22[block] -= gain_2 * bank->p12[block];
    bank->p11[block] -= gain * bank->p11[block];
    bank->p12[block] -= gain * bank->p12[block];
    bank->c2[block] -= gain_2 * bank->c1[block];
    bank->c1[block] -= gain * bank->c1[block];
}

/* What is common to all blocks in one pass. */
typedef struct {
    float dt_s, current_a, used_frac, hysteresis_v, sigma_x1, lag_a, noise, mismatch, floor2, error2, prior2, drift;
} pass_t;

static void advance_common(est_bank_t *bank, const est_params_t *params, float dt_s, float current_a, pass_t *pass)
{
    const float moved = abs_f32(current_a) * dt_s * params->per_uc * 1e6f; /* charge of this pass as a share of capacity */
    if (params->hysteresis_soc_frac > 0.0f) {
        const float keep = decay(moved / params->hysteresis_soc_frac);
        const float branch = current_a > 0.0f ? -params->hysteresis_v : params->hysteresis_v;
        bank->hysteresis_v = branch + keep * (bank->hysteresis_v - branch);
        bank->hysteresis_open *= keep;
    }
    bank->widen_frac += dt_s * params->sigma_current_a * params->per_uc * 1e6f + params->sigma_charge_frac * moved;

    const float jump = current_a - bank->current_a; /* voltage and current are not sampled together */
    bank->current_a = current_a;
    bank->passes += 1u;
    bank->updates += bank->count;
    pass->dt_s = dt_s;
    pass->current_a = current_a;
    pass->hysteresis_v = bank->hysteresis_v;
    pass->sigma_x1 = bias_sigma(bank, params);
    const float apart = dt_s > 0.02f ? dt_s : 0.02f;
    pass->noise = params->sigma_noise_v * params->sigma_noise_v * (apart < NOISE_LASTS_S ? NOISE_LASTS_S / apart : 1.0f);
    pass->mismatch = jump * jump + MODEL_ERROR * MODEL_ERROR * current_a * current_a * (apart < MODEL_LASTS_S ? MODEL_LASTS_S / apart : 1.0f);
    bank->lasting_a += (1.0f - decay(dt_s * (1.0f / LAG_S))) * (current_a - bank->lasting_a);
    pass->lag_a = LAG_SHARE * abs_f32(bank->lasting_a);
    pass->prior2 = params->sigma_resistance_frac * params->sigma_resistance_frac;
    pass->drift = 1.0f - decay(moved * (1.0f / RESISTANCE_HOLDS_FRAC) + dt_s * (1.0f / RESISTANCE_HOLDS_S));
    pass->floor2 = params->sigma_diffusion_v * params->sigma_diffusion_v;
    pass->error2 = params->sigma_diffusion_frac * params->sigma_diffusion_frac * current_a * current_a;
}

/* Elementwise and free of branches, so that it vectorises. t: covariance of the state with the innovation, u: of x1, s: variance of the
 * innovation; Joseph form, so any gain keeps P positive. Where the slope has become less, what x1 did to charge before (c1) outweighs
 * what it would do now (a p11): trusting that x1 is the very same there would turn the gain round, so charge is left alone. A reading
 * more than three sigmas off moves the state by a fifth only, one more than ten the less the further it is off: a channel that lies is
 * shrugged off, a spike too, and a lasting difference opens the interval first and moves the charge within it. */
BMS_CLONES
static void update_blocks(est_bank_t *restrict bank, const est_params_t *restrict params, const pass_t *restrict pass,
                          const int32_t *restrict voltage_uv, const uint32_t *restrict valid)
{
    const float dt = pass->dt_s, current = pass->current_a, used = pass->used_frac, bias = pass->sigma_x1, h = pass->hysteresis_v;
    const float noise = pass->noise, mismatch = pass->mismatch, floor2 = pass->floor2, error2 = pass->error2;
    const float lag_a = pass->lag_a, prior2 = pass->prior2, drift = pass->drift;
    const uint32_t n = bank->count;
    for (uint32_t b = 0; b < n; ++b) {
        const float r0 = bank->r0_ohm[b], r2 = bank->r2_ohm[b];
        const float x = (bank->base[b] + bank->delta[b] - used) * (float)EST_SOC_STEPS;
        int32_t i = (int32_t)x;
        i = i < 0 ? 0 : i;
        i = i > EST_SOC_STEPS - 1 ? EST_SOC_STEPS - 1 : i;
        const float u = params->ocv_v[i] + (x - (float)i) * (params->ocv_v[i + 1] - params->ocv_v[i]) + bank->entropic_v[b];
        const float p11 = bank->p11[b];
        const int32_t spread = (p11 > SPREAD_1 ? EST_SOC_STEPS + 1 : 0) + (p11 > SPREAD_2 ? EST_SOC_STEPS + 1 : 0);
        const float rho = bank->resistance_frac[b], lag = lag_a * r2 * (1.0f + abs_f32(rho));
        const float a = params->slope_v[i + spread], x1 = bias + params->curve_v[i + spread] + lag;

        const float d1 = growth(dt * bank->rate1_per_s[b]), d2 = growth(dt * bank->rate2_per_s[b]), both = 1.0f / (d1 * d2);
        const float r1 = bank->r1_ohm[b] * current, v1 = r1 + d2 * both * (bank->v1_v[b] - r1);
        const float fade = d1 * both, lost = 1.0f - fade * fade;
        const float pull = (1.0f - fade) * r2 * current; /* of rho on v2 */
        const float v2 = fade * bank->v2_v[b] + (1.0f + rho) * pull;
        const float over = prior2 - bank->p33[b], p33 = bank->p33[b] + (over > 0.0f ? drift * over : 0.0f);
        const float p13 = bank->p13[b], p12 = fade * bank->p12[b] + pull * p13, p23 = fade * bank->p23[b] + pull * p33;
        const float p22 = fade * fade * bank->p22[b] + pull * (p23 + fade * bank->p23[b]) + lost * (floor2 + error2 * r2 * r2);
        const float c1 = bank->c1[b], c3 = bank->c3[b], c2 = fade * bank->c2[b] + pull * c3;

        const float ohmic = r0 * current + v1;
        const float y = (float)voltage_uv[b] * 1e-6f - (u + h - (1.0f + rho) * ohmic - v2);
        const float t1 = a * p11 - p12 - ohmic * p13 + x1 * c1, t2 = a * p12 - p22 - ohmic * p23 + x1 * c2;
        const float t3 = a * p13 - p23 - ohmic * p33 + x1 * c3, u1 = a * c1 - c2 - ohmic * c3 + x1;
        const float s = a * t1 - t2 - ohmic * t3 + x1 * u1 + noise + mismatch * r0 * r0;
        const float inverse = valid[b] != 0u ? 1.0f / s : 0.0f, surprise = y * y * inverse;
        const bool strays = surprise > 100.0f, spikes = surprise > 9.0f;
        const float k = strays ? 2.0f * inverse / surprise : (spikes ? 0.2f * inverse : inverse);
        const float steep = 1.0f / (1.0f + a * a);
        const float doubt = strays ? STRAY_DOUBT * steep : (spikes ? SPIKE_DOUBT * steep + SPIKE_SHARE * t1 * t1 * inverse : 0.0f);
        const float other = strays ? STRAY_RESISTANCE : (spikes ? SPIKE_RESISTANCE + SPIKE_SHARE * t3 * t3 * inverse : 0.0f);
        const float k1 = a * p11 + x1 * c1 > 0.0f ? k * t1 : 0.0f, k2 = k * t2, k3 = k * t3;

        bank->v1_v[b] = v1;
        bank->delta[b] += k1 * y;
        bank->v2_v[b] = v2 + k2 * y;
        bank->resistance_frac[b] = rho + k3 * y;
        bank->p11[b] = p11 - k1 * (2.0f * t1 - k1 * s) + doubt;
        bank->p12[b] = p12 - k1 * t2 - k2 * (t1 - k1 * s);
        bank->p13[b] = p13 - k1 * t3 - k3 * (t1 - k1 * s);
        bank->p22[b] = p22 - k2 * (2.0f * t2 - k2 * s);
        bank->p23[b] = p23 - k2 * t3 - k3 * (t2 - k2 * s);
        bank->p33[b] = p33 - k3 * (2.0f * t3 - k3 * s) + other;
        bank->c1[b] = c1 - k1 * u1;
        bank->c2[b] = c2 - k2 * u1;
        bank->c3[b] = c3 - k3 * u1;
    }
}

void est_step(est_bank_t *bank, const est_params_t *params, float dt_s, float current_a, int64_t used_uc, const int32_t *voltage_uv,
              const uint32_t *valid)
{
    pass_t pass;
    advance_common(bank, params, dt_s, current_a, &pass);
    pass.used_frac = used_frac(params, used_uc);
    update_blocks(bank, params, &pass, voltage_uv, valid);
}

float est_take_growth(est_bank_t *bank)
{
    const float widen = bank->widen_frac;
    bank->widen_frac = 0.0f;
    return widen;
}

BMS_CLONES
void est_results(est_bank_t *restrict bank, const est_params_t *restrict params, uint32_t first, uint32_t count, float growth_frac,
                 int64_t used_uc)
{
    const float used = used_frac(params, used_uc), wide = params->sigma_start_frac;
    for (uint32_t b = first; b < first + count; ++b) {
        const float z = bank->base[b] + bank->delta[b] - used, p = bank->p11[b];
        const float beyond = z > SOC_MOST ? z - SOC_MOST : (z < SOC_LEAST ? z - SOC_LEAST : 0.0f), sum = z - beyond;
        const float share = beyond / (p > 1e-10f ? p : 1e-10f); /* what is left over says something of the others */
        const float c1 = bank->c1[b], c2 = bank->c2[b], c3 = bank->c3[b], rho = bank->resistance_frac[b] - share * bank->p13[b];
        const bool sane = z > -2.0f && z < 3.0f && p >= 0.0f && c1 * c1 < 1.0f; /* false for NaN */
        float sigma = sqrt_f32(p > c1 * c1 + 1e-10f ? p : c1 * c1 + 1e-10f) + growth_frac;
        sigma = sigma < wide ? sigma : wide;
        sigma = sane ? sigma : wide;
        const float p11 = sigma * sigma, least2 = c2 * c2 + 1e-10f, least3 = c3 * c3 + 1e-8f;
        const float p22 = bank->p22[b] > least2 ? bank->p22[b] : least2, p33 = bank->p33[b] > least3 ? bank->p33[b] : least3;
        const float p12 = bank->p12[b], p13 = bank->p13[b], p23 = bank->p23[b], q12 = p12 * p12, q13 = p13 * p13, q23 = p23 * p23;
        const float two = 0.998f * p11 * p22 - q12, three = p33 * two - p22 * q13 - p11 * q23 + 2.0f * p12 * p13 * p23;
        const bool positive = two > 0.0f && three > 0.0f; /* false for NaN */
        bank->p11[b] = p11;
        bank->p22[b] = p22 < 1e6f ? p22 : 1.0f;
        bank->p33[b] = p33 < 1e6f ? p33 : 1.0f;
        bank->p12[b] = positive ? settled(p12) : 0.0f;
        bank->p13[b] = positive ? settled(p13) : 0.0f;
        bank->p23[b] = positive ? settled(p23) : 0.0f;
        bank->delta[b] = sane ? bank->delta[b] - beyond : 0.0f;
        bank->v1_v[b] = sane ? settled(bank->v1_v[b]) : 0.0f;
        bank->v2_v[b] = sane ? settled(bank->v2_v[b] - share * p12) : 0.0f;
        bank->resistance_frac[b] = sane ? clamp_f32(rho, RESISTANCE_LEAST, RESISTANCE_MOST) : 0.0f;
        bank->c1[b] = sane ? settled(c1) : 0.0f;
        bank->c2[b] = sane ? settled(c2) : 0.0f;
        bank->c3[b] = sane ? settled(c3) : 0.0f;
        bank->filter_frac[b] = bank->soc_frac[b] = sane ? sum : 0.5f;
        bank->sigma_frac[b] = sigma;
    }
}

void est_bleed(est_bank_t *bank, const est_params_t *params, uint32_t block, float bleed_uc)
{
    if (block < bank->count) bank->base[block] -= bleed_uc * params->per_uc;
}

static float pack_soc(float lowest, float highest)
{
    const float out = clamp_f32(lowest, 0.0f, 1.0f), in = 1.0f - clamp_f32(highest, 0.0f, 1.0f);
    return out + in > 1e-6f ? out / (out + in) : 0.5f;
}

est_pack_t est_pack(const est_bank_t *bank)
{
    est_pack_t pack = {0.0f, 0.0f, 1.0f, 0u, 0u};
    if (bank->count == 0u) return pack;
    float low_min = 2.0f, low_max = -1.0f, high_min = 2.0f, high_max = -1.0f;
    for (uint32_t b = 0; b < bank->count; ++b) {
        const float z = bank->soc_frac[b], reach = EST_INTERVAL_SIGMAS * bank->sigma_frac[b];
        if (z < bank->soc_frac[pack.weakest]) pack.weakest = b;
        if (z > bank->soc_frac[pack.fullest]) pack.fullest = b;
        low_min = z - reach < low_min ? z - reach : low_min;
        low_max = z - reach > low_max ? z - reach : low_max;
        high_min = z + reach < high_min ? z + reach : high_min;
        high_max = z + reach > high_max ? z + reach : high_max;
    }
    pack.low_frac = pack_soc(low_min, low_max);
    pack.high_frac = pack_soc(high_min, high_max);
    /* Who knows little says neither empty nor full. */
    const float width = pack.high_frac - pack.low_frac, margin = width > SURE_FRAC ? 0.1f * (width - SURE_FRAC) : 0.0f;
    const float soc = pack_soc(bank->soc_frac[pack.weakest], bank->soc_frac[pack.fullest]);
    pack.soc_frac = clamp_f32(soc, pack.low_frac + margin, pack.high_frac - margin);
    return pack;
}
