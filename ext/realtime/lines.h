/* Real input and output lines: Linux GPIO, or a file that stands for them where there is no such hardware (one character a line,
 * '0' or '1', and nothing else behind it).
 *
 * A thread of its own looks every millisecond, so that it can switch off what a runner that hangs has left on. Output lines are
 * not even requested before the gate was armed for the first time; from then on they are driven, off unless armed. */
#ifndef BMS_LINES_H
#define BMS_LINES_H

#include "realtime/gate.h"
#include "realtime/runner.h"

#define LINES_MAX 16u

enum { LINES_NONE = 0, LINES_GPIO = 1, LINES_FILE = 2 };

#define LINES_FIELDS(S, A)                                                                                                       \
    S(u32, kind, "enum", "0 none, 1 GPIO chip, 2 a file in its place")                                                            \
    S(i32, fd, "1", "descriptor of chip or file")                                                                                 \
    S(i32, in_fd, "1", "descriptor of the input lines")                                                                           \
    S(i32, out_fd, "1", "descriptor of the output lines; -1 until first armed")                                                  \
    S(u32, in_count, "1", "input lines")                                                                                          \
    S(u32, out_count, "1", "output lines")                                                                                        \
    A(u32, in_offset, LINES_MAX, "1", "line of each input")                                                                       \
    A(u32, out_offset, LINES_MAX, "1", "line of each output")                                                                     \
    A(u8, in_bit, LINES_MAX, "1", "pin of each input line")                                                                       \
    A(u8, out_bit, LINES_MAX, "1", "pin of each output line")                                                                     \
    S(u32, in_inverted, "bits", "input lines that are low when the pin is 1")                                                     \
    S(u32, out_inverted, "bits", "output lines that are low when the pin is 1")                                                   \
    S(u32, safe_in, "bits", "levels of the input pins while they cannot be read")                                                 \
    S(u64, arm_us, "us", "SHARED: arm for so long, plus 1; 0 no request")                                                         \
    S(u64, errors, "1", "reads and writes that failed")

FIELD_STRUCT(lines_fields_t, LINES_FIELDS);
extern const field_t lines_fields[];
extern const size_t lines_field_count;

typedef struct {
    lines_fields_t fields;
    gate_t gate;
} lines_t;

/* 0, or the negated errno: inputs are requested. */
int lines_open(lines_t *l);
/* One look at everything; lines_run calls it. */
void lines_step(lines_t *l, runner_t *r, uint64_t now_us);
/* Until the runner is told to stop; leaves every output off and releases it. */
void lines_run(lines_t *l, runner_t *r, uint32_t priority);

#endif
