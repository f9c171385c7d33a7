/* An IVT-S style shunt sensor on CAN: current, two voltages, temperature, power, charge and energy, with the command set 411/511.
 * Layouts: src/bms/protocols/ivts.py. Results are means over their cycle, as the sensor integrates. Mounted so that discharge
 * reads positive. */
#ifndef BMS_IVT_H
#define BMS_IVT_H

#include "ecu.h"
#include "field.h"

#define IVT_RESULTS 8u

#define IVT_FIELDS(S, A) \
    S(f64, current_offset_a, "A", "error of the current at zero") \
    S(f64, current_gain_frac, "1", "gain error of the current") \
    S(f64, current_noise_a, "A", "sigma of each current result") \
    S(f64, current_range_a, "A", "beyond it the result is clipped and flagged") \
    S(f64, voltage_gain_frac, "1", "gain error of the voltages") \
    S(f64, voltage_noise_v, "V", "sigma of each voltage result") \
    S(f64, voltage_range_v, "V", "beyond it the result is clipped and flagged") \
    S(f64, temperature_degc, "degC", "of the shunt") \
    S(u64, noise_key, "1", "Philox key of all result noise") \
    S(u32, serial, "1", "serial number") \
    S(u32, silent, "enum", "broken: 1 sends nothing, 2 its last frames again and again") \
    S(u32, frozen, "bool", "broken: values stand still, counters go on") \
    S(u32, sign_flip, "bool", "broken: mounted the wrong way round") \
    S(u32, invalid, "bool", "broken: every result carries its error bit") \
    S(u32, link_is_pack, "bool", "broken: the link voltage is taken at the pack's side") \
    S(u32, is_running, "bool", "mode run (command 34)") \
    S(u32, starts_running, "bool", "mode after a restart") \
    S(i32, over_current_positive_a, "A", "limit of the over-current signal, 0 is off") \
    S(i32, over_current_negative_a, "A", "limit of the over-current signal, 0 is off") \
    S(f64, charge_as, "As", "counted charge, positive on discharge") \
    S(f64, energy_ws, "Ws", "counted energy, positive on discharge") \
    S(u64, counted_us, "us", "charge and energy are counted up to here") \
    S(u64, started_us, "us", "cycles count from here") \
    S(u64, sent, "1", "frames sent") \
    A(f64, sum, 3, "A or V", "running sums of current, U1 and U2 since their last result") \
    A(u32, sum_count, 3, "1", "samples in each sum") \
    A(u8, result_mode, IVT_RESULTS, "enum", "0 off, 1 triggered, 2 cyclic") \
    A(u8, result_flags, IVT_RESULTS, "bits", "as configured: bit 7 sign, bit 6 little endian") \
    A(u16, period_ms, IVT_RESULTS, "ms", "cycle of each result") \
    A(u64, due_us, IVT_RESULTS, "us", "next cyclic result; all ones when off") \
    A(u8, counter, IVT_RESULTS, "1", "message counter") \
    A(u8, is_clipped, IVT_RESULTS, "bool", "last result was out of range") \
    A(i32, value, IVT_RESULTS, "raw", "last result") \
    S(u64, next_us, "us", "earliest of due_us")

FIELD_STRUCT(ivt_t, IVT_FIELDS);
extern const field_t ivt_fields[];
extern const size_t ivt_field_count;

/* Parameters are kept; state and result configuration go to what the factory delivers: 521 to 523 each 10 ms, 524 off, 525 to 528
 * each 100 ms, running. */
void ivt_init(ivt_t *s);

/* Call every 1 to 10 ms. Commands in `in` (identifier 411) are answered, due results appended to `out` from *out_count on, at most
 * out_max frames in it altogether; a result that does not fit comes with the next call. */
void ivt_step(ivt_t *s, uint64_t now_us, double current_a, double pack_v, double link_v, const ecu_can_frame_t *in, uint16_t in_count,
              ecu_can_frame_t *out, uint16_t *out_count, uint16_t out_max);

#endif
