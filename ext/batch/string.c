/* Cells in series. 192: the tile of a bank, its readings and its results stay in the second-level cache, most of it in the first. */
#define EST_BLOCKS_MAX 192
#define OBS_MODULES_MAX 192 /* every cell has its own thermistor */
#define OBS_SENSORS_MAX 1
#define HEALTH_MODULES_MAX 1
#define WITNESS_MODULES_MAX 1
#define BATCH_KIND batch_string

#include "body.h"

const field_t batch_params_fields[] = {
#define FIELD_OWNER batch_params_t
    BATCH_PARAMS_FIELDS(FIELD_DESCRIBE_S, FIELD_DESCRIBE_A)
#undef FIELD_OWNER
};
const size_t batch_params_field_count = FIELD_COUNT(batch_params_fields);

const field_t batch_est_fields[] = {
#define FIELD_OWNER est_params_t
    EST_PARAMS_FIELDS(FIELD_DESCRIBE_S, FIELD_DESCRIBE_A)
#undef FIELD_OWNER
};
const size_t batch_est_field_count = FIELD_COUNT(batch_est_fields), batch_est_size = sizeof(est_params_t);

const field_t batch_obs_fields[] = {
#define FIELD_OWNER obs_params_t
    OBS_PARAMS_FIELDS(FIELD_DESCRIBE_S, FIELD_DESCRIBE_A)
#undef FIELD_OWNER
};
const size_t batch_obs_field_count = FIELD_COUNT(batch_obs_fields), batch_obs_size = sizeof(obs_params_t);
