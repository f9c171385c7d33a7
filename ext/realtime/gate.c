#include "realtime/gate.h"

#define FIELD_OWNER gate_t
FIELD_TABLE(gate_fields, GATE_FIELDS);
#undef FIELD_OWNER
const size_t gate_field_count = FIELD_COUNT(gate_fields);

void gate_arm(gate_t *g, uint64_t now_us, uint64_t span_us)
{
    g->until_us = now_us + span_us;
    g->looked_us = now_us;
    g->state = span_us ? GATE_ARMED : GATE_DISARMED;
}

uint32_t gate_levels(gate_t *g, uint64_t now_us, uint64_t beat_us, uint32_t wanted)
{
    const uint32_t before = g->levels;
    if (g->state == GATE_ARMED && now_us >= g->until_us) g->state = GATE_EXPIRED;
    const bool runner_stood = now_us > beat_us && now_us - beat_us > GATE_STALL_US, we_stood = now_us - g->looked_us > GATE_STALL_US;
    g->looked_us = now_us;
    if (g->state == GATE_ARMED && (runner_stood || we_stood)) {
        g->state = GATE_STALLED;
        g->stalls++;
    }
    g->levels = g->state == GATE_ARMED ? wanted : 0u;
    if (before && g->state != GATE_ARMED) g->drops++;
    return g->levels;
}
