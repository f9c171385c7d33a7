/* State of charge of a bank of blocks: one extended Kalman filter each, kept as a structure of arrays. Stands alone: needs only
 * this header, estimator.c, util.h and field.h; no libm, no heap, no pointers in the state.
 *
 * Model of a block (current I positive on discharge, z state of charge):
 *     V = OCV(z) + dU/dT(z) (T - 25 degC) + h - (1 + rho) (I R0 + v1) - v2
 *     z = base + delta - Q / capacity           Q: coulomb count of the pack, integer microcoulombs, kept outside
 *     d(v1)/dt = I / C1 - v1 / (R1 C1)           charge transfer, followed open loop
 *     d(v2)/dt = (1 + rho) I / C2 - v2 / (R2 C2) diffusion; as R2 rises in the cold, so does its time constant
 *     dh/dz   -> -hysteresis sign(I)             followed open loop, with the share still unknown
 *     R0 = electrolyte(T) + contact(T) (P / P_ref)^exponent;  R1, R2 from tables over T
 * Estimated: delta, v2 and the resistance error rho of each block (cell spread, lost contact, core warmer than its sensor, what
 * resistance does over charge). The count itself stays integer, because a 32-bit float loses its increments.
 *
 * Not estimated but *considered* (Schmidt, 1966): a constant voltage error x1 (channel offset, OCV table, unknown hysteresis, and slow
 * diffusion in proportion to the current of the last minutes). Its correlations with the state are carried along, so the variance of
 * delta cannot shrink below what such an error allows, and a flat OCV gives no false confidence.
 * Nor is the OCV a straight line: while the charge of a block is uncertain, its slope is that of a fit over the uncertainty, and
 * what the OCV strays from the fit counts as part of x1 (statistical linearisation). A knee or a step met by an estimate that may be
 * far off so corrects it without pretending to precision.
 *
 * Errors of the current sensor (offset, gain) and of the capacity drift in one direction, so they widen the standard deviation, not
 * the variance, linearly (est_take_growth).
 *
 * Everything is elementwise: permuting blocks permutes results, and vector width does not change a bit.
 */
#ifndef BMS_ESTIMATOR_H
#define BMS_ESTIMATOR_H

#include "field.h"

#ifndef EST_BLOCKS_MAX
#ifdef BMS_CELLS_MAX
#define EST_BLOCKS_MAX BMS_CELLS_MAX
#else
#define EST_BLOCKS_MAX 400
#endif
#endif

#define EST_SOC_STEPS 200        /* OCV grid: 0.5 % of charge */
#define EST_SPREADS 3
#define EST_TEMPERATURE_STEPS 64 /* resistance grid: -40 to 120 degC in 2.5 K */
#define EST_TEMPERATURE_MIN_CDEGC (-4000)
#define EST_TEMPERATURE_STEP_CDEGC 250
#define EST_PRESSURE_STEPS 32

/* Parameters of one block (parallel cells taken together). Filled by name from bms.firmware.config. */
#define EST_PARAMS_FIELDS(S, A)                                                                                                \
    A(f32, ocv_v, EST_SOC_STEPS + 1, "V", "open-circuit voltage at 25 degC over state of charge 0 to 1")                       \
    A(f32, slope_v, EST_SPREADS * (EST_SOC_STEPS + 1), "V", "dOCV/dSoC as a fit over +-1, +-8 and +-25 % of charge")           \
    A(f32, curve_v, EST_SPREADS * (EST_SOC_STEPS + 1), "V", "how far the OCV strays from that fit, root mean square")          \
    A(f32, entropic_v_per_k, EST_SOC_STEPS + 1, "V/K", "dU/dT over state of charge")                                           \
    A(f32, electrolyte_ohm, EST_TEMPERATURE_STEPS + 1, "ohm", "electrolyte share of R0 over temperature")                      \
    A(f32, contact_ohm, EST_TEMPERATURE_STEPS + 1, "ohm", "contact share of R0 over temperature, at reference pressure")       \
    A(f32, transfer_ohm, EST_TEMPERATURE_STEPS + 1, "ohm", "charge-transfer resistance R1 over temperature")                   \
    A(f32, diffusion_ohm, EST_TEMPERATURE_STEPS + 1, "ohm", "diffusion resistance R2 over temperature")                        \
    A(f32, pressure_factor, EST_PRESSURE_STEPS + 1, "1", "multiplier of the contact share over pressure, 0 to pressure_max")   \
    S(f32, pressure_max_kpa, "kPa", "end of the pressure grid")                                                                \
    S(f32, per_uc, "1/uC", "1 / capacity of a block")                                                                          \
    S(f32, transfer_farad, "F", "C1: time constant at 25 degC over R1 there")                                                  \
    S(f32, diffusion_farad, "F", "C2: the same of R2")                                                                         \
    S(f32, hysteresis_v, "V", "half the gap between charge and discharge branch")                                              \
    S(f32, hysteresis_soc_frac, "1", "charge swing that reaches a branch (1/e)")                                               \
    S(f32, sigma_bias_v, "V", "considered: constant voltage error, standard deviation")                                        \
    S(f32, sigma_resistance_frac, "1", "resistance error rho before anything is learnt, standard deviation")                            \
    S(f32, sigma_noise_v, "V", "voltage noise of one reading, standard deviation")                                             \
    S(f32, sigma_diffusion_v, "V", "diffusion voltage: what the model leaves open at rest")                                    \
    S(f32, sigma_diffusion_frac, "1", "diffusion voltage: relative error of I R2")                                             \
    S(f32, sigma_current_a, "A", "offset of the current sensor, standard deviation")                                           \
    S(f32, sigma_charge_frac, "1", "gain of the current sensor and capacity of a block, standard deviation")                   \
    S(f32, sigma_start_frac, "1", "state of charge before the first voltage, standard deviation")                              \
    S(f32, stack_kpa, "kPa", "stack pressure: rise from empty to full; 0: no witness (witness.h)")                             \
    S(f32, stack_half_kpa, "kPa", "stack pressure at half charge and 25 degC, as assembled")                                   \
    S(f32, stack_kpa_per_k, "kPa/K", "stack pressure: rise with temperature")                                                  \
    S(f32, stack_creep_frac, "1", "share of a pressure change that relaxes")                                                   \
    S(f32, stack_creep_per_s, "1/s", "1 / time constant of that")                                                              \
    S(f32, stack_noise_kpa, "kPa", "noise of one pressure reading, standard deviation")                                        \
    S(f32, sigma_stack_kpa, "kPa", "offset of pressure: sensor, assembly, past creep, standard deviation")                     \
    S(f32, sigma_stack_frac, "1", "error of stack_kpa, relative, standard deviation")

FIELD_STRUCT(est_params_t, EST_PARAMS_FIELDS);

typedef struct {
    uint32_t count;
    uint32_t passes;           /* est_step calls */
    uint64_t updates;          /* blocks in all of them */
    float hysteresis_v;        /* h */
    float hysteresis_open;     /* share of the hysteresis that is still unknown, 1 to 0 */
    float current_a;           /* of the last pass */
    float lasting_a;           /* current, smoothed over 10 min */
    float widen_frac;          /* growth of the standard deviation not yet applied */
    float base[EST_BLOCKS_MAX];    /* state of charge at start */
    float delta[EST_BLOCKS_MAX];   /* correction found by the filter */
    float v1_v[EST_BLOCKS_MAX], v2_v[EST_BLOCKS_MAX];
    float resistance_frac[EST_BLOCKS_MAX];  /* R0 and R1 are 1 + this times what the tables say */
    float p11[EST_BLOCKS_MAX], p12[EST_BLOCKS_MAX], p13[EST_BLOCKS_MAX];   /* covariance of delta, v2, resistance_frac */
    float p22[EST_BLOCKS_MAX], p23[EST_BLOCKS_MAX], p33[EST_BLOCKS_MAX];
    float c1[EST_BLOCKS_MAX], c2[EST_BLOCKS_MAX], c3[EST_BLOCKS_MAX];      /* of these with x1 */
    float r0_ohm[EST_BLOCKS_MAX], r1_ohm[EST_BLOCKS_MAX], r2_ohm[EST_BLOCKS_MAX];               /* est_conditions */
    float rate1_per_s[EST_BLOCKS_MAX], rate2_per_s[EST_BLOCKS_MAX];                             /* 1 / (R C) */
    float above_25_k[EST_BLOCKS_MAX], entropic_v[EST_BLOCKS_MAX];
    float filter_frac[EST_BLOCKS_MAX];                                                          /* est_results: by the filter alone */
    float soc_frac[EST_BLOCKS_MAX], sigma_frac[EST_BLOCKS_MAX];                                 /* the same, and what witness.h adds */
} est_bank_t;

void est_init(est_bank_t *bank, uint32_t count);

/* Temperature and stack pressure of blocks first .. first + count - 1: their resistances. Slow; call when readings change.
 * temperature_cdegc is indexed by block; pressure_kpa < 0 says unknown and counts as the reference pressure. */
void est_conditions(est_bank_t *bank, const est_params_t *params, uint32_t first, uint32_t count, const int32_t *temperature_cdegc,
                    float pressure_kpa);

/* Start one block from its voltage, taken as at rest. Call est_conditions before. The interval is as wide as the OCV is flat. */
void est_start(est_bank_t *bank, const est_params_t *params, uint32_t block, int32_t voltage_uv);

/* After est_start, where the pack may not have rested: the voltage may still carry what such a current left behind, either way. */
void est_unrest(est_bank_t *bank, const est_params_t *params, uint32_t block, int32_t voltage_uv, float current_a);

/* After est_start: what memory says of the block, with its standard deviation. Memory that disagrees by more than four standard
 * deviations is of another charge and is not believed. */
void est_hint(est_bank_t *bank, uint32_t block, float soc_frac, float sigma_frac);

/* One pass over all blocks. used_uc: charge taken from the pack since start; current_a: mean since the last pass; valid: 0xFFFFFFFF
 * where voltage_uv is a fresh reading, else 0: the block only follows the count then. */
void est_step(est_bank_t *bank, const est_params_t *params, float dt_s, float current_a, int64_t used_uc, const int32_t *voltage_uv,
              const uint32_t *valid);

/* Apply the drift of the coulomb count to blocks first .. first + count - 1, keep covariances positive, contain what is not finite, and
 * write soc_frac and sigma_frac. growth_frac: see est_take_growth. */
void est_results(est_bank_t *bank, const est_params_t *params, uint32_t first, uint32_t count, float growth_frac, int64_t used_uc);

/* Growth of the standard deviation since the last call; to be handed to est_results for every block once. */
float est_take_growth(est_bank_t *bank);

/* Charge a block lost besides the pack current: its balancing bleed. */
void est_bleed(est_bank_t *bank, const est_params_t *params, uint32_t block, float bleed_uc);

/* State of charge of the pack: what can be taken until the weakest block is empty over that plus what can be put in until the fullest
 * is full; 0 when the weakest is empty, 1 when the fullest is full. low and high do the same with every block at the end of its
 * interval (3 sigma) that makes it so. */
typedef struct {
    float soc_frac, low_frac, high_frac;
    uint32_t weakest, fullest;
} est_pack_t;

est_pack_t est_pack(const est_bank_t *bank);

#define EST_INTERVAL_SIGMAS 3.0f

#endif
