/* What the files of the chip stack share. Not for others. */
#ifndef BMS_CHIPS_INTERNAL_H
#define BMS_CHIPS_INTERNAL_H

#include <string.h>

#include "chips.h"

enum {
    R_DEV_CONF = 0x002, R_ACTIVE_CELL = 0x003, R_OV_THRESH = 0x009, R_UV_THRESH = 0x00A, R_OTUT_THRESH = 0x00B,
    R_UV_DISABLE1 = 0x00C, R_GPIO_CONF1 = 0x00E, R_FAULT_MSK1 = 0x016, R_FAULT_MSK2 = 0x017, R_PWR_TRANSIT_CONF = 0x018,
    R_COMM_TIMEOUT_CONF = 0x019, R_ADC_CONF1 = 0x007, R_CUST_CRC_HI = 0x036,
    R_DIR0_ADDR = 0x306, R_DIR1_ADDR = 0x307, R_COMM_CTRL = 0x308, R_CONTROL1 = 0x309, R_CONTROL2 = 0x30A,
    R_ADC_CTRL1 = 0x30D, R_CB_CELL16_CTRL = 0x318, R_VCB_DONE_THRESH = 0x32A, R_OTCB_THRESH = 0x32B, R_OVUV_CTRL = 0x32C,
    R_OTUT_CTRL = 0x32D, R_BAL_CTRL1 = 0x32E, R_BAL_CTRL2 = 0x32F, R_BAL_CTRL3 = 0x330, R_FAULT_RST1 = 0x331,
    R_FAULT_RST2 = 0x332,
    R_PARTID = 0x500, R_DIE_ID1 = 0x501, R_CUST_CRC_RSLT_HI = 0x50C, R_ADC_STAT1 = 0x527, R_BAL_STAT = 0x52B, R_DEV_STAT = 0x52C,
    R_FAULT_SUMMARY = 0x52D, R_FAULT_COMM1 = 0x530, R_FAULT_OTP = 0x535, R_FAULT_SYS = 0x536, R_FAULT_PROT1 = 0x53A,
    R_FAULT_OV1 = 0x53C, R_FAULT_UV1 = 0x53E, R_FAULT_OT = 0x540, R_FAULT_UT = 0x541, R_FAULT_COMP_GPIO = 0x543,
    R_FAULT_COMP_MISC = 0x550, R_FAULT_PWR1 = 0x552, R_CB_COMPLETE1 = 0x556, R_BAL_TIME = 0x558, R_VCELL16_HI = 0x568,
    R_BUSBAR_HI = 0x588, R_TSREF_HI = 0x58C, R_GPIO1_HI = 0x58E, R_RESULTS_END = 0x59E, R_DIETEMP1_HI = 0x5AE,
    R_DIETEMP2_HI = 0x5B0, R_AUX_BAT_HI = 0x5B6, R_AUX_END = 0x5B8, R_DEBUG_UART_RC = 0x781
};

enum { CONTROL1_ADDR_WR = 0x01, CONTROL1_SOFT_RESET = 0x02, CONTROL1_GOTO_SLEEP = 0x04, CONTROL1_GOTO_SHUTDOWN = 0x08,
       CONTROL1_SEND_SLPTOACT = 0x10, CONTROL1_SEND_WAKE = 0x20, CONTROL1_SEND_SHUTDOWN = 0x40, CONTROL1_DIR_SEL = 0x80 };
enum { COMM_TOP_STACK = 0x01, COMM_STACK_DEV = 0x02 };
enum { COMM1_STOP_DET = 0x01, COMM1_CLEAR_DET = 0x02, COMM1_UART_RC = 0x04, COMM1_UART_TR = 0x10 };
enum { RC_CRC = 0x01, RC_UNEXPECTED = 0x02, RC_BYTE = 0x04, RC_START = 0x08, RC_INIT = 0x20 };
enum { SYS_SHORT_TIMEOUT = 0x04, SYS_LONG_TIMEOUT = 0x08, SYS_DRST = 0x10 };
enum { GPIO_ADC_OTUT = 1, GPIO_ADC = 2 };

/* Four banks hold every register there is; elsewhere reads 0 and writes vanish. */
static inline uint32_t bank_slot(uint32_t address)
{
    if (address < 0x40u) return address;
    if (address - 0x780u < 0x40u) return 0x40u + (address - 0x780u);
    if (address - 0x300u < 0x80u) return 0x80u + (address - 0x300u);
    if (address - 0x500u < 0x100u) return 0x100u + (address - 0x500u);
    return CHIPS_REGISTERS;
}
static inline uint8_t *reg_at(chips_t *c, uint32_t chip, uint32_t address)
{
    return &c->registers[chip * CHIPS_REGISTERS + bank_slot(address)];
}
static inline uint8_t reg(const chips_t *c, uint32_t chip, uint32_t address)
{
    return c->registers[chip * CHIPS_REGISTERS + bank_slot(address)];
}
/* The module that sits where the chip does. */
static inline uint32_t module_of(const chips_t *c, uint32_t chip)
{
    const uint32_t k = c->modules_swapped;
    if (k == 0u || k >= c->chip_count) return chip;
    return chip == k ? k - 1u : chip == k - 1u ? k : chip;
}
static inline uint32_t channels_wired(const chips_t *c, uint32_t chip)
{
    const uint32_t first = chip * c->blocks_per_module;
    if (first >= c->block_count) return 0;
    const uint32_t left = c->block_count - first;
    return left < c->blocks_per_module ? left : c->blocks_per_module;
}
static inline uint32_t channels_active(const chips_t *c, uint32_t chip)
{
    const uint32_t n = (reg(c, chip, R_ACTIVE_CELL) & 15u) + 6u;
    return n < CHIPS_CHANNELS ? n : CHIPS_CHANNELS;
}
static inline bool chip_talks(const chips_t *c, uint32_t chip, uint64_t now_us)
{
    return c->mode[chip] == CHIP_ACTIVE && !c->chip_dead[chip] && now_us >= c->ready_us[chip];
}
static inline int32_t clamped_count(double x)
{
    x = x < 32767.0 ? x : 32767.0; /* also NaN */
    x = x > -32767.0 ? x : -32767.0;
    return (int32_t)(x + 32768.5) - 32768;
}

/* chips.c */
void chip_reset(chips_t *c, uint32_t chip, uint64_t ready_us);
void chip_shutdown(chips_t *c, uint32_t chip);
void chip_sleep(chips_t *c, uint32_t chip);
void chip_tone(chips_t *c, uint32_t from, uint8_t kind, uint64_t now_us); /* kind is one CONTROL1_SEND_ bit */
uint32_t chain_next(const chips_t *c, uint32_t chip, bool reverse);       /* CHIPS_MAX: nobody */
/* line.c */
void line_receive(chips_t *c, uint64_t now_us, const chips_view_t *view, const ecu_uart_out_t *host);
void line_cut_answer(chips_t *c, uint64_t begin_us); /* only what had left by then still arrives */
uint16_t line_send(chips_t *c, uint64_t now_us, uint8_t to_host[ECU_UART_IN_MAX]);
/* frame.c */
uint16_t frame_crc(const uint8_t *bytes, uint32_t count);
void frame_byte(chips_t *c, const chips_view_t *view, uint8_t byte, uint64_t end_us);
void frame_fault(chips_t *c, uint8_t debug_bit);
/* registers.c */
void registers_reset(chips_t *c, uint32_t chip);
void registers_read(chips_t *c, uint32_t chip, uint32_t address, uint32_t count, const chips_view_t *view, uint64_t now_us,
                    uint8_t *out);
void register_write(chips_t *c, uint32_t chip, uint32_t address, uint8_t value, const chips_view_t *view, uint64_t now_us);
/* adc.c */
void adc_control(chips_t *c, uint32_t chip, uint8_t value, const chips_view_t *view, uint64_t now_us);
void adc_refresh(chips_t *c, uint32_t chip, uint32_t address, uint32_t count, const chips_view_t *view, uint64_t now_us);
void adc_finish_single(chips_t *c, uint32_t chip, const chips_view_t *view, uint64_t now_us);
bool adc_has_result(const chips_t *c, uint32_t chip, uint64_t now_us);
void adc_pins(const chips_t *c, uint32_t chip, const chips_view_t *view, double pin_v[CHIPS_CHANNELS]);
double adc_gpio_ratio(const chips_t *c, uint32_t chip, uint32_t gpio, const chips_view_t *view, double noise);
uint32_t adc_gpio_function(const chips_t *c, uint32_t chip, uint32_t gpio);
/* balance.c */
void balance_go(chips_t *c, uint32_t chip);
void balance_step(chips_t *c, uint32_t chip, const chips_view_t *view, uint32_t elapsed_ms);
void balance_drive(chips_t *c, uint32_t chip);
void balance_stop(chips_t *c, uint32_t chip);
void balance_report(chips_t *c, uint32_t chip, uint8_t control);
/* faults.c */
void faults_compare(chips_t *c, uint32_t chip, const chips_view_t *view);
void faults_clear(chips_t *c, uint32_t chip, uint32_t address, uint8_t bits);
uint8_t faults_summary(const chips_t *c, uint32_t chip);
void faults_line(chips_t *c);

#endif
