/* The daisy chain between afe.c and the chips: commands reach every chip, whichever way round it is reached.
 *
 * A wired ring joins the top of the chain to the second port of the base. Closed, it is used one way. When a scan of the cells meets
 * silence, questions to single chips find how far commands get; what lies beyond is turned round and given addresses from the other
 * end, and from then on every read is two. Chips reached from there have addresses of their own (FAR_ADDRESS and up), so an answer that
 * comes late is never taken for that of another chip. The ring counts as open until a start finds the chain whole. */
#ifndef BMS_CHAIN_H
#define BMS_CHAIN_H

#include "bms.h"

#define CHAIN_WAKE_US 12000u /* a chip up the stack: 1.6 ms to forward the tone, 10 ms to settle */

enum { REG_DIR0_ADDR = 0x306, REG_DIR1_ADDR = 0x307, REG_COMM_CTRL = 0x308, REG_CONTROL1 = 0x309, REG_OTP_ECC_DATAIN1 = 0x343,
       REG_PARTID = 0x500 };
enum { CONTROL1_ADDR_WR = 0x01, CONTROL1_GOTO_SLEEP = 0x04, CONTROL1_SEND_WAKE = 0x20, CONTROL1_DIR_SEL = 0x80 };
enum { COMM_STACK = 0x02, COMM_TOP = 0x01 };
typedef enum { CHAIN_MENDING, CHAIN_MENDED, CHAIN_AS_IT_WAS } chain_mend_t;

/* One way only, all chips, addresses as after start-up. */
void chain_reset(bms_t *self);
/* Up to eight bytes to all chips that are reached, or to one. */
void chain_write_all(bms_t *self, ecu_out_t *out, uint32_t address, const uint8_t *data, uint32_t count);
void chain_write_one(bms_t *self, ecu_out_t *out, uint32_t chip, uint32_t address, const uint8_t *data, uint32_t count);
/* A question to all; chain_waits says as long as answers may still come, and then what is missing is missing. */
void chain_ask(bms_t *self, ecu_out_t *out, uint8_t question, uint32_t address, uint32_t bytes);
bool chain_waits(bms_t *self, ecu_out_t *out);
/* The chip that answers under this address; BMS_MODULES_MAX: none of ours. */
uint32_t chain_chip(const bms_t *self, uint32_t device);
/* After silence: mend_begin, then one mend a step. from: the phase it happened in. */
void chain_mend_begin(bms_t *self, uint8_t from);
chain_mend_t chain_mend(bms_t *self, ecu_out_t *out);

#endif
