#include "realtime/host.h"

#include <string.h>
#include <unistd.h>

#include "bms_dbc.h"
#include "pins.h"

#define FIELD_OWNER host_fields_t
FIELD_TABLE(host_fields, HOST_FIELDS);
#undef FIELD_OWNER
const size_t host_field_count = FIELD_COUNT(host_fields);

#define START_US 1000000u
#define ALL_INPUTS 255u
#define OUTPUTS_SILENCE_MS 30u /* of the firmware: then the host sends IoOutputs itself */
#define STATE_NONE 255u

/* ---- power and reset ---- */

static void quiet(host_t *h)
{
    memset(&h->out, 0, sizeof h->out); /* an ECU that is off or in reset drives nothing */
    h->fields.output_pins = 0;
    h->fields.outputs_ms = OUTPUTS_SILENCE_MS;
    SHARED_STORE(h->runner.lines_out, 0u);
}

static void start(host_t *h)
{
    ecu_boot_t boot;
    memset(&boot, 0, sizeof boot);
    boot.now_us = h->fields.now_us;
    boot.reset_cause = (uint8_t)h->fields.reset_cause;
    for (uint32_t k = 0; k < sizeof boot.entropy; ++k) boot.entropy[k] = (uint8_t)(h->entropy[k] ^ (h->fields.starts >> (8u * (k % 8u))));
    boot.config = h->config;
    boot.config_size = h->config_size;
    quiet(h);
    h->fields.starts++;
    h->fields.watchdog_ms = 0;
    h->fields.sleep_until_us = 0;
    h->fields.nvm_left_ms = 0;
    h->fields.refused_code = (uint32_t)h->api->init(h->firmware, &boot);
    h->fields.phase = h->fields.refused_code ? HOST_REFUSED : HOST_RUNS;
}

static void boot(host_t *h, uint32_t cause)
{
    h->fields.reset_cause = cause;
    h->fields.booting_ms = HOST_BOOT_MS;
    h->fields.phase = HOST_BOOTING;
    h->fields.told_state = STATE_NONE;
    quiet(h);
}

static void reset(host_t *h, uint32_t cause)
{
    h->fields.resets++;
    boot(h, cause);
}

/* Where every input has a line of its own there is no module to wait for. */
static bool has_supply(host_t *h)
{
    host_fields_t *const f = &h->fields;
    if (f->lines_in_mask == ALL_INPUTS) return true;
    if (!h->io.was_heard) return false;
    if (h->io.is_fresh || f->now_us - h->io.heard_us < HOST_DEAD_MS * 1000u) return true;
    if (f->phase != HOST_OFF) f->power_losses++;
    return false;
}

/* True when the firmware is to be stepped in this millisecond. */
static bool is_alive(host_t *h)
{
    host_fields_t *const f = &h->fields;
    if (!has_supply(h)) {
        if (f->phase != HOST_OFF) quiet(h);
        f->phase = HOST_OFF;
        return false;
    }
    if (f->phase == HOST_OFF && h->line.fd < 0) return false; /* not yet plugged in: it would only trip */
    if (f->phase == HOST_OFF) boot(h, f->power_losses ? ECU_RESET_BROWN_OUT : ECU_RESET_POWER_ON);
    if (f->phase != HOST_BOOTING) return true;
    if (--f->booting_ms == 0u) start(h);
    return false;
}

/* ---- memory ---- */

static void nvm_done(host_t *h)
{
    SHARED_STORE(h->fields.nvm_state, HOST_NVM_IDLE);
    h->fields.nvm_left_ms = 0;
    h->in.nvm_done = h->nvm_op;
}

/* True when the thread of the memory was given a page. */
static bool store_page(host_t *h)
{
    const uint64_t one = 1;
    h->fields.nvm_left_ms = 1;
    h->fields.nvm_page = h->nvm_op.page;
    SHARED_STORE(h->fields.nvm_state, HOST_NVM_STORE);
    return write(h->nvm_event, &one, sizeof one) == (ssize_t)sizeof one;
}

static void nvm_step(host_t *h)
{
    host_fields_t *const f = &h->fields;
    const uint32_t state = SHARED_LOAD(f->nvm_state);
    h->in.nvm_done.op = ECU_NVM_NONE;
    if (state == HOST_NVM_STORE) return; /* the file takes its time */
    if (state != HOST_NVM_IDLE) {
        f->nvm_stores += state == HOST_NVM_STORED;
        if (state == HOST_NVM_FAILED) h->nvm_op.status = ECU_NVM_FAILED;
        if (f->nvm_left_ms) nvm_done(h); /* else a reset came in between, and nobody waits for it */
        SHARED_STORE(f->nvm_state, HOST_NVM_IDLE);
        return;
    }
    if (f->nvm_left_ms == 0u) {
        if (h->out.nvm_want.op == ECU_NVM_NONE) return;
        h->nvm_op = h->out.nvm_want;
        f->nvm_left_ms = flash_ms(&h->nvm_op);
    }
    if (--f->nvm_left_ms) return;
    flash_operate(f->nvm, &h->nvm_op);
    if (h->nvm_op.op != ECU_NVM_READ && h->nvm_op.status == ECU_NVM_OK && h->nvm_event >= 0) {
        if (store_page(h)) return;
        h->nvm_op.status = ECU_NVM_FAILED;
    }
    nvm_done(h);
}

/* ---- in ---- */

static void take_frame(host_t *h, const ecu_can_frame_t *frame)
{
    h->fields.frames_in++;
    if (frame->bus == ECU_BUS_VEHICLE) (void)io_take_inputs(&h->io, h->fields.now_us, frame);
}

/* Frames beyond what one step can take wait in their link. On shared wires both controllers hear every frame. */
static void take_frames(host_t *h, uint64_t wall_us)
{
    const bool shared = wires_are_shared(&h->wires);
    const uint32_t each = shared ? 2u : 1u;
    ecu_in_t *const in = &h->in;
    in->can_count = 0;
    wires_service(&h->wires, wall_us);
    for (uint32_t bus = 0; bus < (shared ? 1u : ECU_CAN_BUS_COUNT); ++bus) {
        const uint32_t most = shared || bus ? ECU_CAN_IN_MAX : ECU_CAN_IN_MAX / 2u;
        while (in->can_count + each <= most && wires_receive(&h->wires, bus, &in->can[in->can_count])) {
            take_frame(h, &in->can[in->can_count++]);
            if (!shared) continue;
            in->can[in->can_count] = in->can[in->can_count - 1u];
            in->can[in->can_count++].bus = ECU_BUS_SENSOR;
        }
    }
    for (uint32_t bus = 0; bus < ECU_CAN_BUS_COUNT; ++bus) in->can_state[bus] = wires_state(&h->wires, bus);
}

static void read_pins(host_t *h)
{
    const uint32_t mask = h->fields.lines_in_mask;
    ecu_pins_in_t *const pins = &h->in.pins;
    io_inputs(&h->io, h->fields.now_us, pins);
    pins->digital = (pins->digital & ~mask) | (SHARED_LOAD(h->runner.lines_in) & mask);
    if (mask == ALL_INPUTS) pins->supply_mv = 12000; /* no line carries it: it runs, so it has a supply */
    h->fields.supply_mv = pins->supply_mv;
}

/* ---- out ---- */

static void clear_messages(ecu_out_t *out)
{
    out->watchdog_kick = out->reset_wanted = false;
    out->can_count = 0;
    out->sleep_ms = 0;
    out->nvm_want.op = ECU_NVM_NONE;
    for (uint32_t k = 0; k < ECU_UART_COUNT; ++k) {
        out->uart[k].count = 0;
        out->uart[k].low_us = 0;
    }
}

/* Counts beyond their arrays come from a foreign firmware gone wrong; they are cut, counted, and never followed. */
static void bound_output(host_t *h)
{
    ecu_out_t *const out = &h->out;
    if (out->can_count > ECU_CAN_OUT_MAX) {
        out->can_count = ECU_CAN_OUT_MAX;
        h->fields.step_errors++;
    }
    if (out->uart[0].count > ECU_UART_OUT_MAX) {
        out->uart[0].count = ECU_UART_OUT_MAX;
        h->fields.step_errors++;
    }
    for (uint32_t k = 0; k < out->can_count; ++k) {
        if (out->can[k].length <= 64u && out->can[k].bus < ECU_CAN_BUS_COUNT) continue;
        out->can[k].length = 0;
        out->can[k].bus = 0;
        h->fields.step_errors++;
    }
}

static void send_frame(host_t *h, const ecu_can_frame_t *frame)
{
    struct bms_dbc_bms_state_t m;
    if (frame->id == BMS_DBC_IO_OUTPUTS_FRAME_ID) {
        h->fields.outputs_ms = 0;
        if (h->fields.io_is_cut) return;
    }
    if (frame->id == BMS_DBC_BMS_STATE_FRAME_ID && bms_dbc_bms_state_unpack(&m, frame->data, frame->length) == 0) {
        h->fields.told_state = m.state;
        h->fields.told_trip = m.first_trip_diagnosis;
    }
    wires_send(&h->wires, frame);
    h->fields.frames_out++;
}

static void send_outputs(host_t *h)
{
    ecu_can_frame_t frame;
    if (h->fields.outputs_ms < OUTPUTS_SILENCE_MS) h->fields.outputs_ms++;
    if (++h->fields.io_ms < IO_PERIOD_MS) return;
    h->fields.io_ms = 0;
    if (h->fields.outputs_ms < OUTPUTS_SILENCE_MS || h->fields.io_is_cut) return;
    io_pack_outputs(&h->io, &h->out.pins, &frame);
    wires_send(&h->wires, &frame);
}

static void put_outputs(host_t *h, uint64_t wall_us)
{
    const ecu_out_t *const out = &h->out;
    line_send(&h->line, wall_us, &out->uart[0]);
    for (uint32_t k = 0; k < out->can_count; ++k) send_frame(h, &out->can[k]);
    send_outputs(h);
    h->fields.output_pins = out->pins.digital;
    SHARED_STORE(h->runner.lines_out, out->pins.digital & h->fields.lines_out_mask);
    wires_service(&h->wires, wall_us); /* what was queued leaves in this millisecond */
}

/* ---- the millisecond ---- */

static bool is_asleep(const host_t *h)
{
    if (h->fields.sleep_until_us <= h->fields.now_us) return false;
    return h->in.pins.digital == h->fields.input_pins && h->in.can_count == 0u && h->in.uart_count[0] == 0u;
}

static void firmware_step(host_t *h)
{
    host_fields_t *const f = &h->fields;
    nvm_step(h); /* takes what the last step wanted, before that is cleared */
    clear_messages(&h->out);
    if (is_asleep(h)) return;
    h->in.now_us = f->now_us;
    memset(&h->out.pins, 0, sizeof h->out.pins);
    h->api->step(h->firmware, &h->in, &h->out);
    bound_output(h);
    f->input_pins = h->in.pins.digital;
    f->sleep_until_us = h->out.sleep_ms ? f->now_us + 1000u * (uint64_t)h->out.sleep_ms : 0u;
    f->watchdog_ms = h->out.watchdog_kick || h->out.sleep_ms ? 0u : f->watchdog_ms + 1u;
    if (h->out.reset_wanted) reset(h, ECU_RESET_SOFTWARE);
    else if (f->watchdog_ms > HOST_WATCHDOG_MS) reset(h, ECU_RESET_WATCHDOG);
}

void host_step(void *self, uint64_t wall_us)
{
    host_t *const h = self;
    const int32_t fd = __atomic_exchange_n(&h->line_next_fd, -2, __ATOMIC_ACQ_REL);
    if (fd != -2) line_attach(&h->line, fd, h->line_next_kind);
    h->fields.now_us += PACE_STEP_US;
    take_frames(h, wall_us);
    read_pins(h);
    h->in.uart_errors[0] = 0;
    h->in.uart_count[0] = line_receive(&h->line, wall_us, h->in.uart_bytes[0], &h->in.uart_errors[0]);
    if (is_alive(h)) firmware_step(h);
    else clear_messages(&h->out);
    put_outputs(h, wall_us);
}

void host_init(host_t *h)
{
    memset(h, 0, sizeof *h);
    line_init(&h->line);
    io_init(&h->io);
    h->fields.now_us = START_US;
    h->fields.told_state = STATE_NONE;
    memset(h->fields.nvm, 0xFF, sizeof h->fields.nvm);
    h->nvm_event = -1;
    h->line_next_fd = -2;
}

void host_run(host_t *h, uint32_t priority) { runner_run(&h->runner, priority, host_step, h); }
