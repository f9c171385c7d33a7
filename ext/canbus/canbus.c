#include "canbus/internal.h"

#include <string.h>

#define FIELD_OWNER canbus_state_t
FIELD_TABLE(canbus_fields, CANBUS_FIELDS);
#undef FIELD_OWNER
const size_t canbus_field_count = FIELD_COUNT(canbus_fields);

#define USUAL_BITRATE 500000u
#define NS_PER_S 1000000000u

static uint32_t bit_length_ns(uint32_t bitrate_bps) { return (NS_PER_S + bitrate_bps / 2u) / bitrate_bps; }

void canbus_init(canbus_t *b)
{
    canbus_state_t *s = &b->s;
    const size_t kept = offsetof(canbus_state_t, now_ns);
    memset((uint8_t *)s + kept, 0, sizeof *s - kept);
    if (s->bitrate_bps == 0u) s->bitrate_bps = USUAL_BITRATE;
    s->bit_ns = bit_length_ns(s->bitrate_bps);
    s->data_bit_ns = s->data_bitrate_bps != 0u ? bit_length_ns(s->data_bitrate_bps) : s->bit_ns;
    memset(&b->q, 0, sizeof b->q);
    for (uint32_t n = 0; n < CANBUS_NODES; ++n)
        for (uint32_t k = 0; k < CANBUS_QUEUE; ++k) b->q.order[n][k] = (uint8_t)k;
    canbus_look(b);
}

/* ---- queues ---- */

bool canbus_put(canbus_t *b, uint32_t node, const ecu_can_frame_t *frame)
{
    canbus_state_t *s = &b->s;
    const uint32_t bit = 1u << node, shut = s->silent_mask | s->absent_mask | s->off_mask | ~s->members_mask;
    uint32_t place = b->s.queued[node];
    if (place >= CANBUS_QUEUE || (shut & bit) != 0u) {
        s->dropped[node]++;
        return false;
    }
    uint8_t *const order = b->q.order[node];
    const uint8_t slot = order[place];
    ecu_can_frame_t *const to = &b->q.frame[node][slot];
    canbus_copy(to, frame);
    uint32_t key = frame->id << 21;
    if (frame->flags != 0u || frame->length > 8u || frame->id > 0x7FFu) {
        canbus_tidy(to);
        key = canbus_key(to);
    }
    b->q.key[node][slot] = key;
    b->s.queued[node] = place + 1u;
    if (place > 0u && (s->sending_mask & bit) != 0u) { /* what is being sent stays on top */
        order[place] = order[place - 1u];
        place--;
    }
    for (; place > 0u; --place) {
        if ((s->fifo_mask & bit) == 0u && b->q.key[node][order[place - 1u]] > key) break;
        order[place] = order[place - 1u];
    }
    order[place] = slot;
    s->waiting_mask |= bit;
    return true;
}

static void take_off(canbus_t *b, uint32_t node)
{
    b->s.queued[node]--;
    if (b->s.queued[node] == 0u) b->s.waiting_mask &= ~(1u << node);
    b->s.sent[node]++;
}

/* After a failed attempt a controller chooses again among what has come meanwhile. */
static void choose_again(canbus_t *b, uint32_t node)
{
    uint8_t *const order = b->q.order[node];
    if ((b->s.fifo_mask >> node & 1u) != 0u || b->s.queued[node] == 0u) return;
    for (uint32_t k = b->s.queued[node] - 1u; k > 0u; --k) {
        const uint8_t upper = order[k];
        if (b->q.key[node][order[k - 1u]] >= b->q.key[node][upper]) return;
        order[k] = order[k - 1u];
        order[k - 1u] = upper;
    }
}

/* ---- from idle to a frame ---- */

uint64_t canbus_earliest(const canbus_state_t *s, uint32_t node)
{
    const uint64_t idle = s->free_ns > s->now_ns ? s->free_ns : s->now_ns;
    return s->hold_ns[node] > idle ? s->hold_ns[node] : idle;
}

/* Those who may start first, and when. */
static uint32_t contenders(const canbus_state_t *s, uint64_t *start_ns)
{
    uint32_t ready = 0;
    *start_ns = CANBUS_NEVER;
    for (uint32_t n = 0; n < CANBUS_NODES; ++n) {
        if ((s->waiting_mask & present(s)) >> n & 1u) {
            const uint64_t at = canbus_earliest(s, n);
            if (at < *start_ns) ready = 0;
            if (at <= *start_ns) {
                *start_ns = at;
                ready |= 1u << n;
            }
        }
    }
    return ready;
}

/* Bit by bit the more urgent identifier goes on; several go on together when theirs are equal. */
static uint32_t arbitrate(canbus_t *b, uint32_t ready)
{
    uint32_t winners = 0, best = 0;
    for (uint32_t left = ready, n = 0; left != 0u; left >>= 1, ++n) {
        if ((left & 1u) == 0u) continue;
        const uint32_t key = key_of(b, n);
        if (winners == 0u || key < best) {
            winners = 0;
            best = key;
        }
        if (key == best) winners |= 1u << n;
    }
    for (uint32_t left = ready & ~winners, n = 0; left != 0u; left >>= 1, ++n) b->s.lost_arbitrations[n] += left & 1u;
    return winners;
}

static bool start(canbus_t *b, uint64_t until_ns)
{
    canbus_state_t *s = &b->s;
    uint32_t ready = s->waiting_mask;
    uint64_t at = s->free_ns > s->now_ns ? s->free_ns : s->now_ns;
    if (s->is_troubled != 0u) ready = contenders(s, &at);
    if (ready == 0u || at >= until_ns) return false;
    s->sending_mask = (ready & (ready - 1u)) != 0u ? arbitrate(b, ready) : ready;
    s->start_ns = at;
    const canbus_length_t length = canbus_frame_length(head_of(b, lowest_bit(s->sending_mask)));
    s->outcome = CANBUS_OK;
    s->end_ns = at + (uint64_t)(length.head + length.tail) * s->bit_ns + (uint64_t)length.fast * s->data_bit_ns;
    const bool is_heard = (s->members_mask & ~s->silent_mask & ~s->sending_mask) != 0u;
    const bool is_alone = (s->sending_mask & (s->sending_mask - 1u)) == 0u;
    if (s->is_troubled != 0u || !is_heard || !is_alone) canbus_judge(b, &length);
    if (s->outcome == CANBUS_OK) s->bits += length.head + length.fast + length.tail + CANBUS_INTERMISSION;
    return true;
}

/* The attempt ends with an error that is seen in this bit of the frame; flags is what the error flags of all come to. */
void canbus_fail(canbus_t *b, const canbus_length_t *length, uint32_t outcome, uint32_t bit, uint32_t flags)
{
    canbus_state_t *s = &b->s;
    const uint32_t total = length->head + length->fast + length->tail, seen = bit < total ? bit + 1u : total;
    const uint32_t fast_end = length->head + length->fast;
    uint32_t fast = seen > length->head ? seen - length->head : 0u;
    if (seen > fast_end) fast = length->fast;
    s->outcome = outcome;
    s->end_ns = s->start_ns + (uint64_t)(seen - fast + flags + CANBUS_DELIMITER) * s->bit_ns + (uint64_t)fast * s->data_bit_ns;
    s->bits += seen + flags + CANBUS_DELIMITER + CANBUS_INTERMISSION;
}

/* ---- from a frame to idle ---- */

static void release(canbus_state_t *s)
{
    s->free_ns = s->end_ns + (uint64_t)CANBUS_INTERMISSION * s->bit_ns;
    s->recessive_ns = s->end_ns - (uint64_t)CANBUS_DELIMITER * s->bit_ns; /* error delimiter, or acknowledge delimiter and end of frame */
    s->busy_ns += s->free_ns - s->start_ns;
    s->sending_mask = 0;
}

static void suspend(canbus_state_t *s, uint32_t senders)
{
    for (uint32_t n = 0; n < CANBUS_NODES; ++n)
        if ((senders & s->passive_mask) >> n & 1u) s->hold_ns[n] = s->free_ns + (uint64_t)CANBUS_SUSPEND * s->bit_ns;
}

static void finish(canbus_t *b, canbus_event_t *e)
{
    canbus_state_t *s = &b->s;
    const uint32_t senders = s->sending_mask, node = lowest_bit(senders);
    const uint32_t receivers = present(s) & ~senders & ~s->wrong_rate_mask;
    e->node = node;
    e->time_ns = s->end_ns;
    e->outcome = s->short_kind != CANBUS_SHORT_NONE ? (uint32_t)CANBUS_BIT_ERROR : s->outcome;
    e->frame = head_of(b, node);
    if (e->outcome == CANBUS_OK) {
        e->kind = CANBUS_FRAME;
        e->receivers = receivers;
        s->frames++;
        if (senders == 1u << node) take_off(b, node);
        else
            for (uint32_t n = 0; n < CANBUS_NODES; ++n)
                if (senders >> n & 1u) take_off(b, n);
        release(s);
        if (s->counted_mask == 0u) return;
        canbus_count_success(b, senders, receivers);
    } else {
        e->kind = CANBUS_ERROR;
        e->receivers = 0;
        s->outcome = e->outcome;
        s->error_frames++;
        canbus_count_error(b, senders, receivers);
        release(s);
        for (uint32_t n = 0; n < CANBUS_NODES; ++n)
            if (senders >> n & 1u) choose_again(b, n);
    }
    if (s->passive_mask != 0u) suspend(s, senders);
    canbus_look(b);
}

void canbus_measure_load(canbus_state_t *s)
{
    const uint64_t span_ns = s->now_ns - s->window_ns;
    if (s->load_window_us == 0u || span_ns < s->load_window_us * 1000u) return;
    const double load = (double)(s->busy_ns - s->window_busy_ns) / (double)span_ns;
    s->load_frac = load < 1.0 ? load : 1.0;
    s->load_max_frac = s->load_frac > s->load_max_frac ? s->load_frac : s->load_max_frac;
    s->window_ns = s->now_ns;
    s->window_end_ns = s->now_ns + s->load_window_us * 1000u;
    s->window_busy_ns = s->busy_ns;
}

/* The usual case in one go: one node wants to send, all is well, and the frame ends in time. The same as start and finish. */
static bool carry(canbus_t *b, uint64_t until_ns, canbus_event_t *e)
{
    canbus_state_t *s = &b->s;
    const uint32_t sender = s->waiting_mask, others = s->members_mask & ~sender;
    const uint64_t at = s->free_ns > s->now_ns ? s->free_ns : s->now_ns;
    if ((sender & (sender - 1u)) != 0u || (s->counted_mask | s->is_troubled) != 0u) return false;
    if ((others & ~s->silent_mask) == 0u || at >= until_ns) return false;
    const uint32_t node = lowest_bit(sender);
    const ecu_can_frame_t *const frame = head_of(b, node);
    const canbus_length_t length = canbus_frame_length(frame);
    const uint64_t end = at + (uint64_t)(length.head + length.tail) * s->bit_ns + (uint64_t)length.fast * s->data_bit_ns;
    if (end > until_ns) return false;
    *e = (canbus_event_t){CANBUS_FRAME, node, others, CANBUS_OK, end, frame};
    s->start_ns = at;
    s->end_ns = end;
    s->outcome = CANBUS_OK;
    s->bits += length.head + length.fast + length.tail + CANBUS_INTERMISSION;
    s->frames++;
    take_off(b, node);
    release(s);
    return true;
}

bool canbus_next(canbus_t *b, uint64_t until_ns, canbus_event_t *e)
{
    canbus_state_t *s = &b->s;
    if ((s->sending_mask | s->is_troubled) == 0u && s->waiting_mask != 0u && carry(b, until_ns, e)) return true;
    for (;;) {
        if (s->sending_mask != 0u) {
            if (s->end_ns > until_ns) break;
            finish(b, e);
            return true;
        }
        if (s->is_troubled != 0u && canbus_trouble(b, until_ns, e)) return true;
        if (s->waiting_mask == 0u || !start(b, until_ns)) break;
    }
    if (until_ns > s->now_ns) canbus_pass(b, until_ns);
    return false;
}

void canbus_reset_node(canbus_t *b, uint32_t node)
{
    canbus_state_t *s = &b->s;
    const uint32_t bit = 1u << node;
    if ((s->sending_mask & bit) != 0u) { /* it falls silent in the middle: the others see an error */
        s->end_ns = (s->start_ns > s->now_ns ? s->start_ns : s->now_ns) + (uint64_t)(CANBUS_FLAG + CANBUS_FLAG + CANBUS_DELIMITER) * s->bit_ns;
        s->error_frames++;
        release(s);
    }
    b->s.queued[node] = 0;
    s->waiting_mask &= ~bit;
    s->passive_mask &= ~bit;
    s->off_mask &= ~bit;
    s->off_told_mask &= ~bit;
    s->counted_mask &= ~bit;
    s->tec[node] = s->rec[node] = 0;
    s->hold_ns[node] = 0;
}

uint8_t canbus_node_state(const canbus_t *b, uint32_t node)
{
    if (b->s.off_mask >> node & 1u) return ECU_CAN_OFF;
    return b->s.passive_mask >> node & 1u ? ECU_CAN_PASSIVE : ECU_CAN_ACTIVE;
}
