/* Lawicel's ASCII for CAN ("SLCAN"), as bytes and frames only: no descriptor, no clock, no state.
 *
 * A message is a line that ends in CR; BEL alone is a refusal. Frames: t T (data), r R (remote), d D (CAN FD), b B (CAN FD with
 * the faster data phase); lower case has an identifier of three hex digits, upper case of eight; then one digit of length code,
 * the data, and perhaps four digits of a time stamp in milliseconds, which wraps at 60 s. Digits of either case are read;
 * capitals are written. After a remote frame can-utils' slcanpty writes data that do not exist; as many digits as its length asks for
 * are passed over there (of length 2 they could also be a time, which is then not believed). Sources: Lawicel CAN232 manual v3; the CAN FD letters as the CANable 2 firmware has them.
 */
#ifndef BMS_LINKS_SLCAN_H
#define BMS_LINKS_SLCAN_H

#include "links/link.h"

#define SLCAN_CR 0x0Du
#define SLCAN_BEL 0x07u
#define SLCAN_LINE_MAX 144u   /* B, 8 digits, length, 128 digits, 4 digits, CR: 143 */
#define SLCAN_STAMP_WRAP 60000u
#define SLCAN_NO_STAMP 0xFFFFu

typedef enum {
    SLCAN_FRAME,
    SLCAN_OTHER,   /* not the letter of a frame */
    SLCAN_DIGIT,   /* no hex digit where one must be */
    SLCAN_LENGTH,  /* more or fewer characters than the length code says, or no such length */
    SLCAN_ID       /* identifier out of range */
} slcan_result_t;

/* One line without its CR. The frame's time and bus are left as they are. */
slcan_result_t slcan_read(const uint8_t *line, uint32_t length, link_frame_t *f, uint16_t *stamp_ms);

/* The line with its CR, at most SLCAN_LINE_MAX bytes; 0 if there is none for such a frame. SLCAN_NO_STAMP: without a time. */
uint32_t slcan_write(const link_frame_t *f, uint16_t stamp_ms, uint8_t *line);

/* `digits` hex digits as a number; false if one is none. */
bool slcan_number(const uint8_t *text, uint32_t digits, uint32_t *value);

int slcan_speed_code(uint32_t bitrate);         /* the n of Sn, or -1 */
int slcan_data_speed_code(uint32_t bitrate);    /* the n of Yn, or -1 */
uint32_t slcan_speed(uint32_t code);            /* bit/s of Sn, or 0 */

#endif
