/* Driver of a stack of BQ79616 monitor chips on one serial line. Registers, frames and times after TI SLUSE81 and SLVAE86.
 *
 * One command a millisecond at most, and none while an answer is on its way: the line is half duplex, and a command would cut the
 * answer. Start-up runs wake -> addresses -> count and part numbers -> configuration -> run. Whatever goes wrong for long ends in a
 * new start-up; meanwhile readings age, and that is what protect.c sees. */
#include "chain.h"
#include "crc.h"
#include "util.h"

#define BMS_FILE 1u

#define BAUD 1000000u
#define WAKE_LOW_US 2250u     /* wake ping: 2.0 to 2.5 ms */
#define WAKE_SETTLE_US 13000u /* ping, and up to 10 ms */
#define GPIO_PERIOD_US 100000u
#define STATUS_PERIOD_US 100000u
#define CONFIG_PERIOD_US (1000u * AFE_CONFIG_MS)
#define ALARM_US 40000u /* what an alarm says stays so long before it is cleared: what lasts comes back */
#define FAILED_SCANS_MAX 3u
#define PART_79616 0x21u
#define BLEED_TIMER 1u           /* 10 s: a chip's most when the host dies */
#define BAL_PAUSE 0x40u
#define BAL_GO 0x02u
#define BLEED_REFRESH_MS 6000u

enum {
    REG_ACTIVE_CELL = 0x003, REG_OV_THRESH = 0x009, REG_GPIO_CONF1 = 0x00E, REG_FAULT_MSK1 = 0x016, REG_COMM_TIMEOUT = 0x019,
    REG_CONTROL2 = 0x30A, REG_ADC_CTRL1 = 0x30D, REG_CB_CELL16 = 0x318, REG_OVUV_CTRL = 0x32C, REG_BAL_CTRL2 = 0x32F,
    REG_FAULT_RST1 = 0x331, REG_DEV_STAT = 0x52C, REG_VCELL16 = 0x568, REG_TSREF = 0x58C, REG_AUX_BAT = 0x5B6
};

static const uint8_t ALL_FAULTS[2] = {0xFFu, 0xFFu};
static const uint8_t FAULT_MASKS[2] = {0x00u, 0x5Fu}; /* hidden from the fault line: our own configuration's CRC, disturbed bytes */
enum { SLEEP_AFTER_2_S = 0x02, IDENTITY_BYTES = 5 };

/* GPIO_CONF1 to 4: 010 makes a pin an ADC input. */
static void gpio_functions(const bms_t *self, uint8_t conf[4])
{
    const bms_settings_t *const set = &self->config.set;
    memset(conf, 0, 4u);
    for (uint32_t k = 0; k < 7u; ++k) {
        const bool used = k < 6u ? k < set->thermistors : set->pressure_is_fitted != 0u;
        if (used) conf[k / 2u] |= (uint8_t)(k % 2u ? 2u << 3 : 2u);
    }
}

/* ---- commands ------------------------------------------------------------------------------------------------------------- */

static void write_all(bms_t *self, ecu_out_t *out, uint32_t address, uint8_t value)
{
    chain_write_all(self, out, address, &value, 1u);
}

static void write_one(bms_t *self, ecu_out_t *out, uint32_t chip, uint32_t address, uint8_t value)
{
    chain_write_one(self, out, chip, address, &value, 1u);
}

static void pulse(ecu_out_t *out, uint32_t low_us)
{
    out->uart[0].low_us = low_us;
    out->uart[0].baud = BAUD;
}

static void enter(bms_t *self, uint8_t phase, uint32_t after_us)
{
    self->afe.phase = phase;
    self->afe.step = 0u;
    self->afe.asked = AFE_ASK_NOTHING;
    self->afe.wait_us = self->now_us + after_us;
}

static void restart(bms_t *self)
{
    self->afe.restarts += 1u;
    self->afe.failed_scans = 0u;
    self->afe.config_reads = self->afe.bleed_part = self->afe.pause_set = self->afe.pause_wanted = self->afe.config_bad = 0u;
    memset(self->afe.adc_stopped, 0, sizeof self->afe.adc_stopped);
    chain_reset(self);
    enter(self, AFE_WAKE, 5000u);
}

/* ---- answers -------------------------------------------------------------------------------------------------------------- */

/* Registers from ACTIVE_CELL to COMM_TIMEOUT as configure() wrote them; those it leaves alone are not looked at. */
static bool config_is_as_written(const bms_t *self, const uint8_t *data)
{
    const bms_settings_t *const set = &self->config.set;
    uint8_t gpio[4];
    gpio_functions(self, gpio);
    const bool cells = data[0] == set->blocks_per_module - 6u && data[REG_COMM_TIMEOUT - REG_ACTIVE_CELL] == SLEEP_AFTER_2_S;
    const bool limits = data[REG_OV_THRESH - REG_ACTIVE_CELL] == set->chip_overvoltage_code &&
                        data[REG_OV_THRESH + 1u - REG_ACTIVE_CELL] == set->chip_undervoltage_code;
    const bool pins = memcmp(data + REG_GPIO_CONF1 - REG_ACTIVE_CELL, gpio, sizeof gpio) == 0;
    return cells && limits && pins && memcmp(data + REG_FAULT_MSK1 - REG_ACTIVE_CELL, FAULT_MASKS, sizeof FAULT_MASKS) == 0;
}

/* Ones in every byte, with a right checksum: a chip that answers and has nothing to say, which is no answer. */
static bool is_blank(const uint8_t *data, uint32_t bytes)
{
    uint32_t ones = 0;
    while (ones < bytes && data[ones] == 0xFFu) ++ones;
    return ones == bytes;
}

static void take_frame(bms_t *self, uint32_t chip, const uint8_t *data, uint16_t crc)
{
    afe_t *const afe = &self->afe;
    const bms_settings_t *const set = &self->config.set;
    if (afe->answered >> chip & 1u) return; /* two devices with one address, or an answer that came late: not to be mixed */
    switch (afe->asked) {
    case AFE_ASK_IDENTITY:
        if (data[0] != PART_79616) return;
        afe->order_wrong[chip] = set->chip_identity[chip] != 0u && (uint32_t)get_i32_be(data + 1) != set->chip_identity[chip];
        break;
    case AFE_ASK_MODULE:
        measure_module(self, chip, data);
        break;
    case AFE_ASK_CELLS:
        if (is_blank(data, afe->expect_bytes)) return;
        measure_cells(self, chip, data, crc);
        break;
    case AFE_ASK_GPIO:
        measure_gpio(self, chip, data);
        break;
    case AFE_ASK_STATUS:
        afe->adc_stopped[chip] = (data[0] & 1u) == 0u;
        afe->fault_summary[chip] = data[1];
        break;
    case AFE_ASK_CONFIG:
        afe->config_wrong[chip] = !config_is_as_written(self, data);
        afe->config_bad |= afe->config_wrong[chip];
        break;
    case AFE_ASK_PROBE: break;
    default:
        return;
    }
    afe->answered |= 1u << chip;
    afe->frames += 1u;
}

/* Whole frames are taken wherever they begin; what is not the start of a frame we wait for is skipped byte by byte, so one lost or
 * added byte costs one frame. */
static uint32_t parse(bms_t *self, const uint8_t *bytes, uint32_t count)
{
    afe_t *const afe = &self->afe;
    const uint32_t length = afe->expect_bytes + 6u;
    uint32_t at = 0;
    while (count - at >= length) {
        const uint8_t *const frame = bytes + at;
        const uint32_t chip = chain_chip(self, frame[1]);
        const bool starts = frame[0] == afe->expect_bytes - 1u && chip < BMS_MODULES_MAX && get_u16_be(frame + 2) == afe->expect_register;
        if (!starts) {
            afe->skipped_bytes += 1u;
            ++at;
            continue;
        }
        const uint16_t crc = crc16_modbus(frame, length - 2u);
        if (frame[length - 2u] == (uint8_t)crc && frame[length - 1u] == (uint8_t)(crc >> 8)) {
            take_frame(self, chip, frame + 4, crc);
            at += length;
        } else {
            afe->crc_errors += 1u;
            ++at;
        }
    }
    return at;
}

static void receive(bms_t *self, const ecu_in_t *in)
{
    afe_t *const afe = &self->afe;
    const uint32_t count = in->uart_count[0] < ECU_UART_IN_MAX ? in->uart_count[0] : ECU_UART_IN_MAX;
    if (afe->asked == AFE_ASK_NOTHING) {
        afe->skipped_bytes += count;
        return;
    }
    BMS_ASSERT(self, afe->rx_count + count <= sizeof afe->rx);
    if (afe->rx_count + count > sizeof afe->rx) afe->rx_count = 0u;
    memcpy(afe->rx + afe->rx_count, in->uart_bytes[0], count);
    const uint32_t have = afe->rx_count + count, used = parse(self, afe->rx, have);
    afe->rx_count = (uint16_t)(have - used);
    if (used != 0u && afe->rx_count != 0u) memmove(afe->rx, afe->rx + used, afe->rx_count);
}

static bool any_chip(const bms_t *self, const uint8_t *flags)
{
    uint32_t any = 0;
    for (uint32_t chip = 0; chip < self->config.set.modules; ++chip) any |= flags[chip];
    return any != 0u;
}

static void identified(bms_t *self)
{
    int32_t wrong = -1;
    for (uint32_t chip = 0; chip < self->config.set.modules && wrong < 0; ++chip) wrong = self->afe.order_wrong[chip] ? (int32_t)chip : -1;
    if (self->afe.far_chips == 0u) self->afe.gap = 0u;
    diag_sample(self, DIAG_AFE_ORDER, wrong >= 0 ? TIER_TRIP : TIER_NONE, 1, wrong);
    if (self->afe.phase != AFE_RUN) enter(self, AFE_CONFIGURE, 0u);
}

/* Nobody answered where a ring is wired: it may be open. */
static bool may_be_open(const bms_t *self)
{
    return self->config.set.ring_is_wired != 0u && self->config.set.modules > 1u && self->afe.is_silent != 0u;
}

static void mend(bms_t *self)
{
    chain_mend_begin(self, self->afe.phase);
    enter(self, AFE_MEND, 1000u);
}

/* The answer is complete, or too late for what is missing. */
static void finish(bms_t *self)
{
    afe_t *const afe = &self->afe;
    const bool complete = afe->answered == afe->all_chips;
    const uint8_t asked = afe->asked;
    afe->asked = AFE_ASK_NOTHING;
    switch (asked) {
    case AFE_ASK_IDENTITY:
        afe->identity_failures = complete ? 0u : (uint8_t)min_i32(afe->identity_failures + 1, 255);
        if (complete) identified(self);
        else if (may_be_open(self) && afe->far_chips == 0u) mend(self);
        else restart(self);
        break;
    case AFE_ASK_CELLS:
        measure_scan_done(self);
        afe->failed_scans = complete ? 0u : (uint8_t)(afe->failed_scans + 1u);
        if (afe->failed_scans >= FAILED_SCANS_MAX) restart(self);
        break;
    case AFE_ASK_GPIO:
        measure_gpio_done(self);
        break;
    case AFE_ASK_MODULE:
        self->measure.module_taken = complete;
        self->measure.module_scan = self->measure.scan;
        break;
    case AFE_ASK_CONFIG:
        if (complete) afe->config_failures = any_chip(self, afe->config_wrong) ? (uint8_t)(afe->config_failures + 1u) : 0u;
        afe->config_reads += complete && afe->config_failures == 0u;
        break;
    case AFE_ASK_STATUS:
        afe->clear_faults = any_chip(self, afe->fault_summary);
        break;
    default:
        break;
    }
    if (asked == AFE_ASK_CELLS && afe->phase == AFE_RUN && may_be_open(self)) mend(self); /* the lost scan has been told by now */
}

/* ---- start-up ------------------------------------------------------------------------------------------------------------- */

static void wake_stack(bms_t *self, ecu_out_t *out)
{
    write_one(self, out, 0u, REG_CONTROL1, CONTROL1_SEND_WAKE);
    enter(self, AFE_ADDRESS, self->config.set.modules > 1u ? CHAIN_WAKE_US * self->config.set.modules : 2000u);
}

static void give_addresses(bms_t *self, ecu_out_t *out)
{
    static const uint8_t zeros[8] = {0};
    const uint32_t modules = self->config.set.modules, step = self->afe.step++;
    if (step == 0u) chain_write_all(self, out, REG_OTP_ECC_DATAIN1, zeros, 8u); /* re-synchronises the links */
    else if (step == 1u) write_all(self, out, REG_CONTROL1, CONTROL1_ADDR_WR);
    else if (step < 2u + modules) write_all(self, out, REG_DIR0_ADDR, (uint8_t)(step - 2u));
    else if (step == 2u + modules) write_all(self, out, REG_COMM_CTRL, COMM_STACK);
    else if (step == 3u + modules) write_one(self, out, 0u, REG_COMM_CTRL, modules == 1u ? COMM_TOP : 0u);
    else if (step == 4u + modules && modules > 1u) write_one(self, out, modules - 1u, REG_COMM_CTRL, COMM_STACK | COMM_TOP);
    else {
        /* A dummy read whose answer nobody needs; then the real question. */
        chain_ask(self, out, AFE_ASK_NOTHING, REG_OTP_ECC_DATAIN1, 8u);
        enter(self, AFE_IDENTIFY, 1000u * (2u + (7u + 14u * modules) / 100u));
    }
}

static void configure(bms_t *self, ecu_out_t *out)
{
    const bms_settings_t *const set = &self->config.set;
    static const uint8_t off[8] = {0};
    const uint8_t thresholds[2] = {(uint8_t)set->chip_overvoltage_code, (uint8_t)set->chip_undervoltage_code};
    uint8_t gpio[4];
    switch (self->afe.step++) {
    case 0: chain_write_all(self, out, REG_FAULT_MSK1, FAULT_MASKS, 2u); break;
    case 1: write_all(self, out, REG_COMM_TIMEOUT, SLEEP_AFTER_2_S); break; /* 2 s of silence: sleep, and balancing ends */
    case 2: write_all(self, out, REG_ACTIVE_CELL, (uint8_t)(set->blocks_per_module - 6u)); break;
    case 3: chain_write_all(self, out, REG_OV_THRESH, thresholds, 2u); break;
    case 4:
        gpio_functions(self, gpio);
        chain_write_all(self, out, REG_GPIO_CONF1, gpio, 4u);
        break;
    case 5: write_all(self, out, REG_CONTROL2, 0x01u); break; /* TSREF on */
    case 6: write_all(self, out, REG_ADC_CTRL1, 0x06u); break; /* main ADC, continuous */
    case 7: write_all(self, out, REG_OVUV_CTRL, 0x05u); break; /* comparators, round robin */
    case 8: chain_write_all(self, out, REG_CB_CELL16, off, 8u); break; /* switches that somebody left on: their timers may run for long */
    case 9: chain_write_all(self, out, REG_CB_CELL16 + 8u, off, 8u); break;
    case 10: write_all(self, out, REG_BAL_CTRL2, BAL_GO); break;
    case 11: chain_write_all(self, out, REG_FAULT_RST1, ALL_FAULTS, 2u); break;
    default:
        enter(self, AFE_RUN, 3000u); /* two conversions of everything */
        self->afe.cells_us = self->afe.gpio_us = self->afe.module_us = self->afe.status_us = self->afe.wait_us;
        self->afe.config_us = self->afe.wait_us + (self->afe.config_failures != 0u ? 20000u : 0u);
        memset(self->afe.bleed_set, 0, sizeof self->afe.bleed_set);
        self->afe.bleed_part = self->afe.pause_set = 0u;
        memset(self->afe.unheard, 1, sizeof self->afe.unheard);
        for (uint32_t chip = 0; chip < set->modules; ++chip) self->afe.bleed_us[chip] = self->now_us;
        break;
    }
}

/* ---- running -------------------------------------------------------------------------------------------------------------- */

/* Due now, and when next: in step with the first time, so that a late one does not shift the rest. */
static bool is_due(uint64_t now_us, uint64_t *due_us, uint32_t period_us)
{
    if (now_us < *due_us) return false;
    *due_us += period_us;
    if (*due_us <= now_us) *due_us = now_us + period_us;
    return true;
}

/* Writes the switches of one chip that differ from what is wanted, or whose timer is to be renewed: two halves of eight channels,
 * then go. False when there is nothing to write. */
static bool write_bleeds(bms_t *self, ecu_out_t *out)
{
    afe_t *const afe = &self->afe;
    const uint32_t chip = afe->bleed_next;
    const uint16_t wanted = (uint16_t)(afe->bleed_wanted[chip] | selfcheck_wants(self, chip));
    if (afe->bleed_part == 0u) {
        const bool renew = wanted != 0u && elapsed_ms(self->now_us, afe->bleed_us[chip]) >= BLEED_REFRESH_MS;
        if (wanted == afe->bleed_set[chip] && !renew) {
            afe->bleed_next = (uint8_t)(chip + 1u < self->config.set.modules ? chip + 1u : 0u);
            return false;
        }
        afe->bleed_set[chip] = wanted; /* from here on its readings count as disturbed */
        afe->bleed_us[chip] = self->now_us;
        afe->unheard[chip] = 1u;
    }
    if (afe->bleed_part < 2u) {
        uint8_t timers[8];
        for (uint32_t k = 0; k < 8u; ++k) { /* the registers run from cell 16 down to cell 1 */
            const uint32_t channel = 15u - 8u * afe->bleed_part - k;
            timers[k] = (uint8_t)((afe->bleed_set[chip] >> channel & 1u) != 0u ? BLEED_TIMER : 0u);
        }
        chain_write_one(self, out, chip, REG_CB_CELL16 + 8u * afe->bleed_part, timers, 8u);
        afe->bleed_part += 1u;
        return true;
    }
    write_one(self, out, chip, REG_BAL_CTRL2, BAL_GO);
    afe->bleed_part = 0u;
    afe->bleed_next = (uint8_t)(chip + 1u < self->config.set.modules ? chip + 1u : 0u);
    return true;
}

static void run(bms_t *self, ecu_out_t *out)
{
    afe_t *const afe = &self->afe;
    const uint32_t per_module = self->config.set.blocks_per_module;
    const uint64_t now_us = self->now_us;
    const bool alarm = (self->pins & PIN_IN_CHIP_FAULT) != 0u;
    if (alarm && afe->alarm_was == 0u) afe->status_us = afe->alarm_us = now_us; /* asked at once what it is about */
    afe->alarm_was = alarm;
    if (is_due(now_us, &afe->cells_us, afe->scan_period_us)) {
        chain_ask(self, out, AFE_ASK_CELLS, REG_VCELL16 + 2u * (16u - per_module), 2u * per_module);
    } else if (is_due(now_us, &afe->gpio_us, GPIO_PERIOD_US)) {
        chain_ask(self, out, AFE_ASK_GPIO, REG_TSREF, 16u);
    } else if (is_due(now_us, &afe->module_us, GPIO_PERIOD_US)) {
        chain_ask(self, out, AFE_ASK_MODULE, REG_AUX_BAT, 2u);
    } else if (is_due(now_us, &afe->status_us, STATUS_PERIOD_US)) {
        /* A chip that stopped converting (brown-out: it has lost its address too) is set up again, and all with it. */
        if (any_chip(self, afe->adc_stopped)) restart(self);
        else chain_ask(self, out, AFE_ASK_STATUS, REG_DEV_STAT, 2u);
    } else if (afe->config_bad != 0u) {
        afe->config_bad = 0u;
        enter(self, AFE_CONFIGURE, 0u); /* written once more; what it reads back as then is final */
    } else if (is_due(now_us, &afe->config_us, CONFIG_PERIOD_US)) {
        const bool wrong = any_chip(self, afe->order_wrong); /* looked at again: somebody may put it right */
        if (wrong) chain_ask(self, out, AFE_ASK_IDENTITY, REG_PARTID, IDENTITY_BYTES);
        else chain_ask(self, out, AFE_ASK_CONFIG, REG_ACTIVE_CELL, AFE_CONFIG_BYTES);
    } else if (afe->clear_faults != 0u && now_us >= afe->alarm_us + ALARM_US) {
        chain_write_all(self, out, REG_FAULT_RST1, ALL_FAULTS, 2u); /* what lasts comes back */
        afe->alarm_us = now_us;
        afe->clear_faults = 0u;
    } else if (afe->pause_wanted != afe->pause_set && afe->bleed_part == 0u) {
        afe->pause_set = afe->pause_wanted;
        memset(afe->unheard, 1, sizeof afe->unheard);
        write_all(self, out, REG_BAL_CTRL2, afe->pause_set != 0u ? BAL_PAUSE : 0u);
    } else if (afe->pause_set == 0u) {
        (void)write_bleeds(self, out);
    }
}

void afe_init(bms_t *self)
{
    const uint32_t modules = self->config.set.modules;
    self->afe.all_chips = modules >= 32u ? UINT32_MAX : (1u << modules) - 1u;
    self->afe.scan_period_us = 1000u * afe_scan_ms(modules);
    chain_reset(self);
    enter(self, AFE_WAKE, 0u);
}

void afe_sleep(bms_t *self)
{
    enter(self, AFE_SLEEP, 0u);
}

void afe_wake(bms_t *self)
{
    restart(self);
    enter(self, AFE_WAKE, 0u);
}

static void mend_step(bms_t *self, ecu_out_t *out)
{
    const chain_mend_t found = chain_mend(self, out);
    if (found == CHAIN_MENDING) return;
    if (found == CHAIN_AS_IT_WAS && self->afe.mend_from != AFE_RUN) restart(self);
    else enter(self, self->afe.mend_from, 1000u);
}

void afe_step(bms_t *self, const ecu_in_t *in, ecu_out_t *out)
{
    afe_t *const afe = &self->afe;
    if (in->uart_count[0] != 0u) receive(self, in);
    if (afe->asked != AFE_ASK_NOTHING) {
        if (chain_waits(self, out)) return;
        finish(self);
    }
    if (self->now_us < afe->wait_us) return;
    switch (afe->phase) {
    case AFE_WAKE:
        pulse(out, WAKE_LOW_US);
        enter(self, AFE_WAKE_STACK, WAKE_SETTLE_US);
        break;
    case AFE_WAKE_STACK: wake_stack(self, out); break;
    case AFE_ADDRESS: give_addresses(self, out); break;
    case AFE_IDENTIFY: chain_ask(self, out, AFE_ASK_IDENTITY, REG_PARTID, IDENTITY_BYTES); break;
    case AFE_CONFIGURE: configure(self, out); break;
    case AFE_SLEEP:
        if (afe->step++ == 0u) write_all(self, out, REG_CONTROL1, CONTROL1_GOTO_SLEEP); /* once: down within 20 ms */
        break;
    case AFE_MEND: mend_step(self, out); break;
    default: run(self, out); break;
    }
}
