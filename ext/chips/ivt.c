#include <string.h>

#include "ivt.h"
#include "philox.h"

#define FIELD_OWNER ivt_t
FIELD_TABLE(ivt_fields, IVT_FIELDS);
const size_t ivt_field_count = FIELD_COUNT(ivt_fields);

enum { CURRENT, U1, U2, U3, TEMPERATURE, POWER, CHARGE, ENERGY };
enum { MODE_OFF = 0, MODE_TRIGGERED = 1, MODE_CYCLIC = 2 };
enum { SENDS_NOTHING = 1, REPEATS = 2 };
enum { STATUS_OVER_CURRENT = 0x10, STATUS_RESULT_ERROR = 0x20, STATUS_ANY_ERROR = 0x40 };

#define ID_RESULT 0x521u
#define ID_COMMAND 0x411u
#define ID_RESPONSE 0x511u
#define NEVER_US UINT64_MAX

static void schedule(ivt_t *s)
{
    s->next_us = NEVER_US;
    for (uint32_t k = 0; k < IVT_RESULTS; ++k) {
        if (s->due_us[k] < s->next_us) s->next_us = s->due_us[k];
    }
}

static void forget_means(ivt_t *s)
{
    for (uint32_t k = 0; k < 3u; ++k) {
        s->sum[k] = 0.0;
        s->sum_count[k] = 0;
    }
}

static void restart(ivt_t *s, uint64_t now_us)
{
    s->is_running = s->starts_running;
    s->started_us = now_us;
    s->charge_as = s->energy_ws = 0.0;
    forget_means(s);
    for (uint32_t k = 0; k < IVT_RESULTS; ++k) {
        s->counter[k] = s->is_clipped[k] = 0;
        s->value[k] = 0;
        s->due_us[k] = s->result_mode[k] == MODE_CYCLIC ? now_us + (uint64_t)s->period_ms[k] * 1000u : NEVER_US;
    }
    schedule(s);
}

static void factory(ivt_t *s)
{
    static const uint16_t period_ms[IVT_RESULTS] = {10, 10, 10, 100, 100, 100, 100, 100};
    for (uint32_t k = 0; k < IVT_RESULTS; ++k) {
        s->period_ms[k] = period_ms[k];
        s->result_mode[k] = k == U3 ? MODE_OFF : MODE_CYCLIC;
        s->result_flags[k] = 0;
    }
    s->starts_running = 1;
    s->over_current_positive_a = s->over_current_negative_a = 0;
}

void ivt_init(ivt_t *s)
{
    factory(s);
    restart(s, 0);
    s->sent = 0;
}

/* Rounds; clips to the range and says so. Unknown (NaN) is clipped too. */
static int32_t quantise(ivt_t *s, uint32_t k, double value, double range, double step)
{
    const double limited = value < range ? (value > -range ? value : -range) : range;
    const double raw = limited / step;
    s->is_clipped[k] = !(value <= range && value >= -range);
    if (!(raw < 2147483000.0)) return 2147483000;
    return raw > -2147483000.0 ? (int32_t)(raw + (raw < 0.0 ? -0.5 : 0.5)) : -2147483000;
}

static double mean(ivt_t *s, uint32_t k)
{
    const double value = s->sum_count[k] != 0 ? s->sum[k] / (double)s->sum_count[k] : 0.0;
    s->sum[k] = 0.0;
    s->sum_count[k] = 0;
    return value;
}

static void measure(ivt_t *s, uint32_t k, uint64_t now_us)
{
    const double noise = philox_gauss(philox(s->noise_key, now_us, k).v[0]);
    const double gain = 1.0 + s->voltage_gain_frac;
    switch (k) {
    case CURRENT: {
        const double a = mean(s, k) * (1.0 + s->current_gain_frac) + s->current_offset_a + s->current_noise_a * noise;
        s->value[k] = quantise(s, k, a, s->current_range_a, 1e-3);
        break;
    }
    case U1:
    case U2: s->value[k] = quantise(s, k, mean(s, k) * gain + s->voltage_noise_v * noise, s->voltage_range_v, 1e-3); break;
    case TEMPERATURE: s->value[k] = quantise(s, k, s->temperature_degc, 500.0, 0.1); break;
    case POWER: s->value[k] = quantise(s, k, (double)s->value[CURRENT] * (double)s->value[U1] * 1e-6, 1e9, 1.0); break;
    case CHARGE: s->value[k] = quantise(s, k, s->charge_as, 2147483000.0, 1.0); break;
    case ENERGY: s->value[k] = quantise(s, k, s->energy_ws, 7e12, 3600.0); break;
    default: s->value[k] = 0; break;
    }
}

static uint8_t status_of(const ivt_t *s, uint32_t k)
{
    uint32_t status = s->counter[k] & 15u, clipped = 0;
    const int32_t ma = s->value[CURRENT];
    const bool over = (s->over_current_positive_a > 0 && ma / 1000 >= s->over_current_positive_a) ||
                      (s->over_current_negative_a < 0 && ma / 1000 <= s->over_current_negative_a);
    for (uint32_t n = 0; n < IVT_RESULTS; ++n) clipped |= s->is_clipped[n];
    if (over) status |= STATUS_OVER_CURRENT;
    if (s->is_clipped[k] || s->invalid) status |= STATUS_RESULT_ERROR;
    if (clipped || s->invalid) status |= STATUS_ANY_ERROR;
    return (uint8_t)status;
}

static ecu_can_frame_t *frame_at(ivt_t *s, ecu_can_frame_t *out, uint16_t *out_count, uint16_t out_max, uint32_t id, uint8_t length)
{
    if (*out_count >= out_max) return NULL;
    ecu_can_frame_t *const frame = &out[(*out_count)++];
    memset(frame, 0, sizeof *frame);
    frame->id = id;
    frame->bus = ECU_BUS_SENSOR;
    frame->length = length;
    ++s->sent;
    return frame;
}

static bool send_result(ivt_t *s, uint32_t k, uint64_t now_us, ecu_can_frame_t *out, uint16_t *out_count, uint16_t out_max)
{
    if (*out_count >= out_max && s->silent != SENDS_NOTHING) return false;
    if (!s->frozen && s->silent != REPEATS) measure(s, k, now_us);
    if (s->silent != SENDS_NOTHING) {
        ecu_can_frame_t *const frame = frame_at(s, out, out_count, out_max, ID_RESULT + k, 6);
        const bool flip = (s->result_flags[k] & 0x80u) != 0, little = (s->result_flags[k] & 0x40u) != 0;
        const uint32_t raw = (uint32_t)(flip ? -s->value[k] : s->value[k]);
        frame->data[0] = (uint8_t)k;
        frame->data[1] = status_of(s, k);
        for (uint32_t n = 0; n < 4u; ++n) frame->data[2u + n] = (uint8_t)(raw >> (little ? 8u * n : 24u - 8u * n));
    }
    if (s->silent != REPEATS) s->counter[k] = (s->counter[k] + 1u) & 15u;
    return true;
}

static void put_u16(uint8_t *out, uint32_t value)
{
    out[0] = (uint8_t)(value >> 8);
    out[1] = (uint8_t)value;
}

static void configure(ivt_t *s, uint32_t k, const uint8_t *data, uint64_t now_us)
{
    const uint32_t period_ms = (uint32_t)data[2] << 8 | data[3];
    if ((data[1] & 3u) == 3u || period_ms == 0) return; /* refused: the answer shows the old values */
    s->result_flags[k] = data[1] & 0xC0u;
    s->result_mode[k] = data[1] & 3u;
    s->period_ms[k] = (uint16_t)period_ms;
    s->due_us[k] = s->result_mode[k] == MODE_CYCLIC ? now_us + period_ms * 1000u : NEVER_US;
    schedule(s);
}

/* What the sensor says about itself: limits, identity. False if the command is not one of these. */
static bool answer_about(const ivt_t *s, uint8_t command, uint8_t *reply)
{
    switch (command) {
    case 0x35:
    case 0x75: put_u16(reply + 1, (uint32_t)s->over_current_positive_a); return true;
    case 0x36:
    case 0x76: put_u16(reply + 1, (uint32_t)s->over_current_negative_a); return true;
    case 0x40:
    case 0x41:
    case 0x42:
    case 0x43: return true; /* error and log data: none */
    case 0x79: memcpy(reply + 1, "SOLID", 5); return true;
    case 0x7A: reply[1] = 1; return true;
    case 0x7B:
        put_u16(reply + 1, s->serial >> 16);
        put_u16(reply + 3, s->serial);
        return true;
    default: return false;
    }
}

static void command(ivt_t *s, uint64_t now_us, const uint8_t *data, uint8_t reply[8], uint32_t *triggered)
{
    const uint8_t code = data[0];
    memset(reply, 0, 8);
    reply[0] = code | 0x80u;
    if (code == 0x34u) {
        s->is_running = data[1] & 1u;
        forget_means(s);
        s->starts_running = data[2] & 1u;
        memcpy(reply + 1, data + 1, 4);
    } else if (code == 0x30u) s->charge_as = s->energy_ws = 0.0;
    else if (code == 0x31u) *triggered |= data[1];
    else if (code == 0x32u || code == 0x33u) return;
    else if (code == 0x3Du || code == 0x3Fu) {
        if (code == 0x3Du) factory(s);
        restart(s, now_us);
        reply[0] = 0xBF; /* alive */
    } else if ((code & 0xF8u) == 0x20u || (code & 0xF8u) == 0x60u) {
        const uint32_t k = code & 7u;
        if (code < 0x60u && !s->is_running) configure(s, k, data, now_us); /* only while stopped */
        reply[1] = s->result_flags[k] | s->result_mode[k];
        put_u16(reply + 2, s->period_ms[k]);
    } else {
        const int16_t limit_a = (int16_t)((uint16_t)data[1] << 8 | data[2]);
        if (code == 0x35u) s->over_current_positive_a = limit_a;
        if (code == 0x36u) s->over_current_negative_a = limit_a;
        if (!answer_about(s, code, reply)) {
            reply[0] = 0xFF; /* wrong command */
            reply[1] = code;
        }
    }
}

#define UNPOWERED_US 1000000u /* not called for so long: it slept, and counted nothing */

void ivt_step(ivt_t *s, uint64_t now_us, double current_a, double pack_v, double link_v, const ecu_can_frame_t *in, uint16_t in_count,
              ecu_can_frame_t *out, uint16_t *out_count, uint16_t out_max)
{
    const double seen_a = s->sign_flip ? -current_a : current_a;
    const double seen[3] = {seen_a, pack_v, s->link_is_pack ? pack_v : link_v};
    uint32_t triggered = 0;
    for (uint32_t k = 0; k < 3u; ++k) {
        s->sum[k] += seen[k];
        ++s->sum_count[k];
    }
    const double counted_a = seen_a * (1.0 + s->current_gain_frac) + s->current_offset_a;
    const double counted_w = counted_a * pack_v;
    const uint64_t since_us = now_us - s->counted_us;
    const double dt_s = since_us < UNPOWERED_US ? (double)since_us * 1e-6 : 0.0;
    s->counted_us = now_us;
    if (counted_w > -1e9 && counted_w < 1e9) { /* an unknown current must not spoil the counters for ever */
        s->charge_as += counted_a * dt_s;
        s->energy_ws += counted_w * dt_s;
    }
    for (uint32_t k = 0; k < in_count; ++k) {
        if (in[k].id != ID_COMMAND || in[k].length != 8 || in[k].flags != 0 || s->silent) continue;
        ecu_can_frame_t *const frame = frame_at(s, out, out_count, out_max, ID_RESPONSE, 8);
        uint8_t reply[8];
        command(s, now_us, in[k].data, reply, &triggered);
        if (frame != NULL) memcpy(frame->data, reply, sizeof reply);
    }
    if ((now_us < s->next_us && triggered == 0) || !s->is_running) return;
    for (uint32_t k = 0; k < IVT_RESULTS; ++k) {
        const bool is_due = now_us >= s->due_us[k] || (s->result_mode[k] == MODE_TRIGGERED && (triggered >> k & 1u));
        if (!is_due || !send_result(s, k, now_us, out, out_count, out_max)) continue;
        if (s->result_mode[k] != MODE_CYCLIC) continue;
        const uint64_t period_us = (uint64_t)s->period_ms[k] * 1000u;
        s->due_us[k] += ((now_us - s->due_us[k]) / period_us + 1u) * period_us; /* keeps its grid after a pause */
    }
    schedule(s);
}
