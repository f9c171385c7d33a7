#define _GNU_SOURCE
#include "bridge/bridge.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "canbus/canbus.h"
#include "firmware/ecu.h"

#define SLEEP_MOST_US 500000u
#define FULL_US 1000u
#define ANNOUNCE_US 200000u
#define DIRECT 64u
#define NO_COUNTER 255u

#define FIELD_OWNER bridge_link_counters_t
static FIELD_TABLE(link_fields, BRIDGE_LINK_COUNTERS);
#undef FIELD_OWNER
#define FIELD_OWNER bridge_rule_counters_t
static FIELD_TABLE(rule_fields, BRIDGE_RULE_COUNTERS);
#undef FIELD_OWNER

const field_t *bridge_link_fields(size_t *count)
{
    *count = FIELD_COUNT(link_fields);
    return link_fields;
}

const field_t *bridge_rule_fields(size_t *count)
{
    *count = FIELD_COUNT(rule_fields);
    return rule_fields;
}

static uint64_t clock_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

int bridge_make(bridge_t *b)
{
    b->delayed = calloc(BRIDGE_DELAYED, sizeof *b->delayed);
    b->started_us = b->alive_us = clock_us();
    return b->delayed != NULL ? 0 : -ENOMEM;
}

void bridge_free(bridge_t *b)
{
    for (uint32_t k = 0; k < b->link_count; k++) {
        queue_free(&b->link[k].queue);
    }
    free(b->delayed);
    free(b->rule);
    free(b->state);
    free(b->range);
    free(b->guard);
}

void bridge_state_init(const bridge_rule_t *r, bridge_rule_state_t *s, uint64_t now_us)
{
    memset(s, 0, sizeof *s);
    memset(s->e2e_seen, NO_COUNTER, sizeof s->e2e_seen);
    s->tokens = r->burst;
    s->token_us = now_us;
}

void bridge_set_routes(bridge_t *b)
{
    memset(b->route_count, 0, sizeof b->route_count);
    for (uint32_t from = 0; from < b->link_count; from++) {
        for (uint32_t to = 0; to < b->link_count; to++) {
            for (uint32_t k = 0; k < b->rule_count; k++) {
                const bridge_rule_t *r = &b->rule[k];
                if (from != to && (r->from_mask >> from & 1u) != 0u && (r->to_mask >> to & 1u) != 0u) {
                    b->route[from][to][b->route_count[from][to]++] = (uint8_t)k;
                }
            }
        }
    }
}

/* ---- sending ---- */

static uint32_t bin_of(uint64_t us)
{
    if (us < 4u) {
        return (uint32_t)us;
    }
    const uint32_t octave = 63u - (uint32_t)__builtin_clzll(us);
    const uint32_t bin = 4u * (octave - 1u) + (uint32_t)(us >> (octave - 2u) & 3u);
    return bin < BRIDGE_BINS ? bin : BRIDGE_BINS - 1u;
}

/* Nanoseconds on the wire; bits are added to *bits. */
static uint64_t wire_ns(const bridge_link_t *l, const link_frame_t *f, uint64_t *bits)
{
    ecu_can_frame_t frame;
    memcpy(&frame, &f->id, sizeof frame);
    canbus_tidy(&frame);
    const canbus_length_t n = canbus_frame_length(&frame);
    *bits += n.head + n.fast + n.tail;
    return (uint64_t)(n.head + n.tail) * l->bit_ns + (uint64_t)n.fast * (l->data_bit_ns != 0u ? l->data_bit_ns : l->bit_ns);
}

static void hand_over(bridge_t *b, bridge_link_t *l)
{
    const uint32_t count = l->direct_count;
    if (count == 0u) {
        return;
    }
    const uint32_t taken = b->api->send(l->link, l->direct, count);
    const uint64_t now_us = clock_us();
    l->count.sent += taken;
    l->count.dropped_link += count - taken;
    for (uint32_t k = 0; k < taken; k++) {
        const uint64_t in_us = l->direct_in_us[k];
        l->count.latency[bin_of(now_us > in_us ? now_us - in_us : 0u)]++;
    }
    l->direct_count = 0u;
}

static void put_direct(bridge_t *b, bridge_link_t *l, const link_frame_t *f, uint64_t in_us)
{
    memcpy(&l->direct[l->direct_count], f, f->length <= 8u ? offsetof(link_frame_t, data) + 8u : sizeof *f);
    l->direct_in_us[l->direct_count++] = in_us;
    l->room -= l->room != UINT32_MAX;
    if (l->bit_ns != 0u) {
        const uint64_t lasts_ns = wire_ns(l, f, &l->count.bits_out);
        l->free_ns += l->is_paced != 0u ? lasts_ns : 0u;
    }
    if (l->direct_count == DIRECT) {
        hand_over(b, l);
    }
}

static bool may_send(const bridge_link_t *l, uint64_t now_ns)
{
    return l->room != 0u && (l->is_paced == 0u || l->free_ns <= now_ns);
}

static uint32_t pump(bridge_t *b, bridge_link_t *l, uint64_t now_us)
{
    const uint64_t now_ns = 1000u * now_us, earliest_ns = now_ns - 1000u * BRIDGE_BURST_US;
    link_frame_t f;
    uint64_t in_us;
    uint32_t moved = 0;
    l->free_ns = l->free_ns < earliest_ns ? earliest_ns : l->free_ns;
    while (l->queue.count != 0u && may_send(l, now_ns) && queue_take(&l->queue, &f, &in_us)) {
        put_direct(b, l, &f, in_us);
        moved++;
    }
    hand_over(b, l);
    return moved;
}

static void offer(bridge_t *b, bridge_link_t *l, const link_frame_t *f, uint64_t in_us, bool is_latest)
{
    uint64_t lost = 0;
    if (b->api->state(l->link) != LINK_UP) {
        l->count.dropped_down++;
        return;
    }
    if (l->queue.count == 0u && l->is_paced == 0u && l->room != 0u) {
        put_direct(b, l, f, in_us);
        return;
    }
    if (!queue_put(&l->queue, f, in_us, (queue_policy_t)l->policy, is_latest, &lost, &l->count.replaced)) {
        lost++;
    }
    l->count.dropped_full += lost;
    l->count.queue_most = l->queue.count > l->count.queue_most ? l->queue.count : l->count.queue_most;
}

/* ---- the delay line: a heap by time ---- */

static bool is_sooner(const delayed_t *a, const delayed_t *b)
{
    return a->due_us != b->due_us ? a->due_us < b->due_us : a->order < b->order;
}

bool bridge_delay(bridge_t *b, uint32_t to, const link_frame_t *f, uint64_t due_us, bool is_latest)
{
    if (b->delayed_count == BRIDGE_DELAYED) {
        return false;
    }
    const delayed_t d = {*f, due_us, b->order++, to, is_latest};
    uint32_t at = b->delayed_count++;
    while (at != 0u && is_sooner(&d, &b->delayed[(at - 1u) / 2u])) {
        b->delayed[at] = b->delayed[(at - 1u) / 2u];
        at = (at - 1u) / 2u;
    }
    b->delayed[at] = d;
    return true;
}

static delayed_t soonest(bridge_t *b)
{
    const delayed_t first = b->delayed[0], last = b->delayed[--b->delayed_count];
    uint32_t at = 0;
    for (uint32_t child = 1u; child < b->delayed_count; child = 2u * at + 1u) {
        if (child + 1u < b->delayed_count && is_sooner(&b->delayed[child + 1u], &b->delayed[child])) {
            child++;
        }
        if (!is_sooner(&b->delayed[child], &last)) {
            break;
        }
        b->delayed[at] = b->delayed[child];
        at = child;
    }
    b->delayed[at] = last;
    return first;
}

static uint32_t release(bridge_t *b, uint64_t now_us)
{
    uint32_t moved = 0;
    while (b->delayed_count != 0u && b->delayed[0].due_us <= now_us) {
        const delayed_t d = soonest(b);
        offer(b, &b->link[d.to], &d.frame, now_us, d.is_latest); /* a delay on purpose is not the bridge's latency */
        moved++;
    }
    return moved;
}

/* ---- receiving ---- */

static void forward(bridge_t *b, uint32_t from, uint32_t to, link_frame_t *f, uint64_t now_us)
{
    bridge_link_t *l = &b->link[to];
    bridge_fate_t fate;
    bridge_judge(b, from, to, f, now_us, &fate);
    if (fate.verdict != RULE_PASS) {
        ++*(uint64_t *)(void *)((uint8_t *)&l->count + fate.cause);
        return;
    }
    for (uint32_t copies = fate.is_double ? 2u : 1u; copies != 0u; copies--) {
        if (fate.delay_us == 0u) {
            offer(b, l, f, now_us, fate.is_latest);
        } else if (!bridge_delay(b, to, f, now_us + fate.delay_us, fate.is_latest)) {
            l->count.dropped_full++;
        }
    }
    l->count.duplicated += fate.is_double;
}

/* Frames that may be taken from a link: those behind it that sources wait for have room for them. */
static uint32_t allowance(bridge_t *b, uint32_t from)
{
    uint32_t most = BRIDGE_BATCH;
    for (uint32_t to = 0; to < b->link_count; to++) {
        const bridge_link_t *l = &b->link[to];
        if (to != from && l->policy == QUEUE_WAIT && b->api->state(l->link) == LINK_UP) {
            const uint32_t room = l->queue.capacity - l->queue.count;
            most = room < most ? room : most;
        }
    }
    b->is_blocked = b->is_blocked || most == 0u;
    return most;
}

static uint32_t take_in(bridge_t *b, uint32_t from, uint64_t now_us)
{
    link_frame_t batch[BRIDGE_BATCH], copy;
    bridge_link_t *l = &b->link[from];
    const uint32_t most = allowance(b, from);
    const uint32_t count = most != 0u ? b->api->receive(l->link, batch, most) : 0u;
    for (uint32_t k = 0; k < count; k++) {
        link_frame_t *f = &batch[k];
        const uint32_t mark = l->has_hops != 0u ? f->reserved : 0u, hops = mark & BRIDGE_HOPS_MASK;
        if ((f->flags & ECU_CAN_ERROR) != 0u) {
            l->count.error_frames++;
            continue;
        }
        l->count.received++;
        if (l->bit_ns != 0u) {
            (void)wire_ns(l, f, &l->count.bits_in);
        }
        if (hops >= BRIDGE_HOPS) {
            l->count.dropped_hops++;
            continue;
        }
        f->length = f->length <= 64u ? f->length : 64u;
        f->bus = (uint8_t)from;
        f->reserved = (uint8_t)((mark & ~BRIDGE_HOPS_MASK) | (hops + 1u));
        for (uint32_t to = 0; to < b->link_count; to++) {
            if (to != from) {
                copy = *f;
                forward(b, from, to, &copy, now_us);
            }
        }
    }
    return count;
}

static uint32_t drain_of(bridge_t *b, uint64_t now_us)
{
    uint32_t moved = 0;
    for (uint32_t to = 0; to < b->link_count; to++) {
        bridge_link_t *l = &b->link[to];
        hand_over(b, l);
        if (l->queue.count == 0u) {
            continue;
        }
        if (b->api->state(l->link) == LINK_UP) {
            moved += pump(b, l, now_us);
        } else {
            link_frame_t f;
            uint64_t in_us;
            while (queue_take(&l->queue, &f, &in_us)) { /* an old frame is worse than none */
                l->count.dropped_down++;
            }
        }
    }
    return moved;
}

/* While armed every bus is told so, and once when it is over: identifier, then 1 or 0 and the seconds left. */
static void announce(bridge_t *b, uint64_t now_us)
{
    const bool armed = now_us < b->armed_until_us;
    if (b->announce_id == 0u || now_us < b->announce_us || (!armed && !b->was_armed)) {
        return;
    }
    const uint64_t left_s = armed ? (b->armed_until_us - now_us + 999999u) / 1000000u : 0u;
    link_frame_t f;
    memset(&f, 0, sizeof f);
    f.time_us = now_us;
    f.id = b->announce_id & ~BRIDGE_EXTENDED;
    f.flags = (uint8_t)((b->announce_id & BRIDGE_EXTENDED) != 0u ? ECU_CAN_EXTENDED : 0u);
    f.length = 4u;
    f.reserved = 1u;
    f.data[0] = armed ? 1u : 0u;
    f.data[1] = (uint8_t)(left_s >> 16);
    f.data[2] = (uint8_t)(left_s >> 8);
    f.data[3] = (uint8_t)left_s;
    for (uint32_t k = 0; k < b->link_count; k++) {
        b->link[k].count.announced++;
        offer(b, &b->link[k], &f, now_us, false);
    }
    b->announce_us = armed ? now_us + ANNOUNCE_US : 0u;
    b->was_armed = armed;
}

uint32_t bridge_cycle(bridge_t *b, uint64_t now_us)
{
    uint32_t moved = 0;
    b->cycles++;
    b->is_blocked = false;
    __atomic_store_n(&b->alive_us, now_us, __ATOMIC_RELAXED);
    for (uint32_t k = 0; k < b->link_count; k++) {
        (void)b->api->service(b->link[k].link, now_us);
        b->link[k].room = b->api->room(b->link[k].link);
    }
    announce(b, now_us);
    moved += release(b, now_us);
    for (uint32_t k = 0; k < b->link_count && b->draining == 0; k++) {
        moved += take_in(b, k, now_us);
    }
    return moved + drain_of(b, now_us);
}

bool bridge_is_empty(const bridge_t *b)
{
    uint32_t waiting = b->delayed_count;
    for (uint32_t k = 0; k < b->link_count; k++) {
        waiting += b->link[k].queue.count;
    }
    return waiting == 0u;
}

static uint64_t sleep_us(const bridge_t *b, uint64_t now_us)
{
    uint64_t until_us = now_us + SLEEP_MOST_US;
    if (b->delayed_count != 0u && b->delayed[0].due_us < until_us) {
        until_us = b->delayed[0].due_us;
    }
    if (b->was_armed && b->announce_id != 0u && b->announce_us < until_us) {
        until_us = b->announce_us;
    }
    for (uint32_t k = 0; k < b->link_count; k++) {
        const bridge_link_t *l = &b->link[k];
        const uint64_t free_us = l->free_ns / 1000u + 1u;
        if (l->queue.count != 0u && l->is_paced != 0u && free_us < until_us) {
            until_us = free_us;
        }
        if (l->queue.count != 0u && l->room == 0u && now_us + FULL_US < until_us) {
            until_us = now_us + FULL_US; /* a thread that has made room tells nobody */
        }
    }
    return until_us > now_us ? until_us - now_us : 0u;
}

void bridge_run(bridge_t *b)
{
    link_t *links[BRIDGE_LINKS];
    link_wait_t wait;
    uint64_t woken;
    const ssize_t cleared = read(b->wake_fd, &woken, sizeof woken);
    (void)cleared;
    for (uint32_t k = 0; k < b->link_count; k++) {
        links[k] = b->link[k].link;
    }
    while (b->stopping == 0 && (b->draining == 0 || !bridge_is_empty(b))) {
        if (bridge_cycle(b, clock_us()) != 0u) {
            continue;
        }
        b->api->wait_begin(&wait, links, b->link_count, b->wake_fd, sleep_us(b, clock_us()));
        if (b->is_blocked || b->draining != 0) {
            wait.ready = 0u; /* frames that wait in a ring may not be taken now: what ends that is a descriptor or the time */
        }
        (void)b->api->wait_sleep(&wait);
    }
}
