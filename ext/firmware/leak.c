/* Soft shorts, seen at rest: a block with a filament sinks against its neighbours. After RELAX_MS of rest the voltage of each block
 * against the mean of all is marked; every LOOK_MS it is looked at again. The fall since the mark, over the slope of the OCV, times
 * the capacity, over the time, is a current. What relaxes alike in all blocks cancels; balancing and temperature are accounted for;
 * what may be error of the reading is taken off before anything is concluded, so a flat OCV concludes nothing. */
#include "bms.h"
#include "util.h"

#define RELAX_MS 900000u   /* 15 min: some time constants of diffusion */
#define LOOK_MS 600000u    /* 10 min */
#define SCANS 64u          /* averaged in a window: noise of a reading down by eight */
#define ERROR_V 0.00025f   /* of the difference of two windows, standard deviation: noise, drift, thermistors */
#define SIGMAS 4.0f

void leak_init(bms_t *self)
{
    self->leak.calm_us = self->leak.look_us = self->now_us;
}

static bool is_calm(const bms_t *self)
{
    return sensor_fresh(self, &self->sensor.current_ma, 100u) && abs_i32(self->sensor.current_ma.value) <= self->config.set.rest_ma &&
           self->measure.temperatures_unknown == 0u && !contactor_is_normal(self);
}

void leak_bled(bms_t *self, uint32_t block, float bleed_uc)
{
    if (block < BMS_CELLS_MAX) self->leak.bled_uc[block] += bleed_uc;
}

/* Adds a clean scan to the open window. */
void leak_scan(bms_t *self)
{
    leak_t *const l = &self->leak;
    if (l->scans == 0u || l->scans > SCANS || self->balance.active != 0u || self->measure.cells_unknown != 0u) return;
    for (uint32_t b = 0; b < self->config.set.blocks; ++b) {
        l->sum_uv[b] += (self->measure.cell_uv[b] - self->config.set.voltage_min_uv[LIMIT_OPERATE]) / 16;
    }
    l->scans += 1u;
}

/* Mean of the window in V above the lower limit, brought to 25 degC. */
static float window_v(const bms_t *self, uint32_t b)
{
    const float soc = clamp_f32(self->est.soc_frac[b], 0.0f, 1.0f) * (float)EST_SOC_STEPS;
    const int32_t i = min_i32((int32_t)soc, EST_SOC_STEPS);
    return (float)self->leak.sum_uv[b] * (16e-6f / (float)SCANS) - self->config.est.entropic_v_per_k[i] * self->est.above_25_k[b];
}

static float mean_v(const bms_t *self)
{
    float sum = 0.0f;
    for (uint32_t b = 0; b < self->config.set.blocks; ++b) sum += window_v(self, b);
    return sum / (float)self->config.set.blocks;
}

static void mark(bms_t *self)
{
    leak_t *const l = &self->leak;
    const float mean = mean_v(self);
    for (uint32_t b = 0; b < self->config.set.blocks; ++b) {
        l->mark_v[b] = window_v(self, b) - mean;
        l->bled_uc[b] = 0.0f;
    }
    l->mark_us = self->now_us;
}

/* What bleeding took from all on average; it moves the mean that blocks are held against. */
static float mean_bled_uc(const bms_t *self)
{
    float sum = 0.0f;
    for (uint32_t b = 0; b < self->config.set.blocks; ++b) sum += self->leak.bled_uc[b];
    return sum / (float)self->config.set.blocks;
}

/* Self-discharge differs from cell to cell and grows with a block: no leak is told below capacity over 7700 hours. */
uint32_t leak_tier(const bms_t *self, int32_t ma)
{
    const diagnosis_row_t *const row = &diagnosis_table[DIAG_SOFT_SHORT];
    const int32_t least_ma = (int32_t)(self->config.set.capacity_uc / 27720000000);
    if (ma <= least_ma) return TIER_NONE;
    return ma > row->threshold[TIER_WARN] ? TIER_WARN : (ma > row->threshold[TIER_OPERATE] ? TIER_OPERATE : TIER_NONE);
}

static void judge(bms_t *self)
{
    leak_t *const l = &self->leak;
    const float mean = mean_v(self), mean_bled = mean_bled_uc(self), per_uc = self->config.est.per_uc;
    const float seconds = (float)(self->now_us - l->mark_us) * 1e-6f;
    float worst_a = -1e9f;
    uint32_t place = 0;
    for (uint32_t b = 0; b < self->config.set.blocks; ++b) {
        const float soc = clamp_f32(self->est.soc_frac[b], 0.0f, 1.0f) * (float)EST_SOC_STEPS;
        const float slope = self->config.est.slope_v[min_i32((int32_t)soc, EST_SOC_STEPS)];
        const float fell_v = l->mark_v[b] - (window_v(self, b) - mean) - (l->bled_uc[b] - mean_bled) * per_uc * slope;
        const float sure_a = (fell_v - SIGMAS * ERROR_V) / (slope * per_uc * 1e6f * seconds);
        if (sure_a > worst_a) place = b;
        worst_a = sure_a > worst_a ? sure_a : worst_a;
    }
    l->worst_ma = to_i32(worst_a * 1000.0f, -1000000, 1000000, 0);
    const int32_t drained_ma = watch_drain_ma(self);
    const bool drained = drained_ma > l->worst_ma;
    if (drained) place = self->watch.drain.worst;
    const int32_t worst_ma = drained ? drained_ma : l->worst_ma;
    diag_sample(self, DIAG_SOFT_SHORT, leak_tier(self, worst_ma), worst_ma, (int32_t)place);
}

static void open_window(bms_t *self)
{
    memset(self->leak.sum_uv, 0, sizeof self->leak.sum_uv);
    self->leak.scans = 1u;
    self->leak.look_us = self->now_us;
}

void leak_slow(bms_t *self)
{
    leak_t *const l = &self->leak;
    if (!is_calm(self) || self->soc_valid == 0u) {
        l->calm_us = self->now_us;
        l->mark_us = 0u;
        l->scans = 0u;
        return;
    }
    if (l->scans > SCANS) {
        if (l->mark_us == 0u) mark(self);
        else judge(self);
        l->scans = 0u;
        return;
    }
    const bool relaxed = elapsed_ms(self->now_us, l->calm_us) >= RELAX_MS;
    const bool due = l->mark_us == 0u || elapsed_ms(self->now_us, l->look_us) >= LOOK_MS;
    if (relaxed && due && l->scans == 0u) open_window(self);
}
