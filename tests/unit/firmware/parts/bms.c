#include "part.h"

#include <bms.c>

CLAIM(a_start_without_a_configuration_is_refused)
{
    bms_t *const self = part_pack("standby");
    ecu_boot_t boot = {0};
    boot.config_size = sizeof self->config;
    HOLDS(ecu_init(self, &boot) == BMS_REFUSED_MISSING && self->contactor.state == STATE_REFUSED);
    boot.config = self;
    boot.config_size = sizeof self->config - 1u;
    HOLDS(ecu_init(self, &boot) == BMS_REFUSED_MISSING && self->contactor.state == STATE_REFUSED);
    HOLDS(part_step(self)->pins.digital == 0u && self->assert_place == 0u);
}

/* Everything is there for the estimator to start. */
static bms_t *measured(void)
{
    bms_t *const self = part_pack("standby");
    self->est_running = EST_WAITS;
    return self;
}

CLAIM(the_estimator_waits_for_each_reading_it_starts_from)
{
    bms_t *const self = measured();
    const bms_t whole = *self;
    start_estimator(self);
    HOLDS(self->est_running == EST_RUNS && self->est_first == self->config.set.blocks);
    *self = whole;
    self->store.is_read = 0u;
    start_estimator(self);
    HOLDS(self->est_running == EST_WAITS);
    *self = whole;
    self->measure.scan = 0u;
    start_estimator(self);
    HOLDS(self->est_running == EST_WAITS);
    *self = whole;
    self->measure.cells_unknown = 1u;
    start_estimator(self);
    HOLDS(self->est_running == EST_WAITS);
    *self = whole;
    self->measure.gpio_scan = 0u;
    start_estimator(self);
    HOLDS(self->est_running == EST_WAITS);
    *self = whole;
    self->measure.temperature_max_cdegc = BMS_UNKNOWN;
    start_estimator(self);
    HOLDS(self->est_running == EST_WAITS);
    *self = whole;
    self->sensor.current_ma.valid = 0u;
    start_estimator(self);
    HOLDS(self->est_running == EST_WAITS);
}

CLAIM(the_last_module_may_have_fewer_blocks)
{
    bms_t *const self = measured();
    self->config.set.blocks = self->est.count = self->watch.health.count = 10u;
    self->est.soc_frac[10] = -7.0f;
    start_estimator(self);
    HOLDS(self->est_running == EST_RUNS && self->est_first == 10u);
    refresh_module(self, 0u, 1u);
    HOLDS(self->est.soc_frac[9] > 0.0f && self->est.soc_frac[10] == -7.0f);
}

CLAIM(frames_beyond_the_mailbox_and_of_no_bus_are_not_taken)
{
    bms_t *const self = part_pack("standby");
    const uint32_t malformed = self->canin.malformed;
    ecu_in_t in = {0};
    for (uint32_t k = 0; k < ECU_CAN_IN_MAX; ++k) {
        in.can[k].bus = 2u; /* there is no such bus */
        in.can[k].id = 0x80u;
    }
    in.can_count = ECU_CAN_IN_MAX + 5u;
    take_frames(self, &in);
    HOLDS(self->canin.malformed == malformed);
    in.can[ECU_CAN_IN_MAX - 1u].bus = ECU_BUS_VEHICLE;
    take_frames(self, &in);
    HOLDS(self->canin.malformed == malformed + 1u);
}

CLAIM(a_flipped_size_ends_in_zero_outputs_in_the_same_step)
{
    bms_t *const self = part_pack("drive");
    const bms_t whole = *self;
    uint32_t flipped = 0;
    HOLDS(sizes_are_whole(self) && part_step(self)->pins.digital != 0u);
    for (uint32_t bit = 0; bit < 8u; ++bit) {
        *self = whole;
        self->config.set.blocks ^= 1u << bit;
        flipped += !sizes_are_whole(self) && part_step(self)->pins.digital == 0u;
        *self = whole;
        self->watch.health.count ^= 1u << bit;
        flipped += !sizes_are_whole(self) && part_step(self)->pins.digital == 0u;
        *self = whole;
        self->config.set.modules ^= (uint8_t)(1u << bit);
        flipped += !sizes_are_whole(self) && part_step(self)->pins.digital == 0u;
        *self = whole;
        self->config.set.blocks_per_module ^= (uint8_t)(1u << bit);
        flipped += !sizes_are_whole(self) && part_step(self)->pins.digital == 0u;
    }
    HOLDS(flipped == 32u);
    *self = whole; /* counts agree, and yet do not fit the modules */
    self->config.set.blocks = self->est.count = self->watch.health.count = 17u;
    HOLDS(!sizes_are_whole(self));
    *self = whole;
    self->config.set.modules = 2u;
    HOLDS(!sizes_are_whole(self));
    *self = whole;
    self->config.set.thermistors = BMS_THERMISTORS_MAX + 1u;
    HOLDS(!sizes_are_whole(self));
    *self = whole;
    self->config.set.modules = BMS_MODULES_MAX + 1u;
    HOLDS(!sizes_are_whole(self));
}

CLAIM(each_bus_that_is_off_is_seen)
{
    bms_t *const self = part_pack("standby");
    for (uint32_t k = 0; k < 4u; ++k) {
        ecu_in_t in = {0};
        ecu_out_t out = {0};
        in.now_us = self->now_us + 1000u;
        in.pins.digital = self->pins;
        in.pins.supply_mv = 13500u;
        in.can_state[ECU_BUS_VEHICLE] = (k & 1u) != 0u ? ECU_CAN_OFF : 0u;
        in.can_state[ECU_BUS_SENSOR] = (k & 2u) != 0u ? ECU_CAN_OFF : 0u;
        ecu_step(self, &in, &out);
        HOLDS(self->can_off == (k != 0u));
    }
}

CLAIM(a_step_that_ends_dead_puts_nothing_out)
{
    bms_t *const self = part_pack("drive");
    self->steps = 0u; /* the state machine runs in this step */
    self->config.set.magic ^= 1u;
    self->contactor.state = STATE_SELFTEST;
    self->contactor.state_not = (uint8_t)~STATE_SELFTEST;
    self->contactor.tests = 0u;
    HOLDS(part_step(self)->pins.digital == 0u && self->contactor.state == STATE_ASSERTED);
}
