/* What outlives a reset, as records of the journal (journal.h), and the trouble codes a workshop reads.
 *
 *   kept twice   identity (hash of the configuration), status of every trouble code with its latch, counters, security (failed
 *                tries), values a workshop writes, freeze frames, and two records for whoever has a use for them
 *   kept once    state of charge (26 blocks a record), health (8 blocks a record)
 *
 * A latched diagnosis is latched again as soon as memory is read, before the self-test may end. State of charge and health are of no
 * use to another configuration and are dropped when its hash is another. */
#ifndef BMS_STORE_H
#define BMS_STORE_H

#include "diagnoses.h"
#include "health.h"
#include "journal.h"

#define STORE_BYTES JOURNAL_BYTES
#define STORE_SOC_BLOCKS 26u
#define STORE_FRAMES 8u
#define STORE_CODES (2u * STORE_BYTES) /* trouble codes that fit */

enum {
    STORE_CODES_0, STORE_CODES_1, STORE_IDENTITY, STORE_COUNTS, STORE_SECURITY, STORE_KEEP, STORE_FRESHNESS, STORE_REST, STORE_USER,
    STORE_FRAME_0,
    STORE_DOUBLED = STORE_FRAME_0 + STORE_FRAMES,
    STORE_SOC_0 = STORE_DOUBLED,
    STORE_HEALTH_0 = STORE_SOC_0 + 16,
    STORE_RECORDS = STORE_HEALTH_0 + 50
};

/* Status of a trouble code as ISO 14229-1 counts its bits. In memory bit 0 says that the diagnosis is latched. */
enum {
    CODE_FAILED = 0x01, CODE_FAILED_THIS_CYCLE = 0x02, CODE_PENDING = 0x04, CODE_CONFIRMED = 0x08, CODE_INCOMPLETE_SINCE_CLEAR = 0x10,
    CODE_FAILED_SINCE_CLEAR = 0x20, CODE_INCOMPLETE_THIS_CYCLE = 0x40, CODE_WARNING = 0x80
};

typedef struct {
    uint32_t boots, improper; /* improper: found closed at start */
    uint32_t watchdog_resets, closes, trips;
    uint32_t is_closed;       /* contactors are closed: still so at start means that nobody opened them in order */
    uint32_t life_s, closed_s;
    uint32_t out_mah, in_mah;
    uint32_t write_failures, clears, reserved;
} store_counts_t;

/* What was so when a trouble code came up. */
typedef struct {
    uint8_t id, tier, state, reset_cause; /* id 0: no frame */
    uint32_t number;                      /* of the occurrence */
    uint32_t life_s, uptime_ms;
    int32_t value, place;
    int32_t current_ma, pack_mv, link_mv, insulation_kohm; /* BMS_UNKNOWN */
    uint16_t cell_min_mv, cell_max_mv;                     /* 65535: unknown */
    int16_t temperature_min_ddegc, temperature_max_ddegc;  /* -32768: unknown */
    uint16_t soc_cpct, pressure_max_kpa;                   /* 65535: unknown */
} store_frame_t;

typedef struct {
    journal_t journal;
    uint8_t image[STORE_FRAME_0][STORE_BYTES]; /* small records as they are in memory */
    store_counts_t counts;
    store_frame_t frame[STORE_FRAMES];
    uint8_t code[DIAG_COUNT];      /* status */
    uint16_t soc_cpct[BMS_CELLS_MAX]; /* 14 bits; above them how sure, 3: unknown */
    uint32_t early;                /* records that were put before memory was read, one bit each */
    uint32_t frames;               /* number of the last freeze frame */
    uint8_t is_read, restored, busy_codes, was_closed; /* restored: health was found */
    uint8_t was_tripped, health_saving, soc_clean, found_closed; /* found_closed: at start, by the record of before */
    uint32_t health_saves;         /* only rises */
    uint64_t second_us, health_us, counts_us, soc_us;
    uint32_t before_out_mah, before_in_mah, before_failures, more; /* counts at start */
} store_t;

#endif
