/* Faults, and all that follows once a node is no longer error-active. */
#include "canbus/internal.h"
#include "exactmath.h"
#include "philox.h"

#include <string.h>

#define GARBAGE_BIT 12u    /* by here bits of another length have broken the rule of stuffing */
#define LONG_BITS 1e18     /* a random error that far away does not happen */
#define PASSIVE_REC 128u

void canbus_look(canbus_t *b)
{
    const canbus_state_t *s = &b->s;
    const uint32_t faults = s->short_kind | s->open_mask | s->absent_mask | s->wrong_rate_mask | s->force_off_mask;
    const uint32_t states = s->corrupt_count | s->babble_on | s->passive_mask | s->off_mask;
    b->s.is_troubled = (faults | states) != 0u || s->bit_error_rate > 0.0;
}

static void tell(canbus_event_t *e, uint32_t kind, uint32_t node, uint64_t time_ns)
{
    memset(e, 0, sizeof *e);
    e->kind = kind;
    e->node = node;
    e->time_ns = time_ns;
}

/* Bits up to the next error: geometric, by inversion. */
static void draw_error(canbus_state_t *s)
{
    const philox_block_t block = philox(s->chance_key, s->chance_draws++, 0u);
    const double p = s->bit_error_rate, unit = philox_unit(block.v[0], block.v[1]);
    const double bits = p < 1.0 ? exact_log(unit) / exact_log(1.0 - p) : 0.0;
    s->error_rate_seen = p;
    s->error_in_bits = bits >= 0.0 && bits < LONG_BITS ? (uint64_t)bits : (uint64_t)LONG_BITS;
}

static bool random_error(canbus_state_t *s, uint32_t bits, uint32_t *bit)
{
    if (!(s->bit_error_rate > 0.0)) return false;
    if (s->bit_error_rate < s->error_rate_seen || s->bit_error_rate > s->error_rate_seen) draw_error(s);
    if (s->error_in_bits >= bits) {
        s->error_in_bits -= bits;
        return false;
    }
    *bit = (uint32_t)s->error_in_bits;
    draw_error(s);
    return true;
}

static bool is_marked(canbus_state_t *s, const ecu_can_frame_t *frame)
{
    if (s->corrupt_count == 0u || (s->corrupt_id != CANBUS_ANY_ID && s->corrupt_id != frame->id)) return false;
    s->corrupt_count--;
    return true;
}

/* First bit in which nodes that won together contradict each other. */
static uint32_t collision(const canbus_t *b)
{
    const uint32_t first = lowest_bit(b->s.sending_mask);
    uint32_t at = CANBUS_SAME;
    for (uint32_t n = first + 1u; n < CANBUS_NODES; ++n) {
        if (b->s.sending_mask >> n & 1u) {
            const uint32_t differs = canbus_first_difference(head_of(b, first), head_of(b, n));
            at = differs < at ? differs : at;
        }
    }
    return at;
}

void canbus_judge(canbus_t *b, const canbus_length_t *length)
{
    canbus_state_t *s = &b->s;
    const uint32_t total = length->head + length->fast + length->tail, both = CANBUS_FLAG + CANBUS_FLAG;
    const uint32_t others = present(s) & ~s->silent_mask & ~s->sending_mask;
    const uint32_t collides = collision(b);
    uint32_t bit = 0;
    canbus_credit_recessive(s, s->start_ns);
    if (s->short_kind == CANBUS_SHORT_RECESSIVE) canbus_fail(b, length, CANBUS_BIT_ERROR, 0u, CANBUS_FLAG);
    else if (collides != CANBUS_SAME) canbus_fail(b, length, CANBUS_BIT_ERROR, collides, both);
    else if (s->sending_mask & s->wrong_rate_mask) canbus_fail(b, length, CANBUS_BIT_ERROR, GARBAGE_BIT, both);
    else if (others & s->wrong_rate_mask & ~s->passive_mask) canbus_fail(b, length, CANBUS_MISREAD, GARBAGE_BIT, both);
    else if (is_marked(s, head_of(b, lowest_bit(s->sending_mask)))) canbus_fail(b, length, CANBUS_BIT_ERROR, s->corrupt_bit, both);
    else if (random_error(s, total, &bit)) canbus_fail(b, length, CANBUS_BIT_ERROR, bit, both);
    else if ((others & ~s->wrong_rate_mask) == 0u) /* seen in the acknowledge slot, contradicted by nobody */
        canbus_fail(b, length, CANBUS_NO_ACKNOWLEDGE, total - 9u, CANBUS_FLAG);
}

/* ---- what happens by itself ---- */

static void babble(canbus_t *b)
{
    canbus_state_t *s = &b->s;
    ecu_can_frame_t frame;
    s->members_mask |= 1u << CANBUS_STRANGER;
    if (b->s.queued[CANBUS_STRANGER] != 0u) return;
    const uint64_t idle_ns = canbus_earliest(s, CANBUS_STRANGER);
    memset(&frame, 0, sizeof frame);
    frame.id = s->babble_id;
    frame.flags = s->babble_id > 0x7FFu ? ECU_CAN_EXTENDED : 0u;
    frame.length = (uint8_t)(s->babble_length < 8u ? s->babble_length : 8u);
    if (!canbus_put(b, CANBUS_STRANGER, &frame)) return;
    s->hold_ns[CANBUS_STRANGER] = idle_ns > s->babble_ns ? idle_ns : s->babble_ns;
    s->babble_ns = s->hold_ns[CANBUS_STRANGER] + 1000u * (uint64_t)s->babble_period_us;
}

/* A node behind a cut cable hears only itself: no acknowledge, over and over, until it is passive. */
static void talk_alone(canbus_t *b, uint32_t node, uint64_t until_ns)
{
    canbus_state_t *s = &b->s;
    uint64_t at = s->hold_ns[node] > s->now_ns ? s->hold_ns[node] : s->now_ns;
    const canbus_length_t length = canbus_frame_length(head_of(b, node));
    const uint64_t bits = length.head + length.fast + CANBUS_FLAG + CANBUS_DELIMITER + CANBUS_INTERMISSION;
    const uint32_t kept_outcome = s->outcome;
    s->outcome = CANBUS_NO_ACKNOWLEDGE;
    while (at < until_ns && (s->passive_mask >> node & 1u) == 0u) {
        at += bits * s->bit_ns;
        canbus_count_error(b, 1u << node, 0u);
    }
    s->outcome = kept_outcome;
    s->hold_ns[node] = at;
}

/* No frame can start while the bus is dominant, and receivers count until they are passive. */
static void hold_dominant(canbus_state_t *s, uint64_t until_ns)
{
    for (uint32_t n = 0; n < CANBUS_NODES; ++n) {
        if (present(s) >> n & 1u && s->rec[n] < PASSIVE_REC) {
            s->rec[n] = PASSIVE_REC;
            s->passive_mask |= 1u << n;
            s->counted_mask |= 1u << n;
        }
    }
    s->recessive_ns = until_ns;
    const uint64_t after = until_ns + (uint64_t)(CANBUS_DELIMITER + CANBUS_INTERMISSION) * s->bit_ns;
    s->free_ns = s->free_ns > after ? s->free_ns : after;
}

static void act(canbus_t *b, uint64_t until_ns)
{
    canbus_state_t *s = &b->s;
    const uint32_t gone = s->absent_mask & (s->waiting_mask | s->off_mask | s->counted_mask);
    for (uint32_t n = 0; n < CANBUS_NODES; ++n) {
        if (gone >> n & 1u) canbus_reset_node(b, n);
        if (s->force_off_mask >> n & 1u) canbus_to_bus_off(b, n);
        if ((s->open_mask & s->waiting_mask) >> n & 1u) talk_alone(b, n, until_ns);
    }
    s->force_off_mask = 0;
    if (s->babble_on) babble(b);
    if (s->short_kind == CANBUS_SHORT_DOMINANT) hold_dominant(s, until_ns);
}

static uint64_t next_start(const canbus_state_t *s)
{
    uint64_t first = CANBUS_NEVER;
    for (uint32_t n = 0; n < CANBUS_NODES; ++n) {
        if ((s->waiting_mask & present(s)) >> n & 1u) {
            const uint64_t at = canbus_earliest(s, n);
            first = at < first ? at : first;
        }
    }
    return first;
}

bool canbus_trouble(canbus_t *b, uint64_t until_ns, canbus_event_t *e)
{
    canbus_state_t *s = &b->s;
    uint32_t node = 0;
    act(b, until_ns);
    canbus_look(b);
    const uint32_t untold = s->off_mask & ~s->off_told_mask;
    if (untold != 0u) {
        node = lowest_bit(untold);
        s->off_told_mask |= 1u << node;
        tell(e, CANBUS_OFF, node, s->free_ns > s->now_ns ? s->free_ns : s->now_ns);
        return true;
    }
    const uint64_t back_ns = canbus_next_return(s, &node), start_ns = next_start(s);
    if (back_ns > until_ns || back_ns > start_ns) return false;
    canbus_come_back(b, node, back_ns);
    tell(e, CANBUS_BACK, node, back_ns);
    return true;
}
