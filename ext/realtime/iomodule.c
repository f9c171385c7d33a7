#include "realtime/iomodule.h"

#include <string.h>

#include "bms_dbc.h"
#include "e2e.h"
#include "pins.h"

#define FIELD_OWNER io_t
FIELD_TABLE(io_fields, IO_FIELDS);
#undef FIELD_OWNER
const size_t io_field_count = FIELD_COUNT(io_fields);

#define SUPPLY_UNKNOWN 65535u

void io_init(io_t *io)
{
    memset(io, 0, sizeof *io);
    io->seen_counter = E2E_P01_NO_COUNTER;
}

static void protect(io_t *io, uint32_t id, ecu_can_frame_t *frame)
{
    frame->id = id;
    frame->bus = ECU_BUS_VEHICLE;
    frame->length = 8;
    e2e_p01_protect((uint16_t)id, frame->data, 8, &io->sent_counter);
}

void io_pack_inputs(io_t *io, const ecu_pins_in_t *pins, ecu_can_frame_t *frame)
{
    struct bms_dbc_io_inputs_t m;
    memset(&m, 0, sizeof m);
    m.ignition = (pins->digital & PIN_IN_IGNITION) != 0u;
    m.interlock = (pins->digital & PIN_IN_INTERLOCK) != 0u;
    m.crash = (pins->digital & PIN_IN_CRASH) != 0u;
    m.main_plus_feedback = (pins->digital & PIN_IN_MAIN_PLUS_FEEDBACK) != 0u;
    m.main_minus_feedback = (pins->digital & PIN_IN_MAIN_MINUS_FEEDBACK) != 0u;
    m.precharge_feedback = (pins->digital & PIN_IN_PRECHARGE_FEEDBACK) != 0u;
    m.overcurrent = (pins->digital & PIN_IN_OVERCURRENT) != 0u;
    m.chip_fault = (pins->digital & PIN_IN_CHIP_FAULT) != 0u;
    m.heater_on = (pins->digital & PIN_IN_HEATER_ON) != 0u;
    m.coolant_flow = (pins->digital & PIN_IN_COOLANT_FLOW) != 0u;
    m.gas = (pins->digital & PIN_IN_GAS) != 0u;
    m.h2s = (pins->digital & PIN_IN_H2S) != 0u;
    m.supply_voltage = (uint16_t)(pins->supply_mv < SUPPLY_UNKNOWN ? pins->supply_mv : SUPPLY_UNKNOWN - 1u);
    memset(frame, 0, sizeof *frame);
    (void)bms_dbc_io_inputs_pack(frame->data, &m, 8u);
    protect(io, BMS_DBC_IO_INPUTS_FRAME_ID, frame);
}

void io_pack_outputs(io_t *io, const ecu_pins_out_t *pins, ecu_can_frame_t *frame)
{
    struct bms_dbc_io_outputs_t m;
    memset(&m, 0, sizeof m);
    m.main_plus = (pins->digital & PIN_OUT_MAIN_PLUS) != 0u;
    m.main_minus = (pins->digital & PIN_OUT_MAIN_MINUS) != 0u;
    m.precharge = (pins->digital & PIN_OUT_PRECHARGE) != 0u;
    m.fuse_trigger = (pins->digital & PIN_OUT_FUSE_TRIGGER) != 0u;
    m.heater_cut = (pins->digital & PIN_OUT_HEATER_CUT) != 0u;
    m.heater_duty = (uint16_t)(pins->heater_pptt < 10000u ? pins->heater_pptt : 10000u);
    m.pump_duty = (uint16_t)(pins->pump_pptt < 10000u ? pins->pump_pptt : 10000u);
    memset(frame, 0, sizeof *frame);
    (void)bms_dbc_io_outputs_pack(frame->data, &m, 8u);
    protect(io, BMS_DBC_IO_OUTPUTS_FRAME_ID, frame);
}

static bool is_good(io_t *io, uint64_t now_us, uint32_t id, const ecu_can_frame_t *frame)
{
    if (frame->id != id || (frame->flags & (ECU_CAN_EXTENDED | ECU_CAN_REMOTE | ECU_CAN_ERROR)) != 0u) return false;
    e2e_p01_rx_t receiver = {io->seen_counter};
    const bool is_usable = frame->length == 8u && e2e_is_usable(e2e_p01_check(&receiver, (uint16_t)id, frame->data, 8u));
    io->seen_counter = receiver.counter;
    if (!is_usable) {
        io->errors++;
        return false;
    }
    io->frames++;
    io->heard_us = now_us;
    io->is_fresh = io->was_heard = 1u;
    return true;
}

bool io_take_inputs(io_t *io, uint64_t now_us, const ecu_can_frame_t *frame)
{
    struct bms_dbc_io_inputs_t m;
    if (!is_good(io, now_us, BMS_DBC_IO_INPUTS_FRAME_ID, frame)) return false;
    (void)bms_dbc_io_inputs_unpack(&m, frame->data, 8u);
    io->digital = (m.ignition ? PIN_IN_IGNITION : 0u) | (m.interlock ? PIN_IN_INTERLOCK : 0u) | (m.crash ? PIN_IN_CRASH : 0u)
                | (m.main_plus_feedback ? PIN_IN_MAIN_PLUS_FEEDBACK : 0u) | (m.main_minus_feedback ? PIN_IN_MAIN_MINUS_FEEDBACK : 0u)
                | (m.precharge_feedback ? PIN_IN_PRECHARGE_FEEDBACK : 0u) | (m.overcurrent ? PIN_IN_OVERCURRENT : 0u)
                | (m.chip_fault ? PIN_IN_CHIP_FAULT : 0u) | (m.heater_on ? PIN_IN_HEATER_ON : 0u)
                | (m.coolant_flow ? PIN_IN_COOLANT_FLOW : 0u) | (m.gas ? PIN_IN_GAS : 0u) | (m.h2s ? PIN_IN_H2S : 0u);
    io->supply_mv = m.supply_voltage == SUPPLY_UNKNOWN ? 0u : m.supply_voltage;
    return true;
}

bool io_take_outputs(io_t *io, uint64_t now_us, const ecu_can_frame_t *frame)
{
    struct bms_dbc_io_outputs_t m;
    if (!is_good(io, now_us, BMS_DBC_IO_OUTPUTS_FRAME_ID, frame)) return false;
    (void)bms_dbc_io_outputs_unpack(&m, frame->data, 8u);
    io->digital = (m.main_plus ? PIN_OUT_MAIN_PLUS : 0u) | (m.main_minus ? PIN_OUT_MAIN_MINUS : 0u)
                | (m.precharge ? PIN_OUT_PRECHARGE : 0u) | (m.fuse_trigger ? PIN_OUT_FUSE_TRIGGER : 0u)
                | (m.heater_cut ? PIN_OUT_HEATER_CUT : 0u);
    io->heater_pptt = m.heater_duty;
    io->pump_pptt = m.pump_duty;
    return true;
}

static bool is_fresh(io_t *io, uint64_t now_us)
{
    if (io->is_fresh && now_us - io->heard_us > IO_SILENCE_MS * 1000u) {
        io->is_fresh = 0u;
        io->losses++;
        io->seen_counter = E2E_P01_NO_COUNTER;
    }
    return io->is_fresh != 0u;
}

void io_inputs(io_t *io, uint64_t now_us, ecu_pins_in_t *pins)
{
    const bool fresh = is_fresh(io, now_us);
    pins->digital = fresh ? io->digital : PIN_IN_SAFE;
    pins->supply_mv = fresh ? io->supply_mv : 0u;
}

void io_outputs(io_t *io, uint64_t now_us, ecu_pins_out_t *pins)
{
    const bool fresh = is_fresh(io, now_us);
    pins->digital = fresh ? io->digital : PIN_OUT_SAFE;
    pins->heater_pptt = (uint16_t)(fresh ? io->heater_pptt : 0u);
    pins->pump_pptt = (uint16_t)(fresh ? io->pump_pptt : 0u);
}
