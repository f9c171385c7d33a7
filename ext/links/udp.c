/* Frames in UDP datagrams to one peer, as cannelloni writes them.
 *
 * Two programs of ours name the same udp:HOST:PORT, in any order: who finds the port free takes it and answers whoever calls;
 * the other calls it. Each says hello (a datagram without frames) every HELLO_US, so either may be restarted. A caller that was
 * silent for PEER_US is forgotten and another one is let in. With a local port of its own a link does none of that: it sends
 * from there to HOST:PORT without hello and hears only that address, which is what a cannelloni expects. */
#define _GNU_SOURCE
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "links/datagram.h"
#include "links/internal.h"

#define HELLO_US 250000u
#define PEER_US SECOND_US
#define READS 64u

typedef struct {
    struct sockaddr_storage peer;
    socklen_t peer_size; /* 0: nobody has called yet */
    bool listens, fixed, heard_any;
    uint8_t sequence_out, sequence_in;
    uint64_t heard_us, hello_us;
    uint8_t bytes[65536];
    link_frame_t frames[DATAGRAM_FRAMES_MAX];
} udp_t;

static int udp_make(link_t *l)
{
    l->own = calloc(1, sizeof(udp_t));
    return l->own == NULL ? -ENOMEM : 0;
}

static int resolve(const link_config_t *c, uint32_t port, struct sockaddr_storage *to, socklen_t *size)
{
    char service[8];
    struct addrinfo want, *found = NULL;
    memset(&want, 0, sizeof want);
    want.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
    want.ai_socktype = SOCK_DGRAM;
    snprintf(service, sizeof service, "%u", (unsigned)(port & 0xFFFFu));
    if (getaddrinfo(c->host, service, &want, &found) != 0) {
        return -EADDRNOTAVAIL;
    }
    memcpy(to, found->ai_addr, found->ai_addrlen);
    *size = found->ai_addrlen;
    freeaddrinfo(found);
    return 0;
}

/* Where a link sends from: a port of its own; on this machine's loopback if the other end is there. */
static int bind_local(link_t *l, const udp_t *u)
{
    struct sockaddr_storage here = u->peer;
    const in_port_t port = htons((uint16_t)l->config.local_port);
    if (here.ss_family == AF_INET6) {
        struct sockaddr_in6 *a = (struct sockaddr_in6 *)&here;
        a->sin6_addr = IN6_IS_ADDR_LOOPBACK(&a->sin6_addr) ? a->sin6_addr : in6addr_any;
        a->sin6_port = port;
    } else {
        struct sockaddr_in *a = (struct sockaddr_in *)&here;
        a->sin_addr.s_addr = ntohl(a->sin_addr.s_addr) >> 24 == 127u ? a->sin_addr.s_addr : htonl(INADDR_ANY);
        a->sin_port = port;
    }
    return bind(l->fd, (struct sockaddr *)&here, u->peer_size) == 0 ? 0 : -errno;
}

static int udp_start(link_t *l, uint64_t now_us)
{
    udp_t *u = l->own;
    int failed = resolve(&l->config, l->config.port, &u->peer, &u->peer_size);
    l->fd = failed == 0 ? socket(u->peer.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0) : -1;
    if (failed == 0 && l->fd < 0) {
        failed = -errno;
    }
    u->fixed = l->config.local_port != 0u;
    u->heard_any = u->listens = false;
    u->hello_us = now_us;
    if (failed == 0 && u->fixed) {
        failed = bind_local(l, u);
    } else if (failed == 0) {
        u->listens = bind(l->fd, (struct sockaddr *)&u->peer, u->peer_size) == 0;
        failed = u->listens ? 0 : bind_local(l, u);
    }
    if (failed != 0) {
        link_say(l, "%s port %u: %s", l->config.host, (unsigned)l->config.port, strerror(-failed));
        return failed;
    }
    if (u->listens) {
        u->peer_size = 0;
    }
    snprintf(l->place, sizeof l->place, "%s:%u%s", l->config.host, (unsigned)l->config.port, u->listens ? " (listening)" : "");
    if (u->fixed) {
        link_is_up(l, now_us);
    } else {
        link_say(l, "no word from the other end yet");
    }
    return 0;
}

static void udp_stop(link_t *l)
{
    if (l->fd >= 0) {
        close(l->fd);
        l->fd = -1;
    }
}

static void hello(link_t *l, uint64_t now_us)
{
    udp_t *u = l->own;
    uint8_t head[DATAGRAM_HEAD];
    u->hello_us = now_us + HELLO_US;
    if (u->peer_size != 0u) {
        datagram_write_head(head, u->sequence_out++, 0);
        const ssize_t n = sendto(l->fd, head, sizeof head, 0, (struct sockaddr *)&u->peer, u->peer_size);
        (void)n; /* nobody there yet: the next hello will tell */
    }
}

static bool same_address(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
    if (a->ss_family != b->ss_family) {
        return false;
    }
    if (a->ss_family == AF_INET6) {
        const struct sockaddr_in6 *x = (const struct sockaddr_in6 *)a, *y = (const struct sockaddr_in6 *)b;
        return x->sin6_port == y->sin6_port && memcmp(&x->sin6_addr, &y->sin6_addr, sizeof x->sin6_addr) == 0;
    }
    const struct sockaddr_in *x = (const struct sockaddr_in *)a, *y = (const struct sockaddr_in *)b;
    return x->sin_port == y->sin_port && x->sin_addr.s_addr == y->sin_addr.s_addr;
}

/* Whether a datagram from there is for us. A listener takes the first who calls. */
static bool is_peer(link_t *l, const struct sockaddr_storage *from, socklen_t size, uint64_t now_us)
{
    udp_t *u = l->own;
    if (u->listens && (u->peer_size == 0u || now_us - u->heard_us > PEER_US)) {
        if (u->peer_size == 0u || !same_address(&u->peer, from)) {
            memcpy(&u->peer, from, size);
            u->peer_size = size;
            u->heard_any = false;
            l->counters.clients++;
        }
        return true;
    }
    if (!same_address(&u->peer, from)) {
        l->counters.clients_refused++;
        return false;
    }
    return true;
}

static void datagram(link_t *l, uint32_t length, uint64_t now_us)
{
    udp_t *u = l->own;
    uint32_t count = 0;
    uint8_t sequence = 0;
    const datagram_result_t result = datagram_read(u->bytes, length, u->frames, &count, &sequence);
    l->counters.malformed_unknown += result == DATAGRAM_OTHER;
    l->counters.malformed_length += result == DATAGRAM_LENGTH;
    l->counters.malformed_id += result == DATAGRAM_ID;
    if (result == DATAGRAM_OTHER) {
        return;
    }
    const uint8_t missed = u->heard_any ? (uint8_t)(sequence - u->sequence_in - 1u) : 0u;
    l->counters.lost_outside += missed < 128u ? missed : 0u; /* more: one that was overtaken, or another start of the peer */
    u->sequence_in = sequence;
    u->heard_any = true;
    u->heard_us = now_us;
    if (l->state == LINK_CONNECTING) {
        link_is_up(l, now_us);
        l->client_count = u->listens;
        hello(l, now_us);
    }
    for (uint32_t k = 0; k < count; k++) {
        u->frames[k].time_us = now_us;
        link_handle(l, &u->frames[k]);
    }
}

static void udp_service(link_t *l, uint64_t now_us)
{
    udp_t *u = l->own;
    struct sockaddr_storage from;
    memset(&from, 0, sizeof from);
    for (uint32_t k = 0; k < READS; k++) {
        socklen_t size = sizeof from;
        const ssize_t n = recvfrom(l->fd, u->bytes, sizeof u->bytes, 0, (struct sockaddr *)&from, &size);
        if (n < 0 && errno != ECONNREFUSED) {
            break;
        }
        if (n >= 0) {
            l->counters.rx_bytes += (uint64_t)n;
            if (is_peer(l, &from, size, now_us)) {
                datagram(l, (uint32_t)n, now_us);
            }
        }
    }
    if (!u->fixed && l->state == LINK_UP && now_us - u->heard_us > PEER_US) {
        link_is_down(l, now_us, "the other end fell silent"); /* and takes the port if that is free by then */
    } else if (!u->fixed && now_us >= u->hello_us) {
        hello(l, now_us);
    }
}

static bool send_datagram(link_t *l, uint8_t *bytes, uint32_t length, uint32_t count)
{
    udp_t *u = l->own;
    datagram_write_head(bytes, u->sequence_out, count);
    const ssize_t n = sendto(l->fd, bytes, length, 0, (struct sockaddr *)&u->peer, u->peer_size);
    if (n < 0 && errno != ECONNREFUSED) {
        l->counters.tx_dropped += count;
        return false;
    }
    u->sequence_out++;
    l->counters.tx_bytes += n > 0 ? (uint64_t)n : 0u;
    l->counters.tx_frames += count;
    return true;
}

static uint32_t udp_send(link_t *l, const link_frame_t *f, uint32_t count)
{
    uint8_t bytes[DATAGRAM_MAX];
    uint32_t at = DATAGRAM_HEAD, inside = 0, accepted = 0;
    for (uint32_t k = 0; k < count; k++) {
        if (!frame_is_possible(l, &f[k])) {
            l->counters.tx_impossible++;
        } else {
            at += datagram_write_frame(&f[k], bytes + at);
            inside++;
        }
        if (inside != 0u && (k + 1u == count || at + DATAGRAM_FRAME_MAX > DATAGRAM_MAX)) {
            accepted += send_datagram(l, bytes, at, inside) ? inside : 0u;
            at = DATAGRAM_HEAD;
            inside = 0;
        }
    }
    return accepted;
}

static uint32_t udp_watch(link_t *l, struct pollfd *p, uint32_t max, uint64_t *due_us)
{
    const udp_t *u = l->own;
    if (!u->fixed) {
        *due_us = u->hello_us;
    }
    if (max == 0u) {
        return 0;
    }
    p[0] = (struct pollfd){l->fd, POLLIN, 0};
    return 1;
}

const link_ops_t udp_ops = {
    .start = udp_start,
    .service = udp_service,
    .send = udp_send,
    .stop = udp_stop,
    .watch = udp_watch,
    .make = udp_make,
};
