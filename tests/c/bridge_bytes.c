/* Hostile bytes into the loop of the bridge, in one process with sanitizers.
 *
 * One input is a configuration and then traffic: links, guard and rules are drawn from its bytes, within what the loader lets through and
 * no more (field placements inside 64 bytes, known policies), so every other value is the input's own: flags, lengths, identifiers, ranges,
 * rates that are no number, delays near the end of time. Links are plain arrays behind link_api_t that go down, fill up and give
 * frames that no link would. After each pass every frame must be accounted for, and every queue in order.
 *
 * With a fuzzer (clang -fsanitize=fuzzer -DFUZZER) the inputs are its own; else main() makes them.    bridge_bytes COUNT SEED
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bridge/bridge.h"
#include "firmware/ecu.h"

#define LINKS 3u
#define RULES 6u
#define LONGEST 2048u
#define WAITING 96u

/* What stands in for a link. */
struct link {
    link_frame_t waiting[WAITING];
    uint32_t count, room;
    link_state_t state;
};

typedef struct {
    const uint8_t *at;
    size_t left;
} input_t;

static uint64_t frames_in, frames_out, frames_lost;

static void must(int is_so, const char *what)
{
    if (!is_so) {
        fprintf(stderr, "cannot happen: %s\n", what);
        abort();
    }
}

static int service(link_t *l, uint64_t now_us)
{
    (void)now_us;
    return l->count != 0u;
}

static uint32_t receive(link_t *l, link_frame_t *out, uint32_t max)
{
    const uint32_t n = l->count < max ? l->count : max;
    memcpy(out, l->waiting, n * sizeof *out);
    memmove(l->waiting, l->waiting + n, (l->count - n) * sizeof *out);
    l->count -= n;
    return n;
}

static uint32_t hand_on(link_t *l, const link_frame_t *frames, uint32_t count)
{
    const uint32_t n = count < l->room ? count : l->room;
    for (uint32_t k = 0; k < count; k++) {
        must(frames[k].length <= 64u, "a length out of range");
        must((frames[k].flags & ECU_CAN_ERROR) == 0u, "an error frame that went on");
    }
    l->room -= l->room != UINT32_MAX ? n : 0u;
    return n;
}

static link_state_t state(const link_t *l)
{
    return l->state;
}

static uint32_t room(const link_t *l)
{
    return l->room;
}

static const link_api_t api = {.service = service, .receive = receive, .send = hand_on, .state = state, .room = room};

static void take(input_t *in, void *to, size_t size)
{
    const size_t n = size < in->left ? size : in->left;
    memset(to, 0, size);
    memcpy(to, in->at, n);
    in->at += n;
    in->left -= n;
}

static uint32_t below(input_t *in, uint32_t limit)
{
    uint8_t byte;
    take(in, &byte, 1);
    return byte % limit;
}

static uint32_t word(input_t *in)
{
    uint32_t found;
    take(in, &found, sizeof found);
    return found;
}

/* Identifiers near each other, so that rules meet frames. */
static uint32_t identifier(input_t *in)
{
    const uint32_t kind = below(in, 16);
    if (kind >= 14u) {
        return kind == 15u ? word(in) : UINT32_MAX; /* the least urgent of all */
    }
    return 0x7F0u + kind / 2u + (kind == 13u ? BRIDGE_EXTENDED : 0u);
}

/* What bms.bridge.table lets through: all bits within 64 bytes. */
static bridge_field_t field(input_t *in)
{
    bridge_field_t s;
    memset(&s, 0, sizeof s);
    s.is_big = (uint8_t)below(in, 2);
    s.is_signed = (uint8_t)below(in, 2);
    s.length = (uint16_t)(1u + below(in, 64));
    s.start = (uint16_t)(2u * below(in, 224) % (512u - 2u * 64u));
    s.least = (int32_t)word(in);
    s.most = below(in, 2) != 0u ? INT64_MAX : (int32_t)word(in);
    return s;
}

static uint64_t part(input_t *in)
{
    return below(in, 4) != 0u ? 0u : (uint64_t)word(in) << below(in, 2);
}

static void read_rule(input_t *in, bridge_rule_t *r, uint32_t ranges)
{
    memset(r, 0, sizeof *r);
    r->from_mask = below(in, 2) != 0u ? UINT32_MAX : word(in);
    r->to_mask = below(in, 2) != 0u ? UINT32_MAX : word(in);
    r->range_first = below(in, ranges);
    r->range_count = below(in, ranges - r->range_first + 1u);
    r->id_mask = below(in, 4) != 0u ? 0u : word(in);
    r->id_value = r->id_mask & word(in);
    r->flags_mask = below(in, 4) != 0u ? 0u : (uint8_t)word(in);
    r->flags_value = (uint8_t)(r->flags_mask & below(in, 255));
    r->length_least = (uint8_t)(below(in, 4) != 0u ? 0u : below(in, 255));
    r->length_most = (uint8_t)(below(in, 4) != 0u ? 64u : below(in, 255));
    r->verdict = (uint8_t)below(in, 3);
    r->does = (uint8_t)below(in, 128);
    r->test_count = (uint8_t)(below(in, 2) != 0u ? 0u : below(in, BRIDGE_FIELDS + 1u));
    r->set_count = (uint8_t)below(in, BRIDGE_FIELDS + 1u);
    for (uint32_t k = 0; k < BRIDGE_FIELDS; k++) {
        r->test[k] = k < r->test_count ? field(in) : r->test[k];
        r->set[k] = k < r->set_count ? field(in) : r->set[k];
    }
    r->remap_mask = word(in) & 0x1FFFFFFFu;
    r->remap_value = word(in) & r->remap_mask;
    take(in, r->byte_mask, 4);
    take(in, r->byte_value, 4);
    r->e2e_data_id = (uint16_t)word(in);
    r->rate_per_us = 1e-9 * word(in);
    r->burst = 1.0 + below(in, 255);
    if ((r->does & RULE_IMPAIR) != 0u) {
        bridge_impair_t *m = &r->impair;
        *m = (bridge_impair_t){.key = word(in), .loss = part(in), .duplicate = part(in), .reorder = part(in), .corrupt = part(in)};
        m->delay_us = part(in) % 100000u;
        m->jitter_us = part(in) % 100000u;
        m->reorder_us = part(in) % 100000u;
        m->cut_every_us = part(in);
        m->cut_for_us = m->cut_every_us / 2u;
    }
}

static void read_rules(bridge_t *b, input_t *in)
{
    b->guard_count = below(in, 3);
    b->range_count = 1u + below(in, 4);
    b->rule_count = below(in, RULES + 1u);
    b->rule = calloc(b->rule_count + 1u, sizeof *b->rule); /* exactly so many: a read beyond is seen */
    b->state = calloc(b->rule_count + 1u, sizeof *b->state);
    b->range = calloc(b->range_count, sizeof *b->range);
    b->guard = calloc(b->guard_count + 1u, sizeof *b->guard);
    must(b->rule != NULL && b->state != NULL && b->range != NULL && b->guard != NULL, "no memory");
    for (uint32_t k = 0; k < b->range_count; k++) {
        b->range[k].first = identifier(in);
        b->range[k].last = b->range[k].first + below(in, 8);
    }
    for (uint32_t k = 0; k < b->guard_count; k++) {
        b->guard[k].first = b->guard[k].last = identifier(in);
    }
    for (uint32_t k = 0; k < b->rule_count; k++) {
        read_rule(in, &b->rule[k], b->range_count);
        bridge_state_init(&b->rule[k], &b->state[k], b->started_us);
    }
}

static void read_links(bridge_t *b, input_t *in, link_t *links)
{
    b->api = &api;
    b->link_count = LINKS;
    for (uint32_t k = 0; k < LINKS; k++) {
        bridge_link_t *l = &b->link[k];
        must(queue_make(&l->queue, 1u + below(in, 40)) == 0, "no memory");
        l->link = &links[k];
        l->zone = below(in, 3);
        l->policy = below(in, 4);
        l->bit_ns = below(in, 2) != 0u ? 0u : 1000u * below(in, 100);
        l->data_bit_ns = l->bit_ns / 4u;
        l->is_paced = l->bit_ns != 0u && below(in, 2) != 0u;
        l->is_real = (uint8_t)below(in, 2);
        l->has_hops = (uint8_t)below(in, 2);
        links[k] = (link_t){.state = LINK_UP, .room = UINT32_MAX};
    }
    b->armed_until_us = below(in, 4) == 0u ? b->started_us + 1000u * below(in, 255) : 0u;
    b->announce_id = below(in, 2) * 0x9FFFFF01u;
}

static void read_frame(input_t *in, link_frame_t *f)
{
    memset(f, 0, sizeof *f);
    f->id = identifier(in) & 0x1FFFFFFFu;
    f->flags = (uint8_t)(below(in, 3) != 0u ? (f->id > 0x7FFu ? ECU_CAN_EXTENDED : 0u) : below(in, 255));
    f->length = (uint8_t)(below(in, 4) != 0u ? below(in, 9) : below(in, 255));
    f->reserved = (uint8_t)below(in, 255);
    f->bus = (uint8_t)below(in, 255);
    take(in, f->data, 8);
}

/* For every destination: what came for it is sent, dropped by one cause, replaced, or waits. */
static void add_up(const bridge_t *b)
{
    for (uint32_t to = 0; to < LINKS; to++) {
        const bridge_link_counters_t *c = &b->link[to].count;
        uint64_t came = c->announced + c->duplicated, waiting = b->link[to].queue.count, seen = 0;
        for (uint32_t from = 0; from < LINKS; from++) {
            came += from != to ? b->link[from].count.received - b->link[from].count.dropped_hops : 0u;
        }
        for (uint32_t k = 0; k < b->delayed_count; k++) {
            waiting += b->delayed[k].to == to;
        }
        for (uint32_t k = 0; k < BRIDGE_BINS; k++) {
            seen += c->latency[k];
        }
        const uint64_t lost = c->dropped_rule + c->dropped_default + c->dropped_guard + c->dropped_limit + c->dropped_e2e +
                              c->dropped_impair + c->dropped_full + c->dropped_down + c->dropped_link;
        must(came == c->sent + lost + c->replaced + waiting, "a frame that is not accounted for");
        must(seen == c->sent && b->link[to].direct_count == 0u, "a frame sent without its latency");
        must(b->link[to].queue.count <= b->link[to].queue.capacity, "a queue above its bound");
    }
}

static void empty_queues(bridge_t *b)
{
    for (uint32_t k = 0; k < LINKS; k++) {
        queue_t *q = &b->link[k].queue;
        uint32_t before = 0;
        link_frame_t f;
        uint64_t in_us;
        while (q->count != 0u) {
            must(queue_take(q, &f, &in_us), "a queue that counts more than it has");
            must(queue_key(&f) >= before, "a queue out of order");
            before = queue_key(&f);
        }
        must(!queue_take(q, &f, &in_us) && q->spare_count == q->capacity, "a queue that lost room");
    }
}

static void drive(bridge_t *b, input_t *in, link_t *links)
{
    uint64_t now_us = b->started_us;
    while (in->left != 0u) {
        link_t *l = &links[below(in, LINKS)];
        const uint32_t what = below(in, 16);
        if (what == 0u) {
            l->state = (link_state_t)below(in, LINK_CLOSED);
        } else if (what == 1u) {
            l->room = below(in, 2) != 0u ? UINT32_MAX : below(in, 70);
        } else if (what < 5u || l->count == WAITING) {
            now_us += 1u + (uint64_t)below(in, 255) * (what == 4u ? 1000u : 1u);
            (void)bridge_cycle(b, now_us);
            add_up(b);
        } else {
            read_frame(in, &l->waiting[l->count++]);
        }
    }
    (void)bridge_cycle(b, now_us + 1u);
    add_up(b);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static bridge_t b; /* one, as it is large */
    static link_t links[LINKS];
    static delayed_t *delayed;
    input_t in = {bytes, size};
    if (size == 0u || size > LONGEST) {
        return 0;
    }
    if (delayed == NULL) {
        must(bridge_make(&b) == 0, "no memory");
        delayed = b.delayed;
    }
    b.delayed = NULL;
    bridge_free(&b); /* what the last input was given */
    memset(&b, 0, sizeof b);
    b.delayed = delayed;
    b.started_us = 1000000u + word(&in);
    read_links(&b, &in, links);
    read_rules(&b, &in);
    bridge_set_routes(&b);
    drive(&b, &in, links);
    for (uint32_t k = 0; k < LINKS; k++) {
        const bridge_link_counters_t *c = &b.link[k].count;
        frames_in += c->received;
        frames_out += c->sent;
        frames_lost += c->dropped_rule + c->dropped_default + c->dropped_guard + c->dropped_limit + c->dropped_impair + c->dropped_full;
    }
    empty_queues(&b);
    return 0;
}

#ifndef FUZZER
static uint64_t chance;

static uint32_t draw(void)
{
    chance ^= chance << 13;
    chance ^= chance >> 7;
    chance ^= chance << 17;
    return (uint32_t)(chance >> 32);
}

int main(int argc, char **argv)
{
    uint8_t input[LONGEST];
    const long count = argc > 1 ? strtol(argv[1], NULL, 10) : 100000;
    chance = (argc > 2 ? strtoull(argv[2], NULL, 10) : 1u) * 0x9E3779B97F4A7C15u | 1u;
    for (long k = 0; k < count; k++) {
        const size_t size = 100u + draw() % (draw() % 16u == 0u ? LONGEST - 100u : 700u);
        for (size_t n = 0; n < size; n += 4u) {
            const uint32_t four = draw();
            memcpy(input + n, &four, size - n < 4u ? size - n : 4u);
        }
        LLVMFuzzerTestOneInput(input, size);
    }
    printf("inputs %ld frames %llu sent %llu dropped %llu\n", count, (unsigned long long)frames_in, (unsigned long long)frames_out,
           (unsigned long long)frames_lost);
    return 0;
}
#endif
