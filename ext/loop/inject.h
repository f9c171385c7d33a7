/* Timed moves on named fields of the arena: how a fault acts, and how it goes again.
 *
 * A move says which elements of which field, what happens to them (set, add, scale, bits), when, over which ramp, for how long,
 * and whether it comes and goes in between. Who injects writes a row of the table and raises `asked`; everything else happens
 * here, so that snapshots, replay and real time carry a fault without knowing of it. An empty table costs one comparison a step.
 *
 * What a field was before a move comes back when the move ends. Several moves may lie on the same element, in the order in which
 * they began; one that ends is taken out of the pile and those above it are done again on what it leaves. While a move with `hold`
 * lies on top, a value that somebody else writes (a phase of a scenario, say) becomes the one that lies under the pile.
 */
#ifndef BMS_INJECT_H
#define BMS_INJECT_H

#include <stdbool.h>

#include "field.h"

#define INJECT_MOVES 64
#define INJECT_ELEMENTS 2048 /* elements that all moves together may hold */
#define INJECT_NEVER_US UINT64_MAX

/* What a move does to an element. PUSH adds its value altogether over the ramp onto whatever is there, and nothing comes back: for
 * state that goes on by itself, such as a charge. It moves nothing past `furthest`: pushes follow each other, and nothing is colder
 * than absolute zero. */
enum { INJECT_SET = 0, INJECT_ADD = 1, INJECT_SCALE = 2, INJECT_OR = 3, INJECT_CLEAR = 4, INJECT_FLIP = 5, INJECT_PUSH = 6 };
enum { INJECT_FREE = 0, INJECT_ARMED = 1, INJECT_ON = 2, INJECT_BETWEEN = 3, INJECT_OVER = 4 };

#define INJECT_FIELDS(S, A)                                                                                                      \
    S(u64, asked, "1", "raised by whoever wrote a row")                                                                          \
    S(u64, seen, "1", "its value when the table was last looked at")                                                             \
    S(u64, next_us, "us", "when there is something to do")                                                                        \
    S(u32, last_handle, "1", "handle given last")                                                                                 \
    S(u64, begun, "1", "moves that began, which orders them")                                                                     \
    A(u32, handle, INJECT_MOVES, "1", "the injection a move belongs to; 0 never used")                                            \
    A(u32, fault, INJECT_MOVES, "1", "number of the fault, for the event")                                                        \
    A(i32, fault_index, INJECT_MOVES, "1", "which cell, sensor ... was asked for, for the event; -1 none")                        \
    A(f64, fault_value, INJECT_MOVES, "1", "value that was asked for, for the event")                                             \
    A(u8, tells, INJECT_MOVES, "bool", "the move whose beginning and end are told as events: one of each injection")              \
    A(u8, phase, INJECT_MOVES, "enum", "INJECT_FREE, ARMED, ON, BETWEEN two turns, OVER")                                         \
    A(u8, op, INJECT_MOVES, "enum", "INJECT_SET ...")                                                                             \
    A(u8, hold, INJECT_MOVES, "bool", "written again in every step")                                                              \
    A(u8, stays, INJECT_MOVES, "bool", "nothing comes back at the end")                                                           \
    A(u8, withdrawn, INJECT_MOVES, "bool", "asked to end now")                                                                    \
    A(u8, type, INJECT_MOVES, "enum", "FIELD_ type of the elements")                                                              \
    A(u32, offset, INJECT_MOVES, "B", "first element, from the start of the arena")                                               \
    A(u32, stride, INJECT_MOVES, "B", "to the next element")                                                                      \
    A(u32, count, INJECT_MOVES, "1", "elements")                                                                                  \
    A(u32, first, INJECT_MOVES, "1", "place of their kept values")                                                                \
    A(f64, value, INJECT_MOVES, "1", "what is set, added, multiplied by, or the bits")                                            \
    A(f64, furthest, INJECT_MOVES, "1", "PUSH: no further than here, however many pushes follow each other")                      \
    A(u64, on_us, INJECT_MOVES, "us", "simulated time of the beginning")                                                          \
    A(u64, off_us, INJECT_MOVES, "us", "simulated time of the end; all ones never")                                               \
    A(u64, ramp_us, INJECT_MOVES, "us", "from nothing to the whole value")                                                        \
    A(u64, period_us, INJECT_MOVES, "us", "comes and goes: length of a turn; 0 it stays")                                         \
    A(u64, width_us, INJECT_MOVES, "us", "of that, how long it is there")                                                         \
    A(u64, turn_us, INJECT_MOVES, "us", "simulated time of the next change of a turn")                                            \
    A(u64, order, INJECT_MOVES, "1", "place in the pile: later lies higher")                                                      \
    A(f64, done, INJECT_MOVES, "1", "PUSH: share that was added already")                                                         \
    A(u64, former, INJECT_ELEMENTS, "bits", "what an element was under a move")                                                   \
    A(u64, written, INJECT_ELEMENTS, "bits", "what the move last made of it")

FIELD_STRUCT(inject_t, INJECT_FIELDS);
extern const field_t inject_fields[];
extern const size_t inject_field_count;

typedef struct {
    uint8_t *bytes; /* the arena */
    size_t size;
    uint64_t now_us;
} inject_arena_t;

/* A move that begins or ends, handed out one by one; `is_on` 0 at the end. */
typedef struct {
    uint32_t fault, is_on;
    int32_t index;
    double value;
} inject_told_t;

static inline bool inject_is_due(const inject_t *t, uint64_t now_us) { return t->asked != t->seen || now_us >= t->next_us; }
/* All that is due at a.now_us. Returns how many were told; at most INJECT_MOVES. */
uint32_t inject_step(inject_t *t, const inject_arena_t *a, inject_told_t told[INJECT_MOVES]);

#endif
