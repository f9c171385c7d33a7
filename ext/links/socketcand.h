/* The ASCII protocol of socketcand, as text and frames only. A message is "< word word ... >"; between messages there is nothing.
 *
 *   server to client   hi   ok   echo   frame ID SEC.USEC DATA   rtr ID SEC.USEC LENGTH   error CLASS SEC.USEC   error TEXT
 *   client to server   open BUS   rawmode   bcmmode   echo   send ID LENGTH B B ...   sendrtr ID LENGTH
 *
 * An identifier of eight digits is extended. Data of `frame` are pairs of digits in one word (raw mode) or a byte a word (BCM
 * mode); both are read. With no data the blank before them is written all the same, because python-can needs it. Numbers are
 * hex but for lengths and times. Source: linux-can/socketcand, doc/protocol.md and state_raw.c.
 */
#ifndef BMS_LINKS_SOCKETCAND_H
#define BMS_LINKS_SOCKETCAND_H

#include "links/internal.h"

#define SOCKETCAND_MAX 96u /* bytes of the longest message written */

typedef enum {
    SC_HI, SC_OK, SC_ECHO, SC_OPEN, SC_RAWMODE, SC_BCMMODE, /* without a frame; the name of the bus is left in the text */
    SC_FRAME,   /* frame, rtr, or error with a class: a frame and its time */
    SC_SEND,    /* send or sendrtr */
    SC_ERROR,   /* error with words */
    SC_UNKNOWN, SC_DIGIT, SC_LENGTH, SC_ID /* not understood */
} socketcand_word_t;

/* The text between < and >. argument, argument_length: its second word. */
socketcand_word_t socketcand_read(const uint8_t *text, uint32_t length, link_frame_t *f, uint64_t *stamp_us,
                                  const uint8_t **argument, uint32_t *argument_length);

uint32_t socketcand_write_frame(const link_frame_t *f, uint64_t stamp_us, char *text); /* as a server; 0: cannot be */
uint32_t socketcand_write_send(const link_frame_t *f, char *text);                     /* as a client; 0: cannot be */

/* Calls `handle` with the text of each whole message, until it returns false; what is between messages is counted. */
typedef bool (*socketcand_handler_t)(void *context, const uint8_t *text, uint32_t length);
void socketcand_messages(stream_t *s, link_counters_t *c, socketcand_handler_t handle, void *context);

void socketcand_count_malformed(link_counters_t *c, socketcand_word_t word);

#endif
