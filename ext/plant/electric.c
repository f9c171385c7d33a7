/* The fast part: currents of parallel cells, charge-transfer polarisation, block and pack voltage.
 *
 * The usual case, one cell a block and nothing across it, has one current for all cells: then charge and i^2 are kept once for the
 * string and spread over the cells at the end of the tick. What the general case computes is the same but for rounding. */
#include <string.h>

#include "internal.h"

#define LANES 16u

static inline __attribute__((always_inline)) double cell_emf(const plant_t *p, size_t c)
{
    return p->cell_base_v[c] - p->cell_slope_v_per_c[c] * p->cell_charge_c[c] - p->cell_v1_v[c];
}

/* Sum of the blocks' Thevenin voltages at the start of a step, into emf_sum_v; sixteen lanes in a fixed order. */
KERNEL uniform_emf_body(plant_t *restrict p)
{
    const double charge = p->string_charge_c;
    double lane[LANES] = {0.0};
    size_t c = 0;
    for (; c + LANES <= p->blocks; c += LANES)
        INDEPENDENT for (size_t j = 0; j < LANES; ++j)
            lane[j] += p->cell_base_v[c + j] - p->cell_slope_v_per_c[c + j] * charge - p->cell_v1_v[c + j];
    for (size_t j = 0; c + j < p->blocks; ++j)
        lane[j] += p->cell_base_v[c + j] - p->cell_slope_v_per_c[c + j] * charge - p->cell_v1_v[c + j];
    for (size_t width = LANES / 2u; width >= 1u; width /= 2u)
        for (size_t j = 0; j < width; ++j) lane[j] += lane[j + width];
    p->emf_sum_v = lane[0];
}
TWICE(uniform_emf)

KERNEL uniform_move_body(plant_t *restrict p)
{
    const double i = p->pack_current_a, dt = p->step_s, charge = p->string_charge_c;
    INDEPENDENT for (size_t c = 0; c < p->blocks; ++c) {
        const double before = p->cell_v1_v[c], after = p->cell_keep_1[c] * before + p->cell_gain_1[c] * i;
        const double mean = 0.5 * (before + after);
        p->block_voltage_v[c] = p->cell_base_v[c] - p->cell_slope_v_per_c[c] * charge - before - p->block_ohm[c] * i;
        p->cell_transfer_v2s[c] += mean * mean * dt;
        p->cell_v1_v[c] = after;
    }
    p->string_charge_c = charge + i * dt;
    p->string_square_a2s += i * i * dt;
}
TWICE(uniform_move)

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
TWICE(emf)

/* Voltages and currents at the pack current of the step, held over it; then the polarisation one step on. */
KERNEL move_body(plant_t *restrict p)
{
    const size_t blocks = p->blocks;
    const double current = p->pack_current_a, dt = p->step_s;
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
            const double before = p->cell_v1_v[c], after = p->cell_keep_1[c] * before + p->cell_gain_1[c] * i;
            const double mean = 0.5 * (before + after);
            p->cell_charge_c[c] += charge;
            p->cell_square_a2s[c] += charge * i;
            p->cell_transfer_v2s[c] += mean * mean * dt;
            p->cell_v1_v[c] = after;
        }
    }
}
TWICE(move)

/* Implicit midpoint rule of the first RC: C (v' - v) / dt = i - (v + v') / 2R. */
KERNEL coefficients_body(plant_t *restrict p)
{
    const size_t cells = plant_cells(p);
    const double over_farad = p->step_s / p->transfer_farad;
    INDEPENDENT for (size_t c = 0; c < cells; ++c) {
        const double half = 0.5 * over_farad * p->cell_transfer_s[c], w = 1.0 / (1.0 + half);
        p->cell_keep_1[c] = (1.0 - half) * w;
        p->cell_gain_1[c] = over_farad * w;
    }
}
TWICE(coefficients)

KERNEL spread_body(plant_t *restrict p)
{
    INDEPENDENT for (size_t c = 0; c < p->blocks; ++c) {
        p->cell_charge_c[c] = p->string_charge_c;
        p->cell_square_a2s[c] = p->string_square_a2s;
    }
}
TWICE(spread)

void plant_electric_coefficients(plant_t *p, double step_s)
{
    p->step_s = step_s;
    coefficients(p);
}

double plant_electric_emf(plant_t *p)
{
    if (p->is_uniform) {
        uniform_emf(p);
    } else {
        emf(p);
        p->emf_sum_v = lane_sum(p->block_emf_v, p->blocks);
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
    /* Energy of the step before, by the trapezoid of its emf at a held current. */
    const double energy = p->pack_current_a * p->last_s * (0.5 * (p->last_emf_v + emf_v) - p->last_ohm * p->pack_current_a);
    p->energy_terminal_j += energy;
    p->energy_throughput_j += energy < 0.0 ? -energy : energy;
    p->pack_current_a = plant_path_current(p, emf_v, step_s);
    p->pack_voltage_v = emf_v - p->string_ohm * p->pack_current_a;
    p->last_emf_v = emf_v;
    p->last_ohm = p->string_ohm;
    p->last_s = step_s;
    if (p->is_uniform) uniform_move(p);
    else move(p);
}
