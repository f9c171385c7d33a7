/* Client of a socketcand server: connect, "hi", open the bus, raw mode, and then frames. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "links/internal.h"
#include "links/socketcand.h"

#define OUTBOX 65536u
#define HANDSHAKE_US (2u * SECOND_US)

enum { CONNECT, GREET, OPEN, RAW, TALK };

typedef struct {
    stream_t in;
    outbox_t out;
    int phase;
    far_clock_t clock;
    uint64_t now_us;
} client_t;

static int client_make(link_t *l)
{
    client_t *s = calloc(1, sizeof *s);
    l->own = s;
    return s == NULL ? -ENOMEM : outbox_make(&s->out, OUTBOX);
}

static void client_release(link_t *l)
{
    client_t *s = l->own;
    if (s != NULL) {
        free(s->out.bytes);
    }
}

static int client_start(link_t *l, uint64_t now_us)
{
    client_t *s = l->own;
    l->fd = tcp_socket(&l->config, false);
    if (l->fd < 0) {
        const int failed = l->fd;
        l->fd = -1;
        link_say(l, "%s port %u: %s", l->config.host, (unsigned)l->config.port, strerror(-failed));
        return failed;
    }
    stream_clear(&s->in, &l->counters);
    s->in.heard_us = now_us;
    s->out.start = s->out.end = 0;
    s->clock.known = false;
    s->phase = CONNECT;
    l->due_us = now_us + HANDSHAKE_US;
    return 0;
}

static void client_stop(link_t *l)
{
    if (l->fd >= 0) {
        close(l->fd);
        l->fd = -1;
    }
}

static void ask(client_t *s, int phase, const char *text)
{
    s->phase = phase;
    (void)outbox_put(&s->out, text, (uint32_t)strlen(text));
}

static bool handshake(link_t *l, socketcand_word_t word, const uint8_t *text, uint32_t length)
{
    client_t *s = l->own;
    char line[LINK_NAME_MAX + 16u];
    if (s->phase == GREET && word == SC_HI) {
        snprintf(line, sizeof line, "< open %s >", l->config.name);
        ask(s, OPEN, line);
    } else if (s->phase == OPEN && word == SC_OK) {
        ask(s, RAW, "< rawmode >");
    } else if (s->phase == RAW && word == SC_OK) {
        s->phase = TALK;
        link_is_up(l, s->now_us);
    } else if (word == SC_ERROR) {
        while (length > 0u && text[length - 1u] <= ' ') {
            length--;
        }
        link_is_down(l, s->now_us, "the server says:%.*s", (int)(length < 100u ? length : 100u), (const char *)text);
        return false;
    } else if (word != SC_FRAME) { /* frames can overtake the last ok; they are not for us yet */
        l->counters.malformed_unknown++;
    }
    return true;
}

static bool message(void *context, const uint8_t *text, uint32_t length)
{
    link_t *l = context;
    client_t *s = l->own;
    link_frame_t f;
    uint64_t stamp_us = 0;
    const uint8_t *argument;
    uint32_t argument_length;
    f.bus = 0;
    const socketcand_word_t word = socketcand_read(text, length, &f, &stamp_us, &argument, &argument_length);
    if (word == SC_UNKNOWN || word == SC_DIGIT || word == SC_LENGTH || word == SC_ID) {
        socketcand_count_malformed(&l->counters, word);
        return true;
    }
    if (s->phase != TALK) {
        return handshake(l, word, text, length);
    }
    if (word == SC_FRAME) {
        f.time_us = far_time(&s->clock, stamp_us, s->now_us);
        link_handle(l, &f);
    } else if (word == SC_ERROR) {
        l->counters.tx_refused++;
    } else if (word != SC_OK && word != SC_ECHO) {
        l->counters.malformed_unknown++;
    }
    return true;
}

/* True once there is a connection; else it is still being made, or has failed. */
static bool is_connected(link_t *l, uint64_t now_us)
{
    client_t *s = l->own;
    struct pollfd p = {l->fd, POLLOUT, 0};
    int failed = 0;
    socklen_t size = sizeof failed;
    if (s->phase != CONNECT) {
        return true;
    }
    if (poll(&p, 1, 0) <= 0) {
        return false;
    }
    (void)getsockopt(l->fd, SOL_SOCKET, SO_ERROR, &failed, &size);
    if (failed != 0) {
        link_is_down(l, now_us, "%s port %u: %s", l->config.host, (unsigned)l->config.port, strerror(failed));
        return false;
    }
    s->phase = GREET;
    snprintf(l->place, sizeof l->place, "%s:%u", l->config.host, (unsigned)l->config.port);
    return true;
}

static void client_service(link_t *l, uint64_t now_us)
{
    client_t *s = l->own;
    int n = 1;
    s->now_us = now_us;
    if (l->state == LINK_CONNECTING && now_us >= l->due_us) {
        link_is_down(l, now_us, "%s port %u: no answer", l->config.host, (unsigned)l->config.port);
        return;
    }
    if (!is_connected(l, now_us)) {
        return;
    }
    stream_age(&s->in, now_us, &l->counters);
    for (uint32_t k = 0; n > 0 && k < STREAM_READS; k++) {
        n = stream_read(&s->in, l->fd, now_us, l);
        if (n > 0) {
            socketcand_messages(&s->in, &l->counters, message, l);
        }
        if (l->fd < 0) {
            return;
        }
    }
    const int failed = n < 0 ? n : outbox_flush(&s->out, l->fd, &l->counters);
    if (failed < 0) {
        link_is_down(l, now_us, "%s", failed == -EPIPE ? "the server closed the connection" : strerror(-failed));
    }
}

static uint32_t client_send(link_t *l, const link_frame_t *f, uint32_t count)
{
    client_t *s = l->own;
    uint32_t accepted = 0;
    for (uint32_t k = 0; k < count; k++) {
        uint8_t *to = outbox_room(&s->out, SOCKETCAND_MAX);
        const uint32_t n = to != NULL && frame_is_possible(l, &f[k]) ? socketcand_write_send(&f[k], (char *)to) : 0u;
        s->out.end += n;
        accepted += n != 0u;
        l->counters.tx_dropped += to == NULL;
        l->counters.tx_impossible += to != NULL && n == 0u;
    }
    l->counters.tx_frames += accepted;
    (void)outbox_flush(&s->out, l->fd, &l->counters);
    return accepted;
}

static uint32_t client_watch(link_t *l, struct pollfd *p, uint32_t max, uint64_t *due_us)
{
    const client_t *s = l->own;
    const bool writing = s->phase == CONNECT || s->out.start != s->out.end;
    if (l->state == LINK_CONNECTING) {
        *due_us = l->due_us;
    }
    if (max == 0u) {
        return 0;
    }
    p[0] = (struct pollfd){l->fd, (short)((stream_may_read(l) ? POLLIN : 0) | (writing ? POLLOUT : 0)), 0};
    return 1;
}

static uint32_t client_room(const link_t *l)
{
    const client_t *s = l->own;
    return outbox_free(&s->out) / SOCKETCAND_MAX;
}

const link_ops_t socketcand_ops = {
    .start = client_start,
    .service = client_service,
    .send = client_send,
    .stop = client_stop,
    .release = client_release,
    .watch = client_watch,
    .make = client_make,
    .room = client_room,
};
