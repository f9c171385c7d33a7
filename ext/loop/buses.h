/* Frames on their way between firmware and world: what each side wants to send waits here until its bus has carried it. */
#ifndef BMS_BUSES_H
#define BMS_BUSES_H

#include "ecu.h"

#define LOOP_QUEUE 128u /* frames waiting on one bus, a power of two */

typedef struct {
    uint32_t head, tail;
    ecu_can_frame_t frame[LOOP_QUEUE];
} loop_queue_t;

#endif
