#include "cmac.h"
#include "uds_rows.h"
#include "uds_services.h"
#include "util.h"

enum { QUIET = 0x80 };
enum { SELF_TEST = 0x0201, CONTACTOR_TEST = 0x0202 };
enum { FAULT_CONFIG = 1, FAULT_MEMORY = 2, FAULT_CHIPS = 4, FAULT_CIPHER = 8, FAULT_MEASURE = 16 };

static void begin_session(bms_t *self, uint32_t session)
{
    self->uds.session = (uint8_t)session;
    self->uds.unlocked = self->uds.seed_given = 0u;
    self->uds.session_us = self->now_us;
}

/* ---- services ------------------------------------------------------------------------------------------------------------------- */

static uint32_t session_control(bms_t *self, call_t *c)
{
    const uint32_t session = c->data[1] & 0x7Fu;
    if (session != UDS_DEFAULT_SESSION && session != UDS_EXTENDED_SESSION) return SUB_FUNCTION;
    if (c->length != 2u) return LENGTH;
    begin_session(self, session);
    uds_put(c, session, 1u);
    uds_put(c, UDS_P2_MS, 2u);
    uds_put(c, UDS_P2_STAR_MS / 10u, 2u);
    return OK;
}

static uint32_t reset(bms_t *self, call_t *c)
{
    const uint32_t kind = c->data[1] & 0x7Fu;
    if (kind != 1u && kind != 3u) return SUB_FUNCTION;
    if (c->length != 2u) return LENGTH;
    if (!uds_is_open(self)) return CONDITIONS;
    self->uds.reset = (uint8_t)kind;
    uds_put(c, kind, 1u);
    uds_wait_for_memory(self);
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
    uds_wait_for_memory(self);
}

static uint32_t give_seed(bms_t *self, call_t *c)
{
    uds_t *const u = &self->uds;
    if (c->length != 2u) return LENGTH;
    if (u->penalty != 0u || !store_is_read(self)) return DELAY;
    uds_put(c, 1u, 1u);
    if (u->unlocked != 0u) {
        for (uint32_t k = 0; k < 16u; ++k) uds_put(c, 0u, 1u);
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
    for (uint32_t k = 0; k < 16u; ++k) uds_put(c, u->seed[k], 1u);
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
        uds_put(c, 2u, 1u);
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
    if (!plausible_is_whole(self)) faults |= FAULT_CONFIG;
    if (store_fails(self) || !store_is_read(self)) faults |= FAULT_MEMORY;
    if (!afe_runs(self) || self->afe.failed_scans != 0u) faults |= FAULT_CHIPS;
    if (self->measure.scan == 0u || self->measure.cells_unknown != 0u) faults |= FAULT_MEASURE;
    return faults;
}

static void put_result(call_t *c, uint32_t what, uint32_t routine, uint32_t verdict, uint32_t faults)
{
    uds_put(c, what, 1u);
    uds_put(c, routine, 2u);
    uds_put(c, verdict, 1u);
    uds_put(c, faults, 1u);
}

static uint32_t test_itself(bms_t *self, call_t *c, uint32_t what)
{
    if (!uds_is_open(self)) return CONDITIONS;
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
        if (!uds_is_open(self) || !contactor_begin_test(self)) return CONDITIONS;
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
    uds_put(c, 0u, 1u);
    return OK;
}

/* ---- one request ---------------------------------------------------------------------------------------------------------------- */

typedef struct {
    uint8_t id, has_sub_function, extended_only;
    uint32_t (*serve)(bms_t *self, call_t *c);
} service_t;

static const service_t SERVICES[] = {
    {0x10, 1, 0, session_control}, {0x11, 1, 1, reset},        {0x14, 0, 0, uds_clear_codes},
    {0x19, 1, 0, uds_read_codes},      {0x22, 0, 0, uds_read_data},    {0x27, 1, 1, security_access},
    {0x2E, 0, 1, uds_write_data},      {0x31, 1, 1, routine},      {0x3E, 1, 0, tester_present},
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
    u->refused += 1u;
}

/* To everybody: whoever does not know the service or what it is about keeps silent. */
static bool is_kept_to_itself(uint32_t reason)
{
    return reason == SERVICE || reason == SUB_FUNCTION || reason == RANGE || reason == SERVICE_SESSION;
}

static void serve(bms_t *self)
{
    uds_t *const u = &self->uds;
    call_t c = {u->tp.rx, u->tp.rx_count, u->tp.tx, 1u};
    const service_t *const service = service_of(c.data[0]);
    uint32_t reason = OK;
    u->requests += 1u;
    sleep_keep_awake(self);
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
    if (u->quiet == 0u || u->told != 0u) isotp_send(&u->tp, u->answer);
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

/* Nobody speaks with us, and nothing runs out. */
static bool is_quiet(const uds_t *u)
{
    const uint32_t speaks = (uint32_t)u->tp.rx_state | u->tp.tx_state | u->tp.flow;
    return speaks == 0u && u->session == UDS_DEFAULT_SESSION && u->loaded != 0u && (u->waits | u->reset | u->penalty) == 0u;
}

void uds_step(bms_t *self, ecu_out_t *out)
{
    uds_t *const u = &self->uds;
    if (is_quiet(u)) return;
    isotp_age(&u->tp, self->now_us);
    age_penalty(self);
    if (u->tp.rx_state == ISOTP_RX_DONE && u->waits == 0u) {
        serve(self);
        if (u->waits == 0u) finish(self);
    }
    const bool busy = u->waits != 0u || isotp_is_sending(&u->tp);
    if (u->reset != 0u && !busy) out->reset_wanted = uds_is_open(self);
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
