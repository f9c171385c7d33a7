/* The fast part: currents of parallel cells, charge-transfer polarisation, block and pack voltage.
 *
 * The implicit midpoint rule throughout: emf, polarisation and voltage are those at the middle of a step, which is linear in the
 * current of the step, so that a cell still is an emf behind a resistance. With w = 1 / (1 + dt / 2 R1 C1),
 *     v1_mid = w (v1 + i dt / 2 C1),  v1' = 2 v1_mid - v1,  V_mid = base - slope charge - w v1 - (R0 + slope dt / 2 + w dt / 2 C1) i
 * and i dt V_mid is the energy delivered in the step, exactly.
 *
 * The usual case, one cell a block and nothing across it, has one current for all cells: then charge and i^2 are kept once for the
 * string and spread over the cells at the end of the tick. What the general case computes is the same but for rounding. */
#include <string.h>

#include "internal.h"

#define LANES 8u

static inline __attribute__((always_inline)) double cell_emf(const plant_t *p, size_t c)
{
    return p->cell_base_v[c] - p->cell_slope_v_per_c[c] * p->cell_charge_c[c] - p->cell_damp_1[c] * p->cell_v1_v[c];
}

static inline __attribute__((always_inline)) double lane_total(double *lane)
{
    for (size_t j = 0; j < 4u; ++j) lane[j] += lane[j + 4u];
    return (lane[0] + lane[2]) + (lane[1] + lane[3]);
}

/* One current for all cells: the sum of their emf is sum(base) - sum(slope) charge - sum(damp v1). The first two sums hold for the
 * tick, the third comes out of the pass that moves v1. Eight lanes in a fixed order. */
KERNEL uniform_sums_body(plant_t *restrict p)
{
    double base[LANES] = {0.0}, slope[LANES] = {0.0}, polarised[LANES] = {0.0};
    for (size_t c = 0; c < p->blocks; c += LANES) {
        const size_t here = p->blocks - c < LANES ? p->blocks - c : LANES;
        INDEPENDENT for (size_t j = 0; j < here; ++j) {
            base[j] += p->cell_base_v[c + j];
            slope[j] += p->cell_slope_v_per_c[c + j];
            polarised[j] += p->cell_damp_1[c + j] * p->cell_v1_v[c + j];
        }
    }
    p->string_base_v = lane_total(base);
    p->string_slope_v_per_c = lane_total(slope);
    p->string_polarised_v = lane_total(polarised);
}
EACH_ISA(uniform_sums)

/* What all cells share in a step. */
typedef struct {
    double amps, step_s, charge_c, rise_v;
} uniform_t;

static inline __attribute__((always_inline)) double uniform_cell(plant_t *restrict p, size_t c, uniform_t u)
{
    const double before = p->cell_v1_v[c], damp = p->cell_damp_1[c], mid = damp * (before + u.rise_v), after = 2.0 * mid - before;
    p->block_voltage_v[c] = p->cell_base_v[c] - p->cell_slope_v_per_c[c] * u.charge_c - damp * before - p->block_ohm[c] * u.amps;
    p->cell_transfer_v2s[c] += mid * mid * u.step_s;
    p->cell_v1_v[c] = after;
    return damp * after;
}

KERNEL uniform_move_body(plant_t *restrict p)
{
    const double i = p->pack_current_a, dt = p->step_s, charge = p->string_charge_c;
    const uniform_t u = {i, dt, charge, 0.5 * dt * i / p->transfer_farad};
    double lane[LANES] = {0.0};
    size_t c = 0;
    for (; c + LANES <= p->blocks; c += LANES)
        INDEPENDENT for (size_t j = 0; j < LANES; ++j) lane[j] += uniform_cell(p, c + j, u);
    for (size_t j = 0; c + j < p->blocks; ++j) lane[j] += uniform_cell(p, c + j, u);
    p->string_polarised_v = lane_total(lane);
    p->string_charge_c = charge + i * dt;
    p->string_square_a2s += i * i * dt;
}
EACH_ISA(uniform_move)

/* Thevenin voltage of every block: V = (sum g E) / (sum g + whatever else conducts). */
KERNEL emf_body(plant_t *restrict p)
{
    const size_t blocks = p->blocks;
    INDEPENDENT for (size_t b = 0; b < blocks; ++b) p->block_emf_v[b] = p->cell_siemens[b] * cell_emf(p, b);
    for (uint32_t k = 1; k < p->parallel; ++k) {
        const size_t row = k * blocks;
        INDEPENDENT for (size_t b = 0; b < blocks; ++b) p->block_emf_v[b] += p->cell_siemens[row + b] * cell_emf(p, row + b);
    }
    INDEPENDENT for (size_t b = 0; b < blocks; ++b) p->block_emf_v[b] *= p->block_ohm[b];
}
EACH_ISA(emf)

/* Voltages and currents at the pack current of the step, held over it; then the polarisation one step on. */
KERNEL move_body(plant_t *restrict p)
{
    const size_t blocks = p->blocks;
    const double current = p->pack_current_a, dt = p->step_s, rise = 0.5 * dt / p->transfer_farad;
    INDEPENDENT for (size_t b = 0; b < blocks; ++b) {
        const double v = p->block_emf_v[b] - p->block_ohm[b] * current;
        p->block_voltage_v[b] = v;
        p->block_square_v2s[b] += v * v * dt;
    }
    for (uint32_t k = 0; k < p->parallel; ++k) {
        const size_t row = k * blocks;
        INDEPENDENT for (size_t b = 0; b < blocks; ++b) {
            const size_t c = row + b;
            const double i = p->cell_siemens[c] * (cell_emf(p, c) - p->block_voltage_v[b]), charge = i * dt;
            const double before = p->cell_v1_v[c], mid = p->cell_damp_1[c] * (before + rise * i);
            p->cell_charge_c[c] += charge;
            p->cell_square_a2s[c] += charge * i;
            p->cell_transfer_v2s[c] += mid * mid * dt;
            p->cell_v1_v[c] = 2.0 * mid - before;
        }
    }
}
EACH_ISA(move)

KERNEL coefficients_body(plant_t *restrict p)
{
    const size_t cells = plant_cells(p);
    const double half = 0.5 * p->step_s, rise = half / p->transfer_farad;
    INDEPENDENT for (size_t c = 0; c < cells; ++c) {
        const double damp = 1.0 / (1.0 + rise * p->cell_transfer_s[c]);
        p->cell_damp_1[c] = damp;
        p->cell_mid_ohm[c] = p->cell_resistance_ohm[c] + (half * p->cell_slope_v_per_c[c] + rise * damp);
    }
}
EACH_ISA(coefficients)

/* Thevenin resistance of the blocks. */
KERNEL blocks_body(plant_t *restrict p)
{
    const size_t blocks = p->blocks;
    INDEPENDENT for (size_t b = 0; b < blocks; ++b) p->block_ohm[b] = p->block_extra_s[b];
    for (uint32_t k = 0; k < p->parallel; ++k) {
        const size_t row = k * blocks;
        INDEPENDENT for (size_t b = 0; b < blocks; ++b) {
            const double siemens = 1.0 / p->cell_mid_ohm[row + b];
            p->cell_siemens[row + b] = siemens;
            p->block_ohm[b] += siemens;
        }
    }
    INDEPENDENT for (size_t b = 0; b < blocks; ++b) p->block_ohm[b] = 1.0 / p->block_ohm[b];
}
EACH_ISA(blocks)

KERNEL spread_body(plant_t *restrict p)
{
    INDEPENDENT for (size_t c = 0; c < p->blocks; ++c) {
        p->cell_charge_c[c] = p->string_charge_c;
        p->cell_square_a2s[c] = p->string_square_a2s;
    }
}
EACH_ISA(spread)

void plant_electric_coefficients(plant_t *p, double step_s)
{
    p->step_s = step_s;
    coefficients(p);
    if (p->is_uniform) {
        memcpy(p->block_ohm, p->cell_mid_ohm, p->blocks * sizeof *p->block_ohm);
        uniform_sums(p);
    } else {
        blocks(p);
    }
    p->string_ohm = lane_sum(p, p->block_ohm, p->blocks);
}

double plant_electric_emf(plant_t *p)
{
    if (p->is_uniform) {
        p->emf_sum_v = p->string_base_v - p->string_slope_v_per_c * p->string_charge_c - p->string_polarised_v;
    } else {
        emf(p);
        p->emf_sum_v = lane_sum(p, p->block_emf_v, p->blocks);
    }
    return p->emf_sum_v;
}

void plant_electric_spread(plant_t *p)
{
    if (p->is_uniform) spread(p);
}

void plant_electric_step(plant_t *p, double step_s)
{
    const double emf_v = plant_electric_emf(p);
    p->pack_current_a = plant_path_current(p, emf_v, step_s);
    p->pack_voltage_v = emf_v - p->string_ohm * p->pack_current_a;
    const double energy = p->pack_current_a * p->pack_voltage_v * step_s;
    p->energy_terminal_j += energy;
    p->energy_throughput_j += energy < 0.0 ? -energy : energy;
    if (p->is_uniform) uniform_move(p);
    else move(p);
}
