/* What the kinds of links share. Nobody outside ext/links includes this. */
#ifndef BMS_LINKS_INTERNAL_H
#define BMS_LINKS_INTERNAL_H

#include <poll.h>

#include "firmware/ecu.h"
#include "links/link.h"

#define SECOND_US 1000000u

/* Oldest first; `head` is where the next is put, `tail` where the next is taken. One thread puts, one takes. */
typedef struct {
    link_frame_t *frames;
    uint32_t mask, head, tail;
} ring_t;

int ring_make(ring_t *r, uint32_t capacity); /* 0 or -ENOMEM */
uint32_t ring_count(const ring_t *r);
bool ring_put(ring_t *r, const link_frame_t *f);
uint32_t ring_put_many(ring_t *r, const link_frame_t *f, uint32_t count);
uint32_t ring_take(ring_t *r, link_frame_t *out, uint32_t max);
uint32_t ring_room(const ring_t *r);

/* Bytes read and not yet understood. A message is never longer than STREAM_MESSAGE. */
#define STREAM_SIZE 16384u
#define STREAM_MESSAGE 512u
#define STREAM_READS 8u /* reads a service call makes of one source, so that no flood starves the others */

typedef struct {
    uint8_t bytes[STREAM_SIZE];
    uint32_t have;
    bool skipping; /* inside a message that is already known to be too long */
    uint64_t heard_us;
} stream_t;

/* Bytes added, 0 if there are none now (or the link is patient and its ring full), or the negated errno (-EPIPE: the other side
 * is gone). */
int stream_read(stream_t *s, int fd, uint64_t now_us, link_t *l);
bool stream_may_read(const link_t *l);
void stream_consume(stream_t *s, uint32_t count);
void stream_age(stream_t *s, uint64_t now_us, link_counters_t *c); /* drops a beginning that never got its end */
void stream_clear(stream_t *s, link_counters_t *c);

/* Bytes waiting to be written. */
typedef struct {
    uint8_t *bytes;
    uint32_t size, start, end;
} outbox_t;

int outbox_make(outbox_t *o, uint32_t size);
uint8_t *outbox_room(outbox_t *o, uint32_t count); /* where to put count bytes, or NULL; then advance end */
bool outbox_put(outbox_t *o, const void *bytes, uint32_t count);
uint32_t outbox_free(const outbox_t *o);
int outbox_flush(outbox_t *o, int fd, link_counters_t *c); /* 0, or the negated errno if the other side is gone */

/* Carries times of another clock over to ours: the least delay seen is taken as none, clocks may drift by DRIFT_PPM. */
typedef struct {
    int64_t offset_us;
    uint64_t at_us;
    bool known;
} far_clock_t;

uint64_t far_time(far_clock_t *c, uint64_t stamp_us, uint64_t now_us);
uint64_t wall_us(void); /* CLOCK_REALTIME */

typedef struct {
    int (*start)(link_t *l, uint64_t now_us); /* begins to open: 0, or the negated errno with the reason set */
    void (*service)(link_t *l, uint64_t now_us);
    uint32_t (*send)(link_t *l, const link_frame_t *f, uint32_t count);
    void (*stop)(link_t *l); /* closes what start opened; also after a failed start */
    void (*release)(link_t *l); /* frees what make got; may be NULL */
    uint32_t (*watch)(link_t *l, struct pollfd *p, uint32_t max, uint64_t *due_us); /* what to wait for */
    int (*make)(link_t *l); /* memory and names that live as long as the link; may be NULL */
    uint32_t (*room)(const link_t *l); /* frames that surely fit; NULL: no matter */
} link_ops_t;

extern const link_ops_t inproc_ops, socketcan_ops, slcan_ops, slcan_server_ops, socketcand_ops, socketcand_server_ops, udp_ops;

struct link {
    link_config_t config;
    const link_ops_t *ops;
    link_state_t state;
    link_counters_t counters;
    ring_t rx;
    int fd;
    uint64_t due_us, up_us; /* when to try again or to give up; since when it is up */
    uint64_t backoff_us;
    uint32_t chance;
    uint32_t client_count;
    char reason[160], place[LINK_NAME_MAX + 32u];
    void *own; /* what only this kind has; freed with the link */
};

/* States. A link that was up or connecting goes down with a reason and is tried again later. */
void link_is_up(link_t *l, uint64_t now_us);
void link_is_down(link_t *l, uint64_t now_us, const char *format, ...) __attribute__((format(printf, 3, 4)));
void link_say(link_t *l, const char *format, ...) __attribute__((format(printf, 2, 3))); /* sets the reason */
void link_handle(link_t *l, const link_frame_t *f); /* a frame received: into the ring, counted */

bool frame_is_possible(const link_t *l, const link_frame_t *f); /* may leave by this link; counted if not */

void tcp_tune(int fd); /* no delay, and a dead far end is noticed */
int tcp_socket(const link_config_t *c, bool listen_here); /* connecting or listening, not blocking; or the negated errno */

#endif
