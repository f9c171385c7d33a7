#include "part.h"

#include <canout.c>

CLAIM(a_thermistor_beyond_the_last_or_unknown_is_told_as_none)
{
    bms_t *const self = part_pack("standby");
    HOLDS(sensor_of(self, 0u) != 255u && sensor_of(self, 6u) == 255u && sensor_of(self, 1000u) == 255u);
    self->measure.sensor_valid[0] = 0u;
    HOLDS(sensor_of(self, 0u) == 255u);
}

/* The last frame with this identifier. */
static const ecu_can_frame_t *sent(const ecu_out_t *out, uint32_t id)
{
    const ecu_can_frame_t *found = NULL;
    for (uint32_t k = 0; k < out->can_count; ++k) found = out->can[k].id == id ? &out->can[k] : found;
    return found;
}

CLAIM(insulation_per_volt_of_a_pack_without_voltage_is_unknown)
{
    bms_t *const self = part_pack("standby");
    for (int32_t volts = 0; volts < 2; ++volts) {
        ecu_out_t out = {0};
        struct bms_dbc_bms_insulation_t m;
        self->sensor.pack_mv.value = 1000 * volts;
        send_insulation(self, &out);
        const ecu_can_frame_t *const frame = sent(&out, BMS_DBC_BMS_INSULATION_FRAME_ID);
        HOLDS(frame != NULL && bms_dbc_bms_insulation_unpack(&m, frame->data, 8u) == 0);
        HOLDS((m.insulation_per_volt == NONE_16) == (volts == 0));
    }
}

CLAIM(an_event_is_raised_by_a_tier_or_by_a_latch_and_falls_with_both)
{
    bms_t *const self = part_pack("standby");
    diagnosis_t *const d = &self->protect.diag[DIAG_GAS];
    const struct { uint8_t tier, latched, raised; } steps[] = {
        {TIER_WARN, 0, 1}, {TIER_TRIP, 0, 1}, {TIER_TRIP, 1, 1}, {TIER_NONE, 1, 0}, {TIER_NONE, 0, 0}};
    while (self->protect.changed != 0u) {
        ecu_out_t none = {0};
        send_event(self, &none);
    }
    for (uint32_t k = 0; k < sizeof steps / sizeof steps[0]; ++k) {
        ecu_out_t out = {0};
        struct bms_dbc_bms_event_t m;
        d->tier = steps[k].tier;
        d->latched = steps[k].latched;
        self->protect.changed = 1u;
        send_event(self, &out);
        const ecu_can_frame_t *const frame = sent(&out, BMS_DBC_BMS_EVENT_FRAME_ID);
        HOLDS(frame != NULL && bms_dbc_bms_event_unpack(&m, frame->data, 8u) == 0);
        HOLDS(m.diagnosis_id == DIAG_GAS && m.raised == steps[k].raised && m.latched == steps[k].latched);
        ecu_out_t none = {0};
        send_event(self, &none);
        HOLDS(none.can_count == 0u && self->protect.changed == 0u);
    }
}

CLAIM(a_full_mailbox_is_never_written_beyond)
{
    bms_t *const self = part_pack("drive");
    ecu_out_t out, full;
    memset(&full, 0x5A, sizeof full);
    full.can_count = ECU_CAN_OUT_MAX;
    self->protect.diag[DIAG_GAS].tier = TIER_TRIP; /* an event to tell */
    self->protect.changed = 1u;
    out = full;
    for (uint32_t row = 0; row < MESSAGE_SCHEDULE_COUNT; ++row) send_row(self, &out, row);
    for (uint32_t slot = 0; slot < 1000u; ++slot) canout_step(self, &out, slot);
    HOLDS(memcmp(&out, &full, sizeof out) == 0);
    HOLDS(self->protect.changed != 0u && self->protect.diag[DIAG_GAS].told_tier == TIER_NONE); /* it is told later */
}
