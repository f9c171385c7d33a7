/* What is watched slowly beside the state of charge: temperatures inside (observer.h), health (health.h) and power (power.h), fed from
 * the firmware's readings. */
#ifndef BMS_WATCH_H
#define BMS_WATCH_H

#include "health.h"
#include "leak.h"
#include "observer.h"
#include "power.h"

typedef struct {
    obs_bank_t obs;
    obs_hottest_t hottest;
    health_t health;
    power_t power;
    power_limits_t power_limits;
    power_bound_t bound[POWER_SPANS];
    float heat_j[BMS_CELLS_MAX];      /* made in the second under way */
    float before_a[POWER_MODULES_MAX]; /* current when each module was looked at last */
    float weakest_capacity_frac;
    int64_t second_uc;                /* count of charge a second ago */
    uint64_t rest_us;                 /* at rest since; 0: not */
    uint32_t rest_look, power_ready;  /* power_ready: modules, one bit each */
} watch_t;

#endif
