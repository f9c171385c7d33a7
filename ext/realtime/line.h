/* The monitor chips' serial line on a descriptor: what a firmware or a stack of chips exchanges in one millisecond, on a
 * pseudo-terminal or a real port.
 *
 * line_out of the control unit's end makes low pulses by one 00 at a slow speed; bytes that follow wait until the line is ours
 * again. line_in of the chips' end sees such a 00 through the speed the client has set, or, on a real port, as a BREAK or framing
 * error, which has no length: then it is taken as a wake pulse while the base chip sleeps, and as a communication clear else. */
#ifndef BMS_LINE_H
#define BMS_LINE_H

#include <stdbool.h>

#include "ecu.h"
#include "field.h"

#define LINE_QUEUE 512u

enum { LINE_ABSENT = 0, LINE_PTY = 1, LINE_PORT = 2 };
enum { LINE_NORMAL = 0, LINE_PULSING = 1 };

#define LINE_FIELDS(S, A)                                                                                                        \
    S(i32, fd, "1", "descriptor; -1 none")                                                                                        \
    S(u32, kind, "enum", "0 absent, 1 pseudo-terminal, 2 real port")                                                              \
    S(u32, baud, "bit/s", "speed of bytes; 0 not yet set")                                                                        \
    S(u32, phase, "enum", "0 bytes flow, 1 a low pulse is being made")                                                            \
    S(u64, until_us, "us", "the pulse is not looked after before")                                                                \
    S(u32, queued, "1", "bytes waiting to be written")                                                                            \
    A(u8, queue, LINE_QUEUE, "1", "these")                                                                                        \
    S(u8, mark_pending, "1", "bytes of an error mark seen so far")                                                                \
    S(u8, is_lost, "bool", "the descriptor failed and is to be replaced")                                                         \
    S(u64, heard_us, "us", "when a byte last came")                                                                               \
    S(u64, bytes_in, "1", "bytes received")                                                                                       \
    S(u64, bytes_out, "1", "bytes written")                                                                                       \
    S(u64, bytes_dropped, "1", "bytes that found no room or no port")                                                            \
    S(u64, pulses, "1", "low pulses made or seen")                                                                                \
    S(u64, errors, "1", "framing errors that were no pulse")                                                                     \
    S(u64, losses, "1", "times the port vanished")

FIELD_STRUCT(line_t, LINE_FIELDS);
extern const field_t line_fields[];
extern const size_t line_field_count;

void line_init(line_t *l);
/* A new descriptor, or -1; the old one is not closed. */
void line_attach(line_t *l, int32_t fd, uint32_t kind);

/* Control unit's end. */
void line_send(line_t *l, uint64_t now_us, const ecu_uart_out_t *out);
uint16_t line_receive(line_t *l, uint64_t now_us, uint8_t bytes[ECU_UART_IN_MAX], uint16_t *errors);

/* Chips' end: what the host sent in this millisecond, and the answer it gets. */
void line_hear(line_t *l, uint64_t now_us, bool base_sleeps, ecu_uart_out_t *host);
void line_answer(line_t *l, const uint8_t *bytes, uint32_t count);

#endif
