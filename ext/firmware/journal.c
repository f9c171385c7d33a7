#include "journal.h"

#include <string.h>

#include "crc.h"
#include "util.h"

enum { AT_SEQUENCE = 0, AT_CRC = 4, AT_RECORD = 8, AT_VERSION = 10 };

static void put_u32_le(uint8_t *to, uint32_t value)
{
    put_u16_le(to, (uint16_t)value);
    put_u16_le(to + 2, (uint16_t)(value >> 16));
}

static uint32_t get_u32_le(const uint8_t *from)
{
    return (uint32_t)from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 | (uint32_t)from[3] << 24;
}

/* Of all but itself: the sequence is put through it as if it came last. */
static uint32_t page_crc(const uint8_t page[ECU_NVM_PAGE])
{
    uint8_t bytes[ECU_NVM_PAGE - 4u];
    memcpy(bytes, page + AT_RECORD, sizeof bytes - 4u);
    memcpy(bytes + sizeof bytes - 4u, page + AT_SEQUENCE, 4u);
    return crc32_ieee(bytes, sizeof bytes);
}

static bool is_newer(uint32_t a, uint32_t b)
{
    return a != b && a - b < 0x80000000u;
}

static uint16_t page_after(const journal_t *j, uint32_t page)
{
    return (uint16_t)(page + 1u < j->pages ? page + 1u : 0u);
}

void journal_init(journal_t *j, uint32_t pages, uint32_t records, uint32_t doubled)
{
    memset(j, 0, sizeof *j);
    j->pages = (uint16_t)(pages < ECU_NVM_PAGES ? pages : ECU_NVM_PAGES);
    j->records = (uint8_t)(records < JOURNAL_RECORDS ? records : JOURNAL_RECORDS);
    j->doubled = (uint8_t)doubled;
    memset(j->owner, (int)JOURNAL_NONE, sizeof j->owner);
    memset(j->place, 0xFF, sizeof j->place);
    j->phase = JOURNAL_SCAN;
}

static uint8_t copies_of(const journal_t *j, uint32_t record)
{
    return record < j->doubled ? 2u : 1u;
}

void journal_mark(journal_t *j, uint32_t record)
{
    j->version[record] = (uint16_t)(j->version[record] + 1u);
    j->todo[record] = copies_of(j, record);
    j->settled = 0u;
}

bool journal_is_idle(const journal_t *j)
{
    if (j->absent != 0u) return true;
    if (j->phase != JOURNAL_IDLE) return false;
    for (uint32_t r = 0; r < j->records; ++r) {
        if (j->todo[r] != 0u) return false;
    }
    return true;
}

/* ---- start: every page is read once ------------------------------------------------------------------------------------------- */

/* The copy a page replaces: a free place, or the older one. A record kept once has only place 0. */
static uint32_t older_place(const journal_t *j, uint32_t record)
{
    if (copies_of(j, record) == 1u || j->place[record][0] == JOURNAL_NO_PAGE) return 0u;
    if (j->place[record][1] == JOURNAL_NO_PAGE) return 1u;
    return is_newer(j->place_sequence[record][0], j->place_sequence[record][1]) ? 1u : 0u;
}

static void own(journal_t *j, uint32_t record, uint32_t place, uint16_t page, uint32_t sequence, uint16_t version)
{
    const uint16_t before = j->place[record][place];
    if (before != JOURNAL_NO_PAGE) j->owner[before] = JOURNAL_NONE;
    j->place[record][place] = page;
    j->place_sequence[record][place] = sequence;
    j->place_version[record][place] = version;
    j->owner[page] = (uint8_t)record;
}

static bool is_erased(const uint8_t page[ECU_NVM_PAGE])
{
    for (uint32_t k = 0; k < ECU_NVM_PAGE; ++k) {
        if (page[k] != 0xFFu) return false;
    }
    return true;
}

static void found(journal_t *j, const uint8_t page[ECU_NVM_PAGE], const journal_calls_t *calls, void *owner)
{
    const uint32_t record = page[AT_RECORD], sequence = get_u32_le(page + AT_SEQUENCE);
    if (j->found == 0u || is_newer(sequence, j->sequence)) {
        j->found = 1u;
        j->sequence = sequence;
        j->newest = j->scanned;
    }
    if (record >= j->records) return; /* of another firmware */
    const uint32_t place = older_place(j, record), other = 1u - place;
    const bool replaces = j->place[record][place] == JOURNAL_NO_PAGE || is_newer(sequence, j->place_sequence[record][place]);
    if (!replaces) return;
    const bool newest = j->place[record][other] == JOURNAL_NO_PAGE || is_newer(sequence, j->place_sequence[record][other]);
    const uint16_t version = (uint16_t)((uint32_t)page[AT_VERSION] | (uint32_t)page[AT_VERSION + 1] << 8);
    own(j, record, place, j->scanned, sequence, version);
    if (!newest) return;
    j->version[record] = version;
    calls->take(owner, record, page + JOURNAL_HEAD);
}

/* A copy that is missing or has older content is written again. What was marked before all was read is newer than what was read. */
static void heal(journal_t *j)
{
    for (uint32_t r = 0; r < j->records; ++r) {
        if (j->todo[r] == 0u) continue;
        journal_mark(j, r);
    }
    for (uint32_t r = 0; r < j->doubled; ++r) {
        for (uint32_t p = 0; p < 2u && journal_has(j, r); ++p) {
            const bool lacks = j->place[r][p] == JOURNAL_NO_PAGE || j->place_version[r][p] != j->version[r];
            if (lacks && j->todo[r] == 0u) j->todo[r] = 1u;
        }
    }
}

static void was_scanned(journal_t *j, const ecu_nvm_t *done, const journal_calls_t *calls, void *owner)
{
    const bool silent = done->op == ECU_NVM_NONE;
    j->bad_in_row = (uint8_t)(silent ? j->bad_in_row + 1u : 0u);
    if (j->bad_in_row >= JOURNAL_TRIES) { /* what cannot be read must not be written over */
        j->absent = 1u;
        j->phase = JOURNAL_IDLE;
        return;
    }
    if (done->status != ECU_NVM_OK) j->unread = (uint16_t)(j->unread + 1u);
    else if (get_u32_le(done->data + AT_CRC) == page_crc(done->data)) found(j, done->data, calls, owner);
    else if (!is_erased(done->data)) j->rotten += 1u;
    j->scanned = (uint16_t)(j->scanned + 1u);
    if (j->scanned < j->pages) return;
    j->head = j->found != 0u ? page_after(j, j->newest) : 0u;
    heal(j);
    j->bad_in_row = 0u;
    j->phase = JOURNAL_IDLE;
}

/* ---- writing -------------------------------------------------------------------------------------------------------------------- */

/* The head is never a live page; false if all are, which cannot be with more pages than copies. */
static bool free_head(journal_t *j)
{
    for (uint32_t k = 0; k < j->pages; ++k) {
        if (j->owner[j->head] == JOURNAL_NONE) return true;
        j->head = page_after(j, j->head);
        j->erased = 0u;
    }
    return false;
}

/* The next live page that the head will come to soon, or JOURNAL_NO_PAGE; `left`: in how many pages. */
static uint16_t page_in_the_way(const journal_t *j, uint32_t *left)
{
    uint16_t page = j->head;
    for (*left = 1u; *left <= JOURNAL_AHEAD; ++*left) {
        page = page_after(j, page);
        if (j->owner[page] != JOURNAL_NONE) return page;
    }
    return (uint16_t)JOURNAL_NO_PAGE;
}

static bool take_marked(journal_t *j, uint32_t first, uint32_t end)
{
    for (uint32_t r = first; r < end; ++r) {
        if (j->todo[r] == 0u) continue;
        j->record = (uint8_t)r;
        j->slot = (uint8_t)older_place(j, r);
        return true;
    }
    return false;
}

/* What is written next: what is kept twice comes first, in the order of its numbers; then the rest; then pages in the way, before
 * anything else once they are near. */
static bool choose(journal_t *j)
{
    uint32_t left;
    const uint16_t in_the_way = page_in_the_way(j, &left);
    if (left > 1u && take_marked(j, 0u, j->doubled)) return true;
    if (left > JOURNAL_KEPT && take_marked(j, j->doubled, j->records)) return true;
    if (in_the_way == JOURNAL_NO_PAGE) return false;
    j->record = j->owner[in_the_way];
    j->slot = (uint8_t)(j->place[j->record][0] == in_the_way ? 0u : 1u);
    j->moved += 1u;
    return true;
}

static void compose(journal_t *j, const journal_calls_t *calls, void *owner)
{
    j->sequence += 1u; /* of each try: no two pages ever have the same */
    memset(j->page, 0, sizeof j->page);
    put_u32_le(j->page + AT_SEQUENCE, j->sequence);
    j->page[AT_RECORD] = j->record;
    j->written_version = j->version[j->record];
    put_u16_le(j->page + AT_VERSION, j->written_version);
    calls->fill(owner, j->record, j->page + JOURNAL_HEAD);
    put_u32_le(j->page + AT_CRC, page_crc(j->page));
}

static void failed(journal_t *j, uint64_t now_us)
{
    j->failures += 1u;
    j->bad_in_row = (uint8_t)min_i32(j->bad_in_row + 1, 200);
    j->head = page_after(j, j->head);
    j->erased = 0u;
    j->phase = JOURNAL_IDLE;
    if (j->bad_in_row % JOURNAL_TRIES != 0u) return;
    j->paused = 1u;
    j->pause_us = now_us;
}

static void committed(journal_t *j)
{
    const uint32_t r = j->record;
    own(j, r, j->slot, j->head, j->sequence, j->written_version);
    if (j->written_version == j->version[r] && j->todo[r] != 0u) j->todo[r] = (uint8_t)(j->todo[r] - 1u);
    j->commits += 1u;
    j->bad_in_row = 0u;
    j->head = page_after(j, j->head);
    j->erased = 0u;
    j->phase = JOURNAL_IDLE;
}

static void was_done(journal_t *j, uint64_t now_us, const ecu_nvm_t *done, const journal_calls_t *calls, void *owner)
{
    const bool good = done->status == ECU_NVM_OK;
    switch (j->phase) {
    case JOURNAL_SCAN: was_scanned(j, done, calls, owner); break;
    case JOURNAL_ERASE:
        j->erased = good;
        j->phase = JOURNAL_IDLE;
        if (!good) failed(j, now_us);
        break;
    case JOURNAL_PROGRAM:
        j->erased = 0u;
        j->phase = JOURNAL_VERIFY;
        if (!good) failed(j, now_us);
        break;
    default:
        if (good && memcmp(done->data, j->page, sizeof j->page) == 0) committed(j);
        else failed(j, now_us);
        break;
    }
}

static void ask(journal_t *j, uint64_t now_us, ecu_nvm_t *want, uint8_t op, uint16_t page)
{
    want->op = j->op = op;
    want->page = j->asked = page;
    if (op == ECU_NVM_PROGRAM) memcpy(want->data, j->page, sizeof j->page);
    else memset(want->data, 0, sizeof want->data); /* no old bytes: outputs are compared in a replay */
    j->busy = 1u;
    j->asked_us = now_us;
}

/* Idle: erases in advance, then writes what there is to write. */
static void begin(journal_t *j, uint64_t now_us, ecu_nvm_t *want, const journal_calls_t *calls, void *owner)
{
    if (j->absent != 0u) return;
    if (j->paused != 0u && elapsed_ms(now_us, j->pause_us) < JOURNAL_PAUSE_MS) return;
    j->paused = 0u;
    if (!free_head(j)) return;
    if (j->erased == 0u) {
        j->phase = JOURNAL_ERASE;
        ask(j, now_us, want, ECU_NVM_ERASE, j->head);
        return;
    }
    if (!choose(j)) {
        j->settled = 1u;
        return;
    }
    compose(j, calls, owner);
    j->phase = JOURNAL_PROGRAM;
    ask(j, now_us, want, ECU_NVM_PROGRAM, j->head);
}

void journal_step(journal_t *j, uint64_t now_us, const ecu_nvm_t *done, ecu_nvm_t *want, const journal_calls_t *calls, void *owner)
{
    if (j->settled != 0u) return;
    if (j->busy != 0u) {
        const bool answered = done->op == j->op && done->page == j->asked;
        const uint32_t patience_ms = j->phase == JOURNAL_SCAN ? JOURNAL_READ_MS : JOURNAL_TIMEOUT_MS;
        if (!answered && elapsed_ms(now_us, j->asked_us) < patience_ms) return;
        j->busy = 0u;
        ecu_nvm_t lost = {0};
        lost.status = ECU_NVM_FAILED;
        was_done(j, now_us, answered ? done : &lost, calls, owner);
    }
    if (j->phase == JOURNAL_SCAN) ask(j, now_us, want, ECU_NVM_READ, j->scanned);
    else if (j->phase == JOURNAL_VERIFY) ask(j, now_us, want, ECU_NVM_READ, j->head);
    else begin(j, now_us, want, calls, owner);
}
