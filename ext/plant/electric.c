/* The fast part: currents of parallel cells, charge-transfer polarisation, block and pack voltage. */

#include "internal.h"

/* Emf of every cell and Thevenin voltage of every block at the start of a step. */
KERNEL emf_body(plant_t *restrict p)
{
    const uint32_t blocks = p->blocks;
    if (p->parallel == 1u) {
        INDEPENDENT for (size_t c = 0; c < blocks; ++c) {
            const double emf = p->cell_base_v[c] - p->cell_slope_v_per_c[c] * p->cell_charge_c[c] - p->cell_v1_v[c];
            p->cell_emf_v[c] = emf;
            p->block_emf_v[c] = p->block_ohm[c] * (p->cell_siemens[c] * emf);
        }
        return;
    }
    for (uint32_t k = 0; k < p->parallel; ++k) {
        const size_t row = (size_t)k * blocks;
        INDEPENDENT for (size_t b = 0; b < blocks; ++b) {
            const size_t c = row + b;
            const double emf = p->cell_base_v[c] - p->cell_slope_v_per_c[c] * p->cell_charge_c[c] - p->cell_v1_v[c];
            p->cell_emf_v[c] = emf;
            p->block_emf_v[b] = (k ? p->block_emf_v[b] : 0.0) + p->block_ohm[b] * (p->cell_siemens[c] * emf);
        }
    }
}
TWICE(emf)

/* Voltages and currents at the pack current of the step, held over it; then the polarisation one step on. */
KERNEL move_body(plant_t *restrict p)
{
    const uint32_t blocks = p->blocks;
    const double current = p->pack_current_a, dt = p->step_s;
    INDEPENDENT for (size_t b = 0; b < blocks; ++b) {
        const double v = p->block_emf_v[b] - p->block_ohm[b] * current;
        p->block_voltage_v[b] = v;
        p->block_square_v2s[b] += v * v * dt;
    }
    for (uint32_t k = 0; k < p->parallel; ++k) {
        const size_t row = (size_t)k * blocks;
        INDEPENDENT for (size_t b = 0; b < blocks; ++b) {
            const size_t c = row + b;
            const double i = p->cell_siemens[c] * (p->cell_emf_v[c] - p->block_voltage_v[b]), charge = i * dt;
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
    const uint32_t cells = plant_cells(p);
    const double over_farad = p->step_s / p->transfer_farad;
    INDEPENDENT for (size_t c = 0; c < cells; ++c) {
        const double half = 0.5 * over_farad * p->cell_transfer_s[c], w = 1.0 / (1.0 + half);
        p->cell_keep_1[c] = (1.0 - half) * w;
        p->cell_gain_1[c] = over_farad * w;
    }
}
TWICE(coefficients)

void plant_electric_coefficients(plant_t *p, double step_s)
{
    p->step_s = step_s;
    coefficients(p);
}

double plant_electric_emf(plant_t *p)
{
    emf(p);
    return lane_sum(p->block_emf_v, p->blocks);
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
    move(p);
}
