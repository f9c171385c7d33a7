#include <string.h>

#include "imd.h"

#define FIELD_OWNER imd_t
FIELD_TABLE(imd_fields, IMD_FIELDS);
const size_t imd_field_count = FIELD_COUNT(imd_fields);

enum { STATE_STARTING = 0, STATE_MEASURING = 1, STATE_FAILED = 2 };
enum { TEST_RUNNING = 1, TEST_PASSED = 2, TEST_FAILED = 3 };

#define ID_INFO 0x037u
#define ID_RESPONSE 0x022u
#define VALUE_MAX_KOHM 50000u
#define VALUE_UNKNOWN 0xFFFFu

void imd_init(imd_t *m)
{
    m->started_us = m->due_us = 0;
    m->is_started = m->test_is_reported = m->counter = 0;
    m->value_kohm = VALUE_UNKNOWN;
}

static uint32_t rounded(double x, uint32_t most)
{
    if (!(x > 0.0)) return 0; /* an unknown resistance is read as none */
    return x < (double)most ? (uint32_t)(int32_t)(x + 0.5) : most;
}

static ecu_can_frame_t *frame_at(ecu_can_frame_t *out, uint16_t *out_count, uint32_t id)
{
    ecu_can_frame_t *const frame = &out[(*out_count)++];
    memset(frame, 0, sizeof *frame);
    frame->id = id;
    frame->bus = ECU_BUS_SENSOR;
    frame->length = 8;
    return frame;
}

static void put_u16(uint8_t *out, uint32_t value)
{
    out[0] = (uint8_t)(value >> 8);
    out[1] = (uint8_t)value;
}

static void send_info(imd_t *m, bool is_ready, double pack_v, ecu_can_frame_t *frame)
{
    const bool is_valid = is_ready && !m->self_test_fails;
    put_u16(frame->data, is_valid ? m->value_kohm : VALUE_UNKNOWN);
    frame->data[2] = is_ready ? (m->self_test_fails ? STATE_FAILED : STATE_MEASURING) : STATE_STARTING;
    frame->data[3] = is_ready ? (m->self_test_fails ? TEST_FAILED : TEST_PASSED) : TEST_RUNNING;
    frame->data[4] = is_valid ? 1 : 0;
    frame->data[5] = (uint8_t)(m->counter & 15u);
    put_u16(frame->data + 6, rounded(pack_v * 10.0, 65534u));
    ++m->counter;
}

void imd_step(imd_t *m, uint64_t now_us, double insulation_kohm, double pack_v, ecu_can_frame_t *out, uint16_t *out_count,
              uint16_t out_max)
{
    if (!m->is_started) {
        m->is_started = 1;
        m->started_us = now_us;
        m->due_us = now_us + (uint64_t)m->period_ms * 1000u;
    }
    if (now_us < m->due_us) return;
    const bool is_ready = now_us >= m->started_us + (uint64_t)m->start_ms * 1000u;
    const bool reports = is_ready && !m->test_is_reported;
    if (!m->silent && *out_count + (reports ? 2u : 1u) > out_max) return; /* next millisecond */
    m->due_us += (uint64_t)(m->period_ms != 0 ? m->period_ms : 1u) * 1000u;
    if (is_ready && !m->frozen) m->value_kohm = rounded(insulation_kohm * (1.0 + m->error_frac), VALUE_MAX_KOHM);
    if (reports) m->test_is_reported = 1;
    if (m->silent) return;
    send_info(m, is_ready, pack_v, frame_at(out, out_count, ID_INFO));
    if (!reports) return;
    ecu_can_frame_t *const frame = frame_at(out, out_count, ID_RESPONSE);
    frame->data[0] = 1; /* kind: end of self-test */
    frame->data[1] = m->self_test_fails ? TEST_FAILED : TEST_PASSED;
    put_u16(frame->data + 2, m->serial >> 16);
    put_u16(frame->data + 4, m->serial);
}
