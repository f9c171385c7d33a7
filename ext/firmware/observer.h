/* Temperatures inside the blocks, from a few thermistors on their surfaces. Stands alone like estimator.h.
 *
 * Model of a block (parallel cells taken together): two nodes, core and surface,
 *     C_c dT_c/dt = f q - G (T_c - T_s)
 *     C_s dT_s/dt = (1 - f) q + G (T_c - T_s) + G_n (neighbours - T_s) - H (T_s - T_sink)
 * q is the heat made (obs_heat_w), f the share of it that is made in the core. What the surface is cooled by, T_sink, is a state of
 * each module unless it is measured. Each node is stepped implicitly, so any step is stable.
 *
 * Correction. What all thermistors of a module say in common moves all of its blocks and its sink. What one says beyond the others is
 * mostly its own constant error: a part of it is believed near that thermistor, all of it as soon as it is more than an error can be.
 * A thermistor that stays far from the others is left out of the common part and reported; limits look at readings, not at this.
 *
 * Cooling H is learnt while little heat is made and the sink is measured: then, over a window,
 *     q - C dT_mean/dt = H (T_s - T_sink) - H offset
 * by recursive least squares in (H, H offset), bounded. While a cell is driven the heat is not known well enough: learning from it was
 * tried and is worse. A quasi-steady cell with heat made all over has T_c - T_s = H / G (T_s - T_sink) exactly (cylinder or slab, any
 * uniform rate of rise; e.g. Forgez et al., J. Power Sources 195, 2961, 2010); with the sink known the core is drawn to that law.
 *
 * The standard deviation of a core: error of the thermistors, distance from the nearest good one, error of the heat, age of the last
 * reading. */
#ifndef BMS_OBSERVER_H
#define BMS_OBSERVER_H

#include <stdbool.h>

#include "estimator.h"
#include "field.h"

#define OBS_MODULES_MAX 32u
#define OBS_CHANNELS_MAX 16u
#define OBS_SENSORS_MAX 6u /* of one module */
#define OBS_NO_SINK (-1e6f) /* what cools is not measured; NaN says the same */

/* Of one block, parallel cells together. */
#define OBS_PARAMS_FIELDS(S, A)                                                                                                \
    S(f32, core_j_per_k, "J/K", "heat capacity of the core node")                                                              \
    S(f32, surface_j_per_k, "J/K", "heat capacity of the surface node")                                                        \
    S(f32, core_surface_w_per_k, "W/K", "between them")                                                                        \
    S(f32, neighbour_w_per_k, "W/K", "between surfaces of adjacent blocks")                                                    \
    S(f32, cooling_w_per_k, "W/K", "surface to sink, before anything is learnt")                                               \
    S(f32, cooling_sigma_frac, "1", "of it, standard deviation")                                                               \
    S(f32, heat_core_frac, "1", "share of the heat that is made in the core")                                                  \
    S(f32, heat_sigma_frac, "1", "of the heat made, standard deviation")                                                       \
    S(f32, sensor_sigma_k, "K", "constant error of a thermistor, standard deviation")                                          \
    S(f32, spread_sigma_k, "K", "between neighbouring blocks, standard deviation")                                             \
    S(u32, sensors, "1", "thermistors of a module")                                                                            \
    A(u32, sensor_channel, OBS_SENSORS_MAX, "1", "block within its module that carries each")

FIELD_STRUCT(obs_params_t, OBS_PARAMS_FIELDS);

typedef struct {
    uint32_t count, per_module;
    uint32_t started;                          /* modules that have seen a reading, one bit each */
    uint32_t suspects;                         /* thermistors left out now */
    float cooling_w_per_k, cooling_sigma_w_per_k; /* H as learnt */
    float offset_w;                            /* H offset of the sink's sensor */
    float p11, p12, p22;                       /* covariance of the two */
    float window_s, window_heat_j, window_rise_ks, window_surface_degc, window_rise_k; /* open window of learning */
    uint32_t windows;                          /* learnt from */
    float sink_degc[OBS_MODULES_MAX];
    float blind_s[OBS_MODULES_MAX];            /* since any good reading */
    float local_k[OBS_MODULES_MAX * OBS_SENSORS_MAX];    /* what a thermistor says beyond the others, smoothed: its residual */
    float suspect_s[OBS_MODULES_MAX * OBS_SENSORS_MAX];  /* for how long that has been too much */
    float model_core_degc[EST_BLOCKS_MAX], model_surface_degc[EST_BLOCKS_MAX];
    float core_degc[EST_BLOCKS_MAX], surface_degc[EST_BLOCKS_MAX], sigma_k[EST_BLOCKS_MAX]; /* results */
} obs_bank_t;

void obs_init(obs_bank_t *bank, const obs_params_t *params, uint32_t count, uint32_t per_module);

/* Heat made in a block in W from what the filter of the same block holds. square_a2: mean of the current squared, current_a: mean. */
float obs_heat_w(const est_bank_t *est, const est_params_t *params, uint32_t block, float current_a, float square_a2, float core_degc);

/* One module, dt_s later. heat_w: of its blocks. reading_degc, valid: its thermistors. sink_degc: measured, or OBS_NO_SINK. */
void obs_step(obs_bank_t *bank, const obs_params_t *params, uint32_t module, float dt_s, const float *heat_w, const float *reading_degc,
              const uint8_t *valid, float sink_degc);

typedef struct {
    float core_degc, sigma_k; /* of the block with the highest core */
    float bound_degc;         /* highest of core + 3 sigma over all blocks */
    uint32_t block, known;    /* known: 0 before the first reading, and nothing else then means anything */
} obs_hottest_t;

obs_hottest_t obs_hottest(const obs_bank_t *bank);

#endif
