#ifndef BMS_CRC_H
#define BMS_CRC_H

#include <stddef.h>
#include <stdint.h>

/* CRC-16/MODBUS: reflected 0x8005, start 0xFFFF; the frames of the monitor chips. Check value of "123456789": 0x4B37. */
uint16_t crc16_modbus(const uint8_t *bytes, size_t count);

/* CRC-32 (IEEE 802.3, as zlib.crc32), for the configuration. Check value 0xCBF43926. */
uint32_t crc32_ieee(const uint8_t *bytes, size_t count);

#endif
