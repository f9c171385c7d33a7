/* What is looked at less often, or happens seldom: contact and voids, plating and soft shorts, runaway, ageing. */
#include "exactmath.h"
#include "internal.h"
#include "philox.h"

static double tick_seconds(const plant_t *p) { return (double)STEPS_A_TICK * 1e-6 * (double)p->step_us; }

/* Voids and plating margin from the mean current of the last ten ticks. Densities in mA/cm2. */
KERNEL contact_body(plant_t *restrict p)
{
    const uint32_t blocks = p->blocks;
    const double span = 10.0 * tick_seconds(p), density = 1000.0 / (span * p->electrode_cm2);
    const double kept = 1.0 - p->void_lost_frac, per_max = 1.0 / p->void_max_frac, healing = span / p->void_healing_s;
    for (uint32_t k = 0; k < p->parallel; ++k) {
        const size_t row = (size_t)k * blocks;
        INDEPENDENT for (size_t b = 0; b < blocks; ++b) {
            const size_t c = row + b;
            const double x = (p->cell_core_degc[c] - PLANT_TEMPERATURE_LOW_DEGC) * (1.0 / PLANT_TEMPERATURE_STEP_K);
            const int32_t n = INDEX(x, PLANT_TEMPERATURE_POINTS);
            const double law = p->critical_law[n] + (x - (double)n) * (p->critical_law[n + 1] - p->critical_law[n]);
            const double critical = law * p->block_critical[b], j = p->cell_recent_as[c] * density;
            const double over = j - p->stripping_ma_per_cm2 * critical, beyond = over > 0.0 ? over : 0.0;
            const double left = 1.0 - (p->cell_void_frac[c] + p->cell_void_lost_frac[c]) * per_max;
            const double grown = p->void_growth * beyond * 1e-3 * span * (left > 0.0 ? left : 0.0);
            const double rate = healing * critical, heals = rate < 1.0 ? rate : 1.0;
            p->cell_void_frac[c] += grown * kept - p->cell_void_frac[c] * heals;
            p->cell_void_lost_frac[c] += grown * p->void_lost_frac;
            p->cell_plating_margin[c] = (j < 0.0 ? -j : 0.0) / (p->plating_ma_per_cm2 * critical);
            p->cell_recent_as[c] = 0.0;
        }
    }
}
EACH_ISA(contact)

/* Weibull-like hazard beyond the critical current: it scatters from cell to cell and run to run, it is no threshold
 * (arXiv 2603.20113). */
static void plating(plant_t *p, uint32_t c, double span)
{
    const double overload = p->cell_plating_margin[c] - 1.0;
    if (p->cell_short_siemens[c] > 0.0) {
        p->cell_short_siemens[c] += p->cell_short_siemens[c] * p->short_growth_per_s * span;
    }
    const double hazard = p->short_hazard_per_s * exact_exp(p->short_shape * exact_log(overload));
    const philox_block_t draw = philox(p->short_key, p->tick, c);
    if (philox_unit(draw.v[0], draw.v[1]) < hazard * span) p->cell_short_siemens[c] += p->short_initial_s;
    if (p->cell_short_siemens[c] > p->short_max_s) p->cell_short_siemens[c] = p->short_max_s;
}

static void pack_soc(plant_t *p)
{
    double out = 1e300, in = 1e300;
    for (uint32_t b = 0; b < p->blocks; ++b) {
        double held = 0.0, room = 0.0;
        for (uint32_t c = b; c < plant_cells(p); c += p->blocks) {
            held += p->cell_soc_frac[c] * p->cell_capacity_now_as[c];
            room += (1.0 - p->cell_soc_frac[c]) * p->cell_capacity_now_as[c];
        }
        out = held < out ? held : out;
        in = room < in ? room : in;
    }
    p->pack_soc_frac = out / (out + in);
}

void plant_contact_tick(plant_t *p)
{
    const uint32_t cells = plant_cells(p);
    const double span = 10.0 * tick_seconds(p);
    contact(p);
    p->hot_cells = 0;
    for (uint32_t c = 0; c < cells; ++c) {
        if (p->cell_plating_margin[c] > 1.0) plating(p, c, span);
        if (p->cell_core_degc[c] > p->runaway_onset_degc) p->hot_cells++;
    }
    pack_soc(p);
    p->insulation_kohm = 1.0 / (1.0 / p->insulation_plus_kohm + 1.0 / p->insulation_minus_kohm);
}

/* Two lumped reactions of first order. Their heat joins the tick's heat of the cell before it is spread. */
static void react(plant_t *p, uint32_t c, double tick)
{
    const double per_k = 1.0 / (p->cell_core_degc[c] + ZERO_DEGC_K);
    const double rate_1 = p->runaway_1_per_s * exact_exp(-p->runaway_1_k * per_k);
    const double rate_2 = p->runaway_2_per_s * exact_exp(-p->runaway_2_k * per_k);
    const double before = p->cell_reacted_1[c];
    const double step_1 = (1.0 - before) * (1.0 - exact_exp(-rate_1 * tick));
    const double step_2 = (1.0 - p->cell_reacted_2[c]) * (1.0 - exact_exp(-rate_2 * tick));
    p->cell_reacted_1[c] += step_1;
    p->cell_reacted_2[c] += step_2;
    const double heat = step_1 * p->runaway_1_j + step_2 * p->runaway_2_j;
    p->cell_heat_j[c] += heat;
    p->energy_reaction_j += heat;
    if (before < 0.5 && p->cell_reacted_1[c] >= 0.5) p->module_gas_kpa[(c % p->blocks) / p->blocks_per_module] += p->runaway_vent_kpa;
    if (p->cell_core_degc[c] > p->runaway_short_degc && p->cell_short_siemens[c] < p->runaway_short_s)
        p->cell_short_siemens[c] = p->runaway_short_s;
}

void plant_runaway_tick(plant_t *p)
{
    for (uint32_t c = 0; c < plant_cells(p); ++c)
        if (p->cell_core_degc[c] > p->runaway_onset_degc) react(p, c, tick_seconds(p));
}

void plant_ageing_tick(plant_t *p)
{
    const double aged = p->tick ? 100.0 * tick_seconds(p) * p->ageing_acceleration : 0.0;
    for (uint32_t c = 0; c < plant_cells(p); ++c) {
        const double core = p->cell_core_degc[c], law = law_at(p->interphase_law, core);
        /* x' = k / (2 sqrt t) is (x^2)' = k^2: exact for constant temperature, and right after a change of it. */
        const double ohm = p->interphase_ohm * law, frac = p->calendar_frac * law;
        p->cell_interphase_ohm[c] = __builtin_sqrt(p->cell_interphase_ohm[c] * p->cell_interphase_ohm[c] + ohm * ohm * aged);
        p->cell_calendar_frac[c] = __builtin_sqrt(p->cell_calendar_frac[c] * p->cell_calendar_frac[c] + frac * frac * aged);
        const double cycles = (p->cell_throughput_as[c] - p->cell_throughput_aged_as[c]) / (2.0 * p->cell_capacity_as[c]);
        p->cell_throughput_aged_as[c] = p->cell_throughput_as[c];
        p->cell_cycled_frac[c] += cycles * p->cycle_loss_frac * p->ageing_acceleration;
        p->cell_contact_loss_frac[c] += cycles * p->contact_loss_frac * p->ageing_acceleration;
        const double now = p->cell_capacity_as[c] * (1.0 - p->cell_calendar_frac[c] - p->cell_cycled_frac[c]);
        const double floor = 0.05 * p->cell_capacity_as[c], left = now > floor ? now : floor;
        /* The state of charge stays, so enthalpy leaves with the capacity. */
        p->energy_aged_j += (p->cell_capacity_now_as[c] - left) * plant_enthalpy_v(p, p->cell_soc_frac[c]);
        p->cell_capacity_now_as[c] = left;
        p->cell_per_as[c] = 1.0 / left;
        p->cell_leak_a[c] = p->leak_frac_per_s * law_at(p->leak_law, core) * p->cell_leak_scale[c] * p->cell_capacity_as[c];
    }
}
