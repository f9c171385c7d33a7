#include "links/slcan.h"

#include "firmware/ecu.h"

#define NONE 0xFFu

static inline uint8_t digit(uint8_t c)
{
    static const uint8_t values[256] = {
#define X NONE
        X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X,  X,  X,  X,  X,  X,  X, X, X, X, X, X, X, X, X, X,
        X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, 0,  1,  2,  3,  4,  5,  6, 7, 8, 9, X, X, X, X, X, X,
        X, 10, 11, 12, 13, 14, 15, X, X, X, X, X, X, X, X, X, X,  X,  X,  X,  X,  X,  X, X, X, X, X, X, X, X, X, X,
        X, 10, 11, 12, 13, 14, 15, X, X, X, X, X, X, X, X, X, X,  X,  X,  X,  X,  X,  X, X, X, X, X, X, X, X, X, X,
        X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X,  X,  X,  X,  X,  X,  X, X, X, X, X, X, X, X, X, X,
        X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X,  X,  X,  X,  X,  X,  X, X, X, X, X, X, X, X, X, X,
        X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X,  X,  X,  X,  X,  X,  X, X, X, X, X, X, X, X, X, X,
        X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X,  X,  X,  X,  X,  X,  X, X, X, X, X, X, X, X, X, X,
#undef X
    };
    return values[c];
}

bool slcan_number(const uint8_t *text, uint32_t digits, uint32_t *value)
{
    uint32_t sum = 0;
    uint8_t bad = 0;
    for (uint32_t k = 0; k < digits; k++) {
        const uint8_t d = digit(text[k]);
        bad = (uint8_t)(bad | d);
        sum = (sum << 4) | (d & 15u);
    }
    *value = sum;
    return (bad & 0xF0u) == 0u;
}

/* Flags of a letter, or -1. */
static int flags_of(uint8_t letter)
{
    switch (letter) {
    case 't': return 0;
    case 'T': return ECU_CAN_EXTENDED;
    case 'r': return ECU_CAN_REMOTE;
    case 'R': return ECU_CAN_REMOTE | ECU_CAN_EXTENDED;
    case 'd': return ECU_CAN_FD;
    case 'D': return ECU_CAN_FD | ECU_CAN_EXTENDED;
    case 'b': return ECU_CAN_FD | ECU_CAN_BRS;
    case 'B': return ECU_CAN_FD | ECU_CAN_BRS | ECU_CAN_EXTENDED;
    default: return -1;
    }
}

static bool read_data(const uint8_t *text, uint32_t bytes, uint8_t *data)
{
    uint32_t bad = 0;
    for (uint32_t k = 0; k < bytes; k++) {
        const uint32_t high = digit(text[2u * k]), low = digit(text[2u * k + 1u]);
        bad |= high | low;
        data[k] = (uint8_t)(high << 4 | (low & 15u));
    }
    return (bad & 0xF0u) == 0u;
}

slcan_result_t slcan_read(const uint8_t *line, uint32_t length, link_frame_t *f, uint16_t *stamp_ms)
{
    const int flags = length > 0u ? flags_of(line[0]) : -1;
    if (flags < 0) {
        return SLCAN_OTHER;
    }
    const bool extended = ((uint32_t)flags & ECU_CAN_EXTENDED) != 0u, fd = ((uint32_t)flags & ECU_CAN_FD) != 0u;
    const uint32_t digits = extended ? 8u : 3u;
    uint32_t id, code, stamp = SLCAN_NO_STAMP;
    if (length < digits + 2u) {
        return SLCAN_LENGTH;
    }
    if (!slcan_number(line + 1, digits, &id) || !slcan_number(line + 1u + digits, 1, &code)) {
        return SLCAN_DIGIT;
    }
    if (id > (extended ? 0x1FFFFFFFu : 0x7FFu)) {
        return SLCAN_ID;
    }
    if (!fd && code > 8u) {
        return SLCAN_LENGTH;
    }
    const uint8_t bytes = fd_length((uint8_t)code);
    const uint8_t *data = line + digits + 2u;
    const bool remote = ((uint32_t)flags & ECU_CAN_REMOTE) != 0u;
    const uint32_t rest = length - digits - 2u, all = 2u * bytes;
    const uint32_t data_digits = remote && rest != all && rest != all + 4u ? 0u : all;
    if (rest != data_digits && rest != data_digits + 4u) {
        return SLCAN_LENGTH;
    }
    if (!read_data(data, data_digits / 2u, f->data)) {
        return SLCAN_DIGIT;
    }
    if (rest != data_digits && !slcan_number(data + data_digits, 4, &stamp)) {
        return SLCAN_DIGIT;
    }
    if (rest != data_digits && stamp >= SLCAN_STAMP_WRAP) {
        return SLCAN_LENGTH;
    }
    f->id = id;
    f->length = bytes;
    f->flags = (uint8_t)flags;
    f->reserved = 0;
    *stamp_ms = (uint16_t)stamp;
    return SLCAN_FRAME;
}

static uint8_t *put_digits(uint8_t *to, uint32_t value, uint32_t digits)
{
    static const uint8_t letters[] = "0123456789ABCDEF";
    for (uint32_t k = digits; k > 0u; k--) {
        to[k - 1u] = letters[value & 15u];
        value >>= 4;
    }
    return to + digits;
}

uint32_t slcan_write(const link_frame_t *f, uint16_t stamp_ms, uint8_t *line)
{
    static const uint8_t letters[] = {'t', 'r', 'd', 'b'};
    const bool fd = (f->flags & ECU_CAN_FD) != 0u, remote = (f->flags & ECU_CAN_REMOTE) != 0u;
    const uint8_t code = fd_dlc(f->length);
    if ((f->flags & ECU_CAN_ERROR) != 0u || code == 0xFFu || (!fd && code > 8u)) {
        return 0;
    }
    const uint32_t which = fd ? ((f->flags & ECU_CAN_BRS) != 0u ? 3u : 2u) : (remote ? 1u : 0u);
    const bool extended = (f->flags & ECU_CAN_EXTENDED) != 0u;
    uint8_t *to = line;
    *to++ = (uint8_t)(extended ? letters[which] - 32u : letters[which]);
    to = put_digits(to, f->id, extended ? 8u : 3u);
    to = put_digits(to, code, 1);
    for (uint32_t k = 0; !remote && k < f->length; k++) {
        to = put_digits(to, f->data[k], 2);
    }
    if (stamp_ms != SLCAN_NO_STAMP) {
        to = put_digits(to, stamp_ms, 4);
    }
    *to++ = SLCAN_CR;
    return (uint32_t)(to - line);
}

/* S7 is 800 k in Lawicel's manual and 750 k on CANable adapters and in python-can; S9 is python-can's. */
static const uint32_t speeds[10] = {10000, 20000, 50000, 100000, 125000, 250000, 500000, 800000, 1000000, 83300};

int slcan_speed_code(uint32_t bitrate)
{
    for (int k = 0; k < 10; k++) {
        if (speeds[k] == bitrate) {
            return k;
        }
    }
    return bitrate == 750000u ? 7 : -1;
}

int slcan_data_speed_code(uint32_t bitrate)
{
    const uint32_t mega = bitrate / 1000000u;
    const bool known = mega == 1u || mega == 2u || mega == 4u || mega == 5u || mega == 8u;
    return known && mega * 1000000u == bitrate ? (int)mega : -1;
}

uint32_t slcan_speed(uint32_t code)
{
    return code < 10u ? speeds[code] : 0u;
}
