/* The steps of a firmware as bytes: what it was given and what it answered, each millisecond, so that a run can be fed to it again.
 *
 * Only what changed or happened is written. One step is
 *     u8 STEPS_STEP, u8 mask of the input, u8 mask of the output, input, output
 * and a stream begins anew with a key, after which every level counts as 0:
 *     u8 STEPS_KEY,  u64 number of the step that follows, u64 time of the step before it
 *     u8 STEPS_BOOT, u64 time, u8 reset cause, u8 entropy[16]      the firmware is initialised here
 * Numbers are little-endian. An input is, in the order of its mask's bits,
 *     1 u64 microseconds since the step before, absent: 1000     2 u32 supply, u32 pins, absent: as before
 *     4, 8 u8 count, bytes of serial line 0, 1                   16 u16 framing errors of each line
 *     32 u8 state of each CAN bus, absent: as before             64 u8 count, frames      128 u8 op, u8 status, u16 page, 64 bytes
 * an output
 *     1 u32 pins, u16 heater, u16 pump, absent: as before        2 watchdog kicked        4 reset wanted
 *     8 u32 sleep                                                16, 32 u32 baud, u32 low, u16 count, bytes of line 0, 1
 *     64 u8 count, frames                                        128 as 128 of the input
 * and a frame u32 id, u8 bus, u8 length, u8 flags, data.
 */
#ifndef BMS_STEPS_H
#define BMS_STEPS_H

#include "ecu.h"

enum { STEPS_KEY = 1, STEPS_BOOT = 2, STEPS_STEP = 3 };

#define STEPS_KEY_BYTES 17u
#define STEPS_BOOT_BYTES 26u
#define STEPS_FRAME_MAX 71u
#define STEPS_IN_MAX (8u + 8u + ECU_UART_COUNT * (1u + ECU_UART_IN_MAX + 2u) + ECU_CAN_BUS_COUNT + 1u + ECU_CAN_IN_MAX * STEPS_FRAME_MAX + 68u)
#define STEPS_OUT_MAX (8u + 4u + ECU_UART_COUNT * (10u + ECU_UART_OUT_MAX) + 1u + ECU_CAN_OUT_MAX * STEPS_FRAME_MAX + 68u)
#define STEPS_RECORD_MAX (3u + STEPS_IN_MAX + STEPS_OUT_MAX + STEPS_KEY_BYTES + STEPS_BOOT_BYTES)

/* What the step before left: the levels that are written only when they change. All zero after a key. */
typedef struct {
    uint64_t now_us;
    uint32_t supply_mv, pins_in, pins_out;
    uint16_t heater_pptt, pump_pptt;
    uint8_t can_state[ECU_CAN_BUS_COUNT];
} steps_base_t;

/* Each writes at `to` (room for the MAX above), tells its mask, and returns how many bytes it wrote. Counts beyond their arrays are
 * cut. */
uint32_t steps_put_in(steps_base_t *base, const ecu_in_t *in, uint8_t *mask, uint8_t *to);
uint32_t steps_put_out(steps_base_t *base, const ecu_out_t *out, uint8_t *mask, uint8_t *to);
uint32_t steps_put_key(steps_base_t *base, uint64_t number, uint64_t before_us, uint8_t *to);
uint32_t steps_put_boot(const ecu_boot_t *boot, uint8_t *to);
/* The way back: bytes read, or -1 when they make no sense. What was not written is zero or as before. */
int32_t steps_get_in(steps_base_t *base, uint8_t mask, const uint8_t *from, uint32_t size, ecu_in_t *in);
int32_t steps_get_out(steps_base_t *base, uint8_t mask, const uint8_t *from, uint32_t size, ecu_out_t *out);

#endif
