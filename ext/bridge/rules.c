/* Rules: does one apply, and what it does. */
#include <string.h>

#include "bridge/bridge.h"
#include "e2e.h"
#include "firmware/ecu.h"
#include "philox.h"

#define NO_COUNTER 255u

bool bridge_in_ranges(const bridge_range_t *r, uint32_t count, uint32_t key)
{
    for (uint32_t k = 0; k < count; k++) {
        if (key >= r[k].first && key <= r[k].last) {
            return true;
        }
    }
    return false;
}

static uint32_t id_key(const link_frame_t *f)
{
    return f->id | ((f->flags & ECU_CAN_EXTENDED) != 0u ? BRIDGE_EXTENDED : 0u);
}

/* Number of the next lower bit in the order of a big endian signal. */
static uint32_t below(uint32_t bit)
{
    return (bit & 7u) != 0u ? bit - 1u : bit + 15u;
}

int64_t bridge_field_get(const bridge_field_t *s, const uint8_t *data)
{
    uint64_t raw = 0;
    uint32_t bit = s->start;
    for (uint32_t k = 0; k < s->length; k++) {
        const uint64_t one = data[bit >> 3] >> (bit & 7u) & 1u;
        raw = s->is_big != 0u ? raw << 1 | one : raw | one << k;
        bit = s->is_big != 0u ? below(bit) : bit + 1u;
    }
    if (s->is_signed != 0u && s->length < 64u && (raw >> (s->length - 1u) & 1u) != 0u) {
        raw |= ~0ull << s->length;
    }
    return (int64_t)raw;
}

void bridge_field_set(const bridge_field_t *s, uint8_t *data)
{
    const uint64_t raw = (uint64_t)s->least;
    uint32_t bit = s->start;
    for (uint32_t k = 0; k < s->length; k++) {
        const uint64_t one = raw >> (s->is_big != 0u ? s->length - 1u - k : k) & 1u;
        data[bit >> 3] = (uint8_t)((data[bit >> 3] & ~(1u << (bit & 7u))) | one << (bit & 7u));
        bit = s->is_big != 0u ? below(bit) : bit + 1u;
    }
}

/* Bytes a frame must have to hold the field. */
static uint32_t bytes_of(const bridge_field_t *s)
{
    const uint32_t ahead = s->is_big != 0u ? 7u - (s->start & 7u) : s->start & 7u;
    return (s->start >> 3) + (ahead + s->length + 7u) / 8u;
}

static bool fits(const bridge_field_t *s, const link_frame_t *f)
{
    return (f->flags & ECU_CAN_REMOTE) == 0u && bytes_of(s) <= f->length;
}

static bool applies(const bridge_t *b, const bridge_rule_t *r, const link_frame_t *f)
{
    if ((f->flags & r->flags_mask) != r->flags_value || (f->id & r->id_mask) != r->id_value) {
        return false;
    }
    if (f->length < r->length_least || f->length > r->length_most) {
        return false;
    }
    if (r->range_count != 0u && !bridge_in_ranges(b->range + r->range_first, r->range_count, id_key(f))) {
        return false;
    }
    for (uint32_t k = 0; k < r->test_count; k++) {
        if (!fits(&r->test[k], f)) {
            return false;
        }
        const int64_t value = bridge_field_get(&r->test[k], f->data);
        if (value < r->test[k].least || value > r->test[k].most) {
            return false;
        }
    }
    return true;
}

/* A frame that was wrong before stays wrong: it is dropped, not signed anew. A repeated counter stays repeated. */
static bool protect(const bridge_rule_t *r, bridge_rule_state_t *s, uint32_t to, const link_frame_t *came, link_frame_t *f)
{
    if (f->length < 2u || came->length < 2u || (f->flags & ECU_CAN_REMOTE) != 0u) {
        return false;
    }
    const uint8_t counter = came->data[1] & 0x0Fu;
    if (counter >= E2E_P01_COUNTERS || e2e_p01_crc(r->e2e_data_id, came->data, came->length) != came->data[0]) {
        return false;
    }
    if (s->e2e_seen[to] == NO_COUNTER) {
        s->e2e_told[to] = counter;
    } else if (counter != s->e2e_seen[to]) {
        s->e2e_told[to] = e2e_p01_next(s->e2e_told[to]);
    }
    s->e2e_seen[to] = counter;
    uint8_t told = s->e2e_told[to];
    e2e_p01_protect(r->e2e_data_id, f->data, f->length, &told);
    return true;
}

static bool change(const bridge_rule_t *r, link_frame_t *f)
{
    const link_frame_t before = *f;
    if ((r->does & RULE_REMAP) != 0u) {
        f->id = (f->id & ~r->remap_mask) | r->remap_value;
        f->id &= (f->flags & ECU_CAN_EXTENDED) != 0u ? 0x1FFFFFFFu : 0x7FFu;
    }
    for (uint32_t k = 0; (r->does & RULE_BYTES) != 0u && k < f->length; k++) {
        f->data[k] = (uint8_t)((f->data[k] & ~r->byte_mask[k]) | (r->byte_value[k] & r->byte_mask[k]));
    }
    for (uint32_t k = 0; (r->does & RULE_SET) != 0u && k < r->set_count; k++) {
        if (fits(&r->set[k], f)) {
            bridge_field_set(&r->set[k], f->data);
        }
    }
    return before.id != f->id || memcmp(before.data, f->data, f->length <= 64u ? f->length : 64u) != 0;
}

static bool within_rate(const bridge_rule_t *r, bridge_rule_state_t *s, uint64_t now_us)
{
    s->tokens += r->rate_per_us * (double)(now_us - s->token_us);
    s->token_us = now_us;
    s->tokens = s->tokens < r->burst ? s->tokens : r->burst;
    if (s->tokens < 1.0) {
        return false;
    }
    s->tokens -= 1.0;
    return true;
}

static bool is_cut(const bridge_impair_t *m, uint64_t since_us)
{
    return m->cut_every_us != 0u && since_us % m->cut_every_us >= m->cut_every_us - m->cut_for_us;
}

/* False: the frame is lost. Eight words are drawn for every frame, used or not, so that one setting does not move the others. */
static bool impair(const bridge_t *b, const bridge_rule_t *r, bridge_rule_state_t *s, uint32_t to, link_frame_t *f, uint64_t now_us,
                   bridge_fate_t *fate)
{
    const bridge_impair_t *m = &r->impair;
    const philox_block_t a = philox(m->key, s->drawn, 0), c = philox(m->key, s->drawn, 1);
    s->drawn++;
    if (is_cut(m, now_us - b->started_us)) {
        s->count.cut++;
        return false;
    }
    if (a.v[0] < m->loss) {
        s->count.lost++;
        return false;
    }
    if (a.v[1] < m->duplicate) {
        s->count.duplicated++;
        fate->is_double = true;
    }
    if (a.v[2] < m->corrupt && f->length != 0u && (f->flags & ECU_CAN_REMOTE) == 0u) {
        const uint32_t bit = c.v[0] % (8u * f->length);
        s->count.corrupted++;
        f->data[bit >> 3] ^= (uint8_t)(1u << (bit & 7u));
    }
    const uint64_t wait_us = m->delay_us + (m->jitter_us * c.v[1] >> 32);
    const bool held = a.v[3] < m->reorder;
    uint64_t due_us = now_us + fate->delay_us + wait_us + (held ? m->reorder_us : 0u);
    if (!held) { /* those that are not held back keep their order, whatever the jitter */
        due_us = due_us < s->last_due_us[to] ? s->last_due_us[to] : due_us;
        s->last_due_us[to] = wait_us != 0u || due_us > now_us ? due_us : s->last_due_us[to];
    }
    s->count.reordered += held;
    s->count.delayed += due_us > now_us;
    fate->delay_us = due_us - now_us;
    return true;
}

static void dropped(bridge_fate_t *fate, size_t cause)
{
    fate->verdict = RULE_DROP;
    fate->cause = cause;
}

/* Everything but pass and drop. */
static void act(bridge_t *b, uint32_t index, uint32_t to, const link_frame_t *came, link_frame_t *f, uint64_t now_us,
                bridge_fate_t *fate)
{
    const bridge_rule_t *r = &b->rule[index];
    bridge_rule_state_t *s = &b->state[index];
    if ((r->does & RULE_LIMIT) != 0u && !within_rate(r, s, now_us)) {
        s->count.limited++;
        dropped(fate, offsetof(bridge_link_counters_t, dropped_limit));
        return;
    }
    if ((r->does & (RULE_REMAP | RULE_BYTES | RULE_SET)) != 0u) {
        s->count.changed += change(r, f);
    }
    if ((r->does & RULE_E2E) != 0u && !protect(r, s, to, came, f)) {
        s->count.e2e_wrong++;
        dropped(fate, offsetof(bridge_link_counters_t, dropped_e2e));
        return;
    }
    fate->is_latest = fate->is_latest || (r->does & RULE_LATEST) != 0u;
    if ((r->does & RULE_IMPAIR) != 0u && !impair(b, r, s, to, f, now_us, fate)) {
        dropped(fate, offsetof(bridge_link_counters_t, dropped_impair));
    }
}

void bridge_judge(bridge_t *b, uint32_t from, uint32_t to, link_frame_t *f, uint64_t now_us, bridge_fate_t *fate)
{
    const link_frame_t came = *f;
    const bool trusted = b->link[from].zone == b->link[to].zone;
    *fate = (bridge_fate_t){.verdict = RULE_CONTINUE, .cause = offsetof(bridge_link_counters_t, dropped_default)};
    for (uint32_t k = 0; k < b->route_count[from][to] && fate->verdict == RULE_CONTINUE; k++) {
        const uint32_t index = b->route[from][to][k];
        const bridge_rule_t *r = &b->rule[index];
        if (!applies(b, r, f)) {
            continue;
        }
        b->state[index].count.matched++;
        if (r->verdict == RULE_DROP) {
            dropped(fate, offsetof(bridge_link_counters_t, dropped_rule));
            b->state[index].count.dropped++;
            break;
        }
        if (r->does != 0u) {
            act(b, index, to, &came, f, now_us, fate);
        }
        if (r->verdict == RULE_PASS && fate->verdict == RULE_CONTINUE) {
            fate->verdict = RULE_PASS;
            b->state[index].count.passed++;
        }
    }
    if (fate->verdict == RULE_CONTINUE) {
        fate->verdict = trusted ? RULE_PASS : RULE_DROP;
    }
    const bool guarded = bridge_in_ranges(b->guard, b->guard_count, id_key(f)) || bridge_in_ranges(b->guard, b->guard_count, id_key(&came));
    if (fate->verdict == RULE_PASS && b->link[to].is_real != 0u && guarded && now_us >= b->armed_until_us) {
        dropped(fate, offsetof(bridge_link_counters_t, dropped_guard));
    }
}
