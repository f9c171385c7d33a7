/* The world on the vehicle bus: the control unit that asks for contactors, the load or charger behind them, and the observer that
 * keeps what the BMS says. It knows the pack only through frames, as a real vehicle does. */
#ifndef BMS_VEHICLE_H
#define BMS_VEHICLE_H

#include "ecu.h"
#include "field.h"

#define VEHICLE_BLOCKS_MAX 400
#define VEHICLE_SENSORS_MAX 192
#define VEHICLE_MODULES_MAX 32
#define VEHICLE_STEPS_MAX 16
#define VEHICLE_LATE 1024 /* limits kept for one who obeys late: 10 s */

enum { VEHICLE_REQUEST_STANDBY = 0, VEHICLE_REQUEST_DRIVE = 1, VEHICLE_REQUEST_CHARGE = 2 };
/* obs_flags */
#define VEHICLE_FLAG_DERATED 1u
#define VEHICLE_FLAG_WARNING 2u
#define VEHICLE_FLAG_CHARGE_ALLOWED 4u
#define VEHICLE_FLAG_DISCHARGE_ALLOWED 8u
#define VEHICLE_FLAG_BALANCING 16u
#define VEHICLE_FLAG_CLEAR_NEEDED 32u
#define VEHICLE_FLAG_TRIP 64u        /* any of the nine below */
#define VEHICLE_FLAG_TRIP_FIRST 128u /* voltage, current, temperature, pressure, insulation, measurement, contactor, external, system */

enum { VEHICLE_REST = 0, VEHICLE_POWER = 1, VEHICLE_CURRENT = 2, VEHICLE_CHARGE = 3 };

#define VEHICLE_FIELDS(S, A)                                                                                                     \
    S(u32, request, "1", "what the control unit asks for: 0 standby, 1 drive, 2 charge")                                          \
    S(u32, clear_request, "1", "1 while it asks the BMS to clear latched diagnoses")                                              \
    S(u32, kind, "1", "0 rest, 1 power demand, 2 current demand, 3 constant current - constant voltage charger")                  \
    S(u32, obeys_limits, "1", "0 when load or charger ignore the advertised limits")                                              \
    S(f64, demand, "W or A", "power or current wanted now, positive discharges")                                                  \
    S(f64, charge_current_a, "A", "charger: current wanted")                                                                      \
    S(f64, charge_voltage_v, "V", "charger: voltage ceiling")                                                                     \
    S(f64, charger_slew_a_per_s, "A/s", "charger: how fast its current may change")                                               \
    S(u32, step_count, "1", "charger: steps of current over reported SoC")                                                        \
    A(f64, step_soc_frac, VEHICLE_STEPS_MAX, "1", "charger: a step holds up to this reported SoC")                                \
    A(f64, step_current_a, VEHICLE_STEPS_MAX, "A", "charger: current of the step")                                                \
    S(f64, charger_now_a, "A", "charger: current it drives now")                                                                  \
    S(u32, charger_speaks, "1", "whose limits the charger follows: 0 those of bms.dbc, 1 commands in the Elcon protocol")         \
    S(f64, elcon_voltage_v, "V", "charger: voltage last commanded")                                                               \
    S(f64, elcon_current_a, "A", "charger: current last commanded; 0 when told to stop")                                          \
    S(u64, elcon_us, "us", "when the last command came; 0 never")                                                                 \
    S(f64, extra_a, "A", "current that load or charger move beside what they should, positive discharges")                       \
    S(f64, charger_error_v, "V", "charger: what it gives above the voltage it means to")                                         \
    S(u64, deaf_us, "us", "load and charger obey limits only so long after they came")                                            \
    S(u32, late_next, "1", "next place in the two below")                                                                         \
    A(f32, late_charge_a, VEHICLE_LATE, "A", "charge limits heard lately, one each 10 ms")                                        \
    A(f32, late_discharge_a, VEHICLE_LATE, "A", "discharge limits heard lately")                                                  \
    S(f64, delivered_a, "A", "current demand after the advertised limits, positive discharges")                                   \
    S(u64, silent_us, "us", "silence of the BMS's limits after which nothing is drawn or charged")                                \
    S(u64, limits_us, "us", "when the last valid limits arrived")                                                                 \
    A(u8, request_key, 16, "1", "AES-128 key of VcuAuthority, which the BMS must have as well")                                     \
    S(u64, challenge, "1", "challenge last told by the BMS")                                                                      \
    S(u32, has_challenge, "1", "1 once it told one")                                                                              \
    S(u32, authority_count, "1", "count of the last VcuAuthority sent under this challenge")                                       \
    S(u32, authority_wish, "1", "mode, clear and service bits of the last one")                                                    \
    S(u64, authority_us, "us", "when it was sent")                                                                                \
    S(u32, service, "1", "1 while a clear request is a workshop's")                                                               \
    S(u32, is_silent, "1", "1: the vehicle sleeps and sends nothing")                                                             \
    S(u32, asks_again, "bool", "asks anew by itself after the BMS started again; else somebody has to")                           \
    S(u32, obs_refusal, "1", "what forbids the next step towards closed contactors, as the BMS says; BmsAuthority.Refusal")       \
    S(u8, counter, "1", "end-to-end counter of the next request")                                                                     \
    A(u8, last_counter, 8, "1", "end-to-end counters last seen from the BMS, one a protected message; 255 none")                  \
    S(u32, e2e_errors, "1", "protected frames with a wrong check code or counter")                                                \
    S(u32, malformed, "1", "frames with a wrong length or kind")                                                                  \
    S(u32, frames_seen, "1", "frames of the BMS that were decoded")                                                               \
    S(u32, obs_state, "1", "state of the BMS as it says")                                                                         \
    S(u32, obs_flags, "1", "VEHICLE_FLAG_ bits")                                                                     \
    S(u32, obs_contactors, "1", "contactor feedbacks as the BMS reports them: bit 0 main plus, 1 main minus, 2 precharge")        \
    S(u32, obs_diagnosis_count, "1", "active diagnoses")                                                                          \
    S(u32, obs_trip_diagnosis, "1", "first diagnosis that tripped; 0 none")                                                       \
    S(f32, obs_pack_voltage_v, "V", "measured pack voltage")                                                                      \
    S(f32, obs_link_voltage_v, "V", "measured link voltage")                                                                      \
    S(f32, obs_pack_current_a, "A", "measured current, positive discharges")                                                      \
    S(f32, obs_charge_limit_a, "A", "advertised charge current limit")                                                            \
    S(f32, obs_discharge_limit_a, "A", "advertised discharge current limit")                                                      \
    S(f32, obs_charge_voltage_limit_v, "V", "advertised charge voltage limit")                                                    \
    S(f32, obs_soc_frac, "1", "estimated pack SoC")                                                                               \
    S(f32, obs_soc_low_frac, "1", "lower end of its interval")                                                                    \
    S(f32, obs_soc_high_frac, "1", "upper end of its interval")                                                                   \
    S(f32, obs_soh_frac, "1", "estimated state of health")                                                                        \
    S(u32, obs_soc_valid, "1", "1 once an SoC was reported")                                                                      \
    S(f32, obs_cell_voltage_max_v, "V", "highest measured cell voltage")                                                          \
    S(f32, obs_cell_voltage_min_v, "V", "lowest measured cell voltage")                                                           \
    S(f32, obs_temperature_max_degc, "degC", "highest measured temperature")                                                      \
    S(f32, obs_temperature_min_degc, "degC", "lowest measured temperature")                                                       \
    S(f32, obs_core_max_degc, "degC", "estimated hottest core")                                                                   \
    S(f32, obs_pressure_min_kpa, "kPa", "lowest measured stack pressure")                                                         \
    S(f32, obs_pressure_max_kpa, "kPa", "highest measured stack pressure")                                                        \
    S(f32, obs_insulation_kohm, "kohm", "measured insulation resistance")                                                         \
    S(f32, obs_heater_frac, "1", "heater duty as reported")                                                                       \
    S(f32, obs_pump_frac, "1", "pump duty as reported")                                                                           \
    A(f32, obs_cell_voltage_v, VEHICLE_BLOCKS_MAX, "V", "measured block voltages; NaN not available")                             \
    A(f32, obs_cell_soc_frac, VEHICLE_BLOCKS_MAX, "1", "estimated block SoC; NaN not available")                                  \
    A(f32, obs_sensor_degc, VEHICLE_SENSORS_MAX, "degC", "measured temperatures in sensor order; NaN not available")              \
    A(f32, obs_module_pressure_kpa, VEHICLE_MODULES_MAX, "kPa", "measured stack pressures; NaN not available")                    \
    A(f32, obs_cell_bleeding, VEHICLE_BLOCKS_MAX, "1", "1 where the BMS says that the block is bleeding")

FIELD_STRUCT(vehicle_t, VEHICLE_FIELDS);
extern const field_t vehicle_fields[];
extern const size_t vehicle_field_count;

/* An event frame of the BMS, handed to whoever keeps the list. */
typedef struct {
    uint32_t diagnosis, tier, raised;
    int32_t index;
    float value;
} vehicle_event_t;

void vehicle_init(vehicle_t *v);
/* One frame from the BMS; true when it carried an event. Any bytes are accepted: what is wrong is counted. */
bool vehicle_receive(vehicle_t *v, uint64_t now_us, const ecu_can_frame_t *frame, vehicle_event_t *event);
/* Every 10 ms: the request frame, and the current that load or charger will move given the advertised limits. pack_voltage_v is
 * the vehicle's own measurement at its terminals (the link). */
void vehicle_tick(vehicle_t *v, uint64_t now_us, double link_voltage_v, ecu_can_frame_t *request);
/* The authority that goes with the request, every 10 ms after vehicle_tick; false when none is due. */
bool vehicle_authority(vehicle_t *v, uint64_t now_us, ecu_can_frame_t *frame);
/* The most voltage the charger gives now. */
double vehicle_charge_voltage_v(const vehicle_t *v, uint64_t now_us);
/* What the charger says of itself, an Elcon one each second, else ten times a second while it charges; false when nothing is due.
 * current_a: of the pack, positive discharges. */
bool vehicle_charger_status(const vehicle_t *v, uint64_t now_us, double link_voltage_v, double current_a, ecu_can_frame_t *frame);

#endif
