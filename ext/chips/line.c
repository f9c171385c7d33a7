/* The host's serial line: bytes and low pulses with their times in, paced answer bytes out.
 *
 * 8N1 at 1 Mbit/s, idle high: ten bits a byte, 10 us. At another speed a byte cannot be understood, but 00 is a low pulse of nine
 * bit times, which is how hosts without a GPIO send pings (00 at 4000 baud is 2.25 ms low). Low times after SLUSE81. */
#include "internal.h"

#define BYTE_US 10u
#define STEP_US 1000u
#define ITEM_FRAMING_ERROR 0x100u
#define ITEM_PULSE 0x200u
#define ITEM_US_SHIFT 10u
#define ITEM_US_MAX 0x3FFFFFu
#define BAUD 1000000u
#define BAUD_TOLERANCE 15000u   /* 1.5 % */
#define HARDWARE_RESET_US 75000u /* no ping is understood so long after a hardware reset */

enum { PING_NONE, PING_CLEAR, PING_SLEEP_TO_ACTIVE, PING_WAKE, PING_SHUTDOWN, PING_HARDWARE_RESET };

static uint32_t ping_of(uint32_t low_us)
{
    if (low_us >= 15u && low_us <= 20u) return PING_CLEAR;
    if (low_us >= 250u && low_us <= 300u) return PING_SLEEP_TO_ACTIVE;
    if (low_us >= 2000u && low_us <= 2500u) return PING_WAKE;
    if (low_us >= 7000u && low_us <= 10000u) return PING_SHUTDOWN;
    return low_us >= 33000u && low_us <= 40000u ? PING_HARDWARE_RESET : PING_NONE;
}

/* The command so far is lost; a clear in the middle of one is a start-of-frame error. */
static void engine_clear(chips_t *c)
{
    if (c->command_count != 0 && !c->line_is_deaf) frame_fault(c, RC_START);
    c->command_count = 0;
    c->line_is_deaf = 0;
}

static void byte_error(chips_t *c)
{
    ++c->byte_errors;
    if (c->line_is_deaf) return;
    frame_fault(c, c->command_count == 0 ? RC_INIT : RC_BYTE);
    *reg_at(c, 0, R_FAULT_COMM1) |= COMM1_STOP_DET;
    c->command_count = 0;
    c->line_is_deaf = 1;
}

static void base_pulse(chips_t *c, uint32_t low_us, uint64_t end_us)
{
    const uint32_t ping = ping_of(low_us);
    if (c->chip_dead[0] || end_us < c->ready_us[0]) return;
    switch (ping) {
    case PING_WAKE:
        engine_clear(c);
        chip_reset(c, 0, end_us + c->wake_settle_us);
        return;
    case PING_HARDWARE_RESET:
        engine_clear(c);
        chip_shutdown(c, 0);
        c->ready_us[0] = end_us + HARDWARE_RESET_US;
        return;
    case PING_SHUTDOWN:
        chip_shutdown(c, 0);
        return;
    case PING_SLEEP_TO_ACTIVE:
        if (c->mode[0] == CHIP_SHUTDOWN) return;
        if (c->mode[0] == CHIP_SLEEP) c->ready_us[0] = end_us + STEP_US; /* assumption: talks after 1 ms */
        c->mode[0] = CHIP_ACTIVE;
        c->heard_us[0] = end_us;
        engine_clear(c);
        return;
    default:
        break;
    }
    if (c->mode[0] != CHIP_ACTIVE) return;
    if (ping == PING_NONE) {
        byte_error(c);
        return;
    }
    engine_clear(c);
    *reg_at(c, 0, R_FAULT_COMM1) |= COMM1_CLEAR_DET | COMM1_STOP_DET;
}

/* Handles one item if it ends before `until`. */
static bool take(chips_t *c, uint32_t item, uint64_t until_us, const chips_view_t *view)
{
    const uint64_t end_us = c->host_time_us + (item >> ITEM_US_SHIFT);
    if (end_us > until_us) return false;
    c->host_time_us = end_us;
    if (item & ITEM_PULSE) base_pulse(c, item >> ITEM_US_SHIFT, end_us);
    else if (chip_talks(c, 0, end_us)) {
        if (item & ITEM_FRAMING_ERROR) byte_error(c);
        else frame_byte(c, view, (uint8_t)item, end_us);
    }
    return true;
}

static void put(chips_t *c, uint32_t item, uint64_t until_us, const chips_view_t *view)
{
    if (c->host_count == 0 && take(c, item, until_us, view)) return;
    if (c->host_count < CHIPS_QUEUE_MAX) c->host_queue[c->host_count++] = item;
    else ++c->bytes_lost;
}

static uint32_t item_of(uint8_t byte, uint32_t baud)
{
    if (baud - (BAUD - BAUD_TOLERANCE) <= 2u * BAUD_TOLERANCE) return byte | BYTE_US << ITEM_US_SHIFT;
    const uint32_t bits_us = (byte == 0 ? 9000000u : 10000000u) / baud;
    const uint32_t us = bits_us < ITEM_US_MAX ? bits_us : ITEM_US_MAX;
    return (byte == 0 ? ITEM_PULSE : ITEM_FRAMING_ERROR) | us << ITEM_US_SHIFT;
}

/* A host that talks while answers are on their way ends them: waiting answers are given up (SLUSE81, DEBUG TR_WAIT). */
void line_cut_answer(chips_t *c, uint64_t begin_us)
{
    const uint64_t sent = begin_us > c->answer_time_us ? (begin_us - c->answer_time_us) / BYTE_US : 0;
    if (sent >= c->answer_count) return;
    c->answer_count = (uint32_t)sent;
    ++c->answers_cut;
    *reg_at(c, 0, R_FAULT_COMM1) |= COMM1_UART_TR;
}

void line_receive(chips_t *c, uint64_t now_us, const chips_view_t *view, const ecu_uart_out_t *host)
{
    const uint64_t until_us = now_us + STEP_US;
    uint32_t done = 0;
    if (c->host_count == 0 && c->host_time_us < now_us) c->host_time_us = now_us;
    if (c->answer_count != 0) line_cut_answer(c, c->host_time_us);
    while (done < c->host_count && take(c, c->host_queue[done], until_us, view)) ++done;
    if (done != 0) {
        c->host_count -= done;
        memmove(c->host_queue, c->host_queue + done, c->host_count * sizeof c->host_queue[0]);
    }
    if (host->low_us != 0) {
        const uint32_t us = host->low_us < ITEM_US_MAX ? host->low_us : ITEM_US_MAX;
        put(c, ITEM_PULSE | us << ITEM_US_SHIFT, until_us, view);
    }
    const uint32_t count = host->count < ECU_UART_OUT_MAX ? host->count : ECU_UART_OUT_MAX;
    if (host->baud == 0) return; /* a port that was never set up sends nothing */
    for (uint32_t k = 0; k < count; ++k) put(c, item_of(host->bytes[k], host->baud), until_us, view);
    c->bytes_in += count;
}

uint16_t line_send(chips_t *c, uint64_t now_us, uint8_t to_host[ECU_UART_IN_MAX])
{
    const uint64_t until_us = now_us + STEP_US;
    if (until_us < c->answer_time_us + BYTE_US) return 0;
    const uint64_t fit = (until_us - c->answer_time_us) / BYTE_US;
    uint32_t count = fit < c->answer_count ? (uint32_t)fit : c->answer_count;
    if (count > ECU_UART_IN_MAX) count = ECU_UART_IN_MAX;
    const uint32_t lost = c->drop_bytes < count ? c->drop_bytes : count;
    memcpy(to_host, c->answer + c->answer_next + lost, count - lost);
    c->drop_bytes -= lost;
    c->answer_next += count;
    c->answer_count -= count;
    c->answer_time_us += (uint64_t)count * BYTE_US;
    c->bytes_out += count - lost;
    return (uint16_t)(count - lost);
}
