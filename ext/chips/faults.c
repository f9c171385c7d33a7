/* Comparators, fault registers, their summary and the NFAULT line. */
#include "internal.h"

/* Three windows of 25 mV steps; SLUSE81 lets every other code act as 2.700 V. */
static double overvoltage_v(uint32_t code)
{
    code &= 63u;
    if (code >= 0x02u && code <= 0x0Eu) return 2.700 + 0.025 * (double)(code - 0x02u);
    if (code >= 0x12u && code <= 0x1Eu) return 3.500 + 0.025 * (double)(code - 0x12u);
    if (code >= 0x22u && code <= 0x2Eu) return 4.175 + 0.025 * (double)(code - 0x22u);
    return 2.700;
}

/* 50 mV steps from 1.2 V; codes beyond 3.1 V act as 3.1 V. */
static double undervoltage_v(uint32_t code)
{
    code &= 63u;
    return 1.2 + 0.05 * (double)(code < 0x26u ? code : 0x26u);
}

/* Sixteen at once, without a branch: a distance below zero has its sign bit set. A NaN is neither above nor below. */
static inline bool all_between(const double v[CHIPS_CHANNELS], double low, double high)
{
    uint64_t signs = 0;
    for (uint32_t k = 0; k < CHIPS_CHANNELS; ++k) {
        const double above = v[k] - low, below = high - v[k];
        uint64_t above_bits, below_bits;
        memcpy(&above_bits, &above, sizeof above_bits);
        memcpy(&below_bits, &below, sizeof below_bits);
        signs |= above_bits | below_bits;
    }
    return signs >> 63 == 0;
}

static void compare_cells(chips_t *c, uint32_t chip, const chips_view_t *view)
{
    const double over_v = overvoltage_v(reg(c, chip, R_OV_THRESH)), under_v = undervoltage_v(reg(c, chip, R_UV_THRESH));
    const uint32_t active = channels_active(c, chip);
    const uint32_t skip = (uint32_t)reg(c, chip, R_UV_DISABLE1) << 8 | reg(c, chip, R_UV_DISABLE1 + 1);
    uint32_t over = 0, under = 0;
    double pin_v[CHIPS_CHANNELS];
    adc_pins(c, chip, view, pin_v);
    if (all_between(pin_v, under_v, over_v)) return; /* nearly always */
    for (uint32_t k = 0; k < active; ++k) {
        over |= (pin_v[k] > over_v ? 1u : 0u) << k;
        under |= (pin_v[k] < under_v ? 1u : 0u) << k;
    }
    under &= ~skip;
    *reg_at(c, chip, R_FAULT_OV1) |= (uint8_t)(over >> 8);
    *reg_at(c, chip, R_FAULT_OV1 + 1) |= (uint8_t)over;
    *reg_at(c, chip, R_FAULT_UV1) |= (uint8_t)(under >> 8);
    *reg_at(c, chip, R_FAULT_UV1 + 1) |= (uint8_t)under;
}

/* A hot NTC pulls its pin below OT, a cold one leaves it above UT, both in percent of TSREF. */
static void compare_temperatures(chips_t *c, uint32_t chip, const chips_view_t *view)
{
    const uint32_t code = reg(c, chip, R_OTUT_THRESH);
    const double hot = 0.01 * (10.0 + (double)(code & 31u)), cold = 0.01 * (66.0 + 2.0 * (double)(code >> 5));
    for (uint32_t gpio = 0; gpio < 8u; ++gpio) {
        if (adc_gpio_function(c, chip, gpio) != GPIO_ADC_OTUT) continue;
        const double ratio = adc_gpio_ratio(c, chip, gpio, view, 0.0);
        if (ratio < hot) *reg_at(c, chip, R_FAULT_OT) |= (uint8_t)(1u << gpio);
        if (ratio > cold) *reg_at(c, chip, R_FAULT_UT) |= (uint8_t)(1u << gpio);
    }
}

void faults_compare(chips_t *c, uint32_t chip, const chips_view_t *view)
{
    if (c->ovuv_runs[chip]) compare_cells(c, chip, view);
    if (c->otut_runs[chip]) compare_temperatures(c, chip, view);
}

/* One bit of FAULT_RST1/2 or FAULT_MSK1/2 stands for these registers. `bits` are those of the register that belong to it. */
typedef struct { uint16_t first, last; uint8_t bits, summary_bit; } fault_group_t;
static const fault_group_t groups[2][8] = {
    {{R_FAULT_PWR1, R_FAULT_PWR1 + 2, 0xFF, 0},
     {R_FAULT_SYS, R_FAULT_SYS, 0xFF, 1},
     {R_FAULT_COMP_GPIO, R_FAULT_COMP_MISC, 0xFF, 6},
     {R_FAULT_OV1, R_FAULT_OV1 + 1, 0xFF, 2},
     {R_FAULT_UV1, R_FAULT_UV1 + 1, 0xFF, 2},
     {R_FAULT_OT, R_FAULT_OT, 0xFF, 3},
     {R_FAULT_UT, R_FAULT_UT, 0xFF, 3},
     {R_FAULT_PROT1, R_FAULT_PROT1 + 1, 0xFF, 7}},
    {{R_FAULT_COMM1, R_FAULT_COMM1, 0xFF, 4},
     {R_FAULT_COMM1 + 1, R_FAULT_COMM1 + 1, 0xFF, 4},
     {R_FAULT_COMM1 + 2, R_FAULT_COMM1 + 2, 0x03, 4}, /* heartbeat; the bit places of FAULT_COMM3 are an assumption */
     {R_FAULT_COMM1 + 2, R_FAULT_COMM1 + 2, 0x04, 4}, /* fault tone */
     {R_FAULT_COMM1 + 2, R_FAULT_COMM1 + 2, 0x08, 4}, /* fault status in communication */
     {R_FAULT_OTP, R_FAULT_OTP, 0x0F, 5},             /* OTP data; the split of FAULT_OTP is an assumption */
     {R_FAULT_OTP, R_FAULT_OTP, 0xF0, 5},             /* OTP CRC */
     {0, 0, 0, 0}},
};

void faults_clear(chips_t *c, uint32_t chip, uint32_t address, uint8_t bits)
{
    for (uint32_t k = 0; k < 8u; ++k) {
        const fault_group_t *const g = &groups[address - R_FAULT_RST1][k];
        if (!(bits >> k & 1u)) continue;
        for (uint32_t a = g->first; a <= g->last && g->bits != 0; ++a) *reg_at(c, chip, a) &= (uint8_t)~g->bits;
    }
    if (address == R_FAULT_RST2 && (bits & 1u)) *reg_at(c, chip, R_DEBUG_UART_RC) = 0;
}

/* A masked fault still sets its register, but neither the summary nor the line. */
uint8_t faults_summary(const chips_t *c, uint32_t chip)
{
    uint32_t summary = 0;
    uint64_t all[5], any = 0; /* all fault registers, 530 to 557: mostly there is nothing */
    memcpy(all, &c->registers[chip * CHIPS_REGISTERS + bank_slot(R_FAULT_COMM1)], sizeof all);
    for (uint32_t k = 0; k < 5u; ++k) any |= all[k];
    if (any == 0) return 0;
    for (uint32_t half = 0; half < 2u; ++half) {
        const uint32_t mask = reg(c, chip, R_FAULT_MSK1 + half);
        for (uint32_t k = 0; k < 8u; ++k) {
            const fault_group_t *const g = &groups[half][k];
            uint32_t seen = 0;
            if (mask >> k & 1u) continue;
            for (uint32_t a = g->first; a <= g->last && g->bits != 0; ++a) seen |= reg(c, chip, a) & g->bits;
            if (seen != 0) summary |= 1u << g->summary_bit;
        }
    }
    return (uint8_t)summary;
}

/* A fault anywhere travels along the chain to the base device, which pulls NFAULT if NFAULT_EN (DEV_CONF bit 2) says so: downwards, or
 * from chips that were turned round the other way. What lies behind a dead, sleeping or cut-off chip is not heard. */
void faults_line(chips_t *c)
{
    uint32_t seen = 0;
    c->fault_line = 0;
    if (c->mode[0] == CHIP_SHUTDOWN || c->chip_dead[0] || !(reg(c, 0, R_DEV_CONF) & 4u)) return;
    for (uint32_t way = 0; way < 2u; ++way) {
        uint32_t chip = way == 0u ? 0u : chain_next(c, 0, true);
        for (uint32_t hops = 0; chip < CHIPS_MAX && hops < CHIPS_MAX; ++hops) {
            const bool turned = (reg(c, chip, R_CONTROL1) & CONTROL1_DIR_SEL) != 0;
            if (c->mode[chip] == CHIP_SHUTDOWN || c->chip_dead[chip] || (chip != 0 && turned != (way != 0u))) break;
            seen |= faults_summary(c, chip);
            chip = chain_next(c, chip, way != 0u);
        }
    }
    c->fault_line = seen != 0;
}
