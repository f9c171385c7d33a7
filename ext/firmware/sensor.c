/* Receivers of the sensor bus: an IVT-S shunt (current, pack voltage, link voltage; discharge reads positive) and an insulation
 * monitor. A frame is used when its length, counter and status are right; what is not used is counted and ages. */
#include "bms.h"
#include "util.h"

enum { ID_CURRENT = 0x521, ID_PACK = 0x522, ID_LINK = 0x523, ID_INSULATION = 0x037 };
enum { IVT_RESULT_ERROR = 0x20, IVT_SYSTEM_ERROR = 0x80 };
enum { IMD_MEASURING = 1, IMD_TEST_PASSED = 2 };

void sensor_init(bms_t *self)
{
    self->sensor.current_ma.us = self->sensor.pack_mv.us = self->now_us;
    self->sensor.link_mv.us = self->sensor.insulation_kohm.us = self->now_us;
}

bool sensor_fresh(const bms_t *self, const reading_t *reading, uint32_t age_ms)
{
    return reading->valid != 0u && elapsed_ms(self->now_us, reading->us) <= age_ms;
}

/* A counter that stands still is a sensor that repeats itself; one that jumps has lost frames, which ageing already shows. */
static bool counter_moves(reading_t *reading, uint8_t counter)
{
    const bool moves = reading->seen == 0u || counter != reading->counter;
    reading->seen = 1u;
    reading->counter = counter;
    return moves;
}

/* Two senders under one identifier make the counter jump again and again; single losses are forgiven by the frames after them. A
 * counter that only stands still is a sensor that hangs, which ageing shows. */
static void watch_order(bms_t *self, uint8_t counter)
{
    sensor_t *const s = &self->sensor;
    const uint8_t step = s->current_ma.seen == 0u ? 1u : (uint8_t)((counter - s->current_ma.counter) & 15);
    const bool steps = step == 1u || (step == 0u && s->last_step == 0u);
    s->last_step = step;
    s->jumps = (uint8_t)(steps ? max_i32(s->jumps - 1, 0) : min_i32(s->jumps + 2, 60));
    const bool many = s->jumps > diagnosis_table[DIAG_SENSOR_CONFLICT].threshold[TIER_TRIP];
    diag_sample(self, DIAG_SENSOR_CONFLICT, many ? TIER_TRIP : TIER_NONE, s->jumps, -1);
}

static void accept(bms_t *self, reading_t *reading, int32_t value)
{
    reading->value = value;
    reading->valid = 1u;
    reading->seq += 1u;
    reading->us = self->now_us;
}

static bool take_ivt(bms_t *self, reading_t *reading, const ecu_can_frame_t *frame, int32_t range)
{
    const int32_t value = get_i32_be(frame->data + 2);
    const bool clipped = abs_i32(value) >= range; /* flagged as an error by the sensor, and surely beyond every limit */
    const bool wrong = (frame->data[1] & (IVT_RESULT_ERROR | IVT_SYSTEM_ERROR)) != 0u && !clipped;
    const bool fits = frame->length == 6u && frame->flags == 0u && frame->data[0] == (uint8_t)(frame->id - ID_CURRENT);
    if (!fits || !counter_moves(reading, frame->data[1] & 15u) || wrong) {
        self->sensor.rejected += 1u;
        return false;
    }
    accept(self, reading, value);
    return true;
}

static void take_insulation(bms_t *self, const ecu_can_frame_t *frame)
{
    reading_t *const reading = &self->sensor.insulation_kohm;
    if (frame->length != 8u || frame->flags != 0u || !counter_moves(reading, frame->data[5] & 15u)) {
        self->sensor.rejected += 1u;
        return;
    }
    self->sensor.insulation_fault = frame->data[2] > IMD_MEASURING || frame->data[3] > IMD_TEST_PASSED;
    const uint16_t kohm = get_u16_be(frame->data);
    const bool known = frame->data[2] == IMD_MEASURING && frame->data[3] == IMD_TEST_PASSED && frame->data[4] == 1u && kohm != 0xFFFFu;
    if (known) accept(self, reading, kohm);
    else reading->valid = 0u;
}

void sensor_receive(bms_t *self, const ecu_can_frame_t *frame)
{
    sensor_t *const s = &self->sensor;
    switch (frame->id) {
    case ID_CURRENT:
        if (frame->length == 6u) watch_order(self, frame->data[1] & 15u);
        if (take_ivt(self, &s->current_ma, frame, self->config.set.current_range_ma)) charge_take(self, s->current_ma.value);
        break;
    case ID_PACK: (void)take_ivt(self, &s->pack_mv, frame, INT32_MAX); break;
    case ID_LINK: (void)take_ivt(self, &s->link_mv, frame, INT32_MAX); break;
    case ID_INSULATION: take_insulation(self, frame); break;
    default: break;
    }
}
