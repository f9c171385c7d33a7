/* Soft shorts: blocks that lose charge against their neighbours, at rest, while charging and driving, and from full to full. Stands
 * alone like estimator.h; works for as long as it runs, without phases that a vehicle would have to keep to.
 *
 * What is common to all blocks (current and its sensor's errors, the OCV table, hysteresis, slow diffusion) is in their mean, so each
 * block is held against the mean. A window of a minute (shorter while charge moves) gives of each block the voltage without the drop
 * of the current, and the state of charge z whose OCV that is. One Kalman filter a block explains z less the mean:
 *     z - mean = a - r D / s + o / s          D: drop of the current, s: slope of the OCV here
 *     da/dt = - l - c dq/dt - bled            dq: charge taken from the pack
 * a: charge of the block against the mean, l: its leak, c: its capacity, r: its resistance, o: its channel's error; all against the mean.
 * Where the OCV is flat s says so, and the window weighs nothing; at the steep end of a flat OCV, or at rest on a sloped one, it weighs
 * much. So a block that lags a little more at each full charge is found by the same equations as one that sinks at rest. What was bled
 * counts as known to some per cent. A gap is one step of prediction.
 *
 * A leak is told when it is sure: estimate less LEAK_SIGMAS standard deviations less what self-discharge may differ between healthy
 * blocks. Innovations that keep to one side open the variance of l, so that a short that begins late is found as soon.
 *
 * Stack pressure: a module that swells less than the others for its charge corroborates a leak of one of its blocks: fewer sigmas are
 * asked of it. It never makes a leak by itself.
 *
 * Order of calls: leak_pressure and leak_module for every module, then leak_second, once a second. */
#ifndef BMS_LEAK_H
#define BMS_LEAK_H

#include <stdbool.h>

#include "estimator.h"

#ifndef LEAK_MODULES_MAX
#define LEAK_MODULES_MAX 32u
#endif
#define LEAK_SIGMAS 5.0f
#define LEAK_SIGMAS_SWOLLEN 4.0f /* with pressure as a second witness */

enum { LEAK_A, LEAK_L, LEAK_C, LEAK_R, LEAK_O, LEAK_STATES };
#define LEAK_VARIANCES 15 /* upper triangle, row by row */

enum { LEAK_GATHERS, LEAK_MEASURES, LEAK_UPDATES };

typedef struct {
    uint32_t count, phase;
    uint32_t windows;             /* taken so far */
    uint32_t worst;               /* block that surely loses most */
    float worst_a;                /* what it surely loses; negative: nothing is sure */
    float age_s;                  /* since the start */
    float window_s, window_frac;  /* the window under way: time, charge taken */
    float moved_frac;             /* charge moved either way */
    float before_a, jumps_a2;     /* steps of the current, squared sum */
    uint32_t seconds;
    float span_s, span_frac, span_moved, span_jumps_a2; /* the window that is worked on */
    float weight, weighted;       /* its weighted mean of all blocks */
    float spread_a;               /* by which healthy blocks may differ; the most of late */
    float mean;                   /* of all estimated leaks, % a day: leaks count from there */
    float now_worst_a, now_spread_a, now_sum, now_a, mean_a;
    uint32_t now_worst;
    float pressure_frac;          /* charge taken since the pressures were marked */
    uint32_t pressures;           /* modules, one bit each: known since then */
    uint32_t swells_less;         /* modules, one bit each: by the last comparison */
    float pressure_kpa[LEAK_MODULES_MAX], pressure_from_kpa[LEAK_MODULES_MAX]; /* smoothed; when marked */
    /* of each block: sums of the window, what it gave, states, variances */
    float sum_v[EST_BLOCKS_MAX], sum_drop_v[EST_BLOCKS_MAX], scans[EST_BLOCKS_MAX], diffusion_v[EST_BLOCKS_MAX];
    float bled_frac[EST_BLOCKS_MAX], bled_long_frac[EST_BLOCKS_MAX];
    float off[EST_BLOCKS_MAX], slope_v[EST_BLOCKS_MAX], drop_v[EST_BLOCKS_MAX], variance[EST_BLOCKS_MAX], bent[EST_BLOCKS_MAX], side[EST_BLOCKS_MAX];
    float x[LEAK_STATES][EST_BLOCKS_MAX], p[LEAK_VARIANCES][EST_BLOCKS_MAX];
} leak_t;

void leak_init(leak_t *leak, uint32_t count);

/* Stack pressure of a module; negative: unknown. */
void leak_pressure(leak_t *leak, uint32_t module, float kpa);

/* Blocks first .. first + count - 1 of a module, once a second: their readings of now. The bank has the same current and temperatures; valid as in
 * est_step, or NULL: nothing is known. spread_a: by how much self-discharge of healthy blocks may differ, over temperature (EST_TEMPERATURE_STEPS + 1). */
void leak_module(leak_t *leak, const est_bank_t *est, const est_params_t *params, const float *spread_a, uint32_t module,
                 uint32_t first, uint32_t count, float dt_s, const int32_t *voltage_uv, const uint32_t *valid);

/* After all modules; current_a: mean of the second. Returns whether worst and worst_a are of now. */
bool leak_second(leak_t *leak, const est_params_t *params, float dt_s, float current_a);

/* What balancing took from a block. */
void leak_bled(leak_t *leak, const est_params_t *params, uint32_t block, float bleed_uc);

/* Before a pause (sleep): readings of the window under way are dropped, its time stays. Call with the detector in LEAK_GATHERS. */
void leak_pause(leak_t *leak);

/* A pause of unknown length: charges may stand anywhere, leaks stay what they are. */
void leak_forget_time(leak_t *leak);

/* A leak known from before a reset, A, and its standard deviation. */
void leak_restore(leak_t *leak, const est_params_t *params, uint32_t block, float leak_a, float sigma_a);

/* Leak of a block as estimated, A; more than zero loses charge. sigma: its standard deviation. */
float leak_block_a(const leak_t *leak, const est_params_t *params, uint32_t block, float *sigma_a);

#endif
