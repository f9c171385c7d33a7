/* S5 to S8, S10, S16, S18, L4, E1 to E3, C2, X1: what the BMS drives and says. */
#include "invariants/internal.h"

#include "bms_dbc.h"

enum { SELFTEST = 1, STANDBY = 2, PRECHARGE = 3, NORMAL_DRIVE = 4, NORMAL_CHARGE = 5, ERROR = 7, LATCHED = 8, ASSERTED = 9, ASLEEP = 13 };

#define ASKED_MS 600u      /* a request that is older was not made */
#define CALM_MS 15000u     /* after trouble so long until a trip counts as false: the longest debounce and more */
#define WIRE_A 0.11        /* limits are told in steps of 0.1 A */
#define SLOW_MS 110u       /* limits are worked out every 100 ms */
#define SOC_OUT_MS 60000u
#define SOC_ROUND 0.0002
#define OBEYS_MS 1000u     /* what is told to be forbidden is so in that time */
#define LOWERED 0.75       /* of the full limits is left while a diagnosis lowers them, or less */
#define STALE_MS 600u      /* the page that tells it may be of before */
#define HEARD_MS 200u /* nobody has asked for so long when it says that it goes to sleep */

static uint32_t trip_flags(const struct bms_dbc_bms_state_t *m)
{
    const uint8_t flags[9] = {m->trip_voltage, m->trip_current, m->trip_temperature, m->trip_pressure, m->trip_insulation,
                              m->trip_measurement, m->trip_contactor, m->trip_external, m->trip_system};
    uint32_t bits = 0;
    for (uint32_t k = 0; k < 9u; ++k) bits |= (uint32_t)(flags[k] != 0u) << k;
    return bits;
}

/* S16: a trip out of a clear sky. */
static void take_trip(watch_rules_t *s, const world_t *w, const struct bms_dbc_bms_state_t *m, uint32_t flags)
{
    const bool tripped = flags != 0u || m->state == ERROR;
    if (m->state == ASSERTED) return; /* X1 says it */
    if (!tripped) {
        s->trip_told_ms = 0u;
        return;
    }
    if (s->trip_told_ms == 0u && s->calm_ms > CALM_MS && s->reset_age_ms > CALM_MS)
        rule_broken(s, w, RULE_S16, (double)m->first_trip_diagnosis, (int32_t)m->first_trip_diagnosis);
    if (s->trip_told_ms == 0u && s->tripped != 2u) s->tripped = 1u;
    if (s->trip_told_ms == 0u) s->clear_seen = s->standby_seen = 0u;
    s->trip_told_ms = older(s->trip_told_ms, 10u);
}

/* S8: what is beyond trip and can be seen, or was never let go. */
static bool cause_is_there(const watch_rules_t *s, const world_t *w)
{
    static const uint32_t rule[4] = {RULE_S1, RULE_S2, RULE_S3, RULE_S4}, told[4] = {RULE_E5, RULE_E6, RULE_E7, RULE_E6};
    uint32_t beyond = s->beyond;
    for (uint32_t k = 0; k < 4u; ++k) {
        if (bit_of(s->masked, rule[k]) || bit_of(s->masked, told[k]) || s->widen[rule[k]] > 0.0) beyond &= ~(1u << k);
    }
    return beyond != 0u || s->unlocked_ms > s->interlock_ms || w->loop.crash != 0u;
}

/* S7: coils fit what is told. S8: no trip is taken back while its cause is there. */
static void check_state(watch_rules_t *s, const world_t *w, uint32_t was, uint32_t state)
{
    const uint32_t coils = w->out.pins.digital & COILS, mains = PIN_OUT_MAIN_PLUS | PIN_OUT_MAIN_MINUS;
    const bool open = bit_of(s->open_states, state) || state == ERROR, normal = state == NORMAL_DRIVE || state == NORMAL_CHARGE;
    const uint32_t open_ms = state == ERROR ? s->fuse_ms + 100u : 30u;
    rule_held(s, w, RULE_S7, HELD_COIL_OPEN, open && coils != 0u, 10u, open_ms, (double)coils, (int32_t)state);
    rule_held(s, w, RULE_S7, HELD_COIL_NORMAL, normal && (coils & mains) != mains, 10u, 50u, (double)coils, (int32_t)state);
    const bool tripped = was == ERROR || was == LATCHED, taken_back = state == STANDBY || state == SELFTEST;
    if (s->state_fresh != 0u && tripped && taken_back && cause_is_there(s, w)) rule_broken(s, w, RULE_S8, (double)s->beyond, 20);
}

static void take_state(watch_rules_t *s, const world_t *w, const ecu_can_frame_t *f)
{
    struct bms_dbc_bms_state_t m;
    if (bms_dbc_bms_state_unpack(&m, f->data, f->length) != 0) return;
    const uint32_t flags = trip_flags(&m), state = m.state;
    const bool moved = s->state_fresh != 0u && state != s->state;
    if (moved && (s->state >= WATCH_STATES || !bit_of(s->next_states[s->state], state)))
        rule_broken(s, w, RULE_S7, (double)state, (int32_t)s->state);
    if (s->state_fresh == 0u && bit_of(s->closed_states, state)) rule_broken(s, w, RULE_S7, (double)state, -1);
    rule_held(s, w, RULE_X1, HELD_ASSERTED, state == ASSERTED, 10u, 0u, (double)m.first_trip_diagnosis, -1);
    rule_held(s, w, RULE_L4, HELD_PRECHARGE, state == PRECHARGE, 10u, s->precharge_ms, 0.0, -1);
    take_trip(s, w, &m, flags);
    check_state(s, w, s->state, state);
    if (moved && state == ASLEEP && s->heard_age_ms < HEARD_MS) rule_broken(s, w, RULE_L5, (double)s->heard_age_ms, 1);
    const bool normal = state == NORMAL_DRIVE || state == NORMAL_CHARGE;
    if (normal && flags == 0u) s->tripped = 0u;
    s->state = state;
    s->state_fresh = 1u;
    s->state_age_ms = 0u;
    s->trip_flags = flags;
}

/* ---- limits: S10 ---- */

/* 1 at operate and milder, 0 at warn and worse, judged with the error of the reading on the lenient side. */
static double share_below(double value, const double limit[3])
{
    if (limit[1] <= limit[0]) return value < limit[1] ? 1.0 : 0.0;
    const double share = (limit[1] - value) / (limit[1] - limit[0]);
    return share < 0.0 ? 0.0 : share > 1.0 ? 1.0 : share;
}

static double share_above(double value, const double limit[3])
{
    if (limit[1] >= limit[0]) return value > limit[1] ? 1.0 : 0.0;
    const double share = (value - limit[1]) / (limit[0] - limit[1]);
    return share < 0.0 ? 0.0 : share > 1.0 ? 1.0 : share;
}

static void check_shares(watch_rules_t *s, const world_t *w)
{
    if (s->hottest_degc < s->coldest_degc) return; /* nothing seen yet */
    const double error_k = s->temperature_error_k + s->widen[RULE_S2], error_kpa = s->pressure_error_kpa + s->widen[RULE_S4];
    const double hot = s->hottest_degc - error_k, cold = s->coldest_degc + error_k;
    double in = smaller(share_below(hot, s->charge_max_degc), share_above(cold, s->charge_min_degc));
    double out = smaller(share_below(hot, s->discharge_max_degc), share_above(cold, s->discharge_min_degc));
    if (s->pressure_is_fitted != 0u) {
        const double low = share_above(s->lowest_kpa + error_kpa, s->pressure_min_kpa);
        const double high = share_below(s->highest_kpa - error_kpa, s->pressure_max_kpa);
        in = smaller(in, smaller(low, high));
        out = smaller(out, smaller(low, high));
    }
    const double most_in = in * s->charge_static_a + WIRE_A, most_out = out * s->discharge_static_a + WIRE_A;
    rule_held(s, w, RULE_S10, HELD_LIMIT_CHARGE, s->charge_limit_a > most_in, 10u, s->hot_ms, s->charge_limit_a - most_in, -1);
    rule_held(s, w, RULE_S10, HELD_LIMIT_DISCHARGE, s->discharge_limit_a > most_out, 10u, s->hot_ms, s->discharge_limit_a - most_out, -1);
}

static void take_limits(watch_rules_t *s, const world_t *w, const ecu_can_frame_t *f)
{
    struct bms_dbc_bms_limits_t m;
    if (bms_dbc_bms_limits_unpack(&m, f->data, f->length) != 0) return;
    const double in = (double)m.charge_current_limit * 0.1, out = (double)m.discharge_current_limit * 0.1;
    const double step = s->ramp_a_per_s * 1e-3 * (double)(s->limit_age_ms + SLOW_MS) + WIRE_A;
    const bool rises = s->limit_seen != 0u && (in - s->charge_limit_a > step || out - s->discharge_limit_a > step);
    if (in > s->charge_static_a + WIRE_A) rule_broken(s, w, RULE_S10, in, 0);
    if (out > s->discharge_static_a + WIRE_A) rule_broken(s, w, RULE_S10, out, 1);
    if (rises) rule_broken(s, w, RULE_S10, out - s->discharge_limit_a, 2);
    if ((double)m.charge_voltage_limit * 0.1 > s->charge_voltage_v + WIRE_A) rule_broken(s, w, RULE_S10, (double)m.charge_voltage_limit * 0.1, 3);
    s->charge_limit_a = in;
    s->discharge_limit_a = out;
    s->limit_seen = 1u;
    s->limit_age_ms = 0u;
    const bool normal = s->state == NORMAL_DRIVE || s->state == NORMAL_CHARGE, some = in + out > 0.0;
    rule_held(s, w, RULE_S10, HELD_LIMIT_TRIPPED, s->state_fresh != 0u && s->trip_flags != 0u && some, 10u, 20u, in + out, 4);
    rule_held(s, w, RULE_S10, HELD_LIMIT_STATE, s->state_fresh != 0u && !normal && some, 10u, 20u, in + out, 5);
    const bool forbidden = (s->forbidden_ms > OBEYS_MS && some) || (s->forbidden_charge_ms > OBEYS_MS && in > 0.0);
    const bool full = in > LOWERED * s->charge_static_a + WIRE_A || out > LOWERED * s->discharge_static_a + WIRE_A;
    rule_held(s, w, RULE_S18, HELD_LOWERED, s->lowered_ms > OBEYS_MS && full, 10u, STALE_MS, in + out, 3);
    rule_held(s, w, RULE_S18, HELD_FORBIDDEN, forbidden, 10u, STALE_MS, in + out, s->forbidden_ms > OBEYS_MS ? 0 : 1);
    check_shares(s, w);
}

/* ---- state of charge: E1 to E3 ---- */

static void take_soc(watch_rules_t *s, const world_t *w, const ecu_can_frame_t *f)
{
    struct bms_dbc_bms_soc_t m;
    if (bms_dbc_bms_soc_unpack(&m, f->data, f->length) != 0 || !m.soc_valid) return;
    const double soc = (double)m.soc * 1e-4, low = (double)m.soc_low * 1e-4, high = (double)m.soc_high * 1e-4;
    const double truth = w->plant.pack_soc_frac, width = high - low;
    if (!(low <= soc && soc <= high && high <= 1.0)) {
        rule_broken(s, w, RULE_E2, soc, -1);
        return;
    }
    if (truth < -SOC_ROUND || truth > 1.0 + SOC_ROUND) return; /* blocks so far apart that the pack has no state of charge */
    const double more = s->widen[RULE_E1];
    if (!bit_of(s->masked, RULE_E1) && more <= 0.0) {
        s->soc_checked++;
        s->soc_inside += truth >= low - SOC_ROUND && truth <= high + SOC_ROUND;
    }
    const double beyond = larger(low - truth, truth - high);
    rule_held(s, w, RULE_E1, HELD_SOC, beyond > width + 0.01 + more, 20u, SOC_OUT_MS, soc - truth, -1);
    const bool jumps = s->soc_frac >= 0.0 && size_of(soc - s->soc_frac) > larger(width, s->soc_width_frac) + 0.01 + more;
    const bool end = (soc <= 0.0 && truth > 0.1 + more + 0.5 * width) || (soc >= 1.0 && truth < 0.9 - more - 0.5 * width);
    if (jumps || end) rule_broken(s, w, RULE_E3, soc - (jumps ? s->soc_frac : truth), jumps ? 0 : 1);
    s->soc_frac = soc;
    s->soc_width_frac = width;
}

void watch_frames(watch_rules_t *s, const world_t *w)
{
    s->state_age_ms = older(s->state_age_ms, 1u);
    s->limit_age_ms = older(s->limit_age_ms, 1u);
    watch_forbidden(s);
    for (uint32_t k = 0; k < w->out.can_count && k < ECU_CAN_OUT_MAX; ++k) {
        const ecu_can_frame_t *const f = &w->out.can[k];
        if (f->bus != ECU_BUS_VEHICLE || f->flags != 0u || f->length != 8u) continue;
        if (f->id == BMS_DBC_BMS_STATE_FRAME_ID) take_state(s, w, f);
        else if (f->id == BMS_DBC_BMS_LIMITS_FRAME_ID) take_limits(s, w, f);
        else if (f->id == BMS_DBC_BMS_SOC_FRAME_ID) take_soc(s, w, f);
        else watch_told_frame(s, f);
    }
    for (uint32_t k = 0; k < w->out.can_count && k < ECU_CAN_OUT_MAX; ++k) {
        if (w->out.can[k].bus == ECU_BUS_VEHICLE) watch_answer(s, w, &w->out.can[k]);
    }
}

/* ---- coils ---- */

/* S7, S8, C2: a coil goes on. */
static void check_closing(watch_rules_t *s, const world_t *w, uint32_t rose)
{
    const loop_t *const l = &w->loop;
    const uint32_t before = s->pins;
    /* The first coil of a test is on before the state is told. */
    const bool tells = bit_of(s->test_states, s->state) || (s->has_key != 0u && s->state == STANDBY);
    const bool testing = s->state_fresh != 0u && tells && (w->out.pins.digital & COILS & (before | rose)) == rose;
    if (testing) return;
    if (s->state_fresh == 0u || !bit_of(s->close_states, s->state)) rule_broken(s, w, RULE_S7, (double)rose, (int32_t)s->state);
    if ((rose & PIN_OUT_MAIN_PLUS) != 0u && (before & (PIN_OUT_MAIN_MINUS | PIN_OUT_PRECHARGE)) != (PIN_OUT_MAIN_MINUS | PIN_OUT_PRECHARGE))
        rule_broken(s, w, RULE_S7, (double)rose, 101);
    if ((rose & PIN_OUT_PRECHARGE) != 0u && (before & PIN_OUT_MAIN_MINUS) == 0u) rule_broken(s, w, RULE_S7, (double)rose, 102);
    if (s->tripped != 0u && (s->clear_seen == 0u || s->standby_seen == 0u)) rule_broken(s, w, RULE_S8, (double)rose, (int32_t)s->tripped);
    if (s->tripped != 0u && (s->beyond != 0u || s->unlocked_ms > s->interlock_ms || l->crash != 0u)) rule_broken(s, w, RULE_S8, (double)s->beyond, 10);
    if (s->insulation_age_ms > s->insulation_ms + 1000u) rule_broken(s, w, RULE_S9, (double)s->insulation_age_ms, 6);
    const bool charge = w->vehicle.request == VEHICLE_REQUEST_CHARGE && s->asked_age_ms == 0u && s->forbidden_charge_ms > OBEYS_MS;
    if (s->forbidden_ms > OBEYS_MS || charge) s->forbidden_close = 1u;
    if (s->asked_age_ms > ASKED_MS) rule_broken(s, w, RULE_C2, (double)s->asked_age_ms, -1);
}

/* S5: coils taken off in a short that came at once, although a sensor that works has shown its size or was about to. */
static void check_jump(watch_rules_t *s, const world_t *w)
{
    const uint32_t mains = PIN_OUT_MAIN_PLUS | PIN_OUT_MAIN_MINUS, fell = s->pins & ~w->out.pins.digital & mains;
    const bool works = w->ivt.frozen == 0u && w->ivt.silent == 0u && w->ivt.invalid == 0u && s->shown_age_ms < 15u;
    const bool runs = w->loop.booting_ms == 0u && s->reset_age_ms > 200u;
    const bool jumped = s->beyond_break_ms != 0u && s->beyond_break_ms < s->fuse_ms && s->comparator_high_ms < s->beyond_break_ms + 3u;
    const bool flows = size_of(w->plant.pack_current_a) > s->break_a + s->widen[RULE_S5]; /* and has not just ended */
    if (fell != 0u && jumped && flows && works && runs) rule_broken(s, w, RULE_S5, w->plant.pack_current_a, 2);
}

void watch_pins(watch_rules_t *s, const world_t *w)
{
    const vehicle_t *const v = &w->vehicle;
    const plant_t *const p = &w->plant;
    s->asked_age_ms = v->request != VEHICLE_REQUEST_STANDBY && s->stranger == 0u ? 0u : older(s->asked_age_ms, 1u);
    if (v->clear_request != 0u) s->clear_seen = 1u;
    if (v->request == VEHICLE_REQUEST_STANDBY) s->standby_seen = 1u;
    const uint32_t rose = w->out.pins.digital & COILS & ~s->pins;
    if (rose != 0u) check_closing(s, w, rose);
    if ((w->out.pins.digital & COILS) == 0u || s->forbidden_charge_ms == 0u) s->forbidden_close = 0u;
    rule_held(s, w, RULE_S18, HELD_FORBIDDEN_CLOSE, s->forbidden_close != 0u, 1u, STALE_MS, (double)s->forbidden_charge_ms, 2);
    rule_held(s, w, RULE_L4, HELD_PRECHARGE_CONTACT, (w->out.pins.digital & PIN_OUT_PRECHARGE) != 0u, 1u, s->precharge_ms, 1.0, -1);
    check_jump(s, w);
    if (p->breaks_over_rating != s->breaks) {
        /* S5: opened beyond rating although the current had been there for two readings of the sensor, and the fuse was not waited for. */
        const bool known = s->beyond_break_ms > 30u && s->beyond_break_ms < s->fuse_ms && s->reset_age_ms > 200u;
        if (known && s->shown_age_ms < 30u) rule_broken(s, w, RULE_S5, p->pack_current_a, 1);
        s->breaks = p->breaks_over_rating;
    }
}
