/* An SLCAN adapter on a serial line: we are the computer. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "links/internal.h"
#include "links/serial.h"
#include "links/slcan.h"

#define OUTBOX 65536u
#define HANDSHAKE_US 250000u /* adapters that never answer exist; after this the line is taken as open */
#define FAREWELL_MS 20

typedef struct {
    stream_t in;
    outbox_t out;
    uint32_t answers_due; /* of the handshake */
    far_clock_t clock;
    uint64_t stamp_total_ms, stamp_at_us;
} slcan_t;

static int slcan_make(link_t *l)
{
    slcan_t *s = calloc(1, sizeof *s);
    l->own = s;
    return s == NULL ? -ENOMEM : outbox_make(&s->out, OUTBOX);
}

static void slcan_release(link_t *l)
{
    slcan_t *s = l->own;
    if (s != NULL) {
        free(s->out.bytes);
    }
}

/* Closes the channel first: an adapter left open by somebody else refuses to have its speed set. */
static int slcan_start(link_t *l, uint64_t now_us)
{
    slcan_t *s = l->own;
    char hello[48];
    int n = snprintf(hello, sizeof hello, "C\rC\r"); /* no empty line: CANable firmware repeats its last frame on one */
    l->fd = serial_open(l->config.name, l->config.baud, SERIAL_LOW_LATENCY);
    if (l->fd < 0) {
        const int failed = l->fd;
        l->fd = -1;
        link_say(l, "%s: %s", l->config.name, strerror(-failed));
        return failed;
    }
    s->answers_due = 2; /* the first C may end what somebody else began */
    if (l->config.bitrate != 0u) {
        n += snprintf(hello + n, sizeof hello - (size_t)n, "S%d\r", slcan_speed_code(l->config.bitrate));
        s->answers_due++;
    }
    if (l->config.data_bitrate != 0u) {
        n += snprintf(hello + n, sizeof hello - (size_t)n, "Y%d\r", slcan_data_speed_code(l->config.data_bitrate));
        s->answers_due++;
    }
    n += snprintf(hello + n, sizeof hello - (size_t)n, "%s\r", (l->config.options & LINK_LISTEN_ONLY) != 0u ? "L" : "O");
    s->answers_due++;
    stream_clear(&s->in, &l->counters);
    s->in.heard_us = now_us;
    s->out.start = s->out.end = 0;
    s->clock.known = false;
    (void)outbox_put(&s->out, hello, (uint32_t)n);
    l->due_us = now_us + HANDSHAKE_US;
    snprintf(l->place, sizeof l->place, "%s", l->config.name);
    return 0;
}

static void slcan_stop(link_t *l)
{
    slcan_t *s = l->own;
    if (l->fd < 0) {
        return;
    }
    if (l->state == LINK_CLOSED) { /* on purpose: the adapter is told, and given a moment */
        struct pollfd p = {l->fd, POLLOUT, 0};
        s->out.start = s->out.end = 0;
        (void)outbox_put(&s->out, "C\r", 2);
        if (poll(&p, 1, FAREWELL_MS) > 0 && (p.revents & POLLHUP) == 0) {
            (void)outbox_flush(&s->out, l->fd, &l->counters);
            (void)poll(NULL, 0, FAREWELL_MS);
        }
    }
    serial_discard(l->fd);
    close(l->fd);
    l->fd = -1;
}

/* The adapter's clock in milliseconds wraps each minute; ours says which minute it is. */
static uint64_t stamp_time(slcan_t *s, uint16_t stamp_ms, uint64_t now_us)
{
    const uint64_t guess_ms = s->stamp_total_ms + (now_us - s->stamp_at_us) / 1000u;
    const uint32_t ahead = (uint32_t)((stamp_ms + SLCAN_STAMP_WRAP - guess_ms % SLCAN_STAMP_WRAP) % SLCAN_STAMP_WRAP);
    const bool behind = ahead > SLCAN_STAMP_WRAP / 2u && guess_ms >= SLCAN_STAMP_WRAP;
    s->stamp_total_ms = guess_ms + ahead - (behind ? SLCAN_STAMP_WRAP : 0u);
    s->stamp_at_us = now_us;
    return far_time(&s->clock, s->stamp_total_ms * 1000u, now_us);
}

static void answered(link_t *l, uint64_t now_us)
{
    slcan_t *s = l->own;
    if (l->state == LINK_CONNECTING && s->answers_due != 0u && --s->answers_due == 0u) {
        link_is_up(l, now_us);
    }
}

static void other_line(link_t *l, const uint8_t *line, uint32_t length, uint64_t now_us)
{
    static const char answers[] = "zZVvNFAEPMmXWUQSsYOCL";
    if (length == 0u) {
        answered(l, now_us);
    } else if (strchr(answers, line[0]) == NULL || line[0] == 0u) {
        l->counters.malformed_unknown++;
    } else if (length == 3u && line[0] == 'F') {
        uint32_t status = 0;
        if (slcan_number(line + 1, 2, &status)) {
            l->counters.lost_outside += (status & 0x09u) != 0u; /* its queue was full, or it lost data */
        } else {
            l->counters.malformed_digit++;
        }
    }
}

static void count_malformed(link_counters_t *c, slcan_result_t result)
{
    c->malformed_digit += result == SLCAN_DIGIT;
    c->malformed_length += result == SLCAN_LENGTH;
    c->malformed_id += result == SLCAN_ID;
}

static void line_read(link_t *l, const uint8_t *line, uint32_t length, uint64_t now_us)
{
    link_frame_t f;
    uint16_t stamp_ms;
    f.time_us = now_us;
    f.bus = 0;
    const slcan_result_t result = slcan_read(line, length, &f, &stamp_ms);
    if (result == SLCAN_FRAME) {
        if (stamp_ms != SLCAN_NO_STAMP) {
            f.time_us = stamp_time(l->own, stamp_ms, now_us);
        }
        link_handle(l, &f);
    } else if (result == SLCAN_OTHER) {
        other_line(l, line, length, now_us);
    } else {
        count_malformed(&l->counters, result);
    }
}

static void refused(link_t *l, uint32_t partial, uint64_t now_us)
{
    slcan_t *s = l->own;
    l->counters.malformed_cut += partial != 0u;
    if (l->state == LINK_UP) {
        l->counters.tx_refused++;
    } else if (s->answers_due == 1u) {
        link_is_down(l, now_us, "%s: the adapter refuses to open its channel", l->config.name);
    } else {
        answered(l, now_us); /* closing what was not open, or a speed it does not know: opening it decides */
    }
}

static void understand(link_t *l, uint64_t now_us)
{
    slcan_t *s = l->own;
    uint32_t start = 0;
    for (uint32_t k = 0; k < s->in.have; k++) {
        const uint8_t c = s->in.bytes[k];
        if (c != SLCAN_CR && c != SLCAN_BEL) {
            if (k - start >= SLCAN_LINE_MAX && !s->in.skipping) {
                s->in.skipping = true;
                l->counters.malformed_overlong++;
            }
            continue;
        }
        if (s->in.skipping) {
            s->in.skipping = false;
        } else if (c == SLCAN_CR) {
            line_read(l, s->in.bytes + start, k - start, now_us);
        } else {
            refused(l, k - start, now_us);
            if (l->fd < 0) {
                return;
            }
        }
        start = k + 1u;
    }
    stream_consume(&s->in, s->in.skipping ? s->in.have : start);
}

static void slcan_service(link_t *l, uint64_t now_us)
{
    slcan_t *s = l->own;
    int n = 1;
    stream_age(&s->in, now_us, &l->counters);
    for (uint32_t k = 0; n > 0 && k < STREAM_READS; k++) {
        n = stream_read(&s->in, l->fd, now_us, l);
        if (n > 0) {
            understand(l, now_us);
        }
        if (l->fd < 0) {
            return;
        }
    }
    const int failed = n < 0 ? n : outbox_flush(&s->out, l->fd, &l->counters);
    if (failed < 0) {
        link_is_down(l, now_us, "%s: %s", l->config.name, failed == -EPIPE || failed == -EIO ? "gone" : strerror(-failed));
        return;
    }
    if (l->state == LINK_CONNECTING && now_us >= l->due_us) {
        link_is_up(l, now_us);
    }
}

static uint32_t slcan_send(link_t *l, const link_frame_t *f, uint32_t count)
{
    slcan_t *s = l->own;
    uint32_t accepted = 0;
    for (uint32_t k = 0; k < count; k++) {
        uint8_t *to = outbox_room(&s->out, SLCAN_LINE_MAX);
        const uint32_t n = to != NULL && frame_is_possible(l, &f[k]) ? slcan_write(&f[k], SLCAN_NO_STAMP, to) : 0u;
        s->out.end += n;
        accepted += n != 0u;
        l->counters.tx_dropped += to == NULL;
        l->counters.tx_impossible += to != NULL && n == 0u;
    }
    l->counters.tx_frames += accepted;
    (void)outbox_flush(&s->out, l->fd, &l->counters); /* a failure is met again, and handled, by the next service */
    return accepted;
}

static uint32_t slcan_watch(link_t *l, struct pollfd *p, uint32_t max, uint64_t *due_us)
{
    const slcan_t *s = l->own;
    if (l->state == LINK_CONNECTING) {
        *due_us = l->due_us;
    }
    if (max == 0u) {
        return 0;
    }
    p[0] = (struct pollfd){l->fd, (short)((stream_may_read(l) ? POLLIN : 0) | (s->out.start != s->out.end ? POLLOUT : 0)), 0};
    return 1;
}

static uint32_t slcan_room(const link_t *l)
{
    const slcan_t *s = l->own;
    return outbox_free(&s->out) / SLCAN_LINE_MAX;
}

const link_ops_t slcan_ops = {
    .start = slcan_start,
    .service = slcan_service,
    .send = slcan_send,
    .stop = slcan_stop,
    .release = slcan_release,
    .watch = slcan_watch,
    .make = slcan_make,
    .room = slcan_room,
};
