#include "observer.h"

#include "util.h"

#define SURFACE_S 2.0f      /* time in which the surface follows its thermistors */
#define SINK_S 30.0f        /* in which the sink explains what the surface had to be moved, if it is not measured */
#define CORE_SHARE 0.1f     /* of such a move that the core takes part in */
#define SINK_MEASURED_S 30.0f
#define LAW_S 1.0f           /* the core is drawn to the quasi-steady law */
#define LOCAL_S 30.0f       /* smoothing of what one thermistor says beyond the others */
#define BELIEVED 0.3f       /* share of it that is believed: spread of blocks against error of thermistors */
#define ERRORS 3.0f         /* sigmas that an error can be */
#define SUSPECT_SIGMAS 5.0f
#define SUSPECT_S 30.0f
#define BLIND_K_PER_S 0.005f
#define WINDOW_S 300.0f
#define QUIET_FRAC 0.3f     /* heat made over heat carried off that still is little */
#define RISE_K 0.5f         /* surface over sink, mean, that teaches anything */
#define WINDOW_K 0.1f       /* error of a temperature difference over a window */
#define SINK_OFFSET_K 0.5f

void obs_init(obs_bank_t *bank, const obs_params_t *params, uint32_t count, uint32_t per_module)
{
    memset(bank, 0, sizeof *bank);
    const float h = params->cooling_w_per_k, sigma = h * params->cooling_sigma_frac;
    bank->count = count > EST_BLOCKS_MAX ? EST_BLOCKS_MAX : count;
    bank->per_module = per_module == 0u || per_module > OBS_CHANNELS_MAX ? OBS_CHANNELS_MAX : per_module;
    bank->cooling_w_per_k = h;
    bank->cooling_sigma_w_per_k = sigma;
    bank->p11 = sigma * sigma;
    bank->p22 = SINK_OFFSET_K * SINK_OFFSET_K * h * h;
}

float obs_heat_w(const est_bank_t *est, const est_params_t *params, uint32_t block, float current_a, float square_a2, float core_degc)
{
    const float at = clamp_f32(est->soc_frac[block], 0.0f, 1.0f) * (float)EST_SOC_STEPS;
    const int32_t i = min_i32((int32_t)at, EST_SOC_STEPS);
    const float diffusion = est->v2_v[block] * est->v2_v[block] / (est->r2_ohm[block] + 1e-6f);
    const float ohmic = square_a2 * (est->r0_ohm[block] + est->r1_ohm[block]);
    const float reversible = -current_a * (core_degc + 273.15f) * params->entropic_v_per_k[i];
    return ohmic + diffusion + reversible - current_a * est->hysteresis_v;
}

/* False for NaN. */
static bool is_measured(float sink_degc)
{
    return sink_degc > -274.0f;
}

static uint32_t blocks_of(const obs_bank_t *bank, uint32_t module)
{
    const uint32_t first = module * bank->per_module;
    if (first >= bank->count) return 0u;
    return bank->count - first < bank->per_module ? bank->count - first : bank->per_module;
}

/* Weight 1 at the far end of dt_s for a lag of tau_s; never more than 1. */
static float share(float dt_s, float tau_s)
{
    return dt_s / (dt_s + tau_s);
}

static void predict(obs_bank_t *bank, const obs_params_t *p, uint32_t module, float dt, const float *heat_w)
{
    const uint32_t first = module * bank->per_module, n = blocks_of(bank, module);
    float *const core = bank->model_core_degc + first, *const surface = bank->model_surface_degc + first;
    const float g = p->core_surface_w_per_k, gn = p->neighbour_w_per_k, h = bank->cooling_w_per_k;
    const float gain = dt / p->surface_j_per_k, inner = dt / p->core_j_per_k, sink = bank->sink_degc[module];
    float below = surface[0];
    for (uint32_t b = 0; b < n; ++b) {
        const float above = b + 1u < n ? surface[b + 1u] : surface[b], was = surface[b];
        const float made = (1.0f - p->heat_core_frac) * heat_w[b];
        const float in = made + g * core[b] + gn * (below + above) + h * sink;
        surface[b] = (was + gain * in) / (1.0f + gain * (g + 2.0f * gn + h));
        core[b] = (core[b] + inner * (p->heat_core_frac * heat_w[b] + g * surface[b])) / (1.0f + inner * g);
        below = was;
    }
}

/* Median of at most OBS_SENSORS_MAX values; sorts them. */
static float median(float *values, uint32_t n)
{
    for (uint32_t k = 1; k < n; ++k) {
        const float v = values[k];
        uint32_t at = k;
        for (; at > 0u && values[at - 1u] > v; --at) values[at] = values[at - 1u];
        values[at] = v;
    }
    return n % 2u != 0u ? values[n / 2u] : 0.5f * (values[n / 2u - 1u] + values[n / 2u]);
}

typedef struct {
    float residual_k[OBS_SENSORS_MAX];
    float common_k;
    uint32_t known, good; /* one bit each */
} seen_t;

/* What the thermistors say beyond the model: all of them in common, each beyond that. */
static void look(obs_bank_t *bank, const obs_params_t *p, uint32_t module, float dt, const float *reading_degc, const uint8_t *valid, seen_t *seen)
{
    const uint32_t first = module * bank->per_module, n = blocks_of(bank, module), at = module * OBS_SENSORS_MAX;
    float sorted[OBS_SENSORS_MAX], sum = 0.0f;
    uint32_t known = 0, good = 0;
    memset(seen, 0, sizeof *seen);
    for (uint32_t s = 0; s < p->sensors && s < OBS_SENSORS_MAX; ++s) {
        if (valid[s] == 0u || p->sensor_channel[s] >= n) continue;
        seen->residual_k[s] = reading_degc[s] - bank->model_surface_degc[first + p->sensor_channel[s]];
        seen->known |= 1u << s;
        sorted[known++] = seen->residual_k[s];
    }
    if (known == 0u) return;
    const float middle = median(sorted, known), far = SUSPECT_SIGMAS * p->sensor_sigma_k;
    for (uint32_t s = 0; s < OBS_SENSORS_MAX; ++s) {
        if ((seen->known >> s & 1u) == 0u) continue;
        const bool apart = known > 2u && abs_f32(seen->residual_k[s] - middle) > far;
        bank->suspect_s[at + s] = apart ? bank->suspect_s[at + s] + dt : 0.0f;
        if (apart) continue;
        seen->good |= 1u << s;
        sum += seen->residual_k[s];
        good += 1u;
    }
    seen->common_k = good != 0u ? sum / (float)good : middle;
    for (uint32_t s = 0; s < OBS_SENSORS_MAX; ++s) {
        if ((seen->known >> s & 1u) != 0u)
            bank->local_k[at + s] += share(dt, LOCAL_S) * (seen->residual_k[s] - seen->common_k - bank->local_k[at + s]);
    }
}

static void correct(obs_bank_t *bank, const obs_params_t *p, uint32_t module, float dt, float common_k, float sink_degc)
{
    const uint32_t first = module * bank->per_module, n = blocks_of(bank, module);
    const bool known = is_measured(sink_degc);
    const float shift = share(dt, SURFACE_S) * common_k, law = bank->cooling_w_per_k / p->core_surface_w_per_k * p->heat_core_frac;
    if (known) bank->sink_degc[module] += share(dt, SINK_MEASURED_S) * (sink_degc - bank->sink_degc[module]);
    else bank->sink_degc[module] += shift * p->surface_j_per_k / (bank->cooling_w_per_k * SINK_S);
    for (uint32_t b = first; b < first + n; ++b) {
        bank->model_surface_degc[b] += shift;
        bank->model_core_degc[b] += CORE_SHARE * shift;
        if (!known) continue;
        const float steady = bank->model_surface_degc[b] + law * (bank->model_surface_degc[b] - bank->sink_degc[module]);
        bank->model_core_degc[b] += share(dt, LAW_S) * (steady - bank->model_core_degc[b]);
    }
}

/* The part of a thermistor's own residual that is taken for the truth. */
static float believed(const obs_params_t *p, float local_k)
{
    const float most = ERRORS * p->sensor_sigma_k, size = abs_f32(local_k);
    const float part = size <= most ? BELIEVED * size : size - (1.0f - BELIEVED) * most;
    return local_k < 0.0f ? -part : part;
}

/* Results: the model and, between thermistors, what they say beyond it. */
static void conclude(obs_bank_t *bank, const obs_params_t *p, uint32_t module, const seen_t *seen, const float *heat_w)
{
    const uint32_t first = module * bank->per_module, n = blocks_of(bank, module), at = module * OBS_SENSORS_MAX;
    uint32_t good = 0;
    for (uint32_t s = 0; s < OBS_SENSORS_MAX; ++s) good += seen->good >> s & 1u;
    const float few = good != 0u ? 1.0f / (float)good : 1.0f, fixed = p->sensor_sigma_k * p->sensor_sigma_k * (few + BELIEVED * BELIEVED);
    const float blind = BLIND_K_PER_S * bank->blind_s[module];
    for (uint32_t c = 0; c < n; ++c) {
        float left_k = 0.0f, right_k = 0.0f;
        uint32_t left = 255u, right = 255u; /* distances */
        for (uint32_t s = 0; s < p->sensors && s < OBS_SENSORS_MAX; ++s) {
            if ((seen->good >> s & 1u) == 0u) continue;
            const uint32_t place = p->sensor_channel[s];
            const float part = believed(p, bank->local_k[at + s]);
            if (place <= c && c - place < left) { left = c - place; left_k = part; }
            if (place >= c && place - c < right) { right = place - c; right_k = part; }
        }
        const uint32_t nearest = left < right ? left : right;
        const float weight = left == 255u ? 1.0f : (right == 255u || left + right == 0u ? 0.0f : (float)left / (float)(left + right));
        const float local = nearest == 255u ? 0.0f : left_k + weight * (right_k - left_k);
        const float away = nearest == 255u ? p->spread_sigma_k * (float)n : p->spread_sigma_k * (float)nearest;
        const float heat = p->heat_sigma_frac * p->heat_core_frac * heat_w[c] / p->core_surface_w_per_k;
        bank->core_degc[first + c] = bank->model_core_degc[first + c] + local;
        bank->surface_degc[first + c] = bank->model_surface_degc[first + c] + local;
        bank->sigma_k[first + c] = sqrt_f32(fixed + away * away + heat * heat) + blind;
    }
}

/* One window of q - C dT/dt = H rise - H offset. */
static void learn_from(obs_bank_t *bank, const obs_params_t *p, float moved_k)
{
    const float t = bank->window_s, heat = bank->window_heat_j, rise = bank->window_rise_ks;
    const float most = 3.0f * p->cooling_w_per_k, least = p->cooling_w_per_k / 3.0f;
    const float all = p->core_j_per_k + p->surface_j_per_k, core_law = p->core_j_per_k * p->heat_core_frac / p->core_surface_w_per_k;
    const float x1 = rise + core_law * moved_k, x2 = -t; /* the core moves by H / G of what surface over sink moves */
    const float y = heat - all * (bank->model_surface_degc[0] - bank->window_surface_degc);
    const float error = 0.3f * heat, read = all * WINDOW_K;
    const float u1 = bank->p11 * x1 + bank->p12 * x2, u2 = bank->p12 * x1 + bank->p22 * x2;
    const float s = u1 * x1 + u2 * x2 + error * error + read * read, k1 = u1 / s, k2 = u2 / s;
    const float off = y - x1 * bank->cooling_w_per_k - x2 * bank->offset_w;
    bank->cooling_w_per_k = clamp_f32(bank->cooling_w_per_k + k1 * off, least, most);
    bank->offset_w += k2 * off;
    bank->p11 -= k1 * u1;
    bank->p12 -= k1 * u2;
    bank->p22 -= k2 * u2;
    bank->cooling_sigma_w_per_k = sqrt_f32(bank->p11);
    bank->windows += 1u;
}

/* Module 0 teaches: all are built alike. Only at mid-module, where neighbours cancel, would it be exact; the mean is good enough. */
static void learn(obs_bank_t *bank, const obs_params_t *p, float dt, const float *heat_w)
{
    const float rise = bank->model_surface_degc[0] - bank->sink_degc[0];
    if (bank->window_s == 0.0f) {
        bank->window_surface_degc = bank->model_surface_degc[0];
        bank->window_rise_k = rise;
        bank->window_heat_j = bank->window_rise_ks = 0.0f;
    }
    bank->window_s += dt;
    bank->window_heat_j += dt * abs_f32(heat_w[0]);
    bank->window_rise_ks += dt * rise;
    if (bank->window_s < WINDOW_S) return;
    const float carried = bank->cooling_w_per_k * abs_f32(bank->window_rise_ks);
    const bool quiet = bank->window_heat_j < QUIET_FRAC * carried, warm = abs_f32(bank->window_rise_ks) > RISE_K * WINDOW_S;
    if (quiet && warm) learn_from(bank, p, rise - bank->window_rise_k);
    bank->window_s = 0.0f;
}

/* The first reading: everything at rest, blocks without a thermistor at the mean of those with. */
static bool start(obs_bank_t *bank, const obs_params_t *p, uint32_t module, const float *reading_degc, const uint8_t *valid, float sink_degc)
{
    const uint32_t first = module * bank->per_module, n = blocks_of(bank, module);
    float sum = 0.0f;
    uint32_t known = 0;
    for (uint32_t s = 0; s < p->sensors && s < OBS_SENSORS_MAX; ++s) {
        if (valid[s] == 0u) continue;
        sum += reading_degc[s];
        known += 1u;
    }
    if (known == 0u) return false;
    const float mean = sum / (float)known;
    bank->sink_degc[module] = is_measured(sink_degc) ? sink_degc : mean;
    for (uint32_t b = first; b < first + n; ++b) bank->model_core_degc[b] = bank->model_surface_degc[b] = mean;
    bank->started |= 1u << module;
    return true;
}

void obs_step(obs_bank_t *bank, const obs_params_t *params, uint32_t module, float dt_s, const float *heat_w, const float *reading_degc,
              const uint8_t *valid, float sink_degc)
{
    if (module >= OBS_MODULES_MAX || blocks_of(bank, module) == 0u) return;
    seen_t seen;
    const bool began = (bank->started >> module & 1u) == 0u;
    if (began && !start(bank, params, module, reading_degc, valid, sink_degc)) return;
    if (!began) predict(bank, params, module, dt_s, heat_w);
    look(bank, params, module, dt_s, reading_degc, valid, &seen);
    bank->blind_s[module] = seen.known != 0u ? 0.0f : bank->blind_s[module] + dt_s;
    correct(bank, params, module, dt_s, seen.common_k, sink_degc);
    conclude(bank, params, module, &seen, heat_w);
    if (module == 0u && is_measured(sink_degc) && seen.good != 0u) learn(bank, params, dt_s, heat_w);
    if (module != 0u) return;
    bank->suspects = 0u;
    for (uint32_t s = 0; s < OBS_MODULES_MAX * OBS_SENSORS_MAX; ++s) bank->suspects += bank->suspect_s[s] >= SUSPECT_S ? 1u : 0u;
}

obs_hottest_t obs_hottest(const obs_bank_t *bank)
{
    obs_hottest_t hot = {-1e9f, 0.0f, -1e9f, 0u, 0u};
    for (uint32_t b = 0; b < bank->count; ++b) {
        if ((bank->started >> (b / bank->per_module) & 1u) == 0u) continue;
        hot.known = 1u;
        const float bound = bank->core_degc[b] + 3.0f * bank->sigma_k[b];
        if (bank->core_degc[b] > hot.core_degc) {
            hot.core_degc = bank->core_degc[b];
            hot.sigma_k = bank->sigma_k[b];
            hot.block = b;
        }
        hot.bound_degc = bound > hot.bound_degc ? bound : hot.bound_degc;
    }
    return hot;
}
