#include "recorder/record.h"

#include <stdbool.h>
#include <string.h>

static const uint8_t SIZE[] = {
    [FIELD_u8] = 1,  [FIELD_u16] = 2, [FIELD_u32] = 4, [FIELD_u64] = 8, [FIELD_i16] = 2,
    [FIELD_i32] = 4, [FIELD_i64] = 8, [FIELD_f32] = 4, [FIELD_f64] = 8,
};

/* One loop a type, simple enough for the compiler to vectorise. */
#define CONVERT(name, type)                                                                                       \
    static void name(const void *from, float *restrict to, uint32_t count, double scale, double shift)            \
    {                                                                                                             \
        const type *const restrict values = from;                                                                 \
        for (uint32_t k = 0; k < count; k++) {                                                                    \
            to[k] = (float)((double)values[k] * scale + shift);                                                   \
        }                                                                                                         \
    }
CONVERT(from_u8, u8)
CONVERT(from_u16, u16)
CONVERT(from_u32, u32)
CONVERT(from_u64, u64)
CONVERT(from_i16, i16)
CONVERT(from_i32, i32)
CONVERT(from_i64, i64)
CONVERT(from_f32, f32)
CONVERT(from_f64, f64)

typedef void convert_t(const void *from, float *restrict to, uint32_t count, double scale, double shift);

static convert_t *const CONVERT_BY_TYPE[] = {
    [FIELD_u8] = from_u8,   [FIELD_u16] = from_u16, [FIELD_u32] = from_u32, [FIELD_u64] = from_u64, [FIELD_i16] = from_i16,
    [FIELD_i32] = from_i32, [FIELD_i64] = from_i64, [FIELD_f32] = from_f32, [FIELD_f64] = from_f64,
};

/* The number of the step next to x; the least number when there is none. */
static inline int32_t on_raster(double x, double most)
{
    const double known = x == x ? x : 0.0;
    const double above = known < -most ? -most : known;
    const double held = above > most ? most : above;
    const int32_t number = (int32_t)(held + (held < 0.0 ? -0.5 : 0.5));
    return x == x ? number : (int32_t)-most - 1;
}

static inline double read_one(const record_source_t *s, uint32_t k)
{
    const uint8_t *const from = (const uint8_t *)s->from + (size_t)k * SIZE[s->type];
    float narrow;
    if (s->type == FIELD_f64) {
        double wide;
        memcpy(&wide, from, sizeof wide);
        return wide;
    }
    if (s->type == FIELD_f32) memcpy(&narrow, from, sizeof narrow);
    else CONVERT_BY_TYPE[s->type](from, &narrow, 1u, 1.0, 0.0);
    return (double)narrow;
}

static void copy_on_raster(const record_source_t *s, uint32_t row)
{
    for (uint32_t k = 0; k < s->count; ++k) {
        const double x = read_one(s, k) * s->scale + s->shift;
        const size_t place = (size_t)row * s->count + k;
        if (s->how == RECORD_RASTER_16) ((int16_t *)s->to)[place] = (int16_t)on_raster(x, (double)INT16_MAX);
        else ((int32_t *)s->to)[place] = on_raster(x, (double)INT32_MAX);
    }
}

static void copy(const record_source_t *s, uint32_t row)
{
    if (s->how == RECORD_AS_IS) {
        const size_t bytes = (size_t)s->count * SIZE[s->type];
        memcpy((uint8_t *)s->to + row * bytes, s->from, bytes);
    } else if (s->how == RECORD_RASTER_16 && s->count == 1u) { /* no loop either */
        ((int16_t *)s->to)[row] = (int16_t)on_raster(read_one(s, 0u) * s->scale + s->shift, (double)INT16_MAX);
    } else if (s->how != RECORD_FLOAT) {
        copy_on_raster(s, row);
    } else if (s->type == FIELD_f64 && s->count == 1u) { /* most signals: no call */
        double value;
        memcpy(&value, s->from, sizeof value);
        ((float *)s->to)[row] = (float)(value * s->scale + s->shift);
    } else {
        CONVERT_BY_TYPE[s->type](s->from, (float *)s->to + (size_t)row * s->count, s->count, s->scale, s->shift);
    }
}

/* What one tick can add at most: ten steps, each with full arrays of frames both ways and of both lines. */
enum { TICK_FRAMES = 10 * (ECU_CAN_IN_MAX + ECU_CAN_OUT_MAX), TICK_PIECES = 40, TICK_STEP_BYTES = 11 * STEPS_RECORD_MAX };

static bool log_is_tight(const record_log_t *log, uint32_t records, uint32_t bytes)
{
    if (log->capacity < 4u * records || log->byte_capacity < 4u * bytes) return false; /* too small to keep a margin */
    return log->count + records > log->capacity || log->byte_count + bytes > log->byte_capacity;
}

static bool is_full(const recorder_t *r)
{
    if (r->ticks == r->capacity) return true;
    if (log_is_tight(&r->frames, TICK_FRAMES, TICK_FRAMES * 8u) || log_is_tight(&r->uart, TICK_PIECES, TICK_PIECES * 64u)) return true;
    return r->steps.capacity != 0u && r->steps.count + TICK_STEP_BYTES > r->steps.capacity;
}

uint32_t record_tick(recorder_t *r, uint64_t now_us)
{
    const uint32_t row = r->ticks;
    if (row >= r->capacity) {
        r->dropped++;
        return 1u;
    }
    r->t_ns[row] = (int64_t)(now_us * 1000u);
    for (uint32_t k = 0; k < r->source_count; k++) {
        copy(&r->sources[k], row);
    }
    if (r->frames.capacity != 0u) {
        r->frames.end[row] = (int32_t)r->frames.count;
    }
    if (r->uart.capacity != 0u) {
        r->uart.end[row] = (int32_t)r->uart.count;
    }
    if (r->steps.capacity != 0u) {
        r->steps.end[row] = (int32_t)r->steps.count;
    }
    r->ticks = row + 1u;
    return is_full(r) ? 1u : 0u;
}

/* The next free place of a log with its bytes copied, or -1 and one more dropped. */
static int64_t append(record_log_t *log, uint64_t t_us, const uint8_t *bytes, uint32_t count)
{
    if (log->count >= log->capacity || count > log->byte_capacity - log->byte_count) {
        log->dropped++;
        return -1;
    }
    const uint32_t place = log->count;
    memcpy(&log->bytes[log->byte_count], bytes, count);
    log->byte_count += count;
    log->t_ns[place] = (int64_t)(t_us * 1000u);
    log->offset[place + 1u] = (int32_t)log->byte_count;
    log->count = place + 1u;
    return (int64_t)place;
}

void record_frame(recorder_t *r, uint64_t t_us, const ecu_can_frame_t *f, uint8_t direction)
{
    if (r->frames.capacity == 0u) {
        return;
    }
    const uint32_t length = f->length <= sizeof f->data ? f->length : (uint32_t)sizeof f->data;
    const int64_t place = append(&r->frames, t_us, f->data, length);
    if (place >= 0) {
        r->frames.id[place] = f->id;
        r->frames.bus[place] = f->bus;
        r->frames.direction[place] = direction;
        r->frames.flags[place] = f->flags;
    }
}

void record_bytes(recorder_t *r, uint64_t t_us, uint8_t direction, const uint8_t *bytes, uint16_t count)
{
    if (r->uart.capacity == 0u || count == 0u) {
        return;
    }
    const int64_t place = append(&r->uart, t_us, bytes, count);
    if (place >= 0) {
        r->uart.bus[place] = direction >> 1;
        r->uart.direction[place] = direction & 1u;
    }
}

static bool steps_have_room(record_steps_t *s)
{
    if (s->capacity == 0u) return false;
    if (s->count + STEPS_RECORD_MAX <= s->capacity) return true;
    s->dropped++;
    return false;
}

static void step_key(record_steps_t *s, uint64_t number, uint64_t before_us)
{
    if (s->is_keyed != 0u) return;
    s->count += steps_put_key(&s->base, number, before_us, &s->bytes[s->count]);
    s->is_keyed = 1u;
}

void record_step(recorder_t *r, uint64_t number, const ecu_in_t *in, const ecu_out_t *out)
{
    record_steps_t *const s = &r->steps;
    if (!steps_have_room(s)) return;
    step_key(s, number, in->now_us - 1000u);
    uint8_t *const to = &s->bytes[s->count];
    to[0] = STEPS_STEP;
    const uint32_t given = steps_put_in(&s->base, in, &to[1], &to[3]);
    s->count += 3u + given + steps_put_out(&s->base, out, &to[2], &to[3u + given]);
}

void record_boot(recorder_t *r, uint64_t number, const ecu_boot_t *boot)
{
    record_steps_t *const s = &r->steps;
    if (!steps_have_room(s)) return;
    step_key(s, number, boot->now_us);
    s->count += steps_put_boot(boot, &s->bytes[s->count]);
}
