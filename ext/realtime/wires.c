#include "realtime/wires.h"

#include <string.h>

bool wires_are_shared(const wires_t *w) { return w->link[0] == w->link[1]; }

void wires_service(wires_t *w, uint64_t now_us)
{
    const uint32_t count = wires_are_shared(w) ? 1u : ECU_CAN_BUS_COUNT;
    for (uint32_t k = 0; k < count; ++k)
        if (w->link[k]) (void)w->api->service(w->link[k], now_us);
}

bool wires_receive(wires_t *w, uint32_t bus, ecu_can_frame_t *frame)
{
    link_frame_t got;
    if (!w->link[bus] || w->api->receive(w->link[bus], &got, 1) == 0u) return false;
    memset(frame, 0, sizeof *frame);
    frame->id = got.id;
    frame->bus = (uint8_t)bus;
    frame->length = got.length <= sizeof frame->data ? got.length : (uint8_t)sizeof frame->data;
    frame->flags = got.flags;
    memcpy(frame->data, got.data, frame->length);
    return true;
}

void wires_send(wires_t *w, const ecu_can_frame_t *frame)
{
    link_t *const link = w->link[frame->bus < ECU_CAN_BUS_COUNT ? frame->bus : 0u];
    if (!link) return;
    link_frame_t out;
    memset(&out, 0, sizeof out);
    out.id = frame->id;
    out.length = frame->length;
    out.flags = frame->flags;
    memcpy(out.data, frame->data, frame->length <= sizeof out.data ? frame->length : sizeof out.data);
    (void)w->api->send(link, &out, 1);
}

uint8_t wires_state(const wires_t *w, uint32_t bus)
{
    return w->link[bus] && w->api->state(w->link[bus]) == LINK_UP ? ECU_CAN_ACTIVE : ECU_CAN_PASSIVE;
}
