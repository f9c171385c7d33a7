/* Authority to close: who asks must know the pack's key, and must ask now.
 *
 * VcuRequest (end-to-end protected) says what the vehicle wants; anybody on the bus can send it. Going to standby needs nothing else, so
 * opening always works. Whatever lets energy flow (closing, going from drive to charge, clearing latched diagnoses) also needs
 * VcuAuthority with the same wish, not older than REQUEST_AUTHORITY_MS.
 *
 * Mac: first five bytes of AES-CMAC under the key of the configuration over 'A', identifier, challenge, wish and count. Fresh is what
 * carries the challenge of now and a count above the last one accepted under it. The challenge is told in BmsAuthority, so that either
 * side may start anew at any time; it is itself a CMAC, over the chance given at boot, a number of the boot kept in memory and the number
 * of challenges since: as long as one of the first two is good no challenge ever comes back, and without the key none can be foretold.
 * So a frame recorded before a reset, before a use, or more than a minute ago is worth nothing.
 *
 * Guessing and wearing out: three frames with a wrong Mac, or four wishes to close, within ten seconds lock closing and clearing out for
 * ten. At three guesses in ten seconds five bytes last for 58 000 years. */
#ifndef BMS_REQUEST_H
#define BMS_REQUEST_H

#include <stdint.h>

#define REQUEST_KEY_BYTES 16u
#define REQUEST_CHALLENGE_BYTES 5u
#define REQUEST_MAC_BYTES 5u
#define REQUEST_AUTHORITY_MS 350u  /* three frames may be lost */
#define REQUEST_LOCK_MS 10000u     /* CON-12 */
#define REQUEST_RENEW_MS 60000u
#define REQUEST_WRONG_MAX 3u
#define REQUEST_WISHES_MAX 4u

enum { REQUEST_STANDBY = 0, REQUEST_DRIVE = 1, REQUEST_CHARGE = 2 };

/* What forbids the next step towards closed contactors; numbers as in BmsAuthority.Refusal. */
enum {
    REFUSAL_NOTHING, REFUSAL_NOT_AUTHORISED, REFUSAL_LOCKED_OUT, REFUSAL_STARTING, REFUSAL_STANDBY_FIRST, REFUSAL_TOO_SOON,
    REFUSAL_NOT_MEASURED, REFUSAL_INSULATION, REFUSAL_NOT_OPEN, REFUSAL_LINK_VOLTAGE, REFUSAL_DIAGNOSIS, REFUSAL_TRIPPED,
    REFUSAL_WAITS_FOR_CLEAR, REFUSAL_OPENING, REFUSAL_SERVICE, REFUSAL_ASLEEP
};

enum { REQUEST_WAITS, REQUEST_KEEPS, REQUEST_RUNS }; /* for the memory; until the new number of the boot is kept; challenges are given */

typedef struct {
    uint8_t phase, refusal;
    uint8_t challenge[REQUEST_CHALLENGE_BYTES], before[REQUEST_CHALLENGE_BYTES]; /* of now, and the one before it */
    uint8_t known, mode, clear, service; /* the last good authority; known: there was one under this challenge */
    uint8_t wished;           /* an authorised wish to close stood at the last look */
    uint8_t locked;
    uint8_t wrong_count, wish_count; /* within the span that began at wrong_us, wish_us */
    uint8_t entropy[16];
    uint16_t count;           /* of the last good frame */
    uint32_t boots, renewals; /* boots: the kept number */
    uint32_t good, wrong, old, malformed; /* frames; only rise */
    uint32_t locks;           /* lock-outs; only rises */
    uint64_t us;              /* when the last good frame came */
    uint64_t challenge_us, locked_us, wrong_us, wish_us, started_us;
} request_t;

#endif
