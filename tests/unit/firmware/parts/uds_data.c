#include "part.h"

#include <uds_data.c>

CLAIM(too_long_an_answer_is_counted_and_not_written_beyond_its_end)
{
    uint8_t out[ISOTP_TX_MAX + 4u] = {0};
    call_t c = {NULL, 0u, out, ISOTP_TX_MAX - 1u};
    uds_put(&c, 0xAABBCCDDu, 4u);
    HOLDS(c.count == ISOTP_TX_MAX + 3u && out[ISOTP_TX_MAX - 1u] == 0xAAu && out[ISOTP_TX_MAX] == 0u);
}

CLAIM(unknown_is_all_ones_or_the_most_negative_value)
{
    uint8_t out[8] = {0};
    call_t c = {NULL, 0u, out, 0u};
    put_value(&c, BMS_UNKNOWN, 2u, false);
    put_value(&c, BMS_UNKNOWN, 2u, true);
    put_value(&c, 40000, 2u, true);
    put_value(&c, 70000, 2u, false);
    HOLDS(memcmp(out, "\xff\xff\x80\x00\x7f\xff\xff\xfe", 8) == 0);
}

CLAIM(of_a_number_wider_than_four_bytes_the_low_four_count)
{
    static const uint8_t BYTES[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    HOLDS(integer_at(BYTES, 8u, false) == 0x04030201 && integer_at(BYTES, 1u, false) == 1);
    static const uint8_t MINUS[2] = {0xFE, 0xFF};
    HOLDS(integer_at(MINUS, 2u, true) == -2 && integer_at(MINUS, 2u, false) == 0xFFFE);
}

/* What a tester gets for one identifier, as its last two bytes. */
static uint32_t told(bms_t *self, uint32_t kind)
{
    const uds_row_t *row = uds_rows;
    while (row < uds_rows + UDS_ROWS && row->kind != kind) ++row;
    HOLDS(row < uds_rows + UDS_ROWS);
    const uint8_t ask[3] = {0x22, (uint8_t)(row->id >> 8), (uint8_t)row->id};
    uint8_t out[ISOTP_TX_MAX] = {0};
    call_t c = {ask, 3u, out, 1u};
    HOLDS(uds_read_data(self, &c) == OK);
    return (uint32_t)out[3] << 8 | out[4];
}

CLAIM(what_is_not_known_is_told_as_unknown)
{
    bms_t *const self = part_pack("standby");
    HOLDS(told(self, UDS_FRACTION) != 0xFFFFu && told(self, UDS_BLOCKS_UV) != 0xFFFFu);
    self->soc_valid = 0u;
    self->measure.cell_valid[0] = 0u;
    HOLDS(told(self, UDS_FRACTION) == 0xFFFFu && told(self, UDS_BLOCKS_FRAC) == 0xFFFFu && told(self, UDS_BLOCKS_UV) == 0xFFFFu);
    self->sensor.current_ma.valid = self->sensor.pack_mv.valid = self->sensor.link_mv.valid = self->sensor.insulation_kohm.valid = 0u;
    HOLDS(told(self, UDS_READING) == 0x8000u);
    const uds_row_t row = {.id = 1, .kind = UDS_MEMORY, .offset = offsetof(bms_t, measure.cell_min_uv), .width = 4, .bytes = 4, .divide = 1000, .is_signed = 1};
    uint8_t out[8] = {0};
    call_t c = {NULL, 0u, out, 0u};
    self->measure.cell_min_uv = BMS_UNKNOWN; /* not a thousandth of it */
    put_row(self, &c, &row);
    HOLDS(memcmp(out, "\x80\x00\x00\x00", 4) == 0);
}

CLAIM(a_workshop_finds_contactors_open_only_if_coils_feedback_and_state_say_so)
{
    bms_t *const self = part_pack("standby");
    const bms_t whole = *self;
    HOLDS(uds_is_open(self));
    self->contactor.coils = PIN_OUT_MAIN_MINUS;
    HOLDS(!uds_is_open(self));
    *self = whole;
    self->pins |= PIN_IN_PRECHARGE_FEEDBACK;
    HOLDS(!uds_is_open(self));
    *self = whole;
    self->contactor.state = STATE_PRECHARGE;
    HOLDS(!uds_is_open(self));
}

CLAIM(half_an_identifier_is_refused_and_so_is_an_answer_that_does_not_fit)
{
    bms_t *const self = part_pack("standby");
    uint8_t ask[1 + 2 * 200] = {0x22}, out[ISOTP_TX_MAX];
    call_t c = {ask, 4u, out, 1u};
    HOLDS(uds_read_data(self, &c) == LENGTH);
    c.length = 2u;
    HOLDS(uds_read_data(self, &c) == LENGTH);
    const uds_row_t *row = uds_rows;
    while (row->kind != UDS_BLOCKS_UV) ++row;
    for (uint32_t k = 0; k < 200u; ++k) {
        ask[1u + 2u * k] = (uint8_t)(row->id >> 8);
        ask[2u + 2u * k] = (uint8_t)row->id;
    }
    c.length = sizeof ask;
    HOLDS(uds_read_data(self, &c) == TOO_LONG && c.count > ISOTP_TX_MAX);
}

CLAIM(nothing_is_written_before_memory_was_read)
{
    bms_t *const self = part_pack("standby");
    const uds_row_t *row = uds_rows;
    while (row->write == 0u) ++row;
    uint8_t ask[64] = {0x2E, (uint8_t)(row->id >> 8), (uint8_t)row->id}, out[8];
    call_t c = {ask, 3u + row->bytes, out, 1u};
    self->uds.unlocked = 1u;
    self->store.is_read = 0u;
    HOLDS(uds_write_data(self, &c) == CONDITIONS);
    self->store.is_read = 1u;
    self->pins |= PIN_IN_MAIN_PLUS_FEEDBACK;
    HOLDS(uds_write_data(self, &c) == CONDITIONS);
    self->pins &= ~(uint32_t)PIN_IN_MAIN_PLUS_FEEDBACK;
    HOLDS(uds_write_data(self, &c) == OK);
}

CLAIM(no_number_of_a_diagnosis_is_left_out_and_none_ends_at_operate)
{
    for (uint32_t id = 1; id < DIAG_COUNT; ++id) {
        HOLDS(diagnosis_table[id].id == id);
        HOLDS((diagnosis_table[id].tiers & (1u << TIER_WARN | 1u << TIER_TRIP)) != 0u);
    }
}

CLAIM(the_version_is_told_as_three_bytes)
{
    uint8_t out[8] = {0};
    call_t c = {NULL, 0u, out, 0u};
    const uds_row_t *row = uds_rows;
    while (row < uds_rows + UDS_ROWS && row->kind != UDS_VERSION) ++row;
    HOLDS(row < uds_rows + UDS_ROWS);
    put_row(part_pack("standby"), &c, row);
    HOLDS(c.count == 3u && out[0] == BMS_VERSION_MAJOR && out[1] == BMS_VERSION_MINOR && out[2] == BMS_VERSION_PATCH);
}
