#include "part.h"

#include <afe.c>

CLAIM(thirty_two_chips_have_a_bit_each)
{
    bms_t *const self = part_pack("standby");
    self->config.set.modules = BMS_MODULES_MAX;
    afe_init(self);
    HOLDS(self->afe.all_chips == UINT32_MAX && self->afe.near_chips == UINT32_MAX);
    self->config.set.modules = BMS_MODULES_MAX - 1u;
    afe_init(self);
    HOLDS(self->afe.all_chips == 0x7FFFFFFFu && self->afe.near_chips == 0x7FFFFFFFu);
}

CLAIM(a_frame_counts_only_with_both_bytes_of_its_code)
{
    for (uint32_t wrong = 0; wrong < 3u; ++wrong) {
        bms_t *const self = part_pack("standby");
        afe_t *const afe = &self->afe;
        uint8_t frame[8] = {1u, 0u, 0u, 0u, 0x40u, 0u, 0u, 0u};
        afe->asked = AFE_ASK_MODULE;
        afe->expect_bytes = 2u;
        afe->expect_register = 0u;
        afe->answered = 0u;
        frame[1] = afe->base_address;
        const uint16_t crc = crc16_modbus(frame, 6u);
        frame[6] = (uint8_t)(crc ^ (wrong == 1u));
        frame[7] = (uint8_t)((crc >> 8) ^ (wrong == 2u));
        const uint32_t errors = afe->crc_errors;
        (void)parse(self, frame, 8u);
        HOLDS((afe->answered != 0u) == (wrong == 0u) && (afe->crc_errors != errors) == (wrong != 0u));
    }
}

CLAIM(a_chip_that_stopped_converting_is_set_up_again)
{
    bms_t *const self = part_pack("standby");
    afe_t *const afe = &self->afe;
    ecu_out_t out = {0};
    const uint32_t restarts = afe->restarts;
    afe->cells_us = afe->gpio_us = afe->module_us = self->now_us + 1000000u;
    afe->status_us = 0u;
    afe->adc_stopped[0] = 1u;
    run(self, &out);
    HOLDS(afe->restarts == restarts + 1u && afe->phase != AFE_RUN);
}

CLAIM(switches_pause_only_when_no_half_of_a_command_is_under_way)
{
    bms_t *const self = part_pack("standby");
    afe_t *const afe = &self->afe;
    ecu_out_t out = {0};
    afe->cells_us = afe->gpio_us = afe->module_us = afe->status_us = afe->config_us = self->now_us + 1000000u;
    afe->config_bad = afe->clear_faults = 0u;
    afe->pause_wanted = 1u;
    afe->pause_set = 0u;
    afe->bleed_part = 1u;
    run(self, &out);
    HOLDS(afe->pause_set == 0u);
    afe->bleed_part = 0u;
    run(self, &out);
    HOLDS(afe->pause_set == 1u && afe->unheard[0] == 1u);
}

CLAIM(identities_that_are_missing_behind_an_open_ring_are_looked_for_once)
{
    bms_t *const self = part_pack("standby");
    afe_t *const afe = &self->afe;
    const uint32_t restarts = afe->restarts;
    self->config.set.modules = 2u;
    self->config.set.ring_is_wired = 1u;
    afe->all_chips = 3u;
    afe->is_silent = 1u;
    afe->asked = AFE_ASK_IDENTITY;
    afe->answered = 1u;
    afe->identity_failures = 200u;
    afe->far_chips = 2u; /* the other half is reached already: nothing is left to look for */
    finish(self);
    HOLDS(afe->restarts == restarts + 1u && afe->phase != AFE_MEND);
    afe->asked = AFE_ASK_IDENTITY;
    afe->answered = 1u;
    afe->is_silent = 1u;
    afe->far_chips = 0u;
    finish(self);
    HOLDS(afe->phase == AFE_MEND);
}

CLAIM(an_answer_to_a_question_that_does_not_exist_is_no_answer)
{
    static const uint8_t DATA[8] = {0};
    bms_t *const self = part_pack("standby");
    afe_t *const afe = &self->afe;
    afe->asked = 250u;
    afe->answered = 0u;
    take_frame(self, 0u, DATA, 0u);
    HOLDS(afe->answered == 0u);
    const uint32_t scan = self->measure.scan, gpio = self->measure.gpio_scan;
    finish(self);
    HOLDS(afe->asked == AFE_ASK_NOTHING && self->measure.scan == scan && self->measure.gpio_scan == gpio && afe->phase == AFE_RUN);
}

CLAIM(a_damaged_count_of_bytes_ends_in_zero_outputs_and_writes_nothing_beyond)
{
    bms_t *const self = part_pack("drive");
    afe_t *const afe = &self->afe;
    ecu_in_t in = {0};
    in.uart_count[0] = ECU_UART_IN_MAX;
    afe->asked = AFE_ASK_CELLS;
    afe->expect_bytes = 32u;
    afe->rx_count = UINT16_MAX;
    const measure_t was = self->measure; /* stands behind it */
    receive(self, &in);
    HOLDS(self->contactor.state == STATE_ASSERTED && self->contactor.coils == 0u && afe->rx_count <= sizeof afe->rx);
    HOLDS(memcmp(&was, &self->measure, sizeof was) == 0);
}
