#include "realtime/pace.h"

#include <string.h>

#define FIELD_OWNER pace_t
FIELD_TABLE(pace_fields, PACE_FIELDS);
#undef FIELD_OWNER
const size_t pace_field_count = FIELD_COUNT(pace_fields);

enum { LINEAR = 32, PART = 16 };

static uint32_t bin_of(uint64_t us)
{
    uint32_t doublings = 0;
    while (us >> doublings >= LINEAR) ++doublings;
    if (doublings == 0u) return (uint32_t)us;
    const uint32_t bin = LINEAR + (doublings - 1u) * PART + ((uint32_t)(us >> doublings) - PART);
    return bin < PACE_BINS ? bin : PACE_BINS - 1u;
}

uint64_t pace_bin_us(uint32_t bin)
{
    if (bin < LINEAR) return bin;
    const uint32_t doublings = (bin - LINEAR) / PART + 1u;
    return (uint64_t)(PART + (bin - LINEAR) % PART) << doublings;
}

void pace_start(pace_t *p, uint64_t now_us)
{
    memset(p, 0, sizeof *p);
    p->due_us = now_us + PACE_STEP_US;
}

uint32_t pace_due(pace_t *p, uint64_t now_us)
{
    if (now_us < p->due_us) return 0;
    const uint64_t behind = (now_us - p->due_us) / PACE_STEP_US + 1u;
    if (behind <= PACE_BURST_STEPS) {
        p->caught_up += behind - 1u;
        return (uint32_t)behind;
    }
    const uint64_t lost = behind - PACE_BURST_STEPS;
    p->overruns++;
    p->lost_steps += lost;
    p->due_us += lost * PACE_STEP_US;
    p->caught_up += PACE_BURST_STEPS - 1u;
    return PACE_BURST_STEPS;
}

void pace_step(pace_t *p, uint64_t now_us)
{
    if (p->steps % PACE_TICK_STEPS == 0u) {
        const uint64_t late = now_us > p->due_us ? now_us - p->due_us : 0u;
        p->ticks++;
        p->late_sum_us += late;
        p->late_bin[bin_of(late)]++;
        if (late > p->late_max_us) p->late_max_us = late;
    }
    p->steps++;
    p->due_us += PACE_STEP_US;
}
