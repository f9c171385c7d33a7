/* Health of every block: resistance against a new one, capacity, contact. Slow and bounded. Stands alone like estimator.h.
 *
 * Resistance. Steps of the current and of the voltage, both through the same high-pass of HEALTH_PASS_S, taken at the same passes:
 *     -dV - known = scale (R0(T, P) dI + dv1 / 2) + dv1 / 2
 * v1 is the filter's charge transfer: over a tenth of a second it cannot be told from R0, and may age with it (spread, area) or not
 * (interphase), so half of it is taken to. `known` is what diffusion and OCV move in so short a time. One number a block by recursive least
 * squares; R0(T, P) are the tables of the estimator, so the scale is free of temperature and stack pressure.
 *
 * The filter has its own resistance error rho, which is quick, holds for the present charge and may take an error of the OCV for
 * resistance. health_join puts both together, each with what it leaves open: `more_frac` is the one number that all others use, for
 * R0 and R1 at the present temperature and pressure and, as it is relative to the tables, at 25 degC and reference pressure.
 *
 * Capacity. At the end of a rest long enough for diffusion to fade the voltage says the state of charge z. Between two such points the
 * count says y, in units of the nominal capacity: y = c x, x = change of z. Both have errors: total least squares with a fixed ratio k
 * of the two (closed form; G. Plett, J. Power Sources 196, 2319, 2011, eq. 19), points fade by HEALTH_FADE, and a new cell is the
 * first point. Points of a flat OCV weigh as little as they know.
 *
 * Contact. R0 = electrolyte + contact / area: what the scale says above 1, put down to the contact alone, is area lost. */
#ifndef BMS_HEALTH_H
#define BMS_HEALTH_H

#include <stdbool.h>

#include "estimator.h"

#ifndef HEALTH_MODULES_MAX
#define HEALTH_MODULES_MAX 32u
#endif
#define HEALTH_PASS_S 2.0f
#define HEALTH_FADE 0.97f
#define HEALTH_RECORD_BLOCKS 8u /* blocks in one record */

typedef struct {
    uint32_t count, points;               /* pairs taken so far, all blocks */
    float slow_a[HEALTH_MODULES_MAX], slow_frac[HEALTH_MODULES_MAX]; /* low-passed current and count, at each module's own times */
    uint32_t warm[HEALTH_MODULES_MAX];    /* passes since the start of the high-pass */
    float slow_v[EST_BLOCKS_MAX], slow_v1[EST_BLOCKS_MAX];
    float scale[EST_BLOCKS_MAX], scale_var[EST_BLOCKS_MAX];           /* of R0 */
    float more_frac[EST_BLOCKS_MAX], more_sigma[EST_BLOCKS_MAX];      /* health_join: R0 and R1 are 1 + this times the tables */
    float sxx[EST_BLOCKS_MAX], sxy[EST_BLOCKS_MAX], syy[EST_BLOCKS_MAX]; /* of capacity */
    float capacity_frac[EST_BLOCKS_MAX], capacity_sigma[EST_BLOCKS_MAX]; /* of nominal */
    float last_z[EST_BLOCKS_MAX], last_count[EST_BLOCKS_MAX], last_var[EST_BLOCKS_MAX]; /* last point; variance 0: none */
    float next_z[EST_BLOCKS_MAX], next_count[EST_BLOCKS_MAX], next_var[EST_BLOCKS_MAX]; /* candidate while a rest lasts */
} health_t;

void health_init(health_t *h, uint32_t count);

/* Blocks of one module, dt_s after the last time; current_a and voltages are of the estimator's last pass. */
void health_resistance(health_t *h, const est_bank_t *est, const est_params_t *params, uint32_t module, uint32_t first, uint32_t count,
                       float dt_s, float current_a, float used_frac, const int32_t *voltage_uv, const uint32_t *valid);

/* The resistance of blocks first .. first + count - 1 from both witnesses. */
void health_join(health_t *h, const est_bank_t *est, uint32_t first, uint32_t count);

/* At rest since rest_s: what the voltage says becomes the candidate. Call every some seconds. Returns whether the blocks have relaxed. */
bool health_rest(health_t *h, const est_bank_t *est, const est_params_t *params, uint32_t first, uint32_t count, float rest_s,
                 float used_frac, const int32_t *voltage_uv, const uint32_t *valid);
/* The rest is over: candidates become points, pairs of points are learnt from. */
void health_rest_over(health_t *h, const est_params_t *params, uint32_t first, uint32_t count);

/* Of the pack the block with the least capacity. */
uint32_t health_weakest(const health_t *h);

/* Eight blocks as 48 bytes of a record, and back; nonsense in the bytes becomes the nearest that is sane. */
void health_write(const health_t *h, uint32_t record, uint8_t *bytes);
void health_read(health_t *h, uint32_t record, const uint8_t *bytes);

#endif
