/* Shared memory between a rig and a microcontroller that runs the firmware: one call of ecu.h at a time.
 *
 * The rig writes `op` and what it needs, then `asked`; the target does it and writes `answered`. Nothing else is shared and no clock
 * takes part, so a run is the same bit for bit however fast either side is. The firmware's state lies in the memory as well: a rig
 * can look at it, compare it and flip its bits. */
#ifndef BMS_TARGET_MAILBOX_H
#define BMS_TARGET_MAILBOX_H

#include "ecu.h"

#define MAILBOX_READY 0x534D4231u
#define MAILBOX_CONFIG (1u << 20) /* offsets from its start */
#define MAILBOX_STATE (2u << 20)
#define MAILBOX_BYTES (16u << 20) /* the PSRAM of the board */

enum { MAILBOX_BOOT = 1, MAILBOX_STEP = 2 };

typedef struct {
    volatile uint32_t asked, answered, ready;
    uint32_t op;
    int32_t result;
    uint32_t state_size, in_size, out_size, stack_used; /* told by the target when it is ready; the last after every step */
    uint32_t config_size;
    uint64_t now_us;
    uint8_t entropy[16];
    uint8_t reset_cause, reserved[7];
    ecu_in_t in;
    ecu_out_t out;
} mailbox_t;

#endif
