#define _GNU_SOURCE
#include "realtime/runner.h"

#include <errno.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>

uint64_t runner_now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

void runner_sleep_until_us(uint64_t when_us)
{
    const struct timespec t = {(time_t)(when_us / 1000000u), (long)(when_us % 1000000u) * 1000};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR) {}
}

/* Pages are locked as they are touched: a page fault is the other way to be late. */
uint32_t runner_ask_for_priority(uint32_t priority)
{
    const struct sched_param wanted = {(int)priority};
    (void)prctl(PR_SET_TIMERSLACK, 1uL, 0uL, 0uL, 0uL);
    if (priority == 0u || sched_setscheduler(0, SCHED_FIFO, &wanted) != 0) return 0;
#ifdef MCL_ONFAULT
    (void)mlockall(MCL_CURRENT | MCL_ONFAULT);
#endif
    return priority;
}

void runner_run(runner_t *r, uint32_t priority, runner_step_t *step, void *self)
{
    r->priority = runner_ask_for_priority(priority);
    pace_start(&r->pace, runner_now_us());
    while (!SHARED_LOAD(r->stop)) {
        runner_sleep_until_us(r->pace.due_us);
        const uint64_t woke_us = runner_now_us();
        const uint32_t due = pace_due(&r->pace, woke_us);
        for (uint32_t k = 0; k < due; ++k) {
            pace_step(&r->pace, k ? runner_now_us() : woke_us);
            SHARED_STORE(r->beat_us, runner_now_us());
            step(self, woke_us);
        }
    }
}
