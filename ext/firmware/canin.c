/* What comes over the vehicle bus. A request counts only with the right length, CRC and counter; everything else is dropped and
 * counted, and its absence is what the rest of the firmware sees. */
#include "bms.h"
#include "bms_dbc.h"
#include "e2e.h"
#include "util.h"

#define MODE_LAST 2u
#define REQUEST_LEAST_MS 4
#define SILENCE_MS 500u     /* after it the vehicle asks for nothing */
#define BAD_WEIGHT 2
#define BAD_MOST 6

/* A bad request weighs two good ones: a second sender whose counter runs beside the genuine one makes every other request bad. */
static void reject(bms_t *self, uint32_t *counter)
{
    canin_t *const in = &self->canin;
    *counter += 1u;
    in->bad = (uint8_t)min_i32(in->bad + BAD_WEIGHT, BAD_MOST);
    diag_sample(self, DIAG_VCU_E2E, TIER_WARN, in->bad, -1);
}

static void accept(bms_t *self)
{
    canin_t *const in = &self->canin;
    in->good += 1u;
    if (in->bad != 0u) in->bad = (uint8_t)(in->bad - 1u);
    if (in->bad < BAD_WEIGHT) diag_sample(self, DIAG_VCU_E2E, TIER_NONE, in->bad, -1);
}

static void take_request(bms_t *self, const ecu_can_frame_t *frame)
{
    canin_t *const in = &self->canin;
    struct bms_dbc_vcu_request_t request;
    if (frame->length != 8u || frame->flags != 0u) {
        reject(self, &in->malformed);
        return;
    }
    e2e_p01_rx_t last = {in->counter};
    const e2e_status_t status = e2e_p01_check(&last, (uint16_t)frame->id, frame->data, 8u);
    in->counter = last.counter;
    if (!e2e_is_usable(status)) {
        reject(self, status == E2E_CRC_ERROR ? &in->crc_errors : &in->counter_errors);
        return;
    }
    (void)bms_dbc_vcu_request_unpack(&request, frame->data, 8u);
    if (request.mode > MODE_LAST) {
        reject(self, &in->malformed);
        return;
    }
    const int32_t gap_ms = (int32_t)elapsed_ms(self->now_us, in->request_us);
    const bool in_time = in->known == 0u || (gap_ms >= REQUEST_LEAST_MS && gap_ms <= diagnosis_table[DIAG_VCU_TIMING].threshold[TIER_WARN]);
    diag_sample(self, DIAG_VCU_TIMING, in_time ? TIER_NONE : TIER_WARN, gap_ms, -1);
    accept(self);
    in->known = 1u;
    in->request_us = self->now_us;
    in->mode = request.mode;
    in->balance_allowed = request.balance_allowed;
    in->heating_allowed = request.heating_allowed;
    in->service = request.service_clear;
    if (request.clear_request == 0u) in->clear_edge = 0u;
    else if (in->clear == 0u) in->clear_edge = 1u; /* stands until its authority is there */
    in->clear = request.clear_request;
}

static void take_charger(bms_t *self, const ecu_can_frame_t *frame)
{
    struct bms_dbc_charger_status_t status;
    if (frame->length != 8u || frame->flags != 0u) {
        self->canin.malformed += 1u;
        return;
    }
    (void)bms_dbc_charger_status_unpack(&status, frame->data, 8u);
    self->canin.charger_state = status.state;
    self->canin.charger_us = self->now_us;
    self->canin.charger_seen = 1u;
}

void canin_init(bms_t *self)
{
    self->canin.counter = E2E_P01_NO_COUNTER;
}

void canin_receive(bms_t *self, const ecu_can_frame_t *frame)
{
    if (frame->id == BMS_DBC_VCU_REQUEST_FRAME_ID) take_request(self, frame);
    else if (frame->id == BMS_DBC_VCU_AUTHORITY_FRAME_ID) request_receive(self, frame);
    else if (frame->id == BMS_DBC_CHARGER_STATUS_FRAME_ID) take_charger(self, frame);
    else uds_receive(self, frame);
}

void canin_tick(bms_t *self)
{
    canin_t *const in = &self->canin;
    const bool is_silent = elapsed_ms(self->now_us, in->request_us) > SILENCE_MS;
    /* The next good frame starts anew; not while closed, or a counter that stands still would be a good one every 500 ms. */
    if (is_silent && self->contactor.coils == 0u) in->counter = E2E_P01_NO_COUNTER;
    if (in->known != 0u && is_silent) {
        in->known = 0u;
        in->mode = in->balance_allowed = in->heating_allowed = in->clear = in->clear_edge = 0u;
    }
    /* A charger that has spoken must go on speaking while it charges. */
    const bool charging = self->contactor.state == STATE_NORMAL_CHARGE && in->charger_seen != 0u;
    const bool faulty = charging && (in->charger_state == BMS_DBC_CHARGER_STATUS_STATE_FAULT_CHOICE ||
                                     elapsed_ms(self->now_us, in->charger_us) > 200u);
    diag_sample(self, DIAG_CHARGER_FAULT, faulty ? TIER_WARN : TIER_NONE, in->charger_state, -1);
    if (in->clear_edge == 0u || !request_may_clear(self, in->service != 0u)) return;
    in->clear_edge = 0u;
    diag_clear(self, in->service != 0u);
}
