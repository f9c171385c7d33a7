/* Shared by the files of the bus, by nobody else. */
#ifndef BMS_CANBUS_INTERNAL_H
#define BMS_CANBUS_INTERNAL_H

#include "canbus/canbus.h"
#include "util.h"

#define CANBUS_RAW_BITS 560u /* header and 64 bytes */
#define CANBUS_SAME 0xFFFFFFFFu
#define CANBUS_INTERMISSION 3u
#define CANBUS_DELIMITER 8u  /* of an error frame */
#define CANBUS_SUSPEND 8u    /* longer wait of an error-passive node after it has sent */
#define CANBUS_FLAG 6u       /* an error flag, and the answer to it */
#define CANBUS_NEVER UINT64_MAX

static inline const ecu_can_frame_t *head_of(const canbus_t *b, uint32_t node)
{
    return &b->q.frame[node][b->q.order[node][b->s.queued[node] - 1u]];
}

static inline uint32_t key_of(const canbus_t *b, uint32_t node) { return b->q.key[node][b->q.order[node][b->s.queued[node] - 1u]]; }

/* Members that take part: powered, connected, not bus-off. */
static inline uint32_t present(const canbus_state_t *s)
{
    return s->members_mask & ~(s->absent_mask | s->open_mask | s->off_mask);
}

/* length.c: number of the bit on the wire in which two frames differ, counted from the start of frame; CANBUS_SAME if in none. */
uint32_t canbus_first_difference(const ecu_can_frame_t *a, const ecu_can_frame_t *b);

/* confine.c: what success and errors do to the counters of all nodes. */
void canbus_count_success(canbus_t *b, uint32_t senders, uint32_t receivers);
void canbus_count_error(canbus_t *b, uint32_t senders, uint32_t receivers);
void canbus_to_bus_off(canbus_t *b, uint32_t node);
/* When the first node comes back from bus-off if the bus stays recessive; CANBUS_NEVER if none does. */
uint64_t canbus_next_return(const canbus_state_t *s, uint32_t *node);
void canbus_come_back(canbus_t *b, uint32_t node, uint64_t time_ns);
/* The bus ceases to be recessive at time_ns. */
void canbus_credit_recessive(canbus_state_t *s, uint64_t time_ns);

/* trouble.c: everything that a healthy bus never sees. */
/* Faults that act by themselves up to until_ns; true if something happened that has to be told. */
bool canbus_trouble(canbus_t *b, uint64_t until_ns, canbus_event_t *e);
/* Decides how the attempt that begins at start_ns ends, and when. */
void canbus_judge(canbus_t *b, const canbus_length_t *length);

/* canbus.c */
void canbus_fail(canbus_t *b, const canbus_length_t *length, uint32_t outcome, uint32_t bit, uint32_t flags);
uint64_t canbus_earliest(const canbus_state_t *s, uint32_t node);

#endif
