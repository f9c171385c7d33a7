/* AUTOSAR E2E profile 1, data ID mode BOTH, for frames of bms.dbc: byte 0 is the CRC, the low nibble of byte 1 the counter, and the
 * data ID is the CAN identifier. Used by firmware and vehicle alike; bms.protocols.e2e is the same in Python.
 *
 * CRC-8 SAE J1850 polynomial 0x1D (AUTOSAR_SWS_CRCLibrary), start 0x00 and no final exclusive or once the profile's own 0xFF
 * chaining is worked out (AUTOSAR_SWS_E2ELibrary, profile 1), over data ID low byte, data ID high byte, bytes 1 to the last.
 */
#ifndef BMS_E2E_H
#define BMS_E2E_H

#include <stdbool.h>
#include <stdint.h>

#define E2E_P01_COUNTERS 15u    /* the counter runs 0 to 14; 15 is invalid */
#define E2E_P01_DELTA_MAX 2u    /* largest step of the counter that is accepted: one frame lost (COM-07) */
#define E2E_P01_NO_COUNTER 255u /* e2e_p01_rx_t.counter before the first frame */

/* The CRC is linear: the entry of a byte is the exclusive or of the entries of its bits. Row k: a byte with k zero bytes behind it. */
#define E2E_BIT(b, i, x) (((b) >> (i) & 1u) ? (x) : 0u)
#define E2E_1(b, s, t, u, v, w, x, y, z) \
    (uint8_t)(E2E_BIT(b, 0, s) ^ E2E_BIT(b, 1, t) ^ E2E_BIT(b, 2, u) ^ E2E_BIT(b, 3, v) ^ E2E_BIT(b, 4, w) ^ E2E_BIT(b, 5, x) ^ \
              E2E_BIT(b, 6, y) ^ E2E_BIT(b, 7, z))
#define E2E_4(b, ...) E2E_1((b) + 0u, __VA_ARGS__), E2E_1((b) + 1u, __VA_ARGS__), E2E_1((b) + 2u, __VA_ARGS__), E2E_1((b) + 3u, __VA_ARGS__)
#define E2E_16(b, ...) E2E_4((b) + 0u, __VA_ARGS__), E2E_4((b) + 4u, __VA_ARGS__), E2E_4((b) + 8u, __VA_ARGS__), E2E_4((b) + 12u, __VA_ARGS__)
#define E2E_64(b, ...) \
    E2E_16((b) + 0u, __VA_ARGS__), E2E_16((b) + 16u, __VA_ARGS__), E2E_16((b) + 32u, __VA_ARGS__), E2E_16((b) + 48u, __VA_ARGS__)
#define E2E_256(...) E2E_64(0u, __VA_ARGS__), E2E_64(64u, __VA_ARGS__), E2E_64(128u, __VA_ARGS__), E2E_64(192u, __VA_ARGS__)

static const uint8_t e2e_crc8[4][256] = {
    {E2E_256(0x1Du, 0x3Au, 0x74u, 0xE8u, 0xCDu, 0x87u, 0x13u, 0x26u)},
    {E2E_256(0x4Cu, 0x98u, 0x2Du, 0x5Au, 0xB4u, 0x75u, 0xEAu, 0xC9u)},
    {E2E_256(0x8Fu, 0x03u, 0x06u, 0x0Cu, 0x18u, 0x30u, 0x60u, 0xC0u)},
    {E2E_256(0x9Du, 0x27u, 0x4Eu, 0x9Cu, 0x25u, 0x4Au, 0x94u, 0x35u)},
};

/* CRC of a frame of `length` bytes, whatever byte 0 holds; four bytes at a time, then two, then one. */
static inline uint8_t e2e_p01_crc(uint16_t data_id, const uint8_t *data, uint32_t length)
{
    const uint8_t *d = data + 1;
    uint32_t left = length > 1u ? length - 1u : 0u, crc = (uint32_t)e2e_crc8[1][data_id & 0xFFu] ^ e2e_crc8[0][data_id >> 8];
    for (; left >= 4u; left -= 4u, d += 4)
        crc = (uint32_t)e2e_crc8[3][crc ^ d[0]] ^ e2e_crc8[2][d[1]] ^ e2e_crc8[1][d[2]] ^ e2e_crc8[0][d[3]];
    if (left >= 2u) {
        crc = (uint32_t)e2e_crc8[1][crc ^ d[0]] ^ e2e_crc8[0][d[1]];
        left -= 2u;
        d += 2;
    }
    return left != 0u ? e2e_crc8[0][crc ^ d[0]] : (uint8_t)crc;
}

static inline uint8_t e2e_p01_next(uint8_t counter) { return counter >= E2E_P01_COUNTERS - 1u ? 0u : (uint8_t)(counter + 1u); }

/* Puts counter and CRC into a packed frame of at least 2 bytes; the high nibble of byte 1 is kept. Moves the counter on. */
static inline void e2e_p01_protect(uint16_t data_id, uint8_t *data, uint32_t length, uint8_t *counter)
{
    const uint8_t low = *counter < E2E_P01_COUNTERS ? *counter : 0u;
    data[1] = (uint8_t)((data[1] & 0xF0u) | low);
    data[0] = e2e_p01_crc(data_id, data, length);
    *counter = e2e_p01_next(low);
}

typedef enum {
    E2E_OK = 0,
    E2E_OK_SOME_LOST = 1, /* a frame or more is missing, no more than accepted */
    E2E_INITIAL = 2,      /* first valid frame: nothing to compare its counter with */
    E2E_REPEATED = 3,
    E2E_WRONG_SEQUENCE = 4, /* too many missing; the next frame is compared with this one */
    E2E_CRC_ERROR = 5       /* also a frame that is too short or a counter of 15 */
} e2e_status_t;

typedef struct {
    uint8_t counter; /* of the last frame with a good CRC; E2E_P01_NO_COUNTER: none yet */
} e2e_p01_rx_t;

/* Judges one received frame. Zeroed state is not initial: set counter to E2E_P01_NO_COUNTER at start and after a time-out. */
static inline e2e_status_t e2e_p01_check(e2e_p01_rx_t *rx, uint16_t data_id, const uint8_t *data, uint32_t length)
{
    if (length < 2u || (data[1] & 0x0Fu) >= E2E_P01_COUNTERS) return E2E_CRC_ERROR;
    if (e2e_p01_crc(data_id, data, length) != data[0]) return E2E_CRC_ERROR;
    const uint8_t counter = data[1] & 0x0Fu, last = rx->counter;
    rx->counter = counter;
    if (last >= E2E_P01_COUNTERS) return E2E_INITIAL;
    const uint32_t delta = (counter + E2E_P01_COUNTERS - last) % E2E_P01_COUNTERS;
    if (delta == 0u) return E2E_REPEATED;
    if (delta == 1u) return E2E_OK;
    return delta <= E2E_P01_DELTA_MAX ? E2E_OK_SOME_LOST : E2E_WRONG_SEQUENCE;
}

/* May the content of a frame so judged be used? INITIAL may: its CRC is good, and freshness is a matter of its period. */
static inline bool e2e_is_usable(e2e_status_t status) { return status <= E2E_INITIAL; }

#endif
