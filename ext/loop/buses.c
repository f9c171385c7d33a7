#include "loop/buses.h"

#include "loop/hash.h"
#include "loop/loop.h"

/* A classical frame is a quarter of what an FD frame needs, and a few thousand are moved a second. */
static void frame_copy(ecu_can_frame_t *to, const ecu_can_frame_t *from)
{
    if (from->length <= 8u) memcpy(to, from, offsetof(ecu_can_frame_t, data) + 8u);
    else *to = *from;
}

void buses_put(loop_t *l, loop_queue_t *q, const ecu_can_frame_t *frame)
{
    if (q->head - q->tail >= LOOP_QUEUE) {
        l->frames_dropped++;
        return;
    }
    frame_copy(&q->frame[q->head++ & (LOOP_QUEUE - 1u)], frame);
}

/* Bits of a classical data frame with worst-case stuffing (ISO 11898-1): 47 fixed of which 34 + 8n can be stuffed. */
static double frame_bits(const ecu_can_frame_t *frame)
{
    const uint32_t payload = 8u * frame->length;
    return (double)(47u + payload + (33u + payload) / 4u);
}

static bool queue_take(loop_t *l, loop_queue_t *q, uint32_t bus, ecu_can_frame_t *frame)
{
    if (q->head == q->tail || l->bus_credit_bits[bus] <= 0.0) return false;
    frame_copy(frame, &q->frame[q->tail++ & (LOOP_QUEUE - 1u)]);
    l->bus_credit_bits[bus] -= frame_bits(frame);
    l->can_frames++;
    return true;
}

static void trace_frame(world_t *w, const loop_inputs_t *in, const ecu_can_frame_t *frame, uint8_t direction)
{
    loop_t *l = &w->loop;
    const uint64_t head = (uint64_t)frame->id | (uint64_t)frame->bus << 32 | (uint64_t)frame->flags << 40 | (uint64_t)direction << 48;
    l->trace_hash = hash_bytes(hash_word(l->trace_hash, head), frame->data, frame->length);
    if (in->recorder) record_frame(in->recorder, l->elapsed_us, frame, direction);
}

void buses_step(world_t *w, const loop_inputs_t *in)
{
    loop_t *l = &w->loop;
    ecu_can_frame_t frame;
    uint16_t count = 0;
    for (uint32_t bus = 0; bus < ECU_CAN_BUS_COUNT; ++bus) {
        if (w->to_firmware[bus].head == w->to_firmware[bus].tail && w->from_firmware[bus].head == w->from_firmware[bus].tail) continue;
        /* What was not used is lost, what was overdrawn by the last frame is paid back. */
        const double owed = l->bus_credit_bits[bus] < 0.0 ? l->bus_credit_bits[bus] : 0.0;
        l->bus_credit_bits[bus] = owed + l->bus_bits_per_ms[bus];
        while (count < ECU_CAN_IN_MAX && queue_take(l, &w->to_firmware[bus], bus, &w->in.can[count])) trace_frame(w, in, &w->in.can[count++], 0);
        while (queue_take(l, &w->from_firmware[bus], bus, &frame)) {
            vehicle_event_t e;
            trace_frame(w, in, &frame, 1);
            if (bus == ECU_BUS_VEHICLE && vehicle_receive(&w->vehicle, l->elapsed_us, &frame, &e))
                loop_event(l, LOOP_EVENT_DIAGNOSIS, e.diagnosis, e.tier * 2u + e.raised, e.index, e.value);
        }
    }
    w->in.can_count = count;
}
