/* What can go wrong where the control unit is plugged in: on its serial line, its CAN frames, its pins, its supply and its memory.
 *
 * Everything rests at zero and then costs one comparison a place. Fields may be written at any time and hold from the next
 * seam_look on, which the loop calls before a run and after every change of the table of faults. What is damaged here is damaged on
 * the wire, so the trace, the recorder and the tap carry it as it was.
 *
 * Frames are tampered with in places: a place names a bus and an identifier and what happens to every such frame, on its way from
 * its sender into the sender's queue. SEAM_ kinds 1 to 6 keep or break the end-to-end protection as they say.
 */
#ifndef BMS_SEAM_H
#define BMS_SEAM_H

#include <stdbool.h>

#include "ecu.h"
#include "field.h"

#define SEAM_TAMPERS 16
#define SEAM_HELD 32 /* frames that can be on their way late */
#define SEAM_FRAME 72 /* bytes of an ecu_can_frame_t */
#define SEAM_CUT_ANSWERS 1u
#define SEAM_CUT_COMMANDS 2u

enum {
    SEAM_FLIP = 1,     /* byte ^= value: the check code no longer fits */
    SEAM_FORGE = 2,    /* byte = value under a right check code */
    SEAM_COUNTER = 3,  /* counter stays what it was when this began, right check code; value more each frame */
    SEAM_DATA_ID = 4,  /* check code of another message: of identifier ^ value */
    SEAM_FILL = 5,     /* every payload byte = value, counter and check code right */
    SEAM_REPLAY = 6,   /* the first genuine frame again and again, byte for byte */
    SEAM_DROP = 7,     /* all but each value-th; 0 all */
    SEAM_TWICE = 8,    /* everything comes twice */
    SEAM_LATE = 9,     /* value milliseconds later */
    SEAM_SWAP = 10,    /* every second frame overtakes the one before it */
    SEAM_LENGTH = 11,  /* another length */
    SEAM_KIND = 12,    /* other flags: remote, extended, FD */
    SEAM_SECOND = 13,  /* another node sends the same identifier with other content as well */
    SEAM_OLD = 14,     /* a genuine frame of before is sent by another node, once every value milliseconds */
    SEAM_CLUSTER = 15  /* nothing for value milliseconds, then all that waited */
};

#define SEAM_FIELDS(S, A)                                                                                                        \
    S(u32, is_troubled, "bool", "something below is not zero")                                                                    \
    S(u32, is_tampered, "bool", "some place of frames is in use, or a frame is held")                                             \
    /* pins */                                                                                                                    \
    S(u32, pin_mask, "bits", "input pins that are stuck")                                                                         \
    S(u32, pin_level, "bits", "at which level")                                                                                   \
    S(u32, feedback_echo, "bits", "contactors whose feedback wire touches the coil command: 0 main plus, 1 main minus, 2 precharge") \
    S(u32, coil_cut, "bits", "contactors whose coil wire is broken")                                                              \
    S(u32, coil_forced, "bits", "contactors whose driver is shorted to the supply")                                               \
    /* supply, reset, clock */                                                                                                    \
    S(u32, coil_hold_mv, "mV", "supply below which coils let go; a property of the contactors, not a fault")                      \
    S(u32, brown_out_mv, "mV", "supply below which the control unit is held in reset; a property of it, not a fault")             \
    S(u32, reset_cause, "1", "reset the control unit once with this cause, plus one; clears itself")                              \
    S(u32, hang_ms, "ms", "the control unit stands still, its outputs as they are; counts down; the watchdog runs")               \
    /* serial line of the monitor chips */                                                                                        \
    S(u32, uart_cut, "bits", "1 answers do not arrive, 2 commands do not")                                                        \
    S(u32, uart_insert, "1", "so many bytes appear from nowhere, one before each stretch of answers")                             \
    S(u32, uart_drop_every, "1", "every so many-th answer byte is lost")                                                          \
    S(u32, uart_flip_every, "1", "every so many-th answer byte has a bit flipped")                                                \
    S(u32, uart_framing_every, "1", "every so many-th answer byte is a framing error")                                            \
    S(u32, uart_keep, "1", "of each stretch of answers only so many bytes arrive, then silence; 0 all")                           \
    S(u32, uart_echo, "bool", "the control unit hears what it says")                                                              \
    S(u32, uart_bytes, "1", "answer bytes seen, for the three above")                                                             \
    /* CAN */                                                                                                                     \
    S(u32, rx_room, "1", "frames the receiver's queue holds in a millisecond; 0 as many as there is room for")                    \
    S(u64, frames_missed, "1", "frames lost there")                                                                               \
    A(u8, tamper_kind, SEAM_TAMPERS, "enum", "SEAM_FLIP ...; 0 nothing")                                                          \
    A(u8, tamper_bus, SEAM_TAMPERS, "1", "ECU_BUS_")                                                                              \
    A(u32, tamper_id, SEAM_TAMPERS, "1", "identifier")                                                                            \
    A(u32, tamper_byte, SEAM_TAMPERS, "1", "which byte")                                                                          \
    A(u32, tamper_value, SEAM_TAMPERS, "1", "see the kinds")                                                                      \
    A(u32, tamper_seen, SEAM_TAMPERS, "1", "frames that came by since the place is in use")                                       \
    A(u8, tamper_counter, SEAM_TAMPERS, "1", "counter kept")                                                                      \
    A(u8, tamper_kept, SEAM_TAMPERS * SEAM_FRAME, "1", "frame kept")                                                              \
    A(u64, held_us, SEAM_HELD, "us", "when a held frame goes on; 0 none")                                                         \
    A(u8, held_node, SEAM_HELD, "1", "its node")                                                                                  \
    A(u8, held_frame, SEAM_HELD * SEAM_FRAME, "1", "the frame")                                                                   \
    /* memory */                                                                                                                  \
    S(u32, nvm_mode, "enum", "1 writes do nothing and say nothing, 2 writes fail and say so")                                     \
    S(u32, nvm_torn, "1", "the next write stops after so many bytes, less one, and the supply is gone; clears itself")            \
    S(u32, nvm_page, "1", "writes to this page, less one, do nothing and say nothing")

FIELD_STRUCT(seam_t, SEAM_FIELDS);
extern const field_t seam_fields[];
extern const size_t seam_field_count;

#endif
