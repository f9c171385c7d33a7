/* Writes counts and lengths that no array has, an unknown memory operation and duties above full. */
#include "ecu.h"

struct ecu {
    uint32_t steps;
};
uint32_t ecu_abi(void) { return ECU_ABI; }
const char *ecu_version(void) { return "wild"; }
size_t ecu_size(void) { return sizeof(struct ecu); }
int ecu_init(ecu_t *self, const ecu_boot_t *boot)
{
    (void)boot;
    self->steps = 0;
    return 0;
}
void ecu_step(ecu_t *self, const ecu_in_t *in, ecu_out_t *out)
{
    (void)self;
    (void)in;
    out->watchdog_kick = true;
    out->can_count = 60000;
    out->can[0].length = 255;
    out->can[0].bus = 9;
    out->uart[0].count = 60000;
    out->uart[0].baud = 1;
    out->pins.heater_pptt = 65535;
    out->nvm_want.op = 200;
    out->nvm_want.page = 60000;
}
