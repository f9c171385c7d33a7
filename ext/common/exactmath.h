/* exp and sqrt that give the same bits everywhere: libm differs by processor and version. Plain double arithmetic, no contraction. */
#ifndef BMS_EXACTMATH_H
#define BMS_EXACTMATH_H

#include <stdint.h>
#include <string.h>

/* e^x for any finite x; relative error below 4e-16 in [-700, 700], 0 below, clamped at e^700 above; NaN gives 0 (a rate law with
 * an unknown argument must not poison the state; callers check their arguments). Cody-Waite reduction, Taylor to degree 13 on
 * |r| <= ln2/2. */
static inline double exact_exp(double x)
{
    if (!(x > -700.0)) return 0.0;
    if (x > 700.0) x = 700.0;
    const double scaled = x * 1.4426950408889634;
    const int32_t k = (int32_t)(scaled + (scaled < 0.0 ? -0.5 : 0.5));
    const double n = (double)k;
    const double r = (x - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10;
    double s = 1.0 / 6227020800.0;
    s = s * r + 1.0 / 479001600.0;
    s = s * r + 1.0 / 39916800.0;
    s = s * r + 1.0 / 3628800.0;
    s = s * r + 1.0 / 362880.0;
    s = s * r + 1.0 / 40320.0;
    s = s * r + 1.0 / 5040.0;
    s = s * r + 1.0 / 720.0;
    s = s * r + 1.0 / 120.0;
    s = s * r + 1.0 / 24.0;
    s = s * r + 1.0 / 6.0;
    s = s * r + 0.5;
    s = s * r + 1.0;
    s = s * r + 1.0;
    uint64_t bits = (uint64_t)(1023 + k) << 52;
    double power;
    memcpy(&power, &bits, sizeof power);
    return s * power;
}

/* Natural logarithm of a positive normal number; relative error below 1e-15 away from 1, absolute there. Zero, negative and NaN give
 * -745, the logarithm of the smallest positive number. */
static inline double exact_log(double x)
{
    if (!(x > 2.3e-308)) return -745.0;
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    int32_t k = (int32_t)(bits >> 52 & 2047u) - 1023;
    bits = (bits & 0xFFFFFFFFFFFFFu) | (uint64_t)1023 << 52;
    double m;
    memcpy(&m, &bits, sizeof m);
    if (m > 1.4142135623730951) {
        m *= 0.5;
        k += 1;
    }
    const double s = (m - 1.0) / (m + 1.0), z = s * s; /* log m = 2 artanh s, |s| < 0.172 */
    double t = 1.0 / 21.0;
    t = t * z + 1.0 / 19.0;
    t = t * z + 1.0 / 17.0;
    t = t * z + 1.0 / 15.0;
    t = t * z + 1.0 / 13.0;
    t = t * z + 1.0 / 11.0;
    t = t * z + 1.0 / 9.0;
    t = t * z + 1.0 / 7.0;
    t = t * z + 1.0 / 5.0;
    t = t * z + 1.0 / 3.0;
    t = t * z + 1.0;
    const double n = (double)k;
    return n * 6.93147180369123816490e-01 + (2.0 * s * t + n * 1.90821492927058770002e-10);
}

#endif
