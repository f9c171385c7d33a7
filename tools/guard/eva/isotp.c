/* ISO-TP: from every state in which the counts are in order, any frame at any time. */
#include "__fc_builtin.h"
#include "isotp.h"

static isotp_t tp;

int main(void)
{
    uint8_t data[8], frame[8];
    isotp_init(&tp);
    //@ assert tp.rx_count <= tp.rx_wanted <= 128 && tp.tx_at <= tp.tx_count <= 1024;
    Frama_C_make_unknown((char *)&tp, sizeof tp);
    Frama_C_make_unknown((char *)data, sizeof data);
    tp.rx_wanted = (uint16_t)Frama_C_interval(0, ISOTP_RX_MAX);
    tp.rx_count = (uint16_t)Frama_C_interval(0, ISOTP_RX_MAX);
    tp.tx_count = (uint16_t)Frama_C_interval(0, ISOTP_TX_MAX);
    tp.tx_at = (uint16_t)Frama_C_interval(0, ISOTP_TX_MAX);
    const uint64_t now_us = Frama_C_unsigned_long_interval(0, 1ul << 62);
    switch (Frama_C_interval(0, 3)) {
    case 0:
        //@ split tp.rx_count;
        if (tp.rx_count > tp.rx_wanted) return 0;
        isotp_receive(&tp, now_us, data, (uint32_t)Frama_C_interval(0, 8), Frama_C_interval(0, 1) != 0);
        //@ assert tp.rx_wanted <= 128;
        break;
    case 1:
        //@ split tp.tx_at;
        if (tp.tx_at > tp.tx_count) return 0;
        (void)isotp_next(&tp, now_us, frame);
        //@ assert tp.tx_count <= 1024;
        break;
    case 2: isotp_age(&tp, now_us); break;
    default:
        isotp_send(&tp, (uint32_t)Frama_C_interval(0, 65535));
        //@ assert tp.tx_at <= tp.tx_count <= 1024;
        break;
    }
    return 0;
}
