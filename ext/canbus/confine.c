/* Error counters and what follows from them (ISO 11898-1, fault confinement). */
#include "canbus/internal.h"

#define PASSIVE_ABOVE 127u
#define OFF_ABOVE 255u
#define SENDER_STEP 8u    /* an error of the sender */
#define RECEIVER_STEP 1u  /* an error seen by a receiver */
#define FIRST_STEP 8u     /* more for the receiver whose flag is answered by the others: it saw the error alone */
#define REC_MOST 136u     /* a receiver's counter need not count on beyond passive */
#define REC_BACK 127u     /* where a passive receiver goes after a good frame: anywhere from 119 to 127 */
#define RECOVERY_SEQUENCES 128u
#define RECOVERY_BITS 11u

static void settle(canbus_state_t *s, uint32_t node)
{
    const uint32_t bit = 1u << node;
    const bool is_passive = s->tec[node] > PASSIVE_ABOVE || s->rec[node] > PASSIVE_ABOVE;
    s->passive_mask = is_passive ? s->passive_mask | bit : s->passive_mask & ~bit;
    s->counted_mask = (s->tec[node] | s->rec[node]) != 0u ? s->counted_mask | bit : s->counted_mask & ~bit;
}

void canbus_count_success(canbus_t *b, uint32_t senders, uint32_t receivers)
{
    canbus_state_t *s = &b->s;
    for (uint32_t n = 0; n < CANBUS_NODES; ++n) {
        if ((s->counted_mask >> n & 1u) == 0u) continue;
        if (senders >> n & 1u && s->tec[n] > 0u) s->tec[n]--;
        if (receivers >> n & 1u && s->rec[n] > 0u) s->rec[n] = (uint16_t)(s->rec[n] > PASSIVE_ABOVE ? REC_BACK : s->rec[n] - 1u);
        settle(s, n);
    }
}

static uint32_t receiver_step(const canbus_state_t *s, uint32_t misreading, uint32_t node)
{
    /* The first to see it is one of those that misread; with several of them all see it together. */
    return s->outcome == CANBUS_MISREAD && (misreading & ~s->passive_mask) >> node & 1u ? RECEIVER_STEP + FIRST_STEP : RECEIVER_STEP;
}

void canbus_count_error(canbus_t *b, uint32_t senders, uint32_t receivers)
{
    canbus_state_t *s = &b->s;
    const uint32_t misreading = s->wrong_rate_mask & present(s) & ~s->silent_mask & ~senders;
    const bool is_unheard = s->outcome == CANBUS_NO_ACKNOWLEDGE || s->short_kind == CANBUS_SHORT_RECESSIVE;
    const uint32_t hurt = is_unheard ? 0u : receivers | misreading;
    for (uint32_t n = 0; n < CANBUS_NODES; ++n) {
        if (senders >> n & 1u) {
            s->errors[n]++;
            /* Alone on the bus a passive sender hears nobody contradict: its counter stays. */
            const bool is_spared = s->outcome == CANBUS_NO_ACKNOWLEDGE && s->passive_mask >> n & 1u;
            if (!is_spared) s->tec[n] = (uint16_t)(s->tec[n] + SENDER_STEP);
            if (s->short_kind == CANBUS_SHORT_DOMINANT) s->tec[n] = OFF_ABOVE + 1u; /* 8 more for every 8 dominant bits */
        }
        if (hurt >> n & 1u) {
            const uint32_t rec = s->rec[n] + receiver_step(s, misreading, n);
            s->rec[n] = (uint16_t)(rec < REC_MOST ? rec : REC_MOST);
        }
        if ((senders | hurt) >> n & 1u) settle(s, n);
        if (s->tec[n] > OFF_ABOVE) canbus_to_bus_off(b, n);
    }
}

void canbus_to_bus_off(canbus_t *b, uint32_t node)
{
    canbus_state_t *s = &b->s;
    const uint32_t bit = 1u << node;
    if (s->off_mask & bit) return;
    s->dropped[node] += b->s.queued[node]; /* an old frame is worse than none */
    b->s.queued[node] = 0;
    s->waiting_mask &= ~bit;
    s->passive_mask &= ~bit;
    s->off_mask |= bit;
    s->off_left[node] = RECOVERY_SEQUENCES;
    s->offs[node]++;
}

uint64_t canbus_next_return(const canbus_state_t *s, uint32_t *node)
{
    uint64_t first = CANBUS_NEVER;
    for (uint32_t n = 0; n < CANBUS_NODES; ++n) {
        if ((s->off_mask & ~s->keep_off_mask) >> n & 1u) {
            const uint64_t at = s->recessive_ns + (uint64_t)s->off_left[n] * RECOVERY_BITS * s->bit_ns;
            if (at < first) {
                first = at;
                *node = n;
            }
        }
    }
    return first;
}

void canbus_credit_recessive(canbus_state_t *s, uint64_t time_ns)
{
    const uint64_t sequences = (time_ns - s->recessive_ns) / ((uint64_t)RECOVERY_BITS * s->bit_ns);
    for (uint32_t n = 0; n < CANBUS_NODES; ++n)
        if (s->off_mask >> n & 1u) s->off_left[n] = (uint16_t)(s->off_left[n] > sequences ? s->off_left[n] - sequences : 0u);
    s->recessive_ns = time_ns;
}

void canbus_come_back(canbus_t *b, uint32_t node, uint64_t time_ns)
{
    canbus_reset_node(b, node);
    b->s.hold_ns[node] = time_ns;
}
