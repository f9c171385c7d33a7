/* A naive BMS of somebody else: pack voltage and current only, its own messages, no precharge to speak of.
 *
 * It stands for what `bms hil` is for: a device that speaks its own protocol (naive.dbc), fits the socket (ecu.h), and does some
 * things well and others not at all. It never looks at a cell, so the requirements about cells fail; it waits a fixed time instead
 * of looking at the link, re-closes by itself, and reports no insulation. Nobody should copy it.
 *
 *     cc -shared -fPIC -std=c99 -Iext/firmware -Iext/firmware/generated examples/naive_bms/naive.c -o naive.so
 */
#include "ecu.h"
#include "pins.h"

#include <string.h>

enum { COMMAND_ID = 0x300, STATUS_ID = 0x310, IVT_CURRENT_ID = 0x521, IVT_VOLTAGE_ID = 0x522 };
enum { OPEN = 0, DRIVE = 1, CHARGE = 2, ALARM = 3 };
enum { ALARM_CURRENT = 1, ALARM_VOLTAGE = 2, ALARM_INTERLOCK = 4, ALARM_CRASH = 8, ALARM_SENSOR = 16 };

#define CURRENT_MAX_MA 380000
#define PACK_MAX_MV 68800u /* 16 times 4.3 V */
#define PACK_MIN_MV 40000u /* 16 times 2.5 V */
#define PRECHARGE_MS 400u  /* and never a look at the link */
#define SILENT_MS 300u

struct ecu {
    uint32_t ms, closing_ms, current_age_ms, over_ms, loop_ms, command, state, alarm;
    int32_t current_ma, pack_mv;
};

uint32_t ecu_abi(void)
{
    return ECU_ABI;
}

const char *ecu_version(void)
{
    return "naive 1";
}

size_t ecu_size(void)
{
    return sizeof(struct ecu);
}

int ecu_init(ecu_t *self, const ecu_boot_t *boot)
{
    (void)boot;
    memset(self, 0, sizeof *self);
    return 0;
}

static void hear(ecu_t *self, const ecu_can_frame_t *f)
{
    if (f->id == COMMAND_ID && f->length == 8u) self->command = f->data[0];
    if ((f->id != IVT_CURRENT_ID && f->id != IVT_VOLTAGE_ID) || f->length != 6u) return;
    const uint32_t raw = (uint32_t)f->data[2] << 24 | (uint32_t)f->data[3] << 16 | (uint32_t)f->data[4] << 8 | f->data[5];
    if (f->id == IVT_CURRENT_ID) {
        self->current_ma = (int32_t)raw;
        self->current_age_ms = 0;
    } else {
        self->pack_mv = (int32_t)raw;
    }
}

static uint32_t alarms(ecu_t *self, const ecu_in_t *in)
{
    const int32_t size = self->current_ma < 0 ? -self->current_ma : self->current_ma;
    const bool is_open = (in->pins.digital & PIN_IN_INTERLOCK) == 0u;
    uint32_t found = 0;
    self->over_ms = size > CURRENT_MAX_MA ? self->over_ms + 1u : 0;
    self->loop_ms = is_open ? self->loop_ms + 1u : 0;
    if (self->over_ms > 100u) found |= ALARM_CURRENT;
    if (self->loop_ms > 100u) found |= ALARM_INTERLOCK;
    if (in->pins.digital & PIN_IN_CRASH) found |= ALARM_CRASH;
    if (self->ms > 1000u && self->current_age_ms > SILENT_MS) found |= ALARM_SENSOR;
    if (self->ms > 1000u && ((uint32_t)self->pack_mv > PACK_MAX_MV || (uint32_t)self->pack_mv < PACK_MIN_MV)) found |= ALARM_VOLTAGE;
    return found;
}

static void tell(const ecu_t *self, ecu_out_t *out)
{
    ecu_can_frame_t *f = &out->can[out->can_count++];
    const int32_t decivolt = self->pack_mv / 100, deciampere = self->current_ma / 100;
    memset(f, 0, sizeof *f);
    f->id = STATUS_ID;
    f->length = 8;
    f->data[0] = (uint8_t)self->state;
    f->data[1] = (uint8_t)self->alarm;
    f->data[2] = (uint8_t)decivolt;
    f->data[3] = (uint8_t)(decivolt >> 8);
    f->data[4] = (uint8_t)deciampere;
    f->data[5] = (uint8_t)(deciampere >> 8);
}

void ecu_step(ecu_t *self, const ecu_in_t *in, ecu_out_t *out)
{
    const uint32_t count = in->can_count < ECU_CAN_IN_MAX ? in->can_count : ECU_CAN_IN_MAX;
    self->ms++;
    self->current_age_ms++;
    for (uint32_t k = 0; k < count; ++k) hear(self, &in->can[k]);
    self->alarm = alarms(self, in);

    const bool wants = self->command != OPEN && self->alarm == 0u && self->ms > 1000u; /* back by itself when the alarm goes */
    self->closing_ms = wants ? self->closing_ms + 1u : 0;
    self->state = self->alarm != 0u ? ALARM : wants && self->closing_ms > PRECHARGE_MS ? self->command : OPEN;
    uint32_t pins = 0;
    if (wants) pins |= PIN_OUT_MAIN_MINUS;
    if (wants && self->closing_ms <= PRECHARGE_MS) pins |= PIN_OUT_PRECHARGE;
    if (wants && self->closing_ms > PRECHARGE_MS - 50u) pins |= PIN_OUT_MAIN_PLUS;
    out->pins.digital = pins;
    out->watchdog_kick = true;
    if (self->ms % 10u == 0u) tell(self, out);
}

const ecu_probe_t *ecu_probes(size_t *count)
{
    *count = 0;
    return NULL;
}
