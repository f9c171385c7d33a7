/* The socket, the schedule, and what happens when nothing may happen any more. */
#include "bms.h"
#include "crc.h"
#include "util.h"

#define BMS_FILE 2u

#define EST_PERIOD_MAX_S 1.0f
#define EST_START_BLOCKS 16u
#define CURRENT_AGE_MS 100u

enum { EST_WAITS, EST_STARTS, EST_RUNS };

uint32_t ecu_abi(void)
{
    return ECU_ABI;
}

const char *ecu_version(void)
{
    return BMS_VERSION_TEXT;
}

size_t ecu_size(void)
{
    return sizeof(bms_t);
}

void bms_assert_failed(bms_t *self, uint32_t place)
{
    if (self->assert_place == 0u) self->assert_place = place;
    contactor_die(self, STATE_ASSERTED);
}

/* ---- start ----------------------------------------------------------------------------------------------------------------- */

int ecu_init(ecu_t *self, const ecu_boot_t *boot)
{
    memset(self, 0, sizeof *self);
    self->boot_us = self->now_us = boot->now_us;
    self->reset_cause = boot->reset_cause;
    self->refused = BMS_REFUSED_MISSING;
    if (boot->config != NULL && boot->config_size == sizeof self->config) {
        memcpy(&self->config, boot->config, sizeof self->config);
        self->refused = config_check(&self->config);
    }
    contactor_init(self);
    canin_init(self);
    request_init(self, boot->entropy);
    sleep_init(self);
    canout_init(self);
    if (self->refused != BMS_REFUSED_NONE) {
        contactor_die(self, STATE_REFUSED);
        return (int)self->refused;
    }
    self->config_crc = self->config.crc32;
    est_init(&self->est, self->config.set.blocks);
    witness_init(&self->witness, &self->config.est);
    measure_init(self);
    sensor_init(self);
    protect_init(self);
    plausible_init(self);
    afe_init(self);
    leak_init(&self->leak, self->config.set.blocks);
    watch_init(self);
    store_init(self);
    uds_init(self, boot->entropy);
    self->limits.us = self->now_us;
    return 0;
}

/* ---- estimator --------------------------------------------------------------------------------------------------------------- */

/* The first complete and calm scan starts all blocks, a few at a time; the count begins with it. */
static void start_estimator(bms_t *self)
{
    const measure_t *const m = &self->measure;
    const uint32_t blocks = self->config.set.blocks, per_module = self->config.set.blocks_per_module;
    if (self->est_running == EST_WAITS) {
        const bool ready = store_is_read(self) && m->scan != 0u && m->cells_unknown == 0u && m->gpio_scan != 0u && m->temperature_max_cdegc != BMS_UNKNOWN &&
                           sensor_fresh(self, &self->sensor.current_ma, CURRENT_AGE_MS);
        if (!ready) return;
        self->est_running = EST_STARTS;
        self->est_first = 0u;
        self->charge.used_uc = 0;
        self->est_us = self->now_us;
    }
    const uint32_t chip = self->est_first / per_module, first = chip * per_module;
    const uint32_t count = blocks - first < per_module ? blocks - first : per_module;
    const float kpa = m->pressure_valid[chip] ? (float)m->pressure_kpa[chip] : -1.0f;
    const float unrest_a = 1e-3f * (float)max_i32(self->config.set.charge_ma[0], self->config.set.discharge_ma[0]);
    measure_block_temperatures(self, chip);
    est_conditions(&self->est, &self->config.est, first, count, m->block_cdegc, kpa);
    for (uint32_t b = first; b < first + count; ++b) {
        est_start(&self->est, &self->config.est, b, m->cell_uv[b]);
        if (!store_knows_rest(self)) est_unrest(&self->est, &self->config.est, b, m->cell_uv[b], unrest_a);
        store_hint_soc(self, b);
    }
    est_results(&self->est, &self->config.est, first, count, 0.0f, self->charge.used_uc);
    self->est_first = (uint16_t)(first + count);
    if (self->est_first >= blocks) self->est_running = EST_RUNS;
}

static void run_estimator(bms_t *self)
{
    if (self->est_running != EST_RUNS) {
        start_estimator(self);
        return;
    }
    if (self->est_due == 0u) return;
    self->est_due = 0u;
    const float dt_s = clamp_f32((float)(self->now_us - self->est_us) * 1e-6f, 0.0f, EST_PERIOD_MAX_S) + self->sleep.est_gap_s;
    self->sleep.est_gap_s = 0.0f;
    self->est_us = self->now_us;
    est_step(&self->est, &self->config.est, dt_s, (float)self->sensor.current_ma.value * 1e-3f, self->charge.used_uc,
             self->measure.cell_uv, self->measure.cell_rested);
}

/* One module each third millisecond: its temperatures, resistances and results. */
static void refresh_module(bms_t *self, uint32_t chip, uint32_t round)
{
    const uint32_t per_module = self->config.set.blocks_per_module, first = chip * per_module, blocks = self->config.set.blocks;
    if (self->est_running != EST_RUNS || first >= blocks) return;
    const uint32_t count = blocks - first < per_module ? blocks - first : per_module;
    const float kpa = self->measure.pressure_valid[chip] ? (float)self->measure.pressure_kpa[chip] : -1.0f;
    measure_block_temperatures(self, chip);
    watch_temperatures(self, chip);
    est_conditions(&self->est, &self->config.est, first, count, self->measure.block_cdegc, kpa);
    est_results(&self->est, &self->config.est, first, count, self->est_growth, self->charge.used_uc);
    int32_t cdegc = 0;
    for (uint32_t b = first; b < first + count; ++b) cdegc += self->measure.block_cdegc[b];
    const float degc = 0.01f * (float)cdegc / (float)count;
    witness_join(&self->witness, &self->est, &self->config.est, chip, first, count, 0.1f, self->charge.used_uc, degc, kpa);
    watch_module(self, chip, first, count, round);
}

/* ---- schedule ----------------------------------------------------------------------------------------------------------------- */

static void every_10_ms(bms_t *self)
{
    canin_tick(self);
    request_tick(self);
    protect_tick(self);
    contactor_tick(self);
    sleep_account(self);
    limits_tick(self);
}

/* 100 ms: modules at 0, 3, 6 ... 93, then what needs all of them. */
static void every_100_ms(bms_t *self, uint32_t slot, uint32_t round)
{
    if (slot < 96u) {
        if (slot % 3u == 1u) refresh_module(self, slot / 3u, round);
        return;
    }
    switch (slot) {
    case 96:
        if (self->est_running != EST_RUNS) break;
        self->soc = est_pack(&self->est);
        self->soc_valid = 1u;
        watch_slow(self, round);
        break;
    case 97: limits_slow(self); break;
    case 98:
        thermal_slow(self);
        balance_slow(self);
        break;
    default: self->est_growth = est_take_growth(&self->est); break;
    }
}

static void take_frames(bms_t *self, const ecu_in_t *in)
{
    const uint32_t count = in->can_count < ECU_CAN_IN_MAX ? in->can_count : ECU_CAN_IN_MAX;
    for (uint32_t k = 0; k < count; ++k) {
        const ecu_can_frame_t *const frame = &in->can[k];
        if ((frame->flags & (ECU_CAN_ERROR | ECU_CAN_REMOTE)) != 0u) continue;
        if (frame->bus == ECU_BUS_SENSOR) sensor_receive(self, frame);
        else if (frame->bus == ECU_BUS_VEHICLE) canin_receive(self, frame);
    }
}

/* Sizes bound every loop and every index. A flipped bit in one of them must not live for a single step, and the sum of the
 * configuration is only whole every 64 ms. */
static bool sizes_are_whole(const bms_t *self)
{
    const bms_settings_t *const set = &self->config.set;
    const uint32_t blocks = set->blocks, modules = set->modules, each = set->blocks_per_module;
    if (blocks != self->est.count || blocks != self->watch.health.count) return false;
    if (each > BMS_CHANNELS_MAX || modules > BMS_MODULES_MAX || set->thermistors > BMS_THERMISTORS_MAX) return false;
    return blocks <= modules * each && blocks + each > modules * each;
}

void ecu_step(ecu_t *self, const ecu_in_t *in, ecu_out_t *out)
{
    if (self->sleep.phase == SLEEP_DOWN && !sleep_wakes(self, in, out)) return;
    const uint64_t now_us = in->now_us - self->sleep.offset_us;
    const uint32_t slot = self->steps;
    self->steps = slot + 1u < 1000u ? slot + 1u : 0u;
    BMS_ASSERT(self, now_us >= self->now_us);
    BMS_ASSERT(self, contactor_is_whole(self));
    BMS_ASSERT(self, self->refused != BMS_REFUSED_NONE || sizes_are_whole(self));
    plausible_time(self, now_us);
    self->now_us = now_us;
    self->contactor.moved = 0u;
    self->pins = in->pins.digital;
    self->supply_mv = in->pins.supply_mv;
    self->can_off = in->can_state[ECU_BUS_VEHICLE] == ECU_CAN_OFF || in->can_state[ECU_BUS_SENSOR] == ECU_CAN_OFF;
    out->watchdog_kick = true;
    if (state_is_dead(self->contactor.state)) {
        canout_last_words(self, out, slot);
        return; /* the rig has zeroed the pins */
    }
    run_estimator(self);
    if (in->can_count != 0u) take_frames(self, in);
    afe_step(self, in, out);
    if (slot % MEMORY_SLICE_MS == 4u) plausible_memory(self);
    contactor_step(self);
    protect_pins(self);
    protect_fresh(self);
    if (slot % 10u == 0u) every_10_ms(self);
    else if (slot % 10u == 5u) store_tick(self);
    every_100_ms(self, slot % 100u, slot / 100u);
    store_step(self, in, out);
    uds_step(self, out);
    if (self->sleep.looks == 0u) canout_step(self, out, slot); /* a look wakes nobody */
    BMS_ASSERT(self, contactor_is_whole(self));
    if (state_is_dead(self->contactor.state)) return;
    out->pins.digital = self->contactor.coils;
    if (self->contactor.fuse != 0u) out->pins.digital |= PIN_OUT_FUSE_TRIGGER;
    if (self->plausible.heater_cut != 0u) out->pins.digital |= PIN_OUT_HEATER_CUT;
    self->plausible.asked_sleep = out->sleep_ms != 0u;
    out->pins.heater_pptt = self->thermal.heater_pptt;
    out->pins.pump_pptt = self->thermal.pump_pptt;
    sleep_step(self, in->now_us, out);
}

/* ---- probes -------------------------------------------------------------------------------------------------------------------- */

enum { PROBE_U8, PROBE_U16, PROBE_U32, PROBE_U64, PROBE_I16, PROBE_I32, PROBE_I64, PROBE_F32 };
#define PROBE(name, unit, member, count, type) {name, unit, (uint32_t)offsetof(bms_t, member), (uint32_t)(count), (type)}

static const ecu_probe_t PROBES[] = {
    PROBE("state", "1", contactor.state, 1, PROBE_U8),
    PROBE("step", "1", contactor.step, 1, PROBE_U8),
    PROBE("coils", "bits", contactor.coils, 1, PROBE_U8),
    PROBE("refused", "1", refused, 1, PROBE_U32),
    PROBE("assert_place", "1", assert_place, 1, PROBE_U32),
    PROBE("soc_valid", "bool", soc_valid, 1, PROBE_U8),
    PROBE("soc_frac", "1", soc.soc_frac, 1, PROBE_F32),
    PROBE("soc_low_frac", "1", soc.low_frac, 1, PROBE_F32),
    PROBE("soc_high_frac", "1", soc.high_frac, 1, PROBE_F32),
    PROBE("block_soc_frac", "1", est.soc_frac, BMS_CELLS_MAX, PROBE_F32),
    PROBE("block_sigma_frac", "1", est.sigma_frac, BMS_CELLS_MAX, PROBE_F32),
    PROBE("block_diffusion_v", "V", est.v2_v, BMS_CELLS_MAX, PROBE_F32),
    PROBE("ekf_updates", "1", est.updates, 1, PROBE_U64),
    PROBE("block_uv", "uV", measure.cell_uv, BMS_CELLS_MAX, PROBE_I32),
    PROBE("block_valid", "bits", measure.cell_valid, BMS_CELLS_MAX, PROBE_U32),
    PROBE("cell_scan", "1", measure.scan, 1, PROBE_U32),
    PROBE("cells_unknown", "1", measure.cells_unknown, 1, PROBE_U32),
    PROBE("cell_min_uv", "uV", measure.cell_min_uv, 1, PROBE_I32),
    PROBE("cell_max_uv", "uV", measure.cell_max_uv, 1, PROBE_I32),
    PROBE("sensor_cdegc", "0.01 degC", measure.sensor_cdegc, BMS_SENSORS_MAX, PROBE_I32),
    PROBE("sensor_valid", "bool", measure.sensor_valid, BMS_SENSORS_MAX, PROBE_U8),
    PROBE("pressure_kpa", "kPa", measure.pressure_kpa, BMS_MODULES_MAX, PROBE_I32),
    PROBE("current_ma", "mA", sensor.current_ma.value, 1, PROBE_I32),
    PROBE("used_uc", "uC", charge.used_uc, 1, PROBE_I64),
    PROBE("charge_limit_ma", "mA", limits.charge_ma, 1, PROBE_I32),
    PROBE("discharge_limit_ma", "mA", limits.discharge_ma, 1, PROBE_I32),
    PROBE("active_diagnoses", "bits", protect.active_bits, DIAG_PAGES, PROBE_U64),
    PROBE("first_trip", "1", protect.first_trip, 1, PROBE_U8),
    PROBE("leak_sure_a", "A", leak.worst_a, 1, PROBE_F32),
    PROBE("block_core_degc", "degC", watch.obs.core_degc, BMS_CELLS_MAX, PROBE_F32),
    PROBE("block_core_sigma_k", "K", watch.obs.sigma_k, BMS_CELLS_MAX, PROBE_F32),
    PROBE("sensor_residual_k", "K", watch.obs.local_k, BMS_SENSORS_MAX, PROBE_F32),
    PROBE("block_r0_scale", "1", watch.health.scale, BMS_CELLS_MAX, PROBE_F32),
    PROBE("block_r0_scale_var", "1", watch.health.scale_var, BMS_CELLS_MAX, PROBE_F32),
    PROBE("block_capacity_frac", "1", watch.health.capacity_frac, BMS_CELLS_MAX, PROBE_F32),
    PROBE("block_capacity_sigma", "1", watch.health.capacity_sigma, BMS_CELLS_MAX, PROBE_F32),
    PROBE("power_w", "W", limits.charge_w, 2 * POWER_SPANS, PROBE_I32), /* charge for 2, 10, 30 s, then discharge */
    PROBE("power_bound_a", "A", watch.bound, 2 * POWER_SPANS, PROBE_F32),
    PROBE("leak_windows", "1", leak.windows, 1, PROBE_U32),
    PROBE("health_restored", "bool", store.restored, 1, PROBE_U8),
    PROBE("health_written", "1", store.health_saves, 1, PROBE_U32),
    PROBE("afe_phase", "1", afe.phase, 1, PROBE_U8),
    PROBE("afe_frames", "1", afe.frames, 1, PROBE_U32),
    PROBE("afe_crc_errors", "1", afe.crc_errors, 1, PROBE_U32),
    PROBE("afe_timeouts", "1", afe.timeouts, 1, PROBE_U32),
    PROBE("afe_restarts", "1", afe.restarts, 1, PROBE_U32),
    PROBE("vcu_good", "1", canin.good, 1, PROBE_U32),
    PROBE("vcu_crc_errors", "1", canin.crc_errors, 1, PROBE_U32),
    PROBE("vcu_counter_errors", "1", canin.counter_errors, 1, PROBE_U32),
    PROBE("vcu_malformed", "1", canin.malformed, 1, PROBE_U32),
    PROBE("authority_good", "1", request.good, 1, PROBE_U32),
    PROBE("authority_wrong", "1", request.wrong, 1, PROBE_U32),
    PROBE("authority_old", "1", request.old, 1, PROBE_U32),
    PROBE("authority_malformed", "1", request.malformed, 1, PROBE_U32),
    PROBE("lock_outs", "1", request.locks, 1, PROBE_U32),
    PROBE("state_changes", "1", contactor.changes, 1, PROBE_U32),
    PROBE("tests_passed", "bits", contactor.tests, 1, PROBE_U8),
    PROBE("test_failed", "bits", contactor.test_failed, 1, PROBE_U8),
    PROBE("sleep_phase", "1", sleep.phase, 1, PROBE_U8),
    PROBE("wakes", "1", sleep.wakes, 1, PROBE_U32),
    PROBE("unknown_gaps", "1", sleep.unknown_gaps, 1, PROBE_U32),
    PROBE("rested_ms", "ms", sleep.rested_ms, 1, PROBE_U64),
    PROBE("standby_uc", "uC", sleep.standby_uc, 1, PROBE_U64),
    PROBE("leak_worst_a", "A", leak.worst_a, 1, PROBE_F32),
    PROBE("refusal", "1", request.refusal, 1, PROBE_U8),
};

const ecu_probe_t *ecu_probes(size_t *count)
{
    *count = sizeof PROBES / sizeof PROBES[0];
    return PROBES;
}
