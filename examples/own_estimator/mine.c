/* Coulomb counting that leans on the OCV at rest: the shortest estimator worth comparing with. Build and score:
 *     cc -O2 -shared -fPIC -o libmine.so mine.c
 *     bms bench accuracy --estimator ./libmine.so --only closed_loop */
#include "estimator_plugin.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    uint32_t n, points;
    int started;
    double capacity_as, before_a, calm_s;
    double *soc, *grid, *ocv;
} mine_t;

static double soc_of(const mine_t *m, double volts)
{
    for (uint32_t k = 1; k < m->points; ++k) {
        if (volts > m->ocv[k]) continue;
        const double f = (volts - m->ocv[k - 1]) / (m->ocv[k] - m->ocv[k - 1]);
        return m->grid[k - 1] + (f > 0.0 ? f : 0.0) * (m->grid[k] - m->grid[k - 1]);
    }
    return 1.0;
}

uint32_t bms_estimator_abi(void)
{
    return BMS_ESTIMATOR_ABI;
}

void *bms_estimator_start(const bms_estimator_cell_t *cell)
{
    mine_t *const m = calloc(1, sizeof *m);
    if (m == NULL) return NULL;
    m->n = cell->n_cells;
    m->points = cell->ocv_points;
    m->capacity_as = cell->capacity_ah * 3600.0;
    m->soc = calloc(m->n, sizeof(double));
    m->grid = calloc(m->points, sizeof(double));
    m->ocv = calloc(m->points, sizeof(double));
    if (m->soc == NULL || m->grid == NULL || m->ocv == NULL) {
        bms_estimator_stop(m);
        return NULL;
    }
    memcpy(m->grid, cell->ocv_soc_frac, m->points * sizeof(double));
    memcpy(m->ocv, cell->ocv_v, m->points * sizeof(double));
    if (cell->soc0_frac != NULL) {
        memcpy(m->soc, cell->soc0_frac, m->n * sizeof(double));
        m->started = 1;
    }
    return m;
}

int bms_estimator_step(void *self, double dt_s, double current_a, const double *voltage_v, const double *temperature_degc,
                       double pressure_kpa, double *soc_frac)
{
    mine_t *const m = self;
    (void)temperature_degc;
    (void)pressure_kpa;
    const int calm = fabs(current_a) < m->capacity_as / 3600.0 / 50.0;
    m->calm_s = calm ? m->calm_s + dt_s : 0.0;
    for (uint32_t k = 0; k < m->n; ++k) {
        const int known = isfinite(voltage_v[k]);
        if (!m->started) m->soc[k] = known ? soc_of(m, voltage_v[k]) : 0.5;
        m->soc[k] -= 0.5 * (m->before_a + current_a) * dt_s / m->capacity_as;
        if (known && m->calm_s > 60.0) m->soc[k] += 0.01 * (soc_of(m, voltage_v[k]) - m->soc[k]);
        soc_frac[k] = m->soc[k];
    }
    m->before_a = current_a;
    m->started = 1;
    return 0;
}

void bms_estimator_stop(void *self)
{
    mine_t *const m = self;
    free(m->soc);
    free(m->grid);
    free(m->ocv);
    free(m);
}
