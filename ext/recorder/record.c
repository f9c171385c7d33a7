#include "record.h"

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

static void copy(const record_source_t *s, uint32_t row)
{
    if (s->keep_type != 0u) {
        const size_t bytes = (size_t)s->count * SIZE[s->type];
        memcpy((uint8_t *)s->to + row * bytes, s->from, bytes);
    } else if (s->type == FIELD_f64 && s->count == 1u) { /* most signals: no call */
        double value;
        memcpy(&value, s->from, sizeof value);
        ((float *)s->to)[row] = (float)(value * s->scale + s->shift);
    } else {
        CONVERT_BY_TYPE[s->type](s->from, (float *)s->to + (size_t)row * s->count, s->count, s->scale, s->shift);
    }
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
    r->ticks = row + 1u;
    return r->ticks == r->capacity ? 1u : 0u;
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
