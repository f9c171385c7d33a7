/* What may be charged and discharged now: the minimum of everything that has a say, lowered at once, raised slowly.
 *
 * Between operate and warn a limit falls from full to nothing. Voltage looks ten seconds ahead (power.h); and whatever the
 * model says, from the reading, the current and the block's ohmic resistance follows the current at which the first block would reach
 * its operate voltage at once. */
#include "bms.h"
#include "util.h"

#define PLATING_SHARE 0.86f   /* of the critical current density: cells share a current unevenly, and the coldest is not measured */
#define STRIPPING_SHARE 0.9f  /* the same; voids heal, dendrites do not */
#define SOC_TAPER 0.02f       /* charge: over the last 2 % */
#define SOC_RESERVE 0.03f     /* discharge: over the last 3 % */
#define BLIND_SHARE 0.3f      /* with a sensor of pressure or temperature lost: what the lowest pressure would allow */
#define SCAN_AGE_MS 250u
#define CURRENT_AGE_MS 100u

enum { CAUSE_NONE, CAUSE_STATIC, CAUSE_TEMPERATURE, CAUSE_VOLTAGE, CAUSE_SOC, CAUSE_PRESSURE, CAUSE_CRITICAL, CAUSE_DIAGNOSIS,
       CAUSE_RAMP, CAUSE_STATE };

typedef struct {
    float amps;
    uint8_t cause;
} bound_t;

/* NaN counts as zero. */
static void lower(bound_t *bound, float amps, uint8_t cause)
{
    const float cautious = clamp_f32(amps, 0.0f, 1e6f);
    if (cautious >= bound->amps) return;
    bound->amps = cautious;
    bound->cause = cause;
}

/* 1 at operate and milder, 0 at warn and worse; unknown is 0. */
static float share_below(int32_t value, const int32_t limit[LIMITS])
{
    if (value == BMS_UNKNOWN) return 0.0f;
    if (limit[LIMIT_WARN] <= limit[LIMIT_OPERATE]) return value < limit[LIMIT_WARN] ? 1.0f : 0.0f;
    return clamp_f32((float)(limit[LIMIT_WARN] - value) / (float)(limit[LIMIT_WARN] - limit[LIMIT_OPERATE]), 0.0f, 1.0f);
}

static float share_above(int32_t value, const int32_t limit[LIMITS])
{
    if (value == BMS_UNKNOWN) return 0.0f;
    if (limit[LIMIT_WARN] >= limit[LIMIT_OPERATE]) return value > limit[LIMIT_WARN] ? 1.0f : 0.0f;
    return clamp_f32((float)(value - limit[LIMIT_WARN]) / (float)(limit[LIMIT_OPERATE] - limit[LIMIT_WARN]), 0.0f, 1.0f);
}

static float least(float a, float b)
{
    return a < b ? a : b;
}

static float table_at(const float *table, float x, int32_t steps)
{
    const float at = clamp_f32(x, 0.0f, (float)steps);
    const int32_t i = min_i32((int32_t)at, steps - 1);
    return table[i] + (at - (float)i) * (table[i + 1] - table[i]);
}

/* Currents at which the first block would leave its operate voltage; +inf is never needed: the static limit is lower. */
BMS_CLONES
static void voltage_bounds(const bms_t *self, float current_a, float *charge_a, float *discharge_a)
{
    const int32_t margin_uv = self->config.set.reading_error_uv / 2; /* the rest is in the noise of the highest and lowest of all */
    const float top = (float)(self->config.set.voltage_max_uv[LIMIT_OPERATE] - margin_uv) * 1e-6f;
    const float bottom = (float)(self->config.set.voltage_min_uv[LIMIT_OPERATE] + margin_uv) * 1e-6f;
    float in = 1e6f, out = 1e6f;
    for (uint32_t b = 0; b < self->config.set.blocks; ++b) {
        const float v = (float)self->measure.cell_uv[b] * 1e-6f;
        const float siemens = 1.0f / ((1.0f + self->watch.health.more_frac[b]) * (self->est.r0_ohm[b] + self->est.r1_ohm[b]) + 1e-6f);
        const float to_top = (top - v) * siemens - current_a, to_bottom = (v - bottom) * siemens + current_a;
        in = to_top < in ? to_top : in;
        out = to_bottom < out ? to_bottom : out;
    }
    *charge_a = in;
    *discharge_a = out;
}

static void bound_by_temperature(const bms_t *self, bound_t *charge, bound_t *discharge)
{
    const bms_settings_t *const set = &self->config.set;
    const int32_t low = self->measure.temperature_low_cdegc, high = self->measure.temperature_high_cdegc;
    const float blind = self->measure.temperatures_unknown != 0u ? BLIND_SHARE : 1.0f; /* what is lost may go on warming */
    const float in = least(share_below(high, set->charge_max_cdegc), share_above(low, set->charge_min_cdegc));
    const float out = least(share_below(high, set->discharge_max_cdegc), share_above(low, set->discharge_min_cdegc));
    lower(charge, blind * in * (float)set->charge_ma[LIMIT_OPERATE] * 1e-3f, CAUSE_TEMPERATURE);
    lower(discharge, blind * out * (float)set->discharge_ma[LIMIT_OPERATE] * 1e-3f, CAUSE_TEMPERATURE);
}

static void bound_by_pressure(const bms_t *self, bound_t *charge, bound_t *discharge)
{
    const bms_settings_t *const set = &self->config.set;
    if (set->pressure_is_fitted == 0u || set->pressure_max_kpa[LIMIT_TRIP] == 0) return;
    const float low = share_above(self->measure.pressure_min_kpa, set->pressure_min_kpa);
    const float high = share_below(self->measure.pressure_max_kpa, set->pressure_max_kpa);
    const float blind = self->measure.pressures_unknown != 0u ? BLIND_SHARE : 1.0f;
    const float share = least(least(low, high), blind);
    lower(charge, share * (float)set->charge_ma[LIMIT_OPERATE] * 1e-3f, CAUSE_PRESSURE);
    lower(discharge, share * (float)set->discharge_ma[LIMIT_OPERATE] * 1e-3f, CAUSE_PRESSURE);
}

/* A cell that is heated from outside is colder inside than any thermistor. */
static int32_t coldest_cdegc(const bms_t *self)
{
    float core_degc = 1e6f;
    for (uint32_t b = 0; b < self->config.set.blocks; ++b) core_degc = least(core_degc, self->watch.obs.core_degc[b]);
    const bool known = self->watch.hottest.known != 0u;
    return known ? min_i32(self->measure.temperature_min_cdegc, to_i32(core_degc * 100.0f, -10000, 40000, -10000)) : self->measure.temperature_min_cdegc;
}

static void bound_by_critical_current(const bms_t *self, bound_t *charge, bound_t *discharge)
{
    const bms_settings_t *const set = &self->config.set;
    if (self->measure.temperature_min_cdegc == BMS_UNKNOWN) return; /* temperature already says zero */
    const int32_t coldest = coldest_cdegc(self);
    const float t = (float)(coldest - set->thermistor_error_cdegc - EST_TEMPERATURE_MIN_CDEGC) / (float)EST_TEMPERATURE_STEP_CDEGC;
    const int32_t kpa = self->measure.pressure_min_kpa;
    const float p = kpa == BMS_UNKNOWN ? 0.0f : (float)(kpa - set->pressure_error_kpa) / self->config.est.pressure_max_kpa * (float)EST_PRESSURE_STEPS;
    const float pressed = set->pressure_is_fitted != 0u ? table_at(set->critical_factor, p, EST_PRESSURE_STEPS) : 1.0f;
    lower(charge, PLATING_SHARE * pressed * table_at(set->plating_a, t, EST_TEMPERATURE_STEPS), CAUSE_CRITICAL);
    lower(discharge, STRIPPING_SHARE * pressed * table_at(set->stripping_a, t, EST_TEMPERATURE_STEPS), CAUSE_CRITICAL);
}

static void bound_by_state(const bms_t *self, bound_t *charge, bound_t *discharge)
{
    const protect_t *const p = &self->protect;
    const bool blind = elapsed_ms(self->now_us, self->measure.scan_us) > SCAN_AGE_MS || self->soc_valid == 0u ||
                       diag_active_tier(self, DIAG_CELL_VOLTAGE_UNKNOWN) != TIER_NONE;
    const bool both = p->trip != 0u || p->inhibit != 0u || blind;
    const float share = p->derate >= TIER_WARN || diag_active_tier(self, DIAG_TEMPERATURE_UNKNOWN) != TIER_NONE
                            ? 0.5f
                            : (p->derate == TIER_OPERATE ? 0.75f : 1.0f);
    lower(charge, both || p->inhibit_charge != 0u ? 0.0f : share * (float)self->config.set.charge_ma[LIMIT_OPERATE] * 1e-3f,
          CAUSE_DIAGNOSIS);
    lower(discharge, both ? 0.0f : share * (float)self->config.set.discharge_ma[LIMIT_OPERATE] * 1e-3f, CAUSE_DIAGNOSIS);
    if (contactor_is_normal(self)) return;
    lower(charge, 0.0f, CAUSE_STATE);
    lower(discharge, 0.0f, CAUSE_STATE);
}

static int32_t ramped(bound_t *bound, int32_t old_ma, int32_t step_ma)
{
    const int32_t wanted = to_i32(bound->amps * 1000.0f, 0, 2000000000, 0);
    if (wanted <= old_ma + step_ma) return wanted;
    bound->cause = CAUSE_RAMP;
    return old_ma + step_ma;
}

/* What the voltages allow for each span, on top of what bounds all of them; currents, and the power they stand for. */
static void spans(bms_t *self, const bound_t *charge, const bound_t *discharge, int32_t step_ma)
{
    limits_t *const l = &self->limits;
    const watch_t *const w = &self->watch;
    const uint32_t modules = self->config.set.modules;
    for (uint32_t s = 0; s < POWER_SPANS; ++s) {
        bound_t in = *charge, out = *discharge;
        lower(&in, w->bound[s].charge_a, CAUSE_VOLTAGE);
        lower(&out, w->bound[s].discharge_a, CAUSE_VOLTAGE);
        l->span_charge_ma[s] = ramped(&in, l->span_charge_ma[s], step_ma);
        l->span_discharge_ma[s] = ramped(&out, l->span_discharge_ma[s], step_ma);
        l->charge_w[s] = to_i32(power_charge_w(&w->power, modules, s, (float)l->span_charge_ma[s] * 1e-3f), 0, 100000000, 0);
        l->discharge_w[s] = to_i32(power_discharge_w(&w->power, &w->power_limits, modules, s, (float)l->span_discharge_ma[s] * 1e-3f), 0, 100000000, 0);
        if (s != POWER_10_S) continue;
        l->charge_ma = l->span_charge_ma[s];
        l->discharge_ma = l->span_discharge_ma[s];
        l->charge_cause = in.cause;
        l->discharge_cause = out.cause;
    }
}

void limits_slow(bms_t *self)
{
    limits_t *const l = &self->limits;
    const bms_settings_t *const set = &self->config.set;
    /* What obeys a limit to the ampere must not be read as beyond it. */
    const int32_t full_in = max_i32(set->charge_ma[LIMIT_OPERATE] - set->rest_ma, 0);
    const int32_t full_out = max_i32(set->discharge_ma[LIMIT_OPERATE] - set->rest_ma, 0);
    bound_t charge = {(float)full_in * 1e-3f, CAUSE_STATIC}, discharge = {(float)full_out * 1e-3f, CAUSE_STATIC};
    bound_by_state(self, &charge, &discharge);
    bound_by_temperature(self, &charge, &discharge);
    bound_by_pressure(self, &charge, &discharge);
    bound_by_critical_current(self, &charge, &discharge);
    if (sensor_fresh(self, &self->sensor.current_ma, CURRENT_AGE_MS)) {
        float in = 0.0f, out = 0.0f;
        voltage_bounds(self, (float)self->sensor.current_ma.value * 1e-3f, &in, &out);
        lower(&charge, in, CAUSE_VOLTAGE);
        lower(&discharge, out, CAUSE_VOLTAGE);
    } else {
        lower(&charge, 0.0f, CAUSE_DIAGNOSIS);
        lower(&discharge, 0.0f, CAUSE_DIAGNOSIS);
    }
    const float soc = self->soc.soc_frac;
    lower(&charge, (1.0f - soc) / SOC_TAPER * (float)full_in * 1e-3f, CAUSE_SOC);
    lower(&discharge, soc / SOC_RESERVE * (float)full_out * 1e-3f, CAUSE_SOC);

    const int32_t step_ma = (int32_t)((int64_t)set->ramp_ma_per_s * (int64_t)elapsed_ms(self->now_us, l->us) / 1000);
    l->us = self->now_us;
    spans(self, &charge, &discharge, step_ma);
    l->derated = l->charge_ma < full_in || l->discharge_ma < full_out;
    l->charge_voltage_mv = (int32_t)((int64_t)set->voltage_max_uv[LIMIT_OPERATE] * set->blocks / 1000);
    l->discharge_voltage_mv = (int32_t)((int64_t)set->voltage_min_uv[LIMIT_OPERATE] * set->blocks / 1000);
}

/* Between two rounds: what trips or blocks takes effect at once. */
void limits_tick(bms_t *self)
{
    limits_t *const l = &self->limits;
    const bool none = self->protect.trip != 0u || self->protect.inhibit != 0u || !contactor_is_normal(self);
    const bool no_charge = none || self->protect.inhibit_charge != 0u;
    if (none) l->discharge_ma = 0;
    if (no_charge) l->charge_ma = 0;
    for (uint32_t s = 0; s < POWER_SPANS; ++s) {
        if (none) l->span_discharge_ma[s] = l->discharge_w[s] = 0;
        if (no_charge) l->span_charge_ma[s] = l->charge_w[s] = 0;
    }
}
