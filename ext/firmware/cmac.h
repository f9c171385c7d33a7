#ifndef BMS_CMAC_H
#define BMS_CMAC_H

#include <stdbool.h>
#include <stdint.h>

/* AES-CMAC (RFC 4493, NIST SP 800-38B) of `count` bytes. */
void cmac_aes128(const uint8_t key[16], const uint8_t *data, uint32_t count, uint8_t mac[16]);

/* Whether `count` bytes are equal, in a time that does not tell where they differ. */
bool cmac_equal(const uint8_t *a, const uint8_t *b, uint32_t count);

#endif
