/* What the loop calls to be recorded: one row each tick, frames and bytes as they pass.
 *
 * The recorder belongs to Python (bms/_recorder.pyx): it owns every buffer below, lies outside the simulation's arena and never
 * writes to it, so a run is the same bit for bit with and without a recorder. The loop holds a pointer that may be NULL and
 * then calls nothing.
 *
 * Buffers are laid out as the file wants them (Arrow columns), so that writing a batch copies nothing: every source has one
 * array [capacity][count], and a log keeps its records as parallel arrays with one run of bytes.
 */
#ifndef BMS_RECORD_H
#define BMS_RECORD_H

#include "ecu.h"
#include "field.h"
#include "recorder/steps.h"

#include <stdint.h>

enum { RECORD_TO_FIRMWARE = 0, RECORD_FROM_FIRMWARE = 1 };

/* How a signal is stored. RASTER: scale and shift give the number of its step; it is rounded and held inside the type, whose least
 * number stands for not-a-number. */
enum { RECORD_FLOAT = 0, RECORD_AS_IS = 1, RECORD_RASTER_16 = 2, RECORD_RASTER_32 = 3 };

/* One signal. */
typedef struct {
    const void *from; /* in the simulation's memory */
    void *to;         /* row 0 in the batch being filled */
    double scale, shift;
    uint32_t type; /* FIELD_u8 ... FIELD_f64 of `from` */
    uint32_t count;
    uint32_t how; /* RECORD_FLOAT ... */
} record_source_t;

/* Records of variable length: CAN frames, or pieces of a serial line. */
typedef struct {
    int64_t *t_ns;
    uint32_t *id;
    uint8_t *bus, *direction, *flags;
    int32_t *offset; /* capacity + 1 places in bytes */
    uint8_t *bytes;
    int32_t *end; /* of each tick: how many records the log held then */
    uint32_t count, capacity, byte_count, byte_capacity;
    uint64_t dropped; /* records that found no room; only rises */
} record_log_t;

/* The firmware's steps as bytes (steps.h). Each batch begins with a key. */
typedef struct {
    uint8_t *bytes;
    int32_t *end; /* of each tick: how many bytes there were then */
    uint32_t count, capacity, is_keyed, reserved;
    uint64_t dropped; /* steps that found no room; only rises */
    steps_base_t base;
} record_steps_t;

typedef struct {
    record_source_t *sources;
    int64_t *t_ns;
    uint32_t source_count, ticks, capacity, reserved;
    uint64_t dropped; /* ticks that came after the batch was full; only rises */
    record_log_t frames, uart; /* capacity 0: not recorded */
    record_steps_t steps;      /* the same */
} recorder_t;

/* Adds one row. 1 when the batch is full, or another tick could overflow a log: the loop then returns to Python, which takes the
 * batch and installs an empty one. */
uint32_t record_tick(recorder_t *r, uint64_t now_us);
void record_frame(recorder_t *r, uint64_t t_us, const ecu_can_frame_t *f, uint8_t direction);
/* direction: RECORD_TO_FIRMWARE or RECORD_FROM_FIRMWARE, plus twice the number of the line. */
void record_bytes(recorder_t *r, uint64_t t_us, uint8_t direction, const uint8_t *bytes, uint16_t count);
/* A step of the firmware, after it was made; `number` counts them. */
void record_step(recorder_t *r, uint64_t number, const ecu_in_t *in, const ecu_out_t *out);
/* The firmware is initialised; `number` is that of its next step. */
void record_boot(recorder_t *r, uint64_t number, const ecu_boot_t *boot);

#endif
