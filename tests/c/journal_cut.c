/* The journal against losses of supply, silent failures and rot. Prints one line of counts; exit code 1 and a line that says what
 * happened at the first record that went back, was lost or was never written.
 *
 *   journal_cut single OPERATIONS SEED    a cut at every byte of every operation of a history
 *   journal_cut double CUTS SEED          a cut, a start, more writing, a second cut
 *   journal_cut silent WRITES SEED        operations that do nothing, half, or say they failed
 *   journal_cut rot ROUNDS SEED           a page of a quiet memory rots
 *   journal_cut wear WRITES SEED          how often each page is erased */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "journal.h"

enum { PAGES = 128, RECORDS = 40, DOUBLED = 8, STEPS_MAX = 200000 };

typedef struct {
    uint8_t flash[ECU_NVM_PAGES * ECU_NVM_PAGE];
    journal_t journal;
    ecu_nvm_t op; /* under way */
    uint64_t now_us;
    uint32_t latest[RECORDS];   /* put last */
    uint32_t floor[RECORDS];    /* committed, or seen after a start */
    uint32_t taken[RECORDS];    /* given at start */
    uint32_t commits;
    uint32_t erases[ECU_NVM_PAGES];
} rig_t;

static uint64_t chance;

static uint32_t draw(uint32_t below)
{
    chance = chance * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((chance >> 33) % below);
}

static void die(const char *what, uint32_t record, uint32_t value, uint32_t low, uint32_t high)
{
    printf("record %u: %s: %u, not in %u to %u\n", record, what, value, low, high);
    exit(1);
}

/* A record's bytes follow from its value, so that a mix of two is seen. */
static void content(uint32_t record, uint32_t value, uint8_t bytes[JOURNAL_BYTES])
{
    uint32_t x = value * 2654435761u + record;
    memcpy(bytes, &value, 4);
    for (uint32_t k = 4; k < JOURNAL_BYTES; ++k) {
        x = x * 1664525u + 1013904223u;
        bytes[k] = (uint8_t)(x >> 24);
    }
}

static void fill(void *owner, uint32_t record, uint8_t bytes[JOURNAL_BYTES])
{
    content(record, ((rig_t *)owner)->latest[record], bytes);
}

static void take(void *owner, uint32_t record, const uint8_t bytes[JOURNAL_BYTES])
{
    rig_t *const rig = owner;
    uint8_t whole[JOURNAL_BYTES];
    uint32_t value;
    memcpy(&value, bytes, 4);
    content(record, value, whole);
    if (memcmp(whole, bytes, sizeof whole) != 0) die("mixed", record, value, 0, 0);
    rig->taken[record] = value;
}

static const journal_calls_t CALLS = {fill, take};

static void put(rig_t *rig, uint32_t record)
{
    rig->latest[record] += 1u;
    journal_mark(&rig->journal, record);
}

/* The operation up to byte `bytes`, and that one in part. */
static void operate(rig_t *rig, ecu_nvm_t *op, uint32_t bytes)
{
    uint8_t *const page = rig->flash + (size_t)op->page * ECU_NVM_PAGE;
    op->status = ECU_NVM_OK;
    if (op->op == ECU_NVM_READ) {
        memcpy(op->data, page, ECU_NVM_PAGE);
        return;
    }
    if (op->op == ECU_NVM_ERASE && bytes == ECU_NVM_PAGE) rig->erases[op->page] += 1u;
    for (uint32_t k = 0; k < bytes; ++k) page[k] = op->op == ECU_NVM_ERASE ? 0xFFu : (uint8_t)(page[k] & op->data[k]);
    if (bytes >= ECU_NVM_PAGE) return;
    const uint8_t some = (uint8_t)draw(256);
    if (op->op == ECU_NVM_ERASE) page[bytes] |= some;
    else page[bytes] &= (uint8_t)(op->data[bytes] | some);
}

static void look_at_commits(rig_t *rig)
{
    if (rig->journal.commits == rig->commits) return;
    rig->commits = rig->journal.commits;
    const uint32_t record = rig->journal.page[8];
    uint32_t value;
    memcpy(&value, rig->journal.page + JOURNAL_HEAD, 4);
    if (value < rig->floor[record]) die("committed an older one", record, value, rig->floor[record], rig->latest[record]);
    rig->floor[record] = value;
}

/* One step; the operation asked for before is done first. */
static void step(rig_t *rig)
{
    ecu_nvm_t done = rig->op;
    rig->now_us += 1000u;
    rig->op.op = ECU_NVM_NONE;
    journal_step(&rig->journal, rig->now_us, &done, &rig->op, &CALLS, rig);
    look_at_commits(rig);
}

static void start(rig_t *rig)
{
    memset(rig->taken, 0, sizeof rig->taken);
    rig->op.op = ECU_NVM_NONE;
    rig->commits = 0u;
    journal_init(&rig->journal, PAGES, RECORDS, DOUBLED);
    for (uint32_t k = 0; !journal_is_read(&rig->journal); ++k) {
        if (k > 1000u) die("never read", 0, k, 0, 1000);
        if (rig->op.op != ECU_NVM_NONE) operate(rig, &rig->op, ECU_NVM_PAGE);
        step(rig);
    }
}

/* What was read is what was committed, or what was being committed; from here on it does not go back. */
static void judge(rig_t *rig)
{
    for (uint32_t r = 0; r < RECORDS; ++r) {
        const uint32_t value = rig->taken[r];
        if (value < rig->floor[r] || value > rig->latest[r]) die("went back or ahead", r, value, rig->floor[r], rig->latest[r]);
        rig->floor[r] = rig->latest[r] = value;
    }
}

static void some_puts(rig_t *rig)
{
    if (draw(12) == 0u) put(rig, draw(draw(3) == 0u ? DOUBLED : RECORDS));
}

static void whole_step(rig_t *rig)
{
    if (rig->op.op != ECU_NVM_NONE) operate(rig, &rig->op, ECU_NVM_PAGE);
    step(rig);
}

static void settle(rig_t *rig)
{
    for (uint32_t k = 0; !journal_is_idle(&rig->journal); ++k) {
        if (k > STEPS_MAX) die("never at rest", 0, k, 0, STEPS_MAX);
        whole_step(rig);
    }
}

static rig_t rig, cut;

static void begin(void)
{
    memset(rig.flash, 0xFF, sizeof rig.flash);
    start(&rig);
}

static void age(uint32_t steps)
{
    for (uint32_t k = 0; k < steps; ++k) {
        some_puts(&rig);
        whole_step(&rig);
    }
}

static uint32_t single(uint32_t operations)
{
    uint32_t cuts = 0;
    age(4000); /* round the log: every kind of page there is */
    while (operations != 0u) {
        some_puts(&rig);
        if (rig.op.op == ECU_NVM_ERASE || rig.op.op == ECU_NVM_PROGRAM) {
            operations -= 1u;
            for (uint32_t bytes = 0; bytes <= ECU_NVM_PAGE; ++bytes, ++cuts) {
                cut = rig;
                operate(&cut, &cut.op, bytes);
                start(&cut);
                judge(&cut);
            }
        }
        whole_step(&rig);
    }
    return cuts;
}

static void run_and_cut(rig_t *r)
{
    for (uint32_t left = draw(60); left != 0u || r->op.op < ECU_NVM_PROGRAM; left -= left != 0u) {
        some_puts(r);
        whole_step(r);
    }
    operate(r, &r->op, draw(ECU_NVM_PAGE + 1u));
    start(r);
    judge(r);
}

static uint32_t twice(uint32_t cuts)
{
    age(4000);
    for (uint32_t k = 0; k < cuts; ++k) {
        age(7);
        cut = rig;
        run_and_cut(&cut);
        run_and_cut(&cut);
    }
    return cuts;
}

/* What a flash that fails without a word does with an operation. */
static void fail_silently(rig_t *r)
{
    ecu_nvm_t *const op = &r->op;
    const uint32_t how = draw(5);
    if (how == 0u) op->status = ECU_NVM_OK; /* nothing */
    else if (how == 1u) operate(r, op, draw(ECU_NVM_PAGE)); /* half */
    else operate(r, op, ECU_NVM_PAGE);
    if (how == 2u) op->status = ECU_NVM_FAILED;
    if (how == 3u) op->op = ECU_NVM_NONE; /* the answer is lost */
    if (how == 4u && op->op == ECU_NVM_PROGRAM) r->flash[(size_t)op->page * ECU_NVM_PAGE + draw(ECU_NVM_PAGE)] ^= (uint8_t)(1u << draw(8));
}

static uint32_t silent(uint32_t writes)
{
    const uint32_t wanted = writes;
    while (rig.journal.commits < wanted) {
        some_puts(&rig);
        if (rig.op.op >= ECU_NVM_PROGRAM && draw(6) == 0u) {
            fail_silently(&rig);
            step(&rig);
        } else {
            whole_step(&rig);
        }
        if (draw(200) != 0u) continue;
        cut = rig;
        start(&cut);
        judge(&cut);
    }
    settle(&rig);
    for (uint32_t r = 0; r < RECORDS; ++r) {
        if (rig.floor[r] != rig.latest[r]) die("not written", r, rig.floor[r], rig.latest[r], rig.latest[r]);
    }
    return rig.journal.failures;
}

static uint32_t rot(uint32_t rounds)
{
    uint32_t lost = 0;
    for (uint32_t k = 0; k < rounds; ++k) {
        age(50 + draw(200));
        settle(&rig);
        cut = rig;
        uint8_t *const page = cut.flash + (size_t)draw(PAGES) * ECU_NVM_PAGE;
        for (uint32_t n = 1u + draw(8); n != 0u; --n) page[draw(ECU_NVM_PAGE)] ^= (uint8_t)(1u << draw(8));
        start(&cut);
        for (uint32_t r = 0; r < RECORDS; ++r) {
            const uint32_t value = cut.taken[r];
            if (value > cut.latest[r] || (r < DOUBLED && value != cut.latest[r])) die("rotted", r, value, cut.latest[r], cut.latest[r]);
            lost += value != cut.latest[r];
        }
        memcpy(cut.latest, cut.taken, sizeof cut.latest); /* what was lost begins anew; the second copy is restored */
        memcpy(cut.floor, cut.taken, sizeof cut.floor);
        settle(&cut);
        for (uint32_t r = 0; r < DOUBLED && cut.latest[r] != 0u; ++r) {
            const journal_t *const j = &cut.journal;
            const uint32_t first = j->place[r][0], second = j->place[r][1];
            if (first >= ECU_NVM_PAGES || second >= ECU_NVM_PAGES) die("has one copy", r, first, 0, ECU_NVM_PAGES);
            if (memcmp(cut.flash + first * ECU_NVM_PAGE + 10, cut.flash + second * ECU_NVM_PAGE + 10, ECU_NVM_PAGE - 10u) != 0)
                die("has two unlike copies", r, first, second, second);
        }
    }
    return lost;
}

static void wear(uint32_t writes)
{
    while (rig.journal.commits < writes) {
        some_puts(&rig);
        whole_step(&rig);
    }
    uint32_t low = UINT32_MAX, high = 0, all = 0;
    for (uint32_t p = 0; p < PAGES; ++p) {
        low = rig.erases[p] < low ? rig.erases[p] : low;
        high = rig.erases[p] > high ? rig.erases[p] : high;
        all += rig.erases[p];
    }
    printf("lowest %u mean %.2f highest %u moved %u of %u\n", low, all / (double)PAGES, high, rig.journal.moved, rig.journal.commits);
}

int main(int count, char **word)
{
    if (count != 4) return 2;
    const uint32_t many = (uint32_t)strtoul(word[2], NULL, 10);
    chance = strtoull(word[3], NULL, 10) * 2u + 1u;
    begin();
    switch (word[1][1]) {
    case 'i': {
        if (word[1][2] == 'n') printf("cuts %u\n", single(many));
        else printf("failures %u\n", silent(many));
        break;
    }
    case 'o':
        if (word[1][0] == 'd') printf("cuts %u\n", twice(many));
        else printf("lost %u\n", rot(many));
        break;
    default: wear(many); break;
    }
    return 0;
}
