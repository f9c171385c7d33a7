/* The rig's side of a board on its serial lines, as a shared library that fits ecu.h: see target/bench.h. One board a process. Its
 * state lies in the board, so it cannot be copied. */
#ifndef _DEFAULT_SOURCE
#define _DEFAULT_SOURCE
#endif
#include "target/bench.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "links/slcan.h"

#define PATIENCE_MS 20000
#define ROOM 65536u
#define BOOTS_MOST 100000u

typedef struct {
    int fd;
    uint8_t bytes[ROOM];
    uint32_t count;
} line_t;

static line_t line[LINES];
static bool is_gone = true, is_free;
static uint32_t baud;

struct ecu {
    uint64_t steps, last_us;
    ecu_pins_in_t pins_in;
    ecu_pins_out_t pins;
    uint8_t can_state[ECU_CAN_BUS_COUNT];
    bool was_asleep;
};

/* Descriptors of the lines in their order; is_free: the board steps on its own clock. */
void bench_attach(const int fds[LINES], bool board_is_free)
{
    for (uint32_t k = 0; k < LINES; ++k) {
        line[k].fd = fds[k];
        line[k].count = 0u;
    }
    is_gone = false;
    is_free = board_is_free;
}

bool bench_is_gone(void)
{
    return is_gone;
}

static void put(uint32_t which, const uint8_t *bytes, size_t count)
{
    while (count > 0u && !is_gone) {
        struct pollfd wanted = {line[which].fd, POLLOUT, 0};
        const ssize_t n = send(line[which].fd, bytes, count, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) {
            bytes += n;
            count -= (size_t)n;
        } else if (n == 0 || (errno != EAGAIN && errno != EINTR) || poll(&wanted, 1, PATIENCE_MS) <= 0) {
            is_gone = true;
        }
    }
}

/* What has come on all lines; waits for the first byte of any, up to wait_ms. */
static void get(int wait_ms)
{
    struct pollfd wanted[LINES];
    for (uint32_t k = 0; k < LINES; ++k) wanted[k] = (struct pollfd){line[k].fd, POLLIN, 0};
    const int some = poll(wanted, LINES, wait_ms);
    if (some == 0 && wait_ms > 0) is_gone = true;
    for (uint32_t k = 0; some > 0 && k < LINES; ++k) {
        if (wanted[k].revents == 0 || line[k].count == ROOM) continue;
        const ssize_t n = recv(line[k].fd, line[k].bytes + line[k].count, ROOM - line[k].count, MSG_DONTWAIT);
        if (n > 0) line[k].count += (uint32_t)n;
        else if (n == 0 || (errno != EAGAIN && errno != EINTR)) is_gone = true;
    }
}

static void drop(uint32_t which, uint32_t count)
{
    line[which].count -= count;
    memmove(line[which].bytes, line[which].bytes + count, line[which].count);
}

/* ---- to the board ---- */

static uint32_t put_frames(const ecu_in_t *in, uint8_t bus, uint32_t which)
{
    uint32_t sent = 0;
    for (uint32_t k = 0; k < in->can_count; ++k) {
        uint8_t text[SLCAN_LINE_MAX];
        link_frame_t f = {0};
        if (in->can[k].bus != bus) continue;
        f.id = in->can[k].id;
        f.length = in->can[k].length;
        f.flags = in->can[k].flags;
        memcpy(f.data, in->can[k].data, sizeof f.data);
        const uint32_t count = slcan_write(&f, SLCAN_NO_STAMP, text);
        put(which, text, count);
        sent += count;
    }
    return sent;
}

static void put_record(const uint8_t *sections, uint32_t size, uint32_t flags, const uint32_t counts[3])
{
    uint8_t record[BENCH_RECORD_MAX], *to = record;
    to = put_number(to, BENCH_GO, 1u);
    to = put_number(to, flags, 1u);
    to = put_number(to, counts[0], 1u);
    to = put_number(to, counts[1], 2u);
    to = put_number(to, counts[2], 2u);
    memcpy(to, sections, size);
    put(LINE_BENCH, record, (size_t)(to - record) + size);
}

static void go(ecu_t *self, const ecu_in_t *in)
{
    uint8_t sections[BENCH_RECORD_MAX], *to = sections;
    const bool jumps = is_free ? self->was_asleep : in->now_us != self->last_us + 1000u;
    uint32_t flags = memcmp(&in->pins, &self->pins_in, sizeof in->pins) != 0 ? GO_PINS : 0u;
    flags |= (jumps ? GO_TIME : 0u) | (in->nvm_done.op != ECU_NVM_NONE ? GO_MEMORY : 0u);
    flags |= memcmp(in->can_state, self->can_state, sizeof in->can_state) != 0 ? GO_STATES : 0u;
    if (flags & GO_PINS) to = put_number(put_number(to, in->pins.supply_mv, 4u), in->pins.digital, 4u);
    if (flags & GO_TIME) to = put_number(to, in->now_us, 8u);
    if (flags & GO_MEMORY) {
        to = put_number(put_number(put_number(to, in->nvm_done.op, 1u), in->nvm_done.status, 1u), in->nvm_done.page, 2u);
        memcpy(to, in->nvm_done.data, ECU_NVM_PAGE);
        to += ECU_NVM_PAGE;
    }
    for (uint32_t k = 0; (flags & GO_STATES) && k < ECU_CAN_BUS_COUNT; ++k) to = put_number(to, in->can_state[k], 1u);
    put(LINE_CHIPS, in->uart_bytes[0], in->uart_count[0]);
    const uint32_t counts[3] = {in->uart_count[0], put_frames(in, ECU_BUS_VEHICLE, LINE_VEHICLE), put_frames(in, ECU_BUS_SENSOR, LINE_SENSOR)};
    if (!is_free || flags != 0u) put_record(sections, (uint32_t)(to - sections), flags, counts);
    self->pins_in = in->pins;
    self->last_us = in->now_us;
    memcpy(self->can_state, in->can_state, sizeof self->can_state);
}

/* ---- from the board ---- */

/* The record at the front of the bench's line, when it and what it announces are there; its size, or 0. */
static uint32_t record_size(uint32_t counts[3])
{
    const line_t *const b = &line[LINE_BENCH];
    while (b->count > 0u && b->bytes[0] != BENCH_DONE) drop(LINE_BENCH, 1u);
    if (b->count < BENCH_HEAD) return 0u;
    const uint32_t size = BENCH_HEAD + done_size(b->bytes[1]);
    const uint8_t *from = b->bytes + 2;
    counts[0] = (uint32_t)get_number(&from, 1u);
    counts[1] = (uint32_t)get_number(&from, 2u);
    counts[2] = (uint32_t)get_number(&from, 2u);
    const bool whole = line[LINE_CHIPS].count >= counts[0] && line[LINE_VEHICLE].count >= counts[1] && line[LINE_SENSOR].count >= counts[2];
    return b->count >= size && whole ? size : 0u;
}

static void take_frames(ecu_out_t *out, uint32_t which, uint8_t bus, uint32_t count)
{
    uint32_t from = 0;
    for (uint32_t k = 0; k < count; ++k) {
        if (line[which].bytes[k] != SLCAN_CR) continue;
        link_frame_t f = {0};
        uint16_t stamp;
        if (out->can_count < ECU_CAN_OUT_MAX && slcan_read(line[which].bytes + from, k - from, &f, &stamp) == SLCAN_FRAME) {
            ecu_can_frame_t *const to = &out->can[out->can_count++];
            memset(to, 0, sizeof *to);
            to->id = f.id;
            to->bus = bus;
            to->length = f.length;
            to->flags = f.flags;
            memcpy(to->data, f.data, sizeof to->data);
        }
        from = k + 1u;
    }
    drop(which, count);
}

static void take_sections(ecu_t *self, const uint8_t *from, uint32_t flags, ecu_out_t *out)
{
    if (flags & DONE_PINS) {
        self->pins.digital = (uint32_t)get_number(&from, 4u);
        self->pins.heater_pptt = (uint16_t)get_number(&from, 2u);
        self->pins.pump_pptt = (uint16_t)get_number(&from, 2u);
    }
    if (flags & DONE_PULSE) {
        out->uart[0].low_us = (uint32_t)get_number(&from, 4u);
        baud = (uint32_t)get_number(&from, 4u);
    }
    if (flags & DONE_MEMORY) {
        out->nvm_want.op = (uint8_t)get_number(&from, 1u);
        out->nvm_want.page = (uint16_t)get_number(&from, 2u);
        memcpy(out->nvm_want.data, from, ECU_NVM_PAGE);
        from += ECU_NVM_PAGE;
    }
    if (flags & DONE_SLEEP) out->sleep_ms = (uint32_t)get_number(&from, 4u);
    out->watchdog_kick |= (flags & DONE_KICK) != 0u;
    out->reset_wanted |= (flags & DONE_RESET) != 0u;
}

/* One millisecond of the board, if it is there. */
static bool take_step(ecu_t *self, ecu_out_t *out)
{
    uint32_t counts[3];
    const uint32_t size = record_size(counts);
    if (size == 0u) return false;
    take_sections(self, line[LINE_BENCH].bytes + BENCH_HEAD, line[LINE_BENCH].bytes[1], out);
    out->uart[0].baud = baud;
    out->uart[0].count = (uint16_t)counts[0];
    memcpy(out->uart[0].bytes, line[LINE_CHIPS].bytes, counts[0]);
    drop(LINE_CHIPS, counts[0]);
    take_frames(out, LINE_VEHICLE, ECU_BUS_VEHICLE, counts[1]);
    take_frames(out, LINE_SENSOR, ECU_BUS_SENSOR, counts[2]);
    drop(LINE_BENCH, size);
    return true;
}

/* ---- ecu.h ---- */

uint32_t ecu_abi(void)
{
    return ECU_ABI;
}

const char *ecu_version(void)
{
    return "a board on its serial lines";
}

size_t ecu_size(void)
{
    return sizeof(struct ecu);
}

int ecu_init(ecu_t *self, const ecu_boot_t *boot)
{
    uint8_t sections[BENCH_RECORD_MAX], *to = put_number(sections, boot->now_us, 8u);
    const uint32_t none[3] = {0, 0, 0};
    memset(self, 0, sizeof *self);
    self->last_us = boot->now_us;
    to = put_number(to, boot->reset_cause, 1u);
    memcpy(to, boot->entropy, sizeof boot->entropy);
    to += sizeof boot->entropy;
    put_record(sections, (uint32_t)(to - sections), GO_TIME | GO_BOOT, none);
    for (uint32_t k = 0; k < BOOTS_MOST && !is_gone; ++k) {
        uint32_t counts[3];
        const uint32_t size = record_size(counts);
        const bool is_booted = size != 0u && (line[LINE_BENCH].bytes[1] & DONE_BOOTED) != 0u;
        const uint8_t *from = line[LINE_BENCH].bytes + BENCH_HEAD;
        const int result = is_booted ? (int)get_number(&from, 4u) : 0;
        if (size == 0u) {
            get(PATIENCE_MS);
            continue;
        }
        drop(LINE_CHIPS, counts[0]); /* what it said before, on its own clock, nobody hears */
        drop(LINE_VEHICLE, counts[1]);
        drop(LINE_SENSOR, counts[2]);
        drop(LINE_BENCH, size);
        if (is_booted) return result;
    }
    return 0x7FFF;
}

void ecu_step(ecu_t *self, const ecu_in_t *in, ecu_out_t *out)
{
    ++self->steps;
    if (!is_gone) go(self, in);
    out->uart[0].count = 0u;
    while (!is_gone && !take_step(self, out)) get(PATIENCE_MS);
    self->was_asleep = out->sleep_ms != 0u;
    if (is_gone) memset(out, 0, sizeof *out);
    else out->pins = self->pins;
}
