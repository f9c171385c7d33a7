/* The bridge: frames of CAN links through rules and queues to other links, in one thread without the interpreter lock.
 *
 *     receive -> hop limit -> rules, one pass for each other link -> guard -> delay line -> queue of that link -> paced send
 *
 * Rules stand in order and see the frame as those before them left it. The first that says pass or drop ends it; without one the
 * frame passes between links of one zone and is dropped between zones. What a rule changes, it changes in the copy for one
 * destination.
 *
 * A queue gives out the frame that would win arbitration, frames of one identifier in the order in which they came. It is
 * bounded; what happens when it is full is declared (queue_policy_t). A link with a bit rate is sent to no faster than its bits go
 * over the wire, so that the backlog is here, where priority counts, and not in somebody's buffer.
 *
 * Everything that is not handed on is counted by cause. Chance is Philox, keyed by seed and rule, counted by the frames the rule
 * has seen, so the fate of the n-th frame does not depend on time.
 */
#ifndef BMS_BRIDGE_H
#define BMS_BRIDGE_H

#include "field.h"
#include "links/link.h"

#define BRIDGE_LINKS 32u
#define BRIDGE_RULES 250u
#define BRIDGE_FIELDS 4u
#define BRIDGE_BATCH 256u
#define BRIDGE_HOPS 4u         /* a frame that crossed so many bridges goes no further */
#define BRIDGE_HOPS_MASK 7u    /* of link_frame_t.reserved; the bits above are the origin's number, which bridges hand on */
#define BRIDGE_BINS 128u       /* of the latency histogram: 4 an octave, from 1 us */
#define BRIDGE_DELAYED 16384u  /* frames in the delay line */
#define BRIDGE_BURST_US 1000u  /* so far may sending catch up after the clock was late */
#define BRIDGE_EXTENDED (1u << 31)
#define BRIDGE_NONE UINT32_MAX

/* ---- counters: they only ever rise ---- */

#define BRIDGE_LINK_COUNTERS(S, A)                                                                             \
    S(u64, received, "1", "frames taken from this link")                                                       \
    S(u64, sent, "1", "frames handed to this link")                                                            \
    S(u64, dropped_rule, "1", "frames towards this link that a rule dropped")                                  \
    S(u64, dropped_default, "1", "frames towards this link that no rule let pass")                             \
    S(u64, dropped_guard, "1", "guarded frames towards this link while the bridge was not armed")              \
    S(u64, dropped_limit, "1", "frames towards this link above the rate of a rule")                            \
    S(u64, dropped_e2e, "1", "frames towards this link whose protection was wrong before it was renewed")      \
    S(u64, dropped_impair, "1", "frames towards this link lost on purpose (loss, cut)")                        \
    S(u64, dropped_full, "1", "frames towards this link that its queue or the delay line had no room for")     \
    S(u64, dropped_down, "1", "frames towards this link while it was not up")                                  \
    S(u64, dropped_link, "1", "frames the link itself did not take")                                           \
    S(u64, dropped_hops, "1", "frames received that had crossed too many bridges")                             \
    S(u64, replaced, "1", "waiting frames towards this link that a newer value took the place of")             \
    S(u64, duplicated, "1", "frames towards this link added on purpose")                                       \
    S(u64, announced, "1", "frames of our own towards this link that say the bridge is armed")                 \
    S(u64, error_frames, "1", "error frames received; they go nowhere")                                        \
    S(u64, bits_in, "bit", "received, on the wire; counted if the bit rate is known")                          \
    S(u64, bits_out, "bit", "sent, on the wire; counted if the bit rate is known")                             \
    S(u64, queue_most, "1", "frames that have waited at most")                                                 \
    A(u64, latency, BRIDGE_BINS, "1", "frames by time from receipt to sending, delays on purpose left out")

FIELD_STRUCT(bridge_link_counters_t, BRIDGE_LINK_COUNTERS);

#define BRIDGE_RULE_COUNTERS(S, A)                                     \
    S(u64, matched, "1", "frames it applied to")                       \
    S(u64, passed, "1", "frames it let pass")                          \
    S(u64, dropped, "1", "frames it dropped")                          \
    S(u64, changed, "1", "frames whose identifier or data it changed") \
    S(u64, limited, "1", "frames above its rate")                      \
    S(u64, e2e_wrong, "1", "frames with wrong protection")             \
    S(u64, lost, "1", "impair: frames lost")                           \
    S(u64, cut, "1", "impair: frames lost while cut")                  \
    S(u64, delayed, "1", "impair: frames delayed")                     \
    S(u64, duplicated, "1", "impair: frames doubled")                  \
    S(u64, reordered, "1", "impair: frames held back")                 \
    S(u64, corrupted, "1", "impair: frames with one bit turned")

FIELD_STRUCT(bridge_rule_counters_t, BRIDGE_RULE_COUNTERS);

/* ---- rules ---- */

typedef enum { RULE_CONTINUE, RULE_PASS, RULE_DROP } rule_verdict_t;

enum { RULE_REMAP = 1u, RULE_BYTES = 2u, RULE_SET = 4u, RULE_E2E = 8u, RULE_LIMIT = 16u, RULE_LATEST = 32u, RULE_IMPAIR = 64u };

/* Identifiers, extended ones with BRIDGE_EXTENDED added. */
typedef struct {
    uint32_t first, last;
} bridge_range_t;

/* A signal: start is the bit number of a DBC file (little endian: of its lowest bit, big endian: of its highest). */
typedef struct {
    int64_t least, most; /* raw values: tested least <= value <= most; a field that is set gets `least` */
    uint16_t start, length;
    uint8_t is_big, is_signed;
} bridge_field_t;

/* Probabilities are parts of 2^32. */
typedef struct {
    uint64_t key;
    uint64_t loss, duplicate, reorder, corrupt;
    uint64_t delay_us, jitter_us, reorder_us, cut_every_us, cut_for_us;
} bridge_impair_t;

typedef struct {
    uint32_t from_mask, to_mask;
    uint32_t range_first, range_count; /* 0: any identifier */
    uint32_t id_mask, id_value;
    uint8_t flags_mask, flags_value, length_least, length_most;
    uint8_t verdict, does, test_count, set_count;
    bridge_field_t test[BRIDGE_FIELDS], set[BRIDGE_FIELDS];
    uint32_t remap_mask, remap_value; /* the bits of the identifier that are replaced */
    uint8_t byte_mask[64], byte_value[64];
    uint16_t e2e_data_id;
    double rate_per_us, burst;
    bridge_impair_t impair;
} bridge_rule_t;

typedef struct {
    bridge_rule_counters_t count;
    double tokens;
    uint64_t token_us, last_due_us[BRIDGE_LINKS];
    uint64_t drawn; /* frames that chance was asked about */
    uint8_t e2e_seen[BRIDGE_LINKS], e2e_told[BRIDGE_LINKS];
} bridge_rule_state_t;

/* What the rules said about one frame and one destination. */
typedef struct {
    uint32_t verdict;
    size_t cause; /* offset of the link counter of its loss */
    uint64_t delay_us, due_us;
    bool is_latest, is_double;
} bridge_fate_t;

/* ---- queues ---- */

typedef enum { QUEUE_NEWEST, QUEUE_OLDEST, QUEUE_URGENT, QUEUE_WAIT } queue_policy_t; /* full: which frame is dropped, or sources wait */

typedef struct {
    link_frame_t frame;
    uint64_t in_us, order;
    uint32_t key, older, newer; /* list by age */
    uint32_t place[2];          /* in the heaps */
} queue_entry_t;

typedef struct {
    queue_entry_t *entry;
    uint32_t *heap[2]; /* 0: most urgent first; 1: least urgent first */
    uint32_t *spare, *slot_key, *slot_entry;
    uint32_t capacity, count, spare_count, oldest, newest, slot_mask, slot_count;
    uint64_t order;
} queue_t;

int queue_make(queue_t *q, uint32_t capacity);
void queue_free(queue_t *q);
/* False when the new frame was the one to be dropped; *lost counts the others. */
bool queue_put(queue_t *q, const link_frame_t *f, uint64_t in_us, queue_policy_t policy, bool is_latest, uint64_t *lost,
               uint64_t *replaced);
bool queue_take(queue_t *q, link_frame_t *f, uint64_t *in_us);
uint32_t queue_key(const link_frame_t *f); /* order of arbitration: the smaller goes first */

/* ---- the bridge ---- */

typedef struct {
    link_t *link;
    queue_t queue;
    bridge_link_counters_t count;
    uint32_t zone, policy;
    uint32_t bit_ns, data_bit_ns; /* 0: not known */
    uint8_t is_paced, is_real;
    uint8_t has_hops; /* its frames say how many bridges they crossed */
    uint32_t room;    /* frames that surely find room in the link */
    uint64_t free_ns; /* when the wire has carried what was sent */
    link_frame_t direct[64];
    uint64_t direct_in_us[64];
    uint32_t direct_count;
} bridge_link_t;

typedef struct {
    link_frame_t frame;
    uint64_t due_us, order;
    uint32_t to;
    bool is_latest;
} delayed_t;

typedef struct {
    const link_api_t *api;
    bridge_link_t link[BRIDGE_LINKS];
    uint32_t link_count, rule_count, range_count, guard_count;
    bridge_rule_t *rule;
    bridge_rule_state_t *state;
    bridge_range_t *range, *guard;
    uint8_t route[BRIDGE_LINKS][BRIDGE_LINKS][BRIDGE_RULES]; /* rules from a link to a link, in order */
    uint32_t route_count[BRIDGE_LINKS][BRIDGE_LINKS];
    delayed_t *delayed;
    uint32_t delayed_count;
    uint64_t order, armed_until_us, alive_us, cycles, started_us;
    int wake_fd;
    uint32_t announce_id; /* 0: nothing is said; with BRIDGE_EXTENDED a long one */
    uint64_t announce_us;
    bool was_armed;
    bool is_blocked; /* a source waits for room in a queue */
    volatile int stopping, draining;
} bridge_t;

int bridge_make(bridge_t *b); /* of a zeroed one: 0 or -ENOMEM */
void bridge_free(bridge_t *b);
void bridge_set_routes(bridge_t *b); /* after links or rules were changed */
void bridge_state_init(const bridge_rule_t *r, bridge_rule_state_t *s, uint64_t now_us);
uint32_t bridge_cycle(bridge_t *b, uint64_t now_us); /* frames moved */
void bridge_run(bridge_t *b);        /* until stopping; what is waiting when draining begins is still sent */
bool bridge_is_empty(const bridge_t *b);
bool bridge_delay(bridge_t *b, uint32_t to, const link_frame_t *f, uint64_t due_us, bool is_latest); /* false: no room */

/* rules.c */
void bridge_judge(bridge_t *b, uint32_t from, uint32_t to, link_frame_t *f, uint64_t now_us, bridge_fate_t *fate);
bool bridge_in_ranges(const bridge_range_t *r, uint32_t count, uint32_t key);
int64_t bridge_field_get(const bridge_field_t *s, const uint8_t *data);
void bridge_field_set(const bridge_field_t *s, uint8_t *data);

const field_t *bridge_link_fields(size_t *count);
const field_t *bridge_rule_fields(size_t *count);

#endif
