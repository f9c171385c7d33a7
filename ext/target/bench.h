/* The line between a bench and a board that says what the board's other lines cannot: levels of pins, length and speed of what is
 * sent to the monitor chips, pages of an outer memory, and how far time has gone. Monitor chips and CAN have lines of their own.
 *
 *     to the board      A5 flags n a:2 b:2 [sections]      n: bytes on the chips' line, a, b: characters on the CAN lines, all of them
 *     from the board    5A flags n a:2 b:2 [sections]      sent in this millisecond before this record
 *
 * Sections come in the order of their flags; numbers are little-endian. In lock-step the board takes what the record announces, steps,
 * and answers; free-running it steps on its own clock and takes what has come, a record to it only tells what changed, and the bench
 * takes one record from it a millisecond. A board that sleeps or wants a reset answers no more until it is told the time or booted. */
#ifndef BMS_TARGET_BENCH_H
#define BMS_TARGET_BENCH_H

#include "ecu.h"

enum { BENCH_GO = 0xA5, BENCH_DONE = 0x5A };
enum { BENCH_HEAD = 7, BENCH_RECORD_MAX = 160 };

/* to the board */
enum {
    GO_PINS = 1,   /* supply:4 digital:4 */
    GO_TIME = 2,   /* now:8, else 1 ms more */
    GO_MEMORY = 4, /* op:1 status:1 page:2 data:64 */
    GO_STATES = 8, /* of both CAN controllers, 1 each */
    GO_BOOT = 16   /* cause:1 entropy:16; the firmware starts, and does not step */
};

/* from the board */
enum {
    DONE_PINS = 1,   /* digital:4 heater:2 pump:2 */
    DONE_PULSE = 2,  /* low:4 baud:4 */
    DONE_MEMORY = 4, /* op:1 page:2 data:64 */
    DONE_SLEEP = 8,  /* ms:4 */
    DONE_KICK = 16,
    DONE_RESET = 32,
    DONE_BOOTED = 64 /* result:4 */
};

/* Which serial line of the board is what. */
enum { LINE_CHIPS = 0, LINE_VEHICLE = 1, LINE_BENCH = 2, LINE_SENSOR = 3, LINES = 4 };

/* In front of the configuration in the board's memory. */
#define BENCH_CONFIG (1u << 20)
#define BENCH_MAGIC 0x42454E43u
typedef struct {
    uint32_t magic, size, stretch, reserved; /* stretch: of a millisecond when free-running; 0: lock-step */
} bench_config_t;

static inline uint8_t *put_number(uint8_t *to, uint64_t value, uint32_t bytes)
{
    for (uint32_t k = 0; k < bytes; ++k) *to++ = (uint8_t)(value >> 8u * k);
    return to;
}

static inline uint64_t get_number(const uint8_t **from, uint32_t bytes)
{
    uint64_t value = 0;
    for (uint32_t k = 0; k < bytes; ++k) value |= (uint64_t)(*from)[k] << 8u * k;
    *from += bytes;
    return value;
}

/* Bytes of a record's sections. */
static inline uint32_t go_size(uint32_t flags)
{
    return (flags & GO_PINS ? 8u : 0u) + (flags & GO_TIME ? 8u : 0u) + (flags & GO_MEMORY ? 4u + ECU_NVM_PAGE : 0u) +
           (flags & GO_STATES ? 2u : 0u) + (flags & GO_BOOT ? 17u : 0u);
}

static inline uint32_t done_size(uint32_t flags)
{
    return (flags & DONE_PINS ? 8u : 0u) + (flags & DONE_PULSE ? 8u : 0u) + (flags & DONE_MEMORY ? 3u + ECU_NVM_PAGE : 0u) +
           (flags & DONE_SLEEP ? 4u : 0u) + (flags & DONE_BOOTED ? 4u : 0u);
}

#endif
