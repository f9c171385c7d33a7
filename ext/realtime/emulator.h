/* The pack with its chips and sensors on real wires: the closed loop of ext/loop in which a stand-in takes the firmware's place.
 *
 * The wall is ecu.h. The loop hands its "firmware" one ecu_in_t a millisecond, and this one puts it on the wires: answers of the
 * chips on the serial line, frames of sensors and vehicle on CAN, input pins as IoInputs. What comes from the wires becomes its
 * ecu_out_t: the host's bytes and low pulses, frames, and pins from IoOutputs. When that message stays away, all outputs are zero.
 *
 * The stand-in's state is one pointer, against the rule of ecu.h that state holds none: wires cannot be copied, so a world with
 * them has no snapshots.
 *
 * Python changes the world only by leaving a list of pokes, which is applied as a whole between two steps; it learns of events
 * from a ring; and it takes a recorder's full buffers by leaving an empty recorder. The runner waits for none of them. */
#ifndef BMS_EMULATOR_H
#define BMS_EMULATOR_H

#include "ecu_api.h"
#include "loop/loop.h"
#include "realtime/wires.h"
#include "realtime/iomodule.h"
#include "realtime/line.h"
#include "realtime/runner.h"

#define EMULATOR_POKES 4096u  /* powers of two */
#define EMULATOR_EVENTS 1024u

/* Write `size` (1, 2, 4 or 8) bytes of bits at an offset of the world; or, with POKE_PROFILE, set the demand: bits is the address
 * of `size` doubles. */
#define POKE_PROFILE UINT64_MAX

typedef struct {
    uint64_t offset, bits;
    uint32_t size, reserved;
} poke_t;

typedef struct {
    uint64_t us;
    uint32_t kind, code, level;
    int32_t index;
    float value;
    uint32_t reserved;
} event_t;

#define EMULATOR_FIELDS(S, A)                                                                                                    \
    S(u64, sent_frames, "1", "frames of sensors, vehicle and I/O module put on the buses")                                        \
    S(u64, heard_frames, "1", "frames taken from the buses")                                                                      \
    S(u64, events_lost, "1", "events that found no room in the ring")                                                            \
    S(u64, conditions, "1", "times a condition of the phase came true")                                                          \
    S(u64, recorder_late, "1", "ticks that found no empty recorder in time")                                                     \
    S(u32, has_vehicle, "bool", "requests of the vehicle are sent; else they come from outside")                                 \
    S(u32, io_is_cut, "bool", "IoInputs is not sent (a test of the other side's time-out)")                                       \
    S(u32, is_late, "ms", "since IoInputs was sent")                                                                             \
    S(u32, lines_in_mask, "bits", "outputs of the control unit that are read from real lines")                                   \
    S(u32, lines_out_mask, "bits", "inputs of the control unit that are driven on real lines")                                   \
    S(f64, heard_demand_w, "W", "power announced by requests from outside, positive discharges")

FIELD_STRUCT(emulator_fields_t, EMULATOR_FIELDS);
extern const field_t emulator_fields[];
extern const size_t emulator_field_count;

typedef uint32_t loop_run_t(world_t *w, const loop_inputs_t *in, uint32_t milliseconds, uint32_t *why);

typedef struct {
    runner_t runner;
    emulator_fields_t fields;
    line_t line;
    io_t io;
    wires_t wires;
    world_t *world;
    loop_inputs_t *inputs;
    loop_run_t *run;
    uint64_t wall_us;
    poke_t poke[EMULATOR_POKES];
    uint32_t poke_head, poke_tail;    /* SHARED: written by Python, by the runner */
    event_t event[EMULATOR_EVENTS];
    uint32_t event_head, event_tail;  /* SHARED: written by the runner, by Python */
    recorder_t *recorder_next, *recorder_done; /* SHARED */
    int32_t line_next_fd;             /* SHARED: a new descriptor for the line; -2 none */
    uint32_t line_next_kind;
} emulator_t;

/* The table of functions of the stand-in; its configuration is the address of an emulator_t. */
const ecu_api_t *emulator_stand_in(void);
void emulator_init(emulator_t *e);
/* Runs until the runner is told to stop. */
void emulator_run(emulator_t *e, uint32_t priority);

#endif
