/* Commands and answers: INIT [DEV] REG_HI REG_LO DATA CRC_LO CRC_HI up, INIT DEV REG_HI REG_LO DATA CRC_LO CRC_HI down.
 *
 * A frame with a wrong CRC is thrown away. A first byte that cannot begin a command makes the receiver deaf until a communication
 * clear (SLUSE81, DEBUG_UART_RC). Devices answer from the top of the stack down; one that is not marked top of stack waits for an
 * upper answer for ever, so then nobody answers. */
#include "internal.h"

/* CRC-16/MODBUS, eight bytes at a time. The CRC is linear, so an entry is the xor of the entries of its bits. */
#define BIT(b, i, x) (((b) >> (i) & 1u) ? (x) : 0u)
#define ENTRY(b, s, t, u, v, w, x, y, z) \
    (uint16_t)(BIT(b, 0, s) ^ BIT(b, 1, t) ^ BIT(b, 2, u) ^ BIT(b, 3, v) ^ BIT(b, 4, w) ^ BIT(b, 5, x) ^ BIT(b, 6, y) ^ BIT(b, 7, z))
#define ROW4(b, ...) ENTRY((b) + 0u, __VA_ARGS__), ENTRY((b) + 1u, __VA_ARGS__), ENTRY((b) + 2u, __VA_ARGS__), ENTRY((b) + 3u, __VA_ARGS__)
#define ROW16(b, ...) ROW4((b) + 0u, __VA_ARGS__), ROW4((b) + 4u, __VA_ARGS__), ROW4((b) + 8u, __VA_ARGS__), ROW4((b) + 12u, __VA_ARGS__)
#define ROW64(b, ...) ROW16((b) + 0u, __VA_ARGS__), ROW16((b) + 16u, __VA_ARGS__), ROW16((b) + 32u, __VA_ARGS__), ROW16((b) + 48u, __VA_ARGS__)
#define ROW(...) ROW64(0u, __VA_ARGS__), ROW64(64u, __VA_ARGS__), ROW64(128u, __VA_ARGS__), ROW64(192u, __VA_ARGS__)
static const uint16_t crc_table[8][256] = {
    {ROW(0xC0C1, 0xC181, 0xC301, 0xC601, 0xCC01, 0xD801, 0xF001, 0xA001)},
    {ROW(0x9001, 0x6001, 0xC002, 0xC007, 0xC00D, 0xC019, 0xC031, 0xC061)},
    {ROW(0xC051, 0xC0A1, 0xC141, 0xC281, 0xC501, 0xCA01, 0xD401, 0xE801)},
    {ROW(0xFC01, 0xB801, 0x3001, 0x6002, 0xC004, 0xC00B, 0xC015, 0xC029)},
    {ROW(0xC03D, 0xC079, 0xC0F1, 0xC1E1, 0xC3C1, 0xC781, 0xCF01, 0xDE01)},
    {ROW(0xD101, 0xE201, 0x8401, 0x4801, 0x9002, 0x6007, 0xC00E, 0xC01F)},
    {ROW(0xC010, 0xC023, 0xC045, 0xC089, 0xC111, 0xC221, 0xC441, 0xC881)},
    {ROW(0xCCC1, 0xD981, 0xF301, 0xA601, 0x0C01, 0x1802, 0x3004, 0x6008)},
};

uint16_t frame_crc(const uint8_t *bytes, uint32_t count)
{
    uint32_t crc = 0xFFFF;
    for (; count >= 8u; count -= 8u, bytes += 8) {
        crc = (uint32_t)(crc_table[7][(crc ^ bytes[0]) & 255u] ^ crc_table[6][(crc >> 8) ^ bytes[1]] ^ crc_table[5][bytes[2]] ^
                         crc_table[4][bytes[3]] ^ crc_table[3][bytes[4]] ^ crc_table[2][bytes[5]] ^ crc_table[1][bytes[6]] ^
                         crc_table[0][bytes[7]]);
    }
    for (uint32_t k = 0; k < count; ++k) crc = crc >> 8 ^ crc_table[0][(crc ^ bytes[k]) & 255u];
    return (uint16_t)crc;
}

enum { SINGLE_READ, SINGLE_WRITE, STACK_READ, STACK_WRITE, BROADCAST_READ, BROADCAST_WRITE, REVERSE_WRITE, RESERVED };

typedef struct {
    uint32_t type, device, address, count;
    const uint8_t *data;
} command_t;

typedef struct {
    uint8_t chip[CHIPS_MAX]; /* in the order the frame meets them */
    uint32_t count;
    bool ends_at_top;
} reach_t;

void frame_fault(chips_t *c, uint8_t debug_bit)
{
    *reg_at(c, 0, R_FAULT_COMM1) |= COMM1_UART_RC;
    *reg_at(c, 0, R_DEBUG_UART_RC) |= debug_bit;
}

/* Bytes of a command that begins with `init`, 0 if none does. */
static uint32_t command_length(uint8_t init)
{
    const uint32_t type = init >> 4 & 7u, data = (init & 7u) + 1u;
    if ((init & 0x88u) != 0x80u || type == RESERVED) return 0;
    const bool is_read = type == SINGLE_READ || type == STACK_READ || type == BROADCAST_READ;
    if (is_read && data != 1u) return 0;
    return 1u + (type <= SINGLE_WRITE ? 1u : 0u) + 2u + data + 2u;
}

static void reach(const chips_t *c, uint64_t now_us, bool everywhere, reach_t *out)
{
    const bool reverse = (reg(c, 0, R_CONTROL1) & CONTROL1_DIR_SEL) != 0;
    uint32_t chip = 0;
    out->count = 0;
    out->ends_at_top = false;
    while (chip < CHIPS_MAX && out->count < CHIPS_MAX) {
        const bool turned = ((reg(c, chip, R_CONTROL1) & CONTROL1_DIR_SEL) != 0) == reverse;
        if (!chip_talks(c, chip, now_us) || (!turned && !everywhere)) return;
        out->chip[out->count++] = (uint8_t)chip;
        if (reg(c, chip, R_COMM_CTRL) & COMM_TOP_STACK) {
            out->ends_at_top = true;
            if (!everywhere) return;
        }
        chip = chain_next(c, chip, reverse);
    }
}

static uint32_t own_address(const chips_t *c, uint32_t chip)
{
    const bool reverse = (reg(c, chip, R_CONTROL1) & CONTROL1_DIR_SEL) != 0;
    return reg(c, chip, reverse ? R_DIR1_ADDR : R_DIR0_ADDR) & 63u;
}

static bool is_meant(const chips_t *c, uint32_t chip, const command_t *q)
{
    if (q->type <= SINGLE_WRITE) return own_address(c, chip) == q->device;
    return q->type >= BROADCAST_READ || (reg(c, chip, R_COMM_CTRL) & COMM_STACK_DEV) != 0;
}

static void write_all(chips_t *c, const command_t *q, const reach_t *r, const chips_view_t *view, uint64_t now_us)
{
    for (uint32_t k = 0; k < r->count; ++k) {
        const uint32_t chip = r->chip[k];
        const bool is_taken = q->address - R_DIR0_ADDR < 2u && (reg(c, chip, R_CONTROL1) & CONTROL1_ADDR_WR);
        if (!is_meant(c, chip, q) || !chip_talks(c, chip, now_us)) continue;
        for (uint32_t n = 0; n < q->count; ++n) register_write(c, chip, q->address + n, q->data[n], view, now_us);
        if (is_taken) return; /* who takes an address does not pass it on */
    }
    if (q->address - R_FAULT_MSK1 < 2u || q->address - R_FAULT_RST1 < 2u) faults_line(c);
}

static void answer(chips_t *c, uint32_t chip, const command_t *q, const chips_view_t *view, uint64_t now_us)
{
    const uint32_t count = (q->data[0] & 127u) + 1u;
    uint8_t *out = c->answer + c->answer_count;
    out[0] = (uint8_t)(count - 1u);
    out[1] = (uint8_t)own_address(c, chip);
    out[2] = (uint8_t)(q->address >> 8);
    out[3] = (uint8_t)q->address;
    registers_read(c, chip, q->address, count, view, now_us, out + 4);
    if (c->blank[chip]) memset(out + 4, 0xFF, count);
    uint16_t crc = frame_crc(out, count + 4u);
    if (c->crc_corrupt[chip] != 0) {
        if (c->crc_corrupt[chip] != 0xFFFFFFFFu) --c->crc_corrupt[chip];
        crc ^= 0x0101u;
    }
    out[count + 4u] = (uint8_t)crc;
    out[count + 5u] = (uint8_t)(crc >> 8);
    c->answer_count += count + 6u;
}

static void read_all(chips_t *c, const command_t *q, const reach_t *r, const chips_view_t *view, uint64_t now_us)
{
    const bool completes = q->type == SINGLE_READ || r->ends_at_top || c->cut_answers;
    uint32_t answering = 0, highest = 0;
    c->answer_next = c->answer_count = 0;
    for (uint32_t k = r->count; completes && k-- > 0;) {
        const uint32_t chip = r->chip[k];
        if (!c->is_addressed[chip] || !is_meant(c, chip, q) || c->mute[chip]) continue;
        if (q->type == SINGLE_READ && answering == 1u) { /* two devices drive the line at once: nothing readable is left */
            c->answer[c->answer_count - 1u] ^= 0xFFu;
            c->answer[c->answer_count / 2u] ^= 0xFFu;
            return;
        }
        if (k > highest) highest = k;
        answer(c, chip, q, view, now_us);
        ++answering;
    }
    c->answer_time_us = now_us + c->turnaround_us + highest * c->hop_us + (uint64_t)c->late_ms * 1000u;
}

static void execute(chips_t *c, const chips_view_t *view, uint64_t now_us)
{
    const uint32_t type = c->command[0] >> 4 & 7u, head = type <= SINGLE_WRITE ? 2u : 1u;
    const command_t q = {type, c->command[1] & 63u, (uint32_t)c->command[head] << 8 | c->command[head + 1u], (c->command[0] & 7u) + 1u,
                         c->command + head + 2u};
    reach_t r;
    ++c->commands;
    if (c->answer_count != 0) line_cut_answer(c, 0); /* asked for something new before the old answer left */
    if (type >= STACK_READ && (reg(c, 0, R_COMM_CTRL) & COMM_STACK_DEV)) { /* a stack device has no business with these on its UART */
        frame_fault(c, RC_UNEXPECTED);
        return;
    }
    reach(c, now_us, type == REVERSE_WRITE, &r);
    for (uint32_t k = 0; k < r.count; ++k) c->heard_us[r.chip[k]] = now_us;
    if (type == SINGLE_READ || type == STACK_READ || type == BROADCAST_READ) read_all(c, &q, &r, view, now_us);
    else write_all(c, &q, &r, view, now_us);
}

void frame_byte(chips_t *c, const chips_view_t *view, uint8_t byte, uint64_t end_us)
{
    if (c->line_is_deaf) {
        ++c->byte_errors;
        return;
    }
    if (c->command_count == 0) {
        c->command_need = command_length(byte);
        if (c->command_need == 0) {
            ++c->byte_errors;
            frame_fault(c, RC_INIT);
            c->line_is_deaf = 1;
            return;
        }
    }
    c->command[c->command_count++] = byte;
    if (c->command_count < c->command_need) return;
    c->command_count = 0;
    if (frame_crc(c->command, c->command_need) == 0) execute(c, view, end_us);
    else {
        ++c->crc_errors;
        frame_fault(c, RC_CRC);
    }
}
