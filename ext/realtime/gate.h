/* Leave to move real hardware. Output lines follow what is wanted only while the gate is armed; arming lasts as long as it was
 * given for, ends when the runner or who asks for the levels stands still, and never comes back by itself. Pure: time comes in as a number.
 *
 * This is a seat belt for a bench, not a safety function: it lives in the same computer as what it watches. */
#ifndef BMS_GATE_H
#define BMS_GATE_H

#include <stdbool.h>

#include "field.h"

#define GATE_STALL_US 100000u /* so long without a step: the host is stalled */

enum { GATE_NEVER_ARMED = 0, GATE_ARMED = 1, GATE_EXPIRED = 2, GATE_STALLED = 3, GATE_DISARMED = 4 };

#define GATE_FIELDS(S, A)                                                                                                        \
    S(u32, state, "enum", "0 never armed, 1 armed, 2 expired, 3 the host stalled, 4 disarmed")                                    \
    S(u32, levels, "bits", "lines as they are driven")                                                                            \
    S(u64, looked_us, "us", "when the levels were last asked for")                                                                \
    S(u64, until_us, "us", "monotonic time at which arming ends")                                                                 \
    S(u64, stalls, "1", "times the outputs were dropped because the host stood still")                                           \
    S(u64, drops, "1", "times lines that were on were switched off by the gate")

FIELD_STRUCT(gate_t, GATE_FIELDS);
extern const field_t gate_fields[];
extern const size_t gate_field_count;

/* Armed until now_us + span_us; a span of 0 disarms. A stalled runner cannot be armed. */
void gate_arm(gate_t *g, uint64_t now_us, uint64_t span_us);
/* Levels to drive now. beat_us: when the runner last stepped. */
uint32_t gate_levels(gate_t *g, uint64_t now_us, uint64_t beat_us, uint32_t wanted);

#endif
