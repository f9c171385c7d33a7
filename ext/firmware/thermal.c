/* Heater and coolant pump. The heater looks at the coldest thermistor and stops for the hottest; without a reading it is off. */
#include "bms.h"
#include "util.h"

#define HYSTERESIS_CDEGC 200
#define FULL_HEAT_CDEGC 500   /* so far below the target the heater is at full duty */
#define FULL_COOL_CDEGC 1000  /* so far above the target the pump is at full duty */
#define HEAT_HEADROOM_CDEGC 1500 /* hottest over target: the plate is hot enough */

static int32_t duty(int32_t distance_cdegc, int32_t full_cdegc)
{
    return clamp_i32(distance_cdegc * 10000 / full_cdegc, 0, 10000);
}

void thermal_slow(bms_t *self)
{
    thermal_t *const t = &self->thermal;
    const bms_settings_t *const set = &self->config.set;
    const measure_t *const m = &self->measure;
    const bool known = m->gpio_scan != 0u && m->temperature_max_cdegc != BMS_UNKNOWN && !state_is_dead(self->contactor.state);
    t->heater_pptt = t->pump_pptt = 0u;
    if (!known) {
        t->heating = 0u;
        return;
    }
    const int32_t cold = m->temperature_min_cdegc, hot = m->temperature_max_cdegc;
    const bool allowed = set->heater_is_fitted != 0u && self->canin.heating_allowed != 0u && self->protect.trip == 0u &&
                         m->temperatures_unknown == 0u && hot < set->heat_below_cdegc + HEAT_HEADROOM_CDEGC;
    if (cold < set->heat_below_cdegc) t->heating = 1u;
    if (!allowed || cold > set->heat_below_cdegc + HYSTERESIS_CDEGC) t->heating = 0u;
    if (t->heating != 0u) {
        t->heater_pptt = (uint16_t)max_i32(1000, duty(set->heat_below_cdegc + HYSTERESIS_CDEGC - cold, FULL_HEAT_CDEGC));
        t->pump_pptt = 3000u; /* carries the heat to the plate */
    } else if (hot > set->cool_above_cdegc) {
        t->pump_pptt = (uint16_t)max_i32(1000, duty(hot - set->cool_above_cdegc, FULL_COOL_CDEGC));
    }
}
