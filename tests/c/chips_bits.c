/* Prints a hash of everything a noisy stack of six chips says: it must not depend on compiler, optimisation or vector registers. */
#include <stdio.h>
#include <string.h>

#include "chips/chips.h"

static chips_t c;
static double volts[CHIPS_BLOCKS_MAX], degc[1200], kpa[CHIPS_MAX];
static uint64_t now_us, hash = 0xCBF29CE484222325u;

static uint16_t crc(const uint8_t *bytes, uint32_t count)
{
    uint32_t value = 0xFFFF;
    for (uint32_t k = 0; k < count; ++k) {
        value ^= bytes[k];
        for (int bit = 0; bit < 8; ++bit) value = value & 1u ? value >> 1 ^ 0xA001u : value >> 1;
    }
    return (uint16_t)value;
}

static void run(uint32_t low_us, const uint8_t *body, uint16_t count, uint32_t steps)
{
    const chips_view_t view = {volts, degc, kpa, 25.0};
    for (uint32_t k = 0; k < steps; ++k) {
        uint8_t out[ECU_UART_IN_MAX];
        uint16_t out_count = 0;
        ecu_uart_out_t host;
        memset(&host, 0, sizeof host);
        host.baud = 1000000;
        if (k == 0) {
            host.low_us = low_us;
            if (count != 0) {
                memcpy(host.bytes, body, count);
                const uint16_t check = crc(body, count);
                host.bytes[count] = (uint8_t)check;
                host.bytes[count + 1] = (uint8_t)(check >> 8);
                host.count = (uint16_t)(count + 2u);
            }
        }
        chips_exchange(&c, now_us, &view, &host, out, &out_count);
        for (uint32_t n = 0; n < out_count; ++n) hash = (hash ^ out[n]) * 0x100000001B3u;
        now_us += 1000;
    }
}

#define SEND(steps, ...) do { const uint8_t body_[] = {__VA_ARGS__}; run(0, body_, sizeof body_, steps); } while (0)

int main(void)
{
    c.chip_count = 6;
    c.block_count = 96;
    c.blocks_per_module = 16;
    c.wake_settle_us = 10000;
    c.wake_forward_us = 1600;
    c.bleed_ohm = 40.0;
    c.sense_wire_ohm = 0.1;
    c.pressure_full_scale_kpa = 5000.0;
    c.temperature_noise_k = 0.1;
    c.noise_key = 0x0123456789ABCDEFu;
    for (uint32_t k = 0; k < CHIPS_BLOCKS_MAX; ++k) volts[k] = 2.5 + 0.011 * k;
    for (uint32_t k = 0; k < CHIPS_MAX; ++k) kpa[k] = 900.0 + k;
    for (uint32_t k = 0; k < CHIPS_NTC_POINTS; ++k) c.ntc_ratio[k] = 1.0 / (1.0 + 0.03 * k);
    for (uint32_t k = 0; k < CHIPS_SLOTS; ++k) {
        c.cell_gain_frac[k] = 1e-5 * (double)(k % 7);
        c.cell_offset_v[k] = -1e-4 * (double)(k % 5);
        c.cell_noise_v[k] = 3e-4;
    }
    for (uint32_t k = 0; k < CHIPS_MAX; ++k) c.tsref_v[k] = 5.0;
    volts[3] = 1e300;
    volts[4] = -1e300;
    volts[5] = volts[3] * volts[3] - volts[3] * volts[3]; /* NaN */
    chips_init(&c);
    run(2250, NULL, 0, 13);
    SEND(80, 0x90, 0x00, 0x03, 0x09, 0x20);
    SEND(1, 0xD0, 0x03, 0x09, 0x01);
    for (uint32_t k = 0; k < 6; ++k) SEND(1, 0xD0, 0x03, 0x06, (uint8_t)k);
    SEND(1, 0xD0, 0x03, 0x08, 0x02);
    SEND(1, 0x90, 0x00, 0x03, 0x08, 0x00);
    SEND(1, 0x90, 0x05, 0x03, 0x08, 0x03);
    SEND(1, 0xD3, 0x00, 0x0E, 0x12, 0x12, 0x12, 0x12);
    SEND(1, 0xD0, 0x03, 0x0A, 0x01);
    SEND(1, 0xD0, 0x03, 0x0D, 0x06);
    for (uint32_t k = 0; k < 500; ++k) {
        SEND(4, 0xC0, 0x05, 0x68, 0x1F);
        SEND(6, 0xC0, 0x05, 0x68, 0x4F);
        if (k == 100) SEND(1, 0xD1, 0x03, 0x1A, 0x01, 0x00);
        if (k == 101) SEND(1, 0xD0, 0x03, 0x2F, 0x02);
    }
    printf("%016llx %llu %llu\n", (unsigned long long)hash, (unsigned long long)c.bytes_out, (unsigned long long)c.conversions);
    return 0;
}
