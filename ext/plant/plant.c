#include <string.h>

#include "internal.h"

#define FIELD_OWNER plant_t
FIELD_TABLE(plant_fields, PLANT_FIELDS);
#undef FIELD_OWNER
const size_t plant_field_count = FIELD_COUNT(plant_fields);

uint32_t plant_best_isa(void)
{
#if defined(__x86_64__) && !defined(BMS_NO_CLONES)
    __builtin_cpu_init();
    const int narrow = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("fma");
    const int wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    if (narrow && wide && __builtin_cpu_supports("avx512bw")) return 2u;
    return narrow ? 1u : 0u;
#else
    return 0u;
#endif
}

static inline __attribute__((always_inline)) double sum_body(const double *restrict values, uint32_t count)
{
    double lane[8] = {0.0};
    size_t k = 0;
    for (; k + 8u <= count; k += 8u)
        INDEPENDENT for (size_t j = 0; j < 8u; ++j) lane[j] += values[k + j];
    for (size_t j = 0; k + j < count; ++j) lane[j] += values[k + j];
    return ((lane[0] + lane[1]) + (lane[2] + lane[3])) + ((lane[4] + lane[5]) + (lane[6] + lane[7]));
}
#ifdef AVX512
__attribute__((noinline, target("avx2,tune=haswell"))) static double sum_avx2(const double *values, uint32_t count)
{
    return sum_body(values, count);
}
__attribute__((noinline, target(AVX512))) static double sum_avx512(const double *values, uint32_t count) { return sum_body(values, count); }
#endif

double lane_sum(const plant_t *p, const double *values, uint32_t count)
{
#ifdef AVX512
    if (p->isa > 1u) return sum_avx512(values, count);
    if (p->isa == 1u) return sum_avx2(values, count);
#else
    (void)p;
#endif
    return sum_body(values, count);
}

/* Integral of U - T0 dU/dT from 0 to z, in volt; exact for the piecewise-linear tables. Outside 0..1 the last pieces go on. */
double plant_enthalpy_v(const plant_t *p, double soc_frac)
{
    const double y = soc_frac * (double)(PLANT_SOC_POINTS - 1), kelvin = REFERENCE_DEGC + ZERO_DEGC_K;
    const int32_t m = INDEX(y, PLANT_SOC_POINTS);
    const double f = y - (double)m, start = p->ocv_v[m] - kelvin * p->entropic_v_per_k[m];
    const double slope = p->ocv_slope_v[m] - kelvin * p->entropic_slope[m];
    return p->enthalpy_v[m] + f * (start + 0.5 * f * slope) * (1.0 / (double)(PLANT_SOC_POINTS - 1));
}

static void stored(plant_t *p)
{
    double chemical = 0.0, polarised = 0.0, core = 0.0, surface = 0.0;
    for (uint32_t c = 0; c < plant_cells(p); ++c) {
        chemical += p->cell_capacity_now_as[c] * plant_enthalpy_v(p, p->cell_soc_frac[c]);
        const double v2 = p->cell_v2_v[c];
        polarised += 0.5 * (p->transfer_farad * p->cell_v1_v[c] * p->cell_v1_v[c] + p->diffusion_farad * v2 * v2);
        core += p->cell_core_degc[c];
        surface += p->cell_surface_degc[c];
    }
    p->energy_chemical_j = chemical;
    p->energy_polarised_j = polarised;
    p->energy_thermal_j = core * p->core_j_per_k + surface * p->surface_j_per_k + p->plate_degc * p->plate_j_per_k
                          + p->coolant_degc * p->coolant_j_per_k;
}

/* The balance closes at the end of a tick; inside one, charge and heat of the steps since are not yet booked. */
void plant_energy(plant_t *p)
{
    const uint32_t cells = plant_cells(p);
    stored(p);
    p->energy_ohmic_j = lane_sum(p, p->cell_ohmic_sum_j, cells);
    p->energy_transfer_j = lane_sum(p, p->cell_transfer_sum_j, cells);
    p->energy_diffusion_j = lane_sum(p, p->cell_diffusion_sum_j, cells);
    p->energy_hysteresis_j = lane_sum(p, p->cell_hysteresis_sum_j, cells);
    p->energy_reversible_j = lane_sum(p, p->cell_reversible_sum_j, cells);
    p->energy_short_j = lane_sum(p, p->cell_short_sum_j, cells);
    p->energy_leak_j = lane_sum(p, p->cell_leak_sum_j, cells);
    const double now = p->energy_chemical_j + p->energy_polarised_j + p->energy_thermal_j;
    const double out = p->energy_terminal_j + p->energy_bled_j + p->energy_air_j + p->energy_aged_j;
    const double in = p->energy_heater_j + p->energy_forced_j + p->energy_reaction_j;
    p->energy_residual_j = p->energy_start_j + in - out - now;
}

static void derive_tables(plant_t *p)
{
    const double kelvin = REFERENCE_DEGC + ZERO_DEGC_K, width = 1.0 / (double)(PLANT_SOC_POINTS - 1);
    p->enthalpy_v[0] = 0.0;
    for (uint32_t k = 0; k + 1u < PLANT_SOC_POINTS; ++k) {
        p->ocv_slope_v[k] = p->ocv_v[k + 1] - p->ocv_v[k];
        p->entropic_slope[k] = p->entropic_v_per_k[k + 1] - p->entropic_v_per_k[k];
        const double here = p->ocv_v[k] - kelvin * p->entropic_v_per_k[k], there = p->ocv_v[k + 1] - kelvin * p->entropic_v_per_k[k + 1];
        p->enthalpy_v[k + 1] = p->enthalpy_v[k] + 0.5 * (here + there) * width;
    }
    for (uint32_t k = 0; k < PLANT_TEMPERATURE_POINTS; ++k) {
        p->transfer_inverse[k] = 1.0 / p->transfer_law[k];
        p->diffusion_inverse[k] = 1.0 / p->diffusion_law[k];
    }
    for (uint32_t b = 0; b < p->blocks; ++b) {
        const uint32_t place = b % p->blocks_per_module;
        p->block_up_w_per_k[b] = place + 1u < p->blocks_per_module ? p->neighbour_w_per_k : 0.0;
        p->block_down_w_per_k[b] = place > 0u ? p->neighbour_w_per_k : 0.0;
    }
}

void plant_init(plant_t *p)
{
    derive_tables(p);
    for (uint32_t c = 0; c < plant_cells(p); ++c) {
        p->cell_core_before_degc[c] = p->cell_core_degc[c];
        p->cell_capacity_now_as[c] = p->cell_capacity_as[c];
        p->cell_per_as[c] = 1.0 / p->cell_capacity_as[c];
    }
    plant_ageing_tick(p); /* leak at this temperature; no time passes */
    /* Nothing has crept yet: the preload holds at half charge and 25 degC. */
    for (uint32_t m = 0; m < p->modules; ++m) p->module_set_kpa[m] = 0.0;
    plant_pressure_tick(p);
    plant_contact_tick(p);
    memset(p->cell_law_index, 0xFF, sizeof p->cell_law_index); /* in no interval yet */
    plant_tick_begin(p);
    p->pack_current_a = 0.0;
    p->pack_voltage_v = plant_electric_emf(p);
    for (uint32_t b = 0; b < p->blocks; ++b) p->block_voltage_v[b] = p->cell_base_v[b]; /* at rest */
    p->energy_aged_j = 0.0;
    stored(p);
    p->energy_start_j = p->energy_chemical_j + p->energy_polarised_j + p->energy_thermal_j;
}

static void tick(plant_t *p)
{
    p->tick++;
    plant_tick_end(p);
    if (p->hot_cells) plant_runaway_tick(p);
    plant_heat_tick(p);
    plant_pressure_tick(p);
    if (p->tick % 10u == 0u) plant_contact_tick(p);
    if (p->tick % 100u == 0u) plant_ageing_tick(p);
    plant_tick_begin(p);
}

void plant_step_ms(plant_t *p)
{
    const double step_s = 1e-6 * (double)p->step_us;
    if (plant_path_is_moving(p)) {
        plant_electric_coefficients(p, 0.1 * step_s);
        for (uint32_t k = 0; k < 10u; ++k) {
            plant_path_commands(p, 0.1 * step_s);
            plant_electric_step(p, 0.1 * step_s);
        }
        plant_electric_coefficients(p, step_s);
    } else {
        plant_path_rest(p, step_s);
        plant_electric_step(p, step_s);
    }
    p->time_us += p->step_us;
    if (++p->step_in_tick == STEPS_A_TICK) {
        p->step_in_tick = 0;
        tick(p);
    }
}
