/* What uds.c and uds_data.c share. */
#ifndef BMS_UDS_SERVICES_H
#define BMS_UDS_SERVICES_H

#include "bms.h"

/* Negative responses of ISO 14229-1. */
enum {
    OK = 0, SERVICE = 0x11, SUB_FUNCTION = 0x12, LENGTH = 0x13, TOO_LONG = 0x14, CONDITIONS = 0x22, SEQUENCE = 0x24, RANGE = 0x31,
    SECURITY = 0x33, WRONG_KEY = 0x35, ATTEMPTS = 0x36, DELAY = 0x37, PROGRAMMING = 0x72, PENDING = 0x78,
    SERVICE_SESSION = 0x7F
};

/* A request as its service sees it, and the answer it writes. */
typedef struct {
    const uint8_t *data; /* with the service identifier */
    uint32_t length;
    uint8_t *out;
    uint32_t count;      /* bytes of the answer, the service identifier included */
} call_t;

void uds_put(call_t *c, uint32_t value, uint32_t bytes);
/* No contactor is closed, told to close, or about to. */
bool uds_is_open(const bms_t *self);
/* The answer waits until what was put is in memory. */
static inline void uds_wait_for_memory(bms_t *self)
{
    self->uds.waits = 1u;
}

uint32_t uds_clear_codes(bms_t *self, call_t *c);
uint32_t uds_read_codes(bms_t *self, call_t *c);
uint32_t uds_read_data(bms_t *self, call_t *c);
uint32_t uds_write_data(bms_t *self, call_t *c);

#endif
