/* Links: CAN frames through whatever is at hand. This header is the manual; src/bms/links is the Python face.
 *
 * A link is opened from a link_config_t, which bms.links.parse makes of a URL, and is then driven by one thread at a time:
 *
 *     link_service(l, now_us)     reads what is there, decodes it, writes what is queued; connects and reconnects
 *     link_receive(l, frames, n)  takes decoded frames, oldest first
 *     link_send(l, frames, n)     queues frames; what finds no room is dropped and counted
 *     link_wait(links, n, us)     sleeps until one of the links has something to do
 *
 * Only link_wait ever blocks. Bytes from outside never fail anything: what cannot be understood is counted by cause and
 * skipped. A far end that is not there, or goes away, is a state: the link tries again by itself, after 50 ms at first and then
 * ever later up to 5 s, each time shifted by chance. What is queued while a link is not up is dropped and counted, because an
 * old frame is worse than none.
 *
 * now_us is the caller's CLOCK_MONOTONIC in microseconds. It stamps what arrives, unless the kernel or the far end gives a
 * better time, which is then carried over to the same clock.
 *
 * The process must ignore SIGPIPE, as Python does. Members of one in-process bus may live in different threads; nothing else is shared between links.
 */
#ifndef BMS_LINK_H
#define BMS_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "field.h"

/* The layout of ecu_can_frame_t behind a time; flags are the ECU_CAN_* bits of ecu.h. */
typedef struct {
    uint64_t time_us;
    uint32_t id;
    uint8_t bus, length, flags, reserved; /* length in bytes, 0 to 64; of a remote frame the length it asks for */
    uint8_t data[64];
} link_frame_t;

uint8_t fd_length(uint8_t dlc);       /* bytes of a length code 0 to 15 */
uint8_t fd_dlc(uint8_t length);       /* length code of 0 to 64 bytes, or 0xFF if there is none */

typedef enum {
    LINK_INPROC,            /* a bus inside this process, joined by name */
    LINK_PYTHON,            /* the same, private, with a Python thread at its other end */
    LINK_SOCKETCAN,         /* Linux raw CAN socket */
    LINK_SLCAN,             /* serial line to an adapter that speaks Lawicel's ASCII */
    LINK_SLCAN_SERVER,      /* a pseudo-terminal on which we are such an adapter */
    LINK_SOCKETCAND,        /* client of a socketcand server over TCP */
    LINK_SOCKETCAND_SERVER, /* such a server; all its clients and this link are one bus */
    LINK_UDP,               /* cannelloni's datagrams to one peer */
    LINK_KINDS
} link_kind_t;

typedef enum {
    LINK_WAITING,    /* not there; will be tried again */
    LINK_CONNECTING, /* being opened */
    LINK_UP,         /* carries frames; a server without clients is up too */
    LINK_CLOSED      /* for good */
} link_state_t;

/* link_config_t.options. Patient: no more is read than the receive ring has room for, so that the far end of a serial line or
 * connection waits instead of frames being dropped here. */
enum { LINK_FD = 1u, LINK_LISTEN_ONLY = 2u, LINK_PATIENT = 4u };

#define LINK_NAME_MAX 108u

typedef struct {
    uint32_t kind, options;
    uint32_t bitrate, data_bitrate; /* bit/s on CAN; 0 leaves an adapter as it is */
    uint32_t baud;                  /* bit/s of the serial line */
    uint32_t port, local_port;      /* TCP or UDP; local_port 0: any */
    uint32_t ring;                  /* frames the receive ring holds; 0: 8192; rounded up to a power of two */
    char host[LINK_NAME_MAX];       /* numeric address */
    char name[LINK_NAME_MAX];       /* interface, device, bus, or path of the symbolic link to a pseudo-terminal */
} link_config_t;

/* They only ever rise. */
#define LINK_COUNTERS(S, A)                                                                                    \
    S(u64, rx_frames, "1", "frames received and handed on")                                                    \
    S(u64, tx_frames, "1", "frames handed to the transport")                                                   \
    S(u64, rx_bytes, "1", "bytes read from the transport")                                                     \
    S(u64, tx_bytes, "1", "bytes written to the transport")                                                    \
    S(u64, rx_dropped, "1", "frames received that found the ring full")                                        \
    S(u64, tx_dropped, "1", "frames not sent: no room, or the link was not up")                                \
    S(u64, tx_impossible, "1", "frames this kind of link cannot carry, or may not (listen only)")              \
    S(u64, tx_refused, "1", "frames or commands the far end refused")                                          \
    S(u64, malformed_unknown, "1", "messages that start like none that is known")                              \
    S(u64, malformed_digit, "1", "messages with a character where a digit must be")                            \
    S(u64, malformed_length, "1", "messages shorter or longer than they say")                                  \
    S(u64, malformed_id, "1", "messages with an identifier out of range")                                      \
    S(u64, malformed_overlong, "1", "messages that did not end in time: thrown away up to the next end")       \
    S(u64, malformed_cut, "1", "messages begun and not finished: the far end fell silent or left")             \
    S(u64, error_frames, "1", "error frames received")                                                         \
    S(u64, lost_outside, "1", "frames or datagrams known to be lost before they reached us")                   \
    S(u64, connects, "1", "times the link came up")                                                            \
    S(u64, disconnects, "1", "times it went down again")                                                       \
    S(u64, failures, "1", "attempts to open it that failed")                                                   \
    S(u64, clients, "1", "clients accepted by a server")                                                       \
    S(u64, clients_refused, "1", "clients turned away: no place left")                                         \
    S(u64, clients_dropped, "1", "clients cut off: they did not read what was sent to them, or opened no bus")

FIELD_STRUCT(link_counters_t, LINK_COUNTERS);

typedef struct link link_t;

/* NULL, with a sentence in why, for what is wrong on this side: no memory, no such kind of socket here, an address or a path
 * that is taken. A far end that is absent is no error. */
link_t *link_open(const link_config_t *config, uint64_t now_us, char *why, size_t why_size);
void link_close(link_t *l); /* frees it */

int link_service(link_t *l, uint64_t now_us); /* 1 if there are frames to receive, else 0 */
uint32_t link_receive(link_t *l, link_frame_t *out, uint32_t max);
uint32_t link_send(link_t *l, const link_frame_t *frames, uint32_t count); /* accepted */
uint32_t link_room(const link_t *l); /* so many frames surely find room now; UINT32_MAX: it never has to drop one for that */

/* Sleeps until a link can be read or written, has frames, or is due for another attempt; timeout_us UINT64_MAX: for ever.
 * wake_fd, unless -1, ends the sleep when it can be read. Returns the number of links that want service. */
uint32_t link_wait(link_t *const *links, uint32_t count, int wake_fd, uint64_t timeout_us);

/* The same in two halves, for callers that hold a lock (Python's): begin looks at the links, sleep touches none of them. */
#define LINK_WAIT_MAX 128u
typedef struct {
    int fd[LINK_WAIT_MAX];
    short events[LINK_WAIT_MAX];
    uint32_t first[LINK_WAIT_MAX], fd_count, link_count, ready;
    uint64_t until_us;
} link_wait_t;

void link_wait_begin(link_wait_t *w, link_t *const *links, uint32_t count, int wake_fd, uint64_t timeout_us);
uint32_t link_wait_sleep(link_wait_t *w);

link_state_t link_state(const link_t *l);
const char *link_reason(const link_t *l); /* why it is not up; "" if it is */
const link_counters_t *link_counters(const link_t *l);
const link_config_t *link_config(const link_t *l);
const char *link_place(const link_t *l);    /* where others find it: pseudo-terminal or address; "" if there is none */
uint32_t link_client_count(const link_t *l); /* clients of a server at this moment */
uint32_t link_pending(const link_t *l);      /* frames ready to be received */
void link_set_state(link_t *l, link_state_t state, const char *reason); /* for LINK_PYTHON: what its thread knows */

const char *link_kind_name(uint32_t kind);
const char *link_state_name(link_state_t state);
uint64_t link_now_us(void); /* CLOCK_MONOTONIC */

/* All links given become one bus: a frame that arrives on one leaves on all others. One pass; returns the frames moved. A frame
 * waits in its ring until all others that are up have room; link_join_wait sleeps until something can move. */
uint32_t link_join(link_t *const *links, uint32_t count, uint64_t now_us);
uint32_t link_join_wait(link_t *const *links, uint32_t count, int wake_fd, uint64_t timeout_us);

const field_t *link_counter_fields(size_t *count);

/* What a runner in another module needs of a link it was given. */
typedef struct {
    int (*service)(link_t *l, uint64_t now_us);
    uint32_t (*receive)(link_t *l, link_frame_t *out, uint32_t max);
    uint32_t (*send)(link_t *l, const link_frame_t *frames, uint32_t count);
    link_state_t (*state)(const link_t *l);
    uint32_t (*room)(const link_t *l);
    void (*wait_begin)(link_wait_t *w, link_t *const *links, uint32_t count, int wake_fd, uint64_t timeout_us);
    uint32_t (*wait_sleep)(link_wait_t *w);
} link_api_t;

#endif
