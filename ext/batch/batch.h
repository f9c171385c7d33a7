/* The firmware's estimator for records and for many cells: what `bms._estimator` drives.
 *
 * A *string* is up to `cells_max` cells that share one current. One step takes readings as doubles (NaN: no reading), keeps the
 * coulomb count, calls the firmware's functions (estimator.h, observer.h, health.h) and writes results. The source is compiled
 * twice: string.c for cells in series, a tile that stays in the first-level cache, and single.c for cells with a
 * current of their own.
 */
#ifndef BMS_BATCH_H
#define BMS_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "field.h"

#define BATCH_PARAMS_FIELDS(S, A)                                                                                   \
    S(f32, core_share, "1", "where between surface (0) and core (1) the resistances have their temperature")         \
    S(f32, capacity_ah, "Ah", "of a block")                                                                          \
    S(f32, start_std_frac, "1", "standard deviation of a state of charge given at the start")

FIELD_STRUCT(batch_params_t, BATCH_PARAMS_FIELDS);

extern const field_t batch_params_fields[], batch_est_fields[], batch_obs_fields[];
extern const size_t batch_params_field_count, batch_est_field_count, batch_est_size, batch_obs_field_count, batch_obs_size;

/* What is known of every cell. The first two change with every step, the others five times a second. */
enum {
    BATCH_SOC_FRAC,
    BATCH_SOC_STD_FRAC,
    BATCH_CORE_DEGC,
    BATCH_CORE_STD_K,
    BATCH_R0_OHM,
    BATCH_R0_STD_OHM,
    BATCH_CAPACITY_AH,
    BATCH_CAPACITY_STD_AH,
    BATCH_RESULTS
};

/* One step of one string. Voltages are indexed by cell, temperatures by cell * temperature_stride (0: one for all). soc0_frac is
 * looked at until a cell has started; NaN: from the voltage. Results are indexed by cell. */
typedef struct {
    double dt_s, current_a, pressure_kpa, sink_degc; /* sink: what cools the surfaces, NaN where it is not measured */
    const double *voltage_v, *temperature_degc;
    const double *soc0_frac;
    size_t temperature_stride;
    bool into_same; /* results go where they went a step ago: those that did not change need not be written */
    float *result[BATCH_RESULTS];
} batch_io_t;

typedef struct {
    const void *est, *obs; /* est_params_t, obs_params_t */
    const batch_params_t *own;
} batch_set_t;

typedef struct {
    size_t size; /* bytes of one string */
    uint32_t cells_max;
    void (*init)(void *string, const batch_set_t *set, uint32_t count);
    void (*step)(void *string, const batch_set_t *set, const batch_io_t *io);
    /* p11, p12, p13, p22, p23, p33 of one cell, for tests */
    void (*covariance)(const void *string, uint32_t cell, float out[6]);
} batch_kind_t;

extern const batch_kind_t batch_string, batch_single;

#endif
