/* The oracle: looks at the truth after every millisecond and says which rule was broken. It only reads.
 *
 * Texts, sources and limits of the rules are in src/bms/invariants.py, which fills the limits in by name from pack, cell and the
 * table of diagnoses. What the BMS says is taken from the frames it sends, never from its memory. A rule with a budget fires when its
 * condition held for longer without a break; each such stretch counts once. While the bit of a rule is set in `masked`, what it finds
 * is not counted, the time is. `widen` is added to the bound of a rule (its unit: that of the bound).
 */
#ifndef BMS_INVARIANTS_H
#define BMS_INVARIANTS_H

#include "field.h"
#include "loop/loop.h"

#define WATCH_SENSORS_MAX 192
#define WATCH_STATES 32
#define WATCH_PAGES 2 /* of BmsDiagnosis */

#define WATCH_RULES(X)                                                                                                           \
    X(S1) X(S2) X(S3) X(S4) X(S5) X(S6) X(S7) X(S8) X(S9) X(S10) X(S13) X(S14) X(S15) X(S16) X(S17) X(S18) X(L2) X(L4) \
    X(L5) X(E1) X(E2) X(E3) X(E5) X(E6) X(E7) X(C2) X(C4) X(X1)

#define WATCH_RULE_ENUM(id) RULE_##id,
enum { WATCH_RULES(WATCH_RULE_ENUM) RULES };

/* Stretches of time that are counted: one for each condition with a budget. */
enum {
    HELD_OVERVOLTAGE, HELD_UNDERVOLTAGE, HELD_HOT, HELD_HOT_CHARGE, HELD_COLD_CHARGE, HELD_DISCHARGE, HELD_CHARGE, HELD_COMPARATOR,
    HELD_PRESSURE_LOW, HELD_PRESSURE_HIGH, HELD_BREAK, HELD_NO_ALERT, HELD_SENSOR_PATH, HELD_SENSOR_LIMIT, HELD_SILENT_PATH,
    HELD_SILENT_LIMIT, HELD_FROZEN_PATH, HELD_BLANK_PATH, HELD_BLANK_LIMIT, HELD_INSULATION, HELD_LIMIT_TRIPPED, HELD_LIMIT_STATE,
    HELD_LIMIT_CHARGE, HELD_LIMIT_DISCHARGE, HELD_WELD_PLUS, HELD_WELD_MINUS, HELD_WELD_PRECHARGE, HELD_WELD_FLAG, HELD_BLEED_LOW,
    HELD_BLEED_HOT, HELD_BLEED_BLIND, HELD_ASSERTED, HELD_MUTE, HELD_PRECHARGE, HELD_PRECHARGE_CONTACT, HELD_SOC, HELD_COIL_OPEN, HELD_COIL_NORMAL,
    HELD_CRASH, HELD_INTERLOCK, HELD_UNASKED, HELD_CALLED, HELD_UNTOLD, HELD_BLEED_WARM, HELD_BLEED_UNFELT, HELD_BLEED_LOWEST, HELD_TOLD_VOLTAGE, HELD_TOLD_PLACE,
    HELD_TOLD_HEAT, HELD_TOLD_PRESSURE, HELD_TOLD_CURRENT, HELD_TOLD_PACK, HELD_FORBIDDEN, HELD_FORBIDDEN_CLOSE, HELD_LOWERED, HELD_COUNT
};

#define WATCH_FIELDS(S, A)                                                                                                       \
    /* limits, filled in before the run */                                                                                        \
    S(u32, sensors, "1", "cells that carry a thermistor")                                                                         \
    A(u32, sensor_cell, WATCH_SENSORS_MAX, "1", "index of each such cell")                                                        \
    S(f64, voltage_max_v, "V", "trip limit, error of the reading added")                                                          \
    S(f64, voltage_min_v, "V", "trip limit, error of the reading taken off")                                                      \
    S(f64, voltage_calm_max_v, "V", "warn limit")                                                                                 \
    S(f64, voltage_calm_min_v, "V", "warn limit")                                                                                 \
    S(f64, voltage_bleed_v, "V", "operate limit, error taken off: no block below it is bled")                                     \
    S(f64, hot_degc, "degC", "trip limit of discharge, error added")                                                              \
    S(f64, hot_charge_degc, "degC", "trip limit of charge, error added")                                                          \
    S(f64, cold_charge_degc, "degC", "trip limit of charge, error taken off")                                                     \
    S(f64, temperature_error_k, "K", "largest error of a thermistor")                                                             \
    A(f64, charge_max_degc, 3, "degC", "operate, warn, trip")                                                                     \
    A(f64, charge_min_degc, 3, "degC", "operate, warn, trip")                                                                     \
    A(f64, discharge_max_degc, 3, "degC", "operate, warn, trip")                                                                  \
    A(f64, discharge_min_degc, 3, "degC", "operate, warn, trip")                                                                  \
    S(f64, discharge_a, "A", "trip limit, error added")                                                                           \
    S(f64, charge_a, "A", "trip limit, error added")                                                                              \
    S(f64, discharge_calm_a, "A", "warn limit")                                                                                   \
    S(f64, charge_calm_a, "A", "warn limit")                                                                                      \
    S(f64, range_a, "A", "end of the current sensor's range")                                                                     \
    S(f64, comparator_a, "A", "hardware comparator")                                                                              \
    S(f64, break_a, "A", "contactors can break, error added")                                                                     \
    S(f64, ignored_a, "A", "charge current beyond the advertised limit that is not acted on")                                     \
    S(f64, discharge_static_a, "A", "operate limit of the pack")                                                                  \
    S(f64, charge_static_a, "A", "operate limit of the pack")                                                                     \
    S(f64, ramp_a_per_s, "A/s", "how fast an advertised limit may rise")                                                          \
    S(f64, charge_voltage_v, "V", "operate limit of the pack")                                                                    \
    S(u32, pressure_is_fitted, "bool", "stack pressure is a protected quantity")                                                  \
    A(f64, pressure_min_kpa, 3, "kPa", "operate, warn, trip")                                                                     \
    A(f64, pressure_max_kpa, 3, "kPa", "operate, warn, trip")                                                                     \
    S(f64, pressure_error_kpa, "kPa", "largest error of a pressure sensor")                                                       \
    S(f64, precharge_v, "V", "link below or above the pack when a main contactor may close, error added")                         \
    S(u32, readings_move, "bool", "equal readings again and again mean a frozen chip")                                            \
    S(u32, travel_ms, "ms", "contactor opens, and the control period in which it is told")                                        \
    S(u32, fuse_ms, "ms", "wait for the fuse at most")                                                                            \
    S(u32, interlock_ms, "ms", "deadline of interlock_open: shorter is chatter")                                                  \
    S(u32, overvoltage_ms, "ms", "deadline of cell_overvoltage")                                                                  \
    S(u32, undervoltage_ms, "ms", "deadline of cell_undervoltage")                                                                \
    S(u32, hot_ms, "ms", "deadline of temperature_high_discharge")                                                                \
    S(u32, hot_charge_ms, "ms", "deadline of temperature_high_charge")                                                            \
    S(u32, cold_charge_ms, "ms", "deadline of temperature_low_charge, then of charge_limit_ignored")                              \
    S(u32, current_ms, "ms", "deadline of current_discharge_high and current_charge_high")                                        \
    S(u32, comparator_ms, "ms", "deadline of current_comparator")                                                                 \
    S(u32, pressure_ms, "ms", "deadline of pressure_low and pressure_high")                                                       \
    S(u32, sensor_ms, "ms", "deadline of current_unknown")                                                                        \
    S(u32, silent_ms, "ms", "deadline of afe_link")                                                                               \
    S(u32, frozen_ms, "ms", "deadline of afe_frozen")                                                                             \
    S(u32, blank_ms, "ms", "deadline of cell_voltage_unknown")                                                                    \
    S(u32, insulation_ms, "ms", "deadline of insulation_unknown")                                                                 \
    S(u32, weld_ms, "ms", "deadline of the contactor diagnoses, and travel")                                                      \
    S(u32, precharge_ms, "ms", "deadline of precharge_timeout, and the travel of three contactors")                               \
    S(f64, voltage_error_v, "V", "largest error of a block voltage")                                                            \
    S(f64, current_error_a, "A", "largest error of a current, beside its gain")                                                 \
    S(f64, current_gain_frac, "1", "largest error of its gain")                                                                 \
    S(u32, bleeds_by_charge, "bool", "balancing goes by what is estimated, not by voltages")                                    \
    S(f64, bleed_max_degc, "degC", "no module above it is bled")                                                                \
    S(u32, crash_ms, "ms", "deadline of crash")                                                                                 \
    S(u32, unasked_ms, "ms", "deadline of vcu_timeout, and opening in order")                                                   \
    A(u32, next_states, WATCH_STATES, "bits", "states that may follow each state")                                                \
    S(u32, closed_states, "bits", "states in which the pack may be connected")                                                    \
    S(u32, close_states, "bits", "states in which a coil may be switched on")                                                     \
    S(u32, open_states, "bits", "states in which no coil is on")                                                                \
    S(u32, told_states, "bits", "states in which what is told is of now")                                                       \
    S(u32, test_states, "bits", "states in which one coil alone may be tried")                                                    \
    A(u64, forbids, WATCH_PAGES, "bits", "diagnoses that forbid to charge and to discharge, by page of BmsDiagnosis")             \
    A(u64, forbids_charge, WATCH_PAGES, "bits", "diagnoses that forbid to charge")                                                \
    A(u64, lowers, WATCH_PAGES, "bits", "diagnoses that lower both limits")                                                       \
    /* what the campaign tells while it runs */                                                                                   \
    S(u32, masked, "bits", "rules that are masked now")                                                                           \
    S(u32, recovering, "bits", "of them those masked only by faults that are over")                                               \
    A(f64, widen, RULES, "-", "added to the bound of each rule")                                                                  \
    S(u32, faults_active, "1", "faults that act now, and a load that ignores limits counts as one")                               \
    /* what was found */                                                                                                          \
    A(u32, count, RULES, "1", "stretches in which the rule was broken")                                                           \
    A(u64, first_us, RULES, "us", "simulated time of the first")                                                                  \
    A(f64, value, RULES, "-", "what was seen then")                                                                               \
    A(i32, place, RULES, "1", "where: cell, module, state ...; -1 none")                                                          \
    A(u64, masked_ms, RULES, "ms", "time masked while a fault acted")                                                             \
    A(u64, recovering_ms, RULES, "ms", "time masked afterwards: what was misled is not judged yet")                                                                                 \
    S(u64, fault_ms, "ms", "time with a fault")                                                                                   \
    S(u64, checked_ms, "ms", "time looked at")                                                                                    \
    S(u64, soc_checked, "1", "reports of SoC looked at")                                                                          \
    S(u64, soc_inside, "1", "of them with the truth in the interval")                                                             \
    A(u64, state_ms, WATCH_STATES, "ms", "time in each state, as reported")                                                       \
    /* what is remembered */                                                                                                      \
    A(u32, held_ms, HELD_COUNT, "ms", "since when each condition holds")                                                          \
    S(u32, state, "1", "last reported; 255 none since the start")                                                                 \
    S(u32, state_fresh, "1", "1 once reported since the last reset")                                                              \
    S(u32, state_age_ms, "ms", "since it was reported")                                                                           \
    S(u32, trip_flags, "bits", "groups that tripped, as last reported")                                                           \
    S(u32, trip_told_ms, "ms", "since a trip was reported first")                                                                 \
    S(u32, tripped, "1", "1: a trip that was not cleared on request yet; 2: reported long enough to be remembered over a reset")  \
    S(u32, clear_seen, "1", "the operator asked to clear since")                                                                  \
    S(u32, standby_seen, "1", "the operator asked for standby since")                                                             \
    S(u32, asked_age_ms, "ms", "since the vehicle asked to close")                                                                \
    S(u32, pins, "bits", "coils commanded in the millisecond before")                                                             \
    S(u32, closed, "bits", "contacts in the millisecond before")                                                                  \
    S(u32, touched, "bits", "contacts that touched since their coil went on")                                                     \
    S(f64, gap_v, "V", "pack less link voltage in the millisecond before")                                                        \
    S(u64, resets, "1", "as last seen")                                                                                           \
    S(u32, reset_age_ms, "ms", "since the last reset")                                                                            \
    S(u32, unlocked_ms, "ms", "the interlock has been open for")                                                                  \
    S(u32, sensor_age_ms, "ms", "since a valid current reached the ECU")                                                          \
    S(u32, shown_age_ms, "ms", "since it, or that it is beyond the range, reached the ECU")                                       \
    A(u64, told_active, WATCH_PAGES, "bits", "diagnoses that are told to be active")                                             \
    A(u32, active_age_ms, WATCH_PAGES, "ms", "since that was told")                                                               \
    S(u32, forbidden_ms, "ms", "a diagnosis that forbids everything has been told for")                                           \
    S(u32, forbidden_charge_ms, "ms", "or one that forbids to charge")                                                            \
    S(u32, lowered_ms, "ms", "or one that lowers the limits")                                                                     \
    S(u32, forbidden_close, "bool", "a coil went on meanwhile, and is still on")                                                  \
    S(u32, stranger, "1", "1 while who asks has no key")                                                                          \
    S(u32, has_key, "1", "1 once a tester with the key was there")                                                              \
    S(u32, insulation_age_ms, "ms", "since a frame of the insulation monitor reached the ECU that runs now")                            \
    S(f64, charge_limit_a, "A", "as last reported")                                                                               \
    S(f64, discharge_limit_a, "A", "as last reported")                                                                            \
    S(u32, limit_age_ms, "ms", "since then")                                                                                      \
    S(u32, limit_seen, "1", "1 once reported since the last reset")                                                               \
    S(u32, calm_ms, "ms", "since everything is as it should be")                                                                  \
    S(u32, calm_now, "1", "as found in the last tick")                                                                            \
    S(u32, beyond, "bits", "quantities beyond their trip limits now: voltage, temperature, current, pressure")                    \
    A(u32, beyond_ms, 4, "ms", "since when, each")                                                                                \
    S(u32, apart_ms, "ms", "link and pack have been further apart than precharge may leave them")                                 \
    S(u32, joined_ms, "ms", "a contact of the path has been closed without its coil")                                             \
    S(f64, coldest_degc, "degC", "of the cells with thermistors")                                                                 \
    S(f64, hottest_degc, "degC", "of the cells with thermistors")                                                                 \
    S(f64, lowest_kpa, "kPa", "stack pressure")                                                                                   \
    S(f64, highest_kpa, "kPa", "stack pressure")                                                                                  \
    S(f64, soc_frac, "1", "as last reported; below 0 none")                                                                       \
    S(f64, soc_width_frac, "1", "width of its interval")                                                                          \
    S(u32, breaks, "1", "openings beyond rating, as last seen")                                                                   \
    S(u32, beyond_break_ms, "ms", "current has been beyond what contactors break")                                                \
    S(u32, comparator_high_ms, "ms", "current has been beyond the comparator's threshold")                                        \
    S(u32, bleed_age_ms, "ms", "since something was bled: it pauses for measuring")                                             \
    S(u32, warm_age_ms, "ms", "since a module too warm for it was bled")                                                        \
    S(u32, unfelt_age_ms, "ms", "since a module with a thermistor that tells nothing was bled")                                \
    S(u32, lowest_age_ms, "ms", "since the lowest block was bled")                                                              \
    S(u32, lowest_ms, "ms", "for which one block has been the lowest")                                                          \
    S(i32, lowest_at, "1", "which; -1 none")                                                                                    \
    S(u32, wish_age_ms, "ms", "since a valid request to close reached the ECU")                                                 \
    S(u32, heard_age_ms, "ms", "since any valid request did")                                                                   \
    S(u32, request_counter, "1", "of the last valid request")                                                                   \
    S(u32, told_age_ms, "ms", "since the last reset or sleep")                                                                  \
    S(u32, told_seen, "bits", "what was told since: voltages, temperatures, pressures, pack")                                   \
    S(f64, lowest_v, "V", "of the blocks")                                                                                      \
    S(f64, highest_v, "V", "of the blocks")                                                                                     \
    A(f64, span_low, 6, "A or V", "least current, lowest and highest block in this half second, and in the one before")         \
    A(f64, span_high, 6, "A or V", "most")                                                                                      \
    S(f64, told_min_v, "V", "as last told; not a number: unknown")                                                              \
    S(f64, told_max_v, "V", "as last told")                                                                                     \
    S(u32, told_min_at, "1", "block")                                                                                           \
    S(u32, told_max_at, "1", "block")                                                                                           \
    S(f64, told_min_degc, "degC", "as last told")                                                                               \
    S(f64, told_max_degc, "degC", "as last told")                                                                               \
    S(f64, told_min_kpa, "kPa", "as last told")                                                                                 \
    S(f64, told_max_kpa, "kPa", "as last told")                                                                                 \
    S(f64, told_pack_v, "V", "as last told")                                                                                    \
    S(f64, told_a, "A", "as last told")

FIELD_STRUCT(watch_rules_t, WATCH_FIELDS);
extern const field_t watch_rules_fields[];
extern const size_t watch_rules_field_count;
extern const char *const watch_rule_names[];

void watch_rules_init(watch_rules_t *s);
/* A loop_watch_t. */
void watch_rules_step(void *state, const world_t *w);

#endif
