/* The one thread that owns a real-time process: it sleeps to absolute times, steps, and beats. It never takes a lock and never
 * calls Python; whatever else lives in the process meets it through words that are read and written whole (SHARED below). */
#ifndef BMS_RUNNER_H
#define BMS_RUNNER_H

#include "realtime/pace.h"

typedef struct {
    pace_t pace;
    uint32_t priority;   /* real-time priority it was given; 0: refused, an ordinary thread */
    uint32_t stop;       /* SHARED: set to end */
    uint64_t beat_us;    /* SHARED: when it last stepped; 0 before the first */
    uint32_t lines_in;   /* SHARED: levels of the input lines, written by the thread of the lines */
    uint32_t lines_out;  /* SHARED: levels wanted on the output lines */
} runner_t;

#define SHARED_LOAD(word) __atomic_load_n(&(word), __ATOMIC_ACQUIRE)
#define SHARED_STORE(word, value) __atomic_store_n(&(word), (value), __ATOMIC_RELEASE)

typedef void runner_step_t(void *self, uint64_t now_us);

uint64_t runner_now_us(void); /* CLOCK_MONOTONIC */
void runner_sleep_until_us(uint64_t when_us);
/* Asks for real-time priority for the calling thread; what it got, 0 for none. */
uint32_t runner_ask_for_priority(uint32_t priority);
/* Until stop is set; priority 0 asks for none. now_us of a step is the wall's, the same for steps that run back to back. */
void runner_run(runner_t *r, uint32_t priority, runner_step_t *step, void *self);

#endif
