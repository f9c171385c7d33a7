/* An insulation monitor on CAN, of the kind Bender makes but with a frame layout of our own: src/bms/protocols/imd.py. */
#ifndef BMS_IMD_H
#define BMS_IMD_H

#include "ecu.h"
#include "field.h"

#define IMD_FIELDS(S, A) /* no arrays */ \
    S(f64, error_frac, "1", "relative error of the resistance") \
    S(u32, period_ms, "ms", "between info frames") \
    S(u32, start_ms, "ms", "from power-on to the first valid value") \
    S(u32, serial, "1", "serial number") \
    S(u32, silent, "bool", "broken: sends nothing") \
    S(u32, frozen, "bool", "broken: the value stands still, the counter goes on") \
    S(u32, self_test_fails, "bool", "broken: the self-test ends badly and no value is valid") \
    S(u64, started_us, "us", "power-on") \
    S(u64, due_us, "us", "next info frame") \
    S(u32, is_started, "bool", "power-on was seen") \
    S(u32, test_is_reported, "bool", "the response frame about the self-test was sent") \
    S(u32, counter, "1", "message counter") \
    S(u32, value_kohm, "kohm", "last value sent")

FIELD_STRUCT(imd_t, IMD_FIELDS);
extern const field_t imd_fields[];
extern const size_t imd_field_count;

/* Parameters are kept; power-on is the first step after this. */
void imd_init(imd_t *m);

/* One millisecond: appends an info frame each period, and one response frame when the self-test ends. */
void imd_step(imd_t *m, uint64_t now_us, double insulation_kohm, double pack_v, ecu_can_frame_t *out, uint16_t *out_count,
              uint16_t out_max);

#endif
