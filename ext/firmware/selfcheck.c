/* A look at sense wires and balancing switches that nothing else shows: between two equal cells an open wire floats where it should be,
 * and a switch that is stuck looks like a cell. So each module is pulled by its own switches, every other channel for a scan or two, then
 * the rest. A pulled cell sags by what its wires drop; over an open wire it reads nothing and its neighbour both. Readings meanwhile are
 * judged as always, and kept from the estimator. Takes about a tenth of a second a module, all modules within 20 s of
 * steady current. */
#include "bms.h"
#include "util.h"

#define ROUND_MS 16000u     /* all modules once, and in each pause of balancing: it is shorter than such a round */
#define AGAIN_MS 500u       /* a finding is looked at twice */
#define SCANS_MAX 15u       /* a phase that has not begun by then is given up */
#define CALM_SCANS 10u      /* of steady current before a test, because a step looks like a sag */
#define SAG_LEAST_UV 2000   /* mean sag below which the wires are too good to tell anything */
#define NOISY_CHANNELS 2u   /* two exchanged channels are at most so many of those not pulled */
#define ODD 0x5555u
#define EVEN 0xAAAAu

enum { CHECK_ODD = SELFCHECK_IDLE + 1, CHECK_EVEN, CHECK_END };

static uint32_t channels_of(const bms_t *self, uint32_t chip)
{
    const uint32_t per = self->config.set.blocks_per_module, left = self->config.set.blocks - chip * per;
    return left < per ? left : per;
}

uint32_t selfcheck_mask(const bms_t *self)
{
    const uint32_t all = (1u << channels_of(self, self->selfcheck.chip)) - 1u;
    const uint32_t half = self->selfcheck.phase == CHECK_ODD ? ODD : (self->selfcheck.phase == CHECK_EVEN ? EVEN : 0u);
    return half & all;
}

static void enter(bms_t *self, uint8_t phase)
{
    self->selfcheck.phase = phase;
    self->selfcheck.scans = 0u;
}

static bool is_calm(const bms_t *self)
{
    const int32_t moved = self->sensor.current_ma.value - self->selfcheck.base_ma;
    return abs_i32(moved) <= self->config.set.rest_ma && sensor_fresh(self, &self->sensor.current_ma, 100u);
}

/* The switches are heaters. A thermistor that burnt counts with its last value, and a trip until it is cleared. */
static bool is_cool(const bms_t *self)
{
    const int32_t hottest = self->measure.temperature_high_cdegc;
    const bool tripped = diag_active_tier(self, DIAG_THERMAL_RUNAWAY) == TIER_TRIP || diag_active_tier(self, DIAG_GAS) == TIER_TRIP ||
                         diag_active_tier(self, DIAG_TEMPERATURE_UNKNOWN) == TIER_TRIP;
    return !tripped && hottest != BMS_UNKNOWN && hottest < self->config.set.discharge_max_cdegc[LIMIT_WARN];
}

static bool may_begin(const bms_t *self)
{
    const uint32_t chip = self->selfcheck.chip;
    const bool whole = self->measure.cells_unknown == 0u && afe_runs(self);
    const bool idle = self->afe.bleed_wanted[chip] == 0u && self->afe.bleed_set[chip] == 0u && self->measure.chip_pulled[chip] == 0u;
    /* By the chip's own reading of the module: an open wire at its end halves a cell's. */
    const int64_t least = (int64_t)self->config.set.voltage_min_uv[LIMIT_OPERATE] * (int64_t)channels_of(self, chip);
    return whole && idle && is_cool(self) && self->measure.module_valid[chip] != 0u && self->measure.module_uv[chip] > least;
}

static void begin(bms_t *self)
{
    selfcheck_t *const s = &self->selfcheck;
    if (self->now_us < s->due_us || self->now_us < s->again_us || s->calm_scans < CALM_SCANS || !may_begin(self)) return;
    const uint32_t first = s->chip * self->config.set.blocks_per_module, channels = channels_of(self, s->chip);
    for (uint32_t c = 0; c < channels; ++c) s->base_uv[c] = self->measure.cell_uv[first + c];
    s->open_at = s->stuck_at = -1;
    enter(self, CHECK_ODD);
}

/* Whether readings scatter by as much as a sag: then a pull shows nothing. */
static bool is_noisy(const bms_t *self, uint32_t mask, int32_t mean)
{
    const selfcheck_t *const s = &self->selfcheck;
    const uint32_t first = s->chip * self->config.set.blocks_per_module, channels = channels_of(self, s->chip);
    uint32_t off = 0;
    for (uint32_t c = 0; c < channels; ++c) {
        const int32_t shift = s->base_uv[c] - self->measure.cell_uv[first + c];
        if ((mask >> c & 1u) == 0u && (shift > mean / 2 || shift < -3 * mean / 2)) ++off; /* their neighbours' pull lifts them by a sag */
    }
    return off > NOISY_CHANNELS;
}

/* What the pull showed, channel by channel. */
static void look(bms_t *self)
{
    selfcheck_t *const s = &self->selfcheck;
    const uint32_t first = s->chip * self->config.set.blocks_per_module, channels = channels_of(self, s->chip), mask = selfcheck_mask(self);
    const int32_t *const uv = self->measure.cell_uv + first;
    const int32_t lowest = self->config.set.voltage_min_uv[LIMIT_TRIP]; /* an empty cell sags less; one at nothing is at nothing before */
    int32_t total = 0, pulled = 0;
    for (uint32_t c = 0; c < channels; ++c) {
        if ((mask >> c & 1u) == 0u) continue;
        if (s->base_uv[c] > lowest / 2 && uv[c] < s->base_uv[c] / 4) s->open_at = (int16_t)(first + c);
        total += s->base_uv[c] - uv[c];
        ++pulled;
    }
    const int32_t mean = pulled != 0 ? total / pulled : 0;
    if (s->open_at >= 0 || mean < SAG_LEAST_UV || is_noisy(self, mask, mean)) return;
    uint32_t stuck = 0;
    int32_t at = -1;
    for (uint32_t c = 0; c < channels; ++c) {
        if ((mask >> c & 1u) == 0u || s->base_uv[c] < lowest || s->base_uv[c] - uv[c] >= mean / 2) continue;
        at = (int32_t)(first + c);
        ++stuck;
    }
    if (stuck != 0u && stuck <= NOISY_CHANNELS) s->stuck_at = (int16_t)at;
}

static uint8_t counted(uint8_t before, bool bad)
{
    return bad ? (uint8_t)min_i32(before + 1, 200) : 0u;
}

static void tell(bms_t *self)
{
    selfcheck_t *const s = &self->selfcheck;
    const uint32_t chip = s->chip;
    s->open_tests[chip] = counted(s->open_tests[chip], s->open_at >= 0);
    const bool same = s->stuck_tests[chip] == 0u || s->stuck_at == s->stuck_block[chip];
    s->stuck_tests[chip] = counted(same ? s->stuck_tests[chip] : 0u, s->stuck_at >= 0);
    if (s->open_at >= 0) s->open_block[chip] = s->open_at;
    if (s->stuck_at >= 0) s->stuck_block[chip] = s->stuck_at;
    int32_t open = -1, stuck = -1;
    for (uint32_t k = 0; k < self->config.set.modules; ++k) {
        if (s->open_tests[k] >= 2u) open = s->open_block[k];
        if (s->stuck_tests[k] >= 2u) stuck = s->stuck_block[k];
    }
    diag_sample(self, DIAG_OPEN_WIRE, open >= 0 ? TIER_TRIP : TIER_NONE, 0, open);
    diag_sample(self, DIAG_BLEED_SWITCH, stuck >= 0 ? TIER_WARN : TIER_NONE, 0, stuck);
}

static void end(bms_t *self, bool is_whole)
{
    selfcheck_t *const s = &self->selfcheck;
    const uint32_t modules = self->config.set.modules;
    const bool found = s->open_at >= 0 || s->stuck_at >= 0, again = found && s->open_tests[s->chip] + s->stuck_tests[s->chip] == 0u;
    enter(self, SELFCHECK_IDLE);
    if (again || !is_whole) s->again_us = self->now_us + 1000u * (uint64_t)AGAIN_MS;
    else s->due_us += 1000u * (uint64_t)(ROUND_MS / modules); /* what was missed is made up for, one round at most */
    if (self->now_us > s->due_us + 1000u * (uint64_t)ROUND_MS) s->due_us = self->now_us - 1000u * (uint64_t)ROUND_MS;
    if (is_whole || s->open_at >= 0) tell(self);
    if (!again && is_whole) s->chip = (uint8_t)(s->chip + 1u < modules ? s->chip + 1u : 0u);
}

/* Every scan. A command is never sent between a question and its answer: switches that are set now were set before this scan. */
void selfcheck_scan(bms_t *self)
{
    selfcheck_t *const s = &self->selfcheck;
    s->calm_scans = is_calm(self) ? s->calm_scans + 1u : 0u;
    if (s->calm_scans == 0u) s->base_ma = self->sensor.current_ma.value;
    if (s->phase == SELFCHECK_IDLE) {
        begin(self);
        return;
    }
    s->scans = (uint8_t)(s->scans + 1u);
    const bool set = self->afe.bleed_set[s->chip] == selfcheck_mask(self) && self->afe.bleed_part == 0u && self->afe.bleed_wanted[s->chip] == 0u;
    const bool late = s->scans > SCANS_MAX || self->measure.cells_unknown != 0u || self->afe.bleed_wanted[s->chip] != 0u;
    if (s->phase == CHECK_END) {
        if (set || late) end(self, s->is_whole != 0u && !late);
        return;
    }
    s->is_whole = s->calm_scans != 0u && !late;
    if (!set && s->is_whole != 0u) return;
    if (s->is_whole != 0u) look(self);
    enter(self, s->is_whole != 0u && s->phase == CHECK_ODD && s->open_at < 0 ? CHECK_EVEN : CHECK_END);
}
