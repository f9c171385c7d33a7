/* Contactors, precharge, fuse, link capacitor and what hangs on the link. */
#include "exactmath.h"
#include "internal.h"

#define BOUNCE_HALF_US 300.0     /* half period of a bouncing contact; a few hundred us is typical */
#define INRUSH_WINDOW_US 5000.0
#define PRECHARGE_COOLING_S 60.0 /* ceramic resistor on a plate (assumption) */
#define FUSE_COOLING_S 10.0      /* fuse element (assumption) */

static double size_of(double x) { return x < 0.0 ? -x : x; }

static void contactor(plant_t *p, uint32_t k, double step_us)
{
    const uint32_t bit = 1u << k;
    const bool is_in = (p->armature & bit) != 0u;
    bool want = (p->coil_command & bit) != 0u;
    if (want && (p->contactor_stuck & bit)) want = is_in;
    if (want == is_in) {
        p->contactor_timer_us[k] = 0.0;
    } else {
        p->contactor_timer_us[k] += step_us;
        const double travel = want ? p->contactor_close_us : p->contactor_open_us;
        if (p->contactor_timer_us[k] >= travel - 1e-6) {
            p->contactor_timer_us[k] = 0.0;
            p->armature ^= bit;
            p->contactor_bounce_left_us[k] = want ? p->contactor_bounce_us : 0.0;
            if (want) p->inrush_left_us = INRUSH_WINDOW_US;
            if (!want && size_of(p->pack_current_a) > p->break_current_a) p->breaks_over_rating++;
        }
    }
    double *left = &p->contactor_bounce_left_us[k];
    bool touches = (p->armature & bit) != 0u;
    if (*left > 0.0) {
        /* Touching in every other half period, counted from the end, so that it ends closed. */
        touches = touches && ((int32_t)(*left * (1.0 / BOUNCE_HALF_US)) & 1) == 0;
        *left -= step_us;
    }
    if (p->contactor_weld & bit) touches = true;
    p->contactor_closed = touches ? p->contactor_closed | bit : p->contactor_closed & ~bit;
}

/* Nothing moves: a contact is where its armature is, or welded. */
void plant_path_rest(plant_t *p, double step_s)
{
    const double *const left = p->contactor_bounce_left_us;
    if (left[0] > 0.0 || left[1] > 0.0 || left[2] > 0.0) {
        plant_path_commands(p, step_s);
        return;
    }
    p->contactor_closed = (p->armature | p->contactor_weld) & (PLANT_MAIN_PLUS | PLANT_MAIN_MINUS | PLANT_PRECHARGE);
    if (p->fuse_trigger) p->fuse_blown = 1;
}

void plant_path_commands(plant_t *p, double step_s)
{
    for (uint32_t k = 0; k < 3u; ++k) contactor(p, k, step_s * 1e6);
    if (p->inrush_left_us > 0.0) p->inrush_left_us -= step_s * 1e6;
    if (p->fuse_trigger) p->fuse_blown = 1;
}

bool plant_path_is_moving(const plant_t *p)
{
    const double timers = p->contactor_timer_us[0] + p->contactor_timer_us[1] + p->contactor_timer_us[2];
    const double bounces = p->contactor_bounce_left_us[0] + p->contactor_bounce_left_us[1] + p->contactor_bounce_left_us[2];
    if (timers > 0.0 || bounces > 0.0) return true;
    if (p->coil_command != p->armature && (p->coil_command & ~p->contactor_stuck) != p->armature) return true;
    return (p->contactor_closed & PLANT_PRECHARGE) != 0u || p->fuse_heat_a2s > 0.3 * p->fuse_melt_a2s || p->inrush_left_us > 0.0;
}

/* e^-x and (1 - e^-x) / x of the link circuit; they only change with the path, so they are kept. */
static void decay(plant_t *p, double ohm, double siemens, double step_s)
{
    if (ohm == p->decay_key_ohm && siemens == p->decay_key_siemens && step_s == p->decay_key_s) return;
    const double x = step_s * (1.0 + ohm * siemens) / (ohm * p->link_farad);
    p->decay_frac = exact_exp(-x);
    p->decay_mean = x > 1e-6 ? (1.0 - p->decay_frac) / x : 1.0 - 0.5 * x;
    p->decay_key_ohm = ohm;
    p->decay_key_siemens = siemens;
    p->decay_key_s = step_s;
}

static double load_current(const plant_t *p, double link_v)
{
    if (p->load_mode == PLANT_LOAD_CURRENT) return p->load_current_a;
    if (p->load_mode == PLANT_LOAD_CHARGER) return -p->charger_current_a;
    if (p->load_mode == PLANT_LOAD_POWER) return p->load_power_w / (link_v > 1.0 ? link_v : 1.0);
    return 0.0;
}

/* Nothing but the link: positive loads and the bleed drain it, a generating load finds nobody to take its current. */
static double open_link(plant_t *p, double siemens, double step_s)
{
    const double load = load_current(p, p->link_voltage_v), half = 0.5 * step_s * siemens / p->link_farad;
    double v = p->link_voltage_v * (1.0 - half) / (1.0 + half);
    if (half > 1.0) v = 0.0; /* a short empties it at once */
    if (load > 0.0 && v > 1.0) v -= load * step_s / p->link_farad;
    p->link_voltage_v = v < 0.0 ? 0.0 : v;
    return 0.0;
}

/* Exact solution of C dv/dt = (emf - v) / R - I - G v for constant emf and I over the step. */
static double joined_link(plant_t *p, double emf_v, double ohm, double siemens, double step_s)
{
    const double before = p->link_voltage_v, shunt = 1.0 + ohm * siemens;
    double load = load_current(p, before);
    if (p->load_mode == PLANT_LOAD_POWER) {
        /* At rest shunt v^2 - emf v + ohm P = 0. More than the path can give: the load gets what half the voltage leaves. */
        const double root = emf_v * emf_v - 4.0 * shunt * ohm * p->load_power_w;
        const double v = 0.5 * (emf_v + (root > 0.0 ? __builtin_sqrt(root) : 0.0)) / shunt;
        load = (emf_v - shunt * v) / ohm;
    }
    if (p->load_mode == PLANT_LOAD_CHARGER && emf_v >= p->charger_voltage_v) load = 0.0;
    decay(p, ohm, siemens, step_s);
    double final = (emf_v - ohm * load) / shunt;
    if (p->load_mode == PLANT_LOAD_CHARGER && emf_v < p->charger_voltage_v && final > p->charger_voltage_v) final = p->charger_voltage_v;
    p->link_voltage_v = final + (before - final) * p->decay_frac;
    return (emf_v - (final + (before - final) * p->decay_mean)) / ohm;
}

static void wear(plant_t *p, double amps, double step_s, bool through_precharge)
{
    const double square = amps * amps * step_s, over = (amps * amps - p->fuse_rating_a * p->fuse_rating_a) * step_s;
    if (over > 0.0) p->fuse_heat_a2s += over;
    else p->fuse_heat_a2s -= p->fuse_heat_a2s * step_s * (1.0 / FUSE_COOLING_S);
    if (p->fuse_heat_a2s > p->fuse_melt_a2s) p->fuse_blown = 1;
    p->precharge_heat_j -= p->precharge_heat_j * step_s * (1.0 / PRECHARGE_COOLING_S);
    if (through_precharge) p->precharge_heat_j += square * p->precharge_ohm;
    if (p->precharge_heat_j > p->precharge_max_j) p->precharge_burnt = 1;
    if (p->inrush_left_us > 0.0 && size_of(amps) > p->contactor_inrush_a) p->contactor_inrush_a = size_of(amps);
}

double plant_path_current(plant_t *p, double emf_v, double step_s)
{
    const uint32_t closed = p->contactor_closed;
    const double siemens = p->link_bleed_s + p->link_short_siemens;
    const bool whole = p->fuse_blown == 0u && (closed & PLANT_MAIN_MINUS) != 0u;
    const bool direct = whole && (closed & PLANT_MAIN_PLUS) != 0u;
    const bool precharging = whole && !direct && (closed & PLANT_PRECHARGE) != 0u && p->precharge_burnt == 0u;
    double amps = 0.0;
    if (direct || precharging) {
        const double ohm = p->string_ohm + p->cable_ohm + 2.0 * p->contactor_ohm + (precharging ? p->precharge_ohm : 0.0);
        amps = joined_link(p, emf_v, ohm, siemens, step_s);
    } else {
        amps = open_link(p, siemens, step_s);
    }
    wear(p, amps, step_s, precharging);
    return amps;
}
