/* What the blocks can take and give for 2, 10 and 30 seconds before the first of them leaves its voltage limits. Stands alone.
 *
 * A constant current I for t seconds ends at
 *     V = OCV(z - I t / Q) + entropy -+ hysteresis - v1 e1 - v2 e2 - I (R0 + R1 (1 - e1) + R2 (1 - e2)),   e = exp(-t / R C)
 * The current that ends at a limit is searched for between one that surely holds and one that does not; what holds is taken. What
 * remains without current is known twice, from the state of charge and from the voltage just read; each has its error, and the
 * narrower one counts: of a reading its largest specified error, of all else two standard deviations. Other limits (critical
 * currents, temperature, pressure, state) are limits.c's. What is doubted of resistance is doubted of the drop now and of the drop
 * then alike: a current that flows already is known by the voltage it leaves. R2 is taken to have grown with R0, but never to
 * have shrunk with it. The current's own heat lowers the resistance within the span; of that, what is sure is counted. */
#ifndef BMS_POWER_H
#define BMS_POWER_H

#include "estimator.h"

enum { POWER_2_S, POWER_10_S, POWER_30_S, POWER_SPANS };
#define POWER_MODULES_MAX 32u

typedef struct {
    float voltage_max_v, voltage_min_v; /* of a block, operate */
    float charge_a, discharge_a;        /* highest that are ever asked for; not 0 */
    float margin_v;                     /* error of the model's voltage */
    float reading_v;                    /* largest error of a voltage reading */
    float core_k_per_j;                 /* 1 / heat capacity of the core of a block */
    float path_ohm;                     /* between blocks and what they feed */
} power_limits_t;

typedef struct {
    float charge_a[POWER_SPANS][POWER_MODULES_MAX], discharge_a[POWER_SPANS][POWER_MODULES_MAX]; /* of the worst block of each module */
    float emf_v[POWER_MODULES_MAX];                   /* sum of what remains without current, at its lowest within the spans */
    float ohm_now[POWER_MODULES_MAX];                 /* sum of R0, at the least */
    float ohm_end[POWER_SPANS][POWER_MODULES_MAX];    /* sum of all resistance at the end, at the least */
    float ohm[POWER_SPANS][POWER_MODULES_MAX];        /* sum of what a current costs until the end, OCV included */
    float offset_v[EST_BLOCKS_MAX];                   /* the voltage read says more than the state of charge by, smoothed; kept while it cannot be read */
    uint8_t read[EST_BLOCKS_MAX];                     /* 1: there is one */
} power_t;

/* What is known beside the filter. */
typedef struct {
    const float *more_frac, *more_sigma; /* what R0 and R1 are more than the tables say, health.h */
    const int32_t *voltage_uv;       /* of the filter's last pass */
    const uint32_t *valid;           /* and not disturbed by bleeding */
    float jump_a;                    /* how far the current has just moved: voltages may belong to another one */
} power_known_t;

/* One module. */
void power_module(power_t *power, const est_bank_t *est, const est_params_t *params, const power_limits_t *limits, uint32_t module,
                  uint32_t first, uint32_t count, const power_known_t *known);

typedef struct {
    float charge_a, discharge_a;
} power_bound_t;

/* Over all modules. A longer span never offers more than a shorter one. */
power_bound_t power_bound(const power_t *power, uint32_t modules, uint32_t span);
/* Power of a current that is held for the span: W that never need more than that current. Magnitudes. */
float power_charge_w(const power_t *power, uint32_t modules, uint32_t span, float current_a);
float power_discharge_w(const power_t *power, const power_limits_t *limits, uint32_t modules, uint32_t span, float current_a);

#endif
