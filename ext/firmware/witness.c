#include "witness.h"

#include "util.h"

#define SMOOTHED_S 60.0f
#define PASS_S 3600.0f         /* of the high-pass */
#define FOLLOWS 0.25f          /* share of the expected move that the correction may move by: creep, gain, a nonlinear stack */
#define TOLERANCE_FRAC 0.004f  /* what else may move it: temperature, capacity */
#define NOISE_SIGMAS 4.0f
#define NOISE_LOOKS 100.0f
#define OLD_S 10.0f            /* without a reading for so long: not used */
#define ANCHOR 0.25f           /* variance of the filter over that of the witness below which the offset is learnt */
#define FORGETS_S 86400.0f     /* after which an offset may be another one (assumption) */
#define WARMTH_K 1.0f          /* error of the mean temperature */
#define GATE 9.0f              /* three standard deviations apart: one of the two is wrong, and the filter has more reasons */
#define TRUSTED_S 600.0f       /* no step in what is told */
#define MOST_FRAC 1.005f
#define LEAST_FRAC (-0.02f)

void witness_init(witness_t *w, const est_params_t *params)
{
    memset(w, 0, sizeof *w);
    for (uint32_t m = 0; m < WITNESS_MODULES_MAX; ++m) {
        w->module[m].offset_kpa2 = params->sigma_stack_kpa * params->sigma_stack_kpa;
        w->module[m].noise_kpa2 = params->stack_noise_kpa * params->stack_noise_kpa;
    }
}

void witness_rest(witness_t *w, const est_params_t *params, float gap_s)
{
    const float prior = params->sigma_stack_kpa * params->sigma_stack_kpa, forgotten = gap_s < FORGETS_S ? gap_s / FORGETS_S : 1.0f;
    for (uint32_t k = 0; k < WITNESS_MODULES_MAX; ++k) {
        witness_module_t *const m = &w->module[k];
        m->looks = 0u;
        m->unseen_s += gap_s;
        m->offset_kpa2 += forgotten * (prior - m->offset_kpa2);
    }
}

/* The module by the filter alone. */
typedef struct {
    float base, delta, var, scatter; /* means over blocks; mean variance; variance between blocks */
} means_t;

static means_t means_of(const est_bank_t *est, uint32_t first, uint32_t count)
{
    means_t all = {0.0f, 0.0f, 0.0f, 0.0f};
    const float each = 1.0f / (float)count;
    float charge = 0.0f;
    for (uint32_t b = first; b < first + count; ++b) {
        all.base += each * est->base[b];
        all.delta += each * est->delta[b];
        all.var += each * est->sigma_frac[b] * est->sigma_frac[b];
        charge += each * est->soc_frac[b];
    }
    for (uint32_t b = first; b < first + count; ++b) all.scatter += each * (est->soc_frac[b] - charge) * (est->soc_frac[b] - charge);
    return all;
}

static inline float most(float a, float b)
{
    return a > b ? a : b;
}

/* Variance of the smoothed correction by noise alone; of few looks the more. */
static float noise_frac2(const witness_module_t *m, const est_params_t *params, float dt_s)
{
    const float per = 1.0f / params->stack_kpa, kept = most(0.5f * dt_s / SMOOTHED_S, 2.0f / (float)(m->looks + 1u));
    return m->noise_kpa2 * per * per * (kept < 1.0f ? kept : 1.0f);
}

static void take(witness_module_t *m, const est_params_t *params, const means_t *all, float dt_s, float used, float elastic_kpa,
                 float kpa)
{
    const float expected = elastic_kpa / params->stack_kpa - used;
    const float creep = (dt_s + m->unseen_s) * params->stack_creep_per_s, charge_kpa = kpa - params->stack_half_kpa + m->set_kpa - elastic_kpa;
    const float correction = charge_kpa / params->stack_kpa + 0.5f - (all->base - used), step = kpa - m->last_kpa;
    m->last_kpa = kpa;
    m->age_s = m->unseen_s = 0.0f;
    if (m->looks == 0u) {
        m->correction_frac = m->slow_correction_frac = correction;
        m->expected_frac = m->slow_frac = expected;
    } else {
        m->noise_kpa2 += (0.5f * step * step - m->noise_kpa2) / NOISE_LOOKS;
    }
    m->noise_kpa2 = most(m->noise_kpa2, params->stack_noise_kpa * params->stack_noise_kpa);
    m->looks += 1u;
    const float early = 1.0f / (float)m->looks, share = most(dt_s / SMOOTHED_S, early), passed = most(dt_s / PASS_S, early);
    m->correction_frac += (share < 1.0f ? share : 1.0f) * (correction - m->correction_frac);
    m->slow_correction_frac += (passed < 1.0f ? passed : 1.0f) * (m->correction_frac - m->slow_correction_frac);
    m->expected_frac += (share < 1.0f ? share : 1.0f) * (expected - m->expected_frac);
    m->slow_frac += (passed < 1.0f ? passed : 1.0f) * (m->expected_frac - m->slow_frac);
    const float whole = params->stack_kpa * (all->base + all->delta + m->told_frac - used - 0.5f) + elastic_kpa;
    m->set_kpa += (creep < 1.0f ? creep : 1.0f) * (params->stack_creep_frac * whole - m->set_kpa);
}

/* Whether the reading follows the charge. */
static void judge(witness_module_t *m, const est_params_t *params, float dt_s)
{
    const float moved = abs_f32(m->expected_frac - m->slow_frac), off = abs_f32(m->correction_frac - m->slow_correction_frac);
    const float tolerance = TOLERANCE_FRAC + NOISE_SIGMAS * sqrt_f32(noise_frac2(m, params, dt_s));
    const bool follows = off <= FOLLOWS * moved + tolerance; /* false for NaN */
    const bool would_show = (1.0f - FOLLOWS) * moved > 1.5f * tolerance;
    if (!follows) m->state = WITNESS_LEFT_OUT;
    else if (would_show && m->state == WITNESS_NEW) m->state = WITNESS_PROVEN;
}

/* What the pressure of one module says beyond the filter, and the variance of that. */
static void differ(witness_module_t *m, const est_params_t *params, const means_t *all, float dt_s)
{
    const float s = params->stack_kpa, warmth = params->stack_kpa_per_k * WARMTH_K;
    m->apart_frac = m->correction_frac - m->offset_kpa / s - all->delta;
    m->var_frac2 = (m->offset_kpa2 + warmth * warmth) / (s * s) + noise_frac2(m, params, dt_s);
}

static void anchor(witness_module_t *m, const est_params_t *params, const means_t *all, float dt_s)
{
    const float s = params->stack_kpa, prior = params->sigma_stack_kpa * params->sigma_stack_kpa, known = s * s * all->var;
    m->offset_kpa2 += dt_s / FORGETS_S * (prior - m->offset_kpa2);
    if (known > ANCHOR * m->offset_kpa2) return;
    const float k = m->offset_kpa2 / (m->offset_kpa2 + known);
    m->offset_kpa += k * (s * (m->correction_frac - all->delta) - m->offset_kpa);
    m->offset_kpa2 *= 1.0f - k;
    m->shared_frac2 = m->offset_kpa2 / (s * s);
}

/* All modules that are believed. Offsets differ from module to module; what they share with the filter does not average out. */
typedef struct {
    float apart, var, shared, trust;
} pool_t;

static pool_t pool_of(const witness_t *w)
{
    pool_t pool = {0.0f, 0.0f, 0.0f, 0.0f};
    float n = 0.0f;
    for (uint32_t k = 0; k < WITNESS_MODULES_MAX; ++k) {
        const witness_module_t *const m = &w->module[k];
        if (!(m->trust > 0.0f)) continue;
        n += 1.0f;
        pool.apart += m->apart_frac;
        pool.var += m->var_frac2;
        pool.shared += m->shared_frac2 < m->var_frac2 ? m->shared_frac2 : m->var_frac2;
        pool.trust += m->trust;
    }
    if (!(n > 0.0f)) return pool;
    pool.apart /= n;
    pool.shared /= n;
    pool.var = pool.shared + (pool.var / n - pool.shared) / n;
    pool.trust /= n;
    return pool;
}

static void tell(witness_module_t *m, est_bank_t *est, const est_params_t *params, const pool_t *pool, const means_t *all, uint32_t first,
                 uint32_t count, float half)
{
    const float gain_error = params->sigma_stack_frac * half, var = pool->var + gain_error * gain_error;
    const float least = var < all->var ? var : all->var, shared = pool->shared < least ? pool->shared : least;
    const float g = pool->trust * (all->var - shared) / (all->var + var - 2.0f * shared + 1e-10f), rest = 1.0f - g;
    const float left = (rest * rest * all->var + g * g * var + 2.0f * g * rest * shared) / (all->var + 1e-10f);
    m->gain = g;
    m->told_frac = g * pool->apart;
    for (uint32_t b = first; b < first + count; ++b) {
        const float own = est->sigma_frac[b] * est->sigma_frac[b], told = own * left + all->scatter;
        est->soc_frac[b] = clamp_f32(est->soc_frac[b] + m->told_frac, LEAST_FRAC, MOST_FRAC);
        est->sigma_frac[b] = told < own ? sqrt_f32(told) : est->sigma_frac[b];
    }
}

void witness_join(witness_t *w, est_bank_t *est, const est_params_t *params, uint32_t module, uint32_t first, uint32_t count, float dt_s,
                  int64_t used_uc, float mean_degc, float kpa)
{
    if (module >= WITNESS_MODULES_MAX || count == 0u || !(params->stack_kpa > 0.0f)) return;
    witness_module_t *const m = &w->module[module];
    const means_t all = means_of(est, first, count);
    const float used = (float)used_uc * params->per_uc, elastic_kpa = params->stack_kpa_per_k * (mean_degc - 25.0f);
    m->age_s = m->age_s < 1e6f ? m->age_s + dt_s : m->age_s;
    if (kpa >= 0.0f && m->state != WITNESS_LEFT_OUT) {
        take(m, params, &all, dt_s, used, elastic_kpa, kpa);
        judge(m, params, dt_s);
    }
    differ(m, params, &all, dt_s);
    const bool near = m->apart_frac * m->apart_frac < GATE * (all.var + m->var_frac2);
    const bool good = m->state == WITNESS_PROVEN && m->age_s <= OLD_S && near;
    m->trust = good ? m->trust + dt_s / TRUSTED_S : 0.0f;
    m->trust = m->trust < 1.0f ? m->trust : 1.0f;
    m->gain = m->told_frac = 0.0f;
    if (good) {
        anchor(m, params, &all, dt_s);
        differ(m, params, &all, dt_s);
    }
    const pool_t pool = pool_of(w);
    if (pool.trust > 0.0f) tell(m, est, params, &pool, &all, first, count, all.base + all.delta - used - 0.5f);
}
