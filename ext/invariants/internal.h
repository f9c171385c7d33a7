/* Shared by the files of the oracle. */
#ifndef BMS_INVARIANTS_INTERNAL_H
#define BMS_INVARIANTS_INTERNAL_H

#include "invariants/invariants.h"
#include "pins.h"

#define COILS (PIN_OUT_MAIN_PLUS | PIN_OUT_MAIN_MINUS | PIN_OUT_PRECHARGE)
enum { BEYOND_VOLTAGE, BEYOND_TEMPERATURE, BEYOND_CURRENT, BEYOND_PRESSURE };

static inline bool bit_of(uint32_t word, uint32_t bit) { return bit < 32u && (word >> bit & 1u) != 0u; }
static inline double size_of(double x) { return x < 0.0 ? -x : x; }
static inline double larger(double a, double b) { return a > b ? a : b; }
static inline double smaller(double a, double b) { return a < b ? a : b; }
static inline uint32_t older(uint32_t age_ms, uint32_t by_ms) { return age_ms < 100000000u ? age_ms + by_ms : age_ms; }

static inline bool is_asleep(const world_t *w) { return w->loop.sleep_until_us > w->loop.elapsed_us; }

/* A quantity is looked at every `by_ms`; it forbids closing once the diagnosis that protects it must have seen it. */
static inline void note_beyond(watch_rules_t *s, uint32_t quantity, bool bad, uint32_t by_ms, uint32_t deadline_ms)
{
    s->beyond_ms[quantity] = bad ? older(s->beyond_ms[quantity], by_ms) : 0u;
    const uint32_t bit = 1u << quantity;
    s->beyond = s->beyond_ms[quantity] > deadline_ms ? s->beyond | bit : s->beyond & ~bit;
}

/* Current can flow between pack and link, and a coil that lets go would end it: of two welded poles nobody is asked that. */
static inline bool path_is_closed(const plant_t *p)
{
    const uint32_t either = PLANT_MAIN_PLUS | PLANT_PRECHARGE, stuck = p->contactor_closed & p->contactor_weld;
    const bool closed = (p->contactor_closed & either) != 0u && (p->contactor_closed & PLANT_MAIN_MINUS) != 0u;
    const bool welded = (stuck & either) != 0u && (stuck & PLANT_MAIN_MINUS) != 0u;
    return closed && !welded && p->fuse_blown == 0u;
}

void rule_broken(watch_rules_t *s, const world_t *w, uint32_t rule, double value, int32_t place);
/* Counts `by_ms` while `bad`; the rule is broken once a stretch, when it has lasted longer than `limit_ms`. */
void rule_held(watch_rules_t *s, const world_t *w, uint32_t rule, uint32_t slot, bool bad, uint32_t by_ms, uint32_t limit_ms, double value,
               int32_t place);

void watch_truth_fast(watch_rules_t *s, const world_t *w);  /* every millisecond: current, contacts */
void watch_truth_tick(watch_rules_t *s, const world_t *w);  /* every 10 ms: voltages, inputs that are missing */
void watch_truth_slow(watch_rules_t *s, const world_t *w);  /* every 100 ms: heat, pressure, balancing */
void watch_frames(watch_rules_t *s, const world_t *w);      /* every millisecond: what the BMS says */
void watch_pins(watch_rules_t *s, const world_t *w);        /* every millisecond: what it drives */
void watch_calls(watch_rules_t *s, const world_t *w);       /* every millisecond: who asks, and is anybody there */
void watch_answer(watch_rules_t *s, const world_t *w, const ecu_can_frame_t *f);
void watch_told_frame(watch_rules_t *s, const ecu_can_frame_t *f);
void watch_forbidden(watch_rules_t *s);                     /* every millisecond */
void watch_spans(watch_rules_t *s, const world_t *w);       /* every 10 ms, behind the voltages */
void watch_told(watch_rules_t *s, const world_t *w);        /* every 100 ms: what it says of readings */

#endif
