/* S17, L5, C4: the vehicle calls, and the BMS is there; it stops calling, and the pack opens; a tester without the key gets nowhere. */
#include "invariants/internal.h"

#include "bms_dbc.h"
#include "e2e.h"

#define FORGOTTEN_MS 500u /* after such a silence any counter is a good one */
#define LATE_MS 20u       /* a request comes each 10 ms */
#define WAKE_MS 100u

enum { STANDBY = 0, DRIVE = 1 };
enum { ID_ANSWER = 0x7EC, ROUTINE = 0x71, WRITTEN = 0x6E, START = 1, CONTACTORS = 2, KEY_TAKEN = 0x67 };

/* What reaches the ECU and is a request that may be believed. */
static void hear(watch_rules_t *s, const world_t *w)
{
    s->wish_age_ms = older(s->wish_age_ms, 1u);
    s->heard_age_ms = older(s->heard_age_ms, 1u);
    if (s->heard_age_ms > FORGOTTEN_MS && !path_is_closed(&w->plant)) s->request_counter = E2E_P01_NO_COUNTER;
    for (uint32_t k = 0; k < w->in.can_count && k < ECU_CAN_IN_MAX; ++k) {
        const ecu_can_frame_t *const f = &w->in.can[k];
        struct bms_dbc_vcu_request_t m;
        if (f->bus != ECU_BUS_VEHICLE || f->id != BMS_DBC_VCU_REQUEST_FRAME_ID || f->flags != 0u || f->length != 8u) continue;
        e2e_p01_rx_t last = {(uint8_t)s->request_counter};
        const bool usable = e2e_is_usable(e2e_p01_check(&last, (uint16_t)f->id, f->data, 8u));
        s->request_counter = last.counter;
        if (!usable || bms_dbc_vcu_request_unpack(&m, f->data, 8u) != 0) continue;
        s->heard_age_ms = 0u;
        if (m.mode != STANDBY && (m.mode != DRIVE || w->loop.ignition != 0u)) s->wish_age_ms = 0u;
    }
}

void watch_calls(watch_rules_t *s, const world_t *w)
{
    const loop_t *const l = &w->loop;
    hear(s, w);
    const bool closed = path_is_closed(&w->plant), breaks = size_of(w->plant.pack_current_a) <= s->break_a;
    const uint32_t wait_ms = s->travel_ms + 10u + (breaks ? 0u : s->fuse_ms);
    rule_held(s, w, RULE_S17, HELD_CRASH, closed && l->crash != 0u, 1u, s->crash_ms + wait_ms, 0.0, 0);
    rule_held(s, w, RULE_S17, HELD_INTERLOCK, closed && l->interlock == 0u, 1u, s->interlock_ms + wait_ms, 0.0, 1);
    rule_held(s, w, RULE_S17, HELD_UNASKED, closed && s->wish_age_ms > LATE_MS, 1u, s->unasked_ms + wait_ms, (double)s->wish_age_ms, 2);
    const bool called = is_asleep(w) && (l->ignition != 0u || s->heard_age_ms < 50u);
    rule_held(s, w, RULE_L5, HELD_CALLED, called, 1u, WAKE_MS, (double)s->heard_age_ms, 0);
}

/* C4: answers in one frame that say "done" to what asks for the key. */
void watch_answer(watch_rules_t *s, const world_t *w, const ecu_can_frame_t *f)
{
    if (f->id != ID_ANSWER || f->length != 8u || f->data[0] > 7u || s->has_key != 0u) return;
    const bool tests = f->data[1] == ROUTINE && f->data[2] == START && f->data[4] == CONTACTORS;
    const bool opens = f->data[1] == KEY_TAKEN && f->data[2] == 2u;
    if (tests || opens || f->data[1] == WRITTEN) rule_broken(s, w, RULE_C4, (double)f->data[1], -1);
}
