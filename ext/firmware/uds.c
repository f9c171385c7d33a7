#include "cmac.h"
#include "crc.h"
#include "uds_rows.h"
#include "util.h"

enum {
    OK = 0, SERVICE = 0x11, SUB_FUNCTION = 0x12, LENGTH = 0x13, TOO_LONG = 0x14, CONDITIONS = 0x22, SEQUENCE = 0x24, RANGE = 0x31,
    SECURITY = 0x33, WRONG_KEY = 0x35, ATTEMPTS = 0x36, DELAY = 0x37, PROGRAMMING = 0x72, PENDING = 0x78, SUB_FUNCTION_SESSION = 0x7E,
    SERVICE_SESSION = 0x7F
};
enum { QUIET = 0x80 };
enum { SELF_TEST = 0x0201, CONTACTOR_TEST = 0x0202 };
enum { FAULT_CONFIG = 1, FAULT_MEMORY = 2, FAULT_CHIPS = 4, FAULT_CIPHER = 8, FAULT_MEASURE = 16 };

/* A request as its service sees it, and the answer it writes. */
typedef struct {
    const uint8_t *data; /* with the service identifier */
    uint32_t length;
    uint8_t *out;
    uint32_t count;      /* bytes of the answer, the service identifier included */
} call_t;

/* ---- numbers ---------------------------------------------------------------------------------------------------------------------- */

static void put(call_t *c, uint32_t value, uint32_t bytes)
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
        put(c, (uint32_t)value, 4u);
        return;
    }
    const int32_t all = (int32_t)((1u << 8u * bytes) - 1u), half = (int32_t)(1u << (8u * bytes - 1u));
    if (value == BMS_UNKNOWN) put(c, (uint32_t)(is_signed ? half : all), bytes);
    else put(c, (uint32_t)(is_signed ? clamp_i32(value, 1 - half, half - 1) : clamp_i32(value, 0, all - 1)), bytes);
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
        for (uint32_t k = 0; k < row->bytes; ++k) put(c, user != NULL ? user[row->offset + k] : 0u, 1u);
        break;
    case UDS_VERSION: put(c, BMS_VERSION_MAJOR << 16 | BMS_VERSION_MINOR << 8 | BMS_VERSION_PATCH, 3u); break;
    default: put(c, self->uds.session, 1u); break;
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

/* No contactor is closed, told to close, or about to. */
static bool is_open(const bms_t *self)
{
    const uint32_t feedbacks = PIN_IN_MAIN_PLUS_FEEDBACK | PIN_IN_MAIN_MINUS_FEEDBACK | PIN_IN_PRECHARGE_FEEDBACK;
    return self->contactor.coils == 0u && (self->pins & feedbacks) == 0u && self->contactor.state != STATE_PRECHARGE;
}

static void begin_session(bms_t *self, uint32_t session)
{
    self->uds.session = (uint8_t)session;
    self->uds.unlocked = self->uds.seed_given = 0u;
    self->uds.session_us = self->now_us;
}

/* The answer waits until what was put is in memory. */
static void wait_for_memory(bms_t *self)
{
    self->uds.waits = 1u;
}

/* ---- services ------------------------------------------------------------------------------------------------------------------- */

static uint32_t session_control(bms_t *self, call_t *c)
{
    const uint32_t session = c->data[1] & 0x7Fu;
    if (session != UDS_DEFAULT_SESSION && session != UDS_EXTENDED_SESSION) return SUB_FUNCTION;
    if (c->length != 2u) return LENGTH;
    begin_session(self, session);
    put(c, session, 1u);
    put(c, UDS_P2_MS, 2u);
    put(c, UDS_P2_STAR_MS / 10u, 2u);
    return OK;
}

static uint32_t reset(bms_t *self, call_t *c)
{
    const uint32_t kind = c->data[1] & 0x7Fu;
    if (kind != 1u && kind != 3u) return SUB_FUNCTION;
    if (c->length != 2u) return LENGTH;
    if (!is_open(self)) return CONDITIONS;
    self->uds.reset = (uint8_t)kind;
    put(c, kind, 1u);
    wait_for_memory(self);
    return OK;
}

/* Latched diagnoses go too, of every kind, after security access. */
static uint32_t clear(bms_t *self, call_t *c)
{
    if (c->length != 4u) return LENGTH;
    const uint32_t code = (uint32_t)c->data[1] << 16 | (uint32_t)c->data[2] << 8 | c->data[3], id = code >> 8 & 0xFFu;
    const bool all = code == 0xFFFFFFu;
    if (!all && ((code & 0xFF00FFu) != UDS_CODE_BASE || id == 0u || id >= DIAG_COUNT)) return RANGE;
    if (!is_open(self)) return CONDITIONS;
    if (self->uds.unlocked != 0u) diag_clear(self, true);
    store_clear_codes(self, all ? 0u : id);
    wait_for_memory(self);
    return OK;
}

static void put_code(const bms_t *self, call_t *c, uint32_t id)
{
    put(c, UDS_CODE_BASE | id << 8, 3u);
    put(c, self->store.code[id], 1u);
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
    put(c, 1u, 1u);
    put(c, UDS_FRAME_ROWS, 1u);
    for (uint32_t k = 0; k < UDS_FRAME_ROWS; ++k) {
        const uds_frame_row_t *const row = &uds_frame_rows[k];
        put(c, row->id, 2u);
        put(c, (uint32_t)integer_at((const uint8_t *)frame + row->offset, row->width, row->is_signed != 0u), row->bytes);
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
    put(c, report, 1u);
    put_code(self, c, id);
    const store_frame_t *const frame = frame_of(self, id);
    if (report == 4u && frame != NULL) put_frame(c, frame);
    if (report == 6u) put(c, 0x0100u | self->protect.diag[id].latched, 2u);
    return OK;
}

static uint32_t read_codes(bms_t *self, call_t *c)
{
    const uint32_t report = c->data[1] & 0x7Fu;
    if (report == 4u || report == 6u) return one_code(self, c, report);
    if (report != 1u && report != 2u && report != 0x0Au) return SUB_FUNCTION;
    if (c->length != (report == 0x0Au ? 2u : 3u)) return LENGTH;
    const uint32_t mask = report == 0x0Au ? 0u : c->data[2];
    put(c, report, 1u);
    put(c, 0xFFu, 1u); /* every bit of the status is kept */
    uint32_t count = 0u;
    for (uint32_t id = 1; id < DIAG_COUNT; ++id) {
        if (diagnosis_table[id].id == 0u || (report != 0x0Au && (self->store.code[id] & mask) == 0u)) continue;
        count += 1u;
        if (report != 1u) put_code(self, c, id);
    }
    if (report == 1u) put(c, 0x010000u | count, 3u); /* codes as ISO 14229-1 has them */
    return OK;
}

static uint32_t read_data(bms_t *self, call_t *c)
{
    if (c->length < 3u || c->length % 2u == 0u) return LENGTH;
    uint32_t found = 0u;
    for (uint32_t k = 1; k + 1u < c->length; k += 2u) {
        const uint32_t id = get_u16_be(c->data + k);
        const uds_row_t *const row = row_of(id);
        if (row == NULL) continue;
        found += 1u;
        put(c, id, 2u);
        put_row(self, c, row);
    }
    if (found == 0u) return RANGE;
    return c->count > ISOTP_TX_MAX ? TOO_LONG : OK;
}

static uint32_t write_data(bms_t *self, call_t *c)
{
    if (c->length < 4u) return LENGTH;
    const uint32_t id = get_u16_be(c->data + 1);
    const uds_row_t *const row = row_of(id);
    if (row == NULL || row->write == 0u) return RANGE;
    if (c->length != 3u + row->bytes) return LENGTH;
    if (self->uds.unlocked == 0u) return SECURITY;
    if (!is_open(self) || !store_is_read(self)) return CONDITIONS;
    const uint8_t *const before = store_get(self, STORE_USER);
    uint8_t bytes[STORE_BYTES] = {0};
    if (before != NULL) memcpy(bytes, before, sizeof bytes);
    memcpy(bytes + row->offset, c->data + 3, row->bytes);
    store_put(self, STORE_USER, bytes);
    put(c, id, 2u);
    wait_for_memory(self);
    return OK;
}

/* ---- security access ---------------------------------------------------------------------------------------------------------- */

/* The key of this level, from the key of the pack: neither tells the other. */
static void security_key(const bms_t *self, uint8_t key[16])
{
    static const uint8_t LABEL[16] = {UDS_LABEL};
    cmac_aes128(self->config.set.request_key, LABEL, sizeof LABEL, key);
}

static void save_tries(bms_t *self)
{
    uint8_t bytes[STORE_BYTES] = {0};
    bytes[0] = self->uds.tries;
    store_put(self, STORE_SECURITY, bytes);
    wait_for_memory(self);
}

static uint32_t give_seed(bms_t *self, call_t *c)
{
    uds_t *const u = &self->uds;
    if (c->length != 2u) return LENGTH;
    if (u->penalty != 0u || !store_is_read(self)) return DELAY;
    put(c, 1u, 1u);
    if (u->unlocked != 0u) {
        for (uint32_t k = 0; k < 16u; ++k) put(c, 0u, 1u);
        return OK;
    }
    uint8_t key[16], text[32] = {0};
    security_key(self, key);
    u->seeds += 1u;
    memcpy(text, u->entropy, 16u);
    memcpy(text + 16, &self->store.counts.boots, 4u);
    memcpy(text + 20, &u->seeds, 4u);
    memcpy(text + 24, &self->now_us, 8u);
    cmac_aes128(key, text, sizeof text, u->seed);
    u->seed_given = 1u;
    for (uint32_t k = 0; k < 16u; ++k) put(c, u->seed[k], 1u);
    return OK;
}

static uint32_t take_key(bms_t *self, call_t *c)
{
    uds_t *const u = &self->uds;
    if (c->length != 18u) return LENGTH;
    if (u->penalty != 0u) return DELAY;
    if (u->seed_given == 0u) return SEQUENCE;
    uint8_t key[16], right[16];
    security_key(self, key);
    cmac_aes128(key, u->seed, 16u, right);
    u->seed_given = 0u;
    if (cmac_equal(right, c->data + 2, 16u)) {
        u->unlocked = 1u;
        if (u->tries != 0u) {
            u->tries = 0u;
            save_tries(self);
        }
        put(c, 2u, 1u);
        return OK;
    }
    u->tries = (uint8_t)(u->tries + 1u);
    save_tries(self); /* before the tester learns that it was wrong: a reset gives no further try */
    if (u->tries < UDS_TRIES) return WRONG_KEY;
    u->penalty = 1u;
    u->penalty_us = self->now_us;
    return ATTEMPTS;
}

static uint32_t security_access(bms_t *self, call_t *c)
{
    const uint32_t step = c->data[1] & 0x7Fu;
    if (step == 1u) return give_seed(self, c);
    return step == 2u ? take_key(self, c) : (uint32_t)SUB_FUNCTION;
}

/* Tries of before a reset count on; three of them begin the penalty anew. */
static void age_penalty(bms_t *self)
{
    uds_t *const u = &self->uds;
    if (u->loaded == 0u && store_is_read(self)) {
        const uint8_t *const kept = store_get(self, STORE_SECURITY);
        u->loaded = 1u;
        u->tries = kept != NULL ? kept[0] : 0u;
        u->penalty = u->tries >= UDS_TRIES;
        u->penalty_us = self->now_us;
    }
    if (u->penalty == 0u || elapsed_ms(self->now_us, u->penalty_us) < UDS_PENALTY_MS) return;
    u->penalty = u->tries = 0u;
    uint8_t bytes[STORE_BYTES] = {0};
    store_put(self, STORE_SECURITY, bytes);
}

/* ---- routines ------------------------------------------------------------------------------------------------------------------- */

static uint32_t self_test(const bms_t *self)
{
    static const uint8_t KEY[16] = {0x2B, 0x7E, 0x15, 0x16, 0x28, 0xAE, 0xD2, 0xA6, 0xAB, 0xF7, 0x15, 0x88, 0x09, 0xCF, 0x4F, 0x3C};
    static const uint8_t EMPTY[16] = {0xBB, 0x1D, 0x69, 0x29, 0xE9, 0x59, 0x37, 0x28, 0x7F, 0xA3, 0x7D, 0x12, 0x9B, 0x75, 0x67, 0x46};
    uint8_t mac[16];
    cmac_aes128(KEY, KEY, 0u, mac); /* RFC 4493, example 1 */
    uint32_t faults = cmac_equal(mac, EMPTY, 16u) ? 0u : (uint32_t)FAULT_CIPHER;
    const uint32_t crc = crc32_ieee((const uint8_t *)&self->config, offsetof(bms_config_t, crc32));
    if (crc != self->config_crc) faults |= FAULT_CONFIG;
    if (store_fails(self) || !store_is_read(self)) faults |= FAULT_MEMORY;
    if (!afe_runs(self) || self->afe.failed_scans != 0u) faults |= FAULT_CHIPS;
    if (self->measure.scan == 0u || self->measure.cells_unknown != 0u) faults |= FAULT_MEASURE;
    return faults;
}

static void put_result(call_t *c, uint32_t what, uint32_t routine, uint32_t verdict, uint32_t faults)
{
    put(c, what, 1u);
    put(c, routine, 2u);
    put(c, verdict, 1u);
    put(c, faults, 1u);
}

static uint32_t test_itself(bms_t *self, call_t *c, uint32_t what)
{
    if (!is_open(self)) return CONDITIONS;
    if (what == 3u && self->uds.routine == UDS_ROUTINE_NEVER) return SEQUENCE;
    if (what == 1u) {
        self->uds.faults = self_test(self);
        self->uds.routine = self->uds.faults == 0u ? UDS_ROUTINE_PASSED : UDS_ROUTINE_FAILED;
    }
    put_result(c, what, SELF_TEST, self->uds.routine, self->uds.faults);
    return OK;
}

/* Each contactor alone, in standby only: contactor.c sees to it that no path is closed. */
static uint32_t test_contactors(bms_t *self, call_t *c, uint32_t what)
{
    uds_t *const u = &self->uds;
    if (what == 1u) {
        if (u->unlocked == 0u) return SECURITY;
        if (!is_open(self) || !contactor_begin_test(self)) return CONDITIONS;
        u->contactors = UDS_ROUTINE_RUNS;
    }
    if (u->contactors == UDS_ROUTINE_NEVER) return SEQUENCE;
    if (self->contactor.state == STATE_SERVICE) u->contactors = UDS_ROUTINE_RUNS;
    else u->contactors = self->contactor.test_failed == 0u ? UDS_ROUTINE_PASSED : UDS_ROUTINE_FAILED;
    put_result(c, what, CONTACTOR_TEST, u->contactors, self->contactor.test_failed);
    return OK;
}

static uint32_t routine(bms_t *self, call_t *c)
{
    const uint32_t what = c->data[1] & 0x7Fu;
    if (c->length < 4u) return LENGTH;
    if (what != 1u && what != 3u) return SUB_FUNCTION;
    const uint32_t which = get_u16_be(c->data + 2);
    if (which != SELF_TEST && which != CONTACTOR_TEST) return RANGE;
    if (c->length != 4u) return LENGTH;
    return which == SELF_TEST ? test_itself(self, c, what) : test_contactors(self, c, what);
}

static uint32_t tester_present(bms_t *self, call_t *c)
{
    (void)self;
    if ((c->data[1] & 0x7Fu) != 0u) return SUB_FUNCTION;
    if (c->length != 2u) return LENGTH;
    put(c, 0u, 1u);
    return OK;
}

/* ---- one request ---------------------------------------------------------------------------------------------------------------- */

typedef struct {
    uint8_t id, has_sub_function, extended_only;
    uint32_t (*serve)(bms_t *self, call_t *c);
} service_t;

static const service_t SERVICES[] = {
    {0x10, 1, 0, session_control}, {0x11, 1, 1, reset},        {0x14, 0, 0, clear},
    {0x19, 1, 0, read_codes},      {0x22, 0, 0, read_data},    {0x27, 1, 1, security_access},
    {0x2E, 0, 1, write_data},      {0x31, 1, 1, routine},      {0x3E, 1, 0, tester_present},
};

static const service_t *service_of(uint32_t id)
{
    for (uint32_t k = 0; k < sizeof SERVICES / sizeof SERVICES[0]; ++k) {
        if (SERVICES[k].id == id) return &SERVICES[k];
    }
    return NULL;
}

static void refuse(bms_t *self, uint32_t service, uint32_t reason)
{
    uds_t *const u = &self->uds;
    u->tp.tx[0] = 0x7Fu;
    u->tp.tx[1] = (uint8_t)service;
    u->tp.tx[2] = (uint8_t)reason;
    u->answer = 3u;
    u->quiet = 0u;
    if (reason != PENDING) u->refused += 1u;
}

/* To everybody: whoever does not know the service or what it is about keeps silent. */
static bool is_kept_to_itself(uint32_t reason)
{
    return reason == SERVICE || reason == SUB_FUNCTION || reason == RANGE || reason == SUB_FUNCTION_SESSION || reason == SERVICE_SESSION;
}

static void serve(bms_t *self)
{
    uds_t *const u = &self->uds;
    call_t c = {u->tp.rx, u->tp.rx_count, u->tp.tx, 1u};
    const service_t *const service = service_of(c.data[0]);
    uint32_t reason = OK;
    u->requests += 1u;
    u->request_us = u->session_us = self->now_us;
    u->quiet = u->waits = u->told = 0u;
    u->answer = 0u;
    if (service == NULL) reason = SERVICE;
    else if (service->extended_only != 0u && u->session != UDS_EXTENDED_SESSION) reason = SERVICE_SESSION;
    else if (c.length < 1u + service->has_sub_function) reason = LENGTH;
    else reason = service->serve(self, &c);
    if (reason != OK) {
        const uint8_t id = c.data[0];
        refuse(self, id, reason);
        u->quiet = u->tp.rx_functional != 0u && is_kept_to_itself(reason);
        return;
    }
    u->tp.tx[0] = (uint8_t)(c.data[0] + 0x40u);
    u->answer = (uint16_t)c.count;
    u->quiet = service->has_sub_function != 0u && (c.data[1] & QUIET) != 0u;
}

/* ---- every step ----------------------------------------------------------------------------------------------------------------- */

void uds_init(bms_t *self, const uint8_t entropy[16])
{
    isotp_init(&self->uds.tp);
    memcpy(self->uds.entropy, entropy, 16u);
    self->uds.session = UDS_DEFAULT_SESSION;
}

void uds_receive(bms_t *self, const ecu_can_frame_t *frame)
{
    if (frame->id != UDS_REQUEST_ID && frame->id != UDS_EVERYBODY_ID) return;
    if (frame->flags != 0u) self->uds.tp.malformed += 1u;
    else isotp_receive(&self->uds.tp, self->now_us, frame->data, frame->length, frame->id == UDS_EVERYBODY_ID);
}

/* "Wait": a message of its own, and the answer behind it is made anew. */
static bool tell_to_wait(bms_t *self, ecu_can_frame_t *frame)
{
    uds_t *const u = &self->uds;
    const bool due = u->told == 0u ? elapsed_ms(self->now_us, u->request_us) >= UDS_P2_MS / 2u
                                   : elapsed_ms(self->now_us, u->told_us) >= UDS_P2_STAR_MS / 2u;
    if (!due) return false;
    memset(frame->data, (int)ISOTP_PAD, 8u);
    frame->data[0] = 3u;
    frame->data[1] = 0x7Fu;
    frame->data[2] = u->tp.rx[0];
    frame->data[3] = PENDING;
    u->told = 1u;
    u->told_us = self->now_us;
    return true;
}

static void finish(bms_t *self)
{
    uds_t *const u = &self->uds;
    const bool lost = u->waits != 0u && u->reset == 0u && (store_fails(self) || !store_is_idle(self));
    if (lost) refuse(self, u->tp.rx[0], PROGRAMMING);
    if (u->answer != 0u && (u->quiet == 0u || u->told != 0u)) isotp_send(&u->tp, u->answer);
    u->tp.rx_state = ISOTP_RX_IDLE;
    u->answer = 0u;
    u->waits = 0u;
    u->session_us = self->now_us;
}

static bool next_frame(bms_t *self, ecu_can_frame_t *frame)
{
    uds_t *const u = &self->uds;
    if (u->waits != 0u) {
        const bool settled = store_is_idle(self) || elapsed_ms(self->now_us, u->request_us) >= UDS_GIVE_UP_MS;
        if (!settled) return tell_to_wait(self, frame);
        finish(self);
    }
    return isotp_next(&u->tp, self->now_us, frame->data);
}

void uds_step(bms_t *self, ecu_out_t *out)
{
    uds_t *const u = &self->uds;
    isotp_age(&u->tp, self->now_us);
    age_penalty(self);
    if (u->tp.rx_state == ISOTP_RX_DONE && u->waits == 0u) {
        serve(self);
        if (u->waits == 0u) finish(self);
    }
    const bool busy = u->waits != 0u || isotp_is_sending(&u->tp);
    if (u->reset != 0u && !busy) out->reset_wanted = is_open(self);
    if (u->session != UDS_DEFAULT_SESSION && !busy && elapsed_ms(self->now_us, u->session_us) > UDS_S3_MS)
        begin_session(self, UDS_DEFAULT_SESSION);
    if (out->can_count >= ECU_CAN_OUT_MAX) return;
    ecu_can_frame_t *const frame = &out->can[out->can_count];
    if (!next_frame(self, frame)) return;
    frame->id = UDS_ANSWER_ID;
    frame->bus = ECU_BUS_VEHICLE;
    frame->length = 8u;
    frame->flags = frame->reserved = 0u;
    out->can_count = (uint16_t)(out->can_count + 1u);
}
