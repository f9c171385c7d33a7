#include "isotp.h"

#include "util.h"

enum { SINGLE = 0x0, FIRST = 0x1, CONSECUTIVE = 0x2, FLOW = 0x3 };
enum { FLOW_GO = 0x30, FLOW_WAIT = 0x31, FLOW_OVERFLOW = 0x32 };

void isotp_init(isotp_t *tp)
{
    memset(tp, 0, sizeof *tp);
}

/* ---- in ----------------------------------------------------------------------------------------------------------------------- */

static void begin_message(isotp_t *tp, const uint8_t *data, uint32_t count, uint32_t wanted)
{
    if (tp->rx_state == ISOTP_RX_MORE) tp->aborted += 1u; /* a new message ends an old one */
    memcpy(tp->rx, data, count);
    tp->rx_count = (uint16_t)count;
    tp->rx_wanted = (uint16_t)wanted;
}

static void take_single(isotp_t *tp, const uint8_t *data, uint32_t length, bool functional)
{
    const uint32_t count = data[0];
    if (count == 0u || count >= length) {
        tp->malformed += 1u;
        return;
    }
    begin_message(tp, data + 1, count, count);
    tp->rx_functional = functional;
    tp->rx_state = ISOTP_RX_DONE;
    tp->messages += 1u;
}

static void take_first(isotp_t *tp, const uint8_t *data, uint32_t length)
{
    const uint32_t wanted = (data[0] & 15u) << 8 | (length > 1u ? data[1] : 0u);
    const bool is_long = wanted == 0u; /* 32 bits of length follow: never of use here */
    if (length < 8u || (!is_long && wanted < 8u)) {
        tp->malformed += 1u;
        return;
    }
    if (is_long || wanted > ISOTP_RX_MAX) {
        tp->overflows += 1u;
        tp->rx_state = ISOTP_RX_IDLE;
        tp->flow = FLOW_OVERFLOW;
        return;
    }
    begin_message(tp, data + 2, 6u, wanted);
    tp->rx_state = ISOTP_RX_MORE;
    tp->rx_functional = 0u;
    tp->rx_sequence = 1u;
    tp->rx_block = 0u;
    tp->flow = FLOW_GO;
}

static void take_consecutive(isotp_t *tp, const uint8_t *data, uint32_t length)
{
    if (tp->rx_state != ISOTP_RX_MORE) return; /* of somebody else's message, or of one that was given up */
    const uint32_t left = (uint32_t)tp->rx_wanted - tp->rx_count, count = left < 7u ? left : 7u;
    if ((data[0] & 15u) != tp->rx_sequence || length < count + 1u) {
        tp->aborted += 1u;
        tp->rx_state = ISOTP_RX_IDLE;
        return;
    }
    memcpy(tp->rx + tp->rx_count, data + 1, count);
    tp->rx_count = (uint16_t)(tp->rx_count + count);
    tp->rx_sequence = (uint8_t)((tp->rx_sequence + 1u) & 15u);
    if (tp->rx_count == tp->rx_wanted) {
        tp->rx_state = ISOTP_RX_DONE;
        tp->messages += 1u;
        return;
    }
    tp->rx_block = (uint8_t)(tp->rx_block + 1u);
    if (tp->rx_block < ISOTP_BLOCK) return;
    tp->rx_block = 0u;
    tp->flow = FLOW_GO;
}

static void give_up(isotp_t *tp)
{
    tp->aborted += 1u;
    tp->tx_state = ISOTP_TX_IDLE;
}

static void take_flow(isotp_t *tp, uint64_t now_us, const uint8_t *data, uint32_t length)
{
    if (tp->tx_state != ISOTP_TX_WAITS) return; /* nobody asked */
    if (length < 3u) {
        tp->malformed += 1u;
        return;
    }
    if (data[0] == FLOW_WAIT) {
        tp->tx_us = now_us;
        tp->tx_waits = (uint8_t)(tp->tx_waits + 1u);
        if (tp->tx_waits > ISOTP_WAITS_MAX) give_up(tp);
        return;
    }
    if (data[0] != FLOW_GO) {
        give_up(tp); /* overflow, or nonsense */
        return;
    }
    const bool in_us = data[2] >= 0xF1u && data[2] <= 0xF9u;
    tp->st_min_ms = (uint8_t)(in_us ? 1u : (data[2] <= 0x7Fu ? data[2] : 0x7Fu));
    tp->tx_block = data[1];
    tp->tx_waits = 0u;
    tp->tx_state = ISOTP_TX_MORE;
    tp->tx_us = now_us - (uint64_t)tp->st_min_ms * 1000u;
}

void isotp_receive(isotp_t *tp, uint64_t now_us, const uint8_t *data, uint32_t length, bool functional)
{
    if (length == 0u || length > 8u) {
        tp->malformed += 1u;
        return;
    }
    const uint32_t kind = (uint32_t)data[0] >> 4;
    if (kind == FLOW && !functional) {
        take_flow(tp, now_us, data, length);
        return;
    }
    /* While a message waits to be read or an answer goes out, the next one is not for us yet. */
    if (tp->rx_state == ISOTP_RX_DONE || isotp_is_sending(tp)) return;
    tp->rx_us = now_us;
    if (kind == SINGLE) take_single(tp, data, length, functional);
    else if (functional) tp->malformed += 1u;
    else if (kind == FIRST) take_first(tp, data, length);
    else if (kind == CONSECUTIVE) take_consecutive(tp, data, length);
    else tp->malformed += 1u;
}

void isotp_age(isotp_t *tp, uint64_t now_us)
{
    if (tp->rx_state == ISOTP_RX_MORE && elapsed_ms(now_us, tp->rx_us) > ISOTP_TIMEOUT_MS) {
        tp->aborted += 1u;
        tp->rx_state = ISOTP_RX_IDLE;
    }
    if (tp->tx_state == ISOTP_TX_WAITS && elapsed_ms(now_us, tp->tx_us) > ISOTP_TIMEOUT_MS) give_up(tp);
}

/* ---- out ---------------------------------------------------------------------------------------------------------------------- */

void isotp_send(isotp_t *tp, uint32_t count)
{
    tp->tx_count = (uint16_t)(count <= ISOTP_TX_MAX ? count : ISOTP_TX_MAX);
    tp->tx_at = 0u;
    tp->tx_waits = 0u;
    tp->tx_state = ISOTP_TX_FIRST;
}

static void put_part(isotp_t *tp, uint8_t *to, uint32_t room)
{
    const uint32_t left = (uint32_t)tp->tx_count - tp->tx_at, count = left < room ? left : room;
    memcpy(to, tp->tx + tp->tx_at, count);
    tp->tx_at = (uint16_t)(tp->tx_at + count);
}

static void put_first(isotp_t *tp, uint8_t frame[8])
{
    if (tp->tx_count <= 7u) {
        frame[0] = (uint8_t)tp->tx_count;
        put_part(tp, frame + 1, 7u);
        tp->tx_state = ISOTP_TX_IDLE;
        return;
    }
    frame[0] = (uint8_t)(FIRST << 4 | tp->tx_count >> 8);
    frame[1] = (uint8_t)tp->tx_count;
    put_part(tp, frame + 2, 6u);
    tp->tx_sequence = 1u;
    tp->tx_state = ISOTP_TX_WAITS;
}

static void put_more(isotp_t *tp, uint8_t frame[8])
{
    frame[0] = (uint8_t)(CONSECUTIVE << 4 | tp->tx_sequence);
    tp->tx_sequence = (uint8_t)((tp->tx_sequence + 1u) & 15u);
    put_part(tp, frame + 1, 7u);
    if (tp->tx_at == tp->tx_count) {
        tp->tx_state = ISOTP_TX_IDLE;
        return;
    }
    if (tp->tx_block == 0u) return; /* all that is left may follow */
    tp->tx_block = (uint8_t)(tp->tx_block - 1u);
    if (tp->tx_block == 0u) tp->tx_state = ISOTP_TX_WAITS;
}

bool isotp_next(isotp_t *tp, uint64_t now_us, uint8_t frame[8])
{
    memset(frame, (int)ISOTP_PAD, 8u);
    if (tp->flow != 0u) {
        frame[0] = tp->flow;
        frame[1] = ISOTP_BLOCK;
        frame[2] = ISOTP_ST_MIN_MS;
        tp->flow = 0u;
        return true;
    }
    const bool paced = tp->tx_state == ISOTP_TX_MORE && now_us - tp->tx_us >= (uint64_t)tp->st_min_ms * 1000u;
    if (tp->tx_state == ISOTP_TX_FIRST) put_first(tp, frame);
    else if (paced) put_more(tp, frame);
    else return false;
    tp->tx_us = now_us;
    return true;
}
