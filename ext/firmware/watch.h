/* What is watched slowly beside the state of charge: temperatures inside (observer.h), health (health.h) and power (power.h), fed from
 * the firmware's readings, and the memory that keeps health over a reset.
 *
 * Memory: two slots of pages. A page is sequence (2 bytes), CRC-16 of the rest with the page's place in front (2 bytes), and one record
 * of health. A slot counts only with every page good and of one sequence; the newer good one is taken at start. Writing goes to the
 * other slot, so that whatever moment the supply fails one good slot is left. */
#ifndef BMS_WATCH_H
#define BMS_WATCH_H

#include "health.h"
#include "leak.h"
#include "observer.h"
#include "power.h"

#define WATCH_SLOTS 2u
#define WATCH_SLOT_PAGES 64u

enum { WATCH_MEMORY_START, WATCH_MEMORY_FIRST, WATCH_MEMORY_REST, WATCH_MEMORY_IDLE, WATCH_MEMORY_ERASE, WATCH_MEMORY_PROGRAM };

typedef struct {
    uint8_t phase, busy;      /* WATCH_MEMORY_..., an operation is under way */
    uint8_t slot, tried;      /* read or written now; slots that were no good, one bit each */
    uint16_t page, pages;     /* next of the slot; pages of a slot */
    uint16_t sequence;        /* of the newest good slot */
    uint16_t slot_sequence[WATCH_SLOTS];
    uint8_t slot_good[WATCH_SLOTS];
    uint8_t restored, reserved;
    uint32_t written, failed; /* slots; only rise */
    uint64_t saved_us;
    uint64_t asked_us;
} watch_memory_t;

typedef struct {
    obs_bank_t obs;
    obs_hottest_t hottest;
    health_t health;
    power_t power;
    power_limits_t power_limits;
    power_bound_t bound[POWER_SPANS];
    watch_memory_t memory;
    float heat_j[BMS_CELLS_MAX];      /* made in the second under way */
    float before_a[POWER_MODULES_MAX]; /* current when each module was looked at last */
    float weakest_capacity_frac;
    int64_t second_uc;                /* count of charge a second ago */
    uint64_t rest_us;                 /* at rest since; 0: not */
    uint32_t rest_look, power_ready;  /* power_ready: modules, one bit each */
} watch_t;

#endif
