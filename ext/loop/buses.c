#include "loop/buses.h"

#include "loop/hash.h"
#include "loop/loop.h"

#define LOAD_WINDOW_US 100000u

void buses_start(world_t *w)
{
    static const uint32_t members[ECU_CAN_BUS_COUNT] = {
        1u << NODE_ECU | 1u << NODE_VEHICLE, 1u << NODE_ECU | 1u << NODE_CURRENT_SENSOR | 1u << NODE_INSULATION_MONITOR};
    for (uint32_t k = 0; k < ECU_CAN_BUS_COUNT; ++k) {
        canbus_state_t *s = &w->bus[k].s;
        s->members_mask = members[k];
        s->chance_key = hash_word(w->loop.seed, k + 1u);
        if (s->load_window_us == 0u) s->load_window_us = LOAD_WINDOW_US;
        canbus_init(&w->bus[k]);
    }
}

void buses_put(world_t *w, uint32_t bus, uint32_t node, const ecu_can_frame_t *frame)
{
    if (!w->seam.is_tampered) {
        if (!canbus_put(&w->bus[bus], node, frame)) w->loop.frames_dropped++;
        return;
    }
    ecu_can_frame_t changed = *frame;
    changed.bus = (uint8_t)bus;
    if (seam_put(w, bus, node, &changed) && !canbus_put(&w->bus[bus], node, &changed)) w->loop.frames_dropped++;
}

uint32_t buses_put_foreign(world_t *w, uint32_t bus, const bus_frame_t *frames, uint32_t count)
{
    uint32_t accepted = 0;
    w->bus[bus].s.members_mask |= 1u << CANBUS_STRANGER;
    for (; accepted < count; ++accepted) {
        ecu_can_frame_t frame = frames[accepted].frame;
        frame.bus = (uint8_t)bus;
        frame.reserved = 0u;
        if (!canbus_put(&w->bus[bus], CANBUS_STRANGER, &frame)) break;
    }
    return accepted;
}

static void look_on(bus_tap_t *tap, uint64_t time_us, uint32_t node, const ecu_can_frame_t *frame)
{
    if (tap->head - tap->tail >= tap->capacity) {
        tap->tail++;
        tap->lost++;
    }
    bus_frame_t *to = &tap->frames[tap->head++ & (tap->capacity - 1u)];
    to->time_us = time_us;
    to->frame = *frame;
    to->frame.reserved = (uint8_t)node;
}

static void trace_frame(world_t *w, const loop_inputs_t *in, const ecu_can_frame_t *frame, uint64_t time_us, uint8_t direction)
{
    loop_t *l = &w->loop;
    const uint64_t head = (uint64_t)frame->id | (uint64_t)frame->bus << 32 | (uint64_t)frame->flags << 40 | (uint64_t)direction << 48;
    l->trace_hash = hash_bytes(hash_word(l->trace_hash, head), frame->data, frame->length);
    if (in->recorder) record_frame(in->recorder, time_us, frame, direction);
}

/* A frame was carried: everybody who heard it has it in this millisecond. */
static void deliver(world_t *w, const loop_inputs_t *in, uint32_t bus, const canbus_event_t *e)
{
    loop_t *l = &w->loop;
    const uint64_t time_us = e->time_ns / 1000u;
    const bool is_ours = e->node == NODE_ECU;
    l->can_frames++;
    if (in->tap[bus]) look_on(in->tap[bus], time_us, e->node, e->frame);
    if ((e->receivers & 1u << NODE_ECU) != 0u) {
        if (w->in.can_count < ECU_CAN_IN_MAX) canbus_copy(&w->in.can[w->in.can_count++], e->frame);
        else l->frames_dropped++; /* its controller overruns */
    }
    trace_frame(w, in, e->frame, time_us, is_ours);
    vehicle_event_t told;
    if (bus == ECU_BUS_VEHICLE && (e->receivers & 1u << NODE_VEHICLE) != 0u && vehicle_receive(&w->vehicle, l->elapsed_us, e->frame, &told))
        loop_event(l, LOOP_EVENT_DIAGNOSIS, told.diagnosis, told.tier * 2u + told.raised, told.index, told.value);
}

/* Error frames are on the wire as well; who is off or back is seen by its silence. */
static void note_trouble(world_t *w, const loop_inputs_t *in, uint32_t bus, const canbus_event_t *e)
{
    if (e->kind != CANBUS_ERROR) return;
    ecu_can_frame_t frame;
    memset(&frame, 0, sizeof frame);
    frame.bus = (uint8_t)bus;
    frame.flags = ECU_CAN_ERROR;
    if (in->tap[bus]) look_on(in->tap[bus], e->time_ns / 1000u, e->node, &frame);
    trace_frame(w, in, &frame, e->time_ns / 1000u, e->node == NODE_ECU);
}

/* An ECU that is starting is not on its buses. Called when that changes, and before a run, when faults may have been written. */
void buses_look(world_t *w)
{
    for (uint32_t k = 0; k < ECU_CAN_BUS_COUNT; ++k) {
        canbus_state_t *s = &w->bus[k].s;
        if (w->loop.booting_ms != 0u) s->absent_mask |= 1u << NODE_ECU;
        else s->absent_mask &= ~(1u << NODE_ECU);
        canbus_look(&w->bus[k]);
    }
}

static inline bool next_event(canbus_t *b, uint64_t until_ns, canbus_event_t *e)
{
    if (!canbus_is_quiet(b)) return canbus_next(b, until_ns, e);
    canbus_pass(b, until_ns);
    return false;
}

void buses_step(world_t *w, const loop_inputs_t *in)
{
    const uint64_t until_ns = w->loop.elapsed_us * 1000u;
    canbus_event_t e[ECU_CAN_BUS_COUNT];
    bool has[ECU_CAN_BUS_COUNT];
    w->in.can_count = 0;
    for (uint32_t k = 0; k < ECU_CAN_BUS_COUNT; ++k) has[k] = next_event(&w->bus[k], until_ns, &e[k]);
    while (has[0] || has[1]) { /* in the order of time over both */
        const uint32_t k = has[0] && (!has[1] || e[0].time_ns <= e[1].time_ns) ? 0u : 1u;
        if (e[k].kind == CANBUS_FRAME) deliver(w, in, k, &e[k]);
        else note_trouble(w, in, k, &e[k]);
        has[k] = next_event(&w->bus[k], until_ns, &e[k]);
    }
    for (uint32_t k = 0; k < ECU_CAN_BUS_COUNT; ++k) w->in.can_state[k] = canbus_node_state(&w->bus[k], NODE_ECU);
}
