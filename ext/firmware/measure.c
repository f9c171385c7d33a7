/* Readings in integers with units, each either fresh or unknown. Nothing here judges a value: a cell far from its neighbours is a
 * reading like any other, because hiding it would hide the danger. Only what cannot be a reading is unknown. */
#include "bms.h"
#include "util.h"

#define RAW_NONE (-32768)      /* reset value of a result: not converted yet, or channel off */
#define TSREF_MIN_RAW 26542    /* 4.5 V in steps of 169.54 uV: a reference too low makes ratios meaningless */
#define NTC_RATIO_MIN 0.01f    /* shorted, or hotter than 200 degC */
#define NTC_RATIO_MAX 0.985f   /* open, or colder than -55 degC */
#define PRESSURE_RATIO_MIN 0.05f
#define PRESSURE_RATIO_MAX 0.95f
#define SETTLE_MS 30u          /* filters and a scan's conversions, after the switches have opened */
#define RATE_PERIOD_US 1000000u
#define RISE_MOST_CDEGC 500    /* in a period: what a runaway does */
#define RISES_TO_CDEGC 15000   /* beyond it nothing is decided */
#define RISE_UNIT 16           /* of sensor_rise in a centidegree */
#define RISE_LASTS 64          /* periods for which it is believed */
#define TOLD_AGE_MS 20000u
#define LATE_MS 500u           /* an answer that was missed so soon after a command may come yet, and be of before it */

void measure_init(bms_t *self)
{
    measure_t *const m = &self->measure;
    m->cell_min_uv = m->cell_max_uv = m->told_min_uv = m->told_max_uv = BMS_UNKNOWN;
    m->cell_sum_uv = BMS_UNKNOWN;
    m->cells_unknown = self->config.set.blocks;
    m->temperatures_unknown = self->config.set.modules * self->config.set.thermistors;
    m->pressures_unknown = self->config.set.pressure_is_fitted ? self->config.set.modules : 0u;
    m->temperature_min_cdegc = m->temperature_max_cdegc = m->temperature_mean_cdegc = BMS_UNKNOWN;
    m->temperature_low_cdegc = m->temperature_high_cdegc = BMS_UNKNOWN;
    m->temperature_rate_cdegc = m->pressure_rise_kpa = BMS_UNKNOWN;
    m->pressure_min_kpa = m->pressure_max_kpa = BMS_UNKNOWN;
    m->rate_us = self->now_us;
    for (uint32_t b = 0; b < self->config.set.blocks; ++b) m->block_cdegc[b] = 2500;
    for (uint32_t s = 0; s < BMS_SENSORS_MAX; ++s) m->sensor_old_cdegc[s] = BMS_UNKNOWN;
    for (uint32_t k = 0; k < BMS_MODULES_MAX; ++k) {
        m->chip_us[k] = self->now_us;
        m->pressure_old_kpa[k] = m->pressure_older_kpa[k] = BMS_UNKNOWN;
    }
}

/* Blocks of a module; the last one may have fewer. */
static uint32_t channels_of(const bms_t *self, uint32_t chip)
{
    const uint32_t first = chip * self->config.set.blocks_per_module, left = self->config.set.blocks - first;
    return left < self->config.set.blocks_per_module ? left : self->config.set.blocks_per_module;
}

/* Counts of 190.73 uV: 191 less 0.27, in integers. */
static inline int32_t cell_uv_of(int32_t raw)
{
    return raw * 191 - (raw * 17695 + 32768) / 65536;
}

/* Counts become voltages where they stand. */
BMS_CLONES
static void take_counts(int32_t *restrict uv, uint32_t *restrict valid, uint32_t *restrict rest, uint32_t n, uint32_t rested)
{
    for (uint32_t c = 0; c < n; ++c) {
        const uint32_t known = uv[c] != RAW_NONE ? UINT32_MAX : 0u;
        uv[c] = cell_uv_of(uv[c]);
        valid[c] = known;
        rest[c] = known & rested;
    }
}

/* Whether a chip's readings are those of its cells: all its switches were open, and its filters settled, when they were asked for. A
 * line may be late, so a command counts as arrived only once something asked after it was answered. */
static bool is_rested(bms_t *self, uint32_t chip)
{
    afe_t *const afe = &self->afe;
    if (afe->bleed_part != 0u && afe->bleed_next == chip) return false; /* half written */
    if (afe->unheard[chip] != 0u) {
        afe->unheard[chip] = 0u;
        afe->heard_us[chip] = self->now_us;
        return false;
    }
    const bool open = afe->bleed_set[chip] == 0u || afe->pause_set != 0u;
    return open && afe->asked_us >= afe->heard_us[chip] && elapsed_ms(afe->asked_us, afe->heard_us[chip]) >= SETTLE_MS;
}

/* A missing answer that comes after all would be taken for that of the next question: it proves nothing. */
static void doubt_missing(bms_t *self)
{
    afe_t *const afe = &self->afe;
    for (uint32_t chip = 0; chip < self->config.set.modules; ++chip) {
        const bool missing = (afe->answered >> chip & 1u) == 0u;
        if (missing && elapsed_ms(self->now_us, afe->bleed_us[chip]) < LATE_MS) afe->unheard[chip] = 1u;
    }
}

void measure_cells(bms_t *self, uint32_t chip, const uint8_t *data, uint16_t crc)
{
    measure_t *const m = &self->measure;
    const uint32_t per_module = self->config.set.blocks_per_module, first = chip * per_module, channels = channels_of(self, chip);
    const bool quiet = is_rested(self, chip), same = crc == m->chip_crc[chip];
    const uint32_t repeats = same ? (uint32_t)m->chip_same[chip] + 1u : 0u, most = self->config.set.frozen_frames;
    const bool moves = most == 0u || repeats < most; /* what a chip repeats is not of now */
    const uint32_t rested = quiet && moves ? UINT32_MAX : 0u;
    int32_t *const uv = m->cell_uv + first;
    uint32_t *const valid = m->cell_valid + first, *const rest = m->cell_rested + first;
    for (uint32_t c = 0; c < channels; ++c) uv[c] = (int16_t)get_u16_be(data + 2u * (per_module - 1u - c));
    take_counts(uv, valid, rest, channels, rested);
    if (!same) m->chip_same_ma[chip] = self->sensor.current_ma.value;
    m->chip_same[chip] = (uint16_t)(repeats < 60000u ? repeats : 60000u);
    m->chip_crc[chip] = crc;
    m->chip_pulled[chip] = !quiet;
    m->chip_us[chip] = self->now_us;
    m->chip_scan[chip] = m->scan + 1u;
}

/* Minimum, maximum and count in one pass without branches. */
BMS_CLONES
static void scan_extremes(const int32_t *restrict uv, const uint32_t *restrict valid, uint32_t n, int32_t *low, int32_t *high,
                          uint32_t *known)
{
    int32_t least = INT32_MAX, most = INT32_MIN;
    uint32_t count = 0;
    for (uint32_t b = 0; b < n; ++b) {
        const uint32_t is_known = valid[b] != 0u, unknown = is_known - 1u; /* all ones where it is not */
        const int32_t as_least = (int32_t)(((uint32_t)uv[b] & ~unknown) | (unknown & INT32_MAX));
        const int32_t as_most = (int32_t)(((uint32_t)uv[b] & ~unknown) | (unknown & 0x80000000u));
        least = as_least < least ? as_least : least;
        most = as_most > most ? as_most : most;
        count += is_known;
    }
    *low = least;
    *high = most;
    *known = count;
}

static int64_t sum_of(const int32_t *uv, uint32_t n)
{
    int64_t sum = 0;
    for (uint32_t b = 0; b < n; ++b) sum += uv[b];
    return sum;
}

/* What is told of the cells: a pull on its wires is no voltage of a cell, so a chip's last readings without one stand for it, for as long
 * as balancing lasts between two looks. Limits and the estimator never see these. */
static void tell(bms_t *self)
{
    measure_t *const m = &self->measure;
    const uint32_t per_module = self->config.set.blocks_per_module, modules = self->config.set.modules;
    uint32_t pulled = 0, kept = 0, known = 0;
    m->told_min_uv = m->cell_min_uv;
    m->told_max_uv = m->cell_max_uv;
    for (uint32_t chip = 0; chip < modules; ++chip) pulled |= m->chip_pulled[chip];
    if (pulled == 0u) { /* nearly always */
        memcpy(m->told_uv, m->cell_uv, self->config.set.blocks * sizeof m->told_uv[0]);
        for (uint32_t chip = 0; chip < modules; ++chip) m->told_us[chip] = self->now_us;
        return;
    }
    for (uint32_t chip = 0; chip < modules; ++chip) {
        const bool has_told = m->told_us[chip] != 0u && elapsed_ms(self->now_us, m->told_us[chip]) < TOLD_AGE_MS;
        if (m->chip_pulled[chip] != 0u && has_told) {
            kept = 1u;
            continue;
        }
        m->told_us[chip] = self->now_us;
        const uint32_t first = chip * per_module;
        memcpy(m->told_uv + first, m->cell_uv + first, channels_of(self, chip) * sizeof m->told_uv[0]);
    }
    if (kept == 0u || m->cell_min_uv == BMS_UNKNOWN) return;
    scan_extremes(m->told_uv, m->cell_valid, self->config.set.blocks, &m->told_min_uv, &m->told_max_uv, &known);
}

void measure_scan_done(bms_t *self)
{
    doubt_missing(self);
    measure_t *const m = &self->measure;
    const uint32_t blocks = self->config.set.blocks, per_module = self->config.set.blocks_per_module;
    m->scan += 1u;
    m->scan_us = self->now_us;
    for (uint32_t chip = 0; chip < self->config.set.modules; ++chip) {
        if (m->chip_scan[chip] == m->scan) continue; /* did not answer: what we have of it is old */
        const uint32_t channels = channels_of(self, chip);
        memset(m->cell_valid + chip * per_module, 0, channels * sizeof m->cell_valid[0]);
        memset(m->cell_rested + chip * per_module, 0, channels * sizeof m->cell_rested[0]);
    }
    uint32_t known = 0;
    int32_t low = 0, high = 0;
    scan_extremes(m->cell_uv, m->cell_valid, blocks, &low, &high, &known);
    m->cells_unknown = blocks - known;
    m->cell_min_uv = known != 0u ? low : BMS_UNKNOWN;
    m->cell_max_uv = known != 0u ? high : BMS_UNKNOWN;
    m->cell_sum_uv = known == blocks ? sum_of(m->cell_uv, blocks) : BMS_UNKNOWN;
    self->est_due = 1u;
    tell(self);
}

/* Counts of 3.05 mV. */
void measure_module(bms_t *self, uint32_t chip, const uint8_t *data)
{
    measure_t *const m = &self->measure;
    const int32_t raw = (int16_t)get_u16_be(data);
    m->module_valid[chip] = raw != RAW_NONE && raw != -1;
    m->module_uv[chip] = raw * 3050;
}

uint32_t measure_cells_age_ms(const bms_t *self)
{
    uint64_t oldest = self->now_us;
    for (uint32_t chip = 0; chip < self->config.set.modules; ++chip) {
        if (self->measure.chip_us[chip] < oldest) oldest = self->measure.chip_us[chip];
    }
    return elapsed_ms(self->now_us, oldest);
}

/* The first block that is known and reads so; as many as there are blocks if none does. */
static uint32_t find(const bms_t *self, const int32_t *uv, int32_t value_uv)
{
    const uint32_t blocks = self->config.set.blocks;
    uint32_t b = 0;
    while (b < blocks && (uv[b] != value_uv || self->measure.cell_valid[b] == 0u)) ++b;
    return b;
}

uint32_t measure_find_told(const bms_t *self, int32_t value_uv)
{
    return find(self, self->measure.told_uv, value_uv);
}

uint32_t measure_find_cell(const bms_t *self, int32_t value_uv)
{
    return find(self, self->measure.cell_uv, value_uv);
}

static void take_thermistor(bms_t *self, uint32_t sensor, float ratio)
{
    measure_t *const m = &self->measure;
    const int32_t *const table = self->config.set.ntc_cdegc;
    m->sensor_valid[sensor] = ratio > NTC_RATIO_MIN && ratio < NTC_RATIO_MAX;
    if (!m->sensor_valid[sensor]) return;
    const float x = ratio * (float)BMS_NTC_STEPS;
    const int32_t i = clamp_i32((int32_t)x, 0, BMS_NTC_STEPS - 1);
    const float value = (float)table[i] + (x - (float)i) * (float)(table[i + 1] - table[i]);
    m->sensor_cdegc[sensor] = to_i32(value, -10000, 40000, 0);
    m->sensor_met[sensor] = 1u;
}

/* TSREF in steps of 169.54 uV, then GPIO1 to GPIO7 in steps of 152.59 uV; all ratiometric to TSREF. */
void measure_gpio(bms_t *self, uint32_t chip, const uint8_t *data)
{
    measure_t *const m = &self->measure;
    const bms_settings_t *const set = &self->config.set;
    const int32_t reference = (int16_t)get_u16_be(data);
    m->gpio_answered |= 1u << chip;
    const bool usable = reference >= TSREF_MIN_RAW;
    const float scale = usable ? 152.59f / (169.54f * (float)reference) : 0.0f; /* no reference: every ratio 0, so unknown */
    for (uint32_t k = 0; k < set->thermistors; ++k) {
        const int32_t raw = (int16_t)get_u16_be(data + 2u + 2u * k);
        take_thermistor(self, chip * set->thermistors + k, raw == RAW_NONE ? 0.0f : scale * (float)raw);
    }
    if (set->pressure_is_fitted == 0u) return;
    const int32_t raw = (int16_t)get_u16_be(data + 14u);
    const float ratio = raw == RAW_NONE ? 0.0f : scale * (float)raw;
    /* Beyond the top it is the sensor that ends or its wire that touches the supply: nobody can tell, so it is a pressure. */
    const float top = ratio < PRESSURE_RATIO_MAX ? ratio : PRESSURE_RATIO_MAX;
    m->pressure_valid[chip] = ratio > PRESSURE_RATIO_MIN;
    const float kpa = (top - 0.1f) * 1.25f * (float)set->pressure_full_scale_kpa;
    if (m->pressure_valid[chip]) m->pressure_kpa[chip] = to_i32(kpa, 0, 1000000, 0);
}

static void temperature_extremes(bms_t *self)
{
    measure_t *const m = &self->measure;
    const uint32_t modules = self->config.set.modules, thermistors = self->config.set.thermistors;
    int32_t low = INT32_MAX, high = INT32_MIN, lowest = INT32_MAX, highest = INT32_MIN, sum = 0;
    uint32_t known = 0;
    m->temperature_module_unknown = 0;
    for (uint32_t chip = 0; chip < modules; ++chip) {
        const uint32_t known_before = known;
        for (uint32_t s = chip * thermistors; s < (chip + 1u) * thermistors; ++s) {
            const int32_t t = m->sensor_cdegc[s];
            if (m->sensor_met[s]) {
                lowest = min_i32(lowest, t);
                highest = max_i32(highest, t);
            }
            if (!m->sensor_valid[s]) continue;
            if (t < low) m->temperature_min_at = (uint16_t)s;
            if (t > high) m->temperature_max_at = (uint16_t)s;
            low = min_i32(low, t);
            high = max_i32(high, t);
            sum += t;
            ++known;
        }
        const int32_t lost = (int32_t)(thermistors - (known - known_before));
        m->temperature_module_unknown = max_i32(m->temperature_module_unknown, lost);
    }
    m->temperatures_unknown = modules * thermistors - known;
    m->temperature_min_cdegc = known != 0u ? low : BMS_UNKNOWN;
    m->temperature_max_cdegc = known != 0u ? high : BMS_UNKNOWN;
    m->temperature_low_cdegc = known != 0u ? lowest : BMS_UNKNOWN;
    m->temperature_high_cdegc = known != 0u ? highest : BMS_UNKNOWN;
    m->temperature_mean_cdegc = known != 0u ? sum / (int32_t)known : BMS_UNKNOWN;
}

static void pressure_extremes(bms_t *self)
{
    measure_t *const m = &self->measure;
    if (self->config.set.pressure_is_fitted == 0u) return;
    int32_t low = INT32_MAX, high = INT32_MIN;
    uint32_t known = 0;
    for (uint32_t chip = 0; chip < self->config.set.modules; ++chip) {
        if (!m->pressure_valid[chip]) continue;
        const int32_t p = m->pressure_kpa[chip];
        if (p < low) m->pressure_min_at = (uint16_t)chip;
        if (p > high) m->pressure_max_at = (uint16_t)chip;
        low = min_i32(low, p);
        high = max_i32(high, p);
        ++known;
    }
    m->pressures_unknown = self->config.set.modules - known;
    m->pressure_min_kpa = known != 0u ? low : BMS_UNKNOWN;
    m->pressure_max_kpa = known != 0u ? high : BMS_UNKNOWN;
}

/* Fastest rise of a thermistor over about a second. One that was unknown in between starts anew. */
static void temperature_rate(bms_t *self)
{
    measure_t *const m = &self->measure;
    const int64_t ms = (int64_t)elapsed_ms(self->now_us, m->rate_us);
    int64_t most = INT32_MIN;
    for (uint32_t chip = 0; chip < self->config.set.modules; ++chip) {
        for (uint32_t s = chip * self->config.set.thermistors; s < (chip + 1u) * self->config.set.thermistors; ++s) {
            const int32_t old = m->sensor_old_cdegc[s], now = m->sensor_valid[s] ? m->sensor_cdegc[s] : BMS_UNKNOWN;
            if (old != BMS_UNKNOWN && now != BMS_UNKNOWN) {
                most = now - old > most ? now - old : most;
                m->sensor_rise[s] = (int16_t)((3 * m->sensor_rise[s] + RISE_UNIT * clamp_i32(now - old, 0, RISE_MOST_CDEGC)) / 4);
            } else if (now == BMS_UNKNOWN && m->sensor_met[s] != 0u) {
                /* A thermistor that is lost while it warms goes on warming, the less the longer nothing is heard of it. */
                m->sensor_cdegc[s] = min_i32(m->sensor_cdegc[s] + m->sensor_rise[s] / RISE_UNIT, RISES_TO_CDEGC);
                m->sensor_rise[s] = (int16_t)(m->sensor_rise[s] - (m->sensor_rise[s] + RISE_LASTS - 1) / RISE_LASTS);
            }
            m->sensor_old_cdegc[s] = now;
        }
    }
    m->temperature_rate_cdegc = ms == 0 || most == INT32_MIN ? BMS_UNKNOWN : (int32_t)(most * 60000 / ms);
}

/* Highest rise of a module's pressure above what it was one to two seconds ago; seen with the next reading, not a second later. */
static void pressure_rise(bms_t *self, bool second_is_over)
{
    measure_t *const m = &self->measure;
    m->pressure_rise_kpa = BMS_UNKNOWN;
    for (uint32_t chip = 0; chip < self->config.set.modules; ++chip) {
        const int32_t now = m->pressure_valid[chip] ? m->pressure_kpa[chip] : BMS_UNKNOWN;
        const int32_t old = m->pressure_old_kpa[chip], older = m->pressure_older_kpa[chip];
        const int32_t from = older != BMS_UNKNOWN && older < old ? older : old;
        if (now != BMS_UNKNOWN && from != BMS_UNKNOWN && now - from > m->pressure_rise_kpa) {
            m->pressure_rise_kpa = now - from;
            m->pressure_rise_at = chip;
        }
        if (!second_is_over) continue;
        m->pressure_older_kpa[chip] = old;
        m->pressure_old_kpa[chip] = now;
    }
}

void measure_gpio_done(bms_t *self)
{
    measure_t *const m = &self->measure;
    for (uint32_t chip = 0; chip < self->config.set.modules; ++chip) {
        if ((m->gpio_answered >> chip & 1u) != 0u) continue;
        memset(m->sensor_valid + chip * self->config.set.thermistors, 0, self->config.set.thermistors);
        m->pressure_valid[chip] = 0u;
    }
    m->gpio_answered = 0u;
    m->gpio_scan += 1u;
    temperature_extremes(self);
    pressure_extremes(self);
    const bool second_is_over = m->gpio_scan == 1u || self->now_us >= m->rate_us + RATE_PERIOD_US;
    if (self->config.set.pressure_is_fitted != 0u) pressure_rise(self, second_is_over);
    if (!second_is_over) return;
    temperature_rate(self);
    m->rate_us = self->now_us;
}

/* Temperature of each block of a module, between the thermistors on either side; with one of them unknown, the other one; with both
 * unknown the last value stays. For the estimator only: limits look at the readings themselves. */
void measure_block_temperatures(bms_t *self, uint32_t chip)
{
    measure_t *const m = &self->measure;
    const bms_settings_t *const set = &self->config.set;
    const uint32_t first = chip * set->blocks_per_module, channels = channels_of(self, chip);
    for (uint32_t c = 0; c < channels; ++c) {
        const uint32_t left = chip * set->thermistors + set->thermistor_left[c];
        const uint32_t right = chip * set->thermistors + set->thermistor_right[c];
        const int32_t a = m->sensor_cdegc[left], b = m->sensor_cdegc[right];
        if (m->sensor_valid[left] && m->sensor_valid[right]) {
            m->block_cdegc[first + c] = a + to_i32(set->thermistor_share[c] * (float)(b - a), -100000, 100000, 0);
        } else if (m->sensor_valid[left] || m->sensor_valid[right]) {
            m->block_cdegc[first + c] = m->sensor_valid[left] ? a : b;
        }
    }
}
