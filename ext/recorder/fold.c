#include "recorder/fold.h"

#include "field.h"

#include <float.h>
#include <stdbool.h>
#include <string.h>

/* The neighbour of f away from zero (outwards = true) or towards it. */
static float neighbour(float f, bool outwards)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    bits = outwards ? bits + 1u : bits - 1u;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static float at_most(double x)
{
    const float f = (float)x;
    return (double)f > x ? neighbour(f, f < 0.0f) : f;
}

static float at_least(double x)
{
    const float f = (float)x;
    return (double)f < x ? neighbour(f, f > 0.0f) : f;
}

static void join(float *pair, double low, double high, bool is_scaled)
{
    const float least = is_scaled ? (float)low : at_most(low), most = is_scaled ? (float)high : at_least(high);
    if (!(pair[0] <= least)) pair[0] = least;
    if (!(pair[1] >= most)) pair[1] = most;
}

/* The least and most of `count` values; low > high when there is none. One loop a type, for the compiler to vectorise. */
#define EXTREMES(name, type, wide)                                                                    \
    static void name(const void *from, uint32_t count, const fold_column_t *c, double *low, double *high) \
    {                                                                                                 \
        const type *const v = from;                                                                   \
        const wide missing = (wide)c->missing;                                                        \
        wide least = 0, most = 0;                                                                     \
        uint32_t k = 0;                                                                               \
        while (k < count && (v[k] != v[k] || (c->has_missing && (wide)v[k] == missing))) k++;          \
        if (k == count) return;                                                                       \
        least = most = (wide)v[k];                                                                    \
        if (c->has_missing) {                                                                         \
            for (; k < count; ++k) {                                                                  \
                const wide x = (wide)v[k] == missing ? least : (wide)v[k];                            \
                least = x < least ? x : least;                                                        \
                most = x > most ? x : most;                                                           \
            }                                                                                         \
        } else {                                                                                      \
            for (; k < count; ++k) {                                                                  \
                least = (wide)v[k] < least ? (wide)v[k] : least;                                      \
                most = (wide)v[k] > most ? (wide)v[k] : most;                                         \
            }                                                                                         \
        }                                                                                             \
        *low = (double)least;                                                                         \
        *high = (double)most;                                                                         \
    }
EXTREMES(of_u8, u8, i32)
EXTREMES(of_u16, u16, i32)
EXTREMES(of_u32, u32, u32)
EXTREMES(of_u64, u64, u64)
EXTREMES(of_i16, i16, i16)
EXTREMES(of_i32, i32, i32)
EXTREMES(of_i64, i64, i64)
EXTREMES(of_f32, f32, f32)
EXTREMES(of_f64, f64, f64)

typedef void extremes_t(const void *from, uint32_t count, const fold_column_t *c, double *low, double *high);

static extremes_t *const BY_TYPE[] = {
    [FIELD_u8] = of_u8,   [FIELD_u16] = of_u16, [FIELD_u32] = of_u32, [FIELD_u64] = of_u64, [FIELD_i16] = of_i16,
    [FIELD_i32] = of_i32, [FIELD_i64] = of_i64, [FIELD_f32] = of_f32, [FIELD_f64] = of_f64,
};
static const uint8_t SIZE[] = {
    [FIELD_u8] = 1,  [FIELD_u16] = 2, [FIELD_u32] = 4, [FIELD_u64] = 8, [FIELD_i16] = 2,
    [FIELD_i32] = 4, [FIELD_i64] = 8, [FIELD_f32] = 4, [FIELD_f64] = 8,
};

void fold_column(const fold_column_t *c, uint32_t first, uint32_t group, float *bins, uint32_t bin_count)
{
    const uint8_t *const values = c->values;
    const bool is_scaled = c->scale != 1.0 || c->offset != 0.0;
    uint32_t k = 0;
    while (k < c->count) {
        const uint64_t bin = (first + (uint64_t)(c->rows ? c->rows[k] : (int64_t)k)) / group;
        if (bin >= bin_count) return;
        uint32_t end = k + 1u; /* of the samples in this bin */
        if (c->rows) {
            while (end < c->count && (first + (uint64_t)c->rows[end]) / group == bin) end++;
        } else {
            const uint64_t last = (bin + 1u) * group - first;
            end = last < c->count ? (uint32_t)last : c->count;
        }
        double low = 1.0, high = 0.0;
        BY_TYPE[c->type](values + (size_t)k * c->width * SIZE[c->type], (end - k) * c->width, c, &low, &high);
        k = end;
        if (low > high) continue;
        const double a = low * c->scale + c->offset, b = high * c->scale + c->offset;
        join(&bins[2u * bin], a < b ? a : b, a < b ? b : a, is_scaled);
    }
}
