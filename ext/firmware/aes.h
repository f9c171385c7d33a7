#ifndef BMS_AES_H
#define BMS_AES_H

#include <stdint.h>

/* AES-128 (FIPS 197), encryption of one block in place; the key schedule is made on the way, 16 bytes of it at a time.
 *
 * The S-box is a table of 256 bytes. Its access pattern depends on the key: constant in time on a microcontroller without a data
 * cache (the Cortex-M this firmware is for), not on a host with one. */
void aes128_encrypt(const uint8_t key[16], uint8_t block[16]);

#endif
