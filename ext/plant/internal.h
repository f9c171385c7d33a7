/* Shared by the files of the plant, and by nobody else. */
#ifndef BMS_PLANT_INTERNAL_H
#define BMS_PLANT_INTERNAL_H

#include "plant/plant.h"

#include <stdbool.h>

#define STEPS_A_TICK 10u
#define ZERO_DEGC_K 273.15
#define REFERENCE_DEGC 25.0

/* The index is clamped, not the value: a clamped double before a look-up keeps gcc from vectorising the loop. NaN gives 0. */
#define INDEX(x, points) ((int32_t)(x) < 0 ? 0 : (int32_t)(x) > (points) - 2 ? (points) - 2 : (int32_t)(x))

#if defined(__clang__)
#define INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define INDEPENDENT _Pragma("GCC ivdep")
#endif

/* A hot loop is written once as an inline body and built for the baseline, for AVX2 and for AVX-512; plant_t.isa says which runs.
 * Elementwise arithmetic without contraction gives the same bits in all. */
#define KERNEL static inline __attribute__((always_inline)) void
#if defined(__x86_64__) && !defined(BMS_NO_CLONES)
#if defined(__clang__)
#define AVX512 "avx512f,avx512dq,avx512vl,avx512bw,tune=haswell"
#else
#define AVX512 "avx512f,avx512dq,avx512vl,avx512bw,tune=haswell,prefer-vector-width=512"
#endif
#define EACH_ISA(name)                                                                                               \
    __attribute__((noinline)) static void name##_baseline(plant_t *p) { name##_body(p); }                            \
    __attribute__((noinline, target("avx2,tune=haswell"))) static void name##_avx2(plant_t *p) { name##_body(p); }   \
    __attribute__((noinline, target(AVX512))) static void name##_avx512(plant_t *p) { name##_body(p); }              \
    static void name(plant_t *p)                                                                                     \
    {                                                                                                                \
        if (p->isa > 1u) name##_avx512(p);                                                                           \
        else if (p->isa == 1u) name##_avx2(p);                                                                       \
        else name##_baseline(p);                                                                                     \
    }
#else
#define EACH_ISA(name) static void name(plant_t *p) { name##_body(p); }
#endif

static inline uint32_t plant_cells(const plant_t *p) { return p->blocks * p->parallel; }

static inline double table_at(const double *table, int32_t points, double position)
{
    const int32_t k = INDEX(position, points);
    return table[k] + (position - (double)k) * (table[k + 1] - table[k]);
}
static inline double law_at(const double *law, double degc)
{
    return table_at(law, PLANT_TEMPERATURE_POINTS, (degc - PLANT_TEMPERATURE_LOW_DEGC) * (1.0 / PLANT_TEMPERATURE_STEP_K));
}

/* plant.c */
/* Sum in a fixed order of eight lanes: the same bits whatever the vector width. */
double lane_sum(const plant_t *p, const double *values, uint32_t count);
double plant_enthalpy_v(const plant_t *p, double soc_frac);
/* electric.c */
void plant_electric_step(plant_t *p, double step_s);
void plant_electric_coefficients(plant_t *p, double step_s);
double plant_electric_emf(plant_t *p);
void plant_electric_spread(plant_t *p); /* string charge to the cells, before a tick ends */
/* slow.c */
void plant_tick_end(plant_t *p);   /* charge, polarisation, hysteresis, heat of the ten steps that were */
void plant_tick_begin(plant_t *p); /* tangents and resistances for the ten to come */
/* heat.c */
void plant_heat_tick(plant_t *p);
void plant_pressure_tick(plant_t *p);
/* path.c */
void plant_path_commands(plant_t *p, double step_s);
void plant_path_rest(plant_t *p, double step_s); /* the same while plant_path_is_moving says no */
bool plant_path_is_moving(const plant_t *p);
double plant_path_current(plant_t *p, double emf_v, double step_s); /* mean current of the step; moves the link voltage */
/* events.c */
void plant_contact_tick(plant_t *p); /* every 100 ms: voids, plating, soft shorts, the rare things */
void plant_runaway_tick(plant_t *p); /* every tick while a cell is hot */
void plant_ageing_tick(plant_t *p);  /* every second */

#endif
