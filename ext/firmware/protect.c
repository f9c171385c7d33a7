/* What is compared with which limit, and when. Every check runs on a fresh sample of its own rate; debounce and latch are in diag.c.
 * Ids and thresholds are those of src/bms/spec/diagnoses.toml. */
#include "bms.h"
#include "util.h"

#define START_MS 2500u        /* chips, sensors and vehicle may be silent so long after start */
#define INSULATION_START_MS 7000u /* a monitor tests itself for so long; no contactor closes before it has a value */
#define CURRENT_AGE_MS 100u   /* a current older than this is none */
#define RUNAWAY_CDEGC 15000   /* a thermistor above 150 degC needs no rate */
#define CHIP_FAULT_GAP_MS 10u /* an alarm that was cleared and lasts is gone for so long at most */
#define CONTACTOR_COUNT 3u
/* So far back must a value be before a tier that was concluded ends. */
#define IMBALANCE_BACK_MV 40
#define TEMPERATURE_BACK_CDEGC 200
#define SOC_BACK_CPCT 200

static bool started(const bms_t *self)
{
    return elapsed_ms(self->now_us, self->boot_us) >= START_MS;
}

static int32_t threshold(uint32_t id, uint32_t tier)
{
    return diagnosis_table[id].threshold[tier];
}

/* Tier of a value that must stay below a triplet, and of one that must stay above. The margin keeps a tier until the value is back by
 * so much. */
static uint32_t tier_above(const bms_t *self, uint32_t id, int32_t value, const int32_t limit[LIMITS], int32_t margin)
{
    const uint32_t held = self->protect.diag[id].tier;
    for (uint32_t t = TIER_TRIP; t >= TIER_OPERATE; --t) {
        if (value > limit[t - 1u] - (held >= t ? margin : 0)) return t;
    }
    return TIER_NONE;
}

static uint32_t tier_below(const bms_t *self, uint32_t id, int32_t value, const int32_t limit[LIMITS], int32_t margin)
{
    const uint32_t held = self->protect.diag[id].tier;
    for (uint32_t t = TIER_TRIP; t >= TIER_OPERATE; --t) {
        if (value < limit[t - 1u] + (held >= t ? margin : 0)) return t;
    }
    return TIER_NONE;
}

/* The same with the thresholds of the diagnosis; tiers it does not have never count. */
static uint32_t tier_of(const bms_t *self, uint32_t id, int32_t value, int32_t margin)
{
    const uint32_t held = self->protect.diag[id].tier;
    for (uint32_t t = TIER_TRIP; t >= TIER_OPERATE; --t) {
        if (threshold(id, t) != 0 && value > threshold(id, t) - (held >= t ? margin : 0)) return t;
    }
    return TIER_NONE;
}

/* A tier once concluded is kept while some of the readings it is about are missing: the worst one may be among them. */
static uint32_t kept(const bms_t *self, uint32_t id, uint32_t tier, uint32_t unknown)
{
    const uint32_t held = self->protect.diag[id].tier;
    return unknown != 0u && held > tier ? held : tier;
}

void protect_init(bms_t *self)
{
    self->protect.full_scan_us = self->protect.can_ok_us = self->protect.limit_us = self->now_us;
    self->protect.sign_ma[0] = self->protect.sign_ma[1] = BMS_UNKNOWN;
    self->protect.chip_fault_us = 0u;
    self->selfcheck.due_us = self->now_us + 1000u * (uint64_t)START_MS;
}

/* ---- every step ----------------------------------------------------------------------------------------------------------- */

void protect_pins(bms_t *self)
{
    const uint32_t pins = self->pins;
    self->protect.off_seen |= self->can_off;
    diag_sample(self, DIAG_CURRENT_COMPARATOR, (pins & PIN_IN_OVERCURRENT) != 0u ? TIER_TRIP : TIER_NONE,
                self->sensor.current_ma.value, -1);
    diag_sample(self, DIAG_CRASH, (pins & PIN_IN_CRASH) != 0u ? TIER_TRIP : TIER_NONE, 1, -1);
}

/* ---- voltages: every scan of the cells ------------------------------------------------------------------------------------- */

static int32_t place_of(const bms_t *self, uint32_t tier, int32_t uv)
{
    return tier == TIER_NONE ? -1 : (int32_t)measure_find_cell(self, uv);
}

static void check_cells(bms_t *self)
{
    const measure_t *const m = &self->measure;
    const bms_settings_t *const set = &self->config.set;
    const int32_t low = m->cell_min_uv, high = m->cell_max_uv;
    const uint32_t lost = m->cells_unknown;
    const uint32_t over = kept(self, DIAG_CELL_OVERVOLTAGE, tier_above(self, DIAG_CELL_OVERVOLTAGE, high, set->voltage_max_uv, 0), lost);
    diag_sample(self, DIAG_CELL_OVERVOLTAGE, over, high / 1000, place_of(self, over, high));
    const uint32_t under = kept(self, DIAG_CELL_UNDERVOLTAGE, tier_below(self, DIAG_CELL_UNDERVOLTAGE, low, set->voltage_min_uv, 0), lost);
    diag_sample(self, DIAG_CELL_UNDERVOLTAGE, under, low / 1000, place_of(self, under, low));
    const bool was_deep = diag_active_tier(self, DIAG_CELL_DEEP_DISCHARGE) != TIER_NONE;
    const bool is_deep = low < (was_deep ? set->voltage_min_uv[LIMIT_TRIP] : set->voltage_deep_uv);
    const uint32_t deep = kept(self, DIAG_CELL_DEEP_DISCHARGE, is_deep ? TIER_TRIP : TIER_NONE, lost);
    diag_sample(self, DIAG_CELL_DEEP_DISCHARGE, deep, low / 1000, place_of(self, deep, low));
    if (m->cells_unknown != 0u) return;
    const int32_t mean = (int32_t)(m->cell_sum_uv / (int64_t)set->blocks);
    const int32_t above = high - mean, below = mean - low, far = max_i32(above, below) / 1000;
    const uint32_t uneven = tier_of(self, DIAG_CELL_IMBALANCE, far, IMBALANCE_BACK_MV);
    diag_sample(self, DIAG_CELL_IMBALANCE, uneven, far, place_of(self, uneven, above > below ? high : low));
}

static void check_unknown_cells(bms_t *self)
{
    const measure_t *const m = &self->measure;
    uint32_t first = 0;
    if (m->cells_unknown == 0u) self->protect.full_scan_us = self->now_us;
    else while (first < self->config.set.blocks && m->cell_valid[first] != 0u) ++first;
    const int32_t ms = (int32_t)elapsed_ms(self->now_us, self->protect.full_scan_us);
    diag_sample(self, DIAG_CELL_VOLTAGE_UNKNOWN, m->cells_unknown == 0u ? TIER_NONE : tier_of(self, DIAG_CELL_VOLTAGE_UNKNOWN, ms, 0), ms,
                (int32_t)first);
}

/* The sum of all blocks against the other instrument, in per mille. */
static void check_sum(bms_t *self)
{
    const reading_t *const pack = &self->sensor.pack_mv;
    if (self->measure.cells_unknown != 0u || !sensor_fresh(self, pack, CURRENT_AGE_MS)) return;
    const int64_t sum_mv = self->measure.cell_sum_uv / 1000, apart = sum_mv - pack->value;
    const int64_t permille = (apart < 0 ? -apart : apart) * 1000 / (pack->value > 1000 ? pack->value : 1000);
    const int32_t value = permille > 1000 ? 1000 : (int32_t)permille;
    diag_sample(self, DIAG_PACK_VOLTAGE_MISMATCH, tier_of(self, DIAG_PACK_VOLTAGE_MISMATCH, value, 0), value, -1);
}

static void check_chips(bms_t *self)
{
    const measure_t *const m = &self->measure;
    int32_t missing = -1, frozen = -1;
    for (uint32_t chip = 0; chip < self->config.set.modules; ++chip) {
        if (m->chip_scan[chip] != m->scan) missing = (int32_t)chip;
        else if (self->config.set.frozen_frames != 0u && m->chip_same[chip] >= self->config.set.frozen_frames) frozen = (int32_t)chip;
    }
    diag_sample(self, DIAG_AFE_LINK, missing >= 0 ? TIER_TRIP : TIER_NONE, (int32_t)measure_cells_age_ms(self), missing);
    if (frozen < 0 && missing >= 0) return; /* what does not answer does not move either */
    diag_sample(self, DIAG_AFE_FROZEN, frozen >= 0 ? TIER_TRIP : TIER_NONE, frozen >= 0 ? m->chip_same[frozen] : 0, frozen);
}

/* When the current steps up, voltages must step down. The slope of a fading regression over two scans says whether they do (a step
 * may show in the voltages a scan before the current); it is only looked at after steps that outweigh noise. */
static void check_sign(bms_t *self)
{
    protect_t *const p = &self->protect;
    const bool known = self->measure.cells_unknown == 0u && sensor_fresh(self, &self->sensor.current_ma, CURRENT_AGE_MS);
    if (!known) {
        p->sign_ma[0] = p->sign_ma[1] = BMS_UNKNOWN;
        return;
    }
    const int32_t ma = self->sensor.current_ma.value;
    const int64_t uv = self->measure.cell_sum_uv;
    if (p->sign_ma[1] != BMS_UNKNOWN) {
        const float di = (float)(ma - p->sign_ma[1]) * 1e-3f, dv = (float)(uv - p->sign_uv[1]) * 1e-6f;
        p->sign_sum = 0.995f * p->sign_sum + di * dv;
        p->sign_weight = 0.995f * p->sign_weight + di * di;
    }
    p->sign_ma[1] = p->sign_ma[0];
    p->sign_uv[1] = p->sign_uv[0];
    p->sign_ma[0] = ma;
    p->sign_uv[0] = uv;
    const float enough_a = (float)self->config.set.discharge_ma[LIMIT_OPERATE] * 1e-4f; /* steps of 10 % */
    const float expected_ohm = self->est.r0_ohm[0] * (float)self->config.set.blocks;
    const bool steps = p->sign_weight > 4.0f * enough_a * enough_a;
    const bool reversed = steps && p->sign_sum > 0.3f * expected_ohm * p->sign_weight;
    diag_sample(self, DIAG_CURRENT_SIGN, reversed ? TIER_TRIP : TIER_NONE, 1, -1);
}

/* ---- current: every frame of the sensor ------------------------------------------------------------------------------------ */

static void check_current(bms_t *self)
{
    const bms_settings_t *const set = &self->config.set;
    const int32_t ma = self->sensor.current_ma.value;
    diag_sample(self, DIAG_CURRENT_CHARGE_HIGH, tier_above(self, DIAG_CURRENT_CHARGE_HIGH, -ma, set->charge_ma, set->rest_ma), ma, -1);
    diag_sample(self, DIAG_CURRENT_DISCHARGE_HIGH, tier_above(self, DIAG_CURRENT_DISCHARGE_HIGH, ma, set->discharge_ma, set->rest_ma),
                ma, -1);
    uint64_t moved_us = self->contactor.coil_us[0];
    for (uint32_t k = 1; k < CONTACTOR_COUNT; ++k) moved_us = moved_us > self->contactor.coil_us[k] ? moved_us : self->contactor.coil_us[k];
    const bool open = self->contactor.coils == 0u && elapsed_ms(self->now_us, moved_us) >= self->config.set.feedback_ms + OPEN_MARGIN_MS;
    const bool flows = open && abs_i32(ma) > max_i32(threshold(DIAG_CURRENT_WHILE_OPEN, TIER_TRIP), set->rest_ma);
    diag_sample(self, DIAG_CURRENT_WHILE_OPEN, flows ? TIER_TRIP : TIER_NONE, ma, -1);
}

/* Current beyond what was advertised. Only the highest limit of the last one to two seconds counts: the vehicle needs time to obey. */
static void check_limits(bms_t *self)
{
    protect_t *const p = &self->protect;
    const limits_t *const now = &self->limits;
    if (elapsed_ms(self->now_us, p->limit_us) >= 1000u) {
        p->limit_us = self->now_us;
        p->charge_was_ma[1] = p->charge_was_ma[0];
        p->discharge_was_ma[1] = p->discharge_was_ma[0];
        p->charge_was_ma[0] = now->charge_ma;
        p->discharge_was_ma[0] = now->discharge_ma;
    }
    p->charge_was_ma[0] = max_i32(p->charge_was_ma[0], now->charge_ma);
    p->discharge_was_ma[0] = max_i32(p->discharge_was_ma[0], now->discharge_ma);
    const bool normal = contactor_is_normal(self);
    const int32_t ma = self->sensor.current_ma.value;
    const int32_t in = -ma - max_i32(p->charge_was_ma[0], p->charge_was_ma[1]);
    const int32_t out = ma - max_i32(p->discharge_was_ma[0], p->discharge_was_ma[1]);
    diag_sample(self, DIAG_CHARGE_LIMIT_IGNORED, normal ? tier_of(self, DIAG_CHARGE_LIMIT_IGNORED, in, 0) : TIER_NONE, in, -1);
    diag_sample(self, DIAG_DISCHARGE_LIMIT_IGNORED, normal ? tier_of(self, DIAG_DISCHARGE_LIMIT_IGNORED, out, 0) : TIER_NONE, out, -1);
}

static void check_pack_voltage(bms_t *self)
{
    const bms_settings_t *const set = &self->config.set;
    const int32_t mv = self->sensor.pack_mv.value;
    const int64_t limit_mv = (int64_t)set->voltage_max_uv[LIMIT_TRIP] * set->blocks / 1000;
    diag_sample(self, DIAG_PACK_OVERVOLTAGE, mv > limit_mv ? TIER_TRIP : TIER_NONE, mv, -1);
}

static void check_insulation(bms_t *self)
{
    const int64_t volts = self->sensor.pack_mv.valid ? self->sensor.pack_mv.value / 1000
                                                     : (int64_t)self->config.set.voltage_max_uv[LIMIT_TRIP] * self->config.set.blocks / 1000000;
    const int64_t ohm_per_v = (int64_t)self->sensor.insulation_kohm.value * 1000 / (volts > 10 ? volts : 10);
    const int32_t value = ohm_per_v > INT32_MAX ? INT32_MAX : (int32_t)ohm_per_v;
    const uint32_t tier = tier_below(self, DIAG_INSULATION_LOW, value, self->config.set.insulation_ohm_per_v, 0);
    diag_sample(self, DIAG_INSULATION_LOW, tier >= TIER_WARN ? tier : TIER_NONE, self->sensor.insulation_kohm.value, -1);
    plausible_insulation(self, value);
}

/* ---- temperature and pressure: every scan of the GPIOs ---------------------------------------------------------------------- */

static void check_temperatures(bms_t *self)
{
    const measure_t *const m = &self->measure;
    const bms_settings_t *const set = &self->config.set;
    const int32_t margin = TEMPERATURE_BACK_CDEGC, low = m->temperature_min_cdegc, high = m->temperature_max_cdegc;
    const bool discharging = self->sensor.current_ma.valid && self->sensor.current_ma.value > set->rest_ma;
    const uint32_t lost = m->temperatures_unknown;
    const uint32_t hot_charge = tier_above(self, DIAG_TEMPERATURE_HIGH_CHARGE, high, set->charge_max_cdegc, margin);
    const uint32_t hot = tier_above(self, DIAG_TEMPERATURE_HIGH_DISCHARGE, high, set->discharge_max_cdegc, margin);
    diag_sample(self, DIAG_TEMPERATURE_HIGH_CHARGE, kept(self, DIAG_TEMPERATURE_HIGH_CHARGE, discharging ? TIER_NONE : hot_charge, lost),
                high, m->temperature_max_at);
    diag_sample(self, DIAG_TEMPERATURE_HIGH_DISCHARGE, kept(self, DIAG_TEMPERATURE_HIGH_DISCHARGE, hot, lost), high, m->temperature_max_at);
    if (low == BMS_UNKNOWN) return;
    diag_sample(self, DIAG_TEMPERATURE_LOW_CHARGE, tier_below(self, DIAG_TEMPERATURE_LOW_CHARGE, low, set->charge_min_cdegc, margin),
                low, m->temperature_min_at);
    diag_sample(self, DIAG_TEMPERATURE_LOW_DISCHARGE,
                tier_below(self, DIAG_TEMPERATURE_LOW_DISCHARGE, low, set->discharge_min_cdegc, margin), low, m->temperature_min_at);
    const int32_t spread = high - low;
    diag_sample(self, DIAG_TEMPERATURE_SPREAD, kept(self, DIAG_TEMPERATURE_SPREAD, tier_of(self, DIAG_TEMPERATURE_SPREAD, spread, TEMPERATURE_BACK_CDEGC), lost), spread,
                m->temperature_max_at);
}

static void check_thermistors(bms_t *self)
{
    const measure_t *const m = &self->measure;
    const uint32_t fitted = self->config.set.modules * self->config.set.thermistors, lost = m->temperatures_unknown;
    const bool many = 2u * lost >= fitted || m->temperature_module_unknown >= (int32_t)self->config.set.thermistors;
    /* Which of two that disagree is right is not known: never a trip, nor what keeps one. */
    const uint32_t apart = diag_active_tier(self, DIAG_TEMPERATURE_UNKNOWN) == TIER_TRIP ? 0u : self->watch.obs.suspects;
    const uint32_t tier = lost + apart == 0u ? TIER_NONE : (lost != 0u && many ? TIER_TRIP : TIER_WARN);
    diag_sample(self, DIAG_TEMPERATURE_UNKNOWN, tier, (int32_t)(lost + apart), -1);
}

static bool gas(const bms_t *self)
{
    const int64_t most = self->config.set.pressure_max_kpa[LIMIT_TRIP], rise = self->measure.pressure_rise_kpa;
    return most > 0 && rise * 1000 > most * threshold(DIAG_PRESSURE_RISE, TIER_TRIP);
}

static void check_runaway(bms_t *self)
{
    const measure_t *const m = &self->measure;
    const int32_t rate_per_s = m->temperature_rate_cdegc / 60, high = m->temperature_max_cdegc;
    const bool hot = high > self->config.set.discharge_max_cdegc[LIMIT_WARN];
    const bool fast = rate_per_s > threshold(DIAG_THERMAL_RUNAWAY, TIER_TRIP);
    const bool runaway = (hot && (fast || gas(self))) || high > RUNAWAY_CDEGC;
    const uint32_t tier = kept(self, DIAG_THERMAL_RUNAWAY, runaway ? TIER_TRIP : TIER_NONE, m->temperatures_unknown);
    diag_sample(self, DIAG_THERMAL_RUNAWAY, tier, high, m->temperature_max_at);
}

static void check_pressures(bms_t *self)
{
    const measure_t *const m = &self->measure;
    const bms_settings_t *const set = &self->config.set;
    diag_sample(self, DIAG_PRESSURE_UNKNOWN, m->pressures_unknown != 0u ? TIER_WARN : TIER_NONE, (int32_t)m->pressures_unknown, -1);
    if (m->pressure_min_kpa == BMS_UNKNOWN || set->pressure_max_kpa[LIMIT_TRIP] == 0) return;
    const uint32_t low = tier_below(self, DIAG_PRESSURE_LOW, m->pressure_min_kpa, set->pressure_min_kpa, 0);
    const uint32_t high = tier_above(self, DIAG_PRESSURE_HIGH, m->pressure_max_kpa, set->pressure_max_kpa, 0);
    diag_sample(self, DIAG_PRESSURE_LOW, kept(self, DIAG_PRESSURE_LOW, low, m->pressures_unknown), m->pressure_min_kpa, m->pressure_min_at);
    diag_sample(self, DIAG_PRESSURE_HIGH, kept(self, DIAG_PRESSURE_HIGH, high, m->pressures_unknown), m->pressure_max_kpa,
                m->pressure_max_at);
    diag_sample(self, DIAG_PRESSURE_RISE, gas(self) ? TIER_TRIP : TIER_NONE, m->pressure_rise_kpa, (int32_t)m->pressure_rise_at);
}

/* Judges each reading once, when it is new. */
void protect_fresh(bms_t *self)
{
    protect_t *const p = &self->protect;
    const sensor_t *const s = &self->sensor;
    if (p->current_seen != s->current_ma.seq) {
        p->current_seen = s->current_ma.seq;
        check_current(self);
        check_limits(self);
        plausible_current(self);
    }
    if (p->pack_seen != s->pack_mv.seq) {
        p->pack_seen = s->pack_mv.seq;
        check_pack_voltage(self);
        plausible_pack(self);
    }
    if (p->link_seen != s->link_mv.seq) {
        p->link_seen = s->link_mv.seq;
        plausible_link(self);
    }
    if (p->scan_seen != self->measure.scan) {
        p->scan_seen = self->measure.scan;
        check_chips(self);
        check_unknown_cells(self);
        if (self->measure.cell_min_uv != BMS_UNKNOWN) check_cells(self);
        check_sum(self);
        check_sign(self);
        plausible_scan(self);
        selfcheck_scan(self);
    }
    if (p->gpio_seen != self->measure.gpio_scan) {
        p->gpio_seen = self->measure.gpio_scan;
        check_temperatures(self);
        check_thermistors(self);
        check_runaway(self);
        if (self->config.set.pressure_is_fitted != 0u) {
            check_pressures(self);
            plausible_pressures(self);
        }
    }
    if (p->insulation_seen != s->insulation_kohm.seq) {
        p->insulation_seen = s->insulation_kohm.seq;
        check_insulation(self);
    }
}

/* ---- every 10 ms ----------------------------------------------------------------------------------------------------------- */

static void check_contactors(bms_t *self)
{
    static const uint32_t coil[CONTACTOR_COUNT] = {PIN_OUT_MAIN_PLUS, PIN_OUT_MAIN_MINUS, PIN_OUT_PRECHARGE};
    static const uint32_t feedback[CONTACTOR_COUNT] = {PIN_IN_MAIN_PLUS_FEEDBACK, PIN_IN_MAIN_MINUS_FEEDBACK, PIN_IN_PRECHARGE_FEEDBACK};
    for (uint32_t k = 0; k < CONTACTOR_COUNT; ++k) {
        const bool wanted = (self->contactor.coils & coil[k]) != 0u, is = (self->pins & feedback[k]) != 0u;
        const bool settled = elapsed_ms(self->now_us, self->contactor.coil_us[k]) >= self->config.set.feedback_ms;
        const bool welded = k == 0u && self->contactor.link_rose != 0u;
        diag_sample(self, DIAG_CONTACTOR_MAIN_PLUS + k, (settled && wanted != is) || welded ? TIER_TRIP : TIER_NONE, is, -1);
    }
}

static void check_afe(bms_t *self)
{
    const afe_t *const afe = &self->afe;
    uint32_t faults = 0;
    for (uint32_t chip = 0; chip < self->config.set.modules; ++chip) faults |= afe->fault_summary[chip];
    if ((self->pins & PIN_IN_CHIP_FAULT) != 0u) self->protect.chip_fault_us = self->now_us;
    const bool line = elapsed_ms(self->now_us, self->protect.chip_fault_us) <= CHIP_FAULT_GAP_MS && afe_runs(self);
    const bool voltage = (faults & 0x04u) != 0u;
    const uint32_t tier = voltage && line ? TIER_TRIP : (line ? TIER_WARN : TIER_NONE);
    diag_sample(self, DIAG_CHIP_FAULT, tier, (int32_t)faults, -1);
    diag_sample(self, DIAG_AFE_CONFIG, afe->config_failures >= 2u ? TIER_TRIP : TIER_NONE, 1, -1);
    uint32_t far = 0;
    for (uint32_t chips = afe->far_chips & ~1u; chips != 0u; chips &= chips - 1u) ++far;
    diag_sample(self, DIAG_AFE_RING_OPEN, afe->gap != 0u ? TIER_WARN : TIER_NONE, (int32_t)far, afe->gap);
    diag_sample(self, DIAG_AFE_COUNT, afe->identity_failures >= 3u ? TIER_TRIP : TIER_NONE, afe->identity_failures, -1);
}

static void check_silence(bms_t *self)
{
    const reading_t *const current = &self->sensor.current_ma, *const insulation = &self->sensor.insulation_kohm;
    const bool late = started(self), watched = late || self->contactor.state > STATE_SELFTEST;
    const bool current_lost = watched && !sensor_fresh(self, current, 20u);
    const bool chips_lost = watched && elapsed_ms(self->now_us, self->measure.scan_us) > (uint32_t)threshold(DIAG_AFE_LINK, TIER_TRIP);
    diag_sample(self, DIAG_CURRENT_UNKNOWN, current_lost ? TIER_TRIP : TIER_NONE, (int32_t)elapsed_ms(self->now_us, current->us), -1);
    if (chips_lost) diag_sample(self, DIAG_AFE_LINK, TIER_TRIP, (int32_t)measure_cells_age_ms(self), -1);
    const int32_t ms = (int32_t)elapsed_ms(self->now_us, insulation->us);
    const bool insulation_lost = insulation->valid == 0u || ms > threshold(DIAG_INSULATION_UNKNOWN, TIER_WARN);
    const bool measured = elapsed_ms(self->now_us, self->boot_us) >= INSULATION_START_MS;
    diag_sample(self, DIAG_INSULATION_UNKNOWN, insulation_lost && measured ? TIER_WARN : TIER_NONE, ms, -1);
}

static void check_outside(bms_t *self)
{
    const bool closed = self->contactor.coils != 0u;
    diag_sample(self, DIAG_INTERLOCK_OPEN, (self->pins & PIN_IN_INTERLOCK) == 0u ? TIER_TRIP : TIER_NONE, 0, -1);
    const uint32_t silent_ms = elapsed_ms(self->now_us, self->canin.request_us);
    diag_sample(self, DIAG_VCU_TIMEOUT, closed && silent_ms > 20u ? TIER_TRIP : TIER_NONE, (int32_t)min_i32((int32_t)silent_ms, 100000), -1);
    diag_sample(self, DIAG_CAN_BUS_OFF, self->protect.off_seen != 0u ? TIER_TRIP : TIER_NONE, self->can_off, -1);
    self->protect.off_seen = 0u;
    const int32_t mv = (int32_t)(self->supply_mv > 100000u ? 100000u : self->supply_mv);
    const bool low = mv < threshold(DIAG_SUPPLY_LOW, TIER_TRIP), weak = mv < threshold(DIAG_SUPPLY_LOW, TIER_WARN);
    diag_sample(self, DIAG_SUPPLY_LOW, low ? TIER_TRIP : (weak ? TIER_WARN : TIER_NONE), mv, -1);
    const float likely = (2.0f * self->soc.soc_frac + self->soc.low_frac) * (1.0f / 3.0f); /* one standard deviation down */
    const int32_t left = self->soc_valid ? to_i32(likely * 10000.0f, 0, 10000, 0) : 10000;
    const int32_t soc_low[LIMITS] = {threshold(DIAG_SOC_LOW, TIER_OPERATE), threshold(DIAG_SOC_LOW, TIER_WARN), INT32_MIN};
    diag_sample(self, DIAG_SOC_LOW, tier_below(self, DIAG_SOC_LOW, left, soc_low, SOC_BACK_CPCT), left, -1);
    if (self->contactor.state == STATE_PRECHARGE) return; /* these two are found there, and over when it is */
    diag_sample(self, DIAG_PRECHARGE_TIMEOUT, TIER_NONE, 0, -1);
    diag_sample(self, DIAG_PRECHARGE_CURRENT, TIER_NONE, 0, -1);
}

void protect_tick(bms_t *self)
{
    check_contactors(self);
    check_afe(self);
    check_silence(self);
    check_outside(self);
    plausible_tick(self);
    diag_tick(self);
}
