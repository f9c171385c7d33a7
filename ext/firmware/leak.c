#include "leak.h"

#include "util.h"

/* Units of the filter: charge and capacity in %, leak in % a day, resistance in %, voltage in mV. */
#define DAY_S 86400.0f
#define PER_DAY (1.0f / DAY_S)

/* Standard deviations at the start. Leak: 20 ohm in 77 Ah are 6 % a day. */
#define A_SIGMA 5.0f
#define L_SIGMA 5.0f
#define C_SIGMA 2.0f
#define R_SIGMA 6.0f
#define O_SIGMA 2.0f

/* Walks, variance a day: of leak, capacity, resistance and channel error. */
#define L_WALK (0.02f * 0.02f)
#define C_WALK (0.05f * 0.05f)
#define R_WALK (1.0f * 1.0f)
#define R_WALK_MOVED (2.0f * 2.0f) /* resistance differs over charge: variance a full charge moved */
#define O_WALK (0.3f * 0.3f)

/* Errors of a window, and how long they last. */
#define DRIFT_V 0.00012f     /* of a channel: temperature, its filter, thermistors */
#define DRIFT_LASTS_S 3600.0f
#define DROP_FRAC 0.015f     /* of the drop of the current: temperature, unequal currents before */
#define DROP_LASTS_S 300.0f
#define SKEW_FRAC 0.2f       /* of a step of I R0: voltage and current are not of one moment */
#define BLED_FRAC 0.03f      /* of the charge bled: tolerance of the resistors */
#define BENT_LASTS_S 14400.0f /* a slope that is not that of the place */
#define BENT_FRAC 0.3f       /* and what it seems to be where the slope changes */

#define OFFSET_SIGMAS 2.0f   /* of the current sensor: counts what did not flow, which blocks of another capacity do not follow */
#define FLOW_SIGMAS 3.0f     /* of it: no current */

#define SETTLE_S 900.0f      /* what flowed before the start is not known */
#define WINDOW_S 60.0f
#define WINDOW_MOVED 0.003f
#define SCANS_LEAST 2.0f
#define REACH_V 0.002f       /* half the span of voltage over which the slope is taken */
#define REACH_FRAC 0.05f     /* and of the drop */
#define REACH_HYSTERESIS 0.2f /* and of the hysteresis, beside what is not known of it yet */
#define SLOPE_LEAST_V 0.005f
#define SLOPE_FRAC 0.05f     /* of the slope: the table's, standard deviation */
#define SIDE_KEEP 0.98f      /* of the memory of which side innovations are on */
#define SIDE_MOST 5.0f
#define OPEN_L 4.0f          /* variance of l a surprise opens: (% a day) ^ 2 */
#define SPREAD_KEEP_S 43200.0f

#define PRESSURE_SPAN 0.4f   /* charge over which modules are compared */
#define PRESSURE_KEEP 0.98f  /* of the smoothing, a second */
#define PRESSURE_LESS 0.08f  /* of the swelling: springs and foam differ by a few per cent (assumption) */
#define PRESSURE_LESS_KPA 15.0f /* and errors of the sensors */

static const float START_SIGMA[LEAK_STATES] = {A_SIGMA, L_SIGMA, C_SIGMA, R_SIGMA, O_SIGMA};
/* Place of each pair in the upper triangle. */
static const uint8_t AT[LEAK_STATES][LEAK_STATES] = {
    {0, 1, 2, 3, 4}, {1, 5, 6, 7, 8}, {2, 6, 9, 10, 11}, {3, 7, 10, 12, 13}, {4, 8, 11, 13, 14}};

void leak_init(leak_t *leak, uint32_t count)
{
    memset(leak, 0, sizeof *leak);
    leak->count = count > EST_BLOCKS_MAX ? EST_BLOCKS_MAX : count;
    leak->worst_a = leak->now_worst_a = -1e6f;
    for (uint32_t b = 0; b < leak->count; ++b) {
        for (uint32_t i = 0; i < LEAK_STATES; ++i) leak->p[AT[i][i]][b] = START_SIGMA[i] * START_SIGMA[i];
    }
}

void leak_bled(leak_t *leak, const est_params_t *params, uint32_t block, float bleed_uc)
{
    if (block < leak->count) leak->bled_frac[block] += bleed_uc * params->per_uc;
}

/* % a day into A. */
static float amps(const est_params_t *params, float percent_a_day)
{
    return percent_a_day * (0.01f * PER_DAY * 1e-6f) / params->per_uc;
}

float leak_block_a(const leak_t *leak, const est_params_t *params, uint32_t block, float *sigma_a)
{
    *sigma_a = amps(params, sqrt_f32(leak->p[AT[LEAK_L][LEAK_L]][block]));
    return amps(params, leak->x[LEAK_L][block] - leak->mean);
}

/* State of charge whose OCV at 25 degC is v; the end pieces go on. */
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

/* ---- gathering ---------------------------------------------------------------------------------------------------------------- */

/* Diffusion is followed open loop here: the estimator's own v2 takes up what leaks do to the voltage. */
static void scan(leak_t *leak, const est_bank_t *est, uint32_t b, float dt_s, const int32_t *voltage_uv, const uint32_t *valid)
{
    const float x = dt_s * est->rate2_per_s[b], keep = 1.0f / (1.0f + x * (1.0f + x * (0.5f + x * 0.16666667f)));
    const float settled = est->r2_ohm[b] * est->current_a;
    leak->diffusion_v[b] = settled + keep * (leak->diffusion_v[b] - settled);
    if (valid == NULL || valid[b] == 0u) return;
    const float drop = est->r0_ohm[b] * est->current_a + est->v1_v[b] + leak->diffusion_v[b];
    leak->sum_v[b] += (float)voltage_uv[b] * 1e-6f + drop - est->entropic_v[b] - est->hysteresis_v;
    leak->sum_drop_v[b] += drop;
    leak->scans[b] += 1.0f;
}

static float spread_at(const est_bank_t *est, const float *spread_a, uint32_t b)
{
    const float at = (est->above_25_k[b] * 100.0f + 2500.0f - (float)EST_TEMPERATURE_MIN_CDEGC) / (float)EST_TEMPERATURE_STEP_CDEGC;
    return spread_a[clamp_i32((int32_t)clamp_f32(at + 1.0f, 0.0f, 1e3f), 0, EST_TEMPERATURE_STEPS)];
}

/* ---- the filter ----------------------------------------------------------------------------------------------------------------- */

static void predict(leak_t *leak, uint32_t b)
{
    const float day = leak->span_s * PER_DAY, moved = leak->span_moved, f[2] = {day, leak->span_frac};
    const float bled = 100.0f * leak->bled_frac[b], wrong = BLED_FRAC + SLOPE_FRAC + BENT_FRAC * leak->bent[b], error = wrong * bled;
    leak->bled_frac[b] = 0.0f;
    leak->x[LEAK_A][b] -= day * leak->x[LEAK_L][b] + leak->span_frac * leak->x[LEAK_C][b] + bled;
    for (uint32_t k = 0; k < 2u; ++k) { /* a takes up l, then c: rows and columns of both */
        const uint32_t from = LEAK_L + k;
        const float aa = leak->p[AT[LEAK_A][LEAK_A]][b], af = leak->p[AT[LEAK_A][from]][b], ff = leak->p[AT[from][from]][b];
        leak->p[AT[LEAK_A][LEAK_A]][b] = aa - f[k] * (2.0f * af - f[k] * ff);
        for (uint32_t j = LEAK_L; j < LEAK_STATES; ++j) leak->p[AT[LEAK_A][j]][b] -= f[k] * leak->p[AT[from][j]][b];
    }
    leak->p[AT[LEAK_A][LEAK_A]][b] += error * (error + 2.0f * wrong * leak->bled_long_frac[b]) + 1e-10f;
    leak->bled_long_frac[b] = (leak->bled_long_frac[b] + bled) * (1.0f - clamp_f32(0.2f * day, 0.0f, 1.0f));
    leak->p[AT[LEAK_L][LEAK_L]][b] += L_WALK * day;
    leak->p[AT[LEAK_C][LEAK_C]][b] += C_WALK * day;
    leak->p[AT[LEAK_R][LEAK_R]][b] += R_WALK * day + R_WALK_MOVED * moved;
    leak->p[AT[LEAK_O][LEAK_O]][b] += O_WALK * day;
    for (uint32_t i = 0; i < LEAK_STATES; ++i) { /* no state is ever less known than at the start */
        const float most = 4.0f * START_SIGMA[i] * START_SIGMA[i], p = leak->p[AT[i][i]][b];
        if (p <= most) continue;
        const float shrink = sqrt_f32(most / p);
        for (uint32_t j = 0; j < LEAK_STATES; ++j) leak->p[AT[i][j]][b] *= i == j ? most / p : shrink;
    }
}

/* Variance of a window's z, in % ^ 2. */
static float window_variance(const leak_t *leak, const est_bank_t *est, const est_params_t *params, uint32_t b)
{
    const float span = leak->span_s > 1.0f ? leak->span_s : 1.0f;
    const float skew = SKEW_FRAC * SKEW_FRAC * leak->span_jumps_a2 * est->r0_ohm[b] * est->r0_ohm[b];
    const float noise = params->sigma_noise_v * params->sigma_noise_v + skew;
    const float drift = DRIFT_V * DRIFT_V * (span < DRIFT_LASTS_S ? DRIFT_LASTS_S / span : 1.0f);
    const float lasts = span < DROP_LASTS_S ? DROP_LASTS_S / span : 1.0f;
    const float stays = span < BENT_LASTS_S ? BENT_LASTS_S / span : 1.0f;
    const float ohmic = 0.01f * leak->drop_v[b], drop2 = DROP_FRAC * DROP_FRAC * leak->drop_v[b] * leak->drop_v[b];
    const float xr = leak->x[LEAK_R][b], xo = leak->x[LEAK_O][b], a = leak->x[LEAK_A][b] - leak->mean_a, bent = leak->bent[b];
    const float apart2 = ohmic * ohmic * (leak->p[AT[LEAK_R][LEAK_R]][b] + xr * xr) + 1e-6f * (leak->p[AT[LEAK_O][LEAK_O]][b] + xo * xo);
    const float z2 = 1e4f / (leak->slope_v[b] * leak->slope_v[b]), steep = SLOPE_FRAC + bent;
    return z2 * (noise / leak->scans[b] + drift + lasts * drop2 + stays * bent * bent * apart2) + lasts * steep * steep * a * a;
}

/* Covariance of the states with what a window says; returns the variance of that without the window's own. */
static float spread_of(const leak_t *leak, uint32_t b, float t[LEAK_STATES])
{
    const float hr = -leak->drop_v[b] / leak->slope_v[b], ho = 0.1f / leak->slope_v[b];
    for (uint32_t i = 0; i < LEAK_STATES; ++i)
        t[i] = leak->p[AT[i][LEAK_A]][b] + hr * leak->p[AT[i][LEAK_R]][b] + ho * leak->p[AT[i][LEAK_O]][b];
    return t[LEAK_A] + hr * t[LEAK_R] + ho * t[LEAK_O];
}

/* What a window says: charge off the mean that the states do not explain, before the mean is taken off. */
static void measure(leak_t *leak, const est_bank_t *est, const est_params_t *params, uint32_t b)
{
    predict(leak, b);
    leak->variance[b] = 0.0f;
    if (leak->scans[b] >= SCANS_LEAST && leak->age_s > SETTLE_S) {
        const float v = leak->sum_v[b] / leak->scans[b], drop = leak->sum_drop_v[b] / leak->scans[b];
        const float reach = REACH_V + REACH_FRAC * abs_f32(drop) + (REACH_HYSTERESIS + est->hysteresis_open) * params->hysteresis_v;
        const float z = soc_of(params, v), above = soc_of(params, v + reach) - z, below = z - soc_of(params, v - reach);
        const float slope = 2.0f * reach / (above + below);
        const float s = slope > SLOPE_LEAST_V ? slope : SLOPE_LEAST_V;
        float t[LEAK_STATES];
        leak->slope_v[b] = s;
        leak->bent[b] = abs_f32(above - below) / (above + below);
        leak->drop_v[b] = drop;
        leak->off[b] = 100.0f * z - leak->x[LEAK_A][b] + (leak->x[LEAK_R][b] * drop - 0.1f * leak->x[LEAK_O][b]) / s;
        leak->variance[b] = window_variance(leak, est, params, b) + spread_of(leak, b, t);
        leak->weight += 1.0f / leak->variance[b];
        leak->weighted += leak->off[b] / leak->variance[b];
    }
    leak->sum_v[b] = leak->sum_drop_v[b] = leak->scans[b] = 0.0f;
}

static void correct(leak_t *leak, float mean, uint32_t b)
{
    float t[LEAK_STATES];
    (void)spread_of(leak, b, t);
    const float s = leak->variance[b], y = leak->off[b] - mean, sigmas = clamp_f32(y / sqrt_f32(s), -SIDE_MOST, SIDE_MOST);
    const float trust = y * y > SIDE_MOST * SIDE_MOST * s ? 0.2f : 1.0f, k = trust / s, kept = k * (2.0f - trust);
    for (uint32_t i = 0; i < LEAK_STATES; ++i) {
        leak->x[i][b] += k * t[i] * y;
        for (uint32_t j = i; j < LEAK_STATES; ++j) leak->p[AT[i][j]][b] -= kept * t[i] * t[j];
        leak->p[AT[i][i]][b] = leak->p[AT[i][i]][b] > 1e-9f ? leak->p[AT[i][i]][b] : 1e-9f;
    }
    leak->side[b] = SIDE_KEEP * leak->side[b] + sigmas;
    if (leak->side[b] * leak->side[b] * (1.0f - SIDE_KEEP * SIDE_KEEP) < SIDE_MOST * SIDE_MOST) return;
    leak->p[AT[LEAK_L][LEAK_L]][b] += OPEN_L;
    leak->side[b] = 0.0f;
}

static void judge(leak_t *leak, const est_params_t *params, uint32_t b, float sigmas)
{
    float sigma_a;
    const float leak_a = leak_block_a(leak, params, b, &sigma_a);
    const float offset_a = OFFSET_SIGMAS * params->sigma_current_a * 0.01f * abs_f32(leak->x[LEAK_C][b]);
    leak->now_sum += leak->x[LEAK_L][b];
    leak->now_a += leak->x[LEAK_A][b];
    const float sure_a = leak_a - sigmas * sigma_a - offset_a;
    if (!(sure_a > leak->now_worst_a)) return;
    leak->now_worst_a = sure_a;
    leak->now_worst = b;
}

static bool is_sane(const leak_t *leak, uint32_t b)
{
    float sum = 0.0f;
    for (uint32_t i = 0; i < LEAK_STATES; ++i) sum += leak->x[i][b] * leak->x[i][b] + leak->p[AT[i][i]][b];
    return sum < 1e8f && leak->diffusion_v[b] * leak->diffusion_v[b] < 1e2f; /* false for NaN */
}

static void restart(leak_t *leak, uint32_t b)
{
    for (uint32_t i = 0; i < LEAK_STATES; ++i) leak->x[i][b] = 0.0f;
    for (uint32_t i = 0; i < LEAK_VARIANCES; ++i) leak->p[i][b] = 0.0f;
    for (uint32_t i = 0; i < LEAK_STATES; ++i) leak->p[AT[i][i]][b] = START_SIGMA[i] * START_SIGMA[i];
    leak->diffusion_v[b] = leak->side[b] = leak->bled_long_frac[b] = 0.0f;
}

void leak_module(leak_t *leak, const est_bank_t *est, const est_params_t *params, const float *spread_a, uint32_t module,
                 uint32_t first, uint32_t count, float dt_s, const int32_t *voltage_uv, const uint32_t *valid)
{
    const float mean = leak->weight > 0.0f ? leak->weighted / leak->weight : 0.0f;
    for (uint32_t b = first; b < first + count && b < leak->count; ++b) {
        const float spread = spread_at(est, spread_a, b);
        leak->now_spread_a = spread > leak->now_spread_a ? spread : leak->now_spread_a;
        scan(leak, est, b, dt_s, voltage_uv, valid);
        if (leak->phase == LEAK_MEASURES) measure(leak, est, params, b);
        if (leak->phase != LEAK_UPDATES) continue;
        if (leak->variance[b] > 0.0f) correct(leak, mean, b);
        if (!is_sane(leak, b)) restart(leak, b);
        judge(leak, params, b, module < LEAK_MODULES_MAX && (leak->swells_less >> module & 1u) != 0u ? LEAK_SIGMAS_SWOLLEN : LEAK_SIGMAS);
    }
}

/* ---- pauses ------------------------------------------------------------------------------------------------------------------- */

void leak_pause(leak_t *leak)
{
    for (uint32_t b = 0; b < leak->count; ++b) leak->sum_v[b] = leak->sum_drop_v[b] = leak->scans[b] = 0.0f;
}

void leak_forget_time(leak_t *leak)
{
    leak_pause(leak);
    leak->window_s = leak->window_frac = leak->moved_frac = leak->jumps_a2 = 0.0f;
    leak->age_s = 0.0f; /* what flowed meanwhile is not known either */
    for (uint32_t b = 0; b < leak->count; ++b) {
        for (uint32_t i = 0; i < LEAK_STATES; ++i) leak->p[AT[LEAK_A][i]][b] = 0.0f;
        leak->p[AT[LEAK_A][LEAK_A]][b] = A_SIGMA * A_SIGMA;
        leak->x[LEAK_A][b] = leak->bled_frac[b] = leak->bled_long_frac[b] = leak->side[b] = leak->diffusion_v[b] = 0.0f;
    }
}

void leak_restore(leak_t *leak, const est_params_t *params, uint32_t block, float leak_a, float sigma_a)
{
    const float one_a = amps(params, 1.0f), sigma = sigma_a / one_a, x = leak_a / one_a;
    if (block >= leak->count || !(sigma > 0.0f && sigma < L_SIGMA) || !(x * x < 1e4f)) return;
    leak->x[LEAK_L][block] = x;
    for (uint32_t i = 0; i < LEAK_STATES; ++i) leak->p[AT[LEAK_L][i]][block] = 0.0f;
    leak->p[AT[LEAK_L][LEAK_L]][block] = sigma * sigma;
}

/* ---- pressure ------------------------------------------------------------------------------------------------------------------- */

void leak_pressure(leak_t *leak, uint32_t module, float kpa)
{
    if (module >= LEAK_MODULES_MAX) return;
    const uint32_t bit = 1u << module;
    if (!(kpa >= 0.0f)) {
        leak->pressures &= ~bit;
        leak->swells_less &= ~bit;
        return;
    }
    if ((leak->pressures & bit) == 0u) leak->pressure_kpa[module] = leak->pressure_from_kpa[module] = kpa;
    leak->pressures |= bit;
    leak->pressure_kpa[module] += (1.0f - PRESSURE_KEEP) * (kpa - leak->pressure_kpa[module]);
}

/* Much charge has moved one way: which modules swelled less, or shrank less, than all. */
static void compare_pressures(leak_t *leak)
{
    float sum = 0.0f, known = 0.0f;
    for (uint32_t m = 0; m < LEAK_MODULES_MAX; ++m) {
        if ((leak->pressures >> m & 1u) == 0u) continue;
        sum += leak->pressure_kpa[m] - leak->pressure_from_kpa[m];
        known += 1.0f;
    }
    leak->swells_less = 0u;
    const float mean = known > 1.0f ? sum / known : 0.0f, size = abs_f32(mean);
    for (uint32_t m = 0; m < LEAK_MODULES_MAX; ++m) {
        const float own = leak->pressure_kpa[m] - leak->pressure_from_kpa[m], less = mean < 0.0f ? own - mean : mean - own;
        const bool is_less = (leak->pressures >> m & 1u) != 0u && less > PRESSURE_LESS * size + PRESSURE_LESS_KPA;
        leak->swells_less |= is_less && known > 1.0f ? 1u << m : 0u;
        leak->pressure_from_kpa[m] = leak->pressure_kpa[m];
    }
    leak->pressure_frac = 0.0f;
}

bool leak_second(leak_t *leak, const est_params_t *params, float dt_s, float current_a)
{
    const bool flows = abs_f32(current_a) > FLOW_SIGMAS * params->sigma_current_a;
    const float taken = flows ? current_a * dt_s * 1e6f * params->per_uc : 0.0f, jump = current_a - leak->before_a;
    const bool told = leak->phase == LEAK_UPDATES;
    leak->before_a = current_a;
    leak->age_s += leak->age_s < 1e6f ? dt_s : 0.0f;
    leak->window_s += dt_s;
    leak->window_frac += taken;
    leak->pressure_frac += taken;
    if (abs_f32(leak->pressure_frac) > PRESSURE_SPAN) compare_pressures(leak);
    leak->moved_frac += abs_f32(taken);
    leak->jumps_a2 += jump * jump;
    leak->seconds += 1u;
    if (told) {
        const float kept = leak->spread_a * (1.0f - clamp_f32(leak->span_s / SPREAD_KEEP_S, 0.0f, 1.0f));
        leak->spread_a = leak->now_spread_a > kept ? leak->now_spread_a : kept;
        leak->worst = leak->now_worst;
        leak->worst_a = leak->now_worst_a - leak->spread_a;
        leak->now_worst_a = -1e6f;
        leak->mean = leak->now_sum / (float)leak->count;
        leak->mean_a = leak->now_a / (float)leak->count;
        leak->now_spread_a = leak->now_sum = leak->now_a = 0.0f;
        leak->windows += 1u;
        leak->phase = LEAK_GATHERS;
    } else if (leak->phase == LEAK_MEASURES) {
        leak->phase = LEAK_UPDATES;
    } else if (leak->window_s >= WINDOW_S || leak->moved_frac >= WINDOW_MOVED) {
        leak->phase = LEAK_MEASURES;
        leak->span_s = leak->window_s;
        leak->span_frac = leak->window_frac;
        leak->span_moved = leak->moved_frac;
        leak->span_jumps_a2 = leak->jumps_a2 / (float)leak->seconds;
        leak->window_s = leak->window_frac = leak->moved_frac = leak->jumps_a2 = leak->weight = leak->weighted = 0.0f;
        leak->seconds = 0u;
    }
    return told;
}
