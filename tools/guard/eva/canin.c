/* The vehicle's bus: any frame, in any state of its receivers. Requests, authorities with their MAC, the charger's status. */
#include "__fc_builtin.h"
#include "../../../ext/firmware/canin.c"

static bms_t self;

void uds_receive(bms_t *s, const ecu_can_frame_t *frame)
{
    (void)s;
    (void)frame; /* isotp.c here */
}

int main(void)
{
    ecu_can_frame_t frame;
    Frama_C_make_unknown((char *)&frame, sizeof frame);
    Frama_C_make_unknown((char *)&self.canin, sizeof self.canin);
    Frama_C_make_unknown((char *)&self.request, sizeof self.request);
    self.now_us = Frama_C_unsigned_long_interval(0, 1ul << 62);
    canin_receive(&self, &frame);
    return 0;
}
