#include "canbus/pump.h"

#include <errno.h>
#include <time.h>

#define ONCE 16u /* frames taken from one link in a pass */

static void hand_out(canbus_pump_t *p, const canbus_event_t *e)
{
    link_frame_t out;
    memset(&out, 0, sizeof out);
    out.time_us = p->began_us + e->time_ns / 1000u;
    if (e->kind == CANBUS_FRAME) {
        p->carried++;
        out.id = e->frame->id;
        out.length = e->frame->length;
        out.flags = e->frame->flags;
        memcpy(out.data, e->frame->data, sizeof out.data);
        for (uint32_t n = 0; n < CANBUS_NODES; ++n)
            if (p->link[n] && (e->receivers >> n & 1u) != 0u) (void)p->api->send(p->link[n], &out, 1u);
    } else if (e->kind == CANBUS_ERROR) {
        p->error_frames++;
    }
}

static void take_in(canbus_pump_t *p, uint32_t node)
{
    link_frame_t in[ONCE];
    const uint32_t room = CANBUS_QUEUE - p->bus.s.queued[node];
    const uint32_t count = p->api->receive(p->link[node], in, room < ONCE ? room : ONCE);
    for (uint32_t k = 0; k < count; ++k) {
        ecu_can_frame_t frame;
        if ((in[k].flags & ECU_CAN_ERROR) != 0u) continue;
        frame.id = in[k].id;
        frame.bus = frame.reserved = 0u;
        frame.length = in[k].length;
        frame.flags = in[k].flags;
        memcpy(frame.data, in[k].data, sizeof frame.data);
        (void)canbus_put(&p->bus, node, &frame);
    }
}

void canbus_pump(canbus_pump_t *p, uint64_t now_us)
{
    canbus_event_t e;
    const uint64_t now_ns = (now_us - p->began_us) * 1000u;
    canbus_look(&p->bus);
    while (canbus_next(&p->bus, now_ns, &e)) hand_out(p, &e);
    for (uint32_t n = 0; n < CANBUS_NODES; ++n) {
        if (!p->link[n]) continue;
        (void)p->api->service(p->link[n], now_us);
        take_in(p, n);
    }
}

void canbus_pump_run(canbus_pump_t *p, uint32_t period_us)
{
    struct timespec due;
    clock_gettime(CLOCK_MONOTONIC, &due);
    p->began_us = (uint64_t)due.tv_sec * 1000000u + (uint64_t)due.tv_nsec / 1000u - p->bus.s.now_ns / 1000u;
    while (p->stop == 0u) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        canbus_pump(p, (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u);
        due = now;
        due.tv_nsec += (long)period_us * 1000L;
        due.tv_sec += due.tv_nsec / 1000000000L;
        due.tv_nsec %= 1000000000L;
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL) == EINTR) {
        }
    }
}
