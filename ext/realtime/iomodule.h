/* The I/O module: pins as two messages of bms.dbc, every 10 ms, end-to-end protected, and what holds when they stay away.
 *
 * IoInputs goes to the control unit, IoOutputs comes from it. Each end has one io_t: it sends one message and receives the other.
 * After IO_SILENCE_MS without a good frame the levels are the safe ones of spec/pins.toml; unknown is not OK. */
#ifndef BMS_IOMODULE_H
#define BMS_IOMODULE_H

#include "ecu.h"
#include "field.h"

#define IO_PERIOD_MS 10u
#define IO_SILENCE_MS 50u

#define IO_FIELDS(S, A)                                                                                                          \
    S(u8, sent_counter, "1", "end-to-end counter of the next frame sent")                                                         \
    S(u8, seen_counter, "1", "end-to-end counter last seen; 255 none")                                                            \
    S(u8, is_fresh, "bool", "a good frame came within the time-out")                                                              \
    S(u8, was_heard, "bool", "a good frame came since the start")                                                                 \
    S(u64, heard_us, "us", "when the last good frame came, in stepped time")                                                      \
    S(u64, frames, "1", "good frames received")                                                                                   \
    S(u64, errors, "1", "frames refused for length, check code or counter")                                                      \
    S(u64, losses, "1", "times the other side fell silent")                                                                       \
    S(u32, digital, "bits", "levels last received")                                                                               \
    S(u32, supply_mv, "mV", "supply last received; 0 unknown")                                                                    \
    S(u32, heater_pptt, "1e-4", "heater duty last received")                                                                      \
    S(u32, pump_pptt, "1e-4", "pump duty last received")

FIELD_STRUCT(io_t, IO_FIELDS);
extern const field_t io_fields[];
extern const size_t io_field_count;

void io_init(io_t *io);
/* Sending ends. */
void io_pack_inputs(io_t *io, const ecu_pins_in_t *pins, ecu_can_frame_t *frame);
void io_pack_outputs(io_t *io, const ecu_pins_out_t *pins, ecu_can_frame_t *frame);
/* Receiving ends: any frame may be offered; true when it was the message and good. */
bool io_take_inputs(io_t *io, uint64_t now_us, const ecu_can_frame_t *frame);
bool io_take_outputs(io_t *io, uint64_t now_us, const ecu_can_frame_t *frame);
/* What holds at now_us: received levels while fresh, safe ones else. */
void io_inputs(io_t *io, uint64_t now_us, ecu_pins_in_t *pins);
void io_outputs(io_t *io, uint64_t now_us, ecu_pins_out_t *pins);

#endif
