#include "power.h"

#include "util.h"

#define SIGMAS 2.0f
#define CHARGE_SIGMA_MOST 0.02f  /* of z: a flat OCV does not care, and a steep one has a narrow interval */
#define SCALE_SIGMA_MOST 0.03f   /* spread of cells as built */
#define READING_V 0.002f         /* error of a reading, twice 1 mV */
#define TURN 0.2f                /* of the hysteresis: how far it turns within a span at what currents are then left */

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
    float fall[POWER_SPANS], rise[POWER_SPANS]; /* of the OCV, a coulomb's worth of ampere over each span, ohm */
} ends_t;

/* How far the OCV goes at full current over each span, per ampere: the steeper of tangent and secant. */
static void look_ahead(const est_bank_t *est, const est_params_t *params, const power_limits_t *limits, uint32_t b, ends_t *e)
{
    const float z = est->soc_frac[b], sigma = est->sigma_frac[b];
    const float wide = SIGMAS * (sigma < CHARGE_SIGMA_MOST ? sigma : CHARGE_SIGMA_MOST);
    const float at = clamp_f32(z, 0.0f, 1.0f) * (float)EST_SOC_STEPS;
    const int32_t i = min_i32((int32_t)at, EST_SOC_STEPS);
    const float warm = params->entropic_v_per_k[i] * est->above_25_k[b], per_as = params->per_uc * 1e6f;
    const float low = ocv_at(params, z - wide), high = ocv_at(params, z + wide), tangent = params->slope_v[i] * per_as;
    const float turn = 0.5f * params->hysteresis_v * (1.0f + est->hysteresis_open); /* it may turn while the current flows */
    e->low_v = low + warm + est->hysteresis_v - turn - limits->margin_v;
    e->high_v = high + warm + est->hysteresis_v + turn + limits->margin_v;
    for (uint32_t s = 0; s < POWER_SPANS; ++s) {
        const float out = (low - ocv_at(params, z - wide - limits->discharge_a * SPAN_S[s] * per_as)) / limits->discharge_a;
        const float in = (ocv_at(params, z + wide + limits->charge_a * SPAN_S[s] * per_as) - high) / limits->charge_a;
        const float along = tangent * SPAN_S[s];
        e->fall[s] = out > along ? out : along;
        e->rise[s] = in > along ? in : along;
    }
}

/* The same from the voltage just read, where that is narrower. */
static void read_off(power_t *power, const est_bank_t *est, const est_params_t *params, const power_known_t *known, uint32_t b, float r0, float caution, ends_t *e)
{
    const float lost = caution * (est->v1_v[b] + est->v2_v[b] + r0 * est->current_a), model = 0.5f * (e->low_v + e->high_v);
    if (known->valid[b] != 0u) {
        power->offset_v[b] = (float)known->voltage_uv[b] * 1e-6f + lost - model;
        power->read[b] = 1u;
    }
    if (power->read[b] == 0u) return;
    const float emf = model + power->offset_v[b];
    const float doubt = READING_V + TURN * params->hysteresis_v + r0 * abs_f32(known->jump_a);
    e->low_v = emf - doubt > e->low_v ? emf - doubt : e->low_v;
    e->high_v = emf + doubt < e->high_v ? emf + doubt : e->high_v;
}

void power_module(power_t *power, const est_bank_t *est, const est_params_t *params, const power_limits_t *limits, uint32_t module,
                  uint32_t first, uint32_t count, const power_known_t *known)
{
    if (module >= POWER_MODULES_MAX) return;
    float charge[POWER_SPANS] = {1e6f, 1e6f, 1e6f}, discharge[POWER_SPANS] = {1e6f, 1e6f, 1e6f}, ohms[POWER_SPANS] = {0.0f, 0.0f, 0.0f};
    float emf = 0.0f, now = 0.0f;
    for (uint32_t b = first; b < first + count; ++b) {
        ends_t e;
        look_ahead(est, params, limits, b, &e);
        const float r1 = est->r1_ohm[b], r2 = est->r2_ohm[b], r0 = est->r0_ohm[b] * known->scale[b], most = SCALE_SIGMA_MOST * SCALE_SIGMA_MOST;
        const float var = known->scale_var[b] < most ? known->scale_var[b] : most;
        const float cold = limits->cold_per_k * known->sigma_k[b]; /* what is learnt of R0 holds for the temperature it was learnt with */
        const float caution = 1.0f + SIGMAS * sqrt_f32(var > cold * cold ? var : cold * cold);
        read_off(power, est, params, known, b, r0, caution, &e);
        float most_left = est->v1_v[b] + est->v2_v[b];
        for (uint32_t s = 0; s < POWER_SPANS; ++s) {
            const float e1 = decay(SPAN_S[s] * est->rate1_per_s[b]), e2 = decay(SPAN_S[s] * est->rate2_per_s[b]);
            const float left = caution * (est->v1_v[b] * e1 + est->v2_v[b] * e2);
            most_left = left > most_left ? left : most_left;
            const float ohm = caution * (r0 + r1 * (1.0f - e1) + r2 * (1.0f - e2)) + 1e-7f;
            const float out = (e.low_v - left - limits->voltage_min_v) / (ohm + e.fall[s]);
            const float in = (limits->voltage_max_v - e.high_v + left) / (ohm + e.rise[s]);
            discharge[s] = out < discharge[s] ? out : discharge[s];
            charge[s] = in < charge[s] ? in : charge[s];
            ohms[s] += ohm + e.fall[s];
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

/* Charging at constant power takes the most current at its start, where the voltage is lowest. */
float power_charge_w(const power_t *power, uint32_t modules, float current_a)
{
    float volts = 0.0f;
    for (uint32_t m = 0; m < modules && m < POWER_MODULES_MAX; ++m) volts += power->emf_v[m] + current_a * power->ohm_now[m];
    return clamp_f32(current_a * volts, 0.0f, 1e9f);
}

/* Discharging at constant power takes the most at its end. */
float power_discharge_w(const power_t *power, uint32_t modules, uint32_t span, float current_a)
{
    float volts = 0.0f;
    for (uint32_t m = 0; m < modules && m < POWER_MODULES_MAX; ++m) volts += power->emf_v[m] - current_a * power->ohm[span][m];
    return clamp_f32(current_a * volts, 0.0f, 1e9f);
}
