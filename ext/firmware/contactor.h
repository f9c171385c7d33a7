/* States of the firmware and what its state machine remembers: contactor.c. */
#ifndef BMS_CONTACTOR_H
#define BMS_CONTACTOR_H

#include <stdbool.h>
#include <stdint.h>

enum {
    STATE_INIT = 0, STATE_SELFTEST = 1, STATE_STANDBY = 2, STATE_PRECHARGE = 3, STATE_NORMAL_DRIVE = 4, STATE_NORMAL_CHARGE = 5,
    STATE_OPENING = 6, STATE_ERROR = 7, STATE_LATCHED = 8, STATE_ASSERTED = 9, STATE_REFUSED = 10, STATE_BALANCING = 11,
    STATE_SERVICE = 12, STATE_SLEEP = 13, STATE_COUNT = 14
};

/* Nothing is done any more; nothing is closed, and a trip has nothing to open. */
static inline bool state_is_dead(uint8_t state)
{
    return state == STATE_ASSERTED || state == STATE_REFUSED || state >= STATE_COUNT;
}
static inline bool state_is_open(uint8_t state)
{
    return state == STATE_ERROR || state == STATE_LATCHED || state == STATE_SLEEP || state_is_dead(state);
}

/* Parts of the self-test: bits of contactor_t.tests. */
enum {
    TEST_MEMORY = 1, TEST_CONFIGURATION = 2, TEST_CHIPS = 4, TEST_COMPARATOR = 8, TEST_FEEDBACK = 16, TEST_STORE = 32, TEST_READINGS = 64,
    TEST_ALL = 127
};
#define CONTACTOR_PATTERN_WORDS 8u

typedef struct {
    uint8_t state, step;      /* STATE_..., and the place within it */
    uint8_t coils;            /* PIN_OUT_... commanded now */
    uint8_t request_was;      /* request the contactors were last opened under: closing needs standby in between */
    uint8_t fuse, link_rose;  /* link_rose: with main minus alone */
    uint8_t mode, moved;      /* mode closed for; the state has changed in this step */
    uint8_t state_not, coils_not; /* complements: a flipped bit shows */
    uint8_t tests, test_failed; /* TEST_... passed; contactors that did not follow in service, one bit each */
    uint32_t changes;         /* of the state; only rises */
    uint32_t pattern[CONTACTOR_PATTERN_WORDS]; /* for the memory test */
    uint64_t state_us, step_us;
    uint64_t opened_us;       /* standby since, balancing not counted */
    uint64_t coil_us[3];      /* when each coil changed: main plus, main minus, precharge */
    int32_t link_before_mv;
    int32_t link_last_mv, link_step_mv; /* while it is charged: the last reading, and what it moved by */
    uint32_t link_seen;
    uint32_t pin_seq, pin_high; /* comparator: the last reading before it rose */
    uint64_t pin_us;
} contactor_t;

#endif
