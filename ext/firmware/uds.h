/* Diagnostics over CAN: the services of ISO 14229-1 a workshop needs, one request at a time (docs/diagnostics.md).
 *
 * What changes anything (write, clear, reset, routines) is refused while a contactor is closed or about to close, and answered only
 * when its result is in memory: until then the tester is told to wait (78). */
#ifndef BMS_UDS_H
#define BMS_UDS_H

#include "isotp.h"

#define UDS_P2_MS 50u       /* an answer, or 78, within */
#define UDS_P2_STAR_MS 2000u /* and after each 78 */
#define UDS_S3_MS 5000u     /* silence that ends a session */
#define UDS_GIVE_UP_MS 5000u /* memory that does not take a record */
#define UDS_TRIES 3u
#define UDS_PENALTY_MS 10000u

enum { UDS_DEFAULT_SESSION = 1, UDS_EXTENDED_SESSION = 3 };
enum { UDS_ROUTINE_NEVER, UDS_ROUTINE_RUNS, UDS_ROUTINE_PASSED, UDS_ROUTINE_FAILED };

typedef struct {
    uint8_t session, unlocked, seed_given, tries; /* tries: wrong keys, kept over a reset */
    uint8_t penalty, loaded, waits, told; /* waits: an answer stands in tp.tx until memory has taken what was put; told: 78 was sent */
    uint8_t quiet, functional, reset, routine; /* quiet: no positive answer; reset wanted: ECUReset's type */
    uint8_t seed[16];
    uint16_t answer;               /* bytes of the answer that waits */
    uint8_t contactors, reserved;  /* UDS_ROUTINE_... of the contactor test */
    uint32_t seeds, faults;        /* seeds given; faults: result of the self-test, one bit each */
    uint32_t requests, refused;    /* only rise */
    uint64_t session_us, penalty_us, request_us, told_us;
    uint8_t entropy[16];
    isotp_t tp;
} uds_t;

#endif
