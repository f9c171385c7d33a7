/* Estimator and leak detector alone on a Cortex-M4F, for counting their instructions: no start-up code, no libraries. Functions are
 * called by name; what they work on is filled by name from outside (src/bms/bench/mcu.py). */
#define EST_BLOCKS_MAX 96

#include "../firmware/estimator.c"
#include "../firmware/leak.c"

#define MODULE 16u

void *memset(void *to, int value, size_t count)
{
    uint8_t *const bytes = to;
    for (size_t k = 0; k < count; ++k) bytes[k] = (uint8_t)value;
    return to;
}

void *memcpy(void *restrict to, const void *restrict from, size_t count)
{
    uint8_t *const bytes = to;
    for (size_t k = 0; k < count; ++k) bytes[k] = ((const uint8_t *)from)[k];
    return to;
}

est_params_t count_params;
est_bank_t count_bank;
leak_t count_leak;
int32_t count_uv[EST_BLOCKS_MAX], count_cdegc[EST_BLOCKS_MAX];
uint32_t count_valid[EST_BLOCKS_MAX];
float count_spread_a[EST_TEMPERATURE_STEPS + 1];
int64_t count_used_uc;

void count_start(void);
void count_step(void);
void count_results(void);
void count_conditions(void);
void count_leak_second(void);

void count_start(void)
{
    est_init(&count_bank, EST_BLOCKS_MAX);
    leak_init(&count_leak, EST_BLOCKS_MAX);
    count_conditions();
    for (uint32_t b = 0; b < EST_BLOCKS_MAX; ++b) est_start(&count_bank, &count_params, b, count_uv[b]);
    count_results();
}

void count_step(void)
{
    count_used_uc += 800000;
    est_step(&count_bank, &count_params, 0.02f, 40.0f, count_used_uc, count_uv, count_valid);
}

void count_results(void)
{
    est_results(&count_bank, &count_params, 0, EST_BLOCKS_MAX, est_take_growth(&count_bank), count_used_uc);
}

void count_conditions(void)
{
    est_conditions(&count_bank, &count_params, 0, EST_BLOCKS_MAX, count_cdegc, -1.0f);
}

void count_leak_second(void)
{
    for (uint32_t first = 0; first < EST_BLOCKS_MAX; first += MODULE)
        leak_module(&count_leak, &count_bank, &count_params, count_spread_a, first / MODULE, first, MODULE, 1.0f, count_uv, count_valid);
    (void)leak_second(&count_leak, &count_params, 1.0f, 40.0f);
}
