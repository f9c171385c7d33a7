/* State and calls of what holds readings against each other (plausible.c) and looks at wires and switches (selfcheck.c). Sizes are those of
 * bms.h, which includes this. */
#ifndef BMS_PLAUSIBLE_H
#define BMS_PLAUSIBLE_H

#include <stdbool.h>
#include <stdint.h>

struct ecu;

#define MEMORY_SLICE_MS 5u

typedef struct {
    uint64_t so_far, at_start;       /* sum of this round, and as it must be */
    uint32_t word, reserved;         /* next of the round */
} memory_sum_t;

typedef struct {
    memory_sum_t settings, tables;   /* of the configuration */
    uint8_t asked_sleep, stepped, step_known, heater_wanted, pump_wanted, heater_cut, reserved[2];
    uint64_t current_us, heater_us, pump_us, cut_us; /* last frame; last change of a command; heater cut off */
    int32_t current_ma;
    uint32_t current_same;           /* frames in a row with that value */
    uint32_t offset_frames, steps;
    int64_t offset_sum_ma, insulation_mean_kohm;
    float precharge_j;               /* heat in the precharge resistor */
    int32_t step_ma;
    int32_t last_uv[BMS_CELLS_MAX];  /* of the last scan */
    uint32_t same[BMS_CELLS_MAX];    /* scans in a row in which a channel read the same code */
    float step_sum[BMS_CELLS_MAX];   /* of di dv over steps, fading */
    int64_t module_sum_uv[BMS_MODULES_MAX];
    int32_t module_apart_uv[BMS_MODULES_MAX]; /* sum less the module, mean of several */
    int32_t pressure_kpa[BMS_MODULES_MAX];
    uint16_t pressure_same[BMS_MODULES_MAX];
} plausible_t;

enum { SELFCHECK_IDLE = 0 };

/* selfcheck.c: the module under test, and what the tests of each module found. */
typedef struct {
    uint8_t phase, chip, scans, is_whole;
    int32_t base_ma;                 /* current when it was calm last */
    uint32_t calm_scans;             /* since then */
    uint64_t due_us, again_us;       /* next test; not before */
    int32_t base_uv[BMS_CHANNELS_MAX];
    int16_t open_at, stuck_at;       /* of this test; -1: none */
    int16_t open_block[BMS_MODULES_MAX], stuck_block[BMS_MODULES_MAX];
    uint8_t open_tests[BMS_MODULES_MAX], stuck_tests[BMS_MODULES_MAX]; /* in a row that found something */
} selfcheck_t;

/* plausible.c. Each is called when its readings are new. */
void plausible_init(struct ecu *self);
void plausible_memory(struct ecu *self); /* every MEMORY_SLICE_MS */
bool plausible_is_whole(const struct ecu *self); /* the configuration is what it was at the start */
void plausible_time(struct ecu *self, uint64_t now_us); /* every step, before the time is taken */
void plausible_current(struct ecu *self);
void plausible_pack(struct ecu *self);
void plausible_link(struct ecu *self);
void plausible_scan(struct ecu *self);
void plausible_pressures(struct ecu *self);
void plausible_insulation(struct ecu *self, int32_t ohm_per_v);
void plausible_tick(struct ecu *self);   /* every 10 ms */

/* selfcheck.c: pulls each module with its own balancing switches for a few scans, in turn. */
void selfcheck_scan(struct ecu *self);
uint32_t selfcheck_mask(const struct ecu *self); /* channels of the module under test to pull now, one bit each */

#endif
