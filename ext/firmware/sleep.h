/* Sleep: a parked pack that goes on being watched and does not empty the 12 V battery.
 *
 * With the ignition off, nobody asking on the vehicle bus, the contactors open, balancing over and everything kept, the firmware puts the
 * monitor chips to sleep and asks to be left alone (ecu_out_t.sleep_ms). A pin or a frame wakes it for good. The end of the time wakes it
 * for a look: self-test, LOOK_SECONDS seconds of readings for the soft-short detector (leak.h), and to sleep again, without a frame on the
 * bus. A leak that is sure keeps it awake, so that it is told.
 *
 * Clock. Inside the firmware time stands still while it sleeps, so nothing ages and no timer ends by it. How long it slept is a reading
 * like any other: believed when the rig's clock came forward by what was asked for, or by less. Anything else (a clock that was set,
 * stood still, or began anew with a reset) is not known, and then the time before says nothing about the time after: the detector keeps
 * its leaks and forgets where the charges stood. It is never taken for a rest.
 *
 * 12 V. What the control unit takes is counted while the contactors are open, awake and asleep, by the currents of the configuration.
 * Beyond the budget it looks once a day only.
 *
 * Memory. Rests, counts and the most suspect blocks are kept before every sleep and taken up again after a reset. */
#ifndef BMS_SLEEP_H
#define BMS_SLEEP_H

#include <stdbool.h>
#include <stdint.h>

#define SLEEP_SUSPECTS 5u /* ten bytes each in one record */

enum { SLEEP_AWAKE, SLEEP_TELLS, SLEEP_KEEPS, SLEEP_CHIPS, SLEEP_DOWN };

typedef struct {
    uint8_t phase;            /* SLEEP_AWAKE ... */
    uint8_t looks;            /* woken by the time: for a look, without a word on the bus */
    uint8_t restored, reserved[3]; /* restored: memory was looked at */
    uint8_t told_trip, told_leak; /* what was concluded when it went down: news keep it awake */
    uint32_t asked_ms;
    uint32_t seconds;         /* of readings in this look */
    uint32_t pins;            /* when it went down */
    uint32_t windows_before;  /* of the detector, when this look's was closed */
    float gap_s;              /* known time asleep, for the filters, within the first second after it */
    float est_gap_s;          /* for the estimator, with its first pass */
    float leak_gap_s;         /* the same for the detector, which takes it with the last reading of a look */
    uint64_t offset_us;       /* clock of the rig less ours */
    uint64_t down_us;         /* clock of the rig when it went down */
    uint64_t busy_us;         /* when something kept it awake last */
    uint64_t phase_us;
    uint64_t rested_ms;       /* asleep in all, where known; kept */
    uint64_t standby_uc;      /* charge taken from the 12 V supply since the contactors were closed last; kept */
    uint32_t wakes, unknown_gaps; /* only rise; kept */
} sleep_t;

#endif
