/* Philox4x32-10 counter-based random numbers (Salmon, Moraes, Dror, Shaw, SC'11): a pure function of key and counter, so a draw in
 * one place never moves the draws of another, and the same bits come out on every machine. The key is (seed, stream name):
 * src/bms/rng.py is the Python face and computes stream keys. */
#ifndef BMS_PHILOX_H
#define BMS_PHILOX_H

#include <stdint.h>

typedef struct { uint32_t v[4]; } philox_block_t;

static inline philox_block_t philox(uint64_t key, uint64_t counter_low, uint64_t counter_high)
{
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    uint32_t c0 = (uint32_t)counter_low, c1 = (uint32_t)(counter_low >> 32);
    uint32_t c2 = (uint32_t)counter_high, c3 = (uint32_t)(counter_high >> 32);
    for (int round = 0; round < 10; ++round) {
        const uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        const uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        c0 = n0;
        c2 = n2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    const philox_block_t out = {{c0, c1, c2, c3}};
    return out;
}

/* 53-bit uniform in (0, 1), never 0 or 1, from two words. */
static inline double philox_unit(uint32_t high, uint32_t low)
{
    const uint64_t bits = ((uint64_t)high << 32 | low) >> 11;
    return ((double)bits + 0.5) * (1.0 / 9007199254740992.0);
}

/* Nearly Gaussian with zero mean and unit standard deviation, bounded at +-3.45: the sum of the four bytes of a word (Irwin-Hall).
 * sigma of that sum is sqrt(4 * (256^2 - 1) / 12) = 147.8. Bounded on purpose: a sensor's noise has no infinite tail. */
static inline double philox_gauss(uint32_t word)
{
    const int32_t sum = (int32_t)((word & 255u) + (word >> 8 & 255u) + (word >> 16 & 255u) + (word >> 24)) - 510;
    return (double)sum * (1.0 / 147.80166891254423);
}

#endif
