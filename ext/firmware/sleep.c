/* Sleep: see sleep.h. */
#include "bms.h"
#include "util.h"

#define TELL_MS 100u          /* the state goes out a few times before the bus falls silent */
#define KEEP_MS 500u          /* a memory that does not answer does not keep the pack awake */
#define CHIPS_MS 10u          /* the command passes through the stack */
#define CLOCK_SLACK_MS 1000u  /* a rig may be so late */
#define LOOK_SECONDS 5u       /* readings of a look: a second's apart they average noise and converter steps */
#define LOOK_MOST_MS 20000u   /* chips that do not answer end it as well */
#define DAY_MS 86400000u
#define OBSERVER_GAP_S 60.0f  /* temperatures inside follow no gap that long */
#define TICK_MS 10u
#define FEEDBACKS (PIN_IN_MAIN_PLUS_FEEDBACK | PIN_IN_MAIN_MINUS_FEEDBACK | PIN_IN_PRECHARGE_FEEDBACK)
#define WAKE_PINS (PIN_IN_IGNITION | PIN_IN_CRASH | PIN_IN_OVERCURRENT | FEEDBACKS)

/* ---- going down ---------------------------------------------------------------------------------------------------------------- */

void sleep_keep_awake(bms_t *self)
{
    self->sleep.busy_us = self->now_us;
    self->sleep.looks = 0u;
}

static bool is_busy(const bms_t *self)
{
    const bool asked = (self->pins & WAKE_PINS) != 0u || self->canin.known != 0u;
    const bool works = self->contactor.coils != 0u || self->balance.running != 0u || self->thermal.heater_pptt != 0u;
    return asked || works;
}

/* The window of this look is closed and worked on. */
static bool has_looked(const bms_t *self)
{
    const sleep_t *const s = &self->sleep;
    const bool whole = s->leak_gap_s <= 0.0f && s->seconds >= LOOK_SECONDS && self->leak.windows != s->windows_before;
    return whole || elapsed_ms(self->now_us, self->boot_us) >= LOOK_MOST_MS;
}

bool sleep_is_due(const bms_t *self)
{
    const sleep_t *const s = &self->sleep;
    if (self->config.set.sleep_after_ms == 0u || is_busy(self)) return false;
    if (s->looks != 0u) return has_looked(self);
    const bool calm = elapsed_ms(self->now_us, s->busy_us) >= self->config.set.sleep_after_ms;
    return calm && self->leak.phase == LEAK_GATHERS;
}

static void go(bms_t *self, uint8_t phase)
{
    self->sleep.phase = phase;
    self->sleep.phase_us = self->now_us;
}

/* Every 10 ms in STATE_SLEEP, until it is down. */
void sleep_tick(bms_t *self)
{
    sleep_t *const s = &self->sleep;
    const uint32_t ms = elapsed_ms(self->now_us, s->phase_us);
    self->request.refusal = REFUSAL_ASLEEP;
    if (is_busy(self) && s->phase != SLEEP_CHIPS) {
        s->looks = 0u;
        go(self, SLEEP_AWAKE);
        (void)contactor_enter(self, STATE_SELFTEST);
        return;
    }
    switch (s->phase) {
    case SLEEP_AWAKE:
        balancing_stop(self);
        go(self, s->looks != 0u ? SLEEP_KEEPS : SLEEP_TELLS);
        sleep_keep(self);
        break;
    case SLEEP_TELLS:
        if (ms >= TELL_MS) go(self, SLEEP_KEEPS);
        break;
    case SLEEP_KEEPS:
        if (!sleep_is_kept(self) && ms < KEEP_MS) return;
        afe_sleep(self);
        go(self, SLEEP_CHIPS);
        break;
    default: break; /* sleep_step goes down at the end of a step */
    }
}

static uint32_t period_ms(const bms_t *self)
{
    const uint64_t budget_uc = (uint64_t)self->config.set.supply_budget_mah * 3600000u;
    return self->sleep.standby_uc > budget_uc ? (self->config.set.wake_period_ms > DAY_MS ? self->config.set.wake_period_ms : DAY_MS) : self->config.set.wake_period_ms;
}

/* At the end of a step: down, once the chips have had their command. */
void sleep_step(bms_t *self, uint64_t rig_us, ecu_out_t *out)
{
    sleep_t *const s = &self->sleep;
    if (s->phase != SLEEP_CHIPS || self->contactor.state != STATE_SLEEP || elapsed_ms(self->now_us, s->phase_us) < CHIPS_MS) return;
    leak_pause(&self->leak);
    s->phase = SLEEP_DOWN;
    s->pins = self->pins;
    s->told_trip = self->protect.trip;
    s->told_leak = (uint8_t)diag_active_tier(self, DIAG_SOFT_SHORT);
    s->down_us = rig_us;
    s->asked_ms = period_ms(self);
    out->sleep_ms = s->asked_ms;
}

/* ---- coming back ----------------------------------------------------------------------------------------------------------------- */

static bool is_called(const bms_t *self, const ecu_in_t *in)
{
    if (((in->pins.digital ^ self->sleep.pins) & WAKE_PINS) != 0u) return true;
    for (uint32_t k = 0; k < in->can_count && k < ECU_CAN_IN_MAX; ++k) {
        if (in->can[k].bus == ECU_BUS_VEHICLE) return true;
    }
    return false;
}

/* No reading of before is one of now; the places of temperatures are kept until the chips answer. */
static void forget_readings(bms_t *self)
{
    measure_t *const m = &self->measure;
    sensor_t *const r = &self->sensor;
    const bms_settings_t *const set = &self->config.set;
    m->cells_unknown = set->blocks;
    m->cell_min_uv = m->cell_max_uv = BMS_UNKNOWN;
    m->cell_sum_uv = BMS_UNKNOWN;
    memset(m->cell_valid, 0, sizeof m->cell_valid);
    memset(m->cell_rested, 0, sizeof m->cell_rested);
    memset(m->sensor_valid, 0, sizeof m->sensor_valid);
    memset(m->pressure_valid, 0, sizeof m->pressure_valid);
    m->gpio_scan = self->protect.gpio_seen = 0u;
    m->scan_us = self->now_us;
    for (uint32_t k = 0; k < BMS_MODULES_MAX; ++k) m->chip_us[k] = self->now_us;
    r->current_ma.valid = r->pack_mv.valid = r->link_mv.valid = r->insulation_kohm.valid = 0u;
    sensor_init(self);
    protect_init(self);
}

static void take_gap(bms_t *self, uint64_t slept_ms, bool known)
{
    sleep_t *const s = &self->sleep;
    const float gap_s = known ? (float)slept_ms * 1e-3f : 0.0f;
    s->gap_s = s->est_gap_s = s->leak_gap_s = gap_s;
    if (known) {
        s->rested_ms += slept_ms;
        s->standby_uc += slept_ms * self->config.set.supply_asleep_ua / 1000u;
    } else {
        s->unknown_gaps += 1u;
        s->standby_uc += (uint64_t)s->asked_ms * self->config.set.supply_asleep_ua / 1000u;
        leak_forget_time(&self->leak);
    }
    witness_rest(&self->witness, &self->config.est, gap_s);
    if (!known || gap_s > OBSERVER_GAP_S) {
        obs_init(&self->watch.obs, &self->config.obs, self->config.set.blocks, self->config.set.blocks_per_module);
    }
}

/* While down: true when it is time to work again. */
bool sleep_wakes(bms_t *self, const ecu_in_t *in, ecu_out_t *out)
{
    sleep_t *const s = &self->sleep;
    const bool forward = in->now_us > s->down_us, called = is_called(self, in);
    const uint64_t slept_ms = forward ? (in->now_us - s->down_us) / 1000u : 0u;
    out->watchdog_kick = true;
    if (forward && !called && slept_ms < s->asked_ms) { /* nothing of ours */
        out->sleep_ms = s->asked_ms - (uint32_t)slept_ms;
        return false;
    }
    s->phase = SLEEP_AWAKE;
    s->looks = !called;
    s->wakes += 1u;
    s->seconds = 0u;
    s->windows_before = self->leak.windows;
    s->offset_us = in->now_us - (self->now_us + 1000u); /* ours goes on by a step; modulo 2^64, so it may have run backwards */
    self->now_us += 1000u;
    self->boot_us = s->busy_us = self->est_us = self->now_us;
    self->steps = 0u;
    self->contactor.moved = 0u;
    take_gap(self, slept_ms, forward && slept_ms <= (uint64_t)s->asked_ms + CLOCK_SLACK_MS);
    forget_readings(self);
    afe_wake(self);
    self->contactor.tests &= (uint8_t)(TEST_MEMORY | TEST_CONFIGURATION | TEST_STORE);
    (void)contactor_enter(self, STATE_SELFTEST);
    self->contactor.moved = 0u;
    request_used(self);
    return true;
}

/* ---- memory ------------------------------------------------------------------------------------------------------------------------ */

static void put_f32(uint8_t *to, float value)
{
    memcpy(to, &value, sizeof value);
}

static float get_f32(const uint8_t *from)
{
    float value;
    memcpy(&value, from, sizeof value);
    return value;
}

/* The block whose leak stands out most among those below `most`, in standard deviations. */
static uint32_t suspect(const bms_t *self, float most, float *sigmas)
{
    uint32_t found = self->config.set.blocks;
    *sigmas = 0.0f;
    for (uint32_t b = 0; b < self->config.set.blocks; ++b) {
        float sigma_a;
        const float leak_a = leak_block_a(&self->leak, &self->config.est, b, &sigma_a), apart = leak_a / (sigma_a + 1e-9f);
        if (!(apart > *sigmas && apart < most)) continue;
        *sigmas = apart;
        found = b;
    }
    return found;
}

/* STORE_REST: times and counts. STORE_KEEP: the suspects, each its block and one (2 bytes), its leak and its deviation in A (4 bytes each).
 * And the charge: who loses the supply asleep starts from it. */
void sleep_keep(bms_t *self)
{
    const sleep_t *const s = &self->sleep;
    uint8_t rest[STORE_BYTES] = {0}, suspects[STORE_BYTES] = {0};
    memcpy(rest, &s->rested_ms, sizeof s->rested_ms);
    memcpy(rest + 8, &s->standby_uc, sizeof s->standby_uc);
    memcpy(rest + 16, &s->wakes, sizeof s->wakes);
    memcpy(rest + 20, &s->unknown_gaps, sizeof s->unknown_gaps);
    store_put(self, STORE_REST, rest);
    float most = 1e9f;
    for (uint32_t k = 0; k < SLEEP_SUSPECTS; ++k) {
        float sigma_a = 0.0f, apart;
        const uint32_t b = suspect(self, most, &apart);
        if (b >= self->config.set.blocks) break;
        const float leak_a = leak_block_a(&self->leak, &self->config.est, b, &sigma_a);
        put_u16_le(suspects + 10u * k, (uint16_t)(b + 1u)); /* 0: none */
        put_f32(suspects + 10u * k + 2u, leak_a);
        put_f32(suspects + 10u * k + 6u, sigma_a);
        most = apart;
    }
    store_put(self, STORE_KEEP, suspects);
    store_save_soc(self);
}

bool sleep_is_kept(const bms_t *self)
{
    return store_is_idle(self);
}

static void take_up(bms_t *self)
{
    sleep_t *const s = &self->sleep;
    const uint8_t *const rest = store_get(self, STORE_REST), *const suspects = store_get(self, STORE_KEEP);
    s->restored = 1u;
    if (rest != NULL) {
        uint64_t standby_uc;
        memcpy(&s->rested_ms, rest, sizeof s->rested_ms);
        memcpy(&standby_uc, rest + 8, sizeof standby_uc);
        memcpy(&s->wakes, rest + 16, sizeof s->wakes);
        memcpy(&s->unknown_gaps, rest + 20, sizeof s->unknown_gaps);
        s->standby_uc += standby_uc;
    }
    for (uint32_t k = 0; suspects != NULL && k < SLEEP_SUSPECTS; ++k) {
        const uint8_t *const at = suspects + 10u * k;
        const uint32_t b = (uint32_t)at[0] | (uint32_t)at[1] << 8;
        if (b != 0u) leak_restore(&self->leak, &self->config.est, b - 1u, get_f32(at + 2), get_f32(at + 6));
    }
}

/* ---- every 10 ms, and every second ------------------------------------------------------------------------------------------------- */

void sleep_account(bms_t *self)
{
    sleep_t *const s = &self->sleep;
    const bool trips = self->protect.trip > s->told_trip, leaks = diag_active_tier(self, DIAG_SOFT_SHORT) > s->told_leak;
    if (is_busy(self) || (s->looks != 0u && (trips || leaks))) sleep_keep_awake(self);
    if (s->restored == 0u && store_is_read(self)) take_up(self);
    if (contactor_is_normal(self)) s->standby_uc = 0u; /* the converter behind the contactors feeds the supply */
    else s->standby_uc += TICK_MS * self->config.set.supply_awake_ma;
}

/* Time of the second that is over, for the detector. */
float sleep_leak_second_s(bms_t *self)
{
    sleep_t *const s = &self->sleep;
    s->gap_s = 0.0f; /* every module has had it */
    s->seconds += s->seconds < UINT32_MAX ? 1u : 0u;
    if (s->leak_gap_s <= 0.0f || s->seconds < LOOK_SECONDS) return 1.0f;
    const float all_s = 1.0f + s->leak_gap_s;
    s->leak_gap_s = 0.0f;
    s->windows_before = self->leak.windows;
    return all_s;
}

void sleep_init(bms_t *self)
{
    self->sleep.busy_us = self->now_us;
}
