/* One list per struct is both its declaration and its description.
 *
 * A struct that Python, the recorder and the fault operations must reach is written once, as an X macro
 *     #define THING(S, A)  S(f64, time_s, "s", "simulated time")  A(f64, soc_frac, CELLS, "1", "state of charge of each cell")
 * S is a scalar, A an array. FIELD_STRUCT(thing_t, THING) declares the struct; FIELD_TABLE(thing_fields, thing_t, THING)
 * makes the table of names, units, places and types that lets everybody else find a value by its name. So there is no second
 * list of fields anywhere, and a field cannot exist without a unit and a sentence that says what it is.
 */
#ifndef BMS_FIELD_H
#define BMS_FIELD_H

#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int16_t i16;
typedef int32_t i32;
typedef int64_t i64;
typedef float f32;
typedef double f64;

enum { FIELD_u8, FIELD_u16, FIELD_u32, FIELD_u64, FIELD_i16, FIELD_i32, FIELD_i64, FIELD_f32, FIELD_f64 };

typedef struct {
    const char *name, *unit, *text;
    uint32_t offset; /* bytes from the start of the struct */
    uint32_t count;  /* 1 for a scalar */
    uint32_t type;   /* FIELD_u8 ... FIELD_f64 */
} field_t;

#define FIELD_DECLARE_S(type, name, unit, text) type name;
#define FIELD_DECLARE_A(type, name, count, unit, text) type name[count];
#define FIELD_STRUCT(owner, LIST) typedef struct { LIST(FIELD_DECLARE_S, FIELD_DECLARE_A) } owner

/* FIELD_OWNER is defined by the file that instantiates the table, just before FIELD_TABLE. */
#define FIELD_DESCRIBE_S(type, name, unit, text) {#name, unit, text, (uint32_t)offsetof(FIELD_OWNER, name), 1u, FIELD_##type},
#define FIELD_DESCRIBE_A(type, name, count, unit, text) \
    {#name, unit, text, (uint32_t)offsetof(FIELD_OWNER, name), (uint32_t)(count), FIELD_##type},
#define FIELD_TABLE(table, LIST) const field_t table[] = {LIST(FIELD_DESCRIBE_S, FIELD_DESCRIBE_A)}
#define FIELD_COUNT(table) (sizeof(table) / sizeof((table)[0]))

#endif
