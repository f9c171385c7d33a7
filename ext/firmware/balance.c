/* Passive balancing. Odd channels are bled, then even ones, and every second the switches pause for a tenth of it, so that readings
 * without the drop of the bleeding current keep coming: they alone decide, and they alone reach the estimator and the bus.
 *
 * Two strategies. By voltage, at rest or small current: look with all switches open until the cells have relaxed, bleed what stands above
 * the lowest. By charge, at any current: bleed what the estimator says is above the lowest, which counts what was bled, so that nothing
 * has to relax and the flat part of an open-circuit voltage does not matter.
 *
 * Never: an unknown block or a pack with one, a block at or below balance_min_uv (above its operate minimum by configuration), a module
 * that is too hot or whose temperature is not known, a trip, a vehicle that forbids it. The chips' own timers end what a host that died
 * has begun, after ten seconds. */
#include "bms.h"
#include "util.h"

#define LOOK_MS 2000u      /* relaxation after bleeding, then clean scans */
#define BLEED_MS 8000u     /* of each half; the chips' own timers end after 10 s */
#define ROUND_MS 100u
#define ROUNDS 10u
#define ODD 0x5555u
#define EVEN 0xAAAAu

static bool may_balance(const bms_t *self)
{
    const bms_settings_t *const set = &self->config.set;
    const bool calm = sensor_fresh(self, &self->sensor.current_ma, 100u) &&
                      (set->balance_strategy == BALANCE_BY_CHARGE || abs_i32(self->sensor.current_ma.value) <= 3 * set->rest_ma);
    const bool sane = self->protect.trip == 0u && self->measure.cells_unknown == 0u && self->est_running == 2u;
    const bool closing = self->contactor.state == STATE_PRECHARGE || self->contactor.state == STATE_SLEEP;
    return calm && sane && !closing && self->canin.balance_allowed != 0u;
}

static void enter(bms_t *self, uint8_t phase)
{
    self->balance.phase = phase;
    self->balance.phase_us = self->now_us;
}

static bool is_cool(const bms_t *self, uint32_t chip)
{
    const uint32_t count = self->config.set.thermistors, first = chip * count;
    for (uint32_t s = first; s < first + count; ++s) {
        const bool known = self->measure.sensor_valid[s] != 0u;
        if (!known || self->measure.sensor_cdegc[s] > self->config.set.balance_max_cdegc) return false;
    }
    return true;
}

static void switches(bms_t *self, uint32_t half)
{
    self->balance.active = 0u;
    for (uint32_t chip = 0; chip < self->config.set.modules; ++chip) {
        const uint32_t bled = half != 0u && is_cool(self, chip) ? self->balance.want[chip] & half : 0u;
        self->afe.bleed_wanted[chip] = (uint16_t)bled;
        self->balance.active |= bled != 0u;
    }
    if (self->balance.active == 0u) self->afe.pause_wanted = 0u;
}

static float lowest_soc(const bms_t *self)
{
    float low = 2.0f;
    for (uint32_t b = 0; b < self->config.set.blocks; ++b) low = self->est.soc_frac[b] < low ? self->est.soc_frac[b] : low;
    return low;
}

/* Above the lowest by enough? One already chosen stays so until it is within stop of it. */
static bool is_above(const bms_t *self, uint32_t b, bool chosen, float low_frac)
{
    const bms_settings_t *const set = &self->config.set;
    if (set->balance_strategy == BALANCE_BY_CHARGE)
        return self->est.soc_frac[b] - low_frac > (chosen ? set->balance_stop_frac : set->balance_start_frac);
    return self->measure.told_uv[b] - self->measure.told_min_uv > (chosen ? set->balance_stop_uv : set->balance_start_uv);
}

/* Between two choices: a block that fell meanwhile is let go at once, by a reading that its own switch lowers if anything. */
static void let_go(bms_t *self)
{
    const bms_settings_t *const set = &self->config.set;
    for (uint32_t chip = 0; chip < set->modules; ++chip) {
        for (uint32_t c = 0; self->afe.bleed_wanted[chip] != 0u && c < set->blocks_per_module; ++c) {
            const uint32_t b = chip * set->blocks_per_module + c, keep = ~(1u << c);
            if (b >= set->blocks || self->measure.cell_uv[b] > set->balance_min_uv) continue;
            self->balance.want[chip] = (uint16_t)(self->balance.want[chip] & keep);
            self->afe.bleed_wanted[chip] = (uint16_t)(self->afe.bleed_wanted[chip] & keep);
        }
    }
}

/* True when some block is to be bled. Called with readings that no switch disturbs. */
static bool choose(bms_t *self)
{
    const measure_t *const m = &self->measure;
    const bms_settings_t *const set = &self->config.set;
    const float low_frac = set->balance_strategy == BALANCE_BY_CHARGE ? lowest_soc(self) : 0.0f;
    uint32_t any = 0, chip = 0, channel = 0;
    uint16_t want[BALANCE_MODULES_MAX] = {0};
    for (uint32_t b = 0; b < set->blocks; ++b) {
        const bool chosen = (self->balance.want[chip] >> channel & 1u) != 0u, full = m->cell_uv[b] > set->balance_min_uv;
        const bool bleed = m->cell_valid[b] != 0u && full && is_above(self, b, chosen, low_frac);
        want[chip] = (uint16_t)(want[chip] | (bleed ? 1u << channel : 0u));
        any |= bleed;
        if (++channel == set->blocks_per_module) {
            channel = 0;
            ++chip;
        }
    }
    memcpy(self->balance.want, want, sizeof want);
    return any != 0u && m->cell_min_uv > set->balance_min_uv;
}

/* What the switches took since the last round, block by block. */
static void account(bms_t *self)
{
    const bms_settings_t *const set = &self->config.set;
    for (uint32_t chip = 0; chip < set->modules; ++chip) {
        for (uint32_t c = 0; self->afe.bleed_set[chip] != 0u && c < set->blocks_per_module; ++c) {
            if ((self->afe.bleed_set[chip] >> c & 1u) == 0u) continue;
            const uint32_t b = chip * set->blocks_per_module + c;
            if (b >= set->blocks) continue;
            const float amps = (float)self->measure.cell_uv[b] * 1e-6f / set->bleed_ohm;
            est_bleed(&self->est, &self->config.est, b, amps * 1000.0f * (float)ROUND_MS);
            leak_bled(&self->leak, &self->config.est, b, amps * 1000.0f * (float)ROUND_MS);
        }
    }
}

void balancing_stop(bms_t *self)
{
    self->balance.running = 0u;
    switches(self, 0u);
    enter(self, BALANCE_LOOK);
}

/* The switches rest in the first round of each second; what they held stays written in the chips. */
static void pause(bms_t *self)
{
    balance_t *const b = &self->balance;
    b->round = (uint8_t)(b->round + 1u < ROUNDS ? b->round + 1u : 0u);
    self->afe.pause_wanted = b->active != 0u && b->round == 0u;
}

void balance_slow(bms_t *self)
{
    balance_t *const b = &self->balance;
    const uint32_t ms = elapsed_ms(self->now_us, b->phase_us);
    const uint32_t look_ms = self->config.set.balance_strategy == BALANCE_BY_CHARGE ? ROUND_MS : LOOK_MS;
    if (b->active != 0u && self->afe.pause_set == 0u) account(self);
    if (!may_balance(self)) {
        balancing_stop(self);
        return;
    }
    if (b->active != 0u) let_go(self);
    pause(self);
    switch (b->phase) {
    case BALANCE_ODD:
        if (ms < BLEED_MS) return;
        switches(self, EVEN);
        enter(self, BALANCE_EVEN);
        break;
    case BALANCE_EVEN:
        if (ms < BLEED_MS) return;
        switches(self, 0u);
        enter(self, BALANCE_LOOK);
        break;
    default:
        if (ms < look_ms) return;
        b->running = choose(self);
        if (b->running != 0u) {
            switches(self, ODD);
            enter(self, BALANCE_ODD);
        } else enter(self, BALANCE_LOOK);
        break;
    }
}
