/* Blocks that lose charge, seen from rest to rest: between two rests at about the same state of charge the count says what went through
 * the pack, the voltages say what is left. A block that has lost more than the others, bleeding accounted for, leaks. Works with a flat
 * OCV too, whenever the pack is brought to where the OCV is steep: full, or empty. Two marks, one in either half. Stands alone. */
#ifndef BMS_DRAIN_H
#define BMS_DRAIN_H

#include <stdbool.h>

#include "estimator.h"

#define DRAIN_MARKS 2u

typedef struct {
    float mark_s[DRAIN_MARKS]; /* when each was set; 0: not */
    float worst_a;             /* what the worst block surely loses; of the last look */
    uint32_t worst, looks;
    float mark_z[DRAIN_MARKS][EST_BLOCKS_MAX], mark_count[DRAIN_MARKS][EST_BLOCKS_MAX];
} drain_t;

/* A rest: what voltages say (z), the count of each block (its bleeding included), both as state of charge. now_s rises, from above 0.
 * Returns whether there was anything to compare with. */
bool drain_look(drain_t *drain, const est_params_t *params, uint32_t count, const float *z, const float *counted, float now_s);

#endif
