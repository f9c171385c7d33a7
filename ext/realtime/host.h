/* The firmware as a process: each millisecond one ecu_in_t from the wires, one step, one ecu_out_t to the wires.
 *
 * Pins come from the I/O module's IoInputs and, where real lines are named, from those. A silent module means the safe levels of
 * spec/pins.toml; a module that was silent for HOST_DEAD_MS took the supply with it: the ECU is off, and starts afresh when the
 * module speaks again and the chips' line has a port. IoOutputs is what the firmware itself sends; for a firmware that does not, the host sends it.
 *
 * Memory operations are handed to a thread that owns the file, and answered when the file has them, as a flash does. */
#ifndef BMS_HOST_H
#define BMS_HOST_H

#include "ecu_api.h"
#include "loop/flash.h"
#include "realtime/iomodule.h"
#include "realtime/line.h"
#include "realtime/runner.h"
#include "realtime/wires.h"

#define HOST_WATCHDOG_MS 100u
#define HOST_DEAD_MS 500u
#define HOST_BOOT_MS 20u

enum { HOST_OFF = 0, HOST_BOOTING = 1, HOST_RUNS = 2, HOST_REFUSED = 3 };
enum { HOST_NVM_IDLE = 0, HOST_NVM_STORE = 1, HOST_NVM_STORED = 2, HOST_NVM_FAILED = 3 };

#define HOST_FIELDS(S, A)                                                                                                        \
    S(u64, now_us, "us", "clock of the ECU")                                                                                      \
    S(u32, phase, "enum", "0 off, 1 booting, 2 runs, 3 the firmware refused its configuration")                                   \
    S(u32, refused_code, "1", "why")                                                                                              \
    S(u32, booting_ms, "ms", "left until the first step")                                                                         \
    S(u32, reset_cause, "enum", "cause given to the next start")                                                                  \
    S(u32, watchdog_ms, "ms", "since the watchdog was kicked")                                                                    \
    S(u64, sleep_until_us, "us", "the ECU asked to be left alone until then")                                                     \
    S(u64, starts, "1", "times the firmware was started")                                                                         \
    S(u64, resets, "1", "of these, after a reset by watchdog or software")                                                        \
    S(u64, power_losses, "1", "times the I/O module was gone for so long that the ECU went off")                                  \
    S(u64, step_errors, "1", "counts in the firmware's output that were beyond their bounds")                                     \
    S(u64, frames_in, "1", "frames given to the firmware")                                                                        \
    S(u64, frames_out, "1", "frames it sent")                                                                                     \
    S(u32, input_pins, "bits", "digital inputs as the firmware last saw them")                                                    \
    S(u32, output_pins, "bits", "digital outputs as it last drove them")                                                          \
    S(u32, supply_mv, "mV", "supply as it last saw it")                                                                           \
    S(u32, told_state, "enum", "state of the BMS in its last BmsState frame; 255 none yet")                                       \
    S(u32, told_trip, "1", "first diagnosis that tripped, from the same frame")                                                   \
    S(u32, outputs_ms, "ms", "since the firmware itself sent IoOutputs")                                                          \
    S(u32, io_ms, "ms", "since the host sent it in its place")                                                                    \
    S(u32, io_is_cut, "bool", "IoOutputs is not sent (a test of the other side's time-out)")                                      \
    S(u32, lines_in_mask, "bits", "inputs read from real lines")                                                                  \
    S(u32, lines_out_mask, "bits", "outputs driven on real lines")                                                                \
    S(u32, nvm_left_ms, "ms", "until the memory operation under way may end; 0 none")                                             \
    S(u32, nvm_state, "enum", "0 idle, 1 a page is to be stored, 2 it is, 3 it could not be")                                     \
    S(u32, nvm_page, "1", "the page")                                                                                             \
    S(u64, nvm_stores, "1", "pages stored")                                                                                       \
    A(u8, nvm, FLASH_BYTES, "1", "the memory")

FIELD_STRUCT(host_fields_t, HOST_FIELDS);
extern const field_t host_fields[];
extern const size_t host_field_count;

typedef struct {
    runner_t runner;
    host_fields_t fields;
    line_t line;
    io_t io;
    wires_t wires;
    const ecu_api_t *api;
    ecu_t *firmware;
    const void *config;
    size_t config_size;
    uint8_t entropy[16];
    ecu_in_t in;
    ecu_out_t out;
    ecu_nvm_t nvm_op;
    int32_t nvm_event; /* descriptor that tells the thread of the memory; -1: there is no file */
    int32_t line_next_fd; /* SHARED: a new descriptor for the line; -2 none */
    uint32_t line_next_kind;
} host_t;

void host_init(host_t *h);
void host_run(host_t *h, uint32_t priority);
/* One millisecond; host_run calls it. */
void host_step(void *self, uint64_t wall_us);

#endif
