#include "part.h"

#include <config_check.c>

CLAIM(limits_of_voltage_stay_within_the_curve_and_within_what_a_chip_can_read)
{
    bms_config_t c = part_pack("standby")->config;
    const bms_config_t whole = c;
    HOLDS(fits_chemistry(&c));
    const int32_t full_uv = (int32_t)(c.est.ocv_v[EST_SOC_STEPS] * 1e6f);
    c.set.voltage_max_uv[LIMIT_TRIP] = full_uv + FULL_UV + 1000;
    HOLDS(!fits_chemistry(&c));
    c = whole;
    c.est.ocv_v[EST_SOC_STEPS] = 1e3f; /* a curve without end does not lift what a chip can read */
    c.set.voltage_max_uv[LIMIT_TRIP] = CELL_UV_MAX;
    HOLDS(fits_chemistry(&c));
    c.set.voltage_max_uv[LIMIT_TRIP] = CELL_UV_MAX + 1;
    HOLDS(!fits_chemistry(&c));
    c = whole;
    c.set.voltage_min_uv[LIMIT_TRIP] = (int32_t)(c.est.ocv_v[0] * 1e6f) / 2 - 1000;
    c.set.voltage_deep_uv = 1;
    HOLDS(!fits_chemistry(&c));
    c = whole;
    c.est.ocv_v[0] = 0.0f;
    c.set.voltage_deep_uv = 1;
    c.set.voltage_min_uv[LIMIT_TRIP] = CELL_UV_MIN;
    HOLDS(fits_chemistry(&c) == (CELL_UV_MIN > 1));
    c.set.voltage_min_uv[LIMIT_TRIP] = CELL_UV_MIN - 1;
    HOLDS(!fits_chemistry(&c));
}

CLAIM(to_count_the_chips_anew_takes_longer_the_more_there_are)
{
    bms_settings_t set = part_pack("standby")->config.set;
    const diagnosis_row_t *const row = &diagnosis_table[DIAG_AFE_COUNT];
    set.modules = 6u;
    const uint32_t six = window_ms(&set, row, 20u, 1u, 1u);
    set.modules = 12u;
    HOLDS(window_ms(&set, row, 20u, 1u, 1u) >= six + 3u * 14u * 6u);
}
