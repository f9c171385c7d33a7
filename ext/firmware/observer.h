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
 * A core is known twice. From the heat, by its own node; and, where the sink is measured, from what the surface loses,
 *     G (T_c - T_s) = f H (T_s - T_sink) + (f C - C_c) dT_s/dt,   C = C_c + C_s,
 * exact when both nodes move alike; with heat made all over (f = C_c / C) it is the quasi-steady law (e.g. Forgez et al., J. Power
 * Sources 195, 2961, 2010), which asks for no heat at all. The heat has a relative error, and so has H; the result is the mean of both, weighted by them.
 *
 * Cooling H is learnt from the difference of the two, as far as they are not wrong themselves: what is left open by the heat (while
 * driven), by the heat capacity (while cooling down) and by the offset between sensors stays open, so a driven cell teaches H to the
 * error of its heat at best and a cell that cools down to a few per cent. One H a module, bounded.
 *
 * The standard deviation of a core: error of the thermistors, distance from the nearest good one, error of the heat, age of the last
 * reading. */
#ifndef BMS_OBSERVER_H
#define BMS_OBSERVER_H

#include <stdbool.h>

#include "estimator.h"
#include "field.h"

#ifndef OBS_MODULES_MAX
#define OBS_MODULES_MAX 32u
#define OBS_SENSORS_MAX 6u /* of one module */
#endif
#define OBS_CHANNELS_MAX 16u
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
    S(f32, start_sigma_k, "K", "core over surface at the first reading, standard deviation")                                   \
    S(u32, sensors, "1", "thermistors of a module")                                                                            \
    A(u32, sensor_channel, OBS_SENSORS_MAX, "1", "block within its module that carries each")

FIELD_STRUCT(obs_params_t, OBS_PARAMS_FIELDS);

typedef struct {
    uint32_t count, per_module;
    uint32_t suspects;                                    /* thermistors left out now */
    float age_s[OBS_MODULES_MAX];                         /* since the first reading; 0: there was none */
    float blind_s[OBS_MODULES_MAX];                       /* since any good reading */
    float sink_degc[OBS_MODULES_MAX];
    float cooling_w_per_k[OBS_MODULES_MAX], cooling_var[OBS_MODULES_MAX]; /* H as learnt, and its variance */
    float local_k[OBS_MODULES_MAX * OBS_SENSORS_MAX];     /* what a thermistor says beyond the others, smoothed: its residual */
    float suspect_s[OBS_MODULES_MAX * OBS_SENSORS_MAX];   /* for how long that has been too much */
    float model_core_degc[EST_BLOCKS_MAX], model_surface_degc[EST_BLOCKS_MAX];
    float slow_surface_degc[EST_BLOCKS_MAX], slow_heat_w[EST_BLOCKS_MAX]; /* low-passed */
    float start_k[EST_BLOCKS_MAX];                        /* what is left of not having known the core at the start */
    float core_degc[EST_BLOCKS_MAX], surface_degc[EST_BLOCKS_MAX], sigma_k[EST_BLOCKS_MAX]; /* results */
} obs_bank_t;

void obs_init(obs_bank_t *bank, const obs_params_t *params, uint32_t count, uint32_t per_module);

/* Heat made at this moment in blocks first .. first + count - 1 in W, into heat_w[0 .. count - 1]: current times what the voltage is below
 * the OCV, less the reversible part. Where no voltage is read, by the resistances, which are 1 + more_frac times the tables. All but
 * heat_w are indexed by block. It needs averaging over about a second: single moments can be negative. */
void obs_heat_w(const est_bank_t *est, const est_params_t *params, uint32_t first, uint32_t count, float current_a,
                const int32_t *voltage_uv, const uint32_t *valid, const float *more_frac, const float *core_degc, float *heat_w);

/* One module, dt_s later. heat_w: of its blocks. reading_degc, valid: its thermistors. sink_degc: measured, or OBS_NO_SINK. */
void obs_step(obs_bank_t *bank, const obs_params_t *params, uint32_t module, float dt_s, const float *heat_w, const float *reading_degc,
              const uint8_t *valid, float sink_degc);

/* All of a bank made with per_module 1, each block its own module with a thermistor of its own and no neighbours: the same equations,
 * element by element. valid: 0 where there is no reading. */
void obs_step_each(obs_bank_t *bank, const obs_params_t *params, float dt_s, const float *heat_w, const float *reading_degc,
                   const uint32_t *valid, float sink_degc);

/* Whether a module has had a reading. */
bool obs_started(const obs_bank_t *bank, uint32_t module);

typedef struct {
    float core_degc, sigma_k; /* of the block with the highest core */
    float bound_degc;         /* highest of core + 3 sigma over all blocks */
    uint32_t block, known;    /* known: 0 before the first reading, and nothing else then means anything */
} obs_hottest_t;

obs_hottest_t obs_hottest(const obs_bank_t *bank);

#endif
