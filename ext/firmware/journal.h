/* Small records that survive a reset or a loss of supply at any moment: a log over all pages of non-volatile memory.
 *
 *   page      sequence u32 | crc32 of the rest of the page u32 | record u8 | 0 u8 | version u16 | 52 bytes of the record
 *
 * Theorem. Whatever byte of whatever operation the supply is lost at, every record read afterwards is the last one that was
 * committed or the one that was being committed; no record is lost, none goes back. It holds because
 *   - a page is erased only while it is nobody's: the newest good copies of all records are `live`, and the head of the log steps
 *     over live pages;
 *   - a page counts only with its CRC, and a record's page becomes its newest copy only after it was read back and compared;
 *   - of a record's pages the highest sequence wins, no two pages have the same, and whatever is written anew is the present
 *     content, never an old copy.
 *
 * Records below `doubled` are kept twice, so that a page that rots takes nothing with it. The log goes round through all pages: before
 * the head comes to a live page its record is written anew, so pages wear evenly. A write is erase (done in advance when nothing is to
 * do), program, read back; a page that does not hold what was written is passed over, and after JOURNAL_TRIES of them the journal
 * rests for JOURNAL_PAUSE_MS and says so.
 *
 * The journal holds no content: `fill` is asked for a record when it is written, `take` is given each good copy as the log is read
 * at start, older ones before newer ones of the same record. */
#ifndef BMS_JOURNAL_H
#define BMS_JOURNAL_H

#include "ecu.h"

#define JOURNAL_HEAD 12u
#define JOURNAL_BYTES (ECU_NVM_PAGE - JOURNAL_HEAD)
#define JOURNAL_RECORDS 84u  /* numbers of records are below */
#define JOURNAL_AHEAD 16u    /* pages before the head that are kept free when nothing is to be written */
#define JOURNAL_KEPT 8u      /* of these, for records that are kept twice */
#define JOURNAL_TRIES 8u
#define JOURNAL_PAUSE_MS 1000u
#define JOURNAL_TIMEOUT_MS 500u
#define JOURNAL_READ_MS 20u  /* the same of a page read at start; JOURNAL_TRIES of them in a row, and there is no memory */
#define JOURNAL_NONE 0xFFu   /* no record */
#define JOURNAL_NO_PAGE 0xFFFFu

enum { JOURNAL_SCAN, JOURNAL_IDLE, JOURNAL_ERASE, JOURNAL_PROGRAM, JOURNAL_VERIFY };

typedef struct {
    void (*fill)(void *owner, uint32_t record, uint8_t bytes[JOURNAL_BYTES]);
    void (*take)(void *owner, uint32_t record, const uint8_t bytes[JOURNAL_BYTES]);
} journal_calls_t;

typedef struct {
    uint32_t sequence;                      /* of the newest page */
    uint32_t place_sequence[JOURNAL_RECORDS][2];
    uint16_t place[JOURNAL_RECORDS][2];     /* pages of a record's copies, or JOURNAL_NO_PAGE */
    uint16_t version[JOURNAL_RECORDS];      /* of the content; both copies are to have it */
    uint16_t place_version[JOURNAL_RECORDS][2];
    uint8_t todo[JOURNAL_RECORDS];          /* copies still to be written */
    uint8_t owner[ECU_NVM_PAGES];           /* live record of a page, or JOURNAL_NONE */
    uint8_t page[ECU_NVM_PAGE];             /* what is being written */
    uint8_t phase, busy, op;                /* an operation is under way, and which */
    uint8_t record, slot;                   /* being written, and the copy it replaces */
    uint8_t erased, bad_in_row, paused, absent; /* the head is erased already; memory does not answer: nothing is written */
    uint8_t settled, spare[7];              /* settled: there is nothing to do until a record is marked */
    uint16_t pages, head, asked;            /* pages in all; page written next; page of the operation under way */
    uint16_t scanned, newest;               /* pages read so far at start; newest page found */
    uint8_t doubled, records, found;        /* records kept twice; all; any page was good */
    uint16_t unread, written_version, reserved; /* pages that cannot be read */
    uint64_t asked_us, pause_us;
    uint32_t commits, failures, rotten, moved; /* only rise; rotten: pages neither good nor erased, at start */
} journal_t;

/* pages: of which the log is made, from the first; more than twice the copies there are, so that it moves easily. */
void journal_init(journal_t *j, uint32_t pages, uint32_t records, uint32_t doubled);
/* The record has new content. */
void journal_mark(journal_t *j, uint32_t record);
/* Every step: one operation at a time. */
void journal_step(journal_t *j, uint64_t now_us, const ecu_nvm_t *done, ecu_nvm_t *want, const journal_calls_t *calls, void *owner);
static inline bool journal_is_read(const journal_t *j)
{
    return j->phase != JOURNAL_SCAN;
}
static inline bool journal_has(const journal_t *j, uint32_t record)
{
    return j->place[record][0] != JOURNAL_NO_PAGE || j->place[record][1] != JOURNAL_NO_PAGE;
}
static inline bool journal_fails(const journal_t *j)
{
    return j->absent != 0u || j->bad_in_row >= JOURNAL_TRIES;
}
/* Everything that was marked is in memory, and nothing is under way. */
bool journal_is_idle(const journal_t *j);

#endif
