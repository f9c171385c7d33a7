#include "loop/loop.h"

#include "e2e.h"
#include "loop/flash.h"
#include "pins.h"

#define FIELD_OWNER seam_t
FIELD_TABLE(seam_fields, SEAM_FIELDS);
#undef FIELD_OWNER
const size_t seam_field_count = FIELD_COUNT(seam_fields);

#define COILS (PIN_OUT_MAIN_PLUS | PIN_OUT_MAIN_MINUS | PIN_OUT_PRECHARGE)
#define FEEDBACK_SHIFT 3u /* feedback of a contactor is input pin 3 + k, its coil output pin k */
#define NOISE_BYTE 0x5Au

void seam_look(world_t *w)
{
    seam_t *s = &w->seam;
    uint32_t tampered = 0;
    for (uint32_t k = 0; k < SEAM_TAMPERS; ++k) {
        tampered |= s->tamper_kind[k];
        if (s->tamper_kind[k] == 0u) s->tamper_seen[k] = 0;
    }
    for (uint32_t k = 0; k < SEAM_HELD; ++k) tampered |= s->held_us[k] != 0u;
    const uint32_t pins = s->pin_mask | s->feedback_echo | s->coil_cut | s->coil_forced | s->reset_cause | s->hang_ms;
    const uint32_t line = s->uart_cut | s->uart_insert | s->uart_drop_every | s->uart_flip_every | s->uart_framing_every;
    const uint32_t rest = s->uart_keep | s->uart_echo | s->rx_room | s->nvm_mode | s->nvm_torn | s->nvm_page;
    const bool is_low = w->loop.supply_mv < s->coil_hold_mv || w->loop.supply_mv < s->brown_out_mv;
    s->is_tampered = tampered != 0u;
    s->is_troubled = (pins | line | rest | tampered) != 0u || is_low;
}

/* Faults that begin, change or end; what was written behind the backs of its owners is looked at again. */
void loop_inject(world_t *w, const loop_inputs_t *in)
{
    const inject_arena_t arena = {(uint8_t *)w, loop_arena_size(in->firmware), w->loop.elapsed_us};
    inject_told_t told[INJECT_MOVES];
    const uint32_t count = inject_step(&w->inject, &arena, told);
    for (uint32_t k = 0; k < count; ++k)
        loop_event(&w->loop, LOOP_EVENT_FAULT, told[k].fault, told[k].is_on, told[k].index, (float)told[k].value);
    buses_look(w);
    seam_look(w);
}

/* ---- pins and supply ---- */

uint32_t seam_pins_in(const world_t *w, uint32_t pins)
{
    const seam_t *s = &w->seam;
    const uint32_t echo = (s->feedback_echo & COILS) << FEEDBACK_SHIFT;
    pins = (pins & ~echo) | ((w->out.pins.digital << FEEDBACK_SHIFT) & echo);
    return (pins & ~s->pin_mask) | (s->pin_level & s->pin_mask);
}

uint32_t seam_coils(const world_t *w, uint32_t coils)
{
    const seam_t *s = &w->seam;
    if (w->loop.supply_mv < s->coil_hold_mv) return 0u;
    return ((coils & ~s->coil_cut) | s->coil_forced) & COILS;
}

/* Before the firmware steps; false when it does not. */
bool seam_ecu(world_t *w)
{
    seam_t *s = &w->seam;
    loop_t *l = &w->loop;
    if (l->supply_mv < s->brown_out_mv) {
        if (l->booting_ms == 0u) loop_reset(w, ECU_RESET_BROWN_OUT);
        l->booting_ms = l->boot_ms != 0u ? l->boot_ms : 1u; /* starts when the supply is back */
        return false;
    }
    if (s->reset_cause != 0u) {
        loop_reset(w, (uint8_t)(s->reset_cause - 1u));
        s->reset_cause = 0;
        seam_look(w);
        return false;
    }
    if (s->hang_ms == 0u || l->booting_ms != 0u) return true;
    if (--s->hang_ms == 0u) seam_look(w);
    if (++l->watchdog_ms > LOOP_WATCHDOG_MS) {
        loop_reset(w, ECU_RESET_WATCHDOG);
        s->hang_ms = 0;
        seam_look(w);
    }
    return false;
}

/* ---- serial line ---- */

static bool is_turn(uint32_t every, uint32_t count) { return every != 0u && count % every == 0u; }

void seam_host_line(const world_t *w, ecu_uart_out_t *line)
{
    if ((w->seam.uart_cut & SEAM_CUT_COMMANDS) == 0u) return;
    line->count = 0;
    line->low_us = 0;
}

/* The bytes that come from the chips, as they arrive. */
void seam_answers(world_t *w, const ecu_uart_out_t *host)
{
    seam_t *s = &w->seam;
    uint8_t out[ECU_UART_IN_MAX];
    const uint8_t *const in = w->in.uart_bytes[0];
    const uint32_t came = w->in.uart_count[0];
    uint32_t count = 0, errors = 0;
    for (uint32_t k = 0; s->uart_echo && k < host->count && count < ECU_UART_IN_MAX; ++k) out[count++] = host->bytes[k];
    if (s->uart_insert != 0u && came != 0u && count < ECU_UART_IN_MAX) {
        out[count++] = NOISE_BYTE;
        s->uart_insert--;
    }
    const uint32_t most = s->uart_keep != 0u && s->uart_keep < came ? s->uart_keep : came;
    for (uint32_t k = 0; k < most && (s->uart_cut & SEAM_CUT_ANSWERS) == 0u && count < ECU_UART_IN_MAX; ++k) {
        s->uart_bytes++;
        if (is_turn(s->uart_drop_every, s->uart_bytes)) continue;
        if (is_turn(s->uart_framing_every, s->uart_bytes)) {
            errors++;
            continue;
        }
        out[count++] = is_turn(s->uart_flip_every, s->uart_bytes) ? in[k] ^ 0x10u : in[k];
    }
    memcpy(w->in.uart_bytes[0], out, count);
    w->in.uart_count[0] = (uint16_t)count;
    w->in.uart_errors[0] = (uint16_t)errors;
}

/* ---- frames ---- */

/* Messages under end-to-end protection: VcuRequest and the first four of the BMS (bms.dbc). */
static void protect(ecu_can_frame_t *f, uint8_t counter, uint32_t other_id)
{
    if (f->bus != ECU_BUS_VEHICLE || (f->id != 0x080u && (f->id & ~3u) != 0x100u)) return;
    f->data[1] = (uint8_t)((f->data[1] & 0xF0u) | (counter & 15u));
    f->data[0] = e2e_p01_crc((uint16_t)(f->id ^ other_id), f->data, f->length <= 64u ? f->length : 64u);
}

static void hold(world_t *w, uint32_t node, const ecu_can_frame_t *f, uint64_t at_us)
{
    seam_t *s = &w->seam;
    for (uint32_t k = 0; k < SEAM_HELD; ++k) {
        if (s->held_us[k] != 0u) continue;
        s->held_us[k] = at_us;
        s->held_node[k] = (uint8_t)node;
        memcpy(s->held_frame + k * SEAM_FRAME, f, SEAM_FRAME);
        return;
    }
    w->loop.frames_dropped++;
}

static uint8_t *kept(seam_t *s, uint32_t k) { return s->tamper_kept + k * SEAM_FRAME; }

/* Content: kinds 1 to 6. `seen` frames came before this one. */
static void forge(seam_t *s, uint32_t k, uint32_t seen, ecu_can_frame_t *f)
{
    const uint32_t value = s->tamper_value[k], byte = s->tamper_byte[k] & 63u;
    const uint8_t counter = f->data[1] & 15u;
    if (seen == 0u) {
        s->tamper_counter[k] = counter;
        memcpy(kept(s, k), f, SEAM_FRAME);
    }
    switch (s->tamper_kind[k]) {
    case SEAM_FLIP: f->data[byte] ^= (uint8_t)value; break;
    case SEAM_FORGE:
        f->data[byte] = (uint8_t)value;
        protect(f, counter, 0u);
        break;
    case SEAM_COUNTER:
        protect(f, s->tamper_counter[k], 0u);
        s->tamper_counter[k] = (uint8_t)((s->tamper_counter[k] + value) % E2E_P01_COUNTERS);
        break;
    case SEAM_DATA_ID: protect(f, counter, value); break;
    case SEAM_FILL:
        memset(f->data, (int)(uint8_t)value, sizeof f->data);
        protect(f, counter, 0u);
        break;
    case SEAM_REPLAY: memcpy(f, kept(s, k), SEAM_FRAME); break;
    default: break;
    }
}

/* Way: kinds from SEAM_DROP on. False when the frame does not go on now. */
static bool divert(world_t *w, uint32_t k, uint32_t seen, uint32_t node, ecu_can_frame_t *f)
{
    seam_t *s = &w->seam;
    const uint32_t value = s->tamper_value[k];
    const uint64_t now_us = w->loop.elapsed_us;
    switch (s->tamper_kind[k]) {
    case SEAM_DROP: return value != 0u && seen % value == 0u;
    case SEAM_TWICE: hold(w, node, f, now_us + 1000u); return true;
    case SEAM_LATE: hold(w, node, f, now_us + 1000u * (uint64_t)value); return false;
    case SEAM_CLUSTER: {
        const uint64_t span_us = 1000u * (uint64_t)(value != 0u ? value : 1u);
        hold(w, node, f, (now_us / span_us + 1u) * span_us);
        return false;
    }
    case SEAM_SWAP:
        if (seen % 2u != 0u) return true;
        hold(w, node, f, now_us + 11000u); /* after the next of a 10 ms message */
        return false;
    case SEAM_LENGTH: f->length = (uint8_t)(value < 64u ? value : 64u); return true;
    case SEAM_KIND: f->flags |= (uint8_t)value; return true;
    case SEAM_SECOND: {
        ecu_can_frame_t other = *f;
        other.data[s->tamper_byte[k] & 63u] ^= (uint8_t)value;
        protect(&other, (uint8_t)((seen + 7u) % E2E_P01_COUNTERS), 0u); /* it counts by itself */
        hold(w, CANBUS_STRANGER, &other, now_us + 3000u);
        return true;
    }
    case SEAM_OLD:
        if (seen == 0u) memcpy(kept(s, k), f, SEAM_FRAME);
        return true;
    default: return true;
    }
}

bool seam_put(world_t *w, uint32_t bus, uint32_t node, ecu_can_frame_t *f)
{
    seam_t *s = &w->seam;
    for (uint32_t k = 0; k < SEAM_TAMPERS; ++k) {
        if (s->tamper_kind[k] == 0u || s->tamper_bus[k] != bus || s->tamper_id[k] != f->id) continue;
        const uint32_t seen = s->tamper_seen[k]++;
        forge(s, k, seen, f);
        if (!divert(w, k, seen, node, f)) return false;
    }
    return true;
}

/* Kept frames that are played again and again, whether or not genuine ones still come. */
static void replay(world_t *w)
{
    seam_t *s = &w->seam;
    for (uint32_t k = 0; k < SEAM_TAMPERS; ++k) {
        const uint64_t every_us = 1000u * (uint64_t)(s->tamper_value[k] != 0u ? s->tamper_value[k] : 1u);
        if (s->tamper_kind[k] != SEAM_OLD || s->tamper_seen[k] == 0u || w->loop.elapsed_us % every_us != 0u) continue;
        ecu_can_frame_t old;
        memcpy(&old, kept(s, k), SEAM_FRAME);
        w->bus[old.bus].s.members_mask |= 1u << CANBUS_STRANGER;
        if (!canbus_put(&w->bus[old.bus], CANBUS_STRANGER, &old)) w->loop.frames_dropped++;
    }
}

static void release(world_t *w)
{
    seam_t *s = &w->seam;
    uint32_t left = 0;
    replay(w);
    for (uint32_t k = 0; k < SEAM_HELD; ++k) {
        if (s->held_us[k] == 0u) continue;
        if (s->held_us[k] > w->loop.elapsed_us) {
            left++;
            continue;
        }
        ecu_can_frame_t f;
        memcpy(&f, s->held_frame + k * SEAM_FRAME, SEAM_FRAME);
        s->held_us[k] = 0;
        if (s->held_node[k] == CANBUS_STRANGER) w->bus[f.bus].s.members_mask |= 1u << CANBUS_STRANGER;
        if (!canbus_put(&w->bus[f.bus], s->held_node[k], &f)) w->loop.frames_dropped++;
    }
    if (left == 0u) seam_look(w);
}

/* Once a millisecond while there is trouble. */
void seam_step(world_t *w)
{
    if (w->seam.is_tampered) release(w);
}

/* The receiver's queue overruns: what came last is lost. */
void seam_overrun(world_t *w)
{
    seam_t *s = &w->seam;
    if (s->rx_room == 0u || w->in.can_count <= s->rx_room) return;
    s->frames_missed += w->in.can_count - s->rx_room;
    w->in.can_count = (uint16_t)s->rx_room;
}

/* ---- memory ---- */

static bool is_lost(const seam_t *s, const ecu_nvm_t *op)
{
    return s->nvm_mode == 1u || (s->nvm_page != 0u && op->page == s->nvm_page - 1u);
}

void seam_nvm(world_t *w, ecu_nvm_t *op)
{
    seam_t *s = &w->seam;
    const bool is_write = op->op == ECU_NVM_PROGRAM || op->op == ECU_NVM_ERASE;
    if (is_write && s->nvm_torn != 0u && op->page < ECU_NVM_PAGES) {
        uint8_t *const page = w->loop.nvm + (size_t)op->page * ECU_NVM_PAGE;
        const uint32_t bytes = s->nvm_torn - 1u < ECU_NVM_PAGE ? s->nvm_torn - 1u : ECU_NVM_PAGE;
        for (uint32_t k = 0; k < bytes; ++k) page[k] = op->op == ECU_NVM_ERASE ? 0xFFu : (uint8_t)(page[k] & op->data[k]);
        s->nvm_torn = 0;
        op->op = ECU_NVM_NONE; /* nobody is told: the supply is gone */
        s->reset_cause = ECU_RESET_BROWN_OUT + 1u;
        return;
    }
    if (is_write && s->nvm_mode == 2u) op->status = ECU_NVM_FAILED;
    else if (is_write && is_lost(s, op)) op->status = ECU_NVM_OK;
    else flash_operate(w->loop.nvm, op);
}
