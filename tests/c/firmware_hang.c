/* Drives every coil at once, and after 300 ms no longer kicks the watchdog. */
#include "ecu.h"

struct ecu {
    uint32_t steps;
};
uint32_t ecu_abi(void) { return ECU_ABI; }
const char *ecu_version(void) { return "hang"; }
size_t ecu_size(void) { return sizeof(struct ecu); }
int ecu_init(ecu_t *self, const ecu_boot_t *boot)
{
    (void)boot;
    self->steps = 0;
    return 0;
}
void ecu_step(ecu_t *self, const ecu_in_t *in, ecu_out_t *out)
{
    (void)in;
    self->steps++;
    out->pins.digital = 7u;
    out->watchdog_kick = self->steps < 300u;
}
