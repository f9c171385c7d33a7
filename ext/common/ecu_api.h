/* A firmware as a table of functions: what bms._firmware.api_address() and bms.firmware.library.load() hand to a rig, so that our
 * own firmware and a shared library that fits ecu.h are called in the same way. */
#ifndef BMS_ECU_API_H
#define BMS_ECU_API_H

#include "ecu.h"

typedef struct {
    uint32_t (*abi)(void);
    const char *(*version)(void);
    size_t (*size)(void);
    int (*init)(ecu_t *self, const ecu_boot_t *boot);
    void (*step)(ecu_t *self, const ecu_in_t *in, ecu_out_t *out);
    const ecu_probe_t *(*probes)(size_t *count); /* may be NULL: probes are optional */
} ecu_api_t;

#endif
