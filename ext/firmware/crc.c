#include "crc.h"

/* A CRC table is linear: the entry of i is the XOR of the entries of its bits. So eight numbers define a table, and the compiler
 * writes it out. Slice k holds the CRC of a byte followed by k zero bytes; eight slices take eight bytes at a time. */
#define BIT(i, n, value) (((i) >> (n)&1u) ? (value) : 0u)
#define LINEAR(i, a, b, c, d, e, f, g, h) \
    (BIT(i, 0, a) ^ BIT(i, 1, b) ^ BIT(i, 2, c) ^ BIT(i, 3, d) ^ BIT(i, 4, e) ^ BIT(i, 5, f) ^ BIT(i, 6, g) ^ BIT(i, 7, h))
#define EACH_4(F, i) F((i)), F((i) + 1u), F((i) + 2u), F((i) + 3u)
#define EACH_16(F, i) EACH_4(F, (i)), EACH_4(F, (i) + 4u), EACH_4(F, (i) + 8u), EACH_4(F, (i) + 12u)
#define EACH_64(F, i) EACH_16(F, (i)), EACH_16(F, (i) + 16u), EACH_16(F, (i) + 32u), EACH_16(F, (i) + 48u)
#define EACH_256(F) EACH_64(F, 0u), EACH_64(F, 64u), EACH_64(F, 128u), EACH_64(F, 192u)

#define SLICE_0(i) LINEAR(i, 0xC0C1u, 0xC181u, 0xC301u, 0xC601u, 0xCC01u, 0xD801u, 0xF001u, 0xA001u)
#define SLICE_1(i) LINEAR(i, 0x9001u, 0x6001u, 0xC002u, 0xC007u, 0xC00Du, 0xC019u, 0xC031u, 0xC061u)
#define SLICE_2(i) LINEAR(i, 0xC051u, 0xC0A1u, 0xC141u, 0xC281u, 0xC501u, 0xCA01u, 0xD401u, 0xE801u)
#define SLICE_3(i) LINEAR(i, 0xFC01u, 0xB801u, 0x3001u, 0x6002u, 0xC004u, 0xC00Bu, 0xC015u, 0xC029u)
#define SLICE_4(i) LINEAR(i, 0xC03Du, 0xC079u, 0xC0F1u, 0xC1E1u, 0xC3C1u, 0xC781u, 0xCF01u, 0xDE01u)
#define SLICE_5(i) LINEAR(i, 0xD101u, 0xE201u, 0x8401u, 0x4801u, 0x9002u, 0x6007u, 0xC00Eu, 0xC01Fu)
#define SLICE_6(i) LINEAR(i, 0xC010u, 0xC023u, 0xC045u, 0xC089u, 0xC111u, 0xC221u, 0xC441u, 0xC881u)
#define SLICE_7(i) LINEAR(i, 0xCCC1u, 0xD981u, 0xF301u, 0xA601u, 0x0C01u, 0x1802u, 0x3004u, 0x6008u)

static const uint16_t MODBUS[8][256] = {
    {EACH_256(SLICE_0)}, {EACH_256(SLICE_1)}, {EACH_256(SLICE_2)}, {EACH_256(SLICE_3)},
    {EACH_256(SLICE_4)}, {EACH_256(SLICE_5)}, {EACH_256(SLICE_6)}, {EACH_256(SLICE_7)},
};

uint16_t crc16_modbus(const uint8_t *bytes, size_t count)
{
    uint32_t crc = 0xFFFFu;
    while (count >= 8u) {
        crc = (uint32_t)MODBUS[7][(bytes[0] ^ crc) & 0xFFu] ^ MODBUS[6][(bytes[1] ^ crc >> 8) & 0xFFu] ^ MODBUS[5][bytes[2]] ^
              MODBUS[4][bytes[3]] ^ MODBUS[3][bytes[4]] ^ MODBUS[2][bytes[5]] ^ MODBUS[1][bytes[6]] ^ MODBUS[0][bytes[7]];
        bytes += 8;
        count -= 8u;
    }
    while (count > 0u) {
        crc = crc >> 8 ^ MODBUS[0][(crc ^ *bytes) & 0xFFu];
        ++bytes;
        --count;
    }
    return (uint16_t)crc;
}

#define WORD_0(i) LINEAR(i, 0x77073096u, 0xEE0E612Cu, 0x076DC419u, 0x0EDB8832u, 0x1DB71064u, 0x3B6E20C8u, 0x76DC4190u, 0xEDB88320u)
#define WORD_1(i) LINEAR(i, 0x191B3141u, 0x32366282u, 0x646CC504u, 0xC8D98A08u, 0x4AC21251u, 0x958424A2u, 0xF0794F05u, 0x3B83984Bu)
#define WORD_2(i) LINEAR(i, 0x01C26A37u, 0x0384D46Eu, 0x0709A8DCu, 0x0E1351B8u, 0x1C26A370u, 0x384D46E0u, 0x709A8DC0u, 0xE1351B80u)
#define WORD_3(i) LINEAR(i, 0xB8BC6765u, 0xAA09C88Bu, 0x8F629757u, 0xC5B428EFu, 0x5019579Fu, 0xA032AF3Eu, 0x9B14583Du, 0xED59B63Bu)

static const uint32_t IEEE[4][256] = {{EACH_256(WORD_0)}, {EACH_256(WORD_1)}, {EACH_256(WORD_2)}, {EACH_256(WORD_3)}};

/* Four bytes at a time: the sum of a whole configuration has room in one step. */
uint32_t crc32_ieee(const uint8_t *bytes, size_t count)
{
    uint32_t crc = 0xFFFFFFFFu;
    while (count >= 4u) {
        crc ^= (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
        crc = IEEE[3][crc & 0xFFu] ^ IEEE[2][crc >> 8 & 0xFFu] ^ IEEE[1][crc >> 16 & 0xFFu] ^ IEEE[0][crc >> 24];
        bytes += 4;
        count -= 4u;
    }
    while (count > 0u) {
        crc = crc >> 8 ^ IEEE[0][(crc ^ *bytes) & 0xFFu];
        ++bytes;
        --count;
    }
    return ~crc;
}
