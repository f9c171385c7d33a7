#include "part.h"

#include <isotp.c>

CLAIM(a_frame_without_a_byte_or_with_more_than_eight_is_malformed)
{
    static const uint8_t DATA[64] = {0x02, 0x3E, 0x00};
    isotp_t tp;
    isotp_init(&tp);
    isotp_receive(&tp, 0u, DATA, 0u, false);
    isotp_receive(&tp, 0u, DATA, 9u, false);
    HOLDS(tp.malformed == 2u && tp.rx_state == ISOTP_RX_IDLE);
    isotp_receive(&tp, 0u, DATA, 8u, false);
    HOLDS(tp.malformed == 2u && tp.rx_state == ISOTP_RX_DONE && tp.rx_count == 2u);
}

CLAIM(an_answer_longer_than_its_buffer_is_cut_to_it)
{
    isotp_t tp;
    isotp_init(&tp);
    isotp_send(&tp, ISOTP_TX_MAX + 1u);
    HOLDS(tp.tx_count == ISOTP_TX_MAX);
    isotp_send(&tp, 3u);
    HOLDS(tp.tx_count == 3u);
}
