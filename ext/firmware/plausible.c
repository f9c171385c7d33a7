/* Readings held against each other, and parts against their commands. A rule here can only add a diagnosis: no reading is ever replaced,
 * masked or made milder by what another one says. */
#include "bms.h"
#include "util.h"

#define SETTINGS_MS 45u          /* for a look at all settings in memory; a change may come just behind it */
#define TABLES_MS 900u
#define SETTINGS_WORDS (uint32_t)(offsetof(bms_config_t, est) / 8u)
#define TABLES_WORDS (uint32_t)(sizeof(bms_config_t) / 8u - offsetof(bms_config_t, est) / 8u)
#define SLICE(words, ms) (((words) + (ms) / MEMORY_SLICE_MS - 1u) / ((ms) / MEMORY_SLICE_MS))
#define CURRENT_SAME_FRAMES 60u  /* equal values in a row, 600 ms: noise moves a value of one milliampere's step */
#define OFFSET_FRAMES 2000u      /* window of current_offset: 20 s of frames */
#define OFFSET_SETTLE_MS 1000u
#define PRESSURE_SAME_SCANS 600u /* window of pressure_frozen: 60 s */
#define COOL_MS 60000u           /* the precharge resistor gives off its heat */
#define CALM_UV 50000            /* a module's sum may move by so much between two scans that stand for one moment */
#define PULLED_UV 50000          /* most that a pull on a module's end wires takes off the sum */
#define MODULE_MEAN 8            /* of the differences between a module and the sum of its cells */
#define STEPS_KEPT 0.9f          /* of the sums over steps of current, at each step */
#define STEPS_LEAST 4u
#define STEP_SHARE 0.05f         /* of the highest discharge current: a step smaller than this says nothing of a resistance */
#define SETTLE_MS 3000u          /* window of coolant_fault: spin-up and run-down */
#define CUT_MS 500u              /* feedback after the heater's second switch opened */
#define TOLD_MS 60000u           /* so long reset_unexpected is told */
#define INSULATION_KEPT_S 3600
#define CURRENT_AGE_MS 100u

static int32_t threshold(uint32_t id, uint32_t tier)
{
    return diagnosis_table[id].threshold[tier];
}

static uint32_t tier_of(uint32_t id, int32_t value)
{
    for (uint32_t t = TIER_TRIP; t >= TIER_OPERATE; --t) {
        if (threshold(id, t) != 0 && value > threshold(id, t)) return t;
    }
    return TIER_NONE;
}

/* ---- every step ------------------------------------------------------------------------------------------------------------- */

BMS_CLONES
static uint64_t sum_of(const uint64_t *words, uint32_t from, uint32_t end)
{
    uint64_t sum = 0u;
    for (uint32_t k = from; k < end; ++k) sum += words[k];
    return sum;
}

void plausible_init(bms_t *self)
{
    plausible_t *const p = &self->plausible;
    const uint64_t *const words = (const uint64_t *)(const void *)&self->config;
    p->settings.at_start = sum_of(words, 0u, SETTINGS_WORDS);
    p->tables.at_start = sum_of(words, SETTINGS_WORDS, SETTINGS_WORDS + TABLES_WORDS);
    p->pump_us = p->heater_us = self->now_us;
    p->insulation_mean_kohm = -1;
    const bool unasked = self->reset_cause == ECU_RESET_WATCHDOG || self->reset_cause == ECU_RESET_BROWN_OUT;
    if (unasked) diag_sample(self, DIAG_RESET_UNEXPECTED, TIER_WARN, self->reset_cause, -1);
}

/* The next slice. True when a round is over and the sum is another than at start. */
static bool slice_is_wrong(memory_sum_t *sum, const uint64_t *words, uint32_t first, uint32_t count, uint32_t slice)
{
    const uint32_t from = sum->word, end = from + slice < count ? from + slice : count;
    sum->so_far += sum_of(words, first + from, first + end);
    sum->word = end;
    if (end < count) return false;
    const bool wrong = sum->so_far != sum->at_start;
    sum->word = 0u;
    sum->so_far = 0u;
    return wrong;
}

/* Limits and all that protects every SETTINGS_MS; the tables of the estimator every TABLES_MS. */
void plausible_memory(bms_t *self)
{
    plausible_t *const p = &self->plausible;
    const uint64_t *const words = (const uint64_t *)(const void *)&self->config;
    const bool settings = slice_is_wrong(&p->settings, words, 0u, SETTINGS_WORDS, SLICE(SETTINGS_WORDS, SETTINGS_MS));
    const bool tables = slice_is_wrong(&p->tables, words, SETTINGS_WORDS, TABLES_WORDS, SLICE(TABLES_WORDS, TABLES_MS));
    if (settings || tables) diag_sample(self, DIAG_MEMORY_CORRUPT, TIER_TRIP, settings ? 1 : 2, -1);
}

/* All of it at once. The right code was asked for at the start; this takes a sixth of its time. */
bool plausible_is_whole(const bms_t *self)
{
    const plausible_t *const p = &self->plausible;
    const uint64_t *const words = (const uint64_t *)(const void *)&self->config;
    return sum_of(words, 0u, SETTINGS_WORDS) == p->settings.at_start &&
           sum_of(words, SETTINGS_WORDS, SETTINGS_WORDS + TABLES_WORDS) == p->tables.at_start;
}

/* The step after one that asked for sleep may come when it likes. */
void plausible_time(bms_t *self, uint64_t now_us)
{
    plausible_t *const p = &self->plausible;
    const int32_t ms = (int32_t)elapsed_ms(now_us, self->now_us) & INT32_MAX;
    const bool late = ms > threshold(DIAG_DEADLINE_MISSED, TIER_TRIP) && p->asked_sleep == 0u && p->stepped != 0u;
    p->stepped = 1u;
    diag_sample(self, DIAG_DEADLINE_MISSED, late ? TIER_TRIP : TIER_NONE, ms, -1);
}

/* ---- current: every frame ---------------------------------------------------------------------------------------------------- */

static void watch_frozen_current(bms_t *self)
{
    plausible_t *const p = &self->plausible;
    const int32_t ma = self->sensor.current_ma.value;
    const bool inside = abs_i32(ma) < self->config.set.current_range_ma;
    p->current_same = ma == p->current_ma && inside ? p->current_same + 1u : 0u;
    p->current_ma = ma;
    const bool stands = p->current_same >= CURRENT_SAME_FRAMES && self->config.set.current_moves != 0u;
    diag_sample(self, DIAG_CURRENT_FROZEN, stands ? TIER_TRIP : TIER_NONE, ma, -1);
}

static uint64_t coils_moved_us(const bms_t *self)
{
    uint64_t moved_us = self->contactor.coil_us[0];
    for (uint32_t k = 1; k < 3u; ++k) moved_us = moved_us > self->contactor.coil_us[k] ? moved_us : self->contactor.coil_us[k];
    return moved_us;
}

static void watch_offset(bms_t *self)
{
    plausible_t *const p = &self->plausible;
    const bool open = self->contactor.coils == 0u && elapsed_ms(self->now_us, coils_moved_us(self)) >= OFFSET_SETTLE_MS;
    if (!open) {
        p->offset_frames = 0u;
        p->offset_sum_ma = 0;
        return;
    }
    p->offset_sum_ma += self->sensor.current_ma.value;
    if (++p->offset_frames < OFFSET_FRAMES) return;
    const int32_t mean = (int32_t)(p->offset_sum_ma / (int64_t)OFFSET_FRAMES);
    const bool off = abs_i32(mean) > self->config.set.current_offset_ma;
    diag_sample(self, DIAG_CURRENT_OFFSET, off ? TIER_WARN : TIER_NONE, mean, -1);
    p->offset_frames = 0u;
    p->offset_sum_ma = 0;
}

/* Joule in the resistor by the measured current; what it gives off is taken as a share of what it holds. */
static void watch_resistor(bms_t *self, uint32_t ms)
{
    plausible_t *const p = &self->plausible;
    const bms_settings_t *const set = &self->config.set;
    const bool flows = (self->contactor.coils & (PIN_OUT_PRECHARGE | PIN_OUT_MAIN_PLUS)) == PIN_OUT_PRECHARGE;
    if (!flows && p->precharge_j <= 0.0f) return;
    const float amps = (float)self->sensor.current_ma.value * 1e-3f, s = (float)ms * 1e-3f;
    p->precharge_j -= p->precharge_j * s * (1000.0f / (float)COOL_MS);
    if (flows) p->precharge_j += amps * amps * set->precharge_ohm * s;
    if (p->precharge_j < 1e-3f) p->precharge_j = 0.0f;
    const int32_t permille = to_i32(p->precharge_j / set->precharge_energy_j * 1000.0f, 0, 100000, 100000);
    const int32_t limit = threshold(DIAG_PRECHARGE_ENERGY, TIER_WARN);
    const bool held = diag_active_tier(self, DIAG_PRECHARGE_ENERGY) != TIER_NONE;
    diag_sample(self, DIAG_PRECHARGE_ENERGY, permille > (held ? limit / 2 : limit) ? TIER_WARN : TIER_NONE, permille, -1);
}

void plausible_current(bms_t *self)
{
    const uint32_t ms = elapsed_ms(self->now_us, self->plausible.current_us);
    self->plausible.current_us = self->now_us;
    watch_frozen_current(self);
    watch_offset(self);
    watch_resistor(self, ms < CURRENT_AGE_MS ? ms : CURRENT_AGE_MS);
}

/* ---- pack and link voltage ----------------------------------------------------------------------------------------------------- */

void plausible_pack(bms_t *self)
{
    const int64_t limit = self->limits.charge_voltage_mv, mv = self->sensor.pack_mv.value;
    if (limit <= 0) return; /* not yet told */
    const bool charges = sensor_fresh(self, &self->sensor.current_ma, CURRENT_AGE_MS) &&
                         self->sensor.current_ma.value < -self->config.set.rest_ma;
    const int32_t over = (int32_t)clamp_i64((mv - limit) * 1000 / limit, -1000, 1000);
    diag_sample(self, DIAG_CHARGE_VOLTAGE_IGNORED, charges ? tier_of(DIAG_CHARGE_VOLTAGE_IGNORED, over) : TIER_NONE, over, -1);
}

/* After link_weld_ms the link has lost more than link_weld_mv by its own discharge, if the pack does not hold it up. */
void plausible_link(bms_t *self)
{
    const bms_settings_t *const set = &self->config.set;
    const int32_t pack = self->sensor.pack_mv.value, link = self->sensor.link_mv.value;
    const bool known = sensor_fresh(self, &self->sensor.pack_mv, CURRENT_AGE_MS);
    const bool open = self->contactor.coils == 0u && elapsed_ms(self->now_us, coils_moved_us(self)) >= set->link_weld_ms;
    const bool held = known && open && link > pack / 2 && abs_i32(pack - link) < set->link_weld_mv;
    diag_sample(self, DIAG_CONTACTOR_WELD, held ? TIER_WARN : TIER_NONE, link, -1);
}

/* ---- every scan of the cells --------------------------------------------------------------------------------------------------- */

/* Counts scans with the same code, for channels that were read; takes the scan as the last one. Returns the longest row. */
BMS_CLONES
static uint32_t count_same(uint32_t *restrict same, int32_t *restrict last, const int32_t *restrict now, const uint32_t *restrict valid,
                           uint32_t n)
{
    uint32_t longest = 0;
    for (uint32_t b = 0; b < n; ++b) {
        const uint32_t equal = 0u - (uint32_t)(now[b] == last[b]), row = (same[b] + 1u) & valid[b] & equal;
        same[b] = row;
        last[b] = now[b];
        longest = row > longest ? row : longest;
    }
    return longest;
}

static void watch_frozen_cells(bms_t *self)
{
    plausible_t *const p = &self->plausible;
    measure_t *const m = &self->measure;
    const bms_settings_t *const set = &self->config.set;
    const uint32_t row = count_same(p->same, p->last_uv, m->cell_uv, m->cell_valid, set->blocks), most = set->frozen_scans;
    const bool stands = most != 0u && row >= most;
    int32_t place = -1;
    for (uint32_t b = 0; stands && b < set->blocks; ++b) {
        if (p->same[b] < most) continue;
        place = place < 0 ? (int32_t)b : place;
        m->cell_rested[b] = 0u; /* nothing for the estimator */
    }
    if (!stands && m->cells_unknown != 0u) return; /* what is not read does not move either */
    diag_sample(self, DIAG_CELL_FROZEN, stands ? TIER_TRIP : TIER_NONE, (int32_t)(row & INT32_MAX), place);
}

static bool is_bleeding(const bms_t *self)
{
    uint32_t any = 0;
    for (uint32_t chip = 0; chip < self->config.set.modules; ++chip) any |= self->afe.bleed_set[chip];
    return any != 0u;
}

/* A step of the current: sums over steps of di dv for every block. */
BMS_CLONES
static void add_step(float *restrict sum, const int32_t *restrict now_uv, const int32_t *restrict old_uv, float di, uint32_t n)
{
    for (uint32_t b = 0; b < n; ++b) sum[b] = STEPS_KEPT * sum[b] - di * (float)(now_uv[b] - old_uv[b]);
}

static void judge_steps(bms_t *self)
{
    plausible_t *const p = &self->plausible;
    const uint32_t n = self->config.set.blocks;
    float total = 0.0f, most = 0.0f;
    uint32_t place = 0;
    for (uint32_t b = 0; b < n; ++b) {
        total += p->step_sum[b];
        if (p->step_sum[b] <= most) continue;
        most = p->step_sum[b];
        place = b;
    }
    if (!(total > 0.0f) || n < 3u) return; /* a reversed sensor: current_sign finds it */
    const int32_t permille = to_i32(1000.0f * most * (float)(n - 1u) / (total - most + 1e-3f), 0, 1000000, 1000000);
    diag_sample(self, DIAG_RESISTANCE_HIGH, tier_of(DIAG_RESISTANCE_HIGH, permille), permille, (int32_t)place);
}

static void watch_steps(bms_t *self)
{
    plausible_t *const p = &self->plausible;
    const measure_t *const m = &self->measure;
    const bool known = m->cells_unknown == 0u && sensor_fresh(self, &self->sensor.current_ma, CURRENT_AGE_MS) && !is_bleeding(self);
    const int32_t ma = self->sensor.current_ma.value;
    const float step = STEP_SHARE * (float)self->config.set.discharge_ma[LIMIT_OPERATE];
    const float di = (float)(ma - p->step_ma);
    const bool stepped = known && p->step_known != 0u && abs_f32(di) > step;
    if (stepped) {
        add_step(p->step_sum, m->cell_uv, p->last_uv, di * 1e-3f, self->config.set.blocks);
        p->steps += p->steps < STEPS_LEAST ? 1u : 0u;
        if (p->steps >= STEPS_LEAST) judge_steps(self);
    }
    p->step_known = known;
    p->step_ma = ma;
}

static int64_t module_sum_uv(const bms_t *self, uint32_t chip)
{
    const uint32_t per = self->config.set.blocks_per_module, first = chip * per, left = self->config.set.blocks - first;
    const uint32_t end = first + (left < per ? left : per);
    int64_t sum = 0;
    for (uint32_t b = first; b < end; ++b) sum += self->measure.cell_uv[b];
    return sum;
}

/* A pull on an end wire lowers the sum; one within a module only shifts voltage between its cells. */
static int32_t pulled_uv(const bms_t *self, uint32_t chip)
{
    const uint32_t ends = 1u | 1u << (self->config.set.blocks_per_module - 1u);
    return (self->afe.bleed_set[chip] & ends) != 0u ? PULLED_UV : 0;
}

/* Chips read their modules between two scans: the sum of the cells at that moment lies between theirs. The mean of several such
 * differences is judged, because cells are read with more noise than modules. */
static void watch_modules(bms_t *self)
{
    plausible_t *const p = &self->plausible;
    measure_t *const m = &self->measure;
    const bool after = m->module_scan + 1u == m->scan && m->module_taken != 0u;
    const bool before_one = elapsed_ms(self->afe.module_us, self->now_us) <= self->afe.scan_period_us / 1000u;
    int32_t worst = -1, place = -1;
    for (uint32_t chip = 0; chip < self->config.set.modules && (after || before_one); ++chip) {
        const int64_t sum = module_sum_uv(self, chip), before = p->module_sum_uv[chip], moved = sum - before;
        p->module_sum_uv[chip] = sum;
        const bool known = after && m->module_valid[chip] != 0u && m->cells_unknown == 0u;
        if (!known || moved > CALM_UV || moved < -CALM_UV) continue;
        const int32_t pulled = pulled_uv(self, chip);
        const int64_t off = clamp_i64((sum + before) / 2 - m->module_uv[chip], -10000000, 10000000);
        const int64_t apart = off > pulled ? off - pulled : (off < -pulled ? off + pulled : 0);
        p->module_apart_uv[chip] += ((int32_t)apart - p->module_apart_uv[chip]) / MODULE_MEAN;
        const int32_t mv = abs_i32(p->module_apart_uv[chip]) / 1000;
        if (mv <= worst) continue;
        worst = mv;
        place = (int32_t)chip;
    }
    if (after) m->module_taken = 0u;
    if (worst >= 0) diag_sample(self, DIAG_MODULE_VOLTAGE_MISMATCH, tier_of(DIAG_MODULE_VOLTAGE_MISMATCH, worst), worst, place);
}

void plausible_scan(bms_t *self)
{
    watch_steps(self);
    watch_frozen_cells(self); /* takes the scan as the last one */
    watch_modules(self);
}

/* ---- pressures ------------------------------------------------------------------------------------------------------------------ */

static void watch_spread(bms_t *self)
{
    const measure_t *const m = &self->measure;
    const uint32_t modules = self->config.set.modules;
    const int32_t most = self->config.set.pressure_max_kpa[LIMIT_TRIP];
    if (modules < 2u || most == 0 || m->pressures_unknown != 0u) return;
    int64_t sum = 0;
    for (uint32_t chip = 0; chip < modules; ++chip) sum += m->pressure_kpa[chip];
    const int32_t mean = (int32_t)(sum / (int64_t)modules);
    const int32_t above = m->pressure_max_kpa - mean, below = mean - m->pressure_min_kpa;
    const int32_t permille = (int32_t)((int64_t)max_i32(above, below) * 1000 / most);
    diag_sample(self, DIAG_PRESSURE_SPREAD, tier_of(DIAG_PRESSURE_SPREAD, permille), permille,
                above > below ? m->pressure_max_at : m->pressure_min_at);
}

void plausible_pressures(bms_t *self)
{
    plausible_t *const p = &self->plausible;
    const measure_t *const m = &self->measure;
    int32_t frozen = -1, strange = -1;
    for (uint32_t chip = 0; chip < self->config.set.modules; ++chip) {
        const bool same = m->pressure_valid[chip] != 0u && m->pressure_kpa[chip] == p->pressure_kpa[chip];
        p->pressure_same[chip] = same ? (uint16_t)min_i32(p->pressure_same[chip] + 1, 60000) : 0u;
        p->pressure_kpa[chip] = m->pressure_kpa[chip];
        if (p->pressure_same[chip] >= PRESSURE_SAME_SCANS && self->config.set.pressure_moves != 0u) frozen = (int32_t)chip;
        else if (self->witness.module[chip].state == WITNESS_LEFT_OUT && m->pressure_valid[chip] != 0u) strange = (int32_t)chip;
    }
    watch_spread(self);
    diag_sample(self, DIAG_PRESSURE_FROZEN, frozen >= 0 ? TIER_WARN : TIER_NONE, frozen >= 0 ? m->pressure_kpa[frozen] : 0, frozen);
    diag_sample(self, DIAG_PRESSURE_IMPLAUSIBLE, strange >= 0 ? TIER_WARN : TIER_NONE, strange >= 0 ? m->pressure_kpa[strange] : 0, strange);
}

/* ---- insulation ----------------------------------------------------------------------------------------------------------------- */

void plausible_insulation(bms_t *self, int32_t ohm_per_v)
{
    plausible_t *const p = &self->plausible;
    const int32_t kohm = self->sensor.insulation_kohm.value;
    if (p->insulation_mean_kohm < 0) p->insulation_mean_kohm = (int64_t)kohm * INSULATION_KEPT_S; /* the mean, times the time it is of */
    const int32_t mean = (int32_t)(p->insulation_mean_kohm / INSULATION_KEPT_S);
    p->insulation_mean_kohm += kohm - mean;
    const bool falls = kohm < mean / 2 && ohm_per_v < 5 * self->config.set.insulation_ohm_per_v[LIMIT_WARN];
    diag_sample(self, DIAG_INSULATION_FALLING, falls ? TIER_WARN : TIER_NONE, kohm, -1);
}

/* ---- every 10 ms ------------------------------------------------------------------------------------------------------------------ */

/* Stuck on: the second switch opens and stays open until the next start; if that does not help either, the pack trips. */
static void watch_heater(bms_t *self)
{
    plausible_t *const p = &self->plausible;
    if (self->config.set.heater_feedback_is_fitted == 0u) return;
    const bool wanted = self->thermal.heater_pptt != 0u && p->heater_cut == 0u, is = (self->pins & PIN_IN_HEATER_ON) != 0u;
    if (wanted != (p->heater_wanted != 0u)) p->heater_us = self->now_us;
    p->heater_wanted = wanted;
    const bool uncut = p->heater_cut != 0u && is && elapsed_ms(self->now_us, p->cut_us) > CUT_MS;
    const bool differs = wanted != is && elapsed_ms(self->now_us, p->heater_us) > CUT_MS;
    const uint32_t tier = uncut ? TIER_TRIP : (differs || p->heater_cut != 0u ? TIER_WARN : TIER_NONE);
    diag_sample(self, DIAG_HEATER_FAULT, tier, is, -1);
    if (p->heater_cut != 0u || !is || wanted || diag_active_tier(self, DIAG_HEATER_FAULT) < TIER_WARN) return;
    p->heater_cut = 1u;
    p->cut_us = self->now_us;
}

static void watch_coolant(bms_t *self)
{
    plausible_t *const p = &self->plausible;
    if (self->config.set.flow_switch_is_fitted == 0u) return;
    const bool wanted = self->thermal.pump_pptt != 0u, is = (self->pins & PIN_IN_COOLANT_FLOW) != 0u;
    if (wanted != (p->pump_wanted != 0u)) p->pump_us = self->now_us;
    p->pump_wanted = wanted;
    const bool settled = elapsed_ms(self->now_us, p->pump_us) >= SETTLE_MS;
    const uint32_t tier = !settled || wanted == is ? TIER_NONE : (wanted ? TIER_WARN : TIER_OPERATE);
    diag_sample(self, DIAG_COOLANT_FAULT, tier, is, -1);
}

static void watch_gain(bms_t *self)
{
    const health_t *const h = &self->watch.health;
    const uint32_t n = self->config.set.blocks;
    if (h->points < 2u * n || self->steps != 1u) return; /* once a second is plenty: in its first tick */
    float sum = 0.0f, sigma = 0.0f;
    for (uint32_t b = 0; b < n; ++b) {
        sum += h->capacity_frac[b];
        sigma += h->capacity_sigma[b];
    }
    const int32_t permille = to_i32(1000.0f * (sum - 2.0f * sigma) / (float)n, 0, 10000, 0);
    diag_sample(self, DIAG_CURRENT_GAIN, tier_of(DIAG_CURRENT_GAIN, permille), permille, -1);
}

static bool is_share(float x)
{
    return x >= 0.0f && x <= 1.0f; /* false for NaN */
}

void plausible_tick(bms_t *self)
{
    const bms_settings_t *const set = &self->config.set;
    const bool gas = set->gas_detector_is_fitted != 0u && (self->pins & PIN_IN_GAS) != 0u;
    const bool h2s = set->h2s_detector_is_fitted != 0u && (self->pins & PIN_IN_H2S) != 0u;
    const est_pack_t *const soc = &self->soc;
    const bool sane = self->soc_valid == 0u || (is_share(soc->soc_frac) && is_share(soc->low_frac) && is_share(soc->high_frac));
    watch_heater(self);
    watch_coolant(self);
    watch_gain(self);
    diag_sample(self, DIAG_GAS, gas ? TIER_TRIP : TIER_NONE, gas, -1);
    diag_sample(self, DIAG_H2S, h2s ? TIER_TRIP : TIER_NONE, h2s, -1);
    diag_sample(self, DIAG_ESTIMATOR_INVALID, sane ? TIER_NONE : TIER_WARN, 1, -1);
    if (elapsed_ms(self->now_us, self->boot_us) >= TOLD_MS) diag_sample(self, DIAG_RESET_UNEXPECTED, TIER_NONE, 0, -1);
}
