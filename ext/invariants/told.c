/* S18: what the BMS says that forbids. E5 to E7: what the BMS says of readings is the truth, within the errors of its sensors. A reading is old when it is told and the truth moves
 * meanwhile (it is held against what was in the last half second and more), and while blocks are bled what is told is of the last pause; what is wrong without a break for TOLD_MS is not late. */
#include "invariants/internal.h"

#include "bms_dbc.h"

#define TOLD_MS 3000u
#define START_MS 10000u  /* of an ECU that was reset or woken */
#define SPAN_MS 500u
#define PAGE_MS 500u    /* a page of diagnoses comes each 200 ms */
#define STEP_V 0.0005
#define STEP_K 0.1
#define PACK_FRAC 0.01   /* of the pack voltage: its instrument */

enum { SPAN_CURRENT, SPAN_LOWEST, SPAN_HIGHEST, SPANS };
enum { SEEN_VOLTAGES = 1, SEEN_TEMPERATURES = 2, SEEN_PRESSURES = 4, SEEN_PACK = 8, SEEN_ALL = 15 };

static const double unknown = __builtin_nan("");

static void take_voltages(watch_rules_t *s, const ecu_can_frame_t *f)
{
    struct bms_dbc_bms_cell_voltage_extremes_t m;
    if (bms_dbc_bms_cell_voltage_extremes_unpack(&m, f->data, f->length) != 0) return;
    s->told_max_v = m.cell_voltage_max > 16382u ? unknown : 0.0005 * (double)m.cell_voltage_max;
    s->told_min_v = m.cell_voltage_min > 16382u ? unknown : 0.0005 * (double)m.cell_voltage_min;
    s->told_max_at = m.cell_voltage_max_index;
    s->told_min_at = m.cell_voltage_min_index;
    s->told_seen |= SEEN_VOLTAGES;
}

static void take_temperatures(watch_rules_t *s, const ecu_can_frame_t *f)
{
    struct bms_dbc_bms_temperatures_t m;
    if (bms_dbc_bms_temperatures_unpack(&m, f->data, f->length) != 0) return;
    s->told_max_degc = m.temperature_max < -2047 ? unknown : 0.1 * (double)m.temperature_max;
    s->told_min_degc = m.temperature_min < -2047 ? unknown : 0.1 * (double)m.temperature_min;
    s->told_seen |= SEEN_TEMPERATURES;
}

static void take_pressures(watch_rules_t *s, const ecu_can_frame_t *f)
{
    struct bms_dbc_bms_pressure_t m;
    if (bms_dbc_bms_pressure_unpack(&m, f->data, f->length) != 0) return;
    s->told_max_kpa = m.pressure_max > 65534u ? unknown : (double)m.pressure_max;
    s->told_min_kpa = m.pressure_min > 65534u ? unknown : (double)m.pressure_min;
    s->told_seen |= SEEN_PRESSURES;
}

static void take_pack(watch_rules_t *s, const ecu_can_frame_t *f)
{
    struct bms_dbc_bms_pack_t m;
    if (bms_dbc_bms_pack_unpack(&m, f->data, f->length) != 0) return;
    s->told_pack_v = m.pack_voltage > 65534u ? unknown : 0.1 * (double)m.pack_voltage;
    s->told_a = m.pack_current < -32767 ? unknown : 0.05 * (double)m.pack_current;
    s->told_seen |= SEEN_PACK;
}

static void take_diagnoses(watch_rules_t *s, const ecu_can_frame_t *f)
{
    struct bms_dbc_bms_diagnosis_t m;
    if (bms_dbc_bms_diagnosis_unpack(&m, f->data, f->length) != 0 || m.page >= WATCH_PAGES) return;
    s->told_active[m.page] = m.active;
    s->active_age_ms[m.page] = 0u;
}

void watch_told_frame(watch_rules_t *s, const ecu_can_frame_t *f)
{
    if (f->id == BMS_DBC_BMS_PACK_FRAME_ID) take_pack(s, f);
    else if (f->id == BMS_DBC_BMS_CELL_VOLTAGE_EXTREMES_FRAME_ID) take_voltages(s, f);
    else if (f->id == BMS_DBC_BMS_TEMPERATURES_FRAME_ID) take_temperatures(s, f);
    else if (f->id == BMS_DBC_BMS_PRESSURE_FRAME_ID) take_pressures(s, f);
    else if (f->id == BMS_DBC_BMS_DIAGNOSIS_FRAME_ID) take_diagnoses(s, f);
}

void watch_forbidden(watch_rules_t *s)
{
    bool all = false, charge = false, lower = false;
    for (uint32_t k = 0; k < WATCH_PAGES; ++k) {
        s->active_age_ms[k] = older(s->active_age_ms[k], 1u);
        const uint64_t active = s->active_age_ms[k] < PAGE_MS && s->state_fresh != 0u ? s->told_active[k] : 0u;
        all = all || (active & s->forbids[k]) != 0u;
        lower = lower || (active & s->lowers[k]) != 0u;
        charge = charge || (active & (s->forbids[k] | s->forbids_charge[k])) != 0u;
    }
    s->forbidden_ms = all ? older(s->forbidden_ms, 1u) : 0u;
    s->lowered_ms = lower ? older(s->lowered_ms, 1u) : 0u;
    s->forbidden_charge_ms = charge ? older(s->forbidden_charge_ms, 1u) : 0u;
}

/* What is not known is not near. */
static bool is_far(double told, double truth, double error) { return !(size_of(told - truth) <= error); }

void watch_spans(watch_rules_t *s, const world_t *w)
{
    const double now[SPANS] = {w->plant.pack_current_a, s->lowest_v, s->highest_v};
    const bool begins = w->loop.steps % SPAN_MS == 0u;
    for (uint32_t k = 0; k < SPANS; ++k) {
        if (begins) {
            s->span_low[SPANS + k] = s->span_low[k];
            s->span_high[SPANS + k] = s->span_high[k];
        }
        s->span_low[k] = begins ? now[k] : smaller(s->span_low[k], now[k]);
        s->span_high[k] = begins ? now[k] : larger(s->span_high[k], now[k]);
    }
}

static bool is_beyond_span(const watch_rules_t *s, uint32_t k, double told, double error)
{
    const double low = smaller(s->span_low[k], s->span_low[SPANS + k]), high = larger(s->span_high[k], s->span_high[SPANS + k]);
    return !(told >= low - error && told <= high + error);
}

static bool is_misplaced(const watch_rules_t *s, const plant_t *p)
{
    const double error = 2.0 * s->voltage_error_v + s->widen[RULE_E5];
    const bool known = s->told_max_at < p->blocks && s->told_min_at < p->blocks;
    return !known || p->block_voltage_v[s->told_max_at] < s->highest_v - error || p->block_voltage_v[s->told_min_at] > s->lowest_v + error;
}

void watch_told(watch_rules_t *s, const world_t *w)
{
    const plant_t *const p = &w->plant;
    const bool runs = w->loop.booting_ms == 0u && !is_asleep(w) && s->state_fresh != 0u && bit_of(s->told_states, s->state);
    s->told_age_ms = runs ? older(s->told_age_ms, 100u) : 0u;
    if (!runs) s->told_seen = 0u;
    const bool now = s->told_age_ms > START_MS && s->reset_age_ms > START_MS;
    const bool volts = now && (s->told_seen & SEEN_VOLTAGES) != 0u;
    const double error_v = s->voltage_error_v + STEP_V + s->widen[RULE_E5], error_k = s->temperature_error_k + STEP_K + s->widen[RULE_E6];
    const bool voltage = is_beyond_span(s, SPAN_HIGHEST, s->told_max_v, error_v) || is_beyond_span(s, SPAN_LOWEST, s->told_min_v, error_v);
    const bool heat = is_far(s->told_max_degc, s->hottest_degc, error_k) || is_far(s->told_min_degc, s->coldest_degc, error_k);
    const double error_kpa = s->pressure_error_kpa + 1.0 + s->widen[RULE_E6];
    const bool pressure = is_far(s->told_max_kpa, s->highest_kpa, error_kpa) || is_far(s->told_min_kpa, s->lowest_kpa, error_kpa);
    const bool pressed = now && s->pressure_is_fitted != 0u && (s->told_seen & SEEN_PRESSURES) != 0u;
    const bool pack = now && (s->told_seen & SEEN_PACK) != 0u, heats = now && (s->told_seen & SEEN_TEMPERATURES) != 0u;
    const double error_a = s->current_error_a + s->current_gain_frac * size_of(p->pack_current_a) + s->widen[RULE_E7];
    const bool current = is_beyond_span(s, SPAN_CURRENT, s->told_a, error_a);
    const bool whole = is_far(s->told_pack_v, p->pack_voltage_v, PACK_FRAC * p->pack_voltage_v + 1.0);
    rule_held(s, w, RULE_E5, HELD_TOLD_VOLTAGE, volts && voltage, 100u, TOLD_MS, s->told_max_v - s->highest_v, 0);
    rule_held(s, w, RULE_E5, HELD_TOLD_PLACE, volts && !voltage && is_misplaced(s, p), 100u, TOLD_MS, (double)s->told_max_at, 1);
    rule_held(s, w, RULE_E6, HELD_TOLD_HEAT, heats && heat, 100u, TOLD_MS, s->told_max_degc - s->hottest_degc, 2);
    rule_held(s, w, RULE_E6, HELD_TOLD_PRESSURE, pressed && pressure, 100u, TOLD_MS, s->told_max_kpa - s->highest_kpa, 3);
    rule_held(s, w, RULE_E7, HELD_TOLD_CURRENT, pack && current, 100u, TOLD_MS, s->told_a - p->pack_current_a, 4);
    rule_held(s, w, RULE_E7, HELD_TOLD_PACK, pack && whole, 100u, TOLD_MS, s->told_pack_v - p->pack_voltage_v, 5);
    const bool silent = now && (s->told_seen | (s->pressure_is_fitted ? 0u : (uint32_t)SEEN_PRESSURES)) != SEEN_ALL;
    rule_held(s, w, RULE_E7, HELD_UNTOLD, silent, 100u, TOLD_MS, (double)s->told_seen, 6);
}
