/* The register file: reset values, reads, and what a write sets off. */
#include "internal.h"

/* Of the die that sits there now. */
static void identity_refresh(chips_t *c, uint32_t chip)
{
    for (uint32_t k = 0; k < 4u; ++k) *reg_at(c, chip, R_DIE_ID1 + k) = (uint8_t)(c->serial[module_of(c, chip)] >> (24u - 8u * k));
}

void registers_reset(chips_t *c, uint32_t chip)
{
    static const struct { uint16_t address; uint8_t value; } reset[] = {
        /* a factory part: SLUSE81 and bench readings */
        {R_DEV_CONF, 0x54}, {R_ACTIVE_CELL, 0x0A}, {R_OV_THRESH, 0x3F}, {R_UV_THRESH, 0x00}, {R_OTUT_THRESH, 0xE0},
        {R_PWR_TRANSIT_CONF, 0x10}, {R_CUST_CRC_HI, 0x31}, {R_CUST_CRC_HI + 1, 0xF3}, {R_PARTID, 0x21},
        {R_CUST_CRC_RSLT_HI, 0x31}, {R_CUST_CRC_RSLT_HI + 1, 0xF3}, {R_DEV_STAT, 0x60}, {R_FAULT_SYS, SYS_DRST},
    };
    memset(reg_at(c, chip, 0), 0, CHIPS_REGISTERS);
    for (uint32_t k = 0; k < sizeof reset / sizeof reset[0]; ++k) *reg_at(c, chip, reset[k].address) = reset[k].value;
    for (uint32_t a = R_VCELL16_HI; a < R_AUX_END; a += 2u) *reg_at(c, chip, a) = 0x80; /* no result yet reads 8000 */
    identity_refresh(c, chip);
}

static void status_refresh(chips_t *c, uint32_t chip, uint64_t now_us)
{
    const bool runs = c->adc_mode[chip] != 0;
    *reg_at(c, chip, R_ADC_STAT1) = adc_has_result(c, chip, now_us) ? 1 : 0;
    *reg_at(c, chip, R_DEV_STAT) = (uint8_t)(0x60u | (runs ? 1u : 0u) | (c->ovuv_runs[chip] ? 8u : 0u) | (c->otut_runs[chip] ? 16u : 0u));
    *reg_at(c, chip, R_FAULT_SUMMARY) = faults_summary(c, chip);
}

void registers_read(chips_t *c, uint32_t chip, uint32_t address, uint32_t count, const chips_view_t *view, uint64_t now_us,
                    uint8_t *out)
{
    const uint32_t end = address + count;
    if (end > R_VCELL16_HI && address < R_AUX_END) adc_refresh(c, chip, address, count, view, now_us);
    if (end > R_DIE_ID1 && address < R_DIE_ID1 + 4u) identity_refresh(c, chip);
    if (end > R_ADC_STAT1 && address <= R_FAULT_SUMMARY) status_refresh(c, chip, now_us);
    if (address >= 0x500u && end <= 0x600u) {
        memcpy(out, reg_at(c, chip, address), count);
        return;
    }
    for (uint32_t k = 0; k < count; ++k) {
        const uint32_t slot = bank_slot((address + k) & 0xFFFFu);
        out[k] = slot < CHIPS_REGISTERS ? c->registers[chip * CHIPS_REGISTERS + slot] : 0;
    }
}

static void write_control1(chips_t *c, uint32_t chip, uint8_t value, uint64_t now_us)
{
    *reg_at(c, chip, R_CONTROL1) = value & (CONTROL1_DIR_SEL | CONTROL1_ADDR_WR);
    if (value & CONTROL1_SEND_WAKE) chip_tone(c, chip, CONTROL1_SEND_WAKE, now_us);
    if (value & CONTROL1_SEND_SLPTOACT) chip_tone(c, chip, CONTROL1_SEND_SLPTOACT, now_us);
    if (value & CONTROL1_SEND_SHUTDOWN) chip_tone(c, chip, CONTROL1_SEND_SHUTDOWN, now_us);
    if (value & CONTROL1_GOTO_SHUTDOWN) chip_shutdown(c, chip);
    else if (value & CONTROL1_GOTO_SLEEP) chip_sleep(c, chip);
    else if (value & CONTROL1_SOFT_RESET) chip_reset(c, chip, now_us + 1000u); /* assumption: 1 ms */
}

/* An address is taken only while ADDR_WR is set, which ends with it. */
static void write_address(chips_t *c, uint32_t chip, uint32_t address, uint8_t value)
{
    uint8_t *control = reg_at(c, chip, R_CONTROL1);
    if (!(*control & CONTROL1_ADDR_WR)) return;
    *reg_at(c, chip, address) = value & 63u;
    *control &= (uint8_t)~CONTROL1_ADDR_WR;
    c->is_addressed[chip] = 1;
}

void register_write(chips_t *c, uint32_t chip, uint32_t address, uint8_t value, const chips_view_t *view, uint64_t now_us)
{
    if (bank_slot(address) == CHIPS_REGISTERS || address >= 0x500u) return; /* nothing there, or read only */
    switch (address) {
    case R_DIR0_ADDR:
    case R_DIR1_ADDR: write_address(c, chip, address, value); return;
    case R_CONTROL1: write_control1(c, chip, value, now_us); return;
    case R_ADC_CTRL1: adc_control(c, chip, value, view, now_us); return;
    case R_BAL_CTRL3: balance_report(c, chip, value); return;
    case R_FAULT_RST1:
    case R_FAULT_RST2: faults_clear(c, chip, address, value); return;
    case R_BAL_CTRL2:
        *reg_at(c, chip, address) = value & 0x7Du; /* BAL_GO clears itself */
        if (value & 2u) balance_go(c, chip);
        balance_step(c, chip, view, 0);
        return;
    case R_OVUV_CTRL:
    case R_OTUT_CTRL:
        *reg_at(c, chip, address) = value & 0xFBu;
        if (!(value & 4u)) return;
        if (address == R_OVUV_CTRL) c->ovuv_runs[chip] = (value & 3u) != 0;
        else c->otut_runs[chip] = (value & 3u) != 0;
        return;
    default: *reg_at(c, chip, address) = value; return;
    }
}

bool chips_write(chips_t *c, uint64_t now_us, const chips_view_t *view, uint32_t chip, uint32_t address, uint8_t value)
{
    if (chip >= c->chip_count || bank_slot(address) == CHIPS_REGISTERS || address >= 0x500u) return false;
    register_write(c, chip, address, value, view, now_us);
    return true;
}
