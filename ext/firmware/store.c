#include "bms.h"
#include "util.h"

#define HEALTH_MS 1800000u /* saved so often with contactors open, and charge whenever they have opened */
#define SMALL_PAGES 128u   /* of a pack whose records leave half of them free: read in an eighth of a second */
#define COUNTS_MS 900000u
#define SOC_NONE 0xFFFFu
#define SOC_CLOSED_MS 60000u /* charge is saved so often while closed: a few hundred page writes an hour, each page about once */
#define SOC_MASK 0x3FFFu   /* of what is saved: charge in 0.01 %; above it how sure it was */
#define SOC_SURE_BIT 14u
#define SIGMA_HINT 0.02f   /* self-discharge since, however long ago */
#define SIGMA_SURE_1 0.05f
#define SIGMA_SURE_2 0.1f  /* less sure is not worth a hint */
#define CODES_KEPT (CODE_FAILED_THIS_CYCLE | CODE_PENDING | CODE_CONFIRMED | CODE_INCOMPLETE_SINCE_CLEAR | CODE_FAILED_SINCE_CLEAR)

typedef char counts_fill_a_record[sizeof(store_counts_t) == STORE_BYTES ? 1 : -1];
typedef char frames_fill_a_record[sizeof(store_frame_t) == STORE_BYTES ? 1 : -1];
typedef char codes_fit[DIAG_COUNT <= STORE_CODES ? 1 : -1];

/* ---- records -------------------------------------------------------------------------------------------------------------------- */

static uint32_t health_records(const bms_t *self)
{
    return (self->config.set.blocks + HEALTH_RECORD_BLOCKS - 1u) / HEALTH_RECORD_BLOCKS;
}

static uint32_t soc_records(const bms_t *self)
{
    return (self->config.set.blocks + STORE_SOC_BLOCKS - 1u) / STORE_SOC_BLOCKS;
}

static void move_soc(uint16_t *soc_cpct, uint32_t part, uint8_t *bytes, bool write)
{
    const uint32_t first = part * STORE_SOC_BLOCKS;
    for (uint32_t k = 0; k < STORE_SOC_BLOCKS && first + k < BMS_CELLS_MAX; ++k) {
        uint8_t *const at = bytes + 2u * k;
        if (write) put_u16_le(at, soc_cpct[first + k]);
        else soc_cpct[first + k] = (uint16_t)((uint32_t)at[0] | (uint32_t)at[1] << 8);
    }
}

static void fill(void *owner, uint32_t record, uint8_t bytes[JOURNAL_BYTES])
{
    bms_t *const self = owner;
    store_t *const s = &self->store;
    if (record >= STORE_HEALTH_0) health_write(&self->watch.health, record - STORE_HEALTH_0, bytes);
    else if (record >= STORE_SOC_0) move_soc(s->soc_cpct, record - STORE_SOC_0, bytes, true);
    else if (record >= STORE_FRAME_0) memcpy(bytes, &s->frame[record - STORE_FRAME_0], STORE_BYTES);
    else if (record == STORE_COUNTS) memcpy(bytes, &s->counts, STORE_BYTES);
    else memcpy(bytes, s->image[record], STORE_BYTES);
}

static void take(void *owner, uint32_t record, const uint8_t bytes[JOURNAL_BYTES])
{
    bms_t *const self = owner;
    store_t *const s = &self->store;
    uint8_t copy[JOURNAL_BYTES];
    memcpy(copy, bytes, sizeof copy);
    if (record < STORE_DOUBLED && (s->early >> record & 1u) != 0u) return;
    if (record >= STORE_HEALTH_0) {
        health_read(&self->watch.health, record - STORE_HEALTH_0, copy);
        s->restored = 1u;
    } else if (record >= STORE_SOC_0) {
        move_soc(s->soc_cpct, record - STORE_SOC_0, copy, false);
    } else if (record >= STORE_FRAME_0) {
        memcpy(&s->frame[record - STORE_FRAME_0], copy, STORE_BYTES);
    } else if (record == STORE_COUNTS) {
        memcpy(&s->counts, copy, STORE_BYTES);
    } else {
        memcpy(s->image[record], copy, STORE_BYTES);
    }
}

static const journal_calls_t CALLS = {fill, take};

void store_mark(bms_t *self, uint32_t record)
{
    if (self->store.is_read == 0u && record < STORE_DOUBLED) self->store.early |= 1u << record;
    journal_mark(&self->store.journal, record);
}

void store_put(bms_t *self, uint32_t record, const uint8_t bytes[STORE_BYTES])
{
    memcpy(self->store.image[record], bytes, STORE_BYTES);
    store_mark(self, record);
}

const uint8_t *store_get(const bms_t *self, uint32_t record)
{
    const store_t *const s = &self->store;
    const bool has = (s->is_read != 0u && s->journal.version[record] != 0u) || (s->early >> record & 1u) != 0u;
    return has ? s->image[record] : NULL;
}

/* ---- trouble codes -------------------------------------------------------------------------------------------------------------- */

static void save_codes(bms_t *self)
{
    for (uint32_t half = 0; half < 2u; ++half) {
        uint8_t bytes[STORE_BYTES] = {0};
        for (uint32_t k = 0; k < STORE_BYTES; ++k) {
            const uint32_t id = half * STORE_BYTES + k;
            if (id == 0u || id >= DIAG_COUNT) continue;
            bytes[k] = (uint8_t)((self->store.code[id] & CODES_KEPT) | (self->protect.diag[id].latched != 0u ? 1u : 0u));
        }
        if (memcmp(bytes, self->store.image[half], STORE_BYTES) != 0) store_put(self, STORE_CODES_0 + half, bytes);
    }
}

static uint16_t known_u16(int32_t value)
{
    return value == BMS_UNKNOWN ? 0xFFFFu : (uint16_t)clamp_i32(value, 0, 0xFFFE);
}

static int32_t reading_of(const bms_t *self, const reading_t *reading, uint32_t age_ms)
{
    return sensor_fresh(self, reading, age_ms) ? reading->value : BMS_UNKNOWN;
}

static int16_t known_ddegc(int32_t cdegc)
{
    return (int16_t)(cdegc == BMS_UNKNOWN ? INT16_MIN : clamp_i32(cdegc / 10, -32767, 32767));
}

/* Of a code that has none yet: into a free place, else into that of the oldest. */
static void keep_frame(bms_t *self, uint32_t id)
{
    store_t *const s = &self->store;
    const diagnosis_t *const d = &self->protect.diag[id];
    const measure_t *const m = &self->measure;
    uint32_t at = 0u;
    for (uint32_t k = 0; k < STORE_FRAMES; ++k) {
        if (s->frame[k].id == id) return;
        if (s->frame[k].id == 0u && s->frame[at].id != 0u) at = k;
        if (s->frame[at].id != 0u && s->frame[k].number < s->frame[at].number) at = k;
    }
    store_frame_t *const f = &s->frame[at];
    s->frames += 1u;
    *f = (store_frame_t){0};
    f->id = (uint8_t)id;
    f->tier = d->tier;
    f->state = self->contactor.state;
    f->reset_cause = self->reset_cause;
    f->number = s->frames;
    f->life_s = s->counts.life_s;
    f->uptime_ms = elapsed_ms(self->now_us, self->boot_us);
    f->value = d->value;
    f->place = d->place;
    f->current_ma = reading_of(self, &self->sensor.current_ma, 100u);
    f->pack_mv = reading_of(self, &self->sensor.pack_mv, 100u);
    f->link_mv = reading_of(self, &self->sensor.link_mv, 100u);
    f->insulation_kohm = reading_of(self, &self->sensor.insulation_kohm, 5000u);
    f->cell_min_mv = known_u16(m->cell_min_uv == BMS_UNKNOWN ? BMS_UNKNOWN : m->cell_min_uv / 1000);
    f->cell_max_mv = known_u16(m->cell_max_uv == BMS_UNKNOWN ? BMS_UNKNOWN : m->cell_max_uv / 1000);
    f->temperature_min_ddegc = known_ddegc(m->temperature_min_cdegc);
    f->temperature_max_ddegc = known_ddegc(m->temperature_max_cdegc);
    f->soc_cpct = self->soc_valid != 0u ? (uint16_t)to_i32(self->soc.soc_frac * 10000.0f, 0, 10000, 0xFFFF) : (uint16_t)0xFFFFu;
    f->pressure_max_kpa = known_u16(m->pressure_max_kpa);
    store_mark(self, STORE_FRAME_0 + at);
}

static bool fails(const diagnosis_t *d)
{
    return d->tier >= TIER_WARN && (d->latched == 0u || d->gone == 0u);
}

static void judge_code(bms_t *self, uint32_t id, bool complete)
{
    const diagnosis_t *const d = &self->protect.diag[id];
    uint32_t status = self->store.code[id] & ~(uint32_t)(CODE_FAILED | CODE_WARNING);
    if (fails(d)) {
        if ((status & CODE_FAILED_SINCE_CLEAR) == 0u) keep_frame(self, id);
        status |= CODE_FAILED | CODE_FAILED_THIS_CYCLE | CODE_PENDING | CODE_CONFIRMED | CODE_FAILED_SINCE_CLEAR | CODE_WARNING;
        complete = true;
    }
    if (d->latched != 0u) status |= CODE_WARNING;
    if (complete) status &= ~(uint32_t)(CODE_INCOMPLETE_SINCE_CLEAR | CODE_INCOMPLETE_THIS_CYCLE);
    self->store.code[id] = (uint8_t)status;
}

/* A test is complete once the self-test has ended: from then on everything is watched. */
static void judge_codes(bms_t *self)
{
    store_t *const s = &self->store;
    const bool complete = self->contactor.state > STATE_SELFTEST;
    const uint8_t busy = self->protect.active_count != 0u || !complete;
    if (busy == 0u && s->busy_codes == 0u) return;
    s->busy_codes = busy;
    for (uint32_t id = 1; id < DIAG_COUNT; ++id) judge_code(self, id, complete);
    save_codes(self);
}

/* Workshop: forget a code, or all of them (id 0). What is still latched stays. */
void store_clear_codes(bms_t *self, uint32_t id)
{
    store_t *const s = &self->store;
    for (uint32_t k = 1; k < DIAG_COUNT; ++k) {
        if ((id != 0u && id != k) || self->protect.diag[k].latched != 0u) continue;
        s->code[k] = CODE_INCOMPLETE_SINCE_CLEAR | CODE_INCOMPLETE_THIS_CYCLE;
        for (uint32_t f = 0; f < STORE_FRAMES; ++f) {
            if (s->frame[f].id != k) continue;
            s->frame[f] = (store_frame_t){0};
            store_mark(self, STORE_FRAME_0 + f);
        }
    }
    s->busy_codes = 1u;
    s->counts.clears += 1u;
    store_mark(self, STORE_COUNTS);
    save_codes(self);
}

static void restore_codes(bms_t *self)
{
    store_t *const s = &self->store;
    for (uint32_t id = 1; id < DIAG_COUNT; ++id) {
        const uint32_t kept = s->image[STORE_CODES_0 + id / STORE_BYTES][id % STORE_BYTES];
        uint32_t status = s->code[id] | (kept & (CODE_CONFIRMED | CODE_FAILED_SINCE_CLEAR));
        if ((kept & CODE_FAILED_THIS_CYCLE) != 0u) status |= CODE_PENDING;
        if ((kept & CODE_INCOMPLETE_SINCE_CLEAR) == 0u && s->journal.version[STORE_CODES_0] != 0u)
            status &= ~(uint32_t)CODE_INCOMPLETE_SINCE_CLEAR;
        s->code[id] = (uint8_t)status;
        if ((kept & 1u) != 0u) diag_restore(self, id);
    }
    for (uint32_t f = 0; f < STORE_FRAMES; ++f) {
        if (s->frame[f].number > s->frames) s->frames = s->frame[f].number;
    }
}

/* ---- state of charge ------------------------------------------------------------------------------------------------------------ */

void store_save_soc(bms_t *self)
{
    store_t *const s = &self->store;
    if (self->est_running == 0u || self->soc_valid == 0u) return;
    for (uint32_t b = 0; b < self->config.set.blocks; ++b) {
        const float sigma = self->est.sigma_frac[b];
        const uint32_t sure = sigma <= SIGMA_HINT ? 0u : sigma <= SIGMA_SURE_1 ? 1u : 2u;
        const uint32_t soc = (uint32_t)to_i32(self->est.soc_frac[b] * 10000.0f, 0, 10000, (int32_t)SOC_NONE);
        s->soc_cpct[b] = (uint16_t)(sigma <= SIGMA_SURE_2 ? soc | sure << SOC_SURE_BIT : SOC_NONE);
    }
    s->soc_us = self->now_us;
    for (uint32_t r = 0; r < soc_records(self); ++r) store_mark(self, STORE_SOC_0 + r);
}

/* A pack that never ran is taken as rested, and one whose firmware slept until now. Else a voltage says less. */
bool store_knows_rest(const bms_t *self)
{
    return self->store.counts.boots <= 1u || self->reset_cause == ECU_RESET_WAKE;
}

/* Charge as saved when the contactors moved or the pack went to sleep. If they were found closed, it is up to SOC_CLOSED_MS old,
 * with what may have flowed. */
void store_hint_soc(bms_t *self, uint32_t block)
{
    static const float SIGMA[3] = {SIGMA_HINT, SIGMA_SURE_1, SIGMA_SURE_2};
    const store_t *const s = &self->store;
    const uint32_t soc = s->soc_cpct[block] & SOC_MASK, sure = (uint32_t)s->soc_cpct[block] >> SOC_SURE_BIT;
    if (sure > 2u || soc > 10000u) return;
    const int32_t most_ma = max_i32(self->config.set.charge_ma[0], self->config.set.discharge_ma[0]);
    const float since = s->soc_clean != 0u ? 0.0f : 0.5f * (float)most_ma * (float)SOC_CLOSED_MS * self->config.est.per_uc;
    est_hint(&self->est, block, (float)soc * 1e-4f, sqrt_f32(SIGMA[sure] * SIGMA[sure] + since * since));
}

/* ---- start and every 10 ms ------------------------------------------------------------------------------------------------------ */

void store_init(bms_t *self)
{
    store_t *const s = &self->store;
    const uint32_t copies = 2u * STORE_DOUBLED + soc_records(self) + health_records(self);
    journal_init(&s->journal, 2u * copies <= SMALL_PAGES ? SMALL_PAGES : ECU_NVM_PAGES, STORE_RECORDS, STORE_DOUBLED);
    memset(s->soc_cpct, 0xFF, sizeof s->soc_cpct);
    memset(s->code, CODE_INCOMPLETE_SINCE_CLEAR | CODE_INCOMPLETE_THIS_CYCLE, sizeof s->code);
    s->second_us = s->health_us = s->counts_us = self->now_us;
}

static void was_read(bms_t *self)
{
    store_t *const s = &self->store;
    uint32_t crc = 0u;
    memcpy(&crc, s->image[STORE_IDENTITY], sizeof crc);
    if (s->journal.version[STORE_IDENTITY] == 0u || crc != self->config_crc) { /* another pack, or none before */
        memset(s->soc_cpct, 0xFF, sizeof s->soc_cpct);
        if (s->restored != 0u) health_init(&self->watch.health, self->config.set.blocks);
        s->restored = 0u;
        memcpy(s->image[STORE_IDENTITY], &self->config_crc, sizeof crc);
        store_mark(self, STORE_IDENTITY);
    }
    s->soc_clean = s->counts.is_closed == 0u;
    s->counts.boots += 1u;
    s->counts.improper += s->counts.is_closed;
    s->found_closed = s->counts.is_closed != 0u;
    s->counts.is_closed = 0u;
    s->counts.watchdog_resets += self->reset_cause == ECU_RESET_WATCHDOG;
    s->before_out_mah = s->counts.out_mah;
    s->before_in_mah = s->counts.in_mah;
    s->before_failures = s->counts.write_failures;
    s->is_read = 1u;
    restore_codes(self);
    store_mark(self, STORE_COUNTS);
}

static void count(bms_t *self)
{
    store_t *const s = &self->store;
    store_counts_t *const c = &s->counts;
    const uint32_t seconds = elapsed_ms(self->now_us, s->second_us) / 1000u;
    s->second_us += (uint64_t)seconds * 1000000u;
    c->life_s += seconds;
    if (self->contactor.coils != 0u) c->closed_s += seconds;
    c->out_mah = s->before_out_mah + (uint32_t)(self->charge.out_uc / 3600000u);
    c->in_mah = s->before_in_mah + (uint32_t)(self->charge.in_uc / 3600000u);
    c->write_failures = s->before_failures + s->journal.failures;
}

void store_tick(bms_t *self)
{
    store_t *const s = &self->store;
    if (s->is_read == 0u) return;
    count(self);
    judge_codes(self);
    const uint8_t closed = self->contactor.coils != 0u, tripped = self->protect.trip != 0u;
    if (tripped != 0u && s->was_tripped == 0u) {
        s->counts.trips += 1u;
        store_mark(self, STORE_COUNTS);
    }
    if (closed != s->was_closed) {
        s->counts.is_closed = closed;
        s->counts.closes += closed;
        store_mark(self, STORE_COUNTS);
        store_save_soc(self);
    }
    s->was_closed = closed;
    s->was_tripped = tripped;
    if (closed != 0u && elapsed_ms(self->now_us, s->soc_us) >= SOC_CLOSED_MS) store_save_soc(self);
    if (elapsed_ms(self->now_us, s->counts_us) >= COUNTS_MS) {
        s->counts_us = self->now_us;
        store_mark(self, STORE_COUNTS);
    }
    if (closed != 0u || elapsed_ms(self->now_us, s->health_us) < HEALTH_MS) return;
    s->health_us = self->now_us;
    s->health_saves += 1u;
    store_save_soc(self);
    for (uint32_t r = 0; r < health_records(self); ++r) store_mark(self, STORE_HEALTH_0 + r);
}

/* Every step. */
void store_step(bms_t *self, const ecu_in_t *in, ecu_out_t *out)
{
    journal_t *const j = &self->store.journal;
    if (j->settled != 0u) return;
    const uint32_t commits = j->commits, failures = j->failures;
    journal_step(j, self->now_us, &in->nvm_done, &out->nvm_want, &CALLS, self);
    if (self->store.is_read == 0u && journal_is_read(j)) was_read(self);
    if (j->failures != failures) diag_sample(self, DIAG_NVM_FAILED, TIER_WARN, (int32_t)j->bad_in_row, j->head);
    else if (j->commits != commits) diag_sample(self, DIAG_NVM_FAILED, TIER_NONE, 0, -1);
}
