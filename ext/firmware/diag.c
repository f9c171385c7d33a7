/* Debounce, latch, and what follows from all diagnoses together. The table is generated from src/bms/spec/diagnoses.toml.
 *
 * A sample names the tier it crosses. A tier is concluded after `debounce_samples` such samples in a row, or `debounce_ms` after the
 * first if no good sample came since: silence after a bad sample counts as bad. It ends after samples below it for `clear_ms`. The
 * highest tier of a diagnosis with `latch` stays until a clear request that finds the cause gone. */
#include "bms.h"
#include "util.h"

static uint32_t highest_tier(const diagnosis_row_t *row)
{
    return (row->tiers >> TIER_TRIP & 1u) != 0u ? TIER_TRIP : TIER_WARN; /* none ends at operate */
}

static void set_bit(uint64_t *words, uint32_t id)
{
    words[id / DIAG_PER_PAGE] |= (uint64_t)1u << id % DIAG_PER_PAGE;
}

static void clear_bit(uint64_t *words, uint32_t id)
{
    words[id / DIAG_PER_PAGE] &= ~((uint64_t)1u << id % DIAG_PER_PAGE);
}

static bool has_bit(const uint64_t *words, uint32_t id)
{
    return (words[id / DIAG_PER_PAGE] >> id % DIAG_PER_PAGE & 1u) != 0u;
}

static bool has_any(const uint64_t *words)
{
    uint64_t any = 0u;
    for (uint32_t w = 0; w < DIAG_PAGES; ++w) any |= words[w];
    return any != 0u;
}

static void conclude(bms_t *self, diagnosis_t *d, const diagnosis_row_t *row, uint32_t tier)
{
    d->tier = (uint8_t)tier;
    d->gone = 0u;
    set_bit(self->protect.active_bits, row->id);
    if (row->latch != 0u && tier == highest_tier(row)) d->latched = 1u;
    if (tier == TIER_TRIP && row->reaction == REACTION_TRIP) {
        if (self->protect.first_trip == 0u) self->protect.first_trip = row->id;
        self->protect.trip = 1u;
        contactor_trip(self);
    }
    self->protect.changed = 1u;
}

void diag_judge(bms_t *self, uint32_t id, uint32_t tier, int32_t value, int32_t place)
{
    diagnosis_t *const d = &self->protect.diag[id];
    const diagnosis_row_t *const row = &diagnosis_table[id];
    const uint32_t cleared_below = row->latch != 0u && d->latched != 0u ? TIER_WARN : d->tier;
    set_bit(self->protect.busy_bits, id);
    if (tier >= cleared_below || d->sampled >= cleared_below) d->good_us = self->now_us;
    d->sampled = (uint8_t)tier;
    if (tier >= d->tier) {
        d->value = value;
        d->place = place;
    }
    for (uint32_t t = TIER_OPERATE; t <= TIER_TRIP; ++t) {
        if (tier < t) {
            d->bad[t] = 0u;
            continue;
        }
        if (d->bad[t] == 0u) d->bad_us[t] = self->now_us;
        d->bad[t] = (uint16_t)min_i32(d->bad[t] + 1, 60000);
        const bool has = (row->tiers >> t & 1u) != 0u;
        if (has && t > d->tier && d->bad[t] >= row->debounce_samples) conclude(self, d, row, t);
    }
}

/* Silence after a bad sample, and the way back. */
static void age(bms_t *self, uint32_t id)
{
    diagnosis_t *const d = &self->protect.diag[id];
    const diagnosis_row_t *const row = &diagnosis_table[id];
    uint32_t held = TIER_NONE, counting = 0u;
    for (uint32_t t = TIER_OPERATE; t <= TIER_TRIP; ++t) {
        counting |= d->bad[t];
        if ((row->tiers >> t & 1u) == 0u || d->bad[t] == 0u) continue;
        const bool enough = d->bad[t] >= row->debounce_samples || elapsed_ms(self->now_us, d->bad_us[t]) >= row->debounce_ms;
        if (!enough) continue;
        held = t;
        if (t > d->tier) conclude(self, d, row, t);
    }
    const bool quiet = elapsed_ms(self->now_us, d->good_us) >= row->clear_ms;
    if (d->latched != 0u) {
        d->gone = quiet && d->sampled < TIER_WARN;
    } else if (held < d->tier && quiet) {
        d->tier = (uint8_t)held;
        self->protect.changed = 1u;
    }
    if (counting == 0u && d->tier == TIER_NONE && d->latched == 0u) clear_bit(self->protect.busy_bits, id);
}

static void summarise(bms_t *self)
{
    protect_t *const p = &self->protect;
    memset(p->active_bits, 0, sizeof p->active_bits);
    p->trip_groups = 0u;
    p->trip = p->inhibit = p->inhibit_charge = p->derate = p->warn = 0u;
    p->needs_clear = p->needs_service = p->cause_present = p->active_count = 0u;
    for (uint32_t id = 1; id < DIAG_COUNT; ++id) {
        const diagnosis_t *const d = &p->diag[id];
        const diagnosis_row_t *const row = &diagnosis_table[id];
        if (d->tier == TIER_NONE && d->latched == 0u) continue;
        const bool worst = d->tier == highest_tier(row);
        set_bit(p->active_bits, id);
        p->active_count += 1u;
        p->warn |= d->tier >= TIER_WARN;
        p->inhibit |= worst && row->reaction == REACTION_INHIBIT;
        p->inhibit_charge |= worst && row->reaction == REACTION_INHIBIT_CHARGE;
        const bool lowers = row->reaction == REACTION_DERATE && id != DIAG_SOC_LOW; /* low charge has a curve of its own */
        if (lowers && d->tier > p->derate) p->derate = d->tier;
        p->needs_clear |= d->latched;
        p->needs_service |= d->latched && row->service != 0u;
        if (!worst || row->reaction != REACTION_TRIP) continue;
        p->trip = 1u;
        p->trip_groups |= 1u << row->group;
        p->cause_present |= d->gone == 0u;
    }
    if (p->trip == 0u) p->first_trip = 0u;
}

void diag_tick(bms_t *self)
{
    if (has_any(self->protect.busy_bits)) {
        for (uint32_t id = 1; id < DIAG_COUNT; ++id) {
            if (has_bit(self->protect.busy_bits, id)) age(self, id);
        }
    }
    if (has_any(self->protect.active_bits) || self->protect.changed != 0u) summarise(self);
}

/* Latched before the reset: latched again. The cause must be found gone anew. */
void diag_restore(bms_t *self, uint32_t id)
{
    diagnosis_t *const d = &self->protect.diag[id];
    const diagnosis_row_t *const row = &diagnosis_table[id];
    if (row->latch == 0u || d->latched != 0u) return;
    d->good_us = self->now_us;
    d->place = -1;
    set_bit(self->protect.busy_bits, id);
    conclude(self, d, row, highest_tier(row));
}

void diag_clear(bms_t *self, bool service)
{
    for (uint32_t id = 1; id < DIAG_COUNT; ++id) {
        diagnosis_t *const d = &self->protect.diag[id];
        const bool allowed = diagnosis_table[id].service == 0u || service;
        if (d->latched == 0u || d->gone == 0u || !allowed) continue;
        d->latched = 0u;
        d->tier = TIER_NONE;
        self->protect.changed = 1u;
    }
    summarise(self);
}

uint32_t diag_active_tier(const bms_t *self, uint32_t id)
{
    return self->protect.diag[id].tier;
}
