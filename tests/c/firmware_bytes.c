/* Hostile input to a firmware that runs: frames of the vehicle and sensor bus, messages of a tester, bytes of the chips' line.
 *
 *   firmware_bytes SNAPSHOT COUNT SEED     (with -DFUZZER: libFuzzer, the snapshot in BMS_SNAPSHOT)
 *
 * SNAPSHOT is the state of a firmware in operation (Firmware.snapshot). Two copies run beside each other, one hears what is hostile:
 * frames with a wrong length, flag, check code, counter or authority, any bytes to the diagnostics, noise on the line. After every
 * millisecond both must have measured, estimated, decided and put out the same; the one that heard may only have counted. Whatever a
 * tester says without the key it must not unlock, write, or touch a coil. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bms.h"
#include "bms_dbc.h"
#include "e2e.h"

enum { ROUND = 60 }; /* inputs until both begin anew */

static bms_t begin, heard, calm;
static ecu_in_t quiet_in, loud_in;
static ecu_out_t quiet_out, loud_out;
static unsigned long steps;

static void load(const char *path)
{
    FILE *const file = fopen(path, "rb");
    if (file == NULL || fread(&begin, 1, sizeof begin, file) != sizeof begin || ecu_size() != sizeof begin) {
        printf("%s is no snapshot of %zu bytes\n", path, sizeof begin);
        exit(2);
    }
    fclose(file);
}

static void differ(const char *what, const uint8_t *input, size_t length)
{
    printf("%s differs after", what);
    for (size_t k = 0; k < length; ++k) printf(" %02x", input[k]);
    printf("\n");
    (void)fflush(stdout);
    abort();
}

#define SAME(member)                                                                                                   \
    if (memcmp(&heard.member, &calm.member, sizeof heard.member) != 0) differ(#member, input, length)

static void compare(const uint8_t *input, size_t length)
{
    SAME(config);
    SAME(contactor);
    SAME(limits);
    SAME(thermal);
    SAME(balance);
    SAME(charge);
    SAME(measure);
    SAME(est);
    SAME(soc);
    SAME(sensor.current_ma);
    SAME(sensor.pack_mv);
    SAME(sensor.link_mv);
    SAME(sensor.insulation_kohm);
    SAME(protect.trip);
    SAME(protect.inhibit);
    SAME(protect.needs_clear);
    SAME(canin.mode);
    SAME(canin.clear);
    SAME(request.known);
    SAME(request.mode);
    SAME(uds.unlocked);
    SAME(store.image[STORE_USER]);
    SAME(assert_place);
    if (memcmp(&loud_out.pins, &quiet_out.pins, sizeof loud_out.pins) != 0) differ("pins", input, length);
    if (loud_out.can_count > ECU_CAN_OUT_MAX) differ("frames", input, length);
    if (heard.uds.tp.rx_count > ISOTP_RX_MAX || heard.uds.tp.tx_at > ISOTP_TX_MAX) differ("length", input, length);
}

static void restart(void)
{
    heard = calm = begin;
    memset(&quiet_in, 0, sizeof quiet_in);
    quiet_in.now_us = begin.now_us;
    quiet_in.pins.digital = begin.pins;
    quiet_in.pins.supply_mv = begin.supply_mv;
}

/* Not what the firmware must believe: a right request would be no hostile input. */
static bool is_hostile(const ecu_can_frame_t *f)
{
    if (f->bus == ECU_BUS_SENSOR) return f->flags != 0u || (f->length != 6u && f->length != 8u);
    if (f->bus != ECU_BUS_VEHICLE) return true;
    if (f->id == BMS_DBC_VCU_REQUEST_FRAME_ID) {
        e2e_p01_rx_t any = {E2E_P01_NO_COUNTER};
        return f->flags != 0u || f->length != 8u || !e2e_is_usable(e2e_p01_check(&any, (uint16_t)f->id, f->data, 8u));
    }
    if (f->id == BMS_DBC_CHARGER_STATUS_FRAME_ID) return f->flags != 0u || f->length != 8u;
    return true; /* an authority has a code of 40 bits, a tester no key */
}

static void step(const uint8_t *input, size_t length)
{
    steps += 1u;
    quiet_in.now_us += 1000u;
    loud_in.now_us = quiet_in.now_us;
    memset(&quiet_out, 0, sizeof quiet_out);
    memset(&loud_out, 0, sizeof loud_out);
    ecu_step(&calm, &quiet_in, &quiet_out);
    ecu_step(&heard, &loud_in, &loud_out);
    compare(input, length);
}

/* kind, then what it takes: bytes of the line, or identifier, length, flags, data of a frame. */
static void hear(const uint8_t *input, size_t length)
{
    static const uint32_t IDS[16] = {0x7E4, 0x7E4, 0x7E4, 0x7E4, 0x7DF, 0x7E4, 0x80, 0x80, 0x81, 0xA0, 0x521, 0x522, 0x524, 0x37, 0xF0, 0x100};
    loud_in = quiet_in;
    if (length < 4u) return;
    if ((input[0] & 7u) == 7u) {
        const size_t count = length - 1u < ECU_UART_IN_MAX ? length - 1u : ECU_UART_IN_MAX;
        memcpy(loud_in.uart_bytes[0], input + 1, count);
        loud_in.uart_count[0] = (uint16_t)count;
        loud_in.uart_errors[0] = (uint16_t)(input[0] >> 7);
        step(input, length);
        return;
    }
    ecu_can_frame_t *const f = &loud_in.can[0];
    const uint32_t pick = input[1];
    f->id = pick < 240u ? IDS[pick % 16u] : (uint32_t)input[2] << 8 | input[1];
    f->bus = (uint8_t)(f->id > 0x500 && f->id < 0x600 ? ECU_BUS_SENSOR : ECU_BUS_VEHICLE);
    f->flags = (uint8_t)((input[0] & 0x78u) == 0x78u ? input[2] : 0u);
    f->length = (uint8_t)(input[2] % 16u < 12u ? (length - 3u < 8u ? length - 3u : 8u) : input[2] % 80u);
    if (f->length > 64u) f->length = 64u;
    memcpy(f->data, input + 3, length - 3u < 8u ? length - 3u : 8u);
    if (!is_hostile(f)) return;
    loud_in.can_count = 1u;
    step(input, length);
}

#ifdef FUZZER
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (begin.now_us == 0u) load(getenv("BMS_SNAPSHOT"));
    restart();
    for (size_t at = 0; at < size; at += 11u) hear(data + at, size - at < 11u ? size - at : 11u);
    return 0;
}
#else
static uint64_t chance;

static uint32_t draw(uint32_t below)
{
    chance = chance * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((chance >> 33) % below);
}

/* Something like a request of a tester: the first byte says single, first, consecutive frame or flow control. A message that was begun
 * is mostly gone on with. */
static void like_a_tester(uint8_t *data)
{
    static const uint8_t SERVICES[16] = {0x10, 0x11, 0x14, 0x19, 0x22, 0x27, 0x2E, 0x31, 0x3E, 0x10, 0x2E, 0x31, 0x22, 0x19, 0x34, 0x85};
    const uint32_t kind = heard.uds.tp.rx_state == ISOTP_RX_MORE && draw(16) != 0u ? 5u : draw(8);
    const uint8_t service = SERVICES[draw(16)];
    if (kind < 4u) {
        data[0] = (uint8_t)(service == 0x10u ? 2u : draw(9));
        data[1] = service;
        if (draw(3) != 0u) data[2] = (uint8_t)(service == 0x10u ? 3u : draw(4) | (draw(4) == 0u ? 0x80u : 0u));
        else data[2] = 0xF1u, data[3] = (uint8_t)(0x86u + draw(20));
    } else if (kind == 4u) {
        const bool writes = draw(2) == 0u; /* a vehicle identification number */
        data[0] = (uint8_t)(0x10u | (draw(4) == 0u ? draw(16) : 0u));
        if (writes) data[0] = 0x10u, data[1] = 20u, data[2] = 0x2Eu, data[3] = 0xF1u, data[4] = 0x90u;
        else data[2] = service;
    } else if (kind < 7u) {
        data[0] = (uint8_t)(0x20u | (uint32_t)(heard.uds.tp.rx_sequence + (draw(40) == 0u ? draw(16) : 0u)) % 16u);
    } else {
        data[0] = (uint8_t)(0x30u | draw(5));
    }
}

int main(int count, char **word)
{
    uint8_t input[160];
    if (count != 4) return 2;
    load(word[1]);
    const unsigned long many = strtoul(word[2], NULL, 10);
    chance = strtoull(word[3], NULL, 10) * 2u + 1u;
    unsigned long heard_by_tester = 0, refused = 0, malformed = 0, line = 0;
    for (unsigned long k = 0; k < many; ++k) {
        if (k % ROUND == 0u) {
            refused += heard.uds.refused - begin.uds.refused;
            heard_by_tester += heard.uds.requests - begin.uds.requests;
            malformed += heard.uds.tp.malformed + heard.uds.tp.aborted + heard.uds.tp.overflows + heard.canin.malformed + heard.canin.crc_errors;
            line += heard.afe.crc_errors + heard.afe.skipped_bytes;
            restart();
        }
        const uint32_t length = draw(10) == 0u ? 4u + draw(150) : 11u;
        for (uint32_t n = 0; n < length; ++n) input[n] = (uint8_t)draw(256);
        if (input[1] < 240u && input[1] % 16u < 6u && (input[0] & 7u) != 7u) {
            input[2] = 0u;
            like_a_tester(input + 3);
        }
        hear(input, length);
    }
    printf("inputs %lu steps %lu requests %lu refused %lu malformed %lu line %lu\n", many, steps, heard_by_tester, refused, malformed, line);
    return 0;
}
#endif
