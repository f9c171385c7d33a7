/* Rings of frames, streams of bytes in and out, other people's clocks. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "links/internal.h"

#define CUT_US SECOND_US /* a message that is not complete after so long a silence never will be */
#define SHORTEST 6u       /* bytes of the shortest frame of any protocol: t1230 and CR */
#define PATIENT_ROOM 128u /* frames; more bytes than STREAM_MESSAGE */
#define DRIFT_PPM 200u
#define JUMP_US (10 * (int64_t)SECOND_US) /* a clock that is off by more was set */

int ring_make(ring_t *r, uint32_t capacity)
{
    uint32_t size = 2;
    while (size < capacity) {
        size *= 2u;
    }
    r->frames = calloc(size, sizeof *r->frames);
    r->mask = size - 1u;
    r->head = r->tail = 0;
    return r->frames != NULL ? 0 : -ENOMEM;
}

uint32_t ring_count(const ring_t *r)
{
    return __atomic_load_n(&r->head, __ATOMIC_ACQUIRE) - __atomic_load_n(&r->tail, __ATOMIC_ACQUIRE);
}

uint32_t ring_room(const ring_t *r)
{
    return r->mask + 1u - ring_count(r);
}

/* A frame without the data it does not have: most of its bytes are never touched. */
static void copy_frame(link_frame_t *to, const link_frame_t *from)
{
    if (from->length <= 8u) {
        memcpy(to, from, offsetof(link_frame_t, data) + 8u);
    } else {
        memcpy(to, from, sizeof *to);
    }
}

bool ring_put(ring_t *r, const link_frame_t *f)
{
    const uint32_t head = r->head;
    if (head - __atomic_load_n(&r->tail, __ATOMIC_ACQUIRE) > r->mask) {
        return false;
    }
    copy_frame(&r->frames[head & r->mask], f);
    __atomic_store_n(&r->head, head + 1u, __ATOMIC_RELEASE);
    return true;
}

uint32_t ring_put_many(ring_t *r, const link_frame_t *f, uint32_t count)
{
    const uint32_t head = r->head;
    const uint32_t room = r->mask + 1u - (head - __atomic_load_n(&r->tail, __ATOMIC_ACQUIRE));
    const uint32_t n = count < room ? count : room;
    for (uint32_t k = 0; k < n; k++) {
        copy_frame(&r->frames[(head + k) & r->mask], &f[k]);
    }
    __atomic_store_n(&r->head, head + n, __ATOMIC_RELEASE);
    return n;
}

uint32_t ring_take(ring_t *r, link_frame_t *out, uint32_t max)
{
    const uint32_t tail = r->tail;
    const uint32_t have = __atomic_load_n(&r->head, __ATOMIC_ACQUIRE) - tail;
    const uint32_t n = max < have ? max : have;
    for (uint32_t k = 0; k < n; k++) {
        copy_frame(&out[k], &r->frames[(tail + k) & r->mask]);
    }
    __atomic_store_n(&r->tail, tail + n, __ATOMIC_RELEASE);
    return n;
}

bool stream_may_read(const link_t *l)
{
    return (l->config.options & LINK_PATIENT) == 0u || ring_room(&l->rx) >= PATIENT_ROOM;
}

int stream_read(stream_t *s, int fd, uint64_t now_us, link_t *l)
{
    if (!stream_may_read(l)) {
        return 0;
    }
    uint32_t most = STREAM_SIZE - s->have;
    if ((l->config.options & LINK_PATIENT) != 0u && ring_room(&l->rx) * SHORTEST < s->have + most) {
        most = ring_room(&l->rx) * SHORTEST - s->have; /* more than 0: PATIENT_ROOM is beyond any half message */
    }
    const ssize_t n = read(fd, s->bytes + s->have, most);
    if (n > 0) {
        s->have += (uint32_t)n;
        s->heard_us = now_us;
        l->counters.rx_bytes += (uint64_t)n;
        return (int)n;
    }
    if (n < 0) {
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    }
    return -EPIPE;
}

void stream_consume(stream_t *s, uint32_t count)
{
    s->have -= count;
    if (count != 0u && s->have != 0u) {
        memmove(s->bytes, s->bytes + count, s->have);
    }
}

void stream_age(stream_t *s, uint64_t now_us, link_counters_t *c)
{
    if ((s->have != 0u || s->skipping) && now_us - s->heard_us > CUT_US) {
        stream_clear(s, c);
    }
}

void stream_clear(stream_t *s, link_counters_t *c)
{
    c->malformed_cut += s->have != 0u;
    s->have = 0;
    s->skipping = false;
}

int outbox_make(outbox_t *o, uint32_t size)
{
    o->bytes = malloc(size);
    o->size = size;
    o->start = o->end = 0;
    return o->bytes != NULL ? 0 : -ENOMEM;
}

uint8_t *outbox_room(outbox_t *o, uint32_t count)
{
    if (o->size - o->end < count && o->start != 0u) {
        memmove(o->bytes, o->bytes + o->start, o->end - o->start);
        o->end -= o->start;
        o->start = 0;
    }
    return o->size - o->end >= count ? o->bytes + o->end : NULL;
}

bool outbox_put(outbox_t *o, const void *bytes, uint32_t count)
{
    uint8_t *to = outbox_room(o, count);
    if (to != NULL) {
        memcpy(to, bytes, count);
        o->end += count;
    }
    return to != NULL;
}

uint32_t outbox_free(const outbox_t *o)
{
    return o->size - (o->end - o->start);
}

int outbox_flush(outbox_t *o, int fd, link_counters_t *c)
{
    while (o->start != o->end) {
        const ssize_t n = write(fd, o->bytes + o->start, o->end - o->start);
        if (n < 0) {
            return errno == EAGAIN || errno == EINTR ? 0 : -errno;
        }
        if (n == 0) {
            return 0;
        }
        o->start += (uint32_t)n;
        c->tx_bytes += (uint64_t)n;
    }
    o->start = o->end = 0;
    return 0;
}

uint64_t wall_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * SECOND_US + (uint64_t)t.tv_nsec / 1000u;
}

uint64_t far_time(far_clock_t *c, uint64_t stamp_us, uint64_t now_us)
{
    const int64_t delay_us = (int64_t)(now_us - stamp_us);
    const int64_t drift_us = (int64_t)((now_us - c->at_us) * DRIFT_PPM / SECOND_US);
    const int64_t late_us = delay_us - c->offset_us;
    if (!c->known || late_us < drift_us || late_us > JUMP_US) {
        c->offset_us = delay_us;
    } else {
        c->offset_us += drift_us;
    }
    c->at_us = now_us;
    c->known = true;
    return (uint64_t)((int64_t)stamp_us + c->offset_us);
}
