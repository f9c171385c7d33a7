/* One CAN bus with its physics: who may send when, how long it takes, what the others make of it, and what errors do to everybody.
 *
 * Nodes put frames into their queues; the bus moves them. Time is given from outside, in integer nanoseconds, and only moves
 * forward; between two calls nothing happens by itself:
 *
 *     canbus_init(b)                        after the fields were filled
 *     canbus_look(b)                        after fields of faults were written
 *     canbus_put(b, node, frame)            a frame wants to leave, now (b->s.now_ns)
 *     while (canbus_next(b, until_ns, &e))  what happened up to and including until_ns, in order; then now_ns is until_ns
 *
 * What is kept (ISO 11898-1):
 *   - Exact length of every frame: header, stuff bits counted over the true bits and their CRC-15, delimiters, acknowledge, end of
 *     frame, intermission. FD frames with fixed stuff bits (CRC-17 or CRC-21) and two bit rates.
 *   - Arbitration bit by bit among the heads of the queues: base identifier, remote after data, extended after standard. Two nodes
 *     that win with different frames under one identifier collide in the first bit that differs.
 *   - Acknowledge: without a node that hears it a frame fails. Alone, a sender turns error-passive and stays there.
 *   - Error frames (up to 12 bits of flags, 8 of delimiter), retransmission, transmit and receive error counters with the
 *     standard's steps, error-active, error-passive with suspended transmission, bus-off, recovery after 128 times 11 recessive bits.
 * What is not: sample points, resynchronisation, overload frames, errors that no CRC finds (damage the payload before canbus_put
 * for that), error-passive flags overlooked by others.
 *
 * Everything is deterministic: chance comes from one Philox stream. State holds no pointers.
 */
#ifndef BMS_CANBUS_H
#define BMS_CANBUS_H

#include <string.h>

#include "ecu.h"
#include "field.h"

#define CANBUS_NODES 8u
#define CANBUS_QUEUE 64u                   /* frames waiting in one node */
#define CANBUS_STRANGER (CANBUS_NODES - 1u) /* the node that babbles; also free for frames from outside */
#define CANBUS_ANY_ID 0xFFFFFFFFu

enum { CANBUS_SHORT_NONE = 0, CANBUS_SHORT_RECESSIVE = 1, CANBUS_SHORT_DOMINANT = 2 };

#define CANBUS_FIELDS(S, A)                                                                                                      \
    /* Settings. */                                                                                                              \
    S(u32, bitrate_bps, "bit/s", "nominal bit rate; one whose bit lasts whole nanoseconds")                                      \
    S(u32, data_bitrate_bps, "bit/s", "rate of the data phase of FD frames that switch; 0 as the nominal one")                   \
    S(u32, keep_off_mask, "1", "nodes that do not come back from bus-off by themselves")                                         \
    S(u64, load_window_us, "us", "span over which the load is taken")                                                            \
    S(u64, chance_key, "1", "key of the stream that places random bit errors")                                                   \
    /* Faults: may be written at any time, and hold from the next canbus_look on. */                                             \
    S(u32, short_kind, "1", "fault: 1 the two wires touch, nobody can drive; 2 stuck dominant")                                  \
    S(u32, open_mask, "1", "fault: nodes whose cable is cut")                                                                    \
    S(u32, wrong_rate_mask, "1", "fault: nodes that run at another bit rate")                                                    \
    S(u32, force_off_mask, "1", "fault: nodes sent into bus-off; cleared once done")                                             \
    S(u32, corrupt_count, "1", "fault: so many frames of corrupt_id are destroyed, counted down")                                \
    S(u32, corrupt_id, "1", "fault: identifier that is destroyed; 0xFFFFFFFF any")                                               \
    S(u32, corrupt_bit, "1", "fault: bit of the frame that is destroyed, 0 is the start of frame")                               \
    S(f64, bit_error_rate, "1", "fault: probability that a bit is destroyed for all")                                            \
    S(u32, babble_on, "1", "fault: 1 while the last node sends by itself")                                                       \
    S(u32, babble_id, "1", "fault: identifier of these frames")                                                                  \
    S(u32, babble_length, "B", "fault: length of these frames, 0 to 8")                                                          \
    S(u32, babble_period_us, "us", "fault: spacing of these frames; 0 back to back")                                             \
    S(u32, absent_mask, "1", "fault: nodes without power")                                                                       \
    /* Settings again, next to what else is looked at in every step: one or two lines of the processor's cache. */               \
    S(u32, members_mask, "1", "nodes that are on the bus, one bit each")                                                         \
    S(u32, fifo_mask, "1", "nodes that send in the order given; the others send the most urgent frame first")                    \
    S(u32, silent_mask, "1", "nodes that only listen: no acknowledge, no error flags, nothing sent")                             \
    /* What is. Only ever read. */                                                                                               \
    S(u64, now_ns, "ns", "time up to which everything has happened")                                                             \
    S(u64, free_ns, "ns", "when the next frame may start: end of the last intermission")                                         \
    S(u32, waiting_mask, "1", "nodes with frames in their queue")                                                                \
    S(u32, sending_mask, "1", "nodes that send the frame under way; 0 bus idle")                                                 \
    S(u32, is_troubled, "1", "1 while a fault acts or a node is not error-active")                                               \
    S(u32, counted_mask, "1", "nodes with an error counter above zero")                                                          \
    S(u32, bit_ns, "ns", "length of a nominal bit")                                                                              \
    S(u32, data_bit_ns, "ns", "length of a bit of the data phase")                                                               \
    S(u64, window_end_ns, "ns", "end of the span of the load")                                                                   \
    S(u32, off_mask, "1", "nodes that are bus-off")                                                                              \
    S(u32, passive_mask, "1", "nodes that are error-passive")                                                                    \
    S(u64, start_ns, "ns", "start of the frame under way")                                                                       \
    S(u64, end_ns, "ns", "last bit of the frame under way, or of its error frame")                                               \
    S(u64, recessive_ns, "ns", "since when the bus has been recessive")                                                          \
    S(u64, frames, "1", "frames carried")                                                                                        \
    S(u64, bits, "bit", "bits of all frames and error frames with their intermissions, at their own rates")                      \
    S(u64, busy_ns, "ns", "time the bus was taken")                                                                              \
    S(u32, outcome, "1", "how the frame under way ends: 0 received, 1 bit error, 2 no acknowledge, 3 destroyed by a node that misread it")\
    S(u32, off_told_mask, "1", "nodes that are bus-off and were told as an event")                                               \
    A(u32, queued, CANBUS_NODES, "1", "frames waiting in each node")                                                             \
    A(u64, sent, CANBUS_NODES, "1", "frames sent")                                                                               \
    A(u64, dropped, CANBUS_NODES, "1", "frames that found the queue full, the node bus-off, silent or absent")                   \
    A(u16, tec, CANBUS_NODES, "1", "transmit error counters")                                                                    \
    A(u16, rec, CANBUS_NODES, "1", "receive error counters")                                                                     \
    A(u16, off_left, CANBUS_NODES, "1", "sequences of 11 recessive bits still missing to come back from bus-off")                \
    A(u64, hold_ns, CANBUS_NODES, "ns", "not before: suspended transmission, or the next attempt of a node cut off")             \
    A(u64, errors, CANBUS_NODES, "1", "attempts of a node that failed")                                                          \
    A(u64, lost_arbitrations, CANBUS_NODES, "1", "attempts that gave way to a more urgent frame")                                \
    A(u64, offs, CANBUS_NODES, "1", "times a node went bus-off")                                                                 \
    S(u64, error_frames, "1", "error frames")                                                                                    \
    S(u64, window_ns, "ns", "start of the span of the load")                                                                     \
    S(u64, window_busy_ns, "ns", "busy_ns at the start of that span")                                                            \
    S(f64, load_frac, "1", "part of the last whole span in which the bus was taken")                                             \
    S(f64, load_max_frac, "1", "largest of these")                                                                               \
    S(u64, babble_ns, "ns", "when the next babbled frame is due")                                                                \
    S(f64, error_rate_seen, "1", "bit_error_rate for which error_in_bits was drawn")                                             \
    S(u64, error_in_bits, "bit", "bits until the next random error")                                                             \
    S(u64, chance_draws, "1", "draws taken")

FIELD_STRUCT(canbus_state_t, CANBUS_FIELDS);
extern const field_t canbus_fields[];
extern const size_t canbus_field_count;

/* order[n] is a permutation of the places: the first queued[n] are taken, the most urgent last; the rest are free. */
typedef struct {
    uint8_t order[CANBUS_NODES][CANBUS_QUEUE];
    uint32_t key[CANBUS_NODES][CANBUS_QUEUE]; /* arbitration field of each place, smaller wins */
    ecu_can_frame_t frame[CANBUS_NODES][CANBUS_QUEUE];
} canbus_queues_t;

typedef struct {
    canbus_state_t s;
    canbus_queues_t q;
} canbus_t;

enum { CANBUS_FRAME = 1, CANBUS_ERROR = 2, CANBUS_OFF = 3, CANBUS_BACK = 4 };
enum { CANBUS_OK = 0, CANBUS_BIT_ERROR = 1, CANBUS_NO_ACKNOWLEDGE = 2, CANBUS_MISREAD = 3 };

typedef struct {
    uint32_t kind;                /* CANBUS_FRAME ... */
    uint32_t node;                /* the sender, or who went off or came back */
    uint32_t receivers;           /* mask of the nodes that have the frame now */
    uint32_t outcome;             /* of an error frame: CANBUS_BIT_ERROR ... */
    uint64_t time_ns;             /* end of the frame */
    const ecu_can_frame_t *frame; /* of CANBUS_FRAME and CANBUS_ERROR; valid until the next call on this bus */
} canbus_event_t;

/* Bits from start of frame to the end of frame, in three stretches: nominal rate, data rate (FD with rate switch), nominal. */
typedef struct {
    uint32_t head, fast, tail;
} canbus_length_t;

/* A classical frame is a quarter of what an FD frame needs, and thousands are moved a second. */
static inline void canbus_copy(ecu_can_frame_t *to, const ecu_can_frame_t *from)
{
    if (from->length <= 8u) memcpy(to, from, offsetof(ecu_can_frame_t, data) + 8u);
    else *to = *from;
}

void canbus_init(canbus_t *b);
/* False when the frame was dropped. Fields of the frame out of range (length, identifier) are cut to what a controller can send. */
bool canbus_put(canbus_t *b, uint32_t node, const ecu_can_frame_t *frame);
bool canbus_next(canbus_t *b, uint64_t until_ns, canbus_event_t *e);
void canbus_look(canbus_t *b);
/* Nothing will happen: canbus_next need not be called, only canbus_pass. */
static inline bool canbus_is_quiet(const canbus_t *b) { return (b->s.waiting_mask | b->s.sending_mask | b->s.is_troubled) == 0u; }
void canbus_measure_load(canbus_state_t *s);
static inline void canbus_pass(canbus_t *b, uint64_t until_ns)
{
    b->s.now_ns = until_ns;
    if (until_ns >= b->s.window_end_ns) canbus_measure_load(&b->s);
}
/* What a node has waiting is lost and its counters start anew, as after a reset of its controller. */
void canbus_reset_node(canbus_t *b, uint32_t node);
/* ECU_CAN_ACTIVE, _PASSIVE or _OFF. */
uint8_t canbus_node_state(const canbus_t *b, uint32_t node);
canbus_length_t canbus_frame_length(const ecu_can_frame_t *frame);
/* Order of arbitration: of two frames that start together the one with the smaller key goes on. */
uint32_t canbus_key(const ecu_can_frame_t *frame);
/* The frame as a controller could send it: length a valid one, identifier within its bits. */
void canbus_tidy(ecu_can_frame_t *frame);

#endif
