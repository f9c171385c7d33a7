/* The firmware on an MPS2 board (AN386, Cortex-M4F) as a control unit has it: monitor chips on serial line 0, the two CAN buses as
 * SLCAN on lines 1 and 3, everything else on line 2 (target/bench.h). Its state lies in the board's own memory. */
#include "bms.h"
#include "board.h"
#include "links/slcan.h"
#include "target/bench.h"

#include <string.h>

#define ROOM 4096u /* of a line: more than comes in a millisecond, however late it is */
#define BAUD 1000000u
#define STRIKES 3u /* warnings in a row while the main loop stands */
#define WARNING_TICKS CLOCK_HZ
#define SYSTICK_CONTROL REGISTER(0xE000E010u)
#define SYSTICK_RELOAD REGISTER(0xE000E014u)
#define SYSTICK_VALUE REGISTER(0xE000E018u)

typedef struct {
    uint8_t bytes[ROOM];
    uint32_t count;
} buffer_t;

static struct ecu firmware;
static ecu_in_t in;
static ecu_out_t out;
static buffer_t line[LINES];
static ecu_pins_out_t told_pins;
static uint32_t told_baud;
static bool is_running, is_asleep;
static volatile uint32_t turns; /* of the main loop */

static const bench_config_t *config_of(void) { return (const bench_config_t *)(PSRAM + BENCH_CONFIG); }

void watchdog_handler(void);

/* Time on an emulated board follows the host's, which may stop the emulator at any moment: one warning alone says nothing. */
void watchdog_handler(void)
{
    static uint32_t seen, strikes;
    strikes = seen == turns ? strikes + 1u : 0u;
    seen = turns;
    while (strikes >= STRIKES) { }
    watchdog_kick();
}

/* What slcan.c asks of links: classic frames only. */
uint8_t fd_length(uint8_t dlc) { return dlc <= 8u ? dlc : 0u; }
uint8_t fd_dlc(uint8_t length) { return length <= 8u ? length : 0xFFu; }

/* A real line takes a byte whenever it is sent; this one waits for who reads at its other end, and that is no standing still. */
static void put(uint32_t which, uint8_t byte)
{
    while ((UART(which)->state & UART_TX_FULL) != 0u) turns = turns + 1u;
    UART(which)->data = byte;
}

/* ---- in ---- */

/* One byte of each line. Interrupts stay masked: one that is pending only ends the sleep, in which nothing has come. */
static void pump(void)
{
    bool is_idle = true;
    turns = turns + 1u;
    NVIC_FORGET = UART_RX_IRQS;
    for (uint32_t k = 0; k < LINES; ++k) {
        const int32_t byte = line[k].count < ROOM ? uart_take(UART(k)) : -1;
        if (byte < 0) continue;
        line[k].bytes[line[k].count++] = (uint8_t)byte;
        is_idle = false;
    }
    if (is_idle && (ICSR & ICSR_TICK) == 0u) __asm volatile("wfi");
}

static void drop(buffer_t *b, uint32_t count)
{
    b->count -= count;
    memmove(b->bytes, b->bytes + count, b->count);
}

/* The whole record at the front of the bench's line, or 0 bytes. What is none is passed over. */
static uint32_t record_size(void)
{
    buffer_t *const b = &line[LINE_BENCH];
    while (b->count > 0u && b->bytes[0] != BENCH_GO) drop(b, 1u);
    if (b->count < BENCH_HEAD) return 0u;
    const uint32_t size = BENCH_HEAD + go_size(b->bytes[1]);
    return b->count >= size ? size : 0u;
}

static bool has_announced(void)
{
    const uint8_t *from = line[LINE_BENCH].bytes + 2;
    const uint32_t chips = (uint32_t)get_number(&from, 1u), vehicle = (uint32_t)get_number(&from, 2u);
    const uint32_t sensor = (uint32_t)get_number(&from, 2u);
    return line[LINE_CHIPS].count >= chips && line[LINE_VEHICLE].count >= vehicle && line[LINE_SENSOR].count >= sensor;
}

static void take_frames(uint32_t which, uint8_t bus)
{
    buffer_t *const b = &line[which];
    uint32_t from = 0, k = 0;
    for (; k < b->count && in.can_count < ECU_CAN_IN_MAX; ++k) {
        if (b->bytes[k] != SLCAN_CR) continue;
        link_frame_t f = {0};
        uint16_t stamp;
        if (slcan_read(b->bytes + from, k - from, &f, &stamp) == SLCAN_FRAME) {
            ecu_can_frame_t *const to = &in.can[in.can_count++];
            memset(to, 0, sizeof *to);
            to->id = f.id;
            to->bus = bus;
            to->length = f.length;
            to->flags = f.flags;
            memcpy(to->data, f.data, sizeof to->data);
        }
        from = k + 1u;
    }
    drop(b, b->count == ROOM && from == 0u ? ROOM : from);
}

static void boot(const uint8_t *from)
{
    ecu_boot_t b = {.now_us = in.now_us, .config_size = config_of()->size};
    b.config = (const uint8_t *)config_of() + sizeof(bench_config_t);
    b.reset_cause = *from;
    memcpy(b.entropy, from + 1, sizeof b.entropy);
    uint8_t record[BENCH_HEAD + 4] = {BENCH_DONE, DONE_BOOTED};
    const int result = ecu_init(&firmware, &b);
    (void)put_number(record + BENCH_HEAD, (uint32_t)result, 4u);
    for (uint32_t k = 0; k < sizeof record; ++k) put(LINE_BENCH, record[k]);
    memset(&told_pins, 0, sizeof told_pins);
    told_baud = 0u;
    is_running = result == 0;
}

/* The record at the front; true when the firmware is to step. */
static bool take_record(uint32_t size)
{
    const uint8_t *from = line[LINE_BENCH].bytes + BENCH_HEAD;
    const uint32_t flags = line[LINE_BENCH].bytes[1];
    if (flags & GO_PINS) {
        in.pins.supply_mv = (uint32_t)get_number(&from, 4u);
        in.pins.digital = (uint32_t)get_number(&from, 4u);
    }
    if (flags & GO_TIME) {
        in.now_us = get_number(&from, 8u);
        is_asleep = false;
    } else if (config_of()->stretch == 0u) in.now_us += 1000u;
    if (flags & GO_MEMORY) {
        in.nvm_done.op = (uint8_t)get_number(&from, 1u);
        in.nvm_done.status = (uint8_t)get_number(&from, 1u);
        in.nvm_done.page = (uint16_t)get_number(&from, 2u);
        memcpy(in.nvm_done.data, from, ECU_NVM_PAGE);
        from += ECU_NVM_PAGE;
    }
    for (uint32_t k = 0; (flags & GO_STATES) && k < ECU_CAN_BUS_COUNT; ++k) in.can_state[k] = (uint8_t)get_number(&from, 1u);
    if (flags & GO_BOOT) boot(from);
    drop(&line[LINE_BENCH], size);
    return (flags & GO_BOOT) == 0u;
}

/* ---- out ---- */

static uint32_t send_frames(uint8_t bus, uint32_t which)
{
    uint32_t sent = 0;
    for (uint32_t k = 0; k < out.can_count; ++k) {
        uint8_t text[SLCAN_LINE_MAX];
        link_frame_t f = {0};
        if (out.can[k].bus != bus) continue;
        f.id = out.can[k].id;
        f.length = out.can[k].length;
        f.flags = out.can[k].flags;
        memcpy(f.data, out.can[k].data, sizeof f.data);
        const uint32_t count = slcan_write(&f, SLCAN_NO_STAMP, text);
        for (uint32_t c = 0; c < count; ++c) put(which, text[c]);
        sent += count;
    }
    return sent;
}

static uint8_t *put_sections(uint8_t *to, uint32_t flags)
{
    if (flags & DONE_PINS) {
        to = put_number(to, out.pins.digital, 4u);
        to = put_number(to, out.pins.heater_pptt, 2u);
        to = put_number(to, out.pins.pump_pptt, 2u);
    }
    if (flags & DONE_PULSE) {
        to = put_number(to, out.uart[0].low_us, 4u);
        to = put_number(to, out.uart[0].baud, 4u);
    }
    if (flags & DONE_MEMORY) {
        to = put_number(to, out.nvm_want.op, 1u);
        to = put_number(to, out.nvm_want.page, 2u);
        memcpy(to, out.nvm_want.data, ECU_NVM_PAGE);
        to += ECU_NVM_PAGE;
    }
    return flags & DONE_SLEEP ? put_number(to, out.sleep_ms, 4u) : to;
}

static void answer(void)
{
    uint8_t record[BENCH_RECORD_MAX], *to = record;
    const bool pulses = out.uart[0].low_us != 0u || (out.uart[0].count != 0u && out.uart[0].baud != told_baud);
    uint32_t flags = (memcmp(&out.pins, &told_pins, sizeof told_pins) != 0 ? DONE_PINS : 0u) | (pulses ? DONE_PULSE : 0u);
    flags |= (out.nvm_want.op != ECU_NVM_NONE ? DONE_MEMORY : 0u) | (out.sleep_ms != 0u ? DONE_SLEEP : 0u);
    flags |= (out.watchdog_kick ? DONE_KICK : 0u) | (out.reset_wanted ? DONE_RESET : 0u);
    for (uint32_t k = 0; k < out.uart[0].count; ++k) put(LINE_CHIPS, out.uart[0].bytes[k]);
    const uint32_t vehicle = send_frames(ECU_BUS_VEHICLE, LINE_VEHICLE), sensor = send_frames(ECU_BUS_SENSOR, LINE_SENSOR);
    to = put_number(to, BENCH_DONE, 1u);
    to = put_number(to, flags, 1u);
    to = put_number(to, out.uart[0].count, 1u);
    to = put_number(to, vehicle, 2u);
    to = put_number(to, sensor, 2u);
    to = put_sections(to, flags);
    for (const uint8_t *c = record; c < to; ++c) put(LINE_BENCH, *c);
    told_pins = out.pins;
    if (pulses) told_baud = out.uart[0].baud;
}

/* ---- the millisecond ---- */

static void step(void)
{
    const uint32_t chips = line[LINE_CHIPS].count;
    in.uart_count[0] = (uint16_t)(chips < ECU_UART_IN_MAX ? chips : ECU_UART_IN_MAX);
    memcpy(in.uart_bytes[0], line[LINE_CHIPS].bytes, in.uart_count[0]);
    drop(&line[LINE_CHIPS], in.uart_count[0]);
    in.can_count = 0u;
    take_frames(LINE_VEHICLE, ECU_BUS_VEHICLE);
    take_frames(LINE_SENSOR, ECU_BUS_SENSOR);
    memset(&out, 0, sizeof out);
    ecu_step(&firmware, &in, &out);
    in.nvm_done.op = ECU_NVM_NONE;
    is_asleep = out.sleep_ms != 0u;
    is_running = !out.reset_wanted;
    answer();
}

static void run_in_lock_step(void)
{
    for (;;) {
        uint32_t size = 0u;
        while ((size = record_size()) == 0u || !has_announced()) pump();
        if (take_record(size) && is_running) step();
    }
}

static void run_on_own_clock(uint32_t stretch)
{
    SYSTICK_RELOAD = CLOCK_HZ / 1000u * stretch - 1u;
    SYSTICK_VALUE = 0u;
    SYSTICK_CONTROL = 7u; /* stays masked: it is polled, and ends a sleep */
    for (;;) {
        pump();
        const uint32_t size = record_size();
        if (size != 0u) (void)take_record(size);
        if ((ICSR & ICSR_TICK) == 0u) continue;
        ICSR = ICSR_TICK_TAKEN;
        in.now_us += 1000u;
        if (is_running && !is_asleep) step();
    }
}

int main(void)
{
    const uint32_t stretch = config_of()->stretch;
    for (uint32_t k = 0; k < LINES; ++k) uart_start(UART(k), BAUD);
    if (config_of()->magic != BENCH_MAGIC) return 1;
    __asm volatile("cpsid i");
    NVIC_ENABLE = UART_RX_IRQS;
    watchdog_start(WARNING_TICKS);
    if (stretch == 0u) run_in_lock_step();
    run_on_own_clock(stretch);
    return 0;
}
