/* S1 to S5, S9, S13, S14: quantities that only the plant knows. */
#include "invariants/internal.h"

#define ID_CURRENT 0x521u /* of the current sensor; state bits in the second byte: result or system error */
#define ID_ERRORS 0xA0u
#define LOOK_BACK_MS 40u /* a reading each 10 ms, its way, the control period, the travel of the contact */
#define WARM_MS 20000u   /* switches were chosen before, and their round lasts so long */
#define LOWEST_MS 20000u
#define LOWEST_AGAIN_MS 5000u /* a test of its switch is one pulse, not bleeding */
#define ID_INSULATION 0x37u /* of the insulation monitor */

/* The reading stands at the end of its range, and says so. */
static bool clips(const watch_rules_t *s, const world_t *w) { return w->ivt.is_clipped[0] != 0u && w->ivt.current_range_a >= s->range_a; }

static bool is_beyond_break(const watch_rules_t *s, const plant_t *p) { return size_of(p->pack_current_a) > s->break_a + s->widen[RULE_S5]; }

/* S3, S5. Above what the contactors break, opening may wait for the fuse, and the fuse must be told. */
static void check_current(watch_rules_t *s, const world_t *w)
{
    const plant_t *const p = &w->plant;
    const double amps = p->pack_current_a, more = s->widen[RULE_S3];
    const bool closed = path_is_closed(p), over_break = is_beyond_break(s, p);
    /* A current that no reading shows is S9's; one that clips at the end of the range is shown. */
    const uint32_t blind_ms = s->sensor_age_ms > 20u && !clips(s, w) ? s->sensor_ms : 0u;
    const uint32_t wait_ms = (over_break ? s->fuse_ms : 0u) + blind_ms;
    rule_held(s, w, RULE_S3, HELD_DISCHARGE, closed && amps > s->discharge_a + more, 1u, s->current_ms + s->travel_ms + wait_ms, amps, -1);
    rule_held(s, w, RULE_S3, HELD_CHARGE, closed && -amps > s->charge_a + more, 1u, s->current_ms + s->travel_ms + wait_ms, amps, -1);
    const bool short_circuit = closed && size_of(amps) > s->comparator_a + more;
    rule_held(s, w, RULE_S3, HELD_COMPARATOR, short_circuit, 1u, s->comparator_ms + s->travel_ms + wait_ms, amps, -1);
    rule_held(s, w, RULE_S5, HELD_BREAK, closed && over_break, 1u, s->current_ms + blind_ms + s->fuse_ms + s->travel_ms, amps, -1);
    const bool told = (w->out.pins.digital & PIN_OUT_FUSE_TRIGGER) != 0u;
    rule_held(s, w, RULE_S5, HELD_NO_ALERT, closed && over_break && !told, 1u, s->current_ms + blind_ms + s->travel_ms, amps, -1);
    s->beyond_break_ms = over_break ? older(s->beyond_break_ms, 1u) : 0u;
    s->comparator_high_ms = size_of(amps) > s->comparator_a ? older(s->comparator_high_ms, 1u) : 0u;
    note_beyond(s, BEYOND_CURRENT, amps > s->discharge_a || -amps > s->charge_a, 1u, s->current_ms);
}

/* S9: the current sensor. What reached the ECU counts. */
static void check_sensor(watch_rules_t *s, const world_t *w)
{
    s->sensor_age_ms = older(s->sensor_age_ms, 1u);
    s->shown_age_ms = older(s->shown_age_ms, 1u);
    s->insulation_age_ms = older(s->insulation_age_ms, 1u);
    s->unlocked_ms = w->loop.interlock == 0u ? older(s->unlocked_ms, 1u) : 0u;
    for (uint32_t k = 0; k < w->in.can_count && k < ECU_CAN_IN_MAX; ++k) {
        const ecu_can_frame_t *const f = &w->in.can[k];
        if (f->bus == ECU_BUS_SENSOR && f->id == ID_INSULATION) s->insulation_age_ms = 0u;
        const bool valid = f->bus == ECU_BUS_SENSOR && f->id == ID_CURRENT && f->flags == 0u && f->length == 6u;
        if (!valid || w->ivt.silent != 0u) continue; /* a frame of before says nothing */
        if ((f->data[1] & ID_ERRORS) == 0u) s->sensor_age_ms = s->shown_age_ms = 0u;
        else if (clips(s, w) && w->ivt.invalid == 0u) s->shown_age_ms = 0u;
    }
    const bool late = s->sensor_age_ms > 20u && w->loop.booting_ms == 0u;
    const bool limits = s->limit_seen != 0u && s->charge_limit_a + s->discharge_limit_a > 0.0;
    const double age = (double)s->sensor_age_ms;
    rule_held(s, w, RULE_S9, HELD_SENSOR_PATH, late && path_is_closed(&w->plant), 1u, s->sensor_ms + s->travel_ms, age, -1);
    rule_held(s, w, RULE_S9, HELD_SENSOR_LIMIT, late && limits, 1u, s->sensor_ms + 20u, age, -1);
}

/* S6: a main contactor touches first with the link far from the pack. What happens once its coil is on its way (a load that comes, a
 * contact that welds) nobody can take back: the last reading judged is LOOK_BACK_MS old at the touch. */
static void check_touch(watch_rules_t *s, const world_t *w)
{
    const plant_t *const p = &w->plant;
    const uint32_t coils = p->coil_command & COILS, rose = p->contactor_closed & ~s->closed & ~s->touched & coils;
    s->touched = (s->touched | p->contactor_closed) & (coils | p->contactor_closed);
    const bool main_rose = (rose & (PLANT_MAIN_PLUS | PLANT_MAIN_MINUS)) != 0u;
    const bool joined = (p->contactor_closed & 3u) == 3u, far = size_of(s->gap_v) > s->precharge_v + s->widen[RULE_S6];
    const uint32_t stuck = p->contactor_closed & 3u & ~coils;
    s->apart_ms = far ? older(s->apart_ms, 1u) : 0u;
    const bool known = s->apart_ms > LOOK_BACK_MS && (stuck == 0u || s->joined_ms > LOOK_BACK_MS);
    s->joined_ms = stuck != 0u ? older(s->joined_ms, 1u) : 0u;
    if (main_rose && joined && known) rule_broken(s, w, RULE_S6, s->gap_v, -1);
}

void watch_truth_fast(watch_rules_t *s, const world_t *w)
{
    check_current(s, w);
    check_sensor(s, w);
    check_touch(s, w);
}

/* ---- every 10 ms ---- */

static void check_voltages(watch_rules_t *s, const world_t *w)
{
    const plant_t *const p = &w->plant;
    double low = p->block_voltage_v[0], high = low;
    for (uint32_t b = 1; b < p->blocks; ++b) {
        low = p->block_voltage_v[b] < low ? p->block_voltage_v[b] : low;
        high = p->block_voltage_v[b] > high ? p->block_voltage_v[b] : high;
    }
    s->lowest_v = low;
    s->highest_v = high;
    const double more = s->widen[RULE_S1];
    const bool closed = path_is_closed(p), over = high > s->voltage_max_v, under = low < s->voltage_min_v;
    const uint32_t wait_ms = s->travel_ms + 10u + (is_beyond_break(s, p) ? s->fuse_ms : 0u);
    rule_held(s, w, RULE_S1, HELD_OVERVOLTAGE, closed && high > s->voltage_max_v + more, 10u, s->overvoltage_ms + wait_ms, high, -1);
    rule_held(s, w, RULE_S1, HELD_UNDERVOLTAGE, closed && low < s->voltage_min_v - more, 10u, s->undervoltage_ms + wait_ms, low, -1);
    note_beyond(s, BEYOND_VOLTAGE, over || under, 10u, 10u + (over ? s->overvoltage_ms : s->undervoltage_ms));
    const double amps = p->pack_current_a;
    const bool currents = amps < s->discharge_calm_a && -amps < s->charge_calm_a;
    const bool temperatures = s->coldest_degc > larger(s->charge_min_degc[1], s->discharge_min_degc[1]) &&
                              s->hottest_degc < smaller(s->charge_max_degc[1], s->discharge_max_degc[1]);
    const bool pressures = s->pressure_is_fitted == 0u || (s->lowest_kpa > s->pressure_min_kpa[1] && s->highest_kpa < s->pressure_max_kpa[1]);
    const bool voltages = high < s->voltage_calm_max_v && low > s->voltage_calm_min_v;
    s->calm_now = currents && temperatures && pressures && voltages && p->fuse_blown == 0u && p->precharge_burnt == 0u;
}

/* S9: monitor chips that say nothing, or nothing true. */
static void check_chips(watch_rules_t *s, const world_t *w)
{
    const chips_t *const c = &w->chips;
    const plant_t *const p = &w->plant;
    bool silent = false, frozen = false, blank = false;
    int32_t place = -1;
    for (uint32_t k = 0; k < p->modules; ++k) {
        const bool gone = c->chip_dead[k] != 0u || c->mute[k] != 0u, ff = c->blank[k] != 0u, still = c->frozen[k] != 0u;
        silent |= gone;
        blank |= ff;
        frozen |= still;
        if (gone || ff || still) place = (int32_t)k;
    }
    const bool closed = path_is_closed(p), runs = w->loop.booting_ms == 0u;
    const bool limits = s->limit_seen != 0u && s->charge_limit_a + s->discharge_limit_a > 0.0;
    const uint32_t travel_ms = s->travel_ms + 10u;
    rule_held(s, w, RULE_S9, HELD_SILENT_PATH, runs && silent && closed, 10u, s->silent_ms + travel_ms, 0.0, place);
    rule_held(s, w, RULE_S9, HELD_SILENT_LIMIT, runs && silent && limits, 10u, s->silent_ms + 30u, 1.0, place);
    rule_held(s, w, RULE_S9, HELD_FROZEN_PATH, s->readings_move != 0u && frozen && closed, 10u, s->frozen_ms + travel_ms, 2.0, place);
    rule_held(s, w, RULE_S9, HELD_BLANK_PATH, runs && blank && closed, 10u, s->blank_ms + travel_ms, 3.0, place);
    rule_held(s, w, RULE_S9, HELD_BLANK_LIMIT, runs && blank && limits, 10u, s->blank_ms + 30u, 4.0, place);
    rule_held(s, w, RULE_S9, HELD_INSULATION, runs && w->imd.silent != 0u && limits, 10u, s->insulation_ms + 1000u, 5.0, -1);
}

/* S13: a contact that stays although its coil is off is told, and nothing is closed on it. */
static void check_welds(watch_rules_t *s, const world_t *w)
{
    const plant_t *const p = &w->plant;
    bool welded = false;
    for (uint32_t k = 0; k < 3u; ++k) {
        const bool stays = (p->contactor_closed >> k & 1u) != 0u && (p->coil_command >> k & 1u) == 0u;
        uint32_t *const ms = &s->held_ms[HELD_WELD_PLUS + k];
        *ms = stays && w->loop.booting_ms == 0u ? older(*ms, 10u) : 0u;
        welded |= *ms > s->weld_ms + 20u;
    }
    const bool told = s->state_fresh != 0u && s->trip_flags != 0u;
    const bool asleep = w->loop.sleep_until_us > w->loop.elapsed_us;
    rule_held(s, w, RULE_S13, HELD_WELD_FLAG, welded && !told && !asleep && s->reset_age_ms > 3000u, 10u, 20u, (double)p->contactor_closed, -1);
    if (welded && (p->coil_command & COILS) != 0u && (w->out.pins.digital & COILS & ~s->pins) != 0u)
        rule_broken(s, w, RULE_S13, (double)p->coil_command, -1);
}

void watch_truth_tick(watch_rules_t *s, const world_t *w)
{
    check_voltages(s, w);
    check_chips(s, w);
    check_welds(s, w);
}

/* ---- every 100 ms ---- */

static void check_temperatures(watch_rules_t *s, const world_t *w)
{
    const plant_t *const p = &w->plant;
    double low = 1e9, high = -1e9;
    int32_t at = -1;
    for (uint32_t k = 0; k < s->sensors; ++k) {
        const double t = p->cell_surface_degc[s->sensor_cell[k]];
        low = t < low ? t : low;
        if (t <= high) continue;
        high = t;
        at = (int32_t)s->sensor_cell[k];
    }
    const double more = s->widen[RULE_S2], amps = p->pack_current_a;
    const bool closed = path_is_closed(p), cold = amps < -s->ignored_a && low < s->cold_charge_degc - more;
    const uint32_t travel_ms = s->travel_ms + 100u;
    rule_held(s, w, RULE_S2, HELD_HOT, closed && high > s->hot_degc + more, 100u, s->hot_ms + travel_ms, high, at);
    rule_held(s, w, RULE_S2, HELD_HOT_CHARGE, closed && amps <= 0.0 && high > s->hot_charge_degc + more, 100u, s->hot_charge_ms + travel_ms, high, at);
    rule_held(s, w, RULE_S2, HELD_COLD_CHARGE, closed && cold, 100u, s->cold_charge_ms + travel_ms, low, -1);
    s->coldest_degc = low;
    s->hottest_degc = high;
    note_beyond(s, BEYOND_TEMPERATURE, high > s->hot_degc, 100u, 100u + s->hot_ms);
}

static void check_pressures(watch_rules_t *s, const world_t *w)
{
    const plant_t *const p = &w->plant;
    if (s->pressure_is_fitted == 0u) return;
    double low = p->module_pressure_kpa[0], high = low;
    int32_t at_low = 0, at_high = 0;
    for (uint32_t m = 1; m < p->modules; ++m) {
        if (p->module_pressure_kpa[m] < low) {
            low = p->module_pressure_kpa[m];
            at_low = (int32_t)m;
        }
        if (p->module_pressure_kpa[m] > high) {
            high = p->module_pressure_kpa[m];
            at_high = (int32_t)m;
        }
    }
    const double more = s->widen[RULE_S4] + s->pressure_error_kpa;
    const bool closed = path_is_closed(p), weak = low < s->pressure_min_kpa[2] - more, strong = high > s->pressure_max_kpa[2] + more;
    const uint32_t limit_ms = s->pressure_ms + s->travel_ms + 100u;
    rule_held(s, w, RULE_S4, HELD_PRESSURE_LOW, closed && weak, 100u, limit_ms, low, at_low);
    rule_held(s, w, RULE_S4, HELD_PRESSURE_HIGH, closed && strong, 100u, limit_ms, high, at_high);
    s->lowest_kpa = low;
    s->highest_kpa = high;
    note_beyond(s, BEYOND_PRESSURE, weak || strong, 100u, 100u + s->pressure_ms);
}

/* The hottest cell with a thermistor in a module. */
static double hottest_in(const watch_rules_t *s, const plant_t *p, uint32_t module)
{
    const uint32_t count = s->sensors / p->modules;
    double high = -1e9;
    for (uint32_t k = module * count; k < (module + 1u) * count && k < s->sensors; ++k) high = larger(high, p->cell_surface_degc[s->sensor_cell[k]]);
    return high;
}

/* The block that is lower than every other by more than readings can be wrong, with nothing that flows; -1 if there is none. */
static int32_t lowest_block(const watch_rules_t *s, const plant_t *p)
{
    if (size_of(p->pack_current_a) > s->current_error_a) return -1;
    uint32_t at = 0;
    for (uint32_t k = 1; k < p->blocks; ++k) at = p->block_voltage_v[k] < p->block_voltage_v[at] ? k : at;
    const double mine = p->block_voltage_v[at] + 2.0 * s->voltage_error_v;
    for (uint32_t k = 0; k < p->blocks; ++k) {
        if (k != at && p->block_voltage_v[k] < mine) return -1;
    }
    return p->blocks > 1u ? (int32_t)at : -1;
}

/* How long one block has been the lowest: who is bled was chosen before. */
static void follow_lowest(watch_rules_t *s, const plant_t *p)
{
    const int32_t at = lowest_block(s, p);
    s->lowest_ms = at >= 0 && at == s->lowest_at ? older(s->lowest_ms, 100u) : 0u;
    s->lowest_at = at;
}

typedef struct {
    bool any, low, blind, unfelt, warm, lowest;
    int32_t at;
} bled_t;

/* A thermistor of the module that tells nothing, and shows that it does. */
static bool feels_nothing(const chips_t *c, uint32_t module)
{
    for (uint32_t t = module * CHIPS_THERMISTORS; t < (module + 1u) * CHIPS_THERMISTORS; ++t) {
        const bool shows = c->thermistor_broken[t] == 1u || c->thermistor_broken[t] == 2u;
        if (c->thermistor_block[t] >= 0 && shows) return true;
    }
    return false;
}

/* A switch that is stuck is not the firmware's doing; nor is one on a chip it cannot reach. */
static void look_at_module(const watch_rules_t *s, const world_t *w, uint32_t k, bled_t *bled)
{
    const chips_t *const c = &w->chips;
    const plant_t *const p = &w->plant;
    const bool reached = c->chip_dead[k] == 0u && c->mute[k] == 0u;
    const uint32_t on = reached ? (uint32_t)(c->bleed_mask[k] & (uint16_t)~c->fet_stuck_on[k]) : 0u;
    if (on == 0u) return;
    bled->any = true;
    bled->blind |= c->blank[k] != 0u || (c->open_wire[k] & (on | on << 1)) != 0u;
    bled->unfelt |= feels_nothing(c, k);
    bled->warm |= hottest_in(s, p, k) > s->bleed_max_degc + s->temperature_error_k + 0.5;
    for (uint32_t ch = 0; ch < p->blocks_per_module; ++ch) {
        const uint32_t b = k * p->blocks_per_module + ch;
        if ((on >> ch & 1u) == 0u || b >= p->blocks) continue;
        bled->lowest |= (int32_t)b == s->lowest_at && s->lowest_ms > LOWEST_MS;
        if (p->block_voltage_v[b] >= s->voltage_bleed_v - s->widen[RULE_S14]) continue;
        bled->low = true;
        bled->at = (int32_t)b;
    }
}

/* S14. Switches take turns and pause, so what goes on is what came back within a while. */
static void check_bleeding(watch_rules_t *s, const world_t *w)
{
    const plant_t *const p = &w->plant;
    follow_lowest(s, p);
    bled_t bled = {false, false, false, false, false, false, -1};
    for (uint32_t k = 0; k < p->modules; ++k) look_at_module(s, w, k, &bled);
    s->bleed_age_ms = bled.any ? 0u : older(s->bleed_age_ms, 100u);
    s->unfelt_age_ms = bled.unfelt ? 0u : older(s->unfelt_age_ms, 100u);
    s->warm_age_ms = bled.warm ? 0u : older(s->warm_age_ms, 100u);
    s->lowest_age_ms = bled.lowest ? 0u : older(s->lowest_age_ms, 100u);
    const bool goes_on = s->bleed_age_ms < 1500u;
    const bool sees = !bit_of(s->masked, RULE_E5), feels = !bit_of(s->masked, RULE_E6);
    const bool judges = s->bleeds_by_charge == 0u || !bit_of(s->masked, RULE_E1);
    rule_held(s, w, RULE_S14, HELD_BLEED_LOW, bled.low, 100u, 600u, bled.at >= 0 ? p->block_voltage_v[bled.at] : 0.0, bled.at);
    rule_held(s, w, RULE_S14, HELD_BLEED_HOT, goes_on && s->hottest_degc > s->hot_degc, 100u, s->hot_ms + 200u, s->hottest_degc, -1);
    rule_held(s, w, RULE_S14, HELD_BLEED_BLIND, bled.blind, 100u, s->blank_ms + 500u, 0.0, -1);
    rule_held(s, w, RULE_S14, HELD_BLEED_UNFELT, s->unfelt_age_ms < 1500u, 100u, WARM_MS, 0.0, -4);
    rule_held(s, w, RULE_S14, HELD_BLEED_WARM, feels && s->warm_age_ms < 1500u, 100u, WARM_MS, s->hottest_degc, -2);
    rule_held(s, w, RULE_S14, HELD_BLEED_LOWEST, sees && judges && s->lowest_age_ms < 1500u, 100u, LOWEST_AGAIN_MS, s->lowest_v, s->lowest_at);
}

void watch_truth_slow(watch_rules_t *s, const world_t *w)
{
    check_temperatures(s, w);
    check_pressures(s, w);
    check_bleeding(s, w);
}
