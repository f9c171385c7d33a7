/* Babbles random frames over the identifiers of the BMS. */
#include "ecu.h"

struct ecu {
    uint32_t state;
};
uint32_t ecu_abi(void) { return ECU_ABI; }
const char *ecu_version(void) { return "noise"; }
size_t ecu_size(void) { return sizeof(struct ecu); }
int ecu_init(ecu_t *self, const ecu_boot_t *boot)
{
    (void)boot;
    self->state = 7;
    return 0;
}
static uint32_t draw(ecu_t *self) { return (self->state = self->state * 1664525u + 1013904223u) >> 8; }
void ecu_step(ecu_t *self, const ecu_in_t *in, ecu_out_t *out)
{
    (void)in;
    out->watchdog_kick = true;
    out->can_count = 2;
    for (int k = 0; k < 2; ++k) {
        ecu_can_frame_t *f = &out->can[k];
        f->id = 0x100u + draw(self) % 0x18u;
        f->bus = 0;
        f->length = draw(self) % 16u ? 8 : (uint8_t)(draw(self) % 9u);
        f->flags = draw(self) % 32u ? 0 : (uint8_t)(draw(self) % 16u);
        for (int j = 0; j < 8; ++j) f->data[j] = (uint8_t)draw(self);
    }
}
