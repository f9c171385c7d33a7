#include "realtime/emulator.h"

#include <string.h>

#include "bms_dbc.h"
#include "pins.h"

#define FIELD_OWNER emulator_fields_t
FIELD_TABLE(emulator_fields, EMULATOR_FIELDS);
#undef FIELD_OWNER
const size_t emulator_field_count = FIELD_COUNT(emulator_fields);

typedef struct {
    emulator_t *emulator;
} stand_in_t;

/* ---- the stand-in ---- */

static void send(emulator_t *e, const ecu_can_frame_t *frame)
{
    wires_send(&e->wires, frame);
    e->fields.sent_frames++;
}

static void put_inputs(emulator_t *e, const ecu_in_t *in)
{
    const bool is_request_ours = e->fields.has_vehicle != 0u;
    line_answer(&e->line, in->uart_bytes[0], in->uart_count[0]);
    for (uint32_t k = 0; k < in->can_count; ++k)
        if (is_request_ours || (in->can[k].id != BMS_DBC_VCU_REQUEST_FRAME_ID && in->can[k].id != BMS_DBC_VCU_AUTHORITY_FRAME_ID))
            send(e, &in->can[k]);
    SHARED_STORE(e->runner.lines_out, in->pins.digital & e->fields.lines_out_mask);
    if (++e->fields.is_late < IO_PERIOD_MS || e->fields.io_is_cut) return;
    e->fields.is_late = 0;
    ecu_can_frame_t frame;
    io_pack_inputs(&e->io, &in->pins, &frame);
    send(e, &frame);
}

static void take_frames(emulator_t *e, uint64_t now_us, ecu_out_t *out)
{
    const uint32_t buses = wires_are_shared(&e->wires) ? 1u : ECU_CAN_BUS_COUNT;
    wires_service(&e->wires, e->wall_us);
    for (uint32_t bus = 0; bus < buses; ++bus) {
        while (out->can_count < ECU_CAN_OUT_MAX && wires_receive(&e->wires, bus, &out->can[out->can_count])) {
            const ecu_can_frame_t *const frame = &out->can[out->can_count++];
            e->fields.heard_frames++;
            if (bus == ECU_BUS_VEHICLE) (void)io_take_outputs(&e->io, now_us, frame);
            if (frame->id != BMS_DBC_VCU_REQUEST_FRAME_ID || frame->length != 8u) continue;
            struct bms_dbc_vcu_request_t request;
            if (bms_dbc_vcu_request_unpack(&request, frame->data, 8u) == 0) e->fields.heard_demand_w = 100.0 * (double)request.power_demand;
        }
    }
}

static void stand_in_step(ecu_t *self, const ecu_in_t *in, ecu_out_t *out)
{
    emulator_t *const e = ((stand_in_t *)(void *)self)->emulator;
    const uint32_t from_lines = e->fields.lines_in_mask;
    out->watchdog_kick = true;
    put_inputs(e, in);
    take_frames(e, in->now_us, out);
    io_outputs(&e->io, in->now_us, &out->pins);
    out->pins.digital = (out->pins.digital & ~from_lines) | (SHARED_LOAD(e->runner.lines_in) & from_lines);
    line_hear(&e->line, e->wall_us, e->world->chips.mode[0] != CHIP_ACTIVE, &out->uart[0]);
}

static uint32_t stand_in_abi(void) { return ECU_ABI; }
static const char *stand_in_version(void) { return "wires"; }
static size_t stand_in_size(void) { return sizeof(stand_in_t); }

static int stand_in_init(ecu_t *self, const ecu_boot_t *boot)
{
    stand_in_t *const s = (stand_in_t *)(void *)self;
    if (boot->config_size != sizeof s->emulator) return 1;
    memcpy(&s->emulator, boot->config, sizeof s->emulator);
    return 0;
}

const ecu_api_t *emulator_stand_in(void)
{
    static const ecu_api_t api = {stand_in_abi, stand_in_version, stand_in_size, stand_in_init, stand_in_step, NULL};
    return &api;
}

/* ---- what Python left ---- */

static void apply_pokes(emulator_t *e)
{
    const uint32_t head = SHARED_LOAD(e->poke_head);
    for (uint32_t tail = e->poke_tail; tail != head; ++tail) {
        const poke_t *const p = &e->poke[tail & (EMULATOR_POKES - 1u)];
        if (p->offset == POKE_PROFILE) {
            const uintptr_t place = (uintptr_t)p->bits;
            e->inputs->profile = (const double *)place;
            e->inputs->profile_count = p->size;
        } else {
            memcpy((uint8_t *)e->world + p->offset, &p->bits, p->size); /* little-endian, like every host this is built for */
        }
    }
    SHARED_STORE(e->poke_tail, head);
}

static void swap_recorder(emulator_t *e)
{
    recorder_t *const next = __atomic_exchange_n(&e->recorder_next, NULL, __ATOMIC_ACQ_REL);
    if (!next) return;
    recorder_t *const done = e->inputs->recorder;
    e->inputs->recorder = next;
    SHARED_STORE(e->recorder_done, done);
}

static void swap_line(emulator_t *e)
{
    const int32_t fd = __atomic_exchange_n(&e->line_next_fd, -2, __ATOMIC_ACQ_REL);
    if (fd != -2) line_attach(&e->line, fd, e->line_next_kind);
}

static void give_events(emulator_t *e)
{
    loop_t *const l = &e->world->loop;
    for (uint32_t k = 0; k < l->event_count; ++k) {
        const uint32_t head = e->event_head;
        if (head - SHARED_LOAD(e->event_tail) >= EMULATOR_EVENTS) {
            e->fields.events_lost++;
            continue;
        }
        const event_t given = {l->event_us[k], l->event_kind[k], l->event_code[k], l->event_level[k],
                               l->event_index[k], l->event_value[k], 0u};
        e->event[head & (EMULATOR_EVENTS - 1u)] = given;
        SHARED_STORE(e->event_head, head + 1u);
    }
    l->event_count = 0;
}

static void step(void *self, uint64_t now_us)
{
    emulator_t *const e = self;
    uint32_t why = LOOP_DONE;
    e->wall_us = now_us;
    apply_pokes(e);
    swap_recorder(e);
    swap_line(e);
    (void)e->run(e->world, e->inputs, 1u, &why);
    if (e->world->loop.event_count) give_events(e);
    if (why == LOOP_RECORDER_FULL) e->fields.recorder_late++;
    if (why != LOOP_CONDITION) return;
    e->world->loop.until = 0; /* told once */
    SHARED_STORE(e->fields.conditions, e->fields.conditions + 1u);
}

void emulator_init(emulator_t *e)
{
    memset(e, 0, sizeof *e);
    line_init(&e->line);
    io_init(&e->io);
    e->line_next_fd = -2;
    e->fields.has_vehicle = 1;
}

void emulator_run(emulator_t *e, uint32_t priority) { runner_run(&e->runner, priority, step, e); }
