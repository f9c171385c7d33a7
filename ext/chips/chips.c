/* Power modes, tones along the chain, and the clock of the stack. */
#include "internal.h"

#define FIELD_OWNER chips_t
FIELD_TABLE(chips_fields, CHIPS_FIELDS);
const size_t chips_field_count = FIELD_COUNT(chips_fields);

#define SERVICE_US 10000u /* comparators, timers and balancing; the chip's own comparators take about 8 ms a round */

void chips_init(chips_t *c)
{
    c->chip_count = c->chip_count < CHIPS_MAX ? c->chip_count : CHIPS_MAX;
    c->block_count = c->block_count < CHIPS_BLOCKS_MAX ? c->block_count : CHIPS_BLOCKS_MAX;
    c->blocks_per_module = c->blocks_per_module < CHIPS_CHANNELS ? c->blocks_per_module : CHIPS_CHANNELS;
    c->service_us = c->serviced_us = c->host_time_us = c->answer_time_us = 0;
    c->host_count = c->answer_next = c->answer_count = c->command_count = c->line_is_deaf = 0;
    for (uint32_t chip = 0; chip < CHIPS_MAX; ++chip) chip_shutdown(c, chip);
    memset(c->bleed_on, 0, sizeof c->bleed_on);
    c->fault_line = 0;
    c->conversions = c->bytes_in = c->bytes_out = c->commands = 0;
    c->crc_errors = c->byte_errors = c->answers_cut = c->bytes_lost = 0;
}

static void clear_state(chips_t *c, uint32_t chip)
{
    registers_reset(c, chip);
    c->is_addressed[chip] = 0;
    c->adc_mode[chip] = c->ovuv_runs[chip] = c->otut_runs[chip] = 0;
    c->adc_start_us[chip] = 0;
    memset(c->balance_left_ms + chip * CHIPS_CHANNELS, 0, CHIPS_CHANNELS * sizeof c->balance_left_ms[0]);
    balance_stop(c, chip);
}

/* Power-on, brown-out, wake ping or tone: everything at reset values, DRST set, the address gone. */
void chip_reset(chips_t *c, uint32_t chip, uint64_t ready_us)
{
    clear_state(c, chip);
    c->mode[chip] = CHIP_ACTIVE;
    c->ready_us[chip] = c->heard_us[chip] = ready_us;
}

void chip_shutdown(chips_t *c, uint32_t chip)
{
    clear_state(c, chip);
    c->mode[chip] = CHIP_SHUTDOWN;
    c->ready_us[chip] = 0;
}

/* Registers, comparators and balancing go on; the ADC and communication do not. */
void chip_sleep(chips_t *c, uint32_t chip)
{
    c->mode[chip] = CHIP_SLEEP;
    c->adc_mode[chip] = 0;
    c->adc_start_us[chip] = 0;
}

/* The neighbour a chip talks to: upwards, or the other way round the ring. */
uint32_t chain_next(const chips_t *c, uint32_t chip, bool reverse)
{
    uint32_t next = chip + 1u, cable = chip + 1u;
    if (reverse) {
        if (chip == 1u) return CHIPS_MAX; /* below it is the base again */
        next = chip == 0 ? c->chip_count - 1u : chip - 1u;
        cable = chip == 0 ? c->chip_count : chip;
        if (chip == 0 && !c->ring_is_closed) return CHIPS_MAX;
    }
    if (next >= c->chip_count || next == 0) return CHIPS_MAX;
    return cable == c->chain_cut_at || cable == c->chain_cut_also ? CHIPS_MAX : next;
}

/* A wake, sleep-to-active or shutdown tone runs from chip to chip, each passing it on. */
void chip_tone(chips_t *c, uint32_t from, uint8_t kind, uint64_t now_us)
{
    const bool reverse = (reg(c, from, R_CONTROL1) & CONTROL1_DIR_SEL) != 0;
    uint64_t at_us = now_us;
    uint32_t chip = chain_next(c, from, reverse);
    for (uint32_t hops = 0; hops < CHIPS_MAX && chip < CHIPS_MAX; ++hops) {
        if (c->chip_dead[chip] || (kind == CONTROL1_SEND_WAKE && chip == c->wake_stops_at)) return;
        at_us += c->wake_forward_us;
        if (kind == CONTROL1_SEND_WAKE) {
            at_us += c->wake_settle_us;
            chip_reset(c, chip, at_us);
        } else if (kind == CONTROL1_SEND_SHUTDOWN) chip_shutdown(c, chip);
        else if (c->mode[chip] == CHIP_SLEEP) {
            c->mode[chip] = CHIP_ACTIVE;
            c->ready_us[chip] = c->heard_us[chip] = at_us;
        } else if (c->mode[chip] == CHIP_SHUTDOWN) return;
        chip = chain_next(c, chip, reverse);
    }
}

/* COMM_TIMEOUT_CONF: bits 6:4 short, 2:0 long, bit 3 what the long one does. */
static void watch_silence(chips_t *c, uint32_t chip, uint64_t now_us)
{
    static const uint32_t limit_ms[8] = {0, 100, 2000, 10000, 60000, 600000, 1800000, 3600000};
    const uint32_t conf = reg(c, chip, R_COMM_TIMEOUT_CONF);
    const uint32_t short_ms = limit_ms[conf >> 4 & 7u], long_ms = limit_ms[conf & 7u];
    if (conf == 0 || now_us < c->heard_us[chip]) return;
    const uint64_t silent_ms = (now_us - c->heard_us[chip]) / 1000u;
    if (short_ms != 0 && silent_ms >= short_ms) *reg_at(c, chip, R_FAULT_SYS) |= SYS_SHORT_TIMEOUT;
    if (long_ms == 0 || silent_ms < long_ms) return;
    *reg_at(c, chip, R_FAULT_SYS) |= SYS_LONG_TIMEOUT;
    if (conf & 8u) chip_shutdown(c, chip);
    else chip_sleep(c, chip);
}

static void service(chips_t *c, uint64_t now_us, const chips_view_t *view)
{
    const uint32_t elapsed_ms = c->serviced_us != 0 ? (uint32_t)((now_us - c->serviced_us) / 1000u) : 0;
    bool single_runs = false;
    for (uint32_t chip = 0; chip < c->chip_count; ++chip) {
        if (c->pressure_broken[chip] == 2u) {
            c->pressure_held_kpa[chip] = view->module_pressure_kpa[chip] + c->pressure_offset_kpa[chip];
            c->pressure_broken[chip] = 3u;
        }
        if (c->brown_out[chip] || c->chip_dead[chip]) {
            if (c->mode[chip] != CHIP_SHUTDOWN) {
                if (c->chip_dead[chip]) chip_shutdown(c, chip);
                else chip_reset(c, chip, now_us + c->wake_settle_us);
            }
            c->brown_out[chip] = 0;
        }
        if (c->mode[chip] == CHIP_SHUTDOWN) {
            balance_drive(c, chip);
            continue;
        }
        adc_finish_single(c, chip, view, now_us);
        single_runs |= c->adc_mode[chip] == 1;
        faults_compare(c, chip, view);
        balance_step(c, chip, view, elapsed_ms);
        if (c->mode[chip] == CHIP_ACTIVE) watch_silence(c, chip, now_us);
    }
    faults_line(c);
    c->serviced_us = now_us;
    c->service_us = now_us + (single_runs ? 1000u : SERVICE_US);
}

void chips_exchange(chips_t *c, uint64_t now_us, const chips_view_t *view, const ecu_uart_out_t *host,
                    uint8_t to_host[ECU_UART_IN_MAX], uint16_t *to_host_count)
{
    if (now_us >= c->service_us) service(c, now_us, view);
    if ((host->count | host->low_us | c->host_count) != 0) line_receive(c, now_us, view, host);
    *to_host_count = c->answer_count != 0 ? line_send(c, now_us, to_host) : 0;
}
