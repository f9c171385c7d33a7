/* A bus with physics in real time: each link is the cable of one node. What arrives on a link waits in that node's queue; what the
 * bus has carried leaves on the links of all that heard it. */
#ifndef BMS_CANBUS_PUMP_H
#define BMS_CANBUS_PUMP_H

#include "canbus/canbus.h"
#include "links/link.h"

typedef struct {
    canbus_t bus;
    const link_api_t *api;
    link_t *link[CANBUS_NODES]; /* by node; may be null */
    uint64_t began_us;          /* clock at which the bus's time is 0 */
    uint64_t carried, error_frames;
    volatile uint32_t stop;
} canbus_pump_t;

/* One pass at now_us, the clock of the links. */
void canbus_pump(canbus_pump_t *p, uint64_t now_us);
/* Passes every period_us until `stop` is set. */
void canbus_pump_run(canbus_pump_t *p, uint32_t period_us);

#endif
