/* Every tick: what ten steps did to the slow state, and the tangents for the next ten. */
#include <string.h>

#include "internal.h"

#define AREA_LEFT_MIN 0.02 /* a cell never loses all contact: its resistance stays finite */

/* Fall of the emf with charge by M h, on the side the cell was driven to in the tick before. */
static inline __attribute__((always_inline)) double hysteresis_slope(const plant_t *p, size_t c, double per_swing)
{
    const double h = p->cell_hysteresis[c];
    return p->hysteresis_v * (p->cell_current_a[c] > 0.0 ? 1.0 - h : 1.0 + h) * p->cell_per_as[c] * per_swing;
}

/* What decays for ever would end in denormal numbers, which cost a hundred times as much. Adding and taking away rounds to 2e-25 V,
 * which is nothing, and leaves the loop free of branches. */
static inline __attribute__((always_inline)) double settled(double volts) { return (volts + 1e-9) - 1e-9; }

/* Charge, diffusion, hysteresis; heat by its own terms, each with the tangent that the emf of the tick had. */
KERNEL end_body(plant_t *restrict p)
{
    const uint32_t blocks = p->blocks;
    const double tick_s = (double)STEPS_A_TICK * 1e-6 * (double)p->step_us;
    const double per_farad = 1.0 / p->diffusion_farad, per_swing = 1.0 / p->hysteresis_soc_frac, account = p->account_ohmic;
    const double pieces = (double)(PLANT_SOC_POINTS - 1);
    for (uint32_t k = 0; k < p->parallel; ++k) {
        const size_t row = (size_t)k * blocks;
        INDEPENDENT for (size_t b = 0; b < blocks; ++b) {
            const size_t c = row + b;
            const double q = p->cell_charge_c[c], kelvin = p->cell_kelvin[c], size = q < 0.0 ? -q : q;
            const double leak = p->cell_leak_a[c] * tick_s, v2 = p->cell_v2_v[c], damp = p->cell_damp_2[c];
            const double v2_mid = damp * (v2 + 0.5 * q * per_farad);
            const double swing = 0.5 * size * p->cell_per_as[c] * per_swing, h = p->cell_hysteresis[c];
            const double side = q > 0.0 ? 1.0 : -1.0; /* no charge, no swing: the sign then does not matter */
            const double entropic_mid = p->cell_entropic_v_per_k[c] - 0.5 * q * p->cell_per_as[c] * p->rise_entropic[c] * pieces;
            const double moved = (q + leak) * p->cell_per_as[c];
            const double ohmic = p->cell_square_a2s[c] * p->cell_resistance_ohm[c] * account;
            const double transfer = p->cell_transfer_v2s[c] * p->cell_transfer_s[c];
            const double diffusion = v2_mid * v2_mid * p->cell_diffusion_s[c] * tick_s;
            const double loop = q * (p->hysteresis_v * h + 0.5 * q * hysteresis_slope(p, c, per_swing));
            const double reversible = -q * kelvin * entropic_mid;
            const double shorted = p->cell_short_used_s[c] * p->block_square_v2s[b];
            const double leaked = leak * (p->cell_base_v[c] + p->hysteresis_v * h + v2 * damp - kelvin * p->cell_entropic_v_per_k[c]);
            p->cell_soc_frac[c] -= moved;
            p->cell_v2_v[c] = settled(2.0 * v2_mid - v2);
            p->cell_v1_v[c] = settled(p->cell_v1_v[c]);
            p->cell_hysteresis[c] = ((1.0 - swing) * h + 2.0 * side * swing) / (1.0 + swing);
            p->cell_current_a[c] = q * (1.0 / tick_s);
            p->cell_throughput_as[c] += size;
            p->cell_recent_as[c] += q;
            p->cell_ohmic_sum_j[c] += ohmic;
            p->cell_transfer_sum_j[c] += transfer;
            p->cell_diffusion_sum_j[c] += diffusion;
            p->cell_hysteresis_sum_j[c] += loop;
            p->cell_reversible_sum_j[c] += reversible;
            p->cell_short_sum_j[c] += shorted;
            p->cell_leak_sum_j[c] += leaked;
            p->cell_heat_j[c] = (((ohmic + transfer) + (diffusion + loop)) + ((reversible + shorted) + leaked)) + p->cell_heat_w[c] * tick_s;
        }
    }
}
EACH_ISA(end)

/* Where the tables are looked up. A cell stays in the same interval for thousands of ticks, so the pieces of the tables it needs
 * are kept beside it and fetched again only when some cell has moved on: contiguous loads instead of gathers. */
static inline __attribute__((always_inline)) double law_position(const plant_t *p, size_t c)
{
    /* Half a tick ahead, so that the scheme stays second order. */
    const double core = p->cell_core_degc[c], ahead = core + 0.5 * (core - p->cell_core_before_degc[c]);
    return (ahead - PLANT_TEMPERATURE_LOW_DEGC) * (1.0 / PLANT_TEMPERATURE_STEP_K);
}

KERNEL moved_body(plant_t *restrict p)
{
    const size_t cells = plant_cells(p);
    int32_t moved = 0;
    INDEPENDENT for (size_t c = 0; c < cells; ++c) {
        const double x = law_position(p, c), y = p->cell_soc_frac[c] * (double)(PLANT_SOC_POINTS - 1);
        const int32_t n = INDEX(x, PLANT_TEMPERATURE_POINTS), m = INDEX(y, PLANT_SOC_POINTS);
        moved |= (n ^ p->cell_law_index[c]) | (m ^ p->cell_soc_index[c]);
    }
    p->pieces_moved = (uint32_t)moved;
}
EACH_ISA(moved)

KERNEL fetch_body(plant_t *restrict p)
{
    const size_t cells = plant_cells(p);
    INDEPENDENT for (size_t c = 0; c < cells; ++c) {
        const double x = law_position(p, c), y = p->cell_soc_frac[c] * (double)(PLANT_SOC_POINTS - 1);
        const int32_t n = INDEX(x, PLANT_TEMPERATURE_POINTS), m = INDEX(y, PLANT_SOC_POINTS);
        p->cell_law_index[c] = n;
        p->cell_soc_index[c] = m;
        p->piece_electrolyte[c] = p->electrolyte_law[n];
        p->piece_contact[c] = p->contact_law[n];
        p->piece_transfer[c] = p->transfer_inverse[n];
        p->piece_diffusion[c] = p->diffusion_inverse[n];
        p->rise_electrolyte[c] = p->electrolyte_law[n + 1] - p->electrolyte_law[n];
        p->rise_contact[c] = p->contact_law[n + 1] - p->contact_law[n];
        p->rise_transfer[c] = p->transfer_inverse[n + 1] - p->transfer_inverse[n];
        p->rise_diffusion[c] = p->diffusion_inverse[n + 1] - p->diffusion_inverse[n];
        p->piece_ocv_v[c] = p->ocv_v[m];
        p->rise_ocv_v[c] = p->ocv_slope_v[m];
        p->piece_entropic[c] = p->entropic_v_per_k[m];
        p->rise_entropic[c] = p->entropic_slope[m];
    }
}
EACH_ISA(fetch)

KERNEL begin_body(plant_t *restrict p)
{
    const size_t blocks = p->blocks;
    const double tick_s = (double)STEPS_A_TICK * 1e-6 * (double)p->step_us, per_farad = 1.0 / p->diffusion_farad;
    const double transfer_s = 1.0 / p->transfer_ohm, diffusion_s = 1.0 / p->diffusion_ohm, per_swing = 1.0 / p->hysteresis_soc_frac;
    for (uint32_t k = 0; k < p->parallel; ++k) {
        const size_t row = k * blocks;
        INDEPENDENT for (size_t b = 0; b < blocks; ++b) {
            const size_t c = row + b;
            const double position = law_position(p, c), inside = position - (double)p->cell_law_index[c];
            const double f = inside < 0.0 ? 0.0 : inside > 1.0 ? 1.0 : inside; /* a burning cell must not conduct below nothing */
            const double ahead = PLANT_TEMPERATURE_LOW_DEGC + PLANT_TEMPERATURE_STEP_K * position, warmer = ahead - REFERENCE_DEGC;
            const double g = p->cell_soc_frac[c] * (double)(PLANT_SOC_POINTS - 1) - (double)p->cell_soc_index[c];
            const double entropic = p->piece_entropic[c] + g * p->rise_entropic[c];
            const double ocv = p->piece_ocv_v[c] + g * p->rise_ocv_v[c] + warmer * entropic;
            const double slope = (p->rise_ocv_v[c] + warmer * p->rise_entropic[c]) * (double)(PLANT_SOC_POINTS - 1);
            const double lost = p->cell_void_frac[c] + p->cell_void_lost_frac[c] + p->cell_contact_loss_frac[c], left = 1.0 - lost;
            const double area = left < AREA_LEFT_MIN ? AREA_LEFT_MIN : left;
            const double scale = p->cell_resistance_scale[c], per_scale = 1.0 / scale;
            const double electrolyte = p->piece_electrolyte[c] + f * p->rise_electrolyte[c];
            const double contact = p->piece_contact[c] + f * p->rise_contact[c];
            const double r0 = scale * (p->electrolyte_ohm * electrolyte
                                       + (p->contact_ohm * contact * p->block_contact[b] + p->cell_interphase_ohm[c]) / area);
            const double out = diffusion_s * (p->piece_diffusion[c] + f * p->rise_diffusion[c]) * per_scale;
            const double damp = 1.0 / (1.0 + 0.5 * tick_s * out * per_farad);
            p->cell_core_before_degc[c] = p->cell_core_degc[c];
            p->cell_kelvin[c] = ahead + ZERO_DEGC_K;
            p->cell_resistance_ohm[c] = r0;
            p->cell_transfer_s[c] = transfer_s * (p->piece_transfer[c] + f * p->rise_transfer[c]) * per_scale;
            p->cell_diffusion_s[c] = out;
            p->cell_entropic_v_per_k[c] = entropic;
            p->cell_damp_2[c] = damp;
            p->cell_base_v[c] = ocv - p->hysteresis_v * p->cell_hysteresis[c] - damp * p->cell_v2_v[c] + p->cell_bias_v[c];
            p->cell_slope_v_per_c[c] = slope * p->cell_per_as[c] + damp * per_farad + hysteresis_slope(p, c, per_swing);
            p->cell_charge_c[c] = 0.0;
            p->cell_square_a2s[c] = 0.0;
            p->cell_transfer_v2s[c] = 0.0;
        }
    }
}
EACH_ISA(begin)

/* What conducts across each block beside its cells. */
KERNEL extra_body(plant_t *restrict p)
{
    const size_t blocks = p->blocks;
    INDEPENDENT for (size_t b = 0; b < blocks; ++b) {
        p->block_extra_s[b] = p->bleed_used[b] ? p->bleed_s : 0.0;
        p->block_square_v2s[b] = 0.0;
    }
    for (uint32_t k = 0; k < p->parallel; ++k) {
        const size_t row = k * blocks;
        INDEPENDENT for (size_t b = 0; b < blocks; ++b) p->block_extra_s[b] += p->cell_short_used_s[row + b];
    }
}
EACH_ISA(extra)

/* Energy in the balancing resistors. */
static void bled(plant_t *p)
{
    double sum = 0.0;
    for (uint32_t b = 0; b < p->blocks; b += 8u) {
        uint64_t eight;
        memcpy(&eight, p->bleed_used + b, 8); /* nearly always nobody bleeds; the arrays are longer than blocks */
        for (uint32_t j = 0; eight && j < 8u; ++j)
            if (p->bleed_used[b + j]) sum += p->block_square_v2s[b + j];
    }
    p->energy_bled_j += sum * p->bleed_s;
}

void plant_tick_end(plant_t *p)
{
    plant_electric_spread(p);
    end(p);
    if (p->extra_any) bled(p);
}

/* Does anything conduct across a block beside its cells? */
static bool has_extra(const plant_t *p)
{
    double sum = lane_sum(p, p->cell_short_used_s, plant_cells(p));
    uint64_t any = 0;
    for (uint32_t b = 0; b < p->blocks; b += 8u) {
        uint64_t eight;
        memcpy(&eight, p->bleed_used + b, 8);
        any |= eight;
    }
    return any != 0u || sum != 0.0;
}

void plant_tick_begin(plant_t *p)
{
    /* Switches and shorts of the tick to come, so that what conducts and what is booked as heat are the same. */
    memcpy(p->bleed_used, p->bleed_on, p->blocks);
    memcpy(p->cell_short_used_s, p->cell_short_siemens, plant_cells(p) * sizeof *p->cell_short_used_s);
    moved(p);
    if (p->pieces_moved) fetch(p);
    begin(p);
    p->extra_any = has_extra(p);
    p->is_uniform = p->parallel == 1u && !p->extra_any;
    p->string_charge_c = p->string_square_a2s = 0.0;
    if (!p->is_uniform) extra(p);
    plant_electric_coefficients(p, 1e-6 * (double)p->step_us);
}
