/* Linux raw CAN sockets: CAN FD, error frames, and the best time stamp the kernel has (hardware, else its own). */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/can.h>
#include <linux/can/raw.h>
#include <linux/net_tstamp.h>
#include <net/if.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <linux/errqueue.h> /* needs struct timespec */

#include "links/internal.h"

#define BATCH 32u
#define CONTROL 128u
#define READS 32u
#define RECEIVE_BUFFER (4 * 1024 * 1024) /* the kernel's default holds some 270 frames: 30 ms of a full bus */
#define WAITING 1024u /* frames that wait while the kernel's queue is full */

typedef struct {
    far_clock_t hardware, software;
    uint32_t overflows;
    ring_t out;
    struct canfd_frame frames[BATCH];
    struct iovec parts[BATCH];
    struct mmsghdr messages[BATCH];
    union {
        struct cmsghdr align;
        uint8_t bytes[CONTROL];
    } control[BATCH];
} can_t;

static int can_make(link_t *l)
{
    can_t *s = calloc(1, sizeof *s);
    l->own = s;
    return s == NULL ? -ENOMEM : ring_make(&s->out, WAITING);
}

static void can_release(link_t *l)
{
    can_t *s = l->own;
    if (s != NULL) {
        free(s->out.frames);
    }
}

static int configure(link_t *l)
{
    const int on = 1;
    const can_err_mask_t errors = CAN_ERR_MASK;
    const int stamps = SOF_TIMESTAMPING_RX_HARDWARE | SOF_TIMESTAMPING_RAW_HARDWARE | SOF_TIMESTAMPING_RX_SOFTWARE |
                       SOF_TIMESTAMPING_SOFTWARE;
    const int room = RECEIVE_BUFFER;
    if (setsockopt(l->fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room) != 0) {
        (void)setsockopt(l->fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room); /* as much as the system grants */
    }
    (void)setsockopt(l->fd, SOL_CAN_RAW, CAN_RAW_ERR_FILTER, &errors, sizeof errors);
    (void)setsockopt(l->fd, SOL_SOCKET, SO_TIMESTAMPING, &stamps, sizeof stamps);
    (void)setsockopt(l->fd, SOL_SOCKET, SO_RXQ_OVFL, &on, sizeof on);
    if ((l->config.options & LINK_FD) != 0u && setsockopt(l->fd, SOL_CAN_RAW, CAN_RAW_FD_FRAMES, &on, sizeof on) != 0) {
        link_say(l, "%s: this kernel has no CAN FD", l->config.name);
        return -EPROTONOSUPPORT;
    }
    return 0;
}

static int can_start(link_t *l, uint64_t now_us)
{
    can_t *s = l->own;
    struct sockaddr_can here;
    memset(&here, 0, sizeof here);
    here.can_family = AF_CAN;
    l->fd = socket(PF_CAN, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, CAN_RAW);
    if (l->fd < 0) {
        const int failed = -errno;
        link_say(l, failed == -EAFNOSUPPORT ? "%s: this kernel has no CAN (SocketCAN)" : "%s: no socket", l->config.name);
        return failed;
    }
    here.can_ifindex = (int)if_nametoindex(l->config.name);
    if (here.can_ifindex == 0) {
        link_say(l, "%s: no such interface", l->config.name);
        return -ENODEV;
    }
    const int failed = configure(l);
    if (failed != 0) {
        return failed;
    }
    if (bind(l->fd, (struct sockaddr *)&here, sizeof here) != 0) {
        const int error = errno;
        link_say(l, "%s: %s", l->config.name, strerror(error));
        return -error;
    }
    memset(&s->hardware, 0, sizeof s->hardware);
    memset(&s->software, 0, sizeof s->software);
    s->overflows = 0;
    s->out.tail = s->out.head;
    strcpy(l->place, l->config.name);
    link_is_up(l, now_us);
    return 0;
}

static void can_stop(link_t *l)
{
    if (l->fd >= 0) {
        close(l->fd);
        l->fd = -1;
    }
}

static uint64_t microseconds(const struct timespec *t)
{
    return (uint64_t)t->tv_sec * SECOND_US + (uint64_t)t->tv_nsec / 1000u;
}

static void read_control(link_t *l, struct msghdr *m, link_frame_t *f, uint64_t now_us)
{
    can_t *s = l->own;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c != NULL; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level != SOL_SOCKET) {
            continue;
        }
        if (c->cmsg_type == SO_TIMESTAMPING) {
            struct scm_timestamping t;
            memcpy(&t, CMSG_DATA(c), sizeof t);
            const uint64_t hardware = microseconds(&t.ts[2]), software = microseconds(&t.ts[0]);
            if (hardware != 0u) {
                f->time_us = far_time(&s->hardware, hardware, now_us);
            } else if (software != 0u) {
                f->time_us = far_time(&s->software, software, now_us);
            }
        } else if (c->cmsg_type == SO_RXQ_OVFL) {
            uint32_t total;
            memcpy(&total, CMSG_DATA(c), sizeof total);
            l->counters.lost_outside += (uint32_t)(total - s->overflows);
            s->overflows = total;
        }
    }
}

static void from_kernel(const struct canfd_frame *k, bool fd, link_frame_t *f)
{
    f->id = k->can_id & ((k->can_id & (CAN_EFF_FLAG | CAN_ERR_FLAG)) != 0u ? CAN_EFF_MASK : CAN_SFF_MASK);
    f->flags = (uint8_t)(((k->can_id & CAN_EFF_FLAG) != 0u ? ECU_CAN_EXTENDED : 0u) |
                         ((k->can_id & CAN_RTR_FLAG) != 0u ? ECU_CAN_REMOTE : 0u) |
                         ((k->can_id & CAN_ERR_FLAG) != 0u ? ECU_CAN_ERROR : 0u) | (fd ? ECU_CAN_FD : 0u) |
                         (fd && (k->flags & CANFD_BRS) != 0u ? ECU_CAN_BRS : 0u));
    const uint8_t most = fd ? 64u : 8u;
    f->length = k->len <= most ? k->len : most;
    f->bus = f->reserved = 0;
    memcpy(f->data, k->data, f->length);
}

static size_t to_kernel(const link_frame_t *f, struct canfd_frame *k)
{
    const bool fd = (f->flags & ECU_CAN_FD) != 0u;
    memset(k, 0, sizeof *k);
    k->can_id = f->id | ((f->flags & ECU_CAN_EXTENDED) != 0u ? CAN_EFF_FLAG : 0u) |
                ((f->flags & ECU_CAN_REMOTE) != 0u ? CAN_RTR_FLAG : 0u);
    k->len = f->length;
    k->flags = fd && (f->flags & ECU_CAN_BRS) != 0u ? CANFD_BRS : 0u;
    memcpy(k->data, f->data, f->length);
    return fd ? CANFD_MTU : CAN_MTU;
}

/* Frames read, or the negated errno. */
static int read_batch(link_t *l, uint64_t now_us)
{
    can_t *s = l->own;
    for (uint32_t k = 0; k < BATCH; k++) {
        s->parts[k] = (struct iovec){&s->frames[k], sizeof s->frames[k]};
        memset(&s->messages[k], 0, sizeof s->messages[k]);
        s->messages[k].msg_hdr.msg_iov = &s->parts[k];
        s->messages[k].msg_hdr.msg_iovlen = 1;
        s->messages[k].msg_hdr.msg_control = s->control[k].bytes;
        s->messages[k].msg_hdr.msg_controllen = CONTROL;
    }
    const int n = recvmmsg(l->fd, s->messages, BATCH, 0, NULL);
    if (n < 0) {
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    }
    for (int k = 0; k < n; k++) {
        const uint32_t size = s->messages[k].msg_len;
        link_frame_t f;
        l->counters.rx_bytes += size;
        if (size != CAN_MTU && size != CANFD_MTU) {
            l->counters.malformed_length++;
            continue;
        }
        f.time_us = now_us;
        from_kernel(&s->frames[k], size == CANFD_MTU, &f);
        read_control(l, &s->messages[k].msg_hdr, &f, now_us);
        link_handle(l, &f);
    }
    return n;
}

/* How many of these the kernel took, or the negated errno of the first it did not take. */
static int write_batch(link_t *l, const link_frame_t *f, uint32_t count)
{
    can_t *s = l->own;
    const uint32_t n = count < BATCH ? count : BATCH;
    for (uint32_t k = 0; k < n; k++) {
        s->parts[k] = (struct iovec){&s->frames[k], to_kernel(&f[k], &s->frames[k])};
        memset(&s->messages[k], 0, sizeof s->messages[k]);
        s->messages[k].msg_hdr.msg_iov = &s->parts[k];
        s->messages[k].msg_hdr.msg_iovlen = 1;
    }
    const int sent = sendmmsg(l->fd, s->messages, n, 0);
    if (sent < 0) {
        return -errno;
    }
    for (int k = 0; k < sent; k++) {
        l->counters.tx_bytes += s->messages[k].msg_len;
    }
    l->counters.tx_frames += (uint64_t)sent;
    return sent;
}

static bool is_full(int failed)
{
    return failed == -EAGAIN || failed == -ENOBUFS || failed == -EINTR;
}

static int drain(link_t *l)
{
    can_t *s = l->own;
    while (ring_count(&s->out) != 0u) {
        const uint32_t at = s->out.tail & s->out.mask, left = s->out.mask + 1u - at, have = ring_count(&s->out);
        const int n = write_batch(l, &s->out.frames[at], have < left ? have : left);
        if (n < 0 && is_full(n)) {
            return 0;
        }
        if (n == -EINVAL || n == -EPERM) {
            l->counters.tx_refused++; /* a controller without CAN FD, or one in listen-only mode */
        } else if (n < 0) {
            return n;
        }
        s->out.tail += n > 0 ? (uint32_t)n : 1u;
    }
    return 0;
}

static void can_service(link_t *l, uint64_t now_us)
{
    int n = (int)BATCH;
    for (uint32_t k = 0; n == (int)BATCH && k < READS && stream_may_read(l); k++) {
        n = read_batch(l, now_us);
    }
    const int failed = n < 0 ? n : drain(l);
    if (failed < 0) {
        link_is_down(l, now_us, "%s: %s", l->config.name, strerror(-failed));
    }
}

static uint32_t can_send(link_t *l, const link_frame_t *f, uint32_t count)
{
    can_t *s = l->own;
    uint32_t accepted = 0;
    for (uint32_t k = 0; k < count; k++) {
        if (!frame_is_possible(l, &f[k]) || (f[k].flags & ECU_CAN_ERROR) != 0u) {
            l->counters.tx_impossible++;
        } else if (ring_put(&s->out, &f[k])) {
            accepted++;
        } else {
            (void)drain(l);
            const bool put = ring_put(&s->out, &f[k]);
            accepted += put;
            l->counters.tx_dropped += !put;
        }
    }
    (void)drain(l); /* a failure is met again, and handled, by the next service */
    return accepted;
}

static uint32_t can_watch(link_t *l, struct pollfd *p, uint32_t max, uint64_t *due_us)
{
    can_t *s = l->own;
    if (ring_count(&s->out) != 0u) { /* a full transmit queue does not wake: look again in a millisecond */
        *due_us = link_now_us() + 1000u;
    }
    if (max == 0u) {
        return 0;
    }
    p[0] = (struct pollfd){l->fd, (short)(stream_may_read(l) ? POLLIN : 0), 0};
    return 1;
}

static uint32_t can_room(const link_t *l)
{
    const can_t *s = l->own;
    return ring_room(&s->out);
}

const link_ops_t socketcan_ops = {
    .start = can_start,
    .service = can_service,
    .send = can_send,
    .stop = can_stop,
    .release = can_release,
    .watch = can_watch,
    .make = can_make,
    .room = can_room,
};
