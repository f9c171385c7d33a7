#include "drain.h"

#include "util.h"

#define SLOPE_LEAST_V 0.25f  /* of the OCV, that says anything */
#define APART_MOST 0.04f     /* of charge, between two rests that are compared */
#define SPAN_LEAST_S 3600.0f
#define MARK_LASTS_S 1209600.0f /* two weeks: then errors have drifted */
#define ERROR_V 0.0004f      /* of the voltage of a rest, standard deviation: noise, temperature, what has not relaxed */
#define SIGMAS 4.0f
#define CAPACITY_SPREAD 0.02f /* of blocks: makes them part when charge differs */

static float slope_at(const est_params_t *params, float z)
{
    const float at = clamp_f32(z, 0.0f, 1.0f) * (float)EST_SOC_STEPS;
    return params->slope_v[min_i32((int32_t)at, EST_SOC_STEPS)];
}

static void set_mark(drain_t *drain, uint32_t mark, uint32_t count, const float *z, const float *counted, float now_s)
{
    memcpy(drain->mark_z[mark], z, count * sizeof *z);
    memcpy(drain->mark_count[mark], counted, count * sizeof *counted);
    drain->mark_s[mark] = now_s;
}

bool drain_look(drain_t *drain, const est_params_t *params, uint32_t count, const float *z, const float *counted, float now_s)
{
    float mean = 0.0f, lost = 0.0f, least = 1e9f;
    if (count == 0u) return false;
    for (uint32_t b = 0; b < count; ++b) {
        const float slope = slope_at(params, z[b]);
        least = slope < least ? slope : least;
        mean += z[b] / (float)count;
    }
    if (!(least > SLOPE_LEAST_V)) return false;
    const uint32_t mark = mean > 0.5f ? 1u : 0u;
    const float span_s = now_s - drain->mark_s[mark];
    if (drain->mark_s[mark] <= 0.0f || span_s > MARK_LASTS_S) {
        set_mark(drain, mark, count, z, counted, now_s);
        return false;
    }
    float apart = 0.0f;
    for (uint32_t b = 0; b < count; ++b) {
        const float moved = z[b] - drain->mark_z[mark][b];
        apart += moved / (float)count;
        lost += (counted[b] - drain->mark_count[mark][b] - moved) / (float)count;
    }
    if (span_s < SPAN_LEAST_S || abs_f32(apart) > APART_MOST) return false;
    drain->worst_a = -1e6f;
    for (uint32_t b = 0; b < count; ++b) {
        const float more = counted[b] - drain->mark_count[mark][b] - (z[b] - drain->mark_z[mark][b]) - lost;
        const float error = SIGMAS * ERROR_V * (1.0f / slope_at(params, z[b]) + 1.0f / slope_at(params, drain->mark_z[mark][b])) + CAPACITY_SPREAD * 3.0f * abs_f32(apart);
        const float sure_a = (more - error) / (params->per_uc * 1e6f * span_s);
        if (sure_a <= drain->worst_a) continue;
        drain->worst_a = sure_a;
        drain->worst = b;
    }
    drain->looks += 1u;
    return true;
}
