#include "part.h"

#include <observer.c>

static float number(void)
{
    return 0.0f / 0.0f;
}

CLAIM(an_observer_holds_no_more_blocks_and_channels_than_it_has_room_for)
{
    bms_t *const self = part_pack("standby");
    obs_bank_t *const bank = &self->watch.obs;
    obs_init(bank, &self->config.obs, EST_BLOCKS_MAX + 1u, 16u);
    HOLDS(bank->count == EST_BLOCKS_MAX && bank->per_module == 16u);
    obs_init(bank, &self->config.obs, 16u, 0u);
    HOLDS(bank->per_module == OBS_CHANNELS_MAX);
    obs_init(bank, &self->config.obs, 16u, OBS_CHANNELS_MAX + 1u);
    HOLDS(bank->per_module == OBS_CHANNELS_MAX);
}

CLAIM(a_module_that_does_not_exist_never_starts)
{
    static const float HEAT[OBS_CHANNELS_MAX] = {0};
    static const float READ[OBS_SENSORS_MAX] = {25, 25, 25, 25, 25, 25};
    static const uint8_t VALID[OBS_SENSORS_MAX] = {1, 1, 1, 1, 1, 1};
    bms_t *const self = part_pack("standby");
    obs_bank_t *const bank = &self->watch.obs;
    const obs_bank_t was = *bank;
    HOLDS(obs_started(bank, 0u) && !obs_started(bank, OBS_MODULES_MAX));
    obs_step(bank, &self->config.obs, OBS_MODULES_MAX, 1.0f, HEAT, READ, VALID, OBS_NO_SINK);
    obs_step(bank, &self->config.obs, 1u, 1.0f, HEAT, READ, VALID, OBS_NO_SINK); /* without blocks */
    HOLDS(memcmp(&was, bank, sizeof was) == 0);
}

CLAIM(thermistors_beyond_the_last_block_and_beyond_the_table_are_not_used)
{
    static const float HEAT[OBS_CHANNELS_MAX] = {0};
    static const uint8_t VALID[OBS_SENSORS_MAX + 2u] = {1, 1, 1, 1, 1, 1, 1, 1};
    float read[OBS_SENSORS_MAX + 2u] = {25, 25, 25, 25, 25, 25, 900, 900};
    bms_t *const self = part_pack("standby");
    obs_params_t p = self->config.obs;
    obs_bank_t *const bank = &self->watch.obs;
    p.sensors = OBS_SENSORS_MAX + 2u;
    obs_init(bank, &p, 10u, 16u);
    for (uint32_t k = 0; k < 40u; ++k) {
        obs_step(bank, &p, 0u, 1.0f, HEAT, read, VALID, OBS_NO_SINK);
        read[5] = 90.0f; /* of channel 15: there is no such block */
    }
    HOLDS(blocks_of(bank, 0u) == 10u && bank->surface_degc[9] > 20.0f && bank->surface_degc[9] < 30.0f);
    HOLDS(bank->suspects == 0u);
}

CLAIM(the_nearest_thermistor_counts_in_whatever_order_they_are_listed)
{
    static const float HEAT[OBS_CHANNELS_MAX] = {0};
    static const uint8_t VALID[OBS_SENSORS_MAX] = {1, 1, 1, 0, 0, 0};
    static const uint32_t ORDERS[2][3] = {{2u, 6u, 12u}, {12u, 6u, 2u}};
    float degc[2];
    for (uint32_t k = 0; k < 2u; ++k) {
        bms_t *const self = part_pack("standby");
        obs_params_t p = self->config.obs;
        float read[OBS_SENSORS_MAX] = {0};
        p.sensors = 3u;
        for (uint32_t s = 0; s < 3u; ++s) {
            p.sensor_channel[s] = ORDERS[k][s];
            read[s] = 25.0f + 0.1f * (float)ORDERS[k][s];
        }
        obs_init(&self->watch.obs, &p, 16u, 16u);
        for (uint32_t n = 0; n < 300u; ++n) obs_step(&self->watch.obs, &p, 0u, 1.0f, HEAT, read, VALID, 25.0f);
        degc[k] = self->watch.obs.surface_degc[9];
    }
    HOLDS(abs_f32(degc[0] - degc[1]) < 1e-4f);
}

CLAIM(thermistors_that_all_disagree_leave_the_middle_one_and_teach_no_cooling)
{
    static const uint8_t VALID[OBS_SENSORS_MAX] = {1, 1, 1, 1, 0, 0};
    static const float HEAT[OBS_CHANNELS_MAX] = {0};
    bms_t *const self = part_pack("standby");
    obs_params_t p = self->config.obs;
    obs_bank_t *const bank = &self->watch.obs;
    p.sensors = 4u;
    obs_init(bank, &p, 16u, 16u);
    const float read[OBS_SENSORS_MAX] = {-200.0f, 0.0f, 200.0f, 400.0f, 0.0f, 0.0f};
    seen_t seen;
    bank->age_s[0] = 1e6f;
    look(bank, &p, 0u, 1.0f, read, VALID, &seen);
    HOLDS(seen.good == 0u && seen.common_k == 100.0f); /* the middle of an even number */
    const float h = bank->cooling_w_per_k[0], var = bank->cooling_var[0];
    conclude(bank, &p, 0u, 1.0f, &seen, HEAT, true);
    HOLDS(bank->cooling_w_per_k[0] == h && bank->cooling_var[0] == var);
    HOLDS(bank->sigma_k[0] > 0.0f && bank->core_degc[0] == bank->core_degc[0]);
}

CLAIM(a_first_step_without_time_starts_a_module_all_the_same)
{
    static const float HEAT[OBS_CHANNELS_MAX] = {0}, READ[OBS_SENSORS_MAX] = {30, 30, 30, 30, 30, 30};
    static const uint8_t VALID[OBS_SENSORS_MAX] = {1, 1, 1, 1, 1, 1};
    bms_t *const self = part_pack("standby");
    obs_init(&self->watch.obs, &self->config.obs, 16u, 16u);
    HOLDS(!obs_hottest(&self->watch.obs).known);
    obs_step(&self->watch.obs, &self->config.obs, 0u, 0.0f, HEAT, READ, VALID, OBS_NO_SINK);
    HOLDS(obs_started(&self->watch.obs, 0u) && obs_hottest(&self->watch.obs).known != 0u);
}

CLAIM(cores_stay_within_what_a_cell_can_be_whatever_heat_is_told)
{
    static const float READ[OBS_CHANNELS_MAX] = {25, 25, 25, 25, 25, 25, 25, 25};
    static const uint32_t VALID[OBS_CHANNELS_MAX] = {1, 1, 1, 1, 1, 1, 1, 1};
    bms_t *const self = part_pack("standby");
    obs_bank_t *const bank = &self->watch.obs;
    obs_init(bank, &self->config.obs, 8u, 1u);
    float heat[OBS_CHANNELS_MAX] = {0};
    obs_step_each(bank, &self->config.obs, 1.0f, heat, READ, VALID, number());
    heat[0] = 1e9f;
    heat[1] = -1e9f;
    heat[2] = number();
    for (uint32_t k = 0; k < 50u; ++k) obs_step_each(bank, &self->config.obs, 10.0f, heat, READ, VALID, OBS_NO_SINK);
    for (uint32_t b = 0; b < 8u; ++b) HOLDS(bank->core_degc[b] >= CORE_MIN_DEGC && bank->core_degc[b] <= CORE_MAX_DEGC);
    HOLDS(bank->core_degc[0] == CORE_MAX_DEGC && bank->core_degc[1] == CORE_MIN_DEGC && bank->core_degc[3] < 30.0f);
}
