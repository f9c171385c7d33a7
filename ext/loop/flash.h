/* The ECU's non-volatile memory as a serial flash: what an operation does to it and how long it takes. Programming only clears
 * bits; erased bytes read FF. The loop in virtual time and the ECU as a process share it. */
#ifndef BMS_FLASH_H
#define BMS_FLASH_H

#include <string.h>

#include "ecu.h"

#define FLASH_BYTES (ECU_NVM_PAGES * ECU_NVM_PAGE)
#define FLASH_READ_MS 1u
#define FLASH_PROGRAM_MS 3u /* typical page program time of a serial flash */
#define FLASH_ERASE_MS 40u

static inline uint32_t flash_ms(const ecu_nvm_t *op)
{
    if (op->op == ECU_NVM_READ) return FLASH_READ_MS;
    return op->op == ECU_NVM_ERASE ? FLASH_ERASE_MS : FLASH_PROGRAM_MS;
}

/* Carries the operation out and fills in its status and, of a read, the data. */
static inline void flash_operate(uint8_t *memory, ecu_nvm_t *op)
{
    op->status = ECU_NVM_OK;
    if (op->page >= ECU_NVM_PAGES) {
        op->status = ECU_NVM_FAILED;
        return;
    }
    uint8_t *const page = memory + (size_t)op->page * ECU_NVM_PAGE;
    if (op->op == ECU_NVM_READ) {
        memcpy(op->data, page, ECU_NVM_PAGE);
    } else if (op->op == ECU_NVM_PROGRAM) {
        for (uint32_t k = 0; k < ECU_NVM_PAGE; ++k) page[k] &= op->data[k];
    } else if (op->op == ECU_NVM_ERASE) {
        memset(page, 0xFF, ECU_NVM_PAGE);
    } else {
        op->status = ECU_NVM_FAILED;
    }
}

#endif
