#include "loop/inject.h"

#include <string.h>

#define FIELD_OWNER inject_t
FIELD_TABLE(inject_fields, INJECT_FIELDS);
#undef FIELD_OWNER
const size_t inject_field_count = FIELD_COUNT(inject_fields);

#define STEP_US 1000u

/* ---- one element ---- */

static uint32_t size_of(uint8_t type)
{
    static const uint8_t bytes[] = {1, 2, 4, 8, 2, 4, 8, 4, 8};
    return type < sizeof bytes ? bytes[type] : 1u;
}

static uint64_t load(const uint8_t *place, uint8_t type)
{
    uint64_t bits = 0;
    memcpy(&bits, place, size_of(type)); /* little-endian hosts only, as everything that shares the arena */
    return bits;
}

static int64_t whole(uint64_t bits, uint8_t type)
{
    if (type == FIELD_i16) return (int16_t)bits;
    if (type == FIELD_i32) return (int32_t)bits;
    return (int64_t)bits;
}

/* Saturates; not a number is 0. */
static int64_t rounded(double x)
{
    if (x >= 9.2e18) return INT64_MAX;
    if (x <= -9.2e18) return INT64_MIN;
    return x == x ? (int64_t)(x + (x < 0.0 ? -0.5 : 0.5)) : 0;
}

static int64_t within(int64_t x, uint8_t type)
{
    static const int64_t low[] = {0, 0, 0, 0, INT16_MIN, INT32_MIN, INT64_MIN};
    static const int64_t high[] = {UINT8_MAX, UINT16_MAX, UINT32_MAX, INT64_MAX, INT16_MAX, INT32_MAX, INT64_MAX};
    if (type == FIELD_u64) return x; /* clocks count on modulo 2^64 */
    return x < low[type] ? low[type] : x > high[type] ? high[type] : x;
}

static double moved(double x, uint8_t op, double value, double share)
{
    if (op == INJECT_ADD || op == INJECT_PUSH) return x + value * share;
    if (op == INJECT_SCALE) return x * (1.0 + (value - 1.0) * share);
    return share < 1.0 ? x + (value - x) * share : value;
}

static uint64_t apply_real(uint64_t bits, uint8_t type, uint8_t op, double value, double share)
{
    double x = 0.0;
    float narrow = 0.0f;
    if (type == FIELD_f64) {
        memcpy(&x, &bits, sizeof x);
        x = moved(x, op, value, share);
        memcpy(&bits, &x, sizeof x);
        return bits;
    }
    const uint32_t half = (uint32_t)bits;
    memcpy(&narrow, &half, sizeof narrow);
    narrow = (float)moved((double)narrow, op, value, share);
    bits = 0;
    memcpy(&bits, &narrow, sizeof narrow);
    return bits;
}

static uint64_t apply(uint64_t bits, uint8_t type, uint8_t op, double value, double share)
{
    const uint64_t mask = (uint64_t)rounded(value);
    const uint64_t all = size_of(type) == 8u ? UINT64_MAX : ((uint64_t)1 << 8u * size_of(type)) - 1u;
    if (op == INJECT_OR) return bits | (mask & all);
    if (op == INJECT_CLEAR) return bits & ~mask;
    if (op == INJECT_FLIP) return bits ^ (mask & all);
    if (type >= FIELD_f32) return apply_real(bits, type, op, value, share);
    const int64_t x = whole(bits, type);
    if (op == INJECT_ADD || op == INJECT_PUSH) {
        const uint64_t sum = (uint64_t)x + (uint64_t)rounded(value * share);
        return (uint64_t)within((int64_t)sum, type) & all;
    }
    return (uint64_t)within(rounded(moved((double)x, op, value, share)), type) & all;
}

/* ---- the pile of moves on an element ---- */

static bool covers(const inject_t *t, uint32_t m, uint32_t offset, uint32_t *k)
{
    if (t->phase[m] != INJECT_ON || t->op[m] == INJECT_PUSH || offset < t->offset[m]) return false;
    const uint32_t far = offset - t->offset[m];
    if (far % t->stride[m] != 0u || far / t->stride[m] >= t->count[m]) return false;
    *k = t->first[m] + far / t->stride[m];
    return true;
}

static double share_of(const inject_t *t, uint32_t m, uint64_t now_us)
{
    const uint64_t since = now_us - t->on_us[m];
    return t->ramp_us[m] == 0u || since >= t->ramp_us[m] ? 1.0 : (double)since / (double)t->ramp_us[m];
}

/* The lowest move on the element that lies above `above`; INJECT_MOVES when there is none. */
static uint32_t next_in_pile(const inject_t *t, uint32_t offset, uint64_t above, uint32_t *k)
{
    uint32_t found = INJECT_MOVES, at = 0;
    for (uint32_t m = 0; m < INJECT_MOVES; ++m) {
        if (t->order[m] > above && covers(t, m, offset, &at) && (found == INJECT_MOVES || t->order[m] < t->order[found])) {
            found = m;
            *k = at;
        }
    }
    return found;
}

/* Builds the element up again from what lies under all moves above `above`. */
static void rebuild(inject_t *t, const inject_arena_t *a, uint32_t offset, uint8_t type, uint64_t bits, uint64_t above)
{
    uint32_t k = 0, m = next_in_pile(t, offset, above, &k);
    while (m < INJECT_MOVES) {
        t->former[k] = bits;
        bits = apply(bits, type, t->op[m], t->value[m], share_of(t, m, a->now_us));
        t->written[k] = bits;
        m = next_in_pile(t, offset, t->order[m], &k);
    }
    memcpy(a->bytes + offset, &bits, size_of(type));
}

static void begin(inject_t *t, const inject_arena_t *a, uint32_t m)
{
    t->order[m] = ++t->begun;
    t->phase[m] = INJECT_ON;
    t->done[m] = 0.0;
    if (t->op[m] == INJECT_PUSH) return;
    for (uint32_t k = 0; k < t->count[m]; ++k) {
        const uint32_t offset = t->offset[m] + k * t->stride[m];
        rebuild(t, a, offset, t->type[m], load(a->bytes + offset, t->type[m]), t->order[m] - 1u);
    }
}

static void end(inject_t *t, const inject_arena_t *a, uint32_t m, uint8_t phase)
{
    t->phase[m] = phase;
    if (t->op[m] == INJECT_PUSH || t->stays[m]) return;
    for (uint32_t k = 0; k < t->count[m]; ++k)
        rebuild(t, a, t->offset[m] + k * t->stride[m], t->type[m], t->former[t->first[m] + k], t->order[m]);
}

static double pushed(double x, double more, double furthest)
{
    const double to = x + more;
    if (more < 0.0) return to >= furthest ? to : x < furthest ? x : furthest;
    return to <= furthest ? to : x > furthest ? x : furthest;
}

/* The rest of a push, of doubles: what a pack that is warmed from outside pays every millisecond. */
static void push_doubles(const inject_t *t, const inject_arena_t *a, uint32_t m, double share)
{
    const double more = t->value[m] * share, furthest = t->furthest[m];
    uint8_t *at = a->bytes + t->offset[m];
    for (uint32_t k = 0; k < t->count[m]; ++k, at += t->stride[m]) {
        double x;
        memcpy(&x, at, sizeof x);
        x = pushed(x, more, furthest);
        memcpy(at, &x, sizeof x);
    }
}

/* What changes while a move lasts: its ramp, its share of a push, and a value that others wrote over it. */
static void go_on(inject_t *t, const inject_arena_t *a, uint32_t m)
{
    const double share = share_of(t, m, a->now_us);
    const bool is_plain = t->op[m] == INJECT_PUSH && t->type[m] == FIELD_f64;
    if (is_plain) push_doubles(t, a, m, share - t->done[m]);
    for (uint32_t k = 0; k < t->count[m] && !is_plain; ++k) {
        const uint32_t offset = t->offset[m] + k * t->stride[m], place = t->first[m] + k;
        const uint64_t bits = load(a->bytes + offset, t->type[m]);
        if (t->op[m] == INJECT_PUSH) {
            const uint64_t more = apply(bits, t->type[m], INJECT_PUSH, t->value[m], share - t->done[m]);
            memcpy(a->bytes + offset, &more, size_of(t->type[m]));
            continue;
        }
        uint32_t above = 0;
        if (next_in_pile(t, offset, t->order[m], &above) != INJECT_MOVES) continue;
        if (t->hold[m] && bits != t->written[place]) rebuild(t, a, offset, t->type[m], bits, 0u);
        else if (t->ramp_us[m] != 0u) rebuild(t, a, offset, t->type[m], t->former[place], t->order[m] - 1u);
    }
    t->done[m] = share;
}

/* ---- time ---- */

static bool fits(const inject_t *t, const inject_arena_t *a, uint32_t m)
{
    const uint64_t size = size_of(t->type[m]);
    if (t->type[m] > FIELD_f64 || t->op[m] > INJECT_PUSH || t->count[m] == 0u || t->stride[m] < size) return false;
    if (t->first[m] > INJECT_ELEMENTS || t->count[m] > INJECT_ELEMENTS - t->first[m]) return false;
    return (uint64_t)t->offset[m] + (uint64_t)(t->count[m] - 1u) * t->stride[m] + size <= a->size;
}

static bool is_moving(const inject_t *t, uint32_t m, uint64_t now_us)
{
    if (t->phase[m] != INJECT_ON) return false;
    if (t->op[m] == INJECT_PUSH) return t->done[m] < 1.0;
    return t->hold[m] != 0u || now_us < t->on_us[m] + t->ramp_us[m];
}

/* When the move has to be looked at again. */
static uint64_t due_us(const inject_t *t, uint32_t m, uint64_t now_us)
{
    if (t->phase[m] == INJECT_FREE || t->phase[m] == INJECT_OVER) return INJECT_NEVER_US;
    if (t->phase[m] == INJECT_ARMED) return t->on_us[m];
    if (is_moving(t, m, now_us)) return now_us + STEP_US;
    const bool turns = t->period_us[m] != 0u && t->turn_us[m] < t->off_us[m];
    return turns ? t->turn_us[m] : t->off_us[m];
}

static void turn(inject_t *t, const inject_arena_t *a, uint32_t m)
{
    if (t->phase[m] == INJECT_ON) {
        t->turn_us[m] += t->period_us[m] - t->width_us[m];
        end(t, a, m, INJECT_BETWEEN);
    } else {
        t->turn_us[m] += t->width_us[m];
        begin(t, a, m);
    }
}

static void tell(const inject_t *t, uint32_t m, uint32_t is_on, inject_told_t *told, uint32_t *count)
{
    if (!t->tells[m]) return;
    told[*count].fault = t->fault[m];
    told[*count].is_on = is_on;
    told[*count].index = t->fault_index[m];
    told[*count].value = t->fault_value[m];
    ++*count;
}

static void look(inject_t *t, const inject_arena_t *a, uint32_t m, inject_told_t *told, uint32_t *count)
{
    const uint64_t now_us = a->now_us;
    if (t->phase[m] == INJECT_FREE || t->phase[m] == INJECT_OVER) return;
    if (!fits(t, a, m)) {
        t->phase[m] = INJECT_OVER; /* a row written by hand, gone wrong */
        return;
    }
    const bool is_to_end = t->withdrawn[m] || now_us >= t->off_us[m];
    if (t->phase[m] == INJECT_ARMED) {
        if (t->withdrawn[m]) t->phase[m] = INJECT_OVER;
        if (t->withdrawn[m] || now_us < t->on_us[m]) return;
        t->turn_us[m] = t->on_us[m] + t->width_us[m];
        begin(t, a, m);
        tell(t, m, 1u, told, count);
        if (t->op[m] != INJECT_PUSH || t->ramp_us[m] != 0u) return;
    }
    if (is_to_end && t->phase[m] == INJECT_BETWEEN) t->phase[m] = INJECT_OVER;
    else if (is_to_end && t->phase[m] == INJECT_ON) {
        if (is_moving(t, m, now_us) && t->op[m] == INJECT_PUSH) go_on(t, a, m);
        end(t, a, m, INJECT_OVER);
    } else if (t->period_us[m] != 0u && now_us >= t->turn_us[m]) turn(t, a, m);
    else if (is_moving(t, m, now_us) || t->ramp_us[m] != 0u) go_on(t, a, m);
    if (t->phase[m] == INJECT_OVER) tell(t, m, 0u, told, count);
}

uint32_t inject_step(inject_t *t, const inject_arena_t *a, inject_told_t told[INJECT_MOVES])
{
    uint32_t count = 0;
    t->seen = t->asked;
    t->next_us = INJECT_NEVER_US;
    for (uint32_t m = 0; m < INJECT_MOVES; ++m) {
        look(t, a, m, told, &count);
        const uint64_t due = due_us(t, m, a->now_us);
        t->next_us = due < t->next_us ? due : t->next_us;
    }
    return count;
}
