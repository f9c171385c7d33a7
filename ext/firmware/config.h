/* What the firmware is told: the list of fields, and why it refuses. Sizes are those of bms.h, which includes this. */
#ifndef BMS_CONFIG_H
#define BMS_CONFIG_H

#include "estimator.h"
#include "field.h"
#include "observer.h"

/* Everything the firmware is told about its pack, filled by name from bms.firmware.config. Triplets are operate, warn, trip.
 * Currents are of the pack, magnitudes. */
#define BMS_CONFIG_FIELDS(S, A)                                                                                                \
    S(u32, magic, "1", "BMS_CONFIG_MAGIC")                                                                                     \
    S(u32, version, "1", "BMS_CONFIG_VERSION")                                                                                 \
    S(u32, size, "B", "of bms_config_t")                                                                                       \
    S(u32, blocks, "1", "in series")                                                                                           \
    S(u32, parallel, "1", "cells in a block")                                                                                  \
    S(u32, blocks_per_module, "1", "6 to 16; one monitor chip a module")                                                       \
    S(u32, modules, "1", "monitor chips in the stack")                                                                         \
    S(u32, ring_is_wired, "bool", "a cable joins the top of the chips' chain to the base: a cut is read from both ends")         \
    S(u32, thermistors, "1", "of one module, at most 6")                                                                       \
    S(u32, pressure_is_fitted, "bool", "a stack-pressure sensor in every module")                                              \
    A(u8, thermistor_left, BMS_CHANNELS_MAX, "1", "nearest thermistor at or below each channel")                               \
    A(u8, thermistor_right, BMS_CHANNELS_MAX, "1", "nearest thermistor at or above each channel")                              \
    A(f32, thermistor_share, BMS_CHANNELS_MAX, "1", "weight of the right one")                                                 \
    A(i32, ntc_cdegc, BMS_NTC_STEPS + 1, "0.01 degC", "temperature over the ratio NTC / (NTC + pull-up), 0 to 1")              \
    S(i32, pressure_full_scale_kpa, "kPa", "stack pressure at 0.9 of TSREF; 0 kPa is 0.1 of TSREF")                            \
    S(u32, chip_overvoltage_code, "1", "OV_THRESH of the BQ79616")                                                             \
    S(u32, chip_undervoltage_code, "1", "UV_THRESH of the BQ79616")                                                            \
    S(i64, capacity_uc, "uC", "of a block")                                                                                    \
    A(i32, voltage_max_uv, LIMITS, "uV", "block voltage, upper limits")                                                         \
    A(i32, voltage_min_uv, LIMITS, "uV", "block voltage, lower limits")                                                         \
    S(i32, reading_error_uv, "uV", "largest specified error of a block voltage")                                               \
    S(i32, thermistor_error_cdegc, "0.01 K", "the same of a temperature")                                                       \
    S(i32, pressure_error_kpa, "kPa", "the same of a stack pressure")                                                           \
    S(i32, voltage_deep_uv, "uV", "block voltage below which only a workshop may clear")                                       \
    A(i32, charge_max_cdegc, LIMITS, "0.01 degC", "temperature while charging, upper limits")                                   \
    A(i32, charge_min_cdegc, LIMITS, "0.01 degC", "temperature while charging, lower limits")                                   \
    A(i32, discharge_max_cdegc, LIMITS, "0.01 degC", "temperature while discharging or at rest, upper limits")                  \
    A(i32, discharge_min_cdegc, LIMITS, "0.01 degC", "temperature while discharging, lower limits")                             \
    A(i32, charge_ma, LIMITS, "mA", "charge current")                                                                           \
    A(i32, discharge_ma, LIMITS, "mA", "discharge current")                                                                     \
    S(i32, rest_ma, "mA", "current that counts as none, sensor errors included")                                               \
    S(i32, current_range_ma, "mA", "end of the sensor's range; a reading there is beyond any limit")                           \
    A(i32, pressure_min_kpa, LIMITS, "kPa", "stack pressure, lower limits; all 0: none")                                        \
    A(i32, pressure_max_kpa, LIMITS, "kPa", "stack pressure, upper limits; all 0: none")                                        \
    A(i32, insulation_ohm_per_v, LIMITS, "ohm/V", "insulation; operate unused")                                                 \
    S(f32, path_ohm, "ohm", "contactors and cables between the blocks and what they feed")                                      \
    S(i32, break_current_ma, "mA", "the contactors can open; above it they wait for the fuse")                                 \
    S(u32, fuse_wait_ms, "ms", "wait for the fuse at most")                                                                    \
    S(u32, feedback_ms, "ms", "a contactor's feedback follows its coil within")                                                \
    S(u32, precharge_min_ms, "ms", "a link that is full sooner was not empty or is not there")                                 \
    S(u32, precharge_max_ms, "ms", "precharge takes at most")                                                                  \
    S(i32, precharge_tolerance_mv, "mV", "link below pack voltage when main plus may close")                                   \
    S(i32, precharge_done_ma, "mA", "current when main plus may close")                                                        \
    S(i32, precharge_abort_ma, "mA", "current during precharge that means a short behind the contactors")                      \
    S(u32, heater_is_fitted, "bool", "a heater in the coolant loop")                                                           \
    S(i32, heat_below_cdegc, "0.01 degC", "coldest thermistor below which the heater works")                                   \
    S(i32, cool_above_cdegc, "0.01 degC", "hottest thermistor above which the pump works")                                     \
    S(i32, balance_start_uv, "uV", "a block this far above the lowest is bled")                                                \
    S(i32, balance_stop_uv, "uV", "until it is this close")                                                                    \
    S(i32, balance_min_uv, "uV", "no block below this voltage is bled")                                                        \
    S(u32, balance_strategy, "1", "0 by voltage at rest, 1 by estimated charge")                                               \
    S(f32, balance_start_frac, "1", "by charge: a block this far above the lowest is bled")                                    \
    S(f32, balance_stop_frac, "1", "by charge: until it is this close")                                                        \
    S(i32, balance_max_cdegc, "0.01 degC", "no block of a module hotter than this is bled")                                    \
    S(f32, bleed_ohm, "ohm", "balancing resistance of a channel")                                                              \
    A(f32, plating_a, EST_TEMPERATURE_STEPS + 1, "A", "critical charge current of the pack over temperature")                  \
    A(f32, stripping_a, EST_TEMPERATURE_STEPS + 1, "A", "critical discharge current of the pack over temperature")             \
    A(f32, leak_spread_a, EST_TEMPERATURE_STEPS + 1, "A", "by which self-discharge of healthy blocks may differ")               \
    A(f32, critical_factor, EST_PRESSURE_STEPS + 1, "1", "multiplier of both over pressure, 0 to est.pressure_max_kpa")        \
    S(i32, ramp_ma_per_s, "mA/s", "how fast an advertised limit may rise")                                                     \
    S(u32, sleep_after_ms, "ms", "parked and asked for nothing for so long: sleep; 0: never")                                  \
    S(u32, wake_period_ms, "ms", "between two looks of a sleeping pack")                                                       \
    S(u32, supply_awake_ma, "mA", "what control unit and sensors take from the 12 V supply")                                   \
    S(u32, supply_asleep_ua, "uA", "the same asleep")                                                                          \
    S(u32, supply_budget_mah, "mAh", "a parked pack may take from the 12 V supply; beyond it looks once a day")                 \
    A(u8, request_key, REQUEST_KEY_BYTES, "1", "AES-128 key of VcuAuthority; the shipped one says in its bytes that it is for tests")  \
    S(u32, line_delay_ms, "ms", "what turnaround and the way through the rig may add to an answer's time on the line")     \
    S(u32, frozen_scans, "1", "scans with one code after which a channel is taken as frozen; 0: noise is too small to tell")     \
    S(u32, frozen_frames, "1", "frames of a chip with one content after which it is taken as frozen; 0: too small to tell")       \
    S(u32, current_moves, "bool", "the current sensor's noise moves its value")                                                   \
    S(u32, pressure_moves, "bool", "a pressure sensor's noise moves its value")                                                   \
    S(i32, current_offset_ma, "mA", "mean current with contactors open beyond which the sensor's offset is wrong")               \
    S(u32, link_weld_ms, "ms", "after the coils went off, the link has fallen by more than link_weld_mv")                         \
    S(i32, link_weld_mv, "mV", "link as near to the pack voltage as this is held up by it")                                       \
    S(f32, precharge_ohm, "ohm", "precharge resistor")                                                                            \
    S(f32, precharge_energy_j, "J", "it survives so much at once")                                                                \
    S(u32, heater_feedback_is_fitted, "bool", "current in the heater's supply is sensed")                                         \
    S(u32, flow_switch_is_fitted, "bool", "coolant flow is sensed")                                                               \
    S(u32, gas_detector_is_fitted, "bool", "gas and aerosol")                                                                     \
    S(u32, h2s_detector_is_fitted, "bool", "hydrogen sulphide")                                                                   \
    A(u32, chip_identity, BMS_MODULES_MAX, "1", "die identities of the chips from the bottom up; all 0: not compared")

FIELD_STRUCT(bms_settings_t, BMS_CONFIG_FIELDS);

typedef struct {
    bms_settings_t set;
    est_params_t est;
    obs_params_t obs;
    uint32_t crc32; /* of everything before it */
    uint32_t reserved;
} bms_config_t;

/* Why ecu_init refused. */
enum {
    BMS_REFUSED_NONE = 0,
    BMS_REFUSED_MISSING = 1,   /* no configuration, or of another size */
    BMS_REFUSED_MAGIC = 2,     /* not a configuration, or of another version */
    BMS_REFUSED_CRC = 3,       /* damaged */
    BMS_REFUSED_TOPOLOGY = 4,  /* a pack this build cannot hold */
    BMS_REFUSED_LIMITS = 5,    /* limits out of order */
    BMS_REFUSED_ESTIMATOR = 6, /* a table holds what is not a number, or an OCV that falls */
    BMS_REFUSED_CHEMISTRY = 7, /* limits beyond what a cell of this OCV can bear, or than any can */
    BMS_REFUSED_SENSORS = 8,   /* a limit that its sensor cannot show */
    BMS_REFUSED_CHIPS = 9,     /* a threshold the monitor chips do not have, or that comes before the firmware's own */
    BMS_REFUSED_CONTACTORS = 10, /* times and currents of contactors and precharge contradict each other */
    BMS_REFUSED_REACTION = 11  /* a diagnosis that cannot meet its budget: see bms reaction-times */
};

#endif
