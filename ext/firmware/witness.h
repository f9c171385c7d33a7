/* Stack pressure as a second witness of charge: the cells of a module share one force. Stands alone like estimator.h.
 *
 *     P = P_half + S (z - 1/2) + K (T - 25 degC) - set + offset,     d(set)/dt = (f (S (z - 1/2) + K (T - 25 degC)) - set) / tau
 * z: mean state of charge of the module, T: mean temperature; the set is what the fixture has crept. Offset: error of the sensor, how the
 * stack was assembled, what had crept before. Its standard deviation over S is what the pressure knows of the charge.
 *
 * The filter of estimator.h never sees the pressure. What it says is joined with what the pressure says only where results are told, so a
 * sensor that is lost or left out leaves everything as if it had never been there. Both are followed as a correction of the same
 * coulomb count, so that noise can be smoothed without lag.
 *   - Never anchored, the two are independent and join by their variances.
 *   - Where the filter knows the charge far better (full, steep OCV) the offset is learnt from it. From then on both share an error,
 *     whose covariance is kept (Bar-Shalom and Campo, 1986); the offset's variance returns to its prior within a day.
 *   - Modules carry one current and one history, so what the filter does not know (hysteresis, count) it does not know of all alike: the
 *     modules' corrections are averaged, and a module without a sensor follows the others.
 *   - Errors between blocks are seen in their scatter, which pressure cannot lessen and which is added to each.
 *
 * A reading that does not move as it should is none. The pressure expected from charge and temperature, and the correction, pass the
 * same high-pass of an hour: a correction that moved by more than a share of the expected move, and more than noise explains, is a
 * sensor that froze, jumped or drifts; the witness is then left out until the next start. Before so much has moved that a frozen sensor
 * would have been found, it is not believed either.
 *
 * What passes without readings (a sleeping pack: self-discharge that no count sees, creep of days) is judged by nobody: the high-pass
 * starts anew with the first reading after it, the set creeps by the time that is known, and the offset may have moved meanwhile. */
#ifndef BMS_WITNESS_H
#define BMS_WITNESS_H

#include <stdbool.h>

#include "estimator.h"

#ifndef WITNESS_MODULES_MAX
#define WITNESS_MODULES_MAX 32u
#endif

enum { WITNESS_NEW, WITNESS_PROVEN, WITNESS_LEFT_OUT };

typedef struct {
    uint32_t looks;
    uint8_t state, reserved[3];   /* WITNESS_... */
    float age_s;                  /* of the last reading */
    float unseen_s;               /* without readings before it, where known */
    float set_kpa;
    float last_kpa;               /* reading before: their difference is noise */
    float noise_kpa2;             /* variance of a reading, as it is */
    float correction_frac;        /* of the count, by pressure with the offset as assembled; smoothed */
    float expected_frac;          /* pressure by count and temperature, as charge; smoothed alike */
    float slow_frac, slow_correction_frac; /* of both: what the high-pass takes off */
    float offset_kpa, offset_kpa2;         /* learnt, and its variance */
    float shared_frac2;           /* covariance of this witness and the filter, as charge */
    float trust;                  /* 0 to 1 */
    float apart_frac, var_frac2;  /* what it says beyond the filter, and the variance of that */
    float gain, told_frac;        /* share of the pressure in what was told last, and how much that was */
} witness_module_t;

typedef struct {
    witness_module_t module[WITNESS_MODULES_MAX];
} witness_t;

void witness_init(witness_t *w, const est_params_t *params);

/* After gap_s without readings; 0 when nobody knows how long. */
void witness_rest(witness_t *w, const est_params_t *params, float gap_s);

/* Blocks of one module, after est_results: takes the reading (kpa < 0: none) and joins what it says to soc_frac and sigma_frac. */
void witness_join(witness_t *w, est_bank_t *est, const est_params_t *params, uint32_t module, uint32_t first, uint32_t count, float dt_s,
                  int64_t used_uc, float mean_degc, float kpa);

#endif
