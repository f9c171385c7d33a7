/* Authority to close: see request.h. */
#include "bms.h"
#include "bms_dbc.h"
#include "cmac.h"
#include "util.h"

#define SPAN_MS 10000u         /* wrong frames and wishes are counted in */
#define COUNT_LAST 60000u      /* another challenge before the count ends */
#define MEMORY_WAIT_MS 2000u   /* for the number of the boot to be kept; a memory that fails is no reason never to close */
#define MODE_LAST 2u

static void put_u32(uint8_t *to, uint32_t value)
{
    for (uint32_t k = 0; k < 4u; ++k) to[k] = (uint8_t)(value >> (8u * k));
}

static uint32_t get_u32(const uint8_t *from)
{
    return (uint32_t)from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 | (uint32_t)from[3] << 24;
}

/* ---- challenge ---------------------------------------------------------------------------------------------------------------- */

static void renew(bms_t *self)
{
    request_t *const r = &self->request;
    uint8_t text[25], mac[16];
    text[0] = (uint8_t)'C';
    memcpy(text + 1, r->entropy, sizeof r->entropy);
    put_u32(text + 17, r->boots);
    put_u32(text + 21, r->renewals++);
    cmac_aes128(self->config.set.request_key, text, sizeof text, mac);
    memcpy(r->before, r->challenge, sizeof r->before);
    memcpy(r->challenge, mac, sizeof r->challenge);
    r->count = 0u;
    r->known = 0u;
    r->challenge_us = self->now_us;
}

void request_init(bms_t *self, const uint8_t entropy[16])
{
    memcpy(self->request.entropy, entropy, sizeof self->request.entropy);
    self->request.started_us = self->now_us;
}

/* The number of the boot is one more than the kept one, and is kept before the first challenge is told. */
static void start(bms_t *self)
{
    request_t *const r = &self->request;
    if (r->phase == REQUEST_WAITS) {
        if (!store_is_read(self)) return;
        uint8_t record[STORE_BYTES] = {0};
        const uint8_t *const kept = store_get(self, STORE_FRESHNESS);
        r->boots = 1u + (kept != NULL ? get_u32(kept) : 0u);
        put_u32(record, r->boots);
        store_put(self, STORE_FRESHNESS, record);
        r->phase = REQUEST_KEEPS;
        r->started_us = self->now_us;
    }
    if (!store_is_idle(self) && elapsed_ms(self->now_us, r->started_us) < MEMORY_WAIT_MS) return;
    renew(self);
    r->phase = REQUEST_RUNS;
}

/* ---- frames -------------------------------------------------------------------------------------------------------------------- */

static bool mac_fits(const bms_t *self, const uint8_t *challenge, const uint8_t *data)
{
    uint8_t text[11] = {(uint8_t)'A', (uint8_t)(BMS_DBC_VCU_AUTHORITY_FRAME_ID & 0xFFu), (uint8_t)(BMS_DBC_VCU_AUTHORITY_FRAME_ID >> 8)};
    uint8_t mac[16];
    memcpy(text + 3, challenge, REQUEST_CHALLENGE_BYTES);
    memcpy(text + 8, data, 3u);
    cmac_aes128(self->config.set.request_key, text, sizeof text, mac);
    return cmac_equal(mac, data + 3, REQUEST_MAC_BYTES);
}

static void lock(bms_t *self)
{
    request_t *const r = &self->request;
    if (r->locked == 0u) r->locks += 1u;
    r->locked = 1u;
    r->locked_us = self->now_us;
    r->wrong_count = r->wish_count = 0u;
}

/* Counts within spans of ten seconds; true when there were too many. */
static bool too_many(bms_t *self, uint8_t *count, uint64_t *since_us, uint32_t most)
{
    if (*count == 0u || elapsed_ms(self->now_us, *since_us) > SPAN_MS) {
        *count = 0u;
        *since_us = self->now_us;
    }
    *count = (uint8_t)(*count + 1u);
    return *count >= most;
}

static void reject(bms_t *self, const uint8_t *data)
{
    request_t *const r = &self->request;
    if (mac_fits(self, r->before, data)) { /* under way while the challenge changed, or a late copy: no guess */
        r->old += 1u;
        return;
    }
    r->wrong += 1u;
    if (too_many(self, &r->wrong_count, &r->wrong_us, REQUEST_WRONG_MAX)) lock(self);
}

void request_receive(bms_t *self, const ecu_can_frame_t *frame)
{
    request_t *const r = &self->request;
    struct bms_dbc_vcu_authority_t m;
    if (r->phase != REQUEST_RUNS) return; /* no challenge was told yet */
    if (frame->length != 8u || frame->flags != 0u) {
        r->malformed += 1u;
        return;
    }
    if (r->locked != 0u) return; /* nothing is tried, so nothing can be guessed */
    if (!mac_fits(self, r->challenge, frame->data)) {
        reject(self, frame->data);
        return;
    }
    (void)bms_dbc_vcu_authority_unpack(&m, frame->data, 8u);
    if (m.count <= r->count || m.mode > MODE_LAST) { /* a copy of a genuine frame */
        r->old += 1u;
        return;
    }
    r->good += 1u;
    r->count = m.count;
    r->known = 1u;
    r->mode = m.mode;
    r->clear = m.clear;
    r->service = m.service_clear;
    r->us = self->now_us;
}

/* ---- what may be done ---------------------------------------------------------------------------------------------------------- */

static bool is_live(const bms_t *self)
{
    const request_t *const r = &self->request;
    return r->known != 0u && r->locked == 0u && elapsed_ms(self->now_us, r->us) <= REQUEST_AUTHORITY_MS;
}

bool request_may_enter(const bms_t *self, uint32_t mode)
{
    return mode != REQUEST_STANDBY && is_live(self) && self->request.mode == mode;
}

bool request_may_clear(const bms_t *self, bool service)
{
    return is_live(self) && self->request.clear != 0u && (!service || self->request.service != 0u);
}

void request_used(bms_t *self)
{
    if (self->request.phase == REQUEST_RUNS) renew(self);
}

uint32_t request_lock_left_ms(const bms_t *self)
{
    const uint32_t ms = elapsed_ms(self->now_us, self->request.locked_us);
    return self->request.locked == 0u || ms >= REQUEST_LOCK_MS ? 0u : REQUEST_LOCK_MS - ms;
}

void request_tick(bms_t *self)
{
    request_t *const r = &self->request;
    if (r->phase != REQUEST_RUNS) {
        start(self);
        return;
    }
    if (r->locked != 0u && request_lock_left_ms(self) == 0u) {
        r->locked = 0u;
        renew(self);
    }
    if (elapsed_ms(self->now_us, r->challenge_us) >= REQUEST_RENEW_MS || r->count >= COUNT_LAST) renew(self);
    const bool wishes = self->canin.known != 0u && request_may_enter(self, self->canin.mode);
    if (wishes && r->wished == 0u && too_many(self, &r->wish_count, &r->wish_us, REQUEST_WISHES_MAX)) lock(self);
    if (self->canin.known == 0u || self->canin.mode == REQUEST_STANDBY) r->wished = 0u;
    else if (wishes) r->wished = 1u;
}
