/* Balancing: see balance.c. */
#ifndef BMS_BALANCE_H
#define BMS_BALANCE_H

#include <stdint.h>

#ifndef BALANCE_MODULES_MAX
#define BALANCE_MODULES_MAX 32u
#endif

enum { BALANCE_OFF, BALANCE_LOOK, BALANCE_ODD, BALANCE_EVEN };
enum { BALANCE_BY_VOLTAGE = 0, BALANCE_BY_CHARGE = 1 }; /* config.set.balance_strategy */

typedef struct {
    uint8_t phase, active;    /* active: some switch conducts, but for pauses */
    uint8_t running;          /* something is to be bled, looks between included */
    uint8_t round, reserved[4]; /* of ten, 100 ms each; in the first the switches pause */
    uint64_t phase_us;
    uint16_t want[BALANCE_MODULES_MAX]; /* channels above the threshold, one bit each */
} balance_t;

#endif
