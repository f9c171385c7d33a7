/* Names, units and places of the configuration, for the host that fills it. A microcontroller build leaves this file out. */
#include "bms.h"

const field_t config_set_fields[] = {
#define FIELD_OWNER bms_settings_t
    BMS_CONFIG_FIELDS(FIELD_DESCRIBE_S, FIELD_DESCRIBE_A)
#undef FIELD_OWNER
};
const size_t config_set_field_count = FIELD_COUNT(config_set_fields);

const field_t config_est_fields[] = {
#define FIELD_OWNER est_params_t
    EST_PARAMS_FIELDS(FIELD_DESCRIBE_S, FIELD_DESCRIBE_A)
#undef FIELD_OWNER
};
const size_t config_est_field_count = FIELD_COUNT(config_est_fields);

const field_t config_obs_fields[] = {
#define FIELD_OWNER obs_params_t
    OBS_PARAMS_FIELDS(FIELD_DESCRIBE_S, FIELD_DESCRIBE_A)
#undef FIELD_OWNER
};
const size_t config_obs_field_count = FIELD_COUNT(config_obs_fields);

const size_t config_est_offset = offsetof(bms_config_t, est), config_obs_offset = offsetof(bms_config_t, obs), config_crc_offset = offsetof(bms_config_t, crc32);
const size_t config_size = sizeof(bms_config_t);
