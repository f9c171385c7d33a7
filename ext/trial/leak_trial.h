/* The soft-short detector of the firmware (leak.c, with estimator.c beside it) in a small world of cells, at steps of a second: for
 * thousands of days in minutes. What `bms._leak` drives.
 *
 * A cell: OCV with its temperature coefficient, hysteresis, R0 and two RC pairs over temperature, self-discharge, an internal
 * short; each with its own capacity, resistance and temperature. What is read of it has noise, offset, gain, a drift with temperature,
 * and steps. Balancing follows the firmware's rule. A trial is a list of phases, from the start again until the time is over.
 * Every draw is a pure function of the key. */
#ifndef BMS_LEAK_TRIAL_H
#define BMS_LEAK_TRIAL_H

#include "field.h"

#define TRIAL_BLOCKS_MAX 96
#define TRIAL_SOC_STEPS 256
#define TRIAL_TEMPERATURE_POINTS 105 /* -60 to 200 degC by 2.5 K */
#define TRIAL_PHASES_MAX 32

enum { TRIAL_REST, TRIAL_CURRENT, TRIAL_DRIVE };

#define TRIAL_FIELDS(S, A)                                                                                                       \
    S(u64, key, "1", "of all random numbers")                                                                                     \
    S(u32, blocks, "1", "in series")                                                                                              \
    S(f64, hours, "h", "length")                                                                                                  \
    S(f64, soc_frac, "1", "mean state of charge at the start")                                                                    \
    S(f64, capacity_as, "As", "of a block")                                                                                       \
    A(f64, ocv_v, TRIAL_SOC_STEPS + 1, "V", "over state of charge, at 25 degC")                                                   \
    A(f64, entropic_v_per_k, TRIAL_SOC_STEPS + 1, "V/K", "dU/dT over state of charge")                                            \
    A(f64, r0_ohm, TRIAL_TEMPERATURE_POINTS, "ohm", "over temperature")                                                           \
    A(f64, r1_ohm, TRIAL_TEMPERATURE_POINTS, "ohm", "charge transfer over temperature")                                           \
    A(f64, r2_ohm, TRIAL_TEMPERATURE_POINTS, "ohm", "diffusion over temperature")                                                 \
    S(f64, c1_farad, "F", "of charge transfer")                                                                                   \
    S(f64, c2_farad, "F", "of diffusion")                                                                                         \
    S(f64, hysteresis_v, "V", "half the gap")                                                                                     \
    S(f64, hysteresis_soc_frac, "1", "swing that reaches a branch")                                                               \
    A(f64, self_discharge_per_s, TRIAL_TEMPERATURE_POINTS, "1/s", "over temperature")                                             \
    S(f64, mean_degc, "degC", "temperature, mean of a day")                                                                       \
    S(f64, swing_k, "K", "triangle over a day, up and down")                                                                      \
    S(f64, capacity_sigma, "1", "between cells")                                                                                  \
    S(f64, resistance_sigma, "1", "between cells")                                                                                \
    S(f64, soc_sigma, "1", "between cells, at the start")                                                                         \
    S(f64, temperature_sigma_k, "K", "between cells")                                                                             \
    S(f64, self_discharge_apart, "1", "half of the cells more, half less, by this share")                                         \
    S(f64, voltage_offset_v, "V", "of a channel, this much up or down")                                                           \
    S(f64, voltage_gain, "1", "of a channel, up or down")                                                                         \
    S(f64, voltage_drift_v_per_k, "V/K", "of a channel, up or down")                                                              \
    S(f64, voltage_noise_v, "V", "of a reading, standard deviation")                                                              \
    S(f64, voltage_step_v, "V", "of the converter")                                                                               \
    S(f64, temperature_offset_k, "K", "of a thermistor, up or down")                                                              \
    S(f64, current_offset_a, "A", "up or down")                                                                                   \
    S(f64, current_gain, "1", "up or down")                                                                                       \
    S(f64, current_noise_a, "A", "standard deviation")                                                                            \
    S(f64, bleed_ohm, "ohm", "of a balancing switch; 0: no balancing")                                                            \
    S(f64, bleed_tolerance, "1", "of that, up or down")                                                                           \
    S(i32, balance_start_uv, "uV", "above the lowest")                                                                            \
    S(i32, balance_stop_uv, "uV", "above the lowest")                                                                             \
    S(i32, balance_min_uv, "uV", "no balancing below")                                                                            \
    S(u32, phases, "1", "in the list")                                                                                            \
    A(u32, kind, TRIAL_PHASES_MAX, "1", "0 rest, 1 constant current, 2 drive")                                                    \
    A(f64, phase_s, TRIAL_PHASES_MAX, "s", "longest duration")                                                                    \
    A(f64, phase_a, TRIAL_PHASES_MAX, "A", "current; of a drive its mean")                                                        \
    A(f64, until_v, TRIAL_PHASES_MAX, "V", "charge: held there until a twentieth of capacity flows; discharge: ends there")       \
    A(f64, until_soc_frac, TRIAL_PHASES_MAX, "1", "mean charge at which it ends; negative: not")                                  \
    S(u32, short_block, "1", "block with the short")                                                                              \
    S(f64, short_ohm, "ohm", "0: none")                                                                                           \
    S(u32, short_phase, "1", "phases that are over when it appears")                                                              \
    S(f64, swell_kpa, "kPa", "rise of the stack pressure from empty to full; 0: no sensors")                                       \
    S(f64, swell_less, "1", "share by which the first module swells less")                                                        \
    A(f32, spread_a, 65, "A", "what the firmware is told of self-discharge, over temperature")                                    \
    S(i32, least_ma, "mA", "a leak surely above this is told (diagnosis soft_short)")                                             \
    S(f64, debounce_s, "s", "for so long")                                                                                        \
    S(f64, short_s, "s", "result: when the short appeared; negative: not")                                                        \
    S(f64, told_s, "s", "result: when a leak was told; negative: never")                                                          \
    S(u32, told_block, "1", "result: of which block")                                                                             \
    S(u32, told_fulls, "1", "result: full charges between short and alarm")                                                       \
    S(f64, most_sure_ma, "mA", "result: the most that was ever sure")                                                             \
    S(f64, short_leak_ma, "mA", "result: estimated for the shorted block at the end")                                             \
    S(f64, short_sigma_ma, "mA", "result: its standard deviation")                                                                \
    S(f64, error_sigmas, "1", "result: root mean square of all estimated leaks less the true ones, over their deviations")        \
    S(u32, fulls, "1", "result: full charges")                                                                                    \
    S(u32, seconds, "1", "result: steps taken")

FIELD_STRUCT(trial_t, TRIAL_FIELDS);

extern const field_t trial_fields[], trial_est_fields[];
extern const size_t trial_field_count, trial_size, trial_est_field_count, trial_est_size, trial_state_size;

/* Runs it; `state` has trial_state_size bytes, est_params the estimator's parameters. Stops at the first alarm. */
void trial_run(trial_t *trial, const void *est_params, void *state);

#endif
