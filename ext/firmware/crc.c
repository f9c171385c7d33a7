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

/* Four bits at a time: it runs once, at start. */
uint32_t crc32_ieee(const uint8_t *bytes, size_t count)
{
    static const uint32_t NIBBLE[16] = {
        0x00000000u, 0x1DB71064u, 0x3B6E20C8u, 0x26D930ACu, 0x76DC4190u, 0x6B6B51F4u, 0x4DB26158u, 0x5005713Cu,
        0xEDB88320u, 0xF00F9344u, 0xD6D6A3E8u, 0xCB61B38Cu, 0x9B64C2B0u, 0x86D3D2D4u, 0xA00AE278u, 0xBDBDF21Cu,
    };
    uint32_t crc = 0xFFFFFFFFu;
    for (size_t k = 0; k < count; ++k) {
        crc ^= bytes[k];
        crc = crc >> 4 ^ NIBBLE[crc & 15u];
        crc = crc >> 4 ^ NIBBLE[crc & 15u];
    }
    return ~crc;
}
