/* The closed loop: plant, chips, sensors, vehicle and firmware stepped together in virtual time.
 *
 * Everything that changes lies in one pointer-free block, the arena: world_t, then the firmware's own state. A copy of the arena is
 * a snapshot. The firmware is reached through a table of functions, so any firmware that fits ecu.h can stand in its place, and it
 * is given nothing but what ecu_in_t carries.
 *
 * One millisecond, from t to t+1:
 *   plant -> chips answer the bytes the firmware sent at t -> sensors and vehicle send frames -> firmware steps at t+1 with all
 *   that arrived -> its pins, bytes and frames become the commands of the next millisecond -> recorder, every 10 ms.
 */
#ifndef BMS_LOOP_H
#define BMS_LOOP_H

#include "chips/chips.h"
#include "chips/imd.h"
#include "chips/ivt.h"
#include "ecu.h"
#include "ecu_api.h"
#include "field.h"
#include "loop/buses.h"
#include "loop/inject.h"
#include "loop/seam.h"
#include "loop/vehicle.h"
#include "plant/plant.h"
#include "recorder/record.h"

#define LOOP_EVENTS_MAX 512
#define LOOP_WATCHDOG_MS 100u
#define LOOP_NVM_BYTES (ECU_NVM_PAGES * ECU_NVM_PAGE)

enum { LOOP_EVENT_STATE = 1, LOOP_EVENT_DIAGNOSIS = 2, LOOP_EVENT_CONTACTOR = 3, LOOP_EVENT_FUSE = 4, LOOP_EVENT_RESET = 5,
       LOOP_EVENT_FAULT = 6 };

/* Why loop_run came back before its time. */
enum { LOOP_DONE = 0, LOOP_RECORDER_FULL = 1, LOOP_EVENTS_FULL = 2, LOOP_CONDITION = 3 };

/* Conditions that end a phase; any of them. The experimenter's own, so they look at the truth, but for the state, which the BMS says. */
enum { LOOP_UNTIL_SOC_ABOVE = 1, LOOP_UNTIL_SOC_BELOW = 2, LOOP_UNTIL_CURRENT_BELOW = 4, LOOP_UNTIL_STATE = 8,
       LOOP_UNTIL_TEMPERATURE_ABOVE = 16 };

#define LOOP_FIELDS(S, A)                                                                                                        \
    S(u64, seed, "1", "seed of the run")                                                                                          \
    S(u64, start_us, "us", "clock of the ECU when the run began; may lie anywhere below 2^62")                                    \
    S(u64, elapsed_us, "us", "simulated time since the run began")                                                                \
    S(u64, steps, "1", "milliseconds stepped")                                                                                    \
    S(u64, trace_hash, "1", "running hash of wire bytes, frames and pins")                                                        \
    S(u64, truth_hash, "1", "running hash of the plant, taken every simulated second")                                            \
    S(u64, can_frames, "1", "frames carried by both buses")                                                                       \
    S(u64, frames_dropped, "1", "frames lost because a queue was full")                                                           \
    S(u64, resets, "1", "times the ECU was restarted")                                                                            \
    S(u64, step_errors, "1", "counts in the firmware's output that were beyond their bounds")                                     \
    S(u64, firmware_size, "B", "bytes of firmware state behind the world")                                                        \
    S(u32, plant_is_held, "1", "1: the plant is not stepped; its voltages, currents and temperatures are written from outside")   \
    S(u64, ecu_steps, "1", "times the firmware was stepped")                                                                      \
    A(u8, boot_entropy, 16, "1", "chance given to the firmware when it was last started")                                         \
    S(u32, supply_mv, "mV", "12 V supply")                                                                                        \
    S(u32, interlock, "1", "1 closed")                                                                                            \
    S(u32, crash, "1", "1 crash line asserted")                                                                                   \
    S(u32, heater_fault, "enum", "heater: 0 follows its duty, 1 stuck on, 2 dead")                                                 \
    S(u32, pump_fault, "bool", "coolant pump stands still whatever its duty")                                                     \
    S(u32, flow_fault, "enum", "flow switch: 0 follows the coolant, 1 stuck closed (flows), 2 stuck open")                        \
    S(u32, gas_alarm, "bool", "gas detector alarms, beside what cells have vented")                                               \
    S(u32, gas_vented, "bool", "a cell has vented; looked at every 10 ms")                                                         \
    S(u32, h2s_alarm, "bool", "hydrogen-sulphide detector alarms")                                                                \
    S(u32, ignition, "1", "1 on")                                                                                                 \
    S(f64, comparator_a, "A", "threshold of the hardware over-current comparator")                                                \
    S(u32, boot_ms, "ms", "time between a reset and the first step")                                                              \
    S(u32, booting_ms, "ms", "left of it; outputs are zero meanwhile")                                                            \
    S(u32, reset_cause, "1", "cause given to the next start")                                                                     \
    S(u32, watchdog_ms, "ms", "since the watchdog was kicked")                                                                    \
    S(u64, sleep_until_us, "us", "the ECU asked to be left alone until then")                                                     \
    S(f64, until_soc_above_frac, "1", "phase ends when the true pack SoC is above")                                                \
    S(f64, until_soc_below_frac, "1", "phase ends when the true pack SoC is below")                                                \
    S(f64, until_current_below_a, "A", "phase ends when the magnitude of the current is below, having been above")                          \
    S(f64, until_temperature_above_degc, "degC", "phase ends when the coldest core is above")                      \
    S(u32, until_state, "1", "phase ends when the BMS reports this state")                                                        \
    S(u32, until, "1", "which conditions are armed: bits LOOP_UNTIL_")                                                            \
    S(u32, until_current_seen, "1", "1 once the current was above")                                                               \
    S(u32, profile_index, "1", "position in the profile of the phase")                                                            \
    S(u64, profile_from_us, "us", "simulated time at which the profile began")                                                    \
    S(u64, profile_step_us, "us", "spacing of its values")                                                                        \
    S(u32, seen_contactors, "1", "contactor state last told as an event")                                                         \
    S(u32, seen_state, "1", "BMS state last told as an event")                                                                    \
    S(u32, seen_fuse, "1", "fuse state last told as an event")                                                                    \
    S(u32, seen_trip, "1", "trip flag last seen")                                                                                 \
    S(u32, trips, "1", "times the BMS reported a trip")                                                                           \
    S(f64, score_square_sum, "1", "sum of squared errors of the reported pack SoC")                                               \
    S(f64, score_max_error, "1", "largest error of it")                                                                           \
    S(f64, score_width_sum, "1", "sum of the widths of the reported interval")                                                    \
    S(u64, score_count, "1", "ticks scored")                                                                                      \
    S(u64, score_inside, "1", "of them with the true SoC inside the interval")                                                    \
    S(f64, soc_start_frac, "1", "true pack SoC at the first score")                                                               \
    S(u32, commanded_pins, "1", "coils as the firmware last drove them")                                                          \
    S(u32, input_pins, "1", "digital inputs as the firmware last saw them")                                                       \
    S(u32, event_count, "1", "events waiting to be taken")                                                                        \
    S(u64, events_lost, "1", "events that found no room")                                                                         \
    A(u64, event_us, LOOP_EVENTS_MAX, "us", "simulated time of each event")                                                       \
    A(u32, event_kind, LOOP_EVENTS_MAX, "1", "LOOP_EVENT_ kind")                                                                  \
    A(u32, event_code, LOOP_EVENTS_MAX, "1", "state, diagnosis, contactor bits ...")                                              \
    A(u32, event_level, LOOP_EVENTS_MAX, "1", "diagnosis: tier * 2 + raised; contactor: previous bits")                           \
    A(i32, event_index, LOOP_EVENTS_MAX, "1", "cell, sensor or module; -1 none")                                                  \
    A(f32, event_value, LOOP_EVENTS_MAX, "1", "value that came with it")                                                          \
    A(u8, nvm, LOOP_NVM_BYTES, "1", "non-volatile memory of the ECU")                                                             \
    A(u8, nvm_pending, 80, "1", "the operation under way: an ecu_nvm_t")                                                          \
    S(u32, nvm_left_ms, "ms", "until it is done; 0 idle")

FIELD_STRUCT(loop_t, LOOP_FIELDS);
extern const field_t loop_fields[];
extern const size_t loop_field_count;

typedef struct {
    loop_t loop;
    plant_t plant;
    chips_t chips;
    ivt_t ivt;
    imd_t imd;
    vehicle_t vehicle;
    canbus_t bus[ECU_CAN_BUS_COUNT];
    inject_t inject;
    seam_t seam;
    ecu_in_t in;
    ecu_out_t out;
} world_t;

/* Looks on after every millisecond, and changes nothing. */
typedef void loop_watch_t(void *state, const world_t *w);

/* What a run is given and never changes: it lies outside the arena. */
typedef struct {
    const ecu_api_t *firmware;
    const void *config;
    size_t config_size;
    recorder_t *recorder;   /* may be null */
    const double *profile;  /* demand of the phase, held between values; may be null */
    uint32_t profile_count;
    bus_tap_t *tap[ECU_CAN_BUS_COUNT]; /* may be null */
    loop_watch_t *watch;    /* may be null */
    void *watch_state;
} loop_inputs_t;

size_t loop_arena_size(const ecu_api_t *firmware);
/* After every field was filled: starts plant, chips, sensors, vehicle and firmware. Returns the firmware's ecu_init code. */
int loop_start(world_t *w, const loop_inputs_t *in);
/* Runs up to `milliseconds`; returns how many were run and says in *why what ended it. */
uint32_t loop_run(world_t *w, const loop_inputs_t *in, uint32_t milliseconds, uint32_t *why);
void loop_event(loop_t *l, uint32_t kind, uint32_t code, uint32_t level, int32_t index, float value);
/* The buses (buses.c): a frame waits at its node; one that finds no room there is lost and counted. */
void buses_start(world_t *w);
void buses_look(world_t *w);
void buses_put(world_t *w, uint32_t bus, uint32_t node, const ecu_can_frame_t *frame);
/* Frames of the stranger, which joins the bus with the first; returns how many found room. */
uint32_t buses_put_foreign(world_t *w, uint32_t bus, const bus_frame_t *frames, uint32_t count);
/* One millisecond of both: what was carried arrives, at the firmware (w->in.can) and at the vehicle. */
void buses_step(world_t *w, const loop_inputs_t *in);
/* The control unit starts anew; outputs are zero meanwhile. */
void loop_reset(world_t *w, uint8_t cause);
/* Faults that begin, change or end now, and what is wrong where the control unit is plugged in (seam.c). Those but the first two
 * are called only while w->seam.is_troubled. */
void loop_inject(world_t *w, const loop_inputs_t *in);
void seam_look(world_t *w);
void seam_step(world_t *w);
uint32_t seam_pins_in(const world_t *w, uint32_t pins);
uint32_t seam_coils(const world_t *w, uint32_t coils);
bool seam_ecu(world_t *w);
void seam_host_line(const world_t *w, ecu_uart_out_t *line);
void seam_answers(world_t *w, const ecu_uart_out_t *host);
bool seam_put(world_t *w, uint32_t bus, uint32_t node, ecu_can_frame_t *frame);
void seam_overrun(world_t *w);
void seam_nvm(world_t *w, ecu_nvm_t *op);
/* One millisecond of the ECU's memory: takes what the firmware wanted, gives back what is done. */
void loop_nvm_step(world_t *w);
/* Hash of the plant's state as it is now, from the given start value. */
uint64_t loop_truth_hash(const world_t *w, uint64_t hash);

/* A register of a monitor chip written from outside, see chips_write; between two runs of the loop. */
bool loop_write_register(world_t *w, uint32_t chip, uint32_t address, uint8_t value);

#endif
