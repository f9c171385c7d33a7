/* A socketcand server. Its clients and the link itself are one bus: what one sends, all others receive, never the sender, as
 * Linux does it without receiving one's own frames. No discovery. Raw mode; `send` is understood in every mode.
 *
 * A client that does not read is cut off when OUTBOX bytes wait for it: late frames are worse than a new connection. Answers to
 * the handshake must reach python-can alone, each in a read of its own, so frames wait until the client has said something
 * after its raw mode was confirmed, or HOLD_US have passed. A client that has opened no bus after GREET_US gives its place to
 * one that comes, so that connections that say nothing keep nobody out. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "links/internal.h"
#include "links/socketcand.h"

#define CLIENTS 16u
#define OUTBOX 262144u
#define HOLD_US 20000u
#define GREET_US 1000000u

enum { GREETED, OPENED, RAW };

typedef struct {
    int fd, mode;
    uint64_t came_us;
    uint64_t hold_us; /* nothing is written before; 0: no longer of interest */
    stream_t in;
    outbox_t out;
} peer_t;

typedef struct {
    peer_t *peers[CLIENTS];
    uint32_t count;
    uint64_t now_us;
} server_t;

typedef struct {
    link_t *l;
    peer_t *p;
} talk_t;

static int server_make(link_t *l)
{
    l->own = calloc(1, sizeof(server_t));
    return l->own == NULL ? -ENOMEM : 0;
}

static int server_start(link_t *l, uint64_t now_us)
{
    struct sockaddr_storage here;
    socklen_t size = sizeof here;
    l->fd = tcp_socket(&l->config, true);
    if (l->fd < 0) {
        const int failed = l->fd;
        l->fd = -1;
        link_say(l, "%s port %u: %s", l->config.host, (unsigned)l->config.port, strerror(-failed));
        return failed;
    }
    if (getsockname(l->fd, (struct sockaddr *)&here, &size) == 0) {
        const bool six = here.ss_family == AF_INET6;
        const in_port_t port = six ? ((struct sockaddr_in6 *)&here)->sin6_port : ((struct sockaddr_in *)&here)->sin_port;
        snprintf(l->place, sizeof l->place, "%s:%u", l->config.host, (unsigned)ntohs(port));
    }
    link_is_up(l, now_us);
    return 0;
}

static void cut(link_t *l, uint32_t k)
{
    server_t *s = l->own;
    peer_t *p = s->peers[k];
    stream_clear(&p->in, &l->counters);
    close(p->fd);
    free(p->out.bytes);
    free(p);
    s->peers[k] = s->peers[--s->count];
    l->client_count = s->count;
}

static void server_stop(link_t *l)
{
    server_t *s = l->own;
    while (s != NULL && s->count > 0u) {
        cut(l, s->count - 1u);
    }
    if (l->fd >= 0) {
        close(l->fd);
        l->fd = -1;
    }
}

static void say(peer_t *p, const char *text)
{
    (void)outbox_put(&p->out, text, (uint32_t)strlen(text));
}

/* Who has been silent longest goes, if all places are taken. */
static void make_place(link_t *l)
{
    server_t *s = l->own;
    uint32_t first = CLIENTS;
    for (uint32_t k = 0; s->count == CLIENTS && k < CLIENTS; k++) {
        const peer_t *p = s->peers[k];
        if (p->mode == GREETED && s->now_us >= p->came_us + GREET_US && (first == CLIENTS || p->came_us < s->peers[first]->came_us)) {
            first = k;
        }
    }
    if (first != CLIENTS) {
        l->counters.clients_dropped++;
        cut(l, first);
    }
}

static void take_in(link_t *l, int fd)
{
    server_t *s = l->own;
    make_place(l);
    peer_t *p = s->count < CLIENTS ? calloc(1, sizeof *p) : NULL;
    if (p == NULL || outbox_make(&p->out, OUTBOX) != 0) {
        free(p);
        close(fd);
        l->counters.clients_refused++;
        return;
    }
    tcp_tune(fd);
    p->fd = fd;
    p->in.heard_us = p->came_us = s->now_us;
    s->peers[s->count++] = p;
    l->client_count = s->count;
    l->counters.clients++;
    say(p, "< hi >");
}

/* Into the outboxes of all clients in raw mode but one. */
static uint32_t spread(link_t *l, const link_frame_t *f, const peer_t *but)
{
    server_t *s = l->own;
    char text[SOCKETCAND_MAX];
    const uint32_t n = socketcand_write_frame(f, wall_us(), text);
    uint32_t k = 0;
    while (n != 0u && k < s->count) {
        peer_t *p = s->peers[k];
        if (p != but && p->mode == RAW && !outbox_put(&p->out, text, n)) {
            l->counters.clients_dropped++;
            cut(l, k);
        } else {
            k++;
        }
    }
    return n;
}

static bool open_bus(const talk_t *t, const uint8_t *name, uint32_t length)
{
    const char *ours = t->l->config.name;
    if (t->p->mode != GREETED || length != strlen(ours) || memcmp(name, ours, length) != 0) {
        say(t->p, "< error could not open bus >");
        return false;
    }
    t->p->mode = OPENED;
    say(t->p, "< ok >");
    return true;
}

static bool message(void *context, const uint8_t *text, uint32_t length)
{
    const talk_t *t = context;
    server_t *s = t->l->own;
    link_frame_t f;
    uint64_t stamp_us;
    const uint8_t *argument;
    uint32_t argument_length;
    f.bus = 0;
    f.time_us = s->now_us;
    const socketcand_word_t word = socketcand_read(text, length, &f, &stamp_us, &argument, &argument_length);
    const bool opened = t->p->mode != GREETED;
    t->p->hold_us = 0;
    if (word == SC_ECHO) {
        say(t->p, "< echo >");
    } else if (word == SC_OPEN) {
        (void)open_bus(t, argument, argument_length);
    } else if (opened && word == SC_RAWMODE) {
        t->p->mode = RAW;
        t->p->hold_us = s->now_us + HOLD_US;
        say(t->p, "< ok >");
        (void)outbox_flush(&t->p->out, t->p->fd, &t->l->counters);
    } else if (opened && word == SC_BCMMODE) {
        t->p->mode = OPENED;
        say(t->p, "< ok >");
    } else if (opened && word == SC_SEND) {
        link_handle(t->l, &f);
        (void)spread(t->l, &f, t->p);
    } else if (word == SC_DIGIT || word == SC_LENGTH || word == SC_ID) {
        socketcand_count_malformed(&t->l->counters, word); /* a bad send gets no answer: python-can stumbles over one */
    } else {
        t->l->counters.malformed_unknown++;
        say(t->p, "< error unknown command >");
    }
    return true;
}

static int flush(link_t *l, peer_t *p)
{
    const server_t *s = l->own;
    return s->now_us < p->hold_us ? 0 : outbox_flush(&p->out, p->fd, &l->counters);
}

/* False if the client is gone. Listed clients may change while one is heard, so it is looked up again by its descriptor. */
static bool hear(link_t *l, peer_t *p)
{
    server_t *s = l->own;
    talk_t t = {l, p};
    int n = 1;
    stream_age(&p->in, s->now_us, &l->counters);
    for (uint32_t k = 0; n > 0 && k < STREAM_READS; k++) {
        n = stream_read(&p->in, p->fd, s->now_us, l);
        if (n > 0) {
            socketcand_messages(&p->in, &l->counters, message, &t);
        }
    }
    return n >= 0 && flush(l, p) == 0;
}

static void server_service(link_t *l, uint64_t now_us)
{
    server_t *s = l->own;
    int fd;
    s->now_us = now_us;
    while ((fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        take_in(l, fd);
    }
    for (uint32_t k = 0; k < s->count;) {
        peer_t *p = s->peers[k];
        if (hear(l, p)) {
            k += k < s->count && s->peers[k] == p; /* another one may have taken this place: it is heard next */
        } else {
            uint32_t at = 0;
            while (s->peers[at] != p) {
                at++;
            }
            cut(l, at);
        }
    }
    for (uint32_t k = 0; k < s->count; k++) {
        (void)flush(l, s->peers[k]);
    }
}

static uint32_t server_send(link_t *l, const link_frame_t *f, uint32_t count)
{
    server_t *s = l->own;
    uint32_t accepted = 0;
    for (uint32_t k = 0; k < count; k++) {
        const bool sent = frame_is_possible(l, &f[k]) && spread(l, &f[k], NULL) != 0u;
        accepted += sent;
        l->counters.tx_impossible += !sent;
    }
    l->counters.tx_frames += accepted;
    for (uint32_t k = 0; k < s->count; k++) {
        (void)flush(l, s->peers[k]);
    }
    return accepted;
}

static uint32_t server_watch(link_t *l, struct pollfd *p, uint32_t max, uint64_t *due_us)
{
    const server_t *s = l->own;
    uint32_t n = 0;
    if (max > 0u) {
        p[n++] = (struct pollfd){l->fd, POLLIN, 0};
    }
    for (uint32_t k = 0; k < s->count && n < max; k++) {
        const peer_t *peer = s->peers[k];
        const bool waiting = peer->out.start != peer->out.end;
        const bool held = waiting && s->now_us < peer->hold_us;
        if (held && peer->hold_us < *due_us) {
            *due_us = peer->hold_us;
        }
        p[n++] = (struct pollfd){peer->fd, (short)((stream_may_read(l) ? POLLIN : 0) | (waiting && !held ? POLLOUT : 0)), 0};
    }
    return n;
}

const link_ops_t socketcand_server_ops = {
    .start = server_start,
    .service = server_service,
    .send = server_send,
    .stop = server_stop,
    .watch = server_watch,
    .make = server_make,
};
