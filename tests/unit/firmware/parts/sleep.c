#include "part.h"

#include <sleep.c>

/* Nobody is here, and it has been so for long. */
static bms_t *parked(void)
{
    bms_t *const self = part_pack("standby");
    self->pins = PIN_IN_INTERLOCK;
    self->canin.known = 0u;
    self->sleep.busy_us = 0u;
    self->sleep.looks = 0u;
    self->leak.phase = LEAK_GATHERS;
    self->config.set.sleep_after_ms = 1000u;
    return self;
}

CLAIM(each_reason_alone_keeps_a_pack_awake)
{
    bms_t *const self = parked();
    const bms_t whole = *self;
    HOLDS(sleep_is_due(self));
    self->pins |= PIN_IN_IGNITION;
    HOLDS(!sleep_is_due(self));
    *self = whole;
    self->canin.known = 1u;
    HOLDS(!sleep_is_due(self));
    *self = whole;
    self->contactor.coils = PIN_OUT_MAIN_MINUS;
    HOLDS(!sleep_is_due(self));
    *self = whole;
    self->balance.running = 1u;
    HOLDS(!sleep_is_due(self));
    *self = whole;
    self->thermal.heater_pptt = 1u;
    HOLDS(!sleep_is_due(self));
    *self = whole;
    self->config.set.sleep_after_ms = 0u; /* a pack that never sleeps */
    HOLDS(!sleep_is_due(self));
    *self = whole;
    self->leak.phase = LEAK_MEASURES;
    HOLDS(!sleep_is_due(self));
}

CLAIM(who_comes_while_it_goes_down_wakes_it_until_the_chips_have_their_command)
{
    bms_t *const self = parked();
    self->contactor.state = STATE_SLEEP;
    go(self, SLEEP_TELLS);
    self->sleep.looks = 1u;
    self->pins |= PIN_IN_IGNITION;
    self->contactor.moved = 0u;
    sleep_tick(self);
    HOLDS(self->contactor.state == STATE_SELFTEST && self->sleep.phase == SLEEP_AWAKE && self->sleep.looks == 0u);
    self->contactor.state = STATE_SLEEP;
    go(self, SLEEP_CHIPS);
    self->contactor.moved = 0u;
    sleep_tick(self);
    HOLDS(self->contactor.state == STATE_SLEEP && self->sleep.phase == SLEEP_CHIPS);
}

CLAIM(a_12_v_battery_that_gives_out_is_asked_once_a_day_at_most)
{
    bms_t *const self = parked();
    bms_settings_t *const set = &self->config.set;
    set->wake_period_ms = 3600000u;
    self->sleep.standby_uc = (uint64_t)set->supply_budget_mah * 3600000u;
    HOLDS(period_ms(self) == 3600000u);
    self->sleep.standby_uc += 1u;
    HOLDS(period_ms(self) == DAY_MS);
    set->wake_period_ms = 2u * DAY_MS;
    HOLDS(period_ms(self) == 2u * DAY_MS);
}

CLAIM(it_goes_down_only_asleep_and_after_the_chips)
{
    bms_t *const self = parked();
    ecu_out_t out = {0};
    go(self, SLEEP_CHIPS);
    self->sleep.phase_us -= 1000u * (uint64_t)CHIPS_MS;
    self->contactor.state = STATE_SELFTEST;
    sleep_step(self, self->now_us, &out);
    HOLDS(self->sleep.phase == SLEEP_CHIPS && out.sleep_ms == 0u);
    self->contactor.state = STATE_SLEEP;
    sleep_step(self, self->now_us, &out);
    HOLDS(self->sleep.phase == SLEEP_DOWN && out.sleep_ms == period_ms(self));
}

CLAIM(a_count_of_frames_beyond_the_mailbox_is_not_read_beyond_it)
{
    const bms_t *const self = parked();
    ecu_in_t in = {0};
    in.pins.digital = self->sleep.pins;
    in.can_count = ECU_CAN_IN_MAX + 1u;
    for (uint32_t k = 0; k < ECU_CAN_IN_MAX; ++k) in.can[k].bus = ECU_BUS_SENSOR;
    HOLDS(!is_called(self, &in));
    in.can[ECU_CAN_IN_MAX - 1u].bus = ECU_BUS_VEHICLE;
    HOLDS(is_called(self, &in));
}

CLAIM(temperatures_inside_survive_a_short_known_gap_and_no_other)
{
    bms_t *const self = parked();
    const bms_t whole = *self;
    HOLDS(obs_started(&self->watch.obs, 0u));
    take_gap(self, 59000u, true);
    HOLDS(obs_started(&self->watch.obs, 0u) && self->sleep.unknown_gaps == whole.sleep.unknown_gaps);
    *self = whole;
    take_gap(self, 61000u, true);
    HOLDS(!obs_started(&self->watch.obs, 0u));
    *self = whole;
    take_gap(self, 1000u, false);
    HOLDS(!obs_started(&self->watch.obs, 0u) && self->sleep.unknown_gaps == whole.sleep.unknown_gaps + 1u);
}

CLAIM(suspects_that_were_kept_come_back_and_empty_places_say_nothing)
{
    bms_t *const self = parked();
    const float one_a = 0.01f / 86400.0f * 1e-6f / self->config.est.per_uc; /* 1 % a day */
    uint8_t kept[STORE_BYTES] = {0};
    put_u16_le(kept + 10, 4u); /* the second place: block 3 */
    put_f32(kept + 12, 2.0f * one_a);
    put_f32(kept + 16, 0.1f * one_a);
    store_put(self, STORE_KEEP, kept);
    const float before = self->leak.x[LEAK_L][0];
    take_up(self);
    HOLDS(self->leak.x[LEAK_L][3] > 1.99f && self->leak.x[LEAK_L][3] < 2.01f && self->leak.x[LEAK_L][0] == before);
}

CLAIM(what_a_look_finds_keeps_it_awake_and_what_was_told_does_not)
{
    bms_t *const self = parked();
    self->sleep.looks = 1u;
    self->sleep.told_trip = 0u;
    self->sleep.told_leak = TIER_NONE;
    sleep_account(self);
    HOLDS(self->sleep.looks == 1u);
    self->protect.trip = 1u;
    self->sleep.told_trip = 1u;
    sleep_account(self);
    HOLDS(self->sleep.looks == 1u);
    self->sleep.told_trip = 0u;
    sleep_account(self);
    HOLDS(self->sleep.looks == 0u && self->sleep.busy_us == self->now_us);
}

CLAIM(seconds_of_a_look_are_counted_without_wrapping)
{
    bms_t *const self = parked();
    self->sleep.seconds = UINT32_MAX;
    self->sleep.leak_gap_s = 0.0f;
    HOLDS(sleep_leak_second_s(self) == 1.0f && self->sleep.seconds == UINT32_MAX);
    self->sleep.seconds = 0u;
    HOLDS(sleep_leak_second_s(self) == 1.0f && self->sleep.seconds == 1u);
}
