#define _GNU_SOURCE
#include "links/link.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "links/internal.h"

#define RING_DEFAULT 8192u
#define RING_MOST (1u << 20)
#define BACKOFF_FIRST_US 50000u
#define BACKOFF_LAST_US 5000000u
#define STEADY_US SECOND_US /* a link that was up for so long begins again with the first delay */
#define JOIN_BATCH 256u

#define FIELD_OWNER link_counters_t
static FIELD_TABLE(counter_fields, LINK_COUNTERS);
#undef FIELD_OWNER

const field_t *link_counter_fields(size_t *count)
{
    *count = FIELD_COUNT(counter_fields);
    return counter_fields;
}

static const struct {
    const char *name;
    const link_ops_t *ops;
} kinds[LINK_KINDS] = {
    [LINK_INPROC] = {"inproc", &inproc_ops},
    [LINK_PYTHON] = {"python", &inproc_ops},
    [LINK_SOCKETCAN] = {"socketcan", &socketcan_ops},
    [LINK_SLCAN] = {"slcan", &slcan_ops},
    [LINK_SLCAN_SERVER] = {"slcan-server", &slcan_server_ops},
    [LINK_SOCKETCAND] = {"socketcand", &socketcand_ops},
    [LINK_SOCKETCAND_SERVER] = {"socketcand-server", &socketcand_server_ops},
    [LINK_UDP] = {"udp", &udp_ops},
};

const char *link_kind_name(uint32_t kind)
{
    return kind < LINK_KINDS ? kinds[kind].name : "";
}

const char *link_state_name(link_state_t state)
{
    static const char *const names[] = {"waiting", "connecting", "up", "closed"};
    return names[state];
}

uint64_t link_now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * SECOND_US + (uint64_t)t.tv_nsec / 1000u;
}

void link_say(link_t *l, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(l->reason, sizeof l->reason, format, arguments);
    va_end(arguments);
}

/* 0.75 to 1.25 of the delay, so that many links do not return at the same instant. */
static uint64_t shifted(link_t *l, uint64_t delay_us)
{
    l->chance ^= l->chance << 13;
    l->chance ^= l->chance >> 17;
    l->chance ^= l->chance << 5;
    return delay_us * (768u + (l->chance & 511u)) / 1024u;
}

static void wait_for_another_attempt(link_t *l, uint64_t now_us)
{
    l->state = LINK_WAITING;
    l->ops->stop(l);
    l->client_count = 0;
    l->due_us = now_us + shifted(l, l->backoff_us);
    l->backoff_us = l->backoff_us * 2u < BACKOFF_LAST_US ? l->backoff_us * 2u : BACKOFF_LAST_US;
}

void link_is_up(link_t *l, uint64_t now_us)
{
    l->state = LINK_UP;
    l->up_us = now_us;
    l->reason[0] = '\0';
    l->counters.connects++;
}

void link_is_down(link_t *l, uint64_t now_us, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(l->reason, sizeof l->reason, format, arguments);
    va_end(arguments);
    if (l->state == LINK_UP) {
        l->counters.disconnects++;
        if (now_us - l->up_us >= STEADY_US) {
            l->backoff_us = BACKOFF_FIRST_US;
        }
    } else {
        l->counters.failures++;
    }
    wait_for_another_attempt(l, now_us);
}

void link_handle(link_t *l, const link_frame_t *f)
{
    if (ring_put(&l->rx, f)) {
        l->counters.rx_frames++;
        l->counters.error_frames += (f->flags & ECU_CAN_ERROR) != 0u;
    } else {
        l->counters.rx_dropped++;
    }
}

static int attempt(link_t *l, uint64_t now_us)
{
    l->state = LINK_CONNECTING;
    l->due_us = UINT64_MAX;
    int failed = l->ops->start(l, now_us);
    if (failed != 0) {
        l->counters.failures++;
        if (l->reason[0] == '\0') {
            link_say(l, "%s", strerror(-failed));
        }
        wait_for_another_attempt(l, now_us);
    }
    return failed;
}

static bool is_local(uint32_t kind)
{
    return kind == LINK_INPROC || kind == LINK_PYTHON || kind == LINK_SLCAN_SERVER || kind == LINK_SOCKETCAND_SERVER;
}

link_t *link_open(const link_config_t *config, uint64_t now_us, char *why, size_t why_size)
{
    if (config->kind >= LINK_KINDS) {
        snprintf(why, why_size, "no such kind of link");
        return NULL;
    }
    link_t *l = calloc(1, sizeof *l);
    if (l == NULL) {
        snprintf(why, why_size, "no memory");
        return NULL;
    }
    uint32_t room = config->ring != 0u ? config->ring : RING_DEFAULT;
    l->config = *config;
    l->ops = kinds[config->kind].ops;
    l->fd = -1;
    l->backoff_us = BACKOFF_FIRST_US;
    l->chance = (uint32_t)(uintptr_t)l ^ (uint32_t)now_us ^ 0x9E3779B9u;
    l->chance |= 1u;
    int failed = ring_make(&l->rx, room < RING_MOST ? room : RING_MOST);
    if (failed == 0 && l->ops->make != NULL) {
        failed = l->ops->make(l);
    }
    /* What is ours and wrong is said at once; a far end that is not there is waited for. EAFNOSUPPORT: no CAN in this kernel. */
    if (failed == 0) {
        failed = attempt(l, now_us);
        failed = is_local(config->kind) || failed == -EAFNOSUPPORT ? failed : 0;
    }
    if (failed != 0) {
        snprintf(why, why_size, "%s", l->reason[0] != '\0' ? l->reason : strerror(-failed));
        link_close(l);
        return NULL;
    }
    return l;
}

void link_close(link_t *l)
{
    if (l != NULL) {
        l->state = l->state == LINK_UP ? LINK_CLOSED : LINK_WAITING; /* closed: the far end is told */
        l->ops->stop(l);
        if (l->ops->release != NULL) {
            l->ops->release(l);
        }
        free(l->rx.frames);
        free(l->own);
        free(l);
    }
}

int link_service(link_t *l, uint64_t now_us)
{
    if (l->state == LINK_WAITING && now_us >= l->due_us) {
        (void)attempt(l, now_us);
    }
    if (l->state == LINK_UP || l->state == LINK_CONNECTING) {
        l->ops->service(l, now_us);
    }
    return ring_count(&l->rx) != 0u;
}

uint32_t link_receive(link_t *l, link_frame_t *out, uint32_t max)
{
    return ring_take(&l->rx, out, max);
}

uint32_t link_send(link_t *l, const link_frame_t *frames, uint32_t count)
{
    if (l->state != LINK_UP) {
        l->counters.tx_dropped += count;
        return 0;
    }
    if ((l->config.options & LINK_LISTEN_ONLY) != 0u) {
        l->counters.tx_impossible += count;
        return 0;
    }
    return l->ops->send(l, frames, count);
}

uint32_t link_room(const link_t *l)
{
    return l->state != LINK_UP || l->ops->room == NULL ? UINT32_MAX : l->ops->room(l);
}

/* Frames that all links but one have room for. */
static uint32_t room_beside(link_t *const *links, uint32_t count, uint32_t but)
{
    uint32_t least = UINT32_MAX;
    for (uint32_t k = 0; k < count; k++) {
        const uint32_t room = k == but ? UINT32_MAX : link_room(links[k]);
        least = room < least ? room : least;
    }
    return least;
}

static void wait_begin(link_wait_t *w, link_t *const *links, uint32_t count, int wake_fd, uint64_t timeout_us, bool joined)
{
    struct pollfd p[LINK_WAIT_MAX];
    const uint64_t now_us = link_now_us();
    uint32_t n = 0;
    w->ready = 0;
    w->until_us = timeout_us < UINT64_MAX - now_us ? now_us + timeout_us : UINT64_MAX;
    w->link_count = count < LINK_WAIT_MAX ? count : LINK_WAIT_MAX;
    if (wake_fd >= 0) {
        p[n++] = (struct pollfd){wake_fd, POLLIN, 0};
    }
    for (uint32_t k = 0; k < w->link_count; k++) {
        link_t *l = links[k];
        uint64_t due_us = l->state == LINK_WAITING ? l->due_us : UINT64_MAX;
        w->first[k] = n;
        if (l->state == LINK_UP || l->state == LINK_CONNECTING || l->config.kind == LINK_PYTHON) {
            n += l->ops->watch(l, &p[n], LINK_WAIT_MAX - n, &due_us);
        }
        const bool can_move = ring_count(&l->rx) != 0u && (!joined || room_beside(links, w->link_count, k) != 0u);
        w->ready += can_move || due_us <= now_us;
        w->until_us = due_us < w->until_us ? due_us : w->until_us;
    }
    w->fd_count = n;
    for (uint32_t k = 0; k < n; k++) {
        w->fd[k] = p[k].events != 0 ? p[k].fd : -1; /* one that is hung up would end each sleep at once */
        w->events[k] = p[k].events;
    }
}

void link_wait_begin(link_wait_t *w, link_t *const *links, uint32_t count, int wake_fd, uint64_t timeout_us)
{
    wait_begin(w, links, count, wake_fd, timeout_us, false);
}

uint32_t link_wait_sleep(link_wait_t *w)
{
    struct pollfd p[LINK_WAIT_MAX];
    struct timespec left = {0, 0};
    const uint64_t now_us = link_now_us();
    const bool forever = w->until_us == UINT64_MAX && w->ready == 0u;
    uint32_t ready = w->ready;
    for (uint32_t k = 0; k < w->fd_count; k++) {
        p[k] = (struct pollfd){w->fd[k], w->events[k], 0};
    }
    if (ready == 0u && !forever && w->until_us > now_us) {
        left.tv_sec = (time_t)((w->until_us - now_us) / SECOND_US);
        left.tv_nsec = (long)((w->until_us - now_us) % SECOND_US) * 1000;
    }
    if (ready != 0u || ppoll(p, w->fd_count, forever ? NULL : &left, NULL) <= 0) {
        return ready;
    }
    for (uint32_t k = 0; k < w->link_count; k++) {
        const uint32_t end = k + 1u < w->link_count ? w->first[k + 1u] : w->fd_count;
        bool wants = false;
        for (uint32_t i = w->first[k]; i < end; i++) {
            wants = wants || p[i].revents != 0;
        }
        ready += wants;
    }
    return ready;
}

uint32_t link_wait(link_t *const *links, uint32_t count, int wake_fd, uint64_t timeout_us)
{
    link_wait_t w;
    link_wait_begin(&w, links, count, wake_fd, timeout_us);
    return link_wait_sleep(&w);
}

uint32_t link_join_wait(link_t *const *links, uint32_t count, int wake_fd, uint64_t timeout_us)
{
    link_wait_t w;
    wait_begin(&w, links, count, wake_fd, timeout_us, true);
    return link_wait_sleep(&w);
}

uint32_t link_join(link_t *const *links, uint32_t count, uint64_t now_us)
{
    link_frame_t batch[JOIN_BATCH];
    uint32_t moved = 0;
    for (uint32_t k = 0; k < count; k++) {
        (void)link_service(links[k], now_us);
        const uint32_t room = room_beside(links, count, k);
        const uint32_t n = link_receive(links[k], batch, room < JOIN_BATCH ? room : JOIN_BATCH);
        for (uint32_t to = 0; n != 0u && to < count; to++) {
            if (to != k) {
                (void)link_send(links[to], batch, n);
            }
        }
        moved += n;
    }
    return moved;
}

link_state_t link_state(const link_t *l)
{
    return l->state;
}

const char *link_reason(const link_t *l)
{
    return l->reason;
}

const link_counters_t *link_counters(const link_t *l)
{
    return &l->counters;
}

const link_config_t *link_config(const link_t *l)
{
    return &l->config;
}

const char *link_place(const link_t *l)
{
    return l->place;
}

uint32_t link_client_count(const link_t *l)
{
    return l->client_count;
}

uint32_t link_pending(const link_t *l)
{
    return ring_count(&l->rx);
}

void link_set_state(link_t *l, link_state_t state, const char *reason)
{
    if (state == LINK_UP && l->state != LINK_UP) {
        link_is_up(l, link_now_us());
    } else if (state != LINK_UP && l->state == LINK_UP) {
        l->counters.disconnects++;
    } else if (state != LINK_UP) {
        l->counters.failures++;
    }
    l->state = state;
    link_say(l, "%s", reason);
}
