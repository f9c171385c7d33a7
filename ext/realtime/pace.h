/* Keeping step with a clock: which milliseconds are due, how late each tick was, and what happens when the host was away.
 *
 * A step is 1 ms, a tick ten of them. A late step is never skipped: all that are due run back to back, up to ten ticks. A longer
 * absence is an overrun: it is counted, what lies further back is given up (the simulated clock then stands still for it), and
 * the schedule goes on from there. Nothing here reads a clock or sleeps, so it is tested with made-up times. */
#ifndef BMS_PACE_H
#define BMS_PACE_H

#include "field.h"

#define PACE_STEP_US 1000u
#define PACE_TICK_STEPS 10u
#define PACE_BURST_STEPS 100u /* ten ticks */
#define PACE_BINS 288u        /* 0 to 31 us one by one, then sixteen a doubling, to 2 s */

#define PACE_FIELDS(S, A)                                                                                                        \
    S(u64, due_us, "us", "monotonic time at which the next step is due")                                                          \
    S(u64, steps, "1", "milliseconds stepped")                                                                                    \
    S(u64, ticks, "1", "ticks of 10 ms begun")                                                                                    \
    S(u64, caught_up, "1", "steps that ran back to back after another because they were late")                                   \
    S(u64, overruns, "1", "absences of more than ten ticks")                                                                      \
    S(u64, lost_steps, "1", "steps given up by overruns")                                                                         \
    S(u64, late_max_us, "us", "worst lateness of a tick")                                                                         \
    S(u64, late_sum_us, "us", "sum of the lateness of all ticks")                                                                 \
    A(u64, late_bin, PACE_BINS, "1", "ticks in each bin of lateness; bin k begins at pace_bin_us(k)")

FIELD_STRUCT(pace_t, PACE_FIELDS);
extern const field_t pace_fields[];
extern const size_t pace_field_count;

void pace_start(pace_t *p, uint64_t now_us);
/* Steps to run now, 0 to PACE_BURST_STEPS. */
uint32_t pace_due(pace_t *p, uint64_t now_us);
/* A step begins at now_us. */
void pace_step(pace_t *p, uint64_t now_us);
/* Lower edge of a bin. */
uint64_t pace_bin_us(uint32_t bin);

#endif
