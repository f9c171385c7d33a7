/* Small functions every part needs. Float to integer conversion and time comparison happen here and nowhere else. */
#ifndef BMS_UTIL_H
#define BMS_UTIL_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* Loops over all blocks are compiled three times on x86-64 hosts with glibc, and the best one is chosen when the program starts: AVX2
 * gathers make the table look-up a vector operation. Without contraction both give the same bits, which is why this is allowed. By
 * instruction set, not by model name: "arch=haswell" would be chosen on that model alone. clang 14 cannot link clones that are
 * called from another file, so it does without. */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__) && !defined(BMS_NO_CLONES)
#define BMS_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define BMS_CLONES
#endif

static inline int32_t min_i32(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

static inline int32_t max_i32(int32_t a, int32_t b)
{
    return a > b ? a : b;
}

static inline int32_t clamp_i32(int32_t x, int32_t low, int32_t high)
{
    return x < low ? low : (x > high ? high : x);
}

static inline int64_t clamp_i64(int64_t x, int64_t low, int64_t high)
{
    return x < low ? low : (x > high ? high : x);
}

static inline int32_t abs_i32(int32_t x)
{
    return x == INT32_MIN ? INT32_MAX : (x < 0 ? -x : x);
}

/* x in [low, high]; NaN becomes low, so callers put the cautious end there. */
static inline float clamp_f32(float x, float low, float high)
{
    if (!(x > low)) return low;
    return x < high ? x : high;
}

static inline float abs_f32(float x)
{
    return x < 0.0f ? -x : x;
}

/* Round to nearest, clamp into [low, high]; NaN becomes `unknown`. The only way from float to integer outside vector loops, because
 * the plain cast is undefined for NaN and for values that do not fit. */
static inline int32_t to_i32(float x, int32_t low, int32_t high, int32_t unknown)
{
    if (x != x) return unknown;
    if (x <= (float)low) return low;
    if (x >= (float)high) return high;
    return (int32_t)(x + (x < 0.0f ? -0.5f : 0.5f));
}

/* Number of the lowest bit of a mask that has one. */
static inline uint32_t lowest_bit(uint32_t mask)
{
#if defined(__GNUC__)
    return (uint32_t)__builtin_ctz(mask);
#else
    uint32_t bit = 0;
    for (; (mask & 1u) == 0u; mask >>= 1) bit++;
    return bit;
#endif
}

/* Milliseconds from `since_us` to `now_us`, saturating; 0 if the clock seems to run backwards. Never wraps. */
static inline uint32_t elapsed_ms(uint64_t now_us, uint64_t since_us)
{
    if (now_us <= since_us) return 0u;
    const uint64_t us = now_us - since_us;
    if (us <= UINT32_MAX) return (uint32_t)us / 1000u; /* by far the usual: a small core divides 64 bits in a hundred steps */
    const uint64_t ms = us / 1000u;
    return ms > UINT32_MAX ? UINT32_MAX : (uint32_t)ms;
}

/* Square root of x >= 0 (0 for anything else) to float precision by Newton's method from an exponent-halving start: no libm, and the
 * same bits with every compiler. */
static inline float sqrt_f32(float x)
{
    if (!(x > 0.0f)) return 0.0f;
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits = (bits >> 1) + 0x1FBD1DF5u;
    float y;
    memcpy(&y, &bits, sizeof y);
    y = 0.5f * (y + x / y);
    y = 0.5f * (y + x / y);
    return 0.5f * (y + x / y);
}

static inline void put_u16_le(uint8_t *to, uint16_t value)
{
    to[0] = (uint8_t)value;
    to[1] = (uint8_t)(value >> 8);
}

static inline uint16_t get_u16_be(const uint8_t *from)
{
    return (uint16_t)((uint32_t)from[0] << 8 | from[1]);
}

static inline int32_t get_i32_be(const uint8_t *from)
{
    return (int32_t)((uint32_t)from[0] << 24 | (uint32_t)from[1] << 16 | (uint32_t)from[2] << 8 | from[3]);
}

#endif
