/* The firmware's estimator for records and for many cells: what `bms._estimator` drives.
 *
 * A *string* is up to `cells_max` cells that share one current. One step takes readings as doubles (NaN: no reading), keeps the
 * coulomb count, follows the core temperature, calls the firmware's functions (estimator.h) and writes results. The source is
 * compiled twice: string.c for cells in series, a tile that stays in the first-level cache, and single.c for cells with a
 * current of their own.
 */
#ifndef BMS_BATCH_H
#define BMS_BATCH_H

#include <stddef.h>
#include <stdint.h>

#include "field.h"

#define BATCH_PARAMS_FIELDS(S, A)                                                                                   \
    S(f32, core_surface_w_per_k, "W/K", "core to surface; 0: core and surface are one")                              \
    S(f32, core_j_per_k, "J/K", "heat capacity of the core")                                                         \
    S(f32, core_share, "1", "where between surface (0) and core (1) the resistances have their temperature")         \
    S(f32, capacity_ah, "Ah", "of a block")                                                                          \
    S(f32, start_std_frac, "1", "standard deviation of a state of charge given at the start")

FIELD_STRUCT(batch_params_t, BATCH_PARAMS_FIELDS);

extern const field_t batch_params_fields[], batch_est_fields[];
extern const size_t batch_params_field_count, batch_est_field_count, batch_est_size;

/* One step of one string. Voltages are indexed by cell, temperatures by cell * temperature_stride (0: one for all). soc0_frac is
 * looked at until a cell has started; NaN: from the voltage. Results are indexed by cell. */
typedef struct {
    double dt_s, current_a, pressure_kpa;
    const double *voltage_v, *temperature_degc;
    const double *soc0_frac;
    size_t temperature_stride;
    float *soc_frac, *soc_std_frac, *core_degc, *r0_ohm;
} batch_io_t;

typedef struct {
    size_t size; /* bytes of one string */
    uint32_t cells_max;
    void (*init)(void *string, uint32_t count);
    void (*step)(void *string, const void *est_params, const batch_params_t *params, const batch_io_t *io);
    /* p11, p12, p22 of one cell, for tests */
    void (*covariance)(const void *string, uint32_t cell, float out[3]);
} batch_kind_t;

extern const batch_kind_t batch_string, batch_single;

#endif
