/* Everything the firmware tells, on the cycle times of src/bms/spec/bms.dbc, spread over the schedule so that no millisecond carries
 * more than three frames. Rounding to wire units happens here and nowhere else. */
#include "bms.h"
#include "bms_dbc.h"
#include "e2e.h"
#include "schedule.h"
#include "util.h"

#define NONE_14 0x3FFFu
#define NONE_16 0xFFFFu
#define NONE_12 (-2048)
#define GROUP_CELLS 4u
#define GROUP_SWITCHES 56u
#define GROUP_PRESSURES 3u
#define GROUP_SENSORS 6u
#define INDEX_NONE 511u
#define FRESH_MS 100u

static ecu_can_frame_t *frame_for(bms_t *self, ecu_out_t *out, uint32_t id)
{
    if (out->can_count >= ECU_CAN_OUT_MAX) return NULL;
    ecu_can_frame_t *const frame = &out->can[out->can_count];
    out->can_count = (uint16_t)(out->can_count + 1u);
    frame->id = id;
    frame->bus = ECU_BUS_VEHICLE;
    frame->length = 8u;
    frame->flags = frame->reserved = 0u;
    self->canout.sent += 1u;
    return frame;
}

static uint16_t u16_of(int64_t value, int64_t most)
{
    return (uint16_t)(value < 0 ? 0 : (value > most ? most : value));
}

/* 0.1 degC in 12 bits. */
static int16_t ddegc_of(int32_t cdegc)
{
    return (int16_t)(cdegc == BMS_UNKNOWN ? NONE_12 : clamp_i32((cdegc + (cdegc < 0 ? -5 : 5)) / 10, -2047, 2047));
}

static uint16_t half_mv_of(int32_t uv)
{
    return u16_of(((int64_t)uv + 250) / 500, NONE_14 - 1u);
}

static uint16_t cpct_of(float frac)
{
    return (uint16_t)to_i32(frac * 10000.0f, 0, 10000, (int32_t)NONE_14);
}

static uint8_t group_trips(const bms_t *self, uint32_t group)
{
    return (uint8_t)(self->protect.trip_groups >> group & 1u);
}

/* ---- every 10 or 20 ms ------------------------------------------------------------------------------------------------------ */

static void send_state(bms_t *self, ecu_out_t *out)
{
    const protect_t *const p = &self->protect;
    struct bms_dbc_bms_state_t m = {0};
    m.state = self->contactor.state;
    m.contactor_main_plus = (self->pins & PIN_IN_MAIN_PLUS_FEEDBACK) != 0u;
    m.contactor_main_minus = (self->pins & PIN_IN_MAIN_MINUS_FEEDBACK) != 0u;
    m.contactor_precharge = (self->pins & PIN_IN_PRECHARGE_FEEDBACK) != 0u;
    m.derated = self->limits.derated;
    m.warning = p->warn;
    m.charge_allowed = self->limits.charge_ma > 0;
    m.discharge_allowed = self->limits.discharge_ma > 0;
    m.balancing_active = self->balance.active;
    m.heater_on = self->thermal.heater_pptt != 0u;
    m.clear_needed = p->needs_clear;
    m.service_needed = p->needs_service;
    m.trip_voltage = group_trips(self, DIAG_GROUP_VOLTAGE);
    m.trip_current = group_trips(self, DIAG_GROUP_CURRENT);
    m.trip_temperature = group_trips(self, DIAG_GROUP_TEMPERATURE);
    m.trip_pressure = group_trips(self, DIAG_GROUP_PRESSURE);
    m.trip_insulation = group_trips(self, DIAG_GROUP_INSULATION);
    m.trip_measurement = group_trips(self, DIAG_GROUP_MEASUREMENT);
    m.trip_contactor = group_trips(self, DIAG_GROUP_CONTACTOR);
    m.trip_external = group_trips(self, DIAG_GROUP_EXTERNAL);
    m.trip_system = group_trips(self, DIAG_GROUP_SYSTEM) != 0u || self->assert_place != 0u || self->refused != 0u;
    m.reset_cause = self->reset_cause & 15u;
    m.active_diagnoses = p->active_count;
    m.first_trip_diagnosis = self->assert_place != 0u ? DIAG_ASSERTION : (self->refused != 0u ? DIAG_CONFIG_INVALID : p->first_trip);
    m.uptime = (uint8_t)(elapsed_ms(self->now_us, self->boot_us) / 1000u);
    ecu_can_frame_t *const frame = frame_for(self, out, BMS_DBC_BMS_STATE_FRAME_ID);
    if (frame != NULL) (void)bms_dbc_bms_state_pack(frame->data, &m, 8u);
}

static uint16_t dv_of(const bms_t *self, const reading_t *mv)
{
    return sensor_fresh(self, mv, FRESH_MS) ? u16_of(((int64_t)mv->value + 50) / 100, NONE_16 - 1u) : (uint16_t)NONE_16;
}

static void send_pack(bms_t *self, ecu_out_t *out)
{
    struct bms_dbc_bms_pack_t m = {0};
    const int32_t ma = self->sensor.current_ma.value;
    m.pack_voltage = dv_of(self, &self->sensor.pack_mv);
    m.link_voltage = dv_of(self, &self->sensor.link_mv);
    const int32_t steps = clamp_i32((ma + (ma < 0 ? -25 : 25)) / 50, -32767, 32767);
    m.pack_current = sensor_fresh(self, &self->sensor.current_ma, FRESH_MS) ? (int16_t)steps : INT16_MIN;
    ecu_can_frame_t *const frame = frame_for(self, out, BMS_DBC_BMS_PACK_FRAME_ID);
    if (frame != NULL) (void)bms_dbc_bms_pack_pack(frame->data, &m, 8u);
}

static void send_limits(bms_t *self, ecu_out_t *out)
{
    const limits_t *const l = &self->limits;
    struct bms_dbc_bms_limits_t m = {0};
    m.charge_current_limit = u16_of(l->charge_ma / 100, NONE_16); /* rounded down: a limit is never told too high */
    m.discharge_current_limit = u16_of(l->discharge_ma / 100, NONE_16);
    m.charge_voltage_limit = u16_of(l->charge_voltage_mv / 100, NONE_16);
    ecu_can_frame_t *const frame = frame_for(self, out, BMS_DBC_BMS_LIMITS_FRAME_ID);
    if (frame != NULL) (void)bms_dbc_bms_limits_pack(frame->data, &m, 8u);
}

static void send_soc(bms_t *self, ecu_out_t *out)
{
    struct bms_dbc_bms_soc_t m = {0};
    const bool valid = self->soc_valid != 0u;
    m.soc_valid = valid;
    m.soc = valid ? cpct_of(self->soc.soc_frac) : (uint16_t)NONE_14;
    m.soc_low = valid ? cpct_of(self->soc.low_frac) : (uint16_t)NONE_14;
    m.soc_high = valid ? cpct_of(self->soc.high_frac) : (uint16_t)NONE_14;
    m.soh = (uint8_t)to_i32(self->watch.weakest_capacity_frac * 200.0f, 0, 254, 255); /* of the weakest block */
    ecu_can_frame_t *const frame = frame_for(self, out, BMS_DBC_BMS_SOC_FRAME_ID);
    if (frame != NULL) (void)bms_dbc_bms_soc_pack(frame->data, &m, 8u);
}

static void send_extremes(bms_t *self, ecu_out_t *out)
{
    measure_t *const x = &self->measure;
    struct bms_dbc_bms_cell_voltage_extremes_t m = {0};
    const bool known = x->cell_min_uv != BMS_UNKNOWN;
    if (x->found_scan != x->scan && known) { /* places change slowly: look for them once a scan */
        x->found_scan = x->scan;
        x->cell_min_at = (uint16_t)measure_find_told(self, x->told_min_uv);
        x->cell_max_at = (uint16_t)measure_find_told(self, x->told_max_uv);
    }
    m.cell_voltage_max = known ? half_mv_of(x->told_max_uv) : (uint16_t)NONE_14;
    m.cell_voltage_min = known ? half_mv_of(x->told_min_uv) : (uint16_t)NONE_14;
    m.cell_voltage_max_index = known ? x->cell_max_at : (uint16_t)INDEX_NONE;
    m.cell_voltage_min_index = known ? x->cell_min_at : (uint16_t)INDEX_NONE;
    m.cell_voltage_invalid = u16_of(x->cells_unknown, 511);
    m.cell_voltage_age = u16_of(measure_cells_age_ms(self), 511);
    ecu_can_frame_t *const frame = frame_for(self, out, BMS_DBC_BMS_CELL_VOLTAGE_EXTREMES_FRAME_ID);
    if (frame != NULL) (void)bms_dbc_bms_cell_voltage_extremes_pack(frame->data, &m, 8u);
}

/* ---- blocks, in groups that take turns --------------------------------------------------------------------------------------- */

static void send_voltages(bms_t *self, ecu_out_t *out)
{
    struct bms_dbc_bms_cell_voltages_t m = {0};
    uint16_t value[GROUP_CELLS];
    const uint32_t group = self->canout.voltage_group, blocks = self->config.set.blocks;
    for (uint32_t k = 0; k < GROUP_CELLS; ++k) {
        const uint32_t b = GROUP_CELLS * group + k;
        const bool known = b < blocks && self->measure.cell_valid[b] != 0u;
        value[k] = known ? half_mv_of(self->measure.told_uv[b]) : (uint16_t)NONE_14;
    }
    self->canout.voltage_group = (uint16_t)(GROUP_CELLS * (group + 1u) < blocks ? group + 1u : 0u);
    m.group = (uint8_t)group;
    m.cell0 = value[0];
    m.cell1 = value[1];
    m.cell2 = value[2];
    m.cell3 = value[3];
    ecu_can_frame_t *const frame = frame_for(self, out, BMS_DBC_BMS_CELL_VOLTAGES_FRAME_ID);
    if (frame != NULL) (void)bms_dbc_bms_cell_voltages_pack(frame->data, &m, 8u);
}

static void send_socs(bms_t *self, ecu_out_t *out)
{
    struct bms_dbc_bms_cell_soc_t m = {0};
    uint16_t value[GROUP_CELLS];
    const uint32_t group = self->canout.soc_group, blocks = self->config.set.blocks;
    for (uint32_t k = 0; k < GROUP_CELLS; ++k) {
        const uint32_t b = GROUP_CELLS * group + k;
        value[k] = b < blocks && self->soc_valid != 0u ? cpct_of(self->est.soc_frac[b]) : (uint16_t)NONE_14;
    }
    self->canout.soc_group = (uint16_t)(GROUP_CELLS * (group + 1u) < blocks ? group + 1u : 0u);
    m.group = (uint8_t)group;
    m.cell0 = value[0];
    m.cell1 = value[1];
    m.cell2 = value[2];
    m.cell3 = value[3];
    ecu_can_frame_t *const frame = frame_for(self, out, BMS_DBC_BMS_CELL_SOC_FRAME_ID);
    if (frame != NULL) (void)bms_dbc_bms_cell_soc_pack(frame->data, &m, 8u);
}

static uint8_t sensor_of(const bms_t *self, uint32_t s)
{
    if (s >= self->config.set.modules * self->config.set.thermistors || self->measure.sensor_valid[s] == 0u) return 255u;
    const int32_t cdegc = self->measure.sensor_cdegc[s];
    return (uint8_t)clamp_i32((cdegc + (cdegc < 0 ? -50 : 50)) / 100 + 60, 0, 254);
}

static void send_sensors(bms_t *self, ecu_out_t *out)
{
    struct bms_dbc_bms_cell_temperatures_t m = {0};
    const uint32_t group = self->canout.temperature_group, first = GROUP_SENSORS * group;
    const bool more = first + GROUP_SENSORS < self->config.set.modules * self->config.set.thermistors;
    self->canout.temperature_group = (uint8_t)(more ? group + 1u : 0u);
    m.group = (uint8_t)group;
    m.sensor0 = sensor_of(self, first);
    m.sensor1 = sensor_of(self, first + 1u);
    m.sensor2 = sensor_of(self, first + 2u);
    m.sensor3 = sensor_of(self, first + 3u);
    m.sensor4 = sensor_of(self, first + 4u);
    m.sensor5 = sensor_of(self, first + 5u);
    ecu_can_frame_t *const frame = frame_for(self, out, BMS_DBC_BMS_CELL_TEMPERATURES_FRAME_ID);
    if (frame != NULL) (void)bms_dbc_bms_cell_temperatures_pack(frame->data, &m, 8u);
}

static void send_switches(bms_t *self, ecu_out_t *out)
{
    struct bms_dbc_bms_cell_balancing_t m = {0};
    const bms_settings_t *const set = &self->config.set;
    const uint32_t group = self->canout.balance_group, first = group * GROUP_SWITCHES;
    uint32_t chip = first / set->blocks_per_module, channel = first % set->blocks_per_module;
    for (uint32_t k = 0; self->balance.active != 0u && k < GROUP_SWITCHES && first + k < set->blocks; ++k) {
        m.switches |= (uint64_t)(self->afe.bleed_set[chip] >> channel & 1u) << k;
        if (++channel < set->blocks_per_module) continue;
        channel = 0;
        ++chip;
    }
    self->canout.balance_group = (uint8_t)(first + GROUP_SWITCHES < set->blocks ? group + 1u : 0u);
    m.group = (uint8_t)group;
    ecu_can_frame_t *const frame = frame_for(self, out, BMS_DBC_BMS_CELL_BALANCING_FRAME_ID);
    if (frame != NULL) (void)bms_dbc_bms_cell_balancing_pack(frame->data, &m, 8u);
}

static uint16_t kpa_of(const bms_t *self, uint32_t module)
{
    const bool known = module < self->config.set.modules && self->measure.pressure_valid[module] != 0u;
    return known ? u16_of(self->measure.pressure_kpa[module], NONE_16 - 1u) : (uint16_t)NONE_16;
}

static void send_module_pressures(bms_t *self, ecu_out_t *out)
{
    struct bms_dbc_bms_module_pressure_t m = {0};
    const uint32_t group = self->canout.pressure_group, first = GROUP_PRESSURES * group;
    self->canout.pressure_group = (uint8_t)(first + GROUP_PRESSURES < self->config.set.modules ? group + 1u : 0u);
    m.group = (uint8_t)group;
    m.module0 = kpa_of(self, first);
    m.module1 = kpa_of(self, first + 1u);
    m.module2 = kpa_of(self, first + 2u);
    ecu_can_frame_t *const frame = frame_for(self, out, BMS_DBC_BMS_MODULE_PRESSURE_FRAME_ID);
    if (frame != NULL) (void)bms_dbc_bms_module_pressure_pack(frame->data, &m, 8u);
}

/* ---- every 100 ms or 1 s ------------------------------------------------------------------------------------------------------ */

static void send_temperatures(bms_t *self, ecu_out_t *out)
{
    const measure_t *const x = &self->measure;
    struct bms_dbc_bms_temperatures_t m = {0};
    const bool known = x->temperature_max_cdegc != BMS_UNKNOWN;
    m.temperature_max = ddegc_of(x->temperature_max_cdegc);
    m.temperature_min = ddegc_of(x->temperature_min_cdegc);
    m.temperature_max_index = known ? x->temperature_max_at : (uint16_t)INDEX_NONE;
    m.temperature_min_index = known ? x->temperature_min_at : (uint16_t)INDEX_NONE;
    m.temperature_invalid = (uint8_t)u16_of(x->temperatures_unknown, 255);
    const obs_hottest_t *const hot = &self->watch.hottest;
    m.core_temperature_max = hot->known ? ddegc_of(to_i32(hot->core_degc * 100.0f, -20000, 20000, BMS_UNKNOWN)) : (int16_t)NONE_12;
    ecu_can_frame_t *const frame = frame_for(self, out, BMS_DBC_BMS_TEMPERATURES_FRAME_ID);
    if (frame != NULL) (void)bms_dbc_bms_temperatures_pack(frame->data, &m, 8u);
}

static void send_pressure(bms_t *self, ecu_out_t *out)
{
    const measure_t *const x = &self->measure;
    struct bms_dbc_bms_pressure_t m = {0};
    const bool known = x->pressure_max_kpa != BMS_UNKNOWN;
    m.pressure_min = known ? u16_of(x->pressure_min_kpa, NONE_16 - 1u) : (uint16_t)NONE_16;
    m.pressure_max = known ? u16_of(x->pressure_max_kpa, NONE_16 - 1u) : (uint16_t)NONE_16;
    m.pressure_min_module = known ? x->pressure_min_at & 63u : 63u;
    m.pressure_max_module = known ? x->pressure_max_at & 63u : 63u;
    m.pressure_invalid = (uint8_t)u16_of(x->pressures_unknown, 63);
    m.pressure_rate_max = x->pressure_rise_kpa != BMS_UNKNOWN ? (int16_t)clamp_i32(x->pressure_rise_kpa, -8191, 8191) : -8192;
    ecu_can_frame_t *const frame = frame_for(self, out, BMS_DBC_BMS_PRESSURE_FRAME_ID);
    if (frame != NULL) (void)bms_dbc_bms_pressure_pack(frame->data, &m, 8u);
}

static void send_insulation(bms_t *self, ecu_out_t *out)
{
    const reading_t *const r = &self->sensor.insulation_kohm;
    struct bms_dbc_bms_insulation_t m = {0};
    const uint32_t ms = elapsed_ms(self->now_us, r->us);
    const int64_t volts = self->sensor.pack_mv.value / 1000;
    m.insulation = r->valid ? u16_of(r->value, NONE_16 - 1u) : (uint16_t)NONE_16;
    m.insulation_per_volt = r->valid && volts > 0 ? u16_of((int64_t)r->value * 1000 / volts, NONE_16 - 1u) : (uint16_t)NONE_16;
    m.insulation_age = (uint8_t)u16_of(ms / 100u, 255);
    const bool lost = ms > 4500u;
    m.insulation_state = lost ? BMS_DBC_BMS_INSULATION_INSULATION_STATE_LOST_CHOICE
                              : (self->sensor.insulation_fault ? BMS_DBC_BMS_INSULATION_INSULATION_STATE_MONITOR_FAULT_CHOICE : r->valid);
    ecu_can_frame_t *const frame = frame_for(self, out, BMS_DBC_BMS_INSULATION_FRAME_ID);
    if (frame != NULL) (void)bms_dbc_bms_insulation_pack(frame->data, &m, 8u);
}

static void send_power(bms_t *self, ecu_out_t *out)
{
    const limits_t *const l = &self->limits;
    struct bms_dbc_bms_power_t m = {0};
    m.discharge_power10s = u16_of(l->discharge_w[POWER_10_S] / 100, 16382);
    m.charge_power10s = u16_of(l->charge_w[POWER_10_S] / 100, 16382);
    m.discharge_power_continuous = u16_of(l->discharge_w[POWER_30_S] / 100, 16382);
    m.charge_power_continuous = u16_of(l->charge_w[POWER_30_S] / 100, 16382);
    m.charge_limit_cause = l->charge_cause;
    m.discharge_limit_cause = l->discharge_cause;
    ecu_can_frame_t *const frame = frame_for(self, out, BMS_DBC_BMS_POWER_FRAME_ID);
    if (frame != NULL) (void)bms_dbc_bms_power_pack(frame->data, &m, 8u);
}

static void send_diagnoses(bms_t *self, ecu_out_t *out)
{
    struct bms_dbc_bms_diagnosis_t m = {0};
    m.page = self->canout.page;
    self->canout.page = (uint8_t)(m.page + 1u < DIAG_PAGES ? m.page + 1u : 0u);
    m.active = self->protect.active_bits[m.page];
    ecu_can_frame_t *const frame = frame_for(self, out, BMS_DBC_BMS_DIAGNOSIS_FRAME_ID);
    if (frame != NULL) (void)bms_dbc_bms_diagnosis_pack(frame->data, &m, 8u);
}

static void send_energy(bms_t *self, ecu_out_t *out)
{
    struct bms_dbc_bms_energy_t m = {0};
    m.charge_out = (uint32_t)(self->charge.out_uc / 3600000u); /* wraps at 4.29 MAh */
    m.charge_in = (uint32_t)(self->charge.in_uc / 3600000u);
    ecu_can_frame_t *const frame = frame_for(self, out, BMS_DBC_BMS_ENERGY_FRAME_ID);
    if (frame != NULL) (void)bms_dbc_bms_energy_pack(frame->data, &m, 8u);
}

static void send_identity(bms_t *self, ecu_out_t *out)
{
    struct bms_dbc_bms_identity_t m = {0};
    m.version_major = BMS_VERSION_MAJOR;
    m.version_minor = BMS_VERSION_MINOR;
    m.version_patch = BMS_VERSION_PATCH;
    m.config_hash = self->config_crc;
    m.message_set = 1u;
    m.block_count = u16_of(self->config.set.blocks, 511);
    ecu_can_frame_t *const frame = frame_for(self, out, BMS_DBC_BMS_IDENTITY_FRAME_ID);
    if (frame != NULL) (void)bms_dbc_bms_identity_pack(frame->data, &m, 8u);
}

static void send_thermal(bms_t *self, ecu_out_t *out)
{
    const measure_t *const x = &self->measure;
    struct bms_dbc_bms_thermal_t m = {0};
    const bool known = x->temperature_max_cdegc != BMS_UNKNOWN;
    m.heater_duty = self->thermal.heater_pptt;
    m.pump_duty = self->thermal.pump_pptt;
    m.temperature_mean = ddegc_of(x->temperature_mean_cdegc);
    m.temperature_spread = known ? u16_of((x->temperature_max_cdegc - x->temperature_min_cdegc) / 10, 4094) : 4095u;
    m.temperature_rate_max = ddegc_of(x->temperature_rate_cdegc);
    ecu_can_frame_t *const frame = frame_for(self, out, BMS_DBC_BMS_THERMAL_FRAME_ID);
    if (frame != NULL) (void)bms_dbc_bms_thermal_pack(frame->data, &m, 8u);
}

static void send_ratings(bms_t *self, ecu_out_t *out)
{
    struct bms_dbc_bms_ratings_t m = {0};
    m.capacity_rated = u16_of(self->config.set.capacity_uc / 360000000, NONE_16);
    const float now = self->watch.weakest_capacity_frac * (float)(self->config.set.capacity_uc / 360000000);
    m.capacity_now = (uint16_t)to_i32(now, 0, NONE_16 - 1, NONE_16);
    m.discharge_voltage_limit = u16_of(self->limits.discharge_voltage_mv / 100, NONE_16);
    m.parallel_count = (uint8_t)u16_of(self->config.set.parallel, 255);
    m.module_count = (uint8_t)self->config.set.modules;
    ecu_can_frame_t *const frame = frame_for(self, out, BMS_DBC_BMS_RATINGS_FRAME_ID);
    if (frame != NULL) (void)bms_dbc_bms_ratings_pack(frame->data, &m, 8u);
}

/* One change a call; what is still to be told waits for the next. */
static void send_event(bms_t *self, ecu_out_t *out)
{
    protect_t *const p = &self->protect;
    if (p->changed == 0u) return;
    uint32_t id = 1;
    while (id < DIAG_COUNT && p->diag[id].told_tier == p->diag[id].tier && p->diag[id].told_latched == p->diag[id].latched) ++id;
    if (id == DIAG_COUNT) {
        p->changed = 0u;
        return;
    }
    diagnosis_t *const d = &p->diag[id];
    struct bms_dbc_bms_event_t m = {0};
    m.diagnosis_id = (uint8_t)id;
    m.raised = d->tier > d->told_tier || (d->tier == d->told_tier && d->latched != 0u);
    m.tier = m.raised ? d->tier : d->told_tier;
    m.latched = d->latched;
    m.index = d->place >= 0 ? u16_of(d->place, 4094) : 4095u;
    m.value = clamp_i32(d->value, -8388607, 8388607);
    m.stamp = (uint16_t)elapsed_ms(self->now_us, self->boot_us);
    ecu_can_frame_t *const frame = frame_for(self, out, BMS_DBC_BMS_EVENT_FRAME_ID);
    if (frame == NULL) return;
    (void)bms_dbc_bms_event_pack(frame->data, &m, 8u);
    d->told_tier = d->tier;
    d->told_latched = d->latched;
}

/* The output pins, for a rig whose hardware is at the other end of the bus. */
static void send_outputs(bms_t *self, ecu_out_t *out)
{
    struct bms_dbc_io_outputs_t m = {0};
    m.main_plus = (self->contactor.coils & PIN_OUT_MAIN_PLUS) != 0u;
    m.main_minus = (self->contactor.coils & PIN_OUT_MAIN_MINUS) != 0u;
    m.precharge = (self->contactor.coils & PIN_OUT_PRECHARGE) != 0u;
    m.fuse_trigger = self->contactor.fuse;
    m.heater_duty = self->thermal.heater_pptt;
    m.pump_duty = self->thermal.pump_pptt;
    ecu_can_frame_t *const frame = frame_for(self, out, BMS_DBC_IO_OUTPUTS_FRAME_ID);
    if (frame != NULL) (void)bms_dbc_io_outputs_pack(frame->data, &m, 8u);
}

/* What whoever asks for closed contactors has to know. */
static void send_authority(bms_t *self, ecu_out_t *out)
{
    const request_t *const r = &self->request;
    struct bms_dbc_bms_authority_t m = {0};
    for (uint32_t k = 0; k < REQUEST_CHALLENGE_BYTES; ++k) m.challenge |= (uint64_t)r->challenge[k] << (8u * k);
    m.count = r->count;
    m.refusal = r->refusal & 15u;
    m.lock_out = u16_of((request_lock_left_ms(self) + 999u) / 1000u, 15) & 15u;
    ecu_can_frame_t *const frame = r->phase == REQUEST_RUNS ? frame_for(self, out, BMS_DBC_BMS_AUTHORITY_FRAME_ID) : NULL;
    if (frame != NULL) (void)bms_dbc_bms_authority_pack(frame->data, &m, 8u);
}

/* ---- schedule ----------------------------------------------------------------------------------------------------------------- */

static void send(bms_t *self, ecu_out_t *out, uint32_t id)
{
    switch (id) {
    case BMS_DBC_IO_OUTPUTS_FRAME_ID: send_outputs(self, out); break;
    case BMS_DBC_BMS_STATE_FRAME_ID: send_state(self, out); break;
    case BMS_DBC_BMS_PACK_FRAME_ID: send_pack(self, out); break;
    case BMS_DBC_BMS_LIMITS_FRAME_ID: send_limits(self, out); break;
    case BMS_DBC_BMS_SOC_FRAME_ID: send_soc(self, out); break;
    case BMS_DBC_BMS_CELL_VOLTAGE_EXTREMES_FRAME_ID: send_extremes(self, out); break;
    case BMS_DBC_BMS_TEMPERATURES_FRAME_ID: send_temperatures(self, out); break;
    case BMS_DBC_BMS_PRESSURE_FRAME_ID: send_pressure(self, out); break;
    case BMS_DBC_BMS_INSULATION_FRAME_ID: send_insulation(self, out); break;
    case BMS_DBC_BMS_POWER_FRAME_ID: send_power(self, out); break;
    case BMS_DBC_BMS_DIAGNOSIS_FRAME_ID: send_diagnoses(self, out); break;
    case BMS_DBC_BMS_ENERGY_FRAME_ID: send_energy(self, out); break;
    case BMS_DBC_BMS_IDENTITY_FRAME_ID: send_identity(self, out); break;
    case BMS_DBC_BMS_THERMAL_FRAME_ID: send_thermal(self, out); break;
    case BMS_DBC_BMS_RATINGS_FRAME_ID: send_ratings(self, out); break;
    case BMS_DBC_BMS_AUTHORITY_FRAME_ID: send_authority(self, out); break;
    case BMS_DBC_BMS_CELL_VOLTAGES_FRAME_ID: send_voltages(self, out); break;
    case BMS_DBC_BMS_CELL_SOC_FRAME_ID: send_socs(self, out); break;
    case BMS_DBC_BMS_CELL_TEMPERATURES_FRAME_ID: send_sensors(self, out); break;
    case BMS_DBC_BMS_CELL_BALANCING_FRAME_ID: send_switches(self, out); break;
    case BMS_DBC_BMS_MODULE_PRESSURE_FRAME_ID: send_module_pressures(self, out); break;
    default: break; /* a message of the DBC nobody fills: a test compares both lists */
    }
}

static void send_row(bms_t *self, ecu_out_t *out, uint32_t row)
{
    const uint16_t before = out->can_count;
    send(self, out, message_schedule[row].id);
    if (out->can_count == before || !message_schedule[row].is_protected) return;
    ecu_can_frame_t *const frame = &out->can[before];
    e2e_p01_protect((uint16_t)frame->id, frame->data, 8u, &self->canout.counter[row]);
}

/* The rows of the DBC's schedule start at whole ticks; within a tick each gets a millisecond of its own. */
void canout_init(bms_t *self)
{
    canout_t *const c = &self->canout;
    for (uint32_t row = 0; row < MESSAGE_SCHEDULE_COUNT; ++row) {
        const uint32_t period = message_schedule[row].period_ms;
        const uint32_t step = period < 10u ? period : 10u, first = (message_schedule[row].start_ms + row % step) % 100u;
        if (period > 100u) c->every_second |= 1u << row;
        for (uint32_t slot = period < 100u ? first % period : first; slot < 100u; slot += period) c->due[slot] |= 1u << row;
    }
}

void canout_step(bms_t *self, ecu_out_t *out, uint32_t slot)
{
    uint32_t due = self->canout.due[slot % 100u];
    if (slot >= 100u) due &= ~self->canout.every_second;
    for (; due != 0u; due &= due - 1u) send_row(self, out, lowest_bit(due));
    if (slot % 10u == 9u) send_event(self, out);
}

/* All that a firmware tells that has given up: its state. */
void canout_last_words(bms_t *self, ecu_out_t *out, uint32_t slot)
{
    for (uint32_t row = 0; slot % 10u == 0u && row < MESSAGE_SCHEDULE_COUNT; ++row) {
        if (message_schedule[row].id == BMS_DBC_BMS_STATE_FRAME_ID) send_row(self, out, row);
    }
}
