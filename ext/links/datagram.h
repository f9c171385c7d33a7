/* The datagrams of cannelloni, version 2: several CAN frames with Linux' identifier flags in one UDP datagram.
 *
 * version 02 · operation 00 (data) · sequence · count, big-endian 16 bit · frames: identifier with flags, big-endian 32 bit ·
 * length (bit 7: CAN FD, then a byte of flags follows) · data, none if remote. Source: mguentner/cannelloni, README and source.
 */
#ifndef BMS_LINKS_DATAGRAM_H
#define BMS_LINKS_DATAGRAM_H

#include "links/link.h"

#define DATAGRAM_HEAD 5u
#define DATAGRAM_MAX 1472u /* an Ethernet frame less the heads of IP and UDP */
#define DATAGRAM_FRAME_MAX 70u
#define DATAGRAM_FRAMES_MAX 293u /* as many as empty frames of five bytes fit in */

typedef enum { DATAGRAM_FINE, DATAGRAM_OTHER, DATAGRAM_LENGTH, DATAGRAM_ID } datagram_result_t;

/* Frames of a datagram into out (DATAGRAM_FRAMES_MAX of them fit); those before a fault are kept. */
datagram_result_t datagram_read(const uint8_t *bytes, uint32_t length, link_frame_t *out, uint32_t *count, uint8_t *sequence);

/* One frame, at most DATAGRAM_FRAME_MAX bytes; returns how many. */
uint32_t datagram_write_frame(const link_frame_t *f, uint8_t *bytes);
void datagram_write_head(uint8_t *bytes, uint8_t sequence, uint32_t count);

#endif
