#include "part.h"

#include <request.c>

CLAIM(a_memory_that_keeps_no_number_delays_the_first_challenge_by_two_seconds_at_most)
{
    bms_t *const self = part_pack("standby");
    request_t *const r = &self->request;
    r->phase = REQUEST_WAITS;
    start(self);
    HOLDS(r->phase == REQUEST_KEEPS); /* memory works on it */
    self->now_us += 1000u * (uint64_t)(MEMORY_WAIT_MS - 1u);
    start(self);
    HOLDS(r->phase == REQUEST_KEEPS);
    self->now_us += 1000u;
    start(self);
    HOLDS(r->phase == REQUEST_RUNS);
}

CLAIM(a_lock_that_is_locked_again_is_one_lock_and_lasts_from_the_last)
{
    bms_t *const self = part_pack("standby");
    const uint32_t locks = self->request.locks;
    lock(self);
    self->now_us += 1000u;
    lock(self);
    HOLDS(self->request.locks == locks + 1u && self->request.locked_us == self->now_us);
}

CLAIM(clearing_needs_a_live_authority_and_a_service_clear_its_own)
{
    bms_t *const self = part_pack("standby");
    request_t *const r = &self->request;
    r->known = r->clear = r->service = 1u;
    r->locked = 0u;
    r->us = self->now_us;
    HOLDS(request_may_clear(self, false) && request_may_clear(self, true));
    r->service = 0u;
    HOLDS(request_may_clear(self, false) && !request_may_clear(self, true));
    r->service = 1u;
    r->clear = 0u;
    HOLDS(!request_may_clear(self, false) && !request_may_clear(self, true));
    r->clear = 1u;
    r->known = 0u;
    HOLDS(!request_may_clear(self, true));
}

CLAIM(a_challenge_is_renewed_before_its_count_ends)
{
    bms_t *const self = part_pack("standby");
    request_t *const r = &self->request;
    r->locked = 0u;
    r->challenge_us = self->now_us;
    const uint32_t renewals = r->renewals;
    r->count = COUNT_LAST - 1u;
    request_tick(self);
    HOLDS(r->renewals == renewals);
    r->count = COUNT_LAST;
    request_tick(self);
    HOLDS(r->renewals == renewals + 1u && r->count == 0u);
}
