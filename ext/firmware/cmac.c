#include "cmac.h"

#include "aes.h"

/* Times x in GF(2^128), most significant bit first (RFC 4493, 2.3). */
static void double_block(uint8_t block[16])
{
    const uint8_t carry = (uint8_t)(0x87u & (0u - ((uint32_t)block[0] >> 7)));
    for (uint32_t k = 0; k < 15u; ++k) block[k] = (uint8_t)((uint32_t)block[k] << 1 | (uint32_t)block[k + 1u] >> 7);
    block[15] = (uint8_t)((uint32_t)block[15] << 1 ^ carry);
}

void cmac_aes128(const uint8_t key[16], const uint8_t *data, uint32_t count, uint8_t mac[16])
{
    uint8_t last_key[16] = {0};
    uint32_t left = count;
    for (uint32_t k = 0; k < 16u; ++k) mac[k] = 0u;
    for (; left > 16u; left -= 16u, data += 16) {
        for (uint32_t k = 0; k < 16u; ++k) mac[k] ^= data[k];
        aes128_encrypt(key, mac);
    }
    aes128_encrypt(key, last_key);
    double_block(last_key);
    if (left < 16u) double_block(last_key);
    for (uint32_t k = 0; k < 16u; ++k) { /* a short last block is padded with one bit */
        const uint8_t byte = k < left ? data[k] : (k == left ? 0x80u : 0u);
        mac[k] ^= (uint8_t)(byte ^ last_key[k]);
    }
    aes128_encrypt(key, mac);
}

bool cmac_equal(const uint8_t *a, const uint8_t *b, uint32_t count)
{
    uint32_t differs = 0u;
    for (uint32_t k = 0; k < count; ++k) differs |= (uint32_t)a[k] ^ b[k];
    return differs == 0u;
}
