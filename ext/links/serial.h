/* Serial ports and pseudo-terminals: any speed, nothing translated, never blocking; the low pulse that wakes a chip.
 *
 * A real port marks what its receiver noticed: with SERIAL_MARKS a BREAK arrives as FF 00 00 and a byte with a framing or parity
 * error as FF 00 XX, and an FF of the data is doubled. serial_unmark turns that back into bytes and marks, whatever the pieces
 * in which they were read. A long low pulse is a BREAK, or a framing error with data 00.
 *
 * A pseudo-terminal has neither errors nor BREAK, but its server sees the speed the client has set. So a client makes a low
 * pulse by sending one 00 at a speed so slow that its nine low bits last as long (this works on real ports too), and the server
 * asks serial_baud when bytes arrive. A client restores its speed some milliseconds later: ask at once.
 */
#ifndef BMS_SERIAL_H
#define BMS_SERIAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SERIAL_MARKS = 1u, SERIAL_LOW_LATENCY = 2u, SERIAL_EXCLUSIVE = 4u };

/* A descriptor, raw 8N1, not blocking; or the negated errno. baud 0 leaves the speed as it is. */
int serial_open(const char *path, uint32_t baud, uint32_t options);

/* The server's side of a new raw pseudo-terminal, not blocking; path receives the client's device. Or the negated errno. */
int serial_pty(char *path, size_t path_size);

/* A symbolic link at `path` to `device`. An older link there is replaced; anything else is left alone: -EEXIST. */
int serial_link(const char *device, const char *path);
/* Removes the link again if it is still ours. */
void serial_unlink(const char *device, const char *path);

/* True while nobody holds the client's side of a pseudo-terminal open (also before the first client). */
bool serial_is_alone(int pty);

void serial_discard(int fd); /* what is not sent yet: or closing a real port may wait for it half a minute */
int serial_set_baud(int fd, uint32_t baud); /* 0 or the negated errno */
uint32_t serial_baud(int fd);               /* on a pseudo-terminal's server: the client's; 0 if unknown */

/* True if a 00 received at this speed is a low pulse and no data, with its length in microseconds. */
bool serial_is_low_pulse(uint32_t baud, uint8_t byte, uint32_t *low_us);

/* Starts a low pulse of about low_us (400 us to 100 ms) and returns at once: 0 or the negated errno. The line is ours again
 * when serial_low_end, called from then on at least a byte's time later, returns 0; 1 means: not yet. */
int serial_low_begin(int fd, uint32_t low_us);
int serial_low_end(int fd, uint32_t baud);

/* What a marked port has noticed, in its place among the bytes. */
enum { SERIAL_BREAK = 0x100u, SERIAL_ERROR = 0x200u }; /* SERIAL_ERROR | byte */

typedef struct {
    uint8_t pending; /* bytes of a mark already seen: 0, 1 (FF), 2 (FF 00) */
} serial_unmark_t;

/* out takes count + 1 items: a byte, SERIAL_BREAK, or SERIAL_ERROR with the byte. Returns how many were written. */
uint32_t serial_unmark(serial_unmark_t *s, const uint8_t *in, uint32_t count, uint16_t *out);

#endif
