/* The running hash that a trace is compared by. Not cryptographic: it only has to make two different traces look different. */
#ifndef BMS_HASH_H
#define BMS_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t hash_word(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * 0x9E3779B97F4A7C15u;
    return hash ^ hash >> 29;
}

/* Bytes in groups of eight, little end first, the last group padded with zeros and followed by the count. */
static inline uint64_t hash_bytes(uint64_t hash, const uint8_t *bytes, size_t count)
{
    size_t left = count;
    for (; left >= 8; left -= 8, bytes += 8) {
        uint64_t word;
        memcpy(&word, bytes, 8);
        hash = hash_word(hash, word);
    }
    uint64_t last = 0;
    if (left != 0u) memcpy(&last, bytes, left);
    return hash_word(hash, last ^ (uint64_t)count << 56);
}

#endif
