/* ISO 15765-2 over classic CAN with normal addressing: messages of a tester in, answers out. Bounded in memory and in time.
 *
 * One message at a time in each direction. A message longer than ISOTP_RX_MAX is refused with an overflow; a first frame followed by
 * silence, or by a wrong sequence number, is forgotten. A receiver that says "wait" too often, never answers, or says nonsense costs
 * the message, not more. Frames leave one a call, so at most one a millisecond. */
#ifndef BMS_ISOTP_H
#define BMS_ISOTP_H

#include <stdbool.h>
#include <stdint.h>

#define ISOTP_RX_MAX 128u
#define ISOTP_TX_MAX 1024u
#define ISOTP_TIMEOUT_MS 1000u /* N_Bs and N_Cr */
#define ISOTP_BLOCK 8u         /* consecutive frames that may come before the next flow control */
#define ISOTP_ST_MIN_MS 1u
#define ISOTP_WAITS_MAX 8u     /* flow controls in a row that say "wait" */
#define ISOTP_PAD 0xCCu

enum { ISOTP_RX_IDLE, ISOTP_RX_MORE, ISOTP_RX_DONE };
enum { ISOTP_TX_IDLE, ISOTP_TX_FIRST, ISOTP_TX_WAITS, ISOTP_TX_MORE };

typedef struct {
    uint64_t rx_us, tx_us;          /* of the last frame in each direction */
    uint16_t rx_count, rx_wanted, tx_count, tx_at;
    uint8_t rx_state, rx_sequence, rx_block, rx_functional;
    uint8_t tx_state, tx_sequence, tx_block, tx_waits;
    uint8_t flow, st_min_ms, reserved[2]; /* flow: a flow control to be sent, 0: none */
    uint32_t messages, malformed, aborted, overflows; /* only rise */
    uint8_t rx[ISOTP_RX_MAX];
    uint8_t tx[ISOTP_TX_MAX];
} isotp_t;

void isotp_init(isotp_t *tp);
/* A frame for us. functional: sent to everybody, single frames only. */
void isotp_receive(isotp_t *tp, uint64_t now_us, const uint8_t *data, uint32_t length, bool functional);
/* What has waited too long is forgotten. Every step. */
void isotp_age(isotp_t *tp, uint64_t now_us);
/* The first `count` bytes of tx are to be sent; nothing else is until they are. */
void isotp_send(isotp_t *tp, uint32_t count);
/* The next frame, if there is one. */
bool isotp_next(isotp_t *tp, uint64_t now_us, uint8_t frame[8]);
static inline bool isotp_is_sending(const isotp_t *tp)
{
    return tp->tx_state != ISOTP_TX_IDLE;
}

#endif
