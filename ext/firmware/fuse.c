/* What contactors cannot break, the fuse must. While the current is known to be more than they can, the fuse is fired and the coils
 * stay until it has fallen, for fuse_wait_ms at most.
 *
 * The comparator's pin is quicker than the current sensor, whose readings are means over its period: when the pin rises, the last
 * reading is of before the short, and the next one is of both. The second one after the pin is the first that shows the current
 * whole. Until it is there nobody knows what would be opened into, so the coils stay, for LOOK_MS at most: a sensor that is silent
 * does not keep the path closed. A pin that is low says that the comparator's threshold is not reached, which contactors can break. */
#include "bms.h"
#include "util.h"

#define FRESH_MS 50u
#define LOOK_READINGS 2u
#define LOOK_MS 30u /* three periods of the current sensor */

bool current_is_beyond(const bms_t *self, int32_t ma)
{
    const int32_t most = min_i32(ma, self->config.set.current_range_ma - 1); /* a clipped reading is beyond everything */
    return sensor_fresh(self, &self->sensor.current_ma, FRESH_MS) && abs_i32(self->sensor.current_ma.value) > most;
}

/* Every step, after the frames: when the comparator rose, and after which reading. */
void fuse_step(bms_t *self)
{
    contactor_t *const c = &self->contactor;
    const bool high = (self->pins & PIN_IN_OVERCURRENT) != 0u;
    if (high && c->pin_high == 0u) {
        c->pin_us = self->now_us;
        c->pin_seq = self->sensor.current_ma.seq;
    }
    c->pin_high = high;
}

static bool is_looked_at(const bms_t *self)
{
    const contactor_t *const c = &self->contactor;
    const bool seen = self->sensor.current_ma.seq - c->pin_seq >= LOOK_READINGS;
    return c->pin_high != 0u && !seen && elapsed_ms(self->now_us, c->pin_us) < LOOK_MS;
}

/* True while coils must stay on. Fires the fuse when that is because of a current that is known. */
bool fuse_holds(bms_t *self)
{
    contactor_t *const c = &self->contactor;
    if (c->coils == 0u) return false;
    if (!current_is_beyond(self, self->config.set.break_current_ma)) return is_looked_at(self);
    c->fuse = 1u;
    return true;
}

/* The same, bounded: since when there was reason to open. */
bool fuse_is_awaited(bms_t *self, uint64_t since_us)
{
    return fuse_holds(self) && elapsed_ms(self->now_us, since_us) < self->config.set.fuse_wait_ms;
}
