/* Cells that each have their own current: a string of one. The names of the second copy of the firmware's parts stay apart. */
#define EST_BLOCKS_MAX 1
#define OBS_MODULES_MAX 1
#define OBS_SENSORS_MAX 1
#define HEALTH_MODULES_MAX 1
#define WITNESS_MODULES_MAX 1
#define BATCH_KIND batch_single

#define witness_init single_witness_init
#define witness_join single_witness_join
#define witness_rest single_witness_rest
#define est_init single_est_init
#define est_conditions single_est_conditions
#define est_start single_est_start
#define est_hint single_est_hint
#define est_unrest single_est_unrest
#define est_step single_est_step
#define est_results single_est_results
#define est_take_growth single_est_take_growth
#define est_bleed single_est_bleed
#define est_pack single_est_pack
#define obs_init single_obs_init
#define obs_started single_obs_started
#define obs_heat_w single_obs_heat_w
#define obs_step single_obs_step
#define obs_step_each single_obs_step_each
#define obs_hottest single_obs_hottest
#define health_init single_health_init
#define health_resistance single_health_resistance
#define health_join single_health_join
#define health_rest single_health_rest
#define health_rest_over single_health_rest_over
#define health_weakest single_health_weakest
#define health_write single_health_write
#define health_read single_health_read

#include "body.h"
