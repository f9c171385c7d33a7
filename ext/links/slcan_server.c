/* A pseudo-terminal on which we are an SLCAN adapter, so that any SLCAN program can join the bus. The client's device changes
 * with each start of ours; the symbolic link of the configuration does not. Clients may come and go. */
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
#define HELD 64u         /* frames kept for a client that polls */
#define ALONE_US 10000u  /* how often to look for a client: a pseudo-terminal cannot tell */
#define STATUS_RX_FULL 0x01u
#define STATUS_TX_FULL 0x02u

typedef struct {
    stream_t in;
    outbox_t out;
    ring_t held;
    bool alone, open, silent, stamps, polled, confirm;
    uint8_t status;
    uint32_t code, mask; /* acceptance, SJA1000: a one in the mask means "any" */
    bool single_filter;
    uint64_t now_us, open_us;
} server_t;

static int server_make(link_t *l)
{
    server_t *s = calloc(1, sizeof *s);
    l->own = s;
    if (s == NULL || outbox_make(&s->out, OUTBOX) != 0 || ring_make(&s->held, HELD) != 0) {
        return -ENOMEM;
    }
    return 0;
}

static void server_release(link_t *l)
{
    server_t *s = l->own;
    if (s != NULL) {
        free(s->out.bytes);
        free(s->held.frames);
    }
}

static void forget_client(link_t *l)
{
    server_t *s = l->own;
    stream_clear(&s->in, &l->counters);
    s->out.start = s->out.end = 0;
    s->held.tail = s->held.head;
    s->open = s->silent = s->stamps = s->polled = s->confirm = s->single_filter = false;
    s->status = 0;
    s->code = 0;
    s->mask = 0xFFFFFFFFu;
    s->alone = true;
    l->client_count = 0;
}

static int server_start(link_t *l, uint64_t now_us)
{
    char device[64];
    l->fd = serial_pty(device, sizeof device);
    if (l->fd < 0) {
        const int failed = l->fd;
        l->fd = -1;
        return failed;
    }
    snprintf(l->place, sizeof l->place, "%s", device);
    if (l->config.name[0] != '\0') {
        const int failed = serial_link(device, l->config.name);
        if (failed != 0) {
            link_say(l, "%s: %s", l->config.name, failed == -EEXIST ? "is there and is no symbolic link" : strerror(-failed));
            l->place[0] = '\0';
            return failed;
        }
    }
    forget_client(l);
    link_is_up(l, now_us);
    return 0;
}

static void server_stop(link_t *l)
{
    if (l->fd >= 0) {
        if (l->place[0] != '\0' && l->config.name[0] != '\0') {
            serial_unlink(l->place, l->config.name);
        }
        close(l->fd);
        l->fd = -1;
    }
}

static void say(link_t *l, const char *text)
{
    server_t *s = l->own;
    (void)outbox_put(&s->out, text, (uint32_t)strlen(text)); /* no room: the client reads nothing, and misses an answer */
}

static void write_frame(link_t *l, const link_frame_t *f)
{
    server_t *s = l->own;
    uint16_t stamp_ms = SLCAN_NO_STAMP;
    uint8_t *to = outbox_room(&s->out, SLCAN_LINE_MAX);
    if (to == NULL) {
        l->counters.tx_dropped++;
        s->status |= STATUS_RX_FULL;
        return;
    }
    if (s->stamps) {
        stamp_ms = (uint16_t)((s->now_us - s->open_us) / 1000u % SLCAN_STAMP_WRAP);
    }
    const uint32_t n = slcan_write(f, stamp_ms, to);
    s->out.end += n;
    l->counters.tx_frames += n != 0u;
    l->counters.tx_impossible += n == 0u;
}

static void poll_one(link_t *l)
{
    server_t *s = l->own;
    link_frame_t f;
    if (ring_take(&s->held, &f, 1) != 0u) {
        write_frame(l, &f);
    } else {
        say(l, "\r");
    }
}

static void poll_all(link_t *l)
{
    server_t *s = l->own;
    link_frame_t f;
    while (ring_take(&s->held, &f, 1) != 0u) {
        write_frame(l, &f);
    }
    say(l, "A\r");
}

/* M is also the CANable's "silent", with a single digit; with eight it is Lawicel's acceptance code, and m its mask. */
static bool acceptance(server_t *s, uint8_t letter, uint32_t digits, uint32_t value)
{
    if (letter == 'M' && digits == 1u) {
        s->silent = value == 1u;
        return true;
    }
    if (digits == 8u && !s->open) {
        *(letter == 'M' ? &s->code : &s->mask) = value;
        return true;
    }
    return false;
}

/* A command with a number: true if it is known, well formed and allowed now. */
static bool setting(server_t *s, const uint8_t *line, uint32_t length)
{
    uint32_t value = 0;
    const uint32_t digits = length - 1u;
    if (digits == 0u || digits > 8u || !slcan_number(line + 1, digits, &value)) {
        return false;
    }
    const bool one = digits == 1u, flag = one && value < 2u;
    switch (line[0]) {
    case 'S': return !s->open && one && slcan_speed(value) != 0u;
    case 's': return !s->open && (digits == 4u || digits == 6u);
    case 'Y': return !s->open && one;
    case 'Z': s->stamps = flag ? value == 1u : s->stamps; return flag;
    case 'X':
        s->polled = flag ? value == 0u : s->polled;
        s->confirm = flag ? value == 1u : s->confirm;
        return flag;
    case 'W': s->single_filter = value == 1u; return !s->open && one;
    case 'M':
    case 'm': return acceptance(s, line[0], digits, value);
    case 'A': /* the CANable's: send again by itself or not */
    case 'Q':
    case 'U': return one;
    default: return false;
    }
}

static void open_channel(link_t *l, bool silent)
{
    server_t *s = l->own;
    if (!s->open) { /* a second O is tolerated: python-can sends two */
        s->open_us = s->now_us;
        s->held.tail = s->held.head;
    }
    s->open = true;
    s->silent = silent;
    say(l, "\r");
}

static void command(link_t *l, const uint8_t *line, uint32_t length)
{
    server_t *s = l->own;
    char answer[8];
    const uint8_t letter = length == 1u ? line[0] : 0u;
    if (length == 0u) {
        say(l, "\r");
    } else if (letter == 'O' || letter == 'L') {
        open_channel(l, letter == 'L');
    } else if (letter == 'C') {
        s->open = false;
        say(l, "\r");
    } else if (letter == 'V' || letter == 'v') {
        say(l, letter == 'V' ? "V1013\r" : "v1013\r");
    } else if (letter == 'N') {
        say(l, "NSBMS\r");
    } else if (letter == 'F' && s->open) {
        snprintf(answer, sizeof answer, "F%02X\r", (unsigned)s->status);
        s->status = 0;
        say(l, answer);
    } else if (letter == 'P' && s->open) {
        poll_one(l);
    } else if (letter == 'A' && s->open) {
        poll_all(l);
    } else if (setting(s, line, length)) {
        say(l, "\r");
    } else {
        l->counters.malformed_unknown++;
        say(l, "\a");
    }
}

static void line_read(link_t *l, const uint8_t *line, uint32_t length)
{
    server_t *s = l->own;
    link_frame_t f;
    uint16_t stamp_ms;
    f.time_us = s->now_us;
    f.bus = 0;
    const slcan_result_t result = slcan_read(line, length, &f, &stamp_ms);
    if (result == SLCAN_OTHER) {
        command(l, line, length);
        return;
    }
    l->counters.malformed_digit += result == SLCAN_DIGIT;
    l->counters.malformed_length += result == SLCAN_LENGTH;
    l->counters.malformed_id += result == SLCAN_ID;
    const bool allowed = result == SLCAN_FRAME && s->open && !s->silent;
    if (!allowed || ((f.flags & ECU_CAN_FD) != 0u && (l->config.options & LINK_FD) == 0u)) {
        s->status |= allowed ? 0u : STATUS_TX_FULL * (result == SLCAN_FRAME);
        say(l, "\a");
        return;
    }
    link_handle(l, &f);
    say(l, !s->confirm ? "\r" : (f.flags & ECU_CAN_EXTENDED) != 0u ? "Z\r" : "z\r");
}

static void understand(link_t *l)
{
    server_t *s = l->own;
    uint32_t start = 0;
    for (uint32_t k = 0; k < s->in.have; k++) {
        if (s->in.bytes[k] != SLCAN_CR) {
            if (k - start >= SLCAN_LINE_MAX && !s->in.skipping) {
                s->in.skipping = true;
                l->counters.malformed_overlong++;
            }
            continue;
        }
        if (s->in.skipping) {
            s->in.skipping = false;
            say(l, "\a");
        } else {
            line_read(l, s->in.bytes + start, k - start);
        }
        start = k + 1u;
    }
    stream_consume(&s->in, s->in.skipping ? s->in.have : start);
}

static void look_for_client(link_t *l)
{
    server_t *s = l->own;
    const bool alone = serial_is_alone(l->fd);
    if (alone && !s->alone) {
        l->counters.disconnects++;
        forget_client(l);
    } else if (!alone && s->alone) {
        s->alone = false;
        l->client_count = 1;
        l->counters.clients++;
    }
}

static void server_service(link_t *l, uint64_t now_us)
{
    server_t *s = l->own;
    int n = 1;
    s->now_us = now_us;
    stream_age(&s->in, now_us, &l->counters);
    for (uint32_t k = 0; n > 0 && k < STREAM_READS; k++) {
        n = stream_read(&s->in, l->fd, now_us, l);
        if (n > 0) {
            if (s->alone) {
                s->alone = false;
                l->client_count = 1;
                l->counters.clients++;
            }
            understand(l);
        }
    }
    if (n <= 0) { /* all that was written before a client left has been read by now */
        look_for_client(l);
    }
    if (!s->alone) {
        (void)outbox_flush(&s->out, l->fd, &l->counters);
    }
}

/* The acceptance filter, as far as identifiers go; it may also look at the first data bytes, which here always pass. */
static bool accepted(const server_t *s, const link_frame_t *f)
{
    const bool extended = (f->flags & ECU_CAN_EXTENDED) != 0u;
    const uint32_t want = s->code, any = s->mask;
    if (s->single_filter) {
        return extended ? (((f->id << 3) ^ want) & ~any & 0xFFFFFFF8u) == 0u : (((f->id << 21) ^ want) & ~any & 0xFFE00000u) == 0u;
    }
    if (extended) {
        const uint32_t high = f->id >> 13;
        return (((high << 16) ^ want) & ~any & 0xFFFF0000u) == 0u || ((high ^ want) & ~any & 0xFFFFu) == 0u;
    }
    return (((f->id << 21) ^ want) & ~any & 0xFFE00000u) == 0u || (((f->id << 5) ^ want) & ~any & 0xFFE0u) == 0u;
}

static uint32_t server_send(link_t *l, const link_frame_t *f, uint32_t count)
{
    server_t *s = l->own;
    if (!s->open) { /* nobody listens: a frame on a bus without receivers is no loss */
        return count;
    }
    for (uint32_t k = 0; k < count; k++) {
        if (!frame_is_possible(l, &f[k])) {
            l->counters.tx_impossible++;
        } else if (!accepted(s, &f[k])) {
            continue;
        } else if (!s->polled) {
            write_frame(l, &f[k]);
        } else if (!ring_put(&s->held, &f[k])) {
            s->status |= STATUS_RX_FULL;
            l->counters.tx_dropped++;
        }
    }
    (void)outbox_flush(&s->out, l->fd, &l->counters);
    return count;
}

static uint32_t server_watch(link_t *l, struct pollfd *p, uint32_t max, uint64_t *due_us)
{
    const server_t *s = l->own;
    if (s->alone) { /* its descriptor would say "hung up" without end */
        *due_us = link_now_us() + ALONE_US;
        return 0;
    }
    if (max == 0u) {
        return 0;
    }
    p[0] = (struct pollfd){l->fd, (short)((stream_may_read(l) ? POLLIN : 0) | (s->out.start != s->out.end ? POLLOUT : 0)), 0};
    return 1;
}

static uint32_t server_room(const link_t *l)
{
    const server_t *s = l->own;
    const bool patient = (l->config.options & LINK_PATIENT) != 0u;
    return patient && s->open && !s->polled ? outbox_free(&s->out) / SLCAN_LINE_MAX : UINT32_MAX;
}

const link_ops_t slcan_server_ops = {
    .start = server_start,
    .service = server_service,
    .send = server_send,
    .stop = server_stop,
    .release = server_release,
    .watch = server_watch,
    .make = server_make,
    .room = server_room,
};
