#include "observer.h"

#include "util.h"

#define SURFACE_S 2.0f      /* time in which the surface follows its thermistors */
#define SINK_S 30.0f        /* in which the sink explains what the surface had to be moved, if it is not measured */
#define CORE_SHARE 0.1f     /* of such a move that the core takes part in */
#define SINK_MEASURED_S 30.0f
#define LOCAL_S 30.0f       /* smoothing of what one thermistor says beyond the others */
#define BELIEVED 0.3f       /* share of it that is believed: spread of blocks against error of thermistors */
#define ERRORS 3.0f         /* sigmas that an error can be */
#define SUSPECT_SIGMAS 5.0f
#define SUSPECT_S 30.0f
#define BLIND_K_PER_S 0.005f
#define RATE_S 60.0f        /* over which heat and the rate of the surface are taken */
#define STORED_SIGMA 0.05f  /* of the heat capacity, relative */
#define LASTS_S 300.0f      /* errors of the heat that pass: so long, and so large a part of it */
#define PASSING 0.1f
#define COOLING_MOST 3.0f   /* times the first guess, or its third */
#define RISE_LEAST_K 0.5f   /* surface over sink that teaches anything */
#define LEARN_AFTER 3.0f    /* time constants of the core after the first reading */
#define CORE_MIN_DEGC (-60.0f)
#define CORE_MAX_DEGC 300.0f

void obs_init(obs_bank_t *bank, const obs_params_t *params, uint32_t count, uint32_t per_module)
{
    memset(bank, 0, sizeof *bank);
    const float h = params->cooling_w_per_k, sigma = h * params->cooling_sigma_frac;
    bank->count = count > EST_BLOCKS_MAX ? EST_BLOCKS_MAX : count;
    bank->per_module = per_module == 0u || per_module > OBS_CHANNELS_MAX ? OBS_CHANNELS_MAX : per_module;
    for (uint32_t m = 0; m < OBS_MODULES_MAX; ++m) {
        bank->cooling_w_per_k[m] = h;
        bank->cooling_var[m] = sigma * sigma;
    }
}

bool obs_started(const obs_bank_t *bank, uint32_t module)
{
    return module < OBS_MODULES_MAX && bank->age_s[module] > 0.0f;
}

BMS_CLONES
void obs_heat_w(const est_bank_t *restrict est, const est_params_t *restrict params, uint32_t first, uint32_t count, float current_a,
                const int32_t *restrict voltage_uv, const uint32_t *restrict valid, const float *restrict more_frac,
                const float *restrict core_degc, float *restrict heat_w)
{
    for (uint32_t k = 0; k < count; ++k) {
        const uint32_t b = first + k;
        const float x = est->soc_frac[b] * (float)EST_SOC_STEPS;
        int32_t i = (int32_t)x;
        i = i < 0 ? 0 : i;
        i = i > EST_SOC_STEPS - 1 ? EST_SOC_STEPS - 1 : i;
        const float slope = params->entropic_v_per_k[i], rest = slope * est->above_25_k[b] - (float)voltage_uv[b] * 1e-6f;
        const float read = params->ocv_v[i] + (x - (float)i) * (params->ocv_v[i + 1] - params->ocv_v[i]) + rest;
        const float told = (1.0f + more_frac[b]) * (current_a * est->r0_ohm[b] + est->v1_v[b]) + est->v2_v[b] - est->hysteresis_v;
        const float drop = valid[b] != 0u ? read : told;
        heat_w[k] = current_a * (drop - (core_degc[b] + 273.15f) * slope);
    }
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

/* What is known of a core beside its heat. */
typedef struct {
    float leaves_w;           /* surface to sink, by the core that the heat made */
    float over_k;             /* surface over sink */
    float heat_var, law_k, law_var; /* of core over surface */
} law_t;

static inline law_t law_of(const obs_params_t *p, float core_degc, float surface_degc, float slow_degc, float sink_degc, float slow_w,
                           float cooling, float cooling_var)
{
    law_t law;
    const float f = p->heat_core_frac, g = p->core_surface_w_per_k, per_g = 1.0f / g, whole = p->core_j_per_k + p->surface_j_per_k;
    const float stored = (f * whole - p->core_j_per_k) * (1.0f / RATE_S) * (surface_degc - slow_degc);
    const float heat_k = per_g * f * slow_w, apart = core_degc - surface_degc;
    const float wrong_k = p->heat_sigma_frac * heat_k, kept_k = STORED_SIGMA * (apart - heat_k);
    law.over_k = surface_degc - sink_degc;
    const float slope = per_g * f * law.over_k, offset_k = per_g * f * cooling * p->sensor_sigma_k;
    law.leaves_w = (g * apart - stored) / f;
    law.heat_var = wrong_k * wrong_k + kept_k * kept_k;
    law.law_k = slope * cooling + per_g * stored;
    law.law_var = slope * slope * cooling_var + offset_k * offset_k + 1e-4f;
    return law;
}

/* H from what leaves the surface, if able_s is positive. The part of its variance that the errors which last would leave anyway is not
 * touched. */
static inline void learn(const obs_params_t *p, const law_t *law, float dt, float able_s, float *cooling, float *cooling_var)
{
    const float h = *cooling, x = law->over_k, g = p->core_surface_w_per_k / p->heat_core_frac, first = p->cooling_w_per_k;
    const float size = x * x > RISE_LEAST_K * RISE_LEAST_K ? x * x : 1.0f;
    const float floor = (g * g * law->heat_var + h * h * p->sensor_sigma_k * p->sensor_sigma_k) / size;
    const float left = *cooling_var - floor, excess = left > 0.0f ? left : 0.0f, risen = x * x > RISE_LEAST_K * RISE_LEAST_K ? excess : 0.0f;
    const float open = able_s > 0.0f ? risen : 0.0f, passing = PASSING * law->leaves_w, r = (passing * passing + 1e-4f * g * g) * LASTS_S / dt;
    const float k = open * x / (open * size + r), next = h + k * (law->leaves_w - h * x);
    const float least = first * (1.0f / COOLING_MOST), most = first * COOLING_MOST;
    *cooling = next > least ? (next < most ? next : most) : least;
    *cooling_var -= k * x * open;
}

/* The core of a block from both witnesses, the second one only if known is 1 and not 0; what is low-passed goes on. Returns the law, for H to be learnt from. */
static inline law_t finish(obs_bank_t *bank, const obs_params_t *p, uint32_t b, float dt, float heat_w, float known, float sink_degc,
                           float cooling, float cooling_var, float *core_degc, float *var)
{
    const float tau = p->core_j_per_k / p->core_surface_w_per_k, core = bank->model_core_degc[b], surface = bank->model_surface_degc[b];
    bank->slow_heat_w[b] += share(dt, RATE_S) * (heat_w - bank->slow_heat_w[b]);
    const law_t law = law_of(p, core, surface, bank->slow_surface_degc[b], sink_degc, bank->slow_heat_w[b], cooling, cooling_var);
    const float open = bank->start_k[b], heat_var = law.heat_var + open * open;
    const float weight = known * heat_var / (heat_var + law.law_var);
    *core_degc = core + weight * (law.law_k - (core - surface));
    *var = (1.0f - weight) * heat_var;
    bank->start_k[b] = open > 1e-3f ? open * (1.0f - share(dt, tau)) : 0.0f;
    bank->slow_surface_degc[b] += share(dt, RATE_S) * (surface - bank->slow_surface_degc[b]);
    return law;
}

static void predict(obs_bank_t *bank, const obs_params_t *p, uint32_t module, float dt, const float *heat_w)
{
    const uint32_t first = module * bank->per_module, n = blocks_of(bank, module);
    float *const core = bank->model_core_degc + first, *const surface = bank->model_surface_degc + first;
    const float g = p->core_surface_w_per_k, gn = p->neighbour_w_per_k, h = bank->cooling_w_per_k[module];
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
    const float shift = share(dt, SURFACE_S) * common_k;
    if (known) bank->sink_degc[module] += share(dt, SINK_MEASURED_S) * (sink_degc - bank->sink_degc[module]);
    else bank->sink_degc[module] += shift * p->surface_j_per_k / (bank->cooling_w_per_k[module] * SINK_S);
    for (uint32_t b = first; b < first + n; ++b) {
        bank->model_surface_degc[b] += shift;
        bank->model_core_degc[b] += known ? 0.0f : CORE_SHARE * shift;
    }
}

/* The part of a thermistor's own residual that is taken for the truth. */
static float believed(const obs_params_t *p, float local_k)
{
    const float most = ERRORS * p->sensor_sigma_k, size = abs_f32(local_k);
    const float part = size <= most ? BELIEVED * size : size - (1.0f - BELIEVED) * most;
    return local_k < 0.0f ? -part : part;
}

/* Results: the model and, between thermistors, what they say beyond it. Cooling is learnt. */
static void conclude(obs_bank_t *bank, const obs_params_t *p, uint32_t module, float dt, const seen_t *seen, const float *heat_w,
                     bool known)
{
    const uint32_t first = module * bank->per_module, n = blocks_of(bank, module), at = module * OBS_SENSORS_MAX;
    uint32_t good = 0;
    for (uint32_t s = 0; s < OBS_SENSORS_MAX; ++s) good += seen->good >> s & 1u;
    const float few = good != 0u ? 1.0f / (float)good : 1.0f, fixed = p->sensor_sigma_k * p->sensor_sigma_k * (few + BELIEVED * BELIEVED);
    const float blind = BLIND_K_PER_S * bank->blind_s[module];
    law_t middle = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f}; /* of the block in the middle, where neighbours cancel */
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
        float core, var;
        const law_t law = finish(bank, p, first + c, dt, heat_w[c], known ? 1.0f : 0.0f, bank->sink_degc[module], bank->cooling_w_per_k[module],
                                 bank->cooling_var[module], &core, &var);
        middle = c == n / 2u ? law : middle;
        bank->core_degc[first + c] = core + local;
        bank->surface_degc[first + c] = bank->model_surface_degc[first + c] + local;
        bank->sigma_k[first + c] = sqrt_f32(fixed + away * away + var) + blind;
    }
    const float able_s = bank->age_s[module] - LEARN_AFTER * p->core_j_per_k / p->core_surface_w_per_k;
    learn(p, &middle, dt, known && good != 0u ? able_s : -1.0f, &bank->cooling_w_per_k[module], &bank->cooling_var[module]);
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
    const float over = p->heat_core_frac * bank->cooling_w_per_k[module] / p->core_surface_w_per_k * (mean - bank->sink_degc[module]);
    for (uint32_t b = first; b < first + n; ++b) {
        bank->model_surface_degc[b] = bank->slow_surface_degc[b] = mean;
        bank->model_core_degc[b] = mean + over;
        bank->start_k[b] = p->start_sigma_k;
    }
    return true;
}

void obs_step(obs_bank_t *bank, const obs_params_t *params, uint32_t module, float dt_s, const float *heat_w, const float *reading_degc,
              const uint8_t *valid, float sink_degc)
{
    if (module >= OBS_MODULES_MAX || blocks_of(bank, module) == 0u) return;
    seen_t seen;
    const bool began = !obs_started(bank, module);
    if (began && !start(bank, params, module, reading_degc, valid, sink_degc)) return;
    if (!began) predict(bank, params, module, dt_s, heat_w);
    bank->age_s[module] += dt_s > 0.0f ? dt_s : 1e-6f;
    look(bank, params, module, dt_s, reading_degc, valid, &seen);
    bank->blind_s[module] = seen.known != 0u ? 0.0f : bank->blind_s[module] + dt_s;
    correct(bank, params, module, dt_s, seen.common_k, sink_degc);
    conclude(bank, params, module, dt_s, &seen, heat_w, is_measured(sink_degc));
    if (module != 0u) return;
    bank->suspects = 0u;
    for (uint32_t s = 0; s < OBS_MODULES_MAX * OBS_SENSORS_MAX; ++s) bank->suspects += bank->suspect_s[s] >= SUSPECT_S ? 1u : 0u;
}

/* Free of branches, so that it vectorises. */
BMS_CLONES
void obs_step_each(obs_bank_t *restrict bank, const obs_params_t *restrict p, float dt, const float *restrict heat_w,
                   const float *restrict reading_degc, const uint32_t *restrict valid, float sink_degc)
{
    const float known = is_measured(sink_degc) ? 1.0f : 0.0f, told = is_measured(sink_degc) ? sink_degc : 0.0f;
    const float g = p->core_surface_w_per_k, outer = dt / p->surface_j_per_k, inner = dt / p->core_j_per_k, f = p->heat_core_frac;
    const float follow = known * share(dt, SINK_MEASURED_S), toward = follow * told, stay = 1.0f - follow;
    const float surface_share = share(dt, SURFACE_S), explain = (1.0f - known) * p->surface_j_per_k / SINK_S;
    const float fixed = p->sensor_sigma_k * p->sensor_sigma_k, settled_s = LEARN_AFTER * p->core_j_per_k / g;
    const float later = dt > 1e-6f ? dt : 1e-6f, unknown_k = p->start_sigma_k;
    const uint32_t n = bank->count < OBS_MODULES_MAX ? bank->count : OBS_MODULES_MAX;
    for (uint32_t b = 0; b < n; ++b) {
        const bool good = valid[b] != 0u, went_on = bank->age_s[b] > 0.0f;
        const float h = bank->cooling_w_per_k[b], heat = heat_w[b], read = reading_degc[b];
        const float was = bank->model_surface_degc[b], slow = bank->slow_surface_degc[b], start = bank->start_k[b], aged = bank->age_s[b];
        const float reading = good ? read : was, blind = bank->blind_s[b] + dt, sink_was = bank->sink_degc[b], core_was = bank->model_core_degc[b];
        const float flow = (1.0f - f) * heat + g * core_was + h * sink_was;
        const float expected = (was + outer * flow) / (1.0f + outer * (g + h)), shift = good ? surface_share * (reading - expected) : 0.0f;
        const float surface = went_on ? expected + shift : reading;
        const float fresh = told + (1.0f - known) * reading, sink_next = toward + stay * sink_was + explain * shift / h;
        const float sink = went_on ? sink_next : fresh, first = surface + f * h / g * (surface - sink);
        const float followed = (core_was + inner * (f * heat + g * surface)) / (1.0f + inner * g);
        const float made = went_on ? followed : first, above = made > CORE_MIN_DEGC ? made : CORE_MIN_DEGC;
        bank->model_surface_degc[b] = surface;
        bank->model_core_degc[b] = above < CORE_MAX_DEGC ? above : CORE_MAX_DEGC;
        bank->sink_degc[b] = sink;
        bank->slow_surface_degc[b] = went_on ? slow : surface;
        const float open = good ? unknown_k : 0.0f, age = aged + later, begun = good ? later : 0.0f;
        bank->start_k[b] = went_on ? start : open;
        bank->blind_s[b] = good ? 0.0f : blind;
        bank->age_s[b] = went_on ? age : begun;
        float core, var;
        const law_t law = finish(bank, p, b, dt, heat, known, sink, h, bank->cooling_var[b], &core, &var);
        bank->core_degc[b] = core > CORE_MIN_DEGC ? (core < CORE_MAX_DEGC ? core : CORE_MAX_DEGC) : CORE_MIN_DEGC;
        bank->surface_degc[b] = surface;
        bank->sigma_k[b] = sqrt_f32(fixed + var) + BLIND_K_PER_S * bank->blind_s[b];
        const float able = good ? age - settled_s : -1.0f;
        learn(p, &law, dt, known * able, &bank->cooling_w_per_k[b], &bank->cooling_var[b]);
    }
}

obs_hottest_t obs_hottest(const obs_bank_t *bank)
{
    obs_hottest_t hot = {-1e9f, 0.0f, -1e9f, 0u, 0u};
    for (uint32_t b = 0; b < bank->count; ++b) {
        if (!obs_started(bank, b / bank->per_module)) continue;
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
