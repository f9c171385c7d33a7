#include "loop/loop.h"

#include "loop/hash.h"
#include "pins.h"

#define FIELD_OWNER loop_t
FIELD_TABLE(loop_fields, LOOP_FIELDS);
#undef FIELD_OWNER
const size_t loop_field_count = FIELD_COUNT(loop_fields);

#define COIL_PINS (PIN_OUT_MAIN_PLUS | PIN_OUT_MAIN_MINUS | PIN_OUT_PRECHARGE)

static size_t round_up(size_t size) { return (size + 63u) & ~(size_t)63u; }
static ecu_t *firmware_of(world_t *w) { return (ecu_t *)(void *)((uint8_t *)w + round_up(sizeof *w)); }
size_t loop_arena_size(const ecu_api_t *firmware) { return round_up(sizeof(world_t)) + round_up(firmware->size()); }

/* ---- events ---- */

void loop_event(loop_t *l, uint32_t kind, uint32_t code, uint32_t level, int32_t index, float value)
{
    if (l->event_count >= LOOP_EVENTS_MAX) {
        l->events_lost++;
        return;
    }
    const uint32_t k = l->event_count++;
    l->event_us[k] = l->elapsed_us;
    l->event_kind[k] = kind;
    l->event_code[k] = code;
    l->event_level[k] = level;
    l->event_index[k] = index;
    l->event_value[k] = value;
}

/* ---- the ECU from outside: power, watchdog, sleep, memory ---- */

static int firmware_boot(world_t *w, const loop_inputs_t *in, uint8_t cause)
{
    loop_t *l = &w->loop;
    ecu_boot_t boot;
    memset(&boot, 0, sizeof boot);
    boot.now_us = l->start_us + l->elapsed_us;
    boot.reset_cause = cause;
    for (uint32_t k = 0; k < 16u; ++k) boot.entropy[k] = (uint8_t)(hash_word(l->seed + l->resets, k) >> 24);
    boot.config = in->config;
    boot.config_size = in->config_size;
    memset(&w->out, 0, sizeof w->out);
    memcpy(l->boot_entropy, boot.entropy, sizeof boot.entropy);
    l->watchdog_ms = 0;
    l->sleep_until_us = 0;
    l->nvm_left_ms = 0;
    if (in->recorder) record_boot(in->recorder, l->ecu_steps, &boot);
    return in->firmware->init(firmware_of(w), &boot);
}

void loop_reset(world_t *w, uint8_t cause)
{
    loop_t *l = &w->loop;
    l->resets++;
    l->reset_cause = cause;
    l->booting_ms = l->boot_ms ? l->boot_ms : 1u;
    buses_look(w);
    memset(&w->out, 0, sizeof w->out); /* an ECU in reset drives nothing */
    loop_event(l, LOOP_EVENT_RESET, cause, 0, -1, 0.0f);
}

static uint32_t input_pins(const world_t *w)
{
    const loop_t *l = &w->loop;
    const plant_t *p = &w->plant;
    const double current = p->pack_current_a < 0.0 ? -p->pack_current_a : p->pack_current_a;
    uint32_t pins = 0;
    if (l->ignition) pins |= PIN_IN_IGNITION;
    if (l->interlock) pins |= PIN_IN_INTERLOCK;
    if (l->crash) pins |= PIN_IN_CRASH;
    if (p->contactor_closed & 1u) pins |= PIN_IN_MAIN_PLUS_FEEDBACK;
    if (p->contactor_closed & 2u) pins |= PIN_IN_MAIN_MINUS_FEEDBACK;
    if (p->contactor_closed & 4u) pins |= PIN_IN_PRECHARGE_FEEDBACK;
    if (current > l->comparator_a) pins |= PIN_IN_OVERCURRENT;
    if (w->chips.fault_line) pins |= PIN_IN_CHIP_FAULT;
    if (p->heater_frac > 0.0) pins |= PIN_IN_HEATER_ON;
    if (l->flow_fault == 1u || (l->flow_fault == 0u && p->pump_frac > 0.05)) pins |= PIN_IN_COOLANT_FLOW;
    if (l->gas_alarm | l->gas_vented) pins |= PIN_IN_GAS;
    if (l->h2s_alarm) pins |= PIN_IN_H2S;
    return pins;
}

/* Counts beyond their arrays come from a foreign firmware gone wrong; they are cut, counted, and never followed. */
static void bound_output(loop_t *l, ecu_out_t *out)
{
    if (out->can_count > ECU_CAN_OUT_MAX) {
        out->can_count = ECU_CAN_OUT_MAX;
        l->step_errors++;
    }
    for (uint32_t k = 0; k < ECU_UART_COUNT; ++k) {
        if (out->uart[k].count > ECU_UART_OUT_MAX) {
            out->uart[k].count = ECU_UART_OUT_MAX;
            l->step_errors++;
        }
    }
    for (uint32_t k = 0; k < out->can_count; ++k) {
        if (out->can[k].length > 64u || out->can[k].bus >= ECU_CAN_BUS_COUNT) {
            out->can[k].length = out->can[k].length > 64u ? 64u : out->can[k].length;
            out->can[k].bus = out->can[k].bus >= ECU_CAN_BUS_COUNT ? 0u : out->can[k].bus;
            l->step_errors++;
        }
    }
}

/* What is said once must not be said again by an ECU that was not stepped. Levels on pins stay. */
static void clear_messages(ecu_out_t *out)
{
    out->watchdog_kick = false;
    out->reset_wanted = false;
    out->can_count = 0;
    out->sleep_ms = 0;
    out->nvm_want.op = ECU_NVM_NONE;
    for (uint32_t k = 0; k < ECU_UART_COUNT; ++k) {
        out->uart[k].count = 0;
        out->uart[k].low_us = 0;
    }
}

static bool is_asleep(const world_t *w, uint32_t pins)
{
    const loop_t *l = &w->loop;
    if (l->sleep_until_us <= l->elapsed_us) return false;
    if (pins != l->input_pins) return false;
    for (uint32_t k = 0; k < w->in.can_count; ++k) {
        if (w->in.can[k].bus == ECU_BUS_VEHICLE) return false;
    }
    return true;
}

static void firmware_step(world_t *w, const loop_inputs_t *in)
{
    loop_t *l = &w->loop;
    loop_nvm_step(w); /* takes what the last step wanted, before that is cleared */
    clear_messages(&w->out);
    if (w->seam.is_troubled && !seam_ecu(w)) return;
    if (l->booting_ms) {
        if (--l->booting_ms) return;
        buses_look(w);
        if (firmware_boot(w, in, (uint8_t)l->reset_cause)) return; /* refused its configuration: stays silent, watchdog bites */
    }
    uint32_t pins = input_pins(w);
    if (w->seam.is_troubled) pins = seam_pins_in(w, pins);
    if (is_asleep(w, pins)) return;
    w->in.now_us = l->start_us + l->elapsed_us;
    w->in.pins.supply_mv = l->supply_mv;
    w->in.pins.digital = pins;
    memset(&w->out.pins, 0, sizeof w->out.pins);
    in->firmware->step(firmware_of(w), &w->in, &w->out);
    bound_output(l, &w->out);
    if (in->recorder) record_step(in->recorder, l->ecu_steps, &w->in, &w->out);
    l->ecu_steps++;
    l->trace_hash = hash_word(l->trace_hash, (uint64_t)pins << 32 | w->out.pins.digital);
    l->trace_hash = hash_word(l->trace_hash, (uint64_t)w->out.pins.heater_pptt << 16 | w->out.pins.pump_pptt);
    l->input_pins = pins;
    l->sleep_until_us = w->out.sleep_ms ? l->elapsed_us + 1000u * (uint64_t)w->out.sleep_ms : 0u;
    l->watchdog_ms = w->out.watchdog_kick || w->out.sleep_ms ? 0u : l->watchdog_ms + 1u;
    if (w->out.reset_wanted) loop_reset(w, ECU_RESET_SOFTWARE);
    else if (l->watchdog_ms > LOOP_WATCHDOG_MS) loop_reset(w, ECU_RESET_WATCHDOG);
}

static void apply_output(world_t *w, const loop_inputs_t *in)
{
    loop_t *l = &w->loop;
    plant_t *p = &w->plant;
    const ecu_pins_out_t *pins = &w->out.pins;
    l->commanded_pins = pins->digital;
    p->coil_command = w->seam.is_troubled ? seam_coils(w, pins->digital & COIL_PINS) : pins->digital & COIL_PINS;
    p->fuse_trigger = pins->digital & PIN_OUT_FUSE_TRIGGER ? 1u : 0u;
    const double heater = (double)(pins->heater_pptt > 10000u ? 10000u : pins->heater_pptt) * 1e-4;
    const double pump = (double)(pins->pump_pptt > 10000u ? 10000u : pins->pump_pptt) * 1e-4;
    const bool heats = l->heater_fault != 2u && (pins->digital & PIN_OUT_HEATER_CUT) == 0u;
    p->heater_frac = !heats ? 0.0 : (l->heater_fault == 1u ? 1.0 : heater);
    p->pump_frac = l->pump_fault ? 0.0 : pump;
    const ecu_uart_out_t *line = &w->out.uart[0];
    if (line->count || line->low_us) {
        l->trace_hash = hash_bytes(hash_word(l->trace_hash, line->low_us), line->bytes, line->count);
        if (in->recorder) record_bytes(in->recorder, l->elapsed_us, 1u, line->bytes, line->count);
    }
    for (uint32_t k = 0; k < w->out.can_count; ++k) buses_put(w, w->out.can[k].bus, NODE_ECU, &w->out.can[k]);
}

/* ---- the other side of the wires ---- */

static void uart_step(world_t *w, const loop_inputs_t *in)
{
    loop_t *l = &w->loop;
    const chips_view_t view = {w->plant.block_voltage_v, w->plant.cell_surface_degc, w->plant.module_pressure_kpa, w->plant.ambient_degc};
    uint16_t count = 0;
    if (w->seam.is_troubled) seam_host_line(w, &w->out.uart[0]);
    chips_exchange(&w->chips, l->elapsed_us, &view, &w->out.uart[0], w->in.uart_bytes[0], &count);
    w->in.uart_count[0] = count;
    w->in.uart_errors[0] = 0;
    if (w->seam.is_troubled) {
        seam_answers(w, &w->out.uart[0]);
        count = w->in.uart_count[0];
    }
    if (count) {
        l->trace_hash = hash_bytes(l->trace_hash, w->in.uart_bytes[0], count);
        if (in->recorder) record_bytes(in->recorder, l->elapsed_us, 0u, w->in.uart_bytes[0], count);
    }
}

bool loop_write_register(world_t *w, uint32_t chip, uint32_t address, uint8_t value)
{
    const chips_view_t view = {w->plant.block_voltage_v, w->plant.cell_surface_degc, w->plant.module_pressure_kpa, w->plant.ambient_degc};
    return chips_write(&w->chips, w->loop.elapsed_us, &view, chip, address, value);
}

static void sensor_frames(world_t *w, uint32_t node, ecu_can_frame_t *frames, uint32_t count)
{
    for (uint32_t k = 0; k < count; ++k) {
        frames[k].bus = ECU_BUS_SENSOR;
        buses_put(w, ECU_BUS_SENSOR, node, &frames[k]);
    }
}

/* They are fed by the ECU: asleep it takes their supply away, and they start again with it. */
static void sensors_step(world_t *w)
{
    enum { MOST = 8 };
    const plant_t *p = &w->plant;
    ecu_can_frame_t frames[MOST];
    uint16_t count = 0;
    if (w->loop.sleep_until_us > w->loop.elapsed_us) {
        w->imd.is_started = w->imd.test_is_reported = 0u;
        return;
    }
    ivt_step(&w->ivt, w->loop.elapsed_us, p->pack_current_a, p->pack_voltage_v, p->link_voltage_v, NULL, 0, frames, &count, MOST);
    sensor_frames(w, NODE_CURRENT_SENSOR, frames, count);
    count = 0;
    imd_step(&w->imd, w->loop.elapsed_us, p->insulation_kohm, p->pack_voltage_v, frames, &count, MOST);
    sensor_frames(w, NODE_INSULATION_MONITOR, frames, count);
}

static double profile_value(world_t *w, const loop_inputs_t *in)
{
    loop_t *l = &w->loop;
    if (!in->profile || in->profile_count == 0u || l->profile_step_us == 0u) return 0.0;
    /* The index only moves forward, so no division is paid on the way. */
    while (l->profile_index + 1u < in->profile_count
           && l->profile_from_us + (uint64_t)(l->profile_index + 1u) * l->profile_step_us <= l->elapsed_us) l->profile_index++;
    return in->profile[l->profile_index];
}

static void vehicle_side(world_t *w, const loop_inputs_t *in)
{
    vehicle_t *v = &w->vehicle;
    plant_t *p = &w->plant;
    ecu_can_frame_t request;
    if (v->kind == VEHICLE_POWER || v->kind == VEHICLE_CURRENT) v->demand = profile_value(w, in);
    vehicle_tick(v, w->loop.elapsed_us, p->link_voltage_v, &request);
    if (v->is_silent == 0u) {
        buses_put(w, ECU_BUS_VEHICLE, NODE_VEHICLE, &request);
        if (vehicle_authority(v, w->loop.elapsed_us, &request)) buses_put(w, ECU_BUS_VEHICLE, NODE_VEHICLE, &request);
    }
    if (vehicle_charger_status(v, w->loop.elapsed_us, p->link_voltage_v, p->pack_current_a, &request))
        buses_put(w, ECU_BUS_VEHICLE, NODE_VEHICLE, &request);
    if (v->kind == VEHICLE_CHARGE) {
        p->load_mode = PLANT_LOAD_CHARGER;
        p->charger_current_a = v->charger_now_a - v->extra_a;
        p->charger_voltage_v = vehicle_charge_voltage_v(v, w->loop.elapsed_us);
    } else {
        const bool is_idle = v->kind == VEHICLE_REST && v->extra_a * v->extra_a <= 0.0;
        p->load_mode = is_idle ? PLANT_LOAD_OPEN : PLANT_LOAD_CURRENT;
        p->load_current_a = v->delivered_a;
    }
}

/* ---- looking on ---- */

uint64_t loop_truth_hash(const world_t *w, uint64_t hash)
{
    const plant_t *p = &w->plant;
    const size_t cells = (size_t)p->blocks * p->parallel, modules = p->modules;
    hash = hash_bytes(hash, (const uint8_t *)p->cell_soc_frac, cells * sizeof(double));
    hash = hash_bytes(hash, (const uint8_t *)p->cell_core_degc, cells * sizeof(double));
    hash = hash_bytes(hash, (const uint8_t *)p->cell_surface_degc, cells * sizeof(double));
    hash = hash_bytes(hash, (const uint8_t *)p->cell_current_a, cells * sizeof(double));
    hash = hash_bytes(hash, (const uint8_t *)p->block_voltage_v, p->blocks * sizeof(double));
    hash = hash_bytes(hash, (const uint8_t *)p->module_pressure_kpa, modules * sizeof(double));
    const double pack[3] = {p->pack_voltage_v, p->link_voltage_v, p->pack_current_a};
    return hash_bytes(hash, (const uint8_t *)pack, sizeof pack);
}

/* Every millisecond: reaction times are told from these. */
static void watch_contacts(world_t *w)
{
    loop_t *l = &w->loop;
    const plant_t *p = &w->plant;
    if (p->contactor_closed != l->seen_contactors) {
        loop_event(l, LOOP_EVENT_CONTACTOR, p->contactor_closed, l->seen_contactors, -1, (float)p->pack_current_a);
        l->seen_contactors = p->contactor_closed;
    }
    if (w->vehicle.obs_state != l->seen_state) {
        loop_event(l, LOOP_EVENT_STATE, w->vehicle.obs_state, l->seen_state, -1, 0.0f);
        l->seen_state = w->vehicle.obs_state;
    }
    if (p->fuse_blown != l->seen_fuse) {
        loop_event(l, LOOP_EVENT_FUSE, p->fuse_blown, 0, -1, (float)p->pack_current_a);
        l->seen_fuse = p->fuse_blown;
    }
}

static void watch(world_t *w)
{
    loop_t *l = &w->loop;
    const vehicle_t *v = &w->vehicle;
    const plant_t *p = &w->plant;
    const uint32_t trip = v->obs_flags & VEHICLE_FLAG_TRIP;
    if (trip && !l->seen_trip) l->trips++;
    l->seen_trip = trip;
    if (!v->obs_soc_valid) return;
    const double truth = p->pack_soc_frac, miss = (double)v->obs_soc_frac - truth, size = miss < 0.0 ? -miss : miss;
    if (l->score_count == 0u) l->soc_start_frac = truth;
    l->score_count++;
    l->score_square_sum += miss * miss;
    l->score_max_error = size > l->score_max_error ? size : l->score_max_error;
    l->score_width_sum += (double)v->obs_soc_high_frac - (double)v->obs_soc_low_frac;
    l->score_inside += truth >= (double)v->obs_soc_low_frac && truth <= (double)v->obs_soc_high_frac;
}

static double coldest_core(const plant_t *p)
{
    double coldest = p->cell_core_degc[0];
    for (size_t c = 1; c < (size_t)p->blocks * p->parallel; ++c) coldest = p->cell_core_degc[c] < coldest ? p->cell_core_degc[c] : coldest;
    return coldest;
}

static bool phase_is_over(world_t *w)
{
    loop_t *l = &w->loop;
    const plant_t *p = &w->plant;
    if (l->until == 0u) return false;
    if (l->until & LOOP_UNTIL_STATE && w->vehicle.obs_state == l->until_state) return true;
    if (l->until & LOOP_UNTIL_SOC_ABOVE && p->pack_soc_frac > l->until_soc_above_frac) return true;
    if (l->until & LOOP_UNTIL_SOC_BELOW && p->pack_soc_frac < l->until_soc_below_frac) return true;
    if (l->until & LOOP_UNTIL_TEMPERATURE_ABOVE && coldest_core(p) > l->until_temperature_above_degc) return true;
    const double current = p->pack_current_a < 0.0 ? -p->pack_current_a : p->pack_current_a;
    if (current >= l->until_current_below_a) l->until_current_seen = 1;
    return l->until & LOOP_UNTIL_CURRENT_BELOW && l->until_current_seen && current < l->until_current_below_a;
}

/* ---- start and run ---- */

int loop_start(world_t *w, const loop_inputs_t *in)
{
    loop_t *l = &w->loop;
    plant_init(&w->plant);
    chips_init(&w->chips);
    ivt_init(&w->ivt);
    imd_init(&w->imd);
    vehicle_init(&w->vehicle);
    buses_start(w);
    memset(&w->in, 0, sizeof w->in);
    l->trace_hash = 0x736F6C6964u;
    l->truth_hash = 0x736F6C6964u;
    l->firmware_size = in->firmware->size();
    memset(firmware_of(w), 0, in->firmware->size());
    return firmware_boot(w, in, ECU_RESET_POWER_ON);
}

static uint32_t run(world_t *w, const loop_inputs_t *in, uint32_t milliseconds, uint32_t *why)
{
    loop_t *l = &w->loop;
    *why = LOOP_DONE;
    buses_look(w);
    seam_look(w);
    for (uint32_t done = 0; done < milliseconds; ++done) {
        const bool is_tick = l->steps % 10u == 0u;
        if (inject_is_due(&w->inject, l->elapsed_us)) loop_inject(w, in);
        if (w->seam.is_troubled) seam_step(w);
        if (is_tick) vehicle_side(w, in);
        if (l->plant_is_held == 0u) plant_step_ms(&w->plant);
        uart_step(w, in);
        memcpy(w->plant.bleed_on, w->chips.bleed_on, w->plant.blocks);
        l->elapsed_us += 1000u;
        l->steps++;
        buses_step(w, in);
        if (w->seam.is_troubled) seam_overrun(w);
        if (is_tick) sensors_step(w); /* what is measured now is on the bus in the next millisecond */
        firmware_step(w, in);
        apply_output(w, in);
        watch_contacts(w);
        if (in->watch) in->watch(in->watch_state, w);
        if (!is_tick) continue;
        watch(w);
        for (uint32_t m = 0; m < w->plant.modules; ++m) l->gas_vented |= w->plant.module_gas_kpa[m] > 0.0;
        if (l->steps % 1000u == 1u) l->truth_hash = loop_truth_hash(w, l->truth_hash);
        if (in->recorder && record_tick(in->recorder, l->elapsed_us)) *why = LOOP_RECORDER_FULL;
        if (l->event_count > LOOP_EVENTS_MAX / 2) *why = LOOP_EVENTS_FULL;
        if (phase_is_over(w)) *why = LOOP_CONDITION;
        if (*why != LOOP_DONE) return done + 1u;
    }
    return milliseconds;
}

/* Rounding to nearest, denormals kept, whatever the host program had set: part of "the same bits everywhere". */
uint32_t loop_run(world_t *w, const loop_inputs_t *in, uint32_t milliseconds, uint32_t *why)
{
#if defined(__SSE__)
    const uint32_t kept = __builtin_ia32_stmxcsr();
    __builtin_ia32_ldmxcsr(0x1F80u);
    const uint32_t done = run(w, in, milliseconds, why);
    __builtin_ia32_ldmxcsr(kept);
    return done;
#else
    return run(w, in, milliseconds, why);
#endif
}
