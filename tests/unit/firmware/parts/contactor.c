#include "part.h"

#include <contactor.c>

/* All that closing asks for, in standby: asked with authority, measured, rested. */
static bms_t *ready(void)
{
    bms_t *const self = part_pack("drive");
    contactor_t *const c = &self->contactor;
    c->state = STATE_STANDBY;
    c->request_was = 0u;
    c->opened_us = 0u;
    set_coils(self, 0u);
    self->pins &= ~(uint32_t)FEEDBACKS;
    self->sensor.current_ma.value = 0;
    self->sensor.link_mv.value = 0;
    return self;
}

/* Main minus and precharge closed, the link at the pack's voltage, long enough. */
static bms_t *charged(void)
{
    bms_t *const self = ready();
    contactor_t *const c = &self->contactor;
    c->state = STATE_PRECHARGE;
    c->mode = MODE_DRIVE;
    set_coils(self, CLOSING_COILS);
    self->pins |= PIN_IN_MAIN_MINUS_FEEDBACK | PIN_IN_PRECHARGE_FEEDBACK;
    self->sensor.link_mv.value = c->link_last_mv = self->sensor.pack_mv.value;
    c->link_step_mv = c->link_before_mv = 0;
    advance(self, CLOSE_LINK);
    c->step_us -= 1000u * (uint64_t)self->config.set.precharge_min_ms;
    return self;
}

CLAIM(a_state_that_does_not_exist_switches_every_coil_off)
{
    bms_t *const self = part_pack("drive");
    HOLDS(self->contactor.coils != 0u);
    self->contactor.state = STATE_COUNT;
    contactor_tick(self);
    HOLDS(self->contactor.coils == 0u && self->contactor.state == STATE_COUNT);
}

CLAIM(no_state_follows_a_dead_one_or_one_that_does_not_exist)
{
    static const uint8_t DEAD[] = {STATE_ASSERTED, STATE_REFUSED, STATE_COUNT, 255};
    for (uint32_t k = 0; k < sizeof DEAD; ++k) {
        bms_t *const self = ready();
        self->contactor.state = DEAD[k];
        HOLDS(!enter(self, STATE_STANDBY) && self->contactor.coils == 0u);
        HOLDS(state_is_dead(self->contactor.state) && self->assert_place != 0u);
    }
}

CLAIM(a_trip_opens_every_state_but_those_that_are_open)
{
    for (uint32_t s = 0; s < 256u; ++s) {
        const bool open = s == STATE_ERROR || s == STATE_LATCHED || s == STATE_SLEEP || s == STATE_ASSERTED || s == STATE_REFUSED || s >= STATE_COUNT;
        HOLDS(state_is_open((uint8_t)s) == open);
    }
}

CLAIM(a_flipped_bit_of_state_or_coils_shows)
{
    bms_t *const self = ready();
    contactor_t *const c = &self->contactor;
    HOLDS(contactor_is_whole(self));
    for (uint32_t bit = 0; bit < 8u; ++bit) {
        const contactor_t was = *c;
        c->state ^= (uint8_t)(1u << bit);
        HOLDS(!contactor_is_whole(self));
        *c = was;
        c->coils ^= (uint8_t)(1u << bit);
        HOLDS(!contactor_is_whole(self));
        *c = was;
    }
    c->state = STATE_COUNT;
    guard(c);
    HOLDS(!contactor_is_whole(self));
}

CLAIM(a_trip_in_a_step_that_has_changed_the_state_opens_all_the_same)
{
    bms_t *const self = part_pack("drive");
    self->contactor.moved = 1u;
    contactor_trip(self);
    HOLDS(self->contactor.coils == 0u && self->contactor.state == STATE_NORMAL_DRIVE);
    self->contactor.moved = 0u;
    contactor_trip(self);
    HOLDS(self->contactor.state == STATE_ERROR);
}

CLAIM(nothing_is_measured_while_any_reading_is_missing)
{
    bms_t *const self = ready();
    const bms_t whole = *self;
    HOLDS(measures(self));
    self->measure.scan = 0u;
    HOLDS(!measures(self));
    *self = whole;
    self->measure.cells_unknown = 1u;
    HOLDS(!measures(self));
    *self = whole;
    self->measure.gpio_scan = 0u;
    HOLDS(!measures(self));
    *self = whole;
    self->sensor.current_ma.valid = 0u;
    HOLDS(!measures(self));
    *self = whole;
    self->sensor.pack_mv.valid = 0u;
    HOLDS(!measures(self));
    *self = whole;
    self->sensor.link_mv.valid = 0u;
    HOLDS(!measures(self));
}

CLAIM(each_reason_alone_refuses_to_close)
{
    bms_t *const self = ready();
    const bms_t whole = *self;
    HOLDS(refusal(self, MODE_DRIVE) == REFUSAL_NOTHING);
    self->contactor.request_was = 1u;
    HOLDS(refusal(self, MODE_DRIVE) == REFUSAL_STANDBY_FIRST);
    *self = whole;
    self->contactor.opened_us = self->now_us - 999000u;
    HOLDS(refusal(self, MODE_DRIVE) == REFUSAL_TOO_SOON);
    *self = whole;
    self->soc_valid = 0u;
    HOLDS(refusal(self, MODE_DRIVE) == REFUSAL_NOT_MEASURED);
    *self = whole;
    self->sensor.insulation_kohm.valid = 0u;
    HOLDS(refusal(self, MODE_DRIVE) == REFUSAL_INSULATION);
    *self = whole;
    self->protect.diag[DIAG_INSULATION_LOW].tier = TIER_TRIP;
    HOLDS(refusal(self, MODE_DRIVE) == REFUSAL_INSULATION);
    *self = whole;
    self->pins |= PIN_IN_MAIN_PLUS_FEEDBACK;
    HOLDS(refusal(self, MODE_DRIVE) == REFUSAL_NOT_OPEN);
    *self = whole;
    self->sensor.current_ma.value = self->config.set.rest_ma + 1;
    HOLDS(refusal(self, MODE_DRIVE) == REFUSAL_NOT_OPEN);
    *self = whole;
    self->sensor.link_mv.value = self->sensor.pack_mv.value;
    HOLDS(refusal(self, MODE_DRIVE) == REFUSAL_LINK_VOLTAGE);
    *self = whole;
    self->protect.inhibit = 1u;
    HOLDS(refusal(self, MODE_DRIVE) == REFUSAL_DIAGNOSIS);
    *self = whole;
    self->protect.inhibit_charge = 1u;
    HOLDS(refusal(self, MODE_DRIVE) == REFUSAL_NOTHING && refusal(self, MODE_CHARGE) == REFUSAL_DIAGNOSIS);
    *self = whole;
    self->request.locked = 1u;
    HOLDS(refusal(self, MODE_DRIVE) == REFUSAL_LOCKED_OUT);
    *self = whole;
    HOLDS(refusal(self, MODE_CHARGE) == REFUSAL_NOT_AUTHORISED);
}

CLAIM(a_second_change_of_state_waits_and_closes_nothing)
{
    bms_t *const self = ready();
    self->contactor.moved = 1u;
    standby(self);
    HOLDS(self->request.refusal == REFUSAL_NOTHING && self->contactor.state == STATE_STANDBY && self->contactor.coils == 0u);
    self->contactor.moved = 0u;
    standby(self);
    HOLDS(self->contactor.state == STATE_PRECHARGE && self->contactor.coils == PIN_OUT_MAIN_MINUS);
}

CLAIM(a_configuration_that_changed_chips_that_differ_and_a_high_comparator_fail_the_self_test)
{
    bms_t *const self = ready();
    const bms_t whole = *self;
    self->contactor.tests = 0u;
    HOLDS(tests_passed(self) == TEST_ALL);
    self->config.set.magic ^= 1u;
    HOLDS((tests_passed(self) & TEST_CONFIGURATION) == 0u);
    *self = whole;
    self->afe.config_failures = 1u;
    HOLDS((tests_passed(self) & TEST_CHIPS) == 0u);
    *self = whole;
    self->afe.config_reads = 0u;
    HOLDS((tests_passed(self) & TEST_CHIPS) == 0u);
    *self = whole;
    self->pins |= PIN_IN_OVERCURRENT;
    HOLDS((tests_passed(self) & TEST_COMPARATOR) == 0u);
    *self = whole;
    self->contactor.state = STATE_SELFTEST;
    self->contactor.moved = 1u;
    selftest(self);
    HOLDS(self->contactor.state == STATE_SELFTEST);
    self->contactor.moved = 0u;
    selftest(self);
    HOLDS(self->contactor.state == STATE_STANDBY);
}

CLAIM(main_plus_closes_only_when_link_current_time_and_feedback_fit)
{
    bms_t *const self = charged();
    const bms_t whole = *self;
    close_link(self);
    HOLDS(self->contactor.step == CLOSE_PLUS && self->contactor.coils == (CLOSING_COILS | PIN_OUT_MAIN_PLUS));
    *self = whole;
    self->sensor.current_ma.value = self->config.set.precharge_done_ma + 1;
    close_link(self);
    HOLDS(self->contactor.step == CLOSE_LINK);
    *self = whole;
    self->sensor.link_mv.value -= self->config.set.precharge_tolerance_mv + 1;
    self->contactor.link_seen = self->sensor.link_mv.seq;
    close_link(self);
    HOLDS(self->contactor.step == CLOSE_LINK);
    *self = whole;
    self->contactor.step_us += 1000u;
    close_link(self);
    HOLDS(self->contactor.step == CLOSE_LINK);
    *self = whole;
    self->pins &= ~(uint32_t)PIN_IN_PRECHARGE_FEEDBACK;
    close_link(self);
    HOLDS(self->contactor.step == CLOSE_LINK && (self->contactor.coils & PIN_OUT_MAIN_PLUS) == 0u);
}

CLAIM(a_link_that_will_overshoot_keeps_main_plus_open)
{
    bms_t *const self = charged();
    self->contactor.link_seen = self->sensor.link_mv.seq - 1u;
    self->contactor.link_last_mv -= self->config.set.precharge_tolerance_mv;
    close_link(self);
    HOLDS(self->contactor.step == CLOSE_LINK);
    close_link(self); /* the same reading again is no new step */
    HOLDS(self->contactor.step == CLOSE_LINK && self->contactor.link_step_mv == self->config.set.precharge_tolerance_mv);
}

CLAIM(closing_ends_when_precharge_has_dropped)
{
    bms_t *const self = charged();
    advance(self, CLOSE_DROP);
    self->contactor.step_us -= 1000u * (uint64_t)self->config.set.feedback_ms;
    precharge(self);
    HOLDS(self->contactor.state == STATE_PRECHARGE);
    self->pins &= ~(uint32_t)PIN_IN_PRECHARGE_FEEDBACK;
    precharge(self);
    HOLDS(self->contactor.state == STATE_NORMAL_DRIVE);
}

CLAIM(what_forbids_to_close_ends_precharge_until_main_plus_is_told_to_close)
{
    bms_t *const self = charged();
    const bms_t whole = *self;
    precharge(self);
    HOLDS(self->contactor.state == STATE_PRECHARGE);
    *self = whole;
    self->protect.inhibit = 1u;
    precharge(self);
    HOLDS(self->contactor.state == STATE_OPENING);
    *self = whole;
    self->protect.inhibit_charge = 1u; /* no matter for driving */
    precharge(self);
    HOLDS(self->contactor.state == STATE_PRECHARGE);
    *self = whole;
    self->protect.inhibit_charge = 1u;
    self->contactor.mode = self->canin.mode = self->request.mode = MODE_CHARGE;
    precharge(self);
    HOLDS(self->contactor.state == STATE_OPENING);
    *self = whole;
    self->request.known = 0u;
    precharge(self);
    HOLDS(self->contactor.state == STATE_OPENING);
    *self = whole;
    self->protect.inhibit = 1u;
    self->request.known = 0u;
    advance(self, CLOSE_PLUS);
    precharge(self);
    HOLDS(self->contactor.state == STATE_PRECHARGE);
}

CLAIM(a_second_change_waits_when_opening_and_when_the_mode_changes)
{
    bms_t *const self = part_pack("drive");
    const uint32_t renewals = self->request.renewals;
    self->contactor.moved = 1u;
    open_in_order(self);
    HOLDS(self->contactor.state == STATE_NORMAL_DRIVE && self->request.renewals == renewals);
    self->canin.mode = self->request.mode = MODE_CHARGE;
    normal(self);
    HOLDS(self->contactor.state == STATE_NORMAL_DRIVE && self->contactor.mode == MODE_DRIVE);
    self->contactor.moved = 0u;
    normal(self);
    HOLDS(self->contactor.state == STATE_NORMAL_CHARGE && self->contactor.mode == MODE_CHARGE);
    open_in_order(self);
    HOLDS(self->contactor.state == STATE_NORMAL_CHARGE);
    self->contactor.moved = 0u;
    open_in_order(self);
    HOLDS(self->contactor.state == STATE_OPENING && self->request.renewals == renewals + 1u);
}

CLAIM(opening_in_order_waits_for_the_fuse_and_ends_in_standby_once)
{
    bms_t *const self = part_pack("drive");
    contactor_t *const c = &self->contactor;
    open_in_order(self);
    c->step_us -= 1000u * (uint64_t)OPEN_WAIT_MS;
    self->sensor.current_ma.value = self->config.set.break_current_ma + 1;
    const uint32_t coils = c->coils;
    opening(self);
    HOLDS(c->coils == coils && c->step == OPEN_WAIT && c->fuse != 0u);
    self->sensor.current_ma.value = 0;
    opening(self);
    HOLDS(c->coils == PIN_OUT_MAIN_MINUS && c->step == OPEN_PLUS);
    c->step_us -= 1000u * (uint64_t)self->config.set.feedback_ms;
    opening(self);
    HOLDS(c->coils == 0u && c->step == OPEN_MINUS);
    c->step_us -= 1000u * (uint64_t)self->config.set.feedback_ms;
    c->moved = 1u;
    opening(self);
    HOLDS(c->state == STATE_OPENING);
    c->moved = 0u;
    opening(self);
    HOLDS(c->state == STATE_STANDBY && c->opened_us == self->now_us);
}

CLAIM(a_latched_pack_sleeps_when_it_is_due_and_one_in_error_never)
{
    bms_t *const self = part_pack("standby");
    self->protect.trip = 1u;
    self->protect.cause_present = 0u;
    self->contactor.state = STATE_ERROR;
    self->contactor.step = ERROR_OPEN;
    self->pins = PIN_IN_INTERLOCK;
    self->canin.known = 0u;
    self->sleep.busy_us = 0u;
    self->leak.phase = LEAK_GATHERS;
    self->config.set.sleep_after_ms = 1000u;
    HOLDS(sleep_is_due(self));
    error(self);
    HOLDS(self->contactor.state == STATE_LATCHED);
    self->contactor.moved = 0u;
    self->config.set.sleep_after_ms = 0u;
    error(self);
    HOLDS(self->contactor.state == STATE_LATCHED);
    self->config.set.sleep_after_ms = 1000u;
    error(self);
    HOLDS(self->contactor.state == STATE_SLEEP);
}

CLAIM(each_reason_alone_keeps_the_contactor_test_from_beginning)
{
    bms_t *const self = part_pack("standby");
    const bms_t whole = *self;
    HOLDS(contactor_begin_test(self) && self->contactor.state == STATE_SERVICE);
    *self = whole;
    self->contactor.state = STATE_BALANCING;
    HOLDS(!contactor_begin_test(self));
    *self = whole;
    self->canin.mode = MODE_DRIVE;
    HOLDS(!contactor_begin_test(self));
    *self = whole;
    self->pins |= PIN_IN_MAIN_MINUS_FEEDBACK;
    HOLDS(!contactor_begin_test(self));
    *self = whole;
    self->protect.trip = 1u;
    HOLDS(!contactor_begin_test(self));
    *self = whole;
    self->sensor.current_ma.value = -self->config.set.rest_ma - 1;
    HOLDS(!contactor_begin_test(self));
    *self = whole;
    self->contactor.moved = 1u;
    HOLDS(!contactor_begin_test(self) && self->contactor.state == STATE_STANDBY && self->contactor.coils == 0u);
}

CLAIM(a_wish_ends_the_contactor_test_with_every_coil_off)
{
    bms_t *const self = part_pack("standby");
    HOLDS(contactor_begin_test(self));
    self->contactor.moved = 0u;
    service(self);
    HOLDS(self->contactor.coils == PIN_OUT_MAIN_PLUS);
    self->canin.mode = MODE_DRIVE;
    self->contactor.moved = 1u;
    service(self);
    HOLDS(self->contactor.coils == 0u && self->contactor.state == STATE_SERVICE);
    self->contactor.moved = 0u;
    service(self);
    HOLDS(self->contactor.coils == 0u && self->contactor.state == STATE_STANDBY);
}
