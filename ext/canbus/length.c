/* How long a frame is on the wire (ISO 11898-1). */
#include "canbus/internal.h"
#include "canbus/tables.h"

#define ACKNOWLEDGE_AND_END 9u /* acknowledge slot and delimiter, 7 bits of end of frame */
#define FD_SHORT_CRC_BYTES 16u /* up to here CRC-17 */
#define FD_CRC17_BITS 27u      /* 4 bits of stuff count, 17 of CRC, a fixed stuff bit first and after every 4 */
#define FD_CRC21_BITS 32u

static uint32_t data_bytes(const ecu_can_frame_t *f) { return f->flags & ECU_CAN_REMOTE ? 0u : f->length; }

static uint32_t length_code(uint32_t length)
{
    if (length <= 8u) return length;
    if (length <= 24u) return 9u + (length - 9u) / 4u;
    return length <= 32u ? 13u : (length <= 48u ? 14u : 15u);
}

static uint64_t extended_bits(uint32_t id) { return (uint64_t)(id >> 18) << 20 | 3u << 18 | (id & 0x3FFFFu); }

/* One byte on the wire. e holds the state before it in bits 3 to 5; above are the stuff bits it cost, which are summed in place. */
static inline uint64_t stuff(uint64_t e, uint32_t byte, uint32_t *sum)
{
    const uint64_t after = canbus_stuff[byte] >> (e & 63u);
    *sum += (uint32_t)after & 0xC0u;
    return after;
}

/* Start of frame to the end of frame. The tables run over whole bytes from the left, so the header is filled up with alternating bits
 * that end in a one: they are never stuffed and leave the start bit as the first of its run. The start bit is a zero, so it does
 * not move the CRC. Inline, because nearly all frames have 11-bit identifiers and eight bytes, and then nothing is left to count. */
static inline uint32_t classic_bits(const uint8_t *data, uint32_t count, uint64_t header, uint32_t header_bytes)
{
    const uint64_t padded = header | (header_bytes == 5u ? 1ull << 39 : 0x15ull << 19);
    uint32_t crc = 0, sum = 0;
    uint64_t e = 0;
    for (uint32_t k = 0; k < header_bytes; ++k) crc ^= canbus_crc15[count + k][header >> 8u * k & 255u];
    for (uint32_t i = 0; i < count; ++i) crc ^= canbus_crc15[count - 1u - i][data[i]];
    for (uint32_t k = header_bytes; k-- > 0u;) e = stuff(e, (uint32_t)(padded >> 8u * k) & 255u, &sum);
    for (uint32_t i = 0; i < count; ++i) e = stuff(e, data[i], &sum);
    e = stuff(e, crc >> 7, &sum);
    (void)stuff(e, (crc << 1 | (~crc & 1u)) & 255u, &sum); /* with one bit too many, unlike the last */
    return (header_bytes == 5u ? 54u : 34u) + 8u * count + (sum >> 6) + 1u + ACKNOWLEDGE_AND_END;
}

static uint32_t any_classic_bits(const ecu_can_frame_t *f)
{
    const uint32_t count = data_bytes(f), remote = f->flags & ECU_CAN_REMOTE ? 1u << 6 : 0u;
    if (f->flags & ECU_CAN_EXTENDED) return classic_bits(f->data, count, extended_bits(f->id) << 7 | remote | f->length, 5u);
    return classic_bits(f->data, count, (uint64_t)f->id << 7 | remote | f->length, 3u);
}

/* ---- bit by bit: FD frames, and the place where two frames differ ---- */

typedef struct {
    uint8_t bit[CANBUS_RAW_BITS];
    uint32_t count, rate_switch; /* rate_switch: number of the bit at which the data phase begins */
} raw_t;

static void append(raw_t *r, uint64_t value, uint32_t bits)
{
    for (uint32_t k = bits; k-- > 0u;) r->bit[r->count++] = (uint8_t)(value >> k & 1u);
}

/* Start of frame to the last data bit, without stuff bits. */
static void raw_bits(const ecu_can_frame_t *f, raw_t *r)
{
    const bool is_extended = (f->flags & ECU_CAN_EXTENDED) != 0u, is_fd = (f->flags & ECU_CAN_FD) != 0u;
    const bool is_remote = (f->flags & ECU_CAN_REMOTE) != 0u;
    r->count = 0;
    append(r, 0u, 1u);
    if (is_extended) append(r, extended_bits(f->id) << 1 | is_remote, 32u);
    else append(r, (uint64_t)f->id << 2 | (uint64_t)is_remote << 1, 13u);
    r->rate_switch = r->count + 3u;
    if (is_fd) append(r, 8u | ((f->flags & ECU_CAN_BRS) != 0u ? 2u : 0u), 4u); /* FDF, reserved, BRS, ESI */
    else append(r, 0u, is_extended ? 2u : 1u);
    append(r, length_code(f->length), 4u);
    for (uint32_t i = 0; i < data_bytes(f); ++i) append(r, f->data[i], 8u);
}

/* Stuff bits that follow one of the bits from..to-1; the state runs on from call to call. */
typedef struct {
    uint32_t last, run;
} run_t;

static uint32_t stuff_bits(const raw_t *r, run_t *s, uint32_t from, uint32_t to)
{
    uint32_t stuffed = 0;
    for (uint32_t k = from; k < to; ++k) {
        s->run = r->bit[k] == s->last ? s->run + 1u : 1u;
        s->last = r->bit[k];
        if (s->run == 5u) {
            stuffed++;
            s->last = 1u - s->last;
            s->run = 1u;
        }
    }
    return stuffed;
}

static canbus_length_t fd_length(const ecu_can_frame_t *f)
{
    raw_t r;
    run_t s = {1u, 0u};
    raw_bits(f, &r);
    /* The bit that switches belongs half to each rate, and so does the CRC delimiter: together one of each. */
    const uint32_t slow = r.rate_switch + stuff_bits(&r, &s, 0u, r.rate_switch - 1u);
    /* After the last data bit stands a fixed stuff bit, which takes the place of a needed one. */
    const uint32_t quick = r.count - r.rate_switch + stuff_bits(&r, &s, r.rate_switch - 1u, r.count - 1u)
                           + (data_bytes(f) > FD_SHORT_CRC_BYTES ? FD_CRC21_BITS : FD_CRC17_BITS) + 1u;
    if (f->flags & ECU_CAN_BRS) return (canbus_length_t){slow, quick, ACKNOWLEDGE_AND_END};
    return (canbus_length_t){slow + quick + ACKNOWLEDGE_AND_END, 0u, 0u};
}

canbus_length_t canbus_frame_length(const ecu_can_frame_t *f)
{
    if (f->flags == 0u && f->length == 8u) return (canbus_length_t){classic_bits(f->data, 8u, f->id << 7 | 8u, 3u), 0u, 0u};
    if (f->flags & ECU_CAN_FD) return fd_length(f);
    return (canbus_length_t){any_classic_bits(f), 0u, 0u};
}

uint32_t canbus_first_difference(const ecu_can_frame_t *a, const ecu_can_frame_t *b)
{
    raw_t x, y;
    run_t s = {1u, 0u};
    uint32_t k = 0;
    raw_bits(a, &x);
    raw_bits(b, &y);
    while (k < x.count && k < y.count && x.bit[k] == y.bit[k]) ++k;
    if (k == x.count && k == y.count) return CANBUS_SAME;
    return k + stuff_bits(&x, &s, 0u, k);
}

uint32_t canbus_key(const ecu_can_frame_t *f)
{
    const uint32_t remote = f->flags & ECU_CAN_REMOTE ? 1u : 0u;
    if (f->flags & ECU_CAN_EXTENDED) return f->id >> 18 << 21 | 3u << 19 | (f->id & 0x3FFFFu) << 1 | remote;
    return f->id << 21 | remote << 20;
}

void canbus_tidy(ecu_can_frame_t *f)
{
    const bool is_fd = (f->flags & ECU_CAN_FD) != 0u;
    f->flags &= is_fd ? (uint8_t)(ECU_CAN_EXTENDED | ECU_CAN_FD | ECU_CAN_BRS) : (uint8_t)(ECU_CAN_EXTENDED | ECU_CAN_REMOTE);
    f->id &= f->flags & ECU_CAN_EXTENDED ? 0x1FFFFFFFu : 0x7FFu;
    if (!is_fd) {
        if (f->length > 8u) f->length = 8u;
        return;
    }
    static const uint8_t bytes[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 20, 24, 32, 48, 64};
    const uint8_t length = f->length > 64u ? 64u : f->length;
    f->length = bytes[length_code(length)];
    for (uint32_t k = length; k < f->length; ++k) f->data[k] = 0u; /* padding */
}
