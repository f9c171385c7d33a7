/* Why ecu_init refuses a configuration: each rule has its code. bms.firmware.refusals tells the same in words before a run. */
#include "bms.h"
#include "crc.h"
#include "util.h"

#define CELL_UV_MIN 500000      /* no cell of any chemistry is healthy below, and none within the chips' range above */
#define CELL_UV_MAX 5000000
#define FULL_UV 350000          /* overvoltage trips at most so far above the OCV of a full cell */
#define HOT_CDEGC 12000         /* no limit lies above: thermal_runaway counts any reading beyond 150 degC */
#define COLD_CDEGC (-6000)      /* end of the thermistors */
#define FEEDBACK_MS_MAX 500u
#define FUSE_MS_MAX 3000u
#define GPIO_MS 100u
#define TICK_MS 10u

static bool rises(const int32_t limit[LIMITS])
{
    return limit[LIMIT_OPERATE] <= limit[LIMIT_WARN] && limit[LIMIT_WARN] <= limit[LIMIT_TRIP];
}

static bool falls(const int32_t limit[LIMITS])
{
    return limit[LIMIT_OPERATE] >= limit[LIMIT_WARN] && limit[LIMIT_WARN] >= limit[LIMIT_TRIP];
}

static bool topology_fits(const bms_settings_t *set)
{
    const bool counts = set->blocks >= 1u && set->blocks <= BMS_CELLS_MAX && set->modules >= 1u && set->modules <= BMS_MODULES_MAX;
    const bool module = set->blocks_per_module >= 6u && set->blocks_per_module <= BMS_CHANNELS_MAX;
    const bool thermistors = set->thermistors >= 1u && set->thermistors <= BMS_THERMISTORS_MAX;
    if (!counts || !module || !thermistors || set->parallel == 0u) return false;
    for (uint32_t c = 0; c < BMS_CHANNELS_MAX; ++c) {
        if (set->thermistor_left[c] >= set->thermistors || set->thermistor_right[c] >= set->thermistors) return false;
    }
    return (set->blocks + set->blocks_per_module - 1u) / set->blocks_per_module == set->modules && set->capacity_uc > 0;
}

static bool limits_are_ordered(const bms_settings_t *set)
{
    const bool high = rises(set->voltage_max_uv) && rises(set->charge_max_cdegc) && rises(set->discharge_max_cdegc) &&
                      rises(set->charge_ma) && rises(set->discharge_ma) && rises(set->pressure_max_kpa);
    const bool low = falls(set->voltage_min_uv) && falls(set->charge_min_cdegc) && falls(set->discharge_min_cdegc) &&
                     falls(set->pressure_min_kpa) && falls(set->insulation_ohm_per_v);
    const bool apart = set->voltage_min_uv[LIMIT_OPERATE] < set->voltage_max_uv[LIMIT_OPERATE];
    return high && low && apart && set->charge_ma[LIMIT_OPERATE] >= 0 && set->discharge_ma[LIMIT_OPERATE] >= 0;
}

static bool all_finite(const float *table, size_t count)
{
    for (size_t k = 0; k < count; ++k) {
        if (!(table[k] > -1e9f && table[k] < 1e9f)) return false;
    }
    return true;
}

static bool estimator_is_sound(const bms_config_t *config)
{
    const est_params_t *const est = &config->est;
    if (!all_finite((const float *)(const void *)est, sizeof *est / sizeof(float))) return false;
    for (uint32_t k = 0; k < EST_SOC_STEPS; ++k) {
        if (!(est->ocv_v[k + 1u] > est->ocv_v[k])) return false;
    }
    const bool positive = est->per_uc > 0.0f && est->transfer_farad > 0.0f && est->diffusion_farad > 0.0f && est->sigma_start_frac > 0.0f &&
                          est->sigma_noise_v > 0.0f && config->set.bleed_ohm > 0.0f && est->pressure_max_kpa > 0.0f;
    return positive && all_finite(config->set.plating_a, 2u * (EST_TEMPERATURE_STEPS + 1u) + EST_PRESSURE_STEPS + 1u);
}

static bool observer_is_sound(const bms_config_t *config)
{
    const obs_params_t *const obs = &config->obs;
    if (!all_finite(&obs->core_j_per_k, offsetof(obs_params_t, sensors) / sizeof(float))) return false;
    const bool heat = obs->core_j_per_k > 0.0f && obs->surface_j_per_k > 0.0f && obs->core_surface_w_per_k > 0.0f;
    return heat && obs->cooling_w_per_k > 0.0f && obs->sensors == config->set.thermistors;
}

/* ---- chemistry, sensors, chips --------------------------------------------------------------------------------------------- */

/* Limits within what a cell of this OCV can bear. */
static bool fits_chemistry(const bms_config_t *config)
{
    const bms_settings_t *const set = &config->set;
    const int32_t full_uv = to_i32(config->est.ocv_v[EST_SOC_STEPS] * 1e6f, 0, INT32_MAX, 0);
    const int32_t empty_uv = to_i32(config->est.ocv_v[0] * 1e6f, 0, INT32_MAX, 0);
    const bool voltage = set->voltage_max_uv[LIMIT_TRIP] <= full_uv + FULL_UV && set->voltage_max_uv[LIMIT_TRIP] <= CELL_UV_MAX &&
                         set->voltage_min_uv[LIMIT_TRIP] >= empty_uv / 2 && set->voltage_min_uv[LIMIT_TRIP] >= CELL_UV_MIN;
    const bool deep = set->voltage_deep_uv > 0 && set->voltage_deep_uv < set->voltage_min_uv[LIMIT_TRIP];
    const bool hot = set->charge_max_cdegc[LIMIT_TRIP] <= HOT_CDEGC && set->discharge_max_cdegc[LIMIT_TRIP] <= HOT_CDEGC;
    const bool cold = set->charge_min_cdegc[LIMIT_TRIP] >= COLD_CDEGC && set->discharge_min_cdegc[LIMIT_TRIP] >= COLD_CDEGC;
    const bool apart = set->charge_min_cdegc[LIMIT_OPERATE] < set->charge_max_cdegc[LIMIT_OPERATE] &&
                       set->discharge_min_cdegc[LIMIT_OPERATE] < set->discharge_max_cdegc[LIMIT_OPERATE];
    return voltage && deep && hot && cold && apart;
}

/* Nothing may trip at a value that its sensor cannot show. */
static bool fits_sensors(const bms_settings_t *set)
{
    const bool current = set->current_range_ma > set->charge_ma[LIMIT_TRIP] && set->current_range_ma > set->discharge_ma[LIMIT_TRIP];
    const bool pressed = set->pressure_is_fitted != 0u && set->pressure_max_kpa[LIMIT_TRIP] != 0;
    const bool pressure = !pressed || set->pressure_full_scale_kpa >= set->pressure_max_kpa[LIMIT_TRIP];
    const bool rest = set->rest_ma > 0 && set->rest_ma < set->discharge_ma[LIMIT_TRIP] && set->current_offset_ma > 0;
    return current && pressure && rest && set->insulation_ohm_per_v[LIMIT_TRIP] > 0;
}

/* Comparator codes the chip has, and beyond the firmware's own limits: the chips are the second line, not the first. */
static bool fits_chips(const bms_settings_t *set)
{
    static const int32_t first_mv[3] = {2700, 3500, 4175};
    const uint32_t window = set->chip_overvoltage_code >> 4, step = (set->chip_overvoltage_code & 15u) - 2u;
    if (window > 2u || step > 12u || set->chip_undervoltage_code > 0x26u) return false;
    const int32_t over_mv = first_mv[window] + 25 * (int32_t)step, under_mv = 1200 + 50 * (int32_t)set->chip_undervoltage_code;
    return over_mv * 1000 > set->voltage_max_uv[LIMIT_TRIP] && under_mv * 1000 < set->voltage_min_uv[LIMIT_TRIP];
}

static bool fits_contactors(const bms_settings_t *set)
{
    const bool precharge = set->precharge_min_ms < set->precharge_max_ms && set->precharge_tolerance_mv > 0 && set->precharge_done_ma > 0 &&
                           set->precharge_done_ma < set->precharge_abort_ma;
    const bool resistor = set->precharge_ohm > 0.0f && set->precharge_energy_j > 0.0f;
    const bool times = set->feedback_ms > 0u && set->feedback_ms <= FEEDBACK_MS_MAX && set->fuse_wait_ms <= FUSE_MS_MAX;
    return precharge && resistor && times && set->break_current_ma > 0 && set->link_weld_mv > 0;
}

/* ---- reaction times: bms.firmware.timing has the same sums in words -------------------------------------------------------------- */

static uint32_t line_ms(const bms_settings_t *set, uint32_t bytes)
{
    return (7u + (bytes + 6u) * set->modules) / 100u + 1u + set->line_delay_ms;
}

/* Far and near end of an open ring are found by halving, the first question asked twice; then it is turned, four addresses a step. */
static uint32_t mend_ms(const bms_settings_t *set)
{
    uint32_t questions = 2u;
    for (uint32_t left = set->modules; left != 0u; left >>= 1) ++questions;
    return 2u * questions * (2u + set->line_delay_ms) + 10u + (set->modules + 4u) / 4u;
}

static uint32_t window_ms(const bms_settings_t *set, const diagnosis_row_t *row, uint32_t scan_ms, uint32_t cells_ms, uint32_t config_ms)
{
    switch (row->id) {
    case DIAG_CELL_VOLTAGE_UNKNOWN: return (uint32_t)row->threshold[TIER_TRIP];
    case DIAG_CELL_FROZEN: return set->frozen_scans * scan_ms;
    case DIAG_AFE_FROZEN: return set->frozen_frames * scan_ms;
    case DIAG_CURRENT_WHILE_OPEN: return set->feedback_ms + OPEN_MARGIN_MS;
    case DIAG_CONTACTOR_MAIN_PLUS:
    case DIAG_CONTACTOR_MAIN_MINUS:
    case DIAG_CONTACTOR_PRECHARGE: return set->feedback_ms;
    case DIAG_PRECHARGE_CURRENT: return set->feedback_ms + PRECHARGE_LOOK_MS;
    case DIAG_MEMORY_CORRUPT: return 2u * row->window_ms;
    case DIAG_PRECHARGE_TIMEOUT: return set->precharge_max_ms;
    case DIAG_CONTACTOR_WELD: return set->link_weld_ms;
    case DIAG_AFE_CONFIG: return AFE_CONFIG_MS + cells_ms + 3u * config_ms + 12u + 20u;
    case DIAG_AFE_RING_OPEN: return scan_ms + config_ms + cells_ms + mend_ms(set);
    case DIAG_AFE_COUNT: return 3u * (15u + 14u * set->modules + 10u + line_ms(set, 5u));
    default: return row->window_ms;
    }
}

static uint32_t reaction_ms(const bms_settings_t *set, const diagnosis_row_t *row)
{
    const uint32_t scan_ms = afe_scan_ms(set->modules), cells_ms = line_ms(set, 2u * set->blocks_per_module);
    const uint32_t config_ms = line_ms(set, AFE_CONFIG_BYTES), pins_ms = line_ms(set, 16u);
    uint32_t path = 0u, period = 0u; /* and one millisecond in which inputs are taken */
    switch (row->sample) {
    case SAMPLE_VOLTAGES: path = scan_ms + config_ms + cells_ms; period = scan_ms; break;
    case SAMPLE_GPIO: path = GPIO_MS + cells_ms + config_ms + pins_ms; period = GPIO_MS; break;
    case SAMPLE_CURRENT: path = 22u; period = 10u; break;
    case SAMPLE_INSULATION: path = 1002u; period = 1000u; break;
    case SAMPLE_TICK: path = TICK_MS; period = TICK_MS; break;
    case SAMPLE_REQUEST: path = 12u; period = 10u; break;
    default: path = period = 1u; break; /* step, event */
    }
    const uint32_t bound = row->debounce_ms + TICK_MS, more = (row->debounce_samples - 1u) * period;
    const bool by_time = row->id == DIAG_AFE_LINK || more > bound; /* a chain that is started anew sends no sample */
    return 1u + path + window_ms(set, row, scan_ms, cells_ms, config_ms) + (by_time ? bound : more);
}

static bool reactions_fit(const bms_settings_t *set)
{
    for (uint32_t id = 1; id < DIAG_COUNT; ++id) {
        const diagnosis_row_t *const row = &diagnosis_table[id];
        if (reaction_ms(set, row) > row->deadline_ms) return false;
    }
    return true;
}

uint32_t config_check(const bms_config_t *config)
{
    const bms_settings_t *const set = &config->set;
    if (set->magic != BMS_CONFIG_MAGIC || set->version != BMS_CONFIG_VERSION || set->size != sizeof *config) return BMS_REFUSED_MAGIC;
    if (config->crc32 != crc32_ieee((const uint8_t *)config, offsetof(bms_config_t, crc32))) return BMS_REFUSED_CRC;
    if (!topology_fits(set)) return BMS_REFUSED_TOPOLOGY;
    if (!limits_are_ordered(set)) return BMS_REFUSED_LIMITS;
    if (!estimator_is_sound(config) || !observer_is_sound(config)) return BMS_REFUSED_ESTIMATOR;
    if (!fits_chemistry(config)) return BMS_REFUSED_CHEMISTRY;
    if (!fits_sensors(set)) return BMS_REFUSED_SENSORS;
    if (!fits_chips(set)) return BMS_REFUSED_CHIPS;
    if (!fits_contactors(set)) return BMS_REFUSED_CONTACTORS;
    return reactions_fit(set) ? BMS_REFUSED_NONE : BMS_REFUSED_REACTION;
}
