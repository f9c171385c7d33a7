/* Services that read and write: data by identifier, trouble codes with their freeze frames. */
#include "uds_rows.h"
#include "uds_services.h"
#include "util.h"

/* ---- numbers ---------------------------------------------------------------------------------------------------------------------- */

void uds_put(call_t *c, uint32_t value, uint32_t bytes)
{
    for (uint32_t k = bytes; k != 0u; --k) {
        if (c->count < ISOTP_TX_MAX) c->out[c->count] = (uint8_t)(value >> 8u * (k - 1u));
        c->count += 1u; /* counts on, so that too long an answer is seen */
    }
}

/* Clamped into its bytes; unknown is all ones, or the most negative value of a signed one. */
static void put_value(call_t *c, int32_t value, uint32_t bytes, bool is_signed)
{
    if (bytes >= 4u) {
        uds_put(c, (uint32_t)value, 4u);
        return;
    }
    const int32_t all = (int32_t)((1u << 8u * bytes) - 1u), half = (int32_t)(1u << (8u * bytes - 1u));
    if (value == BMS_UNKNOWN) uds_put(c, (uint32_t)(is_signed ? half : all), bytes);
    else uds_put(c, (uint32_t)(is_signed ? clamp_i32(value, 1 - half, half - 1) : clamp_i32(value, 0, all - 1)), bytes);
}

static int32_t integer_at(const uint8_t *from, uint32_t width, bool is_signed)
{
    uint32_t value = 0u;
    for (uint32_t k = 0; k < width && k < 4u; ++k) value |= (uint32_t)from[k] << 8u * k; /* little-endian, as every target is */
    if (is_signed && width == 2u) return (int16_t)value;
    return (int32_t)value;
}

static int32_t fraction_of(const bms_t *self, const uint8_t *from)
{
    float value;
    memcpy(&value, from, sizeof value);
    return self->soc_valid != 0u ? to_i32(value * 10000.0f, 0, 65534, BMS_UNKNOWN) : BMS_UNKNOWN;
}

static void put_row(const bms_t *self, call_t *c, const uds_row_t *row)
{
    const uint8_t *const from = (const uint8_t *)self + (row->kind == UDS_USER ? 0u : row->offset);
    const uint8_t *const user = store_get(self, STORE_USER);
    reading_t reading;
    switch (row->kind) {
    case UDS_MEMORY: {
        const int32_t value = integer_at(from, row->width, row->is_signed != 0u);
        put_value(c, value == BMS_UNKNOWN ? value : value / row->divide, row->bytes, row->is_signed != 0u);
        break;
    }
    case UDS_READING:
        memcpy(&reading, from, sizeof reading);
        put_value(c, sensor_fresh(self, &reading, row->age_ms) ? reading.value : BMS_UNKNOWN, row->bytes, true);
        break;
    case UDS_FRACTION: put_value(c, fraction_of(self, from), row->bytes, false); break;
    case UDS_BLOCKS_UV:
        for (uint32_t b = 0; b < self->config.set.blocks; ++b)
            put_value(c, self->measure.cell_valid[b] != 0u ? self->measure.cell_uv[b] / 1000 : BMS_UNKNOWN, 2u, false);
        break;
    case UDS_BLOCKS_FRAC:
        for (uint32_t b = 0; b < self->config.set.blocks; ++b) put_value(c, fraction_of(self, from + 4u * b), 2u, false);
        break;
    case UDS_USER:
        for (uint32_t k = 0; k < row->bytes; ++k) uds_put(c, user != NULL ? user[row->offset + k] : 0u, 1u);
        break;
    case UDS_VERSION: uds_put(c, BMS_VERSION_MAJOR << 16 | BMS_VERSION_MINOR << 8 | BMS_VERSION_PATCH, 3u); break;
    default: uds_put(c, self->uds.session, 1u); break;
    }
}

static const uds_row_t *row_of(uint32_t id)
{
    for (uint32_t k = 0; k < UDS_ROWS; ++k) {
        if (uds_rows[k].id == id) return &uds_rows[k];
    }
    return NULL;
}

/* ---- conditions --------------------------------------------------------------------------------------------------------------- */

bool uds_is_open(const bms_t *self)
{
    const uint32_t feedbacks = PIN_IN_MAIN_PLUS_FEEDBACK | PIN_IN_MAIN_MINUS_FEEDBACK | PIN_IN_PRECHARGE_FEEDBACK;
    return self->contactor.coils == 0u && (self->pins & feedbacks) == 0u && self->contactor.state != STATE_PRECHARGE;
}

/* ---- trouble codes -------------------------------------------------------------------------------------------------------------- */

/* Latched diagnoses go too, of every kind, after security access. */
uint32_t uds_clear_codes(bms_t *self, call_t *c)
{
    if (c->length != 4u) return LENGTH;
    const uint32_t code = (uint32_t)c->data[1] << 16 | (uint32_t)c->data[2] << 8 | c->data[3], id = code >> 8 & 0xFFu;
    const bool all = code == 0xFFFFFFu;
    if (!all && ((code & 0xFF00FFu) != UDS_CODE_BASE || id == 0u || id >= DIAG_COUNT)) return RANGE;
    if (!uds_is_open(self)) return CONDITIONS;
    if (self->uds.unlocked != 0u) diag_clear(self, true);
    store_clear_codes(self, all ? 0u : id);
    uds_wait_for_memory(self);
    return OK;
}

static void put_code(const bms_t *self, call_t *c, uint32_t id)
{
    uds_put(c, UDS_CODE_BASE | id << 8, 3u);
    uds_put(c, self->store.code[id], 1u);
}

static const store_frame_t *frame_of(const bms_t *self, uint32_t id)
{
    for (uint32_t f = 0; f < STORE_FRAMES; ++f) {
        if (self->store.frame[f].id == id) return &self->store.frame[f];
    }
    return NULL;
}

static void put_frame(call_t *c, const store_frame_t *frame)
{
    uds_put(c, 1u, 1u);
    uds_put(c, UDS_FRAME_ROWS, 1u);
    for (uint32_t k = 0; k < UDS_FRAME_ROWS; ++k) {
        const uds_frame_row_t *const row = &uds_frame_rows[k];
        uds_put(c, row->id, 2u);
        uds_put(c, (uint32_t)integer_at((const uint8_t *)frame + row->offset, row->width, row->is_signed != 0u), row->bytes);
    }
}

/* Of one code: its freeze frame (04), or whether it is latched (06). */
static uint32_t one_code(const bms_t *self, call_t *c, uint32_t report)
{
    if (c->length != 6u) return LENGTH;
    const uint32_t code = (uint32_t)c->data[2] << 16 | (uint32_t)c->data[3] << 8 | c->data[4], id = code >> 8 & 0xFFu;
    const uint32_t record = c->data[5];
    if ((code & 0xFF00FFu) != UDS_CODE_BASE || id == 0u || id >= DIAG_COUNT) return RANGE;
    if (record != 1u && record != 0xFFu) return RANGE;
    uds_put(c, report, 1u);
    put_code(self, c, id);
    const store_frame_t *const frame = frame_of(self, id);
    if (report == 4u && frame != NULL) put_frame(c, frame);
    if (report == 6u) uds_put(c, 0x0100u | self->protect.diag[id].latched, 2u);
    return OK;
}

uint32_t uds_read_codes(bms_t *self, call_t *c)
{
    const uint32_t report = c->data[1] & 0x7Fu;
    if (report == 4u || report == 6u) return one_code(self, c, report);
    if (report != 1u && report != 2u && report != 0x0Au) return SUB_FUNCTION;
    if (c->length != (report == 0x0Au ? 2u : 3u)) return LENGTH;
    const uint32_t mask = report == 0x0Au ? 0u : c->data[2];
    uds_put(c, report, 1u);
    uds_put(c, 0xFFu, 1u); /* every bit of the status is kept */
    uint32_t count = 0u;
    for (uint32_t id = 1; id < DIAG_COUNT; ++id) {
        if (report != 0x0Au && (self->store.code[id] & mask) == 0u) continue;
        count += 1u;
        if (report != 1u) put_code(self, c, id);
    }
    if (report == 1u) uds_put(c, 0x010000u | count, 3u); /* codes as ISO 14229-1 has them */
    return OK;
}

/* ---- data ----------------------------------------------------------------------------------------------------------------------- */

uint32_t uds_read_data(bms_t *self, call_t *c)
{
    if (c->length < 3u || c->length % 2u == 0u) return LENGTH;
    uint32_t found = 0u;
    for (uint32_t k = 1; k + 1u < c->length; k += 2u) {
        const uint32_t id = get_u16_be(c->data + k);
        const uds_row_t *const row = row_of(id);
        if (row == NULL) continue;
        found += 1u;
        uds_put(c, id, 2u);
        put_row(self, c, row);
    }
    if (found == 0u) return RANGE;
    return c->count > ISOTP_TX_MAX ? TOO_LONG : OK;
}

uint32_t uds_write_data(bms_t *self, call_t *c)
{
    if (c->length < 4u) return LENGTH;
    const uint32_t id = get_u16_be(c->data + 1);
    const uds_row_t *const row = row_of(id);
    if (row == NULL || row->write == 0u) return RANGE;
    if (c->length != 3u + row->bytes) return LENGTH;
    if (self->uds.unlocked == 0u) return SECURITY;
    if (!uds_is_open(self) || !store_is_read(self)) return CONDITIONS;
    const uint8_t *const before = store_get(self, STORE_USER);
    uint8_t bytes[STORE_BYTES] = {0};
    if (before != NULL) memcpy(bytes, before, sizeof bytes);
    memcpy(bytes + row->offset, c->data + 3, row->bytes);
    store_put(self, STORE_USER, bytes);
    uds_put(c, id, 2u);
    uds_wait_for_memory(self);
    return OK;
}
