#define _GNU_SOURCE
#include "realtime/line.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "links/serial.h"

#define FIELD_OWNER line_t
FIELD_TABLE(line_fields, LINE_FIELDS);
#undef FIELD_OWNER
const size_t line_field_count = FIELD_COUNT(line_fields);

#define CHIP_BAUD 1000000u
#define SHORT_LOW_US 400u /* shorter pulses are one 00 a little slower than data */
#define HOLD_US 3000u     /* the far end of a pseudo-terminal looks at the speed once a millisecond */
#define BYTE_BITS 10u
#define LOW_BITS 9u
#define WAKE_US 2250u
#define CLEAR_US 17u

void line_init(line_t *l)
{
    memset(l, 0, sizeof *l);
    l->fd = -1;
}

void line_attach(line_t *l, int32_t fd, uint32_t kind)
{
    l->fd = fd;
    l->kind = fd < 0 ? LINE_ABSENT : kind;
    l->phase = LINE_NORMAL;
    l->queued = 0;
    l->baud = 0;
    l->mark_pending = 0;
    l->is_lost = 0;
}

static void lost(line_t *l)
{
    if (!l->is_lost) l->losses++;
    l->is_lost = 1;
}

static bool is_usable(const line_t *l) { return l->fd >= 0 && !l->is_lost; }

/* Bytes read, 0 for none. A pseudo-terminal whose client is away says EIO at its server's end: no loss. */
static uint32_t read_some(line_t *l, uint8_t *bytes, uint32_t most, bool is_server)
{
    const ssize_t n = read(l->fd, bytes, most);
    if (n > 0) return (uint32_t)n;
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
    if (!(is_server && n < 0 && errno == EIO && l->kind == LINE_PTY)) lost(l);
    return 0;
}

/* Writes what it can from the front of the queue. */
static void flush(line_t *l)
{
    if (l->queued == 0u) return;
    const ssize_t n = write(l->fd, l->queue, l->queued);
    if (n < 0) {
        if (errno != EAGAIN && errno != EINTR && !(errno == EIO && l->kind == LINE_PTY)) lost(l);
        return;
    }
    l->bytes_out += (uint64_t)n;
    l->queued -= (uint32_t)n;
    memmove(l->queue, l->queue + n, l->queued);
}

static void enqueue(line_t *l, const uint8_t *bytes, uint32_t count)
{
    const uint32_t room = LINE_QUEUE - l->queued, taken = count < room ? count : room;
    memcpy(l->queue + l->queued, bytes, taken);
    l->queued += taken;
    l->bytes_dropped += count - taken;
}

/* ---- the control unit's end ---- */

static void begin_pulse(line_t *l, uint64_t now_us, uint32_t low_us)
{
    static const uint8_t zero = 0;
    const uint32_t speed = LOW_BITS * 1000000u / low_us;
    const bool failed = low_us < SHORT_LOW_US ? serial_set_baud(l->fd, speed) != 0 || write(l->fd, &zero, 1) != 1
                                              : serial_low_begin(l->fd, low_us) != 0;
    l->pulses++;
    l->phase = LINE_PULSING;
    l->until_us = now_us + (failed ? 0u : BYTE_BITS * low_us / LOW_BITS) + HOLD_US;
}

static void end_pulse(line_t *l, uint64_t now_us)
{
    if (now_us < l->until_us) return;
    const int left = serial_low_end(l->fd, l->baud ? l->baud : CHIP_BAUD);
    if (left < 0) lost(l);
    if (left <= 0) l->phase = LINE_NORMAL;
}

void line_send(line_t *l, uint64_t now_us, const ecu_uart_out_t *out)
{
    if (!is_usable(l)) {
        l->bytes_dropped += out->count;
        return;
    }
    if (l->phase == LINE_PULSING) end_pulse(l, now_us);
    if (out->low_us && l->phase == LINE_NORMAL) {
        flush(l);
        begin_pulse(l, now_us, out->low_us);
    }
    if (out->count && out->baud != l->baud && l->phase == LINE_NORMAL && serial_set_baud(l->fd, out->baud) != 0) lost(l);
    if (out->count) l->baud = out->baud;
    enqueue(l, out->bytes, out->count);
    if (l->phase == LINE_NORMAL) flush(l);
}

uint16_t line_receive(line_t *l, uint64_t now_us, uint8_t bytes[ECU_UART_IN_MAX], uint16_t *errors)
{
    uint8_t raw[ECU_UART_IN_MAX - 1u];
    uint16_t items[ECU_UART_IN_MAX];
    if (!is_usable(l)) return 0;
    const uint32_t got = read_some(l, raw, sizeof raw, false);
    if (got == 0u) return 0;
    l->heard_us = now_us;
    l->bytes_in += got;
    if (l->kind != LINE_PORT) {
        memcpy(bytes, raw, got);
        return (uint16_t)got;
    }
    serial_unmark_t unmark = {l->mark_pending};
    const uint32_t count = serial_unmark(&unmark, raw, got, items);
    uint16_t kept = 0;
    l->mark_pending = unmark.pending;
    for (uint32_t k = 0; k < count; ++k) {
        if (items[k] <= 0xFFu) {
            bytes[kept++] = (uint8_t)items[k];
        } else {
            ++*errors;
            l->errors++;
        }
    }
    return kept;
}

/* ---- the chips' end ---- */

/* On a real port a pulse is one mark without a length. Bytes before it in this piece are lost to it, as on the chips' line. */
static void hear_marks(line_t *l, bool base_sleeps, const uint8_t *raw, uint32_t got, ecu_uart_out_t *host)
{
    uint16_t items[ECU_UART_OUT_MAX];
    serial_unmark_t unmark = {l->mark_pending};
    const uint32_t count = serial_unmark(&unmark, raw, got, items);
    l->mark_pending = unmark.pending;
    for (uint32_t k = 0; k < count; ++k) {
        if (items[k] <= 0xFFu) {
            host->bytes[host->count++] = (uint8_t)items[k];
        } else if (items[k] == SERIAL_BREAK || items[k] == SERIAL_ERROR) {
            host->low_us = base_sleeps ? WAKE_US : CLEAR_US;
            host->count = 0;
            l->pulses++;
        } else {
            l->errors++;
        }
    }
    host->baud = CHIP_BAUD;
}

void line_hear(line_t *l, uint64_t now_us, bool base_sleeps, ecu_uart_out_t *host)
{
    uint8_t raw[ECU_UART_OUT_MAX - 1u];
    host->count = 0;
    host->low_us = 0;
    if (!is_usable(l)) return;
    const uint32_t baud = l->kind == LINE_PTY ? serial_baud(l->fd) : CHIP_BAUD; /* before the bytes: it changes after them */
    const uint32_t got = read_some(l, raw, sizeof raw, true);
    if (got == 0u) return;
    l->heard_us = now_us;
    l->bytes_in += got;
    l->baud = baud;
    if (l->kind == LINE_PORT) {
        hear_marks(l, base_sleeps, raw, got, host);
        return;
    }
    uint32_t low_us = 0;
    if (serial_is_low_pulse(baud, raw[0], &low_us)) l->pulses++;
    memcpy(host->bytes, raw, got);
    host->count = (uint16_t)got;
    host->baud = baud; /* the chips judge what a byte at a wrong speed is */
}

void line_answer(line_t *l, const uint8_t *bytes, uint32_t count)
{
    if (!is_usable(l)) {
        l->bytes_dropped += count;
        return;
    }
    enqueue(l, bytes, count);
    flush(l);
}
