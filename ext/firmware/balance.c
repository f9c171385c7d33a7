/* Passive balancing at rest or small current: look with all switches open, bleed odd channels, bleed even channels, look again. A
 * bled channel reads low and its neighbours high, so only readings taken while looking decide, and bled modules are kept from the
 * estimator. A block that is unknown, or not clearly above the lowest, is never bled. */
#include "bms.h"
#include "util.h"

#define LOOK_MS 2000u      /* relaxation after bleeding, then clean scans */
#define BLEED_MS 8000u     /* of each half; the chips' own timers end after 10 s */
#define ROUND_MS 100u

static bool may_balance(const bms_t *self)
{
    const bool calm = sensor_fresh(self, &self->sensor.current_ma, 100u) &&
                      abs_i32(self->sensor.current_ma.value) <= 3 * self->config.set.rest_ma;
    const bool sane = self->protect.trip == 0u && self->measure.cells_unknown == 0u && self->est_running == 2u;
    return calm && sane && self->canin.balance_allowed != 0u && self->measure.cell_min_uv > self->config.set.balance_min_uv;
}

static void enter(bms_t *self, uint8_t phase)
{
    self->balance.phase = phase;
    self->balance.phase_us = self->now_us;
}

static void switches(bms_t *self, uint32_t half)
{
    self->balance.active = 0u;
    for (uint32_t chip = 0; chip < self->config.set.modules; ++chip) {
        const uint32_t bled = self->balance.want[chip] & half;
        self->afe.bleed_wanted[chip] = (uint16_t)bled;
        self->balance.active |= bled != 0u;
    }
}

/* True when some block is to be bled. One already chosen stays so until it is within stop of the lowest. */
static bool choose(bms_t *self)
{
    const measure_t *const m = &self->measure;
    const bms_settings_t *const set = &self->config.set;
    uint32_t any = 0, chip = 0, channel = 0;
    uint16_t want[BMS_MODULES_MAX] = {0};
    for (uint32_t b = 0; b < set->blocks; ++b) {
        const bool chosen = (self->balance.want[chip] >> channel & 1u) != 0u;
        const int32_t above = m->cell_uv[b] - m->cell_min_uv;
        const bool bleed = m->cell_valid[b] != 0u && above > (chosen ? set->balance_stop_uv : set->balance_start_uv);
        want[chip] = (uint16_t)(want[chip] | (bleed ? 1u << channel : 0u));
        any |= bleed;
        if (++channel == set->blocks_per_module) {
            channel = 0;
            ++chip;
        }
    }
    memcpy(self->balance.want, want, sizeof want);
    return any != 0u;
}

/* What the switches took since the last round, block by block. */
static void account(bms_t *self)
{
    const bms_settings_t *const set = &self->config.set;
    for (uint32_t chip = 0; chip < set->modules; ++chip) {
        for (uint32_t c = 0; c < set->blocks_per_module; ++c) {
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
    switches(self, 0u);
    enter(self, BALANCE_LOOK);
}

void balance_slow(bms_t *self)
{
    balance_t *const b = &self->balance;
    const uint32_t ms = elapsed_ms(self->now_us, b->phase_us);
    if (b->active != 0u) account(self);
    if (!may_balance(self)) {
        switches(self, 0u);
        enter(self, BALANCE_LOOK);
        return;
    }
    switch (b->phase) {
    case BALANCE_ODD:
        if (ms < BLEED_MS) return;
        switches(self, 0xAAAAu);
        enter(self, BALANCE_EVEN);
        break;
    case BALANCE_EVEN:
        if (ms < BLEED_MS) return;
        switches(self, 0u);
        enter(self, BALANCE_LOOK);
        break;
    default:
        if (ms < LOOK_MS) return;
        if (choose(self)) {
            switches(self, 0x5555u);
            enter(self, BALANCE_ODD);
        } else enter(self, BALANCE_LOOK);
        break;
    }
}
