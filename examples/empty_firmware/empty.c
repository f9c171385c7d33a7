/* The smallest firmware that fits the socket: it does nothing, so the contactors stay open. Compile it with
 *     cc -shared -fPIC -Iext/firmware examples/empty_firmware/empty.c -o empty.so
 * and start any rig with it instead of ours. A firmware of your own begins here. */
#include "ecu.h"

struct ecu {
    uint64_t steps;
};

uint32_t ecu_abi(void)
{
    return ECU_ABI;
}

const char *ecu_version(void)
{
    return "empty 1";
}

size_t ecu_size(void)
{
    return sizeof(struct ecu);
}

int ecu_init(ecu_t *self, const ecu_boot_t *boot)
{
    (void)boot;
    self->steps = 0;
    return 0;
}

void ecu_step(ecu_t *self, const ecu_in_t *in, ecu_out_t *out)
{
    (void)in;
    ++self->steps;
    out->pins.digital = 0; /* every contactor open */
    out->pins.heater_pptt = 0;
    out->pins.pump_pptt = 0;
    out->watchdog_kick = true;
}

const ecu_probe_t *ecu_probes(size_t *count)
{
    *count = 0;
    return NULL;
}
