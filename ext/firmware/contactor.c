/* The state machine of the contactors. Closing: main minus, precharge, main plus when the link has risen, precharge off. Opening in
 * order: main plus, main minus. A trip takes all coils off in the same millisecond, unless the current is more than the contactors
 * can break: then the fuse is fired and the coils follow when the current has gone, or after fuse_wait_ms. */
#include "bms.h"
#include "util.h"

#define FRESH_MS 50u
#define INSULATION_AGE_MS 5000u
#define STANDBY_MIN_MS 1000u   /* closing again, at the soonest */
#define REQUEST_AGE_MS 100u
#define OPEN_WAIT_MS 500u      /* for the vehicle to take its current away */
#define CLOSING_COILS (PIN_OUT_MAIN_MINUS | PIN_OUT_PRECHARGE)
#define FEEDBACKS (PIN_IN_MAIN_PLUS_FEEDBACK | PIN_IN_MAIN_MINUS_FEEDBACK | PIN_IN_PRECHARGE_FEEDBACK)
#define MODE_STANDBY 0u
#define MODE_DRIVE 1u
#define MODE_CHARGE 2u

enum { CLOSE_MINUS, CLOSE_LINK, CLOSE_PLUS, CLOSE_DROP };
enum { OPEN_WAIT, OPEN_PLUS, OPEN_MINUS };
enum { ERROR_OPEN, ERROR_FUSE };

static void set_coils(bms_t *self, uint32_t coils)
{
    static const uint32_t bit[3] = {PIN_OUT_MAIN_PLUS, PIN_OUT_MAIN_MINUS, PIN_OUT_PRECHARGE};
    for (uint32_t k = 0; k < 3u; ++k) {
        if (((self->contactor.coils ^ coils) & bit[k]) != 0u) self->contactor.coil_us[k] = self->now_us;
    }
    self->contactor.coils = (uint8_t)coils;
}

static void enter(bms_t *self, uint8_t state)
{
    self->contactor.state = state;
    self->contactor.step = self->contactor.link_rose = 0u;
    self->contactor.state_us = self->contactor.step_us = self->now_us;
}

static void advance(bms_t *self, uint8_t step)
{
    self->contactor.step = step;
    self->contactor.step_us = self->now_us;
}

void contactor_init(bms_t *self)
{
    enter(self, STATE_INIT);
    for (uint32_t k = 0; k < 3u; ++k) self->contactor.coil_us[k] = self->now_us;
}

static bool current_is_beyond(const bms_t *self, int32_t ma)
{
    return sensor_fresh(self, &self->sensor.current_ma, FRESH_MS) && abs_i32(self->sensor.current_ma.value) > ma;
}

void contactor_trip(bms_t *self)
{
    contactor_t *const c = &self->contactor;
    if (c->state >= STATE_ERROR) return; /* already open, or waiting for the fuse */
    enter(self, STATE_ERROR);
    c->request_was = 1u;
    if (c->coils != 0u && current_is_beyond(self, self->config.set.break_current_ma)) {
        c->step = ERROR_FUSE;
        c->fuse = 1u;
        return;
    }
    set_coils(self, 0u);
}

static bool measures(const bms_t *self)
{
    return self->measure.scan != 0u && self->measure.cells_unknown == 0u && self->measure.gpio_scan != 0u &&
           sensor_fresh(self, &self->sensor.current_ma, FRESH_MS) && sensor_fresh(self, &self->sensor.pack_mv, FRESH_MS) &&
           sensor_fresh(self, &self->sensor.link_mv, FRESH_MS);
}

static uint32_t wanted_mode(const bms_t *self)
{
    const bool heard = self->canin.known != 0u && elapsed_ms(self->now_us, self->canin.request_us) <= REQUEST_AGE_MS;
    const uint32_t mode = heard ? self->canin.mode : MODE_STANDBY;
    const bool ignition = (self->pins & PIN_IN_IGNITION) != 0u;
    return mode == MODE_DRIVE && !ignition ? MODE_STANDBY : mode;
}

/* A link that already stands at pack voltage proves nothing about precharge: the reading may be stuck. */
static bool link_is_plausible(bms_t *self)
{
    const int32_t pack = self->sensor.pack_mv.value, link = self->sensor.link_mv.value;
    const bool full = link > pack - pack / 10;
    diag_sample(self, DIAG_LINK_VOLTAGE_IMPLAUSIBLE, full ? TIER_WARN : TIER_NONE, link, -1);
    return !full;
}

static void standby(bms_t *self)
{
    contactor_t *const c = &self->contactor;
    const uint32_t mode = wanted_mode(self);
    if (mode == MODE_STANDBY) {
        c->request_was = 0u;
        diag_sample(self, DIAG_LINK_VOLTAGE_IMPLAUSIBLE, TIER_NONE, 0, -1);
        return;
    }
    const bool soon = elapsed_ms(self->now_us, c->state_us) < STANDBY_MIN_MS || c->request_was != 0u;
    const bool blocked = self->protect.inhibit != 0u || (mode == MODE_CHARGE && self->protect.inhibit_charge != 0u);
    const bool insulated = sensor_fresh(self, &self->sensor.insulation_kohm, INSULATION_AGE_MS) &&
                           diag_active_tier(self, DIAG_INSULATION_LOW) < TIER_TRIP;
    const bool known = measures(self) && insulated && self->soc_valid != 0u;
    const bool open = (self->pins & FEEDBACKS) == 0u && !current_is_beyond(self, self->config.set.rest_ma);
    if (soon || !known || !open) return;
    if (!link_is_plausible(self) || blocked) return; /* looked at in this order, so that an implausible link is told */
    if (!request_may_enter(self, mode)) return;
    enter(self, STATE_PRECHARGE);
    c->link_before_mv = self->sensor.link_mv.value;
    set_coils(self, PIN_OUT_MAIN_MINUS);
}

/* With main minus alone the link must stay where it is: if it rises, main plus or precharge is welded. */
static void close_minus(bms_t *self)
{
    contactor_t *const c = &self->contactor;
    const int32_t rise = self->sensor.link_mv.value - c->link_before_mv;
    c->link_rose = rise > self->sensor.pack_mv.value / 5; /* protect.c counts it */
    if (c->link_rose != 0u || elapsed_ms(self->now_us, c->step_us) < self->config.set.feedback_ms) return;
    if ((self->pins & PIN_IN_MAIN_MINUS_FEEDBACK) == 0u) return; /* the feedback check ends this */
    set_coils(self, CLOSING_COILS);
    advance(self, CLOSE_LINK);
}

static void close_link(bms_t *self)
{
    contactor_t *const c = &self->contactor;
    const bms_settings_t *const set = &self->config.set;
    const int32_t pack = self->sensor.pack_mv.value, link = self->sensor.link_mv.value, ma = abs_i32(self->sensor.current_ma.value);
    const uint32_t ms = elapsed_ms(self->now_us, c->step_us);
    const bool full = abs_i32(pack - link) <= set->precharge_tolerance_mv && ma <= set->precharge_done_ma;
    const bool stuck = ms > 2u * set->feedback_ms && link - c->link_before_mv < pack / 20 && ma > set->precharge_done_ma;
    const bool wrong = !full && (stuck || ma > set->precharge_abort_ma);
    diag_sample(self, DIAG_PRECHARGE_CURRENT, wrong ? TIER_TRIP : TIER_NONE, self->sensor.current_ma.value, -1);
    if (c->state != STATE_PRECHARGE) return; /* that was the last straw */
    if (ms > set->precharge_max_ms) {
        diag_sample(self, DIAG_PRECHARGE_TIMEOUT, TIER_TRIP, pack - link, -1);
        return;
    }
    if (!full || ms < set->precharge_min_ms || (self->pins & PIN_IN_PRECHARGE_FEEDBACK) == 0u) return;
    set_coils(self, CLOSING_COILS | PIN_OUT_MAIN_PLUS);
    advance(self, CLOSE_PLUS);
}

static void precharge(bms_t *self)
{
    contactor_t *const c = &self->contactor;
    if (wanted_mode(self) == MODE_STANDBY || !measures(self)) {
        enter(self, STATE_OPENING);
        return;
    }
    const bool settled = elapsed_ms(self->now_us, c->step_us) >= self->config.set.feedback_ms;
    switch (c->step) {
    case CLOSE_MINUS: close_minus(self); break;
    case CLOSE_LINK: close_link(self); break;
    case CLOSE_PLUS:
        if (!settled || (self->pins & PIN_IN_MAIN_PLUS_FEEDBACK) == 0u) return;
        set_coils(self, PIN_OUT_MAIN_MINUS | PIN_OUT_MAIN_PLUS);
        advance(self, CLOSE_DROP);
        break;
    default:
        if (!settled || (self->pins & PIN_IN_PRECHARGE_FEEDBACK) != 0u) return;
        enter(self, wanted_mode(self) == MODE_CHARGE ? STATE_NORMAL_CHARGE : STATE_NORMAL_DRIVE);
        break;
    }
}

static void normal(bms_t *self)
{
    const uint32_t mode = wanted_mode(self);
    const bool heard = self->canin.known != 0u; /* silence is judged by its diagnosis: until then the last request holds */
    if (!heard) return;
    if (elapsed_ms(self->now_us, self->canin.request_us) > REQUEST_AGE_MS) return;
    if (mode == MODE_STANDBY) enter(self, STATE_OPENING);
    else self->contactor.state = mode == MODE_CHARGE ? STATE_NORMAL_CHARGE : STATE_NORMAL_DRIVE;
}

static void opening(bms_t *self)
{
    contactor_t *const c = &self->contactor;
    const uint32_t ms = elapsed_ms(self->now_us, c->step_us);
    switch (c->step) {
    case OPEN_WAIT:
        if (current_is_beyond(self, self->config.set.rest_ma) && ms < OPEN_WAIT_MS) return;
        set_coils(self, c->coils & PIN_OUT_MAIN_MINUS);
        advance(self, OPEN_PLUS);
        break;
    case OPEN_PLUS:
        if (ms < self->config.set.feedback_ms) return;
        set_coils(self, 0u);
        advance(self, OPEN_MINUS);
        break;
    default:
        if (ms < self->config.set.feedback_ms) return;
        enter(self, STATE_STANDBY);
        break;
    }
}

static void error(bms_t *self)
{
    contactor_t *const c = &self->contactor;
    if (c->step == ERROR_FUSE) {
        const bool wait = elapsed_ms(self->now_us, c->state_us) < self->config.set.fuse_wait_ms;
        if (wait && current_is_beyond(self, self->config.set.break_current_ma)) return;
        c->step = ERROR_OPEN;
    }
    set_coils(self, 0u);
    if (self->protect.trip == 0u) enter(self, STATE_STANDBY);
    else if (self->protect.cause_present == 0u) c->state = STATE_LATCHED;
    else c->state = STATE_ERROR;
}

void contactor_tick(bms_t *self)
{
    contactor_t *const c = &self->contactor;
    if (self->protect.trip != 0u) contactor_trip(self);
    switch (c->state) {
    case STATE_INIT: enter(self, STATE_SELFTEST); break;
    case STATE_SELFTEST:
        if (measures(self) && self->soc_valid != 0u && (self->pins & FEEDBACKS) == 0u) enter(self, STATE_STANDBY);
        break;
    case STATE_STANDBY: standby(self); break;
    case STATE_PRECHARGE: precharge(self); break;
    case STATE_NORMAL_DRIVE:
    case STATE_NORMAL_CHARGE: normal(self); break;
    case STATE_OPENING: opening(self); break;
    case STATE_ERROR:
    case STATE_LATCHED: error(self); break;
    default: set_coils(self, 0u); break; /* asserted, refused, or a value that cannot be */
    }
}
