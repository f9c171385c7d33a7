#include "links/datagram.h"

#include <string.h>

#include "firmware/ecu.h"
#include "links/internal.h"

#define VERSION 2u
#define OP_DATA 0u
#define EFF 0x80000000u
#define RTR 0x40000000u
#define ERR 0x20000000u
#define FD_BIT 0x80u
#define BRS 1u

static datagram_result_t read_frame(const uint8_t *b, uint32_t left, link_frame_t *f, uint32_t *used)
{
    if (left < 5u) {
        return DATAGRAM_LENGTH;
    }
    const uint32_t id = (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
    const bool fd = (b[4] & FD_BIT) != 0u, remote = (id & RTR) != 0u, error = (id & ERR) != 0u;
    const uint8_t length = b[4] & 0x7Fu;
    const uint32_t head = fd ? 6u : 5u, data = remote ? 0u : length;
    if (length > (fd ? 64u : 8u) || left < head + data || (fd && (remote || error || fd_dlc(length) == 0xFFu))) {
        return DATAGRAM_LENGTH;
    }
    if ((id & (EFF | ERR)) == 0u && (id & 0x1FFFFFFFu) > 0x7FFu) {
        return DATAGRAM_ID;
    }
    f->id = id & 0x1FFFFFFFu;
    f->flags = (uint8_t)(((id & EFF) != 0u ? ECU_CAN_EXTENDED : 0u) | (remote ? ECU_CAN_REMOTE : 0u) | (error ? ECU_CAN_ERROR : 0u));
    if (fd) {
        f->flags |= (uint8_t)(ECU_CAN_FD | ((b[5] & BRS) != 0u ? ECU_CAN_BRS : 0u));
    }
    f->length = length;
    f->bus = f->reserved = 0;
    memcpy(f->data, b + head, data);
    *used = head + data;
    return DATAGRAM_FINE;
}

datagram_result_t datagram_read(const uint8_t *bytes, uint32_t length, link_frame_t *out, uint32_t *count, uint8_t *sequence)
{
    uint32_t at = DATAGRAM_HEAD, used = 0;
    datagram_result_t result = DATAGRAM_FINE;
    *count = 0;
    if (length < DATAGRAM_HEAD || bytes[0] != VERSION || bytes[1] != OP_DATA) {
        return DATAGRAM_OTHER;
    }
    *sequence = bytes[2];
    const uint32_t said = (uint32_t)bytes[3] << 8 | bytes[4];
    while (*count < said && *count < DATAGRAM_FRAMES_MAX && result == DATAGRAM_FINE) {
        result = read_frame(bytes + at, length - at, &out[*count], &used);
        if (result == DATAGRAM_FINE) {
            (*count)++;
            at += used;
        }
    }
    if (result != DATAGRAM_FINE) {
        return result;
    }
    return at == length && *count == said ? DATAGRAM_FINE : DATAGRAM_LENGTH;
}

uint32_t datagram_write_frame(const link_frame_t *f, uint8_t *bytes)
{
    const bool fd = (f->flags & ECU_CAN_FD) != 0u, remote = (f->flags & ECU_CAN_REMOTE) != 0u;
    const uint32_t id = f->id | ((f->flags & ECU_CAN_EXTENDED) != 0u ? EFF : 0u) | (remote ? RTR : 0u) |
                        ((f->flags & ECU_CAN_ERROR) != 0u ? ERR : 0u);
    uint32_t n = 0;
    bytes[n++] = (uint8_t)(id >> 24);
    bytes[n++] = (uint8_t)(id >> 16);
    bytes[n++] = (uint8_t)(id >> 8);
    bytes[n++] = (uint8_t)id;
    bytes[n++] = (uint8_t)(f->length | (fd ? FD_BIT : 0u));
    if (fd) {
        bytes[n++] = (f->flags & ECU_CAN_BRS) != 0u ? BRS : 0u;
    }
    if (!remote) {
        memcpy(bytes + n, f->data, f->length);
        n += f->length;
    }
    return n;
}

void datagram_write_head(uint8_t *bytes, uint8_t sequence, uint32_t count)
{
    bytes[0] = VERSION;
    bytes[1] = OP_DATA;
    bytes[2] = sequence;
    bytes[3] = (uint8_t)(count >> 8);
    bytes[4] = (uint8_t)count;
}
