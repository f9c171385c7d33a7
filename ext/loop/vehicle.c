#include "loop/vehicle.h"

#include "bms_dbc.h"
#include "cmac.h"
#include "e2e.h"

#include <string.h>

#define FIELD_OWNER vehicle_t
FIELD_TABLE(vehicle_fields, VEHICLE_FIELDS);
#undef FIELD_OWNER
const size_t vehicle_field_count = FIELD_COUNT(vehicle_fields);

static const float nan_f = __builtin_nanf("");

void vehicle_init(vehicle_t *v)
{
    memset(v->last_counter, E2E_P01_NO_COUNTER, sizeof v->last_counter);
    v->obs_charge_limit_a = v->obs_discharge_limit_a = v->obs_charge_voltage_limit_v = 0.0f;
    v->obs_temperature_min_degc = v->obs_temperature_max_degc = v->obs_core_max_degc = nan_f;
    v->obs_insulation_kohm = v->obs_pressure_min_kpa = v->obs_pressure_max_kpa = nan_f;
    v->obs_cell_voltage_max_v = v->obs_cell_voltage_min_v = nan_f;
    v->obs_soc_frac = v->obs_soc_low_frac = v->obs_soc_high_frac = v->obs_soh_frac = nan_f;
    for (uint32_t k = 0; k < VEHICLE_BLOCKS_MAX; ++k) v->obs_cell_voltage_v[k] = v->obs_cell_soc_frac[k] = nan_f;
    for (uint32_t k = 0; k < VEHICLE_SENSORS_MAX; ++k) v->obs_sensor_degc[k] = nan_f;
    for (uint32_t k = 0; k < VEHICLE_MODULES_MAX; ++k) v->obs_module_pressure_kpa[k] = nan_f;
}

/* ---- what the BMS says ---- */

static bool is_protected(vehicle_t *v, const ecu_can_frame_t *f, uint32_t slot)
{
    e2e_p01_rx_t receiver = {v->last_counter[slot]};
    const bool is_usable = e2e_is_usable(e2e_p01_check(&receiver, (uint16_t)f->id, f->data, f->length));
    v->last_counter[slot] = receiver.counter;
    if (!is_usable) v->e2e_errors++;
    return is_usable;
}

static void take_state(vehicle_t *v, const ecu_can_frame_t *f)
{
    struct bms_dbc_bms_state_t m;
    if (!is_protected(v, f, 0) || bms_dbc_bms_state_unpack(&m, f->data, f->length) != 0) return;
    v->obs_state = m.state;
    v->obs_contactors = (uint32_t)m.contactor_main_plus | (uint32_t)m.contactor_main_minus << 1 | (uint32_t)m.contactor_precharge << 2;
    v->obs_diagnosis_count = m.active_diagnoses;
    v->obs_trip_diagnosis = m.first_trip_diagnosis;
    const uint8_t trips[9] = {m.trip_voltage, m.trip_current, m.trip_temperature, m.trip_pressure, m.trip_insulation,
                              m.trip_measurement, m.trip_contactor, m.trip_external, m.trip_system};
    uint32_t flags = 0;
    for (uint32_t k = 0; k < 9u; ++k) flags |= trips[k] ? VEHICLE_FLAG_TRIP_FIRST << k : 0u;
    if (flags) flags |= VEHICLE_FLAG_TRIP;
    if (m.derated) flags |= VEHICLE_FLAG_DERATED;
    if (m.warning) flags |= VEHICLE_FLAG_WARNING;
    if (m.charge_allowed) flags |= VEHICLE_FLAG_CHARGE_ALLOWED;
    if (m.discharge_allowed) flags |= VEHICLE_FLAG_DISCHARGE_ALLOWED;
    if (m.balancing_active) flags |= VEHICLE_FLAG_BALANCING;
    if (m.clear_needed) flags |= VEHICLE_FLAG_CLEAR_NEEDED;
    v->obs_flags = flags;
}

static void take_pack(vehicle_t *v, const ecu_can_frame_t *f)
{
    struct bms_dbc_bms_pack_t m;
    if (!is_protected(v, f, 1) || bms_dbc_bms_pack_unpack(&m, f->data, f->length) != 0) return;
    v->obs_pack_voltage_v = m.pack_voltage == 0xFFFFu ? nan_f : (float)m.pack_voltage * 0.1f;
    v->obs_link_voltage_v = m.link_voltage == 0xFFFFu ? nan_f : (float)m.link_voltage * 0.1f;
    v->obs_pack_current_a = m.pack_current == INT16_MIN ? nan_f : (float)m.pack_current * 0.05f;
}

static void take_limits(vehicle_t *v, uint64_t now_us, const ecu_can_frame_t *f)
{
    struct bms_dbc_bms_limits_t m;
    if (!is_protected(v, f, 2) || bms_dbc_bms_limits_unpack(&m, f->data, f->length) != 0) return;
    v->obs_charge_limit_a = (float)m.charge_current_limit * 0.1f;
    v->obs_discharge_limit_a = (float)m.discharge_current_limit * 0.1f;
    v->obs_charge_voltage_limit_v = (float)m.charge_voltage_limit * 0.1f;
    v->limits_us = now_us;
}

static void take_soc(vehicle_t *v, const ecu_can_frame_t *f)
{
    struct bms_dbc_bms_soc_t m;
    if (!is_protected(v, f, 3) || bms_dbc_bms_soc_unpack(&m, f->data, f->length) != 0) return;
    v->obs_soc_valid = m.soc_valid;
    v->obs_soc_frac = m.soc_valid ? (float)m.soc * 1e-4f : nan_f;
    v->obs_soc_low_frac = m.soc_valid ? (float)m.soc_low * 1e-4f : nan_f;
    v->obs_soc_high_frac = m.soc_valid ? (float)m.soc_high * 1e-4f : nan_f;
    v->obs_soh_frac = m.soh == 0xFFu ? nan_f : (float)m.soh * 0.005f;
}

static void take_authority(vehicle_t *v, const ecu_can_frame_t *f)
{
    struct bms_dbc_bms_authority_t m;
    if (bms_dbc_bms_authority_unpack(&m, f->data, f->length) != 0) return;
    v->obs_refusal = m.refusal;
    if (v->has_challenge == 0u || m.challenge != v->challenge || m.count > v->authority_count) v->authority_count = m.count;
    v->challenge = m.challenge;
    v->has_challenge = 1;
}

static float volts_14(uint16_t raw) { return raw == 0x3FFFu ? nan_f : (float)raw * 0.0005f; }
static float share_14(uint16_t raw) { return raw == 0x3FFFu ? nan_f : (float)raw * 1e-4f; }
static float degc_12(int16_t raw) { return raw == -2048 ? nan_f : (float)raw * 0.1f; }
static float kpa_16(uint16_t raw) { return raw == 0xFFFFu ? nan_f : (float)raw; }

static void put(float *to, uint32_t limit, uint32_t first, const float *values, uint32_t count)
{
    for (uint32_t k = 0; k < count && first + k < limit; ++k) to[first + k] = values[k];
}

static void take_cells(vehicle_t *v, const ecu_can_frame_t *f)
{
    if (f->id == BMS_DBC_BMS_CELL_VOLTAGES_FRAME_ID) {
        struct bms_dbc_bms_cell_voltages_t m;
        if (bms_dbc_bms_cell_voltages_unpack(&m, f->data, f->length) != 0) return;
        const float x[4] = {volts_14(m.cell0), volts_14(m.cell1), volts_14(m.cell2), volts_14(m.cell3)};
        put(v->obs_cell_voltage_v, VEHICLE_BLOCKS_MAX, 4u * m.group, x, 4);
    } else if (f->id == BMS_DBC_BMS_CELL_SOC_FRAME_ID) {
        struct bms_dbc_bms_cell_soc_t m;
        if (bms_dbc_bms_cell_soc_unpack(&m, f->data, f->length) != 0) return;
        const float x[4] = {share_14(m.cell0), share_14(m.cell1), share_14(m.cell2), share_14(m.cell3)};
        put(v->obs_cell_soc_frac, VEHICLE_BLOCKS_MAX, 4u * m.group, x, 4);
    } else if (f->id == BMS_DBC_BMS_CELL_TEMPERATURES_FRAME_ID) {
        struct bms_dbc_bms_cell_temperatures_t m;
        if (bms_dbc_bms_cell_temperatures_unpack(&m, f->data, f->length) != 0) return;
        const uint8_t raw[6] = {m.sensor0, m.sensor1, m.sensor2, m.sensor3, m.sensor4, m.sensor5};
        float x[6];
        for (uint32_t k = 0; k < 6u; ++k) x[k] = raw[k] == 255u ? nan_f : (float)raw[k] - 60.0f;
        put(v->obs_sensor_degc, VEHICLE_SENSORS_MAX, 6u * m.group, x, 6);
    } else if (f->id == BMS_DBC_BMS_CELL_BALANCING_FRAME_ID) {
        struct bms_dbc_bms_cell_balancing_t m;
        if (bms_dbc_bms_cell_balancing_unpack(&m, f->data, f->length) != 0) return;
        for (uint32_t k = 0; k < 56u; ++k) {
            const float x = (float)(m.switches >> k & 1u);
            put(v->obs_cell_bleeding, VEHICLE_BLOCKS_MAX, 56u * m.group + k, &x, 1);
        }
    } else if (f->id == BMS_DBC_BMS_MODULE_PRESSURE_FRAME_ID) {
        struct bms_dbc_bms_module_pressure_t m;
        if (bms_dbc_bms_module_pressure_unpack(&m, f->data, f->length) != 0) return;
        const float x[3] = {kpa_16(m.module0), kpa_16(m.module1), kpa_16(m.module2)};
        put(v->obs_module_pressure_kpa, VEHICLE_MODULES_MAX, 3u * m.group, x, 3);
    }
}

static void take_slow(vehicle_t *v, const ecu_can_frame_t *f)
{
    if (f->id == BMS_DBC_BMS_CELL_VOLTAGE_EXTREMES_FRAME_ID) {
        struct bms_dbc_bms_cell_voltage_extremes_t m;
        if (bms_dbc_bms_cell_voltage_extremes_unpack(&m, f->data, f->length) != 0) return;
        v->obs_cell_voltage_max_v = volts_14(m.cell_voltage_max);
        v->obs_cell_voltage_min_v = volts_14(m.cell_voltage_min);
    } else if (f->id == BMS_DBC_BMS_TEMPERATURES_FRAME_ID) {
        struct bms_dbc_bms_temperatures_t m;
        if (bms_dbc_bms_temperatures_unpack(&m, f->data, f->length) != 0) return;
        v->obs_temperature_max_degc = degc_12(m.temperature_max);
        v->obs_temperature_min_degc = degc_12(m.temperature_min);
        v->obs_core_max_degc = degc_12(m.core_temperature_max);
    } else if (f->id == BMS_DBC_BMS_PRESSURE_FRAME_ID) {
        struct bms_dbc_bms_pressure_t m;
        if (bms_dbc_bms_pressure_unpack(&m, f->data, f->length) != 0) return;
        v->obs_pressure_min_kpa = kpa_16(m.pressure_min);
        v->obs_pressure_max_kpa = kpa_16(m.pressure_max);
    } else if (f->id == BMS_DBC_BMS_INSULATION_FRAME_ID) {
        struct bms_dbc_bms_insulation_t m;
        if (bms_dbc_bms_insulation_unpack(&m, f->data, f->length) != 0) return;
        v->obs_insulation_kohm = kpa_16(m.insulation);
    } else if (f->id == BMS_DBC_BMS_THERMAL_FRAME_ID) {
        struct bms_dbc_bms_thermal_t m;
        if (bms_dbc_bms_thermal_unpack(&m, f->data, f->length) != 0) return;
        v->obs_heater_frac = (float)m.heater_duty * 1e-4f;
        v->obs_pump_frac = (float)m.pump_duty * 1e-4f;
    }
}

static bool take_event(const ecu_can_frame_t *f, vehicle_event_t *event)
{
    struct bms_dbc_bms_event_t m;
    if (bms_dbc_bms_event_unpack(&m, f->data, f->length) != 0) return false;
    event->diagnosis = m.diagnosis_id;
    event->tier = m.tier;
    event->raised = m.raised;
    event->index = m.index == 0xFFFu ? -1 : (int32_t)m.index;
    event->value = (float)m.value;
    return true;
}

/* ---- a charger that speaks the Elcon / TC protocol; src/bms/protocols/elcon.py holds layout and vectors ---- */

#define ELCON_COMMAND_ID 0x1806E5F4u
#define ELCON_STATUS_ID 0x18FF50E5u
#define ELCON_SILENCE_US 5000000u /* without a command for so long it stops */
#define OWN_STATUS_US 100000u
#define ELCON_NO_COMMANDS 16u     /* its flag for that */

static void take_elcon(vehicle_t *v, uint64_t now_us, const ecu_can_frame_t *f)
{
    if (f->id != ELCON_COMMAND_ID) return;
    if (f->length != 8u || f->data[4] > 1u) {
        v->malformed++;
        return;
    }
    v->elcon_voltage_v = (double)((uint32_t)f->data[0] << 8 | f->data[1]) * 0.1;
    v->elcon_current_a = f->data[4] ? 0.0 : (double)((uint32_t)f->data[2] << 8 | f->data[3]) * 0.1;
    v->elcon_us = now_us;
}

static bool is_commanded(const vehicle_t *v, uint64_t now_us)
{
    return v->elcon_us != 0u && now_us - v->elcon_us <= ELCON_SILENCE_US;
}

double vehicle_charge_voltage_v(const vehicle_t *v, uint64_t now_us)
{
    double most = v->charge_voltage_v;
    if (v->charger_speaks) most = is_commanded(v, now_us) && v->elcon_voltage_v < most ? v->elcon_voltage_v : most;
    else if (v->obeys_limits && (double)v->obs_charge_voltage_limit_v < most) most = (double)v->obs_charge_voltage_limit_v;
    return most + v->charger_error_v;
}

static void put_word(uint8_t *to, double value)
{
    const double tenths = value * 10.0 + 0.5;
    const uint32_t word = tenths > 65535.0 ? 65535u : tenths > 0.0 ? (uint32_t)tenths : 0u;
    to[0] = (uint8_t)(word >> 8);
    to[1] = (uint8_t)word;
}

static uint16_t tenths(double value)
{
    const double x = value * 10.0 + 0.5;
    return x > 65534.0 ? 65534u : x > 0.0 ? (uint16_t)x : 0u;
}

/* A charger of the vehicle's own message set, while it is plugged. */
static bool own_status(const vehicle_t *v, uint64_t now_us, double link_voltage_v, double current_a, ecu_can_frame_t *frame)
{
    struct bms_dbc_charger_status_t m;
    if (v->kind != VEHICLE_CHARGE || now_us % OWN_STATUS_US != 0u) return false;
    memset(&m, 0, sizeof m);
    m.voltage = tenths(link_voltage_v);
    m.current = tenths(-current_a);
    m.state = v->charger_now_a > 0.0 ? BMS_DBC_CHARGER_STATUS_STATE_CHARGING_CHOICE : BMS_DBC_CHARGER_STATUS_STATE_READY_CHOICE;
    m.plugged = 1;
    m.current_available = tenths(v->charge_current_a);
    memset(frame, 0, sizeof *frame);
    frame->id = BMS_DBC_CHARGER_STATUS_FRAME_ID;
    frame->bus = ECU_BUS_VEHICLE;
    frame->length = 8;
    (void)bms_dbc_charger_status_pack(frame->data, &m, 8);
    return true;
}

bool vehicle_charger_status(const vehicle_t *v, uint64_t now_us, double link_voltage_v, double current_a, ecu_can_frame_t *frame)
{
    if (!v->charger_speaks) return own_status(v, now_us, link_voltage_v, current_a, frame);
    if (now_us % 1000000u != 0u) return false;
    memset(frame, 0, sizeof *frame);
    frame->id = ELCON_STATUS_ID;
    frame->bus = ECU_BUS_VEHICLE;
    frame->flags = ECU_CAN_EXTENDED;
    frame->length = 8;
    put_word(frame->data, link_voltage_v);
    put_word(frame->data + 2, v->kind == VEHICLE_CHARGE ? -current_a : 0.0);
    frame->data[4] = is_commanded(v, now_us) ? 0u : ELCON_NO_COMMANDS;
    return true;
}

bool vehicle_receive(vehicle_t *v, uint64_t now_us, const ecu_can_frame_t *f, vehicle_event_t *event)
{
    if (f->flags == ECU_CAN_EXTENDED) {
        take_elcon(v, now_us, f);
        return false;
    }
    if (f->flags != 0u || f->length != 8u) {
        v->malformed++;
        return false;
    }
    v->frames_seen++;
    switch (f->id) {
    case BMS_DBC_BMS_STATE_FRAME_ID: take_state(v, f); return false;
    case BMS_DBC_BMS_PACK_FRAME_ID: take_pack(v, f); return false;
    case BMS_DBC_BMS_LIMITS_FRAME_ID: take_limits(v, now_us, f); return false;
    case BMS_DBC_BMS_SOC_FRAME_ID: take_soc(v, f); return false;
    case BMS_DBC_BMS_AUTHORITY_FRAME_ID: take_authority(v, f); return false;
    case BMS_DBC_BMS_EVENT_FRAME_ID: return take_event(f, event);
    default: break;
    }
    if (f->id >= BMS_DBC_BMS_CELL_VOLTAGES_FRAME_ID) take_cells(v, f);
    else take_slow(v, f);
    return false;
}

/* ---- what the vehicle does ---- */

static double wanted_charge_a(const vehicle_t *v)
{
    double wanted = v->charge_current_a;
    if (v->step_count == 0u || !v->obs_soc_valid) return wanted;
    const uint32_t steps = v->step_count < VEHICLE_STEPS_MAX ? v->step_count : VEHICLE_STEPS_MAX;
    double step = v->step_current_a[steps - 1u];
    for (uint32_t k = steps; k-- > 0u;)
        if ((double)v->obs_soc_frac < v->step_soc_frac[k]) step = v->step_current_a[k];
    return step < wanted ? step : wanted;
}

/* Keeps the limits of now; the place of those that are obeyed now. */
static uint32_t late_limits(vehicle_t *v)
{
    const uint64_t ticks = v->deaf_us / 10000u, back = ticks < VEHICLE_LATE ? ticks : VEHICLE_LATE - 1u;
    const uint32_t now = v->late_next % VEHICLE_LATE;
    v->late_charge_a[now] = v->obs_charge_limit_a;
    v->late_discharge_a[now] = v->obs_discharge_limit_a;
    v->late_next = (now + 1u) % VEHICLE_LATE;
    return (now + VEHICLE_LATE - (uint32_t)back) % VEHICLE_LATE;
}

/* After its restart the BMS wants to see standby before it closes again. A vehicle that asks again shows it, unless there was a trip. */
static uint32_t asked_mode(const vehicle_t *v)
{
    const bool restarted = v->obs_refusal == BMS_DBC_BMS_AUTHORITY_REFUSAL_STANDBY_FIRST_CHOICE;
    const bool calm = (v->obs_flags & (VEHICLE_FLAG_TRIP | VEHICLE_FLAG_CLEAR_NEEDED)) == 0u;
    return v->asks_again != 0u && restarted && calm ? VEHICLE_REQUEST_STANDBY : v->request;
}

void vehicle_tick(vehicle_t *v, uint64_t now_us, double link_voltage_v, ecu_can_frame_t *request)
{
    const bool is_heard = v->limits_us != 0u && now_us - v->limits_us <= v->silent_us;
    const uint32_t heard = late_limits(v);
    const double charge_limit = is_heard ? (double)v->late_charge_a[heard] : 0.0;
    const double discharge_limit = is_heard ? (double)v->late_discharge_a[heard] : 0.0;

    double amps = 0.0;
    if (v->kind == VEHICLE_CURRENT) amps = v->demand;
    if (v->kind == VEHICLE_POWER && link_voltage_v > 1.0) amps = v->demand / link_voltage_v;
    if (v->obeys_limits) {
        amps = amps > discharge_limit ? discharge_limit : amps;
        amps = amps < -charge_limit ? -charge_limit : amps;
    }
    v->delivered_a = amps + v->extra_a;

    double charge = v->kind == VEHICLE_CHARGE ? wanted_charge_a(v) : 0.0;
    const double told = is_commanded(v, now_us) ? v->elcon_current_a : 0.0;
    if (v->charger_speaks) charge = charge < told ? charge : told; /* an Elcon charger knows no other limit */
    else if (v->obeys_limits && charge > charge_limit) charge = charge_limit;
    const double step = v->charger_slew_a_per_s * 0.01;
    if (charge > v->charger_now_a + step) charge = v->charger_now_a + step;
    v->charger_now_a = charge; /* a charger may always fall at once */

    struct bms_dbc_vcu_request_t m;
    memset(&m, 0, sizeof m);
    m.mode = (uint8_t)asked_mode(v);
    m.clear_request = (uint8_t)(v->clear_request != 0u);
    m.service_clear = (uint8_t)(v->service != 0u);
    m.balance_allowed = 1;
    m.heating_allowed = 1;
    const double kw10 = amps * link_voltage_v * 0.01;
    m.power_demand = (int16_t)(kw10 > 32767.0 ? 32767.0 : kw10 < -32767.0 ? -32767.0 : kw10);
    memset(request, 0, sizeof *request);
    request->id = BMS_DBC_VCU_REQUEST_FRAME_ID;
    request->bus = ECU_BUS_VEHICLE;
    request->length = 8;
    (void)bms_dbc_vcu_request_pack(request->data, &m, 8);
    e2e_p01_protect((uint16_t)request->id, request->data, 8, &v->counter);
}

#define AUTHORITY_PERIOD_US 100000u

bool vehicle_authority(vehicle_t *v, uint64_t now_us, ecu_can_frame_t *frame)
{
    const uint32_t clear = v->clear_request != 0u, wish = v->request | clear << 2 | (clear & (uint32_t)(v->service != 0u)) << 3;
    const bool is_due = wish != v->authority_wish || now_us - v->authority_us >= AUTHORITY_PERIOD_US;
    if (wish == 0u) v->authority_wish = 0;
    if (wish == 0u || v->has_challenge == 0u || !is_due) return false;
    v->authority_wish = wish;
    v->authority_us = now_us;
    v->authority_count = (v->authority_count + 1u) & 0xFFFFu;
    uint8_t text[11] = {(uint8_t)'A', (uint8_t)(BMS_DBC_VCU_AUTHORITY_FRAME_ID & 0xFFu), (uint8_t)(BMS_DBC_VCU_AUTHORITY_FRAME_ID >> 8)};
    uint8_t mac[16];
    memset(frame, 0, sizeof *frame);
    frame->id = BMS_DBC_VCU_AUTHORITY_FRAME_ID;
    frame->bus = ECU_BUS_VEHICLE;
    frame->length = 8;
    frame->data[0] = (uint8_t)wish;
    frame->data[1] = (uint8_t)v->authority_count;
    frame->data[2] = (uint8_t)(v->authority_count >> 8);
    for (uint32_t k = 0; k < 5u; ++k) text[3u + k] = (uint8_t)(v->challenge >> (8u * k));
    memcpy(text + 8, frame->data, 3);
    cmac_aes128(v->request_key, text, sizeof text, mac);
    memcpy(frame->data + 3, mac, 5);
    return true;
}
