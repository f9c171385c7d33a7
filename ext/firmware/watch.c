/* The slow watchers, a module at a time: temperatures inside, health, power; and what is kept over a reset. */
#include "bms.h"
#include "crc.h"
#include "util.h"

#define MODEL_ERROR_V 0.005f  /* beside the sensor's */
#define POWER_ROUNDS 5u       /* a module's power is looked at every fifth round */
#define REST_LOOK_MS 20000u
#define SAVE_MS 1800000u      /* and whenever the contactors have opened */
#define MEMORY_TIMEOUT_MS 500u

void watch_init(bms_t *self)
{
    watch_t *const w = &self->watch;
    const bms_settings_t *const set = &self->config.set;
    obs_init(&w->obs, &self->config.obs, set->blocks, set->blocks_per_module);
    health_init(&w->health, set->blocks);
    w->power_limits.voltage_max_v = (float)set->voltage_max_uv[LIMIT_OPERATE] * 1e-6f;
    w->power_limits.voltage_min_v = (float)set->voltage_min_uv[LIMIT_OPERATE] * 1e-6f;
    w->power_limits.charge_a = (float)max_i32(set->charge_ma[LIMIT_OPERATE], 1) * 1e-3f;
    w->power_limits.discharge_a = (float)max_i32(set->discharge_ma[LIMIT_OPERATE], 1) * 1e-3f;
    w->power_limits.margin_v = MODEL_ERROR_V;
    w->power_limits.reading_v = (float)set->reading_error_uv * 1e-6f;
    w->power_limits.core_k_per_j = 1.0f / self->config.obs.core_j_per_k;
    w->power_limits.path_ohm = set->path_ohm;
    w->weakest_capacity_frac = 1.0f;
    w->memory.pages = (uint16_t)((set->blocks + HEALTH_RECORD_BLOCKS - 1u) / HEALTH_RECORD_BLOCKS);
    w->memory.saved_us = self->now_us;
}

/* The estimator's temperatures: cores, as soon as they are known. */
void watch_temperatures(bms_t *self, uint32_t chip)
{
    const watch_t *const w = &self->watch;
    if (!obs_started(&w->obs, chip)) return;
    const uint32_t first = chip * self->config.set.blocks_per_module, left = self->config.set.blocks - first;
    const uint32_t count = left < self->config.set.blocks_per_module ? left : self->config.set.blocks_per_module;
    for (uint32_t b = first; b < first + count; ++b)
        self->measure.block_cdegc[b] = to_i32(w->obs.core_degc[b] * 100.0f, -10000, 40000, self->measure.block_cdegc[b]);
}

static void observe(bms_t *self, uint32_t chip, uint32_t first, uint32_t count)
{
    watch_t *const w = &self->watch;
    const uint32_t thermistors = self->config.set.thermistors;
    float heat_w[BMS_CHANNELS_MAX], reading_degc[BMS_THERMISTORS_MAX];
    for (uint32_t c = 0; c < count; ++c) {
        heat_w[c] = w->heat_j[first + c];
        w->heat_j[first + c] = 0.0f;
    }
    for (uint32_t s = 0; s < thermistors; ++s) reading_degc[s] = (float)self->measure.sensor_cdegc[chip * thermistors + s] * 0.01f;
    obs_step(&w->obs, &self->config.obs, chip, 1.0f, heat_w, reading_degc, self->measure.sensor_valid + chip * thermistors, OBS_NO_SINK);
}

/* The heat of the last 100 ms in J. */
static void add_heat(bms_t *self, uint32_t first, uint32_t count)
{
    watch_t *const w = &self->watch;
    float heat_w[BMS_CHANNELS_MAX];
    obs_heat_w(&self->est, &self->config.est, first, count, self->est.current_a, self->measure.cell_uv, self->measure.cell_rested,
               w->health.more_frac, w->obs.core_degc, heat_w);
    for (uint32_t c = 0; c < count; ++c) w->heat_j[first + c] += 0.1f * heat_w[c];
}

/* ---- leaks -------------------------------------------------------------------------------------------------------------------- */

static void gather_leaks(bms_t *self, uint32_t chip, uint32_t first, uint32_t count)
{
    const uint32_t *const valid = sensor_fresh(self, &self->sensor.current_ma, 100u) ? self->measure.cell_rested : NULL;
    leak_pressure(&self->leak, chip, self->measure.pressure_valid[chip] ? (float)self->measure.pressure_kpa[chip] : -1.0f);
    leak_module(&self->leak, &self->est, &self->config.est, self->config.set.leak_spread_a, chip, first, count, 1.0f, self->measure.cell_uv,
                valid);
}

static void find_leaks(bms_t *self)
{
    const leak_t *const l = &self->leak;
    const float taken_as = (float)(self->charge.used_uc - self->watch.second_uc) * 1e-6f;
    self->watch.second_uc = self->charge.used_uc;
    if (!leak_second(&self->leak, &self->config.est, 1.0f, taken_as)) return;
    const int32_t *const threshold_ma = diagnosis_table[DIAG_SOFT_SHORT].threshold;
    const int32_t sure_ma = to_i32(l->worst_a * 1000.0f, -1000000, 1000000, 0);
    const uint32_t tier = sure_ma > threshold_ma[TIER_WARN] ? TIER_WARN : (sure_ma > threshold_ma[TIER_OPERATE] ? TIER_OPERATE : TIER_NONE);
    diag_sample(self, DIAG_SOFT_SHORT, tier, sure_ma, (int32_t)l->worst);
}

/* One module, every 100 ms, after its results: round counts 0 to 9 in a second. */
void watch_module(bms_t *self, uint32_t chip, uint32_t first, uint32_t count, uint32_t round)
{
    watch_t *const w = &self->watch;
    const float used = (float)self->charge.used_uc * self->config.est.per_uc;
    health_resistance(&w->health, &self->est, &self->config.est, chip, first, count, 0.1f, self->est.current_a, used,
                      self->measure.cell_uv, self->measure.cell_rested);
    health_join(&w->health, &self->est, first, count);
    add_heat(self, first, count);
    if (round == chip % 10u) {
        observe(self, chip, first, count);
        gather_leaks(self, chip, first, count);
    }
    const float jump_a = self->est.current_a - w->before_a[chip];
    w->before_a[chip] = self->est.current_a;
    if (round % POWER_ROUNDS != chip % POWER_ROUNDS) return;
    const power_known_t known = {w->health.more_frac, w->health.more_sigma, self->measure.cell_uv, self->measure.cell_rested, jump_a};
    power_module(&w->power, &self->est, &self->config.est, &w->power_limits, chip, first, count, &known);
    w->power_ready |= 1u << chip;
}

/* ---- rest -------------------------------------------------------------------------------------------------------------------- */

/* All blocks relaxed: learn their capacity. */
static void rest_over(bms_t *self)
{
    watch_t *const w = &self->watch;
    const uint32_t blocks = self->config.set.blocks;
    health_rest_over(&w->health, &self->config.est, 0u, blocks);
}

static void rest(bms_t *self)
{
    watch_t *const w = &self->watch;
    const bms_settings_t *const set = &self->config.set;
    const bool calm = abs_i32(self->sensor.current_ma.value) <= set->rest_ma && sensor_fresh(self, &self->sensor.current_ma, 100u);
    const float used = (float)self->charge.used_uc * self->config.est.per_uc;
    if (!calm) {
        if (w->rest_us != 0u) rest_over(self);
        w->rest_us = 0u;
        w->weakest_capacity_frac = w->health.capacity_frac[health_weakest(&w->health)];
        return;
    }
    if (w->rest_us == 0u) {
        w->rest_us = self->now_us;
        w->rest_look = 0u;
    }
    const uint32_t ms = elapsed_ms(self->now_us, w->rest_us);
    if (ms < w->rest_look + REST_LOOK_MS) return;
    w->rest_look = ms;
    (void)health_rest(&w->health, &self->est, &self->config.est, 0u, set->blocks, (float)ms * 1e-3f, used, self->measure.cell_uv,
                      self->measure.cell_rested);
}

/* ---- memory ------------------------------------------------------------------------------------------------------------------ */

static uint16_t page_crc(uint32_t page, const uint8_t *data)
{
    uint8_t bytes[ECU_NVM_PAGE];
    memcpy(bytes, data, sizeof bytes);
    put_u16_le(bytes + 2, (uint16_t)page);
    return crc16_modbus(bytes, sizeof bytes);
}

static void ask(bms_t *self, ecu_out_t *out, uint8_t op)
{
    watch_memory_t *const m = &self->watch.memory;
    ecu_nvm_t *const want = &out->nvm_want;
    want->op = op;
    want->page = (uint16_t)(m->slot * WATCH_SLOT_PAGES + m->page);
    if (op == ECU_NVM_PROGRAM) {
        health_write(&self->watch.health, m->page, want->data + 4);
        put_u16_le(want->data, m->sequence);
        put_u16_le(want->data + 2, page_crc(m->page, want->data));
    }
    m->busy = 1u;
    m->asked_us = self->now_us;
}

static bool page_is_good(const watch_memory_t *m, const ecu_nvm_t *done, uint16_t *sequence)
{
    *sequence = (uint16_t)(done->data[0] | (uint32_t)done->data[1] << 8);
    const uint16_t crc = (uint16_t)(done->data[2] | (uint32_t)done->data[3] << 8);
    return done->status == ECU_NVM_OK && crc == page_crc(m->page, done->data);
}

/* The newer of the slots not tried yet whose first page is good; false: none. */
static bool choose(watch_memory_t *m)
{
    const bool first = m->slot_good[0] != 0u && (m->tried & 1u) == 0u, second = m->slot_good[1] != 0u && (m->tried & 2u) == 0u;
    if (!first && !second) return false;
    const bool newer = (uint16_t)(m->slot_sequence[1] - m->slot_sequence[0]) < 0x8000u;
    m->slot = (uint8_t)(second && (!first || newer) ? 1u : 0u);
    m->page = 0u;
    return true;
}

static void begin_rest(bms_t *self)
{
    watch_memory_t *const m = &self->watch.memory;
    if (choose(m)) {
        m->phase = WATCH_MEMORY_REST;
        return;
    }
    health_init(&self->watch.health, self->config.set.blocks); /* nothing, or parts of something, was read */
    m->phase = WATCH_MEMORY_IDLE;
}

static void was_read(bms_t *self, const ecu_nvm_t *done)
{
    watch_memory_t *const m = &self->watch.memory;
    uint16_t sequence = 0;
    const bool good = page_is_good(m, done, &sequence);
    if (m->phase == WATCH_MEMORY_FIRST) {
        m->slot_good[m->slot] = good;
        m->slot_sequence[m->slot] = sequence;
        m->slot = (uint8_t)(m->slot + 1u);
        if (m->slot >= WATCH_SLOTS) begin_rest(self);
        return;
    }
    if (!good || sequence != m->slot_sequence[m->slot]) {
        m->tried |= (uint8_t)(1u << m->slot);
        begin_rest(self);
        return;
    }
    health_read(&self->watch.health, m->page, done->data + 4);
    m->page = (uint16_t)(m->page + 1u);
    if (m->page < m->pages) return;
    m->sequence = sequence;
    m->restored = 1u;
    m->phase = WATCH_MEMORY_IDLE;
}

static void was_written(bms_t *self, const ecu_nvm_t *done)
{
    watch_memory_t *const m = &self->watch.memory;
    if (done->status != ECU_NVM_OK) {
        m->failed += 1u;
        m->sequence = (uint16_t)(m->sequence - 1u); /* the next try goes to the same slot: the other one is good */
        m->phase = WATCH_MEMORY_IDLE;
        return;
    }
    m->page = (uint16_t)(m->page + 1u);
    if (m->page < m->pages) return;
    m->page = 0u;
    if (m->phase == WATCH_MEMORY_ERASE) {
        m->phase = WATCH_MEMORY_PROGRAM;
        return;
    }
    m->written += 1u;
    m->phase = WATCH_MEMORY_IDLE;
}

static void begin_save(bms_t *self)
{
    watch_memory_t *const m = &self->watch.memory;
    m->saved_us = self->now_us;
    m->slot = (uint8_t)(m->sequence & 1u); /* the last one went into the other */
    m->sequence = (uint16_t)(m->sequence + 1u);
    m->page = 0u;
    m->phase = WATCH_MEMORY_ERASE;
}

/* Every step: one operation at a time. Health is of no use before it is read, and read before anything is learnt. */
void watch_memory(bms_t *self, const ecu_in_t *in, ecu_out_t *out)
{
    watch_memory_t *const m = &self->watch.memory;
    if (m->phase == WATCH_MEMORY_START) m->phase = WATCH_MEMORY_FIRST;
    if (m->busy != 0u) {
        if (in->nvm_done.op == ECU_NVM_NONE && elapsed_ms(self->now_us, m->asked_us) < MEMORY_TIMEOUT_MS) return;
        m->busy = 0u;
        ecu_nvm_t lost = {0};
        lost.status = ECU_NVM_FAILED;
        const ecu_nvm_t *const done = in->nvm_done.op == ECU_NVM_NONE ? &lost : &in->nvm_done;
        if (m->phase >= WATCH_MEMORY_ERASE) was_written(self, done);
        else if (m->phase != WATCH_MEMORY_IDLE) was_read(self, done);
    }
    if (m->phase == WATCH_MEMORY_FIRST || m->phase == WATCH_MEMORY_REST) ask(self, out, ECU_NVM_READ);
    else if (m->phase == WATCH_MEMORY_ERASE) ask(self, out, ECU_NVM_ERASE);
    else if (m->phase == WATCH_MEMORY_PROGRAM) ask(self, out, ECU_NVM_PROGRAM);
}

/* ---- every 100 ms ------------------------------------------------------------------------------------------------------------ */

void watch_slow(bms_t *self, uint32_t round)
{
    watch_t *const w = &self->watch;
    rest(self);
    const uint32_t modules = self->config.set.modules;
    for (uint32_t s = 0; s < POWER_SPANS; ++s) w->bound[s] = power_bound(&w->power, modules, s);
    if (round != 9u) return;
    w->hottest = obs_hottest(&w->obs);
    find_leaks(self);
    const bool due = elapsed_ms(self->now_us, w->memory.saved_us) >= SAVE_MS;
    if (w->memory.phase == WATCH_MEMORY_IDLE && due && !contactor_is_normal(self)) begin_save(self);
}
