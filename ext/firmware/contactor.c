/* The state machine of the contactors. Closing: main minus, precharge, main plus when the link has risen, precharge off. Opening in
 * order: main plus, main minus. A trip takes all coils off in the same millisecond, unless the current is more than the contactors
 * can break, or may be: fuse.c says for how long.
 *
 * Which state may follow which stands in NEXT, once. A step changes the state at most once; what else is due waits for the next tick.
 * Only coils never wait: they are off in the step that finds the reason. */
#include "bms.h"
#include "crc.h"
#include "util.h"

#define BMS_FILE 3u

#define FRESH_MS 50u
#define INSULATION_AGE_MS 5000u
#define STANDBY_MIN_MS 1000u   /* closing again, at the soonest */
#define REQUEST_AGE_MS 100u
#define OPEN_WAIT_MS 500u      /* for the vehicle to take its current away */
#define BROWN_OUT_MV 6000u     /* coils do not hold below it: nothing is to close by itself when it comes back */
#define CLOSING_COILS (PIN_OUT_MAIN_MINUS | PIN_OUT_PRECHARGE)
#define FEEDBACKS (PIN_IN_MAIN_PLUS_FEEDBACK | PIN_IN_MAIN_MINUS_FEEDBACK | PIN_IN_PRECHARGE_FEEDBACK)
#define MODE_STANDBY REQUEST_STANDBY
#define MODE_DRIVE REQUEST_DRIVE
#define MODE_CHARGE REQUEST_CHARGE

enum { CLOSE_MINUS, CLOSE_LINK, CLOSE_PLUS, CLOSE_DROP };
enum { OPEN_WAIT, OPEN_PLUS, OPEN_MINUS };
enum { ERROR_OPEN, ERROR_FUSE };

#define TO(state) (1u << STATE_##state)

const uint16_t contactor_next[STATE_COUNT] = {
    [STATE_INIT] = TO(SELFTEST) | TO(ERROR),
    [STATE_SELFTEST] = TO(STANDBY) | TO(ERROR),
    [STATE_STANDBY] = TO(PRECHARGE) | TO(BALANCING) | TO(SERVICE) | TO(SLEEP) | TO(ERROR),
    [STATE_PRECHARGE] = TO(NORMAL_DRIVE) | TO(NORMAL_CHARGE) | TO(OPENING) | TO(ERROR),
    [STATE_NORMAL_DRIVE] = TO(NORMAL_CHARGE) | TO(OPENING) | TO(ERROR),
    [STATE_NORMAL_CHARGE] = TO(NORMAL_DRIVE) | TO(OPENING) | TO(ERROR),
    [STATE_OPENING] = TO(STANDBY) | TO(ERROR),
    [STATE_ERROR] = TO(LATCHED) | TO(STANDBY) | TO(SELFTEST),
    [STATE_LATCHED] = TO(ERROR) | TO(STANDBY) | TO(SELFTEST) | TO(SLEEP),
    [STATE_ASSERTED] = 0u,
    [STATE_REFUSED] = 0u,
    [STATE_BALANCING] = TO(STANDBY) | TO(ERROR),
    [STATE_SERVICE] = TO(STANDBY) | TO(ERROR),
    [STATE_SLEEP] = TO(SELFTEST),
};

/* ---- state and coils ----------------------------------------------------------------------------------------------------------- */

/* What is kept twice, so that a flipped bit shows. */
static void guard(contactor_t *c)
{
    c->state_not = (uint8_t)~c->state;
    c->coils_not = (uint8_t)~c->coils;
}

static void set_coils(bms_t *self, uint32_t coils)
{
    static const uint32_t bit[3] = {PIN_OUT_MAIN_PLUS, PIN_OUT_MAIN_MINUS, PIN_OUT_PRECHARGE};
    for (uint32_t k = 0; k < 3u; ++k) {
        if (((self->contactor.coils ^ coils) & bit[k]) != 0u) self->contactor.coil_us[k] = self->now_us;
    }
    self->contactor.coils = (uint8_t)coils;
    guard(&self->contactor);
}

/* False when another change was made in this step: whoever asks asks again. */
static bool enter(bms_t *self, uint8_t state)
{
    contactor_t *const c = &self->contactor;
    BMS_ASSERT(self, c->state < STATE_COUNT && (contactor_next[c->state] >> state & 1u) != 0u);
    if (c->moved != 0u || state_is_dead(c->state)) return false;
    c->state = state;
    c->step = c->link_rose = 0u;
    c->moved = 1u;
    c->changes += 1u;
    c->state_us = c->step_us = self->now_us;
    guard(c);
    return true;
}

bool contactor_enter(bms_t *self, uint8_t state)
{
    return enter(self, state);
}

/* For the two ends of everything, from wherever. */
void contactor_die(bms_t *self, uint8_t state)
{
    self->contactor.state = state;
    self->contactor.coils = 0u;
    guard(&self->contactor);
}

static void advance(bms_t *self, uint8_t step)
{
    self->contactor.step = step;
    self->contactor.step_us = self->now_us;
}

void contactor_init(bms_t *self)
{
    contactor_t *const c = &self->contactor;
    c->state = STATE_INIT;
    c->state_us = c->step_us = c->opened_us = self->now_us;
    /* A reset is no reason to go on with what was: whoever asked must ask again. */
    c->request_was = self->reset_cause != ECU_RESET_POWER_ON && self->reset_cause != ECU_RESET_WAKE;
    for (uint32_t k = 0; k < 3u; ++k) c->coil_us[k] = self->now_us;
    guard(c);
}

void contactor_trip(bms_t *self)
{
    contactor_t *const c = &self->contactor;
    if (state_is_open(c->state)) return; /* already open, or waiting for the fuse */
    const bool waits = fuse_holds(self);
    c->request_was = 1u;
    if (!waits) set_coils(self, 0u);
    if (!enter(self, STATE_ERROR)) return; /* the next tick comes here again */
    c->step = waits ? ERROR_FUSE : ERROR_OPEN;
    request_used(self);
}

/* ---- what is known ------------------------------------------------------------------------------------------------------------- */

static bool measures(const bms_t *self)
{
    return self->measure.scan != 0u && self->measure.cells_unknown == 0u && self->measure.gpio_scan != 0u &&
           sensor_fresh(self, &self->sensor.current_ma, FRESH_MS) && sensor_fresh(self, &self->sensor.pack_mv, FRESH_MS) &&
           sensor_fresh(self, &self->sensor.link_mv, FRESH_MS);
}

uint32_t contactor_wanted(const bms_t *self)
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

/* ---- self-test ----------------------------------------------------------------------------------------------------------------- */

/* A cell of memory that keeps one pattern may not keep the other. */
static bool memory_keeps(bms_t *self)
{
    static const uint32_t pattern[4] = {0x55555555u, 0xAAAAAAAAu, 0x00000000u, 0xFFFFFFFFu};
    volatile uint32_t *const word = self->contactor.pattern;
    uint32_t wrong = 0;
    for (uint32_t p = 0; p < 4u; ++p) {
        for (uint32_t k = 0; k < CONTACTOR_PATTERN_WORDS; ++k) word[k] = pattern[p];
        for (uint32_t k = 0; k < CONTACTOR_PATTERN_WORDS; ++k) wrong |= word[k] ^ pattern[p];
    }
    return wrong == 0u;
}

static uint32_t tests_passed(bms_t *self)
{
    contactor_t *const c = &self->contactor;
    uint32_t passed = c->tests & (TEST_MEMORY | TEST_CONFIGURATION); /* these once a start */
    if ((passed & TEST_MEMORY) == 0u && memory_keeps(self)) passed |= TEST_MEMORY;
    if ((passed & TEST_CONFIGURATION) == 0u &&
        crc32_ieee((const uint8_t *)&self->config, offsetof(bms_config_t, crc32)) == self->config_crc) passed |= TEST_CONFIGURATION;
    if (self->afe.config_reads != 0u && self->afe.config_failures == 0u) passed |= TEST_CHIPS;
    if ((self->pins & PIN_IN_OVERCURRENT) == 0u) passed |= TEST_COMPARATOR;
    if ((self->pins & FEEDBACKS) == 0u) passed |= TEST_FEEDBACK;
    if (request_is_ready(self)) passed |= TEST_STORE;
    if (measures(self) && self->soc_valid != 0u) passed |= TEST_READINGS;
    return passed;
}

static void selftest(bms_t *self)
{
    contactor_t *const c = &self->contactor;
    c->tests = (uint8_t)tests_passed(self);
    BMS_ASSERT(self, (c->tests & TEST_MEMORY) != 0u && (c->tests & TEST_CONFIGURATION) != 0u);
    if (c->tests != TEST_ALL || !enter(self, STATE_STANDBY)) return;
    c->opened_us = self->now_us;
    c->request_was |= self->store.found_closed; /* the supply went while closed: whoever asked then must ask again */
    self->store.found_closed = 0u;
}

/* ---- closing ------------------------------------------------------------------------------------------------------------------- */

/* In this order, so that an implausible link is told. */
static uint8_t refusal(bms_t *self, uint32_t mode)
{
    const contactor_t *const c = &self->contactor;
    const bool insulated = sensor_fresh(self, &self->sensor.insulation_kohm, INSULATION_AGE_MS) &&
                           diag_active_tier(self, DIAG_INSULATION_LOW) < TIER_TRIP;
    if (c->request_was != 0u) return REFUSAL_STANDBY_FIRST;
    if (elapsed_ms(self->now_us, c->opened_us) < STANDBY_MIN_MS) return REFUSAL_TOO_SOON;
    if (!measures(self) || self->soc_valid == 0u) return REFUSAL_NOT_MEASURED;
    if (!insulated) return REFUSAL_INSULATION;
    if ((self->pins & FEEDBACKS) != 0u || current_is_beyond(self, self->config.set.rest_ma)) return REFUSAL_NOT_OPEN;
    if (!link_is_plausible(self)) return REFUSAL_LINK_VOLTAGE;
    if (self->protect.inhibit != 0u || (mode == MODE_CHARGE && self->protect.inhibit_charge != 0u)) return REFUSAL_DIAGNOSIS;
    if (self->request.locked != 0u) return REFUSAL_LOCKED_OUT;
    return request_may_enter(self, mode) ? REFUSAL_NOTHING : REFUSAL_NOT_AUTHORISED;
}

static void standby(bms_t *self)
{
    contactor_t *const c = &self->contactor;
    const uint32_t mode = contactor_wanted(self);
    self->request.refusal = REFUSAL_NOTHING;
    if (mode == MODE_STANDBY) {
        c->request_was = 0u;
        diag_sample(self, DIAG_LINK_VOLTAGE_IMPLAUSIBLE, TIER_NONE, 0, -1);
        if (sleep_is_due(self)) (void)enter(self, STATE_SLEEP);
        else if (self->balance.running != 0u) (void)enter(self, STATE_BALANCING);
        return;
    }
    self->request.refusal = refusal(self, mode);
    if (self->request.refusal != REFUSAL_NOTHING || !enter(self, STATE_PRECHARGE)) return;
    c->mode = (uint8_t)mode;
    c->link_before_mv = c->link_last_mv = self->sensor.link_mv.value;
    c->link_seen = self->sensor.link_mv.seq;
    set_coils(self, PIN_OUT_MAIN_MINUS);
}

/* At rest, switches on, contactors open. A wish goes through standby, with the switches off. */
static void balancing(bms_t *self)
{
    const bool wished = contactor_wanted(self) != MODE_STANDBY;
    if (wished) balancing_stop(self);
    if (wished || self->balance.running == 0u) (void)enter(self, STATE_STANDBY);
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

/* Where the link will stand when main plus touches, one closing time from now: a charger that feeds the link already lifts it by
 * tens of volts meanwhile, and a reading that fits now proves nothing. */
static bool link_will_fit(bms_t *self)
{
    contactor_t *const c = &self->contactor;
    const reading_t *const link = &self->sensor.link_mv;
    if (c->link_seen != link->seq) {
        c->link_step_mv = link->value - c->link_last_mv;
        c->link_last_mv = link->value;
        c->link_seen = link->seq;
    }
    const int32_t then = link->value + LINK_STEPS_TO_TOUCH * c->link_step_mv;
    return abs_i32(self->sensor.pack_mv.value - then) <= self->config.set.precharge_tolerance_mv;
}

static void close_link(bms_t *self)
{
    contactor_t *const c = &self->contactor;
    const bms_settings_t *const set = &self->config.set;
    const int32_t pack = self->sensor.pack_mv.value, link = self->sensor.link_mv.value, ma = abs_i32(self->sensor.current_ma.value);
    const uint32_t ms = elapsed_ms(self->now_us, c->step_us);
    const bool full = abs_i32(pack - link) <= set->precharge_tolerance_mv && ma <= set->precharge_done_ma;
    const bool stuck = ms > set->feedback_ms + PRECHARGE_LOOK_MS && link - c->link_before_mv < pack / 20 && ma > set->precharge_done_ma;
    const bool wrong = !full && (stuck || ma > set->precharge_abort_ma);
    diag_sample(self, DIAG_PRECHARGE_CURRENT, wrong ? TIER_TRIP : TIER_NONE, self->sensor.current_ma.value, -1);
    if (c->state != STATE_PRECHARGE) return; /* that was the last straw */
    if (ms > set->precharge_max_ms) {
        diag_sample(self, DIAG_PRECHARGE_TIMEOUT, TIER_TRIP, pack - link, -1);
        return;
    }
    if (!link_will_fit(self) || !full || ms < set->precharge_min_ms || (self->pins & PIN_IN_PRECHARGE_FEEDBACK) == 0u) return;
    set_coils(self, CLOSING_COILS | PIN_OUT_MAIN_PLUS);
    advance(self, CLOSE_PLUS);
}

static void open_in_order(bms_t *self)
{
    if (enter(self, STATE_OPENING)) request_used(self);
}

static void precharge(bms_t *self)
{
    contactor_t *const c = &self->contactor;
    /* Until main plus is told to close nothing much flows: who asked must still be asking with authority, and nothing may have been
     * found that forbids it, such as a resistor that gets too hot. */
    const bool forbidden = self->protect.inhibit != 0u || (c->mode == MODE_CHARGE && self->protect.inhibit_charge != 0u);
    const bool asked = c->step > CLOSE_LINK || (request_may_enter(self, c->mode) && !forbidden);
    if (contactor_wanted(self) != c->mode || !asked || !measures(self)) {
        open_in_order(self);
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
        (void)enter(self, c->mode == MODE_CHARGE ? STATE_NORMAL_CHARGE : STATE_NORMAL_DRIVE);
        break;
    }
}

/* ---- closed, and opening --------------------------------------------------------------------------------------------------------- */

static void normal(bms_t *self)
{
    contactor_t *const c = &self->contactor;
    if (self->canin.known == 0u || elapsed_ms(self->now_us, self->canin.request_us) > REQUEST_AGE_MS) return; /* its diagnosis judges silence */
    const uint32_t mode = contactor_wanted(self);
    self->request.refusal = REFUSAL_NOTHING;
    if (mode == MODE_STANDBY) {
        open_in_order(self);
    } else if (mode != c->mode) {
        self->request.refusal = request_may_enter(self, mode) ? REFUSAL_NOTHING : REFUSAL_NOT_AUTHORISED;
        if (self->request.refusal != REFUSAL_NOTHING) return;
        if (enter(self, mode == MODE_CHARGE ? STATE_NORMAL_CHARGE : STATE_NORMAL_DRIVE)) c->mode = (uint8_t)mode;
    }
}

static void opening(bms_t *self)
{
    contactor_t *const c = &self->contactor;
    const uint32_t ms = elapsed_ms(self->now_us, c->step_us);
    switch (c->step) {
    case OPEN_WAIT:
        /* Out of precharge nothing is waited for: the resistor bounds the current, and it heats. */
        if ((c->coils & PIN_OUT_MAIN_PLUS) != 0u && current_is_beyond(self, self->config.set.rest_ma) && ms < OPEN_WAIT_MS) return;
        if (fuse_is_awaited(self, c->step_us + 1000u * (uint64_t)OPEN_WAIT_MS)) return;
        set_coils(self, c->coils & PIN_OUT_MAIN_MINUS);
        advance(self, OPEN_PLUS);
        break;
    case OPEN_PLUS:
        if (ms < self->config.set.feedback_ms) return;
        set_coils(self, 0u);
        advance(self, OPEN_MINUS);
        break;
    default:
        if (ms >= self->config.set.feedback_ms && enter(self, STATE_STANDBY)) c->opened_us = self->now_us;
        break;
    }
}

static void error(bms_t *self)
{
    contactor_t *const c = &self->contactor;
    const protect_t *const p = &self->protect;
    self->request.refusal = p->trip != 0u && p->cause_present == 0u ? REFUSAL_WAITS_FOR_CLEAR : REFUSAL_TRIPPED;
    if (c->step == ERROR_FUSE) return; /* contactor_step ends it */
    set_coils(self, 0u);
    if (p->trip == 0u) {
        if (enter(self, c->tests == TEST_ALL ? STATE_STANDBY : STATE_SELFTEST)) c->opened_us = self->now_us;
    } else if (p->cause_present == 0u) {
        if (c->state == STATE_LATCHED && sleep_is_due(self)) (void)enter(self, STATE_SLEEP);
        else if (c->state == STATE_ERROR) (void)enter(self, STATE_LATCHED);
    } else if (c->state == STATE_LATCHED) {
        (void)enter(self, STATE_ERROR);
    }
}

/* ---- service: each contactor alone, so that no path is ever closed ---------------------------------------------------------------- */

bool contactor_begin_test(bms_t *self)
{
    contactor_t *const c = &self->contactor;
    const bool calm = contactor_wanted(self) == MODE_STANDBY && (self->pins & FEEDBACKS) == 0u && self->protect.trip == 0u;
    if (c->state != STATE_STANDBY || !calm || current_is_beyond(self, self->config.set.rest_ma)) return false;
    if (!enter(self, STATE_SERVICE)) return false;
    c->test_failed = 0u;
    return true;
}

static void service(bms_t *self)
{
    static const uint8_t coil[3] = {PIN_OUT_MAIN_PLUS, PIN_OUT_MAIN_MINUS, PIN_OUT_PRECHARGE};
    static const uint8_t feedback[3] = {PIN_IN_MAIN_PLUS_FEEDBACK, PIN_IN_MAIN_MINUS_FEEDBACK, PIN_IN_PRECHARGE_FEEDBACK};
    contactor_t *const c = &self->contactor;
    const uint32_t k = c->step / 2u, closed = c->step % 2u == 0u ? coil[k < 3u ? k : 0u] : 0u;
    self->request.refusal = REFUSAL_SERVICE;
    if (k >= 3u || contactor_wanted(self) != MODE_STANDBY) { /* done, or somebody wants to go */
        set_coils(self, 0u);
        if (enter(self, STATE_STANDBY)) c->opened_us = self->now_us;
        return;
    }
    set_coils(self, closed);
    if (elapsed_ms(self->now_us, c->step_us) < self->config.set.feedback_ms) return;
    const uint32_t should = closed != 0u ? feedback[k] : 0u;
    if ((self->pins & FEEDBACKS) != should) c->test_failed |= (uint8_t)(1u << k);
    advance(self, (uint8_t)(c->step + 1u));
}

/* Every step: coils that had to stay go as soon as they may. */
void contactor_step(bms_t *self)
{
    contactor_t *const c = &self->contactor;
    fuse_step(self);
    if (c->state != STATE_ERROR || c->step != ERROR_FUSE || fuse_is_awaited(self, c->state_us)) return;
    set_coils(self, 0u);
    c->step = ERROR_OPEN;
}

void contactor_tick(bms_t *self)
{
    contactor_t *const c = &self->contactor;
    if (self->protect.trip != 0u || (c->coils != 0u && self->supply_mv < BROWN_OUT_MV)) contactor_trip(self);
    switch (c->state) {
    case STATE_INIT: (void)enter(self, STATE_SELFTEST); break;
    case STATE_SELFTEST:
        self->request.refusal = REFUSAL_STARTING;
        selftest(self);
        break;
    case STATE_STANDBY: standby(self); break;
    case STATE_PRECHARGE: precharge(self); break;
    case STATE_NORMAL_DRIVE:
    case STATE_NORMAL_CHARGE: normal(self); break;
    case STATE_OPENING:
        self->request.refusal = REFUSAL_OPENING;
        opening(self);
        break;
    case STATE_ERROR:
    case STATE_LATCHED: error(self); break;
    case STATE_BALANCING: balancing(self); break;
    case STATE_SERVICE: service(self); break;
    case STATE_SLEEP: sleep_tick(self); break;
    default: set_coils(self, 0u); break; /* asserted, refused */
    }
}
