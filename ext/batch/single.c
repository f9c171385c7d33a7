/* Cells that each have their own current: a string of one. The names of the second copy of the estimator stay apart. */
#define EST_BLOCKS_MAX 1
#define BATCH_KIND batch_single

#define est_init single_est_init
#define est_conditions single_est_conditions
#define est_start single_est_start
#define est_step single_est_step
#define est_results single_est_results
#define est_take_growth single_est_take_growth
#define est_bleed single_est_bleed
#define est_pack single_est_pack

#include "body.h"
