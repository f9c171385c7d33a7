#include "power.h"

#include "util.h"

#define SIGMAS 2.0f
#define RESISTANCE_SIGMAS 1.0f /* the worst of many blocks bounds: its error is seldom the largest as well */
#define CHARGE_SIGMA_MOST 0.02f /* of z: a flat OCV does not care, and a steep one has a narrow interval */
#define SMOOTHED 0.3f           /* of a look at the voltage read: its noise is no error of the block */
#define STEPS 6u                /* of the search for a current: regula falsi, Illinois variant (Dowell and Jarratt, 1971) */
#define WARMS_SHARE 0.8f        /* of the heat of a span that is still in the core at its end */
#define WARMS_MOST 0.15f

static const float SPAN_S[POWER_SPANS] = {2.0f, 10.0f, 30.0f};

static inline float decay(float x)
{
    return 1.0f / (1.0f + x * (1.0f + x * (0.5f + x * 0.16666667f)));
}

static inline float ocv_at(const est_params_t *params, float z)
{
    const float x = clamp_f32(z, -0.02f, 1.02f) * (float)EST_SOC_STEPS;
    const int32_t i = clamp_i32((int32_t)x, 0, EST_SOC_STEPS - 1);
    return params->ocv_v[i] + (x - (float)i) * (params->ocv_v[i + 1] - params->ocv_v[i]); /* beyond the ends: goes on as steep */
}

typedef struct {
    float low_v, high_v;             /* OCV at the cautious ends of z, with entropy and hysteresis */
    float low_z, high_z, low_ocv_v, high_ocv_v;
    float down_v, up_v;              /* how far the hysteresis can still go */
} ends_t;

static void look_ahead(const est_bank_t *est, const est_params_t *params, const power_limits_t *limits, uint32_t b, ends_t *e)
{
    const float z = est->soc_frac[b], sigma = est->sigma_frac[b];
    const float wide = SIGMAS * (sigma < CHARGE_SIGMA_MOST ? sigma : CHARGE_SIGMA_MOST);
    const float at = clamp_f32(z, 0.0f, 1.0f) * (float)EST_SOC_STEPS;
    const int32_t i = min_i32((int32_t)at, EST_SOC_STEPS);
    const float warm = params->entropic_v_per_k[i] * est->above_25_k[b];
    const float h = params->hysteresis_v, open = h * est->hysteresis_open, twice = 2.0f * h;
    e->low_z = z - wide;
    e->high_z = z + wide;
    e->low_ocv_v = ocv_at(params, e->low_z);
    e->high_ocv_v = ocv_at(params, e->high_z);
    e->low_v = e->low_ocv_v + warm + est->hysteresis_v - open - limits->margin_v;
    e->high_v = e->high_ocv_v + warm + est->hysteresis_v + open + limits->margin_v;
    e->down_v = clamp_f32(h + est->hysteresis_v + open, 0.0f, twice);
    e->up_v = clamp_f32(h - est->hysteresis_v + open, 0.0f, twice);
}

/* The same from the voltage just read, where that is narrower. */
static void read_off(power_t *power, const power_limits_t *limits, const power_known_t *known, uint32_t b, float r0,
                     float lost, ends_t *e)
{
    const float model = 0.5f * (e->low_v + e->high_v);
    if (known->valid[b] != 0u) {
        const float offset = (float)known->voltage_uv[b] * 1e-6f + lost - model;
        power->offset_v[b] += (power->read[b] != 0u ? SMOOTHED : 1.0f) * (offset - power->offset_v[b]);
        power->read[b] = 1u;
    }
    if (power->read[b] == 0u) return;
    const float emf = model + power->offset_v[b], doubt = limits->reading_v + SMOOTHED * r0 * abs_f32(known->jump_a);
    e->low_v = emf - doubt > e->low_v ? emf - doubt : e->low_v;
    e->high_v = emf + doubt < e->high_v ? emf + doubt : e->high_v;
}

/* What a current costs over a span in V: resistance, OCV and hysteresis. way: 1 charges, -1 discharges. */
typedef struct {
    float way, z, from_v, ohm, per_a, turn_v, per_turn; /* per_a: charge moved by an ampere; per_turn: 1 / charge that turns the hysteresis */
    float warms_per_a2;                                 /* share of the resistance that the current's own heat takes away */
} cost_t;

static inline float cost_v(const est_params_t *params, const cost_t *c, float current_a)
{
    const float moved = current_a * c->per_a, warm = current_a * current_a * c->warms_per_a2, turns = moved * c->per_turn;
    const float kept = warm < WARMS_MOST ? 1.0f - warm : 1.0f - WARMS_MOST;
    const float turned = turns < 2.0f ? turns / (1.0f + 0.5f * turns) : 1.0f; /* never less than 1 - exp(-turns) */
    return current_a * c->ohm * kept + c->way * (ocv_at(params, c->z + c->way * moved) - c->from_v) + c->turn_v * turned;
}

/* Highest current up to most_a that costs no more than room_v; never too much, whatever the shape of the OCV; 0 for NaN. ohm: what
 * it costs an ampere. */
static float current_for(const est_params_t *params, const cost_t *c, float room_v, float most_a, float *ohm)
{
    float low = 0.0f, high = most_a, left = room_v, over = cost_v(params, c, most_a) - room_v;
    *ohm = c->ohm;
    if (!(room_v > 0.0f)) return 0.0f;
    if (over <= 0.0f) {
        *ohm = most_a > 1.0f ? (room_v + over) / most_a : c->ohm;
        return most_a;
    }
    bool fitted = true;
    for (uint32_t k = 0; k < STEPS; ++k) {
        const float x = low + (high - low) * left / (left + over), more = cost_v(params, c, x) - room_v;
        const bool fits = more <= 0.0f, again = fits == fitted;
        low = fits ? x : low;
        high = fits ? high : x;
        left = fits ? -more : (again ? 0.5f * left : left); /* the end that stays counts half: else it would stay for ever */
        over = fits ? (again ? 0.5f * over : over) : more;
        fitted = fits;
    }
    *ohm = low > 1.0f ? room_v / low : c->ohm;
    return low;
}

/* Relative fall of the ohmic resistance a kelvin warmer. */
static float warms_per_k(const est_params_t *params, float above_25_k)
{
    const float at = (above_25_k * 100.0f + (float)(2500 - EST_TEMPERATURE_MIN_CDEGC)) * (1.0f / (float)EST_TEMPERATURE_STEP_CDEGC);
    const int32_t i = clamp_i32((int32_t)clamp_f32(at, 0.0f, 1e3f), 0, EST_TEMPERATURE_STEPS - 1);
    const float here = params->electrolyte_ohm[i] + params->contact_ohm[i], warmer = params->electrolyte_ohm[i + 1] + params->contact_ohm[i + 1];
    return clamp_f32((here - warmer) / (here * 0.01f * (float)EST_TEMPERATURE_STEP_CDEGC), 0.0f, 0.1f);
}

void power_module(power_t *power, const est_bank_t *est, const est_params_t *params, const power_limits_t *limits, uint32_t module,
                  uint32_t first, uint32_t count, const power_known_t *known)
{
    if (module >= POWER_MODULES_MAX) return;
    const float per_turn = params->hysteresis_soc_frac > 0.0f ? 1.0f / params->hysteresis_soc_frac : 1e6f;
    float charge[POWER_SPANS], discharge[POWER_SPANS], ohms[POWER_SPANS] = {0.0f, 0.0f, 0.0f}, ends[POWER_SPANS] = {0.0f, 0.0f, 0.0f}, emf = 0.0f, now = 0.0f;
    for (uint32_t s = 0; s < POWER_SPANS; ++s) {
        charge[s] = limits->charge_a;
        discharge[s] = limits->discharge_a;
    }
    for (uint32_t b = first; b < first + count; ++b) {
        ends_t e;
        look_ahead(est, params, limits, b, &e);
        const float scale = 1.0f + known->more_frac[b], more = scale > 1.0f ? scale : 1.0f;
        const float caution = 1.0f + RESISTANCE_SIGMAS * known->more_sigma[b];
        const float r0 = est->r0_ohm[b] * scale, r1 = est->r1_ohm[b] * scale, r2 = est->r2_ohm[b] * more;
        const float v1 = caution * scale * est->v1_v[b], v2 = caution * est->v2_v[b];
        read_off(power, limits, known, b, r0, v1 + v2 + caution * r0 * est->current_a, &e);
        const float per_k = warms_per_k(params, est->above_25_k[b]);
        float most_left = v1 + v2;
        for (uint32_t s = 0; s < POWER_SPANS; ++s) {
            const float e1 = decay(SPAN_S[s] * est->rate1_per_s[b]), e2 = decay(SPAN_S[s] * est->rate2_per_s[b]);
            const float left = v1 * e1 + v2 * e2, per_a = SPAN_S[s] * params->per_uc * 1e6f;
            const float ohm = caution * (r0 + r1 * (1.0f - e1) + r2 * (1.0f - e2)) + 1e-7f;
            const float warms = WARMS_SHARE * SPAN_S[s] * per_k * limits->core_k_per_j * (r0 + r1) * (2.0f - caution);
            const cost_t out = {-1.0f, e.low_z, e.low_ocv_v, ohm, per_a, e.down_v, per_turn, warms};
            const cost_t in = {1.0f, e.high_z, e.high_ocv_v, ohm, per_a, e.up_v, per_turn, warms};
            float out_ohm, in_ohm;
            discharge[s] = current_for(params, &out, e.low_v - left - limits->voltage_min_v, discharge[s], &out_ohm);
            charge[s] = current_for(params, &in, limits->voltage_max_v - e.high_v + left, charge[s], &in_ohm);
            ends[s] += (2.0f - caution) * (r0 + r1 * (1.0f - e1) + est->r2_ohm[b] * (1.0f - e2));
            ohms[s] += out_ohm;
            most_left = left > most_left ? left : most_left;
        }
        emf += e.low_v - most_left;
        now += r0 * (2.0f - caution);
    }
    power->emf_v[module] = emf;
    power->ohm_now[module] = now;
    for (uint32_t s = 0; s < POWER_SPANS; ++s) {
        power->charge_a[s][module] = charge[s];
        power->discharge_a[s][module] = discharge[s];
        power->ohm[s][module] = ohms[s];
        power->ohm_end[s][module] = ends[s];
    }
}

power_bound_t power_bound(const power_t *power, uint32_t modules, uint32_t span)
{
    power_bound_t bound = {1e6f, 1e6f};
    for (uint32_t s = 0; s <= span && s < POWER_SPANS; ++s) {
        for (uint32_t m = 0; m < modules && m < POWER_MODULES_MAX; ++m) {
            bound.charge_a = power->charge_a[s][m] < bound.charge_a ? power->charge_a[s][m] : bound.charge_a;
            bound.discharge_a = power->discharge_a[s][m] < bound.discharge_a ? power->discharge_a[s][m] : bound.discharge_a;
        }
    }
    bound.charge_a = clamp_f32(bound.charge_a, 0.0f, 1e6f);
    bound.discharge_a = clamp_f32(bound.discharge_a, 0.0f, 1e6f);
    return bound;
}

/* Charging at constant power takes the most current at its start, where the voltage is lowest; it ends with less, so the voltage of
 * half-way will do. */
float power_charge_w(const power_t *power, uint32_t modules, uint32_t span, float current_a)
{
    float volts = 0.0f;
    for (uint32_t m = 0; m < modules && m < POWER_MODULES_MAX; ++m) {
        volts += power->emf_v[m] + 0.5f * current_a * (power->ohm_now[m] + power->ohm_end[span][m]);
    }
    return clamp_f32(current_a * volts, 0.0f, 1e9f);
}

/* Discharging at constant power takes the most at its end. */
float power_discharge_w(const power_t *power, const power_limits_t *limits, uint32_t modules, uint32_t span, float current_a)
{
    float volts = -current_a * limits->path_ohm;
    for (uint32_t m = 0; m < modules && m < POWER_MODULES_MAX; ++m) volts += power->emf_v[m] - current_a * power->ohm[span][m];
    return clamp_f32(current_a * volts, 0.0f, 1e9f);
}
