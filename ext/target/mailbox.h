/* Shared memory between a rig and a microcontroller that runs the firmware: one call of ecu.h at a time.
 *
 * The rig writes `op` and what it needs, then `asked`; the target does it and writes `answered`. Nothing else is shared and no clock
 * takes part, so a run is the same bit for bit however fast either side is. The firmware's state lies in the memory as well: a rig
 * keeps a copy of it after each step and puts it back before the next one where the two differ. So a snapshot, a restore and a bit
 * flipped in the rig's copy act on the target.
 *
 * Who waits polls for some microseconds and then sleeps until the other rings: a byte on a serial line that means nothing else. It
 * rings only when the other says that it sleeps.
 *
 * The target's watchdog runs while a call does. A program that stands still is reset by it; `boots` then counts one more without an
 * answer having come. */
#ifndef BMS_TARGET_MAILBOX_H
#define BMS_TARGET_MAILBOX_H

#include "ecu.h"

#define MAILBOX_READY 0x534D4231u
#define MAILBOX_CONFIG (1u << 20) /* offsets from its start */
#define MAILBOX_STATE (2u << 20)
#define MAILBOX_BYTES (16u << 20) /* the PSRAM of the board */

enum { MAILBOX_BOOT = 1, MAILBOX_STEP = 2, MAILBOX_RESET = 3 /* of the whole chip; never answered */ };

typedef struct {
    volatile uint32_t asked, answered, ready;
    volatile uint32_t boots;  /* times the image began, reset or not */
    volatile uint32_t bites;  /* of these, after its watchdog */
    volatile uint32_t faults; /* times it ran into a fault of the processor, which ends in a bite */
    volatile uint32_t target_sleeps, rig_sleeps;
    uint32_t op;
    int32_t result;
    uint32_t state_size, in_size, out_size, stack_used; /* told by the target when it is ready; the last after every 1 024 steps */
    uint32_t config_size;
    uint32_t bite_pending;
    uint64_t now_us;
    uint8_t entropy[16];
    uint8_t reset_cause, reserved[7];
    ecu_in_t in;
    ecu_out_t out;
} mailbox_t;

#endif
