/* A bus inside this process. Members join by name and may live in different threads; a frame sent by one is in the rings of all
 * others when link_send returns. The list of buses belongs to the process. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "links/internal.h"

#define MEMBERS 64u
#define STAMP_BATCH 64u

typedef struct bus {
    struct bus *next;
    pthread_mutex_t lock; /* of the list of members, and of putting into their rings */
    uint32_t count;
    link_t *members[MEMBERS];
    char name[LINK_NAME_MAX];
} bus_t;

typedef struct {
    bus_t *bus;
    int asleep; /* set by the member before it sleeps, cleared by who wakes it */
} member_t;

static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static bus_t *list;

static bus_t *bus_named(const char *name)
{
    bus_t *b = list;
    while (b != NULL && strcmp(b->name, name) != 0) {
        b = b->next;
    }
    if (b == NULL && (b = calloc(1, sizeof *b)) != NULL) {
        pthread_mutexattr_t inherit; /* a member of low priority must not hold up one of high priority */
        pthread_mutexattr_init(&inherit);
        pthread_mutexattr_setprotocol(&inherit, PTHREAD_PRIO_INHERIT);
        pthread_mutex_init(&b->lock, &inherit);
        pthread_mutexattr_destroy(&inherit);
        memcpy(b->name, name, LINK_NAME_MAX);
        b->next = list;
        list = b;
    }
    return b;
}

static void forget(bus_t *gone)
{
    bus_t **at = &list;
    while (*at != gone) {
        at = &(*at)->next;
    }
    *at = gone->next;
    pthread_mutex_destroy(&gone->lock);
    free(gone);
}

static int inproc_make(link_t *l)
{
    member_t *m = calloc(1, sizeof *m);
    l->own = m;
    l->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (m == NULL || l->fd < 0) {
        return m == NULL ? -ENOMEM : -errno;
    }
    pthread_mutex_lock(&list_lock);
    bus_t *b = bus_named(l->config.name);
    int failed = b == NULL ? -ENOMEM : 0;
    if (b != NULL) {
        pthread_mutex_lock(&b->lock);
        if (b->count < MEMBERS) {
            b->members[b->count++] = l;
            m->bus = b;
        } else {
            failed = -EUSERS;
        }
        pthread_mutex_unlock(&b->lock);
    }
    pthread_mutex_unlock(&list_lock);
    return failed;
}

static void inproc_release(link_t *l)
{
    member_t *m = l->own;
    if (m != NULL && m->bus != NULL) {
        bus_t *b = m->bus;
        pthread_mutex_lock(&list_lock);
        pthread_mutex_lock(&b->lock);
        for (uint32_t k = 0; k < b->count; k++) {
            if (b->members[k] == l) {
                b->members[k] = b->members[--b->count];
            }
        }
        const bool empty = b->count == 0u;
        pthread_mutex_unlock(&b->lock);
        if (empty) {
            forget(b);
        }
        pthread_mutex_unlock(&list_lock);
    }
    if (l->fd >= 0) {
        close(l->fd);
    }
}

static int inproc_start(link_t *l, uint64_t now_us)
{
    if (l->config.kind == LINK_INPROC) {
        link_is_up(l, now_us);
    }
    return 0;
}

static void inproc_stop(link_t *l)
{
    (void)l;
}

static void inproc_service(link_t *l, uint64_t now_us)
{
    (void)l;
    (void)now_us;
}

static void give(link_t *to, const link_frame_t *f, uint32_t count)
{
    member_t *m = to->own;
    const uint32_t taken = ring_put_many(&to->rx, f, count);
    to->counters.rx_frames += taken;
    to->counters.rx_dropped += count - taken;
    /* Two exchanges meet: either this one finds the member asleep, or the member's, coming later, sees the ring as it is now. */
    if (__atomic_exchange_n(&m->asleep, 0, __ATOMIC_ACQ_REL) != 0) {
        const uint64_t one = 1;
        const ssize_t written = write(to->fd, &one, sizeof one);
        (void)written; /* it fails only if the count is full: then it is awake anyway */
    }
}

/* The bus behind a LINK_PYTHON, which no URL can name. Its frames keep their time: that of a wire, or of another machine. */
static bool is_between_threads(const link_t *l)
{
    return l->config.name[0] == '/';
}

/* What the slowest other member has room for. A bus that has a name makes nobody wait. */
static uint32_t inproc_room(const link_t *l)
{
    bus_t *b = ((member_t *)l->own)->bus;
    uint32_t least = UINT32_MAX;
    if (!is_between_threads(l)) {
        return least;
    }
    pthread_mutex_lock(&b->lock);
    for (uint32_t m = 0; m < b->count; m++) {
        const uint32_t room = b->members[m] != l ? ring_room(&b->members[m]->rx) : UINT32_MAX;
        least = room < least ? room : least;
    }
    pthread_mutex_unlock(&b->lock);
    return least;
}

static uint32_t inproc_send(link_t *l, const link_frame_t *f, uint32_t count)
{
    link_frame_t sent[STAMP_BATCH];
    bus_t *b = ((member_t *)l->own)->bus;
    const uint64_t now_us = link_now_us();
    const bool is_private = is_between_threads(l);
    uint32_t accepted = 0;
    pthread_mutex_lock(&b->lock);
    for (uint32_t k = 0; k < count;) {
        uint32_t n = 0;
        for (; n < STAMP_BATCH && k < count; k++) {
            if (frame_is_possible(l, &f[k])) {
                memcpy(&sent[n], &f[k], f[k].length <= 8u ? offsetof(link_frame_t, data) + 8u : sizeof *f);
                sent[n].time_us = is_private && f[k].time_us != 0u ? f[k].time_us : now_us;
                n++;
            } else {
                l->counters.tx_impossible++;
            }
        }
        for (uint32_t m = 0; m < b->count; m++) {
            if (b->members[m] != l && n != 0u) {
                give(b->members[m], sent, n);
            }
        }
        accepted += n;
    }
    pthread_mutex_unlock(&b->lock);
    l->counters.tx_frames += accepted;
    return accepted;
}

static uint32_t inproc_watch(link_t *l, struct pollfd *p, uint32_t max, uint64_t *due_us)
{
    member_t *m = l->own;
    uint64_t count;
    (void)due_us;
    if (max == 0u) {
        return 0;
    }
    const ssize_t drained = read(l->fd, &count, sizeof count);
    (void)drained;
    (void)__atomic_exchange_n(&m->asleep, 1, __ATOMIC_ACQ_REL); /* whoever puts a frame from here on writes to fd */
    p[0] = (struct pollfd){l->fd, POLLIN, 0};
    return 1;
}

const link_ops_t inproc_ops = {
    .start = inproc_start,
    .service = inproc_service,
    .send = inproc_send,
    .room = inproc_room,
    .stop = inproc_stop,
    .release = inproc_release,
    .watch = inproc_watch,
    .make = inproc_make,
};
