/* The two CAN buses of the closed loop, with who is on them. The physics is in canbus/canbus.h. */
#ifndef BMS_BUSES_H
#define BMS_BUSES_H

#include "canbus/canbus.h"
#include "ecu.h"

/* Nodes of the buses. On both the last one is the stranger: the node that babbles, and through which frames from outside come. */
enum { NODE_ECU = 0, NODE_VEHICLE = 1 };                        /* ECU_BUS_VEHICLE */
enum { NODE_CURRENT_SENSOR = 1, NODE_INSULATION_MONITOR = 2 }; /* ECU_BUS_SENSOR */

/* A look at what was carried, outside the arena: nothing in the loop depends on it. A ring; what is not taken in time is lost. */
typedef struct {
    uint64_t time_us; /* simulated time of its last bit */
    ecu_can_frame_t frame; /* .bus, and the sending node in .reserved */
} bus_frame_t;

typedef struct {
    uint64_t head, tail, lost;
    uint32_t capacity; /* a power of two */
    bus_frame_t *frames;
} bus_tap_t;

#endif
