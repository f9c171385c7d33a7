#include "part.h"

#include <journal.c>

static void no_fill(void *owner, uint32_t record, uint8_t bytes[JOURNAL_BYTES])
{
    (void)owner;
    memset(bytes, (int)record, JOURNAL_BYTES);
}

static void count_take(void *owner, uint32_t record, const uint8_t bytes[JOURNAL_BYTES])
{
    (void)record;
    (void)bytes;
    *(uint32_t *)owner += 1u;
}

static const journal_calls_t COUNTS = {no_fill, count_take};

/* A page as the journal writes it. */
static ecu_nvm_t page_of(uint8_t record, uint32_t sequence, uint16_t version)
{
    ecu_nvm_t done = {0};
    done.op = ECU_NVM_READ;
    done.status = ECU_NVM_OK;
    put_u32_le(done.data + AT_SEQUENCE, sequence);
    done.data[AT_RECORD] = record;
    put_u16_le(done.data + AT_VERSION, version);
    put_u32_le(done.data + AT_CRC, page_crc(done.data));
    return done;
}

CLAIM(of_two_sequences_one_is_newer_across_the_wrap_and_none_of_two_equal_ones)
{
    HOLDS(is_newer(2u, 1u) && !is_newer(1u, 2u) && !is_newer(5u, 5u));
    HOLDS(is_newer(1u, UINT32_MAX) && !is_newer(UINT32_MAX, 1u));
}

CLAIM(a_record_of_another_firmware_moves_the_log_and_is_not_given)
{
    journal_t j;
    uint32_t taken = 0;
    journal_init(&j, 16u, 4u, 2u);
    const ecu_nvm_t done = page_of(9u, 77u, 1u);
    was_scanned(&j, &done, &COUNTS, &taken);
    HOLDS(taken == 0u && j.found == 1u && j.sequence == 77u && j.owner[0] == JOURNAL_NONE);
}

CLAIM(an_older_copy_that_is_read_after_a_newer_one_is_owned_and_not_given)
{
    journal_t j;
    uint32_t taken = 0;
    journal_init(&j, 16u, 4u, 2u);
    const ecu_nvm_t newer = page_of(1u, 9u, 5u), older = page_of(1u, 8u, 4u), oldest = page_of(1u, 7u, 3u), equal = page_of(1u, 8u, 4u);
    was_scanned(&j, &newer, &COUNTS, &taken);
    was_scanned(&j, &older, &COUNTS, &taken);
    HOLDS(taken == 1u && j.version[1] == 5u && journal_has(&j, 1u) && j.owner[1] == 1u);
    was_scanned(&j, &oldest, &COUNTS, &taken);
    was_scanned(&j, &equal, &COUNTS, &taken);
    HOLDS(taken == 1u && j.owner[2] == JOURNAL_NONE && j.owner[3] == JOURNAL_NONE);
    const ecu_nvm_t last = page_of(1u, 10u, 6u);
    was_scanned(&j, &last, &COUNTS, &taken);
    HOLDS(taken == 2u && j.version[1] == 6u);
}

CLAIM(what_was_marked_before_all_was_read_is_written_in_all_its_copies)
{
    journal_t j;
    uint32_t taken = 0;
    journal_init(&j, 3u, 4u, 2u);
    const ecu_nvm_t kept = page_of(1u, 9u, 5u), other = page_of(0u, 8u, 2u), once = page_of(3u, 7u, 2u);
    journal_mark(&j, 1u);
    journal_mark(&j, 3u);
    was_scanned(&j, &kept, &COUNTS, &taken);
    was_scanned(&j, &other, &COUNTS, &taken);
    was_scanned(&j, &once, &COUNTS, &taken);
    HOLDS(j.phase == JOURNAL_IDLE && j.todo[1] == 2u && j.version[1] == 6u && j.todo[3] == 1u);
    HOLDS(j.todo[0] == 1u); /* the copy that is missing */
    HOLDS(j.todo[2] == 0u && !journal_has(&j, 2u));
}

CLAIM(a_copy_with_older_content_is_written_again)
{
    journal_t j;
    uint32_t taken = 0;
    journal_init(&j, 2u, 4u, 2u);
    const ecu_nvm_t one = page_of(1u, 9u, 5u), two = page_of(1u, 8u, 4u);
    was_scanned(&j, &two, &COUNTS, &taken);
    was_scanned(&j, &one, &COUNTS, &taken);
    HOLDS(j.todo[1] == 1u && j.version[1] == 5u);
}

CLAIM(a_page_that_cannot_be_read_is_counted_and_a_silent_memory_is_absent)
{
    journal_t j;
    uint32_t taken = 0;
    journal_init(&j, 16u, 4u, 2u);
    ecu_nvm_t done = page_of(1u, 9u, 5u);
    done.status = ECU_NVM_FAILED;
    was_scanned(&j, &done, &COUNTS, &taken);
    HOLDS(j.unread == 1u && taken == 0u && !journal_fails(&j) && !journal_is_idle(&j));
    done.op = ECU_NVM_NONE;
    for (uint32_t k = 0; k < JOURNAL_TRIES; ++k) was_scanned(&j, &done, &COUNTS, &taken);
    HOLDS(j.absent == 1u && journal_fails(&j) && journal_is_idle(&j));
    ecu_nvm_t want = {0};
    journal_mark(&j, 1u);
    journal_step(&j, 1000000u, &done, &want, &COUNTS, &taken);
    HOLDS(want.op == ECU_NVM_NONE); /* what cannot be read is not written over */
}

CLAIM(sizes_beyond_the_memory_are_cut_to_it)
{
    journal_t j;
    journal_init(&j, ECU_NVM_PAGES + 1u, JOURNAL_RECORDS + 1u, 2u);
    HOLDS(j.pages == ECU_NVM_PAGES && j.records == JOURNAL_RECORDS);
}

CLAIM(the_head_steps_over_live_pages_and_stays_where_all_are_live)
{
    journal_t j;
    journal_init(&j, 4u, 4u, 2u);
    j.owner[0] = j.owner[1] = 1u;
    j.erased = 1u;
    HOLDS(free_head(&j) && j.head == 2u && j.erased == 0u);
    j.owner[2] = j.owner[3] = 1u;
    HOLDS(!free_head(&j));
    ecu_nvm_t want = {0};
    uint32_t taken = 0;
    j.phase = JOURNAL_IDLE;
    begin(&j, 0u, &want, &COUNTS, &taken);
    HOLDS(want.op == ECU_NVM_NONE); /* a live page is never erased */
}

CLAIM(the_page_just_before_the_head_is_moved_before_anything_else)
{
    journal_t j;
    journal_init(&j, 40u, 8u, 2u);
    journal_mark(&j, 0u);
    own(&j, 5u, 0u, 1u, 1u, 1u);
    HOLDS(choose(&j) && j.record == 5u && j.moved == 1u);
    j.owner[1] = JOURNAL_NONE;
    own(&j, 5u, 0u, 3u, 1u, 1u);
    HOLDS(choose(&j) && j.record == 0u);
}

CLAIM(a_program_or_a_look_that_fails_passes_over_the_page_and_many_make_a_pause)
{
    journal_t j;
    uint32_t taken = 0;
    ecu_nvm_t want = {0}, done = page_of(1u, 9u, 5u);
    journal_init(&j, 40u, 8u, 2u);
    done.status = ECU_NVM_FAILED;
    j.phase = JOURNAL_PROGRAM;
    was_done(&j, 7u, &done, &COUNTS, &taken);
    HOLDS(j.failures == 1u && j.head == 1u && j.phase == JOURNAL_IDLE);
    memcpy(j.page, done.data, sizeof j.page);
    j.phase = JOURNAL_VERIFY;
    was_done(&j, 7u, &done, &COUNTS, &taken);
    HOLDS(j.failures == 2u && j.commits == 0u);
    while (j.bad_in_row < JOURNAL_TRIES) failed(&j, 7u);
    HOLDS(j.paused == 1u && journal_fails(&j));
    begin(&j, 8u, &want, &COUNTS, &taken);
    HOLDS(want.op == ECU_NVM_NONE);
    begin(&j, 7u + 1000u * (uint64_t)JOURNAL_PAUSE_MS, &want, &COUNTS, &taken);
    HOLDS(want.op == ECU_NVM_ERASE && j.paused == 0u);
}

CLAIM(an_answer_to_another_question_is_no_answer)
{
    journal_t j;
    uint32_t taken = 0;
    ecu_nvm_t want = {0}, done = page_of(1u, 9u, 5u);
    journal_init(&j, 16u, 4u, 2u);
    journal_step(&j, 0u, &done, &want, &COUNTS, &taken);
    HOLDS(want.op == ECU_NVM_READ && want.page == 0u);
    done.page = 3u;
    journal_step(&j, 1000u, &done, &want, &COUNTS, &taken);
    HOLDS(j.scanned == 0u && taken == 0u);
    done.page = 0u;
    done.op = ECU_NVM_ERASE;
    journal_step(&j, 2000u, &done, &want, &COUNTS, &taken);
    HOLDS(j.scanned == 0u && taken == 0u);
    done.op = ECU_NVM_READ;
    journal_step(&j, 3000u, &done, &want, &COUNTS, &taken);
    HOLDS(j.scanned == 1u && taken == 1u);
}

CLAIM(a_settled_journal_asks_for_nothing_until_something_is_marked)
{
    bms_t *const self = part_pack("standby");
    journal_t *const j = &self->store.journal;
    uint32_t taken = 0;
    ecu_nvm_t want = {0}, done = {0};
    while (!j->settled) {
        done = want;
        done.status = ECU_NVM_OK;
        if (done.op == ECU_NVM_READ) memcpy(done.data, j->page, sizeof done.data);
        want.op = ECU_NVM_NONE;
        journal_step(j, self->now_us += 1000u, &done, &want, &COUNTS, &taken);
    }
    const journal_t was = *j;
    want.op = ECU_NVM_NONE;
    journal_step(j, self->now_us + 1000u, &done, &want, &COUNTS, &taken);
    HOLDS(want.op == ECU_NVM_NONE && memcmp(&was, j, sizeof was) == 0 && journal_is_idle(j));
    journal_mark(j, STORE_USER);
    journal_step(j, self->now_us + 2000u, &done, &want, &COUNTS, &taken);
    HOLDS(want.op == ECU_NVM_PROGRAM && !journal_is_idle(j));
}

CLAIM(the_first_page_found_is_the_newest_whatever_its_number)
{
    journal_t j;
    uint32_t taken = 0;
    journal_init(&j, 16u, 4u, 2u);
    const ecu_nvm_t first = page_of(1u, 0x90000000u, 1u), before = page_of(2u, 0x8FFFFFFFu, 1u);
    was_scanned(&j, &first, &COUNTS, &taken);
    was_scanned(&j, &before, &COUNTS, &taken);
    HOLDS(j.found == 1u && j.sequence == 0x90000000u && j.newest == 0u && taken == 2u);
}

CLAIM(a_record_is_there_with_either_copy)
{
    journal_t j;
    journal_init(&j, 16u, 4u, 2u);
    HOLDS(!journal_has(&j, 1u));
    own(&j, 1u, 1u, 3u, 1u, 1u);
    HOLDS(journal_has(&j, 1u));
    own(&j, 0u, 0u, 4u, 2u, 1u);
    HOLDS(journal_has(&j, 0u));
}
