/* One or two CAN links as the two buses of a control unit. With one link both controllers hang on the same wires. */
#ifndef BMS_WIRES_H
#define BMS_WIRES_H

#include "ecu.h"
#include "links/link.h"

typedef struct {
    const link_api_t *api;           /* the functions of links live in another module */
    link_t *link[ECU_CAN_BUS_COUNT]; /* of vehicle and sensor bus; the same twice when shared; NULL: none */
} wires_t;

bool wires_are_shared(const wires_t *w);
void wires_service(wires_t *w, uint64_t now_us);
/* The next frame of a bus; false when there is none. */
bool wires_receive(wires_t *w, uint32_t bus, ecu_can_frame_t *frame);
void wires_send(wires_t *w, const ecu_can_frame_t *frame);
/* What a controller on this bus would say of itself: without wires nobody acknowledges, it is error-passive. */
uint8_t wires_state(const wires_t *w, uint32_t bus);

#endif
