#include "chain.h"
#include "crc.h"
#include "util.h"

#define BAUD 1000000u
#define CLEAR_LOW_US 17u  /* communication clear: 15 to 20 bit times */
#define FAR_ADDRESS 32u   /* of the base seen from its second port; the chips behind it follow */
#define ADDRESSES_A_STEP 4u
#define NOT_ASKED 0xFFu

enum { INIT_SINGLE_READ = 0x80, INIT_SINGLE_WRITE = 0x90, INIT_STACK_READ = 0xA0, INIT_STACK_WRITE = 0xB0, INIT_BROADCAST_READ = 0xC0,
       INIT_BROADCAST_WRITE = 0xD0, INIT_REVERSE_WRITE = 0xE0 };
enum { MEND_NEAR, MEND_TURN, MEND_FAR, MEND_TOP };

/* ---- frames --------------------------------------------------------------------------------------------------------------- */

static void frame(ecu_out_t *out, uint32_t init, uint32_t device, uint32_t address, const uint8_t *data, uint32_t count)
{
    ecu_uart_out_t *const uart = &out->uart[0];
    uint8_t *const bytes = uart->bytes + uart->count;
    uint32_t n = 0;
    bytes[n++] = (uint8_t)(init | (count - 1u));
    if (init <= INIT_SINGLE_WRITE) bytes[n++] = (uint8_t)device;
    bytes[n++] = (uint8_t)(address >> 8);
    bytes[n++] = (uint8_t)address;
    memcpy(bytes + n, data, count);
    n += count;
    put_u16_le(bytes + n, crc16_modbus(bytes, n));
    uart->count = (uint16_t)(uart->count + n + 2u);
    uart->baud = BAUD;
}

static void byte_frame(ecu_out_t *out, uint32_t init, uint32_t device, uint32_t address, uint8_t value)
{
    frame(out, init, device, address, &value, 1u);
}

/* The base talks through one of its two ports (assumption: from the next frame on). It has an address for each. */
static void face(bms_t *self, ecu_out_t *out, bool far)
{
    afe_t *const afe = &self->afe;
    if ((afe->turned != 0u) == far) return;
    byte_frame(out, INIT_SINGLE_WRITE, afe->base_address, REG_CONTROL1, far ? CONTROL1_DIR_SEL : 0u);
    afe->turned = far;
    afe->base_address = (uint8_t)(far ? afe->far_base : 0u);
}

static uint32_t far_address(const bms_t *self, uint32_t chip)
{
    return FAR_ADDRESS + (chip == 0u ? 0u : self->config.set.modules - chip);
}

uint32_t chain_chip(const bms_t *self, uint32_t device)
{
    const uint32_t modules = self->config.set.modules;
    if (device < FAR_ADDRESS) return device < modules ? device : BMS_MODULES_MAX;
    const uint32_t away = device - FAR_ADDRESS;
    if (away >= modules) return BMS_MODULES_MAX;
    return away == 0u ? 0u : modules - away;
}

void chain_reset(bms_t *self)
{
    const uint32_t modules = self->config.set.modules;
    self->afe.near_chips = modules >= 32u ? UINT32_MAX : (1u << modules) - 1u;
    self->afe.far_chips = 0u;
    self->afe.turned = self->afe.base_address = self->afe.far_base = self->afe.part_is_due = self->afe.part = 0u;
}

/* Of two halves the far one first, past the base, which is written with the near one: what sends all to sleep sends it last. */
void chain_write_all(bms_t *self, ecu_out_t *out, uint32_t address, const uint8_t *data, uint32_t count)
{
    const afe_t *const afe = &self->afe;
    if (afe->far_chips != 0u) {
        face(self, out, true);
        frame(out, afe->near_chips != 0u ? INIT_STACK_WRITE : INIT_BROADCAST_WRITE, 0u, address, data, count);
    }
    if (afe->near_chips == 0u) return;
    face(self, out, false);
    frame(out, INIT_BROADCAST_WRITE, 0u, address, data, count);
}

void chain_write_one(bms_t *self, ecu_out_t *out, uint32_t chip, uint32_t address, const uint8_t *data, uint32_t count)
{
    const bool far = (self->afe.far_chips >> chip & 1u) != 0u;
    face(self, out, far);
    frame(out, INIT_SINGLE_WRITE, far ? far_address(self, chip) : chip, address, data, count);
}

/* ---- questions -------------------------------------------------------------------------------------------------------------- */

static void wait_for(bms_t *self, uint32_t line_bytes)
{
    self->afe.rx_count = 0u;
    self->afe.deadline_us = self->now_us + 1000u * (line_bytes / 100u + 1u + self->config.set.line_delay_ms);
}

static void ask_part(bms_t *self, ecu_out_t *out)
{
    const afe_t *const afe = &self->afe;
    const bool past_base = afe->part != 0u && afe->near_chips != 0u;
    face(self, out, afe->part != 0u);
    byte_frame(out, past_base ? INIT_STACK_READ : INIT_BROADCAST_READ, 0u, afe->expect_register, (uint8_t)(afe->expect_bytes - 1u));
    wait_for(self, 7u + (afe->expect_bytes + 6u) * self->config.set.modules);
}

static void expect(bms_t *self, uint8_t question, uint32_t address, uint32_t bytes)
{
    afe_t *const afe = &self->afe;
    afe->asked = question;
    afe->asked_us = self->now_us;
    afe->expect_register = (uint16_t)address;
    afe->expect_bytes = (uint16_t)bytes;
    afe->answered = 0u;
    afe->is_silent = 0u;
}

void chain_ask(bms_t *self, ecu_out_t *out, uint8_t question, uint32_t address, uint32_t bytes)
{
    expect(self, question, address, bytes);
    self->afe.part = self->afe.near_chips == 0u;
    self->afe.part_is_due = 0u;
    ask_part(self, out);
}

bool chain_waits(bms_t *self, ecu_out_t *out)
{
    afe_t *const afe = &self->afe;
    const bool is_probe = afe->asked == AFE_ASK_PROBE;
    if (afe->part_is_due != 0u) {
        if (self->now_us < afe->wait_us) return true;
        afe->part_is_due = 0u;
        ask_part(self, out);
        return true;
    }
    const uint32_t expected = is_probe ? afe->probe_bit : (afe->part != 0u ? afe->far_chips : afe->near_chips);
    const uint32_t here = afe->answered & expected;
    if (here != expected && self->now_us < afe->deadline_us) return true;
    if (here != expected) {
        afe->timeouts += 1u;
        afe->is_silent |= here == 0u;
        out->uart[0].low_us = CLEAR_LOW_US; /* a base that saw a bad byte is deaf until then */
        out->uart[0].baud = BAUD;
        afe->wait_us = self->now_us + 1000u;
    }
    if (is_probe || afe->part != 0u || afe->far_chips == 0u) return false;
    afe->part = afe->part_is_due = 1u;
    return true;
}

/* ---- an open ring ------------------------------------------------------------------------------------------------------------- */

static void probe_begin(bms_t *self, uint8_t mend, int32_t known, uint32_t last)
{
    afe_t *const afe = &self->afe;
    afe->mend = mend;
    afe->probe_known = (int8_t)known;
    afe->probe_silent = (uint8_t)(last + 1u);
    afe->probe_at = NOT_ASKED;
    afe->probe_again = 1u;
    afe->step = 0u;
}

/* Looks for the last place that answers, by halving; a first silence is asked about again. True when probe_known is it. */
static bool probe(bms_t *self, ecu_out_t *out)
{
    afe_t *const afe = &self->afe;
    const bool far = afe->mend == MEND_FAR, answers = (afe->answered & afe->probe_bit) != 0u;
    if (afe->probe_at == NOT_ASKED) {
        afe->probe_at = (uint8_t)(afe->probe_silent - 1u);
    } else if (!answers && afe->probe_again != 0u) {
        afe->probe_again = 0u;
    } else {
        afe->probe_again = 0u;
        if (answers) afe->probe_known = (int8_t)afe->probe_at;
        else afe->probe_silent = afe->probe_at;
        if (afe->probe_known + 1 >= (int32_t)afe->probe_silent) return true;
        afe->probe_at = (uint8_t)((afe->probe_known + (int32_t)afe->probe_silent) / 2);
    }
    const uint32_t modules = self->config.set.modules, at = afe->probe_at;
    const uint32_t chip = far ? modules - at : at;
    face(self, out, far);
    afe->probe_bit = 1u << (chip & 31u);
    expect(self, AFE_ASK_PROBE, REG_PARTID, 1u);
    byte_frame(out, INIT_SINGLE_READ, far ? FAR_ADDRESS + at : at, REG_PARTID, 0u);
    wait_for(self, 7u + 7u);
    return false;
}

/* All that can be reached through the second port turns round, forgets its place, and is given an address from there. */
static void turn(bms_t *self, ecu_out_t *out)
{
    static const uint8_t zeros[8] = {0};
    afe_t *const afe = &self->afe;
    const uint32_t behind = self->config.set.modules - afe->mend_gap, step = afe->step++;
    const uint32_t batches = (behind + ADDRESSES_A_STEP) / ADDRESSES_A_STEP; /* the base is one more */
    const bool wakes = afe->mend_from != AFE_RUN;
    if (step == 0u) {
        face(self, out, false);
        if (afe->mend_gap > 1u) byte_frame(out, INIT_SINGLE_WRITE, afe->mend_gap - 1u, REG_COMM_CTRL, COMM_STACK | COMM_TOP);
        face(self, out, true);
    } else if (step == 1u && wakes) {
        byte_frame(out, INIT_SINGLE_WRITE, afe->base_address, REG_CONTROL1, CONTROL1_DIR_SEL | CONTROL1_SEND_WAKE);
        afe->wait_us = self->now_us + CHAIN_WAKE_US * behind;
    } else if (step == 2u) {
        byte_frame(out, INIT_REVERSE_WRITE, 0u, REG_CONTROL1, CONTROL1_DIR_SEL);
        byte_frame(out, INIT_REVERSE_WRITE, 0u, REG_COMM_CTRL, 0u);
    } else if (step == 3u) {
        frame(out, INIT_BROADCAST_WRITE, 0u, REG_OTP_ECC_DATAIN1, zeros, 8u); /* re-synchronises the links */
        byte_frame(out, INIT_BROADCAST_WRITE, 0u, REG_CONTROL1, CONTROL1_DIR_SEL | CONTROL1_ADDR_WR);
    } else if (step >= 4u && step < 4u + batches) {
        for (uint32_t k = 0; k < ADDRESSES_A_STEP; ++k) {
            const uint32_t place = (step - 4u) * ADDRESSES_A_STEP + k;
            if (place <= behind) byte_frame(out, INIT_BROADCAST_WRITE, 0u, REG_DIR1_ADDR, (uint8_t)(FAR_ADDRESS + place));
        }
    } else if (step == 4u + batches) {
        afe->far_base = afe->base_address = FAR_ADDRESS;
        byte_frame(out, INIT_BROADCAST_WRITE, 0u, REG_COMM_CTRL, COMM_STACK);
        byte_frame(out, INIT_SINGLE_WRITE, FAR_ADDRESS, REG_COMM_CTRL, 0u);
    } else if (step > 4u + batches) {
        probe_begin(self, MEND_FAR, 0, behind);
    }
}

void chain_mend_begin(bms_t *self, uint8_t from)
{
    self->afe.mend_from = from;
    probe_begin(self, MEND_NEAR, -1, self->config.set.modules - 1u);
}

static chain_mend_t near_is_known(bms_t *self)
{
    afe_t *const afe = &self->afe;
    const uint32_t reached = (uint32_t)(afe->probe_known + 1);
    if (reached == 0u || reached >= self->config.set.modules) return CHAIN_AS_IT_WAS; /* no base, or nothing is cut */
    afe->mend_gap = (uint8_t)reached;
    afe->mend = MEND_TURN;
    afe->step = 0u;
    return CHAIN_MENDING;
}

/* The last one reached ends its half. A base without a chip above it is read with the far half. */
static void ring_is_open(bms_t *self, ecu_out_t *out)
{
    afe_t *const afe = &self->afe;
    const uint32_t modules = self->config.set.modules, far = (uint32_t)afe->probe_known;
    const uint32_t all = modules >= 32u ? UINT32_MAX : (1u << modules) - 1u;
    if (far != 0u) byte_frame(out, INIT_SINGLE_WRITE, FAR_ADDRESS + far, REG_COMM_CTRL, COMM_STACK | COMM_TOP);
    afe->gap = afe->mend_gap;
    afe->near_chips = afe->gap > 1u ? (1u << afe->gap) - 1u : 0u;
    afe->far_chips = far != 0u ? all & ~((1u << (modules - far)) - 1u) : 0u;
    if (afe->near_chips == 0u) afe->far_chips |= 1u;
}

chain_mend_t chain_mend(bms_t *self, ecu_out_t *out)
{
    afe_t *const afe = &self->afe;
    switch (afe->mend) {
    case MEND_NEAR: return probe(self, out) ? near_is_known(self) : CHAIN_MENDING;
    case MEND_TURN: turn(self, out); return CHAIN_MENDING;
    case MEND_FAR:
        if (probe(self, out)) afe->mend = MEND_TOP;
        return CHAIN_MENDING;
    default: ring_is_open(self, out); return CHAIN_MENDED;
    }
}
