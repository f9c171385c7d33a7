/* Heat and stack pressure, every tick. */
#include "internal.h"

static double tick_seconds(const plant_t *p) { return (double)STEPS_A_TICK * 1e-6 * (double)p->step_us; }

/* One derivative of both nodes of every cell, added to `from` over `dt` and written to `to`. The two halves of the midpoint rule
 * differ only in these four arrays. */
KERNEL flow(plant_t *restrict p, const double *core, const double *surface, double *core_to, double *surface_to, double plate, double dt)
{
    const uint32_t blocks = p->blocks;
    const double per_core = 1.0 / p->core_j_per_k, per_surface = 1.0 / p->surface_j_per_k, per_tick = 1.0 / tick_seconds(p);
    const double inner = p->core_surface_w_per_k, to_plate = p->plate_w_per_k, to_air = p->air_w_per_k, air = p->ambient_degc;
    for (uint32_t k = 0; k < p->parallel; ++k) {
        const size_t row = (size_t)k * blocks;
        const double *c = core + row, *s = surface + row;
        const double *c0 = p->cell_core_degc + row, *s0 = p->cell_surface_degc + row, *heat = p->cell_heat_j + row;
        double *c1 = core_to + row, *s1 = surface_to + row;
        INDEPENDENT for (size_t b = 0; b < blocks; ++b) {
            const double out = inner * (c[b] - s[b]);
            c1[b] = c0[b] + dt * per_core * (heat[b] * per_tick - out);
            s1[b] = s0[b] + dt * per_surface * (out - to_plate * (s[b] - plate) - to_air * (s[b] - air));
        }
        /* Neighbours in a second pass: the first and last block of a module have a conductance of zero on that side. */
        const double gain = dt * per_surface;
        s1[0] += gain * p->block_up_w_per_k[0] * (s[1] - s[0]);
        const size_t last = blocks - 1u;
        s1[last] += last ? gain * p->block_down_w_per_k[last] * (s[last - 1u] - s[last]) : 0.0;
        INDEPENDENT for (size_t b = 1; b < last; ++b)
            s1[b] += gain * (p->block_up_w_per_k[b] * (s[b + 1] - s[b]) + p->block_down_w_per_k[b] * (s[b - 1] - s[b]));
    }
}
KERNEL half_body(plant_t *p)
{
    flow(p, p->cell_core_degc, p->cell_surface_degc, p->cell_core_half_degc, p->cell_surface_half_degc, p->plate_degc, 0.5 * tick_seconds(p));
}
EACH_ISA(half)
KERNEL whole_body(plant_t *p)
{
    flow(p, p->cell_core_half_degc, p->cell_surface_half_degc, p->cell_core_degc, p->cell_surface_degc, p->plate_half_degc, tick_seconds(p));
}
EACH_ISA(whole)

void plant_heat_tick(plant_t *p)
{
    const uint32_t cells = plant_cells(p);
    const double tick = tick_seconds(p), n = (double)cells, air = p->ambient_degc;
    const double pump = p->pump_failed ? 0.0 : p->pump_frac;
    /* Still coolant conducts a little: 2 % of the flow at full pump (assumption). */
    const double wet = p->coolant_w_per_k * (0.02 + 0.98 * pump), radiator = p->coolant_w_per_k * pump;
    const double heater = p->heater_stuck ? p->heater_w : p->heater_w * p->heater_frac;
    const double plate = p->plate_degc, coolant = p->coolant_degc;
    const double surfaces = lane_sum(p, p->cell_surface_degc, cells);

    const double into = p->plate_w_per_k * (surfaces - n * plate), over = wet * (plate - coolant);
    p->plate_half_degc = plate + 0.5 * tick * (into + heater - over) / p->plate_j_per_k;
    const double coolant_half = coolant + 0.5 * tick * (over - radiator * (coolant - air)) / p->coolant_j_per_k;
    half(p);
    whole(p);

    const double surfaces_half = lane_sum(p, p->cell_surface_half_degc, cells);
    const double into_half = p->plate_w_per_k * (surfaces_half - n * p->plate_half_degc), over_half = wet * (p->plate_half_degc - coolant_half);
    const double out_half = radiator * (coolant_half - air);
    p->plate_degc = plate + tick * (into_half + heater - over_half) / p->plate_j_per_k;
    p->coolant_degc = coolant + tick * (over_half - out_half) / p->coolant_j_per_k;
    p->energy_heater_j += heater * tick;
    p->energy_air_j += tick * (out_half + p->air_w_per_k * (surfaces_half - n * air));
    p->energy_forced_j += tick * lane_sum(p, p->cell_heat_w, cells);
}

KERNEL swell_body(plant_t *restrict p)
{
    const uint32_t cells = plant_cells(p);
    const double um_per_as = (p->anode_um_per_ah + p->cathode_um_per_ah) * (1.0 / 3600.0), um_per_k = p->thermal_um_per_k;
    INDEPENDENT for (size_t c = 0; c < cells; ++c)
        p->cell_swell_um[c] = um_per_as * (p->cell_soc_frac[c] - 0.5) * p->cell_capacity_now_as[c]
                              + um_per_k * (0.5 * (p->cell_core_degc[c] + p->cell_surface_degc[c]) - REFERENCE_DEGC);
}
EACH_ISA(swell)

void plant_pressure_tick(plant_t *p)
{
    const double tick = tick_seconds(p), n = (double)(p->blocks_per_module * p->parallel), creep = p->tick ? tick / p->creep_s : 0.0;
    const double per_kpa = (double)(PLANT_PRESSURE_POINTS - 1) / p->pressure_max_kpa;
    swell(p);
    for (uint32_t m = 0; m < p->modules; ++m) {
        const uint32_t first = m * p->blocks_per_module;
        double sum = 0.0;
        for (uint32_t k = 0; k < p->parallel; ++k) sum += lane_sum(p, p->cell_swell_um + k * p->blocks + first, p->blocks_per_module);
        const double elastic = p->stiffness_kpa_per_um * sum / n;
        const double set = p->module_set_kpa[m], half = 0.5 * creep, mean = 0.5 * (elastic + p->module_elastic_kpa[m]);
        p->module_set_kpa[m] = (set * (1.0 - half) + creep * p->creep_frac * mean) / (1.0 + half);
        p->module_elastic_kpa[m] = elastic;
        double kpa = p->preload_kpa + elastic - p->module_set_kpa[m] + p->module_gas_kpa[m];
        kpa = kpa < 5.0 ? 5.0 : kpa; /* the stack's own weight and the atmosphere's share keep it from being nothing */
        kpa = kpa > p->pressure_max_kpa ? p->pressure_max_kpa : kpa;
        /* Contact half a tick ahead, as the temperatures. */
        const double ahead = p->tick ? kpa + 0.5 * (kpa - p->module_pressure_kpa[m]) : kpa;
        p->module_pressure_kpa[m] = kpa;
        const double contact = table_at(p->pressure_contact, PLANT_PRESSURE_POINTS, ahead * per_kpa);
        const double critical = table_at(p->pressure_critical, PLANT_PRESSURE_POINTS, kpa * per_kpa);
        for (uint32_t b = first; b < first + p->blocks_per_module; ++b) {
            p->block_contact[b] = contact;
            p->block_critical[b] = critical;
        }
    }
}
