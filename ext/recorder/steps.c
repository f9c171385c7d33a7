#include "recorder/steps.h"

#include <string.h>

static uint8_t *put_16(uint8_t *to, uint32_t value)
{
    to[0] = (uint8_t)value;
    to[1] = (uint8_t)(value >> 8);
    return to + 2;
}

static uint8_t *put_32(uint8_t *to, uint32_t value) { return put_16(put_16(to, value), value >> 16); }
static uint8_t *put_64(uint8_t *to, uint64_t value) { return put_32(put_32(to, (uint32_t)value), (uint32_t)(value >> 32)); }
static uint32_t limited(uint32_t count, uint32_t most) { return count < most ? count : most; }

static uint8_t *put_bytes(uint8_t *to, const uint8_t *bytes, uint32_t count)
{
    memcpy(to, bytes, count);
    return to + count;
}

static uint8_t *put_frames(uint8_t *to, const ecu_can_frame_t *frames, uint32_t count)
{
    *to++ = (uint8_t)count;
    for (uint32_t k = 0; k < count; ++k) {
        const ecu_can_frame_t *const f = &frames[k];
        const uint32_t length = limited(f->length, sizeof f->data);
        to = put_32(to, f->id);
        *to++ = f->bus;
        *to++ = (uint8_t)length;
        *to++ = f->flags;
        to = put_bytes(to, f->data, length);
    }
    return to;
}

static uint8_t *put_nvm(uint8_t *to, const ecu_nvm_t *nvm)
{
    *to++ = nvm->op;
    *to++ = nvm->status;
    return put_bytes(put_16(to, nvm->page), nvm->data, sizeof nvm->data);
}

uint32_t steps_put_in(steps_base_t *base, const ecu_in_t *in, uint8_t *mask, uint8_t *to)
{
    uint8_t *at = to;
    uint32_t m = 0;
    if (in->now_us - base->now_us != 1000u) m |= 1u, at = put_64(at, in->now_us - base->now_us);
    if (in->pins.supply_mv != base->supply_mv || in->pins.digital != base->pins_in)
        m |= 2u, at = put_32(put_32(at, in->pins.supply_mv), in->pins.digital);
    for (uint32_t k = 0; k < ECU_UART_COUNT; ++k) {
        const uint32_t count = limited(in->uart_count[k], ECU_UART_IN_MAX);
        if (count == 0u) continue;
        m |= 4u << k;
        *at++ = (uint8_t)count;
        at = put_bytes(at, in->uart_bytes[k], count);
    }
    if (in->uart_errors[0] || in->uart_errors[1]) m |= 16u, at = put_16(put_16(at, in->uart_errors[0]), in->uart_errors[1]);
    if (memcmp(in->can_state, base->can_state, sizeof base->can_state) != 0) m |= 32u, at = put_bytes(at, in->can_state, sizeof in->can_state);
    if (in->can_count) m |= 64u, at = put_frames(at, in->can, limited(in->can_count, ECU_CAN_IN_MAX));
    if (in->nvm_done.op != ECU_NVM_NONE) m |= 128u, at = put_nvm(at, &in->nvm_done);
    base->now_us = in->now_us;
    base->supply_mv = in->pins.supply_mv;
    base->pins_in = in->pins.digital;
    memcpy(base->can_state, in->can_state, sizeof base->can_state);
    *mask = (uint8_t)m;
    return (uint32_t)(at - to);
}

uint32_t steps_put_out(steps_base_t *base, const ecu_out_t *out, uint8_t *mask, uint8_t *to)
{
    uint8_t *at = to;
    uint32_t m = (out->watchdog_kick ? 2u : 0u) | (out->reset_wanted ? 4u : 0u);
    const ecu_pins_out_t *const pins = &out->pins;
    if (pins->digital != base->pins_out || pins->heater_pptt != base->heater_pptt || pins->pump_pptt != base->pump_pptt)
        m |= 1u, at = put_16(put_16(put_32(at, pins->digital), pins->heater_pptt), pins->pump_pptt);
    if (out->sleep_ms) m |= 8u, at = put_32(at, out->sleep_ms);
    for (uint32_t k = 0; k < ECU_UART_COUNT; ++k) {
        const ecu_uart_out_t *const line = &out->uart[k];
        const uint32_t count = limited(line->count, ECU_UART_OUT_MAX);
        if (count == 0u && line->low_us == 0u) continue;
        m |= 16u << k;
        at = put_bytes(put_16(put_32(put_32(at, line->baud), line->low_us), count), line->bytes, count);
    }
    if (out->can_count) m |= 64u, at = put_frames(at, out->can, limited(out->can_count, ECU_CAN_OUT_MAX));
    if (out->nvm_want.op != ECU_NVM_NONE) m |= 128u, at = put_nvm(at, &out->nvm_want);
    base->pins_out = pins->digital;
    base->heater_pptt = pins->heater_pptt;
    base->pump_pptt = pins->pump_pptt;
    *mask = (uint8_t)m;
    return (uint32_t)(at - to);
}

uint32_t steps_put_key(steps_base_t *base, uint64_t number, uint64_t before_us, uint8_t *to)
{
    memset(base, 0, sizeof *base);
    base->now_us = before_us;
    to[0] = STEPS_KEY;
    put_64(put_64(to + 1, number), before_us);
    return STEPS_KEY_BYTES;
}

uint32_t steps_put_boot(const ecu_boot_t *boot, uint8_t *to)
{
    to[0] = STEPS_BOOT;
    uint8_t *at = put_64(to + 1, boot->now_us);
    *at++ = boot->reset_cause;
    put_bytes(at, boot->entropy, sizeof boot->entropy);
    return STEPS_BOOT_BYTES;
}

/* ---- reading ---- */

/* Bytes that are left. Reading beyond them gives zeros and is remembered. */
typedef struct {
    const uint8_t *at;
    uint32_t left;
    bool is_short;
} source_t;

static void get_bytes(source_t *s, uint8_t *to, uint32_t count)
{
    if (count > s->left) {
        memset(to, 0, count);
        s->is_short = true;
        return;
    }
    memcpy(to, s->at, count);
    s->at += count;
    s->left -= count;
}

static uint64_t get(source_t *s, uint32_t bytes)
{
    uint8_t raw[8];
    uint64_t value = 0;
    get_bytes(s, raw, bytes);
    for (uint32_t k = bytes; k > 0u; --k) value = value << 8 | raw[k - 1u];
    return value;
}

static uint16_t get_frames(source_t *s, ecu_can_frame_t *frames, uint32_t most)
{
    const uint32_t count = (uint32_t)get(s, 1);
    if (count > most) {
        s->is_short = true;
        return 0;
    }
    for (uint32_t k = 0; k < count && !s->is_short; ++k) {
        ecu_can_frame_t *const f = &frames[k];
        memset(f, 0, sizeof *f);
        f->id = (uint32_t)get(s, 4);
        f->bus = (uint8_t)get(s, 1);
        f->length = (uint8_t)get(s, 1);
        f->flags = (uint8_t)get(s, 1);
        if (f->length > sizeof f->data || f->bus >= ECU_CAN_BUS_COUNT) {
            s->is_short = true;
            return 0;
        }
        get_bytes(s, f->data, f->length);
    }
    return (uint16_t)count;
}

static void get_nvm(source_t *s, ecu_nvm_t *nvm)
{
    nvm->op = (uint8_t)get(s, 1);
    nvm->status = (uint8_t)get(s, 1);
    nvm->page = (uint16_t)get(s, 2);
    get_bytes(s, nvm->data, sizeof nvm->data);
}

int32_t steps_get_in(steps_base_t *base, uint8_t mask, const uint8_t *from, uint32_t size, ecu_in_t *in)
{
    source_t s = {from, size, false};
    memset(in, 0, sizeof *in);
    in->now_us = base->now_us + (mask & 1u ? get(&s, 8) : 1000u);
    if (mask & 2u) {
        base->supply_mv = (uint32_t)get(&s, 4);
        base->pins_in = (uint32_t)get(&s, 4);
    }
    for (uint32_t k = 0; k < ECU_UART_COUNT; ++k) {
        if ((mask & 4u << k) == 0u) continue;
        const uint32_t count = (uint32_t)get(&s, 1);
        if (count > ECU_UART_IN_MAX) return -1;
        in->uart_count[k] = (uint16_t)count;
        get_bytes(&s, in->uart_bytes[k], count);
    }
    for (uint32_t k = 0; mask & 16u && k < ECU_UART_COUNT; ++k) in->uart_errors[k] = (uint16_t)get(&s, 2);
    if (mask & 32u) get_bytes(&s, base->can_state, sizeof base->can_state);
    if (mask & 64u) in->can_count = get_frames(&s, in->can, ECU_CAN_IN_MAX);
    if (mask & 128u) get_nvm(&s, &in->nvm_done);
    base->now_us = in->now_us;
    in->pins.supply_mv = base->supply_mv;
    in->pins.digital = base->pins_in;
    memcpy(in->can_state, base->can_state, sizeof in->can_state);
    return s.is_short ? -1 : (int32_t)(size - s.left);
}

int32_t steps_get_out(steps_base_t *base, uint8_t mask, const uint8_t *from, uint32_t size, ecu_out_t *out)
{
    source_t s = {from, size, false};
    memset(out, 0, sizeof *out);
    if (mask & 1u) {
        base->pins_out = (uint32_t)get(&s, 4);
        base->heater_pptt = (uint16_t)get(&s, 2);
        base->pump_pptt = (uint16_t)get(&s, 2);
    }
    out->watchdog_kick = (mask & 2u) != 0u;
    out->reset_wanted = (mask & 4u) != 0u;
    if (mask & 8u) out->sleep_ms = (uint32_t)get(&s, 4);
    for (uint32_t k = 0; k < ECU_UART_COUNT; ++k) {
        if ((mask & 16u << k) == 0u) continue;
        ecu_uart_out_t *const line = &out->uart[k];
        line->baud = (uint32_t)get(&s, 4);
        line->low_us = (uint32_t)get(&s, 4);
        line->count = (uint16_t)get(&s, 2);
        if (line->count > ECU_UART_OUT_MAX) return -1;
        get_bytes(&s, line->bytes, line->count);
    }
    if (mask & 64u) out->can_count = get_frames(&s, out->can, ECU_CAN_OUT_MAX);
    if (mask & 128u) get_nvm(&s, &out->nvm_want);
    out->pins.digital = base->pins_out;
    out->pins.heater_pptt = base->heater_pptt;
    out->pins.pump_pptt = base->pump_pptt;
    return s.is_short ? -1 : (int32_t)(size - s.left);
}
