/* An estimator of your own as a shared library, for `bms bench accuracy --estimator ./libmine.so`. Export these four functions.
 *
 * bms_estimator_start is told of the cell and gives back your state; NULL refuses. Copy what you want to keep: the struct and its
 * arrays are gone when it returns. bms_estimator_step is called for every row of a record, in order; it writes n_cells states of
 * charge, 0 to 1, all finite, and returns 0; anything else ends the run and is shown. dt_s of the first step is 0. */
#ifndef BMS_ESTIMATOR_PLUGIN_H
#define BMS_ESTIMATOR_PLUGIN_H

#include <stdint.h>

#define BMS_ESTIMATOR_ABI 1u

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    uint32_t size;              /* of this struct */
    uint32_t n_cells;           /* in series, under one current */
    const char *name;           /* of the cell, UTF-8 */
    double capacity_ah;         /* nominal */
    double r0_ohm, r1_ohm, tau1_s, r2_ohm, tau2_s; /* at 25 degC, for what they are worth */
    uint32_t ocv_points, reserved;
    const double *ocv_soc_frac, *ocv_v; /* ocv_points of each, rising, at 25 degC */
    const double *soc0_frac;    /* n_cells, what estimators are told: 20 % off; NULL: start from the voltage */
} bms_estimator_cell_t;

uint32_t bms_estimator_abi(void); /* BMS_ESTIMATOR_ABI */
void *bms_estimator_start(const bms_estimator_cell_t *cell);
/* current_a is positive on discharge; voltage_v and temperature_degc have n_cells values; NaN: no reading, also of pressure_kpa. */
int bms_estimator_step(void *self, double dt_s, double current_a, const double *voltage_v, const double *temperature_degc,
                       double pressure_kpa, double *soc_frac);
void bms_estimator_stop(void *self);

#ifdef __cplusplus
}
#endif

#endif
