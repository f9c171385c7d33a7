/* Coulomb counting in integers: one milliampere for one millisecond is one microcoulomb, so nothing is ever rounded away. */
#include "bms.h"
#include "util.h"

#define GAP_US 100000u /* longer without a reading: the charge in between is a guess, and the interval says so */

void charge_take(bms_t *self, int32_t current_ma)
{
    charge_t *const q = &self->charge;
    if (q->started == 0u) {
        q->started = 1u;
        q->last_us = self->now_us;
            return;
    }
    const uint64_t span_us = self->now_us - q->last_us;
    const uint64_t dt_us = span_us > 3600000000u ? 3600000000u : span_us;
    const int64_t moved = (int64_t)current_ma * (int64_t)dt_us + q->carry; /* a reading is the mean since the one before; uC / 1000 */
    const int64_t moved_uc = moved / 1000;
    q->carry = moved - moved_uc * 1000;
    q->used_uc += moved_uc;
    if (moved_uc > 0) q->out_uc += (uint64_t)moved_uc;
    else q->in_uc += (uint64_t)-moved_uc;
    if (dt_us > GAP_US) self->est.widen_frac += abs_f32((float)moved_uc) * self->config.est.per_uc;
    q->last_us = self->now_us;
}
