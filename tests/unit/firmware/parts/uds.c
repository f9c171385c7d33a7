#include "part.h"

#include <uds.c>

static call_t call_of(bms_t *self, const uint8_t *data, uint32_t length)
{
    const call_t c = {data, length, self->uds.tp.tx, 1u};
    return c;
}

CLAIM(only_two_sessions_and_two_resets_are_known)
{
    bms_t *const self = part_pack("standby");
    for (uint8_t k = 0; k < 8u; ++k) {
        const uint8_t ask[2] = {0x10, k};
        call_t c = call_of(self, ask, 2u);
        HOLDS((session_control(self, &c) == OK) == (k == 1u || k == 3u));
        c = call_of(self, ask, 2u);
        HOLDS((reset(self, &c) == OK) == (k == 1u || k == 3u));
    }
}

CLAIM(no_seed_is_given_before_memory_was_read_or_within_the_penalty)
{
    static const uint8_t ASK[2] = {0x27, 1};
    bms_t *const self = part_pack("standby");
    call_t c = call_of(self, ASK, 2u);
    self->store.is_read = 0u;
    HOLDS(give_seed(self, &c) == DELAY && self->uds.seed_given == 0u);
    self->store.is_read = 1u;
    self->uds.penalty = 1u;
    HOLDS(give_seed(self, &c) == DELAY && self->uds.seed_given == 0u);
    self->uds.penalty = 0u;
    HOLDS(give_seed(self, &c) == OK && self->uds.seed_given == 1u);
}

CLAIM(the_self_test_tells_each_fault_by_its_bit)
{
    bms_t *const self = part_pack("standby");
    const bms_t whole = *self;
    HOLDS(self_test(self) == 0u);
    self->config.set.rest_ma ^= 1;
    HOLDS(self_test(self) == FAULT_CONFIG);
    *self = whole;
    self->store.journal.absent = 1u;
    HOLDS(self_test(self) == FAULT_MEMORY);
    *self = whole;
    self->store.is_read = 0u;
    HOLDS(self_test(self) == FAULT_MEMORY);
    *self = whole;
    self->afe.phase = AFE_WAKE;
    HOLDS(self_test(self) == FAULT_CHIPS);
    *self = whole;
    self->afe.failed_scans = 1u;
    HOLDS(self_test(self) == FAULT_CHIPS);
    *self = whole;
    self->measure.scan = 0u;
    HOLDS(self_test(self) == FAULT_MEASURE);
    *self = whole;
    self->measure.cells_unknown = 1u;
    HOLDS(self_test(self) == FAULT_MEASURE);
}

CLAIM(the_contactor_test_needs_the_key_open_contactors_and_a_calm_pack)
{
    static const uint8_t ASK[4] = {0x31, 1, 2, 2};
    bms_t *const self = part_pack("standby");
    call_t c = call_of(self, ASK, 4u);
    HOLDS(test_contactors(self, &c, 1u) == SECURITY);
    self->uds.unlocked = 1u;
    self->protect.trip = 1u; /* open, and yet not to be tested */
    HOLDS(test_contactors(self, &c, 1u) == CONDITIONS && self->contactor.state == STATE_STANDBY);
    self->protect.trip = 0u;
    self->pins |= PIN_IN_MAIN_PLUS_FEEDBACK;
    HOLDS(test_contactors(self, &c, 1u) == CONDITIONS);
    self->pins &= ~(uint32_t)PIN_IN_MAIN_PLUS_FEEDBACK;
    HOLDS(test_contactors(self, &c, 1u) == OK && self->contactor.state == STATE_SERVICE);
}

CLAIM(a_frame_with_a_flag_is_no_request)
{
    bms_t *const self = part_pack("standby");
    ecu_can_frame_t frame = {0};
    frame.id = UDS_REQUEST_ID;
    frame.bus = ECU_BUS_VEHICLE;
    frame.length = 8u;
    frame.data[0] = 2u;
    frame.data[1] = 0x3Eu;
    frame.flags = 1u;
    const uint32_t malformed = self->uds.tp.malformed;
    uds_receive(self, &frame);
    HOLDS(self->uds.tp.malformed == malformed + 1u && self->uds.tp.rx_state != ISOTP_RX_DONE);
    frame.flags = 0u;
    uds_receive(self, &frame);
    HOLDS(self->uds.tp.rx_state == ISOTP_RX_DONE);
}

/* A write that waits for memory, its answer ready. */
static bms_t *waiting(void)
{
    bms_t *const self = part_pack("standby");
    uds_t *const u = &self->uds;
    u->waits = 1u;
    u->reset = 0u;
    u->answer = 3u;
    u->tp.rx[0] = 0x2Eu;
    u->tp.tx[0] = 0x6Eu;
    u->request_us = self->now_us;
    store_mark(self, STORE_USER);
    return self;
}

CLAIM(a_write_that_memory_does_not_take_is_told_as_a_failure)
{
    bms_t *const self = waiting();
    ecu_can_frame_t frame = {0};
    HOLDS(!next_frame(self, &frame) && self->uds.waits != 0u); /* memory works on it */
    self->uds.request_us -= 1000u * (uint64_t)UDS_GIVE_UP_MS;
    HOLDS(next_frame(self, &frame));
    HOLDS(frame.data[1] == 0x7Fu && frame.data[2] == 0x2Eu && frame.data[3] == PROGRAMMING && self->uds.waits == 0u);
}

CLAIM(a_memory_that_fails_is_a_failure_even_when_it_is_idle)
{
    bms_t *const self = waiting();
    ecu_can_frame_t frame = {0};
    self->store.journal.absent = 1u;
    HOLDS(next_frame(self, &frame) && frame.data[1] == 0x7Fu && frame.data[3] == PROGRAMMING);
}

CLAIM(a_reset_is_answered_whatever_memory_does)
{
    bms_t *const self = waiting();
    ecu_can_frame_t frame = {0};
    self->uds.reset = 1u;
    self->store.journal.absent = 1u;
    HOLDS(next_frame(self, &frame) && frame.data[1] == 0x6Eu);
}

CLAIM(who_asked_for_no_answer_hears_one_only_after_it_was_told_to_wait)
{
    bms_t *const self = waiting();
    memset(self->store.journal.todo, 0, sizeof self->store.journal.todo);
    self->uds.quiet = 1u;
    finish(self);
    HOLDS(!isotp_is_sending(&self->uds.tp));
    bms_t *const told = waiting();
    memset(told->store.journal.todo, 0, sizeof told->store.journal.todo);
    told->uds.quiet = told->uds.told = 1u;
    finish(told);
    HOLDS(isotp_is_sending(&told->uds.tp));
}

CLAIM(an_answer_waits_for_room_in_the_mailbox)
{
    bms_t *const self = part_pack("standby");
    ecu_out_t out, full;
    memset(&full, 0x5A, sizeof full);
    full.can_count = ECU_CAN_OUT_MAX;
    full.reset_wanted = false;
    self->uds.tp.tx[0] = 0x7Eu;
    isotp_send(&self->uds.tp, 2u);
    out = full;
    uds_step(self, &out);
    HOLDS(memcmp(&out, &full, sizeof out) == 0 && isotp_is_sending(&self->uds.tp));
    out.can_count = 0u;
    uds_step(self, &out);
    HOLDS(out.can_count == 1u && out.can[0].id == UDS_ANSWER_ID && out.can[0].data[1] == 0x7Eu);
}
